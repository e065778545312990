"""`arrayfs compact`: versions that nobody needs any more are merged, and what only they had is gone."""

from __future__ import annotations

import time
from dataclasses import asdict

import click

from arrayfs.cli import control, text
from arrayfs.cli.journal_dir import journal_dir_option, open_journal_dir
from arrayfs.cli.options import CODECS, chunk_stats_option
from arrayfs.cli.params import read_size
from arrayfs.cli.progress import bar
from arrayfs.cli.writing import opened_for_writing
from arrayfs.container.compact import Compaction, CompactReport, Keep
from arrayfs.container.container import Container
from arrayfs.container.repack import KEEP, PackOptions

EXAMPLE = """\b
Example:
  arrayfs compact weather.af --keep-last 10 --keep-tags --dry-run
  arrayfs compact weather.af --keep-since 2026-03-01
"""


@click.command(short_help="Merge versions, and win back what only they had.", epilog=EXAMPLE)
@click.argument("container")
@click.option("--keep-last", type=click.IntRange(1), default=1, metavar="K", help="Keep the K newest versions.")
@click.option("--keep-since", metavar="N|TAG|TIME", help="Keep what there was then, and all since.")
@click.option("--keep-tags", is_flag=True, help="Keep all versions that have a tag.")
@click.option("--dry-run", "-n", is_flag=True, help="Change nothing; say what would be merged, and about what is won.")
@click.option("--codec", type=CODECS, help="Compress all blocks like this; by default they stay as they are.")
@click.option(
    "--block-size",
    type=read_size,
    metavar="SIZE",
    help="Pack small chunks together up to this, and divide larger blocks; by default 64KiB, and larger ones stay.",
)
@chunk_stats_option(
    "Have smallest, largest and null count of every chunk, or of none; by default those that are known."
)
@journal_dir_option
@text.json_option
def compact(
    container: str,
    keep_last: int,
    keep_since: str | None,
    keep_tags: bool,
    dry_run: bool,
    codec: str | None,
    block_size: int | None,
    chunk_stats: bool | None,
    journal_dir: str | None,
    as_json: bool,
) -> None:
    """Merge the versions of CONTAINER into the newest one, but for those that are to be kept.

    Chunks that were overwritten, arrays that were removed and blocks that nobody refers to are gone then, identical
    chunks are stored once, and there are fewer files. A merged version is still listed by `arrayfs log`, and can no
    longer be read by itself. Without --keep-... only the newest version stays.

    Versions that a writer at work, or a journal, goes on from are kept in any case. Others may read and write
    meanwhile, and CONTAINER may be a directory where one is mounted: its mounts go on with the new files. Ended early,
    it has changed nothing, or the next open for writing finishes it.
    """
    options = PackOptions(KEEP if codec is None else None if codec == "none" else codec, block_size, chunk_stats)
    if dry_run:
        opened = Container.open(control.container_at(container))
        try:
            report = _compaction(opened, keep_last, keep_since, keep_tags, options, journal_dir).estimate()
        finally:
            opened.close()
    else:
        with opened_for_writing(container) as opened, bar("compacting", wanted=not as_json) as shown:
            compaction = _compaction(opened, keep_last, keep_since, keep_tags, options, journal_dir)
            report = compaction.run(shown.show if shown else lambda *_: None)
    if as_json:
        text.echo_json(asdict(report) | {"dry_run": dry_run})
    else:
        _echo(report, dry_run=dry_run)


def _compaction(
    container: Container,
    last: int,
    since: str | None,
    tags: bool,
    options: PackOptions,
    journal_dir: str | None,
) -> Compaction:
    moment = None if since is None else container.versions().begin_of(since, time.time_ns())
    journals = open_journal_dir(journal_dir, container.store)
    return Compaction(container, Keep(last, moment, tags), options, [] if journals is None else [journals])


def _echo(report: CompactReport, *, dry_run: bool) -> None:
    if report.kept:
        numbers = ", ".join(map(str, report.kept))
        click.echo(f"kept, for somebody builds on them: {text.count(len(report.kept), 'version')} ({numbers})")
    if report.layers_before == report.layers_after and report.size_before == report.size_after:
        click.echo("nothing to do")
        return
    would, about = ("would be ", "about ") if dry_run else ("", "")
    click.echo(
        f"{text.count(len(report.merged), 'version')} {would}merged: {text.count(report.layers_before, 'file')} of "
        f"{text.size(report.size_before)} to {text.count(report.layers_after, 'file')} of {about}"
        f"{text.size(report.size_after)}"
    )
