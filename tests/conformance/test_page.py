"""docs/conformance.md says which recordings there are, and that all answers are equal where they must be."""

from __future__ import annotations

import re
from pathlib import Path

from numalab.tools.conform import Comparison, parse_answers, recorded, scenarios_of
from numalab.tools.conformance_page import render

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs/conformance.md"


def equal(machine: str, scenario: str, recording: str) -> Comparison:
    """What a comparison without a difference would say."""
    answers = [answer for _, answer in parse_answers(recording).values()]
    telling = sum(answer not in {"ret=0", "ret=0 bad_pages=0"} for answer in answers)
    return Comparison(machine, scenario, len(answers), telling)


def test_the_page_is_what_the_recordings_say() -> None:
    """test_conform.py holds every scenario of equal.txt to its recording; the page has the same numbers."""
    listed = set((HERE / "equal.txt").read_text().split())
    results = []
    for machine in recorded(HERE):
        for scenario in scenarios_of(HERE):
            path = HERE / "golden" / machine / f"{scenario}.out"
            if path.exists():
                assert f"{machine}/{scenario}" in listed
                results.append(equal(machine, scenario, path.read_text("latin-1")))
    page = PAGE.read_text()
    day = re.search(r" on (\d{4}-\d\d-\d\d); do not edit", page)
    assert day is not None
    assert page == render(HERE, results, day[1])
