"""`handrail sources`: what the words of a district's own system mean, before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from handrail.commands.records import API_CONNECTORS, FILE_SOURCES
from handrail.console import (
    Home,
    out,
    print_table,
    progress_bar,
    report_user_errors,
    require_file,
    say,
)
from handrail.settings import Settings
from records.connectors.edfi.files import EdFiFiles
from records.connectors.http.settings import read_api_settings
from records.connectors.oneroster.files import OneRosterFiles, system_named
from records.connectors.profiles.profile import SourceProfile, read_profile, vendor_of
from records.connectors.profiles.survey import CodeUse, draft_profile, survey_codes
from records.connectors.protocol import Connector, ProfiledConnector, SourceRefused
from records.connectors.zip_files import open_source_folder
from records.loading.profile_versions import profile_name
from records.system.files import write_atomic
from records.system.progress import ProgressCallback

PROFILED_SOURCES = (*FILE_SOURCES, *API_CONNECTORS)
app = typer.Typer(no_args_is_help=True, help="What the words of a source mean.")


@app.callback()
def sources() -> None:
    """What the words of a source mean."""


@app.command("profile")
def profile_source(
    source: Annotated[str, typer.Argument(help=f"Kind of source: {', '.join(PROFILED_SOURCES)}.")],
    directory: Annotated[
        Path, typer.Argument(help="Folder or ZIP file of the source's files, or an API's settings.")
    ],
    home: Home = None,
) -> None:
    """List every code that a source uses, and draft the profile that explains them.

    Nothing is loaded; of an API the copy in the home is brought up to date. Exit 1 if there are
    codes that nobody has explained.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        name = profile_name(_known(source))
        profile = read_profile(name, settings.home)
        settings.home.mkdir(parents=True, exist_ok=True)
        with progress_bar() as progress:
            uses, system = _survey(source, directory, profile, settings.home, progress)
        file = settings.home / "profiles" / f"{name}.toml"
        vendor = vendor_of(system) if profile.vendor is None else None
        _print_codes(uses)
        if vendor is not None:
            say(
                f"The export says that it comes from {system!r}. With"
                f' vendor = "{vendor}" as the first line of {file} the words that this'
                " system publishes are known; nothing was assumed."
            )
        if all(use.understood for use in uses):
            out.print("Every code is explained.", highlight=False)
            return
        if file.exists():
            where = f"Say in {file} what the codes marked ? mean."
        else:
            write_atomic(file, draft_profile(uses, settings.now().date(), vendor))
            where = f"{file} is written, with a line for each code marked ?. Complete it."
    out.print(where, highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def _known(source: str) -> str:
    if source not in PROFILED_SOURCES:
        raise SourceRefused(
            f"there is no source {source!r} with codes to read; the sources are:"
            f" {', '.join(PROFILED_SOURCES)}"
        )
    return source


def _survey(
    source: str, path: Path, profile: SourceProfile, home: Path, progress: ProgressCallback
) -> tuple[list[CodeUse], str]:
    """The codes of a source, and the system that it says it comes from, empty if it says none."""
    if source in API_CONNECTORS:
        settings = read_api_settings(require_file(path))
        if settings.kind != source:
            raise SourceRefused(
                f"{path.name}: kind is {settings.kind!r}, and the command says {source!r}"
            )
        api, mirror = API_CONNECTORS[source](settings), home / "sources" / settings.name
        if isinstance(api, ProfiledConnector):
            api.profile = profile
        api.fetch(mirror, progress)
        return survey_codes(api, mirror, progress), ""
    connector: Connector = EdFiFiles(profile)
    if source == "oneroster":
        connector = OneRosterFiles(profile=profile)
    with open_source_folder(path, home) as folder:
        system = system_named(folder) if source == "oneroster" else ""
        return survey_codes(connector, folder, progress), system


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
