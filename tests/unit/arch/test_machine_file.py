"""TOML machine files: what they can say, and what is said about a wrong one."""

from pathlib import Path

import pytest

from numalab.arch.topology import SECTION_FRAMES, Topology, TopologyError, load

MIB = 256


def machine(tmp_path: Path, text: str) -> Topology:
    path = tmp_path / "lab.toml"
    path.write_text(text)
    return load(path)


def test_everything_that_a_file_can_say(tmp_path: Path) -> None:
    topology = machine(
        tmp_path,
        """
        name = "shop"
        distances = [[10, 21, 40], [21, 10, 40], [41, 41, 10]]

        [[node]]
        id = 2
        size = "256M"
        cpus = 2

        [[node]]
        id = 0
        size = "16p"
        cpus = "0-1,4"

        [[node]]
        id = 63
        ranges = ["2G-3G", "4G+128M"]

        [boot]
        page_cluster = 3
        swap = "1G"
        page_table_levels = 5
        vm.swappiness = 10
        "kernel.numa_balancing" = 1
        """,
    )
    assert topology.name == "shop"
    assert topology.node_ids == (0, 2, 63)
    # Physical order is the order in the file: node 2 first.
    assert topology.node(2).ranges == ((0, 256 * MIB),)
    assert topology.node(0).ranges == ((2 * SECTION_FRAMES, 2 * SECTION_FRAMES + 16),)
    assert topology.node(63).ranges == ((2048 * MIB, 3072 * MIB), (4096 * MIB, 4224 * MIB))
    # A count takes the lowest numbers that nobody named.
    assert topology.node(0).cpus == (0, 1, 4)
    assert topology.node(2).cpus == (2, 3)
    assert topology.distance[0][2] == 21
    assert topology.distance[63][0] == 41
    assert topology.distance[1][2] == 20  # node 1 does not exist
    assert topology.boot["swap"] == 1 << 30
    assert topology.boot["page_cluster"] == 3
    assert topology.boot["swappiness"] == 10
    assert topology.boot["numa_balancing"] is True
    assert topology.boot["thp"] == "never"


def test_the_least_that_a_file_must_say(tmp_path: Path) -> None:
    topology = machine(tmp_path, '[[node]]\nsize = "64M"\ncpus = 1\n[[node]]\nsize = "64M"\n')
    assert topology.name == "lab"
    assert topology.node_ids == (0, 1)
    assert topology.distance == ((10, 20), (20, 10))
    assert topology.nodes[1].cpus == ()


NODE = '[[node]]\nsize = "64M"\ncpus = 1\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["no [[node]] tables"]),
        ("node = 3", ["no [[node]] tables"]),
        ("x = 1\ny = ]", ["not TOML", "line 2"]),
        (NODE + 'sise = "1G"', ["[[node]] number 1", "'sise'", "did you mean size?"]),
        ("nodes = 1\n" + NODE, ["at the top", "'nodes'", "did you mean node?"]),
        ("name = 3\n" + NODE, ["name is 3"]),
        ('[[node]]\nid = "a"\n', ["id is 'a'", "0..63"]),
        ('[[node]]\nid = 64\nsize = "64M"\ncpus = 1\n', ["id is 64", "0..63"]),
        ("[[node]]\nid = -1\n" + 'size = "64M"\ncpus = 1\n', ["id is -1", "0..63"]),
        (f"distances = [[10]]\n[[node]]\nid = {1 << 64}\nsize = '64M'\ncpus = 1\n", ["id is", "0..63"]),
        (NODE + "[[node]]\nid = 0\n", ["node 0 is given twice"]),
        ('[[node]]\nsize = "64"\ncpus = 1\n', ["node 0: size", "'64'", "512M"]),
        ("[[node]]\nsize = 64\ncpus = 1\n", ["node 0: size", "64", "512M"]),
        ("[[node]]\nsize = true\ncpus = 1\n", ["node 0: size"]),
        ('[[node]]\nsize = "5K"\ncpus = 1\n', ["4 KiB pages"]),
        ('[[node]]\nsize = "64M"\nranges = []\n', ["keep one"]),
        ('[[node]]\nranges = "0-1G"\n', ["write a list"]),
        ('[[node]]\nranges = ["1G"]\n', ["START-END"]),
        ('[[node]]\nranges = ["64M-1G"]\ncpus = 1\n', ["inside a section", "start at 0x8000"]),
        ('[[node]]\nranges = ["1G-512M"]\ncpus = 1\n', ["is empty"]),
        ('[[node]]\nranges = ["20T+16M"]\ncpus = 1\n', ["node 0", "reaches to 20971536M", "below 16T"]),
        (f"[[node]]\nranges = {[f'{i}G+16M' for i in range(129)]}\ncpus = 1\n", ["129 memory ranges", "128"]),
        ("[[node]]\ncpus = 1\n", ["no node has memory"]),
        (f"x = {'[' * 2000}{']' * 2000}\n" + NODE, ["too deep"]),
        (f"id = {'9' * 5000}\n" + NODE, ["a number is too long"]),
        (f"[[node]]\nid = 0x{'f' * 5000}\n", ["id is a very large number", "0..63"]),
        ('[[node]]\nsize = "64M"\n', ["no node has a CPU"]),
        ('[[node]]\nsize = "64M"\ncpus = -1\n', ["cpus is -1"]),
        ('[[node]]\nsize = "64M"\nhotplug = "yes"\n', ["node 0", "hotplug is 'yes'", "true or false"]),
        ('[[node]]\nsize = "64M"\ncpus = 1\nhotplug = true\n', ["node 0", "where the kernel is"]),
        ('[[node]]\nsize = "64M"\ncpus = 4097\n', ["cpus is 4097", "up to 4096"]),
        ('[[node]]\nsize = "64M"\ncpus = "5-1"\n', ["5-1 runs backwards", "write 1-5"]),
        ('[[node]]\nsize = "64M"\ncpus = "0-x"\n', ["cpus is '0-x'"]),
        ('[[node]]\nsize = "64M"\ncpus = [0, 0]\n', ["names a CPU twice"]),
        ('[[node]]\nsize = "64M"\ncpus = [1]\n', ["cpu 0 is missing"]),
        ("distances = [[10, 20]]\n" + NODE, ["1 numbers"]),
        ("distances = 10\n" + NODE, ["1 rows"]),
        ('distances = [["a"]]\n' + NODE, ["row of node 0"]),
        ("distances = [[11]]\n" + NODE, ["node 0 to itself is 11"]),
        ("boot = 1\n" + NODE, ["boot is 1"]),
        (NODE + "[boot]\npage_clutser = 3\n", ["[boot]", "did you mean page_cluster?"]),
        (NODE + '[boot]\npage_cluster = "3"\n', ["page_cluster is '3'", "write a number"]),
        (NODE + '[boot]\nnuma_balancing = "no"\n', ["true or false"]),
        (NODE + "[boot]\npage_table_levels = 3\n", ["page_table_levels is 3", "4 or 5"]),
        (NODE + '[boot]\nswap = "4096T"\n', ["swap is '4096T'", "0, or a size from 8K to below 16T"]),
        (NODE + '[boot]\nswap = "4K"\n', ["swap is '4K'"]),
        (NODE + '[boot]\nthp = "whatever"\n', ["thp is 'whatever'", "always or madvise or never"]),
        (NODE + "[boot]\nvm.swappiness = [10]\n", ["vm.swappiness is [10]", "0..200"]),
        (NODE + "[boot]\npage_cluster = true\n", ["page_cluster is True", "0..31"]),
        (NODE + "[boot]\nfoo.bar = 1\n", ["'foo.bar' is unknown", "vm.swappiness"]),
        (NODE + "[boot]\npage_cluster = 1\nvm.page-cluster = 2\n", ["page_cluster", "given twice"]),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(TopologyError) as caught:
        machine(tmp_path, text)
    message = str(caught.value)
    assert "\n" not in message
    assert "lab.toml" in message
    for word in words:
        assert word in message


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="Is a directory"):
        load(tmp_path)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TopologyError, match="not TOML"):
        load(binary)
