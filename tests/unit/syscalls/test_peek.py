"""Looking at a program's memory without touching it."""

from numalab import abi
from numalab.kernel.machine import Machine
from numalab.syscalls.peek import peek
from numalab.syscalls.sys import Sys

PAGE = 4096


def test_what_can_be_read_without_a_fault(machine: Machine) -> None:
    seen = {}

    def main(sys: Sys) -> None:
        data = sys.mmap(2 * PAGE)
        sys.memory.write(data, b"here")
        before = sys.task.ctx.min_flt
        seen["there"] = peek(sys.task, data, 4)
        seen["never touched"] = peek(sys.task, data + PAGE, 2)
        seen["both"] = peek(sys.task, data, PAGE + 1)
        seen["hole"] = peek(sys.task, data + 2 * PAGE, 1)
        seen["faults"] = sys.task.ctx.min_flt - before
        sys.mprotect(data, PAGE, abi.PROT_NONE)
        seen["no permission"] = peek(sys.task, data, 4)
        shared = sys.mmap(PAGE, flags=abi.MAP_SHARED | abi.MAP_ANONYMOUS)
        seen["of a file"] = peek(sys.task, shared, 1)

    machine.run(main)
    assert seen == {
        "there": b"here",
        "never touched": b"\0\0",
        "both": b"here" + bytes(PAGE - 3),
        "hole": None,
        "faults": 0,
        "no permission": None,
        "of a file": None,
    }
