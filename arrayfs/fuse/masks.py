"""`umask=`, `fmask=` and `dmask=`: modes that all files and directories show, whatever was stored.

As other file systems without owners of their own have it (vfat, sshfs): a directory shows 0777 without the mask's bits,
a file 0666 without them, and the execute bits that it has.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass

from arrayfs.view.attr import Attr


@dataclass(frozen=True, slots=True)
class Masks:
    """What is taken from the modes of files, and of directories."""

    files: int
    directories: int

    def shown(self, attr: Attr) -> Attr:
        """Return the attributes that are shown; those of a symbolic link are nobody's affair."""
        kind, bits = stat.S_IFMT(attr.mode), stat.S_IMODE(attr.mode)
        if stat.S_ISDIR(kind):
            return attr._replace(mode=kind | 0o777 & ~self.directories)
        if stat.S_ISREG(kind):
            return attr._replace(mode=kind | (0o666 | bits & 0o111) & ~self.files)
        return attr
