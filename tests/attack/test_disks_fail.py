"""The Nth request to a disk fails, or takes for ever, or there is no room for the Nth page: for every N.

A failed write leaves half of each page on the disk. After each run no byte is lost but those that a file has complained
about, whoever could not have a page was told so, and neither frames nor slots stay behind.
"""

from __future__ import annotations

from typing import Any

import pytest

from numalab.mm import _swap_reference, _vmscan_reference
from numalab.mm.migrate.engine import ENGINES

from tests.attack.disk_cases import CASES
from tests.attack.troubles import Case, Kind, firsts, trial

QUICK = ("page_out_again", "inherit_from_swap", "evict_others", "swapoff", "file_map_sync", "file_read")
#: Trials of one kind, where a program has more requests than that.
MOST = 24


def trials(case: Case, engine: str, most: int, *, twins: bool = False) -> tuple[int, int, list[str]]:
    """How many there were, in how many a disk has failed, and what went wrong in which."""
    well = trial(case, engine, twins=twins)
    tried = failed = 0
    wrong = []
    for kind in Kind:
        every = firsts(well, kind)
        for first in every[:: max(1, len(every) // most)]:
            tried += 1
            try:
                lab = trial(case, engine, kind, first, twins=twins)
            except Exception as error:  # noqa: BLE001 - whatever it is, the trial has failed
                wrong.append(f"{kind.name} {first}: {type(error).__name__}: {error}")
            else:
                failed += bool(lab.plan.failed_reads or lab.plan.failed_writes)
    return tried, failed, wrong


@pytest.mark.parametrize("engine", sorted(ENGINES))
@pytest.mark.parametrize("name", QUICK)
def test_each_request_fails_in_its_turn(name: str, engine: str) -> None:
    tried, failed, wrong = trials(CASES[name], engine, 6)
    assert not wrong
    assert tried > failed > 0


@pytest.mark.slow
@pytest.mark.parametrize("engine", sorted(ENGINES))
@pytest.mark.parametrize("name", CASES)
def test_each_request_of_each_case_fails_in_its_turn(name: str, engine: str) -> None:
    tried, failed, wrong = trials(CASES[name], engine, MOST)
    assert not wrong
    assert tried > failed
    assert failed or (name == "evict" and engine != "swap"), "there was nothing that could fail"


@pytest.mark.long
@pytest.mark.parametrize("engine", sorted(ENGINES))
@pytest.mark.parametrize("name", CASES)
def test_each_request_fails_on_the_plain_python_kernels(name: str, engine: str) -> None:
    _, _, wrong = trials(CASES[name], engine, 8, twins=True)
    assert not wrong


@pytest.mark.long
@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_every_request_under_pressure_fails_in_its_turn(engine: str) -> None:
    tried, _, wrong = trials(CASES["pressure"], engine, 1 << 20)
    assert not wrong
    assert tried > 500


def unless_it_failed(function: Any) -> Any:
    """The kernel, for which everything always goes well."""
    return lambda mem, what, ok: function(mem, what, True)


@pytest.mark.parametrize(
    ("module", "name", "case", "complaint"),
    [
        (_vmscan_reference, "end_writeback", "page_out", " not b'<page"),
        (_swap_reference, "end_read", "page_out", "nobody was told"),
    ],
)
def test_a_kernel_that_hears_of_no_error_is_found(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, case: str, complaint: str
) -> None:
    monkeypatch.setattr(module, name, unless_it_failed(getattr(module, name)))
    _, _, wrong = trials(CASES[case], "batched", 30, twins=True)
    assert wrong
    assert any(complaint in line for line in wrong)
