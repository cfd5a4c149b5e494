"""Trace events: their names and fields, choosing them, and reading the ring back.

Mirrors include/trace/events/*.h and arch/x86/include/asm/trace/exceptions.h: systems, names, fields and texts are those
of Linux 6.12. The events of the system ``numalab`` are ours: why a task sleeps, one pass of a migration, how much of a
node is free. Deliberately different: one ring for the machine (65 536 events, the oldest are overwritten), seven words
of arguments an event, so that small fields share a word, and what the simulator has no value for prints as 0.

Kernels write with trace() of _hw.pxd; the ids are that file's EV_ constants.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from numalab.arch._hw import Hardware

MODES = ("MIGRATE_ASYNC", "MIGRATE_SYNC_LIGHT", "MIGRATE_SYNC")
REASONS = (
    "compaction", "memory_failure", "memory_hotplug", "syscall_or_cpuset", "mempolicy_mbind", "numa_misplaced",
    "contig_range", "longterm_pin", "demotion", "damon",
)  # fmt: skip
LRU_NAMES = ("inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable")
FLUSH_REASONS = (
    "flush on task switch",
    "remote shootdown",
    "local shootdown",
    "local mm shootdown",
    "remote ipi send",
)
#: RECLAIM_WB_*, as lru_shrink_inactive prints them.
RECLAIM_FLAGS = ("RECLAIM_WB_ANON|RECLAIM_WB_ASYNC", "RECLAIM_WB_FILE|RECLAIM_WB_ASYNC")
#: States of a task that is switched out.
TASK_STATES = ("R", "R+", "S", "D", "X", "Z")
RWBS = ("R", "W")
#: Where struct pages would be: frame 0's has this address (VMEMMAP_START, without KASLR).
VMEMMAP_START = 0xFFFFEA0000000000


# How a value prints.
def _plain(value: int) -> str:
    return str(value)


def _hex(value: int) -> str:
    return f"{value:#x}"


def _hex_bare(value: int) -> str:
    return f"{value:x}"


def _signed(value: int) -> str:
    return str(value - (1 << 64) if value >> 63 else value)


def _short(value: int) -> str:
    return str(value - (1 << 16) if value >> 15 else value)


def _page(pfn: int) -> str:
    return f"{VMEMMAP_START + 64 * pfn:016x}"


def _gfp(value: int) -> str:
    """What a request was made with (the GFP_* of mm), in Linux's words."""
    if not value & 1:  # a page table
        return "GFP_KERNEL_ACCOUNT|__GFP_COMP|__GFP_ZERO"
    return "GFP_HIGHUSER_MOVABLE|__GFP_COMP" + ("|__GFP_THISNODE" if value & 2 else "")


def _migratetype(gfp: int) -> str:
    return str(gfp & 1)


def _device(value: int) -> str:
    return f"{value >> 20},{value & 0xFFFFF}"


def _one_of(names: tuple[str, ...]) -> Callable[[int], str]:
    return lambda value: names[value] if value < len(names) else str(value)


@dataclass(frozen=True, slots=True)
class Field:
    """Where a field lies: in which argument word, from which bit on, how many; and how it prints (None: a text)."""

    name: str
    word: int
    show: Callable[[int], str] | None = _plain
    shift: int = 0
    bits: int = 64


@dataclass(frozen=True, slots=True)
class Event:
    """One event: Linux's system and name, its text as Linux prints it, with {field} for a value, and its fields."""

    system: str
    name: str
    text: str
    fields: tuple[Field, ...]


def _halves(*names: str) -> tuple[Field, ...]:
    """Fields of 32 bits, two a word, the first of them in word 0."""
    return tuple(Field(name, i // 2, _plain, i % 2 * 32, 32) for i, name in enumerate(names))


_PTE = (Field("addr", 0, _hex_bare), Field("pte", 1, _hex_bare), Field("order", 2))
_PTE_TEXT = "addr={addr}, pte={pte} order={order}"
_GFP = Field("gfp_flags", 2, _gfp)
_WAKEUP = (
    Field("comm", 0, None),
    Field("pid", 1),
    Field("prio", 2),
    Field("target_cpu", 3, lambda cpu: f"{cpu:03d}"),
)
_WAKEUP_TEXT = "comm={comm} pid={pid} prio={prio} target_cpu={target_cpu}"
_REQUEST = (Field("dev", 0, _device), Field("rwbs", 1, _one_of(RWBS)), Field("nr_sector", 2))
_SHRUNK = (
    "nid", "priority", "nr_scanned", "nr_reclaimed", "nr_dirty", "nr_writeback", "nr_congested", "nr_immediate",
    "nr_activate_anon", "nr_activate_file", "nr_ref_keep", "nr_unmap_fail",
)  # fmt: skip

EVENTS = (
    Event(
        "kmem",
        "mm_page_alloc",
        "page={page} pfn={pfn} order={order} migratetype={migratetype} gfp_flags={gfp_flags}",
        (
            Field("page", 0, _page),
            Field("pfn", 0, _hex),
            Field("order", 1),
            Field("migratetype", 2, _migratetype),
            _GFP,
        ),
    ),
    Event(
        "kmem",
        "mm_page_free",
        "page={page} pfn={pfn} order={order}",
        (Field("page", 0, _page), Field("pfn", 0, _hex), Field("order", 1)),
    ),
    Event(
        "migrate",
        "mm_migrate_pages_start",
        "mode={mode} reason={reason}",
        (Field("mode", 0, _one_of(MODES)), Field("reason", 1, _one_of(REASONS))),
    ),
    Event(
        "migrate",
        "mm_migrate_pages",
        "nr_succeeded={nr_succeeded} nr_failed={nr_failed} nr_thp_succeeded={nr_thp_succeeded} "
        "nr_thp_failed={nr_thp_failed} nr_thp_split={nr_thp_split} nr_split={nr_split} "
        "mode={mode} reason={reason}",
        (
            Field("nr_succeeded", 0),
            Field("nr_failed", 1),
            Field("nr_thp_succeeded", 2),
            Field("nr_thp_failed", 3),
            Field("nr_thp_split", 4),
            Field("nr_split", 4),
            Field("mode", 5, _one_of(MODES)),
            Field("reason", 6, _one_of(REASONS)),
        ),
    ),
    Event("migrate", "set_migration_pte", _PTE_TEXT, _PTE),
    Event("migrate", "remove_migration_pte", _PTE_TEXT, _PTE),
    Event(
        "vmscan",
        "mm_vmscan_lru_isolate",
        "classzone={classzone} order={order} nr_requested={nr_requested} nr_scanned={nr_scanned} "
        "nr_skipped={nr_skipped} nr_taken={nr_taken} lru={lru}",
        (
            Field("classzone", 0),
            Field("order", 1),
            Field("nr_requested", 2),
            Field("nr_scanned", 3),
            Field("nr_skipped", 4),
            Field("nr_taken", 5),
            Field("lru", 6, _one_of(LRU_NAMES)),
        ),
    ),
    Event(
        "vmscan",
        "mm_vmscan_lru_shrink_inactive",
        "nid={nid} nr_scanned={nr_scanned} nr_reclaimed={nr_reclaimed} nr_dirty={nr_dirty} "
        "nr_writeback={nr_writeback} nr_congested={nr_congested} nr_immediate={nr_immediate} "
        "nr_activate_anon={nr_activate_anon} nr_activate_file={nr_activate_file} nr_ref_keep={nr_ref_keep} "
        "nr_unmap_fail={nr_unmap_fail} priority={priority} flags={flags}",
        (*_halves(*_SHRUNK), Field("flags", 6, _one_of(RECLAIM_FLAGS))),
    ),
    Event(
        "vmscan",
        "mm_vmscan_direct_reclaim_begin",
        "order={order} gfp_flags={gfp_flags}",
        (Field("order", 0), _GFP),
    ),
    Event(
        "vmscan",
        "mm_vmscan_direct_reclaim_end",
        "nr_reclaimed={nr_reclaimed}",
        (Field("nr_reclaimed", 0),),
    ),
    Event("vmscan", "mm_vmscan_kswapd_wake", "nid={nid} order={order}", (Field("nid", 0), Field("order", 1))),
    Event("vmscan", "mm_vmscan_kswapd_sleep", "nid={nid}", (Field("nid", 0),)),
    Event(
        "oom",
        "mark_victim",
        "pid={pid} comm={comm} total-vm={total_vm}kB anon-rss={anon_rss}kB file-rss:{file_rss}kB "
        "shmem-rss:{shmem_rss}kB uid={uid} pgtables={pgtables}kB oom_score_adj={oom_score_adj}",
        (
            Field("pid", 0, _plain, 0, 32),
            Field("uid", 0, _plain, 32, 32),
            Field("comm", 1, None),
            Field("total_vm", 2),
            Field("anon_rss", 3),
            Field("file_rss", 4),
            Field("shmem_rss", 5),
            Field("pgtables", 6, _plain, 0, 48),
            Field("oom_score_adj", 6, _short, 48, 16),
        ),
    ),
    Event(
        "tlb",
        "tlb_flush",
        "pages:{pages} reason:{reason} ({number})",
        (Field("pages", 0, _signed), Field("reason", 1, _one_of(FLUSH_REASONS)), Field("number", 1)),
    ),
    Event(
        "exceptions",
        "page_fault_user",
        "address={address} ip={ip} error_code={error_code}",
        (Field("address", 0, _hex), Field("ip", 1, _hex), Field("error_code", 2, _hex)),
    ),
    Event(
        "sched",
        "sched_switch",
        "prev_comm={prev_comm} prev_pid={prev_pid} prev_prio={prev_prio} prev_state={prev_state} ==> "
        "next_comm={next_comm} next_pid={next_pid} next_prio={next_prio}",
        (
            Field("prev_comm", 0, None),
            Field("prev_pid", 1),
            Field("prev_prio", 2),
            Field("prev_state", 3, _one_of(TASK_STATES)),
            Field("next_comm", 4, None),
            Field("next_pid", 5),
            Field("next_prio", 6),
        ),
    ),
    Event("sched", "sched_wakeup", _WAKEUP_TEXT, _WAKEUP),
    Event("sched", "sched_wakeup_new", _WAKEUP_TEXT, _WAKEUP),
    Event(
        "sched",
        "sched_process_fork",
        "comm={comm} pid={pid} child_comm={child_comm} child_pid={child_pid}",
        (Field("comm", 0, None), Field("pid", 1), Field("child_comm", 2, None), Field("child_pid", 3)),
    ),
    Event(
        "sched",
        "sched_process_exit",
        "comm={comm} pid={pid} prio={prio}",
        (Field("comm", 0, None), Field("pid", 1), Field("prio", 2)),
    ),
    Event(
        "block",
        "block_rq_issue",
        "{dev} {rwbs} {bytes} () {sector} + {nr_sector} none,0,0 [{comm}]",
        (*_REQUEST, Field("bytes", 2, lambda n: str(512 * n)), Field("sector", 3), Field("comm", 4, None)),
    ),
    Event(
        "block",
        "block_rq_complete",
        "{dev} {rwbs} () {sector} + {nr_sector} none,0,0 [{error}]",
        (*_REQUEST, Field("sector", 3), Field("error", 4, _signed)),
    ),
    Event(
        "raw_syscalls",
        "sys_enter",
        "NR {NR} ({arg0}, {arg1}, {arg2}, {arg3}, {arg4}, {arg5})",
        (Field("NR", 0, _signed), *(Field(f"arg{i}", 1 + i, _hex_bare) for i in range(6))),
    ),
    Event("raw_syscalls", "sys_exit", "NR {NR} = {ret}", (Field("NR", 0, _signed), Field("ret", 1, _signed))),
    Event(
        "numalab",
        "task_sleep",
        "state={state} why={why}",
        (Field("state", 0, _one_of(TASK_STATES)), Field("why", 1, None)),
    ),
    Event(
        "numalab",
        "migrate_pass",
        "pass={pass} tried={tried} moved={moved} began={began}",
        (Field("pass", 0, None), Field("tried", 1), Field("moved", 2), Field("began", 3)),
    ),
    Event("numalab", "node_free", "nid={nid} pages={pages}", (Field("nid", 0), Field("pages", 1))),
)
"""By id: the place in this tuple is the EV_ constant of _hw.pxd and the bit in the trace mask."""

IDS = {event.name: i for i, event in enumerate(EVENTS)}
#: One or more for each page: what is recorded when nobody says what leaves them out.
PER_PAGE = ("kmem", "exceptions", "set_migration_pte", "remove_migration_pte")


def _matches(event: Event, pattern: str) -> bool:
    system, colon, name = pattern.partition(":")
    if colon:
        return fnmatchcase(event.system, system or "*") and fnmatchcase(event.name, name or "*")
    return pattern == "all" or fnmatchcase(event.system, pattern) or fnmatchcase(event.name, pattern)


def select(patterns: Iterable[str]) -> int:
    """The mask of events chosen as trace-cmd's -e does: SYSTEM, EVENT or SYSTEM:EVENT, each with ``*`` and ``?``; all.

    Raises ValueError for what matches no event.
    """
    mask = 0
    for pattern in patterns:
        found = sum(1 << i for i, event in enumerate(EVENTS) if _matches(event, pattern))
        if not found:
            systems = ", ".join(dict.fromkeys(event.system for event in EVENTS))
            raise ValueError(
                f"event {pattern!r} is unknown: use all, one of the systems {systems}, or an event of one"
            )
        mask |= found
    return mask


@dataclass(frozen=True, slots=True)
class Record:
    """One recorded event. seq counts every event since boot, so a gap shows what the ring lost; args by field name."""

    seq: int
    time: int
    cpu: int
    pid: int
    event: Event
    args: dict[str, Any]

    @property
    def name(self) -> str:
        return self.event.name

    def text(self) -> str:
        """The fields as Linux prints them: `mode=MIGRATE_SYNC reason=mempolicy_mbind`."""
        shown = {
            f.name: f.show(self.args[f.name]) if f.show else self.args[f.name] for f in self.event.fields
        }
        return self.event.text.format_map(shown)


def _value(hw: Hardware, entry: Any, field: Field) -> int | str:
    number = int(entry["args"][field.word]) >> field.shift & (1 << field.bits) - 1
    return number if field.show else hw.strings[number]


def decode(hw: Hardware, entries: Any, seq: int) -> Iterator[Record]:
    """The records of consecutive entries of the ring, of which the first has this sequence number."""
    for entry in entries:
        event = EVENTS[int(entry["id"])]
        args = {field.name: _value(hw, entry, field) for field in event.fields}
        yield Record(seq, int(entry["time"]), int(entry["cpu"]), int(entry["pid"]), event, args)
        seq += 1
