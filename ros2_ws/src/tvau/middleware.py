"""Prepares Fast DDS, the default middleware, for camera images: shared memory that holds them whole.

`python -m tvau.middleware` prints the profile's path, for processes that are not ours:

    export FASTRTPS_DEFAULT_PROFILES_FILE=$(python -m tvau.middleware)
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["PROFILE", "prepare"]

PROFILE = Path(__file__).with_name("fastdds.xml")
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Where Fast DDS looks for a profile, before and since its version 3."""
OWN_CHOICE = (*PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS", "SKIP_DEFAULT_XML_FILE")


def prepare() -> None:
    """Names the profile to Fast DDS, unless the environment already says how it is to be set up. Before `rclpy.init`.

    Other middlewares do not read it. It matters to whoever sends images; Fast DDS puts them into memory of the sender.
    """
    if not any(os.environ.get(name) for name in OWN_CHOICE):
        os.environ.update(dict.fromkeys(PROFILE_VARIABLES, str(PROFILE)))


if __name__ == "__main__":
    print(PROFILE)
