"""What docs/reliability.md says, on smaller machines."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from numalab import boot
from numalab.kernel.machine import Machine
from numalab.syscalls.sys import Sys

from tests.reliability.load import Load, Outcome, run
from tests.reliability.many import many, storms
from tests.reliability.pattern import PAGE, Pattern
from tests.reliability.removal import offline, offline_in_vain, vacate
from tests.reliability.storm import Storm, mistakes
from tests.reliability.why import NO_REASON

SMALL = Load(frames=1 << 13, workers=8, writers=2, patience=6)


def check_nothing_lost(out: Outcome) -> None:
    assert (out.lost, out.died, out.broken) == (0, 0, 0)
    assert out.verified > out.taken > 0.94 * out.frames
    assert min(out.locked, out.writeback) > 0.04 * out.frames
    assert out.held > 0.01 * out.frames
    assert out.rounds > 0, "nobody worked meanwhile"


@pytest.mark.parametrize("engine", ["batched", "direct"])
def test_a_node_in_use_is_taken_away(engine: str) -> None:
    out = run(engine, SMALL, 1, offline)
    check_nothing_lost(out)
    assert out.answers == [""]
    assert out.managed == 0
    assert out.moved >= out.taken
    assert out.tries["pinned"] > 0
    assert out.tries["writeback"] > 0


@pytest.mark.parametrize("engine", ["batched", "direct"])
def test_a_page_that_is_never_let_go_keeps_its_node_as_it_was(engine: str) -> None:
    out = run(engine, SMALL, 1, offline_in_vain)
    check_nothing_lost(out)
    assert out.answers == ["EINTR"]
    assert out.managed == out.frames


@pytest.mark.parametrize("engine", ["batched", "direct", "swap"])
def test_migrate_pages_alone_leaves_what_has_a_reason(engine: str) -> None:
    out = run(engine, SMALL, 1, vacate)
    check_nothing_lost(out)
    assert out.left[NO_REASON] == 0
    assert out.left["pinned"] > 0
    assert (out.left["mlocked"] > 0) == (engine != "batched")


@pytest.mark.slow
def test_storms() -> None:
    part = storms(0, 200)
    tally = part.tally
    assert part.wrong == {}
    assert tally["machines"] == 200
    assert tally["moved"] > 20_000
    for reason in ("pinned", "writeback", "target full", "mlocked", "no swap"):
        assert tally[f"left: {reason}"] > 0, reason


def test_a_changed_byte_is_seen() -> None:
    def main(sys: Sys) -> None:
        pattern = Pattern(sys.mmap(300 * PAGE), 300, 7)
        pattern.fill(sys)
        pattern.stamp(sys, 299)
        assert pattern.lost(sys) == 0
        before = sys.memory.read(pattern.addr + 290 * PAGE + 9, 1)[0]
        sys.memory.write(pattern.addr + 290 * PAGE + 9, bytes([before ^ 1]))
        assert pattern.lost(sys) == 1

    with boot("2x8M") as machine:
        assert isinstance(machine, Machine)
        assert machine.run(main) == 0


def test_every_kind_of_mistake_is_one() -> None:
    tally = Counter(
        {
            "lost": 1,
            "broken": 1,
            "died": 1,
            "left: no reason": 1,
            "failed": 1,
            "moved": 5,
            "killed: disk error": 1,
        }
    )
    assert set(mistakes(tally)) == {"lost", "broken", "died", "left: no reason", "failed"}


def test_a_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.reliability.many.STEP", 2)
    record = tmp_path / "record"
    with ThreadPoolExecutor(1) as pool:
        first = many(pool, 0, 4, record)
        line, _, rest = record.read_text().partition("\n")
        record.write_text(line + "\n")
        assert many(pool, 0, 4, record) == first == many(pool, 0, 4)
    assert record.read_text() == f"{line}\n{rest}"
    assert (first.count, first.tally["machines"], first.wrong) == (4, 4, {})


def test_a_machine_that_fails_is_told_by_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(storm: Storm) -> None:
        if storm.seed == 8:
            raise RuntimeError("it fails")

    monkeypatch.setattr(Storm, "run", fail)
    part = storms(7, 3)
    assert part.wrong == {"8": "{'failed': 1} RuntimeError: it fails"}
