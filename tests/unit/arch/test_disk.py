"""A disk serves one request after the other, and what is wrong with a request is seen afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from numalab.arch._hw import Hardware
from numalab.arch.disk import FINE, PAGE_SIZE, Disk, Trouble
from numalab.arch.timers import Timers


class Bench:
    def __init__(self) -> None:
        self.hw = Hardware("1x4M")
        self.timers = Timers(self.hw)
        self.disk = Disk(self.hw, self.timers, "disk", 4)
        self.disk.store[:] = 7
        self.ended: list[tuple[str, bool, int]] = []

    def read(self, name: str) -> None:
        self.disk.read(1, lambda ok: self.ended.append((name, ok, self.hw.now)))

    def write(self, name: str, *blocks: int) -> None:
        self.disk.write(len(blocks), lambda: blocks, lambda ok: self.ended.append((name, ok, self.hw.now)))

    def wait(self) -> list[tuple[str, bool, int]]:
        while self.timers.skip():
            pass
        return self.ended


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.hw.close()


def test_one_request_after_the_other(bench: Bench) -> None:
    bench.disk.latency, bench.disk.page_ns = 100, 10
    bench.read("one")
    bench.write("two", 1, 2)
    assert bench.wait() == [("one", True, 110), ("two", True, 230)]
    assert (bench.disk.reads, bench.disk.writes) == (1, 2)


def test_a_write_that_fails_is_torn(bench: Bench) -> None:
    """Half of each of its pages is as it was written, the other is anything else; a read that fails changes nothing."""
    bench.disk.failing = True
    bench.write("torn", 1, 3)
    bench.read("lost")
    assert [ok for _, ok, _ in bench.wait()] == [False, False]
    halves = bench.disk.store.reshape(-1, PAGE_SIZE // 2)
    assert [bool((half == 7).all()) for half in halves] == [True] * 3 + [False] + [True] * 3 + [False]
    assert not (halves[[3, 7]] == 7).any()


def test_a_single_request_goes_wrong(bench: Bench) -> None:
    troubles = iter((FINE, Trouble(ns=1000), Trouble(error=True), FINE))
    asked = []

    def trouble(write: bool) -> Trouble:
        asked.append(write)
        return next(troubles)

    bench.disk.trouble = trouble
    assert not bench.disk.synchronous
    for name in "abcd":
        bench.read(name)
    assert bench.wait() == [("a", True, 0), ("b", True, 1000), ("c", False, 1000), ("d", True, 1000)]
    assert asked == [False] * 4
