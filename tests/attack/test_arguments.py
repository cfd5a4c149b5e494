"""Whatever is passed to boot() and to what describes a machine: one line that says what is wrong, or a machine."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest

import numalab
from numalab.arch import costs
from numalab.arch.topology import Node, Topology
from numalab.mm.invariants import InvariantError

S = 1 << 15
CPU = (0,)
RANGES = ((0, 512),)
#: What no argument expects.
WRONG = (
    None, "", "x", "1", b"1", b"\xff", 0.5, 1.0, -0.0, math.nan, math.inf, -math.inf, -1, 1 << 31, (1 << 40) + 1,
    1 << 64, 1 << 2000, True, [], (), {}, (1,), [[]], ((1, 2),), {"swap": 0}, {1}, range(3), object(), 1j, int, len,
    "x" * 5000, "quad\0", "quad\n",
)  # fmt: skip


def boots(**arguments: Any) -> Any:
    return numalab.boot(arguments.pop("spec", "1x2M"), arguments.pop("seed", 0), **arguments)


def built(**parts: Any) -> Any:
    """A machine of parts, of which some are given."""
    node = {"id": 0, "ranges": RANGES, "cpus": CPU, "hotplug": False} | {
        name: parts.pop(name) for name in ("id", "ranges", "cpus", "hotplug") if name in parts
    }
    return numalab.boot(Topology(**{"name": "built", "nodes": (Node(**node),)} | parts))


def costly(**terms: Any) -> Any:
    return numalab.boot("1x2M", costs=costs.load().with_terms(**terms))


def one(
    name: str, make: Callable[[Any], Any] = lambda wrong: wrong, how: Any = built
) -> Callable[[Any], Any]:
    return lambda wrong: how(**{name: make(wrong)})


ARGUMENTS: dict[str, Callable[[Any], Any]] = {
    **{f"boot({name}=)": one(name, how=boots) for name in (
        "spec", "seed", "migration", "costs", "twins", "debug_vm", "v5_quirks",
    )},
    **{f"Topology({name}=)": one(name) for name in ("name", "nodes", "distance", "boot")},
    **{f"Node({name}=)": one(name) for name in ("id", "ranges", "cpus", "hotplug")},
    "a node": one("nodes", lambda wrong: (wrong,)),
    "another node": one("nodes", lambda wrong: (Node(0, RANGES, CPU), Node(wrong, ((S, S + 512),), (1,)))),
    "a range": one("ranges", lambda wrong: (wrong,)),
    "a start": one("ranges", lambda wrong: ((wrong, 512),)),
    "an end": one("ranges", lambda wrong: ((0, wrong),)),
    "a cpu": one("cpus", lambda wrong: (wrong,)),
    "a row": one("distance", lambda wrong: (wrong,)),
    "a distance": one("distance", lambda wrong: ((wrong,),)),
    "the name of a parameter": one("boot", lambda wrong: {wrong if wrong.__hash__ else 5: 1}),
    **{f"the parameter {name}": one("boot", lambda wrong, name=name: {name: wrong}) for name in (
        "page_cluster", "swappiness", "numa_balancing", "thp", "swap", "page_table_levels", "memhp_default_state",
        "percpu_pagelist_high_fraction",
    )},
    **{f"the cost {name}": one(name, how=costly) for name in ("fault", "copy_local", "copy_remote")},
}  # fmt: skip


def complaint(make: Callable[[], Any]) -> str:
    """What is said of an argument, "" if it makes a machine, which then works. Whatever else is raised gets out."""
    try:
        machine = make()
    except (ValueError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    with machine:
        assert machine.run(lambda sys: sys.memory.write(sys.mmap(4096), b"works")) == 0
        machine.check_invariants()
    return ""


#: What Python says where nobody has thought of it.
PYTHONS = (
    "unhashable", "not supported between", "not iterable", "unsupported operand", "has no len", "subscriptable",
    "cannot unpack", "to unpack", "object cannot be interpreted", "argument must be", "not a mapping", "cannot convert",
    "an integer is required", "formatting", "format code", "seed types", "broadcast",
)  # fmt: skip


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_of_any_kind(name: str) -> None:
    refused = 0
    for wrong in WRONG:
        said = complaint(lambda wrong=wrong: ARGUMENTS[name](wrong))  # type: ignore[misc]
        refused += bool(said)
        assert "\n" not in said
        assert len(said) < 400, said
        assert not [word for word in PYTHONS if word in said], said
    assert refused > len(WRONG) // 2


@pytest.mark.slow
def test_several_wrong_arguments_at_once() -> None:
    rng = random.Random(6)
    for _ in range(1500):
        parts = {
            name: rng.choice(WRONG)
            for name in rng.sample(
                ("id", "ranges", "cpus", "hotplug", "name", "nodes", "distance", "boot"), 3
            )
        }
        said = complaint(lambda parts=parts: built(**parts))  # type: ignore[misc]
        assert not [word for word in PYTHONS if word in said], said


def test_the_same_seed_in_other_words() -> None:
    """None would be another seed each time, and 0.5 or text another generator's."""
    for seed in (None, "0", 0.5, True):
        with pytest.raises(TypeError, match="seed is a whole number, not "):
            numalab.boot("1x2M", seed)  # type: ignore[arg-type]
    numalab.boot("1x2M", -(1 << 70)).close()


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: repr(wrong)[:20])
def test_what_a_machine_is_asked_for(wrong: Any) -> None:
    """Nothing that is refused leaves anything behind."""
    with numalab.boot("1x2M") as machine:
        page = 0

        def main(sys: Any) -> None:
            nonlocal page
            at = sys.mmap(4096)
            sys.memory.write(at, b"page")
            page = machine.page_of(sys.task, at)
            for kind in ("lock_page", "writeback", "pin", "hold"):
                put = getattr(machine.obstacles, kind)
                with pytest.raises((TypeError, ValueError), match="frame"):
                    put(wrong)
                if wrong is None or (type(wrong) is int and 0 <= wrong <= 1 << 62):
                    put(page, wrong)()
                else:
                    with pytest.raises((TypeError, ValueError), match="ns is"):
                        put(page, wrong)

        before = machine.node_pages(0)
        assert machine.run(main) == 0
        for call in (
            lambda: machine.spawn(main, uid=wrong),
            lambda: machine.spawn(main, wrong),
            lambda: None if callable(wrong) else machine.spawn(wrong),
            lambda: setattr(machine, "engine", wrong),
            lambda: machine.node_pages(wrong),
        ):
            try:
                call()  # type: ignore[no-untyped-call]
            except (TypeError, ValueError) as error:
                assert not [word for word in PYTHONS if word in str(error)], error  # noqa: PT017
        machine.run()
        assert machine.node_pages(0) == before
        try:
            machine.check_invariants()
        except InvariantError as error:
            pytest.fail(str(error))
