"""The comma list after `-o`: what is ours, what goes on to the kernel, what an fstab says that is not for us.

mount(8) hands the list on as it stands in fstab: a comma within double quotes or after a backslash is part of a value.
"""

from __future__ import annotations

import grp
import pwd
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from arrayfs.errors import MountOptionError
from arrayfs.fuse.masks import Masks

PASSED_ON: Final = frozenset(
    {"allow_other", "allow_root", "auto_unmount", "default_permissions", "nosuid", "suid", "nodev", "dev", "noexec"}
    | {"exec", "atime", "noatime", "sync", "async", "dirsync"}
)

# Words of mount(8), fstab(5) and systemd.mount(5) about when and by whom, which say nothing about how, and about times
# of access, which there are none of.
FOR_OTHERS: Final = frozenset(
    {"defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "_netdev", "nofail", "relatime"}
    | {"norelatime", "strictatime", "nostrictatime", "diratime", "nodiratime", "lazytime", "nolazytime"}
    | {"silent", "loud"}
)
_FOR_OTHERS_WITH_VALUE: Final = frozenset({"user", "comment", "helper", "uhelper"})

_OURS: Final = frozenset({"uid", "gid", "umask", "fmask", "dmask", "fsname"})

_NOBODYS_ID: Final = (1 << 32) - 1  # that of no user: chown(2) takes it for "leave it"

_REMOUNT: Final = "remount: the options of a mount cannot be changed; unmount it and mount it again"

# A piece of a word: quoted text, or letters, one of which may be escaped. fstab's \040 for a space is an escape too.
_PIECE: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|((?:[^,"\\]|\\.)+)', re.DOTALL)
_ESCAPED: Final = re.compile(r"\\([01][0-7]{2}|.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class MountOptions:
    """read_only: `ro`, `rw` or neither. owner_uid, owner_gid: shown as every file's owner; None: who mounts.

    masks: what modes are shown instead of the stored ones. passed_on: options for the kernel and libfuse, as they were
    given.
    """

    read_only: bool | None = None
    owner_uid: int | None = None
    owner_gid: int | None = None
    fsname: str | None = None
    masks: Masks | None = None
    passed_on: frozenset[str] = frozenset()

    @property
    def kernel_checks_modes(self) -> bool:
        """Whether `default_permissions` holds: it must where other users can come in, and where the modes that are
        shown are not those of the tree.
        """
        return self.masks is not None or bool(self.passed_on & {"allow_other", "allow_root", "default_permissions"})

    def for_libfuse(self, container: str, *, read_only: bool) -> set[str]:
        """Return the options for `pyfuse3.init`."""
        name = re.sub(r"([\\,])", r"\\\1", self.fsname or container)  # what libfuse takes for the end of an option
        options = {_Utf8(f"fsname={name}"), "subtype=arrayfs", *self.passed_on}
        if self.kernel_checks_modes:
            options.add("default_permissions")
        if read_only:
            options.add("ro")
        return options


class _Utf8(str):
    """An option that pyfuse3 does not encode as ASCII, as it does: `mount -a` compares the source with its fstab."""

    __slots__ = ()

    def encode(self, _encoding: str = "", _errors: str = "") -> bytes:
        return super().encode("utf-8", "surrogateescape")


def split_options(text: str) -> list[str]:
    """Return the words of a comma list, without the quotes and backslashes that keep their commas.

    Raises MountOptionError if a quoted text does not end.
    """
    words, word, at = [], "", 0
    while at < len(text):
        piece = _PIECE.match(text, at)
        if piece is not None:
            word += _unescaped(piece[1] if piece[2] is None else piece[2])
            at = piece.end()
        elif text[at] == ",":
            words.append(word)
            word, at = "", at + 1
        else:
            raise MountOptionError(f"mount options {text!r}: a quoted text does not end, or a backslash ends it all")
    return [word.strip() for word in [*words, word] if word.strip()]


def join_options(words: Iterable[str]) -> str:
    """Return the comma list that `split_options` makes these words of."""
    return ",".join(re.sub(r'([\\,"])', r"\\\1", word) for word in words)


def parse_options(words: Iterable[str]) -> MountOptions:
    """Read the words of `-o`; later ones win. Raises MountOptionError that names what is not known."""
    read_only: bool | None = None
    values: dict[str, str] = {}
    passed_on = set()
    for word in words:
        key, equals, value = word.partition("=")
        if word in ("ro", "rw"):
            read_only = word == "ro"
        elif key in _OURS and equals:
            values[key] = value
        elif word in PASSED_ON:
            passed_on.add(word)
        elif word == "remount":
            raise MountOptionError(_REMOUNT)
        elif not is_for_others(word):
            raise MountOptionError(f"mount option {word!r} is not known")
    return MountOptions(
        read_only,
        _id(values, "uid", lambda name: pwd.getpwnam(name).pw_uid),
        _id(values, "gid", lambda name: grp.getgrnam(name).gr_gid),
        values.get("fsname"),
        _masks(values),
        frozenset(passed_on),
    )


def is_for_others(word: str) -> bool:
    """Whether a word is about when and by whom something is mounted, not how."""
    key, equals, _ = word.partition("=")
    return word in FOR_OTHERS or key.startswith(("x-", "X-")) or (bool(equals) and key in _FOR_OTHERS_WITH_VALUE)


def is_known(word: str) -> bool:
    """Whether `parse_options` takes a word, whatever its value."""
    key, equals, _ = word.partition("=")
    return word in PASSED_ON | {"ro", "rw", "remount"} or (bool(equals) and key in _OURS) or is_for_others(word)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)) if len(found[1]) == 3 else found[1], text)


def _id(values: dict[str, str], key: str, lookup: Callable[[str], int]) -> int | None:
    """Return the number that `uid=` or `gid=` says, itself or by a name."""
    if key not in values:
        return None
    value = values[key]
    if re.fullmatch("[0-9]{1,10}", value) and int(value) < _NOBODYS_ID:
        return int(value)
    try:
        return lookup(value)
    except (KeyError, ValueError):
        raise MountOptionError(f"mount option {key}={value!r} is neither a number nor a name here") from None


def _masks(values: dict[str, str]) -> Masks | None:
    if not values.keys() & {"umask", "fmask", "dmask"}:
        return None
    umask = _mask(values, "umask", 0)
    return Masks(_mask(values, "fmask", umask), _mask(values, "dmask", umask))


def _mask(values: dict[str, str], key: str, otherwise: int) -> int:
    value = values.get(key)
    if value is None:
        return otherwise
    if not re.fullmatch("[0-7]{1,4}", value):
        raise MountOptionError(f"mount option {key}={value!r} is not an octal number like 022")
    return int(value, 8) & 0o777
