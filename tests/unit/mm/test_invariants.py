"""Every invariant, broken by hand, is named; healthy machines break none.

The ways to break one stand in ``breakers/``, one function each. The last tests hold the two sides together: no check
is left that nothing ever made fail.
"""

import ast
import re
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from numalab.mm import (
    _mm_types,
    invariants,
    invariants_areas,
    invariants_counters,
    invariants_frames,
    invariants_huge,
    invariants_hugetlb,
    invariants_lru,
    invariants_pages,
    invariants_swap,
)
from numalab.mm.invariants import Broken, InvariantError, check_invariants
from numalab.mm.invariants_memory import PG
from numalab.mm.invariants_report import LIMIT, NAMES
from numalab.mm.memory import touch_user

from tests.mm_machine import PAGE, MmMachine
from tests.unit.mm.breakers import areas, frames, huge, hugetlb, lru, pages, swap
from tests.unit.mm.breakers.scene import BREAKERS, Breaker, Scene

BROKEN_BY_HAND = (areas, frames, huge, hugetlb, lru, pages, swap)  # importing them fills BREAKERS
CHECKS = (
    invariants_areas,
    invariants_counters,
    invariants_frames,
    invariants_huge,
    invariants_hugetlb,
    invariants_lru,
    invariants_pages,
    invariants_swap,
)
SPECS = ("1x8M", "2x8M,cpus=2", "4x512M", "1x4M+1x0,cpus=1+1x4M,cpus=0", "3x64K", "2x2M page_table_levels=5")


@pytest.fixture
def scene() -> Iterator[Scene]:
    with Scene() as m:
        yield m


# --- healthy ---------------------------------------------------------------------------------------------------


def test_a_healthy_scene_breaks_nothing(scene: Scene) -> None:
    assert scene.check() == []
    for mm in list(scene.mms):
        scene.exit(mm)
        assert scene.check() == []


@pytest.mark.parametrize("spec", SPECS)
def test_a_machine_just_booted_breaks_nothing(spec: str) -> None:
    with MmMachine(spec) as m:
        assert m.check() == []


def test_a_check_changes_nothing(scene: Scene) -> None:
    def look() -> tuple[bytes, ...]:
        mem = scene.mem
        arrays = (
            mem.hot,
            mem.cold,
            mem.order,
            mem.zones,
            mem.pcps,
            mem.chunks,
            mem.lrus,
            mem.fbatches,
            mem.node_stat,
        )
        return tuple(a.tobytes() for a in (*arrays, mem.event, scene.hw.tlb, scene.hw.ram))

    before, now = look(), scene.hw.now
    scene.check()
    assert look() == before
    assert scene.hw.now == now


def test_isolated_pages_and_held_frames_are_explained_by_whoever_has_them(scene: Scene) -> None:
    assert scene.mem.k.lru.isolate_pfns(scene.mem, np.array([scene.own], np.uint32)) == 1
    taken = scene.mem.k.page_alloc.alloc_pages_node(scene.mem, 0, 0)
    scene.page(scene.shared)["refcount"] += 2
    assert scene.check(isolated=[scene.own], held={taken: 0, scene.shared: 2}) == []
    assert {b.clause for b in scene.check(isolated=[scene.own])} == {"lost", "refcount"}


def test_a_migration_under_way_explains_its_entries(scene: Scene) -> None:
    pages.a_migration_entry_of_a_locked_page_that_nobody_migrates(scene)
    assert scene.mem.k.lru.isolate_pfns(scene.mem, np.array([scene.own], np.uint32)) == 1
    assert 7 not in {b.number for b in scene.check(isolated=[scene.own])}
    assert 7 in {b.number for b in scene.check()}


# --- broken ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("breaker", BREAKERS, ids=[b.name for b in BREAKERS])
def test_what_is_broken_is_named(scene: Scene, breaker: Breaker) -> None:
    assert scene.check() == []
    breaker.act(scene)
    found = scene.check()
    named = [
        b
        for b in found
        if (b.number, b.clause) == (breaker.number, breaker.clause) and breaker.words in b.what
    ]
    assert named, [str(b) for b in found]


def test_a_finding_says_what_where_and_what_was_expected(scene: Scene) -> None:
    scene.page(scene.shared)["refcount"] += 1
    assert scene.check() == [
        Broken(3, "refcount", "references", scene.shared, scene.mem.node_of(scene.shared), expected=2, got=3)
    ]
    text = str(scene.check()[0])
    assert text == f"3 {NAMES[3]}, refcount: frame {scene.shared} on node 0: references (expected 2, got 3)"


def test_many_findings_of_one_kind_are_summed_up(scene: Scene) -> None:
    scene.mem.hot["refcount"][[scene.pfn(scene.parent, scene.data + i * PAGE) for i in range(LIMIT + 3)]] += 1
    found = scene.check()
    assert len(found) == LIMIT + 1
    assert "3 more" in found[-1].what


def test_an_error_lists_everything(scene: Scene) -> None:
    scene.page(scene.own)["refcount"] += 1
    scene.mem.zones[1]["managed"] += 1
    error = InvariantError(scene.check())
    assert isinstance(error, AssertionError)
    assert len(error.broken) == 2
    for broken in error.broken:
        assert str(broken) in str(error)


# --- no check that cannot fail -----------------------------------------------------------------------------------


def templates() -> Iterator[tuple[str, int, str, str]]:
    """Every place in the checks that reports something: where, number, and patterns of clause and words."""

    def pattern(node: ast.expr) -> str:
        if isinstance(node, ast.Constant):
            return re.escape(str(node.value))
        if isinstance(node, ast.JoinedStr):
            return "".join(pattern(part) if isinstance(part, ast.Constant) else ".*" for part in node.values)
        return ".*"

    for module in CHECKS:
        for call in ast.walk(ast.parse(source(module))):
            match call:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name("report")),
                    args=[ast.Constant(int(number)), clause, what, *_],
                ):
                    yield f"{module.__name__}:{call.lineno}", number, pattern(clause), pattern(what)


def source(module: ModuleType) -> str:
    assert module.__file__ is not None
    return Path(module.__file__).read_text(encoding="utf-8")


@cache
def all_findings() -> list[Broken]:
    found = []
    for breaker in BREAKERS:
        with Scene() as m:
            breaker.act(m)
            found += m.check()
    return found


def test_every_report_of_every_check_has_been_seen() -> None:
    places = list(templates())
    assert len(places) > 60, "the checks are written otherwise than this test thinks"
    unseen = [
        where
        for where, number, clause, what in places
        if not any(
            b.number == number and re.fullmatch(clause, b.clause) and re.match(what, b.what)
            for b in all_findings()
        )
    ]
    assert unseen == []


def test_every_invariant_can_be_broken() -> None:
    assert {b.number for b in BREAKERS} == set(NAMES)
    assert {b.act.__module__ for b in BREAKERS} == {module.__name__ for module in BROKEN_BY_HAND}


# --- the rest --------------------------------------------------------------------------------------------------


def test_flags_are_those_of_the_kernels() -> None:
    assert _mm_types.__file__ is not None
    declared = Path(_mm_types.__file__).with_name("_mm_types.pxd").read_text(encoding="utf-8")
    bits = {name.upper(): int(shift) for name, shift in re.findall(r"PG_(\w+) = 1 << (\d+)", declared)}
    shifts = {name.upper(): int(value) for name, value in re.findall(r"PG_(\w+_SHIFT) = (\d+)", declared)}
    for name, value in vars(PG).items():
        if name == "PLACE_SHIFT":
            assert value == shifts["ZONE_SHIFT"]
        elif name.endswith("_SHIFT"):
            assert value == shifts[name]
        elif not name.startswith("_"):
            assert value == 1 << bits[name], name


@pytest.mark.timed
def test_it_is_fast_enough_to_run_after_every_step() -> None:
    """64 MiB all in use, two processes: well under 50 ms; and a machine of 512 MiB costs what is in use of it."""
    with MmMachine("1x64M") as small, MmMachine("4x512M") as large:
        for m in (small, large):
            mm = m.new_mm()
            addr = m.map(mm, 14000)
            touch_user(mm, m.ctx, addr, PAGE, 14000, True)
            m.fork(mm)
            assert m.check() == []
            best = min(timed(m) for _ in range(5))
            assert best < 0.05, f"{best * 1000:.1f} ms"


def timed(m: MmMachine) -> float:
    start = time.process_time()  # not the host's clock: it may have other work
    check_invariants(m.mem, m.mms)
    return time.process_time() - start


def test_the_module_says_what_each_number_means() -> None:
    assert invariants.__doc__ is not None
    assert {int(n) for n in re.findall(r"^ +(\d+)  ", invariants.__doc__, re.MULTILINE)} == set(NAMES)
