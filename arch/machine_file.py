"""Machine files: a machine written down in TOML, and the presets, which are such files.

    name = "lab"                  # default: the file's name
    distances = [[10, 21], [21, 10]]    # a row and a column per node, ascending by id; default 10 at home, 20 elsewhere

    [[node]]                      # physical memory lies in the order of these tables
    id = 0                        # default: 0, 1, 2... in order; 0..63, gaps are fine
    size = "512M"                 # or pages: "16p"; leave it out for a node without memory
    cpus = 2                      # a count, or numbers: [0, 1] or "0-1,4"; leave it out for a node without CPUs
    hotplug = true                # its memory is in slots and comes after boot, as memhp_default_state says

    [[node]]
    id = 3
    ranges = ["1G-2G", "3G+256M"] # instead of size: where exactly, as START-END or START+SIZE

    [boot]                        # boot parameters and sysctls; see boot_params.PARAMETERS
    page_cluster = 0
    vm.swappiness = 60

Every mistake is a TopologyError of one line: the file, the place in it, what is wrong, and what would be right.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from numalab.arch import boot_params
from numalab.arch.cmdline import TopologyError, parse_size, shown
from numalab.arch.node import (
    LOCAL_DISTANCE,
    MAX_CPUS,
    MAX_NUMNODES,
    REMOTE_DISTANCE,
    Node,
    Topology,
    align_up,
)

PRESETS = Path(__file__).with_name("presets")

_TOP_KEYS = ("name", "node", "distances", "boot")
_NODE_KEYS = ("id", "size", "ranges", "cpus", "hotplug")


def preset_names() -> tuple[str, ...]:
    """Names of the machines that come along."""
    return tuple(sorted(path.stem for path in PRESETS.glob("*.toml")))


def looks_like_path(text: str) -> bool:
    """Whether a spec means a file: it ends in .toml, holds a separator, or names a file that exists."""
    return (
        text.endswith(".toml")
        or os.sep in text.split(maxsplit=1)[0]
        or (len(text.split()) == 1 and os.path.isfile(text))
    )


def load_preset(name: str) -> Topology:
    """A machine that comes along. Raises TopologyError with the list of names."""
    if not re.fullmatch(r"[\w-]+", name) or name not in (names := preset_names()):
        names = preset_names()
        close = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise TopologyError(
            f"machine {shown(name)} is unknown: {hint}use {', '.join(names)}, 4x512M, numa=fake=4 or a .toml file"
        )
    return load_path(str(PRESETS / f"{name}.toml"))


def load_path(path: str) -> Topology:
    """Read a machine file. Raises TopologyError: unreadable, not TOML, or not a machine."""
    try:
        with open(path, "rb") as file:
            return parse(tomllib.load(file), Path(path).stem)
    except OSError as error:
        raise TopologyError(f"machine file {path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TopologyError(f"machine file {path}: not TOML: {str(error).splitlines()[0]}") from None
    except TopologyError as error:
        raise TopologyError(f"machine file {path}: {error}") from None
    except RecursionError:
        raise TopologyError(f"machine file {path}: lists or tables stand too deep in each other") from None
    except ValueError:  # Python's limit on digits, met while reading or while naming the number in a message
        raise TopologyError(f"machine file {path}: a number is too long: TOML's have 64 bits") from None


def parse(data: Mapping[str, Any], name: str) -> Topology:
    """The Topology that a decoded TOML document describes. Raises TopologyError."""
    _only_keys(data, _TOP_KEYS, "at the top")
    title = data.get("name", name)
    if not isinstance(title, str) or not title:
        raise TopologyError(f"name is {shown(title)}: write a string")
    tables = data.get("node")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise TopologyError("no [[node]] tables: write at least one, with size and cpus")
    for i, table in enumerate(tables):
        _only_keys(table, _NODE_KEYS, f"[[node]] number {i + 1}")
    ids = [_node_id(table, i) for i, table in enumerate(tables)]
    cpus = _cpus(tables, ids)
    ranges = _ranges(tables, ids)
    hotplug = [_hotplug(table, nid) for table, nid in zip(tables, ids, strict=True)]
    nodes = [Node(nid, ranges[i], cpus[i], hotplug[i]) for i, nid in enumerate(ids)]
    return Topology(
        title, tuple(nodes), _distances(data.get("distances"), sorted(ids)), _boot(data.get("boot", {}))
    )


def _only_keys(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
            raise TopologyError(f"{where}: unknown key {shown(key)}: {hint}")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _node_id(table: Mapping[str, Any], i: int) -> int:
    nid = table.get("id", i)
    if not _is_int(nid) or not 0 <= nid < MAX_NUMNODES:
        what = f"[[node]] number {i + 1}: id is {shown(nid)}"
        raise TopologyError(f"{what}: write a number, 0..{MAX_NUMNODES - 1}")
    return int(nid)


def _hotplug(table: Mapping[str, Any], nid: int) -> bool:
    value = table.get("hotplug", False)
    if not isinstance(value, bool):
        raise TopologyError(f"node {nid}: hotplug is {shown(value)}: write true or false")
    return value


def _ranges(tables: Sequence[Mapping[str, Any]], ids: Sequence[int]) -> list[tuple[tuple[int, int], ...]]:
    """Frame ranges by table. A size is placed at the next section boundary after everything that stands before it."""
    result = []
    free = 0
    for table, nid in zip(tables, ids, strict=True):
        where = f"node {nid}"
        if "size" in table and "ranges" in table:
            raise TopologyError(f"{where}: size and ranges are both given: keep one")
        if "ranges" in table:
            texts = table["ranges"]
            if not isinstance(texts, list):
                raise TopologyError(
                    f'{where}: ranges is {shown(texts)}: write a list such as ["0-512M", "1G+256M"]'
                )
            mine = tuple(sorted(_range(text, where) for text in texts))
        else:
            size = parse_size(table.get("size", 0), f"{where}: size", zero=True)
            mine = ((free, free + size),) if size else ()
        free = align_up(max([free, *(end for _, end in mine)]))
        result.append(mine)
    return result


def _range(text: object, where: str) -> tuple[int, int]:
    match = re.fullmatch(r"([^-+]+)([-+])([^-+]+)", text) if isinstance(text, str) else None
    if match is None:
        raise TopologyError(
            f"{where}: range {shown(text)}: write START-END or START+SIZE, such as 1G-2G or 1G+512M"
        )
    start = parse_size(match[1].strip(), f"{where}: range {shown(text)}", zero=True)
    other = parse_size(match[3].strip(), f"{where}: range {shown(text)}")
    return start, other if match[2] == "-" else start + other


def _cpus(tables: Sequence[Mapping[str, Any]], ids: Sequence[int]) -> list[tuple[int, ...]]:
    """CPU numbers by table. Counts take the lowest numbers that no list names, node by node ascending."""
    result: list[tuple[int, ...]] = [()] * len(tables)
    counts: list[tuple[int, int, int]] = []
    for i, (table, nid) in enumerate(zip(tables, ids, strict=True)):
        value = table.get("cpus", 0)
        if _is_int(value):
            if not 0 <= value <= MAX_CPUS:
                raise TopologyError(
                    f"node {nid}: cpus is {value}: a machine has up to {MAX_CPUS}, in all nodes"
                )
            counts.append((nid, i, value))
        else:
            result[i] = _cpu_list(value, f"node {nid}")
    named = {cpu for cpus in result for cpu in cpus}
    free = (cpu for cpu in range(2 * MAX_CPUS + len(named)) if cpu not in named)
    for _, i, count in sorted(counts):
        result[i] = tuple(next(free, MAX_CPUS) for _ in range(count))
    return result


def _cpu_list(value: object, where: str) -> tuple[int, ...]:
    """[0, 1] or "0-1,4"."""
    if isinstance(value, list) and all(_is_int(cpu) and 0 <= cpu < MAX_CPUS for cpu in value):
        numbers = list(value)
    elif isinstance(value, str) and re.fullmatch(
        r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*", value, re.ASCII
    ):
        numbers = []
        for part in value.split(","):
            first, _, last = part.partition("-")
            if int(last or first) < int(first):
                raise TopologyError(
                    f"{where}: cpus {shown(value)}: {part} runs backwards: write {last}-{first}"
                )
            numbers += range(int(first), int(last or first) + 1)
    else:
        raise TopologyError(
            f'{where}: cpus is {shown(value)}: write a count (2), a list ([0, 1]) or text ("0-1,4")'
        )
    if len(set(numbers)) != len(numbers):
        raise TopologyError(f"{where}: cpus {shown(value)} names a CPU twice")
    return tuple(sorted(numbers))


def _distances(matrix: object, ids: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The matrix over ids 0..highest out of one over the nodes that exist; () for the default."""
    if matrix is None:
        return ()
    n = len(ids)
    if not isinstance(matrix, list) or len(matrix) != n:
        raise TopologyError(
            f"distances: write {n} rows, one for each node, ascending by id ({', '.join(map(str, ids))})"
        )
    for nid, row in zip(ids, matrix, strict=True):
        if not isinstance(row, list) or len(row) != n or not all(map(_is_int, row)):
            raise TopologyError(f"distances: the row of node {nid} is {shown(row)}: write {n} numbers")
    top = max(ids) + 1
    full = [[LOCAL_DISTANCE if i == j else REMOTE_DISTANCE for j in range(top)] for i in range(top)]
    for i, row in zip(ids, matrix, strict=True):
        for j, d in zip(ids, row, strict=True):
            if 0 <= i < top and 0 <= j < top:
                full[i][j] = d
    return tuple(map(tuple, full))


def _boot(table: object) -> dict[str, Any]:
    """The [boot] table."""
    if not isinstance(table, dict):
        raise TopologyError(f"boot is {shown(table)}: write a table, [boot]")
    boot: dict[str, Any] = {}
    for name, given in _dotted(table):
        short, value = boot_params.read(name, given, "[boot]")
        if short in boot:
            raise TopologyError(f"[boot]: {name} is given twice, as {short} too: keep one")
        boot[short] = value
    return boot


def _dotted(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of a table by full name: to TOML, a name with a dot is a table in a table."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
