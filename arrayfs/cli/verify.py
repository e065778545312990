"""`arrayfs verify`: read everything and say what is broken."""

from __future__ import annotations

from dataclasses import asdict

import click

from arrayfs.cli import text
from arrayfs.cli.exit_codes import ExitCode
from arrayfs.container.verify import verify as findings_of
from arrayfs.errors import ArrayFSError


@click.command(short_help="Read everything and say what is broken.")
@click.argument("container")
@text.json_option
@click.pass_context
def verify(ctx: click.Context, container: str, as_json: bool) -> None:
    """Check every block, chunk and index of CONTAINER; change nothing.

    An error means that content cannot be had or may be wrong; a warning, that something is odd and harmless. Each names
    the file, the array and the chunk. Exit code 0: no errors; 3: errors; 1: it could not be checked.

    Example: arrayfs verify weather.af
    """
    numbers = {"error": 0, "warning": 0}
    listed = []
    try:
        for finding in findings_of(container):
            numbers[finding.severity] += 1
            listed.append(asdict(finding))
            if not as_json:
                click.echo(str(finding))
    except (ArrayFSError, OSError) as error:
        click.echo(f"arrayfs: {container} could not be checked: {error}", err=True)
        ctx.exit(ExitCode.FAILED)
    if as_json:
        text.echo_json({"errors": numbers["error"], "warnings": numbers["warning"], "findings": listed})
    else:
        click.echo(f"{container}: {text.count(numbers['error'], 'error')}, {text.count(numbers['warning'], 'warning')}")
    ctx.exit(ExitCode.DAMAGED if numbers["error"] else ExitCode.DONE)
