"""Figures of chunks in the file: where they stand, and what is said there held against the chunks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from arrayfs.container import large, statistics
from arrayfs.container.container import Container
from arrayfs.container.layer import Layer
from arrayfs.container.verify import verify
from arrayfs.errors import FormatError
from arrayfs.format.figures import UNKNOWN, Figures, encode_figures
from arrayfs.store import MemoryStore
from tests.t2_container.making import STRING, i32, new_container, new_url, spec, texts
from tests.t2_container.test_figures import check, known, measuring, unpacked
from tests.t2_container.test_verify import findings_of


def many(url: str, *, chunk_stats: bool) -> Container:
    container = new_container(url, chunk_stats=chunk_stats, codec=None, block_size=1 << 20)
    array = container.define("a", spec((5000,), (1,), 0))
    for number in range(5000):
        container.put(array, (number,), i32(number), 1)
    container.commit()
    return container


def test_many_have_a_block_of_their_own_that_opening_does_not_read() -> None:
    with many(url := new_url(), chunk_stats=True) as container, many(new_url(), chunk_stats=False) as without:
        newest = container.stack.newest
        assert newest.extension is not None
        assert newest.extension.chunk_figures == 1
        more = (
            newest.blob.size
            - newest.footer_start
            - (without.stack.newest.blob.size - without.stack.newest.footer_start)
        )
        assert more == 56  # one more block in the footer's table
        assert newest.blob.size - without.stack.newest.blob.size < 20 * 5000 + 200
    with Container.open(url) as opened:
        with unpacked() as rows:
            assert known(opened.get("a")) == [True] * 5000
            assert rows == [1]
        check_stats = statistics.of_array(opened.get("a"), opened.cache)
        assert (check_stats.null_count, check_stats.row_count) == (1, 5000)


def sealed_with(by_array: dict[int, Figures] | bytes | int) -> str:
    """A container whose newest layer says these figures of two chunks [1, 0] and [5, -7] of array 0."""
    with pytest.MonkeyPatch.context() as patch:
        said = encode_figures(by_array) if isinstance(by_array, dict) else by_array
        patch.setattr("arrayfs.container.builder.LayerBuilder.said_figures", lambda builder: said)
        container = measuring(url := new_url(), block_size=4)
        array = container.define("a", spec((4,), (2,), 0))
        container.put(array, (0,), i32(1, 0), 1)
        container.put(array, (1,), i32(5, -7), 1)
        container.put(container.define("t", spec((2,), (2,), dtype=STRING)), (0,), texts("a", "b"), 1)
        container.commit()
        container.close()
    return url


def rows(*figures: tuple[int, int, int]) -> Figures:
    lows, highs, nulls = zip(*figures, strict=True)
    bits = [np.array(column, np.int64).view(np.uint64) for column in (lows, highs)]
    return Figures(*bits, np.array(nulls, np.uint32))


RIGHT = ((1, 1, 1), (-7, 5, 0))
UNUSED = "warning: t.1.af: figures of chunks: they are not used: "
SAID: dict[str, tuple[dict[int, Figures] | bytes | int, list[str]]] = {
    "right": ({0: rows(*RIGHT)}, []),
    "of one chunk": ({0: rows((9, 9, UNKNOWN), RIGHT[1])}, []),
    "a wrong low": (
        {0: rows(RIGHT[0], (-8, 5, 0))},
        ["error: t.1.af: array 'a': chunk (1,): figures of chunks say -8 to 5 and 0 null, it has -7 to 5 and 0 null"],
    ),
    "too many nulls": (
        {0: rows((1, 1, 3), RIGHT[1])},
        ["error: t.1.af: array 'a': chunk (0,): figures of chunks say 1 to 1 and 3 null, it has 1 to 1 and 1 null"],
    ),
    "of another array": ({7: rows(*RIGHT)}, [f"{UNUSED}2 for 0 chunks of array 7"]),
    "of other chunks": ({0: rows(RIGHT[0])}, [f"{UNUSED}1 for 2 chunks of array 0"]),
    "of texts": (
        {0: rows(*RIGHT), 1: rows((1, 2, 0))},
        ["warning: t.1.af: array 't': figures of chunks: they are not used: elements of String have none"],
    ),
    "cut off": (encode_figures({0: rows(*RIGHT)})[:-1], [f"{UNUSED}55 bytes for 1 arrays with 2 chunks"]),
    "in no block": (99, [f"{UNUSED}block 99 is not there"]),
    "in a chunk's block": (0, [f"{UNUSED}8 bytes for 1 arrays"]),
}


@pytest.mark.parametrize(("said", "expected"), SAID.values(), ids=list(SAID))
def test_what_is_said_is_held_against_the_chunks(said: dict[int, Figures] | bytes | int, expected: list[str]) -> None:
    url = sealed_with(said)
    assert findings_of(url) == expected
    with Container.open(url) as container:
        for name in ("a", "t"):  # whatever they say, nothing but a wrong figure comes of it
            statistics.of_array(container.get(name), container.cache)
        if not expected or "not used" in expected[0]:
            check(container)


def test_a_wrong_figure_of_a_large_block_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("arrayfs.container.layer.LARGE", "arrayfs.container.part.LARGE"):
        monkeypatch.setattr(name, 100)
    monkeypatch.setattr(large, "STEP", 64)
    container = measuring(url := new_url(), codec=None)
    array = container.define("a", spec((100,), (100,), 0))
    container.put(array, (0,), i32(*range(100)), 1)
    container.commit()
    assert known(array) == [True]
    assert findings_of(url) == []
    found = container.stack.newest.figures[0]
    wrong = {0: replace(found, highs=found.highs + np.uint64(1))}
    monkeypatch.setattr(Layer, "figures", property(lambda layer: wrong if layer.number else {}))
    assert [str(one).rpartition("chunk (0,): ")[2] for one in verify(url)] == [
        "figures of chunks say 1 to 100 and 1 null, it has 1 to 99 and 1 null"
    ]


def test_damage_to_the_block_of_them_is_named_and_hides_nothing() -> None:
    many(url := new_url(), chunk_stats=True).close()
    store = MemoryStore(url.split("/")[2])
    with Container.open(url) as opened:
        place = int(opened.stack.newest.footer.blocks.file_offsets[1])
    blob = store.open("t.1.af")
    data = bytearray(blob.read(0, blob.size))
    data[place + 100] ^= 1
    store.put("t.1.af", bytes(data), replace=True)
    assert [text.partition(": checksum")[0] for text in findings_of(url)] == [
        "warning: t.1.af: figures of chunks: they are not used: block 1", "warning: t.1.af: block 1",
    ]  # fmt: skip
    with Container.open(url) as opened:
        with pytest.raises(FormatError, match=r"t\.1\.af: block 1: checksum"):
            _ = opened.stack.newest.figures
        assert statistics.of_array(opened.get("a"), opened.cache).null_count == 1
