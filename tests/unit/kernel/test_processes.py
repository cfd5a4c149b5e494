"""Fork, threads, exec, exit, wait, signals: what one process sees of another."""

import errno
import gc
from collections.abc import Iterator

import pytest

import numalab
from numalab import abi
from numalab.arch.errno import EINTR, KernelError
from numalab.kernel.machine import Machine
from numalab.kernel.signal import SigInfo
from numalab.kernel.state import KernelBug
from numalab.kernel.task import UNUSED_PID, PidMap, State, Task
from numalab.kernel.wait import WaitQueue
from numalab.mm.invariants_report import InvariantError
from numalab.syscalls.sys import Sys

PAGE = 4096
GREEDY = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_NORESERVE


def forever(sys: Sys) -> None:
    while True:
        sys.sched_yield()


def test_boot_has_init_with_memory_and_kthreadd_without(machine: Machine) -> None:
    init, kthreadd, *others = machine.tasks
    assert (init.pid, init.comm, init.mm is None) == (1, "init", False)
    assert (kthreadd.pid, kthreadd.comm, kthreadd.mm is None) == (2, "kthreadd", True)
    assert init.ppid == kthreadd.ppid == 0
    assert [task.comm for task in others] == ["kswapd0", "kswapd1", "kswapd2", "kswapd3"]
    assert all(task.mm is None and task.ppid == 2 for task in others)


def test_pids_ascend_and_one_is_never_given_out() -> None:
    pids = PidMap()
    first = pids.alloc()
    assert pids.alloc() == first + 1
    pids._last = UNUSED_PID - 1
    assert pids.alloc() == UNUSED_PID + 1
    pids._last = 4194303
    assert pids.alloc() == 300, "numbering starts again behind the reserved ones"


def test_a_child_inherits_policy_affinity_ids_and_files_and_counts_its_own_faults(machine: Machine) -> None:
    def child(sys: Sys, parent: Task, fd: int) -> int:
        task = sys.task
        assert (task.ctx.min_flt, task.ppid) == (0, parent.pid)
        assert (task.cpu, task.ctx.nid) == (2, 2)
        assert task.cred == parent.cred
        assert sys.get_mempolicy().nodemask == {1}
        assert sys.read(fd, 5).buf == b"Name:"
        sys.set_mempolicy(abi.MPOL_DEFAULT)
        sys.close(fd)
        return 0

    def main(sys: Sys) -> None:
        sys.sched_setaffinity(0, mask={2})
        sys.set_mempolicy(abi.MPOL_BIND, {1})
        fd = sys.open("/proc/self/status")
        sys.setresuid(-1, 1000, -1)
        sys.fork(child, sys.task, fd)
        assert sys.wait()[1] == 0
        assert sys.get_mempolicy().nodemask == {1}, "its own stays"
        sys.lseek(fd, 0, 0)
        sys.close(fd)

    assert machine.run(main) == 0


def test_a_child_gets_the_policies_of_areas_too(machine: Machine) -> None:
    def child(sys: Sys, addr: int) -> int:
        sys.memory.touch(addr)
        return int(sys.move_pages(0, [addr]).status[0])

    def main(sys: Sys) -> int:
        addr = sys.mmap(PAGE)
        sys.mbind(addr, PAGE, abi.MPOL_BIND, {3})
        sys.fork(child, addr)
        return sys.wait()[1]

    assert machine.run(main) == 3


def test_wait_finds_the_child_it_is_asked_for(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        first, second = sys.fork(lambda child: 1), sys.fork(lambda child: 2)
        assert sys.wait(second) == (second, 2)
        assert sys.wait(0) == (first, 1)
        with pytest.raises(ChildProcessError):
            sys.wait()

    assert machine.run(main) == 0


def test_wait_without_waiting(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        pid = sys.fork(lambda child: child.sched_yield())
        assert sys.wait(pid, abi.WNOHANG) == (0, 0)
        while not sys.wait(pid, abi.WNOHANG)[0]:
            sys.sched_yield()

    assert machine.run(main) == 0


def test_what_wait4_stores(machine: Machine) -> None:
    def child(sys: Sys) -> int:
        sys.memory.touch(sys.mmap(5 * PAGE), 5)
        return 7

    def main(sys: Sys) -> None:
        pid = sys.fork(child)
        answer = sys.wait4(pid)
        assert (answer, answer.status) == (pid, 7 << 8)
        assert answer.rusage.ru_minflt >= 5
        assert sys.getrusage(abi.RUSAGE_CHILDREN).usage == answer.rusage
        pid = sys.fork(forever)
        sys.kill(pid, abi.SIGTERM)
        assert sys.wait4(pid).status == abi.SIGTERM

    assert machine.run(main) == 0


def test_a_zombie_keeps_its_pid_and_has_no_memory(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        pid = sys.fork(lambda child: 0)
        while machine.kernel.pids.find(pid).state is not State.ZOMBIE:  # type: ignore[union-attr]
            sys.sched_yield()
        assert sys.raw(256, pid, 0, 0, 0) == -errno.EINVAL
        assert sys.raw(62, pid, 0) == 0
        assert "State:\tZ (zombie)" in sys.read_file(f"/proc/{pid}/status")
        assert sys.wait()[0] == pid
        assert sys.raw(256, pid, 0, 0, 0) == -errno.ESRCH

    assert machine.run(main) == 0


def test_children_of_who_ignores_sigchld_go_at_once(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.signal(abi.SIGCHLD, abi.SIG_IGN)
        pid = sys.fork(lambda child: 0)
        with pytest.raises(ChildProcessError):
            sys.wait()
        assert machine.kernel.pids.find(pid) is None

    assert machine.run(main) == 0


def test_orphans_go_to_init_which_reaps_them(machine: Machine) -> None:
    parents: list[int] = []

    def child(sys: Sys) -> None:
        while sys.getppid() != 1:
            sys.sched_yield()
        parents.append(sys.getppid())

    def main(sys: Sys) -> None:
        sys.fork(child)

    assert machine.run(main) == 0
    assert parents == [1]
    assert all(task.unkillable for task in machine.tasks)


def test_threads_share_memory_and_have_policies_of_their_own(machine: Machine) -> None:
    def thread(sys: Sys, addr: int) -> None:
        assert sys.getpid() != sys.gettid()
        sys.memory.write(addr, b"by the thread")
        sys.set_mempolicy(abi.MPOL_BIND, {2})
        seen.append(sys.getpid())

    seen: list[int] = []

    def main(sys: Sys) -> None:
        addr = sys.mmap(PAGE)
        tid = sys.clone(thread, addr)
        while not seen:
            sys.sched_yield()
        assert seen == [sys.getpid()]
        assert sys.memory.read(addr, 13) == b"by the thread"
        assert sys.get_mempolicy().mode == abi.MPOL_DEFAULT
        assert machine.kernel.pids.find(tid) is None, "nobody waits for a thread"
        with pytest.raises(ChildProcessError):
            sys.wait()

    assert machine.run(main) == 0


def test_exit_group_ends_every_thread_and_exit_only_one(machine: Machine) -> None:
    def thread(sys: Sys) -> None:
        forever(sys)

    def group(sys: Sys) -> None:
        sys.clone(thread)
        sys.sched_yield()
        sys.exit(5)

    assert machine.run(group) == 5

    def alone(sys: Sys) -> None:
        sys.clone(lambda other: other.exit(6))
        sys.syscall(60, 1)

    assert machine.run(alone) == 6, "the process ends with its last thread"


@pytest.mark.parametrize("flags", [abi.CLONE_THREAD, abi.CLONE_SIGHAND, 1 << 30])
def test_clone_flags_that_do_not_go_together(machine: Machine, flags: int) -> None:
    def main(sys: Sys) -> None:
        with pytest.raises(OSError, match="Invalid argument"):
            sys.clone(lambda child: 0, flags=flags)

    assert machine.run(main) == 0


def test_exec_replaces_the_memory_and_keeps_the_rest(machine: Machine) -> None:
    def program(sys: Sys, pid: int, addr: int) -> int:
        assert sys.getpid() == pid
        assert sys.argv == ["new"]
        assert sys.task.comm == "program"
        assert sys.task.mm is not None
        assert len(sys.task.mm.vmas) == 1
        assert sys.get_mempolicy().nodemask == {1}
        assert sys.sched_getaffinity(0).mask == {3}
        assert sys.task.cred.uid == 0
        sys.memory.read(addr, 1)
        return 0

    def main(sys: Sys) -> None:
        addr = sys.mmap(PAGE)
        sys.memory.touch(addr)
        sys.set_mempolicy(abi.MPOL_BIND, {1})
        sys.sched_setaffinity(0, mask={3})
        sys.signal(abi.SIGSEGV, lambda signo, info: pytest.fail("handlers do not survive"))
        try:
            sys.execve(program, sys.getpid(), addr, argv=["new"])
        except OSError:
            pytest.fail("execve came back")

    assert machine.run(main) == -abi.SIGSEGV


def test_the_old_program_cannot_go_on_after_exec(machine: Machine) -> None:
    def main(sys: Sys) -> int:
        try:
            sys.execve(lambda new: 4)
        except BaseException:  # noqa: BLE001
            sys.getpid()
        return 1

    assert machine.run(main) == 4


# --- signals ---------------------------------------------------------------------------------------------------


def test_a_process_whose_leader_ends_first_has_the_status_of_its_last_thread(machine: Machine) -> None:
    def leader(sys: Sys) -> None:
        sys.clone(last)
        sys.raw(60, 3)

    def last(sys: Sys) -> None:
        sys.sleep(0.1)
        sys.raw(60, 4)

    def parent(sys: Sys) -> int:
        sys.fork(leader)
        return sys.wait()[1]

    assert machine.run(parent) == 4


def test_an_orphan_whose_leader_has_ended_is_there_until_its_last_thread_ends(machine: Machine) -> None:
    there: list[object] = []

    def leader(sys: Sys) -> None:
        sys.clone(last)
        sys.raw(60, 3)

    def last(sys: Sys) -> None:
        sys.sleep(0.1)
        there.append(machine.kernel.pids.find(sys.getpid()))

    def parent(sys: Sys) -> None:
        sys.fork(leader)
        sys.sleep(0.01)

    machine.run(parent)
    assert there[0] is not None
    assert all(task.unkillable for task in machine.tasks)


def test_a_handler_is_told_who_sent_the_signal_and_how_a_child_ended(machine: Machine) -> None:
    told: list[SigInfo] = []

    def child(sys: Sys) -> int:
        sys.setuid(1000)
        sys.nanosleep(0.1)
        return 7

    def main(sys: Sys) -> None:
        sys.signal(abi.SIGCHLD, lambda sig, info: told.append(info))
        sys.signal(10, lambda sig, info: told.append(info))
        sys.kill(sys.getpid(), 10)
        sys.fork(child)
        sys.wait()
        pid = sys.fork(forever)
        sys.kill(pid, 9)
        sys.wait()

    machine.run(main)
    assert told == [
        SigInfo(10, 0, pid=100, uid=0),
        SigInfo(17, 1, pid=101, uid=1000, status=7),
        SigInfo(17, 2, pid=102, uid=0, status=9),
    ]


def test_watchers_hear_of_signals_taken_and_of_those_ignored(machine: Machine) -> None:
    heard: list[tuple[int, bool]] = []
    machine.kernel.signal_watchers.append(lambda task, info, ignored: heard.append((info.signo, ignored)))

    def main(sys: Sys) -> None:
        sys.signal(10, abi.SIG_IGN)
        for sig in (10, abi.SIGCONT, abi.SIGTERM):
            sys.kill(sys.getpid(), sig)

    assert machine.run(main) == -abi.SIGTERM
    assert heard == [(10, True), (abi.SIGCONT, True), (abi.SIGTERM, False)]


@pytest.mark.parametrize("sig", [abi.SIGKILL, abi.SIGTERM, abi.SIGINT, 34])
def test_a_signal_without_handler_ends_a_process(machine: Machine, sig: int) -> None:
    def main(sys: Sys) -> None:
        pid = sys.fork(forever)
        sys.kill(pid, sig)
        assert sys.wait(pid) == (pid, -sig)

    assert machine.run(main) == 0


def test_some_signals_are_ignored_by_default_and_any_but_two_on_demand(machine: Machine) -> None:
    def main(sys: Sys) -> int:
        for sig in (abi.SIGCHLD, abi.SIGCONT, abi.SIGSTOP, 28):
            sys.kill(sys.getpid(), sig)
        assert sys.signal(abi.SIGTERM, abi.SIG_IGN) is abi.SIG_DFL
        sys.kill(0, abi.SIGTERM)
        for sig in (abi.SIGKILL, abi.SIGSTOP, 0, 65):
            with pytest.raises(OSError, match="Invalid argument"):
                sys.signal(sig, abi.SIG_IGN)
        return 8

    assert machine.run(main) == 8


def test_a_process_can_kill_itself(machine: Machine) -> None:
    after: list[str] = []

    def main(sys: Sys) -> None:
        sys.kill(sys.getpid(), abi.SIGKILL)
        after.append("reached")

    assert machine.run(main) == -abi.SIGKILL
    assert after == []


def test_init_and_kernel_tasks_cannot_be_killed(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        for pid in (1, 2):
            assert sys.kill(pid, abi.SIGKILL) == 0
        assert sys.kill(-1, abi.SIGTERM) == 0

    assert machine.run(main) == 0
    assert [task.pid for task in machine.tasks if task.alive] == [1, 2, 3, 4, 5, 6]


def test_handlers_run_on_the_way_back_and_may_raise(machine: Machine) -> None:
    class Jump(Exception):
        pass

    got: list[int] = []

    def jump(signo: int, info: SigInfo) -> None:
        raise Jump(info.addr)

    def main(sys: Sys) -> int:
        sys.signal(abi.SIGTERM, lambda signo, info: got.append(info.pid))
        sys.kill(sys.getpid(), abi.SIGTERM)
        assert got == [sys.getpid()]
        sys.signal(abi.SIGSEGV, jump)
        with pytest.raises(Jump) as caught:
            sys.memory.touch(0x1_0000_0000, 2)
        assert caught.value.args == (0x1_0000_0000,)
        return 2

    assert machine.run(main) == 2


def test_an_access_is_tried_again_after_its_handler(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        addr = sys.mmap(PAGE, abi.PROT_NONE)
        sys.signal(abi.SIGSEGV, lambda signo, info: sys.mprotect(info.addr & -PAGE, PAGE, 3))
        sys.memory.write(addr + 8, b"at last")
        assert sys.memory.read(addr + 8, 7) == b"at last"

    assert machine.run(main) == 0


def test_a_signal_interrupts_sleep(machine: Machine) -> None:
    def sleeper(sys: Sys) -> int:
        sys.signal(abi.SIGTERM, lambda signo, info: None)
        with pytest.raises(InterruptedError):
            sys.sleep(1000)
        return 5

    def main(sys: Sys) -> None:
        pid = sys.fork(sleeper)
        sys.sleep(1)
        sys.kill(pid, abi.SIGTERM)
        assert sys.wait() == (pid, 5)
        assert sys.clock_gettime(abi.CLOCK_MONOTONIC).tp[0] == 1

    assert machine.run(main) == 0


def test_a_task_killed_before_it_ever_ran_never_runs(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        pid = sys.fork(lambda child: pytest.fail("it ran"))
        sys.kill(pid, abi.SIGKILL)
        assert sys.wait() == (pid, -abi.SIGKILL)

    assert machine.run(main) == 0


@pytest.fixture
def small() -> Iterator[Machine]:
    with numalab.boot("4x16M") as machine:
        yield machine
        machine.check_invariants()


def test_out_of_memory_kills_the_task_and_nobody_else(small: Machine) -> None:
    free = [small.node_pages(nid) for nid in range(4)]

    def greedy(sys: Sys) -> None:
        sys.memory.touch(sys.mmap(160 << 20, flags=GREEDY), 40960)

    def main(sys: Sys) -> None:
        mine = sys.mmap(PAGE)
        sys.memory.write(mine, b"mine")
        pid = sys.fork(greedy)
        assert sys.wait() == (pid, -abi.SIGKILL)
        assert sys.memory.read(mine, 4) == b"mine"

    assert small.run(main) == 0
    assert [small.node_pages(nid) for nid in range(4)] == free


def test_out_of_memory_inside_a_system_call_kills_too(small: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.madvise(sys.mmap(160 << 20, flags=GREEDY), 160 << 20, abi.MADV_POPULATE_WRITE)

    assert small.run(main) == -abi.SIGKILL


def test_fork_without_memory_for_the_child_leaves_nothing_behind(small: Machine) -> None:
    free = [small.node_pages(nid) for nid in range(4)]

    def main(sys: Sys) -> None:
        sys.memory.touch(sys.mmap(48 << 20), 12288)
        while True:
            sys.fork(lambda child: child.sleep(1))

    small.kernel.oom_kill_allocating_task = 1  # else a child is killed, and then the next one
    small.kernel.max_threads = 1 << 20
    assert small.run(main) == -abi.SIGKILL
    assert [small.node_pages(nid) for nid in range(4)] == free


def test_a_wait_that_the_kernel_interrupts(machine: Machine) -> None:
    """Whoever waits in the kernel with a signal pending gets EINTR instead of sleeping."""

    def main(sys: Sys) -> None:
        machine.kernel.init.signal.pending.clear()
        sys.task.signal.pending[abi.SIGTERM] = SigInfo(abi.SIGTERM)
        with pytest.raises(KernelError) as caught:
            machine.sched.wait_event(WaitQueue("nothing"), lambda: False)
        assert caught.value.errno == EINTR
        sys.task.signal.pending.clear()

    assert machine.run(main) == 0


def test_a_machine_can_be_looked_at_after_the_kernel_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the task had is lost, and stays as it was: nothing that points there may dangle."""

    def fails(*args: object) -> int:
        raise ZeroDivisionError

    def main(sys: Sys) -> None:
        sys.memory.write(sys.mmap(8 * PAGE), b"x" * 8 * PAGE)
        monkeypatch.setattr("numalab.syscalls.mman.do_mlockall", fails)
        sys.mlockall(1)

    with numalab.boot("1x16M") as machine:
        with pytest.raises(KernelBug):
            machine.run(main)
        gc.collect()
        with pytest.raises(InvariantError, match="references"):
            machine.check_invariants()
