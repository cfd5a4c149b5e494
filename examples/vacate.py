"""Take a node's memory away while a program works there.

The worker writes to its pages over and over and looks whether it finds what it wrote; it also lends one to a pipe,
which keeps that page where it is for a while. The daemon empties the node (cpuset.mems: new memory comes from
elsewhere, and what is there moves) and then takes its memory blocks away, one by one. A block goes when everything in
it has moved, and so one of them waits for the pipe.

    numalab run --machine movable examples/vacate.py [NODE]
"""

import struct
from collections import Counter
from sys import argv

import numalab
from numalab import abi

PAGE = 4096
PAGES = 2000
MEMORY = "/sys/devices/system/memory"
NODES = "/sys/devices/system/node"


def main(sys):
    node = int(sys.argv[0]) if sys.argv else 2
    nodes = sys.read_file(f"{NODES}/has_memory").strip()
    sys.mkdir("/sys/fs/cgroup/work", 0o755)
    stop = sys.mmap(PAGE, flags=abi.MAP_SHARED | abi.MAP_ANONYMOUS)
    worker = sys.fork(work, node, stop)
    sys.sleep(0.05)  # the worker gets to its work

    others = ",".join(str(other) for other in range(4) if other != node)
    sys.write_file("/sys/fs/cgroup/work/cpuset.mems", others)
    print(f"daemon: nodes with memory are {nodes}; the worker may use {others} from now on")
    for block in memory_blocks(sys, node):
        began = now(sys)
        try:
            sys.write_file(f"{MEMORY}/memory{block}/state", "offline")
        except OSError as error:
            print(f"daemon: memory{block} stays: {error.strerror}")
        else:
            waited = " after a wait" if now(sys) - began > 0.1 else ""
            print(f"daemon: memory{block} is offline{waited}")
    print("daemon: nodes with memory are", sys.read_file(f"{NODES}/has_memory").strip())

    sys.memory.write(stop, b"stop")
    _, status = sys.wait(worker)
    return status


def memory_blocks(sys, node):
    """Numbers of the node's memory blocks. There are 32 in the first 4 GiB, and slots lie above."""
    found = []
    for number in range(64):
        try:
            sys.read_file(f"{NODES}/node{node}/memory{number}/state")
        except FileNotFoundError:
            continue
        found.append(number)
    return found


def now(sys):
    """Virtual time in seconds."""
    seconds, ns = sys.clock_gettime(abi.CLOCK_MONOTONIC).tp
    return seconds + ns / 1e9


def work(sys, node, stop):
    sys.write_file("/sys/fs/cgroup/work/cgroup.procs", "0")
    start = sys.mmap(PAGES * PAGE)
    sys.mbind(start, PAGES * PAGE, abi.MPOL_PREFERRED, {node})
    sys.memory.touch(start, PAGE, PAGES, write=True)
    print(f"worker: pages on {where(sys, start)}")
    pipe = lend(sys, start)

    rounds = 0
    intact = True
    while sys.memory.read(stop, 4) != b"stop":
        for page in range(0, PAGES, 100):
            sys.memory.write(start + page * PAGE, struct.pack("<2I", rounds, page))
        sys.sleep(0.01)
        for page in range(0, PAGES, 100):
            intact &= sys.memory.read(start + page * PAGE, 8) == struct.pack("<2I", rounds, page)
        rounds += 1
        if rounds == 30:
            sys.read(pipe, PAGE)  # nothing keeps the page any more

    print(f"worker: pages on {where(sys, start)}")
    print("worker: every round found what it had written" if intact else "worker: something got lost!")
    return 0 if intact else 1


def lend(sys, addr):
    """Put a page into a pipe as it is; returns the end where it can be read."""
    out, into = sys.pipe().fds
    iov = sys.mmap(PAGE)
    sys.memory.write(iov, struct.pack("<2Q", addr, PAGE))
    sys.vmsplice(into, iov, 1, 0)
    return out


def where(sys, start):
    """Pages of the region per node."""
    counts = Counter(sys.move_pages(0, [start + page * PAGE for page in range(PAGES)]).status)
    return ", ".join(f"node {node}: {n}" for node, n in sorted(counts.items()))


if __name__ == "__main__":
    with numalab.boot("movable") as machine:
        raise SystemExit(machine.run(main, *argv[1:]))
