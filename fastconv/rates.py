"""What work costs on this machine: the constants that `fastconv.costs` estimates with, and where tuned ones are kept.

The defaults were measured on a 2-core x86-64 server with AVX-512 (AMD EPYC, Zen 5; see ARCHITECTURE.md).  `fastconv.tune`
measures them anew and saves them; they are read when the first choice is made, not at import.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Rates", "current", "described", "forget", "path", "processor", "save", "use"]

# Changes with the meaning of the constants.
FORMAT = 1


@dataclass(frozen=True)
class Rates:
    """Seconds, for one thread unless told otherwise.

    Attributes
    ----------
    flops, bandwidth : float
        Multiplications and additions, and bytes from memory, per second.
    min_seconds : float
        Below this much work for one thread a second thread costs more than it brings.
    sums, outputs : tuple of float
        Of direct sums in float32, for each operation and each output, with kernels of one, two and more axes.
    sums_float64, sums_uint32, sums_uint64, sums_exact : float
        How much longer sums in other types take; exact ones are those of 8-bit images with integer results.
    line_tap, line_output : float
        Of separable passes in float32, for each tap of a line and each output of a pass.
    sums_of_passes, solid_passes : float
        How much longer they take for several outer products, each, and for kernels of three and more axes.
    point, halving, double : float
        Of the engines' Fourier transforms in float32, forth and back: for each complex point, for each point and halving;
        how much longer they take in double precision.
    fourier : float
        How much longer than estimated `scipy.fft` takes.
    """

    flops: float = 150e9
    bandwidth: float = 38e9
    min_seconds: float = 10e-6
    sums: tuple[float, ...] = (4.5e-12, 4.05e-12, 4.6e-12)
    outputs: tuple[float, ...] = (0.06e-9, 0.07e-9, 0.7e-9)
    sums_float64: float = 2.0
    sums_uint32: float = 1.18
    sums_uint64: float = 2.35
    sums_exact: float = 1.4
    line_tap: float = 10.0e-12
    line_output: float = 0.13e-9
    sums_of_passes: float = 1.5
    solid_passes: float = 1.4
    point: float = 1.4e-9
    halving: float = 0.007e-9
    double: float = 2.0
    fourier: float = 1.05


# For people; the others tell how much longer something takes.
UNITS = {
    "flops": (1e9, "GFLOP/s"), "bandwidth": (1e9, "GB/s"), "min_seconds": (1e-6, "us"),
    "sums": (1e-12, "ps an operation, along one, two and more axes"),
    "outputs": (1e-9, "ns an output, along one, two and more axes"),
    "line_tap": (1e-12, "ps a tap"), "line_output": (1e-9, "ns an output"),
    "point": (1e-9, "ns a point"), "halving": (1e-9, "ns a point and halving"),
}  # fmt: skip

_used: Rates | None = None


def described(values: dict[str, Any]) -> list[str]:
    """Rates by name as lines of text, in units that people read."""
    lines = []
    for name, value in values.items():
        scale, unit = UNITS.get(name, (1.0, "times as long"))
        numbers = value if isinstance(value, tuple) else (value,)
        lines.append(f"{name:<16} {' '.join(f'{number / scale:.3g}' for number in numbers)} {unit}")
    return lines


def current() -> Rates:
    """The rates in force: those that `use` set, else the saved ones, else the defaults."""
    global _used
    if _used is None:
        _used = _saved() or Rates()
    return _used


def use(rates: Rates | None) -> None:
    """Put rates in force in this process; None: the saved ones, or the defaults."""
    global _used
    _used = rates


def save(rates: Rates) -> Path | None:
    """Keep rates for later processes; None if there is no place to write to."""
    import json
    import secrets

    target = path()
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    document = {"format": FORMAT, "version": _version(), "processor": processor(), "rates": asdict(rates)}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(document, indent=1) + "\n")
        os.replace(draft, target)  # other processes see the whole file or none
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        return None
    return target


def forget() -> bool:
    """Remove the saved rates; whether there were some."""
    use(None)
    try:
        path().unlink()
    except OSError:
        return False
    return True


def path() -> Path:
    """The file of this fastconv and this kind of processor, below ``FASTCONV_CACHE_DIR`` or the user's cache folder."""
    from pathlib import Path

    from fastconv import folders

    kind = "-".join("".join(c if c.isalnum() or c in "_.-" else " " for c in processor()).split())
    return Path(folders.cache()) / f"rates-{_version()}-{kind}.json"


@cache
def processor() -> str:
    """The processor's model, as far as the system tells, and how many of them this process may use."""
    import platform

    name = ""
    if sys.platform == "linux":
        try:
            with open("/proc/cpuinfo") as file:
                lines = file.read().splitlines()
            name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
        except OSError:
            pass
    name = name or platform.processor() or platform.machine()  # which may start a program
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name} x{count}"


def _version() -> str:
    return sys.modules["fastconv"].__version__  # asking the installation takes 10 ms of the first call


def _saved() -> Rates | None:
    """The rates of the file, if it is there and right."""
    try:
        text = path().read_text()
    except (OSError, ImportError):
        return None
    import json
    import warnings

    try:
        document = json.loads(text)
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']}")
        return Rates(**{field.name: _checked(field.name, document["rates"][field.name]) for field in fields(Rates)})
    except (ValueError, TypeError, KeyError) as cause:
        warnings.warn(
            f"{path()} is damaged ({type(cause).__name__}: {cause}) and is not used: run fastconv.tune() to write it anew, "
            "or fastconv.tune(reset=True) to remove it",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


def _checked(name: str, value: Any) -> Any:
    """A positive number, or as many as the defaults have."""
    default = getattr(Rates, name)
    numbers = value if isinstance(value, list) else [value]
    expected = default if isinstance(default, tuple) else (default,)
    if len(numbers) != len(expected) or isinstance(value, list) != isinstance(default, tuple):
        raise ValueError(f"{name} has {len(numbers)} numbers")
    for number, usual in zip(numbers, expected, strict=True):
        if not isinstance(number, int | float) or not usual / 1e4 < number < usual * 1e4:
            raise ValueError(f"{name} is {number!r}")
    return tuple(map(float, numbers)) if isinstance(value, list) else float(value)
