"""Every recorded scenario against the machine of the same name."""

from pathlib import Path

import pytest

from numalab.tools.conform import Comparison, Tally, compare_scenario, recorded

HERE = Path(__file__).parent
RECORDINGS = sorted((path.parent.name, path.stem) for path in HERE.glob("golden/*/*.out"))


def must_be() -> tuple[set[str], dict[str, float]]:
    """What equal.txt demands: scenarios equal in full, and the share of telling lines of each machine in percent."""
    equal, shares = set(), {}
    for line in (HERE / "equal.txt").read_text().splitlines():
        words = line.partition("#")[0].split()
        if len(words) == 3 and words[0] == "telling":
            shares[words[1]] = float(words[2])
        elif words:
            equal.add(words[0])
    return equal, shares


EQUAL, SHARES = must_be()


def compare(machine: str, scenario: str) -> Comparison:
    comparison = compare_scenario(HERE, machine, scenario)
    assert comparison is not None
    return comparison


@pytest.mark.parametrize(("machine", "scenario"), RECORDINGS, ids=str)
def test_scenario(machine: str, scenario: str) -> None:
    comparison = compare(machine, scenario)
    wrong = [f"{d.number} {d.operation}: expected {d.expected}, got {d.got}" for d in comparison.differences]
    assert not [line for line in wrong if "internal:" in line], "an operation ended in an exception of ours"
    if f"{machine}/{scenario}" in EQUAL:
        assert not wrong, "\n".join(wrong)
    else:
        assert wrong, f"equal in full by now: add {machine}/{scenario} to equal.txt"


@pytest.mark.slow
@pytest.mark.parametrize("machine", recorded(HERE))
def test_share_of_telling_lines(machine: str) -> None:
    tally = Tally()
    for name, scenario in RECORDINGS:
        if name == machine:
            tally.add(compare(machine, scenario))
    assert 100 * tally.telling_equal / tally.telling >= SHARES[machine]


def test_the_list_names_recordings() -> None:
    assert {f"{machine}/{scenario}" for machine, scenario in RECORDINGS} >= EQUAL
    assert set(recorded(HERE)) == set(SHARES)
