"""Timers: in order, not before their time, not after being cancelled."""

from numalab.arch._hw import Hardware
from numalab.arch.timers import Timers


def machine() -> tuple[Hardware, Timers, list[str]]:
    hw = Hardware("1x64M")
    return hw, Timers(hw), []


def test_they_go_off_in_order_and_not_before() -> None:
    hw, timers, seen = machine()
    timers.add(200, lambda: seen.append("late"))
    timers.add(100, lambda: seen.append("one"))
    timers.add(100, lambda: seen.append("two"))
    timers.expire()
    assert seen == []
    hw.now = 150
    timers.expire()
    assert seen == ["one", "two"]
    assert timers.next_time() == 200


def test_cancelled_ones_do_not() -> None:
    hw, timers, seen = machine()
    timer = timers.add(100, lambda: seen.append("never"))
    timers.add(300, lambda: seen.append("then"))
    timer.cancel()
    assert timers.next_time() == 300
    assert timers.skip()
    assert (hw.now, seen) == (300, ["then"])
    assert not timers.skip()


def test_one_may_add_another() -> None:
    hw, timers, seen = machine()
    timers.add(100, lambda: timers.add(100, lambda: seen.append("at once")))
    hw.now = 100
    timers.expire()
    assert seen == ["at once"]
