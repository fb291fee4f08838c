"""What every command shares: where words go, how errors are said, and the bar for long work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from records.system.errors import UserError
from records.system.progress import ProgressCallback

Home = Annotated[
    Path | None,
    typer.Option("--home", help="Where Handrail keeps its data (or set HANDRAIL_HOME)."),
]
out = Console()
err = Console(stderr=True)
_UNLIMITED_WIDTH = 10_000
_FRAME_LINES, _MAX_LINES_PER_ROW = 7, 3
"""Lines around the rows of a table, and of a row on average, beyond which it is no longer read at a
glance."""


@contextmanager
def report_user_errors() -> Iterator[None]:
    """Report an expected failure as one sentence on standard error, with exit status 2."""
    try:
        yield
    except (UserError, OSError) as error:
        err.print(f"handrail: {error}", highlight=False, soft_wrap=True, markup=False)
        raise typer.Exit(2) from None


@contextmanager
def progress_bar() -> Iterator[ProgressCallback]:
    """A bar for each step of long work, called with (step, done, total)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as bar:
        tasks: dict[str, TaskID] = {}

        def progress(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=max(total, 1))
            bar.update(tasks[name], completed=done if total else 1)

        yield progress


def say(text: str) -> None:
    """Print a sentence as it is: not wrapped, and with nothing in it taken for markup."""
    out.print(text, highlight=False, soft_wrap=True, markup=False)


def require_file(file: Path) -> Path:
    """The file, if it is one.

    Raises:
        FileNotFoundError: said plainly.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not a file")
    return file


def print_table(table: Table) -> None:
    """Print a table; in a terminal too narrow for it, each row as lines of its own."""
    min_width = Measurement.get(out, out.options.update(width=_UNLIMITED_WIDTH), table).minimum
    fits = min_width <= out.width
    if fits and len(out.render_lines(table)) <= _FRAME_LINES + _MAX_LINES_PER_ROW * table.row_count:
        out.print(table)
        return
    if table.title:
        out.print(table.title, style="italic")
    headers = [column.header for column in table.columns[1:]]
    for title_cell, *cells in zip(*(column.cells for column in table.columns), strict=True):
        row = Table.grid(padding=(0, 2))
        for head, cell in zip(headers, cells, strict=True):
            if cell:
                row.add_row(head, cell)
        out.print(title_cell, style="bold", highlight=False)
        out.print(Padding(row, (0, 0, 0, 2)))
