"""Verifies the download of a data set before hours are spent on it: what it is, what is missing or damaged, what does not fit.

Each file that is wrong is named. The counts stand beside the published ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tvau_runtime.errors import TvauError
from tvau_training.data import DATA_SETS, SPLITS, DataSet, open_data
from tvau_training.data.verify import Finding, counts, published, verify_clip

EXAMPLES = """\
examples:
  python training/data/check.py /data/UBnormal             recognised by its folders; opens each video, reads first and last frame
  python training/data/check.py /data/UBnormal --full      reads every frame and every mask: slower, and finds all that is damaged
  python training/data/check.py /data/mine --data folder --json out/check.json

exit code: 0 all is well, 1 something is missing, damaged or does not fit, 2 the folder is none of the data sets.
docs/DATA.md says where each data set comes from and how it lies on disk.
"""

ADVICE = {
    "missing": "Unpack the archive again, or fetch what is missing. Clips without video are left out, clips without labels "
    "are not scored.",
    "damaged": "Fetch these files again. Until then a damaged video ends early, a damaged image is left out, and a damaged "
    "mask or label file stops whatever needs it.",
    "mismatch": "Frames without a label and labels without a frame are left out of scores, and evaluation says how many; "
    "nothing is shifted or stretched. One frame is common for re-encoded copies; many mean that video and labels are not of "
    "the same copy.",
    "contradiction": "Frame scores (AUC) go by the labels, boxes (RBDC, TBDC) and training by the masks. A few frames are in "
    "the nature of hand-made masks; many mean that labels and masks are not of the same copy.",
    "count": "The download is not whole, or a part of it was put elsewhere.",
}
SHOWN = 20


def check(data: DataSet, full: bool) -> dict[str, Any]:
    """The report: `ok`, `data`, `root`, `splits` with counts beside published ones, and `findings`."""
    findings = [Finding("missing", "", text) for text in data.problems]
    bar = tqdm(data.clips, desc="clips", unit="clip", dynamic_ncols=True)
    for clip in bar:
        findings += verify_clip(clip, full=full)
        bar.set_postfix(wrong=len(findings), refresh=False)
    there, expected = counts(data), published(data)
    miniature = (data.root / "world.json").is_file()
    if not miniature:
        for split, wanted in expected.items():
            for what, number in wanted.items():
                have = there.get(split, {}).get(what, 0)
                if have != number:
                    findings.append(Finding("count", "", f"{split}: {have:,} {what}, published are {number:,}"))
    return {
        "ok": not findings,
        "data": data.name,
        "root": str(data.root),
        "miniature": miniature,
        "read": "every frame and mask" if full else "first and last frame and mask of each clip",
        "splits": {
            split: {"found": there.get(split, {}), "published": expected.get(split, {})}
            for split in SPLITS
            if split in there or split in expected
        },
        "findings": [vars(finding) for finding in findings],
    }


def tell(report: dict[str, Any]) -> None:
    """Prints the report."""
    print(f"{report['root']}: {report['data']}")
    for split, each in report["splits"].items():
        told = []
        for what in {**each["found"], **each["published"]}:
            number, wanted = each["found"].get(what, 0), each["published"].get(what)
            told.append(f"{number:,} {what}" + (f" (published {wanted:,})" if wanted is not None else ""))
        print(f"  {split:<11} {', '.join(told)}")
    if report["miniature"] and any(each["published"] for each in report["splits"].values()):
        print("  a copy made by make_world.py: the published counts are those of the original")
    for kind, advice in ADVICE.items():
        found = [finding["text"] for finding in report["findings"] if finding["kind"] == kind]
        if found:
            print(f"\n{kind}: {len(found)}")
            for text in found[:SHOWN]:
                print(f"  {text}")
            if len(found) > SHOWN:
                print(f"  … and {len(found) - SHOWN} more; --json FILE lists all")
            print(textwrap.fill(advice, 116, initial_indent="  -> ", subsequent_indent="     "))
    verdict = "all is well" if report["ok"] else f"{len(report['findings'])} things are not as they should be"
    print(f"\n{verdict} (read: {report['read']})")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", metavar="DIR", type=Path, help="the data set's folder, or the one around it")
    parser.add_argument(
        "--data",
        default="auto",
        choices=("auto", *DATA_SETS),
        help="which data set it is (default: auto, recognise it)",
    )
    parser.add_argument("--full", action="store_true", help="read every frame and every mask")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the report there")
    options = parser.parse_args(arguments)
    try:
        report = check(open_data(options.data, options.directory), options.full)
    except TvauError as error:
        print(f"check: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped before the end; nothing was changed", file=sys.stderr)
        return 130
    tell(report)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
