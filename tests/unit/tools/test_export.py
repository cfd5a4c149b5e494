"""An exported machine: plain files that say what a program on it would read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import numalab
from numalab import Sys
from numalab.mm.task_mmu import pagemap
from numalab.tools import cli
from numalab.tools.errors import UsageError
from numalab.tools.export import export

PAGE = 4096
PROGRAM = """
def main(sys):
    addr = sys.mmap(5 * 4096)
    sys.memory.write(addr, b"x" * 5 * 4096)
    print(sys.getpid())
    %s
"""


def test_files_say_what_a_program_reads(tmp_path: Path) -> None:
    with numalab.boot("odd") as machine:
        export(machine, tmp_path / "m")
        files = [path for path in (tmp_path / "m").rglob("*") if path.is_file() and path.name != "pagemap"]
        assert len(files) > 250
        for path in files:
            assert path.read_text() == machine.read_file("/" + str(path.relative_to(tmp_path / "m"))), path
    assert os.readlink(tmp_path / "m/proc/self") == "1"
    # Node 1 has no memory, node 3 no CPU.
    assert (tmp_path / "m/sys/devices/system/node/node1/cpu1/topology/core_id").read_text() == "1\n"
    (block, *_) = (tmp_path / "m/sys/devices/system/node/node2").glob("memory[0-9]*")
    assert (block / "state").read_text() == "online\n"
    assert list((tmp_path / "m/sys/devices/system/node/node3").glob("cpu[0-9]*")) == []


def test_the_page_map_has_its_words_in_their_places(tmp_path: Path) -> None:
    def main(sys: Sys) -> None:
        addr = sys.mmap(3000 * PAGE)
        for page in (0, 7, 2999):
            sys.memory.write(addr + page * PAGE, b"x")
        export(machine, tmp_path / "m")
        words = pagemap(sys.task.mm, addr, 3000)  # type: ignore[arg-type]
        with (tmp_path / f"m/proc/{sys.getpid()}/pagemap").open("rb") as file:
            data = os.pread(file.fileno(), 3000 * 8, addr // PAGE * 8)
        assert (np.frombuffer(data, np.uint64) == words).all()
        assert np.flatnonzero(words >> np.uint64(63)).tolist() == [0, 7, 2999]

    with numalab.boot("2x16M") as machine:
        assert machine.run(main) == 0


@pytest.mark.parametrize(("ending", "status"), [("return 3", 3), ("", 0)])
def test_a_program_is_there_as_it_returns(capsys, tmp_path: Path, ending: str, status: int) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM % ending)
    assert cli.main(["export", "--machine", "dual", str(tmp_path / "m"), str(program)]) == status
    pid = int(capsys.readouterr().out)
    numa_maps = (tmp_path / f"m/proc/{pid}/numa_maps").read_text()
    assert "anon=5 dirty=5" in numa_maps
    assert os.readlink(tmp_path / "m/proc/self") == str(pid)


def test_a_program_that_does_not_return_is_gone(capsys, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM % "sys.exit_group(4)")
    assert cli.main(["export", str(tmp_path / "m"), str(program)]) == 4
    pid = int(capsys.readouterr().out)
    assert (tmp_path / "m/proc/1/status").exists()
    assert not (tmp_path / f"m/proc/{pid}").exists()


def test_processes_of_a_scenario_are_there(capfdbinary, tmp_path: Path) -> None:
    scenario = tmp_path / "s.scn"
    scenario.write_text("mmap a 9\nset_mempolicy bind {2}\ntouch a w\n")
    assert cli.main(["export", str(tmp_path / "m"), str(scenario)]) == 0
    assert capfdbinary.readouterr().out.endswith(b"3 touch a w => ret=0\n")
    maps = [path.read_text() for path in (tmp_path / "m/proc").glob("[0-9]*/numa_maps")]
    assert any("anon=9 dirty=9" in text and "N2=9" in text for text in maps)


def test_what_nobody_may_look_into_is_left_out(tmp_path: Path) -> None:
    def main(sys: Sys) -> None:
        sys.setresuid(1, 1, 1)
        export(machine, tmp_path / "m")

    with numalab.boot("2x16M") as machine:
        assert machine.run(main) == 0
    assert (tmp_path / "m/proc/1/status").exists()
    assert not (tmp_path / "m/proc/1/maps").exists()


def test_wrong_use_is_one_line(capsys, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for directory, why in ((tmp_path, "is not empty"), (tmp_path / "file", "File exists")):
        assert cli.main(["export", str(directory)]) == 2
        error = capsys.readouterr().err
        assert error == f"numalab: {directory}{' ' if why.startswith('is') else ': '}{why}\n"
    assert cli.main(["export"]) == 2
    assert "DIR" in capsys.readouterr().err
    with numalab.boot("2x16M") as machine, pytest.raises(UsageError, match="not empty"):
        export(machine, tmp_path)
