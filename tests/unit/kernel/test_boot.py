"""Booting: the least and the most that a machine can be, and what its boot parameters reach."""

import mmap

import pytest

import numalab
from numalab.syscalls.sys import Sys


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("1x1p", "1p of memory are too little"),
        ("1x3p", "give it 4p or more"),
        ("64x1p", "node 0 has frame 0 only"),
    ],
)
def test_too_little_memory_is_one_clear_line(spec: str, words: str) -> None:
    with pytest.raises(numalab.TopologyError, match=words) as caught:
        numalab.boot(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", ["1x4p", "2x2p", "64x2p", "15x1T", "quad swap=15T"])
@pytest.mark.parametrize("twins", [False, True])
def test_the_least_and_the_most_can_run_a_program(spec: str, twins: bool) -> None:
    with numalab.boot(spec, twins=twins, debug_vm=False) as machine:
        assert machine.run(lambda sys: sys.exit(7)) == 7
        if not spec.endswith("T"):  # the invariants look at every frame and slot
            machine.check_invariants()


def test_what_the_host_refuses_is_a_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", refuse)
    with pytest.raises(MemoryError, match="overcommit_memory"):
        numalab.boot("quad")


def test_sysctls_given_at_boot_hold() -> None:
    with numalab.boot(
        "quad vm.swappiness=10 vm.page-cluster=4 vm.percpu_pagelist_high_fraction=8"
    ) as machine:
        assert machine.mem.swappiness == 10

        def main(sys: Sys) -> None:
            assert sys.read_file("/proc/sys/vm/swappiness") == "10\n"
            assert sys.read_file("/proc/sys/vm/page-cluster") == "4\n"
            assert sys.read_file("/proc/sys/vm/percpu_pagelist_high_fraction") == "8\n"

        assert machine.run(main) == 0
