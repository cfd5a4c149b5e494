"""Event names, how they are chosen, and their text: the words of Linux 6.12 (its events/*/format, and real traces)."""

import pytest

from numalab.arch import _hw, events
from numalab.arch._hw import Hardware


def read(hw: Hardware) -> list[events.Record]:
    return list(events.decode(hw, hw.ring[: hw.ring_head], 0))


def test_ids_are_those_of_the_c_face() -> None:
    assert len(events.EVENTS) == _hw.NR_EVENTS
    for i, event in enumerate(events.EVENTS):
        assert getattr(_hw, f"EV_{event.name.upper()}") == i


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["mm_page_free"], {"mm_page_free"}),
        (["kmem"], {"mm_page_alloc", "mm_page_free"}),
        (["kmem:*_free", "tlb"], {"mm_page_free", "tlb_flush"}),
        (["migrate:"], {"mm_migrate_pages_start", "mm_migrate_pages", "set_migration_pte", "remove_migration_pte"}),
        (["sched_w*"], {"sched_wakeup", "sched_wakeup_new"}),
        (["*:sys_e?it"], {"sys_exit"}),
        (["all"], set(events.IDS)),
    ],
)  # fmt: skip
def test_events_are_chosen_as_with_trace_cmd(patterns: list[str], names: set[str]) -> None:
    mask = events.select(patterns)
    assert {name for name, i in events.IDS.items() if mask >> i & 1} == names


@pytest.mark.parametrize("pattern", ["mm_page_fre", "kmem:sys_exit", "", "KMEM"])
def test_what_matches_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"is unknown: use all, one of the systems kmem, migrate"):
        events.select(["tlb", pattern])


@pytest.mark.parametrize(
    ("name", "args", "text"),
    [
        (
            "mm_page_alloc",
            (0x40, 0, 1 | 8),
            "page=ffffea0000001000 pfn=0x40 order=0 migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_COMP",
        ),
        (
            "mm_page_alloc",
            (1, 0, 8),
            "page=ffffea0000000040 pfn=0x1 order=0 migratetype=0 gfp_flags=GFP_KERNEL_ACCOUNT|__GFP_COMP|__GFP_ZERO",
        ),
        ("mm_page_free", (2, 9), "page=ffffea0000000080 pfn=0x2 order=9"),
        ("mm_migrate_pages_start", (2, 4), "mode=MIGRATE_SYNC reason=mempolicy_mbind"),
        (
            "mm_migrate_pages",
            (7, 1, 2, 3, 4, 0, 3),
            (
                "nr_succeeded=7 nr_failed=1 nr_thp_succeeded=2 nr_thp_failed=3 nr_thp_split=4 nr_split=4 "
                "mode=MIGRATE_ASYNC reason=syscall_or_cpuset"
            ),
        ),
        ("set_migration_pte", (0x7F0000, 0xF80, 0), "addr=7f0000, pte=f80 order=0"),
        (
            "mm_vmscan_lru_isolate",
            (2, 1, 32, 40, 8, 30, 1),
            "classzone=2 order=1 nr_requested=32 nr_scanned=40 nr_skipped=8 nr_taken=30 lru=active_anon",
        ),
        (
            "mm_vmscan_lru_shrink_inactive",
            (1 | 12 << 32, 32 | 20 << 32, 3 | 4 << 32, 0, 5 | 6 << 32, 7 | 8 << 32, 0),
            (
                "nid=1 nr_scanned=32 nr_reclaimed=20 nr_dirty=3 nr_writeback=4 nr_congested=0 nr_immediate=0 "
                "nr_activate_anon=5 nr_activate_file=6 nr_ref_keep=7 nr_unmap_fail=8 priority=12 "
                "flags=RECLAIM_WB_ANON|RECLAIM_WB_ASYNC"
            ),
        ),
        ("tlb_flush", (2**64 - 1, 4), "pages:-1 reason:remote ipi send (4)"),
        ("page_fault_user", (0x1000, 0, 6), "address=0x1000 ip=0x0 error_code=0x6"),
        (
            "sched_switch",
            ("a", 12, 120, 3, "b", 13, 120),
            "prev_comm=a prev_pid=12 prev_prio=120 prev_state=D ==> next_comm=b next_pid=13 next_prio=120",
        ),
        ("sched_wakeup", ("init", 1, 120, 2), "comm=init pid=1 prio=120 target_cpu=002"),
        ("sched_process_fork", ("a", 1, "b", 2), "comm=a pid=1 child_comm=b child_pid=2"),
        ("block_rq_issue", (254 << 20, 1, 16, 0, "x"), "254,0 W 8192 () 0 + 16 none,0,0 [x]"),
        ("block_rq_complete", (254 << 20, 0, 16, 0, -5), "254,0 R () 0 + 16 none,0,0 [-5]"),
        ("sys_enter", (256, 0, 5, 1, 2, 3, 2**64 - 1), "NR 256 (0, 5, 1, 2, 3, ffffffffffffffff)"),
        ("sys_exit", (256, -22), "NR 256 = -22"),
        ("mm_migrate_pages_start", (9, 99), "mode=9 reason=99"),
    ],
)
def test_text(name: str, args: tuple[int | str, ...], text: str) -> None:
    with Hardware("1x16p") as hw:
        hw.trace_mask = events.select([name])
        hw.trace(events.IDS[name], *args)
        (record,) = read(hw)
        assert record.name == name
        assert record.text() == text


def test_every_field_is_shown_once() -> None:
    with Hardware("1x16p") as hw:
        hw.trace_mask = events.select(["all"])
        for i in range(len(events.EVENTS)):
            hw.trace(i, *["a"] * 7)
        for record in read(hw):
            assert list(record.args) == [f.name for f in record.event.fields]
            for field in record.event.fields:
                assert record.event.text.count("{" + field.name + "}") == 1
