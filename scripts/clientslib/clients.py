"""Which clients there are: what each needs, and its cases."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from clientslib.tool import PRELUDE
from clientslib.tools_editing import DEVELOPERS, EDITORS
from clientslib.tools_files import COREUTILS
from clientslib.tools_packing import ARCHIVES, RSYNC
from clientslib.tools_science import SCIENCE
from clientslib.trial import Case, Step

HERE = Path(__file__).parent
SCRIPTS = HERE.parent
TOOLS = (*SCIENCE, *COREUTILS, *EDITORS, *ARCHIVES, *RSYNC, *DEVELOPERS)


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment: of which Python, with which packages."""

    python: str
    packages: tuple[str, ...]


NEWEST = (
    "zarr>=3.1",
    "obstore",
    "xarray",
    "dask[array,distributed]",
    "tensorstore",
    "anndata",
    "ome-zarr",
    "h5py",
    "h5netcdf",
    "scipy",
)
ENVIRONMENTS = {
    "new": Environment("3.13", NEWEST),
    "py311": Environment("3.11", NEWEST),
    "old": Environment("3.12", ("zarr==2.18.*", "numcodecs<0.16", "numpy<2.3", "fasteners")),
}
# module of clientslib.programs: the environments in which it is tried
PROGRAMS = {
    "zarr_python": ("new", "py311"),
    "zarr_objectstore": ("new", "py311"),
    "zarr_old": ("old",),
    "tensorstores": ("new", "py311"),
    "xarrays": ("new", "py311"),
    "dask_arrays": ("new",),
    "ome": ("new",),
    "anndatas": ("new",),
    "numpys": ("new",),
}
# What one run writes is not what the next writes: times, random names and the order of threads get into files.
VARIES = {
    "zarr_python": ("exchange",),
    "zarr_old": ("sqlite and dbm stores",),
    "tensorstores": ("ocdbt and n5",),
    "xarrays": ("netcdf files",),
    "anndatas": ("write zarr",),
    "numpys": ("h5py", "save and savez"),
}


@dataclass(frozen=True, slots=True)
class Foreign:
    """A Zarr library of another language, as a program: `write FOLDER` writes the arrays of the exchange that it can
    (see `programs/values.py`), `check FOLDER NAME…` reads some.

    build: how the program comes to be in a folder for itself, which is given; `command`, there, runs it. reads: of the
    arrays that zarr-python writes, those that it knows.
    """

    name: str
    needs: str
    build: Callable[[Path], None]
    command: Callable[[Path], tuple[str, ...]]
    reads: tuple[str, ...]


def _run(*command: str, cwd: Path | None = None) -> None:
    subprocess.run(command, check=True, cwd=cwd, stdout=subprocess.DEVNULL)


def _build_rust(folder: Path) -> None:
    _run(
        "cargo",
        "build",
        "-q",
        "--release",
        "--manifest-path",
        str(HERE / "rust/Cargo.toml"),
        "--target-dir",
        str(folder),
    )


def _build_javascript(folder: Path) -> None:
    for name in ("package.json", "client.mjs"):
        shutil.copy(HERE / "javascript" / name, folder)
    _run("npm", "install", "--silent", cwd=folder)


READ = ("v3-plain", "v3-default", "v3-gzip", "v3-sharded", "v2-plain", "v2-default", "v2-nested")
FOREIGN = (
    Foreign("zarrs (Rust)", "cargo", _build_rust, lambda at: (str(at / "release/zarrs-client"),), READ),
    Foreign("zarrita (JavaScript)", "npm", _build_javascript, lambda at: ("node", str(at / "client.mjs")), READ),
)


class Clients:
    """What is installed below a folder, and the cases that this makes possible."""

    def __init__(self, folder: Path, sample: Path, scratch: Path) -> None:
        self._folder = folder
        self._shell = {"SAMPLE": str(sample), "OUT": str(scratch / "out")}

    def install(self, wanted: Callable[[str], bool]) -> None:
        """Install the libraries that `wanted` names. Raises CalledProcessError, or SystemExit without a Python."""
        for name, environment in ENVIRONMENTS.items():
            users = [program for program, homes in PROGRAMS.items() if name in homes]
            if any(map(wanted, users)) or name == "new":
                self._make_environment(name, environment)
        for foreign in FOREIGN:
            if wanted(foreign.name) and shutil.which(foreign.needs):
                (self._folder / foreign.needs).mkdir(parents=True, exist_ok=True)
                foreign.build(self._folder / foreign.needs)
        packages = sorted({tool.package for tool in TOOLS if wanted(tool.program) and not shutil.which(tool.program)})
        if packages:
            _run("apt-get", "install", "-y", "-q", "--no-install-recommends", *packages, "expect")

    def _make_environment(self, name: str, environment: Environment) -> None:
        place = self._folder / name
        stamp = place / "installed"
        if stamp.exists() and stamp.read_text() == repr(environment):
            return
        _run(find_python(environment.python), "-m", "venv", "--clear", str(place))
        _run(str(place / "bin/python"), "-m", "pip", "install", "-q", *environment.packages)
        stamp.write_text(repr(environment))

    def versions(self) -> Iterator[str]:
        """Which libraries are there, an environment a line."""
        listing = (
            "import importlib.metadata as m, json, sys; "
            "print(json.dumps([sys.version.split()[0], *(f'{n} {m.version(n)}' for n in sys.argv[1:])]))"
        )
        for name, environment in ENVIRONMENTS.items():
            if self._python(name).exists():
                packages = [
                    package.split("[")[0].split(">")[0].split("=")[0].split("<")[0] for package in environment.packages
                ]
                command = [str(self._python(name)), "-c", listing, *packages]
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                yield f"{name}: Python {', '.join(json.loads(said))}"

    def cases(self) -> Iterator[Case | str]:
        """Every case; for what is not installed, why not."""
        yield from self._of_programs()
        yield from self._of_foreign()
        yield from self._of_tools()

    def _of_programs(self) -> Iterator[Case | str]:
        for program, homes in PROGRAMS.items():
            for home in homes:
                if not self._python(home).exists():
                    yield f"{program} in {home}: not installed"
                    continue
                names = ", ".join(names_of_cases(program))
                steps = (self._program(program, home, step, "{folder}") for step in ("write", "check"))
                write, check = steps
                yield Case(f"{program} ({home})", names, write, (check,), VARIES.get(program, ()))

    def _program(self, program: str, home: str, *arguments: str) -> Step:
        command = (str(self._python(home)), "-m", f"clientslib.programs.{program}", *arguments)
        return Step(command, {"PYTHONPATH": str(SCRIPTS)})

    def _of_foreign(self) -> Iterator[Case | str]:
        """What each writes others read, and the other way round."""
        wrote = self._program("zarr_python", "new", "write", "{folder}", "exchange")
        others = tuple(
            self._program(name, "new", "check", "{folder}", "exchange") for name in ("zarr_python", "tensorstores")
        )
        yield Case("tensorstores (new)", "reads what zarr-python wrote", wrote, others)
        yield Case(
            "zarr_python (new)",
            "reads what TensorStore wrote",
            self._program("tensorstores", "new", "write", "{folder}", "exchange"),
            others,
        )
        for foreign in FOREIGN:
            place = self._folder / foreign.needs
            if not place.exists():
                yield f"{foreign.name}: not installed"
                continue
            command = foreign.command(place)
            yield Case(
                foreign.name,
                "reads what zarr-python wrote",
                wrote,
                (Step((*command, "check", "{folder}", *foreign.reads)),),
            )
            written = Step((*command, "write", "{folder}"))
            yield Case(foreign.name, "writes, zarr-python and TensorStore read", written, others)

    def _of_tools(self) -> Iterator[Case | str]:
        for tool in TOOLS:
            if not shutil.which(tool.program):
                yield f"{tool.program}: not installed"
                continue
            shell = self._shell | {"PYTHON": str(self._python("new"))}
            write, check = (Step(("bash", "-c", PRELUDE + text), shell) for text in (tool.write, tool.check))
            yield Case(tool.program, tool.name, write, (check,), tool.varies)

    def _python(self, home: str) -> Path:
        return self._folder / home / "bin/python"


def names_of_cases(program: str) -> list[str]:
    """The cases of a module of `programs`, which need not be importable here."""
    module = ast.parse((HERE / f"programs/{program}.py").read_text())
    functions = [node.name for node in module.body if isinstance(node, ast.FunctionDef)]
    return [name.removeprefix("write_").replace("_", " ") for name in functions if name.startswith("write_")]


def find_python(version: str) -> str:
    """An interpreter of this version, on the path or among pyenv's. Raises SystemExit."""
    found = shutil.which(f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    of_pyenv = sorted(pyenv.glob(f"{version}.*/bin/python"))
    if found is None and not of_pyenv:
        raise SystemExit(f"clients: there is no Python {version}")
    return str(of_pyenv[-1]) if of_pyenv else str(found)
