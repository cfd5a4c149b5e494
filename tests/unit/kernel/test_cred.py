"""The rules about ids and capabilities, one by one."""

import pytest

from numalab.arch.errno import EINVAL, EPERM, KernelError
from numalab.kernel import cred as rules
from numalab.kernel.cred import ALL_CAPS, INVALID_ID, Cap, Cred

ROOT = Cred()
USER = rules.setresuid(ROOT, 1000, 1000, 1000)


def ids(cred: Cred) -> tuple[int, int, int, int]:
    return cred.uid, cred.euid, cred.suid, cred.fsuid


def refused(call: object, *args: object) -> int:
    with pytest.raises(KernelError) as caught:
        call(*args)  # type: ignore[operator]
    return caught.value.errno


def test_root_has_everything_and_a_user_nothing() -> None:
    assert ROOT.effective == ROOT.permitted == ALL_CAPS == 0x1FFFFFFFFFF
    assert ids(USER) == (1000, 1000, 1000, 1000)
    assert USER.effective == USER.permitted == 0
    assert USER.bounding == ALL_CAPS


def test_setuid_of_root_sets_all_of_a_user_the_effective_one() -> None:
    assert ids(rules.setuid(ROOT, 5)) == (5, 5, 5, 5)
    mixed = rules.setresuid(ROOT, 1000, 2000, 0)
    assert ids(rules.setuid(mixed, 1000)) == (1000, 1000, 0, 1000)
    assert ids(rules.setuid(mixed, 0)) == (1000, 0, 0, 0)
    assert refused(rules.setuid, mixed, 2001) == EPERM
    assert refused(rules.setuid, ROOT, INVALID_ID) == EINVAL


def test_an_effective_id_that_leaves_0_takes_effective_capabilities_along_and_brings_them_back() -> None:
    away = rules.setresuid(ROOT, INVALID_ID, 1000, INVALID_ID)
    assert ids(away) == (0, 1000, 0, 1000)
    assert (away.effective, away.permitted) == (0, ALL_CAPS)
    back = rules.setresuid(away, INVALID_ID, 0, INVALID_ID)
    assert (back.effective, back.permitted) == (ALL_CAPS, ALL_CAPS)


def test_keep_caps_keeps_permitted_only() -> None:
    from dataclasses import replace  # noqa: PLC0415

    kept = rules.setuid(replace(ROOT, keep_caps=True), 1000)
    assert (kept.effective, kept.permitted) == (0, ALL_CAPS)


def test_setreuid_moves_the_saved_id() -> None:
    assert ids(rules.setreuid(ROOT, 1, 2)) == (1, 2, 2, 2)
    assert ids(rules.setreuid(ROOT, INVALID_ID, 7)) == (0, 7, 7, 7)
    assert ids(rules.setreuid(ROOT, 7, INVALID_ID)) == (7, 0, 0, 0)
    mixed = rules.setresuid(ROOT, 10, 20, 30)
    assert ids(rules.setreuid(mixed, INVALID_ID, 10)) == (10, 10, 30, 10), "not when it becomes the real one"
    assert ids(rules.setreuid(mixed, 20, 10)) == (20, 10, 10, 10), "swapped"
    assert refused(rules.setreuid, mixed, 30, INVALID_ID) == EPERM
    assert ids(rules.setreuid(mixed, INVALID_ID, 30)) == (10, 30, 30, 30)


def test_setresuid_of_a_user_permutes_its_own_ids() -> None:
    mixed = rules.setresuid(ROOT, 10, 20, 30)
    assert ids(rules.setresuid(mixed, 30, 10, 20)) == (30, 10, 20, 10)
    assert refused(rules.setresuid, mixed, 10, 20, 31) == EPERM
    assert ids(rules.setresuid(mixed, INVALID_ID, INVALID_ID, INVALID_ID)) == ids(mixed)


def test_groups_have_the_same_rules_and_no_capabilities() -> None:
    grouped = rules.setresgid(ROOT, 10, 20, 30)
    assert (grouped.gid, grouped.egid, grouped.sgid, grouped.fsgid) == (10, 20, 30, 20)
    assert grouped.effective == ALL_CAPS
    user = rules.setuid(grouped, 1)
    assert rules.setgid(user, 30).egid == 30
    assert refused(rules.setgid, user, 20) == EPERM
    assert refused(rules.setresgid, user, 1, 1, 1) == EPERM
    assert rules.setregid(user, 20, 10).sgid == 10
    assert refused(rules.setregid, user, 30, 10) == EPERM
    assert rules.setgid(ROOT, 9).sgid == 9


def test_capset_only_ever_takes_away() -> None:
    nice = 1 << Cap.CAP_SYS_NICE
    fewer = rules.capset(ROOT, ALL_CAPS & ~nice, ALL_CAPS & ~nice, 0)
    assert not rules.has_cap(fewer, Cap.CAP_SYS_NICE)
    assert rules.has_cap(fewer, Cap.CAP_SYS_PTRACE)
    assert refused(rules.capset, fewer, ALL_CAPS, ALL_CAPS, 0) == EPERM
    assert refused(rules.capset, fewer, nice, 0, 0) == EPERM, "effective beyond permitted"
    off = rules.capset(ROOT, 0, ALL_CAPS, 0)
    assert rules.capset(off, ALL_CAPS, ALL_CAPS, 0).effective == ALL_CAPS, "permitted can be taken up again"
    assert rules.capset(ROOT, 1 << 63 | nice, ALL_CAPS, 0).effective == nice, (
        "bits without a name are dropped"
    )


def test_inheritable_is_limited_by_what_one_has() -> None:
    nice = 1 << Cap.CAP_SYS_NICE
    none = rules.capset(ROOT, 0, 0, 0)
    assert refused(rules.capset, none, 0, 0, nice) == EPERM
    assert rules.capset(ROOT, ALL_CAPS, ALL_CAPS, nice).inheritable == nice


def test_exec_gives_root_everything_back_and_others_nothing() -> None:
    bare = rules.capset(ROOT, 0, 0, 0)
    assert rules.exec_cred(bare).effective == ALL_CAPS
    half = rules.setresuid(ROOT, 0, 1000, 0)
    after = rules.exec_cred(half)
    assert (after.effective, after.permitted, after.suid) == (0, ALL_CAPS, 1000)
    assert rules.exec_cred(USER).permitted == 0


@pytest.mark.parametrize(
    ("new", "cleared"),
    [
        (ROOT, False),
        (rules.setresuid(ROOT, 5, INVALID_ID, INVALID_ID), False),
        (rules.setresuid(ROOT, INVALID_ID, 5, INVALID_ID), True),
        (rules.setresgid(ROOT, INVALID_ID, 5, INVALID_ID), True),
        (rules.capset(ROOT, 0, 0, 0), False),
    ],
)
def test_what_clears_dumpable(new: Cred, cleared: bool) -> None:
    assert rules.cleared_on_commit(ROOT, new) is cleared


def test_gaining_a_capability_clears_dumpable() -> None:
    assert rules.cleared_on_commit(rules.capset(ROOT, 0, 0, 0), ROOT)
