"""What the errnos of the calls about memory policy and migration mean, and where it says so.

A kernel that refuses knows the one clause that was hurt, and `explain` prints it; here are the rules that clause
belongs to, by call and errno, in the order in which 6.12 looks.
"""

from __future__ import annotations

from numalab.arch.errno import (
    EACCES,
    EFAULT,
    EINVAL,
    EIO,
    ENODEV,
    ENOENT,
    ENOMEM,
    EOPNOTSUPP,
    EPERM,
    ESRCH,
)
from numalab.mm.migrate.reasons import Rule

__all__ = ["ERRNOS", "POSITIVE"]

_MASK = "the mask has more bits than the kernel knows nodes and one of those is set, or is longer than a page"
_POLICY = (
    "the mode or its flags are unknown or exclude each other, the mask is empty where the mode needs nodes or is not "
    "where it takes none, or no node of it is allowed by the cpuset and has memory"
)
_LOOK = "the caller may not look into that process (as ptrace would with PTRACE_MODE_READ_REALCREDS)"
_MOVE_ALL = "MPOL_MF_MOVE_ALL moves what others map too, and takes CAP_SYS_NICE"

ERRNOS: dict[tuple[str, int], Rule] = {
    ("set_mempolicy", EINVAL): Rule(f"{_POLICY}; or {_MASK}", "set_mempolicy(2); mm/mempolicy.c: mpol_new()"),
    ("set_mempolicy", EFAULT): Rule("the node mask cannot be read", "set_mempolicy(2)"),
    ("set_mempolicy", ENOMEM): Rule("there is no memory for a policy", "set_mempolicy(2)"),
    ("get_mempolicy", EINVAL): Rule(
        "unknown flags or flags that exclude each other, an address without MPOL_F_ADDR, MPOL_F_NODE for a policy that "
        "does not interleave, or a mask with less room than there may be nodes",
        "get_mempolicy(2); mm/mempolicy.c: do_get_mempolicy()",
    ),
    ("get_mempolicy", EFAULT): Rule(
        "nothing is mapped at the address, or an answer cannot be written", "get_mempolicy(2)"
    ),
    ("mbind", EINVAL): Rule(
        f"the start is not page-aligned, the range wraps, or a flag is unknown; {_POLICY}; or {_MASK}",
        "mbind(2); mm/mempolicy.c: do_mbind()",
    ),
    ("mbind", EPERM): Rule(_MOVE_ALL, "mbind(2)"),
    ("mbind", EFAULT): Rule(
        "the node mask cannot be read, or the range has a hole, where nothing is mapped; nothing has changed then",
        "mbind(2); mm/mempolicy.c: queue_pages_test_walk()",
    ),
    ("mbind", EIO): Rule(
        "with MPOL_MF_STRICT, a page that is not where the policy wants it is an error: alone, the first one ends the "
        "call and nothing has changed; with MOVE or MOVE_ALL the policy holds, and one could not be moved",
        "mbind(2); mm/mempolicy.c: queue_pages_range(), do_mbind()",
    ),
    ("mbind", ENOMEM): Rule(
        "the policy splits an area, and the process has as many areas as it may (vm.max_map_count)",
        "mbind(2)",
    ),
    ("set_mempolicy_home_node", EINVAL): Rule(
        "the start is not page-aligned, the range wraps, a flag is given, or there is no such node",
        "set_mempolicy_home_node(2)",
    ),
    ("set_mempolicy_home_node", EOPNOTSUPP): Rule(
        "an area of the range has a policy other than bind or preferred (many)", "set_mempolicy_home_node(2)"
    ),
    ("set_mempolicy_home_node", ENOENT): Rule(
        "no area of the range has a policy of its own",
        "mm/mempolicy.c: sys_set_mempolicy_home_node(); its man page does not tell",
    ),
    ("migrate_pages", EINVAL): Rule(
        f"none of the new nodes may be used by the caller and has memory; or {_MASK}; or the process has no memory",
        "migrate_pages(2); mm/mempolicy.c: kernel_migrate_pages()",
    ),
    ("migrate_pages", EFAULT): Rule("a node mask cannot be read", "migrate_pages(2)"),
    ("migrate_pages", ESRCH): Rule("there is no process with that pid", "migrate_pages(2)"),
    ("migrate_pages", EPERM): Rule(
        f"{_LOOK}; or a new node is not allowed by its cpuset, and the caller lacks CAP_SYS_NICE",
        "migrate_pages(2); mm/mempolicy.c: kernel_migrate_pages()",
    ),
    ("migrate_pages", ENOMEM): Rule(
        "a target node filled up: what had moved stays moved, pairs that would have come are not tried",
        "mm/mempolicy.c: do_migrate_pages(); mm/migrate.c: migrate_pages()",
    ),
    ("move_pages", EINVAL): Rule(
        "flags other than MPOL_MF_MOVE and MPOL_MF_MOVE_ALL, or a process without memory (a kernel thread)",
        "move_pages(2)",
    ),
    ("move_pages", EPERM): Rule(f"{_MOVE_ALL}; or {_LOOK}", "move_pages(2)"),
    ("move_pages", ESRCH): Rule("there is no process with that pid", "move_pages(2)"),
    ("move_pages", EFAULT): Rule(
        "an entry of pages[] or nodes[] cannot be read, or one of status[] not written; entries before it are done",
        "move_pages(2); mm/migrate.c: do_pages_move()",
    ),
    ("move_pages", ENODEV): Rule("a wanted node does not exist or has no memory", "move_pages(2)"),
    ("move_pages", EACCES): Rule(
        "a wanted node is not allowed by the cpuset of the process", "move_pages(2)"
    ),
    ("move_pages", ENOMEM): Rule(
        "a wanted node filled up; what had moved stays moved", "mm/migrate.c: do_move_pages_to_node()"
    ),
}

#: What a result greater than 0 counts.
POSITIVE: dict[str, Rule] = {
    "migrate_pages": Rule("pages that should have moved and stayed; a huge page is one", "migrate_pages(2)"),
    "move_pages": Rule(
        "pages left by the batch that failed, and all entries behind it, which nobody tried",
        "move_pages(2); mm/migrate.c: do_pages_move()",
    ),
}
