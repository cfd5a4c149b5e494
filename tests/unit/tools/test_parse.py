"""The scenario language's grammar: examples whose meaning was recorded, and random lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numalab.tools.scn import parse
from numalab.tools.scn.parse import BADPTR, KERNPTR, PAGE, Region, ScriptError, Span

A = Region("a", 0x1000000, 8 * PAGE)
MAX = (1 << 64) - 1


@pytest.mark.parametrize(
    ("text", "addr", "length"),
    [
        ("a", A.base, 8 * PAGE),
        ("a+2", A.base + 2 * PAGE, 6 * PAGE),
        ("a+2.100", A.base + 2 * PAGE + 100, 6 * PAGE - 100),
        ("a+2:3", A.base + 2 * PAGE, 3 * PAGE),
        ("a+9", A.base + 9 * PAGE, 0),
        ("a:1b", A.base, 1),
        ("a:8K", A.base, 8192),
        ("a:1M", A.base, 1 << 20),
        ("a:max", A.base, MAX),
        ("a:", A.base, 0),
        ("a+:2", A.base, 2 * PAGE),
        ("a+-1:1", A.base - PAGE, PAGE),
        ("a+010:1", A.base + 8 * PAGE, PAGE),
        ("a+08:1", A.base, 8 * PAGE),  # an octal 0, and nothing is read behind it
        ("a+7x:1", A.base + 7 * PAGE, PAGE),
        ("null", 0, PAGE),
        ("bad:2", BADPTR, 2 * PAGE),
        ("kern+1", KERNPTR + PAGE, PAGE),
        ("0x5000", 0x5000, PAGE),
        ("0xzz:3", 0, 3 * PAGE),
    ],
)
def test_ranges(text: str, addr: int, length: int) -> None:
    span = parse.parse_range(text, [A])
    assert (span.addr, span.length) == (addr % (1 << 64), length)


def test_a_region_may_hide_a_special_base() -> None:
    null = Region("null", 0x9000, PAGE)
    assert parse.parse_range("null", [null]).addr == 0x9000


@pytest.mark.parametrize("text", ["b", "0X10", "aa", "", ":3"])
def test_no_such_region(text: str) -> None:
    with pytest.raises(ScriptError, match=r"^no-such-region:"):
        parse.parse_range(text, [A])


def test_spans_count_pages_as_a_loop_does() -> None:
    assert Span(0, 1, None).pages == 1
    assert Span(100, PAGE, None).pages == 1
    assert Span(0, 0, None).pages == 0
    assert Span(PAGE, MAX, None).pages == 0  # the end wraps
    assert Span(A.base + PAGE, PAGE, A).page_index(A.base + 3 * PAGE + 5) == 3


@pytest.mark.parametrize(
    ("text", "pos", "kv"),
    [
        ("mbind a bind {0} flags=MOVE", ["mbind", "a", "bind", "{0}"], [("flags", "MOVE")]),
        ("a=b getcpu c=d=e", ["getcpu"], [("a", "b"), ("c", "d=e")]),
        ("=x 1a=b _a=b {0}=1", ["=x", "1a=b", "_a=b", "{0}=1"], []),
        ("a=", [], [("a", "")]),
        ("", [], []),
    ],
)
def test_split(text: str, pos: list[str], kv: list[tuple[str, str]]) -> None:
    line = parse.split(text)
    assert (line.pos, line.kv) == (pos, kv)


def test_split_stops_at_63_of_a_kind() -> None:
    assert len(parse.split("x " * 100).pos) == 63
    line = parse.split("op " + "k=v " * 100 + "late")
    assert (len(line.kv), line.pos) == (63, ["op"])


def test_first_of_equal_keys_counts() -> None:
    line = parse.split("op k=1 k=2 e=")
    assert line.opt("k", "9") == "1"
    assert line.opt("e", "9") == ""
    assert line.opt("missing", "9") == "9"
    assert line.given("missing") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("bind", 2), ("bind|static", 0x8002), ("bind|foo", 2), ("2|0x8000", 0x8002), ("-1", MAX), ("foo", 0),
        ("", 0), ("max", MAX), ("|bind|", 2),
    ],
)  # fmt: skip
def test_modes(text: str, value: int) -> None:
    assert parse.mode_of(text) == value


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("{0,2-3}", 0b1101), ("{}", 0), ("{0", 0), ("{0,1", 1), ("{12", 1 << 12), ("{0-1-2}", 0b11), ("{3-1}", 0),
        ("{,0}", 0), ("{0,,1}", 1), ("{0;1}", 1), ("{-1}", 0), ("{0}}", 1), ("{0x1f}", 1 << 31), ("{60-70}", 15 << 60),
    ],
)  # fmt: skip
def test_masks(text: str, bits: int) -> None:
    assert parse.set_mask(text, 1, len(text) - 1, 8) == bits.to_bytes(8, "little")


@pytest.mark.parametrize(
    ("text", "words"), [("", []), ("1,", [1]), ("zz1", [0, 0, 1]), ("0x1", [1]), ("f,,1", [15, 0, 1])]
)
def test_raw_masks(text: str, words: list[int]) -> None:
    mask = parse.word_mask(text)
    assert len(mask) == parse.MASK_BYTES
    assert mask.rstrip(b"\0") == b"".join(w.to_bytes(8, "little") for w in words).rstrip(b"\0")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1", [1]),
        ("0,1*3", [0, 1, 1, 1]),
        ("0*0", []),
        ("x", [0]),
        ("2*x,5", [5]),
        ("-1", [-1]),
        ("7*-1", [7] * 10),
    ],
)
def test_node_lists(text: str, values: list[int]) -> None:
    assert parse.int_list(text, 10) == values


def test_script_lines() -> None:
    script = b"# comment\n\n  mmap a 4 # behind\n\t p: touch a w \r\n" + b"x" * 5000 + b"\nlast"
    lines = list(parse.script_lines(script))
    assert lines[:2] == [(3, "mmap a 4"), (4, "p: touch a w")]
    # A line that does not fit the buffer goes on as the next one.
    assert [(n, len(text)) for n, text in lines[2:]] == [(5, 4095), (6, 905), (7, 4)]


def test_a_nul_ends_a_line() -> None:
    assert list(parse.script_lines(b"op a\0b c\nnext")) == [(1, "op a"), (2, "next")]


@given(st.binary(max_size=300))
def test_random_scripts_are_lines(script: bytes) -> None:
    for number, text in parse.script_lines(script):
        assert number >= 1
        assert text
        assert len(parse.split(text).pos) <= 63


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=60))
def test_random_values_never_raise_anything_else(text: str) -> None:
    parse.num(text)
    parse.blen(text)
    parse.mode_of(text)
    parse.prot_of(text)
    parse.word_mask(text)
    parse.set_mask(text, 0, len(text), 128)
    assert len(parse.int_list(text, 50)) <= 50
    try:
        span = parse.parse_range(text, [A])
    except ScriptError:
        return
    assert 0 <= span.addr <= MAX
    assert 0 <= span.length <= MAX
