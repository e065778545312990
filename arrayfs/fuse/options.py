"""The comma list after `-o`: what is ours, what goes on to the kernel, what an fstab says that is not for us."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from arrayfs.errors import MountError

PASSED_ON: Final = frozenset(
    {"allow_other", "allow_root", "auto_unmount", "default_permissions", "nosuid", "suid", "nodev", "dev", "noexec"}
    | {"exec", "atime", "noatime", "sync", "async", "dirsync"}
)

# Words of mount(8), fstab(5) and systemd.mount(5) about when and by whom, which say nothing about how.
FOR_OTHERS: Final = frozenset(
    ["defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "_netdev", "nofail", "relatime"]
)


@dataclass(frozen=True, slots=True)
class MountOptions:
    """read_only: `ro`, `rw` or neither. owner_uid, owner_gid: shown as every file's owner; None: who mounts.

    passed_on: options for the kernel and libfuse, as they were given.
    """

    read_only: bool | None = None
    owner_uid: int | None = None
    owner_gid: int | None = None
    fsname: str | None = None
    passed_on: frozenset[str] = frozenset()

    @property
    def kernel_checks_modes(self) -> bool:
        """Whether `default_permissions` holds: it must where other users can come in."""
        return bool(self.passed_on & {"allow_other", "allow_root", "default_permissions"})

    def for_libfuse(self, container: str, *, read_only: bool) -> set[str]:
        """Return the options for `pyfuse3.init`."""
        name = self.fsname or container
        options = {f"fsname={_escaped(name)}", "subtype=arrayfs", *self.passed_on}
        if self.kernel_checks_modes:
            options.add("default_permissions")
        if read_only:
            options.add("ro")
        return options


def parse_options(text: str) -> MountOptions:
    """Read `-o` (a comma list; later words win). Raises MountError that names what is not known."""
    read_only: bool | None = None
    values: dict[str, str] = {}
    passed_on = set()
    for word in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = word.partition("=")
        if word in ("ro", "rw"):
            read_only = word == "ro"
        elif key in ("uid", "gid", "fsname") and equals:
            values[key] = value
        elif word in PASSED_ON:
            passed_on.add(word)
        elif word not in FOR_OTHERS and not key.startswith(("x-", "comment")):
            raise MountError(f"mount option {word!r} is not known")
    uid, gid = _number(values, "uid"), _number(values, "gid")
    return MountOptions(read_only, uid, gid, values.get("fsname"), frozenset(passed_on))


def _number(values: dict[str, str], key: str) -> int | None:
    if key not in values:
        return None
    if not values[key].isascii() or not values[key].isdecimal():
        raise MountError(f"mount option {key}={values[key]!r} is not a number")
    return int(values[key])


def _escaped(name: str) -> str:
    """Escape what libfuse takes for the end of an option; pyfuse3 takes ASCII only."""
    return re.sub(r"([\\,])", r"\\\1", name.encode("ascii", "replace").decode())
