"""Whatever array document the specifications allow: it is kept, it means what the tables say, and so do its chunks."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

from arrayfs.container.container import Container
from arrayfs.view.chunks import OpaqueChunks
from arrayfs.view.numbers import ROOT
from arrayfs.view.tree import Tree, open_tree
from tests.profiles import examples
from tests.t3_view.drawn_documents import Drawn, documents2, documents3
from tests.t3_view.test_documents_over_mounts import ino, read, reopened, write
from tests.t3_view.zarr_python import memory_store, unstable_types


def kind_of(tree: Tree, path: str) -> str:
    """What the tree takes a directory for."""
    zarr_array = tree.documents.zarr(tree.directory(ino(tree, path)))
    if zarr_array is None:
        return "files"
    return "opaque" if isinstance(zarr_array.chunks, OpaqueChunks) else "native"


def chunks_of_zarr_python(drawn: Drawn) -> dict[str, bytes] | None:
    """The files that it writes for an array with such documents; None if it cannot read or write them."""
    files: dict[str, Any] = dict(memory_store(drawn.documents)._store_dict)
    with unstable_types():
        try:
            array = zarr.open_array(MemoryStore(files), mode="r+")
            count = int(np.prod(array.shape))
            values = np.arange(1, count + 1) % 100
            if array.dtype.kind in "OT":
                # nothing in zarr-python tells bytes from text by the numpy type alone
                binary = "bytes" in type(array.metadata.dtype).__name__.lower()
                texts = [b"%d" % n if binary else f"{n}é" for n in values]
                flat = np.empty(count, object)
                flat[:] = texts
                array[...] = flat.reshape(array.shape)
            else:
                array[...] = values.astype("i8").astype(array.dtype).reshape(array.shape)
        except Exception:  # noqa: BLE001  whatever it knows nothing of, it says so in many ways
            return None
    return {name: content.to_bytes() for name, content in files.items() if name not in drawn.documents}


def shown_by_zarr_python(files: dict[str, bytes]) -> list[object]:
    with unstable_types():
        return [repr(element) for element in np.asarray(zarr.open_array(memory_store(files), mode="r")[...]).ravel()]


def check(drawn: Drawn, look: int, *, chunks_first: bool) -> None:
    chunks = chunks_of_zarr_python(drawn)
    known = chunks is not None
    if chunks is None:
        chunks = {} if drawn.kind == "native" else {key: key.encode() * 3 for key in drawn.keys}
    url = f"memory://{uuid.uuid4().hex}/t.af"
    Container.create(url)
    tree = open_tree(url, mode="a", look=look)
    tree.mkdir(ROOT, "a", 0o755)
    for files in (chunks, drawn.documents) if chunks_first else (drawn.documents, chunks):
        for name, content in files.items():
            write(tree, f"a/{name}", content)
    for again in (look, 5 - look, look):
        assert kind_of(tree, "a") == drawn.kind
        assert {name: read(tree, f"a/{name}") for name in drawn.documents} == drawn.documents
        shown = {name: read(tree, f"a/{name}") for name in chunks}
        if drawn.kind != "native":
            assert shown == chunks
        elif known:
            assert shown_by_zarr_python(drawn.documents | shown) == shown_by_zarr_python(drawn.documents | chunks)
        tree = reopened(tree, again)
    tree.container.close()


@given(documents3(), st.sampled_from((2, 3)), st.booleans())
@examples(80)
def test_documents_of_v3(drawn: Drawn, look: int, chunks_first: bool) -> None:
    check(drawn, look, chunks_first=chunks_first)


@given(documents2(), st.sampled_from((2, 3)), st.booleans())
@examples(80)
def test_documents_of_v2(drawn: Drawn, look: int, chunks_first: bool) -> None:
    check(drawn, look, chunks_first=chunks_first)


@pytest.mark.parametrize("kind", [("native", True), ("opaque", True), ("opaque", False)], ids=str)
@pytest.mark.parametrize("strategy", [documents2(), documents3()], ids=["v2", "v3"])
def test_what_is_drawn_is_of_every_kind(strategy: st.SearchStrategy[Drawn], kind: tuple[str, bool]) -> None:
    """Else the tests above would say less than they seem to. The second word: zarr-python knows how to write it."""
    enough = settings(max_examples=3000, phases=[Phase.generate], database=None, deadline=None)
    find(strategy, lambda drawn: (drawn.kind, chunks_of_zarr_python(drawn) is not None) == kind, settings=enough)
