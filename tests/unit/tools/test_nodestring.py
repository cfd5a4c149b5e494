"""Nodes and CPUs as people write them; tests/golden/numactl has what the real ones say about mistakes."""

from __future__ import annotations

import pytest

import numalab
from numalab import Sys
from numalab.tools.numactl.libnuma import Numa
from numalab.tools.numactl.nodestring import Unparseable, parse_cpus, parse_nodes, strtoul
from numalab.tools.numactl.options import BadOption, Option, Options


@pytest.mark.parametrize(
    ("text", "value", "rest"),
    [
        ("12", 12, ""), (" 12k", 12, "k"), ("0x1fg", 31, "g"), ("010", 8, ""), ("08", 0, "8"), ("-1", 2**64 - 1, ""),
        ("+3,", 3, ","), ("x", 0, "x"), ("", 0, ""), ("99999999999999999999", 2**64 - 1, ""), ("0x", 0, "x"),
    ],
)  # fmt: skip
def test_strtoul(text: str, value: int, rest: str) -> None:
    assert strtoul(text) == (value, rest)


def test_in_a_cpuset() -> None:
    """Relative numbers count what is allowed; `all` is that; what is not allowed is out of range."""

    def main(sys: Sys) -> None:
        sys.write_file("/sys/fs/cgroup/cgroup.subtree_control", "+cpuset")
        sys.mkdir("/sys/fs/cgroup/some", 0o755)
        sys.write_file("/sys/fs/cgroup/some/cpuset.mems", "1,3")
        sys.write_file("/sys/fs/cgroup/some/cpuset.cpus", "1,3")
        sys.write_file("/sys/fs/cgroup/some/cgroup.procs", "0")
        numa = Numa(sys)
        assert parse_nodes(sys, numa, "all") == {1, 3}
        assert parse_nodes(sys, numa, "+1") == {3}
        assert parse_nodes(sys, numa, "1-3") == {1, 3}
        assert parse_nodes(sys, numa, "!1") == {0, 2, 3}  # of all that have memory
        assert parse_nodes(sys, numa, "0,2", everywhere=True) == {0, 2}
        assert parse_cpus(numa, "+0") == {1}
        assert parse_cpus(numa, "0,2", everywhere=True) == {0, 2}
        for text in ("0", "1-2", "+2"):
            with pytest.raises(Unparseable):
                parse_nodes(sys, numa, text)
            with pytest.raises(Unparseable):
                parse_cpus(numa, text)

    with numalab.boot("quad") as machine:
        assert machine.run(main) == 0


KNOWN = [Option("a", "all"), Option("m", "most", True), Option("s", "sort", argument=None), Option("x")]


@pytest.mark.parametrize(
    ("words", "found", "rest"),
    [
        ("-am1 w", [("a", None), ("m", "1")], "w"),
        ("w -a v", [("a", None)], "w v"),
        ("--most=3 --mo 4 --mo=", [("m", "3"), ("m", "4"), ("m", "")], ""),
        ("-s -s2 --sort --sort=3", [("s", None), ("s", "2"), ("s", None), ("s", "3")], ""),
        ("-a -- -x - w", [("a", None)], "-x - w"),
        ("- -x", [("x", None)], "-"),
    ],
)
def test_options(words: str, found: list[tuple[str, str | None]], rest: str) -> None:
    options = Options("p", words.split(), KNOWN)
    assert (list(options), options.rest) == (found, rest.split())


def test_options_up_to_the_first_word() -> None:
    options = Options("p", ["-a", "w", "-x"], KNOWN, in_order=True)
    assert (list(options), options.rest) == ([("a", None)], ["w", "-x"])


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("-aq", "p: invalid option -- 'q'"), ("-am", "p: option requires an argument -- 'm'"),
        ("--q=1", "p: unrecognized option '--q=1'"), ("--most", "p: option '--most' requires an argument"),
        ("--all=1", "p: option '--all' doesn't allow an argument"),
        ("--", ""),
    ],
)  # fmt: skip
def test_mistakes(capsys, words: str, error: str) -> None:
    options = Options("p", words.split(), KNOWN)
    if error:
        with pytest.raises(BadOption):
            list(options)
    else:
        assert list(options) == []
    assert capsys.readouterr().err.strip() == error
