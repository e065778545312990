"""The requests of the kernel, each translated into one call of the tree and its answer back.

What a container looks like is decided in `view`; here are handles, flags, time-outs and errno, and which pages the
kernel may keep. A handler answers at once; only what may wait for a disk or a network (fsync, a commit, judging many
bytes) is parked, and between an `await` and the answer nothing is kept that another request could change.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, ReaddirToken, RequestContext, SetattrFields, StatvfsData

from arrayfs.fuse.ahead import READ_SIZE, STORE_LIMIT, DecodeAhead, PageStore
from arrayfs.fuse.answer import request, waiting_request
from arrayfs.fuse.entries import Entries
from arrayfs.fuse.errnos import explain
from arrayfs.fuse.masks import Masks
from arrayfs.fuse.openers import Openers
from arrayfs.fuse.requests import Listing
from arrayfs.fuse.runtime import Runtime
from arrayfs.fuse.tree_protocol import OpenDirectory, OpenFile, Tree, UnpackingFile
from arrayfs.fuse.wire import KEEP_CACHE, NO_FLUSH, Entry, Opened

# Bytes written to a handle since its last FLUSH from which judging them is parked: checksum, compression and the
# putting 4 MiB into the pool take 5 ms or more, a parked request 0.1 ms.
MANY_BYTES: Final = 4 << 20

# Bytes of a name, as statfs says; the kernel asks for names of up to 1024.
NAME_LIMIT: Final = 255

# The entries that each listing begins with; the kernel makes none of its own.
DOTS: Final = (b".", b"..")

MAY_READ: Final = 0o4
MAY_WRITE: Final = 0o2
WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_TRUNC


class TreeOperations(pyfuse3.Operations):
    """The handlers of one mount.

    - `_files` and `_directories` hold open handles by number; numbers are never used again.
    - All fields belong to the thread that runs the session; parked work gets the objects that it needs.
    - `_info` is an answer under construction: pyfuse3 copies it before the next handler begins.
    """

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(
        self,
        tree: Tree,
        runtime: Runtime,
        *,
        owner: tuple[int, int] | None = None,
        check_modes: bool = True,
        masks: Masks | None = None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        """owner: the uid and gid shown, by default the process's. check_modes: False if the kernel does
        (default_permissions). masks: for the modes shown, but those in the control directory.

        on_ready is called when the kernel has said hello: from then on requests are answered.
        """
        super().__init__()
        self._tree = tree
        self._park = runtime.park
        self._uid, self._gid = owner or (os.getuid(), os.getgid())
        self._check_modes = check_modes
        self._on_ready = on_ready
        self._files: dict[int, OpenFile] = {}
        self._directories: dict[int, OpenDirectory] = {}
        self._control_listings: set[int] = set()  # handles of the control directory
        self._writing: set[int] = set()  # handles that are open for writing: only these have anything to flush
        self._unflushed: dict[int, int] = {}  # handle -> bytes written since its last FLUSH
        self._openers = Openers()
        self._ahead_at_read: set[int] = set()  # handles whose first READ starts the decoding of what follows
        self._unpacking: set[int] = set()  # handles whose reads may take their time
        self._last_handle = 0
        self._pages = PageStore()
        self._ahead = DecodeAhead()
        self._control_inodes, self._commit_inode = _control_inodes(tree)
        self._info = FileInfo()
        self._takes_fields = runtime.takes_fields
        entries = Entries(
            self._uid, self._gid, masks=masks, unmasked=self._control_inodes, as_fields=runtime.takes_fields
        )
        self._answer, self._asked_anew = entries.known, entries.asked_anew
        self._changing = tree.changing  # inodes that are asked anew, of the control directory's files too

    def init(self) -> None:
        self._on_ready()

    def close(self) -> None:
        """End the helper thread. Handles that are still open stay unjudged: their writers never closed them."""
        self._ahead.close()

    # Names

    @request
    def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> Entry:
        attr = self._tree.lookup(parent_inode, name.decode("utf-8", "surrogateescape"))
        if attr is None:
            raise FUSEError(errno.ENOENT if len(name) <= NAME_LIMIT else errno.ENAMETOOLONG)
        if parent_inode in self._control_inodes:
            self._changing.add(attr.ino)
            return self._asked_anew(attr)
        return self._asked_anew(attr) if attr.ino in self._changing else self._answer(attr)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        forget, forgotten = self._tree.forget, self._pages.forgotten
        for inode, count in inode_list:
            try:
                forgotten(inode)
                forget(inode, count)
            except BaseException as error:  # noqa: BLE001  nobody waits for an answer, but the mount must go on
                explain("forget", error)

    @request
    def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext) -> Entry:
        self._may(parent_inode, MAY_WRITE, ctx)
        return self._answer(self._tree.mkdir(parent_inode, _text(name), stat.S_IMODE(mode)))

    @request
    def mknod(self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext) -> Entry:
        if not stat.S_ISREG(mode):
            raise FUSEError(errno.EPERM)  # as mknod(2) says of a file system without device nodes
        self._may(parent_inode, MAY_WRITE, ctx)
        bits = stat.S_IMODE(mode)
        made, file = self._tree.make(parent_inode, _text(name), bits, exclusive=True, write=False, truncate=False)
        file.release()
        return self._answer(made)

    @request
    def symlink(self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext) -> Entry:
        self._may(parent_inode, MAY_WRITE, ctx)
        return self._answer(self._tree.symlink(parent_inode, _text(name), target))

    @request
    def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        return self._tree.readlink(inode)

    @request
    def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        self._may(parent_inode, MAY_WRITE, ctx)
        self._tree.unlink(parent_inode, _text(name))

    @request
    def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        self._may(parent_inode, MAY_WRITE, ctx)
        self._tree.rmdir(parent_inode, _text(name))

    @request
    def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        if flags not in (0, pyfuse3.RENAME_NOREPLACE, pyfuse3.RENAME_EXCHANGE):
            raise FUSEError(errno.EINVAL)  # RENAME_WHITEOUT
        self._may(parent_inode_old, MAY_WRITE, ctx)
        self._may(parent_inode_new, MAY_WRITE, ctx)
        places = parent_inode_old, _text(name_old), parent_inode_new, _text(name_new)
        if flags == pyfuse3.RENAME_EXCHANGE:
            self._tree.exchange(*places)
        else:
            self._tree.rename(*places, no_replace=bool(flags))

    @request
    def link(self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext) -> Entry:
        self._may(new_parent_inode, MAY_WRITE, ctx)
        return self._answer(self._tree.link(inode, new_parent_inode, _text(new_name)))

    # Attributes

    @request
    def getattr(self, inode: int, ctx: RequestContext) -> Entry:
        attr = self._tree.getattr(inode)
        return self._asked_anew(attr) if inode in self._changing else self._answer(attr)

    @request
    def setattr(
        self, inode: int, attr: EntryAttributes, fields: SetattrFields, fh: int | None, ctx: RequestContext
    ) -> Entry:
        if (fields.update_uid and attr.st_uid != self._uid) or (fields.update_gid and attr.st_gid != self._gid):
            raise FUSEError(errno.EPERM)
        size = attr.st_size if fields.update_size else None
        if size is not None and fh is not None:
            self._files[fh].truncate(size)  # also of a file that has no name any more
            size = None
        elif size is not None:
            self._may(inode, MAY_WRITE, ctx)
        return self._answer(
            self._tree.setattr(
                inode,
                size=size,
                mode=stat.S_IMODE(attr.st_mode) if fields.update_mode else None,
                atime_ns=attr.st_atime_ns if fields.update_atime else None,
                mtime_ns=attr.st_mtime_ns if fields.update_mtime else None,
            )
        )

    @request
    def statfs(self, ctx: RequestContext) -> StatvfsData:
        answer, below = StatvfsData(), self._tree.statfs()
        for field in ("bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail", "namemax"):
            setattr(answer, f"f_{field}", getattr(below, f"f_{field}"))
        return answer

    # Files

    @request
    def open(self, inode: int, flags: int, ctx: RequestContext) -> Opened:
        if flags & WRITING:
            access = flags & os.O_ACCMODE
            self._may(inode, MAY_WRITE | (MAY_READ if access != os.O_WRONLY else 0), ctx)
            file = self._tree.open(inode, write=True, truncate=bool(flags & os.O_TRUNC))
            return self._new_handle(file, ctx, write=True)
        self._may(inode, MAY_READ, ctx)
        file = self._tree.open(inode, write=False, truncate=False)
        opened = self._new_handle(file, ctx, write=False)
        if self._pages.wants(inode) and file.cacheable and file.alone:
            try:
                self._warm_up(self._last_handle, inode, file)
            except BaseException as error:  # noqa: BLE001  the handle is there, and the READ meets the error again
                explain("open", error)
        return opened

    @request
    def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[Opened, Entry]:
        self._may(parent_inode, MAY_WRITE, ctx)
        exclusive, truncate = bool(flags & os.O_EXCL), bool(flags & os.O_TRUNC)
        # Also where the program only reads (flock(1) makes its lock file so): closing is what keeps a new file.
        made, file = self._tree.make(
            parent_inode, _text(name), stat.S_IMODE(mode), exclusive=exclusive, write=True, truncate=truncate
        )
        return self._new_handle(file, ctx, write=True), self._answer(made)

    @request
    def read(  # type: ignore[override]  # any buffer will do
        self, fh: int, offset: int, size: int
    ) -> bytes | memoryview:
        file = self._files[fh]
        self._pages.was_read(file.ino)
        if fh in self._ahead_at_read:
            self._ahead_at_read.discard(fh)
            self._ahead.start(file)
        if fh in self._unpacking:
            return self._read_unpacking(file, offset, size)  # type: ignore[return-value]  # as of `release`
        return file.read(offset, size)

    @waiting_request
    async def _read_unpacking(self, file: OpenFile, offset: int, size: int) -> bytes | memoryview:
        assert isinstance(file, UnpackingFile)
        is_ready, fetch = file.plan(offset, size)
        return fetch() if is_ready else await self._park(fetch)

    @request
    def write(self, fh: int, offset: int, data: bytes) -> int | Coroutine[Any, Any, int]:  # type: ignore[override]
        file = self._files[fh]
        self._unflushed[fh] = self._unflushed.get(fh, 0) + len(data)
        if file.ino == self._commit_inode:
            return self._write_parked(partial(file.write, offset, data))
        written = file.write(offset, data)
        if fh in self._openers.flushed:
            self._is_dying(fh, file)
        return written

    @waiting_request
    async def _write_parked(self, write: Callable[[], int]) -> int:
        return await self._park(write)

    @request
    def flush(self, fh: int) -> Coroutine[Any, Any, None] | None:  # type: ignore[override]
        if fh not in self._writing:
            return None
        file = self._files[fh]
        if fh in self._openers:
            self._openers.flushed.add(fh)
            if self._is_dying(fh, file):
                return None
        if self._unflushed and self._unflushed.pop(fh, 0) >= MANY_BYTES:
            return self._flush_parked(file.flush)
        file.flush()
        return None

    @waiting_request
    async def _flush_parked(self, flush: Callable[[], None]) -> None:
        await self._park(flush)

    @request
    def release(self, fh: int) -> Coroutine[Any, Any, None] | None:  # type: ignore[override]
        file = self._files.pop(fh)
        if fh in self._writing:
            return self._release_written(fh, file)
        self._ahead_at_read.discard(fh)
        self._unpacking.discard(fh)
        file.release()
        return None

    def _release_written(self, fh: int, file: OpenFile) -> Coroutine[Any, Any, None] | None:
        self._writing.discard(fh)
        # Not only FLUSH publishes: pages of a mapping arrive after the last FLUSH.
        if self._unflushed and fh in self._unflushed and file.at_risk and (signal := self._openers.died_of(fh)):
            file.killed(signal)
        self._openers.released(fh)
        if self._unflushed and self._unflushed.pop(fh, 0) >= MANY_BYTES:
            return self._release_parked(file.release)
        file.release()
        return None

    @waiting_request
    async def _release_parked(self, release: Callable[[], None]) -> None:
        await self._park(release)

    @waiting_request
    async def fsync(self, fh: int, datasync: bool) -> None:
        await self._park(self._files[fh].sync)

    # Directories

    @request
    def opendir(self, inode: int, ctx: RequestContext) -> int:
        self._may(inode, MAY_READ, ctx)
        directory = self._tree.opendir(inode)
        self._last_handle = handle = self._last_handle + 1
        self._directories[handle] = directory
        if inode in self._control_inodes or inode in self._changing:
            self._control_listings.add(handle)
        return handle

    @request
    def readdir(self, fh: int, start_id: int, token: ReaddirToken | Listing) -> None:
        reply = token.add if isinstance(token, Listing) else partial(pyfuse3.readdir_reply, token)
        answer = self._answer
        if fh in self._control_listings:
            answer = self._asked_anew
        directory = self._directories[fh]
        if start_id < len(DOTS):
            for number, (dots, attr) in enumerate(zip(DOTS, directory.dots(), strict=True), 1):
                if number > start_id and not reply(dots, answer(attr), number):
                    return
        for name, attr, cookie in directory.entries(max(0, start_id - len(DOTS))):
            if not reply(name.encode("utf-8", "surrogateescape"), answer(attr), cookie + len(DOTS)):
                break

    @request
    def releasedir(self, fh: int) -> None:
        self._control_listings.discard(fh)
        self._directories.pop(fh).release()

    @waiting_request
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        await self._park(self._directories[fh].sync)

    # Parts of the above

    def _new_handle(self, file: OpenFile, ctx: RequestContext, *, write: bool) -> Opened:
        self._last_handle = handle = self._last_handle + 1
        self._files[handle] = file
        if file.unpacks:
            self._unpacking.add(handle)
        if write:
            self._writing.add(handle)
            self._openers.opened(handle, ctx.pid)
        if self._takes_fields:  # only a handle that writes has anything to flush
            return handle, (KEEP_CACHE if file.cacheable else 0) | (0 if write else NO_FLUSH)
        self._info.fh, self._info.keep_cache = handle, file.cacheable
        return self._info

    def _is_dying(self, handle: int, file: OpenFile) -> bool:
        """At a FLUSH or a late WRITE: whether the writer is being killed; if so, the file knows it now."""
        signal = self._openers.dying_of(handle) if file.at_risk else 0
        if signal:
            file.killed(signal)
        return signal != 0

    def _warm_up(self, handle: int, inode: int, file: OpenFile) -> None:
        """Before the reply to an `open` for reading, no other handle being there: see ahead.py."""
        size = file.size
        follows = size >= READ_SIZE and self._ahead.ascending(inode)
        if follows and size > STORE_LIMIT:
            self._ahead_at_read.add(handle)  # only a READ tells that the kernel does not have the pages
        elif 0 < size < READ_SIZE or (follows and self._ahead.start(file)):
            self._pages.store(inode, file, size)

    def _may(self, inode: int, wanted: int, ctx: RequestContext) -> None:
        """Refuse what the mode of `inode` refuses to its owner: nobody else but root comes into a private mount."""
        if self._check_modes and ctx.uid and wanted & ~(self._tree.mode(inode) >> 6):
            raise FUSEError(errno.EACCES)


def _text(name: bytes) -> str:
    """Names are UTF-8; other bytes come through as surrogates, for the tree to judge."""
    return name.decode("utf-8", "surrogateescape")


def _control_inodes(tree: Tree) -> tuple[frozenset[int], int]:
    """Return the inodes of the control directory and that of its versions, whose entries may be others at any time, and
    the inode of the file whose WRITE is a commit; 0 where there is none.
    """
    control = tree.lookup(pyfuse3.ROOT_INODE, ".arrayfs")
    if control is None:
        return frozenset(), 0
    versions, commit = (tree.lookup(control.ino, name) for name in ("versions", "commit"))
    below = (control, versions)
    return frozenset(attr.ino for attr in below if attr is not None), (0 if commit is None else commit.ino)
