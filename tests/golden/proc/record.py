"""Records what files of /proc and /sys look like on a real kernel (`tests/oracle/README.md` says what that needs).

    python -m tests.golden.proc.record

It writes `MACHINE.txt`, where each file's text stands under its name, without empty lines. The figures are those of one
boot, and mean nothing; `test_forms.py` compares the form.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.oracle.__main__ import Oracle
from tests.oracle.kernel import kernel
from tests.oracle.recordings import Recordings

HERE = Path(__file__).parent
FILES = {
    "quad": [
        "/proc/vmstat", "/proc/meminfo", "/proc/buddyinfo", "/proc/zoneinfo", "/proc/swaps", "/proc/pagetypeinfo",
        "/proc/stat", "/proc/cpuinfo", "/proc/uptime", "/proc/self/status", "/proc/self/stat", "/proc/self/statm",
        "/proc/self/smaps_rollup", "/proc/self/smaps", "/proc/2/status", "/proc/2/stat",
        "/sys/devices/system/node/node0/meminfo", "/sys/devices/system/node/node0/numastat",
        "/sys/devices/system/node/node0/vmstat",
    ],
    # Its memory in slots is in ZONE_MOVABLE; node 2 has no other.
    "movable": ["/proc/buddyinfo", "/proc/zoneinfo", "/proc/pagetypeinfo"],
    # Node 1 has no memory.
    "odd": [
        "/proc/buddyinfo", "/proc/zoneinfo", "/proc/pagetypeinfo", "/sys/devices/system/node/node1/meminfo",
        "/sys/devices/system/node/node1/numastat", "/sys/devices/system/node/node1/vmstat",
    ],
}  # fmt: skip


def main() -> None:
    """Ask once for each machine."""
    real = kernel()
    for machine, files in FILES.items():
        with tempfile.TemporaryDirectory() as directory:
            scenarios = Path(directory) / "scenarios"
            scenarios.mkdir()
            (scenarios / "files.scn").write_text("".join(f"cat {name}\n" for name in files))
            answers = Oracle(real, Recordings(Path(directory))).ask(machine, ["files"], "single")
        texts = (line.partition("ret=0 text=")[2].replace("|", "\n") for line in answers.scenarios["files"])
        parts = (f"== {name}\n{text}\n" for name, text in zip(files, texts, strict=True))
        (HERE / f"{machine}.txt").write_text(f"# linux {answers.release}\n" + "".join(parts))


if __name__ == "__main__":
    main()
