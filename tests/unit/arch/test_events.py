"""Event names, the mask, and the text that a reader of ftrace expects."""

import pytest

from numalab.arch import _hw, events
from numalab.arch._hw import Hardware


def test_ids_are_those_of_the_c_face() -> None:
    assert len(events.EVENTS) == _hw.NR_EVENTS
    for i, event in enumerate(events.EVENTS):
        assert getattr(_hw, f"EV_{event.name.upper()}") == i


def test_enable_and_disable() -> None:
    with Hardware("1x16p") as hw:
        events.enable(hw, "sys_enter", "mm_page_free")
        assert events.enabled(hw) == ("mm_page_free", "sys_enter")
        events.disable(hw, "sys_enter")
        assert events.enabled(hw) == ("mm_page_free",)
        events.enable(hw, "all")
        assert len(events.enabled(hw)) == len(events.EVENTS)
        events.disable(hw, "all")
        assert hw.trace_mask == 0
        with pytest.raises(ValueError, match=r"'mm_page_fre' is unknown: .*mm_page_free"):
            events.enable(hw, "mm_page_fre")


@pytest.mark.parametrize(
    ("name", "words", "text"),
    [
        ("mm_page_alloc", (0x40, 1, 0x10), "pfn=0x40 order=1 gfp_flags=0x10"),
        ("mm_migrate_pages_start", (2, 4), "mode=MIGRATE_SYNC reason=mempolicy_mbind"),
        (
            "mm_migrate_pages",
            (7, 1, 3 << 8),
            "nr_succeeded=7 nr_failed=1 mode=MIGRATE_ASYNC reason=syscall_or_cpuset",
        ),
        ("set_migration_pte", (0x7F0000, 0xF80, 0), "addr=7f0000, pte=f80 order=0"),
        (
            "mm_vmscan_lru_isolate",
            (32 | 40 << 32, 8 | 30 << 32, 2 | 1 << 8 | 1 << 16),
            "classzone=2 order=1 nr_requested=32 nr_scanned=40 nr_skipped=8 nr_taken=30 lru=active_anon",
        ),
        ("tlb_flush", (2**64 - 1, 4), "pages:-1 reason:remote IPI send"),
        ("page_fault_user", (0x1000, 0, 6), "address=0x1000 ip=0x0 error_code=0x6"),
        ("sched_switch", (12, 13, 1), "prev_pid=12 prev_state=1 ==> next_pid=13"),
        ("sys_enter", (256, 0, 5), "NR 256 (0, 5)"),
        ("sys_exit", (256, 2**64 - 22), "NR 256 = -22"),
        ("mm_migrate_pages_start", (9, 99), "mode=9 reason=99"),
    ],
)
def test_text(name: str, words: tuple[int, ...], text: str) -> None:
    with Hardware("1x16p") as hw:
        events.enable(hw, name)
        hw.trace(events.IDS[name], 0, *words)
        (record,) = events.read(hw)
        assert record.name == name
        assert record.text() == text


def test_every_field_is_shown_once() -> None:
    with Hardware("1x16p") as hw:
        events.enable(hw, "all")
        for i in range(len(events.EVENTS)):
            hw.trace(i, 0)
        for record in events.read(hw):
            assert list(record.args) == [f.name for f in record.event.fields]
            for field in record.event.fields:
                assert record.event.text.count("{" + field.name + "}") == 1


def test_lines() -> None:
    with Hardware("1x16p") as hw:
        events.enable(hw, "mm_page_free")
        hw.now = 12_345_678_901
        hw.trace(_hw.EV_MM_PAGE_FREE, 3, 5, 0)
        (record,) = events.read(hw)
        assert (
            events.line(record)
            == "          <idle>-0       [003] .....    12.345678: mm_page_free: pfn=0x5 order=0"
        )
        assert events.line(record, lambda r: ("worker", 41)).startswith("          worker-41      [003]")


def test_reading_on_and_overwriting() -> None:
    with Hardware("1x16p") as hw:
        events.enable(hw, "mm_page_free")
        size = len(hw.ring)
        for pfn in range(10):
            hw.trace(_hw.EV_MM_PAGE_FREE, 0, pfn)
        assert [r.args["pfn"] for r in events.read(hw)] == list(range(10))
        assert [r.seq for r in events.read(hw, since=7)] == [7, 8, 9]
        for pfn in range(10, size + 4):
            hw.trace(_hw.EV_MM_PAGE_FREE, 0, pfn)
        kept = list(events.read(hw))
        assert len(kept) == size
        assert (kept[0].seq, kept[0].args["pfn"]) == (4, 4)
        assert kept[-1].args["pfn"] == size + 3
