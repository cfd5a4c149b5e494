"""Whether a description of a machine is made of what it should be made of, before anybody asks whether it makes sense.

Descriptions that people write as text are parsed (machine_file.py, cmdline.py); those that programs build may hold
anything. What is found wrong is a TopologyError that says where it is, what is there and what belongs there.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from numalab.arch.cmdline import TopologyError, shown

__all__ = ["check_numbers", "check_shape", "is_number"]

WORD = 1 << 64


def is_number(value: object) -> TypeGuard[int]:
    """Whether this is a whole number: an int, or what can stand for one, but no truth value."""
    return not isinstance(value, bool) and hasattr(type(value), "__index__")


def check_numbers(values: object, what: str) -> None:
    """A tuple or list of whole numbers. Raises TopologyError."""
    _check_sequence(values, what, "whole numbers")
    assert isinstance(values, Sequence)
    if {*map(type, values)} <= {int} and (not values or -WORD < min(values) <= max(values) < WORD):
        return
    for value in values:
        _check_number(value, what)


def check_shape(name: object, nodes: object, kind: type[Any], distance: object, boot: object) -> None:
    """Types of what a Topology is built from; kind: what its nodes are. Raises TopologyError."""
    if not isinstance(name, str):
        raise TopologyError(f"the name of a machine is text, not {shown(name)}")
    if not isinstance(boot, Mapping):
        raise TopologyError(
            f"boot: {shown(boot)} is no mapping: write parameters by name, such as {{'swap': 0}}"
        )
    _check_sequence(nodes, "nodes", "nodes")
    assert isinstance(nodes, Sequence)
    for node in nodes:
        if not isinstance(node, kind):
            raise TopologyError(f"nodes: {shown(node)} is no {kind.__name__}")
        _check_number(node.id, "the id of a node")
        check_numbers(node.cpus, f"node {node.id}: cpus")
        _check_sequence(node.ranges, f"node {node.id}: ranges", "pairs of frame numbers")
        for span in node.ranges:
            check_numbers(span, f"node {node.id}: a range")
            if len(span) != 2:
                raise TopologyError(f"node {node.id}: the range {shown(span)} is no pair of frame numbers")
        if not isinstance(node.hotplug, bool):
            raise TopologyError(f"node {node.id}: hotplug is True or False, not {shown(node.hotplug)}")
    _check_sequence(distance, "distances", "rows")
    assert isinstance(distance, Sequence)
    for i, row in enumerate(distance):
        check_numbers(row, f"distances: row {i}")


def _check_number(value: object, what: str) -> None:
    if not is_number(value):
        raise TopologyError(f"{what}: {shown(value)} is no whole number")
    if not -WORD < value < WORD:
        raise TopologyError(f"{what}: {shown(value)} has more than 64 bits")


def _check_sequence(values: object, what: str, of: str) -> None:
    if not isinstance(values, (tuple, list)):
        raise TopologyError(f"{what}: {shown(values)} is no tuple of {of}")
