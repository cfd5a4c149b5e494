"""Andrew Morton's worry, October 2005: pages that somebody has locked, or holds for direct I/O.

How can migration be made near completely reliable, he asked, when user space and drivers can hold on to pages? The
answer was passes: easy pages first; then wait for locks, and for writes that are under way. What is still held at the
end is said to have stayed, and nothing happens to it. Three pages in the way of each engine:

    page 1   locked by a driver for 50 ms       page 2   being written for 20 ms       page 3   held, for good

    python examples/history/reliability.py
"""

import numalab
from numalab.tools.compare import pass_lines

PAGE, PAGES = 4096, 16
MS = 1_000_000


def migrate_with_obstacles(sys):
    data = sys.mmap(PAGES * PAGE)
    sys.memory.write(data, b"x" * PAGES * PAGE)
    frame = [machine.page_of(machine.sched.current, data + page * PAGE) for page in range(PAGES)]
    machine.obstacles.lock_page(frame[1], ns=50 * MS, owner="a driver")
    machine.obstacles.writeback(frame[2], ns=20 * MS)
    machine.obstacles.hold(frame[3], ns=10_000 * MS)
    left = sys.migrate_pages(0, {0}, {1})
    assert sys.memory.read(data, PAGES * PAGE) == b"x" * PAGES * PAGE
    print(
        f"{machine.engine}: {left} page left behind; every byte is there",
        *pass_lines(machine.mem.ledger),
        sep="\n",
    )


if __name__ == "__main__":
    for engine in ("swap", "direct"):
        with numalab.boot("quad", migration=engine) as machine:
            machine.run(migrate_with_obstacles)
            machine.check_invariants()
