"""The C library of a machine: what ctypes does with arguments and results, and what becomes of the memory."""

from __future__ import annotations

import ctypes
import errno
import os
from ctypes import byref, c_char, c_int, c_long, c_size_t, c_ulong, c_void_p
from typing import Any

import numpy as np
import pytest
from numpy.ctypeslib import ndpointer

from numalab.kernel.machine import Machine
from numalab.syscalls.libc import Libc, LibcFunction
from numalab.syscalls.sys import Main, Sys

PAGE = 4096
MOVE_PAGES, MBIND, GET_MEMPOLICY, GETPID = 279, 237, 239, 39


def prepared(libc: Any) -> Any:
    """With the prototypes that a careful program declares."""
    libc.syscall.restype = c_long
    libc.mmap.restype = c_void_p
    libc.mmap.argtypes = [c_void_p, c_size_t, c_int, c_int, c_int, c_long]
    libc.memmove.argtypes = [c_void_p, c_void_p, c_size_t]
    libc.memset.argtypes = [c_void_p, c_int, c_size_t]
    return libc


def run(machine: Machine, main: Main) -> None:
    assert machine.run(main) == 0


def test_pages_are_moved_by_the_code_that_moves_them_on_a_host(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        libc = prepared(sys.libc)
        start = libc.mmap(None, 4 * PAGE, 3, 0x22, -1, 0)
        libc.memset(start, 7, 4 * PAGE)
        pages = (c_void_p * 4)(*range(start, start + 4 * PAGE, PAGE))
        nodes, status = (c_int * 4)(1, 2, 3, 9), (c_int * 4)(*[-77] * 4)
        assert libc.syscall(MOVE_PAGES, 0, c_ulong(4), pages, nodes, status, 0) == -1
        assert ctypes.get_errno() == errno.ENODEV
        nodes[3] = 0
        assert libc.syscall(MOVE_PAGES, 0, c_ulong(4), pages, nodes, status, 0) == 0
        assert list(status) == [1, 2, 3, 0]
        assert sys.move_pages(0, list(pages)).status == [1, 2, 3, 0]

    run(machine, main)


def test_masks_go_in_and_come_out(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        libc = prepared(sys.libc)
        start = libc.mmap(None, PAGE, 3, 0x22, -1, 0)
        mask, mode = (c_ulong * 16)(0b100), c_int(-1)
        assert libc.syscall(MBIND, c_void_p(start), c_ulong(PAGE), 2, mask, c_ulong(1025), 0) == 0
        found = (c_ulong * 16)()
        where = c_void_p(start)
        assert libc.syscall(GET_MEMPOLICY, byref(mode), found, c_ulong(1024), where, c_ulong(2)) == 0
        assert (mode.value, found[0]) == (2, 0b100)
        # The same under its own name, with a pointer and with what cast() makes of an array.
        found[0] = 0
        as_longs = ctypes.cast(found, ctypes.POINTER(c_ulong))
        assert libc.get_mempolicy(ctypes.pointer(mode), as_longs, c_ulong(1024), where, 2) == 0
        assert found[0] == 0b100
        found[0] = 0
        assert libc.get_mempolicy(None, ctypes.cast(found, c_void_p), c_ulong(1024), where, 2) == 0
        assert found[0] == 0b100

    run(machine, main)


def test_arrays_of_numpy(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        libc = prepared(sys.libc)
        start = libc.mmap(None, 3 * PAGE, 3, 0x22, -1, 0)
        libc.memset(start, 1, 2 * PAGE)
        pages = start + PAGE * np.arange(3, dtype=np.uint64)
        status = np.full(3, 99, np.int32)
        ask = (0, c_ulong(3), pages.ctypes.data_as(c_void_p), None)
        assert libc.move_pages(*ask, status.ctypes, 0) == 0
        assert status.tolist() == [0, 0, -errno.ENOENT]
        status[:] = 99
        assert libc.move_pages(*ask, status.ctypes.data_as(ctypes.POINTER(c_int)), 0) == 0
        assert status.tolist() == [0, 0, -errno.ENOENT]
        libc.move_pages.argtypes = [c_int, c_ulong, c_void_p, c_void_p, ndpointer(np.int32), c_int]
        status[:] = 99
        assert libc.move_pages(*ask, status, 0) == 0
        assert status.tolist() == [0, 0, -errno.ENOENT]
        with pytest.raises(ctypes.ArgumentError, match="argument 5"):
            libc.move_pages(*ask, pages, 0)
        # An address is a number, and this one is none of the machine's.
        libc.move_pages.argtypes = None
        assert libc.move_pages(0, c_ulong(3), c_void_p(pages.ctypes.data), None, status.ctypes, 0) == -1
        assert ctypes.get_errno() == errno.EFAULT

    run(machine, main)


def test_a_buffer_that_is_too_short_is_found(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        libc = prepared(sys.libc)
        with pytest.raises(BufferError, match="c_ulong of 8 bytes"):
            libc.syscall(GET_MEMPOLICY, None, byref(c_ulong()), c_ulong(1024), None, 0)
        with pytest.raises(BufferError, match=r"set_mempolicy: nodemask has 8 bytes, .* told to read 128"):
            libc.syscall(238, 2, byref(c_ulong(1)), c_ulong(1025))
        with pytest.raises(BufferError, match=r"move_pages: nodes has 4 bytes, .* told to read 8"):
            libc.move_pages(0, c_ulong(2), (c_void_p * 2)(), (c_int * 1)(), (c_int * 2)(), 0)
        assert libc.set_mempolicy(2, byref(c_ulong(1)), c_ulong(65)) == 0
        with pytest.raises(BufferError, match="10 bytes are asked for"):
            libc.memmove((c_char * 4)(), sys.mmap(PAGE), 10)

    run(machine, main)


def test_memory_is_read_and_written_by_the_c_library(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        libc = prepared(sys.libc)
        start = libc.mmap(None, 2 * PAGE, 3, 0x22, -1, 0)
        assert libc.memmove(start, b"hello", 5) == c_int(start).value
        libc.memset(start + 5, ord("!"), 2)
        into = ctypes.create_string_buffer(16)
        libc.memmove(into, start, 7)
        assert into.raw == b"hello!!" + bytes(9)
        libc.memmove(start + 1, start, 7)
        assert sys.memory.read(start, 9) == b"hhello!!\0"
        part = (c_char * 4).from_buffer(data := bytearray(8), 2)
        libc.memmove(part, start, 4)
        assert data == b"\0\0hhel\0\0"
        libc.memmove(byref(into, 8), start, 2)
        assert into.raw[7:11] == b"\0hh\0"

    run(machine, main)


def test_a_bad_address_is_a_signal(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        prepared(sys.libc).memset(4096, 0, 1)

    assert machine.run(main) == -11


def test_the_c_library_keeps_c_s_mistakes(machine: Machine) -> None:
    """Without prototypes addresses are cut to 32 bits: what fails on a host must not pass here."""

    def main(sys: Sys) -> None:
        libc = sys.libc
        start = sys.mmap(PAGE)
        assert start > 1 << 32
        assert libc.mbind(start, PAGE, 0, None, 0, 0) == -1
        assert libc.mbind(c_void_p(start), c_ulong(PAGE), 0, None, 0, 0) == 0
        assert libc.mmap(None, PAGE, 3, 0x22, -1, 0) == c_int(start - PAGE).value
        assert libc.mmap(None, 0, 3, 0x22, -1, 0) == -1
        assert prepared(libc).mmap(None, 0, 3, 0x22, -1, 0) == (1 << 64) - 1

    run(machine, main)


def test_arguments_are_what_they_are_for_ctypes(machine: Machine) -> None:
    """Each is tried on the host's C library as well."""
    host = ctypes.CDLL(None, use_errno=True)

    class Given:
        _as_parameter_ = 5

    def main(sys: Sys) -> None:
        libc = sys.libc
        for good in (None, 0, -1, (1 << 64) - 1, b"x", c_int(4), byref(c_int()), (c_int * 3)(), Given(),
                     c_char(b"a"), ctypes.c_char_p(b"x"), ctypes.c_char_p(None), ctypes.POINTER(c_int)()):  # fmt: skip
            assert libc.syscall(GETPID, good) == sys.getpid()
            assert host.syscall(GETPID, good) == os.getpid()
        for bad in (1.5, 1 << 64, -(1 << 63) - 1, bytearray(b"x"), [1], object()):
            for each in (libc, host):
                with pytest.raises(ctypes.ArgumentError, match="argument 2"):
                    each.syscall(GETPID, bad)
        for each in (libc, host):
            function = each["syscall"]
            function.argtypes = [c_long, ctypes.POINTER(c_ulong)]
            assert function(GETPID, (c_ulong * 2)()) in (sys.getpid(), os.getpid())
            for bad in (5, b"x", (c_int * 2)()):
                with pytest.raises(ctypes.ArgumentError, match="argument 2"):
                    function(GETPID, bad)
            with pytest.raises(TypeError, match="at least 2 arguments"):
                function(GETPID)
            function.argtypes = [c_long]
            assert function(GETPID, 7) in (sys.getpid(), os.getpid())

    run(machine, main)


def test_results_are_what_ctypes_makes_of_them(machine: Machine) -> None:
    class Mine(c_int):
        pass

    def main(sys: Sys) -> None:
        libc = sys.libc
        for restype, expected in ((c_void_p, sys.getpid()), (None, None), (str, str(sys.getpid()))):
            function = libc["getpid"]
            function.restype = restype
            assert function() == expected
        function.restype = Mine
        assert function().value == sys.getpid()
        function.errcheck = lambda result, made_by, args: (result.value, made_by is function, args)
        assert function(1) == (sys.getpid(), True, (1,))

    run(machine, main)


def test_prototypes_of_the_real_library_are_taken_over(machine: Machine) -> None:
    real = prepared(ctypes.CDLL(None, use_errno=True))

    def main(sys: Sys) -> None:
        libc = Libc(lambda work: work(sys), like=real)
        assert libc.mmap(None, PAGE, 3, 0x22, -1, 0) > 1 << 32
        assert libc.getpid.restype is c_int
        alone = LibcFunction(lambda work: work(sys), "mmap", real.mmap)
        assert alone(None, PAGE, 3, 0x22, -1, 0) > 1 << 32

    run(machine, main)


def test_which_functions_there_are(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        libc = sys.libc
        assert libc.getpid is libc.getpid
        assert libc["getpid"] is not libc["getpid"]
        assert (libc.getpagesize(), libc.sched_getcpu()) == (PAGE, sys.getcpu().cpu)
        for name in ("fork", "printf", "__path__"):
            assert not hasattr(libc, name)

    run(machine, main)


def test_no_room_for_the_arguments(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.write_file("/proc/sys/vm/max_map_count", "0")
        assert sys.libc.get_mempolicy(byref(c_int()), None, 0, None, 0) == 0  # there is some already
        large = (c_char * (1 << 20))()
        assert sys.libc.syscall(GET_MEMPOLICY, large, None, 0, None, 0) == -1
        assert ctypes.get_errno() == errno.ENOMEM

    run(machine, main)
