"""`handrail features`, `train`, `audit`, `sign`, `promote`, `rollback`, `refuse`, `models`: from records to an approved
model. How models are judged and compared is in `handrail.commands.judging`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fairness.audit import Audit, audit_model
from fairness.gate import Policy
from fairness.report import read_audit, write_report
from fairness.signoff import approved_model, refuse, rollback, sign
from features.build import write_features
from features.catalog import CATALOG
from handrail.commands.accounts import password_holder
from handrail.console import Home, out, plain_errors, print_table, progress_bar
from handrail.settings import Settings, SettingsError
from records.database import Database, open_database
from records.scope import ScopedRecords, Viewer, pipeline_scope
from records.snapshots import Snapshot
from training.lifecycle import (
    EVALUATION,
    FoldsBy,
    ModelVersion,
    challenger_version,
    model_version,
    model_versions,
    train,
)
from training.model_file import read_model

features = typer.Typer(no_args_is_help=True, help="Numbers about students, worked out as of a day.")
Version = Annotated[int | None, typer.Option("--version", help="Which model version; the newest by default.")]
Which = Annotated[int, typer.Argument(help="Which model version.")]
Reviewer = Annotated[str, typer.Option("--as", help="Login of the equity reviewer who decides.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, in a sentence that others will read.")]


@features.command("build")
def build(
    as_of: Annotated[str | None, typer.Option(help="Day to stand on, such as 2026-04-17; the last on record.")] = None,
    home: Home = None,
) -> None:
    """Build the features of every student as of a day, and count how many are known."""
    with plain_errors():
        folder = Settings.from_environment(home).home
        snapshot = Snapshot.current(folder)
        day = _day(as_of) if as_of else snapshot.latest_date()
        records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", day))
        with progress_bar() as step:
            step("building features", 0, 1)
            file = write_features(records, day, folder)
            step("building features", 1, 1)
    out.print(f"{len(CATALOG)} features of {len(records.students):,} students as of {day}: {file}", highlight=False,
              soft_wrap=True)  # fmt: skip


def train_candidate(
    behavior: Annotated[bool, typer.Option("--behavior", help="Let discipline be an input. Off by default.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 0,
    folds_by: Annotated[FoldsBy, typer.Option(help="What is never split between learning and judging.")] = "student",
    home: Home = None,
) -> None:
    """Learn what helped whom, and register a candidate. It serves nobody until it is audited and signed."""
    with plain_errors():
        folder = Settings.from_environment(home).home
        snapshot = Snapshot.current(folder)
        with progress_bar() as step:
            made = train(snapshot, folder, behavior=behavior, seed=seed, folds_by=folds_by, progress=step)
    show_candidate(made)


def audit_candidate(version: Version = None, home: Home = None) -> None:
    """Audit a candidate for disparate impact and write the report that a reviewer signs or refuses."""
    with plain_errors():
        settings = Settings.from_environment(home)
        with progress_bar() as step:
            step("auditing", 0, 1)
            made, report = audit_version(settings, version)
            step("auditing", 1, 1)
    show_audit(made, report)


def sign_candidate(version: Which, reviewer: Reviewer, reason: Reason, home: Home = None) -> None:
    """Sign an audited candidate: from then on it serves. Only an equity reviewer of the district may.

    The reviewer's password is asked for, or read from HANDRAIL_PASSWORD. `handrail promote` is the same.
    """
    with plain_errors():
        settings, database, who = _decider(reviewer, home)
        sign(database, settings.home, version, who, reason, settings.now(), Policy.declared())
    out.print(f"Version {version} is signed by {reviewer} and serves.", highlight=False)


def promote_candidate(version: Which, reviewer: Reviewer, reason: Reason, home: Home = None) -> None:
    """Let an audited version be the champion, with an equity reviewer's signature; then it serves.

    Where another version serves, this one must have been found better (`handrail compare`), or the reason must be a
    sentence of 40 characters or more. The reviewer's password is asked for, or read from HANDRAIL_PASSWORD.
    """
    with plain_errors():
        settings, database, who = _decider(reviewer, home)
        policy = Policy.declared()
        before = approved_model(database, settings.home, settings.now(), policy).version
        sign(database, settings.home, version, who, reason, settings.now(), policy)
    instead = f" instead of version {before.version}" if before and before.version != version else ""
    out.print(f"Version {version} serves{instead}, signed by {reviewer}.", highlight=False)


def roll_back(reviewer: Reviewer, reason: Reason, home: Home = None) -> None:
    """Return to the version that was signed and served before, if its audit still stands.

    The reviewer's password is asked for, or read from HANDRAIL_PASSWORD.
    """
    with plain_errors():
        settings, database, who = _decider(reviewer, home)
        kept = rollback(database, settings.home, who, reason, settings.now(), Policy.declared())
    out.print(f"Version {kept.model_version} serves again, signed by {reviewer}.", highlight=False)


def refuse_candidate(version: Which, reviewer: Reviewer, reason: Reason, home: Home = None) -> None:
    """Refuse a candidate, with the reason. If it served, it serves no longer.

    The reviewer's password is asked for, or read from HANDRAIL_PASSWORD.
    """
    with plain_errors():
        settings, database, who = _decider(reviewer, home)
        refuse(database, settings.home, version, who, reason, settings.now())
    out.print(f"Version {version} is refused by {reviewer}.", highlight=False)


def list_models(home: Home = None) -> None:
    """Every registered model version, what it is worth and where it stands."""
    with plain_errors():
        settings = Settings.from_environment(home)
        folder = settings.home
        approved = approved_model(open_database(settings.database_url), folder, settings.now(), Policy.declared())
        versions = model_versions(folder)
        if not versions:
            out.print(f"No model version is registered in {folder}: handrail train makes one from the records.",
                      highlight=False, soft_wrap=True)  # fmt: skip
            return
        proposed = challenger_version(folder)
        table = Table("version", "made", "gain at the same places (95%)", "audit", "stands", title="models")
        for made in versions:
            audit = read_audit(folder, made.version)
            table.add_row(str(made.version), f"{made.created_at:%Y-%m-%d %H:%M}", _gain(made),
                          audit.verdict.replace("_", " ") if audit else "not yet",
                          "serves" if approved.version == made else "challenger" if proposed == made.version else "",
            )  # fmt: skip
        print_table(table)
        out.print("How strong something not on record would have to be to explain a gain away: "
                  "handrail evaluate --version N", highlight=False, soft_wrap=True)  # fmt: skip
        if approved.version is None:
            out.print(f"None serves: {approved.why_not}", highlight=False, soft_wrap=True)


def audit_version(settings: Settings, version: int | None) -> tuple[Audit, Path]:
    """Audit a version, by default the newest, as of the last day on record; the audit and its report's file."""
    snapshot = Snapshot.current(settings.home)
    made = model_version(settings.home, version)
    model = read_model(made.file, made.sha256)
    audit = audit_model(model, made.version, snapshot, snapshot.latest_date(), Policy.declared(), settings.now())
    return audit, write_report(audit, settings.home)


def show_candidate(made: ModelVersion) -> None:
    """Say what was registered and what it is worth."""
    judged = made.artifact(EVALUATION) or {}
    out.print(f"Version {made.version} is registered (SHA-256 {made.sha256[:12]}...). Against past practice at the "
              f"same number of places: {_gain(made)} progress points an episode. {judged.get('sensitivity', '')} It "
              f"serves nobody until it is audited and signed: handrail audit. Its card: "
              f"{made.artifacts / 'card' / 'model_card.md'}", highlight=False, soft_wrap=True)  # fmt: skip


def show_audit(audit: Audit, report: Path) -> None:
    """Say how the audit ended and where to read it."""
    out.print(f"Audit of version {audit.version}: {audit.verdict.replace('_', ' ')}. Read {report}", highlight=False,
              soft_wrap=True)  # fmt: skip


def _decider(login: str, home: Path | None) -> tuple[Settings, Database, Viewer]:
    """Where it is decided, and by whom: whoever knows the password of this login."""
    settings = Settings.from_environment(home)
    database = open_database(settings.database_url)
    return settings, database, password_holder(database, login, settings.now())


def _gain(made: ModelVersion) -> str:
    value, lower, upper = (made.metrics.get(f"same_places.gain.{part}") for part in ("value", "lower", "upper"))
    return f"{value:+.2f} ({lower:+.2f} to {upper:+.2f})" if value is not None else "not judged"


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"--as-of is {text!r}; it must be a day such as 2026-04-17") from None
