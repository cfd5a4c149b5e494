"""V5, October 2005: a page that is in use survives a pass.

Before it took a page out of a page table, V5 looked at the accessed bit. If that was set, it cleared it and gave up on
the page for this time, as reclaim does, which wants pages that nobody uses. Migration wants them all; so each pass made
over pages in use was lost, and a page touched between all passes stayed. 2.6.16 ignored the bit.

    python examples/history/accessed_bit.py
"""

import numalab
from numalab.tools.compare import pass_lines

PAGE, PAGES = 4096, 32


def migrate_what_is_in_use(sys):
    data = sys.mmap(PAGES * PAGE)
    sys.memory.write(data, b"in use" * 20000)
    sys.migrate_pages(0, {0}, {1})


if __name__ == "__main__":
    for quirks in (True, False):
        with numalab.boot("quad", migration="swap", v5_quirks=quirks) as machine:
            machine.run(migrate_what_is_in_use)
            print("as V5 was:" if quirks else "as it is here:", *pass_lines(machine.mem.ledger), sep="\n")
