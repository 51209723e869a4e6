"""Whether there is a cv_bridge that can be used here.

One built for another NumPy may not only raise when it is imported but abort the process, so it is tried in a process of
its own first. Knows nothing about what it is then used for.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

__all__ = ["find_cv_bridge"]

_TRIAL = """
from cv_bridge import CvBridge
from sensor_msgs.msg import Image
pixels = Image(height=1, width=2, step=6, encoding="bgr8", data=[1, 2, 3, 4, 5, 6])
got = CvBridge().imgmsg_to_cv2(pixels, "rgb8").tolist()
if got != [[[3, 2, 1], [6, 5, 4]]]:
    raise RuntimeError(f"it makes {got} of two pixels")
"""


def find_cv_bridge(timeout_s: float = 20.0) -> tuple[Any, str]:
    """(a `CvBridge` or None, one line saying which converter will be used and why)."""
    if importlib.util.find_spec("cv_bridge") is None:
        return None, "cv_bridge is not installed; images go through tvau's own converter"
    try:
        trial = subprocess.run(
            [sys.executable, "-c", _TRIAL],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        return None, f"cv_bridge does not answer within {timeout_s:g} s; images go through tvau's own converter"
    if trial.returncode == 0:
        try:
            from cv_bridge import CvBridge  # pyright: ignore[reportMissingImports]

            return CvBridge(), "images go through cv_bridge"
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
    else:
        lines = [line for line in trial.stderr.splitlines() if line.strip()]
        reason = lines[-1].strip() if lines else f"its process ended with {trial.returncode}"
    return None, f"cv_bridge is installed but does not work here ({reason}); images go through tvau's own converter"
