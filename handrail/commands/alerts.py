"""`handrail alerts`: the rules of early alerts, and what other rules would change."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fairness.approval.signoff import approved_model
from fairness.checks.policy import Policy
from fairness.population.students import group_columns
from fairness.publication.alert_changes import (
    DISTRICT,
    RULE,
    AlertChange,
    alert_changes,
    changed_rules,
)
from fairness.report.wording import attribute_label, value_label
from features.alert_versions import FOLDER, keep_text, keep_version, versions_in_force
from features.alerts import ALERTS_FILE, AlertRules
from features.build import build_features
from features.catalog import ALERT_FEATURES, CATALOG
from features.declarations import DeclarationError
from features.doubted_alerts import doubted_categories
from handrail.approval import approval_service
from handrail.console import (
    Home,
    print_table,
    progress_bar,
    report_user_errors,
    require_file,
    say,
)
from handrail.settings import Settings
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.checks.confirmations import LoadDoubts, load_doubts
from records.database.engine import open_database
from records.loading.load_history import old_records_end, stale_attendance_since
from records.snapshots.snapshot import NoSnapshot, Snapshot
from records.system.errors import UserError
from records.system.files import write_atomic
from records.system.progress import ProgressCallback
from serving.wording import alert_words, words

DRAFT_FILE = "alerts.draft.toml"
WITHHELD = "withheld"
RulesFile = Annotated[Path, typer.Argument(help="A file of alert rules, such as the draft.")]
app = typer.Typer(
    no_args_is_help=True, help="The rules of early alerts: built in, or the district's own."
)


class DraftExists(UserError, FileExistsError):
    """A draft that must not be written over; the message names it."""


@app.command("show")
def show(home: Home = None) -> None:
    """The rules in force in plain sentences, where they come from, and their version."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        rules = AlertRules.of(settings.home)
        keep_version(settings.home, rules, settings.now())
        since = versions_in_force(settings.home)[-1].since
    say(f"{_origin(rules)}; version {rules.version}, in use since {words.date_time(since)}.")
    for rule in rules.rules:
        say(f"\n{rule.name} (severity {rule.severity}: {alert_words.SEVERITIES[rule.severity]})")
        say(f"  {alert_words.condition(rule)}")
        say(f"  Caseworkers read: {rule.headline.text}")
        say(f"  Source: {rule.source}.")


@app.command("features")
def features() -> None:
    """What a rule can read: every feature with its unit and the data category that it needs."""
    table = Table("feature", "what it is", "unit", "category", title="features of alert rules")
    for feature in (*CATALOG, *ALERT_FEATURES):
        table.add_row(
            feature.name, feature.description, feature.unit, words.categories([feature.category])
        )
    table.add_row(
        "courses_below_N",
        "Courses below N in the last grading period, for any N from 1 to 100",
        "courses",
        "grades",
    )
    print_table(table)


@app.command("history")
def history(home: Home = None) -> None:
    """Every version of the rules that has been in force, since when, and where its text is."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        rules = AlertRules.of(settings.home)
        keep_version(settings.home, rules, settings.now())
        known = versions_in_force(settings.home)
    table = Table("in use since", "version", "rules", title="alert rules")
    for entry in known:
        table.add_row(words.date_time(entry.since), entry.version, entry.origin)
    print_table(table)
    say(f"The text of each version is in {settings.home / FOLDER}.")


@app.command("write")
def write(home: Home = None) -> None:
    """Write the rules in force as a draft into Handrail's home, to be edited.

    The draft is not in force until `handrail alerts use`. A draft that exists is not written over.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        file = settings.home / DRAFT_FILE
        if file.exists():
            raise DraftExists(f"{file} exists already: edit it, or move it away first")
        write_atomic(file, AlertRules.of(settings.home).content)
    say(
        f"Written to {file}. Edit it, then see what it would change with `handrail alerts preview"
        f" {file}`. It is not in force before `handrail alerts use {file}`."
    )


@app.command("preview")
def preview(file: RulesFile, home: Home = None) -> None:
    """How many alerts other rules would raise and end, by school, group and rule.

    Nothing is changed. Numbers are rounded to ten, and small ones withheld.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        in_force, proposed = AlertRules.of(settings.home), AlertRules.read(require_file(file))
        if not changed_rules(in_force, proposed):
            say(_same_students(in_force, proposed))
            return
        with progress_bar() as progress:
            changes, day = _changes(settings, in_force, proposed, progress)
        policy = Policy.from_home(settings.home)
        stale = stale_attendance_since(settings.home, settings.now())
        doubted = _doubts(settings, Snapshot.current(settings.home))
    _print_groups(changes, day)
    _print_rules(changes, in_force, proposed)
    say(_summary(changes, day))
    say(
        f"Rounded to ten; {WITHHELD}: fewer than {policy.smallest_cell} students, or a number that"
        " would give such a one away. Nothing is changed."
    )
    for doubt in doubted.standing:
        say(
            f"{doubt.words}. No alert that rests on {words.categories([doubt.category])} counts at"
            f" {doubt.school}, now or then, until the figure is confirmed."
        )
    if stale is not None:
        say(
            f"Attendance was last loaded on {words.date_time(stale)}. Until it is loaded again the"
            " site raises no alert that rests on it."
        )


@app.command("use")
def use(file: RulesFile, home: Home = None) -> None:
    """Put other rules in force, and keep those that were.

    Says in one line what changes. An audit that was signed under other rules must be made again.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        proposed = AlertRules.read(require_file(file))
        in_force, approvals = _rules_to_replace(settings), approval_service(settings)
        if in_force is not None and in_force.content == proposed.content:
            say(f"These rules are in force already: version {proposed.version}.")
            return
        served = None
        if in_force is not None:
            served = approved_model(approvals, settings.now()).version
            _say_change(settings, in_force, proposed)
            keep_version(settings.home, in_force, settings.now())
        own_file = write_atomic(settings.home / ALERTS_FILE.name, proposed.content)
        keep_version(settings.home, AlertRules.of(settings.home), settings.now())
        approved = approved_model(approvals, settings.now())
    say(
        f"In force: version {proposed.version}, in {own_file}. The text of every version is kept in"
        f" {settings.home / FOLDER}."
    )
    if served is not None and approved.version is None:
        say(f"Suggestions have stopped. {approved.why_not}")


def _rules_to_replace(settings: Settings) -> AlertRules | None:
    """The rules in force; None where the file has a mistake, and then its text is kept."""
    try:
        return AlertRules.of(settings.home)
    except DeclarationError as error:
        kept = keep_text(settings.home, (settings.home / ALERTS_FILE.name).read_bytes())
        say(f"The file that is replaced has a mistake, and is kept as {kept}: {error}.")
        return None


def _changes(
    settings: Settings, in_force: AlertRules, proposed: AlertRules, progress: ProgressCallback
) -> tuple[tuple[AlertChange, ...], date]:
    """What would change, and the day as of which."""
    snapshot, policy = Snapshot.current(settings.home), Policy.from_home(settings.home)
    today = settings.now().date()
    day = old_records_end(snapshot, today) or today
    settled = min(day, today - timedelta(days=1))
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", day))
    extra = {feature.name: feature for feature in in_force.extra_features}
    extra |= {feature.name: feature for feature in proposed.extra_features}
    progress("building features", 0, 1)
    frame = build_features(records, day, settled, also=tuple(extra.values()))
    progress("building features", 1, 1)
    progress("withholding small numbers", 0, 1)
    groups = group_columns(snapshot, records, day, policy, frame["grade_level"])
    doubted = doubted_categories(records, _doubts(settings, snapshot).silenced)
    changes = alert_changes(frame, groups, in_force, proposed, policy.smallest_cell, doubted)
    progress("withholding small numbers", 1, 1)
    return changes, day


def _doubts(settings: Settings, snapshot: Snapshot) -> LoadDoubts:
    return load_doubts(settings.home, open_database(settings.database_url), snapshot)


def _say_change(settings: Settings, in_force: AlertRules, proposed: AlertRules) -> None:
    """In one line what `preview` says of all students."""
    if not changed_rules(in_force, proposed):
        say(_same_students(in_force, proposed))
        return
    try:
        with progress_bar() as progress:
            changes, day = _changes(settings, in_force, proposed, progress)
    except NoSnapshot:
        say("No records are loaded, so nobody has an alert yet.")
        return
    say(_summary(changes, day))


def _same_students(in_force: AlertRules, proposed: AlertRules) -> str:
    if in_force.content == proposed.content:
        return f"These are the rules in force, version {in_force.version}: nothing would change."
    return (
        "No student would get an alert or lose one: only words, severities or the order of the"
        " rules are other ones."
    )


def _summary(changes: tuple[AlertChange, ...], day: date) -> str:
    district = next(change for change in changes if change.attribute == DISTRICT)
    return (
        f"As of {words.day(day)}, students with an alert now: {_number(district.now)};"
        f" who would get one: {_number(district.begin)}; who would have none any more:"
        f" {_number(district.end)}."
    )


def _print_groups(changes: tuple[AlertChange, ...], day: date) -> None:
    table = Table(
        "by",
        "students",
        "number",
        "with an alert now",
        "would get one",
        "would have none",
        title=f"early alerts as of {words.day(day)}",
    )
    for change in changes:
        if change.attribute == RULE:
            continue
        whole = change.attribute == DISTRICT
        table.add_row(
            "" if whole else attribute_label(change.attribute),
            "All students" if whole else value_label(change.attribute, change.value),
            *map(_number, (change.students, change.now, change.begin, change.end)),
        )
    print_table(table)


def _print_rules(
    changes: tuple[AlertChange, ...], in_force: AlertRules, proposed: AlertRules
) -> None:
    table = Table(
        "rule", "severity", "have it now", "would get it", "would lose it", title="by rule"
    )
    severities = [
        {rule.name: alert_words.SEVERITIES[rule.severity] for rule in rules.rules}
        for rules in (in_force, proposed)
    ]
    for change in changes:
        if change.attribute != RULE:
            continue
        before, after = (names.get(change.value, "no such rule") for names in severities)
        severity = before if before == after else f"{before}; then {after}"
        moves = ("unchanged", "") if change.unchanged else map(_number, (change.begin, change.end))
        table.add_row(change.value, severity, _number(change.now), *moves)
    print_table(table)


def _number(students: int | None) -> str:
    return WITHHELD if students is None else f"about {students:,}"


def _origin(rules: AlertRules) -> str:
    if rules.file == ALERTS_FILE:
        return "The rules that come with Handrail"
    return f"The district's own rules, {rules.file}"
