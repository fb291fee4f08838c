"""One viewer's caseload: features, alerts and ranked suggestions, all from what that viewer's scope
lets through.

The order of work is the promise: scope, then features, then the model. Nothing out of scope reaches
the ranker, so nothing in its answer depends on it. The model is the approved champion or none;
without one, alerts stand alone.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from fairness.approval.signoff import ApprovalService, approved_model
from fairness.policy.policy import POLICY_FILE, Policy
from fairness.policy.policy_file import PolicyError
from features.alerts import Alert, raise_alerts
from features.build import build_features
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import Category
from records.database.engine import Database
from records.decisions.exploration import NO_EXPLORATION, ExplorationPolicy
from records.decisions.impressions import Impression, RankedSupport
from records.decisions.signoffs import signoffs
from records.people.viewer import Scope
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
NO_SUPPORTS = "Your agreement names no supports to suggest."
GETTING_READY = "Suggestions are getting ready; look again in a moment."
NO_APPROVED_MODEL = "The district has not approved a way of making suggestions."
"""All that a caseworker needs to know; reviewers read the reason on the audit's page."""


@dataclass(frozen=True)
class Suggestion:
    """One suggested support. `benefit` is `base` plus the points of all reasons, to 1e-9; `lower`
    is above zero.
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
    """What to say about supports for one student: suggestions, best first, or why there are none,
    in a sentence.

    Attributes:
        first_chances: how likely each suggestion was to stand first, in their order.
        open_to_draw: whether the order of the first ones may be drawn by lot; `drawn`: whether it
            was.
        challenger: the supports that a challenger would show, best first. Nobody is shown them.
    """

    suggestions: tuple[Suggestion, ...]
    silence: str
    first_chances: tuple[float, ...] = ()
    open_to_draw: bool = False
    drawn: bool = False
    challenger: tuple[str, ...] = ()


@dataclass(frozen=True)
class RankingInputs:
    """What ranks: the approved champion, or none and a plain sentence why; a challenger that runs
    beside it unseen; and whether near-equal supports may change places by lot.
    """

    champion: RankerModel | None
    why_none: str = ""
    challenger: RankerModel | None = None
    exploration: ExplorationPolicy = NO_EXPLORATION
    secret: bytes = b""

    @property
    def key(self) -> tuple[str, ...]:
        """What a caseload depends on of all this."""
        hashes = (one.sha256 if one else "" for one in (self.champion, self.challenger))
        return (*hashes, self.why_none, f"{self.exploration.share:g}/{self.exploration.within:g}")


@dataclass(frozen=True)
class Caseload:
    """Everything computed for one scope.

    `order`: students with the most urgent alert first; of equally urgent ones, first those for whom
    a support of the viewer's own programs is suggested, since there the viewer can act.
    """

    features: pd.DataFrame
    alerts: Mapping[str, tuple[Alert, ...]]
    advice: Mapping[str, Advice]
    order: tuple[str, ...]


class ApprovedModelCache:
    """Keeps the approved champion loaded, and looks again whenever the registry or a signature has
    changed.
    """

    def __init__(self, home: Path, database: Database, secret: bytes) -> None:
        self._home, self._database, self._secret = home, database, secret
        self._seen: object = None
        self._found: tuple[RankerModel | None, str] = (None, GETTING_READY)
        self._challenger: RankerModel | None = None
        self._lock = threading.Lock()
        self._ready = threading.Event()

    def start(self, now: datetime) -> None:
        """Load in the background: the registry's library takes seconds to import."""
        threading.Thread(target=self._look, args=(now,), daemon=True).start()

    def wait(self) -> None:
        """Until the first look is over."""
        self._ready.wait()

    def model(self, now: datetime) -> tuple[RankerModel | None, str]:
        """The champion that may serve now, or None and a plain sentence."""
        if self._ready.is_set():
            self._look(now)
        return self._found

    def challenger(self, now: datetime) -> RankerModel | None:
        """The model that runs beside the champion, unseen, if there is one."""
        self.model(now)
        return self._challenger

    def _look(self, now: datetime) -> None:
        with self._lock:
            seen = self._stamp(now)
            if seen != self._seen or not self._ready.is_set():
                self._found, self._challenger, self._seen = (
                    self._load(now),
                    self._load_challenger(),
                    seen,
                )
            self._ready.set()

    def _load(self, now: datetime) -> tuple[RankerModel | None, str]:
        try:
            policy = Policy.from_home(self._home)
        except (PolicyError, SmallNumbersError):
            return None, NO_APPROVED_MODEL
        approved = approved_model(
            ApprovalService(self._database, self._home, policy, self._secret), now
        )
        if approved.version is None:
            return None, NO_APPROVED_MODEL
        try:
            return read_model(approved.version.file, approved.version.sha256), ""
        except InvalidModelFile:
            return None, NO_APPROVED_MODEL

    def _load_challenger(self) -> RankerModel | None:
        """The challenger, where it is another model than the one that serves and its file is what
        was registered.
        """
        champion, version = self._found[0], challenger_version(self._home)
        if version is None:
            return None
        try:
            found = model_version(self._home, version)
            return (
                None
                if champion and champion.sha256 == found.sha256
                else read_model(found.file, found.sha256)
            )
        except (ModelNotFound, InvalidModelFile):
            return None

    def _stamp(self, now: datetime) -> object:
        rules = (POLICY_FILE.name, SMALL_NUMBERS_FILE.name)
        files = [self._home / name for name in ("mlflow.db", "mlflow.db-wal", *rules)]
        files += sorted((self._home / "audits").glob("*/*/audit.json"))
        files += sorted((self._home / "drift").glob("*.json"))
        stats = [(file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.exists()]
        return stats, signoffs(self._database), now.date()


def caseload(
    records: ScopedRecords, as_of: date, ranking: RankingInputs, *, quiet: Collection[Category] = ()
) -> Caseload:
    """Features, alerts and advice of every student in `records`, from what its scope shows.

    Args:
        quiet: categories whose records are too old to raise an alert.
    """
    features = build_features(records, as_of)
    raised: dict[str, list[Alert]] = defaultdict(list)
    for alert in raise_alerts(features):
        if alert.category not in quiet:
            raised[alert.student_id].append(alert)
    advice = _advice(records, features, as_of, ranking)
    own = _own_supports(records)

    def urgency(student: str) -> tuple[int | bool | str, ...]:
        found = raised.get(student, [])
        act = any(suggestion.support in own for suggestion in advice[student].suggestions)
        counts = (-sum(alert.severity == severity for alert in found) for severity in (3, 2, 1))
        return (
            -max((alert.severity for alert in found), default=0),
            not act,
            *counts,
            records.scope.handle(student),
        )

    return Caseload(
        features,
        {student: tuple(found) for student, found in raised.items()},
        advice,
        tuple(sorted(records.students, key=urgency)),
    )


def _own_supports(records: ScopedRecords) -> frozenset[str]:
    programs = records.frame("programs")
    own = programs.loc[
        programs["organization_id"] == records.scope.viewer.organization_id, "support"
    ]
    return frozenset(own.dropna())


def impression_of(
    scope: Scope,
    snapshot_id: str,
    as_of: date,
    ranking: RankingInputs,
    student: str,
    advice: Advice,
) -> Impression:
    """What is to be written down of advice that is about to be shown
    (`records.decisions.impressions`).
    """
    listed = tuple(
        RankedSupport(
            one.support, one.rank, round(chance, 6), round(one.benefit, 6), round(one.lower, 6)
        )
        for one, chance in zip(advice.suggestions, advice.first_chances, strict=True)
    )
    champion, challenger = (
        one.sha256 if one else "" for one in (ranking.champion, ranking.challenger)
    )
    return Impression(
        student,
        scope.viewer.organization_id,
        as_of,
        snapshot_id,
        champion,
        listed,
        advice.drawn,
        challenger,
        advice.challenger,
    )


def _advice(
    records: ScopedRecords, features: pd.DataFrame, as_of: date, ranking: RankingInputs
) -> dict[str, Advice]:
    scope, model = records.scope, ranking.champion
    granted = {student: scope.supports(student) for student in records.students}
    if model is None:
        return {
            student: Advice((), f"No suggestion yet. {ranking.why_none}".strip())
            for student in granted
        }
    advisable = [student for student in records.students if granted[student]]
    advice = {student: Advice((), NO_SUPPORTS) for student in granted if not granted[student]}
    if not advisable:
        return advice
    supports = sorted({support for student in advisable for support in granted[student]})
    allowed = eligible_supports(records, as_of, supports).loc[advisable]
    for support in supports:
        allowed[support] &= np.array([support in granted[student] for student in advisable])
    found = suggest(model.ranker, features.loc[advisable], allowed)
    unseen = _challenged(ranking.challenger, features.loc[advisable], allowed)
    for student, code in found.silence.items():
        advice[str(student)] = Advice(
            (),
            f"No suggestion: {ABSTENTION_REASONS[code]}.",
            challenger=unseen.get(str(student), ()),
        )
    shown, drawn = order_suggestions(
        found.table,
        ranking.exploration,
        weekly_draw(ranking.secret, as_of, model.sha256),
        MAX_SUGGESTIONS_SHOWN,
    )
    chances = shown.groupby("student_id")["first_chance"].apply(tuple).to_dict()
    return advice | {
        student: Advice(
            made,
            "",
            chances[student],
            student in drawn,
            drawn.get(student, False),
            unseen.get(student, ()),
        )
        for student, made in _explained(records, features, model, shown).items()
    }


def _challenged(
    challenger: RankerModel | None, features: pd.DataFrame, allowed: pd.DataFrame
) -> Mapping[str, tuple[str, ...]]:
    """What the challenger would show each student, best first."""
    if challenger is None:
        return {}
    table = suggest(challenger.ranker, features, allowed).table
    shown = table[table["rank"] <= MAX_SUGGESTIONS_SHOWN].groupby("student_id")["support"]
    return {str(student): tuple(supports) for student, supports in shown}


def _explained(
    records: ScopedRecords, features: pd.DataFrame, model: RankerModel, shown: pd.DataFrame
) -> dict[str, tuple[Suggestion, ...]]:
    programs = records.frame("programs")
    offered = (
        programs.groupby("support")["name"].apply(lambda names: tuple(sorted(names))).to_dict()
    )
    made: dict[str, list[Suggestion]] = defaultdict(list)
    shown = shown.assign(visible=[_visible(records, student) for student in shown["student_id"]])
    for (support, visible), rows in shown.groupby(["support", "visible"], sort=True):
        categories = [Category(name) for name in str(visible).split(";")]
        explained = explain_suggestions(
            model.ranker, features.loc[rows["student_id"]], str(support), categories
        )
        for row, why in zip(rows.to_dict("records"), explained, strict=True):
            made[str(row["student_id"])].append(
                Suggestion(
                    str(support),
                    int(row["rank"]),
                    float(row["benefit"]),
                    float(row["lower"]),
                    float(row["upper"]),
                    why.base,
                    confidence_label(row["benefit"], row["lower"]),
                    benefit_sentence(row["benefit"]),
                    why.reasons,
                    offered.get(support, ()),
                )
            )
    return {student: tuple(sorted(found, key=lambda s: s.rank)) for student, found in made.items()}


def _visible(records: ScopedRecords, student: str) -> str:
    return ";".join(sorted(records.scope.categories(student)))
