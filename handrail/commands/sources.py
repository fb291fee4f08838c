"""`handrail sources`: what the words of a district's own system mean, before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from handrail.console import Home, out, print_table, progress_bar, report_user_errors
from handrail.settings import Settings
from records.connectors.edfi.files import EdFiFiles
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.profiles.profile import SourceProfile, read_profile
from records.connectors.profiles.survey import CodeUse, draft_profile, survey_codes
from records.connectors.protocol import Connector, SourceRefused
from records.connectors.zip_files import open_source_folder
from records.system.files import write_atomic

PROFILED_SOURCES = ("edfi", "oneroster")
app = typer.Typer(no_args_is_help=True, help="What the words of a source mean.")


@app.callback()
def sources() -> None:
    """What the words of a source mean."""


@app.command("profile")
def profile_source(
    source: Annotated[str, typer.Argument(help=f"Kind of source: {', '.join(PROFILED_SOURCES)}.")],
    directory: Annotated[Path, typer.Argument(help="Folder or ZIP file of the source's files.")],
    home: Home = None,
) -> None:
    """List every code that a source uses, and draft the profile that explains them.

    Nothing is loaded. Exit 1 if there are codes that nobody has explained.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        profile = read_profile(_known(source), settings.home)
        settings.home.mkdir(parents=True, exist_ok=True)
        with progress_bar() as progress, open_source_folder(directory, settings.home) as folder:
            uses = survey_codes(_connector(source, profile), folder, progress)
        file = settings.home / "profiles" / f"{source}.toml"
        unexplained = [use for use in uses if not use.understood]
        _print_codes(uses)
        if not unexplained:
            out.print("Every code is explained.", highlight=False)
            return
        if file.exists():
            where = f"Say in {file} what the codes marked ? mean."
        else:
            write_atomic(file, draft_profile(uses, settings.now().date()))
            where = f"{file} is written, with a line for each code marked ?. Complete it."
    out.print(where, highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def _known(source: str) -> str:
    if source not in PROFILED_SOURCES:
        raise SourceRefused(
            f"there is no source {source!r} with codes to read from files; the sources are:"
            f" {', '.join(PROFILED_SOURCES)}"
        )
    return source


def _connector(source: str, profile: SourceProfile) -> Connector:
    return EdFiFiles(profile) if source == "edfi" else OneRosterFiles(profile=profile)


def _print_codes(uses: list[CodeUse]) -> None:
    codes = Table("column", "code", "count", "share", "explained", title="codes of the source")
    for use in uses:
        codes.add_row(
            use.column,
            use.code or "(empty)",
            f"{use.count:,}",
            f"{use.share:.1%}",
            "yes" if use.understood else "?",
        )
    print_table(codes)
