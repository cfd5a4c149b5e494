"""Files of /proc and /sys that count the same things in different ways must agree."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest

import numalab
from numalab import Machine, Sys
from numalab.mm.mmzone import NODE_STATS, VM_EVENTS
from numalab.mm.vmstat_text import MEMMAP_STAT, NODE_STAT, NUMA_STAT, VM_EVENT, WRITEBACK_STAT, ZONE_STAT
from numalab.syscalls.abi import MADV_PAGEOUT, MAP_ANONYMOUS, MAP_SHARED, PROT_READ, PROT_WRITE

PAGE = 4096


def rows(text: str) -> dict[str, int]:
    """Lines of a name and a number, with a colon or not."""
    found = (re.match(r"(?:Node \d+ )?([\w()]+):?\s+(\d+)", line) for line in text.splitlines())
    return {match[1]: int(match[2]) for match in found if match}


def sums(texts: Iterator[str]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for text in texts:
        total.update(rows(text))
    return dict(total)


@pytest.fixture(params=["odd", "2x16M"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine on which a program has used memory of all kinds, and has some still."""

    def main(sys: Sys) -> None:
        private, shared = sys.mmap(40 * PAGE), sys.mmap(30 * PAGE, flags=MAP_SHARED | MAP_ANONYMOUS)
        for addr, pages in ((private, 40), (shared, 30)):
            sys.memory.write(addr, b"x" * pages * PAGE)
        sys.madvise(private, 7 * PAGE, MADV_PAGEOUT)
        sys.mlock(private + 20 * PAGE, 3 * PAGE)
        fd = sys.creat("/mnt/file")
        sys.ftruncate(fd, 9 * PAGE)
        sys.memory.write(
            sys.mmap(9 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, sys.open("/mnt/file", 2)), b"x"
        )
        end = sys.pipe().fds[0]
        sys.fork(lambda child: child.read(end, 1))
        sys.read(end, 1)  # nobody writes

    with numalab.boot(request.param) as machine:
        machine.spawn(main)
        machine.run_until(lambda: False)
        yield machine


def test_zones_add_up(machine: Machine) -> None:
    zones: dict[tuple[str, str], list[int]] = {}
    for line in machine.read_file("/proc/buddyinfo").splitlines():
        node, zone, *counts = re.fullmatch(r"Node (\d+), zone +(\w+) +(.*) ", line).groups()  # type: ignore[union-attr]
        zones[node, zone] = [int(count) for count in counts[0].split()]
    movable = re.findall(
        r"Node +(\d+), zone +(\w+), type +Movable +(.*) \n", machine.read_file("/proc/pagetypeinfo")
    )
    assert {(node, zone): [*map(int, counts.split())] for node, zone, counts in movable} == zones
    text = machine.read_file("/proc/zoneinfo")
    parts = re.split(r"^Node (\d+), zone +(\w+)", text, flags=re.MULTILINE)[1:]
    free, managed = 0, 0
    for node, zone, part in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        pages = int(part.split("pages free")[1].split()[0])
        assert pages == sum(count << order for order, count in enumerate(zones.get((node, zone), [])))
        free, managed = free + pages, managed + int(part.split("managed")[1].split()[0])
        assert ("pagesets" in part) == ((node, zone) in zones)
    vmstat, meminfo = rows(machine.read_file("/proc/vmstat")), rows(machine.read_file("/proc/meminfo"))
    assert free == vmstat["nr_free_pages"] == meminfo["MemFree"] // 4
    assert managed * 4 == meminfo["MemTotal"]
    for name in ("nr_active_anon", "nr_zone_active_anon", "numa_hit", "nr_mlock", "nr_page_table_pages"):
        assert vmstat[name] == sum(map(int, re.findall(rf"\n +{name} +(\d+)", text))), name


def test_nodes_add_up(machine: Machine) -> None:
    def of_nodes(file: str) -> dict[str, int]:
        ids = machine.topology.node_ids
        return sums(machine.read_file(f"/sys/devices/system/node/node{nid}/{file}") for nid in ids)

    vmstat, meminfo = rows(machine.read_file("/proc/vmstat")), rows(machine.read_file("/proc/meminfo"))
    nodes = of_nodes("vmstat")
    assert nodes == {name: vmstat[name] for name in nodes}
    memory = of_nodes("meminfo")
    assert {n: v for n, v in memory.items() if n in meminfo} == {
        n: v for n, v in meminfo.items() if n in memory
    }
    assert memory["MemUsed"] == memory["MemTotal"] - memory["MemFree"] > 4 * 60
    assert meminfo["Mlocked"] == 12
    assert meminfo["Shmem"] == 120
    assert meminfo["SwapTotal"] - meminfo["SwapFree"] == 28
    assert meminfo["AnonPages"] == 4 * vmstat["nr_anon_pages"] >= 4 * 33


def test_processes_add_up(machine: Machine) -> None:
    for task in machine.tasks:
        if task.mm is None:
            continue
        files = {
            name: machine.read_file(f"/proc/{task.pid}/{name}")
            for name in ("status", "statm", "stat", "smaps", "smaps_rollup", "numa_maps")
        }
        status = rows(files["status"])
        rss = status["VmRSS"]
        assert rss == status["RssAnon"] + status["RssFile"] + status["RssShmem"]
        assert rss == 4 * int(files["statm"].split()[1]) == 4 * int(files["stat"].split()[23])
        assert rss == sum(4 * int(pages) for pages in re.findall(r" N\d+=(\d+)", files["numa_maps"]))
        areas = re.split(r"^\w+-\w+ .*\n", files["smaps"], flags=re.MULTILINE)[1:]
        total = sums(iter(areas))
        rollup = rows(files["smaps_rollup"])
        assert total["Rss"] == rollup["Rss"] == rss
        assert total["Size"] == status["VmSize"]
        for name in ("Shared_Dirty", "Private_Dirty", "Anonymous", "Swap", "Referenced"):
            assert total[name] == rollup[name], name
        assert rollup["Swap"] == status["VmSwap"]
        assert rollup["Anonymous"] == status["RssAnon"]
        kinds = ("Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty")
        assert sum(rollup[name] for name in kinds) == rss


def test_pages_that_two_have_count_half(machine: Machine) -> None:
    rollups = [rows(machine.read_file(f"/proc/{task.pid}/smaps_rollup")) for task in machine.tasks[-2:]]
    assert sum(rollup["Pss"] for rollup in rollups) < sum(rollup["Rss"] for rollup in rollups)
    assert [rollup["SwapPss"] for rollup in rollups] == [14, 14]
    assert [rollup["Swap"] for rollup in rollups] == [28, 28]


def test_page_sets_of_a_node_without_cpus_are_shared_by_all_cpus() -> None:
    with (
        numalab.boot("1x512M,cpus=1+2x512M,cpus=0") as one,
        numalab.boot("1x512M,cpus=3+2x512M,cpus=0") as many,
    ):
        figures = [
            re.findall(
                r"high: +(\d+)", machine.read_file("/proc/zoneinfo").rpartition("Node 2, zone    DMA32")[2]
            )
            for machine in (one, many)
        ]
    assert figures == [["131"], ["124"] * 3]  # a thousandth of the zone; and not less than four batches of 31


def test_every_counter_that_is_kept_is_shown() -> None:
    names = [*ZONE_STAT, *NUMA_STAT, *NODE_STAT, *WRITEBACK_STAT, *MEMMAP_STAT, *VM_EVENT]
    assert len(names) == len(set(names))
    assert {*NODE_STATS, *VM_EVENTS} - {"pgalloc"} <= set(names)
