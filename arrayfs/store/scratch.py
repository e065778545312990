"""Room on a disk for what need not outlive the process: a file that never has a name, so nothing of it is ever left."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from arrayfs.store.descriptor import Descriptor, read_exact, write_all
from arrayfs.store.local import LocalStore
from arrayfs.store.protocol import Store, check_range

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Scratch:
    """One such file. Its room is given back when nobody refers to this object any more."""

    def __init__(self, folder: str | None = None) -> None:
        """folder: by default that for temporary files. Raises OSError if no file can be made there."""
        # where a file cannot be made without a name (O_TMPFILE) it loses it at once
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            self._file = Descriptor(os.dup(file.fileno()), f"{folder or tempfile.gettempdir()}/(a file without a name)")

    @staticmethod
    def beside(store: Store) -> Scratch:
        """On the disk of a store, so that it ends where the room for a container ends; elsewhere where it has none."""
        return Scratch(store.path if isinstance(store, LocalStore) else None)

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes. Raises ShortReadError where there are fewer."""
        check_range(offset, size)
        return read_exact(self._file, offset, size)

    def write(self, offset: int, data: Buffer) -> None:
        """Put all of `data` at `offset`, which may lie behind the end."""
        view = memoryview(data).cast("B")
        if view.nbytes:
            write_all(self._file, offset, [view])

    def truncate(self, size: int) -> None:
        """Give back what lies behind `size`."""
        try:
            os.ftruncate(self._file.fd, size)
        except OSError as error:
            raise self._file.failed(error) from None
