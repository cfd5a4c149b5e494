"""Cost presets: complete, sourced, and what kernels see of them."""

import pytest

from numalab.arch import costs
from numalab.arch._hw import Hardware
from numalab.arch.topology import load


@pytest.mark.parametrize("preset", costs.PRESETS.values(), ids=list(costs.PRESETS))
def test_every_term_is_there_and_says_where_it_comes_from(preset: costs.Costs) -> None:
    assert tuple(preset.table) == costs.TERMS
    for term in (*preset.table.values(), preset.copy_local, preset.copy_remote):
        assert term.kind in costs.KINDS
        assert term.source
        assert isinstance(term.ns, int)
        assert term.ns > 0
    assert preset.copy_remote.ns > preset.copy_local.ns


def test_the_c_table_has_the_same_terms() -> None:
    with Hardware("1x16p") as hw:
        assert tuple(hw.cost) == costs.TERMS
        assert hw.cost == costs.load().terms()


def per_page(preset: costs.Costs, n: int, copy: int) -> float:
    """The model of one migration call of n pages, ns per page."""
    t = preset.terms()
    return (
        t["migrate_call"] / n + t["scan_page"] + t["isolate_page"] + t["unmap_page"] + t["remap_page"] + copy
    )


@pytest.mark.parametrize(
    ("name", "pages", "source_ns"),
    [
        ("epyc-2025", 262144, 1100),
        ("xeon-2019", 512, 4800),
        ("xeon-2016", 512, 4200),
        ("opteron-2008", 100, 9370),
    ],
)
def test_the_model_meets_its_source(name: str, pages: int, source_ns: int) -> None:
    preset = costs.load(name)
    assert per_page(preset, pages, preset.copy_remote.ns) == pytest.approx(source_ns, rel=0.05)


def test_first_write_costs_what_was_measured() -> None:
    terms = costs.load("epyc-2025").terms()
    assert 1360 <= terms["fault"] + terms["zero_page"] <= 1420


def test_copy_cost_grows_with_distance() -> None:
    preset = costs.load()
    assert preset.copy_ns(10) == preset.copy_local.ns
    assert preset.copy_ns(20) == preset.copy_remote.ns
    assert preset.copy_ns(15) < preset.copy_ns(20) < preset.copy_ns(40)


def test_copy_matrix_is_by_node_and_direction() -> None:
    asym = load("asym")
    with Hardware(asym) as hw:
        assert hw.copy_cost.shape == (64, 64)
        for i in range(4):
            for j in range(4):
                assert hw.copy_cost[i, j] == hw.costs.copy_ns(asym.distance[i][j])
        assert hw.copy_cost[0, 3] < hw.copy_cost[3, 0]


def test_load() -> None:
    assert costs.load(None).name == costs.DEFAULT == "epyc-2025"
    preset = costs.load("xeon-2016")
    assert costs.load(preset) is preset
    with pytest.raises(ValueError, match="use epyc-2025"):
        costs.load("abacus")


def test_terms_can_be_changed_by_hand() -> None:
    preset = costs.load().with_terms(walk=99, copy_remote=7)
    assert preset.terms()["walk"] == 99
    assert preset.table["walk"].kind == "assumption"
    assert preset.copy_ns(20) == 7
    with pytest.raises(ValueError, match="wlak"):
        costs.load().with_terms(wlak=1)
