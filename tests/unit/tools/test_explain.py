"""explain: every reason, made on purpose, under the engines that know it; what the shell and the command line print."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import numalab
from numalab import Sys
from numalab.kernel.machine import Machine
from numalab.mm.migrate.ledger import Fate, Reason
from numalab.syscalls import explain
from numalab.syscalls.explain import Explanation
from numalab.tools.errors import UsageError
from numalab.tools.explain import answer, region_label
from numalab.tools.repl import Shell
from numalab.tools.scn.runner import Runner

from tests.unit.tools.test_cli import one_line_error, run_command

GOLDEN = Path(__file__).parents[2] / "golden" / "explain"
ENGINES = ("batched", "direct", "swap")


class Lab:
    """A machine with a process `main` that has 8 written pages on node 0, called a; and what is explained of it."""

    def __init__(self, engine: str, spec: str = "2x16M", *, twins: bool = False) -> None:
        self.machine: Machine = numalab.boot(spec, migration=engine, twins=twins)
        self.runner = Runner(self.machine)
        self.machine.explain_calls()
        self("mmap a 8", "fill a 1")

    def __call__(self, *lines: str) -> Explanation:
        """Carry out operations; the explanation of the last call."""
        for line in lines:
            said = self.runner.line(line)
            assert "script-error" not in said, said
        told: Explanation = self.machine.explain()
        return told

    def told(self, page: int = 0, pages: int = 1) -> list[str]:
        """What the last call did to pages of a, run by run."""
        base = self.runner.actor("main").regions[0].base  # type: ignore[union-attr]
        part = self.machine.explain().within(base + page * 4096, base + (page + pages) * 4096)
        return [part.story(run) for run in part.runs]

    def text(self) -> str:
        return "\n".join(self.machine.explain().lines(region_label(self.runner)))


@pytest.fixture(params=ENGINES)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    lab = Lab(request.param)
    yield lab
    lab("clear")
    lab.machine.check_invariants()
    lab.machine.close()


@pytest.fixture
def batched() -> Iterator[Lab]:
    lab = Lab("batched")
    yield lab
    lab.machine.check_invariants()
    lab.machine.close()


# --- pages that go -----------------------------------------------------------------------------------------------


def test_a_page_that_goes(lab: Lab) -> None:
    told = lab("migrate_pages self {0} {1}")
    assert told.result == 0
    assert (
        lab.told(0, 8)
        == {
            "batched": ["moved 0 -> 1, pass async 1"],
            "direct": ["moved 0 -> 1, pass 0"],
            "swap": ["evicted from 0 to swap, pass 1; before that writing (pass 0)"],
        }[lab.machine.engine]
    )
    gone = Fate.EVICTED if lab.machine.engine == "swap" else Fate.MOVED
    assert {run.fate for run in told.runs} == {gone}


def test_frames_are_those_of_the_page_tables(batched: Lab) -> None:
    main = batched.runner.main
    base = batched.runner.actor("main").regions[0].base  # type: ignore[union-attr]
    before = [batched.machine.page_of(main, base + i * 4096) for i in range(8)]
    [run] = batched("migrate_pages self {0} {1}").within(base, base + 8 * 4096).runs
    after = [batched.machine.page_of(main, base + i * 4096) for i in range(8)]
    assert run.frames == tuple(zip(before, after, strict=True))
    assert (run.start, run.pages, run.source, run.target, run.in_pass) == (base, 8, 0, 1, "async 1")


def test_a_page_that_moves_twice_has_two_stories() -> None:
    """2.6.16 takes the pages of node 2 to node 1, and on to node 2."""
    lab = Lab("direct", "quad")
    lab("migrate_pages self {0} {2}", "migrate_pages self {0,1,2} {1,2}")
    assert lab.told() == ["moved 2 -> 1, pass 0", "moved 1 -> 2, pass 0"]
    lab.machine.close()


def test_a_huge_page_that_moves_several_times_is_as_many_lines() -> None:
    """move_pages names it three times, with other nodes each time."""
    lab = Lab("batched", "quad")
    lab("write /sys/kernel/mm/transparent_hugepage/enabled always", "mmap t 2M", "fill t 1")
    told = lab("move_pages self t+0,t+9,t+100,t+7 1,2,1,0 flags=MOVE")
    assert [(run.pages, told.story(run)) for run in told.runs] == [
        (512, "moved 0 -> 1, pass async 1"), (512, "moved 1 -> 2, pass async 1"),
        (512, "moved 2 -> 1, pass async 1"), (512, "moved 1 -> 0, pass async 1"),
    ]  # fmt: skip
    lab.machine.close()


def test_a_page_that_its_owner_gave_up() -> None:
    """While pass 1 waits for one page, another thread unmaps its neighbour."""
    with numalab.boot("2x16M", migration="swap") as machine:
        machine.explain_calls()
        texts: list[str] = []

        def main(sys: Sys) -> None:
            data = sys.mmap(2 * 4096)
            sys.memory.write(data, b"x" * 2 * 4096)
            machine.obstacles.writeback(machine.page_of(machine.sched.current, data), ns=10**6)  # type: ignore[arg-type]
            machine.obstacles.writeback(machine.page_of(machine.sched.current, data + 4096), ns=10**7)  # type: ignore[arg-type]

            def other(sys: Sys) -> None:
                while not machine.mem.page_lists:
                    sys.sched_yield()
                sys.munmap(data, 4096)

            sys.clone(other, flags=numalab.abi.CLONE_VM | numalab.abi.SIGCHLD)
            assert sys.migrate_pages(0, {0}, {1}) == 0
            told = machine.explain()
            texts.extend(told.story(run) for run in told.within(data, data + 4096).runs)
            texts.append(str(told))

        assert machine.run(main) == 0
        assert texts[0].startswith("given up by its owner; before that writeback (pass 0-1)")
        assert "folio_ref_count() == 1" in texts[1]


# --- pages that stay ---------------------------------------------------------------------------------------------

PASSES = {"batched": "async 1-3, sync 1-7", "direct": "pass 0-9", "swap": "pass 0-10"}


def test_locked_and_under_writeback(batched: Lab) -> None:
    told = batched(
        "obstacle lock a+2:2 ns=1000000", "obstacle writeback a+5:1 ns=2000000", "migrate_pages self {0} {1}"
    )
    assert told.result == 0
    assert batched.told(0, 8) == [
        "moved 0 -> 1, pass async 1",
        "moved 0 -> 1, pass sync 1; before that locked (async 1-3, sync 1)",
        "moved 0 -> 1, pass sync 1; before that locked (async 1-3)",
        "moved 0 -> 1, pass async 1",
        "moved 0 -> 1, pass sync 1; before that writeback (async 1-3, sync 1)",
        "moved 0 -> 1, pass async 1",
    ]
    assert "mm/migrate.c: migrate_folio_unmap()" in batched.text()


@pytest.mark.parametrize("engine", ["direct", "swap"])
def test_a_lock_that_was_waited_for(engine: str) -> None:
    """In pass 3, which found it locked, slept, and tried again."""
    lab = Lab(engine)
    lab("obstacle lock a+2:1 ns=1000000", "migrate_pages self {0} {1}")
    [story] = lab.told(2)
    assert "locked (pass 0-3)" in story
    assert story.startswith(
        "moved 0 -> 1, pass 3" if engine == "direct" else "evicted from 0 to swap, pass 4"
    )
    lab.machine.close()


@pytest.mark.parametrize("kind", ["pin", "hold"])
def test_pinned(lab: Lab, kind: str) -> None:
    told = lab(f"obstacle {kind} a+3:1", "migrate_pages self {0} {1}")
    engine = lab.machine.engine
    assert told.result == 1
    assert lab.told(3) == [f"stays on 0: pinned ({PASSES[engine]})"]
    assert "folio_expected_refs()" in lab.text()


def test_a_page_in_a_pipe_is_pinned(lab: Lab) -> None:
    assert lab("pin a+3:1", "migrate_pages self {0} {1}").result == 1
    assert lab.told(3) == [f"stays on 0: pinned ({PASSES[lab.machine.engine]})"]
    lab("unpin")


def test_shared(lab: Lab) -> None:
    """The engine of 2005 takes anonymous pages though they are shared."""
    lab("spawn p", "mbind a bind {1} flags=MOVE")
    if lab.machine.engine == "swap":
        assert lab.told()[0].startswith("evicted from 0 to swap")
    else:
        assert lab.told(0, 8) == ["passed over on 0: shared"]
        assert "CAP_SYS_NICE" in lab.text()


def test_a_huge_page_is_passed_over_as_one(lab: Lab) -> None:
    lab(
        "write /sys/kernel/mm/transparent_hugepage/enabled madvise",
        "mmap h 512",
        "madvise h hugepage",
        "fill h 1",
    )
    lab("spawn p", "mbind h bind {1} flags=MOVE")
    [run] = lab.machine.explain().runs[:1]
    if lab.machine.engine == "swap":  # it was split, and its pages went one by one
        assert (run.pages, run.fate) == (512, Fate.EVICTED)
    else:
        assert (run.pages, run.whole) == (1, True)
        assert "h+0  passed over on 0, with its whole huge page: shared" in lab.text()


def test_a_huge_page_without_a_block_on_the_target() -> None:
    """It is split, and its pages are tried once more, one by one."""
    lab = Lab("batched", "2x32M")
    lab(
        "write /sys/kernel/mm/transparent_hugepage/enabled madvise",
        "mmap h 512",
        "madvise h hugepage",
        "fill h 1",
    )
    lab("swapoff", "eat food 1 1", "munlock food", *(f"munmap food+{n}000:200" for n in range(5)))
    lab("migrate_pages self {0} {1}")
    assert "    h+0:512      moved 0 -> 1, pass split; before that target full (async 1)" in lab.text()
    lab.machine.close()


def test_a_locked_area(lab: Lab) -> None:
    told = lab("mlock a+2:4", "migrate_pages self {0} {1}")
    base = lab.runner.actor("main").regions[0].base  # type: ignore[union-attr]
    if lab.machine.engine == "batched":
        assert told.areas == []
        assert lab.told(2) == ["moved 0 -> 1, pass async 1"]
    else:
        assert told.areas == [(base + 2 * 4096, base + 6 * 4096, Reason.MLOCKED)]
        assert lab.told(2, 4) == []
        assert "a+2:4" in lab.text()
        assert "passed over as a whole: mlocked" in lab.text()


def test_locked_by_another_process() -> None:
    lab = Lab("swap")
    lab("mlock a", "spawn p", "p: migrate_pages self {0} {1}")
    assert lab.told(0, 8) == ["stays on 0: mlocked (pass 0-10)"]
    lab.machine.close()


@pytest.mark.parametrize("engine", ["batched", "direct"])
def test_a_full_target(engine: str) -> None:
    lab = Lab(engine, "2x32M")
    told = lab("mmap b 2048", "fill b 1", "swapoff", "eat food 1 2", "migrate_pages self {0} {1}")
    assert told.result == -12
    gone = sum(run.pages for run in told.runs if run.fate == Fate.MOVED)
    full = [run for run in told.runs if run.reason == Reason.TARGET_FULL]
    assert gone == told.ledger.moved > 0  # type: ignore[union-attr]
    assert {run.fate for run in full} == {Fate.LEFT}
    assert {run.fate for run in told.runs} == {Fate.MOVED, Fate.LEFT, Fate.QUEUED}
    text = lab.text()
    assert "ENOMEM: a target node filled up" in text
    assert "alloc_migration_target()" in text
    lab.machine.close()


def test_pages_behind_a_full_target_were_never_tried() -> None:
    lab = Lab("batched", "2x32M")
    lab("mmap b 2048", "fill b 1", "swapoff", "eat food 1 2", "migrate_pages self {0} {1}")
    runs = lab.machine.explain().runs
    assert [run.pages > 0 for run in runs if run.fate == Fate.QUEUED]
    assert "never tried: It was taken off its LRU list and put back untried" in lab.text()
    lab.machine.close()


def test_without_swap() -> None:
    lab = Lab("swap")
    assert lab("swapoff", "migrate_pages self {0} {1}").result > 0
    assert lab.told(0, 8) == ["stays on 0: no swap (pass 0)"]
    assert "add_to_swap()" in lab.text()
    lab.machine.close()


def test_the_zero_page(batched: Lab) -> None:
    batched("mmap z 2", "touch z r", "migrate_pages self {0} {1}")
    told = batched.machine.explain()
    assert [run.pages for run in told.runs if run.reason == Reason.ZERO_PAGE] == [2]
    batched("move_pages self z 1")
    assert "passed over: zero page (status -EFAULT)" in batched.text()


def test_statuses_of_move_pages(lab: Lab) -> None:
    """By address; what is already isolated when it is named again is busy."""
    told = lab("mmap b 1", "move_pages self a+0,a+1,a+1,b,0x10000 1,1,1,1,1", "move_pages self a+0 1")
    assert told.result == 0
    assert lab.told() == ["passed over on 1: there (status 1)"]
    told = lab.machine.explanations[-2]
    stories = [told.story(run) for run in told.runs]
    how = "async 1" if lab.machine.engine == "batched" else "0"
    assert stories == [
        "passed over: no area (status -EFAULT)",
        f"moved 0 -> 1, pass {how}",
        "passed over on 0: not on lru (status -EBUSY)",
        "passed over: absent (status -ENOENT)",
    ]
    assert told.text.endswith("[1, 1, -EBUSY, -ENOENT, -EFAULT], MPOL_MF_MOVE) = 0")
    lab("spawn p", "move_pages self a+2 1 flags=MOVE")
    assert lab.told(2) == ["passed over on 0: shared (status -EACCES)"]


def test_which_page_broke_a_strict_mbind(lab: Lab) -> None:
    told = lab("obstacle pin a+3:1", "mbind a bind {1} flags=STRICT")
    assert told.result == -5
    assert lab.told(0, 8) == ["passed over on 0: misplaced"]
    assert [run.pages for run in told.runs] == [1]  # the walk ends there
    told = lab("mbind a bind {1} flags=STRICT|MOVE")
    assert told.result == -5
    assert told.why == "not every page is where the policy wants it"
    assert lab.told(3) == [f"stays on 0: pinned ({PASSES[lab.machine.engine]})"]


# --- calls that move nothing -------------------------------------------------------------------------------------


def test_calls_that_move_nothing_say_what_they_changed(batched: Lab) -> None:
    assert batched("set_mempolicy bind {1}").changed.endswith(
        "is bind:1 now: it decides where its new pages go"
    )
    assert batched.text().endswith("\n  this call moved no pages")
    assert "takes MPOL_MF_MOVE" in batched("mbind a bind {1}").changed
    assert batched("set_home_node a 1").changed.endswith("allocation begins at node 1 now")
    assert batched("mbind a bind {0} flags=MOVE").runs == []
    assert batched.text().endswith("this call moved no pages: it found none to move")


@pytest.mark.parametrize(
    ("line", "why", "rule"),
    [
        ("set_mempolicy 77 {1}", "0x4d is no mode", "set_mempolicy(2)"),
        ("set_mempolicy bind {9}", "none of", "set_mempolicy(2)"),
        ("set_mempolicy bind bad", "", "EFAULT: the node mask cannot be read"),
        ("mbind a+0.8:1 bind {1}", "start is not page aligned", "mbind(2)"),
        ("mbind a bind {1} flags=64", "unknown flags 0x40", "mbind(2)"),
        ("mbind 0x10000:1 bind {1}", "the range begins with a hole", "queue_pages_test_walk()"),
        ("set_home_node a 7", "node 7 does not exist", "set_mempolicy_home_node(2)"),
        ("set_home_node a 1", "no area in the range has a policy", "its man page does not tell"),
        ("migrate_pages nopid {0} {1}", "there is no process", "ESRCH"),
        ("migrate_pages self {0} {9}", "no new node is left", "kernel_migrate_pages()"),
        ("move_pages self a 9", "a node without memory", "ENODEV"),
        ("move_pages self a 1 flags=STRICT", "unknown flags 0x1", "move_pages(2)"),
        ("move_pages self bad 1", "pages[] or nodes[] cannot be read", "do_pages_move()"),
        ("get_mempolicy addr=0x10000 flags=ADDR", "nothing is mapped", "get_mempolicy(2)"),
    ],
)
def test_errors_have_the_clause_and_the_rule(batched: Lab, line: str, why: str, rule: str) -> None:
    told = batched(line)
    assert told.result < 0
    assert why in told.why
    assert rule in batched.text()
    assert told.runs == []


def test_questions_are_not_kept(batched: Lab) -> None:
    told = batched("set_mempolicy bind {1}")
    assert batched("nodes a", "get_mempolicy", "count a") is told


def test_a_cpuset_that_moves_its_pages(batched: Lab) -> None:
    batched(
        "mkdir /sys/fs/cgroup/g", "write /sys/fs/cgroup/cgroup.subtree_control +cpuset",
        "write /sys/fs/cgroup/g/cpuset.mems 0", "cgjoin /sys/fs/cgroup/g",
    )  # fmt: skip
    told = batched("write /sys/fs/cgroup/g/cpuset.mems 1")
    assert told.call == "write"
    assert batched.told(0, 8) == ["moved 0 -> 1, pass async 1"]


def test_of_many_long_calls_the_pages_of_the_oldest_are_forgotten(
    batched: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain, "_MOST_NOTES", 50)
    batched("migrate_pages self {0} {1}", "migrate_pages self {1} {0}")
    old, new = batched.machine.explanations
    assert str(old).splitlines()[1:] == ["  its pages are not kept any more"]
    assert new.runs != []


def test_so_many_calls_are_kept(batched: Lab) -> None:
    batched("migrate_pages self {0} {1}", *["set_mempolicy bind {1}"] * 63)
    assert batched.machine.explanations[0].call == "migrate_pages"
    batched("set_mempolicy default {}")
    assert {told.call for told in batched.machine.explanations} == {"set_mempolicy"}


def test_a_cpuset_that_moves_the_pages_of_two_processes(batched: Lab) -> None:
    """Each has an explanation of its own."""
    batched(
        "mkdir /sys/fs/cgroup/g", "write /sys/fs/cgroup/cgroup.subtree_control +cpuset",
        "write /sys/fs/cgroup/g/cpuset.mems 0", "spawn p", "p: mmap b 2", "p: fill b 1",
        "cgjoin /sys/fs/cgroup/g", "p: cgjoin /sys/fs/cgroup/g", "write /sys/fs/cgroup/g/cpuset.mems 1",
    )  # fmt: skip
    of_main, of_p = batched.machine.explanations[-2:]
    pids = {slot.name: slot.pid for slot in batched.runner.table.slots if slot.used}
    assert of_main.text == of_p.text == 'write(0, "1", 1) = 1'
    assert [of_main.pid, of_p.pid] == [pids["main"], pids["p"]]
    label = region_label(batched.runner)
    assert [line for line in of_main.lines(label) if " a+" in line or " b+" in line] == [
        "    a+0:8        moved 0 -> 1, pass async 1"
    ]
    assert [line for line in of_p.lines(label) if " a+" in line or " b+" in line] == [
        "    b+0:2       moved 0 -> 1, pass async 1"
    ]


# --- the twins, golden text --------------------------------------------------------------------------------------

SCRIPT = (
    "obstacle lock a+2:2 ns=1000000", "obstacle pin a+5:1", "migrate_pages self {0} {1}", "clear",
    "mbind a bind {0} flags=MOVE", "spawn p", "move_pages self a,0x10000 1 flags=MOVE",
    "migrate_pages self {0} {9}", "set_mempolicy interleave {0,1}", "mbind a bind {1} flags=STRICT",
)  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
def test_twins_tell_the_same(engine: str) -> None:
    texts = []
    for twins in (False, True):
        lab = Lab(engine, twins=twins)
        lab(*SCRIPT)
        texts.append([str(told) for told in lab.machine.explanations])
        lab.machine.close()
    assert texts[0] == texts[1]
    assert len(texts[0]) == 6


def test_golden_text(batched: Lab) -> None:
    batched(*SCRIPT)
    label = region_label(batched.runner)
    text = "\n\n".join("\n".join(told.lines(label)) for told in batched.machine.explanations) + "\n"
    assert text == (GOLDEN / "batched.txt").read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= 96


def test_the_page_in_docs_shows_what_is_printed() -> None:
    text = (GOLDEN.parents[2] / "docs" / "explain.md").read_text(encoding="utf-8")
    page = re.sub(r"^    ", "", text.partition("## A scenario")[2], flags=re.MULTILINE)
    runner = Runner(machine := numalab.boot("quad"))
    machine.explain_calls()
    for line in page.split("\n\n")[1].splitlines():
        assert runner.line(line).startswith("ret=")
    assert "\n".join(machine.explain().lines(region_label(runner))) == page.split("\n\n")[3]
    machine.close()


# --- where it is asked for ---------------------------------------------------------------------------------------


def test_history_of_pages(batched: Lab) -> None:
    batched("spawn p", "migrate_pages self {0} {1}", "p: migrate_pages self {1} {0}", "mbind a bind {1}")

    def told(text: str) -> list[str]:
        return [line.strip() for line in answer(batched.machine, batched.runner, text) if " a+" in line]

    assert told("a+3") == ["a+3  moved 0 -> 1, pass async 1"]
    assert told("a+2:3") == ["a+2:3  moved 0 -> 1, pass async 1"]
    assert told("p: a+3") == ["a+3  moved 1 -> 0, pass async 1"]
    assert told("migrate_pages")[-1] == "a+0:8        moved 1 -> 0, pass async 1"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a", "a: no call that is kept has met these pages (kept: 1)"),
        ("b", "b: neither an address (0x..), nor a region of main (a)"),
        ("q: a", "q: no such process (there are main)"),
        ("mbind", "no mbind has moved pages, set a policy or failed yet"),
        ("a b", "usage: explain [CALL | [ACTOR:] RANGE]"),
        ("mbind a", "usage: explain [CALL | [ACTOR:] RANGE]"),
    ],
)
def test_wrong_use_is_one_line(batched: Lab, text: str, error: str) -> None:
    batched("set_mempolicy bind {1}")
    with pytest.raises(UsageError) as caught:
        list(answer(batched.machine, batched.runner, text))
    assert str(caught.value) == error


def test_a_machine_that_was_not_told_to_keep_calls() -> None:
    with numalab.boot("quad") as machine:
        with pytest.raises(RuntimeError, match=r"say machine.explain_calls\(\) before them"):
            machine.explain()
        machine.explain_calls()
        assert machine.explain() is None
        machine.run(lambda sys: sys.set_mempolicy(numalab.abi.MPOL_BIND, {1}))
        assert machine.explain().call == "set_mempolicy"
        machine.explain_calls(False)
        assert not machine.mem.explain
        assert machine.kernel.tracers == []


def test_the_shell(capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell("quad", io.StringIO())
    for line in ("explain", "mmap a 4", "fill a 1", "migrate_pages self {0} {1}", "nodes a", "explain a+1"):
        shell.onecmd_plus_hooks(line)
    assert capsys.readouterr().err == "no call has moved pages, set a policy or failed yet\n"
    assert shell.stdout.getvalue().splitlines()[-1] == "    a+1  moved 0 -> 1, pass async 1"
    shell.session.close()


def test_run_explain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = tmp_path / "s.scn"
    scenario.write_text("mmap a 4\nfill a 1\nmbind a bind {1} flags=MOVE\nnodes a\n")
    ran = run_command("run", "--explain", str(scenario))
    assert ran.returncode == 0
    assert ran.stdout.splitlines()[-1] == "4 nodes a => ret=0 nodes=1*4"
    assert ran.stderr.splitlines()[-1] == "    a+0:4  moved 0 -> 1, pass async 1"
    assert ran.stderr.startswith("mbind(")
    program = tmp_path / "p.py"
    program.write_text("def main(sys):\n    sys.set_mempolicy(2, {1})\n")
    ran = run_command("run", "--explain", str(program))
    assert (ran.returncode, ran.stdout) == (0, "")
    assert ran.stderr.splitlines()[-1] == "  this call moved no pages"
    assert one_line_error(capsys, "run", "--explain", str(tmp_path / "none.py"))


CAREFUL = """\
def main(sys):
    try:
        sys.set_mempolicy(2, {1})
    except OSError:
        print("refused")
    print("done")
"""


@pytest.mark.parametrize(("program", "said"), [("p.py", "done\n"), ("s.scn", "1 getcpu => ret=0 node=0\n")])
def test_a_full_disk_is_told_at_the_end(tmp_path: Path, program: str, said: str) -> None:
    path = tmp_path / program
    path.write_text(CAREFUL if path.suffix == ".py" else "getcpu\nset_mempolicy bind {1}\n")
    command = [sys.executable, "-m", "numalab.tools.cli", "run", "--explain", str(path)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith(said)
    assert "refused" not in done.stdout
    assert "script-error" not in done.stdout
