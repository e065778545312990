"""A layer of which only a part is decoded when it is opened hides nothing: all that is refused at once is refused.

Each byte of real layers is changed, and checksums made right again, as whoever builds a hostile container would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields

import pytest

from arrayfs.container.container import Container
from arrayfs.container.layer import Layer, open_by_checksum, open_layer
from arrayfs.errors import FormatError
from arrayfs.format.extension_model import Extension
from arrayfs.format.model import Footer
from arrayfs.store import MemoryStore
from tests.t2_container.making import attributes, i32, new_container, spec, state_at
from tests.t8_hostile.containers import files_of, of_ours, open_files, parts, resealed

LAYERS = {name: data for name, data in of_ours()["ours/arrays"].items() if name != "t.3.af"}


def whole(layer: Layer) -> None:
    """Ask for all that the layer says."""
    for field in fields(Footer):
        getattr(layer.footer, field.name)
    for field in fields(Extension):
        getattr(layer.extension, field.name, None)


def refused(data: bytes, opening: Callable[..., Layer]) -> str:
    """What a layer is refused with, "" if it is not."""
    store = MemoryStore("late")
    store.put("t.1.af", data, replace=True)
    blob = store.open("t.1.af")
    try:
        whole(opening(1, blob))
    except FormatError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        blob.close()
    return ""


def changed(data: bytes) -> Iterator[bytes]:
    for place in range(len(data)):
        yield data[:place] + bytes((data[place] ^ 0x41,)) + data[place + 1 :]


@pytest.mark.parametrize("name", LAYERS)
def test_damage_is_refused_in_the_same_words(name: str) -> None:
    for data in changed(LAYERS[name]):
        assert refused(data, open_by_checksum) == refused(data, open_layer)


@pytest.mark.parametrize("name", LAYERS)
def test_what_has_the_right_checksums_is_refused_in_the_same_words(name: str) -> None:
    data, block, footer = parts(LAYERS[name])
    layers = [resealed(data, block, one) for one in changed(footer)]
    layers += [resealed(data, one, footer) for one in changed(block)]
    answers = [(refused(layer, open_by_checksum), refused(layer, open_layer)) for layer in layers]
    # two things may be wrong with one layer: which is told first depends on what is asked for first
    assert [bool(late) for late, _ in answers] == [bool(at_once) for _, at_once in answers]
    assert sum(late == at_once for late, at_once in answers) > 0.98 * len(answers)
    assert all(late.partition(": ")[2].startswith("t.1.af: ") for late, _ in answers if late)
    assert 100 < sum(bool(late) for late, _ in answers) < len(answers)


@pytest.mark.parametrize("size", range(0, 200, 7))
def test_files_that_are_cut_off_are_refused_in_the_same_words(size: int) -> None:
    for data in (LAYERS["t.1.af"][:size], LAYERS["t.1.af"][size:]):
        assert refused(data, open_by_checksum) == refused(data, open_layer)


def broken_attribute() -> dict[str, bytes]:
    """A container whose array has an attribute that is no UTF-8, with the right checksums."""
    container = new_container()
    array = container.define("a", spec((2,), (2,)), attributes(units="kelvin"))
    container.define("b", spec((2,), (2,)))
    container.put(array, (0,), i32(1, 2), 1)
    container.commit()
    container.close()
    files = files_of(f"{container.store.url}/t.af")
    data, block, footer = parts(files["t.1.af"])
    return {**files, "t.1.af": resealed(data, block, footer.replace(b"kelvin", b"kelv\xfen"))}


def test_a_broken_dictionary_is_told_to_who_asks_for_attributes() -> None:
    files = broken_attribute()
    with open_files(files) as container:
        array = container.get("a")
        assert bytes(container.read(array, (0,)) or b"") == i32(1, 2)
        assert container.get("b").attributes == {}
        with pytest.raises(FormatError, match=r"^t\.1\.af: footer: .*not UTF-8"):
            _ = array.attributes
    assert "not UTF-8" in refused(files["t.1.af"], open_layer)


def test_nothing_is_committed_on_top_of_a_broken_dictionary() -> None:
    container = open_files(broken_attribute(), "a")
    container.put(container.get("a"), (0,), i32(3, 4), 1)
    with pytest.raises(FormatError, match=r"^t\.1\.af: footer: .*not UTF-8"):
        container.commit()
    assert [name for name in container.store.list() if name.endswith(".af")] == ["t.1.af", "t.af"]
    container.discard()
    container.close()


def test_large_footers_are_decoded_at_once() -> None:
    """They would be kept beside the tables that came of them."""
    container = new_container()
    array = container.define("a", spec((9000,), (1,)))
    for number in range(9000):
        container.put(array, (number,), i32(number), 1)
    container.commit()
    container.close()
    url = f"{container.store.url}/t.af"
    with Container.open(url) as again:
        assert type(again.stack.newest.footer) is Footer
        assert type(again.stack.layers[0].footer) is not Footer
    assert len(state_at(url)["a"][2]) == 9000
