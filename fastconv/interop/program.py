"""Runs a program as ``python`` does, with SciPy's functions patched."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.abc import InspectLoader
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec
from types import CodeType, ModuleType
from typing import NoReturn

from fastconv.interop.scipy_patch import patch_report, patch_scipy

__all__ = ["Program"]

Compile = Callable[[], CodeType | None]


class Program:
    """A script, or a module or package, to be run as ``__main__``.

    Parameters
    ----------
    target : str
        Path of a script, or name of a module.
    arguments : list of str
        What the program finds in ``sys.argv[1:]``.
    module : bool
        Whether `target` is a module.

    Raises
    ------
    OSError, ImportError
        If there is no such program.
    """

    def __init__(self, target: str, arguments: list[str], *, module: bool = False) -> None:
        self.main, self.compiled = _module(target) if module else _script(target)
        self.argv = [str(self.main.__file__) if module else target, *arguments]

    def run(self, *, numpy: bool = False, report: bool = False) -> None:
        """Patch and run.

        Parameters
        ----------
        numpy : bool
            As in `patch_scipy`.
        report : bool
            Print `patch_report` on stderr in the end.

        Raises
        ------
        SystemExit
            The program's; with status 1 after a traceback, 130 after an interrupt.
        """
        sys.argv, sys.modules["__main__"] = self.argv, self.main
        patch_scipy(numpy=numpy)
        try:
            exec(self.compiled(), vars(self.main))  # type: ignore[arg-type]
        except (Exception, KeyboardInterrupt) as error:
            _end(error)
        finally:
            if report:
                sys.stdout.flush()
                print(patch_report(), file=sys.stderr)


def _script(target: str) -> tuple[ModuleType, Compile]:
    path = os.path.abspath(target)
    loader = SourceFileLoader("__main__", path)
    source = loader.get_data(path)
    main = ModuleType("__main__")
    vars(main).update(__file__=path, __cached__=None, __loader__=loader, __builtins__=__builtins__)
    _first_on_path(os.path.dirname(os.path.realpath(path)))
    return main, lambda: loader.source_to_code(source, path)


def _module(target: str) -> tuple[ModuleType, Compile]:
    _first_on_path(os.getcwd())
    spec = find_spec(target)
    if spec is not None and spec.submodule_search_locations is not None:  # a package
        spec = find_spec(f"{target}.__main__")
    if spec is None or not isinstance(spec.loader, InspectLoader):
        raise ModuleNotFoundError(f"no module {target!r} that can be run")
    loader, name = spec.loader, spec.name
    main = ModuleType("__main__")
    vars(main).update(__file__=spec.origin, __cached__=spec.cached, __loader__=loader, __builtins__=__builtins__)
    vars(main).update(__package__=spec.parent, __spec__=spec)
    return main, lambda: loader.get_code(name)


def _first_on_path(folder: str) -> None:
    """The program's folder takes the place of fastconv's own."""
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):
        sys.path[0] = folder


def _end(error: BaseException) -> NoReturn:
    """Print the traceback from the program's first line on, and exit."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith((__file__, "<frozen importlib")):
        trace = trace.tb_next
    sys.excepthook(type(error), error.with_traceback(trace), trace)
    raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 1)
