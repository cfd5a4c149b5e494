"""The command's contract: exit codes, one-line errors, what goes where."""

import os
import re
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
    assert "are required: PROGRAM (see" in one_line_error(capsys, "run")
    assert "are required: PROGRAM (see" in one_line_error(capsys, "compare")
    assert "PROGRAM is empty" in one_line_error(capsys, "run", "")
    assert "a\\nb.py: No such file" in one_line_error(capsys, "run", "a\nb.py")
    assert "engine ''" in one_line_error(capsys, "run", "--engine", "", program(""))
    assert "/dev/zero: a program is" in one_line_error(capsys, "run", "/dev/zero")
    assert "frob" in one_line_error(capsys, "frob")
    assert "seed" in one_line_error(capsys, "run", "--seed", "x", "x.py")
    assert "'octo'" in one_line_error(capsys, "run", "--machine", "octo", program(""))
    assert "'warp'" in one_line_error(capsys, "run", "--engine", "warp", program(""))
    assert ".scn" in one_line_error(capsys, "run", program("", "program.txt"))
    assert "main(sys)" in one_line_error(capsys, "run", program("x = 1"))
    assert "not 3" in one_line_error(capsys, "run", program("main = 3"))
    assert "async" in one_line_error(capsys, "run", program("async def main(sys): pass"))
    assert "generator" in one_line_error(capsys, "run", program("def main(sys): yield"))
    assert "/nonexistent" in one_line_error(capsys, "conform", "/nonexistent")
    assert "octo" in one_line_error(capsys, "conform", "--machine", "octo")


def test_version(capsys) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"numalab {numalab.__version__}\n"


def test_a_scenario_prints_a_line_an_operation_and_exits_0(capfdbinary, program) -> None:
    assert cli.main(["run", program(SCENARIO + "unlink /\N{BULLET}\n", "x.scn")]) == 0
    captured = capfdbinary.readouterr()
    assert captured.out == (
        b"1 mmap a 2 => ret=0\n2 touch a w => ret=0\n3 nodes a => ret=0 nodes=0*2\n"
        b"4 frobnicate => script-error=unknown-op:frobnicate\n5 unlink /\xe2\x80\xa2 => ret=-1 err=ENOENT\n"
    )
    assert captured.err == b""


def test_a_word_that_an_operation_does_not_have_is_refused(capfdbinary, program) -> None:
    """A slip like `flag=MOVE` would otherwise look as if the kernel had moved nothing."""
    text = (
        "mmap a 2 flag=populate\nmmap a 2 flags=populate\ngetcpu k=v\nspawn p\np: nodes a x=1\nk=v\n"
        "mlock a onfault\ngetcpu now\nwrite /tmp/f a b c\nmprotect a r w\n"
    )
    assert cli.main(["run", program(text, "x.scn")]) == 0
    assert capfdbinary.readouterr().out.decode().splitlines() == [
        "1 mmap a 2 flag=populate => script-error=no-such-key:flag (mmap has kind, file, off, prot, at, flags)",
        "2 mmap a 2 flags=populate => ret=0",
        "3 getcpu k=v => script-error=no-such-key:k (getcpu has none)",
        "4 spawn p => ret=0",
        "5 p: nodes a x=1 => script-error=no-such-key:x (nodes has none)",
        "6 k=v => script-error=no-operation:k=",
        "7 mlock a onfault => script-error=too-many-words:onfault (mlock takes RANGE)",
        "8 getcpu now => script-error=too-many-words:now (getcpu takes none)",
        "9 write /tmp/f a b c => ret=-1 err=ENOENT",
        "10 mprotect a r w => script-error=too-many-words:w (mprotect takes RANGE PROT)",
    ]


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


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ("sys.memory.write(0, b'x')", 139, "Segmentation fault\n"),
        ("sys.kill(sys.getpid(), 9)", 137, "Killed\n"),
        ("sys.kill(sys.getpid(), 33)", 161, "Signal 33\n"),
        ("sys.kill(sys.getpid(), 2)", 130, ""),
        ("sys.kill(sys.getpid(), 13)", 141, ""),
        ("sys.memory.touch(sys.mmap(60 << 20, flags=0x4022), 60 << 8)", 137, "Killed\n"),
    ],
)
def test_a_death_by_signal_is_said_as_a_shell_says_it(
    capsys, program, body: str, status: int, word: str
) -> None:
    path = program(f"def main(sys):\n    {body}\n")
    assert cli.main(["run", "--machine", "1x32M swap=0", path]) == status
    assert capsys.readouterr().err == word


@pytest.mark.parametrize(
    "error",
    ["GeneratorExit(1)", "type('Own', (BaseException,), {})(1)", "BrokenPipeError(1)", "SystemError(1)"],
)
def test_whatever_a_program_raises_is_shown_with_its_own_frames(capsys, program, error: str) -> None:
    path = program(f"def main(sys):\n    raise {error}\n")
    assert cli.main(["run", path]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.strip().startswith("File ")] == [
        f'  File "{path}", line 2, in main'
    ]
    assert lines[-1].endswith(": 1")


@pytest.mark.parametrize(("text", "status"), [("raise SystemExit(4)", 4), ("raise SystemExit", 0)])
def test_a_program_may_leave_while_it_is_loaded(capsys, program, text: str, status: int) -> None:
    assert cli.main(["run", program(text)]) == status
    assert capsys.readouterr().err == ""


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


def test_a_lookalike_is_a_command(capsys, program) -> None:
    """What stands behind its name is its own, also what looks like an option of ours."""
    path = program("def main(sys):\n    print(sys.argv, sys.get_mempolicy().nodemask)\n    return 5\n")
    assert cli.main(["numactl", "--membind=2", path, "--machine", "-h"]) == 5
    assert capsys.readouterr().out == "['--machine', '-h'] frozenset({2})\n"
    assert cli.main(["taskset", "1", "nosuch"]) == 127
    assert capsys.readouterr().err == "taskset: failed to execute nosuch: No such file or directory\n"
    assert cli.main(["run", "--machine", "2x64M", "numactl", "--hardware"]) == 0
    assert capsys.readouterr().out.startswith("available: 2 nodes (0-1)\n")


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


@pytest.mark.parametrize("flush", ["", ", flush=True"])
def test_a_program_whose_reader_goes_away_ends_without_a_word(program, flush: str) -> None:
    path = program(f"def main(sys):\n    while True:\n        print('x' * 1000{flush})\n")
    shell = (
        f"{sys.executable} -m numalab.tools.cli run {path} | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("141\n", "")


@pytest.mark.parametrize("argv", [["--version"], ["run", "PROGRAM"]])
def test_output_that_nobody_can_take_is_one_line(program, argv: list[str]) -> None:
    words = [program(SCENARIO, "x.scn") if word == "PROGRAM" else word for word in argv]
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "numalab.tools.cli", *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "numalab: [Errno 28] No space left on device\n")


def test_closed_descriptors_do_no_harm(program) -> None:
    path = program("def main(sys):\n    print(sys.getpid())\n    return 3\n")
    shell = f"{sys.executable} -m numalab.tools.cli run {path} >&- 2>&-; echo $?"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stdout == "3\n"


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


MOVES = """\
def main(sys):
    a = sys.mmap(8192)
    sys.memory.write(a, b"x" * 8192)
    sys.migrate_pages(0, {0}, {1})
    print("done")
"""


def test_trace_prints_events_behind_what_the_program_says(capsys, program) -> None:
    assert cli.main(["trace", "-e", "migrate:mm_*", program(MOVES)]) == 0
    captured = capsys.readouterr()
    assert captured.out == "done\n"
    lines = captured.err.splitlines()
    assert lines[2] == "# entries-in-buffer/entries-written: 2/2   #P:4"
    assert lines[12].endswith("mm_migrate_pages_start: mode=MIGRATE_SYNC reason=syscall_or_cpuset")


def test_trace_into_files(capsys, program, tmp_path) -> None:
    for name, begins in (("it.json", '{"displayTimeUnit"'), ("it.txt", "# tracer: nop")):
        path = tmp_path / name
        assert cli.main(["trace", "-o", str(path), program(MOVES)]) == 0
        assert path.read_text().startswith(begins)
        assert re.fullmatch(rf"{re.escape(str(path))}: \d+ events\n", capsys.readouterr().err)


@pytest.mark.parametrize("words", [["-e", "migrat"], ["-o", "/nowhere/it"], ["-e"]])
def test_a_trace_that_cannot_be(capsys, program, words: list[str]) -> None:
    assert cli.main(["trace", *words, *([] if words == ["-e"] else [program(MOVES)])]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_a_slip_costs_no_trace(capsys, program, tmp_path: Path) -> None:
    """What cannot be run is one line, leaves no file, and the trace of another day is still there."""
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text("dear to me")
    for words in (["-o", str(old)], ["-o", str(new)], []):
        assert cli.main(["trace", *words, "nosuch.scn"]) == 2
        assert capsys.readouterr().err == "numalab: nosuch.scn: No such file or directory\n"
    assert old.read_text() == "dear to me"
    assert not new.exists()


def test_a_shell_without_input_ends_without_a_word() -> None:
    command = f"{sys.executable} -m numalab.tools.cli <&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
