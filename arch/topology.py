"""load(): from whatever a person writes for "a machine" to a checked Topology.

The types stand in node.py, TOML machine files and presets in machine_file.py, `4x512M` and `numa=fake=` in
numa_fake.py; this is the one place that knows all of them, and the name that the other floors import.
"""

import os

from numalab.arch import machine_file, numa_fake
from numalab.arch.cmdline import PAGE_SIZE, TopologyError
from numalab.arch.machine_file import preset_names
from numalab.arch.node import (
    LOCAL_DISTANCE,
    MAX_NUMNODES,
    NUMA_NO_NODE,
    REMOTE_DISTANCE,
    SECTION_FRAMES,
    Node,
    Topology,
)

__all__ = [
    "LOCAL_DISTANCE",
    "MAX_NUMNODES",
    "NUMA_NO_NODE",
    "PAGE_SIZE",
    "REMOTE_DISTANCE",
    "SECTION_FRAMES",
    "Node",
    "Topology",
    "TopologyError",
    "load",
    "preset_names",
]


def load(spec: "str | os.PathLike[str] | Topology") -> Topology:
    """A checked Topology from whatever a person may write.

    * a Topology: itself;
    * the name of a preset: `quad`, `dual`, `asym`, `odd`, `eight`, `movable`;
    * the path of a machine file (it ends in `.toml`, holds a `/`, or a file of that name is there);
    * `4x512M`, `2x1G,cpus=2`, `2x1G+1x256M,cpus=0`: so many equal nodes, in groups;
    * Linux's boot parameters: `numa=fake=512M mem=2G`, `numa=fake=4,mem=2G`, `dual numa=fake=2U`, `quad mem=1G`,
      with blanks or commas between them.

    Raises TopologyError with one line that says what is wrong, where, and what would be right.
    """
    if isinstance(spec, Topology):
        return spec
    if isinstance(spec, os.PathLike):
        return machine_file.load_path(os.fspath(spec))
    if not isinstance(spec, str):
        raise TopologyError(
            f"a machine is a name, a path, a spec or a Topology, not {type(spec).__name__}: try 'quad'"
        )
    words = spec.split()
    if not words:
        raise TopologyError("the machine has no name: try quad, 4x512M or the path of a machine file")
    # What exists as a file is one, whatever it looks like (a path may hold blanks); but quad is quad in every folder.
    if spec not in preset_names() and machine_file.looks_like_path(spec):
        return machine_file.load_path(spec)
    if len(words) > 1 or numa_fake.is_parameter(words[0]):
        base = None if numa_fake.is_parameter(words[0]) else load(words.pop(0))
        return numa_fake.boot_line([word for each in words for word in each.split(",") if word], base)
    if numa_fake.looks_like_groups(spec):
        return numa_fake.groups(spec.strip())
    return machine_file.load_preset(spec.strip())
