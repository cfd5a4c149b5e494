"""The daemons: a node taken away block by block, and one emptied as in 2005, by migrate_pages(2) alone."""

from __future__ import annotations

from errno import errorcode
from signal import SIGKILL, SIGUSR1

from numalab.mm.memory_block import memory_blocks
from numalab.mm.migrate.reasons import word
from numalab.syscalls.sys import Sys

from tests.reliability.load import NODE, Field
from tests.reliability.why import Account

__all__ = ["offline", "offline_in_vain", "vacate"]


def offline(field: Field, sys: Sys) -> None:
    """Take every block away."""
    for block in memory_blocks(field.machine.mem, NODE):
        _set_state(field, sys, block, "offline")


def offline_in_vain(field: Field, sys: Sys) -> None:
    """Somebody holds a page for good: its block stays. The others come back, for the node is to be as it was."""
    ((task, page),) = field.some_pages(1)
    release = field.machine.obstacles.hold(field.machine.page_of(task, page))
    sys.signal(SIGUSR1, lambda *info: None)
    blocks = memory_blocks(field.machine.mem, NODE)
    answers = [_offline_patiently(field, sys, block) for block in blocks]
    for block, answer in zip(blocks, answers, strict=True):
        if not answer:
            sys.write_file(f"/sys/devices/system/memory/memory{block}/state", "online_movable")
    release()


def _offline_patiently(field: Field, sys: Sys, block: int) -> str:
    alarm = sys.fork(_lose_patience, field.load.patience, sys.getpid())
    answer = _set_state(field, sys, block, "offline")
    sys.kill(alarm, SIGKILL)
    sys.wait(alarm)
    return answer


def _lose_patience(sys: Sys, patience: int, pid: int) -> None:
    sys.sleep(patience)
    sys.kill(pid, SIGUSR1)


def _set_state(field: Field, sys: Sys, block: int, word: str) -> str:
    answer = ""
    try:
        sys.write_file(f"/sys/devices/system/memory/memory{block}/state", word)
    except OSError as error:
        answer = errorcode[error.errno or 0]
    field.out.answers.append(answer)
    _count(field)
    return answer


def vacate(field: Field, sys: Sys) -> None:
    """Move the pages of every process to node 0, and no more than that."""
    mem, account = field.machine.mem, Account(field.machine.mem)
    mem.explain = True
    for pid in [*field.pids, sys.getppid(), sys.getpid()]:
        task = field.machine.kernel.pids.find(pid)
        assert task is not None
        assert task.mm is not None
        account.find(task.mm)
        field.out.answers.append(str(sys.migrate_pages(pid, {NODE}, {0})))
        account.take(mem.ledger, task.mm)
        _count(field)
    mem.explain = False
    field.out.left = account.left(range(*field.frames))


def _count(field: Field) -> None:
    ledger = field.machine.mem.ledger
    field.out.moved += ledger.moved
    for one_pass in ledger.passes:
        for reason, pages in one_pass.left.items():
            field.out.tries[word(reason)] += pages
