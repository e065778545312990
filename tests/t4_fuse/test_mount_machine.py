"""A mount does what a dict of numpy arrays and one of files do: zarr-python and plain calls on one side, dicts on the
other, over commits and remounts, whichever look the mount has.

What single calls do to single files is tried by `tests/t3_view/test_tree_machine.py`, much more often.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from numpy.typing import NDArray

from arrayfs.container.array import ArraySpec
from arrayfs.container.container import Container
from arrayfs.container.verify import verify
from arrayfs.format.model import DType
from tests.mounts import Mounted
from tests.profiles import examples
from tests.t3_view import zarr_python

GROUPS = ("g", "h", "g/k")
ARRAYS = ("a", "g/a", "h/a", "g/k/b")
# 4913 is what vim probes with: no chunk of an array here, but with a name like one
FILES = ("README", "g/4913", "h/.0.Ab3xYz", "g/k/0.__lock")
# Made in the container by somebody who knows no documents; its documents are those of the mount's look.
OWN = "own"
CHUNK = 2
DTYPES = ("<i4", "<f8", "|b1", "<M8[ns]", "<f2")
lengths = st.integers(0, 7)


@contextmanager
def unstable_types() -> Iterator[None]:
    """Without warnings of files in groups either."""
    with zarr_python.unstable_types():
        warnings.filterwarnings("ignore", message=".*is not recognized as a component of a Zarr hierarchy")
        yield


@dataclass
class ModelArray:
    """values: what it holds; whole_chunks: kept as encoded, so that what lies beyond an edge may come back."""

    values: NDArray[Any]
    whole_chunks: bool
    attributes: dict[str, object] = field(default_factory=dict)


class MountMachine(RuleBasedStateMachine):
    """`groups`, `arrays` and `files` are what the mount shows, by path."""

    place: Callable[[], Mounted]

    @initialize(zarr_format=st.sampled_from((2, 3)), look=st.sampled_from((2, 3)))
    def start(self, zarr_format: int, look: int) -> None:
        self.format = zarr_format
        self.mounted = self.place()
        values = np.arange(1, 6, dtype="<i4")
        with Container.open(str(self.mounted.container), "a") as container:
            array = container.define(OWN, ArraySpec(DType("Int32"), (5,), (CHUNK,), ("x",)), {})
            for number in range(3):
                container.put(array, (number,), values[CHUNK * number :][:CHUNK].tobytes(), 1)
        self.mounted.mount(look=look)
        with unstable_types():
            zarr.open_group(str(self.mounted.mountpoint), mode="a", zarr_format=zarr_format)
        self.groups: set[str] = set()
        self.arrays = {OWN: ModelArray(values, whole_chunks=False)}
        self.files: dict[str, bytes] = {}
        self.consolidated = False

    def teardown(self) -> None:
        if hasattr(self, "arrays"):
            self.mounted.umount()
            assert [str(finding) for finding in verify(str(self.mounted.container))] == []
            self.mounted.end()

    def path(self, name: str) -> str:
        return str(self.mounted / name)

    def has_parent(self, name: str) -> bool:
        parent = name.rpartition("/")[0]
        return not parent or parent in self.groups

    # --- groups and arrays --------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(GROUPS))
    def make_group(self, name: str) -> None:
        if self.has_parent(name) and name not in self.groups:
            zarr.create_group(self.path(name), zarr_format=self.format)
            self.groups.add(name)

    @rule(
        name=st.sampled_from(ARRAYS),
        dtype=st.sampled_from(DTYPES),
        shape=st.lists(lengths, min_size=0, max_size=2),
        compressed=st.booleans(),
        separator=st.sampled_from(("/", ".")),
    )
    def make_array(self, name: str, dtype: str, shape: list[int], compressed: bool, separator: str) -> None:
        if not self.has_parent(name) or name in self.arrays:
            return
        with unstable_types():
            zarr.create_array(
                self.path(name),
                shape=shape,
                chunks=(CHUNK,) * len(shape),
                dtype=dtype,
                compressors="auto" if compressed else None,
                zarr_format=self.format,
                chunk_key_encoding={"name": "v2" if self.format == 2 else "default", "separator": separator},
                fill_value=np.zeros((), dtype)[()],
            )
        self.arrays[name] = ModelArray(np.zeros(shape, dtype), compressed or dtype == "<f2")

    def some_array(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.arrays)), "array")

    def opened(self, name: str, mode: str = "r+") -> zarr.Array:
        with unstable_types():
            return zarr.open_array(self.path(name), mode=mode)

    @precondition(lambda self: self.arrays)
    @rule(data=st.data(), number=st.integers(0, 100))
    def write(self, data: st.DataObject, number: int) -> None:
        name = self.some_array(data)
        values = self.arrays[name].values
        region = tuple(
            slice(*sorted((data.draw(st.integers(0, length)), data.draw(st.integers(0, length)))))
            for length in values.shape
        )
        written = np.array(number).astype("i8").astype(values.dtype)
        self.opened(name)[region] = written
        values[region] = written

    @precondition(lambda self: self.arrays)
    @rule(data=st.data())
    def resize(self, data: st.DataObject) -> None:
        name = self.some_array(data)
        old = self.arrays[name]
        shape = [data.draw(lengths) for _ in old.values.shape]
        if old.whole_chunks:
            shape = [n if n >= m else n - n % CHUNK for n, m in zip(shape, old.values.shape, strict=True)]
        if not shape:
            return
        self.opened(name).resize(tuple(shape))
        values = np.zeros(shape, old.values.dtype)
        kept = tuple(slice(min(n, m)) for n, m in zip(shape, old.values.shape, strict=True))
        values[kept] = old.values[kept]
        old.values = values

    @precondition(lambda self: self.arrays)
    @rule(data=st.data(), key=st.sampled_from("xy"), value=st.sampled_from((1, 1.0, None, "é", [1, 2.5], {"n": []})))
    def set_attribute(self, data: st.DataObject, key: str, value: object) -> None:
        name = self.some_array(data)
        self.opened(name).attrs[key] = value
        self.arrays[name].attributes[key] = value

    # --- moving and removing ------------------------------------------------------------------------------------------

    def below(self, name: str) -> list[str]:
        everything = (*self.groups, *self.arrays, *self.files)
        return [other for other in everything if other == name or other.startswith(name + "/")]

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        everything = sorted((*self.groups, *self.arrays, *self.files))
        if not everything:
            return
        name = data.draw(st.sampled_from(everything), "name")
        if name in self.files:
            os.unlink(self.path(name))
        else:
            shutil.rmtree(self.path(name))
        for gone in self.below(name):
            self.groups.discard(gone)
            self.arrays.pop(gone, None)
            self.files.pop(gone, None)

    @rule(old=st.sampled_from((*GROUPS, *ARRAYS, OWN)), new=st.sampled_from((*GROUPS, *ARRAYS)))
    def move(self, old: str, new: str) -> None:
        there = old in self.groups or old in self.arrays
        if not there or self.below(new) or not self.has_parent(new) or new.startswith(old):
            return
        os.rename(self.path(old), self.path(new))
        moved = {other: new + other[len(old) :] for other in self.below(old)}
        self.groups = {moved.get(name, name) for name in self.groups}
        self.arrays = {moved.get(name, name): array for name, array in self.arrays.items()}
        self.files = {moved.get(name, name): content for name, content in self.files.items()}

    # --- files --------------------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(FILES), content=st.binary(max_size=20), offset=st.integers(0, 30))
    def write_file(self, name: str, content: bytes, offset: int) -> None:
        if not self.has_parent(name):
            return
        fd = os.open(self.path(name), os.O_RDWR | os.O_CREAT)
        os.pwrite(fd, content, offset)
        os.close(fd)
        old = self.files.get(name, b"")
        if content:
            old = old.ljust(offset, b"\0")
        self.files[name] = old[:offset] + content + old[offset + len(content) :] if content else old

    @precondition(lambda self: self.files)
    @rule(data=st.data(), size=st.integers(0, 40))
    def truncate(self, data: st.DataObject, size: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.files)), "file")
        os.truncate(self.path(name), size)
        self.files[name] = self.files[name][:size].ljust(size, b"\0")

    # --- versions -----------------------------------------------------------------------------------------------------

    @rule()
    def consolidate(self) -> None:
        if not os.path.exists(self.path(".zgroup" if self.format == 2 else "zarr.json")):
            return  # the root's document was the mount's, of another look, or went with the last array
        with unstable_types():
            zarr.consolidate_metadata(self.path(""), zarr_format=self.format)
        self.consolidated = True

    @rule()
    def commit(self) -> None:
        (self.mounted / ".arrayfs/commit").write_text("step")

    @rule(look=st.sampled_from((2, 3)))
    def remount(self, look: int) -> None:
        self.mounted.remount(look=look)

    # --- what holds ---------------------------------------------------------------------------------------------------

    @invariant()
    def same_arrays_and_files(self) -> None:
        if not hasattr(self, "arrays"):
            return
        for name, array in self.arrays.items():
            shown = self.opened(name, "r")
            assert shown.shape == array.values.shape, name
            assert np.array_equal(shown[...], array.values), name
            attributes = {key: value for key, value in shown.attrs.items() if key != "_ARRAY_DIMENSIONS"}
            assert repr(sorted(attributes.items())) == repr(sorted(array.attributes.items())), name
        for name, content in self.files.items():
            with open(self.path(name), "rb") as file:
                assert file.read() == content, name
        assert self.directories_and_files() == set(self.groups) | set(self.arrays) | set(self.files)
        if self.consolidated:
            self.consolidated_metadata_is_true()

    def directories_and_files(self) -> set[str]:
        """What there is, without documents and what belongs to arrays."""
        found: set[str] = set()
        for folder, folders, files in os.walk(self.path("")):
            at = os.path.relpath(folder, self.path(""))
            if at in self.arrays:
                folders.clear()
                files.clear()
            names = (os.path.normpath(os.path.join(at, name)) for name in (*folders, *files))
            found.update(name for name in names if os.path.basename(name) not in DOCUMENTS)
        return found

    def consolidated_metadata_is_true(self) -> None:
        with unstable_types():
            root = zarr.open_consolidated(self.path(""), zarr_format=self.format)
            members = dict(root.members(max_depth=None))
        arrays = {name: array for name, array in self.arrays.items() if self.has_documents(name)}
        assert members.keys() == self.groups | arrays.keys()
        for name, array in arrays.items():
            assert members[name].shape == array.values.shape
            attributes = {key: value for key, value in members[name].attrs.items() if key != "_ARRAY_DIMENSIONS"}
            assert repr(sorted(attributes.items())) == repr(sorted(array.attributes.items())), name

    def has_documents(self, name: str) -> bool:
        """Whether an array has documents of the format that the root's consolidated metadata is of."""
        return os.path.exists(self.path(f"{name}/{'.zarray' if self.format == 2 else 'zarr.json'}"))


DOCUMENTS = {"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"}


def test_a_mount_does_what_dicts_of_arrays_and_files_do(place: Callable[[], Mounted]) -> None:
    class Machine(MountMachine):
        pass

    Machine.place = staticmethod(place)
    run_state_machine_as_test(Machine, settings=examples(8, steps=15))
