"""strace's options, on the command line and in the shell."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from numalab.tools import cli
from numalab.tools.repl import Shell

from tests.unit.tools.test_cli import one_line_error, run_command

PROGRAM = """\
def main(sys):
    data = sys.mmap(4096)
    sys.mlock(data, 4096)
    sys.getpid()
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return str(path)


@pytest.fixture
def shell():
    shell = Shell("quad", io.StringIO())
    yield shell
    shell.session.close()


def names(err: str) -> list[str]:
    return [line.partition("(")[0] for line in err.splitlines() if "(" in line]


@pytest.mark.parametrize(
    ("expression", "calls"),
    [
        ("trace=%memory", ["mmap", "mlock"]),
        ("t=getpid,mmap", ["mmap", "getpid"]),
        ("!mlock", ["mmap", "getpid"]),
        ("trace=none", []),
    ],
)
def test_which_calls(capsys, program: str, expression: str, calls: list[str]) -> None:
    assert cli.main(["run", "--strace", "-e", expression, program]) == 0
    assert names(capsys.readouterr().err) == calls


def test_a_summary_instead_of_the_calls_or_behind_them(capsys, program: str) -> None:
    assert cli.main(["run", "--strace", "-c", program]) == 0
    table = capsys.readouterr().err
    assert table.startswith("% time     seconds  usecs/call     calls    errors syscall\n")
    assert sorted(line.split()[-1] for line in table.splitlines()[2:-2]) == ["getpid", "mlock", "mmap"]
    assert cli.main(["run", "--strace", "-C", program]) == 0
    both = capsys.readouterr().err
    assert names(both) == ["mmap", "mlock", "getpid"]
    assert both.endswith(table)


def test_a_summary_of_a_program_that_fails(capsys, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("def main(sys):\n    sys.close(9)\n")
    assert cli.main(["run", "--strace", "-c", str(program)]) == 1
    assert capsys.readouterr().err.splitlines()[-1].split() == ["100.00", "0.000000", "0", "1", "1", "total"]


def test_into_a_file(capsys, program: str, tmp_path: Path) -> None:
    file = tmp_path / "trace"
    assert cli.main(["run", "--strace", "-e", "getpid", "-o", str(file), program]) == 0
    assert capsys.readouterr().err == ""
    assert file.read_text().splitlines() == [
        "100   getpid()                          = 100",
        "100   +++ exited with 0 +++",
    ]


def test_what_follows_the_program_is_the_programs(capsys, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("def main(sys):\n    print(sys.argv)\n")
    assert cli.main(["run", "--strace", str(program), "-c", "-e", "x"]) == 0
    assert capsys.readouterr().out == "['-c', '-e', 'x']\n"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--strace", "-e", "trace=mbnd"], "'mbnd' is no system call of this machine"),
        (["--strace", "-e", "trace="], "empty"),
        (["--strace", "-e", "status=failed"], "only trace=SET is known"),
        (["--strace", "-o", "/no/such/trace"], "/no/such/trace: No such file or directory"),
        (["--strace", "-c", "-C"], "not allowed with"),
        (["-c"], "say --strace -c"),
        (["-e", "mbind"], "say --strace -e"),
    ],
)
def test_wrong_options_are_one_line(capsys, program: str, options: list[str], why: str) -> None:
    assert why in one_line_error(capsys, "run", *options, program)


def test_a_wrong_set_leaves_a_file_as_it_is(capsys, program: str, tmp_path: Path) -> None:
    file = tmp_path / "trace"
    file.write_text("precious")
    one_line_error(capsys, "run", "--strace", "-o", str(file), "-e", "mbnd", program)
    assert file.read_text() == "precious"


def test_a_full_disk_is_told_when_the_program_has_run(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("def main(sys):\n    print(sys.getppid())\n")
    done = run_command("run", "--strace", "-o", "/dev/full", str(program))
    assert (done.returncode, done.stdout) == (1, "1\n")
    assert done.stderr == "numalab: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("options", ["--strace", "--explain", "--strace -o /dev/stdout"])
def test_a_trace_whose_reader_goes_away_ends_the_program(tmp_path: Path, options: str) -> None:
    program = tmp_path / "program.py"
    program.write_text("def main(sys):\n    while True:\n        sys.set_mempolicy(2, {1})\n")
    shell = (
        f"timeout 60 {sys.executable} -m numalab.tools.cli run {options} {program} 2>&1 | head -1; "
        "echo ${PIPESTATUS[0]}"
    )
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert "set_mempolicy(" in done.stdout
    assert done.stdout.splitlines()[1:] == ["141"]
    assert done.stderr == ""


def test_the_shell_takes_the_same_options(shell: Shell, capsys) -> None:
    for line in ("strace on -e trace=%memory", "getcpu", "mmap a 1", "strace off", "mmap b 1"):
        shell.onecmd_plus_hooks(line)
    assert names(capsys.readouterr().err) == ["mmap"]
    for line in ("strace on -c", "migrate_pages self {0} {1}", "strace off"):
        shell.onecmd_plus_hooks(line)
    assert "migrate_pages" in capsys.readouterr().err.splitlines()[2]


@pytest.mark.parametrize(
    "line", ["strace", "strace on -q", "strace on -e x=1", "strace off -c", "strace on -o /no/such/f"]
)
def test_the_shell_says_what_is_wrong_and_traces_on(shell: Shell, capsys, line: str) -> None:
    shell.onecmd_plus_hooks("strace on")
    shell.onecmd_plus_hooks(line)
    assert capsys.readouterr().err.count("\n") == 1
    shell.onecmd_plus_hooks("getcpu")
    assert names(capsys.readouterr().err) == ["getcpu"]


def test_another_machine_is_not_traced_and_the_table_of_the_old_one_comes(shell: Shell, capsys) -> None:
    for line in ("strace on -c", "getcpu", "machine dual"):
        shell.onecmd_plus_hooks(line)
    assert "getcpu" in capsys.readouterr().err
    shell.onecmd_plus_hooks("getcpu")
    assert capsys.readouterr().err == ""
