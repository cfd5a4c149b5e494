"""Areas that map the same pages, found by page: whatever came, went and changed, as if all had been looked at."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from numalab.mm._mm_types import VMA, AnonVma

from tests.mm_machine import PAGE, MmMachine

pages = st.integers(0, 300)
spans = st.tuples(pages, st.one_of(st.integers(1, 4), st.integers(1, 200)))
step = st.one_of(
    st.tuples(st.just("attach"), spans),
    st.tuples(st.just("attach"), spans),
    st.tuples(st.just("detach"), st.integers(0, 1 << 16)),
    st.tuples(st.just("set range"), st.integers(0, 1 << 16), spans),
    st.tuples(st.just("ask"), spans),
)


@given(
    start=st.lists(spans, min_size=50, max_size=90),
    steps=st.lists(step, min_size=20, max_size=150),
)
def test_areas_are_found_by_page(start: list[tuple[int, int]], steps: list[tuple[object, ...]]) -> None:
    """From 60 areas on there is a tree; below, each is looked at."""
    with MmMachine("1x8M") as m:
        mm = m.new_mm()
        root = AnonVma(m.mem)
        there: list[VMA] = []

        def attach(first: int, count: int) -> None:
            vma = VMA(mm, PAGE, PAGE + count * PAGE, first, 0)
            root.attach(vma)
            there.append(vma)

        def check(first: int, count: int) -> None:
            wanted = [vma for vma in root.vmas if vma.pgoff < first + count and first < vma.pgoff + size(vma)]
            assert root.areas(first, first + count - 1) == wanted

        for span in start:
            attach(*span)
        for name, *args in steps:
            match name, args:
                case "attach", [(int(first), int(count))]:
                    attach(first, count)
                case "detach", [int(n)] if there:
                    root.detach(there.pop(n % len(there)))
                case "set range", [int(n), (int(first), int(count))] if there:
                    there[n % len(there)].set_range(PAGE, PAGE + count * PAGE, first)
                case "ask", [(int(first), int(count))]:
                    check(first, count)
            check(0, 1 << 20)
        for vma in there:
            root.detach(vma)
        assert root.areas(0, 1 << 20) == []
        root.close()


def size(vma: VMA) -> int:
    return (vma.end - vma.start) // PAGE
