"""Journals as inputs: what real trees wrote, alone or beside their container.

The checksums of a journal's records would catch every change; `resealed_journal` makes them right again, as whoever
builds a hostile journal would.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Iterator

from hypothesis import strategies as st

from arrayfs.container.container import Container
from arrayfs.container.journal import LogReader
from arrayfs.errors import FormatError
from arrayfs.format import log
from arrayfs.format.checksums import crc32c
from arrayfs.format.log import LogHeader, Op, Operation
from arrayfs.store.memory import MemoryStore
from arrayfs.view.files import FILE_LIMIT
from arrayfs.view.journaled import JournaledTree
from arrayfs.view.takeup import take_up
from arrayfs.view.tree import Tree
from tests.t2_container.making import i32, new_container, new_url, open_container, spec
from tests.t8_hostile.containers import Files, pack, unpack, write
from tests.t8_hostile.mutations import Mutant, mutants
from tests.t8_hostile.walking import walk

# A file may be as long as the limits allow, and reading it whole takes as much memory: tests of sizes are elsewhere.
LONGEST_FILE = 4 << 20
LOG = "t.log-" + "0" * 32
_SIZE = struct.Struct("<I")


def left_behind() -> dict[str, Files]:
    """Containers with the journal of a writer that ended: one with every operation, one with a file still open, one
    that went over to another version half way.
    """
    every = _left(_every_operation)
    header = log.decode_header(every[LOG])
    moved = [
        Operation(Op.MKDIR, header.time_ns, "x", number=0o755),
        Operation(Op.CATCH_UP, header.time_ns, header.parent_id.hex()),
        Operation(Op.RMDIR, header.time_ns, "x"),
    ]
    behind = {**every, LOG: b"".join(encoded_journal(header, moved))}
    return {"every": every, "open": _left(_still_open), "behind": behind}


def _left(work: Callable[[JournaledTree], None]) -> dict[str, bytes]:
    url = new_url()
    new_container(url).close()
    with open_container(url) as container:
        container.put(container.define("a", spec((4,), (2,), 7)), (0,), i32(1, 2), 1000)
    tree = JournaledTree(open_container(url))
    work(tree)
    tree.journal.write()
    store = MemoryStore(url.removeprefix("memory://").rpartition("/")[0])
    found = {}
    for name in store.list():
        if name.endswith(".af") or tree.container.names.parse_log(name):
            blob = store.open(name)
            found[name if name.endswith(".af") else LOG] = blob.read(0, blob.size)
    tree.container.discard()
    tree.container.close()
    return found


def _every_operation(tree: JournaledTree) -> None:
    """Make a record of each kind."""
    folder = tree.mkdir(1, "d", 0o755).ino
    write(tree, folder, "one", b"one")
    tree.rename(folder, "one", folder, "two", no_replace=False)
    two = tree.lookup(folder, "two")
    assert two is not None
    tree.link(two.ino, 1, "three")
    tree.setattr(two.ino, size=2, mode=0o600, mtime_ns=5)
    tree.unlink(1, "three")
    tree.symlink(folder, "link", b"two")
    tree.setattr(folder, mode=0o700, mtime_ns=7)
    tree.mkdir(1, "e", 0o755)
    tree.rmdir(1, "e")
    array = tree.lookup(1, "a")
    assert array is not None
    chunks = tree.lookup(array.ino, "c")
    assert chunks is not None
    write(tree, chunks.ino, "1", i32(3, 4))
    dying = tree.open(tree.create(chunks.ino, "0", 0o644, False).ino, write=True, truncate=True)
    dying.write(0, b"half")
    dying.truncate(3)
    dying.killed(9)
    dying.release()


def _still_open(tree: JournaledTree) -> None:
    handle = tree.open(tree.create(1, "f", 0o644, False).ino, write=True, truncate=True)
    handle.write(5, b"some bytes")
    handle.flush()
    handle.write(2, b"more")


def resealed_journal(data: bytes) -> bytes:
    """The journal with the checksums of its header and of the records that follow made right."""
    if len(data) < log.HEADER_SIZE:
        return data
    packed = data[: log.HEADER_SIZE - 4]
    checksum = crc32c(packed)
    pieces, at = [packed, _SIZE.pack(checksum)], log.HEADER_SIZE
    while size := log.record_size(data[at : at + log.FRAME_SIZE]):
        content = data[at + log.FRAME_SIZE : at + log.FRAME_SIZE + size]
        if len(content) < size:
            break
        checksum = crc32c(content, crc32c(data[at : at + 4], checksum))
        pieces += [data[at : at + 4], _SIZE.pack(checksum), content]
        at += log.FRAME_SIZE + size
    return b"".join([*pieces, data[at:]])


def read_journal(data: bytes) -> None:
    """Decode a journal to its end. Raises FormatError, also for what is not whole behind the last whole record."""
    done, rest = _records(data)
    again = b"".join(encoded_journal(log.decode_header(data), done))
    assert _records(again) == (done, None)
    assert list(LogReader(lambda offset, size: data[offset : offset + size], len(data)).operations()) == done
    if rest is not None:
        raise rest


def encoded_journal(header: LogHeader, done: list[Operation]) -> Iterator[bytes]:
    """The bytes of a journal, in pieces."""
    head = log.encode_header(header)
    checksum = log.checksum_of_header(head)
    yield head
    for operation in done:
        record, content, checksum = log.encode_operation(operation, checksum)
        yield record + content


def _records(data: bytes) -> tuple[list[Operation], FormatError | None]:
    """What a journal says, and why it ends where it does, if that is not its end."""
    log.decode_header(data)
    done, checksum, at = [], log.checksum_of_header(data), log.HEADER_SIZE
    while at < len(data):
        frame = data[at : at + log.FRAME_SIZE]
        size = log.record_size(frame)
        if not size:
            return done, FormatError("no record begins so")
        try:
            operation, checksum = log.decode_operation(frame, data[at + log.FRAME_SIZE :][:size], checksum)
        except FormatError as error:
            return done, error
        done.append(operation)
        at += log.FRAME_SIZE + size
    return done, None


def journal_inputs() -> st.SearchStrategy[bytes]:
    """Journals as they are after some damage, most of them with checksums that are right."""
    seeds = {name: files[LOG] for name, files in left_behind().items()}
    as_they_are = mutants(seeds).map(lambda mutant: mutant.data(seeds))
    return st.one_of(as_they_are, as_they_are.map(resealed_journal), as_they_are.map(resealed_journal))


def take_up_inputs() -> st.SearchStrategy[bytes]:
    """A container beside which a journal lies whose records say anything; it fits the container by its header."""
    stacks = left_behind()
    records = {name: files[LOG][log.HEADER_SIZE :] for name, files in stacks.items()}

    def placed(mutant: Mutant) -> bytes:
        files = stacks[mutant.seed]
        journal = resealed_journal(files[LOG][: log.HEADER_SIZE] + mutant.data(records))
        return pack({**files, LOG: journal})

    return mutants(records, most=2).map(placed).filter(lambda packed: asks_little(unpack(packed)[LOG]))


def asks_little(journal: bytes) -> bool:
    """Whether no file would get longer than LONGEST_FILE, or is refused for its size."""
    done, _ = _records(journal)
    sizes = [one.number + len(one.data) for one in done if one.op in (Op.WRITE, Op.RESIZE, Op.TRUNCATE)]
    return not any(LONGEST_FILE < size <= FILE_LIMIT for size in sizes)


def take_up_files(files: Files) -> str | None:
    """Open these files for writing, as the next mount would; returns the first warning. The result is looked at."""
    store = MemoryStore(uuid.uuid4().hex)
    for name, data in files.items():
        store.put(name, data, replace=True)
    container = Container.open(f"{store.url}/t.af", "a")
    try:
        take_up(container)
        warnings = list(container.warnings)
    finally:
        container.close()
    reader = Container.open(f"{store.url}/t.af")
    try:
        errors = walk(Tree(reader))
    finally:
        reader.close()
    said = warnings + errors
    # what the operation was and which path it had are of no interest, only why it did not fit
    return said[0].rpartition("does not fit: ")[2].partition(";")[0].rpartition(": ")[2] if said else None
