"""The table is the one truth about system calls: rows, handlers, and the page made from them agree."""

import inspect
from pathlib import Path

from numalab.syscalls.docs import render_docs
from numalab.syscalls.kinds import Kind, convert, parse_args
from numalab.syscalls.strace.kinds import SHOW
from numalab.syscalls.table import BY_NAME, BY_NUMBER, TABLE, Support

PAGE = Path(__file__).parents[3] / "docs" / "syscalls.md"


def test_numbers_and_names_are_unique_and_ascending() -> None:
    numbers = [row.number for row in TABLE]
    assert numbers == sorted(set(numbers))
    assert len(BY_NAME) == len(BY_NUMBER) == len(TABLE)


def test_handlers_take_the_arguments_of_their_row() -> None:
    for row in TABLE:
        assert (row.handler is None) == (row.support is Support.NONE), row.name
        assert len(row.args) <= 6
        if row.handler is not None:
            parameters = list(inspect.signature(row.handler).parameters)
            assert parameters[:2] == ["k", "task"], row.name
            assert len(parameters) == 2 + len(row.args), row.name


def test_every_handler_says_its_errors_or_has_none() -> None:
    for row in TABLE:
        if row.handler is not None:
            assert row.name.rstrip("46") in (row.handler.__doc__ or "").replace("_exit", "exit"), row.name


def test_the_numbers_are_those_of_x86_64() -> None:
    known = {"mbind": 237, "set_mempolicy": 238, "get_mempolicy": 239, "migrate_pages": 256, "move_pages": 279,
             "set_mempolicy_home_node": 450, "mmap": 9, "madvise": 28, "exit_group": 231, "mlock2": 325}  # fmt: skip
    assert {name: BY_NAME[name].number for name in known} == known


def test_every_kind_is_used_and_printed() -> None:
    used = {arg.kind for row in TABLE for arg in row.args}
    assert used == set(Kind)
    assert used == set(SHOW)


def test_registers_become_c_types() -> None:
    assert convert(Kind.INT, (1 << 64) - 1) == -1
    assert convert(Kind.PID, 1 << 31) == -(1 << 31)
    assert convert(Kind.UINT, (1 << 64) - 1) == (1 << 32) - 1
    assert convert(Kind.LONG, (1 << 64) - 1) == -1
    assert convert(Kind.ULONG, (1 << 64) - 1) == (1 << 64) - 1


def test_a_row_names_the_argument_that_counts_another() -> None:
    [first, second] = parse_args("mask:nodemask@maxnode maxnode:ulong")
    assert (first.name, first.kind, first.size_in) == ("mask", Kind.NODEMASK, 1)
    assert second.size_in == -1


def test_the_page_is_current() -> None:
    """`python -m numalab.syscalls.docs docs/syscalls.md` writes it."""
    assert PAGE.read_text(encoding="utf-8") == render_docs()
