"""What nearby promises, on machines that few have at hand, and when they refuse."""

import nearby
import pytest
from nearby import PAGE, Buffer

import numalab


def filled(pages, node):
    buffer = Buffer(pages * PAGE, node)
    buffer.write(0, bytes(range(256)) * (pages * PAGE // 256))
    return buffer


def test_a_buffer_lies_where_it_should(machine):
    buffer = filled(16, node=1)
    assert buffer.placed
    assert buffer.nodes() == {1: 16}
    machine.assert_on_node(1, buffer.address, buffer.size)


@pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=pytest.mark.numa(migration=name)) for name in numalab.ENGINES]
)
def test_it_moves_and_keeps_its_bytes(machine, engine):
    """Under today's kernel, and under those of 2005 and 2006."""
    buffer = filled(64, node=0)
    assert buffer.move(1) == 0
    machine.assert_on_node(1, buffer.address, buffer.size)
    assert buffer.read(0, buffer.size) == bytes(range(256)) * (64 * PAGE // 256)


def test_a_page_that_is_pinned_stays(machine):
    buffer = filled(8, node=0)
    with machine.obstacle("pin", buffer.address + 3 * PAGE):
        assert buffer.move(1) == 1
        machine.assert_on_node(0, buffer.address + 3 * PAGE)
    assert buffer.move(1) == 0


@pytest.mark.numa("3x64M swap=0")  # with swap the kernel makes room
def test_the_next_node_when_one_is_full(machine):
    buffer = filled(512, node=0)
    with machine.eat(1, leave=1 << 20):
        assert buffer.move(1, 2) == 0
    assert buffer.nodes()[1] >= 256
    assert buffer.nodes()[2] >= 128
    assert buffer.nodes().total() == 512


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_where_the_calls_are_refused_a_buffer_is_ordinary_memory(machine, error):
    refused = machine.inject("mbind,get_mempolicy,move_pages", error)
    buffer = filled(4, node=1)
    assert not buffer.placed
    assert buffer.read(0, 4) == b"\0\1\2\3"
    assert nearby.allowed_nodes() == {0}
    assert buffer.nodes() == {0: 4}
    assert buffer.move(1) == 4
    assert refused.hits == 6
    machine.assert_on_node(0, buffer.address, buffer.size)  # asks the kernel, not move_pages


def test_a_move_that_is_refused_half_way(machine):
    buffer = filled(4, node=0)
    machine.inject("move_pages", "EPERM", when=2)  # it may ask where pages are, and not move them
    assert buffer.move(1) == 4
    assert buffer.move(1) == 0


def test_no_memory(machine):
    machine.inject("mmap", "ENOMEM")
    with pytest.raises(OSError, match="Cannot allocate memory"):
        Buffer(PAGE)


def test_our_own_mistakes_are_told(machine):
    with pytest.raises(OSError, match="Invalid argument"):
        Buffer(PAGE, node=5)
    with pytest.raises(IndexError):
        Buffer(PAGE).write(PAGE - 1, b"ab")


@pytest.mark.numa("4x64M")
def test_workers_get_memory_of_their_own_nodes(machine):
    """Programs of the machine use the library as well: it acts for whoever calls."""

    def worker(sys):
        cpu = int(sys.argv[0])
        sys.sched_setaffinity(0, {cpu})
        with Buffer(8 * PAGE) as buffer:
            buffer.write(0, b"x" * buffer.size)
            found[cpu] = dict(buffer.nodes())

    found = {}
    for cpu in range(4):
        machine.spawn(worker, str(cpu))
    machine.run()
    assert found == {cpu: {cpu: 8} for cpu in range(4)}
    assert nearby.allowed_nodes() == {0, 1, 2, 3}


def test_memory_is_given_back(machine):
    before = machine.machine.node_pages(1)
    with filled(500, node=1):
        assert machine.machine.node_pages(1) != before
    assert machine.machine.node_pages(1) == before
