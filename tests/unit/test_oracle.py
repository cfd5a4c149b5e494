"""The recorder of a real kernel: that it and numalab's runner know one language, and that its host side is right."""

import re
import subprocess
from pathlib import Path

import pytest

from numalab.tools.scn.ops import OPERATIONS

from tests.oracle.initramfs import cpio
from tests.oracle.machines import MACHINES
from tests.oracle.qemu import parse
from tests.oracle.recordings import Recordings, differences, sample

ORACLE = Path(__file__).parents[1] / "oracle"
OURS_ALONE = {name for name, operation in OPERATIONS.items() if operation.family == "obstacles"}


def test_the_recorder_knows_the_operations() -> None:
    """Each in the file of its family."""
    for source in ORACLE.glob("guest/ops_*.c"):
        family = source.stem.removeprefix("ops_")
        known = re.findall(r'\{"(\w+)", op_\1\}', source.read_text())
        assert known == [op.name for op in OPERATIONS.values() if op.family == family], family
    families = {source.stem.removeprefix("ops_") for source in ORACLE.glob("guest/ops_*.c")}
    assert families | {"obstacles"} == {op.family for op in OPERATIONS.values()}


def test_the_readme_describes_each_operation_once() -> None:
    text = (ORACLE / "README.md").read_text().partition("## The operations")[2]
    described = [usage.replace("\\|", "|") for usage in re.findall(r"^\| `(.+?)` \|", text, re.MULTILINE)]
    ours = [op for op in OPERATIONS.values() if op.name not in OURS_ALONE]
    assert sorted(described) == sorted(f"{op.name} {op.usage}".strip() for op in ours)


@pytest.mark.slow
def test_the_recorder_compiles() -> None:
    sources = sorted(map(str, ORACLE.glob("guest/*.c")))
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", *sources]
    assert subprocess.run(command, check=False, capture_output=True, text=True).stderr == ""


def test_no_file_of_the_recorder_is_too_long() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in ORACLE.glob("guest/*.[ch]")}
    assert {name: n for name, n in lengths.items() if n > 250} == {}


def test_an_archive() -> None:
    archive = cpio(["d"], {"d/f": b"12345"})
    assert len(archive) % 4 == 0
    assert [archive[at.start() + 14 :][:8] for at in re.finditer(b"070701", archive)] == [
        b"000041ed",
        b"000081ed",
        b"00000000",
    ]
    assert b"d/f\0" in archive
    assert b"12345\0\0\0" + b"070701" in archive


def test_what_a_guest_writes_is_taken_apart() -> None:
    first = "# noise\n@@KERNEL 6.12.1\n@@BEGIN a\n1 x => ret=0\n@@END a status=0 ms=3\nnoise\n"
    answers = parse(first + "@@BEGIN b\n@@END b status=0 ms=1\n@@DONE\n")
    assert answers.release == "6.12.1"
    assert answers.scenarios == {"a": ["1 x => ret=0"], "b": []}


def test_a_recording_comes_back(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    recordings.write("quad", "a", "6.12.1", ["1 x\x85 => ret=0", "2 y => ret=1"])
    assert recordings.read("quad", "a") == ("6.12.1", ["1 x\x85 => ret=0", "2 y => ret=1"])
    assert recordings.recorded("quad") == ["a"]
    assert recordings.recorded("dual") == []


def test_a_scenario_may_be_for_some_machines(tmp_path: Path) -> None:
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios/a.scn").write_text("# all\n#! topo: quad, odd\n")
    (tmp_path / "scenarios/b.scn").write_text("getcpu\n")
    recordings = Recordings(tmp_path)
    assert [recordings.scenarios(name) for name in ("quad", "dual")] == [["a", "b"], ["b"]]


def test_a_sample_is_spread_and_always_the_same() -> None:
    names = [str(number) for number in range(100)]
    assert sample(names, 4) == ["0", "25", "50", "75"]
    assert sample(names, 1000) == names


def test_differences_name_both_sides() -> None:
    assert differences(["a", "b"], ["a", "c", "d"]) == [("b", "c"), ("(nothing)", "d")]


def test_a_machine_is_told_to_qemu() -> None:
    words = MACHINES["odd"].arguments()
    assert words[:4] == ["-smp", "3", "-m", "1792M"]
    assert "node,nodeid=1,memdev=m1" in words
    assert "node,nodeid=2,cpus=1-1" in words
    assert sum(word.startswith("dist,") for word in MACHINES["asym"].arguments()) == 16


def test_slots_are_told_to_qemu() -> None:
    words = MACHINES["movable"].arguments()
    assert words[:4] == ["-smp", "3", "-m", "1024M,slots=2,maxmem=8G"]
    assert "node,nodeid=3" in words
    assert words[-4:] == [
        "-object",
        "memory-backend-ram,id=d3,size=512M",
        "-device",
        "pc-dimm,memdev=d3,node=3",
    ]
