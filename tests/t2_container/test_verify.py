"""What verify finds beside what the vectors have: extension blocks, growth, text; and a writer at work meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arrayfs.container import verify_blocks
from arrayfs.container.findings import LISTED
from arrayfs.container.layer import Layer
from arrayfs.container.stack import LayerStack
from arrayfs.container.verify import verify
from arrayfs.container.verify_blocks import check_blocks
from arrayfs.container.verify_elements import broken_elements
from arrayfs.container.verify_tables import check_entries, check_extension, check_layers, check_visible
from arrayfs.errors import FormatError, MissingObjectError
from arrayfs.format.chunkdata import split_elements
from arrayfs.format.extension_model import Extension
from arrayfs.format.model import DType
from arrayfs.store import MemoryStore
from arrayfs.store.protocol import Blob
from tests.t2_container.damage import Objects, flipped, original, put_objects
from tests.t2_container.making import (
    STRING,
    attributes,
    filled,
    i32,
    new_container,
    open_container,
    spec,
    texts,
)


def store_of(url: str) -> MemoryStore:
    return MemoryStore(url.split("/")[2])


def findings_of(url: str) -> list[str]:
    return [str(finding) for finding in verify(url)]


@pytest.fixture
def layer() -> Layer:
    """A layer with a hole, attributes and chunk times."""
    container = new_container(block_size=16)
    filled(container, "a")
    container.commit()
    container.put(container.get("a"), (1,), None, 5)
    container.put(container.get("a"), (2,), i32(5, 6), 6)
    container.commit()
    return container.stack.newest


def changed(layer: Layer, **fields: object) -> Layer:
    """The layer with another extension block."""
    assert layer.extension is not None
    ext: Extension = replace(layer.extension, **fields)  # type: ignore[arg-type]
    return Layer(layer.number, layer.blob, layer.footer, ext, layer.footer_start)


def test_a_layer_as_it_is_written_has_no_findings(layer: Layer) -> None:
    assert list(check_extension(layer)) == []
    assert [finding for meta in layer.footer.arrays for finding in check_entries(layer, meta)] == []


@pytest.mark.parametrize(
    ("fields", "severity", "text"),
    [
        ({"block_crcs": np.zeros(1, np.uint32)}, "error", "1 checksums for 3 blocks: none is verified"),
        ({"holes": np.array([[77, 0, 8]], np.uint32)}, "warning", "of block 77 are not there"),
        ({"holes": np.array([[0, 4, 1 << 31]], np.uint32)}, "warning", "bytes 4 to 2147483652 of block 0"),
        ({"chunk_mtimes": {0: np.zeros(9, np.int64)}}, "warning", "9 times for 2 chunks"),
        ({"array_marks": {3: 1}}, "warning", "tells of array 3, but there are 1"),
    ],
)
def test_an_extension_block_that_does_not_fit_its_footer(
    layer: Layer, fields: dict[str, object], severity: str, text: str
) -> None:
    (finding,) = check_extension(changed(layer, **fields))
    assert (finding.severity, finding.file) == (severity, layer.name)
    assert text in str(finding)


def test_attributes_out_of_range_are_an_error_where_sets_are_complete(layer: Layer) -> None:
    meta = replace(layer.footer.arrays[0], attribute_pairs=np.array([[0, 99]], np.uint16))
    (finding,) = check_entries(layer, meta)
    assert (finding.severity, "out of range" in finding.text) == ("error", True)
    crate = Layer(layer.number, layer.blob, layer.footer, None, layer.footer_start)
    assert [finding.severity for finding in check_entries(crate, meta)] == ["warning"]


def test_chunks_outside_the_grid_are_a_warning(layer: Layer) -> None:
    meta = replace(layer.footer.arrays[0], shape=(2,))
    assert [(f.severity, "outside the grid" in f.text) for f in check_entries(layer, meta)] == [("warning", True)]


def test_what_is_beyond_the_list_is_counted(layer: Layer) -> None:
    meta = layer.footer.arrays[0]
    table = meta.chunks
    many = replace(
        table,
        coords=np.arange(100, dtype=np.uint32).reshape(-1, 1),
        block_ids=np.full(100, 77, np.uint32),
        offsets=np.zeros(100, np.uint32),
        sizes=np.full(100, 8, np.uint32),
    )
    found = list(check_entries(layer, replace(meta, shape=(200,), chunks=many)))
    assert len(found) == LISTED + 1
    assert found[-1].text == f"and {100 - LISTED} more chunks like these"


def test_versions_and_containers_are_compared(layer: Layer) -> None:
    other = changed(layer, container_id=b"x" * 16, version=1, parent_id=layer.id)
    other.number = layer.number + 2
    texts_found = [finding.text for finding in check_layers([layer, other])]
    assert len(texts_found) == 3
    assert ["not there" in texts_found[0], "another container" in texts_found[1]] == [True, True]
    assert texts_found[2] == "version 1 above version 2"


def test_a_layer_that_cannot_be_opened_is_one_finding_and_a_missing_one_too() -> None:
    objects = dict(original())
    (text,) = findings_of(put_objects({**objects, "t.2.af": objects["t.2.af"][:-3]}))
    assert text.startswith("error: t.2.af: trailer: ")
    del objects["t.2.af"]
    (text,) = findings_of(put_objects(objects))
    assert text.startswith("error: t.3.af: was made on top of layer ")


def test_an_edge_chunk_that_growth_left_too_short_is_found() -> None:
    """As a writer leaves it that says a larger shape and does not cut its old edge anew."""
    container = new_container()
    array = container.define("a", spec((3,), (2,)))
    container.put(array, (1,), i32(7), 1)
    container.commit()
    lower = container.stack.newest
    meta = replace(lower.footer.arrays[0], shape=(4,), chunks=replace(lower.footer.arrays[0].chunks).empty(1))
    footer = replace(lower.footer, arrays=(meta,))
    stack = LayerStack.of([lower, Layer(2, lower.blob, footer, lower.extension, lower.footer_start)])
    (finding,) = check_visible("a", stack.spans["a"])
    assert str(finding) == "error: t.1.af: array 'a': chunk (1,): 4 bytes, but its extent (2,) of Int32 needs 8"


def test_text_that_is_none_is_found_where_nothing_else_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_blocks, "RUN", 1)
    container = new_container(block_size=64)
    array = container.define("s", spec((200,), (2,), dtype=STRING))
    for number in range(100):
        good = texts("a", "bc")
        container.put(array, (number,), good if number != 33 else flipped(good, 5, 7), 1)
    container.commit()
    (finding,) = verify(f"{container.store.url}/t.af")
    assert finding.place == "array 's': chunk (33,)"
    assert "do not rise" in finding.text


ELEMENTS = st.lists(st.binary(max_size=5), min_size=1, max_size=70)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(ELEMENTS, st.integers(0, 400), st.integers(0, 3)), max_size=8))
def test_columns_find_what_one_by_one_finds(chunks: list[tuple[list[bytes], int, int]]) -> None:
    block, rows, wrong = b"\7", [], {}
    for number, (elements, place, mask) in enumerate(chunks):
        ends = np.cumsum([0, *map(len, elements)]).astype("<u4").tobytes()
        content = flipped(ends + b"".join(elements), place, mask)
        rows.append((len(block), len(content), len(elements)))
        block += content
        try:
            split_elements(STRING, content, len(elements))
        except FormatError as error:
            wrong[number] = str(error)
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    assert dict(broken_elements(STRING, block, *columns)) == wrong


def test_lists_whose_layout_nobody_knows_are_not_judged() -> None:
    inner = DType("FixedSizeList", STRING, 2)
    columns = np.array([[0, 8, 1]], np.int64).T
    assert list(broken_elements(inner, b"whatever", *columns)) == []


def test_progress_goes_up_to_all_bytes_of_the_blocks() -> None:
    url = put_objects(dict(original()))
    steps: list[tuple[int, int]] = []
    assert list(verify(url, lambda done, total: steps.append((done, total)))) == []
    totals = {total for _, total in steps}
    assert len(totals) == 1
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[0][0] == 0
    assert steps[-1][0] == steps[-1][1]


def test_what_is_in_flight_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs wait in line until those before them are looked at, however many blocks there are."""
    container = new_container(block_size=1000, codec=None)
    array = container.define("a", spec((1 << 15,), (250,)))
    for number in range(100):
        container.put(array, (number,), i32(*[number] * 250), 1)
    container.commit()
    monkeypatch.setattr(verify_blocks, "RUN", 1)
    monkeypatch.setattr(verify_blocks, "IN_FLIGHT", 5000)
    started = done = highest = 0
    submit = verify_blocks.ThreadPoolExecutor.submit

    def submitted(pool: object, check: object, layer: Layer, rows: range, *more: object) -> object:
        nonlocal started, highest
        started += sum(layer.stored_size(row) + layer.block_size(row) for row in rows)
        highest = max(highest, started - done)
        return submit(pool, check, layer, rows, *more)  # type: ignore[arg-type]

    def seen(stored: int, _total: int) -> None:
        nonlocal done
        done = 2 * stored

    monkeypatch.setattr(verify_blocks.ThreadPoolExecutor, "submit", submitted)
    assert list(check_blocks(container.stack, seen)) == []
    assert (started, done) == (200_000, 200_000)
    assert highest <= 5000


# --- a writer at work -------------------------------------------------------------------------------------------------


def test_a_container_open_for_writing_with_a_part_in_the_making() -> None:
    container = new_container(block_size=16, dirty_limit=0)
    filled(container, "a")
    container.commit()
    filled(container, "b")
    url = f"{container.store.url}/t.af"
    assert any(".part-" in name for name in store_of(url).list())
    assert findings_of(url) == []
    container.commit()
    assert findings_of(url) == []


class Busy:
    """A store in which something happens when an object is opened."""

    def __init__(self, store: MemoryStore, happen: Callable[[str], None]) -> None:
        self._store, self._happen = store, happen
        self.url = store.url
        self.list = store.list

    def open(self, name: str) -> Blob:
        self._happen(name)
        return self._store.open(name)


def busy(monkeypatch: pytest.MonkeyPatch, url: str, happen: Callable[[str], None]) -> None:
    store = Busy(store_of(url), happen)
    monkeypatch.setattr("arrayfs.container.verify.open_store", lambda _url: (store, "t.af"))


def test_a_layer_that_appears_meanwhile_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    objects: Objects = dict(original())
    url = put_objects(objects)

    def commit_once(name: str) -> None:
        if name == "t.af" and "t.4.af" not in store_of(url).list():
            store_of(url).put("t.4.af", b"a layer whose blocks nobody has to read", replace=False)

    busy(monkeypatch, url, commit_once)
    assert findings_of(url) == []


def test_files_that_are_swapped_meanwhile_are_listed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a compaction: sidecars go, the base is another."""
    url = put_objects(dict(original()))
    done: list[str] = []

    def compact_once(name: str) -> None:
        if not done:
            done.append(name)
            for file in ("t.1.af", "t.2.af", "t.3.af"):
                store_of(url).delete(file)

    busy(monkeypatch, url, compact_once)
    assert findings_of(url) == []


def test_a_container_that_goes_away_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    url = put_objects(dict(original()))
    busy(monkeypatch, url, lambda name: store_of(url).delete("t.af") if name == "t.3.af" else None)
    with pytest.raises(MissingObjectError):
        findings_of(url)


def test_other_attributes_and_times_do_not_hide_damage_behind_a_writer() -> None:
    url = put_objects(dict(original()))
    store = store_of(url)
    blob = store.open("t.1.af")
    store.put("t.1.af", flipped(blob.read(0, blob.size), 2), replace=True)
    container = open_container(url)
    container.set_attributes(container.get("a"), attributes(units="km"))
    assert [text for text in findings_of(url) if "t.1.af: block 0" in text]
    container.discard()
    container.close()
