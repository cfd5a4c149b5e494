"""Trace events: their names and fields, switching them on, and reading the ring back as records or ftrace lines.

Mirrors include/trace/events/{kmem,migrate,vmscan,oom,tlb,sched}.h, arch/x86/include/asm/trace/exceptions.h and the line
form of Documentation/trace/ftrace.rst. Deliberately different: one ring for the machine (65 536 events, the oldest are
overwritten), three words of arguments per event, so that small fields share a word and fields that the simulator has no
value for are left out. Kernels write with trace() of _hw.pxd; the ids are that file's EV_ constants.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

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
    "local MM shootdown",
    "remote IPI send",
)


# How a value prints.
def _plain(value: int) -> str:
    return str(value)


def _hex(value: int) -> str:
    return f"{value:#x}"


def _hex_bare(value: int) -> str:
    return f"{value:x}"


def _signed(value: int) -> str:
    return str(value - (1 << 64) if value >> 63 else value)


def _one_of(names: tuple[str, ...]) -> Callable[[int], str]:
    return lambda value: names[value] if value < len(names) else str(value)


@dataclass(frozen=True, slots=True)
class Field:
    """Where a field lies: which argument word ('a', 'b', 'c'), from which bit on, how many; and how it prints."""

    name: str
    word: str
    show: Callable[[int], str] = _plain
    shift: int = 0
    bits: int = 64


@dataclass(frozen=True, slots=True)
class Event:
    """One event: Linux's name, its text as Linux prints it, with {field} where a value goes, and its fields."""

    name: str
    text: str
    fields: tuple[Field, ...]


_PTE = (Field("addr", "a", _hex_bare), Field("pte", "b", _hex_bare), Field("order", "c"))
_PTE_TEXT = "addr={addr}, pte={pte} order={order}"

EVENTS = (
    Event(
        "mm_page_alloc",
        "pfn={pfn} order={order} gfp_flags={gfp_flags}",
        (Field("pfn", "a", _hex), Field("order", "b"), Field("gfp_flags", "c", _hex)),
    ),
    Event("mm_page_free", "pfn={pfn} order={order}", (Field("pfn", "a", _hex), Field("order", "b"))),
    Event(
        "mm_migrate_pages_start",
        "mode={mode} reason={reason}",
        (Field("mode", "a", _one_of(MODES)), Field("reason", "b", _one_of(REASONS))),
    ),
    Event(
        "mm_migrate_pages",
        "nr_succeeded={nr_succeeded} nr_failed={nr_failed} mode={mode} reason={reason}",
        (
            Field("nr_succeeded", "a"),
            Field("nr_failed", "b"),
            Field("mode", "c", _one_of(MODES), 0, 8),
            Field("reason", "c", _one_of(REASONS), 8, 8),
        ),
    ),
    Event("set_migration_pte", _PTE_TEXT, _PTE),
    Event("remove_migration_pte", _PTE_TEXT, _PTE),
    Event(
        "mm_vmscan_lru_isolate",
        "classzone={classzone} order={order} nr_requested={nr_requested} nr_scanned={nr_scanned} "
        "nr_skipped={nr_skipped} nr_taken={nr_taken} lru={lru}",
        (
            Field("nr_requested", "a", _plain, 0, 32),
            Field("nr_scanned", "a", _plain, 32, 32),
            Field("nr_skipped", "b", _plain, 0, 32),
            Field("nr_taken", "b", _plain, 32, 32),
            Field("classzone", "c", _plain, 0, 8),
            Field("order", "c", _plain, 8, 8),
            Field("lru", "c", _one_of(LRU_NAMES), 16, 8),
        ),
    ),
    Event("mm_vmscan_kswapd_wake", "nid={nid} order={order}", (Field("nid", "a"), Field("order", "c"))),
    Event("mm_vmscan_kswapd_sleep", "nid={nid}", (Field("nid", "a"),)),
    Event("mark_victim", "pid={pid}", (Field("pid", "a"),)),
    Event(
        "tlb_flush",
        "pages:{pages} reason:{reason}",
        (Field("pages", "a", _signed), Field("reason", "b", _one_of(FLUSH_REASONS))),
    ),
    Event(
        "page_fault_user",
        "address={address} ip={ip} error_code={error_code}",
        (Field("address", "a", _hex), Field("ip", "b", _hex), Field("error_code", "c", _hex)),
    ),
    Event(
        "sched_switch",
        "prev_pid={prev_pid} prev_state={prev_state} ==> next_pid={next_pid}",
        (Field("prev_pid", "a"), Field("next_pid", "b"), Field("prev_state", "c")),
    ),
    Event(
        "sys_enter",
        "NR {NR} ({arg0}, {arg1})",
        (Field("NR", "a"), Field("arg0", "b", _hex_bare), Field("arg1", "c", _hex_bare)),
    ),
    Event("sys_exit", "NR {NR} = {ret}", (Field("NR", "a"), Field("ret", "b", _signed))),
)
"""By id: the place in this tuple is the EV_ constant of _hw.pxd and the bit in the trace mask."""

IDS = {event.name: i for i, event in enumerate(EVENTS)}


def _mask(names: Iterable[str]) -> int:
    mask = 0
    for name in names:
        if name == "all":
            return (1 << len(EVENTS)) - 1
        if name not in IDS:
            raise ValueError(f"event {name!r} is unknown: use all or {', '.join(IDS)}")
        mask |= 1 << IDS[name]
    return mask


def enable(hw: Hardware, *names: str) -> None:
    """Record these events from now on ('all' for every one). Raises ValueError for an unknown name."""
    hw.trace_mask |= _mask(names)


def disable(hw: Hardware, *names: str) -> None:
    """Stop recording these events; what is in the ring stays. Raises ValueError for an unknown name."""
    hw.trace_mask &= ~_mask(names)


def enabled(hw: Hardware) -> tuple[str, ...]:
    """Names of the events that are recorded."""
    return tuple(event.name for i, event in enumerate(EVENTS) if hw.trace_mask >> i & 1)


@dataclass(frozen=True, slots=True)
class Record:
    """One recorded event. seq counts every event since boot, so a gap shows what the ring lost; args by field name."""

    seq: int
    time: int
    cpu: int
    event: Event
    args: dict[str, int]

    @property
    def name(self) -> str:
        return self.event.name

    def text(self) -> str:
        """The fields as Linux prints them: `nr_succeeded=3 nr_failed=0 mode=MIGRATE_SYNC reason=mempolicy_mbind`."""
        return self.event.text.format_map({f.name: f.show(self.args[f.name]) for f in self.event.fields})


def read(hw: Hardware, since: int = 0) -> Iterator[Record]:
    """Events still in the ring, oldest first, from sequence number `since` on.

    To follow a machine, keep the last seq + 1 and pass it the next time.
    """
    size = len(hw.ring)
    for seq in range(max(since, hw.ring_head - size), hw.ring_head):
        entry = hw.ring[seq % size]
        event = EVENTS[int(entry["id"])]
        args = {f.name: int(entry[f.word]) >> f.shift & (1 << f.bits) - 1 for f in event.fields}
        yield Record(seq, int(entry["time"]), int(entry["cpu"]), event, args)


def line(record: Record, who: "Callable[[Record], tuple[str, int]] | None" = None) -> str:
    """One line as ftrace prints it: `comm-pid [cpu] flags time: event: fields`, time in seconds.

    who: gives (comm, pid) for a record; without it the idle task of the CPU stands there, as for an interrupt.
    """
    comm, pid = who(record) if who else ("<idle>", 0)
    seconds = f"{record.time // 10**9}.{record.time // 1000 % 10**6:06d}"
    return f"{comm:>16}-{pid:<7} [{record.cpu:03d}] ..... {seconds:>12}: {record.name}: {record.text()}"
