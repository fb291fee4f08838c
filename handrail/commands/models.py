"""`handrail features`, `train`, `audit`, `sign`, `promote`, `rollback`, `refuse`, `models`: from
records to an approved model. How models are judged and compared is in
`handrail.commands.evaluation`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import partial
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
from features.build import write_features
from features.catalog import CATALOG
from handrail.approval import approval_service
from handrail.commands.accounts import authenticated_viewer
from handrail.console import (
    Home,
    ProgressCallback,
    out,
    print_table,
    progress_bar,
    report_user_errors,
)
from handrail.settings import Settings, SettingsError
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.people.viewer import Viewer
from records.snapshots.snapshot import Snapshot
from training.episodes.episodes import Episodes, build_episodes
from training.episodes.outcome import OutcomeDefinition
from training.ranking.model_file import InvalidModelFile, read_model
from training.registry.registry import (
    EVALUATION_FILE,
    ModelVersion,
    challenger_version,
    model_version,
    model_versions,
)
from training.registry.train import FoldsBy, train
from training.registry.version_evaluation import holdout_evaluation

features_app = typer.Typer(
    no_args_is_help=True, help="Numbers about students, worked out as of a day."
)
Version = Annotated[
    int | None, typer.Option("--version", help="Which model version; the newest by default.")
]
Without = Annotated[
    list[str] | None,
    typer.Option(
        "--without",
        metavar="FAMILY",
        help=(
            "A family of features that is to be no input, such as assessments; may be given again."
        ),
    ),
]
Which = Annotated[int, typer.Argument(help="Which model version.")]
Reviewer = Annotated[str, typer.Option("--as", help="Login of the equity reviewer who decides.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, in a sentence that others will read.")]


@features_app.command("build")
def build(
    as_of: Annotated[
        str | None, typer.Option(help="Day to stand on, such as 2026-04-17; the last on record.")
    ] = None,
    home: Home = None,
) -> None:
    """Build the features of every student as of a day, and count how many are known."""
    with report_user_errors():
        folder = Settings.from_environment(home).home
        snapshot = Snapshot.current(folder)
        day = _day(as_of) if as_of else snapshot.latest_date()
        records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", day))
        with progress_bar() as step:
            step("building features", 0, 1)
            file = write_features(records, day, folder)
            step("building features", 1, 1)
    out.print(
        f"{len(CATALOG)} features of {len(records.students):,} students as of {day}: {file}",
        highlight=False,
        soft_wrap=True,
    )


def train_candidate(
    behavior: Annotated[
        bool, typer.Option("--behavior", help="Let discipline be an input. Off by default.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 0,
    without: Without = None,
    folds_by: Annotated[
        FoldsBy, typer.Option(help="What is never split between learning and judging.")
    ] = "student",
    home: Home = None,
) -> None:
    """Learn what helped whom, and register a candidate. It serves nobody until it is audited and
    signed.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        snapshot = Snapshot.current(settings.home)
        with progress_bar() as step:
            made = train(
                snapshot,
                settings.home,
                behavior=behavior,
                seed=seed,
                folds_by=folds_by,
                without=without or (),
                progress=step,
                at=settings.now(),
            )
    print_candidate(made)


def audit_candidate(version: Version = None, home: Home = None) -> None:
    """Audit a candidate for disparate impact and write the report that a reviewer signs or
    refuses.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        with progress_bar() as step:
            made, report = audit_version(settings, version, step)
    print_audit(made, report)


def sign_candidate(version: Which, reviewer: Reviewer, reason: Reason, home: Home = None) -> None:
    """Sign an audited candidate: from then on it serves. Only an equity reviewer of the district
    may.

    The reviewer's password is asked for, or read from HANDRAIL_PASSWORD. `handrail promote` is the
    same.
    """
    with report_user_errors():
        desk, who, settings = _decider(reviewer, home)
        sign(desk, version, who, reason, settings.now())
    out.print(f"Version {version} is signed by {reviewer} and serves.", highlight=False)


def promote_candidate(
    version: Which, reviewer: Reviewer, reason: Reason, home: Home = None
) -> None:
    """Let an audited version be the champion, with an equity reviewer's signature; then it serves.

    Where another version serves, this one must have been found better (`handrail compare`), or the
    reason must be a sentence of 40 characters or more. The reviewer's password is asked for, or
    read from HANDRAIL_PASSWORD.
    """
    with report_user_errors():
        desk, who, settings = _decider(reviewer, home)
        before = approved_model(desk, settings.now()).version
        sign(desk, version, who, reason, settings.now())
    instead = (
        f" instead of version {before.version}" if before and before.version != version else ""
    )
    out.print(f"Version {version} serves{instead}, signed by {reviewer}.", highlight=False)


def roll_back(reviewer: Reviewer, reason: Reason, home: Home = None) -> None:
    """Return to the version that was signed and served before, if its audit still stands.

    The reviewer's password is asked for, or read from HANDRAIL_PASSWORD.
    """
    with report_user_errors():
        desk, who, settings = _decider(reviewer, home)
        kept = rollback(desk, who, reason, settings.now())
    out.print(f"Version {kept.model_version} serves again, signed by {reviewer}.", highlight=False)


def refuse_candidate(version: Which, reviewer: Reviewer, reason: Reason, home: Home = None) -> None:
    """Refuse a candidate, with the reason. If it served, it serves no longer.

    The reviewer's password is asked for, or read from HANDRAIL_PASSWORD.
    """
    with report_user_errors():
        desk, who, settings = _decider(reviewer, home)
        refuse(desk, version, who, reason, settings.now())
    out.print(f"Version {version} is refused by {reviewer}.", highlight=False)


def list_models(home: Home = None) -> None:
    """Every registered model version, what it is worth and where it stands."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        folder = settings.home
        approved = approved_model(approval_service(settings), settings.now())
        versions = model_versions(folder)
        if not versions:
            out.print(
                f"No model version is registered in {folder}: handrail train makes one from the"
                " records.",
                highlight=False,
                soft_wrap=True,
            )
            return
        proposed = challenger_version(folder)
        table = Table(
            "version", "made", "gain at the same places (95%)", "audit", "stands", title="models"
        )
        for made in versions:
            audit = latest_audit(folder, made.version)
            table.add_row(
                str(made.version),
                f"{made.created_at:%Y-%m-%d %H:%M}",
                _gain(made),
                audit.verdict.replace("_", " ") if audit else "not yet",
                (
                    "serves"
                    if approved.version == made
                    else "challenger"
                    if proposed == made.version
                    else ""
                ),
            )
        print_table(table)
        out.print(
            "How strong something not on record would have to be to explain a gain away: "
            "handrail evaluate --version N",
            highlight=False,
            soft_wrap=True,
        )
        if approved.version is None:
            out.print(f"None serves. {approved.why_not}", highlight=False, soft_wrap=True)


def audit_version(
    settings: Settings,
    version: int | None,
    step: ProgressCallback,
    *,
    desk: ApprovalService | None = None,
    episodes: Episodes | None = None,
) -> tuple[Audit, Path]:
    """Audit a version, by default the newest, as of the last day on record; the audit and its
    report's file.
    """
    desk = desk or approval_service(settings)
    snapshot = Snapshot.current(settings.home)
    made = model_version(settings.home, version)
    model = read_model(made.file, made.sha256)
    if episodes is None:
        episodes = build_episodes(
            snapshot,
            behavior=uses_discipline(model),
            outcome=OutcomeDefinition.of(settings.home),
            progress=partial(step, "looking back at decision days"),
        )
    step("finding what came of supports", 0, 1)
    judged = holdout_evaluation(made, episodes)
    step("finding what came of supports", 1, 1)
    audit = audit_model(
        model,
        made.version,
        snapshot,
        snapshot.latest_date(),
        desk.policy,
        settings.now(),
        episodes=episodes,
        past=PastOutcomes(*judged) if judged else None,
        database=desk.database,
        earlier=list(_earlier(settings.home, snapshot)),
        progress=step,
    )
    report = record_audit(desk, audit)
    write_card(made, audit)
    return audit, report


def _earlier(home: Path, snapshot: Snapshot) -> Iterator[EarlierAudit]:
    """What audits of the same students have shown. A model that is not as it was registered is not
    read.
    """
    versions = {made.version: made for made in model_versions(home)}
    for audit in audits_of_snapshot(home, snapshot.id, snapshot.latest_date()):
        try:
            made = versions[audit.version]
            yield EarlierAudit(audit, read_model(made.file, audit.model_sha256))
        except (KeyError, InvalidModelFile):
            yield EarlierAudit(audit, None)


def print_candidate(made: ModelVersion) -> None:
    """Say what was registered and what it is worth."""
    judged = made.artifact(EVALUATION_FILE) or {}
    out.print(
        f"Version {made.version} is registered (SHA-256 {made.sha256[:12]}...). Against past"
        f" practice at the same number of places: {_gain(made)} progress points an episode."
        f" {judged.get('sensitivity', '')} It serves nobody until it is audited and signed:"
        f" handrail audit. Its card: {made.artifacts / 'card' / 'model_card.md'}",
        highlight=False,
        soft_wrap=True,
    )


def print_audit(audit: Audit, report: Path) -> None:
    """Say how the audit ended and where to read it."""
    for title, asked in (
        ("It is stopped by", audit.stopping),
        ("A reviewer must answer in writing", audit.asking),
    ):
        for one in review_questions(asked):
            lines = [f"{title}: {one.title}", *(f"  - {said}" for said in one.sentences)]
            out.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)
    out.print(
        f"Audit of version {audit.version}: {audit.verdict.replace('_', ' ')}. Read {report}",
        highlight=False,
        soft_wrap=True,
    )


def _decider(login: str, home: Path | None) -> tuple[ApprovalService, Viewer, Settings]:
    """Where it is decided, and by whom: whoever knows the password of this login."""
    settings = Settings.from_environment(home)
    desk = approval_service(settings)
    return desk, authenticated_viewer(desk.database, login, settings.now()), settings


def _gain(made: ModelVersion) -> str:
    value, lower, upper = (
        made.metrics.get(f"same_places.gain.{part}") for part in ("value", "lower", "upper")
    )
    return f"{value:+.2f} ({lower:+.2f} to {upper:+.2f})" if value is not None else "not judged"


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"--as-of is {text!r}; it must be a day such as 2026-04-17") from None
