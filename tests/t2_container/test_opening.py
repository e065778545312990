"""Opening and making containers: layers that belong together, names that cannot be, one writer at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from arrayfs.container.container import Container
from arrayfs.errors import FormatError, MissingObjectError, ObjectExistsError, StoreURLError
from arrayfs.store import MemoryStore
from tests.t2_container.making import filled, i32, layer_bytes, new_container, new_url, open_container, state, state_at


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
    assert [name.partition("-")[0] for name in during] == ["t.af", "t.part"]
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
