"""Kernels that are sums of a few outer products, and whether computing them so is faster.

A kernel of ``K x L`` taps whose singular values beyond the first ``r`` are rounding errors is a
sum of ``r`` outer products ``u[t] v[t]``: ``r`` passes of ``K`` taps and one of ``r L`` taps do the
work of ``K L``.  A kernel of more axes is split along its first, and each part along its next.

What is left out has a Frobenius norm of at most ``TOLERANCE`` times the kernel's (for more than two
axes, so has what each split leaves out).  The error of an output is then at most that times the
2-norm of its window, and ``(K + r L) eps`` times the sum of ``|u[t]| |v[t]| |x|`` for the rounding of
the passes, where the direct sum has ``K L eps`` times the sum of ``|w| |x|``.

References: C. Eckart, G. Young, "The approximation of one matrix by another of lower rank",
Psychometrika 1 (1936) 211, doi:10.1007/BF02288367; for filters S. Treitel, J. L. Shanks, "The design
of multistage separable planar filters", IEEE Trans. Geosci. Electron. 9 (1971) 10,
doi:10.1109/TGE.1971.271457.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from fastconv import config, costs
from fastconv.problem import ConvProblem
from fastconv.replay import by_values_of

__all__ = ["TOLERANCE", "OuterProducts", "outer_products", "with_rank"]

# For each accumulator, relative to the kernel's norm: 4 eps of float32, where rounding the weights leaves 0.3 and
# products of rounded factors 0.6 eps; 16 eps of double, in which the decomposition itself rounds by up to 5.
TOLERANCE = {
    name: n * float(np.finfo(name).eps)
    for name, n in (("float32", 4), ("float64", 16), ("complex64", 4), ("complex128", 16))
}
# Elimination leaves more than the singular values that are left out, but not this many times more.
GROWTH = 1e3


class OuterProducts(NamedTuple):
    """A kernel as a sum of outer products: `factors` has an array (term, tap) for each axis.

    With `same_signs` there is one, and each of its products has its weight's sign, zeros included:
    then infinities and NaN in the image come out as the direct sum gives them.
    """

    factors: tuple[np.ndarray, ...]
    same_signs: bool

    @property
    def rank(self) -> int:
        """Number of outer products."""
        return len(self.factors[0]) if self.factors else 0


NONE = OuterProducts((), False)


def with_rank(problem: ConvProblem, kernel: Any, fill: Any = 0) -> ConvProblem:
    """The problem with the rank of its kernel, if separable passes are faster and as accurate as asked for."""
    if kernel.size < costs.MIN_SEPARABLE_TAPS:
        return problem
    rank = outer_products(problem, kernel, fill).rank
    return replace(problem, rank=rank) if rank else problem


def outer_products(problem: ConvProblem, kernel: Any, fill: Any = 0) -> OuterProducts:
    """The outer products that a problem's kernel is computed by; none if the direct sum is as fast, or asked for."""
    if (
        problem.acc not in TOLERANCE
        or problem.batch * problem.channels * problem.filters > 1
        or np.dtype(problem.out_dtype).kind not in "fc"
        or problem.bias
        or max(problem.stride + problem.dilation) > 1
    ):
        return NONE
    found = _examined(kernel, problem.flops, problem.acc)
    if found.rank and "fill" in problem.boundary and np.any(fill):
        # all planes of a pass see one value beyond the border, so there must be one
        return found if found.rank == 1 and np.isfinite(fill) else NONE
    return found


def _examined(kernel: Any, flops: int, acc: str) -> OuterProducts:
    """The outer products of a kernel, if they are worth looking for."""
    if config.current_precision() == "strict" or not isinstance(kernel, np.ndarray):
        return NONE
    most = costs.outer_products_worth_using(flops, kernel.shape)
    if most == 0:
        return NONE
    by_values_of(kernel)
    return _outer_products(kernel.tobytes(), kernel.dtype, kernel.shape, most, acc)


@lru_cache(maxsize=64)
def _outer_products(data: bytes, dtype: np.dtype, shape: tuple[int, ...], most: int, acc: str) -> OuterProducts:
    kernel = np.frombuffer(data, dtype).reshape([k for k in shape if k > 1])
    kernel = kernel.astype(np.complex128 if dtype.kind == "c" else np.float64)
    if kernel.ndim < 2 or not np.isfinite(kernel).all():
        return NONE
    with np.errstate(all="ignore"):  # weights near the ends of the range
        terms = _terms(kernel, most, TOLERANCE[acc] * float(np.linalg.norm(kernel)))
        if not terms or len(terms) > most:
            return NONE
        factors = tuple(np.array(vectors) for vectors in zip(*terms, strict=True))
        if not all(np.isfinite(vectors).all() for vectors in factors):
            return NONE
        return OuterProducts(factors, len(terms) == 1 and _same_signs(terms[0], kernel, acc))


def _terms(w: np.ndarray, most: int, allowed: float) -> list[tuple[np.ndarray, ...]]:
    """Vectors, one for each axis, whose outer products add up to `w`; empty if more than `most` are needed.

    Each matrix that is split leaves out a part of the sum whose norm is at most `allowed`.
    """
    if w.ndim == 1:
        return [(w,)]
    terms: list[tuple[np.ndarray, ...]] = []
    for column, row in _pairs(w.reshape(len(w), -1), most, allowed):
        rest = _terms(row.reshape(w.shape[1:]), most - len(terms), allowed / float(np.linalg.norm(column)))
        if not rest:
            return []
        terms += [(column, *vectors) for vectors in rest]
    return terms


def _pairs(matrix: np.ndarray, most: int, allowed: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Columns and rows whose outer products add up to a matrix; empty if more than `most` are needed.

    Elimination takes 10 us a product and turns away kernels of full rank; of kernels of rank 1 it
    keeps the zeros.  The singular values settle the rest.
    """
    rest = matrix.copy()
    for step in range(most):
        y, x = divmod(int(np.abs(rest).argmax()), rest.shape[1])
        if rest[y, x] == 0:
            break
        row = _whole(rest[y])
        column = rest[:, x] / row[x]
        rest -= column[:, None] * row
        if step == 0 and np.linalg.norm(rest) <= allowed:
            return [_balanced(column, row)]
    if np.linalg.norm(rest) > GROWTH * allowed:
        return []
    columns, values, rows = np.linalg.svd(matrix, full_matrices=False)
    left_out = np.sqrt(np.cumsum(values[::-1] ** 2))[::-1]  # by the first 0, 1, 2 ... products
    rank = int(np.count_nonzero(left_out > allowed))
    return [_balanced(columns[:, t] * values[t], rows[t]) for t in range(rank)] if rank <= most else []


def _whole(row: np.ndarray) -> np.ndarray:
    """A multiple of a row: coprime integers if it has small ones times a power of two, so that their products stay exact."""
    if row.dtype.kind != "c":
        scaled = np.ldexp(row, 30 - np.frexp(np.abs(row).max())[1])
        if (scaled == np.rint(scaled)).all():
            return scaled / np.gcd.reduce(np.abs(scaled).astype(np.int64))
    return row.copy()


def _balanced(column: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both of about the same magnitude, by a power of two: nothing is rounded."""
    exponents = [int(np.frexp(np.abs(vector).max())[1]) for vector in (column, row)]
    shift = (exponents[1] - exponents[0]) // 2
    return column * 2.0**shift, row * 2.0**-shift


def _same_signs(vectors: tuple[np.ndarray, ...], kernel: np.ndarray, acc: str) -> bool:
    """Whether the products have the weights' signs, as the accumulator holds them."""
    if kernel.dtype.kind == "c":
        return False
    product = np.ones((1,) * len(vectors))
    for axis, vector in enumerate(vectors):
        shape = [-1 if a == axis else 1 for a in range(len(vectors))]
        product = product * np.sign(vector.astype(acc)).reshape(shape)
    return bool((product == np.sign(kernel.astype(acc))).all())
