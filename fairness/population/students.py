"""The table that an audit is worked out of: one row a student, with need, what the model suggests,
and the groups.

It exists in memory alone. Need is defined without the model: early alerts from the same records.
The model sees what serving shows it at most; sensitive facts are read here, in this room alone, and
by nobody after it but as figures of groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property

import numpy as np
import pandas as pd

from fairness.checks.checks import INTERSECTION_SEPARATOR
from fairness.checks.policy import Policy
from fairness.population.comparisons import NOT_RECORDED, Codes
from features.alerts import AlertRules, raise_alerts
from features.attendance import student_days
from features.build import build_features
from features.catalog import CATALOG, feature_names
from features.doubted_alerts import Doubted, doubted_categories, undoubted
from records.access.characteristics import characteristics_on
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import Category
from records.snapshots.snapshot import Snapshot
from training.episodes.episodes import Episodes, schools_as_of
from training.estimation.arrays import BoolArray, FloatArray
from training.ranking.model_file import RankerModel
from training.ranking.suggestions import active_enrollments, eligible_supports, suggest

GRADE_BANDS = {"pre_k_2": (-1, 2), "3_5": (3, 5), "6_8": (6, 8), "9_12": (9, 12)}
EARLIER = 30
"""School days between a look ahead and what it should have seen coming."""
_FAMILIES = (Category.ATTENDANCE, Category.GRADES)
"""Of the alerts that come with Handrail; those of a district may be of others too."""


@dataclass(frozen=True)
class ModelSuggestions:
    """What a model says of the audited students, indexed as they are.

    Attributes:
        suggested_supports: which supports are suggested, bool, a column each.
        rank: the places of those that are, 1 is best; NaN where not suggested.
        benefit: the expected benefit of each support, in progress points.
        silence: why nothing is suggested; missing where something is.
    """

    suggested_supports: pd.DataFrame
    rank: pd.DataFrame
    benefit: pd.DataFrame
    silence: pd.Series

    @cached_property
    def has_suggestion(self) -> BoolArray:
        """Who has a suggestion, shape (students,)."""
        return np.asarray(self.suggested_supports.to_numpy(dtype=bool).any(axis=1), dtype=bool)


@dataclass(frozen=True)
class AuditPopulation:
    """The audited students, by `student_id`.

    Attributes:
        features: what may be known of them, discipline too.
        groups: a column an attribute of the policy, text, `NOT_RECORDED` where unknown.
        cohorts: school and grade, what is resampled together.
        severity: of the most severe alert by family, 0 where there is none: shape (students,
            families).
        earlier: the same thirty school days before, NaN where a student was not on the roll then.
        may: which supports are open to them, bool.
        served: who takes part in a support now, shape (students,).
        rules: the alert rules that say who is in need.
        doubted: what is doubted of schools: nobody there is in need by an alert that rests on it.
        doubted_schools: their names as in `groups`.
    """

    as_of: date
    features: pd.DataFrame
    groups: pd.DataFrame
    cohorts: pd.Series
    alert_severity: pd.DataFrame
    earlier_severity: pd.Series
    eligible: pd.DataFrame
    in_support: BoolArray
    rules: AlertRules = field(default_factory=AlertRules.declared)
    doubted: Doubted = ()
    doubted_schools: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.groups)

    def in_need(self, policy: Policy) -> BoolArray:
        """Who is in need, shape (students,)."""
        return np.asarray(self.alert_severity.max(axis=1) >= policy.need_severity, dtype=bool)

    @cached_property
    def need(self) -> Codes:
        """Which alerts they have, by family and severity: those with the same have the same
        need.
        """
        return need_codes(self.alert_severity)


def audit_population(
    snapshot: Snapshot,
    as_of: date,
    policy: Policy,
    supports: tuple[str, ...],
    rules: AlertRules | None = None,
    doubted: Doubted = (),
) -> AuditPopulation:
    """Every student enrolled on the day; every student where the source brings no enrollments at
    all.

    Args:
        rules: the alert rules in force; by default those that come with Handrail.
        doubted: schools, each with a category of records of which something is doubted. As on the
            site, no alert rests on it, thirty days before neither.
    """
    rules = rules or AlertRules.declared()
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", as_of))
    stays = _stays(records, as_of)
    here = stays.index
    read_by_rules = build_features(records, as_of, also=rules.extra_features).loc[here]
    features = read_by_rules[[feature.name for feature in CATALOG]]
    names = _school_names(records)
    doubted_of = doubted_categories(records, doubted)
    grades = features["grade_level"].fillna(-9).astype(int).astype(str)
    return AuditPopulation(
        as_of,
        features,
        _groups(snapshot, as_of, policy, stays, features["grade_level"], names),
        stays.fillna("") + "|" + grades,
        alert_severities(read_by_rules, rules, doubted_of),
        _earlier(snapshot, records, as_of, here, rules, doubted_of),
        eligible_supports(records, as_of, supports).loc[here],
        here.isin(active_enrollments(records, records.frame("programs"), as_of)["student_id"]),
        rules,
        doubted,
        tuple(sorted({names.get(school, school) for school, _ in doubted})),
    )


def group_columns(
    snapshot: Snapshot, records: ScopedRecords, as_of: date, policy: Policy, grades: pd.Series
) -> pd.DataFrame:
    """The single groups of an audit, of all students in `records`, whether enrolled or not.

    Args:
        grades: the grade level of each student on the day, which gives the index.
    """
    stays = _stays(records, as_of).reindex(grades.index)
    return _single_groups(snapshot, as_of, policy, stays, grades, _school_names(records))


def with_intersections(groups: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """The groups with the policy's intersections, worked out from the single ones."""
    pairs = {}
    for first, second in policy.intersections:
        known = (groups[first] != NOT_RECORDED) & (groups[second] != NOT_RECORDED)
        pairs[first + INTERSECTION_SEPARATOR + second] = (
            groups[first] + INTERSECTION_SEPARATOR + groups[second]
        ).where(known, NOT_RECORDED)
    return groups.assign(**pairs)


def suggestions_for(
    model: RankerModel, students: AuditPopulation, features: pd.DataFrame | None = None
) -> ModelSuggestions:
    """What a model suggests to the students, from `features` or from what may be known of them at
    most.
    """
    seen = students.features if features is None else features
    ranker, index = model.ranker, students.groups.index
    names = [name for name in ranker.supports_ if name in students.eligible.columns]
    shown = suggest(ranker, seen, students.eligible)
    rank = shown.table.pivot(index="student_id", columns="support", values="rank").reindex(
        index=index, columns=names
    )
    benefit = pd.DataFrame(
        {name: estimate.mean for name, estimate in shown.benefits.items()},
        index=index,
        columns=names,
        dtype="float64",
    )
    return ModelSuggestions(
        rank.notna(), rank.astype("float64"), benefit, shown.silence.reindex(index)
    )


def alert_severities(
    features: pd.DataFrame,
    rules: AlertRules,
    doubted: Mapping[str, frozenset[Category]] | None = None,
) -> pd.DataFrame:
    """The severity of each student's most severe alert, by family of alerts: indexed as
    `features`, which hold what the rules read.

    Args:
        doubted: what is doubted of each student's school, of which no alert counts. Leave it out
            for days of other school years: the figures of a load are of its own.
    """
    others = sorted({rule.category for rule in rules.rules} - set(_FAMILIES))
    families = (*_FAMILIES, *others)
    values = np.zeros((len(features), len(families)), dtype=np.intp)
    place = {str(student): row for row, student in enumerate(features.index)}
    for alert in undoubted(raise_alerts(features, rules), doubted or {}):
        row, column = place[alert.student_id], families.index(alert.category)
        values[row, column] = max(values[row, column], alert.severity)
    return pd.DataFrame(values, index=features.index, columns=[family.value for family in families])


def with_rule_features(snapshot: Snapshot, episodes: Episodes, rules: AlertRules) -> Episodes:
    """The episodes with what the alert rules read of each student on the day, beside what a model
    reads.
    """
    names = dict.fromkeys(name for rule in rules.rules for name in rule.features)
    missing = [name for name in names if name not in episodes.features.columns]
    if not missing or not len(episodes):
        return episodes
    read = pd.DataFrame(math.nan, index=episodes.features.index, columns=missing)
    for day in sorted(episodes.decision_date.unique()):
        records = ScopedRecords(snapshot, pipeline_scope(snapshot, "training", day))
        then = build_features(records, day, also=rules.extra_features)[missing]
        rows = (episodes.decision_date == day).to_numpy()
        read.loc[rows] = then.reindex(episodes.student[rows]).to_numpy()
    return replace(episodes, features=pd.concat([episodes.features, read], axis=1))


def need_codes(severity: pd.DataFrame) -> Codes:
    """One number for each combination of severities."""
    most = 4
    codes = np.zeros(len(severity), dtype=np.intp)
    for name in severity.columns:
        codes = codes * most + severity[name].to_numpy(dtype=np.intp)
    return codes


def mask_discipline(features: pd.DataFrame) -> pd.DataFrame:
    """The features with those of discipline missing."""
    hidden = set(feature_names(behavior=True)) - set(feature_names())
    return features.assign(**dict.fromkeys(hidden, math.nan))


def _groups(
    snapshot: Snapshot,
    as_of: date,
    policy: Policy,
    stays: pd.Series,
    grades: pd.Series,
    names: Mapping[str, str],
) -> pd.DataFrame:
    return with_intersections(_single_groups(snapshot, as_of, policy, stays, grades, names), policy)


def _single_groups(
    snapshot: Snapshot,
    as_of: date,
    policy: Policy,
    stays: pd.Series,
    grades: pd.Series,
    names: Mapping[str, str],
) -> pd.DataFrame:
    sensitive = characteristics_on(
        ScopedRecords(snapshot, pipeline_scope(snapshot, "audit", as_of)), as_of
    )
    facts = sensitive.set_index("student_id").reindex(stays.index)
    facts = facts.assign(grade_band=grades.map(_band), school=stays.map(names))
    return pd.DataFrame(
        {name: facts[name].map(_value).astype(object) for name in policy.groups}, index=stays.index
    )


def _earlier(
    snapshot: Snapshot,
    records: ScopedRecords,
    as_of: date,
    here: pd.Index,
    rules: AlertRules,
    doubted: Mapping[str, frozenset[Category]],
) -> pd.Series:
    """The most severe alert of each student thirty school days before; NaN where that day is not on
    record.
    """
    days = records.ask(student_days, as_of)
    days = days.loc[days["days_ago"] == EARLIER + 1, ["student_id", "date"]]
    unknown = pd.Series(math.nan, index=here)
    if days.empty:
        return unknown
    day = pd.to_datetime(days["date"]).max().date()
    then = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", day))
    there = _stays(then, day).index
    features = build_features(then, day, also=rules.extra_features).loc[there]
    severities = alert_severities(features, rules, doubted).max(axis=1).astype("float64")
    return severities.reindex(here)


def _stays(records: ScopedRecords, as_of: date) -> pd.Series:
    """The school of each student enrolled on the day, the one entered last; index student_id,
    sorted.
    """
    if records.frame("school_enrollments").empty:
        schools = records.frame("students").set_index("student_id")["school_id"]
        everyone = pd.Index(records.students, name="student_id", dtype=object)
        return schools.reindex(everyone).astype(object)
    return schools_as_of(records, as_of)["school_id"].astype(object)


def _school_names(records: ScopedRecords) -> dict[str, str]:
    """Schools by identifier; the identifier follows a name that two schools share."""
    schools = records.frame("schools")
    unclear = schools["name"].duplicated(keep=False) | schools["name"].isna()
    return {
        str(key): f"{name} ({key})" if twice else str(name)
        for key, name, twice in zip(schools["school_id"], schools["name"], unclear, strict=True)
    }


def _band(grade: float | None) -> str | None:
    for name, (low, high) in GRADE_BANDS.items():
        if grade is not None and low <= grade <= high:
            return name
    return None


def _value(value: object) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return NOT_RECORDED
    return str(value) if isinstance(value, str) else ("yes" if value else "no")


def quantile_codes(values: FloatArray, parts: int) -> Codes:
    """Which of `parts` equally large parts each value lies in, by rank: 0 is the least."""
    order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    codes: Codes = (order * parts // max(len(values), 1)).astype(np.intp)
    return codes
