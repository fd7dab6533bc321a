"""How the engine compiles: one set of options, the argument record as a type, and the disk cache.

Kernels are C callbacks called by address from the library's own threads: nothing here is
parallel, and compiled code touches no Python.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import llvmlite
import numba
from llvmlite import ir
from numba import types
from numba.core import serialize
from numba.core.ccallback import CFunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, CompileResult
from numba.core.imputils import lower_getattr_generic
from numba.core.registry import CPUDispatcher
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, models, register_model

from fastconv import folders
from fastconv.engines import contract, level
from fastconv.engines.private_folder import PrivateFolder

__all__ = ["Record", "cache_folder", "compile_kernel", "inlined", "part"]

# Bytes of compiled kernels on disk, of all versions: each has 50 to 200 KB, all of one version 12 MB.
CACHE_BYTES = 256 << 20

# numpy: no division checks, so no exceptions.  fastmath stays off: its nnan and ninf would
# delete NaN tests, and reordering would break the exact sums of `scipy.ndimage`.
OPTIONS = {"nopython": True, "error_model": "numpy", "fastmath": False, "boundscheck": False}


def part(function: Callable, forceinline: bool = False) -> CPUDispatcher:
    """Make a function callable from kernels (it is compiled with the first kernel that calls it)."""
    _name_by_contents(function)
    options = OPTIONS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "forceinline": forceinline}
    return CPUDispatcher(function, targetoptions=options, pipeline_class=_PartCompiler)


class _PartCompiler(Compiler):
    def __init__(self, typing_context: Any, target_context: Any, library: Any, *rest: Any):
        super().__init__(typing_context, target_context, _PartLibrary(target_context.codegen(), "part"), *rest)


class _PartLibrary(JITCodeLibrary):
    """Code that is linked into kernels and never called by address.

    No machine code is made of it, nor is it optimised before the kernel that it becomes a piece of is as a whole.
    """

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0

    @property
    def codegen(self) -> Any:
        return self

    def set_env(self, name: str, env: Any) -> None:
        """Tell nobody: what reads it are exceptions, which parts do not raise."""


def _name_by_contents(function: Callable) -> None:
    """Put what a function closes over into its name.

    Symbols are made of names, argument types and a number that each process counts anew.  Functions of one maker
    that were compiled in different processes and cached may so have the same symbol: of two of them loaded by a third
    process, the linker would take the first for both.
    """
    if getattr(function, "__closure__", None):
        digest = hashlib.sha256(repr(_contents(function)).encode()).hexdigest()
        function.__qualname__ += f"_{digest[:8]}"


def _contents(value: Any) -> Any:
    """What tells a value from others of its kind, in every process: of a function its code and what it closes over."""
    function = getattr(value, "py_func", None) or getattr(value, "_defn", value)
    if not isinstance(function, FunctionType):
        return repr(value)
    code = function.__code__
    constants = [repr(c) for c in code.co_consts if not isinstance(c, CodeType)]
    inner = [c.co_code for c in code.co_consts if isinstance(c, CodeType)]
    cells = [_contents(cell.cell_contents) for cell in function.__closure__ or ()]
    return function.__qualname__, code.co_code, code.co_names, constants, inner, cells


def inlined(function: Callable) -> CPUDispatcher:
    """A `part` whose code LLVM puts into its callers, for what is called in loops, or from one place.

    Other parts LLVM puts there or not, by their size.  Numba's own inlining copies its representation of the caller for
    each call: half of the time that a kernel of many parts took to compile.
    """
    return part(function, forceinline=True)


class Record(types.Type):
    """A kernel's argument record: its fields read as attributes, ``a.height``."""

    def __init__(self, fields: tuple[str, ...]):
        self.fields = fields
        # The name stands in every symbol: a digest of the fields keeps object code small.
        super().__init__(name=f"Record{hashlib.sha256(repr(fields).encode()).hexdigest()[:8]}")


@register_model(Record)
class _RecordModel(models.PrimitiveModel):
    def __init__(self, manager: Any, record: Record):
        super().__init__(manager, record, ir.IntType(64).as_pointer())


@infer_getattr
class _RecordFields(AttributeTemplate):
    key = Record

    def generic_resolve(self, record: Record, name: str) -> types.Type | None:
        return types.int64 if name in record.fields else None


@lower_getattr_generic(Record)
def _read_slot(context: Any, builder: ir.IRBuilder, record: Record, value: ir.Value, name: str) -> ir.Value:
    slot = builder.load(builder.gep(value, [ir.IntType(64)(record.fields.index(name))]))
    # Records do not change while kernels run: LLVM may keep slots in registers across stores.
    slot.set_metadata("invariant.load", builder.module.add_metadata([]))
    return slot


def compile_kernel(name: str, function: Callable, fields: tuple[str, ...]) -> CFunc:
    """The kernel ``function(record, unit, worker)``, from the disk cache or compiled; see its `address`.

    `name` must tell the function apart from every other kernel of the engine.
    """
    if numba.config.DISABLE_JIT:
        raise RuntimeError("the Numba engine cannot compile: NUMBA_DISABLE_JIT is set")
    function.__qualname__ = f"{function.__qualname__}_{name}"  # see `_name_by_contents`
    signature = (Record(fields), types.int64, types.int64), types.void
    kernel = CFunc(function, signature, locals={}, options=OPTIONS)
    kernel._cache = _KernelCache(name)  # type: ignore[attr-defined]
    kernel.compile()
    return kernel


class _KernelCache:
    """The two methods that `CFunc` asks of a cache, on one file per kernel."""

    def __init__(self, name: str):
        self.name = name

    def load_overload(self, signature: Any, context: Any) -> CompileResult | None:
        context.refresh()
        blob = cache_folder().read(self._file(context))
        if blob is None:
            return None
        try:
            return CompileResult._rebuild(context, *pickle.loads(blob))
        except Exception:  # a file that cannot be used costs a compilation, no more
            return None

    def save_overload(self, signature: Any, result: CompileResult) -> None:
        if not result.library.has_dynamic_globals:
            cache_folder().write(self._file(result.target_context), serialize.dumps(result._reduce()))

    def _file(self, context: Any) -> str:
        versions = (numba.__version__, llvmlite.__version__, sys.version_info[:3], sys.implementation.name)
        key = repr((_source_hash(), versions, context.codegen().magic_tuple(), level.SIMD))
        return f"{self.name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}"


@cache
def cache_folder() -> PrivateFolder:
    """The folder of compiled kernels: below ``FASTCONV_CACHE_DIR``, or the user's own cache folder."""
    return PrivateFolder(Path(folders.cache()) / "numba", CACHE_BYTES)


@cache
def _source_hash() -> str:
    """Changes with every file that compiled code depends on."""
    folders = Path(__file__).parent, Path(contract.__file__).parent
    sources = [path for folder in folders for path in sorted(folder.glob("*.py"))]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()
