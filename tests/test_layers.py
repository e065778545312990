"""Imports point one way: the layer table of the package, read from the source and compared with what may be.

errors  <-  format, store  <-  container  <-  view  <-  fuse, api  <-  copying  <-  cli. Every import counts, also one
inside a function or for type checking only. Dependencies enter at one place each. Within a part, a cycle of imports
that only the type checker follows is allowed: the tree is one object in several files, and its parts name its type.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import arrayfs

PACKAGE = "arrayfs"

# What the modules of each part may import of the others. "" is arrayfs/__init__.py, which shows the public names.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "format": {"errors"},
    "store": {"errors"},
    "container": {"errors", "format", "store"},
    "view": {"errors", "format", "store", "container"},
    "fuse": {"errors", "format", "store", "container", "view"},
    "api": {"errors", "format", "store", "container", "view"},
    "copying": {"errors", "format", "store", "container", "view", "api"},
    "testing": {"errors", "format", "store"},
    "cli": {"", "errors", "format", "store", "container", "view", "fuse", "api", "copying"},
    "": {"errors", "format", "store", "container", "view", "api", "copying"},
    "__main__": {"cli"},
}

# So that `arrayfs info` works where no FUSE is installed.
ONLY_INSIDE_FUNCTIONS = {("cli", "fuse")}

# The modules (or the packages) in which a dependency may be imported.
ENTERS_AT: dict[str, str | tuple[str, ...]] = {
    "pyfuse3": "arrayfs.fuse",
    "trio": "arrayfs.fuse",
    "zarr": (
        *("arrayfs.api.zarr_store", "arrayfs.copying.decoding", "arrayfs.copying.zarr_stores"),
        *("arrayfs.copying.export_to", "arrayfs.copying.target_store", "arrayfs.copying.values"),
    ),
    "icechunk": "arrayfs.copying.zarr_stores",
    "h5py": ("arrayfs.copying.hdf5", "arrayfs.copying.target_hdf5"),
    "h5netcdf": "arrayfs.copying.target_netcdf",
    "xarray": "arrayfs.api.xarray_engine",
    "fsspec": "arrayfs.api.fsspec_filesystem",
    "fastcrc": "arrayfs.format.checksums",
    "cramjam": "arrayfs.format.codecs",
    "lz4": "arrayfs.format.codecs",
    "zstandard": ("arrayfs.format.codecs", "arrayfs.copying.zarr_codecs"),
    "click": "arrayfs.cli",
    "pytest": "arrayfs.testing",
}


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement's effect: `target` is a module of ours in full, or the first part of a foreign one."""

    source: str
    target: str
    line: int
    in_function: bool
    for_types: bool = False

    @property
    def is_ours(self) -> bool:
        return self.target.partition(".")[0] == PACKAGE


def read_modules(root: Path) -> dict[str, Path]:
    """Return the modules below the package's folder, by full name."""
    modules = {}
    for path in sorted(root.rglob("*.py")):
        parts = (PACKAGE, *path.relative_to(root).with_suffix("").parts)
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def read_imports(root: Path) -> list[Import]:
    """Return every import in every module below the package's folder."""
    modules = read_modules(root)
    found = []
    for name, path in modules.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        typed = {id(node) for block in type_checking_blocks(tree) for node in ast.walk(block)}
        for node, in_function in statements(tree, in_function=False):
            for target in targets(node, package, modules):
                ours = target.partition(".")[0] == PACKAGE
                target = target if ours else target.partition(".")[0]
                found.append(Import(name, target, getattr(node, "lineno", 0), in_function, id(node) in typed))
    return found


def type_checking_blocks(tree: ast.AST) -> Iterator[ast.If]:
    """Give the `if TYPE_CHECKING:` statements."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield node


def statements(tree: ast.AST, *, in_function: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Give every node, and whether it runs only when a function is called."""
    for node in ast.iter_child_nodes(tree):
        yield node, in_function
        inside = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from statements(node, in_function=inside)


def targets(node: ast.AST, package: str, modules: dict[str, Path]) -> Iterator[str]:
    """Give the modules that a node imports."""
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=module, names=names, level=level):
            base = module or ""
            if level:
                above = package.split(".")[: len(package.split(".")) - level + 1]
                base = ".".join([*above, *filter(None, [module])])
            for alias in names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in modules else base
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str() as name), *_],
        ):
            yield name


def part_of(module: str) -> str:
    """Return the part of the package that a module of ours belongs to: `arrayfs.store.local` is in `store`."""
    return [*module.split("."), ""][1]


def find_violations(imports: list[Import]) -> list[str]:
    """Return what is not as the tables above have it, one line each."""
    return [line for found in imports for line in violations_of(found)] + find_cycles(imports)


def violations_of(found: Import) -> Iterator[str]:
    where = f"{found.source}:{found.line}"
    if not found.is_ours:
        places = ENTERS_AT.get(found.target, ())
        places = (places,) if isinstance(places, str) else places
        if places and not any(found.source == place or found.source.startswith(f"{place}.") for place in places):
            yield f"{where} imports {found.target}, which only {' and '.join(places)} may"
        return
    source, target = part_of(found.source), part_of(found.target)
    if source not in MAY_IMPORT:
        yield f"{where} is in no layer"
    elif source != target and target not in MAY_IMPORT[source]:
        yield f"{where} imports {found.target}: {source or PACKAGE} must not know {target or PACKAGE}"
    elif (source, target) in ONLY_INSIDE_FUNCTIONS and not found.in_function:
        yield f"{where} imports {found.target} outside a function"


def find_cycles(imports: list[Import]) -> list[str]:
    graph: dict[str, set[str]] = {}
    for found in imports:
        same_part = part_of(found.source) == part_of(found.target)
        if found.is_ours and found.source != found.target and not (found.for_types and same_part):
            graph.setdefault(found.source, set()).add(found.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [f"cycle: {' <- '.join(error.args[1])}"]
    return []


def test_imports_of_the_package_point_one_way() -> None:
    assert arrayfs.__file__ is not None
    imports = read_imports(Path(arrayfs.__file__).parent)
    assert {part_of(found.source) for found in imports} >= {"store", "format"}
    assert find_violations(imports) == []


# The checker itself, on packages made for it


def check(root: Path, **sources: str) -> list[str]:
    """Write modules (`store__local="…"` is store/local.py) into a package, and return what is found wrong."""
    for name, source in sources.items():
        path = root / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return find_violations(read_imports(root))


def test_checker_accepts_what_may_be(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "__init__.py").write_text("from .local import LocalStore\n")
    assert (
        check(
            tmp_path,
            errors="import builtins",
            format__codecs="import cramjam, zstandard\nfrom arrayfs import errors",
            format__checksums="from fastcrc import crc32",
            store__local="import os\nfrom ..errors import ArrayFSError\nfrom . import protocol",
            store__protocol="",
            container__layer="from arrayfs.store import LocalStore\nfrom arrayfs.format import codecs",
            view__tree="import arrayfs.container.layer",
            fuse__mount="import pyfuse3, trio.lowlevel\nfrom arrayfs.view import tree",
            api__zarr_store="import zarr.abc.store\nfrom arrayfs.view.tree import Tree",
            cli__mount="import click\ndef mount():\n    from arrayfs.fuse import mount",
        )
        == []
    )


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("errors", "from arrayfs.format import model", "errors must not know format"),
        ("format__a", "import arrayfs.store.local", "format must not know store"),
        ("store__a", "from arrayfs.format.model import Footer", "store must not know format"),
        ("store__a", "from ..format import model", "store must not know format"),
        ("store__a", "from .. import container", "store must not know container"),
        ("container__a", "from arrayfs import view", "container must not know view"),
        ("view__a", "from arrayfs.fuse.mount import Mount", "view must not know fuse"),
        ("view__a", "def f():\n    from arrayfs.api import arrays", "view must not know api"),
        ("api__a", "from arrayfs.fuse import mount", "api must not know fuse"),
        ("fuse__a", "from arrayfs.api import arrays", "fuse must not know api"),
        ("fuse__a", "from arrayfs.cli import main", "fuse must not know cli"),
        ("view__a", "if TYPE_CHECKING:\n    import arrayfs.fuse.mount", "view must not know fuse"),
        ("view__a", "importlib.import_module('arrayfs.fuse.mount')", "view must not know fuse"),
        ("view__a", "from arrayfs import __version__", "view must not know arrayfs"),
        ("extra__a", "from arrayfs import errors", "is in no layer"),
        ("cli__a", "from arrayfs.fuse import mount", "outside a function"),
        ("cli__a", "class A:\n    from arrayfs.fuse import mount", "outside a function"),
        ("view__a", "import pyfuse3", "imports pyfuse3, which only arrayfs.fuse may"),
        ("api__a", "import trio", "imports trio, which only arrayfs.fuse may"),
        ("cli__a", "def f():\n    import trio.lowlevel", "imports trio, which only arrayfs.fuse may"),
        (
            "api__arrays",
            "import zarr",
            "imports zarr, which only arrayfs.api.zarr_store and arrayfs.copying.decoding and",
        ),
        ("api__zarr_store_more", "import zarr", "imports zarr, which only arrayfs.api.zarr_store and"),
        ("container__a", "from fastcrc import crc32", "which only arrayfs.format.checksums may"),
        ("format__footer", "import cramjam", "imports cramjam, which only arrayfs.format.codecs may"),
        ("container__a", "import zstandard", "imports zstandard, which only arrayfs.format.codecs and"),
        ("api__a", "import click", "imports click, which only arrayfs.cli may"),
    ],
)
def test_checker_finds(tmp_path: Path, name: str, source: str, message: str) -> None:
    for part in ("format", "store", "container", "view", "fuse", "api", "cli"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "__init__.py").touch()
    (tmp_path / "__init__.py").touch()
    (found,) = check(tmp_path, **{name: source})
    assert message in found


def test_checker_finds_cycles_within_a_part(tmp_path: Path) -> None:
    (found,) = check(
        tmp_path,
        view__a="from arrayfs.view import b",
        view__b="def f():\n    import arrayfs.view.c",
        view__c="from .a import name",
    )
    assert found.startswith("cycle: ")
    assert {f"arrayfs.view.{name}" for name in "abc"} <= set(found.split(" "))


def test_checker_allows_a_cycle_that_only_the_type_checker_follows(tmp_path: Path) -> None:
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from arrayfs.view import a"
    assert check(tmp_path, view__a="from arrayfs.view import b", view__b=typed) == []


def test_checker_finds_a_module_that_imports_from_its_own_package(tmp_path: Path) -> None:
    (tmp_path / "view").mkdir()
    (tmp_path / "view" / "__init__.py").write_text("from arrayfs.view.a import name\n")
    (found,) = check(tmp_path, view__a="from arrayfs.view import other_name")
    assert found.startswith("cycle: ")
