"""Arguments in Keras' spelling."""

from __future__ import annotations

from typing import Any

from fastconv.validate import as_array, choice, int_tuple

__all__ = ["Layout", "padding_name", "steps"]

FORMATS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}


class Layout:
    """The inputs, how many spatial axes they have, and the name of their layout in `fastconv.nn`."""

    def __init__(self, inputs: Any, data_format: Any):
        last = choice(
            "data_format",
            "channels_last" if data_format is None else data_format,
            {"channels_last": True, "channels_first": False},
        )
        self.inputs = as_array("inputs", inputs, ndim=(3, 4, 5), empty=True, bfloat16=True)
        self.ndim = self.inputs.ndim - 2
        self.data_format = FORMATS[self.ndim][last]
        self.channels = self.inputs.shape[-1 if last else 1]
        self.sizes = self.inputs.shape[1:-1] if last else self.inputs.shape[2:]

    def kernel(self, name: str, value: Any) -> Any:
        """An argument as an array ``(*kernel_size, ..., ...)``."""
        return as_array(name, value, ndim=self.ndim + 2, bfloat16=True)


def padding_name(padding: Any) -> str:
    """ "valid" or "same", in any case."""
    if not isinstance(padding, str):
        raise TypeError(f"padding must be 'valid' or 'same'; got {padding!r}")
    return choice("padding", padding.lower(), {"valid": "valid", "same": "same"})


def steps(name: str, value: Any, ndim: int) -> tuple[int, ...]:
    """The argument as an integer for each spatial axis."""
    return int_tuple(name, value, ndim, minimum=1)
