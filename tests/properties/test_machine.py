"""Whole machines under any sequence of memory calls: no invariant ever breaks, and every process reads what it wrote.

Hypothesis drives up to six processes through the system calls that map, touch, share, bind and move memory. Beside
them runs a model in plain Python (tests/memory_model.py) of what each must find. After every step all invariants are
checked and every byte of every process is compared with the model: through the page tables, but without an access,
so that looking disturbs nothing. Where faults put pages under a BIND policy is watched as it happens (invariant 9).

The rules stand in tests/machine_rules/; here are the machines. On the smallest, out of memory is an ordinary event.
"""

from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from numalab.arch.node import SECTION_FRAMES, Node, Topology

from tests.machine_rules.stories import StoryRules

MIB = 256  # frames


def nodes(
    *frames_and_cpus: tuple[int, int, int], levels: int = 4, swap: int = 64 * MIB, thp: str = "never"
) -> Topology:
    """A machine of (id, frames, CPUs) each; levels: of page tables; swap: its slots; thp: who gets huge pages."""
    made, at, cpu = [], 0, 0
    for nid, frames, cpus in frames_and_cpus:
        ranges = ((at, at + frames),) if frames else ()
        made.append(Node(nid, ranges, tuple(range(cpu, cpu + cpus))))
        at, cpu = at + SECTION_FRAMES, cpu + cpus
    return Topology("test", tuple(made), boot={"page_table_levels": levels, "swap": swap << 12, "thp": thp})


#: name: (topology, whether memory may run out, how long ranges are).
MACHINES = {
    "one-node": (nodes((0, 8 * MIB, 2)), False, 1),
    "sparse-ids": (nodes((0, 4 * MIB, 1), (2, 4 * MIB, 1), (5, 4 * MIB, 2), levels=5), False, 1),
    "memory-less": (nodes((0, 4 * MIB, 1), (1, 0, 2), (2, 4 * MIB, 1)), False, 1),
    "cpu-less": (nodes((0, 4 * MIB, 2), (1, 4 * MIB, 0), (2, 4 * MIB, 0)), False, 1),
    "like-quad": (nodes(*((nid, 4 * MIB, 1) for nid in range(4))), False, 1),
    "tiny": (nodes(*((nid, 16, 1) for nid in range(4))), True, 1),
    "little-swap": (nodes((0, 64, 1), (1, 64, 1), swap=24), True, 1),
    "long-ranges": (nodes((0, 12 * MIB, 1), (1, 12 * MIB, 2)), True, 30),
    "slots": (
        Topology(
            "slots",
            (
                Node(0, ((0, 6 * MIB),), (0,)),
                Node(1, ((SECTION_FRAMES, 3 * SECTION_FRAMES),), (1,), hotplug=True),
                Node(2, ((3 * SECTION_FRAMES, 3 * SECTION_FRAMES + 4 * MIB),), (), hotplug=True),
            ),
            boot={"memhp_default_state": "online_movable"},
        ),
        False,
        1,
    ),
    "huge-pages": (nodes((0, 12 * MIB, 1), (1, 12 * MIB, 2), thp="always"), True, 30),
}


@pytest.mark.parametrize("name", MACHINES)
def test_any_sequence_of_calls(name: str) -> None:
    class Machine(StoryRules):
        spec: ClassVar[Topology]
        spec, may_run_out, scale = MACHINES[name]

    Machine.__name__ = name
    # A quarter of the profile's runs for each machine; long ranges cost several times as much a step.
    runs = max(6, settings().max_examples // (4 if Machine.scale == 1 else 16))
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=runs, suppress_health_check=[HealthCheck.too_slow])
    )
