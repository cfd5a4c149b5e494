"""The shell: what a person types, what comes back."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from numalab.tools.repl import Shell
from numalab.tools.scn.ops import OPERATIONS
from numalab.tools.scn.ops.examples import EXAMPLES

from tests.unit.tools.shells import shell, typed

__all__ = ["shell"]


def test_operations_keep_their_grammar(shell: Shell, capsys) -> None:
    out, err = typed(
        shell, capsys, "mmap a 4 # four pages", "fill a 1", "mbind a bind {1} flags=MOVE|STRICT", "nodes a"
    )
    assert out.splitlines() == ["ret=0", "ret=0", "ret=0", "ret=0 nodes=1*4"]
    assert err == ""


def test_an_error_comes_with_the_usage(shell: Shell, capsys) -> None:
    out, err = typed(shell, capsys, "touch nosuch r")
    assert out == ""
    assert err.splitlines() == ["script-error=no-such-region:nosuch", "usage: touch RANGE r|w [faults=1]"]


def test_an_unknown_word(shell: Shell, capsys) -> None:
    _, err = typed(shell, capsys, "frobnicate")
    assert err == "frobnicate: no such operation or command (help lists them)\n"


@pytest.mark.parametrize("line", ["echo always > {}", "echo always >> {}", "echo always | tee {}"])
def test_an_unknown_word_leaves_the_files_of_the_host_alone(
    shell: Shell, capsys, tmp_path: Path, line: str
) -> None:
    """Whoever types `echo 0 > /sys/...` as in another shell means a file of the machine."""
    file = tmp_path / "mine"
    file.write_text("text")
    _, err = typed(shell, capsys, line.format(file))
    assert err == "echo: no such operation or command (help lists them)\n"
    assert file.read_text() == "text"


def test_comments_and_empty_lines(shell: Shell, capsys) -> None:
    assert typed(shell, capsys, "# nothing", "") == ("", "")


def test_python_is_taken_as_typed(shell: Shell, capsys) -> None:
    assert typed(shell, capsys, 'py "a|b;c" > "a"', "py sorted({2, 1})") == ("True\n[1, 2]\n", "")


def test_help_for_an_operation(shell: Shell, capsys) -> None:
    out, _ = typed(shell, capsys, "help mbind")
    assert "Set the policy of a range" in out
    assert "mbind RANGE MODE MASK" in out
    out, _ = typed(shell, capsys, "help nodes")
    assert "nodes RANGE\n       nodes  " in out


def test_machines(shell: Shell, capsys) -> None:
    out, err = typed(shell, capsys, "machine dual", "machine nonsense", "machine")
    assert out.splitlines() == ["machine dual; nodes 0,1: 512 MiB, 2 CPUs"] * 2
    assert "'nonsense' is unknown" in err
    assert shell.prompt == "dual> "


def test_engines_and_their_ledger(shell: Shell, capsys) -> None:
    out, err = typed(shell, capsys, "ledger", "engine", "engine swap", "engine fast")
    assert out == "batched\nswap\n"
    assert (
        err
        == "nothing has been migrated yet\nmigration engine 'fast' is unknown: use batched, direct, swap\n"
    )
    out, _ = typed(shell, capsys, "mmap a 4", "fill a 1", "migrate_pages self {0} {1}", "state a", "ledger")
    assert "state=S*4" in out
    assert "pass 0 " in out
    assert "writing" in out


def test_regions_need_a_process(shell: Shell, capsys) -> None:
    _, err = typed(shell, capsys, "regions nobody")
    assert err == "nobody: no such process (there are main)\n"


def test_a_map_needs_a_view(shell: Shell, capsys) -> None:
    _, err = typed(shell, capsys, "map colour")
    assert err == "colour: no such view (there are owner, policy, age, state)\n"


def test_history_has_operations(shell: Shell, capsys) -> None:
    out, _ = typed(shell, capsys, "mmap a 4", "history")
    assert "mmap a 4" in out


def test_exit_of_main_ends_the_shell(shell: Shell, capsys) -> None:
    assert shell.onecmd_plus_hooks("spawn p") is False
    assert shell.onecmd_plus_hooks("p: exit") is False
    assert shell.onecmd_plus_hooks("exit") is True


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise SystemExit(3)", "SystemExit: 3\n"),
        ("exit(3)", "SystemExit: 3\n"),
        ("raise GeneratorExit", "GeneratorExit\n"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt\n"),
        ("sys.read(sys.pipe().fds[0], 1)", "KeyboardInterrupt\n"),
        ("sys.exit(3)", "main has ended with status 3; a new one has been started\n"),
        ("sys.kill(sys.getpid(), 9)", "main was killed by SIGKILL; a new one has been started\n"),
        ("sys.execve(lambda new: 5)", "main has ended with status 5; a new one has been started\n"),
    ],
)
def test_no_end_of_python_code_ends_the_shell(shell: Shell, capsys, code: str, said: str) -> None:
    typed(shell, capsys, "mmap a 4", "spawn p")
    assert shell.onecmd_plus_hooks(f"py {code}") is False
    assert capsys.readouterr().err == said
    out, _ = typed(shell, capsys, "py print(2)", "getcpu", "p: nodes a", "py machine.check_invariants()")
    assert out.splitlines() == ["2", "ret=0 node=0", "ret=0 nodes=-ENOENT*4", "[]"]


def test_what_has_been_printed_before_the_end_is_shown(shell: Shell, capsys) -> None:
    _, err = typed(shell, capsys, "py print('last words'); sys.exit(3)")
    assert err.splitlines()[0] == "last words"


def test_a_main_that_an_operation_ended_is_replaced(shell: Shell, capsys) -> None:
    out, err = typed(shell, capsys, "state null:max", "getcpu")
    assert out.splitlines() == ["timeout", "ret=0 node=0"]
    assert err == "main took too long; a new one has been started\n"


def test_no_room_for_another_main(shell: Shell, capsys) -> None:
    _, err = typed(shell, capsys, "write /proc/sys/kernel/threads-max 1", "py sys.exit(0)", "getcpu", "py 1")
    assert set(err.splitlines()) == {"main has ended with status 0; there is no room for a new one"}
    assert typed(shell, capsys, "machine dual", "getcpu")[0].endswith("ret=0 node=0\n")


def test_a_machine_without_room_for_the_shell(shell: Shell, capsys) -> None:
    _, err = typed(shell, capsys, "machine 1x8p")
    assert err == "machine '1x8p' is too small for a process of the shell\n"
    assert shell.prompt == "quad> "


@pytest.mark.parametrize("name", ["main", "p", "nobody"])
def test_a_process_without_an_operation(shell: Shell, capsys, name: str) -> None:
    typed(shell, capsys, "spawn p")
    out, err = typed(shell, capsys, f"{name}:", f"{name}:  # nothing")
    assert (out, set(err.splitlines())) == ("", {f"usage: {name}: OPERATION, such as: {name}: getcpu"})
    assert typed(shell, capsys, "getcpu", "p: getcpu")[0] == "ret=0 node=0\n" * 2


def test_any_bytes_may_be_typed(shell: Shell, capsys) -> None:
    line = b"\xff\xfe\x00 caf\xc3\xa9".decode(errors="surrogateescape")
    for word in ("", "getcpu ", "main: ", "mmap ", "py ", "map ", "machine ", "engine ", "help "):
        assert shell.onecmd_plus_hooks(word + line) is False
    capsys.readouterr()
    _, err = typed(shell, capsys, "touch caf\N{LATIN SMALL LETTER E WITH ACUTE} r")
    assert err.splitlines()[0] == "script-error=no-such-region:caf\N{LATIN SMALL LETTER E WITH ACUTE}"
    assert typed(shell, capsys, "getcpu")[0] == "ret=0 node=0\n"


class Terminal:
    """The shell as a process of its own, for what a terminal sends."""

    def __init__(self) -> None:
        # Whoever runs the tests in the background ignores the signal, and so would the shell.
        code = (
            "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
            "from numalab.tools import cli; sys.exit(cli.main([]))"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")


FOREVER = "for _ in iter(int, 1)"


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("while True: pass", "KeyboardInterrupt"),
        ("while True: sys.getpid()", "KeyboardInterrupt"),
        ("while True: sys.memory.touch(a)", "KeyboardInterrupt"),
        ("import time; time.sleep(100)", "KeyboardInterrupt"),
        (f"sys.fork(lambda s: [s.getpid() {FOREVER}]); sys.wait()", "KeyboardInterrupt"),
        (
            f"sys.fork(lambda s: [0 {FOREVER}]); sys.wait()",
            "ChildProcessError: [Errno 10] No child processes",
        ),
    ],
)
def test_control_c_ends_a_line_of_python_and_nothing_else(code: str, answer: str) -> None:
    terminal = Terminal()
    with terminal.process as process:
        terminal.type("py a = sys.mmap(4096)")
        terminal.type("py import threading, os")
        # The signal comes while the line runs, wherever that happens to be at the moment.
        terminal.type("py threading.Timer(0.3, lambda: os.kill(os.getpid(), 2)).start(); print('on')")
        assert terminal.read() == "on"
        terminal.type(f"py {code}")
        assert terminal.read() == answer
        terminal.type("getcpu")
        assert terminal.read() == "ret=0 node=0"
        terminal.type("py machine.check_invariants()")
        assert terminal.read() == "[]"
        terminal.type("exit")
        assert terminal.read() == "ret=0"
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("mma", ["mmap"]),
        ("mbind a bi", ["bind"]),
        ("mbind a bind {0} flags=MOVE|ST", ["STRICT"]),
        ("hel", ["help"]),
    ],
)
def test_completion(shell: Shell, line: str, completed: list[str]) -> None:
    shell.onecmd_plus_hooks("mmap a 4")
    # The word that the terminal asks about begins behind the last blank or bar.
    text = line[max(line.rfind(" "), line.rfind("|")) + 1 :]
    found = shell.complete(text, line, len(line) - len(text), len(line))
    assert found.to_strings() == tuple(completed)


def test_a_step_shows_itself_in_the_prompt(shell: Shell, capsys) -> None:
    typed(shell, capsys, "mmap a 2", "fill a 1", "step migrate_pages self {0} {1}")
    assert shell.prompt == "quad (unmap a+0)> "
    out, err = typed(shell, capsys, "step", "touch a w", "py 1")
    assert out.startswith("unmap  a+0      migration entry (write): ")
    said = "step, or step end; walk, map, ps and explain look at it meanwhile"
    assert err.splitlines() == [f"`migrate_pages self {{0}} {{1}}` is not done: {said}"] * 2
    out, _ = typed(shell, capsys, "step end", "nodes a")
    assert out.splitlines() == ["ret=0", "ret=0 nodes=1*2"]
    assert shell.prompt == "quad> "


@pytest.mark.parametrize("line", ["step exit", "step main: exit"])
def test_an_exit_that_is_stepped_through_ends_the_shell(shell: Shell, line: str) -> None:
    assert shell.onecmd_plus_hooks(line) is True


def test_an_alias_of_exit_ends_the_shell(shell: Shell) -> None:
    shell.onecmd_plus_hooks("alias create bye exit")
    assert shell.onecmd_plus_hooks("bye") is True


def test_a_main_that_a_step_ended_is_replaced(shell: Shell, capsys) -> None:
    out, err = typed(shell, capsys, "step state null:max", "getcpu")
    assert out.splitlines() == ["timeout", "ret=0 node=0"]
    assert err == "main took too long; a new one has been started\n"


def test_nothing_to_step_through(shell: Shell, capsys) -> None:
    _, err = typed(shell, capsys, "step")
    assert err == "nothing to go on with; begin with: step migrate_pages self {0} {1}\n"
    _, err = typed(shell, capsys, "step nobody: getcpu")
    assert err == "nobody: no such process (there are main)\n"


def test_back_and_record(shell: Shell, capsys, tmp_path: Path) -> None:
    file = tmp_path / "mine.scn"
    out, _ = typed(
        shell,
        capsys,
        "mmap a 2",
        "fill a 1",
        "engine direct",
        "step migrate_pages self {0} {1}",
        "back",
        "nodes a",
    )
    assert out.splitlines()[-2:] == ["undone: step migrate_pages self {0} {1}", "ret=0 nodes=0*2"]
    out, err = typed(shell, capsys, f"record {file}", f"record {file}", "back 9")
    assert out == "3 operations\n"
    assert err.splitlines() == [f"{file}: File exists", "back goes 1 to 4 steps, that is how many there were"]
    assert file.read_text() == "# machine quad\nmmap a 2\nfill a 1\n# engine direct\nnodes a\n"


def test_nodes_and_processes(shell: Shell, capsys) -> None:
    out, _ = typed(shell, capsys, "nodes", "spawn p", "p: setaffinity cpu=2", "ps")
    lines = out.splitlines()
    assert lines[1].split() == ["0", "0", "512", "MiB", "52", "KiB", "10", "20", "20", "20"]
    assert [line.split()[1:3] for line in lines[-2:]] == [["main", "0"], ["p", "2"]]


def test_pipes_and_aliases(shell: Shell, capsys) -> None:
    out, err = typed(
        shell,
        capsys,
        "mmap a 4",
        "fill a 1",
        "nodes a | tr 0 o | cut -d= -f3",
        "alias create where nodes a+0:2",
        "where",
    )
    assert out.splitlines()[2:] == ["o*4", "Alias 'where' created", "ret=0 nodes=0*2"]
    assert err == ""


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_example_works(shell: Shell, capsys, name: str) -> None:
    prepared = {
        "mkdir": "rmdir /sys/fs/cgroup/g", "umount": "mount_tmpfs /media", "swapon": "swapoff",
        "set_home_node": "mbind a bind {0,1}",
    }  # fmt: skip
    before = ("mmap a 8", "fill a 7", "file /tmp/f 8", "file /mnt/f 8", "mkdir /sys/fs/cgroup/g")
    typed(shell, capsys, *before, *([prepared[name]] if name in prepared else []))
    out, err = typed(shell, capsys, EXAMPLES[name])
    assert out.startswith("Mems_allowed_list:" if name == "cat" else "ret=")
    assert "err=" not in out
    if name != "exit":
        assert err == ""
    out, _ = typed(shell, capsys, f"help {name}")
    assert f"Example: {EXAMPLES[name]}" in out


def test_export(shell: Shell, capsys, tmp_path: Path) -> None:
    assert typed(shell, capsys, "mmap a 3", "touch a w", f"export {tmp_path}/m")[1] == ""
    assert "N0=3" in "".join(path.read_text() for path in tmp_path.glob("m/proc/*/numa_maps"))
    assert typed(shell, capsys, f"export {tmp_path}/m") == ("", f"{tmp_path}/m is not empty\n")
    assert typed(shell, capsys, "export")[1] == "usage: export DIR\n"


def test_cat_shows_a_file_as_it_is(shell: Shell, capsys) -> None:
    out, _ = typed(shell, capsys, "cat /proc/buddyinfo")
    assert out == shell.session.machine.read_file("/proc/buddyinfo")
    out, _ = typed(
        shell, capsys, "spawn p", "p: cat /proc/self/status grep=Mems_allowed_list", "cat /proc/nothing"
    )
    assert out.splitlines() == ["ret=0", "Mems_allowed_list:\t0-3", "ret=-1 err=ENOENT"]
    out, _ = typed(shell, capsys, "cat /proc/meminfo | grep MemTotal")
    assert out == "MemTotal:        2097148 kB\n"


def test_lookalikes_are_children_of_main(shell: Shell, capsys) -> None:
    """They get its policy, and leave nothing behind."""
    out, err = typed(shell, capsys, "set_mempolicy bind {2}", "numactl --show", "numactl -m 1 numactl -s")
    assert [line for line in out.splitlines() if line.startswith(("policy", "membind", "physcpubind"))] == [
        "policy: bind", "physcpubind: 0 ", "membind: 2 ", "policy: bind", "physcpubind: 0 ", "membind: 1 ",
    ]  # fmt: skip
    assert err == ""
    out, _ = typed(shell, capsys, "ps")
    assert len(out.splitlines()) == 2


def test_lookalikes_act_on_the_live_machine(shell: Shell, capsys) -> None:
    pid = shell.session.runner.main.pid
    lines = [
        f"migratepages {pid} 0 3",
        "nodes a",
        f"taskset -p {pid}",
        f"taskset -cp 1-2 {pid}",
        "getaffinity",
    ]
    out, err = typed(shell, capsys, "mmap a 8", "touch a w", *lines[:4])
    assert err == ""
    assert out.splitlines() == [
        "ret=0", "ret=0", "ret=0 nodes=3*8", f"pid {pid}'s current affinity mask: 1",
        f"pid {pid}'s current affinity list: 0", f"pid {pid}'s new affinity list: 1,2",
    ]  # fmt: skip


def test_a_lookalike_runs_a_program_of_the_host(shell: Shell, capsys, tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text(
        "def main(sys):\n    print(sys.argv, sorted(sys.get_mempolicy().nodemask))\n"
    )
    out, err = typed(shell, capsys, f"numactl --membind=1,3 {tmp_path}/p.py one -m 2")
    assert (out, err) == ("['one', '-m', '2'] [1, 3]\n", "")
    _, err = typed(shell, capsys, f"numactl -m 1 {tmp_path}/nosuch.py")
    assert err == f"numactl: execution of `{tmp_path}/nosuch.py': No such file or directory\n"


@pytest.mark.parametrize("text", ["", "main = 3", "async def main(sys): pass"])
def test_a_file_that_is_no_program(shell: Shell, capsys, tmp_path: Path, text: str) -> None:
    path = tmp_path / "it.py"
    path.write_text(text)
    for command in ("numactl -m 1", "taskset 1"):
        _, err = typed(shell, capsys, f"{command} {path}")
        assert len(err.split("\n")) <= 3
        assert "Error" not in err
        assert "main" in err or "function" in err


def test_a_lookalike_is_undone_and_redone(shell: Shell, capsys) -> None:
    pid = shell.session.runner.main.pid
    _, err = typed(
        shell, capsys, "mmap a 8", "touch a w", f"migratepages {pid} 0 3", "memhog 9g", "numactl -x"
    )
    assert "Cannot allocate memory" in err
    out, err = typed(shell, capsys, "back 1", "nodes a", "back 3", "nodes a")
    assert out == (
        f"undone: numactl -x\nret=0 nodes=3*8\nundone: migratepages {pid} 0 3\nundone: memhog 9g\nundone: nodes a\n"
        "ret=0 nodes=0*8\n"
    )
    assert err == ""


def test_a_lookalike_that_is_killed(shell: Shell, capsys) -> None:
    typed(shell, capsys, "machine 2x64M")
    out, err = typed(shell, capsys, "memhog 160m membind 1", "ps")
    assert err == "Killed\n"
    assert out.startswith("......")
    assert len(out.splitlines()) == 2  # those of ps; the dots were not ended


def test_a_lookalike_waits_for_the_end_of_a_step(shell: Shell, capsys) -> None:
    _, err = typed(shell, capsys, "mmap a 8", "touch a w", "step migrate_pages self {0} {1}", "numactl -s")
    assert "is not done" in err


def test_ctrl_c_ends_a_lookalike(shell: Shell, capsys) -> None:
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    _, err = typed(shell, capsys, "memhog -r1000000 64m")
    assert err == "Interrupt\n"
    out, _ = typed(shell, capsys, "getcpu")
    assert out.startswith("ret=")


def test_ctrl_c_ends_a_program_of_the_host(shell: Shell, capsys, tmp_path: Path) -> None:
    path = tmp_path / "loop.py"
    path.write_text("import time\ndef main(sys):\n    while True:\n        time.sleep(0.01)\n")
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    _, err = typed(shell, capsys, f"numactl -m 1 {path}")
    assert err == "Interrupt\n"
    assert typed(shell, capsys, "getcpu", "py machine.check_invariants()") == ("ret=0 node=0\n[]\n", "")


def test_ctrl_c_is_for_the_command_behind_a_pipe(shell: Shell, capsys) -> None:
    out, err = typed(shell, capsys, "getcpu | (kill -INT $PPID; sleep 0.1; echo on)", "getcpu")
    assert (out, err) == ("on\nret=0 node=0\n", "")


def test_trace(shell: Shell, capsys, tmp_path) -> None:
    path = tmp_path / "it.json"
    out, err = typed(
        shell, capsys, "mmap a 3", "fill a 1", f"trace on -e migrate {path}", "mbind a bind {1} flags=MOVE"
    )
    assert err == ""
    out, err = typed(shell, capsys, "trace show")
    assert out.count("set_migration_pte: addr=") == 3
    out, err = typed(shell, capsys, "trace off")
    assert out == f"{path}: 8 events\n"
    assert path.read_text().startswith("{")
    out, err = typed(shell, capsys, "mbind a bind {2} flags=MOVE", "trace show", "trace off")
    assert out.count("set_migration_pte: addr=") == 3
    assert out.endswith("\n8 events\n")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("trace", "usage: trace on"),
        ("trace of", "usage: trace on"),
        ("trace off", "nothing has been traced yet"),
        ("trace on -e nosuch", "'nosuch' is unknown"),
        ("trace on a b", "unrecognized arguments: b"),
        ("trace on '", "No closing quotation"),
    ],
)
def test_a_trace_that_cannot_be(shell: Shell, capsys, line: str, said: str) -> None:
    out, err = typed(shell, capsys, line)
    assert (out, err.count("\n")) == ("", 1)
    assert said in err
