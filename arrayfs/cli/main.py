"""The group of all commands, and the one place where an error becomes a line on standard error and an exit code."""

from __future__ import annotations

import errno
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from keyword import iskeyword
from typing import Any

import click

from arrayfs.cli.exit_codes import MEANING, ExitCode
from arrayfs.cli.mount_helper import is_call_of_mount_fuse, run_for_mount_fuse
from arrayfs.errors import ArrayFSError


class Failure(click.ClickException):
    """What a command could not do, as one line."""

    exit_code = ExitCode.FAILED

    def show(self, file: Any = None) -> None:
        click.echo(f"arrayfs: {' '.join(self.message.split())}", err=True, file=file)


class Interrupted(Failure):
    """Ctrl-C."""

    exit_code = ExitCode.INTERRUPTED


# Each in the module of its name, which is read when it is called: all of them, with numpy, take longer than most do.
COMMANDS = frozenset(
    (
        *("mount", "umount", "commit", "sync", "status"),
        *("create", "ls", "info", "dump"),
        *("log", "show", "diff", "blame", "restore", "tag"),
        *("import", "export", "estimate"),
        *("compact", "convert", "verify", "repair", "journal"),
    )
)
_ELSEWHERE = {"show": "diff"}


class Commands(click.Group):
    """A group whose commands may raise what the packages below raise."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command: click.Command = getattr(import_module(f"arrayfs.cli.{_ELSEWHERE.get(name, name)}"), name)
        return command

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


def main() -> None:
    """Run the command line of this process."""
    if is_call_of_mount_fuse(sys.argv[1:], COMMANDS):
        sys.exit(run_for_mount_fuse(sys.argv[1:]))
    commands(prog_name="arrayfs")
