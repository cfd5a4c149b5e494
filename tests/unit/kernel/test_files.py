"""Names, descriptors, and what stands in /proc and /sys."""

import errno
import struct
from collections.abc import Callable, Iterator
from functools import partial

import pytest

import numalab
from numalab import abi
from numalab.arch.errno import KernelError
from numalab.kernel.fs.seq import bitmap_hex, bitmap_list
from numalab.kernel.fs.sysfs_mm import kstrtobool, kstrtoint
from numalab.kernel.machine import Machine
from numalab.syscalls.sys import Sys

PAGE = 4096
WEIGHT = "/sys/kernel/mm/mempolicy/weighted_interleave/node1"


def errno_of(call: Callable[[], object]) -> str:
    """The errno that a call raises, "" for none."""
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    except KernelError as error:
        return error.name
    return ""


# --- paths -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "flags", "name"),
    [
        ("/proc/vmstat", abi.O_RDONLY, ""),
        ("proc/vmstat", abi.O_RDONLY, ""),
        ("//proc/./self/../vmstat", abi.O_RDONLY, ""),
        ("/../../proc/vmstat", abi.O_RDONLY, ""),
        ("/proc/self/status", abi.O_RDONLY, ""),
        ("/proc/1/maps", abi.O_RDONLY, ""),
        ("", abi.O_RDONLY, "ENOENT"),
        ("/", abi.O_RDONLY, ""),
        ("/nothing", abi.O_RDONLY, "ENOENT"),
        ("/proc/4190000/status", abi.O_RDONLY, "ENOENT"),
        ("/proc/01/status", abi.O_RDONLY, "ENOENT"),
        ("/proc/vmstat/x", abi.O_RDONLY, "ENOTDIR"),
        ("/proc/vmstat/", abi.O_RDONLY, "ENOTDIR"),
        ("/proc", abi.O_RDWR, "EISDIR"),
        ("/proc", abi.O_CREAT, "EISDIR"),
        ("/proc/vmstat", abi.O_DIRECTORY, "ENOTDIR"),
        ("/proc/vmstat", abi.O_CREAT | abi.O_EXCL, "EEXIST"),
        ("/tmp/new", abi.O_CREAT | abi.O_RDWR, ""),
        ("/nowhere/new", abi.O_CREAT, "ENOENT"),
        ("/proc/self", 0o400000, "ELOOP"),
        ("/" + "x" * 256, abi.O_RDONLY, "ENAMETOOLONG"),
        ("/" + "x" * 5000, abi.O_RDONLY, "ENAMETOOLONG"),
    ],
)
def test_open(machine: Machine, path: str, flags: int, name: str) -> None:
    results: list[str] = []
    machine.run(lambda sys: results.append(errno_of(lambda: sys.open(path, flags))))
    assert results == [name]


def test_users_are_checked_and_root_is_not(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        assert errno_of(lambda: sys.open(WEIGHT, abi.O_WRONLY)) == ""
        assert errno_of(lambda: sys.open("/proc/1/pagemap")) == ""
        sys.setresuid(1000, 1000, 1000)
        assert errno_of(lambda: sys.open(WEIGHT)) == ""
        assert errno_of(lambda: sys.open(WEIGHT, abi.O_WRONLY)) == "EACCES"
        assert errno_of(lambda: sys.open("/proc/1/pagemap")) == "EACCES"
        assert errno_of(lambda: sys.open("/proc/1/numa_maps")) == "EACCES"
        assert errno_of(lambda: sys.open("/proc/1/status")) == ""
        assert errno_of(lambda: sys.open("/proc/self/maps")) == ""
        assert errno_of(lambda: sys.mkdir("/here", 0o777)) == "EACCES"

    assert machine.run(main) == 0


def test_directories_can_be_made_but_not_in_proc_and_sys(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        assert sys.mkdir("/tmp/a", 0o755) == 0
        assert sys.mkdir("/tmp/a/b/", 0o755) == 0
        assert errno_of(lambda: sys.mkdir("/tmp/a", 0o755)) == "EEXIST"
        assert errno_of(lambda: sys.mkdir("/tmp/x/y", 0o755)) == "ENOENT"
        assert errno_of(lambda: sys.mkdir("/proc/a", 0o755)) == "ENOENT"
        assert errno_of(lambda: sys.mkdir("/sys/kernel/a", 0o755)) == "EPERM"
        assert errno_of(lambda: sys.rmdir("/tmp/a")) == "ENOTEMPTY"
        assert errno_of(lambda: sys.rmdir("/tmp/a/.")) == "EINVAL"
        assert errno_of(lambda: sys.rmdir("/tmp/a/..")) == "ENOTEMPTY"
        assert errno_of(lambda: sys.rmdir("/proc/vmstat")) == "ENOTDIR"
        assert errno_of(lambda: sys.rmdir("/")) == "EBUSY"
        assert sys.rmdir("/tmp/a/b") == sys.rmdir("/tmp/a") == 0
        assert errno_of(lambda: sys.rmdir("/tmp/a")) == "ENOENT"

    assert machine.run(main) == 0


def test_openat_starts_at_a_directory(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        proc, vmstat = sys.open("/proc"), sys.open("/proc/vmstat")
        assert sys.openat(proc, "vmstat") == 2
        assert sys.openat(99, "/proc/vmstat") == 3, "an absolute path needs no directory"
        assert errno_of(lambda: sys.openat(vmstat, "x")) == "ENOTDIR"
        assert errno_of(lambda: sys.openat(99, "x")) == "EBADF"

    assert machine.run(main) == 0


# --- descriptors -----------------------------------------------------------------------------------------------


def test_reading_goes_on_where_it_stopped(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        fd = sys.open("/proc/self/stat")
        whole = sys.read(fd, 4096).buf
        assert sys.read(fd, 10) == 0
        assert sys.pread64(fd, 5, 3).buf == whole[3:8]
        sys.lseek(fd, 2, 0)
        assert sys.read(fd, 4).buf == whole[2:6]
        assert sys.lseek(fd, -1, 1) == 5
        assert errno_of(lambda: sys.lseek(fd, -6, 1)) == "EINVAL"
        assert errno_of(lambda: sys.lseek(fd, 0, 7)) == "EINVAL"
        assert errno_of(lambda: sys.write(fd, b"x")) == "EBADF"
        assert errno_of(lambda: sys.read(sys.open("/proc"), 1)) == "EISDIR"
        sys.close(fd)
        assert errno_of(lambda: sys.close(fd)) == errno_of(lambda: sys.read(fd, 1)) == "EBADF"

    assert machine.run(main) == 0


def test_a_read_into_bad_memory_is_efault_and_does_not_move(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        fd = sys.open("/proc/vmstat")
        assert sys.raw(0, fd, 0x1_0000_0000, 10) == -errno.EFAULT
        assert sys.read(fd, 13).buf == b"nr_free_pages"

    assert machine.run(main) == 0


def test_the_lowest_number_is_free_again_and_there_is_a_limit(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        first, second = sys.open("/proc"), sys.open("/proc")
        sys.close(first)
        assert sys.open("/proc") == first
        for _ in range(1024 - 2):
            last = sys.open("/proc")
        assert last == 1023
        assert errno_of(lambda: sys.open("/proc")) == "EMFILE"
        assert second == 1

    assert machine.run(main) == 0


def test_close_on_exec(machine: Machine) -> None:
    def program(sys: Sys, kept: int, gone: int) -> None:
        assert errno_of(lambda: sys.read(kept, 1)) == ""
        assert errno_of(lambda: sys.read(gone, 1)) == "EBADF"

    def main(sys: Sys) -> None:
        sys.execve(program, sys.open("/proc/vmstat"), sys.open("/proc/vmstat", abi.O_CLOEXEC))

    assert machine.run(main) == 0


# --- /sys ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("3", "3"),
        ("255\n", "255"),
        ("0", "1"),
        ("", "1"),
        ("\n", "1"),
        ("0x10", "16"),
        ("010", "8"),
        ("+7", "7"),
    ],
)
def test_weights(machine: Machine, text: str, shown: str) -> None:
    def main(sys: Sys) -> None:
        sys.write_file(WEIGHT, "9")
        assert sys.write_file(WEIGHT, text) == len(text)
        assert sys.read_file(WEIGHT) == shown + "\n"

    assert machine.run(main) == 0


@pytest.mark.parametrize("text", ["256", "-1", "x", "3 4", " 3", "3\n\n", "0x", "1_0", "٣", "3.0"])
def test_what_is_no_weight(machine: Machine, text: str) -> None:
    def main(sys: Sys) -> None:
        assert errno_of(lambda: sys.write_file(WEIGHT, text)) == "EINVAL"
        assert sys.read_file(WEIGHT) == "1\n"

    assert machine.run(main) == 0


def test_demotion_takes_any_boolean_word(machine: Machine) -> None:
    path = "/sys/kernel/mm/numa/demotion_enabled"

    def main(sys: Sys) -> None:
        assert sys.read_file(path) == "false\n"
        for word, shown in (
            ("true", "true"),
            ("0", "false"),
            ("on\n", "true"),
            ("off", "false"),
            ("Y", "true"),
        ):
            sys.write_file(path, word)
            assert sys.read_file(path) == shown + "\n"
        assert errno_of(lambda: sys.write_file(path, "maybe")) == "EINVAL"

    assert machine.run(main) == 0


def test_numbers_and_words() -> None:
    assert kstrtoint("0", 0, 9) == kstrtoint("00", 0, 9) == 0
    assert kstrtoint("-5\n", -9, 9) == -5
    assert [kstrtobool(word) for word in ("y", "T", "1", "oN", "n", "f", "0", "OFF")] == [True] * 4 + [
        False
    ] * 4
    assert errno_of(lambda: kstrtobool("o")) == errno_of(lambda: kstrtoint("08", 0, 9)) == "EINVAL"


def test_masks() -> None:
    assert bitmap_list(0b1101) == "0,2-3"
    assert bitmap_hex(0xF, 4) == "f"
    assert bitmap_hex(0x12345, 33) == "0,00012345"
    assert bitmap_hex(1 << 63 | 1, 64) == "80000000,00000001"
    assert bitmap_hex(0, 3) == "0"


NODE_FILES = {
    "possible": "0-3", "online": "0-3", "has_memory": "0,2-3", "has_normal_memory": "0,2-3", "has_cpu": "0-2",
    "has_generic_initiator": "", "node0/distance": "10 20 20 20", "node3/cpulist": "", "node3/cpumap": "0",
    "node2/cpulist": "2", "node2/cpumap": "4", "../cpu/online": "0-2",
}  # fmt: skip


def test_nodes_of_an_odd_machine() -> None:
    with numalab.boot("odd") as machine:
        found = {name: machine.read_file(f"/sys/devices/system/node/{name}") for name in NODE_FILES}
        assert found == {name: text + "\n" for name, text in NODE_FILES.items()}
        mems = [row for row in machine.read_file("/proc/self/status").splitlines() if "Mems" in row]
        assert mems == [
            "Mems_allowed:\t" + ",".join(["00000000"] * 31 + ["0000000d"]),
            "Mems_allowed_list:\t0,2-3",
        ]


def test_node_meminfo_and_numastat(machine: Machine) -> None:
    base = "/sys/devices/system/node/node2/"
    lines = machine.read_file(base + "meminfo").splitlines()
    assert lines[0] == f"Node 2 MemTotal:       {4 * machine.node_pages(2)[0]:8} kB"
    assert [line[7:22].rstrip(" :") for line in lines[:3]] == ["MemTotal", "MemFree", "MemUsed"]
    assert machine.read_file(base + "numastat").split()[::2] == [
        "numa_hit", "numa_miss", "numa_foreign", "interleave_hit", "local_node", "other_node",
    ]  # fmt: skip

    def main(sys: Sys) -> None:
        sys.set_mempolicy(abi.MPOL_BIND, {2})
        sys.memory.touch(sys.mmap(10 * PAGE), 10)
        hits.append(int(sys.read_file(base + "numastat").split()[1]))

    hits: list[int] = []
    machine.run(main)
    assert hits[0] >= 10


# --- /proc -----------------------------------------------------------------------------------------------------


def test_status(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.memory.touch(sys.mmap(100 * PAGE), 100)
        sys.setresuid(1, 2, 3)
        sys.sched_setaffinity(0, mask={1, 3})
        rows = dict(line.split(":\t", 1) for line in sys.read_file("/proc/self/status").splitlines())
        assert rows["Name"] == "main"
        assert rows["State"] == "R (running)"
        assert rows["Pid"] == rows["Tgid"] == str(sys.getpid())
        assert rows["PPid"] == "1"
        assert rows["Uid"] == "1\t2\t3\t2"
        assert int(rows["VmRSS"].split()[0]) >= 400
        assert rows["VmStk"] == "     132 kB"
        assert rows["Cpus_allowed"] == "a"
        assert rows["Cpus_allowed_list"] == "1,3"
        assert rows["CapEff"] == "0" * 16
        assert rows["Threads"] == "1"

    assert machine.run(main) == 0
    kthreadd = machine.read_file("/proc/2/status")
    assert "Name:\tkthreadd\n" in kthreadd
    assert "State:\tS (sleeping)" in kthreadd
    assert "VmRSS" not in kthreadd
    assert machine.read_file("/proc/2/maps") == ""


def test_stat_has_its_fields_where_they_belong(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.sched_setaffinity(0, mask={3})
        fields = sys.read_file("/proc/self/stat").split()
        assert len(fields) == 52
        assert fields[:4] == [str(sys.getpid()), "(main)", "R", "1"]
        assert fields[9] == str(sys.task.ctx.min_flt)
        assert fields[38] == "3"
        assert fields[37] == "17"

    assert machine.run(main) == 0


def test_maps_and_numa_maps(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        addr = sys.mmap(4 * PAGE, addr=0x10000000)
        sys.mbind(addr, 2 * PAGE, abi.MPOL_INTERLEAVE, {0, 1})
        sys.memory.touch(addr, 3)
        sys.set_mempolicy(abi.MPOL_PREFERRED, {3})
        assert sys.read_file("/proc/self/maps").splitlines()[:2] == [
            "10000000-10002000 rw-p 00000000 00:00 0 ",
            "10002000-10004000 rw-p 00000000 00:00 0 ",
        ]
        assert sys.read_file("/proc/self/maps").splitlines()[-1] == (
            "7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]"
        )
        lines = sys.read_file("/proc/self/numa_maps").splitlines()
        assert lines[0] == "10000000 interleave:0-1 anon=2 dirty=2 active=0 N0=1 N1=1 kernelpagesize_kB=4"
        assert lines[1] == "10002000 prefer:3 anon=1 dirty=1 active=0 N0=1 kernelpagesize_kB=4"
        assert lines[-1] == "7ffffffde000 prefer:3 stack"

    assert machine.run(main) == 0


def test_pagemap(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        addr = sys.mmap(4 * PAGE)
        sys.memory.touch(addr, 2)
        fd = sys.open("/proc/self/pagemap")
        at = addr // PAGE * 8
        words = struct.unpack("<4Q", sys.pread64(fd, 32, at).buf)
        assert [word >> 63 for word in words] == [1, 1, 0, 0]
        assert machine.mem.node_of(words[0] & (1 << 55) - 1) == 0
        assert (
            errno_of(lambda: sys.pread64(fd, 7, at))
            == errno_of(lambda: sys.pread64(fd, 8, at + 1))
            == "EINVAL"
        )
        assert sys.pread64(fd, 16, (1 << 47) // PAGE * 8) == 0, "beyond the end"
        sys.capset(data=(0, 0, 0))
        assert struct.unpack("<Q", sys.pread64(fd, 8, at).buf)[0] == words[0], "who opened it counts"
        hidden = sys.pread64(sys.open("/proc/self/pagemap"), 8, at).buf
        assert struct.unpack("<Q", hidden)[0] == words[0] & ~((1 << 55) - 1)

    assert machine.run(main) == 0


@pytest.fixture
def small() -> Iterator[Machine]:
    with numalab.boot("2x16M") as machine:
        yield machine


def test_buddyinfo_counts_every_free_page(small: Machine) -> None:
    small.run(lambda sys: sys.memory.touch(sys.mmap(37 * PAGE), 37))
    for line, zone in zip(small.read_file("/proc/buddyinfo").splitlines(), small.mem.zones, strict=True):
        assert line.startswith(f"Node {zone['node']}, zone ")
        assert line.endswith(" ")
        counts = [int(word) for word in line.split()[4:]]
        assert len(counts) == 11
        assert sum(count << order for order, count in enumerate(counts)) == zone["free"]


def test_zoneinfo_and_meminfo(small: Machine) -> None:
    text = small.read_file("/proc/zoneinfo")
    assert text.startswith("Node 0, zone      DMA\n  per-node stats\n      nr_inactive_anon 0\n")
    assert "\n  pages free     " in text
    assert "\n        min      " in text
    assert "\n        protection: (" in text
    assert "\n    cpu: 1\n              count: " in text
    assert f"\n  start_pfn:           {small.mem.zones[-1]['start']}\nNode 1, zone   Normal\n" in text
    rows = {
        line.split(":")[0]: int(line.split()[1]) for line in small.read_file("/proc/meminfo").splitlines()
    }
    total = 4 * sum(small.node_pages(nid)[0] for nid in (0, 1))
    assert rows["MemTotal"] == total
    assert 0 < rows["MemAvailable"] <= rows["MemFree"] <= rows["MemTotal"]
    assert small.read_file("/proc/meminfo").startswith(f"MemTotal:       {total:8} kB\n")


def test_vmstat_has_the_names_that_programs_look_for(small: Machine) -> None:
    rows = dict(line.split() for line in small.read_file("/proc/vmstat").splitlines())
    wanted = {"nr_free_pages", "numa_hit", "nr_anon_pages", "pgfault", "pgmigrate_success", "pgmigrate_fail",
              "pswpin", "pswpout", "pgmajfault", "numa_pages_migrated", "unevictable_pgs_mlocked",
              "nr_isolated_anon"}  # fmt: skip
    assert wanted <= rows.keys()


def test_sysctls(machine: Machine) -> None:
    fraction = "/proc/sys/vm/percpu_pagelist_high_fraction"

    def main(sys: Sys) -> None:
        assert sys.read_file("/proc/sys/vm/page-cluster") == "0\n"
        assert sys.read_file(fraction) == "1000\n"
        before = list(machine.mem.zones["pcp_high"])
        sys.write_file(fraction, "8\n")
        assert sys.read_file(fraction) == "8\n"
        assert list(machine.mem.zones["pcp_high"]) > before
        for text in ("7", "-1", "many"):
            assert errno_of(partial(sys.write_file, fraction, text)) == "EINVAL"
        sys.write_file("/proc/sys/vm/page-cluster", "3\n")
        assert sys.read_file("/proc/sys/vm/page-cluster") == "3\n"
        assert sys.read_file("/proc/sys/vm/swappiness") == "60\n"
        assert errno_of(lambda: sys.write_file("/proc/sys/vm/swappiness", "201")) == "EINVAL"
        assert errno_of(lambda: sys.write_file("/proc/sys/vm/mmap_min_addr", "3")) == "EACCES", "not writable"

    assert machine.run(main) == 0


def test_listing_is_by_number(machine: Machine) -> None:
    proc = machine.kernel.root.lookup("proc")
    assert {"1", "2", "self", "vmstat"} <= set(proc.names())  # type: ignore[union-attr]


# --- transparent huge pages ------------------------------------------------------------------------------------

THP = "/sys/kernel/mm/transparent_hugepage"


@pytest.mark.parametrize(
    ("name", "text", "answer", "shown"),
    [
        ("enabled", b"always\n", "", b"[always] madvise never\n"),
        ("enabled", b"madvise", "", b"always [madvise] never\n"),
        ("enabled", b"alway", "EINVAL", b"always madvise [never]\n"),
        ("enabled", b"always never", "EINVAL", b"always madvise [never]\n"),
        ("defrag", b"defer+madvise\n", "", b"always defer [defer+madvise] madvise never\n"),
        ("defrag", b"sometimes", "EINVAL", b"always defer defer+madvise [madvise] never\n"),
        ("use_zero_page", b"0\n", "", b"0\n"),
        ("use_zero_page", b"2", "EINVAL", b"1\n"),
    ],
)
def test_settings_of_huge_pages(machine: Machine, name: str, text: bytes, answer: str, shown: bytes) -> None:
    def main(sys: Sys) -> None:
        fd = sys.open(f"{THP}/{name}", abi.O_RDWR)
        assert errno_of(lambda: sys.write(fd, text)) == answer
        assert sys.read(sys.open(f"{THP}/{name}", abi.O_RDONLY), 99).buf == shown

    machine.run(main)


def test_the_boot_parameter_holds() -> None:
    with numalab.boot("1x8M transparent_hugepage=always") as machine:
        assert machine.mem.thp.enabled == "always"


def test_who_wants_no_huge_pages_has_none_nor_have_its_children(machine: Machine) -> None:
    machine.mem.thp.enabled = "always"
    seen = []

    def use(sys: Sys) -> None:
        at = sys.mmap(2 << 20, abi.PROT_READ | abi.PROT_WRITE)
        sys.memory.write(at, b"x")
        seen.append((sys.prctl(abi.PR_GET_THP_DISABLE), sys.mincore(at, 2 << 20).vec.count(1)))

    def main(sys: Sys) -> None:
        use(sys)
        sys.prctl(abi.PR_SET_THP_DISABLE, 1)
        sys.fork(use)
        sys.wait()
        sys.prctl(abi.PR_SET_THP_DISABLE, 0)
        use(sys)

    machine.run(main)
    assert seen == [(0, 512), (1, 1), (0, 512)]


# --- hugetlb ---------------------------------------------------------------------------------------------------

POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB"


@pytest.mark.parametrize(
    ("path", "text", "answer", "pool"),
    [
        (f"{POOL}/nr_hugepages", b"2\n", "", 2),
        (f"{POOL}/nr_hugepages", b"+002", "", 2),
        (f"{POOL}/nr_hugepages", b"0x2", "EINVAL", 0),
        (f"{POOL}/nr_hugepages", b"", "EINVAL", 0),
        (f"{POOL}/nr_hugepages", b"18446744073709551616", "EINVAL", 0),
        (f"{POOL}/nr_hugepages_mempolicy", b"1", "", 1),
        ("/proc/sys/vm/nr_hugepages", b" 2 \n", "", 2),
        ("/proc/sys/vm/nr_hugepages_mempolicy", b"-2", "EINVAL", 0),
        ("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", b"1", "", 1),
    ],
)
def test_the_pool_of_huge_pages(path: str, text: bytes, answer: str, pool: int) -> None:
    with numalab.boot("2x16M") as machine:
        machine.run(lambda sys: _write_as(sys, path, text, answer))
        assert machine.mem.hstate.nr_huge_pages == pool


def _write_as(sys: Sys, path: str, text: bytes, answer: str) -> None:
    assert errno_of(lambda: sys.write(sys.open(path, abi.O_WRONLY), text)) == answer


def test_not_even_root_writes_what_sysfs_shows_only(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        assert errno_of(lambda: sys.open(f"{POOL}/free_hugepages", abi.O_RDWR)) == "EACCES"
        assert errno_of(lambda: sys.open("/proc/meminfo", abi.O_RDWR)) == ""

    machine.run(main)


def test_status_counts_huge_pages() -> None:
    def main(sys: Sys) -> None:
        sys.write(sys.open(f"{POOL}/nr_hugepages", abi.O_WRONLY), b"2")
        at = sys.mmap(
            4 << 20, abi.PROT_READ | abi.PROT_WRITE, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_HUGETLB
        )
        sys.memory.write(at, b"x")
        status = sys.read(sys.open("/proc/self/status", abi.O_RDONLY), 4096).buf
        assert b"HugetlbPages:\t    2048 kB\n" in status

    with numalab.boot("2x16M") as machine:
        machine.run(main)
