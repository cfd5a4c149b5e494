"""Booting 1 TiB: how long, and how much of the host's memory; then how much more than a GiB a touched GiB takes.

In a process of its own, whose memory nothing else has touched; everything is imported, and a small machine was run,
before the clock starts.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter_ns

import numalab

from benchmarks.gate import Value

SPEC = "4x256G"
GIB = 1 << 30
MIB = 1 << 20


def measure() -> dict[str, Value]:
    child = subprocess.run([sys.executable, "-m", __name__], check=True, capture_output=True, text=True)
    values: dict[str, Value] = json.loads(child.stdout)
    return values


def resident() -> int:
    """Bytes of this process in the host's memory."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096


def touch_gib(sys: numalab.Sys) -> None:
    area = sys.mmap(GIB)
    sys.memory.touch(area, GIB >> 12)


def main() -> None:
    with numalab.boot("2x64M") as small:
        small.run(lambda sys: sys.memory.write(sys.mmap(4096), b"x"))
    times = []
    for _ in range(5):
        start = perf_counter_ns()
        machine = numalab.boot(SPEC)
        times.append(perf_counter_ns() - start)
        machine.close()
    before = resident()
    with numalab.boot(SPEC) as machine:
        booted = resident()
        assert machine.run(touch_gib) == 0
        touched = resident()
    print(
        json.dumps(
            {
                "boot-milliseconds": min(times) / 1e6,
                "boot-resident-mib": (booted - before) / MIB,
                "boot-touched-gib-extra-mib": (touched - booted - GIB) / MIB,
            }
        )
    )


if __name__ == "__main__":
    main()
