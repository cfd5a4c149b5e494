"""How answers are written."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numalab.tools.scn import text


@pytest.mark.parametrize(
    ("items", "written"),
    [([], "none"), (["0"], "0"), (["0", "0", "-ENOENT", "1", "1"], "0*2,-ENOENT,1*2")],
)
def test_rle(items: list[str], written: str) -> None:
    assert text.rle(items) == written


@pytest.mark.parametrize(
    ("mask", "written"),
    [
        (b"", "{}"),
        (b"\0\0", "{}"),
        (b"\x0d", "{0,2-3}"),
        (b"\xff\xff", "{0-15}"),
        (b"\x80\x01", "{7-8}"),
        (b"\x01\x01", "{0,8}"),
    ],
)
def test_masks(mask: bytes, written: str) -> None:
    assert text.mask_text(mask) == written


@given(st.sets(st.integers(0, 200), max_size=20))
def test_a_mask_names_its_bits(bits: set[int]) -> None:
    written = text.mask_text(sum(1 << b for b in bits).to_bytes(26, "little"))
    named = set()
    for piece in filter(None, written.strip("{}").split(",")):
        low, _, high = piece.partition("-")
        named |= set(range(int(low), int(high or low) + 1))
    assert named == bits


@pytest.mark.parametrize(
    ("mode", "written"),
    [
        (0, "default"),
        (2 | 1 << 15, "bind|static"),
        (7, "7"),
        (2 | 1 << 14 | 1 << 13, "bind|relative|balancing"),
    ],
)
def test_modes(mode: int, written: str) -> None:
    assert text.mode_text(mode) == written


def test_results() -> None:
    assert text.result(3) == "ret=3"
    assert text.result(-errno.EFAULT) == "ret=-1 err=EFAULT"
    assert (
        text.result(-errno.ENOTTY) == f"ret=-1 err=E{errno.ENOTTY}"
    )  # a name that the recorder does not know


def test_statuses() -> None:
    assert [text.status_text(v) for v in (2, -errno.ENOENT, text.SENTINEL)] == ["2", "-ENOENT", "?"]
