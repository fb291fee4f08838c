"""`handrail map`: propose how to read a partner's export, with a draft. Shows no row's values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from handrail.console import Home, out, print_table, report_user_errors, require_file, say
from handrail.settings import Settings
from records.canonical.supports import SupportCatalog
from records.connectors.partner_files.mapping_proposal import (
    FileProposal,
    draft_mapping,
    propose_file,
)


def propose_mapping(
    files: Annotated[list[Path], typer.Argument(help="CSV files of a partner's export.")],
    organization: Annotated[
        str | None, typer.Option(help="The partner whose files these are.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Where to write the draft, a TOML file.")
    ] = None,
    home: Home = None,
) -> None:
    """Propose how to read a partner's own export: columns, reasons and open questions."""
    with report_user_errors():
        if to is not None and to.exists():
            raise FileExistsError(f"{to} exists already; it will not be overwritten")
        supports = SupportCatalog.of(Settings.from_environment(home).home)
        proposals = [propose_file(require_file(file)) for file in files]
        for proposal in proposals:
            _print_proposal(proposal)
        if to is not None:
            to.write_text(draft_mapping(proposals, organization, supports), encoding="utf-8")
            out.print(
                f"{to} is written; it also contains names of programs and codes of attendance."
                " Review it, answer the questions, then load it with --mapping.",
                highlight=False,
                soft_wrap=True,
            )


def _print_proposal(proposal: FileProposal) -> None:
    columns = Table(
        "column",
        "is",
        "how sure",
        "why",
        title=f"{proposal.file}: {proposal.holds or 'not clear what it holds'}",
    )
    for column in proposal.columns:
        columns.add_row(column.header, column.target or "not read", column.confidence, column.why)
    print_table(columns)
    for question in proposal.questions:
        say(f"? {question}")
