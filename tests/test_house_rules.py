"""The rules of the house: signatures, names, layers, documentation, imports."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import scipy.ndimage
import scipy.signal

import fastconv

PACKAGE = Path(fastconv.__file__).parent
ROOT = PACKAGE.parent
PUBLIC_MODULES = ["fastconv", "fastconv.signal", "fastconv.ndimage", "fastconv.nn", "fastconv.nn.grad"]


def module_names() -> list[str]:
    return ["fastconv", *sorted(m.name for m in pkgutil.walk_packages([str(PACKAGE)], "fastconv."))]


def source_of(name: str) -> Path:
    path = ROOT.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


SOURCES = {name: source_of(name) for name in module_names() if source_of(name).exists()}


def public_functions() -> list:
    found = {}
    for name in PUBLIC_MODULES:
        module = importlib.import_module(name)
        found.update({f: None for f in (getattr(module, n) for n in module.__all__) if inspect.isfunction(f)})
    found.update({getattr(fastconv, name): None for name in fastconv._LATER})
    return list(found)


FUNCTIONS = public_functions()

# -- signatures ---------------------------------------------------------------------------------

# As torch.nn.functional's documentation gives them; its functions have no signature to inspect.
TORCH = {
    "conv1d": "input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1",
    "conv3d": "input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1",
    "conv2d": "input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1",
    **dict.fromkeys(
        ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
        "input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1",
    ),
    **dict.fromkeys(
        ("max_pool1d", "max_pool2d", "max_pool3d"),
        "input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False",
    ),
    "avg_pool1d": "input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True",
    **dict.fromkeys(
        ("avg_pool2d", "avg_pool3d"),
        "input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None",
    ),
    **dict.fromkeys(
        ("lp_pool1d", "lp_pool2d", "lp_pool3d"), "input, norm_type, kernel_size, stride=None, ceil_mode=False"
    ),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"), "input, output_size"),
    **dict.fromkeys(
        ("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
        "input, output_size, return_indices=False",
    ),
    **dict.fromkeys(
        ("fractional_max_pool2d", "fractional_max_pool3d"),
        "input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None",
    ),
    **dict.fromkeys(
        ("max_unpool1d", "max_unpool2d", "max_unpool3d"),
        "input, indices, kernel_size, stride=None, padding=0, output_size=None",
    ),
    "unfold": "input, kernel_size, dilation=1, padding=0, stride=1",
    "fold": "input, output_size, kernel_size, dilation=1, padding=0, stride=1",
    **dict.fromkeys(("sigmoid", "logsigmoid", "tanh", "softsign"), "input"),
    **dict.fromkeys(("relu", "relu6", "silu", "mish", "hardsigmoid", "hardswish"), "input, inplace=False"),
    **dict.fromkeys(("softmax", "log_softmax"), "input, dim=None"),
    "elu": "input, alpha=1.0, inplace=False",
    "leaky_relu": "input, negative_slope=0.01, inplace=False",
    "hardtanh": "input, min_val=-1.0, max_val=1.0, inplace=False",
    "gelu": "input, approximate='none'",
    "softplus": "input, beta=1, threshold=20",
}
# Functions that PyTorch has elsewhere, or not at all.
OWN = {
    "deform_conv2d": "input, offset, weight, bias=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), mask=None",
    **{f"quantized_conv{n}d": "input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1" for n in (1, 2, 3)},
    "Sequence": "layers, input",
}
# SciPy's function that is compiled has none either.
COMPILED = {"sepfir2d": "input, hrow, hcol"}
SCIPY = [(m, name) for m in ("signal", "ndimage") for name in importlib.import_module(f"fastconv.{m}").__all__]


def assert_same_signature(ours: inspect.Signature, theirs: inspect.Signature) -> None:
    """The same parameters, and then keyword-only ones."""
    common, extra = dict(ours.parameters), []
    for name in ours.parameters:
        if name not in theirs.parameters:
            extra.append(common.pop(name))
    assert list(common) == list(theirs.parameters)
    for name, parameter in theirs.parameters.items():
        assert (common[name].kind, common[name].default) == (parameter.kind, parameter.default), name
    assert all(
        parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty for parameter in extra
    )


@pytest.mark.parametrize("module, name", SCIPY)
def test_signatures_of_scipy(module, name):
    ours = inspect.signature(getattr(importlib.import_module(f"fastconv.{module}"), name))
    theirs = getattr(getattr(scipy, module), name)
    if name in COMPILED:
        assert theirs.__doc__.startswith(f"out = {name}({COMPILED[name]})")
        theirs = eval(f"lambda {COMPILED[name]}: None")
    assert_same_signature(ours, inspect.signature(theirs))


@pytest.mark.parametrize("name", fastconv.nn.__all__)
def test_signatures_of_torch(name):
    theirs: dict = {}
    exec(f"def {name}({(TORCH | OWN)[name]}): pass", theirs)
    assert_same_signature(inspect.signature(getattr(fastconv.nn, name)), inspect.signature(theirs[name]))


if importlib.util.find_spec("torch") is not None:

    @pytest.mark.parametrize("name", TORCH)
    def test_torch_has_these_signatures(name):
        import torch.nn.functional as F

        documentation = " ".join(getattr(F, name).__doc__.split()).replace(" = ", "=")
        if f"{name}({TORCH[name]})" not in documentation:  # a function of Python
            theirs = inspect.signature(getattr(F, name)).parameters.values()
            told = [p.name if p.default is p.empty else f"{p.name}={p.default}" for p in theirs]
            assert TORCH[name].split(", ") == told[: len(TORCH[name].split(", "))]


# -- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOURCES)
def test_all_is_sorted_and_true(name):
    tree = ast.parse(SOURCES[name].read_text())
    listed = [n.value for n in tree.body if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "__all__"]
    if not tree.body[1:]:  # a package's empty __init__
        return
    if name == "fastconv.__main__":
        return
    assert len(listed) == 1, "has no __all__"
    names = ast.literal_eval(listed[0])
    assert names == sorted(set(names), key=lambda n: (not n.isupper(), n[0].islower(), n))  # as ruff sorts them
    if "numba_cuda" not in name:  # needs numba-cuda, which is optional
        module = importlib.import_module(name)
        assert all(hasattr(module, n) for n in names)


IN_PUBLIC_PACKAGES = [name for name in SOURCES if name.startswith(tuple(f"{m}." for m in PUBLIC_MODULES[1:]))]


@pytest.mark.parametrize("name", [*PUBLIC_MODULES, *IN_PUBLIC_PACKAGES, "fastconv.testing"])
def test_all_is_complete(name):
    module = importlib.import_module(name)
    defined = {key for key, value in vars(module).items() if getattr(value, "__module__", "") == name and key[0] != "_"}
    assert defined <= set(module.__all__)


def test_top_level_names():
    assert set(dir(fastconv)) - set(fastconv.__all__) <= {"__version__"}
    for name in fastconv.__all__:
        assert not name.startswith("_")
        assert getattr(fastconv, name) is not None
    for name in ("convolve", "correlate", "convolve2d", "correlate2d"):
        assert getattr(fastconv, name) is getattr(fastconv.signal, name)
    for name in ("conv2d", "max_pool2d", "avg_pool2d"):
        assert getattr(fastconv, name) is getattr(fastconv.nn, name)
    assert fastconv.keras.conv is not None and fastconv.plot.show_feature_maps is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = fastconv.no_such_name


@pytest.mark.parametrize("name", ["fastconv", *(f"fastconv.{part}" for part in ("kernels", "ndimage", "nn", "signal"))])
def test_packages_show_public_names(name):
    module = importlib.import_module(name)
    assert set(dir(module)) - {"__version__"} == set(module.__all__)


def test_an_operation_has_one_file_name_in_every_layer():
    from fastconv.table import TABLE

    suffix = {"cython": ("cython_cpu", ".pxi"), "numba": ("numba_cpu", ".py")}
    for row in TABLE:
        assert (PACKAGE / "algorithms" / f"{row.algorithm}.py").exists()
        if row.engine in suffix:
            folder, ending = suffix[row.engine]
            module = importlib.import_module(f"fastconv.algorithms.{row.algorithm}")
            operation = getattr(getattr(module, row.executor), "operation", row.algorithm)  # whose kernel it launches
            assert (PACKAGE / "engines" / folder / (operation + ending)).exists(), row.name


# -- layers -------------------------------------------------------------------------------------

# From the bottom up: a module imports from lower layers, or from its own package.
LAYERS = [
    ["folders"],
    ["memory", "rates", "install", "dlpack"],
    ["boundary", "problem", "costs", "device", "kernels", "engines.contract", "engines.threads"],
    ["engines.level", "engines.private_folder"],
    ["engines", "reference", "config"],
    ["replay"],
    ["separability"],
    ["algorithms"],
    ["choice"],
    ["table", "plan", "validate", "testing"],
    ["prepared"],
    ["signal", "ndimage", "nn"],
    ["interop", "keras"],
    ["compilation"],
    ["", "about", "tuning", "plot"],
    ["bench", "picture_filter", "__main__"],
]
# Imports upwards, inside functions, each for a reason.
UPWARDS = {
    ("fastconv.algorithms.parts", "fastconv.table"): "algorithms made of convolutions take rows of the same engine",
    ("fastconv.plan", "fastconv.prepared"): "a plan makes its call with prepared weights",
    ("fastconv.device", "fastconv.engines.numba_cuda"): "looks for a device only when an array lives on one",
    ("fastconv.device", "fastconv.algorithms.device_moving"): "generic code copies and adds arrays as NumPy does",
}
ANYWHERE = {"numpy", "threadpoolctl", *sys.stdlib_module_names}
# Who may import what, besides.
OPTIONAL = {
    "numba": ["engines.numba_cpu", "engines.numba_cuda", "bench"],
    "llvmlite": ["engines.numba_cpu", "engines.numba_cuda", "bench"],
    "platformdirs": ["folders"],
    "scipy": ["signal", "ndimage", "algorithms.fourier", "bench"],
    "matplotlib": ["bench", "picture_filter", "plot"],
    "rich": ["bench", "__main__", "compilation"],
    "typer": ["bench", "__main__"],
    "skimage": ["bench", "picture_filter", "__main__"],
    "PIL": ["bench", "picture_filter", "__main__"],
    "cv2": ["bench"],
    "astropy": ["bench"],
    "cuda": ["engines.numba_cuda"],
    "torch": ["bench"],
}


def imports_of(path: Path) -> set[str]:
    """Full names of everything that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in SOURCES else node.module for name in full}
    return found


def within(name: str, part: str) -> bool:
    full = f"fastconv.{part}".rstrip(".")
    return name == full or (part != "" and name.startswith(full + "."))


def layer(name: str) -> int:
    fitting = [(len(part), i) for i, parts in enumerate(LAYERS) for part in parts if within(name, part)]
    assert fitting, f"{name} is in no layer"
    return max(fitting)[1]


def package(name: str) -> str:
    """The package (or lone module) below fastconv; each engine is one."""
    parts = name.split(".")
    return ".".join(parts[:3] if parts[1:2] == ["engines"] else parts[:2])


@pytest.mark.parametrize("name", SOURCES)
def test_imports_point_downwards(name):
    for imported in sorted(imports_of(SOURCES[name])):
        top = imported.split(".")[0]
        if top != "fastconv":
            allowed = OPTIONAL.get(top, [])
            assert top in ANYWHERE or any(within(name, part) for part in allowed), f"{name} imports {imported}"
        elif package(imported) != package(name) and (name, package(imported)) not in {
            (a, package(b)) for a, b in UPWARDS
        }:
            below = layer(imported) < layer(name)
            beside = (name, imported) == ("fastconv.plan", "fastconv.table") or layer(name) >= len(LAYERS) - 2
            assert below or (beside and layer(imported) <= layer(name)), f"{name} imports {imported}"


# -- documentation ------------------------------------------------------------------------------


NO_OPERATIONS = (
    "fastconv.tuning",
    "fastconv.config",
    "fastconv.plan",
    "fastconv.compilation",
    "fastconv.about",
    "fastconv.interop.scipy_patch",
)


def sections(function) -> set[str]:
    return set(re.findall(r"^(\w[\w ]+)\n-{3,}$", inspect.getdoc(function) or "", re.MULTILINE))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_docstring_sections(function):
    signature = inspect.signature(function)
    wanted = {"Examples"}
    if signature.parameters:
        wanted |= {"Parameters", "Raises"}
    if str(signature.return_annotation) not in ("None", "Iterator[None]"):
        wanted |= {"Returns"}
    assert wanted <= sections(function)
    documented = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[\w ]+\n-{3,}$|\Z)", inspect.getdoc(function), re.M | re.S)
    names = re.findall(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*) ?(?::|$)", documented.group(1) if documented else "", re.M)
    found = [name.strip("*") for line in names for name in line.split(", ")]
    assert found == list(signature.parameters)


@pytest.mark.parametrize(
    "function",
    [f for f in FUNCTIONS if f.__module__ not in NO_OPERATIONS],
    ids=lambda f: f.__name__,
)
def test_operations_cite_their_source(function):
    assert {"Notes", "References"} <= sections(function)
    assert "doi:10." in function.__doc__
    assert "Differs from" in function.__doc__


@pytest.mark.parametrize("name", [name for name, path in SOURCES.items() if ">>>" in path.read_text()])
def test_docstring_examples_run(name):
    if name.startswith("fastconv.engines.numba_cuda"):
        pytest.importorskip("numba.cuda")
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0 and result.failed == 0


def test_every_module_says_what_it_is():
    for name, path in SOURCES.items():
        tree = ast.parse(path.read_text())
        assert not tree.body or ast.get_docstring(tree), name


# -- importing ----------------------------------------------------------------------------------

HEAVY = [
    "scipy",
    "numba",
    "llvmlite",
    "matplotlib",
    "typer",
    "rich",
    "torch",
    "cv2",
    "skimage",
    "pandas",
    "numpy.testing",
]


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert result.stderr == ""
    return result.stdout


def test_importing_is_cheap_and_silent():
    numpys = set(run("import sys, numpy; print(*sys.modules)").split())
    ours = set(run("import sys, fastconv; print(*sys.modules)").split()) - numpys
    assert not {name for name in ours if name.split(".")[0] in HEAVY or name in HEAVY}
    assert not {
        n
        for n in ours
        if n.startswith(("fastconv.engines.cython_cpu", "fastconv.engines.numba", "fastconv.algorithms"))
    }
    assert "fastconv.reference" not in ours and "fastconv.bench" not in ours
    assert len(ours) <= 90, sorted(ours)


def test_the_first_call_waits_for_no_compiler():
    code = (
        "import sys, numpy as np, fastconv; fastconv.convolve2d(np.ones((9, 9)), np.ones((3, 3))); print(*sys.modules)"
    )
    assert not {"numba", "llvmlite", "scipy"} & set(run(code).split())


def test_the_first_call_imports_what_it_needs():
    """Algorithms that do not take it, among others: each costs a millisecond."""
    code = "import sys, numpy as np, fastconv; before = {*sys.modules}; "
    code += "image, kernel = np.ones((512, 512), 'f4'), np.arange(25, dtype='f4').reshape(5, 5); "
    code += "fastconv.signal.convolve2d(image, kernel, 'same'); print(*{*sys.modules} - before)"
    loaded = {name for name in run(code).split() if name.startswith("fastconv.algorithms.")}
    needed = {"executor", "geometry", "separable", "filter"}
    assert loaded == {f"fastconv.algorithms.{name}" for name in needed}


# -- the repository -----------------------------------------------------------------------------

TEXTS = [".py", ".pyx", ".pxi", ".pxd", ".h", ".c", ".md", ".toml", ".yml", ".cfg"]
FOLDERS = ["fastconv", "tests", "benchmarks", "docs", "examples"]


def tracked_texts() -> list[Path]:
    made = {path.with_suffix(".c") for path in PACKAGE.rglob("*.pyx")}  # by Cython, in the source folder
    inside = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    return [path for path in [*ROOT.glob("*"), *inside] if path.suffix in TEXTS and path.is_file() and path not in made]


def test_no_path_of_one_machine():
    """Files name no folder of the machine that they were written on."""
    one_machine = re.compile(r"(?<![\w./:])/(?:" + "|".join(["home", "Users", "root", "work", "mnt"]) + r")/\w")
    for path in tracked_texts():
        assert not one_machine.search(path.read_text()), path


def code_lines(path: Path) -> int:
    """Lines of a Python file without its docstrings."""
    tree, total = ast.parse(path.read_text()), len(path.read_text().splitlines())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            total -= node.body[0].end_lineno - node.body[0].lineno + 1
    return total


def test_files_are_short():
    for path in PACKAGE.rglob("*"):
        if path.suffix == ".py":
            assert code_lines(path) <= 400, path
        elif path.suffix in (".pyx", ".pxi", ".h"):
            assert len(path.read_text().splitlines()) <= 400, path
