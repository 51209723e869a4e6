"""Which videos an archive is of, and the settings that its scores depend on: a run goes on only where these are the same.

Knows no model's inside and no Ray.
"""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..artifact import Artifact
from ..backends import find_model
from ..config import EngineConfig
from ..errors import ConfigError
from ..manifest import EXPORT, Manifest
from ..prompts import Prompts
from ..stream import Geometry
from .files import write_whole

__all__ = ["RUN", "claim_folder", "find_videos", "score_settings", "write_run"]

RUN = "run.json"
MADE_BY = "tvau archive"
ENDINGS = tuple(".3gp .asf .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .vob .webm .wmv".split())  # noqa: SIM905
"""Of files in a folder that are taken for videos. A file that is named, itself or by a pattern, may end as it likes."""


def find_videos(uris: Sequence[str]) -> list[str]:
    """Absolute paths of all videos that files, folders and patterns name, each once, in order of the alphabet.

    Raises `ConfigError` for what names no video, and for a name that is not valid UTF-8.
    """
    found: set[str] = set()
    for uri in uris:
        path = Path(os.path.expanduser(uri.removeprefix("file://")))
        if "://" in uri and not uri.startswith("file://"):
            raise ConfigError(f"{uri}: an archive is of files; mount the storage, and name the folder")
        if path.is_dir():
            here = [os.path.join(at, name) for at, _, names in os.walk(path) for name in names]
            here = [name for name in here if name.lower().endswith(ENDINGS)]
        elif path.exists():
            here = [str(path)]
        else:
            here = [name for name in glob.glob(str(path), recursive=True) if os.path.isfile(name)]
        if not here:
            raise ConfigError(
                f"{uri!r} names no video: expected a file, a folder that holds some, or a pattern of such"
            )
        found.update(os.path.abspath(name) for name in here)
    for name in found:
        if name.encode("utf-8", "replace").decode() != name:
            raise ConfigError(f"the name {name!r} is not valid UTF-8; rename the file")
    return sorted(found)


def score_settings(engine: EngineConfig, geometry: Geometry, prompts: Prompts, segment_s: float) -> dict[str, Any]:
    """All that heat maps and their files depend on, as plain values by name."""
    directory, weights = find_model(engine.model), hashlib.sha256()
    for at in (directory / Manifest.FILE, directory / Artifact.FILE, directory / EXPORT / Artifact.FILE):
        if at.is_file():  # these hold the hashes of all others
            weights.update(at.read_bytes())
    return {
        "model": weights.hexdigest(),
        **{name: getattr(engine, name) for name in ("backend", "device", "size", "fp16")},
        **{name: getattr(geometry, name) for name in ("process_rate_hz", "max_gap_s", "reset_after_s")},
        **{name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(prompts).items()},
        "segment_s": segment_s,
    }


def claim_folder(folder: Path, settings: dict[str, Any]) -> None:
    """Makes an archive's folder, or takes one to go on in. Raises `ConfigError` for one of other settings or other files."""
    there = _read_run(folder)
    if there is None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(
                f"{folder} holds something other than an archive's results; name another folder with --out"
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_run(folder, settings, {})
    elif there != settings:
        differ = [f"{k} was {there.get(k)!r}, is {v!r}" for k, v in settings.items() if there.get(k) != v]
        raise ConfigError(
            f"{folder} was scored with other settings ({'; '.join(differ) or 'of another version of tvau'}), and scores of "
            "both would be mixed; use those, or name another folder with --out"
        )


def write_run(folder: Path, settings: dict[str, Any], figures: dict[str, Any]) -> None:
    """Writes run.json: the mark by which the folder is known, the settings, and what came of the run."""
    text = json.dumps({"made_by": MADE_BY, "settings": settings, **figures}, indent=2, ensure_ascii=False) + "\n"
    write_whole(folder / RUN, lambda file: file.write(text.encode("utf-8", "replace")))


def _read_run(folder: Path) -> dict[str, Any] | None:
    """The settings of an archive's folder; None where it is none."""
    try:
        content = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("made_by") != MADE_BY:
        return None
    return content.get("settings", {})
