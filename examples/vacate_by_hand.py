"""Empty a node page by page, as migrate_pages(2) does it in one call.

A process finds out with move_pages(2) which of its pages are on a node, moves those to another one, and
says what became of each.  What the kernel would not move is listed with the reason it gave.

    numalab run examples/vacate_by_hand.py [FROM TO]
"""

import errno
from collections import Counter
from sys import argv

import numalab
from numalab import abi

PAGE = 4096
PAGES = 600


def main(sys):
    source, target = (int(word) for word in sys.argv) if sys.argv else (0, 2)

    # Memory on several nodes, and a few pages that were never touched.
    start = sys.mmap(PAGES * PAGE)
    sys.mbind(start, PAGES * PAGE, abi.MPOL_INTERLEAVE, {0, 1})
    sys.memory.touch(start, PAGE, PAGES - 10, write=True)
    print("before:", where(sys, start))

    addresses = [start + page * PAGE for page in range(PAGES)]
    status = sys.move_pages(0, addresses).status
    there = [address for address, node in zip(addresses, status, strict=True) if node == source]
    result = sys.move_pages(0, there, [target] * len(there)).status
    stayed = [(address, node) for address, node in zip(there, result, strict=True) if node != target]
    print(f"moved {len(there) - len(stayed)} pages from node {source} to node {target}")
    for address, code in stayed:
        print(f"{address:#x} stayed: {errno.errorcode.get(-code, code)}")

    print("after: ", where(sys, start))
    return 1 if stayed else 0


def where(sys, start):
    """Pages per node; -ENOENT is a page that was never touched."""
    status = sys.move_pages(0, [start + page * PAGE for page in range(PAGES)]).status
    counts = Counter(status)
    untouched = counts.pop(-errno.ENOENT, 0)
    return ", ".join(f"node {node}: {n}" for node, n in sorted(counts.items())) + f", untouched: {untouched}"


if __name__ == "__main__":
    with numalab.boot("quad") as machine:
        raise SystemExit(machine.run(main, *argv[1:]))
