"""Events for ui.perfetto.dev and chrome://tracing: the JSON form of the Trace Event Format, in virtual time.

Each task has a track (kswapd is one): system calls, in them migrations and their passes, direct reclaim, and what it
slept for. So do CPUs (who ran) and disks (what they read and wrote); how many pages of a node are free is a counter.
An event that is neither the beginning nor the end of something is an instant of its task.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from numalab.arch.events import RWBS

if TYPE_CHECKING:
    from numalab.arch.events import Record
    from numalab.kernel.trace.trace import Trace

__all__ = ["events", "write"]

#: What is a process there, and where its threads begin: their numbers are of one space, in which pids go to 2**22.
TASKS, CPUS, DISKS, MEMORY = 1, 2, 3, 4
_NAMES = {TASKS: "tasks", CPUS: "CPUs", DISKS: "disks", MEMORY: "memory"}
_FIRST = {TASKS: 0, CPUS: 5_000_000, DISKS: 6_000_000, MEMORY: 7_000_000}

#: What begins and what ends a slice on the track of a task, and its name.
_SPANS = {
    "sys_enter": ("sys_exit", "system call"),
    "mm_migrate_pages_start": ("mm_migrate_pages", "migration"),
    "mm_vmscan_direct_reclaim_begin": ("mm_vmscan_direct_reclaim_end", "direct reclaim"),
    "mm_vmscan_kswapd_wake": ("mm_vmscan_kswapd_sleep", "kswapd"),
}
_ENDS = {end: begin for begin, (end, _) in _SPANS.items()}
_PAGE_SECTORS = 8


@dataclass
class _Open:
    """A slice that has begun. kind: the event that began it."""

    kind: str
    name: str
    begin: int
    args: dict[str, Any]


@dataclass
class _Tracks:
    """Everything that is drawn, and what is still open."""

    trace: Trace
    out: list[dict[str, Any]] = field(default_factory=list)
    open: dict[int, list[_Open]] = field(default_factory=lambda: defaultdict(list))  # by pid
    running: dict[int, tuple[str, int]] = field(default_factory=dict)  # by CPU: who, since when
    requests: dict[int, deque[int]] = field(
        default_factory=lambda: defaultdict(deque)
    )  # by disk: when each came
    done: dict[int, dict[str, Any]] = field(default_factory=dict)  # by disk: the last slice on its track

    def slice(
        self, process: int, thread: int, name: str, begin: int, end: int, args: dict[str, Any]
    ) -> dict[str, Any]:
        self.out.append(
            {"ph": "X", "pid": process, "tid": _FIRST[process] + thread, "name": name, "ts": begin, "dur": end - begin,
             "args": args}
        )  # fmt: skip
        return self.out[-1]

    def instant(self, process: int, thread: int, name: str, record: Record) -> None:
        self.out.append(
            {"ph": "i", "s": "t", "pid": process, "tid": _FIRST[process] + thread, "name": name, "ts": record.time,
             "args": _shown(record)}
        )  # fmt: skip

    def begin(self, record: Record, name: str, args: dict[str, Any]) -> None:
        self.open[record.pid].append(_Open(record.name, name, record.time, args))

    def end(self, pid: int, kind: str, time: int, args: dict[str, Any]) -> None:
        """The innermost slice of this kind ends, and with it what is open inside; none if its begin was not seen."""
        stack = self.open[pid]
        if not any(it.kind == kind for it in stack):
            return
        while stack:
            it = stack.pop()
            mine = it.kind == kind
            self.slice(TASKS, pid, it.name, it.begin, time, it.args | args if mine else it.args)
            if mine:
                return

    def wake(self, pid: int, time: int) -> None:
        """A task runs again."""
        if self.open[pid] and self.open[pid][-1].kind == "task_sleep":
            self.end(pid, "task_sleep", time, {})

    def run(self, cpu: int, who: str, time: int) -> None:
        """Somebody runs on a CPU from now on; nobody: the idle task."""
        before, since = self.running.pop(cpu, ("", 0))
        if before:
            self.slice(CPUS, cpu, before, since, time, {})
        if who:
            self.running[cpu] = who, time

    def finish(self, time: int) -> None:
        """The trace ends; what is open ends with it."""
        for pid, stack in self.open.items():
            while stack:
                self.end(pid, stack[-1].kind, time, {})
        for cpu in list(self.running):
            self.run(cpu, "", time)

    def add(self, record: Record) -> None:
        """Draw one event."""
        args, name = _shown(record), record.name
        if name == "sched_switch":
            self.run(record.cpu, args["next_comm"] if args["next_pid"] else "", record.time)
            self.wake(args["next_pid"], record.time)
        elif name == "task_sleep":
            self.begin(record, f"asleep: {args['why']}", {})
        elif name in _SPANS:
            self.begin(record, self.label(name, args), args)
        elif name in _ENDS:
            self.end(record.pid, _ENDS[name], record.time, args)
        elif name == "migrate_pass":
            self.slice(TASKS, record.pid, f"pass {args['pass']}", args.pop("began"), record.time, args)
        elif name == "node_free":
            self.out.append({"ph": "C", "pid": MEMORY, "name": f"node {args['nid']} free", "ts": record.time,
                             "args": {"pages": args["pages"]}})  # fmt: skip
        elif name == "block_rq_issue":
            self.requests[record.args["dev"]].append(record.time)
        elif name == "block_rq_complete":
            self.complete(record)
        else:
            self.instant(TASKS, record.pid, name, record)
            if name == "sched_process_exit":
                while self.open[record.pid]:
                    self.end(record.pid, self.open[record.pid][-1].kind, record.time, {})

    def label(self, name: str, args: dict[str, Any]) -> str:
        """What a slice is called that this event begins."""
        if name == "sys_enter":
            return self.trace.syscall_name(args["NR"])
        what = _SPANS[name][1]
        return f"{what}: {args['reason']}" if "reason" in args else what

    def complete(self, record: Record) -> None:
        """A disk is done with its oldest request, which it began with when that came, or behind the one before it.

        Requests whose ends are seen together are one slice.
        """
        dev = record.args["dev"]
        if not self.requests[dev]:
            return
        came, last = self.requests[dev].popleft(), self.done.get(dev)
        free_at = last["ts"] + last["dur"] if last else 0
        if not last or free_at != record.time:
            disk = list(self.requests).index(dev)
            last = self.slice(
                DISKS, disk, "", max(came, free_at), record.time, {"read": 0, "write": 0, "requests": 0}
            )
            self.done[dev] = last
        did = last["args"]
        did["write" if RWBS[record.args["rwbs"]] == "W" else "read"] += (
            record.args["nr_sector"] // _PAGE_SECTORS
        )
        did["requests"] += 1
        last["name"] = " and ".join(f"{what} {did[what]} pages" for what in ("read", "write") if did[what])


def _shown(record: Record) -> dict[str, Any]:
    """The arguments as a person reads them: numbers as numbers, names as names."""
    shown: dict[str, Any] = {}
    for it in record.event.fields:
        value = record.args[it.name]
        text = it.show(value) if it.show else value
        shown[it.name] = int(text) if text.lstrip("-").isdigit() else text
    return shown


def events(trace: Trace) -> list[dict[str, Any]]:
    """What stands in ``traceEvents``, in the order of time; an outer slice before those inside. Times are in ns."""
    tracks, last, pids = _Tracks(trace), 0, set()
    for record in trace:
        tracks.add(record)
        last = record.time
        pids.add(record.pid)
    tracks.finish(last)
    tracks.out.sort(key=lambda event: (event["ts"], -event.get("dur", 0)))
    names: list[tuple[int, int | None, str]] = [(process, None, name) for process, name in _NAMES.items()]
    names += [(TASKS, pid, trace.comms.get(pid, "<...>")) for pid in sorted(pids)]
    names += [(CPUS, cpu, f"CPU {cpu}") for cpu in range(trace.nr_cpus)]
    names += [(DISKS, i, trace.disks.get(dev, "disk")) for i, dev in enumerate(tracks.requests)]
    return [_name(*it) for it in names] + tracks.out


def _name(process: int, thread: int | None, name: str) -> dict[str, Any]:
    """How a track is called."""
    if thread is None:
        return {"ph": "M", "pid": process, "name": "process_name", "args": {"name": name}}
    tid = _FIRST[process] + thread
    return {"ph": "M", "pid": process, "tid": tid, "name": "thread_name", "args": {"name": name}}


def write(trace: Trace, file: TextIO) -> None:
    """Write the whole, an event a line. Its times are in microseconds."""
    file.write('{"displayTimeUnit": "ns", "otherData": ')
    file.write(json.dumps({"clock": "virtual", "lost": trace.lost}))
    file.write(', "traceEvents": [')
    for i, event in enumerate(events(trace)):
        for key in ("ts", "dur"):
            if key in event:
                event[key] /= 1000
        file.write(("," if i else "") + "\n" + json.dumps(event, ensure_ascii=False))
    file.write("\n]}\n")
