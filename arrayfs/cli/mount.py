"""`arrayfs mount`: a container as a directory, until it is unmounted."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import asdict, replace

import click

from arrayfs.cli.control import read_status
from arrayfs.cli.journal_dir import check_journal_dir, journal_dir_option, open_journal_dir
from arrayfs.cli.mount_words import read_words
from arrayfs.cli.options import block_size_option, codec_option, packed_chunk_stats_option, zarr_format_option
from arrayfs.cli.params import read_duration, read_size
from arrayfs.cli.umount import echo_result
from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.merge import OnConflict
from arrayfs.container.pool import PoolOptions
from arrayfs.container.upkeep import CompactWhen
from arrayfs.errors import ArrayFSError, MissingObjectError, MountError, ObjectExistsError
from arrayfs.store import open_store
from arrayfs.view.autocommit import open_reading_tree, open_writable_tree
from arrayfs.view.tree import Tree, open_tree

EXAMPLE = """\b
Example:
  mkdir data mnt
  arrayfs mount --create data/weather.af mnt
  arrayfs mount --version 2026-03-01 data/weather.af old
  arrayfs mount -o allow_other,umask=027,codec=zstd data/weather.af mnt
At boot, by `mount` and by systemd: docs/MOUNTING.md
"""


def _compact_when(typed: str) -> CompactWhen:
    try:
        return CompactWhen.parse(typed)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@contextlib.contextmanager
def _refusing_by_name() -> Iterator[None]:
    """What the disk refuses is told like any other reason, not as a failure of the daemon."""
    try:
        yield
    except ArrayFSError:
        raise  # some of ours are errors of the system, too
    except OSError as error:
        if error.filename is None:
            raise
        cannot_write = error.errno == errno.EROFS or (
            error.errno == errno.EACCES and not os.path.lexists(error.filename)
        )
        hint = "; --read-only shows what is committed" if cannot_write else ""
        raise MountError(f"{error.filename}: {error.strerror}{hint}") from None


@click.command(short_help="Show a container as files in a directory.", epilog=EXAMPLE)
@click.argument("container")
@click.argument("mountpoint")
@click.option("--create", is_flag=True, help="Make the container if there is none yet.")
@click.option("--read-only", is_flag=True, help="Show what is committed, by others too; change nothing.")
@click.option(
    "--version", "version", metavar="N|TAG|TIME", help="Show this version, read only; `arrayfs log` lists them."
)
@click.option("--foreground", is_flag=True, help="Stay, until unmounted or interrupted (Ctrl-C commits and unmounts).")
@zarr_format_option("Format of metadata that no client wrote.")
@codec_option
@block_size_option
@packed_chunk_stats_option
@click.option(
    "--cache",
    "cache_size",
    type=read_size,
    metavar="SIZE",
    default="128MiB",
    show_default=True,
    help="Unpacked blocks kept in memory.",
)
@click.option(
    "--dirty-limit",
    type=read_size,
    metavar="SIZE",
    default="256MiB",
    show_default=True,
    help="Changed bytes kept in memory before they are packed.",
)
@click.option(
    "--commit-every", type=read_duration, metavar="DURATION", help="Also commit at this interval: 90, 90s, 15min, 2h."
)
@click.option(
    "--journal-every",
    type=read_duration,
    metavar="DURATION",
    default="5s",
    show_default=True,
    help="Without fsync, a loss of power takes what was done in so long at most.",
)
@journal_dir_option
@click.option(
    "--on-conflict",
    type=click.Choice(["fail", "ours"]),
    default="fail",
    show_default=True,
    help="What a commit does where another writer changed the same since: refuse, and keep the work, or win.",
)
@click.option(
    "--refresh",
    type=read_duration,
    metavar="DURATION",
    default="1s",
    show_default=True,
    help="How often to look for what others committed; a mount with changes of its own sees it when it commits.",
)
@click.option(
    "--compact-when",
    type=_compact_when,
    metavar="layers=N,garbage=P%[,keep=K]",
    help="Compact without being asked when there are more than N files, or P percent of their bytes would be won;"
    " looked at every 10 s and at the end. The K newest versions stay, and those with a tag. Off by default: it takes"
    " versions away.",
)
@click.option(
    "-o",
    "options",
    default="",
    metavar="OPTIONS",
    is_eager=True,
    callback=read_words,
    help="A comma list, as in fstab: ro, allow_other, uid=, gid=, umask=, fmask=, dmask=, fsname=, noexec, …; also the"
    ' options of this page, as codec=zstd or compact-when="layers=9,garbage=50%". What is for others (nofail, _netdev,'
    " x-…) is ignored.",
)
@click.option(
    "--log",
    default="",
    metavar="FILE|stderr|syslog",
    help="Where the log goes. Default: standard error with --foreground, else nowhere; `arrayfs status` shows the last"
    " warnings in any case.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What is worth a line in the log.",
)
@click.option("--stats", is_flag=True, help="Count and time operations, for `arrayfs status`; costs a few percent.")
@click.option(
    "--usage-log",
    default="",
    metavar="FILE",
    help="Append each operation to FILE, as one line of JSON; the last 1000 are in .arrayfs/log. Includes --stats.",
)
def mount(
    container: str,
    mountpoint: str,
    create: bool,
    read_only: bool,
    version: str | None,
    foreground: bool,
    zarr_format: int,
    codec: str | None,
    block_size: int,
    chunk_stats: bool | None,
    cache_size: int,
    dirty_limit: int,
    commit_every: float | None,
    journal_every: float,
    journal_dir: str | None,
    on_conflict: OnConflict,
    refresh: float,
    compact_when: CompactWhen | None,
    options: tuple[str, ...],
    log: str,
    log_level: str,
    stats: bool,
    usage_log: str,
) -> None:
    """Show CONTAINER as files in the directory MOUNTPOINT.

    Returns when the mount answers; a daemon then serves it until `arrayfs umount MOUNTPOINT`, which commits what was
    changed. Between commits a journal beside the container keeps what was closed: when the daemon is killed, the next
    mount takes it up. Earlier versions are in MOUNTPOINT/.arrayfs/versions, each a whole tree, read only; --version
    mounts one by its number, its tag, or a time ("2026-03-01", "2026-03-01 12:30", "2h ago": the newest version that
    was there at the end of that day or minute). The mount point must exist and lie outside the container's folder.
    """
    try:
        from arrayfs.fuse.logs import STDERR, SYSLOG
        from arrayfs.fuse.mount import MountRequest, check_mountpoint
        from arrayfs.fuse.mount import mount as mount_tree
        from arrayfs.fuse.options import parse_options
    except ImportError as error:
        needed = "FUSE 3 and its Python module (Debian: apt install fuse3 libfuse3-dev; then pip install pyfuse3 trio)"
        raise MountError(f"mounting needs {needed}: {error}") from error
    chosen = parse_options(options)
    if version is not None and (create or commit_every is not None):
        raise click.UsageError("--version shows what is there, read only: not with --create or --commit-every")
    if read_only or version is not None:
        chosen = replace(chosen, read_only=True)
    url = container if "://" in container else os.path.abspath(container)
    pool = PoolOptions(codec, block_size, dirty_limit, chunk_stats)
    settings = ContainerOptions(pool, cache_size, on_conflict)

    @_refusing_by_name()
    def opened() -> Tree:
        journals = open_journal_dir(journal_folder, open_store(url)[0])
        if chosen.read_only:
            if version is not None:
                return open_tree(url, look=zarr_format, options=settings, version=version)
            return open_reading_tree(url, look=zarr_format, options=settings, journals=journals, refresh_every=refresh)
        return open_writable_tree(
            url,
            look=zarr_format,
            options=settings,
            journals=journals,
            commit_every=commit_every,
            sync_every=journal_every,
            refresh_every=refresh,
            compact_when=compact_when,
        )

    check_mountpoint(mountpoint, url)
    journal_folder = None if journal_dir is None else check_journal_dir(journal_dir, mountpoint, chosen.read_only)
    if create:
        _create_missing(url)
    request = MountRequest(
        url,
        mountpoint,
        opened,
        chosen,
        log=log if log in ("", STDERR, SYSLOG) else os.path.abspath(log),
        log_level=log_level,
        stats=stats,
        usage_log=os.path.abspath(usage_log) if usage_log else "",
    )
    try:
        result = mount_tree(request, foreground=foreground)
    except MissingObjectError as error:
        raise MissingObjectError(f"{error}; --create makes it") from None
    if result is not None:
        echo_result(asdict(result))
        return
    # a mount that ended again at once has nothing to warn of
    with contextlib.suppress(OSError, MountError):
        for warning in read_status(mountpoint)["warnings"]:
            click.echo(f"arrayfs: warning: {warning}", err=True)


def _create_missing(url: str) -> None:
    store, base = open_store(url)
    if base not in store.list():
        with contextlib.suppress(ObjectExistsError):  # somebody else was faster
            Container.create(url)
