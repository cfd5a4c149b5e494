"""Operations without a machine: which calls they make, with which arguments, and that no line breaks them."""

import errno
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numalab.tools.scn.actor import Memory
from numalab.tools.scn.docs import render_docs
from numalab.tools.scn.ops import FAMILIES, OPERATIONS
from numalab.tools.scn.parse import BADPTR, PAGE
from numalab.tools.scn.runner import perform

from tests.unit.tools.fakes import fake_actor

WORDS = st.sampled_from([
    *OPERATIONS, "a", "a+1:2", "a:9", "b.3", "null", "bad", "kern", "0x1000", "0x7fffffffffff:3", "bind", "2|static",
    "{0}", "{0,", "all", "raw:1,2", "edge:{0}", "self", "me", "nopid", "pid:7", "query", "0,1*3", "1*-1", "r", "w",
    "8", "4K", "1b", "-1", "max", "x", "flags=MOVE", "flags=", "maxnode=3", "status=ro", "count=2", "mask=edge",
    "mode=ro", "addr=a", "faults=1", "node=1", "cpu=99", "kind=shared", "file=/f", "mark", "=", "slot=99", "/proc/x",
    "at=a+1", "to=b", "as=c", "flags=0", "flags=maymove|dontunmap", "cycle:0,1", "raw=1", "cpus={0-1}", "of=main",
    "memfd:m", "m", "file=memfd:m", "current", "sync", "a:1,a:2", "pageout",
])  # fmt: skip
ANSWERS = st.lists(st.sampled_from([0, 1, 4096, -1, -22, -4095, None]), min_size=1, max_size=5)


@given(st.lists(WORDS, min_size=1, max_size=6), ANSWERS)
def test_any_line_gets_an_answer(words: list[str], answers: list[int | None]) -> None:
    actor, _ = fake_actor()
    perform(actor, "mmap a 4")
    actor.process.answers = iter(answers * 2000)  # type: ignore[attr-defined]
    answer = perform(actor, " ".join(words))
    assert "internal:" not in answer
    assert "\n" not in answer


@pytest.mark.parametrize("stored", [1, 18, 4096])
def test_a_directory_that_is_none(stored: int) -> None:
    actor, _ = fake_actor()
    actor.process.answers = iter([3, stored, 0, 0])  # type: ignore[attr-defined]
    assert perform(actor, "ls /f").startswith("ret=0 names=")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("rest", ["", " a", " a b c", " lock a 5"])
def test_every_operation_gets_an_answer(operation: str, rest: str) -> None:
    actor, _ = fake_actor()
    perform(actor, "mmap a 4")
    assert "internal:" not in perform(actor, operation + rest)


@given(st.text(alphabet=st.characters(min_codepoint=1, max_codepoint=255), max_size=80))
def test_random_text_gets_an_answer(text: str) -> None:
    actor, _ = fake_actor()
    assert "internal:" not in perform(actor, text)


def test_every_operation_is_described() -> None:
    families = {module.__name__.rpartition(".")[2] for module in FAMILIES}
    for name, operation in OPERATIONS.items():
        assert operation.name == name
        assert operation.help
        assert operation.family in families


def test_a_missing_call_is_unsupported() -> None:
    actor, _ = fake_actor([None])
    assert perform(actor, "swapoff") == "script-error=unsupported"


def test_an_error_is_named() -> None:
    actor, _ = fake_actor([-errno.ENOENT])
    assert perform(actor, "unlink /nosuch") == "ret=-1 err=ENOENT"


def test_regions_are_far_apart_and_a_failure_uses_a_place_up() -> None:
    actor, process = fake_actor([0, -errno.ENOMEM, 0])
    for name in "abc":
        perform(actor, f"mmap {name} 1")
    places = [args[0] for call, args in process.calls if call == "mmap"]
    assert [place // (23063040 * PAGE) for place in places] == [16, 17, 18]


def test_mbind_passes_pointers_as_they_are() -> None:
    actor, process = fake_actor()
    perform(actor, "mbind bad bind bad maxnode=7 flags=MOVE|STRICT")
    assert process.calls == [("mbind", (BADPTR, PAGE, 2, BADPTR, 7, 3))]


def test_masks_lie_in_the_actors_memory() -> None:
    actor, process = fake_actor()
    perform(actor, "migrate_pages pid:5 {0,9} edge:{1}")
    ((_, args),) = process.calls
    assert args == (5, 65, Memory.M1, Memory.EDGE + PAGE - 8)
    assert process.stored[Memory.M1][:2] == b"\x01\x02"
    assert process.stored[args[3]] == struct.pack("<Q", 2)


def test_move_pages_lists() -> None:
    actor, process = fake_actor()
    perform(actor, "mmap a 4")
    assert perform(actor, "move_pages self a:2,a+3 1,2*1 count=9") == "ret=0 status=?*3"
    name, args = process.calls[-1]
    assert (name, args[1], args[5]) == ("move_pages", 9, 2)
    base = actor.regions[0].base
    assert struct.unpack("<3Q", process.stored[Memory.PAGES]) == (base, base + PAGE, base + 3 * PAGE)
    assert struct.unpack("<3i", process.stored[Memory.NODES]) == (1, 2, 2)


@pytest.mark.parametrize(
    "text", ["move_pages self bad 1", "move_pages self null query", "move_pages self none 1"]
)
def test_move_pages_with_a_pointer_instead_of_a_list(text: str) -> None:
    actor, _ = fake_actor()
    count = 0 if "none" in text else 1
    assert perform(actor, text) == "ret=0 status=" + ("?" if count else "none")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mremap null 4", "syntax"),
        ("migrate_pages self x y", "bad-mask:y"),
        ("migrate_pages self x {0}", "bad-mask:x"),
        ("move_pages nobody null query", "no-such-target:nobody"),
        ("touch " + "r" * 200 + " r", "no-such-region:" + "r" * 112),
        ("x" * 70, "unknown-op:" + "x" * 60),
    ],
)
def test_errors_of_the_script(text: str, why: str) -> None:
    actor, _ = fake_actor()
    assert perform(actor, text) == f"script-error={why}"


def test_the_33rd_region_has_no_name() -> None:
    actor, _ = fake_actor()
    for number in range(33):
        assert perform(actor, f"mmap r{number} 1") == "ret=0"
    assert perform(actor, "drop r31") == "ret=0"
    assert perform(actor, "drop r32") == "script-error=no-such-region:r32"


def test_a_line_of_keys_only_has_an_empty_answer() -> None:
    actor, _ = fake_actor()
    assert perform(actor, "key=value") == ""


def test_the_page_is_current() -> None:
    """`python -m numalab.tools.scn.docs docs/operations.md` writes it."""
    page = Path(__file__).parents[3] / "docs/operations.md"
    assert page.read_text(encoding="utf-8") == render_docs()
