"""One boot: a machine, a kernel, some scenarios; and what was answered."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import OracleError
from .initramfs import initramfs
from .kernel import Kernel
from .machines import Machine

__all__ = ["Answers", "GuestCrashed", "boot", "parse"]

_SECONDS = 1200
# no_timer_check: on a busy host the guest's first timer interrupt may come too late for the kernel's taste.
_COMMAND_LINE = (
    "console=ttyS0 loglevel=4 panic=-1 nokaslr norandmaps numa_balancing=disable transparent_hugepage=never "
    "mitigations=off no_timer_check"
)


class GuestCrashed(OracleError):
    """The guest's kernel gave up, as it may on a busy host, whose emulated clocks stumble."""


@dataclass
class Answers:
    """What a guest wrote: its kernel's release, and the lines of each scenario."""

    release: str = ""
    scenarios: dict[str, list[str]] = field(default_factory=dict)


def boot(
    machine: Machine, kernel: Kernel, program: bytes, scenarios: Mapping[str, bytes], threads: str
) -> Answers:
    """Run the scenarios in their order. threads: TCG's, ``single`` or ``multi``. Raises OracleError, GuestCrashed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "initrd").write_bytes(initramfs(kernel, program, scenarios))
        command = [
            "qemu-system-x86_64", "-accel", f"tcg,thread={threads}", "-cpu", "max", "-M", "q35", "-nodefaults",
            "-display", "none", "-no-reboot", "-serial", f"file:{folder}/console", "-serial", f"file:{folder}/answers",
            *machine.arguments(), "-kernel", str(kernel.image), "-initrd", f"{folder}/initrd",
            "-append", f"{_COMMAND_LINE} {machine.parameters}".rstrip(),
        ]  # fmt: skip
        try:
            subprocess.run(command, check=True, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            raise OracleError(f"the guest did not end within {_SECONDS} s: {_tail(folder)}") from None
        except subprocess.CalledProcessError as error:
            raise OracleError(f"QEMU ended with status {error.returncode}") from None
        text = (folder / "answers").read_text(encoding="latin-1").replace("\r", "")
        if "@@DONE" not in text:
            raise GuestCrashed(f"the guest did not come to its end: {_tail(folder)}")
    return parse(text)


def _tail(folder: Path) -> str:
    """The last words of the guest's console."""
    lines = (folder / "console").read_text(errors="replace").split("\n")
    return " | ".join(line.strip() for line in lines[-8:] if line.strip())


def parse(text: str) -> Answers:
    """Take apart what the guest wrote on its second serial line."""
    answers = Answers()
    lines: list[str] | None = None
    for line in text.split("\n"):
        if match := re.fullmatch(r"@@KERNEL (\S+)", line):
            answers.release = match[1]
        elif match := re.fullmatch(r"@@BEGIN (\S+)", line):
            lines = answers.scenarios[match[1]] = []
        elif line.startswith("@@END "):
            lines = None
        elif line and lines is not None:
            lines.append(line)
    return answers
