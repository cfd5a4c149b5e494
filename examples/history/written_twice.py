"""V5, October 2005: as long as one page keeps the passes going, all others are written again and again.

An evicted page stayed on the list, anonymous and no longer in the swap cache: just like a page that had never been
there. The next pass gave it a new slot and wrote it once more. Here somebody holds one page: that makes eleven passes.

    python examples/history/written_twice.py
"""

import numalab

PAGE, PAGES = 4096, 32


def migrate_with_one_page_held(sys):
    data = sys.mmap(PAGES * PAGE)
    sys.memory.write(data, b"x" * PAGES * PAGE)
    task = machine.sched.current
    machine.obstacles.hold(machine.page_of(task, data), ns=10**9)
    sys.migrate_pages(0, {0}, {1})


if __name__ == "__main__":
    for quirks in (True, False):
        with numalab.boot("quad", migration="swap", v5_quirks=quirks) as machine:
            machine.run(migrate_with_one_page_held)
            vmstat = dict(line.split() for line in machine.read_file("/proc/vmstat").splitlines())
            passes = len(machine.mem.ledger.passes)
            who = "as V5 was:     " if quirks else "as it is here: "
            print(f"{who}{PAGES} pages, {passes} passes, {vmstat['pswpout']} pages written")
