"""What a run says of a program on standard error or in a file while the program runs, which must not notice.

An output that takes no more, such as a full disk, is no fault of the program's: it goes on, and the run fails when it
has ended.  When the reader of a pipe has gone, nobody waits for the rest, and the run ends as others do: of SIGPIPE.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import TextIO

__all__ = ["Report"]


class Report:
    """An output that does not fail while it is written, but at its end."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._error: OSError | None = None

    def write(self, text: str) -> int:
        """Write a text, unless an earlier one could not be written."""
        if self._error is None:
            try:
                self._out.write(text)
            except OSError as error:
                self._fail(error)
        return len(text)

    def flush(self) -> None:
        """Raises OSError if not all could be written."""
        self._finish(self._out.flush)

    def close(self) -> None:
        """Close the file. Raises OSError if not all could be written."""
        self._finish(self._out.close)

    def _finish(self, how: Callable[[], None]) -> None:
        try:
            how()
        except OSError as error:
            self._fail(error)
        if self._error is not None:
            raise self._error

    def _fail(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGPIPE)
        self._error = self._error or error
