"""A small machine whose page tables a test builds by hand, page by page."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from numalab.arch import _pagetable_reference as pt
from numalab.arch._hw import Hardware
from numalab.arch.topology import load


class Tables:
    """Page tables of one address space on a machine of 16 MiB: tables in frames 1.., data from frame 1024 on."""

    asid = 5

    def __init__(self, levels: int) -> None:
        topology = load("2x8M,cpus=2")
        self.hw = Hardware(replace(topology, boot={"page_table_levels": levels}))
        self.next_table = 1
        self.pgd = self.new_table()

    def new_table(self) -> int:
        self.next_table += 1
        return (self.next_table - 1) << 12

    def map(
        self, va: int, pfn: int, flags: int = pt.PTE_PRESENT | pt.PTE_RW | pt.PTE_USER, *, huge: bool = False
    ) -> int:
        """Map one page (or 2 MiB); returns the physical address of the leaf."""
        return pt.map_pte(self.hw, self.pgd, va, pfn << 12 | flags, self.new_table, huge=huge)

    def word(self, pa: int) -> int:
        return int.from_bytes(self.hw.read_phys(pa, 8), "little")

    def store(self, pa: int, value: int) -> None:
        self.hw.write_phys(pa, value.to_bytes(8, "little"))


@pytest.fixture(params=[4, 5], ids=["4-level", "5-level"])
def tables(request: pytest.FixtureRequest) -> Iterator[Tables]:
    built = Tables(request.param)
    yield built
    built.hw.close()


@pytest.fixture
def make_tables() -> Callable[[int], Tables]:
    return Tables
