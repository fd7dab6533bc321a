"""What activations and their gradients share: checks, the call, and parts of their docstrings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from fastconv.device import native
from fastconv.nn.arguments import FLOATS
from fastconv.plan import execute
from fastconv.problem import ActivationProblem
from fastconv.validate import as_array, new_or_checked_out, result_type, type_name

__all__ = ["applied", "applied_backward", "computed", "documented", "prepared", "prepared_backward"]

# What the docstrings of all functions share.
TEXTS = {
    "input": """input : array_like
        float32, float64, or float16 and bfloat16, which are computed in float32; any shape and memory layout.""",
    "inplace": """inplace : bool, optional
        Whether `input`, an array, is overwritten by the result.""",
    "out": """out : ndarray, optional
        Array for the result, of its exact shape and dtype: `input` itself, or apart from it in memory.""",
    "threads": """threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.""",
    "returns": """Returns
    -------
    ndarray
        Of the input's shape and dtype.""",
    "raises": """Raises
    ------
    ValueError
        Unfit `out`.
    TypeError
        Numbers that are not floating-point numbers of these types.""",
    "differs": "integers are refused; results are right to a few units in the last place, also in the tails",
    "survey": """S. R. Dubey, S. K. Singh, B. B. Chaudhuri, "Activation functions in deep learning: a comprehensive survey and
    benchmark", Neurocomputing 503 (2022), doi:10.1016/j.neucom.2022.06.111.""",
}
TEXTS["grad_output"] = """grad_output : array_like
        Gradient with respect to the function's values.
    input : array_like
        The function's argument, of the same shape and dtype: float32, float64, or float16 and bfloat16."""
TEXTS["out_backward"] = """out : ndarray, optional
        Array for the result, of its exact shape and dtype: `grad_output` or `input`, or apart from both in memory."""
TEXTS["raises_backward"] = """Raises
    ------
    ValueError
        Different shapes, unfit `out`.
    TypeError
        Different dtypes, numbers that are not floating-point numbers of these types."""
TEXTS["backward"] = "\n\n    ".join(
    [TEXTS["out_backward"] + "\n    " + TEXTS["threads"], TEXTS["returns"], TEXTS["raises_backward"]]
)
TEXTS["common"] = (
    "\n    ".join([TEXTS["inplace"], TEXTS["out"], TEXTS["threads"]])
    + "\n\n    "
    + "\n\n    ".join([TEXTS["returns"], TEXTS["raises"]])
)
TEXTS["plain"] = TEXTS["common"].removeprefix(TEXTS["inplace"]).lstrip()

_F = TypeVar("_F", bound=Callable)


def documented(function: _F) -> _F:
    """Fill in what docstrings share: ``{input}``."""
    for name, text in TEXTS.items():
        function.__doc__ = (function.__doc__ or "").replace("{" + name + "}", text)
    return function


def applied(
    name: str, input: Any, inplace: bool, out: Any, threads: int | None, slope: float = 0.0, bound: float = 0.0
) -> np.ndarray:
    """One of the kernels' functions of each element."""
    x, result = prepared(input, inplace, out)
    if x.size:
        problem = ActivationProblem(name, x.shape, type_name(x.dtype), float(slope), float(bound))
        execute(problem, x, None, result, threads=threads)
    return native(result)


def applied_backward(
    name: str, grad_output: Any, input: Any, out: Any, threads: int | None, slope: float = 0.0, bound: float = 0.0
) -> np.ndarray:
    """Gradients times the derivatives of one of the kernels' functions."""
    g, x, result = prepared_backward(grad_output, input, out)
    if x.size:
        problem = ActivationProblem(name, x.shape, type_name(x.dtype), float(slope), float(bound), backward=True)
        execute(problem, x, g, result, threads=threads)
    return native(result)


def prepared(input: Any, inplace: bool, out: Any) -> tuple[Any, Any]:
    """The argument `input` as an array, and that for the result."""
    x = as_array("input", input, empty=True, bfloat16=True)
    dtype = result_type(FLOATS, input=x)
    if inplace and out is not None:
        raise ValueError("inplace must be False where out is given; got True")
    out = x if inplace else out
    if _same_memory(out, x):
        return x, new_or_checked_out(out, x.shape, dtype, {})
    return x, new_or_checked_out(out, x.shape, dtype, {"input": x})


def prepared_backward(grad_output: Any, input: Any, out: Any) -> tuple[Any, Any, Any]:
    """The arguments of a backward function as arrays, and that for the result."""
    g, x = (
        as_array("grad_output", grad_output, empty=True, bfloat16=True),
        as_array("input", input, empty=True, bfloat16=True),
    )
    dtype = result_type(FLOATS, input=x)
    if g.dtype != x.dtype:
        raise TypeError(f"grad_output must have the dtype of input, {x.dtype}; got {g.dtype}")
    if g.shape != x.shape:
        raise ValueError(f"grad_output must have the shape of input, {x.shape}; got {g.shape}")
    others = {"grad_output": g, "input": x}
    apart = {name: array for name, array in others.items() if not _same_memory(out, array)}
    return g, x, new_or_checked_out(out, x.shape, dtype, apart)


def _same_memory(a: Any, b: Any) -> bool:
    """Whether both arrays have every element at the same place."""
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray) or a.dtype != b.dtype:
        return False
    return (a.__array_interface__["data"][0], a.shape, a.strides) == (
        b.__array_interface__["data"][0], b.shape, b.strides,
    )  # fmt: skip


def computed(x: np.ndarray) -> np.ndarray:
    """Elements as NumPy computes with them."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 else x
