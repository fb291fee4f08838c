"""`handrail disclosures`: the log of who saw which student's record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handrail.console import Home, err, existing, out, plain_errors
from handrail.settings import Settings
from records.database import open_database
from records.disclosures import export_head, verify

app = typer.Typer(no_args_is_help=True, help="The log of who saw which student's record.")


@app.command("verify")
def verify_log(
    head: Annotated[Path | None, typer.Option(help="A head that was exported earlier, to compare with.")] = None,
    home: Home = None,
) -> None:
    """Read the whole log and find any row that was edited, removed, added or moved. Exit 1 when one is found."""
    with plain_errors():
        if head is not None:
            existing(head)
        outcome = verify(open_database(Settings.from_environment(home).database_url), head)
    if not outcome.ok:
        err.print(f"handrail: the disclosure log does not hold: {outcome.problem}", highlight=False, soft_wrap=True)
        raise typer.Exit(1)
    out.print(f"The disclosure log holds: {outcome.rows:,} rows.", highlight=False)


@app.command("head")
def head_of_log(
    file: Annotated[Path, typer.Argument(help="Where to write the head.")], home: Home = None
) -> None:
    """Write the log's last hash to a file, to be kept away from this machine."""
    with plain_errors():
        export_head(open_database(Settings.from_environment(home).database_url), file)
    out.print(f"Wrote {file}.", highlight=False)
