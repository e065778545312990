"""One round: fsx on one file of a mount, with a commit every so many of its operations.

The mount is the command's. After a round, the file must have the same bytes and time as before the unmount.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from dataclasses import dataclass

from posixlib.mounting import LossError, Mount
from posixlib.targets import Target

# Every operation that a mount takes; holes cannot be punched in it (docs/SEMANTICS.md, "others").
_CONFIG = """
flen = {size}
blockmode = {whole}
[opsize]
max = 65536
min = 0
[weights]
close_open = {reopen}
invalidate = 1
mapread = 10
mapwrite = 10
read = 10
write = 10
truncate = {truncate}
fsync = 0.5
fdatasync = 0.5
posix_fallocate = {allocate}
punch_hole = 0
sendfile = 5
posix_fadvise = 2
copy_file_range = 5
"""
_STEP = re.compile(rb"\] +(\d+) ")


@dataclass(frozen=True, slots=True)
class Round:
    """seed: of fsx's random numbers. commit_every: in operations of fsx."""

    program: str
    target: Target
    seed: int
    operations: int
    commit_every: int

    def run(self, mount: Mount) -> int:
        """Returns how many commits were made. Raises LossError with the last lines of fsx."""
        path = self.target.make(mount.point)
        if self.target.whole:
            path.write_bytes(bytes(self.target.size))
        config = mount.folder / "fsx.toml"
        config.write_text(
            _CONFIG.format(
                size=self.target.size,
                whole=str(self.target.whole).lower(),
                reopen=0 if self.target.whole else 1,
                truncate=0 if self.target.whole else 5,
                allocate=0 if self.target.whole else 0.2,
            )
        )
        command = [self.program, "-v", "-f", str(config), "-N", str(self.operations), "-S", str(self.seed)]
        with subprocess.Popen(
            [*command, "-P", str(mount.folder), str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as fsx:
            commits, said = self._follow(fsx, mount)
        if fsx.returncode:
            raise LossError(f"fsx -S {self.seed} on {self.target.path}: exit code {fsx.returncode}\n{said}")
        return commits

    def _follow(self, fsx: subprocess.Popen[bytes], mount: Mount) -> tuple[int, str]:
        """Commit beside fsx; it says each operation when it begins it."""
        assert fsx.stdout is not None
        last: list[bytes] = []
        commits, due = 0, self.commit_every
        for line in fsx.stdout:
            last = [*last[-200:], line]
            step = _STEP.search(line)
            if step is not None and int(step[1]) >= due:
                (mount.point / ".arrayfs/commit").write_text(f"operation {due} of seed {self.seed}")
                commits, due = commits + 1, due + self.commit_every
        return commits, b"".join(last).decode(errors="replace")

    def state(self, mount: Mount) -> tuple[int, int, str]:
        """Size, time and digest of the file."""
        path = mount.point / self.target.path
        found = os.stat(path)
        with path.open("rb") as file:
            return found.st_size, found.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest()
