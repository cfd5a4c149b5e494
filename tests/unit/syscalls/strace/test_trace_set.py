"""`-e trace=SET`: which calls are traced."""

import pytest

from numalab.syscalls.strace.trace_set import GROUPS, parse_trace_set
from numalab.syscalls.table import BY_NAME

ALL = frozenset(BY_NAME)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("mbind", {"mbind"}),
        ("mbind,move_pages", {"mbind", "move_pages"}),
        ("mbind,", {"mbind"}),
        ("237,256", {"mbind", "migrate_pages"}),
        ("/^move_|^mbind$", {"move_pages", "mbind"}),
        ("?ioctl,mbind", {"mbind"}),
        ("?%nothing", set()),
        ("%lstat", {"lstat"}),
        ("lstat", {"lstat"}),
        ("memory", GROUPS["memory"]),
        ("%memory,%clock", GROUPS["memory"] | {"clock_gettime"}),
        ("%%stat", {"stat", "fstat", "lstat", "newfstatat"}),
        ("%stat", {"stat"}),
        ("all", ALL),
        ("none", set()),
        ("!none", ALL),
        ("!all", set()),
        ("!%file,mbind", ALL - GROUPS["file"] - {"mbind"}),
    ],
)
def test_sets(text: str, names: frozenset[str]) -> None:
    assert parse_trace_set(text) == names


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("!", "empty"),
        (",", "empty"),
        ("mbnd", "'mbnd' is no system call of this machine"),
        ("mbind,!brk", "'!brk' is no system call"),
        ("9999", "'9999' is no system call"),
        ("%mem", "use %clock, %creds"),
        ("/x[", "no regular expression"),
    ],
)
def test_what_is_no_set_is_one_line(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as error:
        parse_trace_set(text)
    assert "\n" not in str(error.value)


def test_groups_are_of_calls_that_are_there() -> None:
    assert frozenset().union(*GROUPS.values()) <= ALL
