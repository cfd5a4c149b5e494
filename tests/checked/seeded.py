"""Mistakes made on purpose, in a process of their own: what each build must say about them."""

from __future__ import annotations

import inspect
import signal
import subprocess
import sys

__all__ = ["last_words"]

MACHINE = """
import faulthandler
import numpy as np
from tests.mm_machine import MmMachine
from numalab.mm.memory import touch_user
from numalab.mm.mmap import do_munmap
faulthandler.enable()
m = MmMachine("2x8M,cpus=2")
mem, k, mm = m.mem, m.mem.k, m.new_mm()
"""


def last_words(mistake: str, before: str = "") -> str:
    """What a process says that makes a mistake on a small machine; it must not survive it.

    before: done before the machine is there.
    """
    done = subprocess.run(
        [sys.executable, "-c", before + MACHINE + inspect.cleandoc(mistake)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGABRT, f"it ended with {done.returncode}: {done.stderr}"
    return done.stderr
