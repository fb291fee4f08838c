"""`handrail agreements`: the texts that say who may see what, checked, put in force and ended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handrail.console import Home, existing, out, plain_errors
from handrail.settings import Settings
from records.agreements import Agreement, parse_agreement, revoke, save_agreement
from records.database import open_database

app = typer.Typer(no_args_is_help=True, help="The agreements that say who may see what.")
File = Annotated[Path, typer.Argument(help="An agreement as a TOML file.")]


@app.command("check")
def check(file: File) -> None:
    """Read an agreement as the law asks for it; name the line of the first thing that is missing or wrong."""
    with plain_errors():
        agreement = _read(file)
    categories = ", ".join(sorted(agreement.categories))
    out.print(f"{agreement.agreement_id} version {agreement.version} is whole: {agreement.organization_id} may see "
              f"{categories} for: {agreement.purpose}, from {agreement.start} to {agreement.end} "
              f"({agreement.legal_basis}).", highlight=False)  # fmt: skip


@app.command("add")
def add(file: File, home: Home = None) -> None:
    """Put an agreement, or a newer version of one, in force. Its organisation must be known."""
    with plain_errors():
        agreement = _read(file)
        save_agreement(open_database(Settings.from_environment(home).database_url), agreement)
    out.print(f"{agreement.agreement_id} version {agreement.version} is in force from {agreement.start} to "
              f"{agreement.end}.", highlight=False)  # fmt: skip


@app.command("revoke")
def end(agreement_id: Annotated[str, typer.Argument(help="Which agreement.")], home: Home = None) -> None:
    """End an agreement at once: the next request sees nothing by it."""
    with plain_errors():
        settings = Settings.from_environment(home)
        revoke(open_database(settings.database_url), agreement_id, settings.now())
    out.print(f"{agreement_id} is revoked. Nothing is shown by it any more.", highlight=False)


def _read(file: Path) -> Agreement:
    return parse_agreement(existing(file).read_text(encoding="utf-8"), file.name)
