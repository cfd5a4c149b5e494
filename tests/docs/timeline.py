"""A trace for Perfetto as a picture: a lane a track, slices in it as deep as they are nested, counters below.

Only what a person can read from a page is drawn: tracks of tasks and disks, and no instants.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from numalab.kernel.trace.perfetto import DISKS, TASKS

__all__ = ["draw"]

#: By the beginning of a slice's name.
COLOURS = {
    "migration": "#1f77b4", "pass": "#7fb8e6", "asleep": "#c9c9c9", "direct reclaim": "#d62728", "kswapd": "#ff9f4a",
    "write": "#2ca02c", "read": "#98df8a",
}  # fmt: skip
CALL = "#e3dcf2"
#: A slice at least so wide, as a share of the picture, carries its name.
NAMED = 0.03


def _colour(name: str) -> str:
    return next((colour for begin, colour in COLOURS.items() if name.startswith(begin)), CALL)


def _depths(slices: list[dict[str, Any]]) -> list[int]:
    """How many slices each lies in; they are in order, outer ones first."""
    ends: list[int] = []  # in ns: sums of microseconds are not exact
    depths = []
    for it in slices:
        while ends and ends[-1] <= round(it["ts"] * 1000):
            ends.pop()
        depths.append(len(ends))
        ends.append(round((it["ts"] + it["dur"]) * 1000))
    return depths


def _is_work(it: dict[str, Any]) -> bool:
    """Not that a process of the shell waits for what is typed next."""
    return "operations for" not in it["name"]


def _lanes(axes: Axes, events: list[dict[str, Any]], begin: float, end: float) -> None:
    """Tracks from top to bottom, in the order of their numbers."""
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    tracks: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X" and event["pid"] in (TASKS, DISKS):
            tracks[event["tid"]].append(event)
    top, ticks = 0.0, []
    for tid, all_of_it in sorted(tracks.items()):
        slices = [it for it in all_of_it if it["ts"] < end and it["ts"] + it["dur"] > begin and _is_work(it)]
        depths = _depths(slices)
        for it, depth in zip(slices, depths, strict=True):
            left, right = max(it["ts"], begin), min(it["ts"] + it["dur"], end)
            width = max(right - left, (end - begin) / 1500)
            [bar] = axes.barh(
                top + depth, width / 1000, 0.9, left / 1000, color=_colour(it["name"]), align="edge"
            )
            if width > NAMED * (end - begin):
                text = axes.text(
                    left / 1000, top + depth + 0.45, " " + it["name"], fontsize=7, va="center", clip_on=True
                )
                text.set_clip_path(bar)
        rows = max(depths, default=0) + 1
        ticks.append((top + rows / 2, f"{names[tid]} {tid}" if tid < 5_000_000 else names[tid]))
        top += rows
        axes.axhline(top, color="#eeeeee", linewidth=0.8)
    axes.set_yticks([y for y, _ in ticks], [name for _, name in ticks])
    axes.set_ylim(top, 0)
    axes.set_xlim(begin / 1000, end / 1000)


def _free(axes: Axes, events: list[dict[str, Any]], begin: float, end: float) -> None:
    for name in sorted({e["name"] for e in events if e["ph"] == "C"}):
        mine = [e for e in events if e["ph"] == "C" and e["name"] == name]
        axes.step(
            [e["ts"] / 1000 for e in mine], [e["args"]["pages"] for e in mine], where="post", label=name
        )
    axes.legend(fontsize=8, loc="upper right")
    axes.set_xlim(begin / 1000, end / 1000)
    axes.set_ylim(0)
    axes.set_ylabel("pages")
    axes.set_xlabel("virtual time in ms")


def draw(events: list[dict[str, Any]], path: Path) -> None:
    """The whole trace above, and its migration, larger, below."""
    last = max(e["ts"] + e.get("dur", 0) for e in events if "ts" in e)
    first = min(e["ts"] for e in events if "ts" in e)
    moving = next(e for e in events if e["name"].startswith("migration"))
    figure, (near, far, free) = plt.subplots(3, 1, figsize=(11, 8.5), height_ratios=[2, 4, 2])
    margin = moving["dur"] * 0.05
    _lanes(near, events, moving["ts"] - margin, moving["ts"] + moving["dur"] + margin)
    near.set_title("the migration", loc="left", fontsize=9)
    _lanes(far, events, first, last)
    far.set_title("all of it", loc="left", fontsize=9)
    _free(free, events, first, last)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
