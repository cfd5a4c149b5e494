"""The controller on a real machine: actors, deaths, and what the recorder makes of both."""

import pytest

import numalab
from numalab.tools.scn.ops import OPERATIONS, Operation
from numalab.tools.scn.runner import Runner


@pytest.fixture
def runner():
    with numalab.boot("quad") as machine:
        yield Runner(machine)


def play(runner: Runner, *lines: str) -> list[str]:
    return [runner.line(line) for line in lines]


def test_actors_have_their_own_regions(runner: Runner) -> None:
    answers = play(
        runner, "mmap a 4", "fill a 7", "spawn p", "p: mmap b 2", "nodes b", "p: verify a 7", "p: nodes a:1"
    )
    assert answers[4:] == ["script-error=no-such-region:b", "ret=0 bad_pages=0", "ret=0 nodes=0"]


def test_a_child_writes_to_its_own_copy(runner: Runner) -> None:
    play(runner, "mmap a 4", "fill a 1", "spawn p", "p: fill a 2")
    assert play(runner, "verify a 1", "p: verify a 2") == ["ret=0 bad_pages=0"] * 2


def test_an_actor_that_exits_is_gone(runner: Runner) -> None:
    play(runner, "spawn p", "p: exit")
    assert play(runner, "p: getcpu", "migrate_pages p {0} {1}") == [
        "script-error=no-such-actor",
        "ret=-1 err=ESRCH",
    ]
    assert runner.actors == ["main"]


def test_nothing_happens_after_main_has_ended(runner: Runner) -> None:
    script = b"getcpu\nexit\ngetcpu\n"
    assert [answer for _, _, answer in runner.script(script)] == ["ret=0 node=0", "ret=0"]
    assert runner.over


def test_an_empty_message_ends_an_actor(runner: Runner) -> None:
    assert play(runner, "spawn p", "p:", "p: getcpu") == ["ret=0", "actor-died", "script-error=no-such-actor"]


def test_a_message_to_a_dead_actor_is_answered_by_the_next_one(runner: Runner) -> None:
    assert play(runner, "spawn p", "p: exit now", "p: getcpu", "spawn q", "q: sleep 1", "q: mmap a 1") == [
        "ret=0", "ret=0", "actor-died", "ret=0", "ret=0 node=0", "ret=0",
    ]  # fmt: skip


def test_exec_forgets_regions_and_keeps_the_policy(runner: Runner) -> None:
    play(runner, "spawn p", "p: mmap a 4", "p: set_mempolicy bind {2}")
    assert play(runner, "p: exec", "p: nodes a", "p: get_mempolicy", "p: mmap a 1", "p: touch a w", "p: nodes a") == [
        "ret=0", "script-error=no-such-region:a", "ret=0 mode=bind nodes={2} wrote=128", "ret=0", "ret=0",
        "ret=0 nodes=2",
    ]  # fmt: skip


def test_faults_are_caught_where_they_strike(runner: Runner) -> None:
    play(runner, "mmap a 600", "munmap a+500:1", "mprotect a+400:1 r")
    assert play(runner, "touch a r", "touch a w", "fill a", "verify a+450", "touch a+300.5 w") == [
        "ret=-1 sig=SIGSEGV page=500",
        "ret=-1 sig=SIGSEGV page=400",
        "ret=-1 sig=SIGSEGV page=400",
        "ret=-1 sig=SIGSEGV page=500",
        "ret=-1 sig=SIGSEGV page=400",
    ]
    assert runner.line("verify a:400 1") == "ret=0 bad_pages=0"


def test_faults_are_counted_without_those_of_the_counting(runner: Runner) -> None:
    play(runner, "mmap a 16")
    assert play(runner, "touch a w faults=1", "touch a w faults=1") == [
        "ret=0 minflt=16 majflt=0",
        "ret=0 minflt=0 majflt=0",
    ]


def test_what_takes_too_long_ends_the_actor(runner: Runner) -> None:
    assert play(runner, "spawn p", "p: state null:max", "p: getcpu") == [
        "ret=0",
        "timeout",
        "script-error=no-such-actor",
    ]


def test_seventeen_actors(runner: Runner) -> None:
    assert play(runner, *(f"spawn p{n}" for n in range(16))) == ["ret=0"] * 16
    assert play(runner, "p14: getcpu", "p15: getcpu") == ["ret=0 node=0", "script-error=no-such-actor"]


def test_a_mistake_of_ours_is_no_answer_of_the_kernel(runner: Runner, monkeypatch) -> None:
    def broken(actor, line) -> str:
        raise ZeroDivisionError

    monkeypatch.setitem(OPERATIONS, "getcpu", Operation("getcpu", "", broken))
    assert play(runner, "getcpu", "mmap a 1") == ["script-error=internal:ZeroDivisionError", "ret=0"]


def test_functions_run_inside_an_actor(runner: Runner) -> None:
    runner.line("spawn p")
    pids = [runner.inside(name, lambda actor: actor.process.call("getpid")) for name in ("main", "p")]
    assert pids == [slot.pid for slot in runner.table.slots[:2]]
    with pytest.raises(LookupError):
        runner.inside("nobody", lambda actor: None)
    with pytest.raises(ZeroDivisionError):
        runner.inside("p", lambda actor: 1 / 0)
    assert runner.line("p: getcpu") == "ret=0 node=0"


def test_the_machine_is_consistent_afterwards(runner: Runner) -> None:
    play(
        runner,
        "mmap a 100",
        "fill a",
        "spawn p",
        "p: fill a+50",
        "migrate_pages p {0} {1}",
        "p: exit",
        "drop a",
    )
    assert runner.kernel.pids.find(1) is not None


def test_obstacles_hold_pages_until_they_are_cleared(runner: Runner) -> None:
    play(runner, "mmap a 4", "fill a 1")
    assert play(runner, "obstacle hold a+0:2", "obstacle pin a+2:1", "obstacle lock a+9:1", "obstacle nothing a") == [
        "ret=0 pages=2", "ret=0 pages=1", "ret=0 pages=0", "script-error=bad-word",
    ]  # fmt: skip
    assert play(runner, "migrate_pages self {0} {1}", "clear", "migrate_pages self {0} {1}", "count a") == [
        "ret=3", "ret=0", "ret=0", "ret=0 N1=4 other=0",
    ]  # fmt: skip


def test_an_obstacle_may_end_by_itself(runner: Runner) -> None:
    play(runner, "mmap a 2", "fill a 1")
    assert play(runner, "obstacle lock a ns=1000", "obstacle lock a", "obstacle writeback a ns=1000") == [
        "ret=0 pages=2", "ret=0 pages=0", "ret=0 pages=2",
    ]  # fmt: skip
    assert play(runner, "sleep 1", "migrate_pages self {0} {1}") == ["ret=0", "ret=0"]


def test_disks_that_fail_and_are_mended(runner: Runner) -> None:
    play(runner, "file /mnt/f 2", "mmap a 2 file=/mnt/f kind=shared", "disks latency=1000 failing=1")
    assert play(runner, "touch a r", "disks failing=2") == [
        "ret=-1 sig=SIGBUS page=0",
        "script-error=bad-number",
    ]
    assert (
        play(runner, "disks latency=-1", "disks page=99999999999999999999", "obstacle lock a ns=-1")
        == ["script-error=bad-number"] * 3
    )
    assert play(runner, "disks latency=1000", "touch a r") == ["ret=0", "ret=0"]
