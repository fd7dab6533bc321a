"""Pooling windows in registers, instruction by instruction: an intrinsic, and its twin on Numba's simulator.

The unrolled loops over a thread's windows are here; see `emit` for why they are not in a kernel's Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, reduce
from typing import Any, NamedTuple

import numpy as np
from numba import config

__all__ = ["Windows", "windows"]

SIMULATED = bool(config.ENABLE_CUDASIM)


class Windows(NamedTuple):
    """The windows of a thread: `rows` by `columns` of them, one below the other and side by side.

    Images are read in vectors of `load` elements and results stored in vectors of `store`, along x or (`channels_last`)
    along the channels.  Along x, vectors start at multiples of their length, the first window `phase` elements behind.
    A mean is divided by ("count") the number of its taps between two limits, or by a given number, of which two numbers are told:
    itself and its reciprocal ("quotient"), or the two parts of its reciprocal ("parts").  "" is for maxima.
    """

    dtype: str
    kind: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    phase: int
    rows: int
    columns: int
    load: int
    store: int
    channels_last: bool
    divide: str


def folded(shape: Windows, load: Callable, join: Callable, gather: Callable | None = None) -> Iterator[list[list]]:
    """Each row of windows folded with `join`: for each window the list of its lanes.

    ``load(row, column)`` is the vector that starts there, counted from where the thread's first vector does.  With `gather`,
    which makes one value of two, two windows side by side are folded at once.  A window is folded row by row.
    """
    (kernel_y, kernel_x), (stride_y, stride_x) = shape.kernel, shape.stride
    load, together = cache(load), 1 if gather is None else 2

    def lanes(row: int, column: int) -> list:
        if shape.channels_last:
            return load(row, column)
        places = range(shape.phase + column, shape.phase + column + together * stride_x, stride_x)
        values = [load(row, place - place % shape.load)[place % shape.load] for place in places]
        return values if gather is None else [gather(*values)]

    def joined(a: list, b: list) -> list:
        return [join(*pair) for pair in zip(a, b, strict=True)]

    @cache
    def lines(row: int) -> list[list]:
        starts = range(0, shape.columns * stride_x, stride_x * (1 if shape.channels_last else together))
        return [reduce(joined, (lanes(row, start + k) for k in range(kernel_x))) for start in starts]

    for first in range(0, shape.rows * stride_y, stride_y):
        windows = lines(first)
        for row in range(first + 1, first + kernel_y):
            windows = [joined(*pair) for pair in zip(windows, lines(row), strict=True)]
        yield windows


def pieces(shape: Windows, windows: list[list], together: int = 1) -> list[tuple[int, list]]:
    """A row of results, so many `together` in a value, in vectors stored at once; and the column at which each starts."""
    if shape.channels_last:
        return list(enumerate(windows))
    values, length = [value for lanes in windows for value in lanes], shape.store // together
    return [(i * together, values[i : i + length]) for i in range(0, len(values), length)]


if SIMULATED:

    def windows(shape: Windows) -> Callable:
        fill, floating = (-np.inf if shape.kind == "max" else 0.0), np.float32

        def counts(start: Any, count: int, stride: int, kernel: int, first: Any, limit: Any) -> list:
            starts = [start + i * stride for i in range(count)]
            return [max(min(s + kernel, limit) - max(s, first), 0) for s in starts]

        def pool(
            x, at, x_y, x_x, top, left, height, width, out, to, out_y, out_x, rows, columns, divisor, reciprocal, limits
        ):
            def load(row, column):
                if not (0 <= top + row < height and 0 <= left + column < width):
                    return [floating(fill)] * shape.load
                place = at + row * x_y + column * x_x
                return [floating(x[place + i]) for i in range(shape.load)]

            join = np.maximum if shape.kind == "max" else np.add
            (kernel_y, kernel_x), (stride_y, stride_x) = shape.kernel, shape.stride
            down = counts(top, shape.rows, stride_y, kernel_y, *limits[:2])
            along = counts(left + shape.phase, shape.columns, stride_x, kernel_x, *limits[2:])
            for row, results in enumerate(folded(shape, load, join)):
                if shape.kind == "avg":
                    given = 1 / (np.float64(divisor) + reciprocal) if shape.divide == "parts" else divisor
                    counted = shape.divide == "count"
                    numbers = [floating(max(down[row] * n, 1) if counted else np.rint(given)) for n in along]
                    results = [[lane / n for lane in lanes] for lanes, n in zip(results, numbers, strict=True)]
                for column, values in pieces(shape, results):
                    if row < rows and column < columns:
                        for i, value in enumerate(values):
                            out[to + row * out_y + column * out_x + i] = value

        return pool

else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    FLOAT, INT16, INT32, INT64 = ir.FloatType(), ir.IntType(16), ir.IntType(32), ir.IntType(64)
    BITS = {"float32": 0xFF800000, "float16": 0xFC00FC00}

    def windows(shape: Windows) -> Callable:
        """An intrinsic that pools a thread's windows and stores the results.

        Maxima of float16 are taken two at a time.  Its arguments: input, offset of the first vector and strides of rows and
        columns; the row and column of that vector, and the image's height and width; output, offset of the first result and
        strides; how many rows and columns of results remain; divisor and its reciprocal; first and last limits of the rows
        and of the columns that count.
        """
        (kernel_y, kernel_x), (stride_y, stride_x) = shape.kernel, shape.stride
        paired = shape.dtype == "float16" and shape.kind == "max"

        @intrinsic
        def pool(
            typing, x, at, x_y, x_x, top, left, height, width, out, to, out_y, out_x, rows, columns, divisor, reciprocal, limits
        ):  # fmt: skip
            number = types.int64
            signature = types.void(
                x, *[number] * 7, out, *[number] * 5, types.float32, types.float32, types.UniTuple(number, 4)
            )

            def code(context, build, signature, args):
                x, at, x_y, x_x, top, left, height, width, out, to, out_y, out_x, rows, columns, *rest = args
                narrow = lambda value: build.trunc(value, INT32)  # noqa: E731
                top, left, height, width, rows, columns = map(narrow, (top, left, height, width, rows, columns))
                places = _places(build, build.gep(x, [at]), x_y, x_x)
                within = cache(lambda start, i, size: _less(build, build.add(start, ir.Constant(INT32, i)), size))

                def load(row, column):
                    inside = build.and_(within(top, row, height), within(left, column, width))
                    words = _loaded(build, shape, places(row, column), inside)
                    if paired:
                        return (
                            words
                            if shape.channels_last
                            else [(word, i) for word in words for i in (0, 1)][: shape.load]
                        )
                    return _floats(build, shape, words)

                targets = _places(build, build.gep(out, [to]), out_y, out_x)
                join = _larger_pair if paired else _larger if shape.kind == "max" else _added
                gather = (lambda *pair: _pair(build, *pair)) if paired else None
                if shape.kind == "avg":
                    limits = [narrow(build.extract_value(rest[2], i)) for i in range(4)]
                    down = _counts(build, top, shape.rows, stride_y, kernel_y, *limits[:2])
                    first = build.add(left, ir.Constant(INT32, shape.phase))
                    along = _counts(build, first, shape.columns, stride_x, kernel_x, *limits[2:])
                for row, results in enumerate(folded(shape, load, lambda a, b: join(build, a, b), gather)):
                    if shape.kind == "avg":
                        counted, quotient = shape.divide == "count", _scaled if shape.divide == "parts" else _quotient
                        scales = [_scale(build, down[row], n) if counted else rest[:2] for n in along]
                        results = [
                            [quotient(build, lane, *scale) for lane in lanes]
                            for lanes, scale in zip(results, scales, strict=True)
                        ]
                    split = paired and shape.store == 1
                    if split:
                        results = [_halves(build, lanes)[: 1 if shape.channels_last else 2] for lanes in results]
                    vectors = pieces(shape, results, 2 if paired and not split else 1)
                    with build.if_then(build.icmp_signed(">", rows, ir.Constant(INT32, row))):
                        for column, values in vectors:
                            with build.if_then(build.icmp_signed(">", columns, ir.Constant(INT32, column))):
                                if shape.dtype == "float16" and not paired:
                                    values = _rounded(build, values)
                                _store(build, targets(row, column), values)
                return context.get_dummy_value()

            return signature, code

        return pool

    def _places(build: Any, origin: Any, step_y: Any, step_x: Any) -> Callable:
        """Addresses of vectors; distances of rows fit into 32 bits, so one instruction finds each."""
        nbytes = 4 if isinstance(origin.type.pointee, ir.FloatType) else 2
        start = build.ptrtoint(origin, INT64)
        wide = [build.mul(step, ir.Constant(INT64, nbytes)) for step in (step_y, step_x)]
        steps = [build.sext(build.trunc(step, INT32), INT64) for step in wide]

        def place(row: int, column: int) -> Any:
            distances = [build.mul(step, ir.Constant(INT64, i)) for step, i in zip(steps, (row, column), strict=True)]
            return build.add(build.add(start, distances[0]), distances[1])

        return place

    def _less(build: Any, value: Any, size: Any) -> Any:
        """Whether an index is none below zero and less than a size."""
        return build.icmp_unsigned("<", value, size)

    def _assembly(build: Any, results: list, text: str, constraints: str, args: list) -> list:
        kind = ir.LiteralStructType(results) if len(results) > 1 else results[0]
        function = ir.FunctionType(kind, [arg.type for arg in args])
        value = build.call(ir.InlineAsm(function, text, constraints), args)
        return [build.extract_value(value, i) for i in range(len(results))] if len(results) > 1 else [value]

    def _loaded(build: Any, shape: Windows, place: Any, inside: Any) -> list:
        """A vector as words of 32 bits (the last half empty), of what changes no result where it is not inside."""
        halves = shape.dtype == "float16"
        words = max(1, shape.load // 2) if halves else shape.load
        kind, sort, letter = (INT16, "b16", "h") if halves and shape.load == 1 else (INT32, "b32", "r")
        fill = (BITS[shape.dtype] if shape.kind == "max" else 0) & (0xFFFF if kind is INT16 else 0xFFFFFFFF)
        names = ", ".join(f"${i}" for i in range(words))
        vector = "" if words == 1 else f".v{words}"
        text = f"{{ .reg .pred p; setp.ne.b32 p, ${words + 1}, 0; "
        text += "".join(f"mov.{sort} ${i}, {fill}; " for i in range(words))
        text += f"@p ld.global.nc{vector}.{sort} {{{names}}}, [${words}]; }}"
        constraints = ",".join([f"={letter}"] * words + ["l", "r"])
        values = _assembly(build, [kind] * words, text, constraints, [place, build.zext(inside, INT32)])
        return [build.zext(value, INT32) for value in values] if kind is INT16 else values

    def _floats(build: Any, shape: Windows, words: list) -> list:
        """The elements of words as float32 numbers."""
        if shape.dtype == "float32":
            return [build.bitcast(word, FLOAT) for word in words]
        text = "{ .reg .b16 low, high; mov.b32 {low, high}, $2; cvt.f32.f16 $0, low; cvt.f32.f16 $1, high; }"
        values = [half for word in words for half in _assembly(build, [FLOAT] * 2, text, "=f,=f,r", [word])]
        return values[: shape.load]

    def _rounded(build: Any, values: list) -> list:
        """Numbers as float16, two in a word; one alone as it is."""
        if len(values) == 1:
            return _assembly(build, [INT16], "cvt.rn.f16.f32 $0, $1;", "=h,f", values)
        pairs, text = zip(values[::2], values[1::2], strict=True), "cvt.rn.f16x2.f32 $0, $2, $1;"
        return [_assembly(build, [INT32], text, "=r,f,f", list(pair))[0] for pair in pairs]

    def _pair(build: Any, low: tuple, high: tuple) -> Any:
        """Two float16 elements, each a half of a word, as one word."""
        (a, i), (b, j) = low, high
        if a is b and (i, j) == (0, 1):
            return a
        selected = sum(byte << 4 * k for k, byte in enumerate((2 * i, 2 * i + 1, 2 * j + 4, 2 * j + 5)))
        return _assembly(build, [INT32], f"prmt.b32 $0, $1, $2, {selected};", "=r,r,r", [a, b])[0]

    def _halves(build: Any, words: list) -> list:
        shifts = (ir.Constant(INT32, 0), ir.Constant(INT32, 16))
        return [build.trunc(build.lshr(word, shift), INT16) for word in words for shift in shifts]

    def _store(build: Any, place: Any, values: list) -> None:
        kind = values[0].type
        nbytes = len(values) * (4 if kind is FLOAT else kind.width // 8)
        vector: Any = ir.Constant(ir.VectorType(kind, len(values)), ir.Undefined)
        for i, value in enumerate(values):
            vector = build.insert_element(vector, value, ir.Constant(INT32, i))
        build.store(vector, build.inttoptr(place, vector.type.as_pointer(1))).align = nbytes

    def _larger_pair(build: Any, a: Any, b: Any) -> Any:
        return _assembly(build, [INT32], "max.NaN.f16x2 $0, $1, $2;", "=r,r,r", [a, b])[0]

    def _added(build: Any, a: Any, b: Any) -> Any:
        return build.fadd(a, b)

    def _larger(build: Any, a: Any, b: Any) -> Any:
        return _assembly(build, [FLOAT], "max.NaN.f32 $0, $1, $2;", "=f,f,f", [a, b])[0]

    def _counts(build: Any, start: Any, count: int, stride: int, kernel: int, first: Any, limit: Any) -> list:
        """Of windows side by side, how many taps lie between two limits."""

        def chosen(sign: str, a: Any, b: Any) -> Any:
            return build.select(build.icmp_signed(sign, a, b), a, b)

        counts = []
        for i in range(count):
            begin = build.add(start, ir.Constant(INT32, i * stride))
            end = build.add(begin, ir.Constant(INT32, kernel))
            taps = build.sub(chosen("<", end, limit), chosen(">", begin, first))
            counts.append(chosen(">", taps, ir.Constant(INT32, 0)))
        return counts

    def _negative(build: Any, value: Any) -> Any:
        return build.fsub(ir.Constant(FLOAT, -0.0), value)

    def _scale(build: Any, down: Any, along: Any) -> list:
        """A number of taps and its reciprocal, to the last bit: one step of Newton's makes it so for small numbers."""
        taps = build.mul(down, along)
        one = ir.Constant(INT32, 1)
        taps = build.uitofp(build.select(build.icmp_signed(">", taps, one), taps, one), FLOAT)
        near = _assembly(build, [FLOAT], "rcp.approx.ftz.f32 $0, $1;", "=f,f", [taps])[0]
        error = build.fma(_negative(build, taps), near, ir.Constant(FLOAT, 1.0))
        return [taps, build.fma(error, near, near)]

    def _scaled(build: Any, total: Any, high: Any, low: Any) -> Any:
        """A quotient by way of the reciprocal's two parts: two instructions.

        It is the one rounded correctly for sums of float16 numbers and divisors up to 2**20: no quotient is nearer to the middle
        between two numbers than 2**-45 of it, while the reciprocal errs by 2**-46.  Neither part is zero or negative, so an
        infinite total stays what it is.
        """
        return build.fma(total, high, build.fmul(total, low))

    def _quotient(build: Any, total: Any, divisor: Any, reciprocal: Any) -> Any:
        """A quotient rounded correctly, from a reciprocal that is [Markstein]_: four instructions instead of a dozen.

        An infinite total leaves no rest, but NaN, for which a number is put that changes nothing.

        .. [Markstein] P. W. Markstein, "Computation of elementary functions on the IBM RISC System/6000 processor", IBM
           Journal of Research and Development 34.1 (1990), doi:10.1147/rd.341.0111.
        """
        near = build.fmul(total, reciprocal)
        rest = build.fma(_negative(build, near), divisor, total)
        number = _assembly(build, [FLOAT], "max.f32 $0, $1, 0fFF7FFFFF;", "=f,f", [rest])[0]
        return build.fma(number, reciprocal, near)
