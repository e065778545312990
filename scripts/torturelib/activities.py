"""What a client does: small stories, each a generator of operations.

Several run interleaved, so a story looks at the model again before each step, and gives up where another one has
changed what it was about. What stays undefined is left out: two handles that write one chunk or document.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator
from itertools import count

from torturelib.grid import DOCUMENT, Grid
from torturelib.model import Model, ModelFile, Operation
from torturelib.stripes import CHUNKS, STRIPE

Story = Iterator[Operation]
MANY_FILES = 90
MODES = (0o600, 0o644, 0o640, 0o755)


class Activities:
    """The stories of one client below `root`, which is its own."""

    def __init__(self, model: Model, root: str, rng: random.Random) -> None:
        self.model, self.root, self.rng = model, root, rng
        self._numbers = count(rng.randrange(1 << 40))
        self._handles = count(1)
        self._weighted: dict[Callable[[], Story], int] = {
            self.new_file: 5,
            self.edit_file: 5,
            self.write_chunk: 9,
            self.replace_chunk: 6,
            self.remove_file: 3,
            self.remove_chunk: 2,
            self.move_file: 4,
            self.move_directory: 2,
            self.new_directory: 3,
            self.remove_directory: 2,
            self.new_array: 3,
            self.reshape_array: 3,
            self.remove_array: 2,
            self.cut_file: 2,
            self.cut_chunk: 1,
            self.set_attributes: 3,
            self.link_file: 2,
            self.sync: 2,
            self.commit: 1,
            self.look: 6,
            self.write_stripe: 4,
        }

    def any(self) -> Story:
        """A story by chance; one that removes, when there is much."""
        if len(self.model.files) > MANY_FILES and self.rng.random() < 0.5:
            return self.rng.choice((self.remove_file, self.remove_array, self.remove_chunk))()
        return self.rng.choices(list(self._weighted), list(self._weighted.values()))[0]()

    # --- plain files --------------------------------------------------------------------------------------------------

    def new_file(self) -> Story:
        path, handle = self._new_name(self._directory(), "f"), next(self._handles)
        yield ["create", handle, path, self.rng.choice(MODES)]
        yield from self._write_somewhere(handle)
        yield ["close", handle]

    def edit_file(self) -> Story:
        path = self._choice(self._plain())
        if path is None:
            return
        handle = next(self._handles)
        yield ["open", handle, path, self.rng.random() < 0.2]
        yield from self._write_somewhere(handle)
        yield ["close", handle]

    def _write_somewhere(self, handle: int) -> Story:
        for _ in range(self.rng.randint(0, 4)):
            size = len(self.model.handles[handle].data)
            kind = self.rng.random()
            if kind < 0.1:
                yield ["resize", handle, self.rng.randint(0, size + 100)]
            elif kind < 0.2:
                yield [self.rng.choice(("flush", "fsync")), handle]
            else:
                offset = self.rng.choice((0, size, self.rng.randint(0, size + 50)))
                yield ["write", handle, min(offset, 1 << 20), self._content(self._size())]

    def _size(self) -> int:
        return self.rng.choice((1, 10, 500, 5000, self.rng.randint(0, 90_000)))

    def _content(self, size: int, zeros: int = 0) -> list[int]:
        return [self.rng.getrandbits(40), size, zeros]

    def remove_file(self) -> Story:
        path = self._choice(self._plain())
        if path is not None:
            yield ["unlink", path]

    def move_file(self) -> Story:
        """To a new name, over another file, or out of an array."""
        sources = self._plain() if self.rng.random() < 0.8 else self._chunks()
        old = self._choice(sources)
        if old is None or (self._is_open(old) and self.model.place(old)):
            return
        new = self._choice(self._plain()) if self.rng.random() < 0.3 else self._new_name(self._directory(), "f")
        if new is not None and self.model.files.get(new) is not self.model.files[old]:
            yield ["rename", old, new]

    def cut_file(self) -> Story:
        path = self._choice(self._plain())
        if path is not None:
            yield ["truncate", path, self.rng.randint(0, len(self.model.files[path].data) + 200)]

    def set_attributes(self) -> Story:
        path = self._choice(self._plain())
        if path is None:
            return
        if self.rng.random() < 0.5:
            yield ["chmod", path, self.rng.choice(MODES)]
        else:
            yield ["utime", path, self.rng.randrange(1 << 60)]

    def link_file(self) -> Story:
        path = self._choice(self._plain())
        if path is not None:
            yield ["link", path, self._new_name(self._directory(), "f")]

    # --- directories --------------------------------------------------------------------------------------------------

    def new_directory(self) -> Story:
        yield ["mkdir", self._new_name(self._directory(), "d")]

    def remove_directory(self) -> Story:
        empty = [path for path in self._directories() if path != self.root and not any(self.model.below(path))]
        path = self._choice(empty)
        if path is not None:
            yield ["rmdir", path]

    def move_directory(self) -> Story:
        """A directory or an array, to a new name or over an empty directory."""
        arrays = self.rng.random() < 0.5
        old = self._choice(self._arrays() if arrays else [path for path in self._directories() if path != self.root])
        if old is None or self._is_busy(old):
            return
        above = self._directory()
        if above == old or above.startswith(f"{old}/") or above.count("/") + self._height(old) > 5:
            return
        new = self._new_name(above, "a" if arrays else "d")
        if self.rng.random() < 0.3:
            yield ["mkdir", new]
            if above not in self.model.directories or old not in self.model.directories or self._is_busy(old):
                return
            if new not in self.model.directories or any(self.model.below(new)):
                return
        yield ["rename", old, new]

    def sync(self) -> Story:
        yield ["fsyncdir", self._directory()]

    def commit(self) -> Story:
        yield ["commit", f"{self.root} {next(self._numbers)}"]

    def look(self) -> Story:
        """Compare a file or a listing with the model."""
        if self.rng.random() < 0.2:
            yield ["list", self.rng.choice(list(self.model.directories))]
            return
        path = self._choice(list(self.model.files))
        if path is not None:
            yield ["read", path]

    # --- arrays -------------------------------------------------------------------------------------------------------

    def new_array(self) -> Story:
        grid = Grid.any(self.rng)
        path = self._new_name(self._directory(), "a")
        yield ["mkdir", path]
        if path in self.model.directories:
            yield from self._put_document(path, grid)

    def reshape_array(self) -> Story:
        path = self._choice(self._arrays())
        if path is None or self._is_busy(path):
            return
        grid = self.model.directories.get(path)
        if grid is not None:
            yield from self._put_document(path, grid.reshaped(self.rng))

    def _put_document(self, path: str, grid: Grid) -> Story:
        """In place, or under another name and then renamed or linked."""
        document, text = f"{path}/{DOCUMENT}", grid.document()
        handle, there = next(self._handles), document in self.model.files
        in_place = self.rng.random() < 0.4
        target = document if in_place else f"{path}/.tmp{next(self._numbers)}"
        yield ["open", handle, target, True] if in_place and there else ["create", handle, target, 0o644]
        cut = self.rng.randint(0, len(text)) if self.rng.random() < 0.5 else len(text)
        yield ["write", handle, 0, text[:cut]]
        if cut < len(text):
            yield ["write", handle, cut, text[cut:]]
        file = self.model.handles[handle]
        yield ["close", handle]
        # in the meantime it may have been moved with its directory, or have got a document, or be in use
        names = self.model.names_of(file)
        path = names[0].rpartition("/")[0] if names else ""
        document = f"{path}/{DOCUMENT}"
        if in_place or not names or not names[0].startswith(f"{path}/.tmp") or self._is_busy(path):
            return
        if (document in self.model.files) is not there:
            return
        if there or self.rng.random() < 0.5:
            yield ["rename", names[0], document]
        else:
            yield ["link", names[0], document]
            names = [name for name in self.model.names_of(file) if "/.tmp" in name]
            if names:
                yield ["unlink", names[0]]

    def write_chunk(self) -> Story:
        """In place: a new one, one overwritten, parts of one."""
        found = yield from self._some_chunk()
        if found is None:
            return
        path, grid = found
        handle = next(self._handles)
        if path not in self.model.files:
            yield ["create", handle, path, 0o644]
        elif self._is_open(path) or len(self.model.names_of(self.model.files[path])) > 1:
            return
        else:
            yield ["open", handle, path, self.rng.random() < 0.3]
        file = self.model.handles[handle]
        if len(file.data) == grid.size and self.rng.random() < 0.7:
            for _ in range(self.rng.randint(0, 4)):
                offset = self.rng.randrange(grid.size)
                yield ["write", handle, offset, self._content(self.rng.randint(1, grid.size - offset))]
                if self.rng.random() < 0.1:
                    yield [self.rng.choice(("flush", "fsync")), handle]
        else:
            yield from self._write_whole(handle, grid)
        yield ["close", handle]

    def _write_whole(self, handle: int, grid: Grid, zeros: int = 0) -> Story:
        """From start to end, now and then not quite."""
        size = grid.size if grid.native else self.rng.randint(1, 2 * grid.size)
        cut = self.rng.randint(1, size) if self.rng.random() < 0.3 else size
        cut = cut if not zeros else size
        yield ["write", handle, 0, self._content(cut, zeros)]
        if cut < size and self.rng.random() < 0.9:
            yield ["write", handle, cut, self._content(size - cut)]

    def replace_chunk(self) -> Story:
        """Under another name beside it, then renamed, or linked where there is none."""
        found = yield from self._some_chunk()
        if found is None:
            return
        path, grid = found
        handle = next(self._handles)
        above = path.rpartition("/")[0]
        by_link = path not in self.model.files and self.rng.random() < 0.3
        yield ["create", handle, f"{above}/.tmp{next(self._numbers)}", 0o644]
        # a file that is a chunk under one name only has its padding there only: all zeros, to be the same everywhere
        yield from self._write_whole(handle, grid, grid.size if by_link and grid.native else 0)
        file = self.model.handles[handle]
        yield ["close", handle]
        names = self.model.names_of(file)
        if not names or names[0].rpartition("/")[0] != above or not self._is_array(above.partition("/c")[0]):
            return
        if by_link:
            if path not in self.model.files:
                yield ["link", names[0], path]
                names = [name for name in self.model.names_of(file) if "/.tmp" in name]
                if names:
                    yield ["unlink", names[0]]
        else:
            yield ["rename", names[0], path]

    def _some_chunk(self) -> Generator[Operation, None, tuple[str, Grid] | None]:
        """A path in an array, its directories made, and the array's grid; None if that went away meanwhile."""
        array = self._choice(self._arrays())
        grid = self.model.directories[array] if array is not None else None
        if array is None or grid is None:
            return None
        path = "/".join((array, "c", *map(str, self.rng.choice(grid.coords()))))
        start = len(array) + 1
        while (start := path.find("/", start + 1)) > 0:
            if path[:start] not in self.model.directories:
                if path[:start].rpartition("/")[0] not in self.model.directories:
                    return None
                yield ["mkdir", path[:start]]
        place = self.model.place(path)
        if path.rpartition("/")[0] not in self.model.directories or place is None or not self._is_array(array):
            return None
        return path, place[0]

    def write_stripe(self) -> Story:
        """In a chunk that the other client may be writing, too."""
        yield ["stripe", self.rng.randrange(CHUNKS), self._content(STRIPE)]

    def remove_chunk(self) -> Story:
        path = self._choice(self._chunks())
        if path is not None:
            yield ["unlink", path]

    def cut_chunk(self) -> Story:
        """A file that is no chunk any more."""
        path = self._choice(self._chunks())
        if path is not None and not self._is_open(path) and len(self.model.names_of(self.model.files[path])) == 1:
            yield ["truncate", path, self.rng.randint(0, len(self.model.files[path].data) + 2)]

    def remove_array(self) -> Story:
        """As `rm -r` does, the document first or last."""
        array = self._choice([p for p in self.model.directories if p.rpartition("/")[2].startswith("a")])
        if array is None or self._is_busy(array):
            return
        last = self.rng.random() < 0.5
        while array in self.model.directories and not self._is_busy(array):
            names = sorted(self.model.below(array), key=lambda name: (-name.count("/"), name))
            document = f"{array}/{DOCUMENT}"
            if document in names and (len(names) == 1 or not last):
                yield ["unlink", document]
                continue
            names = [name for name in names if name != document]
            if not names:
                yield ["rmdir", array]
                return
            yield ["unlink" if names[0] in self.model.files else "rmdir", names[0]]

    # --- choosing -----------------------------------------------------------------------------------------------------

    def _choice(self, paths: list[str]) -> str | None:
        return self.rng.choice(paths) if paths else None

    def _new_name(self, above: str, letter: str) -> str:
        return f"{above}/{letter}{next(self._numbers)}"

    def _plain(self) -> list[str]:
        return [path for path in self.model.files if path.rpartition("/")[2][0] == "f"]

    def _chunks(self) -> list[str]:
        return [path for path in self.model.files if self.model.place(path) is not None]

    def _directories(self) -> list[str]:
        """Those that are no array's."""
        return [path for path in self.model.directories if path == self.root or path.rpartition("/")[2][0] == "d"]

    def _directory(self) -> str:
        shallow = [path for path in self._directories() if path.count("/") < 3]
        return self.rng.choice(shallow)

    def _arrays(self) -> list[str]:
        """Arrays whose documents are there."""
        return [path for path in self.model.directories if self._is_array(path)]

    def _is_array(self, path: str) -> bool:
        """Whether chunks can be written here: there is a document, and it is not being written."""
        document = f"{path}/{DOCUMENT}"
        known = self.model.directories.get(path) is not None and document in self.model.files
        return known and not self._is_open(document)

    def _height(self, path: str) -> int:
        return max((other.count("/") - path.count("/") for other in self.model.below(path)), default=0)

    def _is_open(self, path: str) -> bool:
        file: ModelFile = self.model.files[path]
        return any(other is file for other in self.model.handles.values())

    def _is_busy(self, path: str) -> bool:
        """Whether a chunk or document below is being written, or has a name elsewhere."""
        for other in self.model.below(path):
            if other in self.model.files and (
                self._is_open(other) or len(self.model.names_of(self.model.files[other])) > 1
            ):
                return True
        return False
