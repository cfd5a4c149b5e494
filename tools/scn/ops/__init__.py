"""The operations of the scenario language, one module a family; importing this fills the table."""

from __future__ import annotations

from numalab.tools.scn.ops import (
    access,
    control,
    files,
    identity,
    look,
    mapping,
    migration,
    obstacles,
    policy,
    scarcity,
)
from numalab.tools.scn.ops.registry import OPERATIONS, Operation

__all__ = ["FAMILIES", "OPERATIONS", "Operation"]

# In the order in which a person meets them.
FAMILIES = (mapping, access, policy, migration, look, identity, files, scarcity, obstacles, control)
