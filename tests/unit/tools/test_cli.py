"""The command's contract: exit codes, one-line errors, what goes where."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import numalab
from numalab.tools import cli

SCENARIO = "mmap a 2\ntouch a w\nnodes a\nfrobnicate\n"


def one_line_error(capsys, *argv: str) -> str:
    assert cli.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("numalab: ")
    return captured.err


@pytest.fixture
def program(tmp_path: Path):
    """Writes a program and returns its path."""

    def write(text: str, name: str = "program.py") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def test_wrong_use_is_one_line(capsys, program) -> None:
    assert "no/such.py" in one_line_error(capsys, "run", "no/such.py")
    assert "--machine" in one_line_error(capsys, "run", "--machine")
    assert "bogus" in one_line_error(capsys, "run", "--bogus", "x.py")
    assert "PROGRAM" in one_line_error(capsys, "run")
    assert "frob" in one_line_error(capsys, "frob")
    assert "seed" in one_line_error(capsys, "run", "--seed", "x", "x.py")
    assert "'octo'" in one_line_error(capsys, "run", "--machine", "octo", program(""))
    assert "'warp'" in one_line_error(capsys, "run", "--engine", "warp", program(""))
    assert ".scn" in one_line_error(capsys, "run", program("", "program.txt"))
    assert "main(sys)" in one_line_error(capsys, "run", program("x = 1"))
    assert "/nonexistent" in one_line_error(capsys, "conform", "/nonexistent")
    assert "octo" in one_line_error(capsys, "conform", "--machine", "octo")


def test_version(capsys) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"numalab {numalab.__version__}\n"


def test_a_scenario_prints_a_line_an_operation_and_exits_0(capfdbinary, program) -> None:
    assert cli.main(["run", program(SCENARIO + "getcpu k=\N{BULLET}\n", "x.scn")]) == 0
    captured = capfdbinary.readouterr()
    assert captured.out == (
        b"1 mmap a 2 => ret=0\n2 touch a w => ret=0\n3 nodes a => ret=0 nodes=0*2\n"
        b"4 frobnicate => script-error=unknown-op:frobnicate\n5 getcpu k=\xe2\x80\xa2 => ret=0 node=0\n"
    )
    assert captured.err == b""


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("return 3", 3),
        ("return None", 0),
        ("sys.exit(7)", 7),
        ("sys.kill(sys.getpid(), 15)", 143),
        ("sys.memory.write(0, b'x')", 139),
        ("raise SystemExit(4)", 4),
        ("return 0 if sys.argv == ['a', '--machine'] else 1", 0),
    ],
)
def test_the_status_of_a_program(program, body: str, status: int) -> None:
    assert cli.main(["run", program(f"def main(sys):\n    {body}\n"), "a", "--machine"]) == status


def test_an_uncaught_exception_has_the_programs_traceback(capsys, program) -> None:
    path = program("def f():\n    raise KeyError('lost')\n\n\ndef main(sys):\n    f()\n")
    assert cli.main(["run", path]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "KeyError: 'lost'"
    files = [line for line in lines if line.strip().startswith("File ")]
    assert len(files) == 2
    assert all(path in line for line in files)


def test_a_syntax_error_is_the_programs(capsys, program) -> None:
    assert cli.main(["run", program("def main(sys:\n")]) == 1
    err = capsys.readouterr().err
    assert "SyntaxError" in err
    assert "numalab/" not in err


def test_a_deadlock_is_one_line(capsys, program) -> None:
    text = (
        "from numalab.kernel.wait import WaitQueue\n\n\n"
        "def main(sys):\n    sys._k.sched.wait_event(WaitQueue('godot'), lambda: False)\n"
    )
    assert cli.main(["run", program(text)]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "godot" in err


def test_strace_goes_to_standard_error(capsys, program) -> None:
    assert cli.main(["run", "--strace", program("def main(sys):\n    print(sys.getppid())\n")]) == 0
    captured = capsys.readouterr()
    assert captured.out == "1\n"
    assert "getppid()" in captured.err


def run_command(*argv: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "numalab.tools.cli", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_a_reader_that_goes_away_is_no_traceback(program) -> None:
    path = program("getcpu\n" * 5000, "long.scn")
    read, write = os.pipe()
    command = [sys.executable, "-m", "numalab.tools.cli", "run", path]
    with subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE, text=True) as process:
        os.close(write)
        os.read(read, 10)
        os.close(read)
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_control_c_is_no_traceback(program) -> None:
    path = program("def main(sys):\n    print('on', flush=True)\n    while True:\n        sys.getpid()\n")
    # Whoever runs the tests in the background ignores the signal, and so would the command.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from numalab.tools import cli; sys.exit(cli.main(['run', sys.argv[1]]))"
    )
    command = [sys.executable, "-c", code, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "on\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == ""
    assert process.returncode == 130


def test_without_cmd2_the_shell_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "cmd2.py").write_text("raise ModuleNotFoundError(\"No module named 'cmd2'\")\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = run_command(stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": path})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "numalab: the shell needs cmd2: pip install numalab[repl]\n"


def test_core_dependencies_suffice_for_a_scenario(tmp_path: Path, program) -> None:
    """Neither the shell's packages nor the development tools are imported."""
    path = program(SCENARIO, "x.scn")
    code = (
        "import sys; from numalab.tools import cli; cli.main(['run', sys.argv[1]]);"
        "print(sorted({'cmd2', 'rich', 'prompt_toolkit', 'Cython', 'hypothesis'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
