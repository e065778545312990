"""The options of `arrayfs mount` as words of `-o`: `codec=zstd` is `--codec zstd`, for who can only say `-o` (fstab).

What the command line says itself goes before.
"""

from __future__ import annotations

import click

from arrayfs.errors import MountOptionError

# Whoever reads an fstab waits for the mount, and for no one who stays.
_NOT_AS_WORDS = frozenset({"foreground", "options", "help"})


def read_words(ctx: click.Context, _parameter: click.Parameter, text: str) -> tuple[str, ...]:
    """The callback of `-o`: what is ours becomes the default of its option; returns the other words.

    Raises MountOptionError for a value that is missing, or too many.
    """
    from arrayfs.fuse.options import split_options

    defaults = dict(ctx.default_map or {})
    others = []
    for word in split_options(text):
        option = own_option(ctx.command, word)
        if option is None:
            others.append(word)
            continue
        assert option.name is not None
        _, equals, value = word.partition("=")
        if option.is_flag == bool(equals):
            needs = "takes no value" if option.is_flag else "needs a value"
            raise MountOptionError(f"mount option {word!r} {needs}")
        defaults[option.name] = _long(word) not in option.secondary_opts if option.is_flag else value
    ctx.default_map = defaults
    return tuple(others)


def own_option(command: click.Command, word: str) -> click.Option | None:
    """Return the option of the command that a word names, None if it is none of its own. `_` counts as `-`."""
    for parameter in command.params:
        if not isinstance(parameter, click.Option) or parameter.name in _NOT_AS_WORDS:
            continue
        if _long(word) in (*parameter.opts, *parameter.secondary_opts):
            return parameter
    return None


def _long(word: str) -> str:
    return "--" + word.partition("=")[0].replace("_", "-")
