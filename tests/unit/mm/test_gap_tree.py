"""The tree of gaps against a list of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from numalab.mm.gap_tree import GapTree

PAGE = 4096
#: Places near each other and far apart, so that searches climb and descend.
places = st.one_of(
    st.integers(0, 200),
    st.integers(0, 1 << 20),
    st.integers((1 << 35) - 100, 1 << 35),
    st.integers(0, (1 << 48) - 1),
).map(lambda page: page * PAGE)
lengths = st.one_of(st.just(0), st.integers(1, 5), st.integers(1, 1 << 40)).map(lambda pages: pages * PAGE)


@given(st.lists(st.tuples(places, lengths), max_size=60), st.lists(st.tuples(places, lengths), min_size=1))
def test_it_finds_what_a_look_at_all_gaps_finds(
    changes: list[tuple[int, int]], questions: list[tuple[int, int]]
) -> None:
    tree, gaps = GapTree(), {}
    for start, length in changes:
        tree.set(start, length)
        gaps[start] = length
    gaps = {start: length for start, length in gaps.items() if length}
    assert tree.items() == sorted(gaps.items())
    for at, length in [*questions, *gaps.items()]:
        wanted = max(length, PAGE)
        enough = [start for start, longest in gaps.items() if longest >= wanted]
        assert tree.highest(at, wanted) == max((start for start in enough if start < at), default=None)
        assert tree.lowest(at, wanted) == min((start for start in enough if start > at), default=None)
        assert tree.length(at) == gaps.get(at, 0)


def test_nothing_stays_of_gaps_that_went() -> None:
    tree = GapTree()
    for page in range(0, 10_000, 2):
        tree.set(page * PAGE, PAGE)
    for page in range(0, 10_000, 2):
        tree.set(page * PAGE, 0)
    assert tree.items() == []
    assert not any(tree._levels)
