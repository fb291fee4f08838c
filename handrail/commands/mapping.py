"""`handrail map`: what a partner's export seems to hold, and a first draft of its mapping. Shows no
row's values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from handrail.console import out, print_table, report_user_errors, require_file
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
) -> None:
    """Propose how to read a partner's own export: which column is which, why, and what has to be
    asked.
    """
    with report_user_errors():
        if to is not None and to.exists():
            raise FileExistsError(f"{to} is there already; it is not written over")
        proposed = [propose_file(require_file(file)) for file in files]
        for one in proposed:
            _show(one)
        if to is not None:
            to.write_text(draft_mapping(proposed, organization), encoding="utf-8")
            out.print(
                f"{to} is written; it also holds names of programs and codes of attendance. Read"
                " it, answer what is asked, then load with --mapping.",
                highlight=False,
                soft_wrap=True,
            )


def _show(one: FileProposal) -> None:
    columns = Table(
        "column",
        "is",
        "how sure",
        "why",
        title=f"{one.file}: {one.holds or 'not clear what it holds'}",
    )
    for column in one.columns:
        columns.add_row(column.header, column.target or "not read", column.confidence, column.why)
    print_table(columns)
    for question in one.questions:
        out.print(f"? {question}", highlight=False, soft_wrap=True, markup=False)
