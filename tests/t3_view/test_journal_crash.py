"""A journaled tree over a store that stops or fails at its n-th call, for every n, with and without a loss of power."""

from __future__ import annotations

import errno
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field

import pytest

from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.pool import PoolOptions
from arrayfs.container.verify import verify
from arrayfs.errors import ArrayFSError
from arrayfs.format.log import HEADER_SIZE
from arrayfs.store import MemoryStore
from arrayfs.view.handles import OpenFile
from arrayfs.view.journaled import JournaledTree
from arrayfs.view.numbers import ROOT
from arrayfs.view.takeup import take_up
from arrayfs.view.tree import Tree, open_tree
from tests.conftest import Tell
from tests.t2_container.faults import Fault, FaultStore, Stop, use
from tests.t3_view.tree_model import v3

# Every second chunk fills the pool: the part is begun long before the commit.
OPTIONS = ContainerOptions(PoolOptions(dirty_limit=4, block_size=4))
State = dict[str, bytes | None]


def shown(tree: Tree) -> State:
    """Everything that is there: files with their content, directories with None."""
    found: State = {}
    waiting = [("", ROOT)]
    while waiting:
        path, ino = waiting.pop()
        for name, attr, _ in tree.opendir(ino).entries(0):
            if attr.mode & 0o170000 == 0o040000:
                found[path + name] = None
                waiting.append((f"{path}{name}/", attr.ino))
                continue
            handle = tree.open(attr.ino, write=False, truncate=False)
            found[path + name] = bytes(handle.read(0, 1 << 20))
            handle.release()
    return found


@dataclass(slots=True)
class Client:
    """Makes its calls by path. `safe`: calls that survive the process; `synced`: that survive a loss of power."""

    tree: JournaledTree
    handles: dict[str, OpenFile] = field(default_factory=dict)
    made: int = 0
    safe: int = 0
    synced: int = 0

    def ino(self, path: str) -> int:
        ino = ROOT
        for name in path.split("/") if path else ():
            attr = self.tree.lookup(ino, name)
            assert attr is not None, path
            ino = attr.ino
        return ino

    def place(self, path: str) -> tuple[int, str]:
        above, _, name = path.rpartition("/")
        return self.ino(above), name

    def create(self, path: str) -> None:
        made = self.tree.create(*self.place(path), 0o644, False)
        self.handles[path] = self.tree.open(made.ino, write=True, truncate=False)

    def open(self, path: str) -> None:
        self.handles[path] = self.tree.open(self.ino(path), write=True, truncate=False)

    def write(self, path: str, offset: int, data: bytes) -> None:
        self.handles[path].write(offset, data)

    def flush(self, path: str) -> None:
        self.handles[path].flush()

    def release(self, path: str) -> None:
        self.handles.pop(path).release()

    def fsync(self, path: str) -> None:
        self.handles[path].sync()

    def mkdir(self, path: str) -> None:
        self.tree.mkdir(*self.place(path), 0o755)

    def unlink(self, path: str) -> None:
        self.tree.unlink(*self.place(path))

    def rmdir(self, path: str) -> None:
        self.tree.rmdir(*self.place(path))

    def rename(self, old: str, new: str) -> None:
        self.tree.rename(*self.place(old), *self.place(new), no_replace=False)

    def exchange(self, one: str, other: str) -> None:
        self.tree.exchange(*self.place(one), *self.place(other))

    def link(self, old: str, new: str) -> None:
        self.tree.link(self.ino(old), *self.place(new))

    def truncate(self, path: str, size: int) -> None:
        self.tree.setattr(self.ino(path), size=size)

    def touch(self, path: str, mtime_ns: int) -> None:
        self.tree.setattr(self.ino(path), mtime_ns=mtime_ns)

    def sync(self) -> None:
        self.tree.opendir(ROOT).sync()

    def commit(self) -> None:
        self.tree.commit("message")

    def do(self, call: tuple[object, ...]) -> None:
        """Make one call, and take note of what it promises when it returns."""
        name, *arguments = call
        getattr(self, str(name))(*arguments)
        self.made += 1
        if name not in ("create", "open", "write", "release"):
            self.safe = self.made
        if name in ("fsync", "sync", "commit"):
            self.synced = self.made


def put(path: str, data: bytes) -> list[tuple[object, ...]]:
    return [("create", path), ("write", path, 0, data), ("flush", path), ("release", path)]


DOCUMENT = v3((6,), (2,)).content
CALLS: list[tuple[object, ...]] = [
    ("mkdir", "d"),
    *put("d/a", b"one"),
    ("mkdir", "x"),
    *put("x/zarr.json", DOCUMENT),
    ("mkdir", "x/c"),
    *put("x/c/0", b"ab"),
    ("sync",),
    *put("x/c/1", b"cd"),
    ("rename", "d/a", "d/b"),
    *put("f", b"two"),
    ("commit",),
    ("exchange", "d/b", "f"),
    ("touch", "f", 54321),
    ("exchange", "d", "x"),
    ("sync",),
    ("exchange", "x", "d"),
    ("exchange", "f", "d/b"),
    *put("x/c/0.tmp", b"AB"),
    ("rename", "x/c/0.tmp", "x/c/0"),
    ("unlink", "x/c/1"),
    ("link", "d/b", "e"),
    ("create", "x/c/2"),
    ("write", "x/c/2", 0, b"g"),
    ("commit",),
    ("write", "x/c/2", 1, b"h"),
    ("fsync", "x/c/2"),
    ("release", "x/c/2"),
    ("open", "e"),
    ("write", "e", 1, b"NE"),
    ("flush", "e"),
    ("release", "e"),
    ("truncate", "d/b", 2),
    ("touch", "d/b", 12345),
    ("sync",),
    ("unlink", "d/b"),
    ("rmdir", "d"),
    *put("x/zarr.json", v3((4,), (2,)).content),
    ("commit",),
]


def opened(monkeypatch: pytest.MonkeyPatch, store: FaultStore) -> JournaledTree:
    container = Container.open(use(monkeypatch, store), "a", OPTIONS)
    try:
        take_up(container)
        return JournaledTree(container)
    except BaseException:
        container.close()
        raise


def recovered(monkeypatch: pytest.MonkeyPatch, objects: dict[str, bytes]) -> State:
    """What the next open for writing finds; nothing is left over, and the container is sound."""
    store = FaultStore(objects)
    tree = opened(monkeypatch, store)
    state = shown(tree)
    left = [name for name in store.inner.list() if ".log-" in name or ".part-" in name]
    # the layer was finished, and the power went before it had its name and before anything of the journal was synced
    assert all(any("never published" in warning for warning in tree.warnings) for name in left if ".part-" in name)
    assert not [name for name in left if ".log-" in name]
    assert tree.close() is None
    assert list(verify(f"{store.url}/t.af")) == []
    with closing(open_tree(f"{store.url}/t.af")) as reader:
        assert shown(reader) == state
    return state


@pytest.fixture(autouse=True)
def prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every commit packs and syncs before it takes the lock, however little there is."""
    for name, value in (("WORTH", 1), ("STEP", 1), ("PAUSE", 0)):
        monkeypatch.setattr(f"arrayfs.container.prepare.{name}", value)


@pytest.fixture(scope="module")
def empty() -> dict[str, bytes]:
    store = MemoryStore(uuid.uuid4().hex)
    Container.create(f"{store.url}/t.af")
    blob = store.open("t.af")
    return {"t.af": blob.read(0, blob.size)}


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch, empty: dict[str, bytes]) -> list[State]:
    """What is found when the process ends after each of the calls, having written everything."""
    store = FaultStore(empty)
    client = Client(opened(monkeypatch, store))
    found = [recovered(monkeypatch, store.left(unsynced=True))]
    for call in CALLS:
        client.do(call)
        with client.tree.container.lock:
            client.tree.journal.write()
        found.append(recovered(monkeypatch, store.left(unsynced=True)))
        if not client.handles:
            assert found[-1] == shown(client.tree), call
    client.tree.close()
    return found


def cuts(store: FaultStore) -> Iterator[dict[str, bytes]]:
    """What a loss of power can leave: of the journal anything between what was synced and all of it."""
    whole = store.left(unsynced=True)
    logs = [name for name in whole if ".log-" in name]
    yield store.left(unsynced=False)
    for name in logs:
        safe, size = store.synced.get(name, len(whole[name])), len(whole[name])
        for cut in {size - 1, (safe + size) // 2, min(safe + 50, size)}:
            if cut < HEADER_SIZE:
                yield whole | {name: bytes(size)}  # a disk writes the first sector whole or not at all
            elif safe < cut:
                yield whole | {name: whole[name][:cut]}
                # blocks of a file may reach the disk in any order, or not at all
                yield whole | {name: whole[name][:cut] + bytes(size - cut)}


def run(client: Client, calls: list[tuple[object, ...]]) -> None:
    for call in calls:
        client.do(call)


def test_a_process_that_stops_at_any_store_call_loses_nothing_acknowledged(
    monkeypatch: pytest.MonkeyPatch, empty: dict[str, bytes], states: list[State], tell: Tell
) -> None:
    explored = 0
    for at in range(1, 10_000):
        store = FaultStore(empty)
        client = Client(opened(monkeypatch, store))
        store.fault = Fault(at=at, late=bool(at % 2))
        with suppress(Stop):
            run(client, CALLS)
        stopped = store.fault.calls >= at
        low, high = client.safe, client.made + 1
        image = store.left(unsynced=True)
        assert recovered(monkeypatch, image) in states[low : high + 1], (at, client.made)
        for lost in cuts(store):
            assert recovered(monkeypatch, lost) in states[client.synced : high + 1], (at, client.made)
            explored += 1
        explored += 1
        abandon(client)
        if not stopped:
            break
    assert explored > 200
    tell(f"{explored} states after a stop")


def abandon(client: Client) -> None:
    """The process has ended: nothing of it runs any more."""
    client.tree.container.store.fault = Fault()  # type: ignore[attr-defined]
    client.tree.container.close()


def test_a_process_that_stops_while_it_takes_a_journal_up(
    monkeypatch: pytest.MonkeyPatch, empty: dict[str, bytes], states: list[State]
) -> None:
    for end in (18, len(CALLS) - 8):
        store = FaultStore(empty)
        client = Client(opened(monkeypatch, store))
        run(client, CALLS[:end])
        with client.tree.container.lock:
            client.tree.journal.write()
        left = store.left(unsynced=True)
        abandon(client)
        for at in range(1, 10_000):
            again = FaultStore(left)
            again.fault = Fault(at=at, late=bool(at % 2))
            tree = None
            with suppress(Stop):
                tree = opened(monkeypatch, again)
            again.fault.at = 0
            for unsynced in (True, False):
                assert recovered(monkeypatch, again.left(unsynced=unsynced)) == states[end], (end, at)
            if tree is not None:
                tree.container.close()
                break


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_store_that_fails_for_a_while_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, empty: dict[str, bytes], states: list[State], code: int
) -> None:
    for at in range(1, 10_000):
        store = FaultStore(empty)
        client = Client(opened(monkeypatch, store))
        store.fault = Fault(at=at, code=code, last=at + at % 3)
        for call in CALLS:
            try_until_done(client, call)
        failed, store.fault = store.fault.calls >= at, Fault()
        assert recovered(monkeypatch, store.left(unsynced=True)) == states[-1], at
        assert shown(client.tree) == states[-1]
        client.tree.close()
        if not failed:
            break


def try_until_done(client: Client, call: tuple[object, ...]) -> None:
    """What a program does that is told that the medium failed: the same again; "it is done already" is an answer."""
    for _ in range(10):
        try:
            client.do(call)
            return
        except ArrayFSError:
            client.made += 1
            return
        except AssertionError:
            return  # the name is gone already
        except OSError:
            if call[0] == "release":
                return
    raise AssertionError(f"{call}: the medium works again, but this does not")


CHUNKS: State = {f"x/c/{number}": bytes((97, 97 + number)) for number in range(3)}
MEANINGS: dict[str, list[tuple[object, ...]]] = {
    "another chunk shape": put("x/zarr.json", v3((6,), (3,)).content),
    "other codecs": put("x/zarr.json", v3((6,), (2,), native=False).content),
    "a group": put("x/zarr.json", b'{"zarr_format": 3, "node_type": "group"}'),
    "no document": [("unlink", "x/zarr.json")],
    "renamed chunks": [("rename", "x/c", "x/d")],
}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("calls", MEANINGS.values(), ids=MEANINGS)
@pytest.mark.parametrize("committed", [False, True])
def test_chunks_that_become_files_while_the_store_fails_keep_their_bytes(
    monkeypatch: pytest.MonkeyPatch,
    empty: dict[str, bytes],
    committed: bool,
    calls: list[tuple[object, ...]],
    code: int,
) -> None:
    for at in range(1, 1000):
        store = FaultStore(empty)
        client = Client(opened(monkeypatch, store))
        run(client, [("mkdir", "x"), *put("x/zarr.json", DOCUMENT), ("mkdir", "x/c")])
        for path, content in CHUNKS.items():
            run(client, put(path, content or b""))
        if committed:  # and nothing of it is in memory
            client.tree.close()
            client = Client(opened(monkeypatch, store))
        store.fault = Fault(at=at, code=code, last=at + at % 3)
        for call in (*calls, ("commit",)):
            with suppress(OSError, AssertionError, KeyError):
                client.do(call)
        failed, store.fault = store.fault.calls >= at, Fault()
        for call in (*calls, ("commit",)):
            with suppress(ArrayFSError, AssertionError):
                client.do(call)
        folder = "x/d/" if calls[0][0] == "rename" else "x/c/"
        there = {folder + path[4:]: content for path, content in CHUNKS.items()}
        after = shown(client.tree)
        assert {path: after.get(path) for path in there} == there, (at, after)
        before = shown(client.tree)
        abandon(client)
        assert recovered(monkeypatch, store.left(unsynced=True)) == before, at
        if not failed:
            break


@pytest.mark.parametrize(
    "call",
    [
        ("unlink", "x/zarr.json"),
        ("unlink", "x/c/0"),
        ("rename", "x/c/0", "f"),
        ("rename", "x/c/0", "x/c/2"),
        ("rename", "x/c", "y"),
        ("rename", "x", "y"),
        ("link", "x/c/0", "f"),
        ("exchange", "x", "d"),
        ("mkdir", "x/e"),
        ("create", "x/e"),
        ("create", "x/c"),
        ("unlink", "x/c/2"),
    ],
    ids=str,
)
def test_a_change_that_fails_has_happened_or_not_in_the_journal_too(
    monkeypatch: pytest.MonkeyPatch, empty: dict[str, bytes], call: tuple[object, ...]
) -> None:
    store = FaultStore(empty)
    client = Client(opened(monkeypatch, store))
    run(client, [("mkdir", "d"), ("mkdir", "x"), *put("x/zarr.json", DOCUMENT), ("mkdir", "x/c")])
    run(client, [*put("x/c/0", b"ab"), *put("x/c/1", b"cd")])
    client.tree.close()
    for at in range(1, 100):
        again = FaultStore(store.left(unsynced=True))
        client = Client(opened(monkeypatch, again))
        again.fault = Fault(at=at, code=errno.EIO)
        failed = True
        try:
            client.do(call)
            failed = False
        except ArrayFSError:
            failed = False
        except OSError:
            pass
        again.fault = Fault()
        if failed:
            with client.tree.container.lock:
                client.tree.journal.write()
            assert recovered(monkeypatch, again.left(unsynced=True)) == shown(client.tree)
            with suppress(ArrayFSError, AssertionError):  # only the journal failed: it is done already
                client.do(call)
        with client.tree.container.lock:
            client.tree.journal.write()
        after = shown(client.tree)
        abandon(client)
        assert recovered(monkeypatch, again.left(unsynced=True)) == after
        if not failed:
            break
    else:
        raise AssertionError("it fails for ever")


def test_after_a_failed_sync_nothing_is_acknowledged_until_it_was_written_anew(
    monkeypatch: pytest.MonkeyPatch, empty: dict[str, bytes], states: list[State]
) -> None:
    store = FaultStore(empty)
    client = Client(opened(monkeypatch, store))
    run(client, CALLS[:6])
    name = client.tree.journal.name
    store.fault = Fault(at=1, code=errno.EIO, last=2)
    with pytest.raises(OSError, match="Input/output"):  # the sync itself
        client.do(("sync",))
    with pytest.raises(OSError, match="Input/output"):  # the writing anew
        client.do(("mkdir", "f"))
    assert client.tree.lookup(ROOT, "f") is None
    client.do(("mkdir", "f"))
    assert client.tree.journal.name not in (None, name)
    assert recovered(monkeypatch, store.left(unsynced=False)) == states[6]
    assert recovered(monkeypatch, store.left(unsynced=True)) == states[6] | {"f": None}
    client.tree.close()


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("written", [b"", b"a"], ids=["empty", "half a chunk"])
def test_a_file_that_went_with_its_killed_writer_does_not_come_back(
    monkeypatch: pytest.MonkeyPatch, empty: dict[str, bytes], written: bytes, committed: bool
) -> None:
    store = FaultStore(empty)
    client = Client(opened(monkeypatch, store))
    run(client, [("mkdir", "x"), *put("x/zarr.json", DOCUMENT), ("mkdir", "x/c"), ("create", "x/c/0")])
    if written:
        client.write("x/c/0", 0, written)
    if committed:
        client.commit()
    client.handles["x/c/0"].killed(9)
    client.release("x/c/0")
    there = shown(client.tree)
    assert "x/c/0" not in there
    assert recovered(monkeypatch, store.left(unsynced=True)) == there
    abandon(client)
