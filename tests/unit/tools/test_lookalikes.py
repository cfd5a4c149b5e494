"""What look-alikes do to the machine; what they print is compared in tests/golden/numactl."""

from __future__ import annotations

import contextlib
import io

import pytest

import numalab
from numalab import Sys
from numalab.mm.task_mmu import numa_maps_stats
from numalab.tools.programs import execvp, lookalike

MB = 1 << 20


def placed(sys: Sys, node: int) -> int:
    """Megabytes that the process has on a node."""
    assert sys.task.mm is not None
    vmas = sys.task.mm.vmas.values()
    return (
        sum(dict(enumerate(numa_maps_stats(sys.task.mm, vma).nodes)).get(node, 0) for vma in vmas)
        * 4096
        // MB
    )


@pytest.mark.parametrize(
    ("words", "nodes"),
    [
        (["numactl", "--interleave=0-3"], [2, 2, 2, 2]),
        (["numactl", "--interleave=1,3"], [0, 4, 0, 4]),
        (["numactl", "--membind=2"], [0, 0, 8, 0]),
        (["numactl", "--preferred=3"], [0, 0, 0, 8]),
        (["numactl", "--cpunodebind=1"], [0, 8, 0, 0]),
        (["numactl", "--cpunodebind=1", "--membind=same"], [0, 8, 0, 0]),
        (["taskset", "-c", "2", "numactl", "--localalloc"], [0, 0, 8, 0]),
        (["numactl", "-m", "1", "taskset", "1"], [0, 8, 0, 0]),
    ],
)
def test_a_program_gets_its_memory_there(
    monkeypatch: pytest.MonkeyPatch, words: list[str], nodes: list[int]
) -> None:
    """memhog stands for it: how it lies is looked at when it has written all."""
    found = []

    def and_look(sys: Sys) -> int:
        with contextlib.redirect_stdout(io.StringIO()):
            status = lookalike("memhog")(sys)
        found.extend(placed(sys, node) for node in range(4))
        assert isinstance(status, int)
        return status

    monkeypatch.setattr(
        "numalab.tools.programs.lookalike", lambda name: and_look if name == "memhog" else real(name)
    )
    real = lookalike
    with numalab.boot("quad") as machine:
        assert machine.run(lambda sys: execvp(sys, [*words, "memhog", "8m"])) == 0
    assert found == nodes


def test_migratepages_moves_them() -> None:
    def main(sys: Sys) -> None:
        addr = sys.mmap(4 * MB)
        sys.memory.touch(addr, 1024)
        before = [placed(sys, node) for node in range(4)]
        words = ["migratepages", str(sys.getpid()), "all", "2"]
        pid = sys.fork(lambda child: execvp(child, words))
        assert sys.wait(pid) == (pid, 0)
        assert (before, [placed(sys, node) for node in range(4)]) == ([4, 0, 0, 0], [0, 0, 4, 0])

    with numalab.boot("quad") as machine:
        assert machine.run(main) == 0


def test_taskset_sets_all_threads_or_one(capsys: pytest.CaptureFixture[str]) -> None:
    def main(sys: Sys) -> None:
        tid = sys.clone(lambda thread: thread.sleep(5))
        pid = sys.getpid()
        for words, expected in (("-p 2", (2, 15)), ("-ap 4", (4, 4))):
            child = sys.fork(lambda child, words=words: execvp(child, ["taskset", *words.split(), str(pid)]))
            assert sys.wait(child) == (child, 0)
            masks = tuple(sum(1 << cpu for cpu in sys.sched_getaffinity(task).mask) for task in (pid, tid))
            assert masks == expected

    with numalab.boot("quad") as machine:
        assert machine.run(main) == 0
    assert [line.split("'s ")[1] for line in capsys.readouterr().out.splitlines()] == [
        "current affinity mask: f", "new affinity mask: 2",
        "current affinity mask: 2", "new affinity mask: 4",
        "current affinity mask: f", "new affinity mask: 4",
    ]  # fmt: skip


def test_a_policy_stays_with_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    with numalab.boot("quad") as machine:
        for line in (
            "--length=64k --file=/dev/shm/f --membind=3 --touch",
            "-L 1m -f /dev/shm/f --dump -T --dump-nodes",
        ):
            assert machine.run(lookalike("numactl"), *line.split()) == 0
    assert capsys.readouterr().out.splitlines() == [
        "0000000000000000-0000000000010000: bind : 3 ",
        "0000000000000000-0000000000010000: 3",
        "0000000000010000-0000000000100000: 0",
    ]
