"""The pytest plugin, as a project has it: pytest runs test files that ask for machines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import numalab.tools.numa_machine  # noqa: F401 - pytester forgets what its pytests import, and numpy is imported only once

pytest_plugins = ["pytester"]


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project in which warnings are errors, and unknown marks as well."""
    pytester.makeini(
        "[pytest]\naddopts = -p no:cacheprovider -p no:xdist --strict-markers\nfilterwarnings = error\n"
    )
    return pytester


def test_a_machine_for_a_test(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import pytest

        PAGE = 4096

        def test_pages_move(numa_machine):
            addr = numa_machine.sys.mmap(4 * PAGE)
            numa_machine.memory.touch(addr, 4)
            numa_machine.assert_on_node(0, addr, 4 * PAGE)
            assert numa_machine.sys.migrate_pages(0, {0}, {1}) == 0
            numa_machine.assert_on_node(1, addr, 4 * PAGE)
            numa_machine.assert_on_node({0, 1}, addr, 4 * PAGE)

        def test_each_has_its_own(numa_machine):
            assert numa_machine.process.pid == 100
            assert numa_machine.read_file("/sys/devices/system/node/online") == "0-1\\n"

        @pytest.mark.numa("4x64M", migration="swap", seed=5, uid=1000)
        def test_marked(numa_machine):
            assert numa_machine.read_file("/sys/devices/system/node/online") == "0-3\\n"
            assert numa_machine.machine.engine == "swap"
            assert numa_machine.seed == 5
            assert numa_machine.sys.getuid() == 1000

        @pytest.mark.numa("3x64M")
        class TestMarks:
            @pytest.mark.numa(migration="direct")
            def test_add_up(self, numa_machine):
                assert numa_machine.machine.topology.node_ids == (0, 1, 2)
                assert numa_machine.machine.engine == "direct"

            @pytest.mark.numa("2x64M")
            def test_the_nearest_wins(self, numa_machine):
                assert len(numa_machine.machine.topology.node_ids) == 2

        def test_programs_run(numa_machine):
            assert numa_machine.run(lambda sys: len(sys.argv), "a", "b") == 2
    """)
    project.runpytest("-q").assert_outcomes(passed=6)


def test_the_ini_file_names_the_machine(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\nnuma_machine = 5x64M\n")
    project.makepyfile("""
        def test_nodes(numa_machine):
            assert len(numa_machine.machine.topology.node_ids) == 5
    """)
    project.runpytest("-q").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("mark", "complaint"),
    [
        ("'6y7'", "*6y7*"),
        ("'2x64M', 'quad'", "*a machine is one spec, not '2x64M', 'quad'*"),
        ("migration='magic'", "*'magic' is unknown*"),
        ("sed=1", "*unexpected keyword argument 'sed'*"),
    ],
)
def test_a_mark_that_makes_no_machine(project: pytest.Pytester, mark: str, complaint: str) -> None:
    project.makepyfile(f"""
        import pytest

        @pytest.mark.numa({mark})
        def test_never_runs(numa_machine):
            pass
    """)
    result = project.runpytest("-q")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([complaint])
    assert "Traceback" not in result.stdout.str()


def test_an_ini_file_that_names_no_machine(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\nnuma_machine = 5x\n")
    project.makepyfile("def test_never_runs(numa_machine): pass")
    project.runpytest("-q").stdout.fnmatch_lines(["numa_machine in the configuration: machine '5x'*"])


def test_a_failure_shows_where_each_page_is_and_why(project: pytest.Pytester) -> None:
    project.makepyfile("""
        PAGE = 4096

        def test_move(numa_machine):
            addr = numa_machine.sys.mmap(8 * PAGE)
            numa_machine.memory.touch(addr, 6)
            numa_machine.obstacle("pin", addr + PAGE, 2 * PAGE)
            numa_machine.sys.migrate_pages(0, {0}, {1})
            numa_machine.assert_on_node(1, addr, 8 * PAGE)
    """)
    result = project.runpytest("-q", "--numa-seed=7")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E   *4 of 8 pages are not on node 1 (N0=2 N1=4, 2 on none)",
            "E   *0x7f*000:2  on node 0",
            "E   *0x7f*000:2  never touched",
            "E   *migrate_pages(0, 65, *) = 2",
            "E   *0x7f*000:2  stays on 0: pinned (async 1-3, sync 1-7)",
            "E   *node 1 has * free, and keeps * of it",
            "-* numa machine -*",
            "machine 2x1G, engine batched, seed 7, * ns since boot",
            "node 0: * in use",
            "-* its last system calls -*",
            "mmap(NULL, 32768, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f*",
            "-* the last of them that met pages or failed -*",
            "migrate_pages(0, 65, *) = 2",
        ]
    )
    assert "placement.py" not in result.stdout.str()


def test_nothing_is_shown_of_machines_that_did_not_fail(project: pytest.Pytester) -> None:
    project.makepyfile("""
        def test_good(numa_machine):
            numa_machine.sys.getpid()

        def test_without_a_machine():
            assert 0
    """)
    result = project.runpytest("-q")
    result.assert_outcomes(passed=1, failed=1)
    assert "numa machine" not in result.stdout.str()


def test_the_state_of_memory_is_checked_at_the_end(project: pytest.Pytester) -> None:
    project.makepyfile("""
        def test_breaks_the_kernel(numa_machine):
            addr = numa_machine.sys.mmap(4096)
            numa_machine.memory.touch(addr)
            machine = numa_machine.machine
            machine.mem.hot["refcount"][machine.page_of(numa_machine.process.task, addr)] += 1

        def test_next(numa_machine):
            pass
    """)
    result = project.runpytest("-q")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*InvariantError*", "-* numa machine -*", "-* its last system calls -*"])


def test_random_seeds_can_be_repeated(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import pytest

        def test_order(numa_machine):
            order = []
            for name in "abcdefgh":
                numa_machine.spawn(lambda sys, name=name: order.append(name))
            numa_machine.run()
            assert order == list("abcdefgh"), f"seed {numa_machine.seed} " + "".join(order)

        @pytest.mark.numa(seed=3)
        def test_own_seed(numa_machine):
            assert numa_machine.seed == 3
    """)

    def run(*args: str) -> tuple[str, str]:
        result = project.runpytest(*args)
        result.assert_outcomes(failed=1, passed=1)
        text = result.stdout.str()
        return text.partition("--numa-seed=")[2].split()[0], text.partition("AssertionError: seed ")[2].split(
            "\n"
        )[0]

    seed, order = run("--numa-seed=random")
    assert order.split()[0] == seed
    assert run(f"--numa-seed={seed}") == (seed, order)
    assert run("--numa-seed=random")[0] != seed


def test_a_seed_that_is_none(project: pytest.Pytester) -> None:
    result = project.runpytest("--numa-seed=seven")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--numa-seed: invalid * value: 'seven'"])


@pytest.mark.slow
def test_processes_of_xdist_share_the_random_seed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.parametrize("n", range(4))
        def test_seed(numa_machine, n):
            with open(f"seed{n}", "w") as out:
                out.write(str(numa_machine.seed))
    """)
    result = pytester.runpytest_subprocess("-n2", "--numa-seed=random")
    result.assert_outcomes(passed=4)
    shown = result.stdout.str().partition("--numa-seed=")[2].split()[0]
    assert {path.read_text() for path in pytester.path.glob("seed?")} == {shown}


def test_projects_that_use_no_machine_load_nothing_of_it(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import sys

        def test_loaded():
            ours = {name for name in sys.modules if name.split(".")[0] == "numalab"}
            assert ours == {"numalab", "numalab.tools", "numalab.tools.pytest_plugin"}
            assert "numpy" not in sys.modules
    """)
    project.runpytest_subprocess("-q").assert_outcomes(passed=1)


@pytest.mark.timed
def test_the_plugin_costs_next_to_nothing(tmp_path: Path) -> None:
    """Less than 10 ms; here are all modules that it loads behind pytest."""
    code = (
        "import sys, pytest, time; before = time.perf_counter(); import numalab.tools.pytest_plugin; "
        "print(time.perf_counter() - before)"
    )
    times = [
        float(
            subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True).stdout
        )
        for _ in range(5)
    ]
    assert min(times) < 0.010
