"""Linux's numa=fake= and mem= on a flat machine and on one with nodes."""

import pytest

from numalab.arch.topology import Topology, TopologyError, load

MIB = 256


def sizes(topology: Topology) -> list[int]:
    """MiB by node, ascending by id."""
    return [node.nr_frames // MIB for node in topology.nodes]


def cpus(topology: Topology) -> list[tuple[int, ...]]:
    return [node.cpus for node in topology.nodes]


@pytest.mark.parametrize(
    ("line", "mib"),
    [
        ("numa=fake=512M mem=2G", [512] * 4),
        ("mem=2G numa=fake=512M", [512] * 4),
        ("numa=fake=1G mem=4G", [1024] * 4),
        ("numa=fake=4 mem=2G", [512] * 4),
        ("numa=fake=4,mem=2G", [512] * 4),
        ("numa=fake=4", [512] * 4),  # 2 GiB unless mem= says otherwise
        # What is too little for another node goes to the last one.
        ("numa=fake=600M mem=2G", [576, 576, 896]),
        # Rounded down to 32 MiB; what that leaves over goes to the first nodes, 32 MiB each, or else to the last.
        ("numa=fake=4 mem=2112M", [544, 544, 512, 512]),
        ("numa=fake=3 mem=2G", [672, 672, 704]),
        ("numa=fake=2U mem=1G", [512, 512]),
        ("numa=fake=3U mem=1G", [352, 352, 320]),
        ("numa=fake=64M mem=512M", [64] * 8),
        ("mem=256M", [256]),
    ],
)
def test_flat_machine(line: str, mib: list[int]) -> None:
    topology = load(line)
    assert sizes(topology) == mib
    assert topology.name == line.replace(",", " ")
    # One CPU each, so that every node can be local to someone; fake nodes of one real node are at distance 10.
    assert cpus(topology) == [(i,) for i in range(len(mib))]
    assert set(sum(topology.distance, ())) == {10}


def test_each_real_node_is_split() -> None:
    topology = load("dual numa=fake=2U")
    assert sizes(topology) == [256] * 4
    assert cpus(topology) == [(0,), (1,), (2,), (3,)]
    assert topology.distance[0] == (10, 10, 20, 20)
    assert topology.distance[3] == (20, 20, 10, 10)


def test_equal_parts_are_rounded_up() -> None:
    topology = load("1x1G,cpus=2+1x512M numa=fake=3U")
    assert sizes(topology) == [352, 352, 320, 192, 192, 128]
    assert topology.distance[1] == (10, 10, 10, 20, 20, 20)


def test_sizes_are_dealt_over_the_real_nodes_in_turn() -> None:
    topology = load("dual numa=fake=256M")
    assert sizes(topology) == [256] * 4
    # Nodes 0 and 2 come out of the first real node: they are near each other.
    assert topology.distance[0] == (10, 20, 10, 20)
    assert cpus(topology) == [(0,), (2,), (1,), (3,)]


def test_fewer_than_asked_for_when_real_nodes_do_not_divide() -> None:
    assert sizes(load("dual numa=fake=3")) == [512, 512]


def test_cpus_of_a_node_without_memory_are_kept() -> None:
    topology = load("odd numa=fake=256M")
    assert topology.nr_cpus == 3
    assert 1 in topology.nodes[0].cpus


def test_numa_off() -> None:
    topology = load("quad numa=off")
    assert sizes(topology) == [2048]
    assert cpus(topology) == [(0, 1, 2, 3)]
    assert topology.nodes[0].ranges == ((0, 2048 * MIB),)
    assert len(load("odd numa=off").nodes[0].ranges) == 1


def test_mem_and_nr_cpus_limit_a_machine() -> None:
    topology = load("quad mem=768M nr_cpus=3")
    assert sizes(topology) == [512, 256, 0, 0]
    assert cpus(topology) == [(0,), (1,), (2,), ()]
    assert sizes(load("odd mem=1G")) == [768, 0, 0, 256]


def test_other_parameters_reach_the_boot_table() -> None:
    boot = load(
        "2x1G page_cluster=3 numa_balancing=enable transparent_hugepage=madvise swap=0 vm.swappiness=10"
    ).boot
    assert boot["page_cluster"] == 3
    assert boot["numa_balancing"] is True
    assert boot["thp"] == "madvise"
    assert boot["swap"] == 0
    assert boot["swappiness"] == 10
    assert boot["percpu_pagelist_high_fraction"] == 1000
    assert load("quad vm.page-cluster=4").boot["page_cluster"] == 4


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("numa=fake=", ["numa=fake="]),
        ("numa=fake=big", ["'big'", "512M"]),
        ("numa=fake=0", ["not a count"]),
        ("numa=fake=16M", ["at least 32M"]),
        ("numa=fake=65 mem=64G", ["65 nodes", "1..64"]),
        ("numa=fake=32M mem=4G", ["too many", "64M or more"]),
        ("numa=fake=64 mem=1G", ["1024M", "use 32 or fewer"]),
        ("quad numa=fake=17U", ["17 times 4", "16U or fewer"]),
        ("quad numa=fake=17U", ["numa=fake=17U"]),
        ("1x64M numa=fake=3U", ["node 0 has 64M", "3 nodes in steps of 32M", "use 2U"]),
        # Parts of 128 MiB, of which there are four: Linux says that it got 4 of 5, and splits no node.
        ("1x512M numa=fake=5U", ["node 0 has 512M", "5 nodes", "use 4U"]),
        ("mem=lots", ["mem=lots"]),
        ("nr_cpus=0", ["nr_cpus=0"]),
        ("numa=fale=4", ["numa=fale=4", "unknown"]),
        ("numa=fake=4 quad", ["'quad'", "machine comes first"]),
        ("quad page_clutser=3", ["page_clutser=3", "page_cluster"]),
        ("quad page_table_levels=6", ["page_table_levels=6", "4 or 5"]),
        ("quad vm.swappiness=hello", ["'hello'", "0..200"]),
        ("quad vm.swappiness=-4", ["-4", "0..200"]),
        ("quad page_cluster=99", ["99", "0..31"]),
        ("quad percpu_pagelist_high_fraction=7", ["7", "0 or 8..2147483647"]),
        ("quad foo.bar=1", ["'foo.bar' is unknown"]),
        ("quad swap=99T", ["'99T'", "below 16T"]),
        ("quad nr_cpus=" + "9" * 5000, ["not a count"]),
        ("quad numa=fake=" + "9" * 5000, ["not a size"]),
        ("quad page_cluster=" + "9" * 5000, ["0..31"]),
        ("9" * 5000 + "x1M", ["not a group of nodes"]),
        ("1x" + "9" * 5000 + "M", ["not a size"]),
        # Digits are those that the message shows: others look alike and are not.
        ("\N{ARABIC-INDIC DIGIT FOUR}x512M", ["unknown"]),
        ("4x\N{ARABIC-INDIC DIGIT FOUR}M", ["not a group"]),
        ("4x512M,cpus=\N{ARABIC-INDIC DIGIT FOUR}", ["not a group"]),
        ("numa=fake=\N{ARABIC-INDIC DIGIT FOUR}", ["not a size"]),
        ("quad nr_cpus=\N{ARABIC-INDIC DIGIT FOUR}", ["not a count"]),
        ("quad page_cluster=\N{ARABIC-INDIC DIGIT FOUR}", ["0..31"]),
        ("16x1T", ["node 15", "reaches to 16T", "below 16T"]),
        ("1x17T", ["node 0", "reaches to 17T"]),
    ],
)
def test_a_wrong_line_is_one_clear_line(line: str, words: list[str]) -> None:
    with pytest.raises(TopologyError) as caught:
        load(line)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
