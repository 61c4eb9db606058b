"""Imports point one way: cli -> evaluate -> codec -> {fit, quantize, ...} -> sites -> errors."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "sadcodec"

# What each part of the package may import of the others. A part may only name parts above it here,
# so the table cannot hold a cycle. `_core` and `_coder` are the compiled modules.
ALLOWED: dict[str, set[str]] = {
    "_core": set(),
    "_coder": set(),
    "errors": set(),
    "sites": {"errors"},
    "site_list": {"errors", "sites"},
    "files": {"errors"},
    "quiet": set(),
    "processors": set(),
    "progress": set(),
    "image_io": {"errors", "quiet"},
    "alpha": set(),
    "pixels": {"errors"},
    "metrics": {"errors", "alpha"},
    "bitstream": {"errors", "_coder"},
    "backends": {"errors", "sites", "processors", "pixels", "_core"},
    "pool": {"processors", "backends"},
    "views": {"errors", "sites", "backends"},
    "site_view": {"sites"},
    "editing": {"errors", "sites"},
    "quantize": {"errors", "sites", "bitstream"},
    "reach": {"bitstream", "backends", "quantize"},
    "fit": {"errors", "sites", "backends"},
    "objective": {"metrics", "alpha"},
    "losses": {"errors", "metrics"},
    "inverse": {"errors", "backends", "fit", "losses"},
    "importance": {"errors"},
    "effort": {"errors"},
    "rate_term": {"sites", "bitstream", "backends", "quantize"},
    "refine": {"sites", "bitstream", "backends", "quantize", "rate_term"},
    "fill": {"bitstream", "refine"},
    "layering": {"errors", "bitstream", "quantize", "refine"},
    "job": {
        "progress",
        *("errors", "sites", "bitstream", "backends", "effort", "fit", "importance", "objective"),
        *("alpha", "refine"),
    },
    "rate": {
        *("sites", "bitstream", "backends", "quantize", "fit", "refine", "objective"),
        *("rate_term", "fill", "layering", "job"),
    },
    "targets": {
        *("errors", "sites", "bitstream", "quantize", "fit", "refine", "job", "rate", "alpha"),
        "pixels",
    },
    "engine": {"backends"},
    "options": {
        "progress",
        *("errors", "backends", "effort", "engine", "fit", "importance", "job", "layering"),
        *("objective", "pixels", "targets"),
    },
    "frame": {"errors", "sites", "backends", "pixels"},
    "compose": {
        "progress",
        *("errors", "processors", "metrics", "objective", "image_io", "bitstream", "quantize"),
        *("frame", "backends", "pixels", "_core"),
    },
    "decoding": {
        *("pixels", "progress"),
        *("errors", "bitstream", "backends", "processors", "quantize", "engine", "frame", "refine"),
        "compose",
    },
    "attachments": {"errors", "bitstream", "decoding"},
    "codec": {
        *("errors", "sites", "bitstream", "backends", "quantize", "metrics", "pixels", "job"),
        *("options", "rate", "targets", "engine", "decoding", "attachments", "reach"),
    },
    "motion": set(),
    "follow": {
        *("bitstream", "fit", "motion", "objective", "quantize", "job", "refine", "sites"),
    },
    "sequence": {
        "attachments",
        *("backends", "bitstream", "compose", "decoding", "engine", "errors", "follow", "frame"),
        *("job", "metrics", "options", "pixels", "processors", "quantize", "rate_term", "refine"),
        "targets",
    },
    "site_coding": {
        "progress",
        *("errors", "sites", "bitstream", "backends", "effort", "reach", "refine", "fill", "rate"),
        *("decoding", "job", "pixels"),
    },
    "exchange": {
        "progress",
        *("errors", "sites", "bitstream", "backends", "quantize", "metrics", "site_list"),
        *("effort", "processors", "decoding", "pixels", "site_coding"),
    },
    "site_picture": {
        *("errors", "sites", "backends", "decoding", "frame", "site_view", "views"),
    },
    "diagram": {
        *("errors", "sites", "files", "pixels", "processors", "bitstream", "backends", "quantize"),
        *("editing", "frame", "decoding", "codec", "site_coding", "site_picture"),
    },
    "torch": {"errors", "sites", "backends", "fit", "diagram"},
    "pillow": {"errors", "bitstream", "decoding", "codec"},
    "pillow_hook": {"pillow"},
    "__init__": {"errors", "sites", "codec", "exchange", "pillow_hook", "sequence", "diagram"},
    "cluster_connection": {"errors"},
    "cluster": {"__init__", "errors", "backends", "pool", "cluster_connection"},
    "evaluate": {
        *("__init__", "errors", "codec", "image_io", "files", "metrics", "progress"),
        *("pool", "views", "diagram", "quiet"),
    },
    "cli": {
        *("__init__", "errors", "codec", "bitstream", "evaluate", "image_io", "files", "progress"),
        *("pool", "cluster", "exchange", "site_list", "views", "diagram"),
        *("attachments", "sequence", "decoding", "compose"),
    },
    "__main__": {"cli"},
}

# The bitstream is integers in and bytes out: beside the standard library it needs these only.
BITSTREAM_PACKAGES = {"numpy", "zstandard"}


class Import(NamedTuple):
    source: str  # "backends/cpu.py", relative to the package
    line: int
    target: str  # "sadcodec.sites", "numpy"; a name from a module is not part of it
    lazy: bool  # inside a function

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


def component(dotted: str) -> str:
    """Return the row of ALLOWED that a module of the package belongs to."""
    return dotted.split(".")[1] if "." in dotted else "__init__"


def is_module(dotted: str) -> bool:
    path = PACKAGE.parent.joinpath(*dotted.split("."))
    return dotted in {"sadcodec._core", "sadcodec._coder"} or (
        path.with_suffix(".py").is_file() or path.is_dir()
    )


def targets(node: ast.AST, package: list[str]) -> list[str]:
    """Return the modules that one node of a file in `package` (its dotted name, split) imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = package[: len(package) + 1 - node.level] if node.level else []
        module = ".".join([*base, node.module] if node.module else base)
        names = [f"{module}.{alias.name}" for alias in node.names]
        if not module.startswith("sadcodec"):
            return [module]
        return [name if is_module(name) else module for name in names]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
        called = called.id if isinstance(called, ast.Name) else called
        if called in {"import_module", "__import__"}:
            name = str(node.args[0].value)
            return [".".join([*package, name.lstrip(".")]) if name.startswith(".") else name]
    return []


def imports_of(path: Path) -> list[Import]:
    source = path.relative_to(PACKAGE).as_posix()
    package = ["sadcodec", *path.relative_to(PACKAGE).parent.parts]
    found = []

    def walk(node: ast.AST, lazy: bool) -> None:
        found.extend(Import(source, node.lineno, t, lazy) for t in targets(node, package))
        inner = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            walk(child, inner)

    walk(ast.parse(path.read_text(encoding="utf-8")), False)
    return found


FILES = sorted(PACKAGE.rglob("*.py"))
IMPORTS = [found for path in FILES for found in imports_of(path)]


def test_the_table_has_no_cycle():
    above: set[str] = set()
    for part, allowed in ALLOWED.items():
        assert allowed <= above, part
        above.add(part)


def test_the_walk_sees_the_imports_that_are_there():
    assert {"sites", "bitstream", "backends"} <= {
        component(found.target) for found in IMPORTS if found.target.startswith("sadcodec")
    }
    assert any(found.target == "numpy" for found in IMPORTS)
    assert any(found.lazy for found in IMPORTS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_downwards(path):
    part = path.relative_to(PACKAGE).with_suffix("").parts[0]
    assert part in ALLOWED, f"give {part} a row in ALLOWED"
    inside = [found for found in imports_of(path) if found.target.startswith("sadcodec")]
    reached = {component(found.target): str(found) for found in inside}
    wrong = {target: where for target, where in reached.items() if target != part}
    assert not [where for target, where in wrong.items() if target not in ALLOWED[part]]


def test_the_bitstream_needs_no_package_that_computes_with_floats():
    allowed = set(sys.stdlib_module_names) | BITSTREAM_PACKAGES | {"sadcodec"}
    wrong = [
        str(found)
        for found in IMPORTS
        if found.source.startswith("bitstream/") and found.target.split(".")[0] not in allowed
    ]
    assert not wrong


def test_only_the_cuda_backend_imports_cupy():
    importers = {f.source for f in IMPORTS if f.target.split(".")[0] in {"cupy", "cupyx"}}
    assert importers <= {"backends/cuda.py"}


def test_only_the_cluster_imports_dask():
    dask = {"cloudpickle", "dask", "distributed", "tornado"}
    importers = {(f.source, f.lazy) for f in IMPORTS if f.target.split(".")[0] in dask}
    assert importers == {("cluster.py", True), ("cluster_connection.py", True)}


def test_the_reference_is_imported_only_when_asked_for():
    wrong = [
        str(found)
        for found in IMPORTS
        if found.target.startswith("sadcodec.backends.reference")
        and not found.source.startswith("backends/reference")
        and not (found.source == "backends/__init__.py" and found.lazy)
    ]
    assert not wrong


def test_importing_the_package_loads_no_numpy():
    code = "import sadcodec, sys; print([m for m in ('numpy', 'PIL', 'click') if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
