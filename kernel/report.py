"""What the author of a program is shown of an exception: the program's own frames, and what Python says about it.

The frames of this package above and below them say nothing to the author: where the fault lies is in the program, or in
what it passed to us.
"""

from __future__ import annotations

import traceback
from pathlib import Path

__all__ = ["format_exception", "is_ours"]

_ROOT = Path(__file__).resolve().parent.parent
_FLOORS = [_ROOT / floor for floor in ("arch", "mm", "kernel", "syscalls", "tools")]


def format_exception(error: BaseException) -> str:
    """The traceback that Python would print, without the frames of this package."""
    report = traceback.TracebackException.from_exception(error)
    _drop_our_frames(report)
    # An error in the program's text has no frame of the program's.
    return "".join(report.format() if report.stack else report.format_exception_only())


def _drop_our_frames(report: traceback.TracebackException | None) -> None:
    """Leave only the program's frames, also in the exceptions that led to this one."""
    while report is not None:
        theirs = [frame for frame in report.stack if not is_ours(frame.filename)]
        report.stack = traceback.StackSummary.from_list(theirs)
        for other in (report.__context__, *(report.exceptions or ())):
            _drop_our_frames(other)
        report = report.__cause__


def is_ours(filename: str) -> bool:
    """Whether a file belongs to this package; examples and tests beside it do not."""
    path = Path(filename).resolve()
    return any(path.is_relative_to(floor) for floor in _FLOORS)
