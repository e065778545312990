"""What the store of files makes of calls that do less than they were asked to, or fail; and the order of its calls."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arrayfs.errors import MissingObjectError, ShortReadError
from arrayfs.store import LocalStore
from arrayfs.store import folder as folder_module
from arrayfs.store import local as local_module
from arrayfs.testing.store_case import content, publish
from tests.t1_store.failing import failing


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path))


# Reads and writes that the kernel cuts short


def test_short_reads_are_gone_on_with(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(range(100))
    store.put("a", data, replace=False)
    blob = store.open("a")
    pread, preadv = os.pread, os.preadv
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: pread(fd, min(size, 7), offset))
    monkeypatch.setattr(os, "preadv", lambda fd, views, offset: preadv(fd, [views[0][:7]], offset))
    buffer = bytearray(90)
    blob.read_into(10, memoryview(buffer))
    assert blob.read(0, 100) == data
    assert buffer == data[10:]


def test_object_that_someone_cut_is_noticed(store: LocalStore, tmp_path: Path) -> None:
    store.put("a", bytes(100), replace=False)
    blob = store.open("a")
    os.truncate(tmp_path / "a", 40)
    with pytest.raises(ShortReadError, match="50 bytes wanted at offset 10, 30 are there"):
        blob.read(10, 50)
    with pytest.raises(ShortReadError, match="50 bytes wanted at offset 10, 30 are there"):
        blob.read_into(10, memoryview(bytearray(50)))


@pytest.mark.parametrize("most", [1, 3, 4, 5, 9])
def test_short_writes_are_gone_on_with(store: LocalStore, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    pwritev = os.pwritev

    def write_some(fd: int, views: list[memoryview], offset: int) -> int:
        return pwritev(fd, [memoryview(b"".join(views))[:most]], offset)

    monkeypatch.setattr(os, "pwritev", write_some)
    part = store.create_part("p")
    part.append(b"abcd", b"", b"efghi", b"j")
    assert part.append(b"klm") == 10
    assert part.read(0, part.size) == b"abcdefghijklm"


def fail_on_call(monkeypatch: pytest.MonkeyPatch, number: int, code: int, most: int = 4) -> None:
    """Let pwritev take at most `most` bytes a call, and fail for good from call `number` on."""
    pwritev = os.pwritev
    calls = iter(range(1, 1000))

    def write_some(fd: int, views: list[memoryview], offset: int) -> int:
        if next(calls) >= number:
            raise OSError(code, os.strerror(code))
        return pwritev(fd, [memoryview(b"".join(views))[:most]], offset)

    monkeypatch.setattr(os, "pwritev", write_some)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_failed_append_cuts_the_part_back_and_keeps_the_errno(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    part = store.create_part("p")
    part.append(b"good")
    with monkeypatch.context() as patch:
        fail_on_call(patch, 3, code)
        with pytest.raises(OSError, match=r"/p'") as failure:
            part.append(b"0123456789abcdef")
    assert failure.value.errno == code
    assert part.size == 4
    assert (tmp_path / "p").read_bytes() == b"good"
    assert part.append(b"!") == 4
    part.publish("a")
    assert content(store, "a") == b"good!"


def test_torn_end_that_could_not_be_cut_is_cut_before_anything_else(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = store.create_part("p")
    part.append(b"good")
    with monkeypatch.context() as patch:
        fail_on_call(patch, 2, errno.EIO)
        patch.setattr(os, "ftruncate", failing(errno.EIO))
        with pytest.raises(OSError, match="Input/output"):
            part.append(b"0123456789abcdef")
        assert (tmp_path / "p").read_bytes() == b"good0123"
        with pytest.raises(OSError, match="Input/output"):
            part.publish("a")
    part.publish("a")
    assert content(store, "a") == b"good"


def test_write_that_takes_nothing_is_an_error_not_a_loop(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    part = store.create_part("p")
    monkeypatch.setattr(os, "pwritev", lambda *_: 0)
    with pytest.raises(OSError, match="took no bytes") as failure:
        part.append(b"x")
    assert failure.value.errno == errno.EIO


@pytest.mark.parametrize("call", ["fsync", "fdatasync"])
def test_failed_sync_is_never_forgotten(store: LocalStore, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    part = store.create_part("p")
    part.append(b"lost")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(errno.EIO))
        with pytest.raises(OSError, match="Input/output"):
            part.sync() if call == "fdatasync" else part.publish("a")
    for again in (part.sync, lambda: part.publish("a")):
        with pytest.raises(OSError, match="an earlier sync failed") as failure:
            again()
        assert failure.value.errno == errno.EIO
    assert store.list() == ["p"]
    part.discard()


def test_failed_put_leaves_the_old_object_and_nothing_else(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", b"old", replace=False)
    for code in (errno.ENOSPC, errno.EROFS):
        with monkeypatch.context() as patch:
            fail_on_call(patch, 1, code)
            with pytest.raises(OSError, match=os.strerror(code)) as failure:
                store.put("a", b"new", replace=True)
        assert failure.value.errno == code
    assert os.listdir(tmp_path) == ["a"]
    assert content(store, "a") == b"old"


def test_part_published_while_it_is_being_adopted_is_left_alone(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = store.create_part("a.part")
    part.append(b"one")
    take = local_module.try_flock

    def publish_first(fd: int, operation: int) -> bool:
        part.publish("a")
        return take(fd, operation)

    monkeypatch.setattr(local_module, "try_flock", publish_first)
    with pytest.raises(MissingObjectError, match="published by its owner"):
        store.adopt_part("a.part")


# Durability: the order of calls


def test_everything_is_durable_before_what_points_at_it(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def record(name: str, target: Callable[..., str]) -> None:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(f"{name} {target(*args)}")
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, call)

    def file_of(fd: int, *_: object) -> str:
        return os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), tmp_path)

    for name in ("fsync", "fdatasync", "pwritev"):
        record(name, file_of)
    for name in ("link", "rename", "unlink"):
        record(name, lambda *names: " ".join(map(str, names)))

    publish(store, "a", b"one")
    assert calls == ["pwritev a.part", "fsync a.part", "link a.part a", "fsync .", "unlink a.part", "fsync ."]
    calls.clear()
    store.put("a", b"two", replace=True)
    assert calls == ["pwritev .a.put", "fsync .a.put", "rename .a.put a", "fsync ."]
    calls.clear()
    store.delete("a")
    assert calls == ["unlink a", "fsync ."]


def test_publishing_without_links_and_without_renameat2_is_refused(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = store.create_part("a.part")
    part.append(b"one")
    monkeypatch.setattr(os, "link", failing(errno.EOPNOTSUPP))
    monkeypatch.setattr(folder_module, "rename_noreplace", failing(errno.ENOSYS))
    with pytest.raises(OSError, match="not implemented"):
        part.publish("a")
    assert store.list() == ["a.part"]


def test_publish_whose_first_reply_was_lost_succeeds(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    part = store.create_part("a.part")
    part.append(b"one")
    link = os.link

    def link_twice(*args: Any, **kwargs: Any) -> None:
        link(*args, **kwargs)
        link(*args, **kwargs)

    monkeypatch.setattr(os, "link", link_twice)
    part.publish("a")
    assert content(store, "a") == b"one"
    assert store.list() == ["a"]
