"""V5, October 2005: pages that went were counted as pages left behind.

migrate_pages(2) returns how many pages could not be moved. V5 left evicted pages on its list, each with one reference,
and counted the list at the end. So a full success looked like a full failure, and mbind(MPOL_MF_STRICT) answered EIO
to it. Later versions kept a list of those that went and one of those that failed.

    python examples/history/overcount.py
"""

import numalab

PAGE, PAGES = 4096, 32


def migrate(sys):
    data = sys.mmap(PAGES * PAGE)
    sys.memory.write(data, b"x" * PAGES * PAGE)
    left = sys.migrate_pages(0, {0}, {1})
    gone = sys.move_pages(0, [data + page * PAGE for page in range(PAGES)], None).status.count(-2)
    print(f"migrate_pages() = {left}; of {PAGES} pages {gone} are in swap")


if __name__ == "__main__":
    for quirks in (True, False):
        with numalab.boot("quad", migration="swap", v5_quirks=quirks) as machine:
            print("as V5 was:     " if quirks else "as it is here: ", end="")
            machine.run(migrate)
