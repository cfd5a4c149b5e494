"""Are numactl -H and numastat of ours those of Debian's, byte for byte, where both read the same exported machine?"""

from __future__ import annotations

from pathlib import Path

import pytest

import numalab
from numalab import Sys
from numalab.syscalls.abi import MAP_ANONYMOUS, MAP_HUGETLB, MAP_PRIVATE, MPOL_BIND, PROT_READ, PROT_WRITE
from numalab.tools.export import export
from numalab.tools.programs import lookalike

from tests.golden.proc.test_real_tools import run

pytestmark = pytest.mark.slow

MB = 1 << 20
POOL = "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages"
LINES = [
    "numactl -H", "numastat", "numastat -n", "numastat -c", "numastat -z", "numastat -m", "numastat -mc",
    "numastat -mz", "numastat -s", "numastat -s1", "numastat -s3 -n", "numastat -s9", "numastat -cm -s2",
    "numastat -m -s", "numastat -mzs1", "numastat -p {0}", "numastat -c {0}", "numastat -z {0}", "numastat -s {0}",
    "numastat -s2 -z -p {0}", "numastat {0} {1}", "numastat -c {0} {1}", "numastat -z {0} {1}",
    "numastat -s {0} {1}", "numastat -s2 -cz {0} {1} 1", "numastat -v {0} {1}", "numastat -vc {0} {1} -n",
    "numastat -mn {0}", "numastat other", "numastat -p other -p nosuch",
]  # fmt: skip


class FromFiles:
    """A Sys that can read, from an exported machine."""

    def __init__(self, directory: Path, argv: list[str]) -> None:
        self.directory, self.argv = directory, argv

    def read_file(self, path: str) -> str:
        return (self.directory / path.removeprefix("/")).read_text()

    def listdir(self, path: str) -> list[str]:
        return [entry.name for entry in (self.directory / path.removeprefix("/")).iterdir()]

    def getpid(self) -> int:
        return 1 + max(int(path.name) for path in (self.directory / "proc").glob("[0-9]*"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """An exported quad, and two of its processes: `work` has memory of all kinds, `other` on nodes 1 and 2."""
    directory, pids = tmp_path_factory.mktemp("lookalikes") / "m", list[int]()

    def fill(sys: Sys, size: int, node: int) -> None:
        addr = sys.mmap(size)
        sys.mbind(addr, size, MPOL_BIND, {node})
        sys.memory.touch(addr, size // 4096)

    def other(sys: Sys) -> None:
        fill(sys, 7 * MB, 1)
        fill(sys, 12345 * 4096, 2)
        sys.sleep(9)

    def work(sys: Sys) -> None:
        sys.write_file(POOL, "2")
        fill(sys, 3 * MB, 1)
        heap = sys.brk(0)
        sys.brk(heap + MB)
        sys.memory.touch(heap, 256)
        huge = sys.mmap(2 * MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB)
        sys.memory.write(huge, b"x")
        pids.append(sys.getpid())
        pids.append(sys.fork(lambda child: child.execve(other)))
        sys.sleep(1)
        export(machine, directory)
        sys.kill(pids[1], 9)

    with numalab.boot("quad") as machine:
        assert machine.run(work) == 0
    return directory, pids


@pytest.mark.parametrize("line", LINES)
def test_the_same_text(
    capsys: pytest.CaptureFixture[str], exported: tuple[Path, list[int]], line: str
) -> None:
    directory, pids = exported
    name, *argv = line.format(*pids).split()
    lookalike(name)(FromFiles(directory, argv))
    assert capsys.readouterr().out == run(directory, name, *argv)


@pytest.mark.parametrize("name", ["dual", "asym", "odd", "eight"])
def test_hardware(capsys: pytest.CaptureFixture[str], name: str, tmp_path: Path) -> None:
    with numalab.boot(name) as machine:
        export(machine, tmp_path / "m")
    for line in ("numactl -H", "numastat", "numastat -mc"):
        program, *argv = line.split()
        lookalike(program)(FromFiles(tmp_path / "m", argv))
        assert capsys.readouterr().out == run(tmp_path / "m", program, *argv), line
