"""`arrayfs convert`: arrays that a client encoded become arrays that the container stores as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import click

from arrayfs.cli import control, text
from arrayfs.cli.commit import echo_commit, reported
from arrayfs.cli.options import codec_option
from arrayfs.cli.progress import bar
from arrayfs.cli.writing import opened_for_writing
from arrayfs.container.commit import CommitReport
from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.pool import PoolOptions
from arrayfs.copying.decoding import ZarrDecoder, require
from arrayfs.copying.walking import Chosen
from arrayfs.errors import ArrayNotFoundError, UnconvertibleError
from arrayfs.view.conversion import Conversion, arrays_of, is_native, plan
from arrayfs.view.converting import Converted, encoded_size, planned
from arrayfs.view.converting import convert as convert_array
from arrayfs.view.tree import Tree

EXAMPLE = """\b
Example:
  arrayfs convert weather.af --all --dry-run
  arrayfs convert weather.af temperature ocean/salinity --codec zstd
"""

# Nothing is changed twice here, so there is no use in keeping much of it unpacked.
DIRTY_LIMIT = 64 << 20


@click.command(short_help="Store what a client encoded as numbers.", epilog=EXAMPLE)
@click.argument("container")
@click.argument("arrays", metavar="[ARRAY]...", nargs=-1)
@click.option(
    "--all", "everything", is_flag=True, help="All arrays; those that cannot be converted are named, and stay."
)
@click.option(
    "--dry-run", "-n", is_flag=True, help="Change nothing; say which would be converted, and which cannot be."
)
@codec_option
@click.option("-m", "--message", help="Why; by default `convert` and what was converted.")
@text.json_option
def convert(
    container: str,
    arrays: tuple[str, ...],
    everything: bool,
    dry_run: bool,
    codec: str | None,
    message: str | None,
    as_json: bool,
) -> None:
    """Decode the chunks of opaque arrays of CONTAINER and store them as numbers, as a new version.

    A program that compresses its chunks itself (zarr-python does, unless told `compressors=None`), shards them, or
    stores big-endian numbers, makes opaque arrays: CONTAINER keeps their files bit for bit, but the Rust crate, `info`,
    `diff --values` and programs that read raw chunks see no numbers. Converted, an array has the same values, type,
    shape, names, attributes and fill value; its document says that chunks are raw, and where it was sharded, the chunks
    within a shard are its chunks. All chunks are read back before the old ones go; earlier versions keep them.

    ARRAY is an array or a group with all that is in it. What cannot be kept exactly (float16, complex, structured
    types, text of fixed length, times other than in ns, codecs that are not known) is refused, with the reason: with
    --all and --dry-run such arrays are listed, otherwise nothing is converted, and the exit code is 1.

    It is one commit: when it ends early, nothing has happened. Needs zarr-python (pip install 'zarr>=3.0.8').
    CONTAINER may also be a directory where one is mounted; the mount shows the new version as any other that somebody
    commits.
    """
    if bool(arrays) == everything:
        raise click.UsageError("name arrays, or all of them with --all")
    require()
    chosen = Chosen(arrays)
    if dry_run:
        opened = Container.open(control.container_at(container))
        try:
            plans, refused = _plans(opened, chosen)
            _echo([planned(each) for each in plans], refused, None, dry_run=True, as_json=as_json)
        finally:
            opened.close()
        return
    options = ContainerOptions(PoolOptions(codec, dirty_limit=DIRTY_LIMIT))
    with opened_for_writing(container, options) as opened:
        plans, refused = _plans(opened.at(opened.versions().newest), chosen)
        if refused and not everything:
            raise UnconvertibleError("; ".join(f"{path or '/'}: {reason}" for path, reason in refused.items()))
        done = _convert(opened, plans, as_json=as_json)
        names = ", ".join(each.path or "/" for each in done) if len(done) < 4 else text.count(len(done), "array")
        report = opened.commit(message if message is not None else f"convert {names}") if done else None
    _echo(done, refused, report, dry_run=False, as_json=as_json)


def _plans(container: Container, chosen: Chosen) -> tuple[list[Conversion], dict[str, str]]:
    """What becomes of the chosen arrays, and why others cannot be converted, by path.

    Raises ArrayNotFoundError for a name that is no array and no group with one.
    """
    tree = Tree(container)
    found = dict(arrays_of(tree))
    missing = [name for name in chosen.names if not any(map(Chosen([name]).has, found))]
    if missing:
        raise ArrayNotFoundError(f"no array with a document, or group of such, {missing[0]!r}")
    plans, refused = [], {}
    for path, directory in found.items():
        if is_native(tree, directory) or not chosen.has(path):
            continue
        try:
            conversion = plan(tree, directory)
            ZarrDecoder(conversion.form.decoding)
        except UnconvertibleError as error:
            refused[path] = str(error)
        else:
            plans.append(conversion)
    return plans, refused


def _convert(container: Container, plans: Sequence[Conversion], *, as_json: bool) -> list[Converted]:
    total, before = sum(map(encoded_size, plans)), 0
    done = []
    with bar("converting", wanted=not as_json) as shown:

        def progress(size: int) -> None:
            nonlocal before
            before += size
            if shown is not None:
                shown.show(before, total)

        for each in plans:
            done.append(convert_array(container, each, ZarrDecoder, progress))
    return done


def _echo(
    results: Sequence[Converted], refused: dict[str, str], report: CommitReport | None, *, dry_run: bool, as_json: bool
) -> None:
    committed = reported(report)
    if as_json:
        left = [{"array": path, "reason": reason} for path, reason in refused.items()]
        arrays = [asdict(each) for each in results]
        text.echo_json({"dry_run": dry_run, "converted": arrays, "refused": left, "committed": committed})
        return
    if results:
        head = ("array", "was encoded by", "bytes", "chunk shape now")
        rows = [
            (each.path or "/", each.codecs or "nothing", text.size(each.encoded), text.shape(each.chunk_shape))
            for each in results
        ]
        text.echo_table([head, *rows], "llrr")
    for path, reason in refused.items():
        click.echo(f"stays opaque: {path or '/'}: {reason}")
    if dry_run:
        click.echo(f"{text.count(len(results), 'array')} would be converted")
    elif not results:
        click.echo("nothing to do")
    else:
        echo_commit(committed, as_json=False)
