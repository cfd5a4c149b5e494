"""Who may look into whom: a table of who asks and who is asked."""

import pytest

from numalab.kernel import cred as rules
from numalab.kernel.cred import ALL_CAPS, Cap, Cred
from numalab.kernel.machine import Machine
from numalab.kernel.ptrace import ptrace_may_access
from numalab.kernel.ucount import commit_creds

ROOT = Cred()
USER = rules.setresuid(ROOT, 1000, 1000, 1000)
OTHER = rules.setresuid(ROOT, 2000, 2000, 2000)
BARE_ROOT = rules.capset(ROOT, 0, 0, 0)
NO_PTRACE = rules.capset(
    ROOT, ALL_CAPS & ~(1 << Cap.CAP_SYS_PTRACE), ALL_CAPS & ~(1 << Cap.CAP_SYS_PTRACE), 0
)
MIXED = rules.setresuid(ROOT, 1000, 2000, 1000)
PTRACER = rules.capset(rules.setresuid(ROOT, 0, 0, 1000), 1 << Cap.CAP_SYS_PTRACE, 1 << Cap.CAP_SYS_PTRACE, 0)


@pytest.mark.parametrize(
    ("asks", "asked", "dumpable", "allowed"),
    [
        (ROOT, USER, 1, True),
        (ROOT, USER, 0, True),
        (USER, USER, 1, True),
        (USER, USER, 0, False),
        (USER, OTHER, 1, False),
        (USER, ROOT, 1, False),
        (USER, MIXED, 1, False),
        (MIXED, USER, 1, True),  # the real id counts
        (BARE_ROOT, BARE_ROOT, 1, True),
        (BARE_ROOT, ROOT, 1, False),  # it has capabilities that the caller lacks
        (BARE_ROOT, USER, 1, False),
        (NO_PTRACE, USER, 1, False),
        (NO_PTRACE, BARE_ROOT, 1, True),
        (NO_PTRACE, BARE_ROOT, 0, False),
        (PTRACER, OTHER, 0, True),
    ],
)
def test_access(machine: Machine, asks: Cred, asked: Cred, dumpable: int, allowed: bool) -> None:
    caller, target = machine.spawn(lambda sys: 0), machine.spawn(lambda sys: 0)
    caller.cred, target.cred = asks, asked
    assert target.mm_users is not None
    target.mm_users.dumpable = dumpable
    assert ptrace_may_access(caller, target) is allowed
    assert ptrace_may_access(caller, caller)
    machine.run()


def test_files_of_proc_go_by_the_file_system_ids(machine: Machine) -> None:
    caller, target = machine.spawn(lambda sys: 0), machine.spawn(lambda sys: 0)
    caller.cred, target.cred = MIXED, OTHER
    assert not ptrace_may_access(caller, target)
    assert ptrace_may_access(caller, target, fscreds=True)
    machine.run()


def test_changing_the_user_makes_a_process_opaque(machine: Machine) -> None:
    task = machine.spawn(lambda sys: 0)
    assert task.mm_users is not None
    commit_creds(machine.kernel, task, rules.capset(task.cred, 0, 0, 0))
    assert task.mm_users.dumpable == 1
    commit_creds(machine.kernel, task, USER)
    assert task.mm_users.dumpable == 0
    machine.run()


def test_kernel_tasks_have_nothing_to_look_into_but_may_be_asked_by_root(machine: Machine) -> None:
    kthreadd = machine.tasks[1]
    assert ptrace_may_access(machine.kernel.init, kthreadd)
    user = machine.spawn(lambda sys: 0, uid=1000)
    assert not ptrace_may_access(user, kthreadd)
    machine.run()
