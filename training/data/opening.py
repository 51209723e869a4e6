"""Which data set a folder is, and opening it. Knows every layout by its module's `find` and `load`, and no more of it."""

from __future__ import annotations

import os
from pathlib import Path

from tvau_runtime.errors import ConfigError

from . import avenue, folder, shanghaitech, ubnormal, ucsd
from .clips import DataSet
from .files import folders_in

__all__ = ["DATA_SETS", "find_data", "open_data"]

DATA_SETS = {"ubnormal": ubnormal, "shanghaitech": shanghaitech, "avenue": avenue, "ucsd": ucsd, "folder": folder}
"""By name; `folder` is last, for it would take any videos."""
_LAYOUTS = {
    "ubnormal": "Scene1/…mp4 and the six lists …_video_names.txt",
    "shanghaitech": "training/videos and testing/frames",
    "avenue": "training_videos and testing_videos",
    "ucsd": "UCSDped2/Train/Train001 and UCSDped2/Test/Test001",
    "folder": "videos, or train, validation and test with videos",
}
_PUBLISHED_ONES = tuple(name for name in DATA_SETS if name != "folder")


def open_data(name: str, directory: str | Path) -> DataSet:
    """Opens a data set. name: one of `DATA_SETS`, or `auto` to recognise it. directory: its folder, or the one around it.

    Raises `ConfigError` for a folder that is not what the name says, with what is there instead; no video is opened.
    """
    found, root = find_data(name, directory)
    return DATA_SETS[found].load(root)


def find_data(name: str, directory: str | Path) -> tuple[str, Path]:
    """Which data set it is and where its own folder begins. Raises as `open_data`."""
    directory = Path(os.path.expanduser(directory))
    if name not in (*DATA_SETS, "auto"):
        raise ConfigError(f"there is no data set {name!r}; known: {', '.join(DATA_SETS)}, or auto to recognise it")
    if not directory.is_dir():
        kind = "a file" if directory.exists() else "not there"
        raise ConfigError(f"{directory} is {kind}; expected the folder of a data set")
    wanted = _PUBLISHED_ONES if name == "auto" else (name,)
    for place in (directory, *folders_in(directory)):
        fits = [each for each in wanted if DATA_SETS[each].find(place)]
        if len(fits) > 1:
            raise ConfigError(f"{place} could be {' or '.join(fits)}; name the one it is instead of auto")
        if fits:
            return fits[0], place
    parents = list(directory.resolve().parents)[:3]
    around = [(each, place) for place in parents for each in _PUBLISHED_ONES if _begins_at(each, place)]
    if around and name in ("auto", around[0][0]):
        raise ConfigError(f"{directory} lies within a data set ({around[0][0]}); give {around[0][1]}")
    if name == "auto" and folder.find(directory):
        return "folder", directory
    others = [] if name == "auto" else [each for each in DATA_SETS if DATA_SETS[each].find(directory)]
    instead = f"; it looks like {others[0]}" if others else ""
    if name == "auto":
        expected = "; ".join(f"{each} ({layout})" for each, layout in _LAYOUTS.items())
        raise ConfigError(f"{directory} is none of the data sets: {expected}. It holds {_holds(directory)}")
    raise ConfigError(f"{directory} is no {name}: expected {_LAYOUTS[name]}{instead}. It holds {_holds(directory)}")


def _begins_at(name: str, place: Path) -> bool:
    """Whether it is the data set's own folder, not one around it."""
    return place in ucsd.subsets(place) if name == "ucsd" else DATA_SETS[name].find(place)


def _holds(directory: Path) -> str:
    names = sorted(path.name + "/" * path.is_dir() for path in directory.iterdir())
    return f"{', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}" if names else "nothing"
