"""Activations and their derivatives, as code that is emitted for a vector.

The same formulas and polynomials as the Cython engine's ``activation.h``, which tells where they come from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from fastconv.engines.numba_cpu.simd import HAS_FMA

__all__ = ["FUNCTIONS", "FUNCTIONS_OF_TWO", "SLOPES", "SLOPES_OF_TWO", "Vector", "exp", "log"]

_int64, _int32 = ir.IntType(64), ir.IntType(32)


@dataclass(frozen=True)
class _Constants:
    """What the formulas need to know of a type: see ``activation.h``."""

    least: float  # its exponential is 0 here
    largest: float  # and infinite
    rounder: float  # added, it leaves a number rounded to an integer in the lowest bits
    exponent: int
    one: int
    ln2: tuple[float, float]
    upper_half: int  # bits of a number whose square is exact
    farthest: float  # where the normal distribution's tail is 0
    middle: float
    exp_tail: str
    log_tail: str
    mills: str


_SINGLE = _Constants(
    least=-87.9, largest=88.8, rounder=1.5 * 2**23, exponent=23, one=0x3F800000, upper_half=-0x1000, farthest=13.26, middle=4.25,
    ln2=(float.fromhex("0x1.62e4p-1"), 1.42860682030941723212e-6),
    exp_tail="0x1p-1 0x1.5554dcp-3 0x1.5554e8p-5 0x1.120be8p-7 0x1.6d43b4p-10",
    log_tail="0x1.555556p-1 0x1.9998d2p-2 0x1.24c9c2p-2 0x1.bc7b44p-3 0x1.dbf2aep-3",
    mills="0x1.84e44ep-1 -0x1.40110ap-1 0x1.ac4222p-2 -0x1.c39a5cp-3 0x1.5d9506p-4 -0x1.3d98fep-6 -0x1.10e8fcp-10 0x1.13fc98p-9",
)  # fmt: skip
_DOUBLE = _Constants(
    least=-708.8, largest=709.8, rounder=1.5 * 2**52, exponent=52, one=0x3FF0000000000000, upper_half=-0x8000000,
    farthest=37.66, middle=5.0,
    ln2=(6.93147180369123816490e-01, 1.90821492927058770002e-10),
    exp_tail="0x1.0000000000001p-1 0x1.5555555555557p-3 0x1.5555555553d36p-5 0x1.11111111100bdp-7 0x1.6c16c1789d53bp-10 "
    "0x1.a01a01abf881cp-13 0x1.a019b8c9728e5p-16 0x1.71de01fd535cdp-19 0x1.2891d5bb21b57p-22 0x1.af4e560b572dbp-26",
    log_tail="0x1.5555555555555p-1 0x1.9999999999941p-2 0x1.2492492499fb9p-2 0x1.c71c71bebb1d2p-3 0x1.745d199ba8dccp-3 "
    "0x1.3b13504ae0e1cp-3 0x1.111ad403aa869p-3 0x1.e0a09f6d38f12p-4 0x1.bc48f26e9811cp-4 0x1.3298669af8b3ap-4 "
    "0x1.405ec1c12ac4bp-3",
    mills="0x1.89d3abe1f95aep-1 -0x1.54ad03f27ca17p-1 0x1.fb31653876f92p-2 -0x1.410ed5f875a7cp-2 0x1.51f6329f01709p-3 "
    "-0x1.1b1c254c9a2b6p-4 0x1.54b4d4f4c5d11p-6 -0x1.88590eaadb7f9p-9 -0x1.a25037dd3becp-11 0x1.1daf1d43337e2p-11 "
    "-0x1.f2145fb2b7015p-15 -0x1.a170ced28f539p-15 0x1.17dd0980b4adbp-16 0x1.0b268a459ebb7p-18 -0x1.73ab329f38dfcp-19 "
    "-0x1.694af068ad697p-22 0x1.d0ebee2d5012p-22 0x1.6942b0e25ecf2p-25 -0x1.1ae066bd144bep-24 -0x1.3970ec073bb6ap-27 "
    "0x1.07cfda70acfd1p-27 0x1.ceaa4629322cfp-30 -0x1.94e866583810bp-33",
)  # fmt: skip


class Vector:
    """A vector while code is emitted: operators emit instructions, numbers stand for vectors of them."""

    def __init__(self, builder: ir.IRBuilder, value: ir.Value):
        self.builder, self.value = builder, value

    def new(self, value: ir.Value) -> Vector:
        return Vector(self.builder, value)

    def of(self, other: Any) -> ir.Value:
        """The other operand, a vector or a number."""
        if isinstance(other, Vector):
            return other.value
        return ir.Constant(self.value.type, [float(other)] * self.value.type.count)

    def __add__(self, other: Any) -> Vector:
        return self.new(self.builder.fadd(self.value, self.of(other)))

    def __sub__(self, other: Any) -> Vector:
        return self.new(self.builder.fsub(self.value, self.of(other)))

    def __mul__(self, other: Any) -> Vector:
        return self.new(self.builder.fmul(self.value, self.of(other)))

    def __truediv__(self, other: Any) -> Vector:
        return self.new(self.builder.fdiv(self.value, self.of(other)))

    def __neg__(self) -> Vector:
        return self.new(self.builder.fneg(self.value))

    def times(self, factor: Any, plus: Any) -> Vector:
        """``self * factor + plus``, fused where the processor can."""
        if not HAS_FMA:
            return self * factor + plus
        return self.call("llvm.fma", factor, plus)

    def call(self, name: str, *others: Any) -> Vector:
        kind = self.value.type
        full = f"{name}.v{kind.count}{kind.element.intrinsic_name}"
        arguments = [self.value, *map(self.of, others)]
        signature = ir.FunctionType(kind, [kind] * len(arguments))
        return self.new(
            self.builder.call(cgutils.get_or_insert_function(self.builder.module, signature, full), arguments)
        )

    def where(self, sign: str, bound: Any, yes: Any, no: Any) -> Vector:
        """`yes` where the comparison holds, which it never does for NaN."""
        mask = self.builder.fcmp_ordered(sign, self.value, self.of(bound))
        return self.new(self.builder.select(mask, self.of(yes), self.of(no)))

    def at_least(self, low: Any) -> Vector:
        return self.where("<", low, low, self)

    def at_most(self, high: Any) -> Vector:
        return self.where(">", high, high, self)

    def abs(self) -> Vector:
        return self.call("llvm.fabs")

    def bits(self, change: Callable[[ir.Value, ir.Type], ir.Value]) -> Vector:
        """The vector whose bits are made of these by integer arithmetic."""
        kind = self.value.type
        whole = ir.VectorType(_int32 if kind.element == ir.FloatType() else _int64, kind.count)
        return self.new(self.builder.bitcast(change(self.builder.bitcast(self.value, whole), whole), kind))

    @property
    def constants(self) -> _Constants:
        return _SINGLE if self.value.type.element == ir.FloatType() else _DOUBLE

    def polynomial(self, coefficients: str) -> Vector:
        last, *others = [float.fromhex(c) for c in reversed(coefficients.split())]
        total = self.new(self.of(last))
        for coefficient in others:
            total = total.times(self, coefficient)
        return total


def _exponential(x: Vector) -> tuple[Vector, Vector]:
    """(s, p) with s (1 + p) = exp(x), for x from `least` to 0."""
    k = x.constants
    shifted = x.times(float.fromhex("0x1.71547652b82fep+0"), k.rounder)
    n = shifted - k.rounder
    r = n.times(-k.ln2[1], n.times(-k.ln2[0], x))
    return _power(shifted), (r * r).times(r.polynomial(k.exp_tail), r)


def _power(shifted: Vector) -> Vector:
    """2 to the power of the integer in the lowest bits."""
    k, builder = shifted.constants, shifted.builder

    def power(bits: ir.Value, kind: ir.Type) -> ir.Value:
        scaled = builder.shl(bits, ir.Constant(kind, [k.exponent] * kind.count))
        return builder.add(scaled, ir.Constant(kind, [k.one] * kind.count))

    return shifted.bits(power)


def exp(x: Vector) -> Vector:
    s, p = _exponential(x.at_least(x.constants.least))
    return s.times(p, s)


def _expm1(x: Vector) -> Vector:
    s, p = _exponential(x.at_least(x.constants.least))
    return s.times(p, s - 1)


def log1p(e: Vector) -> Vector:
    s = e / (e + 2)
    z = s * s
    return (s * z).times(z.polynomial(z.constants.log_tail), s * 2)


def log(total: Vector) -> Vector:
    """log(total) of numbers from 1 on: the exponent, and log1p of what is left."""
    k, builder = total.constants, total.builder

    def constant(kind: ir.Type, number: int) -> ir.Value:
        return ir.Constant(kind, [number] * kind.count)

    def exponent(bits: ir.Value, kind: ir.Type) -> ir.Value:
        return builder.sub(builder.lshr(bits, constant(kind, k.exponent)), constant(kind, k.one >> k.exponent))

    def with_rounder(bits: ir.Value, kind: ir.Type) -> ir.Value:
        return builder.add(exponent(bits, kind), builder.bitcast(total.of(k.rounder), kind))

    def mantissa(bits: ir.Value, kind: ir.Type) -> ir.Value:
        return builder.sub(bits, builder.shl(exponent(bits, kind), constant(kind, k.exponent)))

    power, rest = total.bits(with_rounder) - k.rounder, log1p(total.bits(mantissa) - 1)
    return power.times(0.693147180559945309417, rest) + (total - total)  # NaN and infinity


def _sigmoid(x: Vector) -> Vector:
    s, p = _exponential((-x).at_most(x.constants.largest).at_least(x.constants.least))
    return x.new(x.of(1)) / (s * (p + 1) + 1)


def _sigmoid_slope(x: Vector) -> tuple[Vector, Vector]:
    """The sigmoid's derivative, and the sigmoid."""
    e = exp(-x.abs())
    above = x.new(x.of(1)) / (e + 1)
    return e * above * above, x.where("<", 0, e * above, above)


def _sigmoid_only_slope(x: Vector) -> Vector:
    e = exp(-x.abs())
    return e / ((e + 1) * (e + 1))


def _tanh(x: Vector) -> Vector:
    t = _expm1(x.abs() * -2)
    return (t / (t + 2)).call("llvm.copysign", x)


def _tail(t: Vector) -> tuple[Vector, Vector]:
    """The normal distribution's probability beyond t >= 0, and exp(-t * t / 2)."""
    k, builder = t.constants, t.builder
    shifted = (t * (-0.5 * float.fromhex("0x1.71547652b82fep+0"))).times(t, k.rounder)
    n = shifted - k.rounder
    if HAS_FMA:  # rounded once
        near = (-t).times(t, n * (-2 * k.ln2[0]))
    else:
        high = t.bits(lambda bits, kind: builder.and_(bits, ir.Constant(kind, [k.upper_half] * kind.count)))
        near = -(high * high) - n * (2 * k.ln2[0]) - (t - high) * (t + high)
    r, s = n.times(-2 * k.ln2[1], near), _power(shifted)
    halves = [float.fromhex(c) / (4 << i) for i, c in enumerate(k.exp_tail.split())]  # of the exponential of r / 2
    p = r * r.polynomial(" ".join(map(float.hex, [0.5, *halves])))
    density, d = s.times(p, s), t.new(t.of(1)) / (t + k.middle)
    return density * (d * d.times(-2 * k.middle, 1).polynomial(k.mills)), density


def _gelu(x: Vector) -> Vector:
    t = x.abs().at_most(x.constants.farthest)
    return (-t).times(_tail(t)[0], x.at_least(0))


def _gelu_slope(x: Vector) -> Vector:
    t = x.abs().at_most(x.constants.farthest)
    tail, density = _tail(t)
    tail = (-t).times(density * 0.3989422804014327, tail)
    return x.where(">", 0, -tail + 1, tail)


def _cubic(x: Vector) -> Vector:
    return x * 1.5957691216057308 * (x * x).times(0.044715, 1)


def _gelu_tanh_slope(x: Vector) -> Vector:
    x = _near(x, x.constants.farthest)
    inner = (x * x).times(0.134145, 1) * 1.5957691216057308
    slope, value = _sigmoid_slope(_cubic(x))
    return (x * slope).times(inner, value)


def _near(x: Vector, bound: float) -> Vector:
    return x.at_most(bound).at_least(-bound)


def _silu_slope(x: Vector) -> Vector:
    slope, value = _sigmoid_slope(x)
    return _near(x, -x.constants.least).times(slope, value)


def _log_of_both(x: Vector) -> Vector:
    """log(1 + exp(x))"""
    return x.where(">", 0, x, 0) + log1p(exp(-x.abs()))


def _softplus(x: Vector) -> Vector:
    return x.where(">", 20, x, _log_of_both(x))


def _softplus_beta(x: Vector, beta: Vector, threshold: Vector) -> Vector:
    scaled = x * beta
    return scaled.where(">", threshold, x, _log_of_both(scaled) / beta)


def _softplus_beta_slope(x: Vector, g: Vector, beta: Vector, threshold: Vector) -> Vector:
    scaled = x * beta
    return scaled.where(">", threshold, g, g * _sigmoid(scaled))


def _relu6(x: Vector) -> Vector:
    return x.at_least(0).at_most(6)


def _hardsigmoid(x: Vector) -> Vector:
    return _relu6(x + 3) * (1 / 6)


def _mish_ratio(x: Vector) -> tuple[Vector, Vector, Vector]:
    """tanh(softplus(x)), 1 less it, and exp(-|x|)."""
    e = exp(-x.abs())
    two = x.where(">", 0, e * 2 * e, 2)
    n = x.where(">", 0, e * 2 + 1, e * (e + 2))
    share = x.new(x.of(1)) / (n + two)
    return n * share, two * share, e


def _mish_slope(x: Vector) -> Vector:
    t, rest, e = _mish_ratio(x)
    sigmoid = x.where("<", 0, e, 1) / (e + 1)
    return (_near(x, -x.constants.least) * (rest * (t + 1))).times(sigmoid, t)


def _hardswish_slope(x: Vector, g: Vector) -> Vector:
    inside = g * x.times(1 / 3, 0.5)
    return x.where("<=", -3, 0, x.where(">=", 3, g, inside))


def _raised(x: Vector, power: Vector) -> Vector:
    """`x` to the power of the number that all lanes of `power` hold."""
    builder, size = x.builder, power.abs()
    near = size.where("==", 2, x * x, size.where("==", 1, x, 1))
    slot = cgutils.alloca_once_value(builder, power.where("<", 0, x.new(x.of(1)) / near, near).value)
    first = builder.extract_element(size.value, _int32(0))
    plain = [builder.fcmp_ordered("==", first, ir.Constant(first.type, n)) for n in (0, 1, 2)]
    with builder.if_then(builder.not_(builder.or_(plain[0], builder.or_(plain[1], plain[2])))):
        builder.store(x.call("llvm.pow", power).value, slot)
    return x.new(builder.load(slot))


def _below(x: Vector) -> Vector:
    return x.where(">", 0, 0, x)


FUNCTIONS: dict[str, Callable[[Vector, Vector], Vector]] = {
    "relu": lambda x, slope: x.at_least(0),
    "relu6": lambda x, slope: _relu6(x),
    "leaky_relu": lambda x, slope: x.where(">", 0, x, x * slope),
    "sigmoid": lambda x, slope: _sigmoid(x),
    "tanh": lambda x, slope: _tanh(x),
    "silu": lambda x, slope: x * _sigmoid(x),
    "gelu": lambda x, slope: _gelu(x),
    "gelu_tanh": lambda x, slope: x * _sigmoid(_cubic(x)),
    "hardswish": lambda x, slope: x * _hardsigmoid(x),
    "elu": lambda x, slope: x.where(">=", 0, x, slope * _expm1(_below(x))),
    "softplus": lambda x, slope: _softplus(x),
    "mish": lambda x, slope: x * _mish_ratio(x)[0],
    "hardsigmoid": lambda x, slope: _hardsigmoid(x),
    "softsign": lambda x, slope: x / (x.abs() + 1),
    "logsigmoid": lambda x, slope: x.where("<", 0, x, 0) - log1p(exp(-x.abs())),
}

SLOPES: dict[str, Callable[[Vector, Vector, Vector], Vector]] = {
    "relu": lambda x, g, slope: x.where("<=", 0, 0, g),
    "relu6": lambda x, g, slope: x.where(">", 0, x.where("<", 6, g, 0), 0),
    "leaky_relu": lambda x, g, slope: x.where(">", 0, g, g * slope),
    "sigmoid": lambda x, g, slope: g * _sigmoid_only_slope(x),
    "tanh": lambda x, g, slope: g * (_sigmoid_only_slope(x * 2) * 4),
    "silu": lambda x, g, slope: g * _silu_slope(x),
    "gelu": lambda x, g, slope: g * _gelu_slope(x),
    "gelu_tanh": lambda x, g, slope: g * _gelu_tanh_slope(x),
    "hardswish": lambda x, g, slope: _hardswish_slope(x, g),
    "elu": lambda x, g, slope: g * x.where(">", 0, 1, slope * exp(_below(x))),
    "softplus": lambda x, g, slope: x.where(">", 20, g, g * _sigmoid(x)),
    "mish": lambda x, g, slope: g * _mish_slope(x),
    "hardsigmoid": lambda x, g, slope: x.where(">", -3, x.where("<", 3, g * (1 / 6), 0), 0),
    "softsign": lambda x, g, slope: g / ((x.abs() + 1) * (x.abs() + 1)),
    "logsigmoid": lambda x, g, slope: g * _sigmoid(-x),
}

# Those of two parameters: not applied to sums, so that kernels of convolutions need not have them compiled.
FUNCTIONS_OF_TWO: dict[str, Callable[..., Vector]] = {
    "hardtanh": lambda x, low, high: x.at_least(low).at_most(high),
    "softplus_beta": _softplus_beta,
}

SLOPES_OF_TWO: dict[str, Callable[..., Vector]] = {
    "hardtanh": lambda x, g, low, high: x.where(">", low, x.where("<", high, g, 0), 0),
    "softplus_beta": _softplus_beta_slope,
    "power": lambda x, g, power, factor: g * factor * _raised(x, power),
    "power_or_0": lambda x, g, power, factor: g * x.where("==", 0, 0, factor * _raised(x, power)),
}
