"""Page copies: every path that this CPU can run moves the same bytes, and only those."""

from collections.abc import Iterator

import numpy as np
import pytest

from numalab.arch import _copy
from numalab.arch._hw import Hardware


@pytest.fixture(params=_copy.paths())
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _copy.which()
    _copy.choose(request.param)
    yield request.param
    _copy.choose(before)


def random_machine() -> Hardware:
    hw = Hardware("1x1M")
    hw.ram[:] = np.random.default_rng(7).integers(0, 256, hw.ram.nbytes, dtype=np.uint8)
    return hw


def test_copy(path: str) -> None:
    with random_machine() as hw:
        assert _copy.which() == path
        pages = hw.ram.reshape(-1, 4096)
        expected = pages.copy()
        src = np.array([3, 200, 17, 3, 255], dtype=np.uint64)
        dst = np.array([90, 0, 254, 91, 100], dtype=np.uint64)
        expected[dst] = expected[src]
        _copy.copy_pages(hw, src, dst)
        assert np.array_equal(pages, expected)


def test_pages_are_copied_in_order(path: str) -> None:
    with random_machine() as hw:
        first = hw.read_phys(0, 4096)
        _copy.copy_pages(hw, np.arange(8, dtype=np.uint64), np.arange(1, 9, dtype=np.uint64))
        assert all(hw.read_phys(i * 4096, 4096) == first for i in range(9))


def test_zero(path: str) -> None:
    with random_machine() as hw:
        pages = hw.ram.reshape(-1, 4096)
        expected = pages.copy()
        pfns = np.array([0, 13, 255], dtype=np.uint64)
        expected[pfns] = 0
        _copy.zero_pages(hw, pfns)
        assert np.array_equal(pages, expected)


def test_nothing_to_do(path: str) -> None:
    with random_machine() as hw:
        none = np.zeros(0, dtype=np.uint64)
        before = hw.ram.copy()
        _copy.copy_pages(hw, none, none)
        _copy.zero_pages(hw, none)
        assert np.array_equal(hw.ram, before)


def test_wrong_arguments() -> None:
    with random_machine() as hw:
        one, two = np.array([1], dtype=np.uint64), np.array([1, 256], dtype=np.uint64)
        with pytest.raises(ValueError, match="1 source pages, but 2 targets"):
            _copy.copy_pages(hw, one, two)
        with pytest.raises(ValueError, match="outside RAM"):
            _copy.copy_pages(hw, two, two)
        with pytest.raises(ValueError, match="outside RAM"):
            _copy.zero_pages(hw, two)
        with pytest.raises(ValueError, match="not one of"):
            _copy.choose("floppy")


def test_the_best_path_is_chosen_at_import() -> None:
    assert _copy.paths()[0] == "memcpy"
    assert _copy.which() == _copy.paths()[-1]
