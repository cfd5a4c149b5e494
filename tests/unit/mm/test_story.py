"""The log of a migration and its stories: what a program cannot bring about, made by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from numalab.mm._migrate_entry_reference import mig_entry_make
from numalab.mm._page_list import PageLog
from numalab.mm.memory import touch_user
from numalab.mm.mempolicy import do_mbind
from numalab.mm.migrate.ledger import Fate, Ledger, Pass, Reason
from numalab.mm.migrate.nodes import do_migrate_pages
from numalab.mm.migrate.reasons import REASONS, word
from numalab.mm.migrate.story import PageRun, page_runs
from numalab.mm.vm_flags import VM_PFNMAP

from tests.mm_machine import PAGE, MmMachine

STRICT, MOVE, MOVE_ALL = 1, 2, 4
MPOL_BIND = 2


class Scene(MmMachine):
    """Two nodes, a program with 4 pages on node 0, and a log of what is done to them."""

    def __init__(self, *, twins: bool) -> None:
        super().__init__("2x16M", twins=twins)
        self.mem.explain = True
        self.mm = self.new_mm()
        self.data = self.map(self.mm, 4)
        touch_user(self.mm, self.ctx, self.data, PAGE, 4, True)

    def vacate(self) -> list[PageRun]:
        do_migrate_pages(self.mem, self.mm, self.ctx, 1, 2, MOVE)
        return page_runs(self.mem, self.mem.ledger)


@pytest.fixture(params=[False, True], ids=["kernels", "twins"])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    with Scene(twins=request.param) as m:
        yield m
        assert m.check() == []


def told(runs: list[PageRun]) -> list[tuple[int, Fate, Reason]]:
    return [(run.pages, run.fate, run.reason) for run in runs]


def test_a_page_under_another_migration(scene: Scene) -> None:
    at = scene.pte_address(scene.mm, scene.data + PAGE)
    pte = scene.word(at)
    scene.store(at, mig_entry_make(pte, scene.pfn(scene.mm, scene.data + PAGE), True))
    runs = scene.vacate()
    scene.store(at, pte)
    assert told(runs) == [
        (1, Fate.MOVED, Reason.NONE),
        (1, Fate.PASSED, Reason.MIGRATING),
        (2, Fate.MOVED, Reason.NONE),
    ]


def test_a_mapping_that_the_reverse_map_does_not_find(scene: Scene) -> None:
    page = scene.page(scene.pfn(scene.mm, scene.data + PAGE))
    page["mapcount"] += 1
    page["refcount"] += 1
    do_migrate_pages(scene.mem, scene.mm, scene.ctx, 1, 2, MOVE_ALL)
    runs = page_runs(scene.mem, scene.mem.ledger)
    page["mapcount"] -= 1
    page["refcount"] -= 1
    page["rmap"] = 0
    assert told(runs)[1] == (1, Fate.LEFT, Reason.MAPPED)
    assert [(t.reason, t.passes) for t in runs[1].tries] == [(Reason.MAPPED, "async 1-3, sync 1-7")]


def test_an_area_of_a_device(scene: Scene) -> None:
    vma = scene.vma(scene.mm, scene.data)
    vma.flags |= VM_PFNMAP
    do_mbind(scene.mem, scene.mm, scene.ctx, scene.data, 4 * PAGE, MPOL_BIND, 0, 2, MOVE)
    assert scene.ctx.ledger is not None
    assert scene.ctx.ledger.areas == [(scene.data, scene.data + 4 * PAGE, Reason.NOT_MIGRATABLE)]
    with pytest.raises(Exception, match="EIO"):
        do_mbind(scene.mem, scene.mm, scene.ctx, scene.data, 4 * PAGE, MPOL_BIND, 0, 2, STRICT | MOVE)
    scene.vma(scene.mm, scene.data).flags &= ~VM_PFNMAP
    assert told(page_runs(scene.mem, scene.ctx.ledger)) == [(4, Fate.PASSED, Reason.NOT_MIGRATABLE)]


def test_without_the_switch_nothing_is_written_down(scene: Scene) -> None:
    scene.mem.explain = False
    assert scene.vacate() == []
    assert scene.mem.ledger.moved == 4


def test_passes_are_named_in_short(scene: Scene) -> None:
    log = PageLog()
    ledger = Ledger("batched", "syscall_or_cpuset", log=log)
    names = ["async 1", "async 2", "after reclaim", "sync 1", "sync 2", "sync 4"]
    ledger.passes = [Pass(name, 1, 0, {}) for name in names]
    log.note(Fate.QUEUED, 5, at=PAGE)
    for stage in range(len(names) + 1):  # and one that has not ended
        log.stage = stage
        log.note(Fate.LEFT, 5, why=Reason.LOCKED if stage < 5 else Reason.PINNED)
    [run] = page_runs(scene.mem, ledger)
    assert [(t.reason, t.passes) for t in run.tries] == [
        (Reason.LOCKED, "async 1-2, after reclaim, sync 1-2"),
        (Reason.PINNED, "sync 4, the last"),
    ]


def test_a_part_of_a_run(scene: Scene) -> None:
    [run] = scene.vacate()
    part = run.part(scene.data + PAGE, scene.data + 3 * PAGE)
    assert (part.start, part.pages, part.frames) == (scene.data + PAGE, 2, run.frames[1:3])
    assert run.part(0, 1 << 60) == run


def test_a_log_has_an_end() -> None:
    log = PageLog()
    for _ in range(1 << 22):
        log.note(Fate.QUEUED, 1)
    assert (len(log), log.lost) == (1 << 22, 0)
    log.note(Fate.MOVED, 1)
    assert (len(log), log.lost) == (1 << 22, 1)


def test_every_reason_has_a_rule() -> None:
    assert REASONS.keys() == set(Reason) - {Reason.NONE}
    for reason, rule in REASONS.items():
        assert rule.text.endswith(".")
        assert "(" in rule.where
        assert word(reason)
