"""progress: something on a terminal, nothing elsewhere."""

import io
import time

from numalab.tools.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_long_work_tells() -> None:
    stream, steps = Terminal(), iter(range(1000))
    with progress(stream, lambda: f"step {next(steps)}", seconds=0.01):
        time.sleep(0.2)
    assert "\r\x1b[K0 s: step 0" in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_short_work_does_not() -> None:
    stream = Terminal()
    with progress(stream, lambda: "far", seconds=60):
        pass
    assert stream.getvalue() == ""


def test_nobody_looks() -> None:
    stream = io.StringIO()
    with progress(stream, lambda: "far", seconds=0.001):
        time.sleep(0.02)
    assert stream.getvalue() == ""
