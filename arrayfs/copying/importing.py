"""What a source has becomes a container's, in one commit: before it nothing has happened.

Values go in through the tree, as a mount's files do, so that chunks of arrays that the container has words for become
its own and all others stay as they are. One thread puts them in, while others read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice

from arrayfs.container.commit import CommitReport
from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.pool import BLOCK_SIZE, PoolOptions
from arrayfs.copying.flow import flow
from arrayfs.copying.key_paths import above, join, refused
from arrayfs.copying.source import ARRAY_DOCUMENTS, Large, Source, Value
from arrayfs.errors import ArrayFSError, EntryExistsError, MissingObjectError, ObjectExistsError, SourceError
from arrayfs.store import LocalStore, open_store
from arrayfs.view import zarr2, zarr3
from arrayfs.view.entries import V3_NAME
from arrayfs.view.keys import Keys
from arrayfs.view.metadata import first_json
from arrayfs.view.takeup import take_up
from arrayfs.view.tree import Tree

# Nothing is changed twice here, so there is no use in keeping much of it unpacked, or in the cache.
DIRTY_LIMIT = 64 << 20
CACHE_SIZE = 32 << 20
# Bytes between two calls of a progress callback.
PROGRESS_STEP = 1 << 20
_ENCODING = (
    *("data_type", "chunk_grid", "chunk_key_encoding", "codecs", "storage_transformers"),
    *("dtype", "chunks", "compressor", "filters", "order", "dimension_separator"),
)
_GROUPS = {3: (V3_NAME, zarr3.render_group({})), 2: (".zgroup", zarr2.render_group())}
# How many names an error lists.
NAMED = 5
# Called with the bytes that are done, and those of the whole.
Progress = Callable[[int, int], object]


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """into: the group that everything goes into. update: what is there already is made equal to the source; otherwise
    it is refused. commit_every: bytes after which a version is made. skip_refused: go on without what a container
    cannot keep. verify: read all back afterwards. message: of the versions. codec, block_size: of new blocks.
    chunk_stats: whether chunks are measured; None: as in the newest version.
    """

    into: str = ""
    update: bool = False
    commit_every: int | None = None
    skip_refused: bool = False
    verify: bool = False
    message: str | None = None
    codec: str | None = "lz4"
    block_size: int = BLOCK_SIZE
    chunk_stats: bool | None = None


@dataclass(slots=True)
class Imported:
    """What an import did. values, bytes: put in, or found equal; unchanged: of these; removed: chunks that the source
    does not have any more. commits: the versions made. left_out, notes: by path, why. differing: keys that were read
    back otherwise. warnings: of the container.
    """

    values: int = 0
    bytes: int = 0
    unchanged: int = 0
    removed: int = 0
    commits: list[CommitReport] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    differing: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def run_import(source: Source, container: str, options: ImportOptions, progress: Progress | None = None) -> Imported:
    """Put everything that a source has into a container, which is made if it is not there.

    Raises SourceError for what cannot be read or kept, EntryExistsError for what is there already, ConflictError, and
    OSError; the container is then as it was, but for versions that `commit_every` asked for.
    """
    options = replace(options, into=_path(options.into))
    _refuse_itself(source, container)
    total = source.total()
    listed = source.keys()
    for key in listed:
        _admits(source, key, options.into)
    _refuse(source, options)  # what is seen without reading it; looking through a source is little beside reading it
    with _opened(container, options) as tree:
        run = _Import(tree, source, options, total, progress)
        run.run()
        done = run.done
    if options.verify:
        done.differing = differing(source, container, options.into)
    return done


def differing(source: Source, container: str, into: str) -> list[str]:
    """The keys whose values a container does not give back as a source has them."""
    found: list[str] = []
    opened = Container.open(container, "r", ContainerOptions(cache_size=CACHE_SIZE))
    try:
        keys = Keys(Tree(opened))

        def compare(key: str, value: Value | Large | None) -> None:
            if not _admits(source, key, into):
                return
            path = join(into, key)
            try:
                same = path not in keys if value is None else _holds(keys, path, value)
            except ArrayFSError:
                same = False
            if not same:
                found.append(path)

        flow(source, compare)
    finally:
        opened.close()
    return found


class _Import:
    """One import into an open tree."""

    def __init__(
        self, tree: Tree, source: Source, options: ImportOptions, total: int, progress: Progress | None
    ) -> None:
        """total: bytes of all values, as far as they are known."""
        self.done = Imported()
        self._tree, self._keys = tree, Keys(tree, alone=True)
        self._source, self._options = source, options
        self._progress, self._total = progress, total
        self._since_commit = self._shown = 0
        # paths that had an array's document
        self._arrays: dict[str, None] = {}
        message = options.message
        self._message = f"import {source.name}" if message is None else message

    def run(self) -> None:
        options = self._options
        if not options.update:
            self._refuse_what_is_there()
        self._make_groups()
        flow(self._source, self._take)
        self._show(self._total)
        _refuse(self._source, options)
        if options.update:
            self._remove_old()
        self._commit()
        done, remarks = self.done, self._source.remarks
        done.left_out, done.notes = dict(remarks.left_out), dict(remarks.notes)
        done.warnings = list(self._tree.warnings)

    def _refuse_what_is_there(self) -> None:
        if not self._has_any(self._options.into):
            return
        listed = self._source.keys()
        paths = (join(self._options.into, key) for key in listed)
        there = list(islice((path for path in paths if path in self._keys), NAMED))
        if there:
            raise EntryExistsError(
                f"{self._tree.container.names.base} has {', '.join(there)}{', …' if len(there) == NAMED else ''} "
                "already: import into a group of its own (--into), or have what is there made equal (--update)"
            )

    def _has_any(self, path: str) -> bool:
        return path in self._keys or bool(self._keys.names(path))

    def _make_groups(self) -> None:
        """Documents of groups where there are none: above everything, and where the source wants one."""
        into = self._options.into
        wanted = [join(into, group) for group in self._source.groups]
        for path in sorted({*above(into), *wanted, *(path for group in wanted for path in above(group))}):
            if self._keys.array_at(path) is not None:
                raise SourceError(f"{path or '/'} is an array: nothing can be imported into it")
            if not any(join(path, name) in self._keys for name, _ in _GROUPS.values()):
                name, document = _GROUPS[self._source.look]
                self._keys.put(join(path, name), document)

    def _take(self, key: str, value: Value | Large | None) -> None:
        if not _admits(self._source, key, self._options.into):
            return
        path, done = join(self._options.into, key), self.done
        try:
            size = self._put(path, value)
        except ArrayFSError as error:
            raise SourceError(f"{self._source.name}: {key}: {error.args[-1]}") from error
        if self._options.update and _is_array_document(path):
            self._arrays[path.rpartition("/")[0]] = None
        done.values += value is not None
        done.bytes += size
        self._since_commit += size
        if done.bytes - self._shown >= PROGRESS_STEP:
            self._show(done.bytes)
        if self._options.commit_every is not None and self._since_commit >= self._options.commit_every:
            self._commit()

    def _show(self, size: int) -> None:
        """Tell how far it is; of a source that does not know its size nothing can be told."""
        self._shown = size
        if self._progress is not None and self._total:
            self._progress(min(size, self._total), self._total)

    def _put(self, path: str, value: Value | Large | None) -> int:
        """Returns how many bytes it has."""
        keys = self._keys
        if value is None:
            self.done.removed += keys.remove(path)
            return 0
        size = value.size if isinstance(value, Large) else len(value)
        is_update = self._options.update
        if is_update and _holds(keys, path, value):
            self.done.unchanged += 1
            return size
        if is_update and _is_array_document(path) and not isinstance(value, Large):
            self._clear_encoded_otherwise(path, value)
        if isinstance(value, Large):
            keys.put_parts(path, value.parts())
        else:
            keys.put(path, value)
        return size

    def _clear_encoded_otherwise(self, path: str, document: Value) -> None:
        """Remove the chunks of an array whose new document says that they are encoded in another way."""
        reading = self._keys.plan(path)
        if reading is not None and _encoding(reading.fetch()) != _encoding(document):
            for key in list(self._keys.chunks(path.rpartition("/")[0])):
                self.done.removed += self._keys.remove(key)

    def _remove_old(self) -> None:
        """Chunks of imported arrays that the source does not have."""
        into = self._options.into
        for path in self._arrays:
            for key in list(self._keys.chunks(path)):
                if not self._source.has(key.removeprefix(f"{into}/") if into else key):
                    self.done.removed += self._keys.remove(key)

    def _commit(self) -> None:
        report = self._tree.commit(self._message)
        self._since_commit = 0
        if report is not None:
            self.done.commits.append(report)


def _admits(source: Source, key: str, into: str) -> bool:
    """Whether a container can have a value of this key; if not, it is noted why."""
    found = refused(key, into)
    if found is not None:
        source.remarks.left_out.setdefault(*found)
    return found is None


def _refuse(source: Source, options: ImportOptions) -> None:
    """Raise SourceError if a source has something that cannot be kept, and that is not to be left out."""
    left_out = source.remarks.left_out
    if left_out and not options.skip_refused:
        lines = [f"{path}: {reason}" for path, reason in islice(left_out.items(), NAMED)]
        more = f" (and {len(left_out) - NAMED} more)" if len(left_out) > NAMED else ""
        raise SourceError(f"{source.name}: a container cannot keep {'; '.join(lines)}{more}")


def _refuse_itself(source: Source, container: str) -> None:
    """Raise SourceError if the container lies in the directory that is imported, and would never end."""
    store = open_store(container)[0]
    if isinstance(store, LocalStore) and os.path.isdir(source.name):
        folder, inside = os.path.realpath(source.name), os.path.realpath(store.path)
        if os.path.commonpath((folder, inside)) == folder:
            raise SourceError(f"{source.name}: {container} lies in it, and would import itself")


def _encoding(document: Value) -> object:
    """What an array's document says of how its chunks are encoded."""
    try:
        members = first_json(bytes(document))
    except ValueError:
        return None
    return {key: members.get(key) for key in _ENCODING} if isinstance(members, dict) else None


def _is_array_document(path: str) -> bool:
    return path.rpartition("/")[2] in ARRAY_DOCUMENTS


def _holds(keys: Keys, path: str, value: Value | Large) -> bool:
    if isinstance(value, Large):
        return keys.holds_parts(path, value.size, value.parts())
    return keys.holds(path, value)


def _path(group: str) -> str:
    path = group.strip("/")
    found = refused(path) if path else None
    if found is not None:
        raise SourceError(f"{group!r} is no name of a group: {found[1]}")
    return path


@contextmanager
def _opened(url: str, options: ImportOptions) -> Iterator[Tree]:
    """The container as a tree to write to, made if need be; left by an exception, nothing stays but versions."""
    made = _make(url)
    pool = PoolOptions(options.codec, options.block_size, DIRTY_LIMIT, options.chunk_stats)
    container = Container.open(url, "a", ContainerOptions(pool, CACHE_SIZE))
    try:
        take_up(container)
        yield Tree(container)
    except BaseException:
        container.discard()
        names = container.names
        if made and not any(names.parse_sidecar(name) for name in container.store.list()):
            container.store.delete(names.base)
        raise
    finally:
        container.close()


def _make(url: str) -> bool:
    """Make the container if it is not there; whether it was made."""
    store, base = open_store(url)
    try:
        store.open(base).close()
    except MissingObjectError:
        try:
            Container.create(url)
        except ObjectExistsError:  # another was faster
            return False
        return True
    return False
