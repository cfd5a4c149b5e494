"""Arguments of mbind, set_mempolicy, get_mempolicy, migrate_pages, move_pages and set_mempolicy_home_node."""

from __future__ import annotations

from numalab.arch.errno import errno_name
from numalab.syscalls.kinds import Arg, Kind
from numalab.syscalls.strace.forms import Names, after, array, flags, join, pointer, structure
from numalab.syscalls.strace.view import Show, View, is_error

__all__ = ["SHOW"]

_ULONG_MAX = (1 << 64) - 1
_MOVE: Names = [(1, "MPOL_MF_STRICT"), (2, "MPOL_MF_MOVE"), (4, "MPOL_MF_MOVE_ALL")]
_MOVE_PAGES: Names = _MOVE[1:]
_GETPOL: Names = [(1, "MPOL_F_NODE"), (2, "MPOL_F_ADDR"), (4, "MPOL_F_MEMS_ALLOWED")]
_MODE_FLAGS: Names = [(1 << 15, "MPOL_F_STATIC_NODES"), (1 << 14, "MPOL_F_RELATIVE_NODES"),
                      (1 << 13, "MPOL_F_NUMA_BALANCING")]  # fmt: skip
_ALL_MODE_FLAGS = 7 << 13
_MODES = ("MPOL_DEFAULT", "MPOL_PREFERRED", "MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_LOCAL", "MPOL_PREFERRED_MANY",
          "MPOL_WEIGHTED_INTERLEAVE")  # fmt: skip


def _mode_text(mode: int) -> str:
    """A policy mode: a number that has a name, and flags in the bits above. Without a name, a word of flags."""
    base = mode & ~_ALL_MODE_FLAGS
    if base >= len(_MODES):
        return join(mode, _MODE_FLAGS, "0", "MPOL_???")
    return "|".join([_MODES[base], *(name for bit, name in _MODE_FLAGS if mode & bit)])


def _mode(view: View, arg: Arg, value: int) -> str:
    # mbind() takes an unsigned long, set_mempolicy() an int.
    return _mode_text(view.raw[2] if view.row.name == "mbind" else value & 0xFFFFFFFF)


def _mask_word(word: int) -> str:
    # printf's %#0*lx, 16 wide with the prefix, which zero does not get.
    return f"{word:#016x}" if word else "0" * 16


def _nodemask(view: View, arg: Arg, addr: int) -> str:
    """The words that hold maxnode - 1 bits; the address if there are none."""
    maxnode = view.count(arg)
    words = (maxnode + 62 & _ULONG_MAX) // 64
    if maxnode and words < max(1, maxnode // 64):
        return pointer(addr)
    return array(view, addr, words, "Q", _mask_word)


def _pages(view: View, arg: Arg, addr: int) -> str:
    return array(view, addr, view.count(arg), "Q", pointer)


def _nodes(view: View, arg: Arg, addr: int) -> str:
    return array(view, addr, view.count(arg), "i", str)


def _statuses(view: View, arg: Arg, addr: int) -> str:
    """move_pages' answers: nodes, or errors by name."""

    def text(status: int) -> str:
        return f"-{errno_name(status)}" if is_error(status) else str(status)

    return array(view, addr, view.count(arg), "i", text)


SHOW: dict[Kind, Show] = {
    Kind.MPOL_MODE: _mode,
    Kind.MODE_OUT: after(structure("I", lambda mode: f"[{_mode_text(mode)}]")),
    Kind.MBIND_FLAGS: flags(_MOVE, "MPOL_???"),
    Kind.MOVE_FLAGS: flags(_MOVE_PAGES, "MPOL_???"),
    Kind.GETPOL_FLAGS: flags(_GETPOL, "MPOL_???"),
    Kind.NODEMASK: _nodemask,
    Kind.NODEMASK_OUT: after(_nodemask),
    Kind.PAGES: _pages,
    Kind.NODES: _nodes,
    Kind.STATUS_OUT: after(_statuses),
}
