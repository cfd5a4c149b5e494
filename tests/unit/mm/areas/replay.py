"""The operations of answers.txt, done by numalab.mm: prints the text that recorder.c prints on a real kernel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from numalab.arch.errno import KernelError
from numalab.mm import madvise, mempolicy, mincore, mlock, mmap, mprotect, mremap, task_mmu, vm_flags
from numalab.mm._mm_types import VMA, AllocCtx
from numalab.mm.memory import UserFault, touch_user
from numalab.mm.mempolicy import MPOL_F_ADDR

from tests.mm_machine import PAGE, MmMachine

__all__ = ["Replay", "operations"]

ARENA = 0x10000000000
PAGES = 32
#: VmFlags of /proc/PID/smaps: by bit, ascending.
VM_FLAGS = {
    vm_flags.VM_READ: "rd",
    vm_flags.VM_WRITE: "wr",
    vm_flags.VM_EXEC: "ex",
    vm_flags.VM_SHARED: "sh",
    vm_flags.VM_MAYREAD: "mr",
    vm_flags.VM_MAYWRITE: "mw",
    vm_flags.VM_MAYEXEC: "me",
    vm_flags.VM_MAYSHARE: "ms",
    vm_flags.VM_GROWSDOWN: "gd",
    vm_flags.VM_LOCKED: "lo",
    vm_flags.VM_SEQ_READ: "sr",
    vm_flags.VM_RAND_READ: "rr",
    vm_flags.VM_DONTCOPY: "dc",
    vm_flags.VM_LOCKONFAULT: "lf",
    vm_flags.VM_ACCOUNT: "ac",
    vm_flags.VM_NORESERVE: "nr",
    vm_flags.VM_WIPEONFORK: "wf",
    vm_flags.VM_DONTDUMP: "dd",
    vm_flags.VM_HUGEPAGE: "hg",
    vm_flags.VM_NOHUGEPAGE: "nh",
}


def operations(answers: str) -> list[str]:
    """The operations in a file of answers."""
    lines = (line.split("=>")[0].strip() for line in answers.splitlines() if line[:1] not in " #")
    return [line for line in lines if line]


class Replay:
    """One run. ``text`` grows; ``after_each`` is called with the machine after every operation."""

    def __init__(self, m: MmMachine, ops: list[str], after_each: Callable[[], None]) -> None:
        self.m = m
        self.mem = m.mem
        self.ops = ops
        self.after_each = after_each
        self.mm = m.new_mm()
        self.ctx = m.ctx
        self.memlock_limit = vm_flags.MASK64
        self.root = True
        self.written = ""
        self.text: list[str] = []

    def run(self, i: int = 0) -> int:
        """Do operations from ``i`` on; a child's end with its ``e``. Returns where it stopped."""
        while i < len(self.ops):
            op, *words = self.ops[i].split()
            args = [int(word, 0) for word in words] + [0] * 5
            if op == "e":
                self.text.append(self.ops[i])
                return i
            if op == "f":
                self.text.append(self.ops[i])
                i = self._in_a_child(i + 1)
            else:
                answer = self._one(op, args)
                self.text.append(self.ops[i] + (f" => {answer}" if answer else ""))
            self._write_state()
            self.after_each()
            i += 1
        return i

    def _in_a_child(self, i: int) -> int:
        parent = self.mm, self.ctx, self.memlock_limit, self.root, self.written
        self.mm, ctx = self.m.fork(self.mm), AllocCtx(self.ctx.cpu, self.ctx.nid, self.ctx.mems_allowed)
        ctx.policy, ctx.il_prev, ctx.il_weight = self.ctx.policy, self.ctx.il_prev, self.ctx.il_weight
        self.ctx = ctx
        i = self.run(i)
        self.m.exit(self.mm)
        self.mm, self.ctx, self.memlock_limit, self.root, self.written = parent
        return i

    def _one(self, op: str, n: list[int]) -> str:
        at, length = ARENA + n[0] * PAGE & vm_flags.MASK64, n[1] * PAGE & vm_flags.MASK64
        mm, ctx, mem = self.mm, self.ctx, self.mem
        limit, root = self.memlock_limit, self.root
        calls: dict[str, Callable[[], int | None]] = {
            "m": lambda: mmap.do_mmap(mm, ctx, at, length, n[2], n[3], memlock_limit=limit, ipc_lock=root),
            "u": lambda: mmap.do_munmap(mm, ctx, at, length),
            "p": lambda: mprotect.do_mprotect(mm, ctx, at, length, n[2]),
            "a": lambda: madvise.do_madvise(mm, ctx, at, length, n[2]),
            "b": lambda: self._mbind(at, length, *n[2:5]),
            "h": lambda: mempolicy.do_set_home_node(mm, ctx, at, length, n[2]),
            "l": lambda: mlock.do_mlock(mm, ctx, at, length, n[2], memlock_limit=limit, ipc_lock=root),
            "n": lambda: mlock.do_munlock(mm, ctx, at, length),
            "x": lambda: mremap.do_mremap(
                mm,
                ctx,
                at,
                length,
                n[2] * PAGE,
                n[3],
                ARENA + n[4] * PAGE,
                memlock_limit=limit,
                ipc_lock=root,
            ),
            "s": lambda: mempolicy.do_set_mempolicy(mem, ctx, *mempolicy.sanitize_mpol_flags(n[0]), n[1]),
            "q": lambda: self._set(memlock_limit=n[0] * PAGE),
            "U": lambda: self._set(root=False),
        }
        try:
            if op in calls:
                result = calls[op]() or 0
                return f"@{(result - ARENA) // PAGE}" if result >= ARENA else str(result)
            if op == "c":
                return "".join(map(str, mincore.do_mincore(mm, at, length)))
            if op == "g":
                addr = at if n[1] & MPOL_F_ADDR else 0
                return "{} {:x}".format(*mempolicy.do_get_mempolicy(mem, mm, ctx, addr, n[1]))
        except KernelError as error:
            return str(-error.errno)
        if op in "wr":
            return str(self._touch(at, n[1], op == "w"))
        if op == "k":
            ctx.cpu, ctx.nid = n[0], self.m.hw.topology.node_of_cpu(n[0])
        elif op == "R":
            mmap.do_munmap(mm, ctx, ARENA, PAGES * PAGE)
            mempolicy.do_set_mempolicy(mem, ctx, 0, 0, 0)
            mlock.do_munlockall(mm, ctx)
        return ""

    def _mbind(self, at: int, length: int, mode: int, mask: int, flags: int) -> int:
        mode, mode_flags = mempolicy.sanitize_mpol_flags(mode)
        return mempolicy.do_mbind(
            self.mem, self.mm, self.ctx, at, length, mode, mode_flags, mask, flags, sys_nice=self.root
        )

    def _set(self, **values: int) -> None:
        vars(self).update(values)

    def _touch(self, at: int, pages: int, write: bool) -> int:
        for done in range(pages):
            try:
                touch_user(self.mm, self.ctx, at + done * PAGE, PAGE, 1, write)
            except UserFault:
                return done
        return pages

    def _write_state(self) -> None:
        areas = [vma for vma in self.mm.vmas.values() if ARENA <= vma.start < ARENA + PAGES * PAGE]
        status = np.zeros(PAGES, np.int32)
        self.mem.k.migrate.pages_status(
            self.mem, self.mm, np.arange(PAGES, dtype=np.uint64) * np.uint64(PAGE) + np.uint64(ARENA), status
        )
        nodes = "".join(str(s) if s >= 0 else "F" if s == -14 else "." for s in status.tolist())
        state = "\n".join([*map(self._area, areas), f"  nodes {nodes}"])
        if state != self.written:
            self.text.append(state)
        self.written = state

    def _area(self, vma: VMA) -> str:
        flags = "".join(f"{name} " for flag, name in VM_FLAGS.items() if vma.flags & flag)
        words = task_mmu.show_numa_map(self.mm, vma, self.ctx.policy).split(" ")[1:]
        shown = " ".join(word for word in words if not word.startswith("active="))
        rights = task_mmu.show_map_vma(self.mm, vma).split()[1]
        return f"  {(vma.start - ARENA) // PAGE}-{(vma.end - ARENA) // PAGE} {rights}|{flags}|{shown}"
