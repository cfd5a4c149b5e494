"""Where is my memory?  Map it, bind it to a node, touch it, ask.

numalab run examples/hello_numa.py [NODE]
"""

from sys import argv

import numalab
from numalab import abi

PAGE = 4096
PAGES = 8


def main(sys):
    node = int(sys.argv[0]) if sys.argv else 1
    here = sys.getcpu()
    print(f"I am process {sys.getpid()} on CPU {here.cpu}, node {here.node}.")

    # Without a policy a page comes from the node of the CPU that touches it first.
    near = sys.mmap(PAGES * PAGE)
    sys.memory.write(near, b"hello" * 100)

    # With one, it comes from where the policy says.
    far = sys.mmap(PAGES * PAGE)
    sys.mbind(far, PAGES * PAGE, abi.MPOL_BIND, {node})
    for page in range(PAGES):
        sys.memory.write(far + page * PAGE, f"page {page}".encode())

    for name, start in (("near", near), ("far", far)):
        addresses = [start + page * PAGE for page in range(PAGES)]
        print(f"{name}: {sys.move_pages(0, addresses).status}")
    print(sys.memory.read(far + PAGE, 6).decode())
    return 0


if __name__ == "__main__":
    with numalab.boot("quad") as machine:
        raise SystemExit(machine.run(main, *argv[1:]))
