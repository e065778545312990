"""What a user may type for a container, and the store and name it leads to."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

import arrayfs.store
from arrayfs.errors import MissingObjectError, StoreURLError
from arrayfs.store import LocalStore, MemoryStore, Store, open_store


def test_path(tmp_path: Path) -> None:
    for path in (tmp_path / "x.af", str(tmp_path / "x.af")):
        store, name = open_store(path)
        assert isinstance(store, LocalStore)
        assert (store.path, name) == (str(tmp_path), "x.af")


def test_path_without_a_folder_is_in_the_current_one_even_after_leaving_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store, name = open_store("x.af")
    monkeypatch.chdir("/")
    store.put(name, b"one", replace=False)
    assert (tmp_path / "x.af").read_bytes() == b"one"


@pytest.mark.parametrize("host", ["", "localhost"])
@pytest.mark.parametrize(("folder", "quoted"), [("plain", "plain"), ("a b#c?d%", "a%20b%23c%3Fd%25"), ("#?", "#?")])
def test_file_url(tmp_path: Path, host: str, folder: str, quoted: str) -> None:
    (tmp_path / folder).mkdir()
    store, name = open_store(f"file://{host}{tmp_path}/{quoted}/x%2B.af")
    assert isinstance(store, LocalStore)
    assert (store.path, name) == (str(tmp_path / folder), "x+.af")


def test_url_of_a_store_leads_back_to_it(tmp_path: Path) -> None:
    (tmp_path / "a b#c?d%ü").mkdir()
    for store in (LocalStore(str(tmp_path / "a b#c?d%ü")), MemoryStore("back/again")):
        again, name = open_store(f"{store.url}/x.af")
        again.put(name, b"one", replace=False)
        assert store.list() == ["x.af"]


def test_memory_url() -> None:
    store, name = open_store("memory://of/this/test/x.af")
    store.put(name, b"one", replace=True)
    assert name == "x.af"
    assert MemoryStore("of/this/test").list() == ["x.af"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://x.af", "wanted memory://STORE/NAME"),
        ("memory://a/", "wanted memory://STORE/NAME"),
        ("file://elsewhere/x.af", "names the host 'elsewhere'"),
        ("file:///tmp/", "names a folder"),
        ("", "names a folder"),
        ("a/..", "names a folder"),
        ("gopher://a/x.af", "no store is known for gopher://"),
    ],
)
def test_what_cannot_be_opened_is_refused_by_name(url: str, message: str) -> None:
    with pytest.raises(StoreURLError, match=message):
        open_store(url)


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingObjectError, match="no such folder"):
        open_store(tmp_path / "nowhere" / "x.af")


def open_elsewhere(url: str) -> tuple[Store, str]:
    return MemoryStore("elsewhere"), url.rpartition("/")[2]


def test_other_schemes_come_from_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    known = EntryPoints([EntryPoint("else", f"{__name__}:open_elsewhere", "arrayfs.stores")])
    monkeypatch.setattr(arrayfs.store, "entry_points", known.select)
    store, name = open_store("else://bucket/x.af")
    assert (store.url, name) == ("memory://elsewhere", "x.af")
