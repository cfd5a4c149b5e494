"""Traces of a running machine: what is recorded, what is lost, and both ways of writing it down."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

import numalab
from numalab import abi
from numalab.arch.events import TASK_STATES
from numalab.kernel.machine import Machine
from numalab.kernel.trace import perfetto
from numalab.mm.swapfile import swap_areas

PAGE = 4096
PAGES = 20
#: And the page in which `sys` keeps the nodemasks of a call.
MOVED = PAGES + 1


@pytest.fixture
def machine() -> Iterator[Machine]:
    with numalab.boot("2x32M,cpus=2") as machine:
        yield machine


def migrating(sys: Any) -> int:
    where = sys.mmap(PAGES * PAGE)
    sys.memory.write(where, b"x" * PAGES * PAGE)
    sys.migrate_pages(0, {0}, {1})
    return 0


def names(trace: Any) -> list[str]:
    return [record.name for record in trace]


def test_a_migration_page_by_page(machine) -> None:
    with machine.trace("migrate", "exceptions") as trace:
        machine.run(migrating)
    seen = names(trace)
    assert seen == [
        *["page_fault_user"] * MOVED,
        "mm_migrate_pages_start",
        *["set_migration_pte"] * MOVED,
        *["remove_migration_pte"] * MOVED,
        "mm_migrate_pages",
    ]
    by_name = {name: [r.args for r in trace if r.name == name] for name in set(seen)}
    faults = [it["address"] for it in by_name["page_fault_user"]]
    assert faults[:PAGES] == [faults[0] + i * PAGE for i in range(PAGES)]
    assert {it["addr"] for it in by_name["set_migration_pte"]} == set(faults)
    assert {it["addr"] for it in by_name["remove_migration_pte"]} == set(faults)
    assert by_name["mm_migrate_pages"][0]["nr_succeeded"] == MOVED


def test_pages_with_several_ptes(machine) -> None:
    def main(sys: Any) -> int:
        where = sys.mmap(PAGES * PAGE)
        sys.memory.write(where, b"x" * PAGES * PAGE)
        sys.fork(lambda sys: sys.sleep(0.001))
        sys.sched_yield()
        sys.move_pages(0, [where + i * PAGE for i in range(PAGES)], [1] * PAGES, flags=abi.MPOL_MF_MOVE_ALL)
        return 0

    with machine.trace("migrate") as trace:
        machine.run(main)
    assert names(trace).count("set_migration_pte") == names(trace).count("remove_migration_pte") == 2 * PAGES


def test_frames_are_taken_and_given_back(machine) -> None:
    with machine.trace("kmem") as trace:
        machine.run(migrating)
    held: set[int] = set()
    for record in trace:
        frames = set(range(record.args["pfn"], record.args["pfn"] + (1 << record.args["order"])))
        if record.name == "mm_page_alloc":
            assert not held & frames
            held |= frames
        else:
            held -= frames
    assert held == set()


def test_text_is_that_of_ftrace(machine) -> None:
    with machine.trace("migrate:mm_*", "raw_syscalls:sys_exit") as trace:
        machine.run(migrating)
    lines = list(trace.text())
    n = len(lines) - 12
    assert lines[:4] == ["# tracer: nop", "#", f"# entries-in-buffer/entries-written: {n}/{n}   #P:4", "#"]
    assert all(line.startswith("#") for line in lines[:12])
    form = re.compile(
        r" *migrating-\d+ +\[000\] \.\.\.\.\. +\d+\.\d{6}: (mm_migrate_pages(_start)?|sys_exit): .+"
    )
    assert all(form.fullmatch(line) for line in lines[12:])
    assert lines[-2].endswith("mode=MIGRATE_SYNC reason=syscall_or_cpuset")


def test_what_the_ring_lost_is_said(machine) -> None:
    size = len(machine.hw.ring)

    def main(sys: Any) -> int:
        trace = machine.trace("mm_page_free")
        for pfn in range(size + 5):
            machine.hw.trace(1, pfn)
        sys.getpid()
        machine.hw.trace(1, 7)
        trace.stop()
        machine.trace("tlb")
        kept.append(trace)
        return 0

    kept: list[Any] = []
    machine.run(main)
    (trace,) = kept
    assert (len(trace), trace.lost) == (size + 1, 5)
    assert next(iter(trace)).args["pfn"] == 5
    assert next(line for line in trace.text() if "written" in line).split()[2] == f"{size + 1}/{size + 6}"


def test_a_gap_stands_where_it_is(machine) -> None:
    def main(sys: Any) -> int:
        with machine.trace("mm_page_free") as trace:
            machine.hw.trace(1, 1)
            sys.getpid()
            for pfn in range(len(machine.hw.ring) + 3):
                machine.hw.trace(1, pfn)
        lines = list(trace.text())
        assert lines[13] == "CPU:0 [LOST 3 EVENTS]"
        return 0

    assert machine.run(main) == 0


def test_switched_off_nothing_is_recorded(machine) -> None:
    machine.run(migrating)
    assert machine.hw.ring_head == 0
    trace = machine.trace()
    machine.run(migrating)
    trace.stop()
    n = len(trace)
    machine.run(migrating)
    assert len(trace) == n > 0
    assert machine.hw.trace_mask == 0


def test_one_trace_at_a_time(machine) -> None:
    first = machine.trace("migrate")
    with pytest.raises(ValueError, match="unknown"):
        machine.trace("migrat")
    assert first.on
    second = machine.trace("migrate", "tlb")
    assert not first.on
    machine.run(migrating)
    assert names(first) == []
    assert "mm_migrate_pages" in names(second)


def test_a_trace_outlives_its_machine(machine) -> None:
    trace = machine.trace()
    machine.run(migrating)
    machine.close()
    assert "sys_exit" in names(trace)


def test_switches_name_who_slept_and_why(machine) -> None:
    def main(sys: Any) -> int:
        sys.wait(sys.fork(lambda sys: sys.sleep(0.001)))
        return 0

    with machine.trace("sched", "task_sleep") as trace:
        machine.run(main)
    ran = 0
    for record in trace:
        if record.name == "sched_switch":
            assert record.args["prev_pid"] == record.pid == ran
            ran = record.args["next_pid"]
    assert ran == 0
    left = "".join(TASK_STATES[r.args["prev_state"]] for r in trace if r.name == "sched_switch" and r.pid)
    assert left == "SSZX"  # parent and child sleep; one is waited for, nobody asks for the other
    assert [r.args["child_comm"] for r in trace if r.name == "sched_process_fork"] == ["main"]
    assert names(trace).count("sched_process_exit") == 2
    assert len({r.args["why"] for r in trace if r.name == "task_sleep"}) == 2


# Perfetto


def checked(trace: Any) -> list[dict[str, Any]]:
    """The events for Perfetto, if they are in the Trace Event Format: slices of a track lie in each other."""
    found = perfetto.events(trace)
    tracks: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for event in found:
        assert {"ph", "pid", "name"} <= set(event)
        assert event["ph"] in "XiCM"
        if event["ph"] == "X":
            assert event["dur"] >= 0
            stack = tracks.setdefault((event["pid"], event["tid"]), [])
            while stack and stack[-1][1] <= event["ts"]:
                stack.pop()
            assert not stack or event["ts"] + event["dur"] <= stack[-1][1]
            stack.append((event["ts"], event["ts"] + event["dur"]))
        elif event["ph"] != "M":
            assert event["ts"] >= 0
    tids = [event["tid"] for event in found if event["name"] == "thread_name"]
    assert len(set(tids)) == len(tids)
    assert {event["tid"] for event in found if event["ph"] in "Xi"} <= set(tids)
    return found


def test_perfetto_has_the_passes_of_a_migration_in_it(machine) -> None:
    with machine.trace() as trace:
        machine.run(migrating)
    found = checked(trace)
    slices = {e["name"]: e for e in found if e["ph"] == "X" and e["pid"] == perfetto.TASKS}
    outer, inner = slices["migration: syscall_or_cpuset"], slices["pass async 1"]
    assert outer["ts"] <= inner["ts"]
    assert inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"]
    assert inner["args"]["moved"] == MOVED
    free = [e["args"]["pages"] for e in found if e["name"] == "node 1 free"]
    assert min(free) <= free[0] - MOVED < free[-1]


def test_perfetto_has_reclaim_and_the_disk(tmp_path) -> None:
    def main(sys: Any) -> int:
        where = sys.mmap(9000 * PAGE)
        sys.memory.write(where, b"x" * 9000 * PAGE)
        return 0

    with numalab.boot("1x32M") as machine, machine.trace() as trace:
        for area in swap_areas(machine.mem):
            area.disk.latency, area.disk.page_ns = 100_000, 1000
            area.sync()
        machine.run(main)
        trace.save(str(tmp_path / "it.json"))
    found = checked(trace)
    tracks = {e["tid"]: e["args"]["name"] for e in found if e["name"] == "thread_name"}
    assert {"kswapd0", "/dev/ram0"} <= set(tracks.values())
    on = {(tracks[e["tid"]], e["name"]) for e in found if e["ph"] == "X" and "tid" in e}
    assert ("main", "direct reclaim") in on or ("kswapd0", "kswapd") in on
    assert any(track == "/dev/ram0" and name.startswith("write ") for track, name in on)
    requests = [r for r in trace if r.name == "block_rq_complete"]
    disk = [e for e in found if e["ph"] == "X" and e["pid"] == perfetto.DISKS]
    assert sum(e["args"]["requests"] for e in disk) == len(requests)
    assert sum(e["args"]["write"] for e in disk) == sum(r.args["nr_sector"] for r in requests) // 8
    assert len({e["ts"] + e["dur"] for e in disk}) == len(disk) < len(requests)
    assert min(e["dur"] for e in disk) > 0
    whole = json.loads((tmp_path / "it.json").read_text())
    assert len(whole["traceEvents"]) == len(found)
