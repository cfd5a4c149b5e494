"""Do Debian's own numactl, numastat and lscpu, pointed at an exported machine, print that machine's numbers?

They run in a mount namespace of their own, where the exported files stand in the place of the host's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import numalab
from numalab import Sys
from numalab.mm.vmstat import node_meminfo, numastat
from numalab.syscalls.abi import MAP_ANONYMOUS, MAP_HUGETLB, MAP_PRIVATE, MPOL_BIND, PROT_READ, PROT_WRITE
from numalab.tools.export import export

pytestmark = pytest.mark.slow

PAGE, MB = 4096, 1 << 20
#: Mount DIR/proc and the part of DIR/sys that is about CPUs and nodes over the host's, then become the program.
_INSIDE = """
mount --bind "$0/sys/devices/system" /sys/devices/system && mount --bind "$0/proc" /proc && exec "$@"
"""
UNSHARE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]


def _missing() -> str:
    if lacking := [
        name for name in ("numactl", "numastat", "lscpu", "unshare") if shutil.which(name) is None
    ]:
        return f"there is no {lacking[0]}"
    mounts = subprocess.run([*UNSHARE, "mount", "--bind", "/proc", "/proc"], check=False, capture_output=True)
    return "mounting is not allowed" if mounts.returncode else ""


if reason := _missing():
    pytest.skip(reason, allow_module_level=True)


def run(directory: Path, *words: str) -> str:
    """What a program prints that sees the exported machine."""
    command = [*UNSHARE, "sh", "-c", _INSIDE, str(directory), *words]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}
    ).stdout


def table(text: str) -> dict[str, list[str]]:
    """Rows of a table of numastat: the label, and what stands in its columns."""
    rows = (line.split() for line in text.splitlines())
    return {row[0]: row[1:] for row in rows if len(row) > 1 and row[-1][0].isdigit()}


def in_mb(kb: list[int]) -> list[str]:
    """Kilobytes by node as numastat prints megabytes, and their sum."""
    return [f"{n / 1024:.2f}" for n in (*kb, sum(kb))]


@pytest.mark.parametrize("name", ["quad", "dual", "asym", "odd", "eight"])
def test_numactl_hardware(name: str, tmp_path: Path) -> None:
    with numalab.boot(name) as machine:
        export(machine, tmp_path / "m")
        nodes = machine.topology.node_ids
        expected = [f"available: {len(nodes)} nodes (0-{nodes[-1]})"]
        for nid in nodes:
            cpus = "".join(f" {cpu}" for cpu in machine.topology.node(nid).cpus)
            total, free = machine.node_pages(nid)
            expected += [
                f"node {nid} cpus:{cpus}",
                f"node {nid} size: {total * 4096 // MB} MB",
                f"node {nid} free: {free * 4096 // MB} MB",
            ]
        distances = [[machine.topology.distance[a][b] for b in nodes] for a in nodes]
    lines = run(tmp_path / "m", "numactl", "-H").splitlines()
    assert lines[: len(expected)] == expected
    assert [[int(word) for word in line.split()[1:]] for line in lines[-len(nodes) :]] == distances


@dataclass
class Exported:
    """An exported machine: where it is, and the numbers of each node, taken from the machine itself."""

    directory: Path
    pid: int
    numastat: list[dict[str, int]]
    meminfo: list[dict[str, int]]


@pytest.fixture
def exported(tmp_path: Path) -> Exported:
    """A machine while a program has 3 MiB on node 1, 5 MiB on node 2, a heap on node 3, a huge page on node 0."""
    directory, found = tmp_path / "m", []
    pools = "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages"

    def main(sys: Sys) -> None:
        sys.write_file(pools, "2")
        for nid, size in ((1, 3 * MB), (2, 5 * MB)):
            addr = sys.mmap(size)
            sys.mbind(addr, size, MPOL_BIND, {nid})
            sys.memory.write(addr, b"x" * size)
        heap = sys.brk(0)
        sys.brk(heap + MB)
        sys.mbind(heap, MB, MPOL_BIND, {3})
        sys.memory.write(heap, b"x" * MB)
        huge = sys.mmap(2 * MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB)
        sys.memory.write(huge, b"x")
        export(machine, directory)
        nodes = machine.topology.node_ids
        numbers = ([values(machine.mem, nid) for nid in nodes] for values in (numastat, node_meminfo))
        found.append(Exported(directory, sys.getpid(), *numbers))

    with numalab.boot("quad") as machine:
        assert machine.run(main) == 0
    return found[0]


def test_numastat(exported: Exported) -> None:
    shown = table(run(exported.directory, "numastat"))
    assert shown == {name: [str(node[name]) for node in exported.numastat] for name in exported.numastat[0]}
    assert exported.numastat[1]["other_node"] >= 3 * MB // PAGE  # the program runs on node 0


def test_numastat_in_megabytes(exported: Exported) -> None:
    shown = table(run(exported.directory, "numastat", "-n"))
    for name in exported.numastat[0]:
        pages = [node[name] for node in exported.numastat]
        assert shown[name.title()] == in_mb([4 * n for n in pages]), name


def test_numastat_of_the_memory(exported: Exported) -> None:
    shown = table(run(exported.directory, "numastat", "-m"))
    # Labels that this numastat knows; it says on standard error which it does not.
    known = [label for label in exported.meminfo[0] if label in shown]
    assert set(known) > {"MemTotal", "MemFree", "MemUsed", "Active(anon)", "AnonPages", "PageTables", "Slab"}
    for label in known:
        assert shown[label] == in_mb([node[label] for node in exported.meminfo]), label
    assert shown["HugePages_Total"] == ["4.00", "0.00", "0.00", "0.00", "4.00"]
    assert shown["HugePages_Free"] == ["2.00", "0.00", "0.00", "0.00", "2.00"]


def test_numastat_of_a_process(exported: Exported) -> None:
    text = run(exported.directory, "numastat", "-p", str(exported.pid))
    assert f"for PID {exported.pid} (main)" in text
    shown = table(text)
    assert shown["Huge"] == ["2.00", "0.00", "0.00", "0.00", "2.00"]
    assert shown["Heap"] == ["0.00", "0.00", "0.00", "1.00", "1.00"]
    assert shown["Private"][1:3] == ["3.00", "5.00"]


def test_lscpu(exported: Exported) -> None:
    text = run(exported.directory, "lscpu", "-p=CPU,NODE,ONLINE")
    assert [line for line in text.splitlines() if line[0] != "#"] == ["0,0,Y", "1,1,Y", "2,2,Y", "3,3,Y"]
