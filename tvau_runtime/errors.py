"""Every error that tvau raises on purpose, as one tree.

    TvauError
    ├── ConfigError     a parameter, flag or YAML value that cannot be used
    ├── ModelError      a checkpoint or artefact that does not fit, or is damaged
    ├── BackendError    an engine or device that is not there
    ├── FrameError      a frame, camera or video that cannot be read
    └── QueryError      a question, session, event or camera that cannot be answered
        └── BusyError   … now, for too many wait already

Each message names what was expected, what came, and what to do. The command line and the nodes show the message alone;
anything outside this tree is a defect of ours and keeps its traceback.
"""

__all__ = [
    "BackendError",
    "BusyError",
    "ConfigError",
    "FrameError",
    "ModelError",
    "QueryError",
    "SessionError",
    "TvauError",
]


class TvauError(Exception):
    """The root: catch this to catch all that tvau raises on purpose."""


class ConfigError(TvauError, ValueError):
    """A parameter, flag or YAML value that cannot be used."""


class ModelError(TvauError):
    """A checkpoint or exported artefact that does not fit, or is damaged."""


class BackendError(TvauError):
    """An engine or device that is not installed or not there."""


class FrameError(TvauError):
    """A frame, camera or video that cannot be read or used."""


class QueryError(TvauError):
    """A question, session, event or camera that cannot be answered."""


class SessionError(QueryError):
    """A dialogue that cannot go on; the question can be asked in a new one."""


class BusyError(QueryError):
    """A question for which there is no room now. retry_after_s: by then those who wait now will have had their answers."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
