"""What takes longer than a second says on a terminal that it goes on, and how far it has come."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

__all__ = ["progress"]

SECONDS = 1.0
_WIPE = "\r\x1b[K"


@contextlib.contextmanager
def progress(stream: TextIO, how_far: Callable[[], str], seconds: float = SECONDS) -> Iterator[None]:
    """While the body runs: a line on `stream`, written anew every so many seconds, and wiped at the end.

    how_far: called in another thread, so it may only read. Nothing is written where nobody looks.
    """
    if not stream.isatty():
        yield
        return
    done, began = threading.Event(), time.monotonic()

    def tell() -> None:
        while not done.wait(seconds):
            stream.write(f"{_WIPE}{time.monotonic() - began:.0f} s: {how_far()}")
            stream.flush()

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        if time.monotonic() - began >= seconds:
            stream.write(_WIPE)
            stream.flush()
