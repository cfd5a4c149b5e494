"""Random scenarios on the real kernel, in bulk; and what numalab says to each."""

from __future__ import annotations

from collections.abc import Mapping

from tests.fuzz.alone import answers
from tests.oracle.initramfs import compile_guest
from tests.oracle.kernel import kernel
from tests.oracle.machines import MACHINES
from tests.oracle.qemu import GuestCrashed, boot

__all__ = ["RealMachine"]

#: A boot takes no more: its answers come over an emulated serial line, and a crash costs all of them.
BATCH = 150


class RealMachine:
    """One kind of machine under the real kernel. Raises OracleError where it cannot be had."""

    def __init__(self, machine: str) -> None:
        self.machine = machine
        self.kernel = kernel()
        self.program = compile_guest()
        self.boots = 0
        self.release = ""

    def ask(
        self, scripts: Mapping[str, str], threads: str = "single", *, reverse: bool = False
    ) -> dict[str, str]:
        """The answers to each script; those of a boot that crashed twice are missing."""
        names = list(scripts)[:: -1 if reverse else 1]
        found: dict[str, str] = {}
        for at in range(0, len(names), BATCH):
            batch = {name: scripts[name].encode() for name in names[at : at + BATCH]}
            for _ in range(2):
                self.boots += 1
                try:
                    said = boot(MACHINES[self.machine], self.kernel, self.program, batch, threads)
                except GuestCrashed:
                    continue
                self.release = said.release
                found |= {
                    name: "".join(line + "\n" for line in said.scenarios[name]) for name in said.scenarios
                }
                break
        return found

    def ours(self, script: str) -> str:
        """What numalab says."""
        return answers(self.machine, script)
