"""The same library on the host that runs the tests, with whatever nodes and rights it has."""

import nearby
from nearby import PAGE, Buffer


def test_a_buffer_works_here_too():
    node = min(nearby.allowed_nodes())
    with Buffer(4 * PAGE, node) as buffer:
        buffer.write(PAGE - 2, b"here")
        assert buffer.read(PAGE - 2, 4) == b"here"
        assert buffer.nodes()
        assert buffer.move(node) <= 4
