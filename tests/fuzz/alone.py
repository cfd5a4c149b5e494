"""A scenario on numalab alone: what it answers, and whether the kernel's state holds after every line."""

from __future__ import annotations

from collections.abc import Iterator

from numalab.tools.run import boot, scenario_output

__all__ = ["answers", "checked"]


def answers(machine: str, script: str, engine: str = "batched") -> str:
    """What a fresh machine says, a line an operation."""
    with boot(machine, engine=engine) as live:
        return "".join(line + "\n" for line in scenario_output(live, script.encode()))


def checked(machine: str, script: str, engine: str) -> Iterator[str]:
    """The same line by line, all invariants checked behind each. Raises AssertionError where one is broken."""
    with boot(machine, engine=engine) as live:
        for line in scenario_output(live, script.encode()):
            live.check_invariants()
            yield line
