"""The sections of docs/reliability.md on interleavings and hostile calls, from small runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attack.test_calls import Attack
from tests.interleave.bugs import BUGS, Bug
from tests.reliability import __main__ as command
from tests.reliability.explored import Attacked, Explored, attack, attacks, explore, explored_page, plant
from tests.reliability.load import Load


def test_the_page_says_what_was_run() -> None:
    explored = [explore("migrate_exit", 2), explore("mbind_fault", 0)]
    planted = [plant("migration_forgets_the_flush")]
    attacked = [attack("swap", 5, 300), attack("direct", 6, 200)]
    text = explored_page(explored, planted, attacked)
    assert {each.failure for each in explored} | {each.failure for each in attacked} == {""}
    assert [len(each.runs) for each in explored] == [3, 3]
    assert f"with one preemption | {sum(each.runs[1] for each in explored)} |" in text
    assert "of those with two\nthe first 2 of each program." in text
    assert "| schedules with two | 2 |" in text
    assert "| migration forgets the flush | any | 1 |" in text
    assert "500 calls on 2 machines" in text
    assert "| programs that failed | **0** |" in text
    assert "| exceptions, invariants broken | **0** |" in text


def test_what_goes_wrong_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(attacker: Attack) -> None:
        raise RuntimeError("it fails")

    monkeypatch.setattr(Attack, "run", fail)
    monkeypatch.setitem(BUGS, "none", Bug(list, "migrate_exit", ""))
    attacked, planted = attack("swap", 5, 300), plant("none")
    assert attacked == Attacked("swap", 5, 0, 0, frozenset(), "RuntimeError: it fails")
    assert planted.schedule is None
    text = explored_page([Explored("x", failure="y")], [planted], [attacked])
    assert "| exceptions, invariants broken | **1** |" in text
    assert "| programs that failed | **1** |" in text
    assert "**not found**" in text


def test_calls_are_spread_over_machines_and_engines() -> None:
    assert list(attacks(7, 80_000)) == [
        ("batched", 7, 25_000),
        ("direct", 8, 25_000),
        ("swap", 9, 25_000),
        ("batched", 10, 5_000),
    ]


@pytest.mark.slow
def test_one_command_runs_it_all_and_writes_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    monkeypatch.setattr(command, "PAGE", page)
    monkeypatch.setattr(command, "Load", lambda: Load(frames=1 << 13, workers=8, writers=2, patience=6))
    monkeypatch.setattr(command, "CASES", ["migrate_exit"])
    monkeypatch.setattr(command, "BUGS", ["migration_forgets_the_flush"])
    monkeypatch.setattr("sys.argv", ["reliability", "--count", "3", "--schedules", "2", "--calls", "300"])
    assert command.main() == 0
    assert capsys.readouterr().out.startswith("nothing was lost\n3 small machines, ")
    text = page.read_text(encoding="utf-8")
    for section in (
        "A full node",
        "migrate_pages alone",
        "3 small machines",
        "Interleavings",
        "Hostile calls",
    ):
        assert f"{section}" in text
    assert "300 calls on 1 machines" in text
