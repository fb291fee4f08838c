"""`handrail features`, `train`, `audit`, `sign`, `promote`, `rollback`, `refuse`, `models`.

From records to an approved model. Evaluation and comparison are in `handrail.commands.evaluation`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fairness.approval.signoff import (
    ApprovalService,
    approved_model,
    record_audit,
    refuse,
    rollback,
    sign,
)
from fairness.audit.audit import Audit, EarlierAudit, PastOutcomes, audit_model, uses_discipline
from fairness.report.card import write_card
from fairness.report.report import audits_of_snapshot, latest_audit
from fairness.report.views import review_questions
from features.alert_versions import kept_rules
from features.alerts import AlertRules
from features.build import write_features
from features.catalog import CATALOG
from handrail.approval import approval_service
from handrail.commands.accounts import authenticated_viewer
from handrail.console import (
    Home,
    out,
    print_table,
    progress_bar,
    report_user_errors,
    say,
)
from handrail.settings import Settings, SettingsError
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.checks.confirmations import load_doubts
from records.snapshots.snapshot import Snapshot
from records.staff.viewer import Viewer
from records.system.progress import ProgressCallback
from training.episodes.episodes import Episodes
from training.episodes.outcome import OutcomeDefinition
from training.ranking.model_file import InvalidModelFile, RankerModel, read_model
from training.registry.inputs import EpisodesLoader, load_episodes
from training.registry.registry import (
    EVALUATION_FILE,
    ModelVersion,
    challenger_version,
    model_version,
    model_versions,
)
from training.registry.train import FoldsBy, train
from training.registry.version_evaluation import holdout_evaluation

features_app = typer.Typer(no_args_is_help=True, help="Compute student features as of a date.")
Version = Annotated[
    int | None, typer.Option("--version", help="Which model version; the newest by default.")
]
Without = Annotated[
    list[str] | None,
    typer.Option(
        "--without",
        metavar="FAMILY",
        help=("A feature family to exclude, such as assessments; repeatable."),
    ),
]
Which = Annotated[int, typer.Argument(help="Which model version.")]
Reviewer = Annotated[str, typer.Option("--as", help="Login of the equity reviewer who decides.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, in a sentence that others will read.")]


@features_app.command("build")
def build(
    as_of: Annotated[
        str | None,
        typer.Option(help="Date, such as 2026-04-17; default: the latest date on record."),
    ] = None,
    home: Home = None,
) -> None:
    """Compute the features of every student as of a date, and count how many are known."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        folder = settings.home
        snapshot = Snapshot.current(folder)
        day = _parse_day(as_of) if as_of else snapshot.latest_date()
        records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", day))
        with progress_bar() as progress:
            progress("building features", 0, 1)
            file = write_features(records, day, folder, settings.now().date())
            progress("building features", 1, 1)
    out.print(
        f"{len(CATALOG)} features of {len(records.students):,} students as of {day}: {file}",
        highlight=False,
        soft_wrap=True,
    )


def train_candidate(
    behavior: Annotated[
        bool, typer.Option("--behavior", help="Use discipline records as features. Off by default.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 0,
    without: Without = None,
    folds_by: Annotated[
        FoldsBy,
        typer.Option(help="The unit that is never split between training and evaluation folds."),
    ] = "student",
    home: Home = None,
) -> None:
    """Train a model of which supports helped whom, as a candidate.

    It is not used until it is audited and signed.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        snapshot = Snapshot.current(settings.home)
        with progress_bar() as progress:
            version = train(
                snapshot,
                settings.home,
                behavior=behavior,
                seed=seed,
                folds_by=folds_by,
                without=without or (),
                progress=progress,
                at=settings.now(),
            )
    print_candidate(version)


def audit_candidate(version: Version = None, home: Home = None) -> None:
    """Audit a candidate for disparate impact, and write the report for the reviewer."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        with progress_bar() as progress:
            audit, report = audit_version(settings, version, progress)
    print_audit(audit, report)


def sign_candidate(version: Which, reviewer: Reviewer, reason: Reason, home: Home = None) -> None:
    """Approve an audited candidate and put it into service, as an equity reviewer.

    The reviewer's password is asked for, or read from HANDRAIL_PASSWORD. `handrail promote` does
    the same.
    """
    with report_user_errors():
        approvals, equity_reviewer, settings = _as_reviewer(reviewer, home)
        sign(approvals, version, equity_reviewer, reason, settings.now())
    out.print(f"Version {version} is signed by {reviewer} and in service.", highlight=False)


def promote_candidate(
    version: Which, reviewer: Reviewer, reason: Reason, home: Home = None
) -> None:
    """Make an audited version the champion, with an equity reviewer's signature.

    If another version is in service, this one must have been found better (`handrail compare`), or
    the reason must be a sentence of 40 characters or more. The reviewer's password is asked for, or
    read from HANDRAIL_PASSWORD.
    """
    with report_user_errors():
        approvals, equity_reviewer, settings = _as_reviewer(reviewer, home)
        previous = approved_model(approvals, settings.now()).version
        sign(approvals, version, equity_reviewer, reason, settings.now())
    instead = (
        f" instead of version {previous.version}"
        if previous and previous.version != version
        else ""
    )
    out.print(f"Version {version} is in service{instead}, signed by {reviewer}.", highlight=False)


def roll_back(reviewer: Reviewer, reason: Reason, home: Home = None) -> None:
    """Return to the version that was signed and in service before, if its audit is still valid.

    The reviewer's password is asked for, or read from HANDRAIL_PASSWORD.
    """
    with report_user_errors():
        approvals, equity_reviewer, settings = _as_reviewer(reviewer, home)
        decision = rollback(approvals, equity_reviewer, reason, settings.now())
    out.print(
        f"Version {decision.model_version} is in service again, signed by {reviewer}.",
        highlight=False,
    )


def refuse_candidate(version: Which, reviewer: Reviewer, reason: Reason, home: Home = None) -> None:
    """Refuse a candidate, with the reason. If it was in service, it no longer is.

    The reviewer's password is asked for, or read from HANDRAIL_PASSWORD.
    """
    with report_user_errors():
        approvals, equity_reviewer, settings = _as_reviewer(reviewer, home)
        refuse(approvals, version, equity_reviewer, reason, settings.now())
    out.print(f"Version {version} is refused by {reviewer}.", highlight=False)


def list_models(home: Home = None) -> None:
    """Every registered model version, what it is worth and its status."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        home_folder = settings.home
        approved = approved_model(approval_service(settings), settings.now())
        versions = model_versions(home_folder)
        if not versions:
            out.print(
                f"No model version is registered in {home_folder}: handrail train makes one from"
                " the records.",
                highlight=False,
                soft_wrap=True,
            )
            return
        challenger = challenger_version(home_folder)
        table = Table(
            "version",
            "trained",
            "gain at equal capacity (95%)",
            "audit",
            "status",
            title="models",
        )
        for registered in versions:
            audit = latest_audit(home_folder, registered.version)
            table.add_row(
                str(registered.version),
                f"{registered.created_at:%Y-%m-%d %H:%M}",
                _gain(registered),
                audit.verdict.replace("_", " ") if audit else "not yet",
                (
                    "in service"
                    if approved.version == registered
                    else "challenger"
                    if challenger == registered.version
                    else ""
                ),
            )
        print_table(table)
        out.print(
            "Sensitivity of a gain to unmeasured confounding: handrail evaluate --version N",
            highlight=False,
            soft_wrap=True,
        )
        if approved.version is None:
            out.print(
                f"No version is in service. {approved.why_not}", highlight=False, soft_wrap=True
            )


def audit_version(
    settings: Settings,
    version: int | None,
    progress: ProgressCallback,
    *,
    approvals: ApprovalService | None = None,
    episodes: Episodes | None = None,
    load: EpisodesLoader = load_episodes,
) -> tuple[Audit, Path]:
    """Audit a version as of the last date on record; returns the audit and its report's file.

    Args:
        episodes: those of the current snapshot, where they are built already.
        load: how they are built else.
    """
    approvals, rules = approvals or approval_service(settings), AlertRules.of(settings.home)
    snapshot = Snapshot.current(settings.home)
    registered = model_version(settings.home, version)
    model = read_model(registered.file, registered.sha256)
    if episodes is None:
        outcome = OutcomeDefinition.of(settings.home)
        episodes = load(snapshot, outcome, uses_discipline(model), progress)
    progress("evaluating past supports", 0, 1)
    past = holdout_evaluation(registered, episodes)
    progress("evaluating past supports", 1, 1)
    audit = audit_model(
        model,
        registered.version,
        snapshot,
        snapshot.latest_date(),
        approvals.policy,
        settings.now(),
        episodes=episodes,
        past=PastOutcomes(*past) if past else None,
        database=approvals.database,
        earlier=list(_earlier_audits(settings.home, snapshot)),
        rules=rules,
        doubted=load_doubts(settings.home, approvals.database, snapshot).silenced,
        progress=progress,
    )
    report = record_audit(approvals, audit)
    write_card(registered, audit)
    return audit, report


def _earlier_audits(home: Path, snapshot: Snapshot) -> Iterator[EarlierAudit]:
    """Earlier audits of the same students, with their models where these are intact."""
    versions = {registered.version: registered for registered in model_versions(home)}
    model: RankerModel | None
    for audit in audits_of_snapshot(home, snapshot.id, snapshot.latest_date()):
        try:
            registered = versions[audit.version]
            model = read_model(registered.file, audit.model_sha256)
        except (KeyError, InvalidModelFile):
            model = None
        yield EarlierAudit(audit, model, kept_rules(home, audit.basis.get("alert_rules", "")))


def print_candidate(version: ModelVersion) -> None:
    """Print what was registered and what it is worth."""
    evaluation = version.artifact(EVALUATION_FILE) or {}
    out.print(
        f"Version {version.version} is registered (SHA-256 {version.sha256[:12]}...). Against past"
        f" practice at equal capacity: {_gain(version)} progress points per episode."
        f" {evaluation.get('sensitivity', '')} It is not used until it is audited and signed:"
        f" handrail audit. Its card: {version.artifacts / 'card' / 'model_card.md'}",
        highlight=False,
        soft_wrap=True,
    )


def print_audit(audit: Audit, report: Path) -> None:
    """Print how the audit ended and where to read it."""
    for title, findings in (
        ("Blocked by", audit.stopping),
        ("A reviewer must answer in writing", audit.asking),
    ):
        for question in review_questions(findings):
            lines = [
                f"{title}: {question.title}",
                *(f"  - {sentence}" for sentence in question.sentences),
            ]
            say("\n".join(lines))
    out.print(
        f"Audit of version {audit.version}: {audit.verdict.replace('_', ' ')}. Read {report}",
        highlight=False,
        soft_wrap=True,
    )


def _as_reviewer(login: str, home: Path | None) -> tuple[ApprovalService, Viewer, Settings]:
    """The approval service, and the reviewer whose password was confirmed."""
    settings = Settings.from_environment(home)
    approvals = approval_service(settings)
    return approvals, authenticated_viewer(approvals.database, login, settings.now()), settings


def _gain(version: ModelVersion) -> str:
    value, lower, upper = (
        version.metrics.get(f"same_places.gain.{part}") for part in ("value", "lower", "upper")
    )
    return f"{value:+.2f} ({lower:+.2f} to {upper:+.2f})" if value is not None else "not evaluated"


def _parse_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"--as-of is {text!r}; it must be a day such as 2026-04-17") from None
