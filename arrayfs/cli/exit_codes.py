"""What a command's exit code means: the same for every command. The README shows this table."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """MEANING has a line for each, for people."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    DAMAGED = 3
    INTERRUPTED = 130


MEANING = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "failed, or could not be checked; one line on standard error says why",
    ExitCode.USAGE: "wrong usage; nothing was done",
    ExitCode.DAMAGED: (
        "done, and damage was found: `verify`, `import --verify`; `repair` that had to leave something out"
    ),
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C (`mount --foreground` then commits, unmounts and is done: 0)",
}
