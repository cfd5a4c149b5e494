"""Scenarios, their recordings, and how a recording is compared with new answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from .errors import OracleError

__all__ = ["Recordings", "differences", "sample"]

_HEADER = "# linux "


@dataclass(frozen=True)
class Recordings:
    """A directory with ``scenarios/NAME.scn`` and ``golden/MACHINE/NAME.out``."""

    directory: Path

    def scenarios(self, machine: str) -> list[str]:
        """Those that the machine can run: all but what ``#! topo: quad,asym`` reserves for others."""
        names = sorted(path.stem for path in (self.directory / "scenarios").glob("*.scn"))
        return [name for name in names if self._is_for(machine, name)]

    def script(self, name: str) -> bytes:
        """The text of a scenario. Raises OracleError."""
        try:
            return (self.directory / f"scenarios/{name}.scn").read_bytes()
        except FileNotFoundError:
            raise OracleError(f"no scenario {name} in {self.directory}/scenarios") from None

    def recorded(self, machine: str) -> list[str]:
        """Those that have a recording for the machine."""
        return sorted(path.stem for path in (self.directory / "golden" / machine).glob("*.out"))

    def read(self, machine: str, name: str) -> tuple[str, list[str]]:
        """Which kernel's answers a recording holds, and the answers."""
        text = self._path(machine, name).read_text(encoding="latin-1")
        lines = text.removesuffix("\n").split("\n")
        release = lines.pop(0).removeprefix(_HEADER) if lines[0].startswith(_HEADER) else "unknown"
        return release, lines

    def write(self, machine: str, name: str, release: str, answers: list[str]) -> None:
        """Put a recording in place of an older one."""
        path = self._path(machine, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "\n".join([_HEADER + release, *answers]) + "\n"
        path.write_text(text, encoding="latin-1", newline="\n")

    def _path(self, machine: str, name: str) -> Path:
        return self.directory / "golden" / machine / f"{name}.out"

    def _is_for(self, machine: str, name: str) -> bool:
        only = re.search(rb"^#!\s*topo:\s*(.*)$", self.script(name), re.MULTILINE)
        return only is None or machine in re.split(r"[,\s]+", only[1].decode().strip())


def sample(names: list[str], count: int) -> list[str]:
    """So many of the names, evenly spread over the list; the same ones every time."""
    if count >= len(names):
        return names
    return [names[index * len(names) // count] for index in range(count)]


def differences(first: list[str], second: list[str]) -> list[tuple[str, str]]:
    """The lines that differ, side by side."""
    return [(one, other) for one, other in zip_longest(first, second, fillvalue="(nothing)") if one != other]
