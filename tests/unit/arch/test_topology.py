"""Presets, one-line specs, and what every Topology promises."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from numalab.arch.topology import SECTION_FRAMES, Node, Topology, TopologyError, load, preset_names

MIB = 256  # frames


def sizes(topology: Topology) -> dict[int, int]:
    """MiB by node id."""
    return {node.id: node.nr_frames // MIB for node in topology.nodes}


def cpus(topology: Topology) -> dict[int, tuple[int, ...]]:
    return {node.id: node.cpus for node in topology.nodes}


def test_presets_are_the_recorders_machines() -> None:
    assert preset_names() == ("asym", "dual", "eight", "movable", "odd", "quad")
    assert sizes(load("quad")) == sizes(load("asym")) == dict.fromkeys(range(4), 512)
    assert sizes(load("dual")) == {0: 512, 1: 512}
    assert sizes(load("odd")) == {0: 768, 1: 0, 2: 512, 3: 512}
    assert cpus(load("quad")) == cpus(load("asym")) == {0: (0,), 1: (1,), 2: (2,), 3: (3,)}
    assert cpus(load("dual")) == {0: (0, 1), 1: (2, 3)}
    assert cpus(load("odd")) == {0: (0,), 1: (1,), 2: (2,), 3: ()}
    assert sizes(load("eight")) == {0: 768, 1: 512, 2: 0, 3: 512, 4: 512, 5: 0, 6: 512, 7: 256}
    assert cpus(load("eight")) == {0: (0, 1), 1: (2,), 2: (3,), 3: (4,), 4: (5,), 5: (6,), 6: (), 7: ()}
    assert [start // MIB for start, _ in load("eight").node(4).ranges] == [1792, 4096]


def test_movable_has_slots_above_4_gib() -> None:
    movable = load("movable")
    assert [node.id for node in movable.nodes if node.hotplug] == [2, 3]
    assert min(movable.node(2).ranges)[0] == 4096 * MIB
    assert cpus(movable) == {0: (0,), 1: (1,), 2: (2,), 3: ()}
    assert movable.boot["memhp_default_state"] == "online_movable"
    assert load("movable mem=1280M").node(2).hotplug
    assert not load("movable mem=1G").node(2).hotplug


def test_distances_of_the_presets() -> None:
    assert load("dual").distance == ((10, 20), (20, 10))
    assert load("asym").distance == ((10, 16, 22, 32), (16, 10, 28, 24), (22, 30, 10, 14), (40, 24, 14, 10))
    assert load("odd").distance[2] == load("quad").distance[2] == (20, 20, 10, 20)


def test_odd_has_its_memory_in_the_order_node_0_node_3_node_2() -> None:
    odd = load("odd")
    by_place = sorted((start, node.id) for node in odd.nodes for start, _ in node.ranges)
    assert [nid for _, nid in by_place] == [0, 3, 2]


@pytest.mark.parametrize("name", ["asym", "dual", "eight", "movable", "odd", "quad", "4x512M"])
def test_boot_parameters_are_the_recorders(name: str) -> None:
    boot = load(name).boot
    assert boot["page_cluster"] == 0
    assert boot["percpu_pagelist_high_fraction"] == 1000
    assert boot["thp"] == "never"
    assert boot["numa_balancing"] is False
    assert boot["swap"] == 64 << 20
    assert boot["page_table_levels"] == 4


def test_helpers() -> None:
    odd = load("odd")
    assert odd.node_ids == (0, 1, 2, 3)
    assert odd.memory_nodes == 0b1101
    assert odd.cpu_nodes == 0b0111
    assert odd.nr_cpus == 3
    assert odd.nr_frames == (768 + 512 + 512) * MIB
    assert odd.max_pfn == (768 + 512 + 512) * MIB
    assert [odd.node_of_cpu(cpu) for cpu in range(3)] == [0, 1, 2]
    assert odd.node(3).cpus == ()
    with pytest.raises(IndexError, match="cpu 3"):
        odd.node_of_cpu(3)
    with pytest.raises(IndexError, match="node 4"):
        odd.node(4)


def test_a_loaded_topology_is_taken_as_it_is() -> None:
    quad = load("quad")
    assert load(quad) is quad


def test_sparse_ids() -> None:
    topology = Topology("gaps", (Node(63, ((0, 100),), ()), Node(5, (), (0,))))
    assert topology.node_ids == (5, 63)
    assert topology.nr_node_ids == 64
    assert topology.distance[5][63] == 20
    assert topology.distance[63][63] == 10


@pytest.mark.parametrize(
    ("spec", "mib", "per_node"),
    [
        ("4x512M", {0: 512, 1: 512, 2: 512, 3: 512}, 1),
        ("2x1G,cpus=2", {0: 1024, 1: 1024}, 2),
        (" 1x64M ", {0: 64}, 1),
        ("1x131072p", {0: 512}, 1),
    ],
)
def test_groups(spec: str, mib: dict[int, int], per_node: int) -> None:
    topology = load(spec)
    assert sizes(topology) == mib
    assert all(len(node.cpus) == per_node for node in topology.nodes)
    assert topology.distance[0][-1] == (20 if len(mib) > 1 else 10)


def test_groups_can_be_joined() -> None:
    topology = load("2x1G+1x256M,cpus=0+1x0,cpus=3")
    assert sizes(topology) == {0: 1024, 1: 1024, 2: 256, 3: 0}
    assert cpus(topology) == {0: (0,), 1: (1,), 2: (), 3: (2, 3, 4)}


def test_small_nodes_leave_holes() -> None:
    topology = load("3x16p")
    assert [node.ranges for node in topology.nodes] == [
        ((i * SECTION_FRAMES, i * SECTION_FRAMES + 16),) for i in range(3)
    ]


@pytest.mark.timed
def test_a_terabyte_costs_no_more_than_its_nodes() -> None:
    load("64x16G")
    best = min(_timed("64x16G") for _ in range(5))
    assert load("64x16G").nr_frames == 1 << 28
    assert best < 0.05


def _timed(spec: str) -> float:
    start = time.perf_counter()
    load(spec)
    return time.perf_counter() - start


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("quaad", ["quaad", "did you mean quad", "dual"]),
        ("", ["no name"]),
        (7, ["int"]),
        ("4x", ["COUNTxSIZE"]),
        ("4x512Q", ["512Q", "512M"]),
        ("0x512M", ["0 nodes"]),
        ("65x512M", ["65 nodes", "1..64"]),
        ("2x1G,cpu=2", ["cpu=2", "2x1G,cpus=2"]),
        ("1x0", ["no node has memory"]),
        ("2x1G,cpus=0", ["no node has a CPU"]),
        ("nowhere/lab.toml", ["nowhere/lab.toml", "No such file"]),
        ("1x9999T", ["4096T"]),
        ("1x1G,cpus=99999999999", ["99999999999 CPUs", "4096"]),
        ("64x1G,cpus=100", ["6400 CPUs", "4096"]),
        ("1x3K", ["4 KiB pages"]),
    ],
)
def test_a_wrong_spec_is_one_clear_line(spec: str, words: list[str]) -> None:
    with pytest.raises(TopologyError) as caught:
        load(spec)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ((), "no nodes"),
        ((Node(0, ((0, 10),), (0,)), Node(0, (), ())), "given twice"),
        ((Node(64, ((0, 10),), (0,)),), "0..63"),
        ((Node(0, ((16, 32),), (0,)),), "inside a section of 128 MiB: start at 0x8000"),
        ((Node(0, ((0, 0),), (0,)),), "is empty"),
        ((Node(0, ((0, 40000),), (0,)), Node(1, ((32768, 50000),), ())), "belong to node 0 already"),
        ((Node(0, ((0, 10),), (0, 1)), Node(1, (), (1,))), "cpu 1 belongs to node 0 already"),
        ((Node(0, ((0, 10),), (0, 2)),), "cpu 1 is missing"),
    ],
)
def test_a_wrong_node_is_refused(nodes: tuple[Node, ...], words: str) -> None:
    with pytest.raises(TopologyError, match=words):
        Topology("bad", nodes)


@pytest.mark.parametrize(
    ("distance", "words"),
    [
        (((10,),), "1x1, but must be 2x2"),
        (((10, 20), (20, 11)), "node 1 to itself is 11"),
        (((10, 9), (20, 10)), "node 0 to 1 is 9"),
        (((10, 256), (20, 10)), "node 0 to 1 is 256"),
    ],
)
def test_a_wrong_distance_is_refused(distance: tuple[tuple[int, ...], ...], words: str) -> None:
    with pytest.raises(TopologyError, match=words):
        replace(load("dual"), distance=distance)


def test_three_levels_do_not_exist() -> None:
    with pytest.raises(TopologyError, match="4 or 5"):
        replace(load("quad"), boot={"page_table_levels": 3})


def test_a_preset_is_not_hidden_by_a_file_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("quad", "mine"):
        (tmp_path / name).write_text('[[node]]\nsize = "64M"\ncpus = 1\n')
    monkeypatch.chdir(tmp_path)
    assert len(load("quad").nodes) == 4
    assert len(load("./quad").nodes) == len(load("mine").nodes) == 1


def test_a_path_may_hold_blanks(tmp_path: Path) -> None:
    path = tmp_path / "my machine.toml"
    path.write_text('[[node]]\nsize = "64M"\ncpus = 1\n')
    assert load(str(path)).name == load(path).name == "my machine"


@pytest.mark.parametrize(
    ("boot", "words"),
    [
        ({"page_cluster": -5}, "0..31"),
        ({"swap": "64M"}, "below 16T"),
        ({"vm.swappiness": 10}, "'vm.swappiness' is unknown"),
    ],
)
def test_boot_parameters_of_a_topology_are_checked(boot: dict[str, object], words: str) -> None:
    with pytest.raises(TopologyError, match=words):
        Topology("lab", (Node(0, ((0, 16),), (0,)),), boot=boot)
