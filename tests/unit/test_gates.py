"""Gates: what bounds mean, and that every gate of gates.toml is one that can be judged."""

from pathlib import Path

import pytest

from benchmarks.gate import Bound, Gate, Skipped, read_gates


def gate(must: str, goal: str) -> Gate:
    return Gate("some-gate", Bound.parse(must), Bound.parse(goal))


@pytest.mark.parametrize(
    ("must", "goal", "value", "verdict"),
    [
        ("<= 1.15", "<= 1.05", 1.05, "goal"),
        ("<= 1.15", "<= 1.05", 1.1, "holds"),
        ("<= 1.15", "<= 1.05", 1.16, "falls short"),
        (">= 12", ">= 25", 25.0, "goal"),
        (">= 12", ">= 25", 12.0, "holds"),
        (">= 12", ">= 25", 11.9, "falls short"),
    ],
)
def test_verdict(must: str, goal: str, value: float, verdict: str) -> None:
    this = gate(must, goal)
    assert this.verdict(value) == verdict
    assert this.passes(value) == (verdict != "falls short")


def test_what_the_host_forbids_does_not_fail() -> None:
    this = gate("<= 1", "<= 1")
    assert this.passes(Skipped("no move_pages"))
    assert this.verdict(Skipped("no move_pages")) == "skipped: no move_pages"
    assert this.better(Skipped("no move_pages"), 3.0) == this.better(3.0, Skipped("no move_pages")) == 3.0


def test_the_better_try_counts() -> None:
    assert gate("<= 2", "<= 1").better(1.5, 3.0) == 1.5
    assert gate(">= 2", ">= 3").better(1.5, 3.0) == 3.0


@pytest.mark.parametrize("text", ["1.15", "< 1.15", "<= fast", "<=1.15"])
def test_a_bound_says_which_way(text: str) -> None:
    with pytest.raises(ValueError, match=r"bound is|could not convert"):
        Bound.parse(text)


def test_each_table_is_a_module_and_goals_lie_beyond_musts() -> None:
    gates = read_gates()
    folder = Path(__file__).parents[2] / "benchmarks/measure"
    assert set(gates) <= {path.stem for path in folder.glob("*.py")}
    for this in (gate for table in gates.values() for gate in table):
        assert this.must.text[:2] == this.goal.text[:2]
        must, goal = (float(bound.text[3:]) for bound in (this.must, this.goal))
        assert goal <= must if this.must.text.startswith("<") else goal >= must
