"""Selection networks: programs of minima and maxima that find the value of one rank.

A comparator puts two values in order, whatever they are, so that vectors of pixels run through
it together.  Sorted runs are merged by Batcher's odd-even merge; after each merge the values whose
place in their run shows that they are not the one looked for become infinities, which cost nothing,
and comparators whose results nobody reads are left out.

The rows of a rectangular window are sorted column by column first: that work is shared by all
windows that the column is in.  What follows selects from the sorted columns.

References
----------
K. E. Batcher, "Sorting networks and their applications", AFIPS 1968, doi:10.1145/1468075.1468121.
A. Adams, "Fast median filters using separable sorting networks", ACM Trans. Graph. 40 (2021) 70,
doi:10.1145/3450626.3459773.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from fastconv.engines.contract import RANK_OPERATIONS

__all__ = ["RESULT", "SLOT", "SOURCE", "Instruction", "Program", "Selection", "selection"]

MINIMUM, MAXIMUM, EXCHANGE, COPY = (RANK_OPERATIONS[name] for name in ("minimum", "maximum", "exchange", "copy"))
# Operands: a value that is given, one in a slot, one that is asked for.
SOURCE, SLOT, RESULT = range(3)

# Values known to be below, and above, the one looked for.
LOW, HIGH = -1, -2

Operand = tuple[int, int]  # SOURCE, SLOT or RESULT, and its number


class Instruction(NamedTuple):
    """``low, high = sorted((a, b))``, or as much of it as `operation` says."""

    operation: int
    a: Operand
    b: Operand
    low: Operand
    high: Operand


class Program(NamedTuple):
    """Instructions in order, and how many slots they take."""

    instructions: tuple[Instruction, ...]
    slots: int

    @property
    def cost(self) -> int:
        """Minima and maxima."""
        return sum(2 if i.operation == EXCHANGE else 1 for i in self.instructions)


class Selection(NamedTuple):
    """Programs that select from a window of rows and columns.

    ``columns`` sorts the rows of one column, ``window`` selects from the results: row i of column j
    is its source ``j * rows + i``.  ``used`` are the places of the sorted columns that it reads.
    """

    columns: Program
    window: Program
    used: frozenset[int]


class _Network:
    """Comparators between values; values are numbers, those that are given come first."""

    def __init__(self, given: int):
        self.values = given
        self.comparators: list[tuple[int, int, int, int]] = []

    def exchange(self, a: int, b: int) -> tuple[int, int]:
        if a == LOW or b == HIGH:
            return a, b
        if b == LOW or a == HIGH:
            return b, a
        low, high = self.values, self.values + 1
        self.values += 2
        self.comparators.append((a, b, low, high))
        return low, high

    def merge(self, a: list[int], b: list[int]) -> list[int]:
        """Two sorted runs as one."""
        if not a or not b:
            return a + b
        if len(a) == len(b) == 1:
            return list(self.exchange(a[0], b[0]))
        even, odd = self.merge(a[::2], b[::2]), self.merge(a[1::2], b[1::2])
        result = even[:1]
        for i, value in enumerate(odd):
            result += self.exchange(value, even[i + 1]) if i + 1 < len(even) else [value]
        return result + even[len(odd) + 1 :]

    def sort(self, values: list[int]) -> list[int]:
        half = len(values) // 2
        return self.merge(self.sort(values[:half]), self.sort(values[half:])) if half else values

    def select(self, runs: Iterable[list[int]], n: int, rank: int) -> int:
        """The value of a rank among n values in sorted runs: the shortest runs are merged first."""
        heap = [(len(run), i, run) for i, run in enumerate(runs)]
        heapq.heapify(heap)
        while len(heap) > 1:
            (_, i, a), (_, _, b) = heapq.heappop(heap), heapq.heappop(heap)
            heapq.heappush(heap, (len(a) + len(b), i, self.useful(self.merge(a, b), n, rank)))
        return heap[0][2][rank]

    def useful(self, run: list[int], n: int, rank: int) -> list[int]:
        """A sorted run of n values without those that have too many above or below them in it."""
        return [_kept(value, len(run) - i, i + 1, n, rank) for i, value in enumerate(run)]

    def program(self, wanted: list[int], given: int) -> Program:
        """Instructions for the comparators that `wanted` values need; result i is the i-th of them."""
        results = {value: (RESULT, i) for i, value in enumerate(wanted)}
        needed = set(wanted)
        kept: list[tuple[int, int, int, int]] = []
        last: dict[int, int] = {}
        for a, b, low, high in reversed(self.comparators):
            if low in needed or high in needed:
                last.setdefault(a, len(kept))
                last.setdefault(b, len(kept))
                needed |= {a, b}
                kept.append((a, b, low, high))
        at = {i: (SOURCE, i) for i in range(given)}
        free: list[int] = []
        instructions, slots = [], 0
        for step, (a, b, low, high) in zip(range(len(kept) - 1, -1, -1), reversed(kept), strict=True):
            free += [at[v][1] for v in (a, b) if last[v] == step and v not in results and at[v][0] == SLOT]
            for value in (low, high):
                if value in results:
                    at[value] = results[value]
                elif value in last:
                    if not free:
                        free.append(slots)
                        slots += 1
                    at[value] = (SLOT, free.pop())
            operation = EXCHANGE if low in needed and high in needed else MINIMUM if low in needed else MAXIMUM
            instructions.append(Instruction(operation, at[a], at[b], at.get(low, at[a]), at.get(high, at[a])))
        copies = [Instruction(COPY, (SOURCE, v), (SOURCE, v), results[v], results[v]) for v in results if v < given]
        return Program(tuple(copies + instructions), slots)


def _kept(value: int, above: int, below: int, n: int, rank: int) -> int:
    """The value, unless `above` or `below` values known to lie there, itself counted, are too many."""
    return LOW if above > n - rank else HIGH if below > rank + 1 else value


@lru_cache(maxsize=64)
def selection(rows: int, cols: int, rank: int) -> Selection:
    """The cheapest of the known ways to select the value of a rank from a window."""
    n = rows * cols
    sorting = _Network(rows)
    places = sorting.sort(list(range(rows)))
    windows = []
    columns = [[j * rows + i for i in range(rows)] for j in range(cols)]
    for along_rows in (False, True) if rows > 1 and cols > 1 else (False,):
        network = _Network(n)
        runs = [network.useful(column, n, rank) for column in columns]
        if along_rows:  # rows of sorted columns, once sorted, leave the columns sorted
            sorted_rows = [network.sort([column[i] for column in columns]) for i in range(rows)]
            runs = [
                [_kept(v, (rows - i) * (cols - j), (i + 1) * (j + 1), n, rank) for j, v in enumerate(row)]
                for i, row in enumerate(sorted_rows)
            ]
        windows.append(network.program([network.select(runs, n, rank)], n))
    window = min(windows, key=lambda program: program.cost)
    read = [operand for i in window.instructions for operand in (i.a, i.b)]
    used = frozenset(number % rows for kind, number in read if kind == SOURCE)
    return Selection(sorting.program([places[i] for i in sorted(used)], rows), window, used)
