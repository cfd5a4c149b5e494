"""The children of a thread: those that have ended are found, the eldest first, without a look at the living."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import numalab
from numalab.kernel import exit as kernel_exit
from numalab.kernel.children import Children
from numalab.kernel.signal import SIGKILL
from numalab.syscalls.sys import Sys

steps = st.lists(st.tuples(st.sampled_from(["add", "ended", "remove"]), st.integers(0, 9)), max_size=60)


@given(steps)
def test_it_is_a_list_and_the_zombies_in_it(todo: list[tuple[str, int]]) -> None:
    tasks: list[Any] = [object() for _ in range(10)]
    children, listed, zombies = Children(), [], set()
    for what, i in todo:
        task = tasks[i]
        if what == "add" and task not in listed:
            children.add(task)
            listed.append(task)
        elif what == "ended" and task in listed and task not in zombies:
            children.ended(task)
            zombies.add(task)
        elif what == "remove":
            children.remove(task)
            zombies.discard(task)
            if task in listed:
                listed.remove(task)
        assert list(children) == listed
        assert list(children.zombies()) == [task for task in listed if task in zombies]
    children.clear()
    assert not [*children, *children.zombies()]


def test_who_waits_for_any_child_does_not_look_at_the_living(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    eligible = kernel_exit._eligible

    def counting(*args: Any) -> bool:
        nonlocal looks
        looks += 1
        return eligible(*args)

    def main(sys: Sys) -> None:
        nonlocal looks
        pids = [sys.fork(lambda sys: sys.sleep(10**6)) for _ in range(200)]
        sys.sleep(1)
        sys.kill(pids[-1], SIGKILL)
        looks = 0
        assert sys.wait()[0] == pids[-1]
        assert looks < 10
        for pid in pids[:-1]:
            sys.kill(pid, SIGKILL)
        assert [sys.wait()[0] for _ in pids[:-1]] == pids[:-1]

    monkeypatch.setattr(kernel_exit, "_eligible", counting)
    with numalab.boot("dual") as machine:
        machine.run(main)
