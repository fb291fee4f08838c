"""What every command shares: where words go, how errors are said, and the bar for long work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from records.errors import SaidPlainly

Home = Annotated[Path | None, typer.Option("--home", help="Where Handrail keeps its data (or set HANDRAIL_HOME).")]
out = Console()
err = Console(stderr=True)
Step = Callable[[str, int, int], None]


@contextmanager
def plain_errors() -> Iterator[None]:
    """What may go wrong in ordinary use is one sentence on standard error, and exit status 2."""
    try:
        yield
    except (SaidPlainly, OSError) as error:
        err.print(f"handrail: {error}", highlight=False, soft_wrap=True, markup=False)
        raise typer.Exit(2) from None


@contextmanager
def progress_bar() -> Iterator[Step]:
    """A bar for each step, called with (step, done, total)."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err) as bar:
        tasks: dict[str, TaskID] = {}

        def step(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=max(total, 1))
            bar.update(tasks[name], completed=done)

        yield step


def existing(file: Path) -> Path:
    """The file, if it is one.

    Raises:
        FileNotFoundError: said plainly.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not a file")
    return file
