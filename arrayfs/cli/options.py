"""Options that several commands have: how new blocks are made, and the format of documents that no client wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from arrayfs.cli.params import read_size

CODECS = click.Choice(["none", "lz4", "zstd"])


def _codec(_ctx: click.Context, _param: click.Parameter, typed: str) -> str | None:
    return None if typed == "none" else typed


def _number(_ctx: click.Context, _param: click.Parameter, typed: str) -> int:
    return int(typed)


codec_option = click.option(
    "--codec", type=CODECS, default="lz4", show_default=True, callback=_codec, help="Compression of new blocks."
)

block_size_option = click.option(
    "--block-size",
    type=read_size,
    metavar="SIZE",
    default="64KiB",
    show_default=True,
    help="Small chunks are packed together up to this.",
)


def chunk_stats_option(text: str) -> Callable[[Any], Any]:
    """`--chunk-stats` or `--no-chunk-stats`; None if neither is given."""
    return click.option("--chunk-stats/--no-chunk-stats", default=None, help=text)


packed_chunk_stats_option = chunk_stats_option(
    "Keep smallest, largest and null count of each chunk of numbers that is packed; by default as the newest version"
    " has it."
)


def zarr_format_option(text: str) -> Callable[[Any], Any]:
    """`--zarr-format`: the number 2 or 3."""
    return click.option(
        "--zarr-format", type=click.Choice(["2", "3"]), default="3", show_default=True, callback=_number, help=text
    )
