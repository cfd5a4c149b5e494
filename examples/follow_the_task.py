"""A scheduling daemon: it moves a process to another node, and the process's memory after it.

The worker fills memory where it was started.  The daemon, which is root, binds it to a CPU of another node
with sched_setaffinity(2); its memory would stay behind, and every access would cross the interconnect, so
migrate_pages(2) brings it along.  The worker notices nothing: its bytes and its addresses stay the same.

    numalab run examples/follow_the_task.py [CPU]
"""

from collections import Counter
from sys import argv

import numalab

PAGE = 4096
PAGES = 256


def main(sys):
    cpu = int(sys.argv[0]) if sys.argv else 2
    worker = sys.fork(work)
    sys.sleep(0.001)  # the worker gets to its work
    sys.sched_setaffinity(worker, {cpu})
    left = sys.migrate_pages(worker, {0}, {cpu})  # on quad, CPU n is on node n
    print(f"daemon: process {worker} now runs on CPU {cpu}; {left} pages could not follow")
    _, status = sys.wait(worker)
    return status


def work(sys):
    start = sys.mmap(PAGES * PAGE)
    for page in range(PAGES):
        sys.memory.write(start + page * PAGE, page.to_bytes(4, "little"))
    print(f"worker: CPU {sys.getcpu().cpu}, pages on {nodes(sys, start)}")

    sys.sleep(0.010)  # meanwhile the daemon is at work

    print(f"worker: CPU {sys.getcpu().cpu}, pages on {nodes(sys, start)}")
    intact = all(
        sys.memory.read(start + page * PAGE, 4) == page.to_bytes(4, "little") for page in range(PAGES)
    )
    print("worker: every page holds what was written" if intact else "worker: pages were lost!")
    return 0 if intact else 1


def nodes(sys, start):
    """Pages of the region per node."""
    counts = Counter(sys.move_pages(0, [start + page * PAGE for page in range(PAGES)]).status)
    return ", ".join(f"node {node}: {n}" for node, n in sorted(counts.items()))


if __name__ == "__main__":
    with numalab.boot("quad") as machine:
        raise SystemExit(machine.run(main, *argv[1:]))
