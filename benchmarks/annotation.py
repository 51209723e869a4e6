"""How far the annotation pipeline gets from a faulty annotator, on clips whose truth is known: attributes, identities,
and which step removes which faults.

The annotator is scripted and answers over real HTTP; the pipeline is what `training/annotate/run.py` runs. Its faults
are drawn anew for every frame, but for contradicted movement, which lasts: a real model's faults are less independent
than these.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scripted_annotator import FAULTS, Fault, Faults, Footage, ScriptedServer, Seen, footage
from tqdm import tqdm

from tvau_runtime.errors import ConfigError, TvauError
from tvau_runtime.types import Box
from tvau_training.annotate.answers import AnswerCache, Asker
from tvau_training.annotate.extraction import Extractor
from tvau_training.annotate.observations import Timeline, iou
from tvau_training.annotate.pipeline import ClipResult, Settings, annotate_clip, dialogues
from tvau_training.annotate.server import ServerAnnotator
from tvau_training.annotate.timelines import assign
from tvau_training.annotate.verification import count
from tvau_training.world import anomaly_dialogue

EXAMPLES = """\
examples:
  python benchmarks/annotation.py                                      40 clips, every fault at 0, 0.1 and 0.3
  python benchmarks/annotation.py --clips 10 --rates 0.1 0.2 --seed 7
  python benchmarks/annotation.py --rates 0.2 --only color swap        these faults alone
"""
STAGES = ("extraction", "timelines", "refinement", "verification")
ATTRIBUTES = ("there", "category", "appearance", "action")
SAME_PLACE = 0.5
"""IoU from which a stated box is of the true target."""


@dataclass(frozen=True)
class Stated:
    """What a step says of one target in one frame. id: of its timeline, 0 where there are none yet."""

    id: int
    category: str
    appearance: str
    action: str
    box: Box


@dataclass
class Score:
    """What is counted over all clips, per step."""

    stated: Counter[str] = field(default_factory=Counter)
    true: int = 0
    right: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    abnormal: int = 0
    abnormal_right: Counter[str] = field(default_factory=Counter)
    switches: Counter[str] = field(default_factory=Counter)
    pieces: Counter[str] = field(default_factory=Counter)
    actors: int = 0
    told: Counter[str] = field(default_factory=Counter)
    left: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    findings: Counter[str] = field(default_factory=Counter)
    extraction: Counter[str] = field(default_factory=Counter)
    anomalies: Counter[str] = field(default_factory=Counter)
    dialogues: Counter[str] = field(default_factory=Counter)


def stated_by(result: ClipResult) -> dict[str, list[list[Stated]]]:
    """Per step, what it says in each frame."""
    raw = [
        [Stated(0, o.claims[0].category, o.claims[0].appearance, o.claims[0].action, o.box) for o in e.observations]
        for e in result.raw
    ]
    steps = (result.linked, result.refocused, result.timelines)
    times = [shot.time_s for shot in result.shots]
    rest = [[_at(timelines, time) for time in times] for timelines in steps]
    return dict(zip(STAGES, [raw, *rest], strict=True))


def _at(timelines: Iterable[Timeline], time_s: float) -> list[Stated]:
    return [
        Stated(each.id, each.category, each.appearance, each.action_at(time_s), box)
        for each in timelines
        if (box := each.box_at(time_s)) is not None
    ]


def matched(true: Sequence[Seen], stated: Sequence[Stated]) -> dict[int, Stated]:
    """Actor to what is stated of it, one to one, by overlap."""
    costs = np.array([[1 - iou(a.box, b.box) for b in stated] for a in true]).reshape(len(true), len(stated))
    return {true[i].actor: stated[j] for i, j in assign(costs, 1 - SAME_PLACE + 1e-9)}


def measure(score: Score, footage: Footage, result: ClipResult, faults: set[Fault]) -> None:
    """Adds what one clip shows."""
    score.true += sum(map(len, footage.seen))
    score.abnormal += sum(seen.abnormal for frame in footage.seen for seen in frame)
    score.actors += len({seen.actor for frame in footage.seen for seen in frame})
    score.findings += count(result.findings)
    for stage, frames in stated_by(result).items():
        found = [matched(true, stated) for true, stated in zip(footage.seen, frames, strict=True)]
        score.stated[stage] += sum(map(len, frames))
        identity: dict[int, list[int]] = defaultdict(list)
        for true, there in zip(footage.seen, found, strict=True):
            for seen in true:
                said = there.get(seen.actor)
                if said is not None:
                    score.right[stage]["there"] += 1
                    right = [getattr(said, name) == getattr(seen, name) for name in ATTRIBUTES[1:]]
                    for name, good in zip(ATTRIBUTES[1:], right, strict=True):
                        score.right[stage][name] += good
                    score.abnormal_right[stage] += seen.abnormal and all(right)
                    identity[seen.actor].append(said.id)
        score.switches[stage] += sum(a != b for ids in identity.values() for a, b in itertools.pairwise(ids))
        score.pieces[stage] += sum(len(set(ids)) for ids in identity.values())
        for fault in faults:
            if not fault.refined:
                score.left[stage][fault.kind] += _remains(fault, footage.seen[fault.frame], found[fault.frame])
    for fault in faults:
        score.told[fault.kind] += not fault.refined
    _measure_anomalies(score, footage, result)
    _measure_dialogues(score, footage, result)


def _remains(fault: Fault, true: Sequence[Seen], found: dict[int, Stated]) -> bool:
    """Whether what was said wrongly is still to be read: a target that is not stated at all is a fault of its own kind alone."""
    if fault.kind == "broken":
        return bool(true) and not found
    seen = next(each for each in true if each.actor == fault.actor)
    said = found.get(fault.actor)
    if fault.kind == "missed":
        return said is None
    if said is None:
        return False
    if fault.kind == "motion":
        return said.action != seen.action
    if fault.kind == "swap":
        return (said.category, said.appearance) != (seen.category, seen.appearance)
    return said.appearance != seen.appearance


def _measure_anomalies(score: Score, footage: Footage, result: ClipResult) -> None:
    odd = {actor.id for actor in footage.made.actors if actor.abnormal_frames.any()}
    found = set()
    frames = dict(zip((shot.frame for shot in result.shots), footage.seen, strict=True))
    who = {timeline.id: timeline for timeline in result.timelines}
    for anomaly in result.anomalies:
        boxes = {o.frame: o.box for o in who[anomaly.timeline].observations}
        votes = Counter(
            max(frames[f], key=lambda seen: iou(seen.box, boxes[f])).actor for f in anomaly.frames if frames[f]
        )
        actor = votes.most_common(1)[0][0] if votes else 0
        score.anomalies["right" if actor in odd - found else "wrong"] += 1
        found.add(actor)
    score.anomalies["true"] += len(odd)


def _measure_dialogues(score: Score, footage: Footage, result: ClipResult) -> None:
    """Against what the world itself would answer about the same window."""
    for each in dialogues(result, Settings(phrasings=1)):
        if each.kind == "anomaly":
            window = slice(each.frames[0], each.frames[-1] + 1)
            actors = tuple(
                dataclasses.replace(
                    a, boxes=a.boxes[window], areas=a.areas[window], abnormal_frames=a.abnormal_frames[window]
                )
                for a in footage.made.actors
            )
            made = footage.made
            part = dataclasses.replace(
                made, frames=made.frames[window], objects=made.objects[window], actors=actors, dialogue=()
            )
            truth = {turn.field: turn.answer for turn in anomaly_dialogue(part)}
            said = {turn.field: turn.answer for turn in each.turns}
            score.dialogues["windows"] += 1
            score.dialogues["anomaly right"] += said["anomaly"] == truth["anomaly"]
            if truth["anomaly"] == "Yes.":
                score.dialogues["abnormal windows"] += 1
                score.dialogues["described"] += "target" in said
                score.dialogues["target right"] += said.get("target") == truth["target"]
                score.dialogues["trajectory right"] += said.get("trajectory") == truth["trajectory"]


def run(clips: Sequence[Footage], faults: Faults, cache: Path, progress: Callable[[], object]) -> Score:
    """The whole pipeline on all clips, at these rates of faults."""
    score, settings = Score(), Settings()
    with ScriptedServer(list(clips), faults) as server:
        annotator = ServerAnnotator(server.url, "scripted", concurrency=4)
        extractor = Extractor(Asker(annotator, AnswerCache(cache)), max_pixels=1280 * 28 * 28)
        for each in clips:
            result = annotate_clip(each.clip, extractor, settings)
            measure(score, each, result, {fault for fault in server.faults_told if fault.clip == each.clip.name})
            progress()
        extractor.close()
        annotator.close()
        score.extraction = extractor.counts
    return score


def figures(score: Score) -> dict:
    """All figures of a run."""
    table = {
        stage: {
            "stated": score.stated[stage],
            **{
                name: {
                    "precision": score.right[stage][name] / max(score.stated[stage], 1),
                    "recall": score.right[stage][name] / max(score.true, 1),
                }
                for name in ATTRIBUTES
            },
            "abnormal_all_right": score.abnormal_right[stage] / max(score.abnormal, 1),
            "identity_switches": score.switches[stage] if stage != "extraction" else None,
            "timelines_per_target": score.pieces[stage] / max(score.actors, 1) if stage != "extraction" else None,
            "faults_left": {kind: score.left[stage][kind] for kind in FAULTS},
        }
        for stage in STAGES
    }
    return {
        "targets": score.actors,
        "targets_in_frames": score.true,
        "faults_told": {kind: score.told[kind] for kind in FAULTS},
        "steps": table,
        "extraction": dict(sorted(score.extraction.items())),
        "contradictions": dict(sorted(score.findings.items())),
        "anomalies": dict(score.anomalies),
        "dialogues": dict(score.dialogues),
    }


def show(rates: Faults, found: dict) -> None:
    """The tables of a run."""
    print(f"\n{', '.join(f'{kind} {getattr(rates, kind):g}' for kind in FAULTS)}, box jitter {rates.jitter:g}")
    print(
        f"{found['targets']} targets, {found['targets_in_frames']} times in a frame; precision / recall after each step:"
    )
    names = "".join(f"{name:>16}" for name in ATTRIBUTES)
    print(f"  {'':<14}{names}{'abnormal*':>12}{'id switches':>14}{'timelines/target':>18}")
    for stage, row in found["steps"].items():
        cells = "".join(f"{row[name]['precision']:>8.3f} /{row[name]['recall']:>6.3f}" for name in ATTRIBUTES)
        switches, pieces = row["identity_switches"], row["timelines_per_target"]
        cells += f"{row['abnormal_all_right']:>12.3f}"
        print(f"  {stage:<14}{cells}" + (f"{switches:>14}{pieces:>18.2f}" if switches is not None else ""))
    print("  * share of abnormal targets in frames of which place, category, appearance and action are all right")
    if told := {kind: number for kind, number in found["faults_told"].items() if number}:
        print("faults told, and left after each step:")
        print(f"  {'':<14}" + "".join(f"{kind:>9}" for kind in told))
        print(f"  {'told':<14}" + "".join(f"{number:>9}" for number in told.values()))
        for stage, row in found["steps"].items():
            print(f"  {stage:<14}" + "".join(f"{row['faults_left'][kind]:>9}" for kind in told))
    for title in ("extraction", "contradictions", "anomalies", "dialogues"):
        print(f"{title}: " + (", ".join(f"{name} {number}" for name, number in found[title].items()) or "none"))


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=40, help="half of them with an anomaly (default: 40)")
    parser.add_argument("--frames", type=int, default=24, help="of a clip, 4 a second (default: 24)")
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[0.0, 0.1, 0.3], help="of every fault, a run for each"
    )
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=FAULTS, metavar="FAULT", help=", ".join(FAULTS))
    parser.add_argument("--jitter", type=float, default=0.02, help="of boxes, in parts of their size (default: 0.02)")
    parser.add_argument("--seed", type=int, default=0, help="of clips and faults (default: 0)")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args(arguments)
    try:
        if options.clips < 1 or options.frames < 8 or not all(0 <= rate <= 1 for rate in options.rates):
            raise ConfigError("--clips must be at least 1, --frames at least 8, and --rates in 0..1")
        clips = footage(options.clips, options.seed, length=options.frames)
        runs = []
        with tqdm(total=len(clips) * len(options.rates), unit="clip", dynamic_ncols=True) as bar:
            for rate in options.rates:
                rates = Faults(**{kind: float(rate) for kind in options.only}, jitter=options.jitter, seed=options.seed)
                with tempfile.TemporaryDirectory() as cache:
                    runs.append((rates, figures(run(clips, rates, Path(cache), bar.update))))
    except TvauError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    for rates, found in runs:
        show(rates, found)
    if options.json:
        facts = {"clips": options.clips, "frames": options.frames, "seed": options.seed}
        written = {**facts, "runs": [{"faults": dataclasses.asdict(rates), **found} for rates, found in runs]}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
