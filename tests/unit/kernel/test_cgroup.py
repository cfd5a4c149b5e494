"""Control groups: who is where, what groups can be made and removed, and who may move whom.

Errnos of writes, controllers and thread roots: the recorded scenarios cpuset-files, cpuset-tree and cpuset-perm.
"""

from __future__ import annotations

import os

from numalab import abi
from numalab.kernel.machine import Machine
from numalab.syscalls.sys import Sys

from tests.unit.kernel.test_files import errno_of

ROOT = "/sys/fs/cgroup"


def pids(sys: Sys, group: str, file: str = "cgroup.procs") -> list[int]:
    return [int(line) for line in sys.read_file(f"{group}/{file}").split()]


def join(sys: Sys, group: str, pid: int = 0) -> None:
    sys.write_file(f"{group}/cgroup.procs", str(pid))


def test_everybody_is_in_the_root_group_at_first(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        assert pids(sys, ROOT) == [task.pid for task in machine.tasks]
        assert sys.read_file(f"{ROOT}/cgroup.controllers") == "cpuset\n"
        assert sys.read_file(f"{ROOT}/cgroup.subtree_control") == "cpuset\n"
        assert sys.read_file("/proc/1/cgroup") == "0::/\n"

    assert machine.run(main) == 0


def test_a_process_moves_with_all_its_threads_and_stands_behind_those_that_came_before(
    machine: Machine,
) -> None:
    def main(sys: Sys) -> None:
        sys.mkdir(f"{ROOT}/t", 0o755)
        thread = sys.clone(lambda sys: sys.sleep(1))
        child = sys.fork(lambda sys: sys.sleep(1))
        join(sys, f"{ROOT}/t", child)
        join(sys, f"{ROOT}/t", thread)
        me = sys.getpid()
        assert pids(sys, f"{ROOT}/t") == [child, me]
        assert pids(sys, f"{ROOT}/t", "cgroup.threads") == [child, me, thread]
        join(sys, f"{ROOT}/t", child)
        assert pids(sys, f"{ROOT}/t") == [child, me], "who is there stays in his place"
        grandchild = sys.fork(lambda sys: sys.sleep(1))
        assert pids(sys, f"{ROOT}/t") == [child, me, grandchild]

    assert machine.run(main) == 0


def test_kernel_tasks_can_be_moved_but_not_the_one_that_makes_them(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.mkdir(f"{ROOT}/t", 0o755)
        join(sys, f"{ROOT}/t", 3)
        assert sys.read_file("/proc/3/cgroup") == "0::/t\n"
        assert errno_of(lambda: join(sys, f"{ROOT}/t", 2)) == "EINVAL"

    assert machine.run(main) == 0


def test_the_dead_keep_no_group(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.mkdir(f"{ROOT}/t", 0o755)
        child = sys.fork(lambda sys: join(sys, f"{ROOT}/t"))
        sys.sched_yield()
        assert "zombie" in sys.read_file(f"/proc/{child}/status")
        assert sys.read_file(f"/proc/{child}/cgroup") == "0::/t\n"
        assert pids(sys, f"{ROOT}/t") == []
        join(sys, ROOT, child)
        assert sys.read_file(f"/proc/{child}/cgroup") == "0::/t\n", "it goes nowhere any more"
        sys.rmdir(f"{ROOT}/t")
        assert sys.read_file(f"/proc/{child}/cgroup") == "0::/t (deleted)\n"
        sys.wait()

    assert machine.run(main) == 0


def test_files_that_are_gone_answer_nothing_any_more(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.mkdir(f"{ROOT}/t", 0o755)
        sys.mkdir(f"{ROOT}/t/a", 0o755)
        sys.write_file(f"{ROOT}/t/cgroup.subtree_control", "+cpuset")
        mems = sys.open(f"{ROOT}/t/a/cpuset.mems", os.O_RDWR)
        procs = sys.open(f"{ROOT}/t/a/cgroup.procs", os.O_RDWR)
        sys.write_file(f"{ROOT}/t/cgroup.subtree_control", "-cpuset")
        assert errno_of(lambda: sys.read(mems, 9)) == "ENODEV"
        assert errno_of(lambda: sys.write(mems, "0")) == "ENODEV"
        assert sys.read(procs, 9).buf == b""
        sys.rmdir(f"{ROOT}/t/a")
        assert errno_of(lambda: sys.write(procs, "0")) == "ENODEV"
        sys.rmdir(f"{ROOT}/t")
        sys.mkdir(f"{ROOT}/t", 0o755)
        assert errno_of(lambda: sys.read(procs, 9)) == "ENODEV", "another group of that name is another group"

    assert machine.run(main) == 0


def test_groups_outlive_their_mount(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.mkdir(f"{ROOT}/t", 0o755)
        join(sys, f"{ROOT}/t")
        sys.umount2(ROOT, 0)
        assert errno_of(lambda: sys.open(f"{ROOT}/t/cgroup.procs")) == "ENOENT"
        assert sys.read_file("/proc/self/cgroup") == "0::/t\n"

    assert machine.run(main) == 0


def test_names(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        assert errno_of(lambda: sys.mkdir(f"{ROOT}/a\nb", 0o755)) == "EINVAL"
        sys.mkdir(f"{ROOT}/t", 0o755)
        assert errno_of(lambda: sys.rmdir(f"{ROOT}/t/cpuset.mems")) == "ENOTDIR"
        assert errno_of(lambda: sys.mkdir("/sys/fs/new", 0o755)) == "EPERM"
        assert sys.stat(f"{ROOT}/t/cgroup.procs").statbuf.st_mode & 0o777 == 0o644
        assert sys.stat(f"{ROOT}/t/cgroup.events").statbuf.st_mode & 0o777 == 0o444

    assert machine.run(main) == 0


def test_whoever_was_given_a_group_may_divide_it_but_take_nobody_in_from_outside(machine: Machine) -> None:
    """Delegation: the directory, cgroup.procs and cgroup.subtree_control belong to the user."""

    def main(sys: Sys) -> None:
        outside = sys.fork(lambda sys: sys.sleep(1))
        sys.mkdir(f"{ROOT}/u", 0o755)
        for name in ("", "/cgroup.procs", "/cgroup.subtree_control"):
            sys.chmod(f"{ROOT}/u{name}", 0o777)
        join(sys, f"{ROOT}/u")
        sys.setresuid(1000, 1000, 1000)
        sys.mkdir(f"{ROOT}/u/a", 0o755)
        sys.write_file(f"{ROOT}/u/cgroup.subtree_control", "+cpuset")
        assert errno_of(lambda: join(sys, f"{ROOT}/u/a")) == "ENOTSUP", "a thread root, as it is in it itself"
        sys.write_file(f"{ROOT}/u/cgroup.subtree_control", "-cpuset")
        join(sys, f"{ROOT}/u/a")
        sys.write_file(f"{ROOT}/u/cgroup.subtree_control", "+cpuset")
        sys.write_file(f"{ROOT}/u/a/cpuset.mems", "1")
        assert sys.get_mempolicy(flags=abi.MPOL_F_MEMS_ALLOWED).nodemask == {1}
        assert errno_of(lambda: sys.write_file(f"{ROOT}/u/cpuset.mems", "1")) == "EACCES"
        assert errno_of(lambda: join(sys, f"{ROOT}/u/a", outside)) == "EACCES"
        assert errno_of(lambda: join(sys, ROOT)) == "EACCES"

    assert machine.run(main) == 0


def test_what_counts_is_who_opened_the_file(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.mkdir(f"{ROOT}/t", 0o755)
        procs = sys.open(f"{ROOT}/t/cgroup.procs", os.O_WRONLY)
        sys.setresuid(1000, 1000, 1000)
        sys.write(procs, "0")
        assert sys.read_file("/proc/self/cgroup") == "0::/t\n"

    assert machine.run(main) == 0


def test_a_user_moves_no_task_that_has_more_rights_if_the_cpuset_differs(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.mkdir(f"{ROOT}/same", 0o755)
        sys.mkdir(f"{ROOT}/less", 0o755)
        sys.write_file(f"{ROOT}/less/cpuset.mems", "0")
        fds = [sys.open(f"{ROOT}/{name}/cgroup.procs", os.O_WRONLY) for name in ("same", "less")]
        root = sys.fork(lambda sys: sys.sleep(1))
        sys.setresuid(1000, 1000, 1000)
        sys.write(fds[0], str(root))
        assert errno_of(lambda: sys.write(fds[1], str(root))) == "EPERM"
        assert sys.read_file(f"/proc/{root}/cgroup") == "0::/same\n"

    assert machine.run(main) == 0


def test_they_can_be_mounted_elsewhere_too(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.mkdir("/tmp/c", 0o755)
        assert errno_of(lambda: sys.mount("c", "/tmp/c", "cgroup2", 0, "nsdelegate")) == "EINVAL"
        assert errno_of(lambda: sys.mount("c", ROOT, "cgroup2", 0, None)) == "EBUSY"
        sys.mount("c", "/tmp/c", "cgroup2", 0, None)
        sys.mkdir("/tmp/c/t", 0o755)
        join(sys, f"{ROOT}/t")
        sys.umount2("/tmp/c", 0)
        assert pids(sys, f"{ROOT}/t") == [sys.getpid()]

    assert machine.run(main) == 0


def test_groups_may_lie_as_deep_as_anybody_likes(machine: Machine) -> None:
    """Deeper than Python calls functions."""
    deep = 1100
    here = machine.kernel.cgroup_root.kn
    for _ in range(deep):
        below = here.mkdir("g", 0o755, machine.kernel.init.cred)
        here.link("g", below)
        here = below
    bottom = ROOT + "/g" * deep

    def main(sys: Sys) -> None:
        assert sys.read_file(f"{bottom}/cgroup.type") == "domain\n"
        join(sys, bottom)
        assert sys.read_file("/proc/self/cgroup") == f"0::{'/g' * deep}\n"
        assert sys.read_file(f"{ROOT}/g/cgroup.events") == "populated 1\nfrozen 0\n"
        assert f"nr_descendants {deep - 1}\n" in sys.read_file(f"{ROOT}/g/cgroup.stat")
        sys.write_file(f"{ROOT}/g/cpuset.mems", "1")
        assert sys.task.ctx.mems_allowed == 2
        join(sys, ROOT)
        assert sys.read_file(f"{ROOT}/g/cgroup.events") == "populated 0\nfrozen 0\n"

    assert machine.run(main) == 0


def test_groups_above_know_whether_anybody_is_below(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        names = ("t", "t/a", "t/a/b", "t/c")
        for name in names:
            sys.mkdir(f"{ROOT}/{name}", 0o755)

        def populated() -> str:
            events = (sys.read_file(f"{ROOT}/{name}/cgroup.events") for name in names)
            return "".join(text.split()[1] for text in events)

        join(sys, f"{ROOT}/t/a/b")
        child = sys.fork(lambda sys: sys.sleep(1))
        assert populated() == "1110"
        join(sys, f"{ROOT}/t/c", child)
        assert populated() == "1111"
        join(sys, f"{ROOT}/t/a")
        assert populated() == "1101"
        sys.kill(child, 9)
        sys.wait()
        assert populated() == "1100"
        join(sys, ROOT)
        assert populated() == "0000"

    assert machine.run(main) == 0
