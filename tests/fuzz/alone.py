"""A scenario on numalab: what it answers, and whether the kernel's state holds after every line."""

from __future__ import annotations

from numalab.tools.run import boot, scenario_output

__all__ = ["answers", "check"]


def answers(machine: str, script: str, engine: str = "batched") -> str:
    """What a fresh machine says, a line per operation."""
    with boot(machine, engine=engine) as live:
        return "".join(line + "\n" for line in scenario_output(live, script.encode()))


def check(machine: str, script: str, engine: str) -> None:
    """Run it, and check all invariants after every line. Raises AssertionError where one broke."""
    with boot(machine, engine=engine) as live:
        for line in scenario_output(live, script.encode()):
            live.check_invariants()
            assert "script-error" not in line, line
