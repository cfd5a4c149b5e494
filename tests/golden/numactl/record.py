"""Records what the real tools print on machines with four nodes (`tests/oracle/README.md` says what that needs).

    python -m tests.golden.numactl.record

A stock kernel boots under QEMU with Debian's numactl, migratepages, numastat, memhog, migspeed and taskset, and runs
the lines of `commands/MACHINE.txt` one after the other, as root. It writes `MACHINE.txt`: of each line what it printed
(1 for standard output, 2 for standard error, a ~ behind it for a line that did not end) and its exit status. A usage
text is cut to the word usage.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.golden.numactl.cases import HERE, MACHINES, commands, without_usage
from tests.oracle import machines
from tests.oracle.initramfs import cpio
from tests.oracle.kernel import Kernel, kernel

PROGRAMS = ["numactl", "migratepages", "numastat", "memhog", "migspeed", "taskset", "mount", "sh"]
_COMMAND_LINE = (
    "console=ttyS0 loglevel=4 no_timer_check panic=-1 numa_balancing=disable transparent_hugepage=never"
)
INIT = """#!/usr/bin/sh
export PATH=/usr/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec >/dev/ttyS1
show() {
    while IFS= read -r line; do echo "@$1 $line"; done <$2
    [ -z "$line" ] || echo "@$1~ $line"
}
while IFS= read -r command; do
    echo "@$ $command"
    eval "$command" >/out 2>/err </dev/null
    status=$?
    show 1 /out
    show 2 /err
    echo "@= $status"
done </commands
echo @DONE
"""


def initramfs(lines: list[str]) -> bytes:
    """The programs and the libraries that they need, under the names they have here."""
    paths = [Path(shutil.which(name) or name) for name in PROGRAMS]
    listed = subprocess.run(["ldd", *map(str, paths)], check=False, capture_output=True, text=True).stdout
    libraries = {Path(path) for path in re.findall(r"(/\S+) \(0x", listed)}
    files = {f"usr/bin/{path.name}": path.read_bytes() for path in paths}
    files |= {str(path).lstrip("/"): path.read_bytes() for path in libraries}
    files |= {"init": INIT.encode(), "commands": "".join(f"{line}\n" for line in lines).encode()}
    folders = {str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}
    return cpio([*sorted(folders, key=len), "dev", "proc", "sys", "tmp"], files)


def ask(real: Kernel, machine: str) -> str:
    """What the guest writes on its second serial line."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "initrd").write_bytes(initramfs(commands(machine)))
        command = [
            "qemu-system-x86_64", "-accel", "tcg,thread=single", "-cpu", "max", "-M", "q35", "-nodefaults",
            "-display", "none", "-no-reboot", "-serial", f"file:{folder}/console", "-serial", f"file:{folder}/answers",
            *machines.MACHINES[machine].arguments(), "-kernel", str(real.image), "-initrd", f"{folder}/initrd",
            "-append", _COMMAND_LINE,
        ]  # fmt: skip
        subprocess.run(command, check=True, timeout=600)
        return (folder / "answers").read_text(errors="replace").replace("\r", "")


def main() -> None:
    """Ask each machine, and write what was answered."""
    real = kernel()
    for machine in MACHINES:
        text = ask(real, machine)
        if "@DONE" not in text:
            raise SystemExit(f"the guest did not come to its end: {text[-2000:]}")
        lines = [line.removeprefix("@") for line in text.split("\n") if line.startswith("@")]
        (HERE / f"{machine}.txt").write_text(f"# linux {real.release}\n" + without_usage(lines[:-1]))


if __name__ == "__main__":
    main()
