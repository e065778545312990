"""Opening and making containers: layers that belong together, names that cannot be, one writer at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from arrayfs.container.container import Container
from arrayfs.container.layer import extension_row
from arrayfs.container.repair_layers import find_layers
from arrayfs.container.verify import verify
from arrayfs.errors import FormatError, MissingObjectError, ObjectExistsError, StoreURLError
from arrayfs.format.footer import TRAILER
from arrayfs.format.model import ArrayMeta, DType
from arrayfs.format.naming import ContainerNames
from arrayfs.store import LocalStore, MemoryStore
from tests.t2_container.making import (
    filled,
    i32,
    layer_bytes,
    new_container,
    new_url,
    open_container,
    state,
    state_at,
    table,
)


def store_of(url: str) -> MemoryStore:
    return MemoryStore(url.split("/")[2])


def three_versions() -> str:
    url = new_url()
    container = new_container(url)
    array = filled(container)
    for number in range(3):
        container.put(array, (0,), i32(number + 5, 0), 1)
        container.commit()
    container.close()
    return url


def content(url: str, name: str) -> bytes:
    blob = store_of(url).open(name)
    return blob.read(0, blob.size)


# --- parents ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["r", "a"])
def test_missing_layer_is_named(mode: str) -> None:
    url = three_versions()
    store_of(url).delete("t.2.af")
    for _ in range(2):  # the lock is free again
        with pytest.raises(FormatError, match=r"t\.3\.af: .*below it lies t\.1\.af.*missing or foreign"):
            Container.open(url, mode)


def test_sidecar_of_another_container_is_named() -> None:
    url, other = three_versions(), three_versions()
    store_of(url).put("t.3.af", content(other, "t.3.af"), replace=True)
    with pytest.raises(FormatError, match=r"t\.3\.af: "):
        Container.open(url)
    store_of(url).put("t.1.af", content(other, "t.1.af"), replace=True)
    with pytest.raises(FormatError, match=r"t\.1\.af: .*t\.af"):
        Container.open(url)


def test_newest_layers_may_be_removed_from_the_top() -> None:
    url = three_versions()
    store_of(url).delete("t.3.af")
    container = Container.open(url)
    assert container.version == 2
    container.close()


def test_sidecar_of_the_crate_has_no_parent_to_check() -> None:
    url = three_versions()
    store_of(url).put("t.9.af", layer_bytes(), replace=False)
    container = Container.open(url, "a")
    assert container.version == 4
    container.put(container.get("a"), (0,), None, 1)
    report = container.commit()
    assert report is not None
    assert (report.sidecar, report.version) == ("t.10.af", 5)
    container.close()
    container = Container.open(url)
    assert container.version == 5
    container.close()


def test_layers_of_two_footer_versions_are_refused() -> None:
    url = three_versions()
    store_of(url).put("t.9.af", layer_bytes(version=4), replace=False)
    with pytest.raises(FormatError, match=r"t\.9\.af: footer version 4, but t\.3\.af has 5"):
        Container.open(url)


def test_container_of_version_4_is_continued_in_version_4() -> None:
    url = new_url()
    store_of(url).put("t.af", layer_bytes(version=4), replace=False)
    with open_container(url) as container:
        filled(container)
    with Container.open(url) as container:
        assert [layer.footer.version for layer in container.stack.layers] == [4, 4]
        assert len(state(container)["a"][2]) == 4


# --- layers of ours that look like the crate's ------------------------------------------------------------------------


def extension_bytes(url: str) -> bytes:
    with Container.open(url) as container:
        layer = container.stack.newest
        row = extension_row(layer.footer)
        assert row is not None
        start = int(layer.footer.blocks.file_offsets[row])
        return layer.blob.read(start, layer.footer_start - start)


@pytest.mark.parametrize("damage", [b"arrayfs.ext0", b"brrayfs.ext1", b"lz4" + b"\xff" * 9, "no codec", "no entry"])
def test_damage_to_the_name_of_the_extension_block_does_not_hide_it(damage: bytes | str) -> None:
    url = three_versions()
    layer = bytearray(content(url, "t.3.af"))
    name = layer.rindex(b"arrayfs.ext1")
    if isinstance(damage, bytes):
        layer[name : name + len(damage)] = damage
    elif damage == "no codec":
        layer[name - 8] = 0
    else:
        root = len(layer) - TRAILER.size - 96
        layer[root + 16] -= 1  # how many blocks there are
    store_of(url).put("t.3.af", bytes(layer), replace=True)
    for mode in ("r", "a"):
        with pytest.raises(
            FormatError, match=r"t\.3\.af: footer: does not name the extension block that lies before it"
        ):
            Container.open(url, mode)
    assert ["t.3.af: footer: does not name the extension block" in str(finding) for finding in verify(url)] == [True]


@pytest.mark.parametrize("before", [b"", b"odd bytes"])
def test_a_chunk_of_the_crate_may_hold_what_looks_like_an_extension_block(before: bytes) -> None:
    block = extension_bytes(three_versions())
    chunk = ((0,), 0, len(before), len(block))
    meta = ArrayMeta("a", DType("UInt8"), (len(block),), (len(block),), chunks=table(chunk))
    url = new_url()
    store_of(url).put("t.af", layer_bytes(meta, data=before + block), replace=False)
    with Container.open(url) as container:
        assert container.read(container.get("a"), (0,)) == block


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["weather.2024.af", "weather.1.af", "weather.+7.af", "a.b.003.af"])
def test_name_of_another_container_s_sidecar_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"would be sidecar \d+ of (weather|a\.b)\.af"):
        Container.create(str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["weather.2024x.af", "weather.0.af", "2024.af", "weather.-1.af", "weather.99999999999.af"]
)
def test_name_that_only_looks_like_one(name: str, tmp_path: Path) -> None:
    Container.create(str(tmp_path / name))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    Container.open(str(tmp_path / name)).close()


@pytest.mark.parametrize("name", ["t", "t.zarr", ".af", "af"])
def test_name_without_the_suffix_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"STEM\.af"):
        Container.create(str(tmp_path / name))


def test_left_over_sidecar_is_named_and_nothing_made() -> None:
    url = three_versions()
    store_of(url).delete("t.af")
    store_of(url).delete("t.lock")
    before = store_of(url).list()
    with pytest.raises(FormatError, match=r"t\.1\.af is there already and would belong to t\.af"):
        Container.create(url)
    assert store_of(url).list() == before


def test_container_that_is_there_is_not_made_again() -> None:
    url = new_url()
    Container.create(url)
    before = content(url, "t.af")
    with pytest.raises(ObjectExistsError, match=r"t\.af"):
        Container.create(url)
    assert content(url, "t.af") == before


def test_no_such_container(tmp_path: Path) -> None:
    for mode in ("r", "a"):
        with pytest.raises(MissingObjectError, match=r"t\.af"):
            Container.open(str(tmp_path / "t.af"), mode)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(MissingObjectError):
        Container.open(str(tmp_path / "nowhere" / "t.af"))
    with pytest.raises(StoreURLError):
        Container.open(f"{tmp_path}/")


def test_a_link_to_the_base_alone_is_not_taken_for_the_container(tmp_path: Path) -> None:
    moved, link = tmp_path / "data" / "t.af", tmp_path / "now.af"
    moved.parent.mkdir()
    link.symlink_to("data/t.af")
    container = new_container(str(moved))
    assert state_at(str(link)) == {}  # without sidecars it is all there is
    filled(container)
    container.commit()
    container.close()
    for opened in (
        lambda: Container.open(str(link)),
        lambda: Container.open(str(link), "a"),
        lambda: Container.open(str(link), version=0),
        lambda: list(verify(str(link))),
        lambda: find_layers(LocalStore(str(tmp_path)), ContainerNames("now")),
    ):
        with pytest.raises(FormatError, match=rf"now\.af: .* link to {moved}, .*\(as t\.1\.af\)"):
            opened()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "now.af"]


def test_a_base_may_be_a_link_beside_its_sidecars(tmp_path: Path) -> None:
    container = new_container(str(tmp_path / "t.af"))
    filled(container)
    container.commit()
    container.close()
    before = state_at(str(tmp_path / "t.af"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "t.af").rename(tmp_path / "elsewhere" / "t.af")
    (tmp_path / "elsewhere" / "t.1.af").write_bytes(b"of another")
    (tmp_path / "t.af").symlink_to("elsewhere/t.af")
    assert state_at(str(tmp_path / "t.af")) == before
    (tmp_path / "absent.af").symlink_to("nowhere/t.af")
    with pytest.raises(MissingObjectError, match=r"absent\.af"):
        Container.open(str(tmp_path / "absent.af"))


# --- writers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("local", [False, True], ids=["memory", "local"])
def test_any_number_may_have_it_open(tmp_path: Path, local: bool) -> None:
    url = str(tmp_path / "t.af") if local else new_url()
    container = new_container(url)
    filled(container)
    second = open_container(url)
    filled(second, "b")
    reader = Container.open(url)
    assert state(reader) == {}
    container.commit()
    assert state(reader) == {}
    second.commit()
    assert list(state_at(url)) == ["a", "b"]
    for each in (reader, container, second, second):
        each.close()
    open_container(url).close()


def test_failed_open_leaves_nothing_behind() -> None:
    url = three_versions()
    good = content(url, "t.2.af")
    store_of(url).put("t.2.af", good[:-1], replace=True)
    with pytest.raises(FormatError, match=r"t\.2\.af"):
        open_container(url)
    store_of(url).put("t.2.af", good, replace=True)
    open_container(url).close()


def test_local_container_has_these_files_and_no_others(tmp_path: Path) -> None:
    container = new_container(str(tmp_path / "t.af"), dirty_limit=0)
    filled(container)
    during = sorted(os.listdir(tmp_path))
    assert [name.partition("-")[0] for name in during] == ["t.af", "t.lock", "t.part"]
    container.commit()
    container.close()
    assert sorted(os.listdir(tmp_path)) == ["t.1.af", "t.af", "t.lock"]
    assert len(state_at(str(tmp_path / "t.af"))["a"][2]) == 4


def test_part_of_a_writer_at_work_is_left_alone(tmp_path: Path) -> None:
    """Two containers in one folder, one name a prefix of the other's; and a part that somebody owns."""
    container = new_container(str(tmp_path / "t.af"), dirty_limit=0)
    array = filled(container)
    other = new_container(str(tmp_path / "t.part.af"))
    other.close()
    open_container(str(tmp_path / "t.part.af")).close()
    container.put(array, (0,), i32(9, 9), 1)
    container.commit()
    container.close()
