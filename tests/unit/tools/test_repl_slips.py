"""The shell under those who mistype, mistake, or use it as another one: a clear line, and nothing is lost."""

from pathlib import Path

import pytest

from numalab.tools.repl import Shell

from tests.unit.tools.shells import shell, typed

__all__ = ["shell"]


def test_a_key_that_is_none(shell: Shell, capsys) -> None:
    out, err = typed(
        shell, capsys, "mmap a 2", "touch a w flags=x", "step fill a seed=1", "state a", "step fill a"
    )
    assert out.splitlines()[:2] == ["ret=0", "ret=0 state=.*2"]
    assert err.splitlines() == [
        "script-error=no-such-key:flags (touch has faults)", "usage: touch RANGE r|w [faults=1]",
        "script-error=no-such-key:seed (fill has none)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("mbind a bind {1} flags=move", "no-such-word:move (flags has STRICT, MOVE, MOVE_ALL)"),
        ("mmap b 2 flags=hugetlb,huge", "no-such-word:huge (flags has noreserve, populate, nonblock, "),
        ("mbind a bindd|static {1}", "no-such-word:bindd (MODE has default, preferred, bind, "),
        ("madvise a frree", "no-such-word:frree (ADVICE has normal, random, "),
        ("touch a x", "no-such-word:x (touch has r, w)"),
        ("fill a one", "no-number:one (SEED is one, such as 1)"),
        ("disks latency=5ms", "no-number:5ms (latency is one, such as 1)"),
        ("touch a w faults=yes", "no-number:yes (faults is one, such as 1)"),
        ("mmap b 4k", "no-length:4k (write 8 for pages, 100b, 64K or 2M)"),
        ("mmap b 1 off=1G", "no-length:1G (write 8 for pages, 100b, 64K or 2M)"),
        ("fill a+1:4k", "no-length:4k (write 8 for pages, 100b, 64K or 2M)"),
        ("migrate_pages self {0 {1}", "bad-mask:{0 (FROM is such as {0,2-3})"),
    ],
)
def test_a_value_that_is_none(shell: Shell, capsys, line: str, told: str) -> None:
    """The recorder counts such a word as 0, or reads it to its first wrong character."""
    out, err = typed(shell, capsys, "mmap a 2", "touch a w", line, "nodes a")
    assert out.splitlines() == ["ret=0", "ret=0", "ret=0 nodes=0*2"]
    assert err.splitlines()[0].startswith(f"script-error={told}")


@pytest.mark.parametrize(
    "line",
    [
        "mbind a bind|static {0-1,3} flags=MOVE|0x1", "mmap b 0x2 flags=populate|noreserve prot=-", "mmap b 8192b",
        "madvise a 4", "mlockall current|future", "madvise a dontneed|normal", "touch a+1:4K r faults=1",
        "mbind a default {}", "sleep 1", "mmap b max", "rlimit_memlock max",
    ],
)  # fmt: skip
def test_values_that_are_some(shell: Shell, capsys, line: str) -> None:
    out, err = typed(shell, capsys, "mmap a 2", line)
    assert (err, out.count("ret=")) == ("", 2)


def test_an_obstacle_in_the_whole_address_space(shell: Shell, capsys) -> None:
    """Nobody looks through the 2**52 pages of it, nor behind the areas' ends."""
    out, _ = typed(shell, capsys, "mmap a 8", "touch a+2:3 w", "obstacle lock a+3", "obstacle pin null:max",
                   "obstacle lock a+1:3", "clear", "verify a:1")  # fmt: skip
    pinned = int(out.splitlines()[3].removeprefix("ret=0 pages="))
    assert pinned > 3
    assert out.splitlines()[4] == "ret=0 pages=1"


def test_who_is_not_there(shell: Shell, capsys) -> None:
    out, err = typed(shell, capsys, "spawn p", "p: exit", "p: getcpu")
    assert (out, err) == ("ret=0\nret=0\n", "p: no such process (there are main)\n")


def test_nothing_to_undo(shell: Shell, capsys) -> None:
    assert typed(shell, capsys, "back") == (
        "",
        "there is nothing to undo: nothing has been done since boot\n",
    )


@pytest.mark.parametrize("command", ["ps", "ledger"])
def test_words_that_mean_nothing(shell: Shell, capsys, command: str) -> None:
    assert typed(shell, capsys, f"{command} x") == ("", f"usage: {command}\n")


def test_names_of_files_may_be_quoted(shell: Shell, capsys, tmp_path: Path) -> None:
    typed(shell, capsys, "getcpu", f'record "{tmp_path}/a b"', f'export "{tmp_path}/c d"')
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a b", "c d"]
    _, err = typed(shell, capsys, 'record ""', 'export ""')
    assert err == "usage: record FILE\nusage: export DIR\n"
    out, _ = typed(shell, capsys, "machine 'numa=fake=2 mem=64M'")
    assert out.count("32 MiB") == 1


def test_there_is_no_clipboard(shell: Shell, capsys, tmp_path: Path) -> None:
    """cmd2 would tell in seven lines what to install."""
    _, err = typed(shell, capsys, f"record {tmp_path}/x >")
    assert err.count("\n") == 1


def test_cat_keeps_empty_lines_and_bars(shell: Shell, capsys, tmp_path: Path) -> None:
    code = "sys.write(sys.open('/tmp/f', 0o101, 0o666), b'a\\n\\n b|c\\n\\n\\nend\\n')"
    out, _ = typed(
        shell, capsys, f"py {code}", "cat /tmp/f", "cat /tmp/f | wc -l", "cat /tmp/f grep=b", "spawn p"
    )
    assert out == "14\na\n\n b|c\n\n\nend\n6\n b|c\nret=0\n"
    assert typed(shell, capsys, "file /tmp/empty 0", "cat /tmp/empty")[0] == "ret=0\n"
    code = "sys.write(sys.open('/tmp/f', 1), b'script-error=')"
    assert typed(shell, capsys, f"py {code}", "cat /tmp/f grep=script")[0] == "13\nscript-error=\n"


def test_a_long_file_is_shown_to_its_end(shell: Shell, capsys) -> None:
    out, _ = typed(shell, capsys, "py f = sys.open('/tmp/f', 0o101, 0o666)", "py sys.write(f, b'0123456789\\n' * 9000)",
                   "cat /tmp/f | tail -n1 | wc -c", "cat /tmp/f | wc -l")  # fmt: skip
    assert out.split() == ["99000", "11", "9000"]


def test_python_may_close_its_output(shell: Shell, capsys) -> None:
    out, err = typed(shell, capsys, "py import sys as host; print(1); host.stdout.close()", "py 2")
    assert (out, err) == ("1\n2\n", "")


def test_a_trace_that_is_on_is_not_lost(shell: Shell, capsys, tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    _, err = typed(shell, capsys, f"trace on {first}", f"trace on {second}", "trace on")
    assert err == "events are being recorded already; end it with: trace off\n" * 2
    typed(shell, capsys, "getcpu", "back")
    assert first.read_text().startswith("{")
    typed(shell, capsys, f"trace on {second}", "machine dual")
    assert second.read_text().startswith("{")
    third = tmp_path / "c.txt"
    typed(shell, capsys, f"trace on {third}")
    shell.session.close()
    assert third.read_text().startswith("# tracer")


def test_what_ends_with_its_machine_is_said(shell: Shell, capsys) -> None:
    ended = [f"{name} is off: it ended with its machine" for name in ("strace", "trace")]
    out, _ = typed(shell, capsys, "getcpu", "strace on -c", "trace on", "back")
    assert out.splitlines()[1:] == ["undone: getcpu", *ended]
    out, _ = typed(shell, capsys, "strace on", "trace on", "machine dual")
    assert out.splitlines()[:-1] == ended
    out, _ = typed(
        shell, capsys, "strace on", "strace off", "trace on", "trace off", "machine 3x64M", "machine"
    )
    assert "is off" not in out


def test_where_a_trace_cannot_go_is_said_at_once(shell: Shell, capsys, tmp_path: Path) -> None:
    out, err = typed(shell, capsys, f"trace on {tmp_path}", "trace off")
    assert out == ""
    assert err.splitlines() == [
        f"{tmp_path}: Is a directory",
        "nothing has been traced yet; begin with: trace on",
    ]


def test_behind_a_pipe_may_be_anything(shell: Shell, capsys) -> None:
    out, err = typed(
        shell, capsys, "getcpu | printf '\\377'", "getcpu | true", "getcpu | nosuch 2>/dev/null", "getcpu"
    )
    assert (out, err) == ("\N{REPLACEMENT CHARACTER}\nret=0 node=0\n", "")


def test_the_table_of_nodes_goes_through_pipes(shell: Shell, capsys, tmp_path: Path) -> None:
    typed(shell, capsys, f"nodes > {tmp_path}/it", "alias create n nodes")
    table = (tmp_path / "it").read_text()
    assert table.startswith("node  CPUs")
    assert typed(shell, capsys, "nodes", "n", "nodes # all") == (table * 3, "")


def test_what_nobody_expected_is_one_line(shell: Shell, capsys, monkeypatch) -> None:
    """Also in what cmd2 brings along."""
    assert typed(shell, capsys, "history 999") == ("", "IndexError: list index out of range\n")
    monkeypatch.setattr(shell.session, "operate", lambda text: {}["that"])
    assert typed(shell, capsys, "getcpu", "engine") == ("batched\n", "KeyError: 'that'\n")
