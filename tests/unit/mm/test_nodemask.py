"""Node masks: text, ranks, and the three mappings, each against a model of lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numalab.arch.errno import EINVAL, EOVERFLOW, ERANGE, KernelError
from numalab.mm.nodemask import (
    MAX_NUMNODES,
    first_node,
    next_node,
    next_node_in,
    node_remap,
    nodelist,
    nodelist_parse,
    nodemask_hex,
    nodes_fold,
    nodes_in,
    nodes_onto,
    nodes_remap,
    nodes_weight,
)

masks = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 255))


def bits(mask: int) -> list[int]:
    """The model: the set bits as a list."""
    return [n for n in range(64) if mask >> n & 1]


@given(masks)
def test_counting(mask: int) -> None:
    assert list(nodes_in(mask)) == bits(mask)
    assert nodes_weight(mask) == len(bits(mask))
    assert first_node(mask) == min(bits(mask), default=MAX_NUMNODES)


@given(masks, st.integers(0, 63))
def test_the_next_node(mask: int, node: int) -> None:
    above = [n for n in bits(mask) if n > node]
    assert next_node(node, mask) == min(above, default=MAX_NUMNODES)
    assert next_node_in(node, mask) == min(above or bits(mask), default=MAX_NUMNODES)


@given(masks, st.integers(1, 64))
def test_fold(mask: int, size: int) -> None:
    assert bits(nodes_fold(mask, size)) == sorted({n % size for n in bits(mask)})


@given(masks, masks)
def test_onto(mask: int, relmap: int) -> None:
    places = bits(relmap)
    assert bits(nodes_onto(mask, relmap)) == [places[n] for n in bits(mask) if n < len(places)]


@given(masks, masks, masks)
def test_remap(src: int, old: int, new: int) -> None:
    rank = {n: i for i, n in enumerate(bits(old))}
    places = bits(new)
    model = {places[rank[n] % len(places)] if n in rank and places else n for n in bits(src)}
    assert bits(nodes_remap(src, old, new)) == sorted(model)
    for node in bits(src):
        assert node_remap(node, old, new) in model


@given(masks)
def test_text_there_and_back(mask: int) -> None:
    assert nodelist_parse(nodelist(mask)) == mask
    assert int(nodemask_hex(mask).replace(",", ""), 16) == mask


@pytest.mark.parametrize(
    ("mask", "text"),
    [(0, ""), (1, "0"), (0b1101, "0,2-3"), (0b11, "0-1"), (2**64 - 1, "0-63"), (1 << 63, "63")],
)
def test_lists(mask: int, text: str) -> None:
    assert nodelist(mask) == text


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        ("", 0),
        ("0,2-3\n", 0b1101),
        (" 1 , 3 ", 0b1010),
        ("1 3", 0b1010),
        (",,2,,", 0b100),
        ("all", 0xFF),
        ("5-N", 0xE0),
        ("N", 0x80),
        ("0-7:2/4", 0b00110011),
        ("all:1/2", 0b01010101),
        ("3-3", 0b1000),
    ],
)
def test_parsing(text: str, mask: int) -> None:
    assert nodelist_parse(text, 8) == mask


@pytest.mark.parametrize(
    ("text", "errno"),
    [
        ("x", EINVAL),
        ("1-", EINVAL),
        ("-1", EINVAL),
        ("3-1", EINVAL),
        ("0x1", EINVAL),
        ("3:1/2", EINVAL),
        ("0-7:3/2", EINVAL),
        ("0-7:1", EINVAL),
        ("0-7:0/0", EINVAL),
        ("²", EINVAL),
        ("8", ERANGE),
        ("7-8", ERANGE),
        ("4294967295", EINVAL),
        ("4294967296", EOVERFLOW),
        ("0-7:1/4294967296", EOVERFLOW),
    ],
)
def test_what_is_no_list(text: str, errno: int) -> None:
    with pytest.raises(KernelError) as refusal:
        nodelist_parse(text, 8)
    assert refusal.value.errno == errno


def test_hex_groups() -> None:
    assert nodemask_hex(0b11) == "00000000,00000003"
    assert nodemask_hex(1 << 40, 64) == "00000100,00000000"
