"""The tables of numastat(8): a row a thing, a column a node, and the sum behind them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Row", "Table"]

_WIDTH = 15  # of columns that need less, unless they are to be narrow


@dataclass
class Row:
    """label: what it is about; values: a number a node. shown: it takes part in the ordering at least."""

    label: str
    values: list[float]
    shown: bool = True

    @property
    def cells(self) -> list[float]:
        """The values and their sum."""
        return [*self.values, sum(self.values)]


class Table:
    """heading: what stands above the labels; total: whether a row of sums is below."""

    def __init__(self, heading: str, nodes: Sequence[int], rows: list[Row], *, total: bool = False) -> None:
        self._heading, self._nodes, self._rows, self._total = heading, nodes, rows, total
        self._columns: Sequence[int] = range(len(nodes) + 1)

    def sort(self, node: int | None) -> None:
        """Largest first, by a node or by the sum; equal ones end up where numastat's exchanges leave them."""
        column = self._nodes.index(node) if node in self._nodes else len(self._nodes)
        rows = self._rows
        for place in range(len(rows)):
            largest = max(range(place, len(rows)), key=lambda n: rows[n].cells[column])
            rows[place], rows[largest] = rows[largest], rows[place]

    def drop_zeros(self) -> None:
        """Leave out what has nothing but zeros."""
        self._columns = [n for n in self._columns if any(row.cells[n] for row in self._rows)]
        self._rows = [row for row in self._rows if any(row.cells)]

    def lines(self, *, compact: bool) -> Iterator[str]:
        """The text; numbers without decimals if it is compact."""
        names = [f"Node {node}" for node in self._nodes] + ["Total"]
        rows = [(row.label, row.cells) for row in self._rows if row.shown]
        sums = ("Total", [sum(column) for column in zip(*(row.cells for row in self._rows), strict=True)])
        shown = [
            (label, [f"{cells[n]:.{0 if compact else 2}f}" for n in self._columns])
            for label, cells in [*rows, *([sums] if self._total and rows else [])]
        ]
        heads = [names[n] for n in self._columns]
        least = 0 if compact else _WIDTH
        widths = [
            max(least, len(head), *(len(texts[n]) for _, texts in shown)) for n, head in enumerate(heads)
        ]
        # The dashes beside those of the columns are a cell, and as wide as one.
        dashed = self._total and not compact
        label_width = max(least + dashed, len(self._heading), *(len(label) for label, _ in shown))
        dashes = ["-" * width for width in widths]

        def line(label: str, texts: Sequence[str]) -> str:
            cells = zip(texts, widths, strict=True)
            return f"{label:{label_width + 1}}" + "".join(f" {text:>{width}}" for text, width in cells)

        yield line(self._heading, heads)
        yield line("-" * label_width if self._heading else "", dashes)
        yield from (line(*row) for row in shown[: len(rows)])
        if self._total:
            yield line("-" * label_width, dashes)
            yield from (line(*row) for row in shown[len(rows) :])
