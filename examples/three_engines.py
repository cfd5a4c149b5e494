"""The story of 2005: a scheduler has moved a process, and now its memory should follow. Three ways to do it.

numalab compare [--disk 2005] examples/three_engines.py [PAGES]

Under the `swap` engine pages are forced out, and come back where the process runs now, one by one as it touches them;
under `direct` and `batched` they are copied at once. A child shares an eighth of them, which root takes along; locked
pages are moved by today's engine only.
"""

from sys import argv

import numalab

PAGE = 4096


def main(sys):
    pages = int(sys.argv[0]) if sys.argv else 512
    data = sys.mmap(pages * PAGE)
    for page in range(pages):
        sys.memory.write(data + page * PAGE, page.to_bytes(4, "little") * 1024)
    locked = sys.mmap(16 * PAGE)
    sys.mlock(locked, 16 * PAGE)

    # An idle child shares an eighth of the pages with its parent, copy on write.
    child = sys.fork(lambda child: child.sleep(10))
    for page in range(pages // 8, pages):
        sys.memory.write(data + page * PAGE, page.to_bytes(4, "little"))

    sys.sched_setaffinity(0, {2})
    sys.migrate_pages(0, {0}, {2})

    for page in range(pages):
        assert sys.memory.read(data + page * PAGE, 4) == page.to_bytes(4, "little")
    where = sys.move_pages(0, [data + page * PAGE for page in range(pages)], None).status
    print({node: where.count(node) for node in sorted(set(where))})
    sys.kill(child, 9)


if __name__ == "__main__":
    for engine in ("swap", "direct", "batched"):
        with numalab.boot("quad", migration=engine) as machine:
            print(f"{engine}: ", end="")
            machine.run(main, *argv[1:])
