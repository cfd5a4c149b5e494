"""The table of `strace -c` has strace's form, byte for byte."""

from numalab.syscalls.strace.summary import Summary

# Recorded: two calls, and how long they took.
RECORDED = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 62.50    0.000015           3         4           kill
 37.50    0.000009           2         4           getpid
------ ----------- ----------- --------- --------- ----------------
100.00    0.000024           3         8           total
"""
NO_TIME = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ------------------
  0.00    0.000000           0       300       300 sched_setaffinity
  0.00    0.000000           0         1         1 migrate_pages
------ ----------- ----------- --------- --------- ------------------
100.00    0.000000           0       301       301 total
"""


def text(summary: Summary) -> str:
    return "".join(f"{line}\n" for line in summary.lines())


def test_the_dearest_call_comes_first() -> None:
    summary = Summary()
    for name, number, times in (
        ("getpid", 39, (2000, 2000, 2000, 3000)),
        ("kill", 62, (3000, 4000, 4000, 4000)),
    ):
        for time in times:
            summary.add(name, number, time, failed=False)
    assert text(summary) == RECORDED


def test_calls_that_cost_the_same_come_by_number_and_long_names_have_room() -> None:
    summary = Summary()
    summary.add("migrate_pages", 256, 0, failed=True)
    for _ in range(300):
        summary.add("sched_setaffinity", 203, 0, failed=True)
    assert text(summary) == NO_TIME


def test_without_a_call_there_is_no_table() -> None:
    assert text(Summary()) == ""
