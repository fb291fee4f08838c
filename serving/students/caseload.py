"""One viewer's caseload: features, alerts and ranked suggestions of every student in their scope.

The order of work is the promise: scope, then features, then the model. Nothing out of scope reaches
the ranker, so nothing in its answer depends on it. The model is the approved champion or none;
without one, alerts stand alone.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from fairness.approval.signoff import ApprovalService, approved_model
from fairness.checks.policy import POLICY_FILE, Policy
from fairness.checks.policy_file import PolicyError
from features.alerts import ALERTS_FILE, Alert, AlertRules, raise_alerts
from features.build import build_features
from features.catalog import CATALOG
from features.declarations import DeclarationError
from features.doubted_alerts import Doubted, doubted_categories, undoubted
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import Category
from records.canonical.supports import SUPPORTS_FILE, SupportsError
from records.database.engine import Database
from records.decisions.exploration import NO_EXPLORATION, ExplorationPolicy
from records.decisions.impressions import Impression, RankedSupport
from records.decisions.signoffs import signoffs
from records.staff.viewer import Scope
from records.suppression.small_numbers import SMALL_NUMBERS_FILE, SmallNumbersError
from serving.students.suggestion_order import order_suggestions, weekly_draw
from serving.students.suggestion_reasons import (
    Reason,
    benefit_sentence,
    confidence_label,
    explain_suggestions,
)
from training.ranking.model_file import InvalidModelFile, RankerModel, read_model
from training.ranking.suggestions import ABSTENTION_REASONS, eligible_supports, suggest
from training.registry.registry import ModelNotFound, challenger_version, model_version

MAX_SUGGESTIONS_SHOWN = 3
NO_SUPPORTS = "Your agreement does not list any supports."
NO_LISTED_SUPPORTS = "The district no longer offers the supports in your agreement."
OLD_RECORDS = "The records are of a school year that is over, so there is no suggestion now."
GETTING_READY = "Suggestions are loading. Check back in a moment."
NO_APPROVED_MODEL = "The district has not approved a suggestion model."
"""All that a caseworker needs to know; reviewers read the reason on the audit's page."""


@dataclass(frozen=True)
class Suggestion:
    """One suggested support. Its fields are those of the JSON answer.

    Attributes:
        rank: its place on the list as it is shown, from 1.
        benefit: the expected benefit in progress points: `base` plus the points of all reasons, to
            1e-9.
        lower, upper: the interval of the benefit; `lower` is above zero.
        base: the starting point, before anything of this record is read.
        sureness: how sure the ranker is, in words.
        programs: names of the programs in scope that offer the support.
    """

    support: str
    rank: int
    benefit: float
    lower: float
    upper: float
    base: float
    sureness: str
    summary: str
    reasons: tuple[Reason, ...]
    programs: tuple[str, ...]


@dataclass(frozen=True)
class Advice:
    """The suggestions for one student, best first, or the reason why there are none.

    Attributes:
        no_suggestion_reason: a sentence; empty where there are suggestions.
        top_propensities: for each suggestion, the probability with which it was placed first.
        can_be_randomized: whether the order of the first ones may be drawn at random.
        randomized: whether it was.
        challenger: the supports that the challenger would show, best first. Nobody sees them.
    """

    suggestions: tuple[Suggestion, ...]
    no_suggestion_reason: str
    top_propensities: tuple[float, ...] = ()
    can_be_randomized: bool = False
    randomized: bool = False
    challenger: tuple[str, ...] = ()


@dataclass(frozen=True)
class RankingInputs:
    """What ranks supports now.

    Attributes:
        champion: the approved model, or None.
        no_model_reason: why there is none, in a plain sentence.
        challenger: a model that runs beside it and is shown to nobody.
        exploration: whether near-equal supports may change places at random.
        secret: the key of the weekly draw.
    """

    champion: RankerModel | None
    no_model_reason: str = ""
    challenger: RankerModel | None = None
    exploration: ExplorationPolicy = NO_EXPLORATION
    secret: bytes = b""

    @property
    def key(self) -> tuple[str, ...]:
        """Everything here that a caseload depends on, to cache it by."""
        models = (self.champion, self.challenger)
        digests = (model.sha256 if model else "" for model in models)
        exploration = f"{self.exploration.share:g}/{self.exploration.within:g}"
        return (*digests, self.no_model_reason, exploration)


@dataclass(frozen=True)
class Caseload:
    """Everything computed for one scope.

    Attributes:
        features: one row a student.
        alerts: of each student who has one.
        advice: of every student.
        order: student IDs, the most urgent alert first; among equally urgent ones, first those to
            whom a support of the viewer's own programs is suggested, since there the viewer can
            act.
        doubted: what is doubted of each student's school, of the categories that the viewer may
            see and a rule reads. Of it no alert is raised.
    """

    features: pd.DataFrame
    alerts: Mapping[str, tuple[Alert, ...]]
    advice: Mapping[str, Advice]
    order: tuple[str, ...]
    doubted: Mapping[str, frozenset[Category]] = field(default_factory=dict)


class ApprovedModelCache:
    """Holds the approved champion and the challenger, and loads them again whenever the registry,
    an audit, a drift report or a signature has changed.
    """

    def __init__(self, home: Path, database: Database, secret: bytes) -> None:
        self._home, self._database, self._secret = home, database, secret
        self._loaded_state: object = None
        self._champion: tuple[RankerModel | None, str] = (None, GETTING_READY)
        self._challenger: RankerModel | None = None
        self._lock = threading.Lock()
        self._ready = threading.Event()

    def start(self, now: datetime) -> None:
        """Load in the background: the registry's library takes seconds to import."""
        threading.Thread(target=self._refresh, args=(now,), daemon=True).start()

    def wait(self) -> None:
        """Block until the models have been loaded once."""
        self._ready.wait()

    def model(self, now: datetime) -> tuple[RankerModel | None, str]:
        """The approved champion, or None and the reason in a plain sentence."""
        if self._ready.is_set():
            self._refresh(now)
        return self._champion

    def challenger(self, now: datetime) -> RankerModel | None:
        """The model that runs beside the champion and is shown to nobody, if there is one."""
        self.model(now)
        return self._challenger

    def _refresh(self, now: datetime) -> None:
        with self._lock:
            state = self._current_state(now)
            if state != self._loaded_state or not self._ready.is_set():
                self._champion = self._load_champion(now)
                self._challenger = self._load_challenger()
                self._loaded_state = state
            self._ready.set()

    def _load_champion(self, now: datetime) -> tuple[RankerModel | None, str]:
        try:
            policy = Policy.from_home(self._home)
            service = ApprovalService(self._database, self._home, policy, self._secret)
            version = approved_model(service, now).version
        except (PolicyError, SmallNumbersError, SupportsError, DeclarationError):
            # Of rules that cannot be read nobody knows whether the audit was made under them.
            return None, NO_APPROVED_MODEL
        if version is None:
            return None, NO_APPROVED_MODEL
        try:
            return read_model(version.file, version.sha256), ""
        except InvalidModelFile:
            return None, NO_APPROVED_MODEL

    def _load_challenger(self) -> RankerModel | None:
        """The challenger, if it is another model than the champion and its file is intact."""
        number = challenger_version(self._home)
        if number is None:
            return None
        champion, _ = self._champion
        try:
            version = model_version(self._home, number)
            if champion and champion.sha256 == version.sha256:
                return None
            return read_model(version.file, version.sha256)
        except (ModelNotFound, InvalidModelFile):
            return None

    def _current_state(self, now: datetime) -> object:
        """Equal for two moments only where the same models may be in use."""
        rules = (POLICY_FILE.name, SMALL_NUMBERS_FILE.name, SUPPORTS_FILE.name, ALERTS_FILE.name)
        files = [self._home / name for name in ("mlflow.db", "mlflow.db-wal", *rules)]
        files += sorted((self._home / "audits").glob("*/*/audit.json"))
        files += sorted((self._home / "drift").glob("*.json"))
        stats = [(file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.exists()]
        return stats, signoffs(self._database), now.date()


def caseload(
    records: ScopedRecords,
    as_of: date,
    ranking: RankingInputs,
    rules: AlertRules,
    *,
    muted_categories: Collection[Category] = (),
    records_end: date | None = None,
    doubted: Doubted = (),
) -> Caseload:
    """Features, alerts and advice of every student in `records`, from what its scope shows.

    Args:
        as_of: today, on which nobody knows yet who is at school.
        rules: the alert rules in force.
        muted_categories: those whose records are too old to raise an alert.
        records_end: the day of the newest record, where all of them are of a school year that is
            over: then there are neither alerts nor suggestions.
        doubted: what is doubted of schools: alerts that rest on it are not raised there.
    """
    doubted_of = doubted_categories(records, doubted)
    read_by_rules = build_features(
        records, as_of, settled=as_of - timedelta(days=1), also=rules.extra_features
    )
    features = read_by_rules[[feature.name for feature in CATALOG]]
    alerts: dict[str, list[Alert]] = defaultdict(list)
    for alert in undoubted(raise_alerts(read_by_rules, rules), doubted_of):
        if alert.categories.isdisjoint(muted_categories) and records_end is None:
            alerts[alert.student_id].append(alert)
    advice = (
        _advice(records, features, as_of, ranking)
        if records_end is None
        else {student: Advice((), OLD_RECORDS) for student in records.students}
    )
    own_supports = _own_supports(records)

    def urgency(student: str) -> tuple[int | bool | str, ...]:
        severities = [alert.severity for alert in alerts.get(student, [])]
        can_act = any(
            suggestion.support in own_supports for suggestion in advice[student].suggestions
        )
        return (
            -max(severities, default=0),
            not can_act,
            *(-severities.count(severity) for severity in (3, 2, 1)),
            records.scope.handle(student),
        )

    return Caseload(
        features,
        {student: tuple(raised) for student, raised in alerts.items()},
        advice,
        tuple(sorted(records.students, key=urgency)),
        _visible_doubts(records.scope, doubted_of, rules),
    )


def impression_of(
    scope: Scope,
    snapshot_id: str,
    as_of: date,
    ranking: RankingInputs,
    student: str,
    advice: Advice,
) -> Impression:
    """Advice that is about to be shown, as `records.decisions.impressions` logs it."""
    listed = tuple(
        RankedSupport(
            suggestion.support,
            suggestion.rank,
            round(propensity, 6),
            round(suggestion.benefit, 6),
            round(suggestion.lower, 6),
        )
        for suggestion, propensity in zip(advice.suggestions, advice.top_propensities, strict=True)
    )
    return Impression(
        student,
        scope.viewer.organization_id,
        as_of,
        snapshot_id,
        ranking.champion.sha256 if ranking.champion else "",
        listed,
        advice.randomized,
        ranking.challenger.sha256 if ranking.challenger else "",
        advice.challenger,
    )


def _visible_doubts(
    scope: Scope, doubted: Mapping[str, frozenset[Category]], rules: AlertRules
) -> dict[str, frozenset[Category]]:
    """What is doubted of students of whom the viewer might have seen an alert of it."""
    visible = {
        student: categories & scope.categories(student) & rules.categories
        for student, categories in doubted.items()
    }
    return {student: categories for student, categories in visible.items() if categories}


def _own_supports(records: ScopedRecords) -> frozenset[str]:
    """The supports of the programs of the viewer's organization."""
    programs = records.frame("programs")
    own = programs["organization_id"] == records.scope.viewer.organization_id
    return frozenset(programs.loc[own, "support"].dropna())


def _advice(
    records: ScopedRecords, features: pd.DataFrame, as_of: date, ranking: RankingInputs
) -> dict[str, Advice]:
    """Advice for every student in `records`.

    A kind of support that the district's list no longer has is suggested to nobody, whatever an
    agreement names and the model knows.
    """
    model = ranking.champion
    named = {student: records.scope.supports(student) for student in records.students}
    granted = {
        student: tuple(support for support in supports if support in records.supports)
        for student, supports in named.items()
    }
    if model is None:
        reason = f"No suggestion yet. {ranking.no_model_reason}".strip()
        return {student: Advice((), reason) for student in granted}
    advice = {
        student: Advice((), NO_LISTED_SUPPORTS if named[student] else NO_SUPPORTS)
        for student, supports in granted.items()
        if not supports
    }
    students = [student for student, supports in granted.items() if supports]
    if students:
        eligible = _eligible(records, as_of, {student: granted[student] for student in students})
        advice |= _model_advice(records, features.loc[students], eligible, as_of, ranking, model)
    return advice


def _eligible(
    records: ScopedRecords, as_of: date, granted: Mapping[str, Collection[str]]
) -> pd.DataFrame:
    """Which supports may be suggested to whom: a row a student, a column a support, booleans."""
    supports = sorted({support for granted_ones in granted.values() for support in granted_ones})
    eligible = eligible_supports(records, as_of, supports).loc[list(granted)]
    for support in supports:
        eligible[support] &= np.array(
            [support in granted_ones for granted_ones in granted.values()]
        )
    return eligible


def _model_advice(
    records: ScopedRecords,
    features: pd.DataFrame,
    eligible: pd.DataFrame,
    as_of: date,
    ranking: RankingInputs,
    model: RankerModel,
) -> dict[str, Advice]:
    """Advice for the students of `features`, as the model ranks and the order is drawn."""
    ranked = suggest(model.ranker, features, eligible)
    challenger = _challenger_lists(ranking.challenger, features, eligible)
    shown, randomized = order_suggestions(
        ranked.table,
        ranking.exploration,
        weekly_draw(ranking.secret, as_of, model.sha256),
        MAX_SUGGESTIONS_SHOWN,
    )
    propensities = shown.groupby("student_id")["top_propensity"].apply(tuple).to_dict()
    advice = {
        str(student): Advice(
            (),
            f"No suggestion: {ABSTENTION_REASONS[code]}.",
            challenger=challenger.get(str(student), ()),
        )
        for student, code in ranked.silence.items()
    }
    for student, suggestions in _explained(records, features, model, shown).items():
        advice[student] = Advice(
            suggestions,
            "",
            top_propensities=propensities[student],
            can_be_randomized=student in randomized,
            randomized=randomized.get(student, False),
            challenger=challenger.get(student, ()),
        )
    return advice


def _challenger_lists(
    challenger: RankerModel | None, features: pd.DataFrame, eligible: pd.DataFrame
) -> Mapping[str, tuple[str, ...]]:
    """The supports that the challenger would show each student, best first."""
    if challenger is None:
        return {}
    table = suggest(challenger.ranker, features, eligible).table
    shown = table[table["rank"] <= MAX_SUGGESTIONS_SHOWN].groupby("student_id")["support"]
    return {str(student): tuple(supports) for student, supports in shown}


def _explained(
    records: ScopedRecords, features: pd.DataFrame, model: RankerModel, shown: pd.DataFrame
) -> dict[str, tuple[Suggestion, ...]]:
    """The shown rows as suggestions with reasons, by student, each student's in order of rank."""
    programs = records.frame("programs")
    offering = (
        programs.groupby("support")["name"].apply(lambda names: tuple(sorted(names))).to_dict()
    )
    suggestions: dict[str, list[Suggestion]] = defaultdict(list)
    shown = shown.assign(
        visible=[_visible_categories(records, student) for student in shown["student_id"]]
    )
    # One call of TreeSHAP for all students of a support who are explained by the same categories.
    for (support, visible), rows in shown.groupby(["support", "visible"], sort=True):
        categories = [Category(name) for name in str(visible).split(";")]
        explanations = explain_suggestions(
            model.ranker, features.loc[rows["student_id"]], str(support), categories
        )
        for row, explanation in zip(rows.to_dict("records"), explanations, strict=True):
            suggestions[str(row["student_id"])].append(
                Suggestion(
                    support=str(support),
                    rank=int(row["rank"]),
                    benefit=float(row["benefit"]),
                    lower=float(row["lower"]),
                    upper=float(row["upper"]),
                    base=explanation.base,
                    sureness=confidence_label(row["benefit"], row["lower"]),
                    summary=benefit_sentence(row["benefit"]),
                    reasons=explanation.reasons,
                    programs=offering.get(support, ()),
                )
            )
    return {
        student: tuple(sorted(listed, key=lambda suggestion: suggestion.rank))
        for student, listed in suggestions.items()
    }


def _visible_categories(records: ScopedRecords, student: str) -> str:
    return ";".join(sorted(records.scope.categories(student)))
