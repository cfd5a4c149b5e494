"""docs/semantics.md says nothing that no recording shows: each row and item names scenarios, and they are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from numalab.tools.conform import recorded, scenarios_of

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs/semantics.md").read_text()

NAMES = r"`[a-z0-9-]+`(?:, `[a-z0-9-]+`)*"
BRACKETS = re.compile(rf"\(({NAMES})\)")


def contents_and_sections() -> tuple[str, str]:
    contents, start, sections = PAGE.partition("\n## ")
    return contents, start + sections


def rows(text: str) -> Iterator[str]:
    """Rows of tables, without their heads."""
    lines = text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("|") and not line.startswith("| ---") and not following.startswith("| ---"):
            yield line


def items(text: str) -> Iterator[str]:
    """Items of lists, each on one line."""
    return (" ".join(item.split()) for item in re.findall(r"^\* .*(?:\n  .*)*", text, re.MULTILINE))


def proof(statement: str) -> str | None:
    """The scenarios that a row has in its last cell, an item in brackets at its end."""
    form = rf"\| ({NAMES}) \|" if statement.startswith("|") else rf"\(({NAMES})\)\."
    found = re.search(form + "$", statement)
    return found and found[1]


def test_each_row_and_item_names_its_proof() -> None:
    _, sections = contents_and_sections()
    statements = [*rows(sections), *items(sections)]
    assert len(statements) > 250
    assert [statement for statement in statements if proof(statement) is None] == []


def test_the_scenarios_named_are_recorded_and_equal() -> None:
    scenarios = set(scenarios_of(HERE))
    listed = set((HERE / "equal.txt").read_text().split())
    _, sections = contents_and_sections()
    cells = (proof(row) or "" for row in rows(sections))
    for name in re.findall(r"`(.*?)`", " ".join([*cells, *BRACKETS.findall(sections)])):
        assert name in scenarios
        machines = [m for m in recorded(HERE) if (HERE / "golden" / m / f"{name}.out").exists()]
        assert machines, f"{name} is not recorded"
        assert {f"{machine}/{name}" for machine in machines} <= listed


def test_the_contents_are_the_sections() -> None:
    contents, sections = contents_and_sections()
    heads = re.findall(r"^## (.*)$", sections, re.MULTILINE)
    links = dict(re.findall(r"\[([^]]+)\]\(#([^)]+)\)", contents))
    assert sorted(links.values()) == sorted(head.lower().replace(",", "").replace(" ", "-") for head in heads)


def test_it_stays_a_page_that_can_be_read() -> None:
    lines = PAGE.splitlines()
    assert len(lines) <= 550
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("| 1 | a check | EINVAL | `mbind-errors`, `mbind-perm` |", "`mbind-errors`, `mbind-perm`"),
        ("| 1 | a check of `maxnode` | EINVAL | |", None),
        ("* Pages stay (`mbind-errors`).", "`mbind-errors`"),
        ("* Pages stay (`mbind-errors`), and more.", None),
        ("* Pages of `MOVE` stay.", None),
    ],
)
def test_what_counts_as_a_proof(statement: str, expected: str | None) -> None:
    assert proof(statement) == expected
