"""`mount.arrayfs` and `umount.arrayfs`: what mount(8) and umount(8) call for a file system that is not the kernel's.

mount(8) runs `mount.arrayfs CONTAINER DIRECTORY [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]`, umount(8) runs
`umount.arrayfs DIRECTORY [-flnrv] [-N NAMESPACE] [-t TYPE]`. For `-t fuse.arrayfs`, mount(8) runs mount.fuse3, and that
`arrayfs CONTAINER DIRECTORY -o OPTIONS`. Exit codes are theirs, not those of `arrayfs`.
"""

from __future__ import annotations

import getopt
import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import asdict
from enum import IntEnum

import click

from arrayfs.cli.umount import echo_result
from arrayfs.errors import ArrayFSError, MountError, MountOptionError

# The one place in which umount(8) looks.
_UMOUNT_HELPER = "/sbin/umount.arrayfs"


class HelperCode(IntEnum):
    """Exit codes of mount(8) and umount(8)."""

    DONE = 0
    USAGE = 1
    SYSTEM = 2
    INTERRUPTED = 8
    FAILED = 32


def mount_main() -> None:
    """The console script `mount.arrayfs`."""
    sys.exit(run("mount.arrayfs", mount_container, sys.argv[1:]))


def umount_main() -> None:
    """The console script `umount.arrayfs`."""
    sys.exit(run("umount.arrayfs", umount_directory, sys.argv[1:]))


def is_call_of_mount_fuse(arguments: Sequence[str], commands: Container[str]) -> bool:
    """Whether `arrayfs` was called as mount.fuse3 does it: `CONTAINER DIRECTORY -o OPTIONS`."""
    return len(arguments) == 4 and arguments[2] == "-o" and arguments[0] not in commands


def run_for_mount_fuse(arguments: Sequence[str]) -> int:
    """Do what mount.fuse3 asks for; returns the exit code."""
    return run("mount.arrayfs", mount_container, arguments)


def run(name: str, work: Callable[[str, Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Do the work; errors become a line on standard error and an exit code, as the table in docs/MOUNTING.md says."""
    try:
        return work(name, arguments)
    except (getopt.GetoptError, MountOptionError) as error:
        said, code = str(error), HelperCode.USAGE
    except click.ClickException as error:
        said, code = error.format_message(), HelperCode.USAGE
    except KeyboardInterrupt:
        said, code = "interrupted", HelperCode.INTERRUPTED
    except ArrayFSError as error:
        said, code = str(error), HelperCode.FAILED
    except (OSError, MemoryError) as error:
        said, code = str(error), HelperCode.SYSTEM
    click.echo(f"{name}: {' '.join(said.split())}", err=True)
    return code


def mount_container(name: str, arguments: Sequence[str]) -> int:
    """What `mount.arrayfs` does; returns the exit code."""
    from arrayfs.cli.mount import mount
    from arrayfs.cli.mount_words import own_option
    from arrayfs.fuse.options import is_for_others, is_known, join_options, parse_options, split_options

    flags, (container, directory) = _parse(name, arguments, "CONTAINER DIRECTORY", "sfnvrwo:")
    words = split_options(",".join(value for flag, value in flags if flag == "-o"))
    words += [{"-r": "ro", "-w": "rw"}[flag] for flag, _ in flags if flag in ("-r", "-w")]
    users = [word.removeprefix("setuid=") for word in words if word.startswith("setuid=")]
    words = [word for word in words if not word.startswith("setuid=")]
    if ("-s", "") in flags:
        words = [word for word in words if is_known(word) or own_option(mount, word)]
    context = mount.make_context(name, ["-o", join_options(words), "--", container, directory])
    parse_options(context.params["options"])  # before any process is begun, and for `mount -f`, which begins none
    if ("-f", "") in flags:
        return HelperCode.DONE
    if users:
        _become(users[-1])
    with context:
        mount.invoke(context)
    if os.geteuid() == 0 and ("-n", "") not in flags:
        _remember(directory, filter(is_for_others, words))
    return HelperCode.DONE


def umount_directory(name: str, arguments: Sequence[str]) -> int:
    """What `umount.arrayfs` does; returns the exit code."""
    from arrayfs.fuse import mountinfo
    from arrayfs.fuse.unmount import detach, umount

    flags, (directory,) = _parse(name, arguments, "DIRECTORY", "flnrv")
    path = mountinfo.resolve(directory)
    before = mountinfo.mount_at(path)
    if ("-f", "") in flags and before is not None and before.kind == mountinfo.KIND:
        mountinfo.abort_connection(before)
    if ("-l", "") in flags:
        detach(directory)
        return HelperCode.DONE
    try:
        result = umount(directory)
    except MountError as error:
        if before is None or mountinfo.mount_at(path) == before:
            raise
        click.echo(f"{name}: {error}", err=True)
        return HelperCode.SYSTEM  # it is unmounted, but what it was to commit is not
    if ("-v", "") in flags:
        echo_result(asdict(result))
    return HelperCode.DONE


def _parse(name: str, arguments: Sequence[str], places: str, letters: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Return flags with values, and the places. Raises GetoptError."""
    flags, found = getopt.gnu_getopt(list(arguments), f"{letters}N:t:")
    if len(found) != len(places.split()):
        raise getopt.GetoptError(f"wanted: {name} {places} [-{letters.removesuffix('o:')}] [-o OPTIONS]")
    if any(flag == "-N" for flag, _ in flags):
        raise getopt.GetoptError("-N: other namespaces are not entered; use nsenter --mount=FILE")
    return flags, found


def _become(user: str) -> None:
    """Go on as another user; only root may."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise MountOptionError(f"mount option setuid={user!r}: there is no such user") from None
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ["HOME"] = entry.pw_dir
    os.environ.pop("XDG_RUNTIME_DIR", None)


def _remember(directory: str, words: Iterable[str]) -> None:
    """Have umount(8) call `umount.arrayfs`, which waits for the commit.

    Of an absolute path it asks the kernel's statfs only, which says `fuse`, and calls nobody, unless its own table
    (/run/mount/utab) has the mount: `mount -i -f` writes there, and nothing else. mount(8) then leaves the line as it
    is, so it has all words that it would have put there. (util-linux, libmount/src/context_umount.c)
    """
    from arrayfs.fuse import mountinfo
    from arrayfs.fuse.options import join_options

    path = mountinfo.resolve(directory)
    entry = mountinfo.mount_at(path)
    if entry is None or not os.path.exists(_UMOUNT_HELPER):
        return
    options = join_options(["helper=arrayfs", "uhelper=arrayfs", *words])
    command = ["mount", "--no-canonicalize", "-i", "-f", "-t", entry.kind, "-o", options, "--", entry.source, path]
    subprocess.run(command, check=False, capture_output=True)
