"""The group of all commands, and the one place where an error becomes a line on standard error and an exit code."""

from __future__ import annotations

import errno
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from arrayfs.cli.blame import blame
from arrayfs.cli.commit import commit
from arrayfs.cli.compact import compact
from arrayfs.cli.convert import convert
from arrayfs.cli.create import create
from arrayfs.cli.diff import diff, show
from arrayfs.cli.dump import dump
from arrayfs.cli.estimate import estimate
from arrayfs.cli.exit_codes import MEANING, ExitCode
from arrayfs.cli.export import export
from arrayfs.cli.import_ import import_
from arrayfs.cli.info import info
from arrayfs.cli.journal import journal
from arrayfs.cli.log import log
from arrayfs.cli.ls import ls
from arrayfs.cli.mount import mount
from arrayfs.cli.mount_helper import is_call_of_mount_fuse, run_for_mount_fuse
from arrayfs.cli.repair import repair
from arrayfs.cli.restore import restore
from arrayfs.cli.status import status
from arrayfs.cli.sync import sync
from arrayfs.cli.tag import tag
from arrayfs.cli.umount import umount
from arrayfs.cli.verify import verify
from arrayfs.errors import ArrayFSError


class Failure(click.ClickException):
    """What a command could not do, as one line."""

    exit_code = ExitCode.FAILED

    def show(self, file: Any = None) -> None:
        click.echo(f"arrayfs: {' '.join(self.message.split())}", err=True, file=file)


class Interrupted(Failure):
    """Ctrl-C."""

    exit_code = ExitCode.INTERRUPTED


class Commands(click.Group):
    """A group whose commands may raise what the packages below raise."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None
        except ArrayFSError as error:
            # str() of a KeyError has quotes around it
            raise Failure(str(error.args[0]) if len(error.args) == 1 else str(error)) from error
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # whoever read our output has seen enough: click ends quietly
            raise Failure(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from error


def _version() -> str:
    try:
        return version("arrayfs")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "not installed"


_CODES = "\n".join(f"  {code:<4} {meaning}" for code, meaning in MEANING.items())

EPILOG = f"""\b
Exit codes:
{_CODES}

\b
Example:
  mkdir data mnt
  arrayfs mount --create data/weather.af mnt
  python -c 'import zarr; zarr.create_array("mnt/t", shape=(365, 721), dtype="f4")'
  arrayfs umount mnt
"""


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_version(), prog_name="arrayfs")
def commands() -> None:
    """Mount one small set of files as a writable Zarr store.

    A container (weather.af and its sidecars weather.1.af, weather.2.af, …) holds many n-dimensional arrays in
    compressed blocks. Mounted, every array is a directory of chunk files and JSON that any Zarr library, and any tool
    that knows files, can list, read, write and remove. What was changed becomes a new sidecar at each commit and at the
    unmount; files that are there are never written again.
    """


COMMANDS = (
    *(mount, umount, commit, sync, status),
    *(create, ls, info, dump),
    *(log, show, diff, blame, restore, tag),
    *(import_, export, estimate),
    *(compact, convert, verify, repair, journal),
)

for command in COMMANDS:
    commands.add_command(command)


def main() -> None:
    """Run the command line of this process."""
    if is_call_of_mount_fuse(sys.argv[1:], list(commands.commands)):
        sys.exit(run_for_mount_fuse(sys.argv[1:]))
    commands(prog_name="arrayfs")
