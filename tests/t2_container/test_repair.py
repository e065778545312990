"""A damage each, and what repair makes of it: what is intact is there, what is not is named."""

from __future__ import annotations

import pytest

from arrayfs.container.container import Container
from arrayfs.container.figures import are_kept, figures_at
from arrayfs.container.index import ALL
from arrayfs.container.layer import Layer, extension_row, open_layer
from arrayfs.container.repair import RepairOptions, salvage
from arrayfs.container.repair_layers import CORRECTED, DOUBTFUL, LOST, WHOLE
from arrayfs.errors import FormatError, MissingObjectError, ObjectExistsError
from arrayfs.format.figures import encode_figures
from arrayfs.format.footer import TRAILER
from arrayfs.format.model import ArrayMeta
from arrayfs.store import MemoryStore
from tests.t2_container.damage import (
    LAYERS,
    Objects,
    flipped,
    objects_at,
    original,
    put_objects,
    repair,
    state_of,
)
from tests.t2_container.making import (
    INT32,
    filled,
    i32,
    layer_bytes,
    new_container,
    new_url,
    open_container,
    state,
    state_at,
    table,
)  # fmt: skip


@pytest.fixture
def objects() -> Objects:
    return dict(original())


def layer_of(objects: Objects, file: str) -> Layer:
    return open_layer(0, MemoryStore(put_objects(objects).split("/")[2]).open(file))


def block_of(objects: Objects, file: str, array: str, coord: tuple[int, ...]) -> tuple[int, int]:
    """Where the block of a chunk lies in a layer's file: begin and end."""
    layer = layer_of(objects, file)
    chunks = next(meta for meta in layer.footer.arrays if meta.name == array).chunks
    row = layer.block_row(int(chunks.block_ids[chunks.coords.tolist().index(list(coord))]))
    start = int(layer.footer.blocks.file_offsets[row])
    return start, start + layer.stored_size(row)


def extension_of(objects: Objects, file: str) -> tuple[int, int]:
    """Where a layer's extension block begins, and where its footer does."""
    layer = layer_of(objects, file)
    row = extension_row(layer.footer)
    assert row is not None
    return int(layer.footer.blocks.file_offsets[row]), layer.footer_start


def zeroed(content: bytes, start: int, end: int) -> bytes:
    return content[:start] + bytes(end - start) + content[end:]


def test_a_whole_container_is_copied_and_nothing_is_named(objects: Objects) -> None:
    made = repair(objects)
    assert made.whole
    assert made.lost == []
    assert made.state == state_at(put_objects(objects))
    assert set(made.states.values()) == {WHOLE}


def test_times_of_chunks_are_kept(objects: Objects) -> None:
    with Container.open(repair(objects).url) as made:
        assert [made.get("a").mtime_ns((number,)) for number in (0, 1, 7)] == [2000, 3000, 1007]
        assert made.stack.newest.extension is not None
        assert made.stack.newest.extension.message == "repaired from t.af, version 3"


@pytest.mark.parametrize("kept", [True, False])
def test_figures_of_chunks_are_there_where_the_newest_layer_had_them(kept: bool) -> None:
    container = new_container(chunk_stats=True)
    filled(container, "a", count=4)
    container.commit()
    container.close()
    url = f"{container.store.url}/t.af"
    with open_container(url, chunk_stats=kept) as container:
        container.put(container.get("a"), (0,), i32(-5, 5), 1)
        container.commit()
    objects = objects_at(url)
    start, _ = block_of(objects, "t.2.af", "a", (0,))
    objects["t.2.af"] = flipped(objects["t.2.af"], start)
    made = repair(objects, older=True)
    assert made.named("a") == {(0,)}
    with Container.open(made.url) as container, Container.open(put_objects(objects)) as damaged:
        array, old = container.get("a"), damaged.get("a")
        found = figures_at(array.index, ALL, array.spec)
        assert are_kept(container.stack.layers) is (found is not None) is kept
        if found is not None:
            before = figures_at(old.index, slice(1, 4), old.spec)
            assert before is not None
            assert encode_figures({0: found.take(slice(1, 4))}) == encode_figures({0: before})
            assert (found.lows.tolist(), found.nulls.tolist()) == ([0, 1, 2, 3], [0] * 4)


def test_a_chunk_whose_newest_copy_is_damaged_is_left_out_with_the_version_that_has_an_older_one(
    objects: Objects,
) -> None:
    start, _ = block_of(objects, "t.3.af", "a", (1,))
    objects["t.3.af"] = flipped(objects["t.3.af"], start)
    made = repair(objects)
    (loss,) = [loss for loss in made.lost if loss.array == "a"]
    assert (loss.coord, loss.file, loss.older, loss.older_file, loss.taken) == ((1,), "t.3.af", 2, "t.2.af", False)
    assert "checksum" in loss.why
    _, _, chunks = made.state["a"]
    assert (1,) not in chunks
    assert chunks[0,] == i32(70, 71)
    assert set(made.states.values()) == {WHOLE}


def test_older_takes_the_newest_intact_copy_below(objects: Objects) -> None:
    for file in ("t.3.af", "t.2.af"):
        start, _ = block_of(objects, file, "a", (1,))
        objects[file] = flipped(objects[file], start)
    made = repair(objects, older=True)
    taken = {loss.coord: (loss.older, loss.taken) for loss in made.lost if loss.array == "a"}
    assert taken[1,] == (1, True)
    assert made.state["a"][2][1,] == i32(1, 1)
    with Container.open(made.url) as container:
        assert container.get("a").mtime_ns((1,)) == 1001


def test_no_older_copy_comes_back_from_below_a_removal(objects: Objects) -> None:
    """Chunk (1,) of g/b was removed in version 2: there is no older copy above that, and none shows from below."""
    container = new_container(block_size=16)
    filled(container, "b", count=2)
    container.commit()
    container.put(container.get("b"), (1,), None, 5)
    container.commit()
    container.put(container.get("b"), (1,), i32(8, 9), 6)
    container.commit()
    container.close()
    objects = objects_at(f"{container.store.url}/t.af")
    start, _ = block_of(objects, "t.3.af", "b", (1,))
    objects["t.3.af"] = flipped(objects["t.3.af"], start)
    made = repair(objects, older=True)
    assert [(loss.coord, loss.older) for loss in made.lost] == [((1,), None)]
    assert made.state["b"][2] == {(0,): i32(0, 0)}


def test_a_damaged_hole_loses_nothing(objects: Objects) -> None:
    layer = layer_of(objects, "t.2.af")
    assert layer.extension is not None
    row = layer.block_row(int(layer.extension.holes[0, 0]))
    objects["t.2.af"] = flipped(objects["t.2.af"], int(layer.footer.blocks.file_offsets[row]))
    made = repair(objects)
    assert made.lost == []
    assert made.state == state_at(put_objects(dict(original())))


@pytest.mark.parametrize("left", [0, 5, 40, 0.3, 0.6])
def test_a_last_layer_cut_off_leaves_what_lies_below_it(objects: Objects, left: float) -> None:
    size = len(objects["t.3.af"])
    objects["t.3.af"] = objects["t.3.af"][: int(left * size) if isinstance(left, float) else left]
    made = repair(objects)
    assert made.state == state_of(dict(original()), LAYERS[:3])
    assert not made.whole
    (lost,) = [one for one in made.layers if one.state == LOST]
    assert lost.file == "t.3.af"
    assert f"{len(objects['t.3.af'])} bytes are without an index" in lost.text


def test_a_cut_footer_is_told_from_one_that_is_not_there(objects: Objects) -> None:
    _, start = extension_of(objects, "t.3.af")
    objects["t.3.af"] = objects["t.3.af"][: start + 100]
    (lost,) = [one for one in repair(objects).layers if one.state == LOST]
    assert "; 100 of " in lost.text


@pytest.mark.parametrize("cut", [1, 4, 5, 11, 12])
def test_a_layer_that_lost_its_trailer_only_is_read_whole(objects: Objects, cut: int) -> None:
    objects["t.3.af"] = objects["t.3.af"][:-cut]
    made = repair(objects)
    assert made.states["t.3.af"] == CORRECTED
    assert made.lost == []
    assert made.state == state_at(put_objects(dict(original())))


@pytest.mark.parametrize("place", range(-TRAILER.size, 0))
def test_a_damaged_trailer_loses_nothing(objects: Objects, place: int) -> None:
    objects["t.2.af"] = flipped(objects["t.2.af"], place, 0x55)
    made = repair(objects)
    assert (made.states["t.2.af"], made.lost) == (CORRECTED, [])
    assert made.state == state_at(put_objects(dict(original())))


def test_zeros_after_the_end_are_no_content_other_bytes_may_be_a_later_index(objects: Objects) -> None:
    whole = objects["t.3.af"]
    objects["t.3.af"] = whole + bytes(5000)
    made = repair(objects)
    assert (made.states["t.3.af"], made.lost) == (CORRECTED, [])
    objects["t.3.af"] = whole + b"more" * 50
    made = repair(objects)
    assert made.states["t.3.af"] == DOUBTFUL
    assert repair(objects, doubtful=True).state == state_at(put_objects(dict(original())))


def test_one_damaged_byte_of_a_footer_is_put_right(objects: Objects) -> None:
    """Every byte of it, whether it could be read with the damage or not."""
    _, start = extension_of(objects, "t.2.af")
    whole = state_at(put_objects(objects))
    for place in range(start, len(objects["t.2.af"]) - TRAILER.size, 7):
        made = repair({**objects, "t.2.af": flipped(objects["t.2.af"], place, 0xA5)})
        assert (made.states["t.2.af"], made.lost) == (CORRECTED, []), place
        assert made.state == whole


def test_one_damaged_byte_of_an_extension_block_is_put_right(objects: Objects) -> None:
    start, end = extension_of(objects, "t.2.af")
    whole = state_at(put_objects(objects))
    for place in [*range(start, start + 4), *range(start + 8, end, 5)]:
        made = repair({**objects, "t.2.af": flipped(objects["t.2.af"], place, 0x81)})
        assert (made.states["t.2.af"], made.lost) == (CORRECTED, []), place
        assert made.state == whole


def renamed(content: bytes) -> bytes:
    """A footer with two wrong bytes that can be read: another name, and another number."""
    place = content.rindex(b"g/b\xff")
    return flipped(flipped(content, place, 3), content.rindex(b"words\xff") + 4, 1)


def test_a_footer_without_its_checksum_is_doubtful_and_what_it_names_is_left_out(objects: Objects) -> None:
    objects["t.2.af"] = renamed(objects["t.2.af"])
    made = repair(objects)
    assert made.states["t.2.af"] == DOUBTFUL
    below = state_of(dict(original()), ["t.af", "t.1.af", "t.3.af"])
    assert made.named("a") == {(0,), (2,), (3,)}
    assert made.state["a"][2] == {c: data for c, data in below["a"][2].items() if c not in made.named("a")}
    assert all(loss.file == "t.2.af" for loss in made.lost)
    older = repair(objects, older=True)
    assert older.state["a"] == below["a"]
    assert {loss.coord for loss in older.lost if loss.taken} == {(0,), (2,), (3,)}


def test_doubtful_believes_it(objects: Objects) -> None:
    objects["t.2.af"] = renamed(objects["t.2.af"])
    made = repair(objects, doubtful=True)
    assert made.lost == []
    assert not made.whole
    assert made.state["a"] == state_at(put_objects(dict(original())))["a"]


def test_an_array_that_only_a_doubtful_layer_has_is_named_with_its_chunks(objects: Objects) -> None:
    objects["t.1.af"] = renamed(objects["t.1.af"])
    made = repair(objects)
    # the word on `a` in the layers above is whole, but version 1 wrote chunks 4 to 7
    assert made.named("a") == {(4,), (5,), (6,), (7,)}
    assert None in made.named("wordr")


def test_a_footer_with_an_extension_block_that_is_gone_is_doubtful(objects: Objects) -> None:
    start, end = extension_of(objects, "t.3.af")
    objects["t.3.af"] = zeroed(objects["t.3.af"], start, end)
    made = repair(objects)
    assert made.states["t.3.af"] == DOUBTFUL
    assert (1,) in made.named("a")
    assert repair(objects, doubtful=True).state == state_at(put_objects(dict(original())))


def test_an_index_that_hides_its_extension_block_is_seen_through(objects: Objects) -> None:
    """Taken for one of the crate's it would show chunks that are gone, and nothing of it would be checked."""
    place = objects["t.2.af"].rindex(b"arrayfs.ext1")
    objects["t.2.af"] = flipped(flipped(objects["t.2.af"], place), place + 3)
    with pytest.raises(FormatError, match=r"t\.2\.af: footer: does not name the extension block"):
        open_layer(2, MemoryStore(put_objects(objects).split("/")[2]).open("t.2.af"))
    assert repair(objects).states["t.2.af"] == DOUBTFUL


def test_a_layer_that_lost_its_extension_block_and_all_word_of_it_is_not_taken_for_the_crates(objects: Objects) -> None:
    """Its footer reads well, without a checksum: nothing else says that its shapes and attributes are not right."""
    for file in ("t.2.af", "t.3.af"):
        start, end = extension_of(objects, file)
        content = zeroed(objects[file], start, end)
        place = content.rindex(b"arrayfs.ext1") - 40
        made = repair({**objects, file: zeroed(content, place, place + 56)})
        assert made.states[file] == DOUBTFUL
        assert made.named("a") == ({(0,), (2,), (3,)} if file == "t.2.af" else {(1,), None})


def test_layers_of_the_crate_below_ours_are_proved_by_the_layer_above_them() -> None:
    base = layer_bytes(
        ArrayMeta("a", INT32, (300,), (2,), chunks=table(((0,), 0, 0, 8), ((1,), 0, 8, 8))),
        data=i32(1, 2, 3, 4) + b"odd",
    )
    container = open_container(put_objects({"t.af": base}))
    container.put(container.get("a"), (0,), i32(5, 6), 9)
    container.commit()
    container.close()
    objects = objects_at(f"{container.store.url}/t.af")
    made = repair(objects)
    assert (made.whole, made.state["a"][2]) == (True, {(0,): i32(5, 6), (1,): i32(3, 4)})
    place = base.rindex((300).to_bytes(4, "little"))
    made = repair({**objects, "t.af": flipped(base, place)})
    assert made.states["t.af"] == DOUBTFUL
    assert made.named("a") == {(1,)}


def test_a_missing_layer_in_the_middle_is_named_and_the_others_are_kept(objects: Objects) -> None:
    del objects["t.2.af"]
    made = repair(objects)
    assert made.states == {"t.af": WHOLE, "t.1.af": WHOLE, "t.2.af": LOST, "t.3.af": WHOLE}
    assert not made.whole
    assert made.state == state_of(dict(original()), ["t.af", "t.1.af", "t.3.af"])


def test_a_missing_layer_whose_number_was_given_to_the_next_is_noticed(objects: Objects) -> None:
    objects["t.2.af"] = objects.pop("t.3.af")
    made = repair(objects)
    (odd,) = [one for one in made.layers if one.text]
    assert (odd.file, odd.state) == ("t.2.af", WHOLE)
    assert "a layer between them is missing" in odd.text
    assert not made.whole


def test_a_missing_base_is_named_and_its_sidecars_are_kept(objects: Objects) -> None:
    del objects["t.af"]
    made = repair(objects)
    assert made.states["t.af"] == LOST
    assert made.state == state_at(put_objects(dict(original())))


def test_a_layer_of_another_container_is_left_out(objects: Objects) -> None:
    other = new_container()
    filled(other, "foreign")
    other.commit()
    other.close()
    objects["t.4.af"] = objects_at(f"{other.store.url}/t.af")["t.1.af"]
    made = repair(objects)
    assert made.states["t.4.af"] == LOST
    assert made.state == state_at(put_objects(dict(original())))


def test_zeroed_sectors_lose_the_chunks_of_their_blocks_only(objects: Objects) -> None:
    start, end = block_of(objects, "t.1.af", "a", (6,))
    objects["t.1.af"] = zeroed(objects["t.1.af"], start, end)
    made = repair(objects)
    whole = state_at(put_objects(dict(original())))
    assert made.named("a")
    assert {loss.file for loss in made.lost} == {"t.1.af"}
    for name, (_, _, chunks) in made.state.items():
        assert chunks == {c: data for c, data in whole[name][2].items() if c not in made.named(name)}


def test_an_array_that_means_nothing_without_chunks_is_left_out_when_all_are_lost(objects: Objects) -> None:
    for file in ("t.1.af", "t.3.af"):
        for coord in ((0,), (1,)) if file == "t.1.af" else ((1,),):
            start, _ = block_of(objects, file, "words", coord)
            objects[file] = flipped(objects[file], start)
    url = new_url()
    with salvage(put_objects(objects), RepairOptions(needs_chunks=lambda name: name in ("words", "empty"))) as found:
        lost = list(found.into(url))
    assert [loss.coord for loss in lost if loss.array == "words"] == [(0,), (1,), None]
    assert "words" not in state_at(url)
    assert "empty" in state_at(url)


def test_nothing_that_exists_is_replaced(objects: Objects) -> None:
    for there in ("new.af", "new.1.af", "new.stats"):
        store = MemoryStore(new_url().split("/")[2])
        store.put(there, b"something", replace=False)
        with salvage(put_objects(objects)) as found, pytest.raises(ObjectExistsError, match=there):
            list(found.into(f"{store.url}/new.af"))
        assert store.list() == [there]


def test_the_damaged_container_itself_is_no_target(objects: Objects) -> None:
    url = put_objects(objects)
    with salvage(url) as found, pytest.raises(ObjectExistsError):
        list(found.into(url))
    with salvage(url) as found, pytest.raises(FormatError, match="sidecar 9 of t"):
        list(found.into(url.replace("t.af", "t.9.af")))
    assert objects_at(url) == objects


def test_what_is_not_there_cannot_be_repaired() -> None:
    with pytest.raises(MissingObjectError, match="no such container"), salvage(new_url()):
        pass


def test_when_no_layer_can_be_read_the_error_names_each() -> None:
    objects = {"t.af": b"nothing at all", "t.1.af": b""}
    with pytest.raises(FormatError, match=r"t\.af: .* t\.1\.af: "), salvage(put_objects(objects)):
        pass


def test_giving_up_half_way_leaves_no_container(objects: Objects) -> None:
    start, _ = block_of(objects, "t.1.af", "a", (6,))
    objects["t.1.af"] = flipped(objects["t.1.af"], start)
    url = new_url()
    with salvage(put_objects(objects)) as found:
        losses = found.into(url)
        next(losses)
        losses.close()  # type: ignore[attr-defined]
    assert [name for name in MemoryStore(url.split("/")[2]).list() if name != "t.lock"] == []


def test_a_repaired_container_goes_on_as_any_other(objects: Objects) -> None:
    made = repair(objects)
    with Container.open(made.url, "a") as container:
        container.put(container.get("a"), (0,), i32(5, 5), 1)
        container.commit("more")
        assert state(container)["a"][2][0,] == i32(5, 5)
