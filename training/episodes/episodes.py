"""Decision episodes: a student, a decision day, what was chosen and what followed.

Features are those of the decision day; progress is read from the days after it. A student who takes
part in a support already can start another: the new one is the choice, and the ongoing one is part
of the features. Of several that start within the window the first is the choice, and whatever comes
later is part of what followed it; a student who starts two different ones on one day is left out.
Nothing here reads a sensitive fact. docs/episodes.md describes all this in plain words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.build import build_features
from features.catalog import FEATURES_BY_NAME, feature_names
from records.access.expressions import Day, TableExpr, date_of, table
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.canonical.columns import (
    Calendar,
    CourseGrades,
    Programs,
    SchoolEnrollments,
    ServiceEnrollments,
    Students,
)
from records.snapshots.snapshot import Snapshot
from records.system.errors import UserError
from training.episodes.censoring import CensoringReport, impute_censored
from training.episodes.outcome import OutcomeDefinition, progress_points
from training.estimation.pseudo_outcomes import NONE

DECISION_DAYS = (40, 75, 110)
"""School days of a year, about one a term, whose choices are studied."""
REQUIRED_FAMILY = "grade_level"
"""The family of features that decides which programs are open."""
MIN_EPISODES = 200
MIN_STARTS_PER_SUPPORT = 100
MIN_DECISION_DAYS = 2
MIN_SCHOOL_CLUSTERS = 10
"""With fewer, an interval by school is far too narrow: Cameron & Miller (2015), Journal of Human
Resources 50(2)."""
Rows = TypeVar("Rows", pd.DataFrame, pd.Series)
_POINTS = "points:"
_DECISION_DATE, _MOVED_AWAY = "decision_date", "moved_away"
_FACTS = (
    Students.STUDENT_ID,
    _DECISION_DATE,
    Programs.SUPPORT,
    SchoolEnrollments.SCHOOL_ID,
    _MOVED_AWAY,
)
_REQUIRED_TABLES = {
    SchoolEnrollments.TABLE: "school enrollments (who was enrolled when)",
    CourseGrades.TABLE: "course grades by grading period",
    ServiceEnrollments.TABLE: "who took part in which program",
}


class NotEnoughEvidence(UserError, ValueError):
    """The records cannot support a model; the message names what is missing."""


class UnknownFeatureFamily(UserError, ValueError):
    """A family of features to be left out that does not exist; the message names those that do."""


class DecisionDay(NamedTuple):
    """A day of `DECISION_DAYS` in one year: its date, its number, and the year's last day."""

    day: date
    place: int
    year_end: date


@dataclass(frozen=True)
class Episodes:
    """Parallel rows, one an episode; `support` is "none" or the support that was chosen.

    Attributes:
        outcome: progress points, imputed where a measure is not known
            (`training.episodes.censoring`).
        measure_points: what is known of it: progress points by measure, NaN where unknown. None
            where the outcome was complete from the start.
        school: the school on the decision day, an empty text where none is on record. None where
            schools were not read.
        moved_away: whether the student left every school of the district within the window.
        clustered_by: what is never split between folds, and what intervals are robust to.
    """

    features: pd.DataFrame
    student: pd.Series
    decision_date: pd.Series
    support: pd.Series
    outcome: pd.Series
    measure_points: pd.DataFrame | None = None
    school: pd.Series | None = None
    moved_away: pd.Series | None = None
    clustered_by: Literal["student", "school"] = "student"

    def __len__(self) -> int:
        return len(self.outcome)

    @property
    def cluster(self) -> pd.Series:
        """The student or the school of each episode, after `clustered_by`."""
        if self.clustered_by == "student":
            return self.student
        return pd.Series(dtype=object) if self.school is None else self.school

    def take(self, positions: NDArray[np.intp]) -> Episodes:
        """The episodes at these positions."""

        def rows(part: Rows) -> Rows:
            return part.iloc[positions].reset_index(drop=True)

        def rows_if_any(part: Rows | None) -> Rows | None:
            return None if part is None else rows(part)

        return Episodes(
            features=rows(self.features),
            student=rows(self.student),
            decision_date=rows(self.decision_date),
            support=rows(self.support),
            outcome=rows(self.outcome),
            measure_points=rows_if_any(self.measure_points),
            school=rows_if_any(self.school),
            moved_away=rows_if_any(self.moved_away),
            clustered_by=self.clustered_by,
        )

    def clustered_by_school(self) -> Episodes:
        """These episodes with schools as clusters, so that no school is in two folds.

        Raises:
            NotEnoughEvidence: there are fewer schools than `MIN_SCHOOL_CLUSTERS`.
        """
        count = 0 if self.school is None else self.school.nunique()
        if count < MIN_SCHOOL_CLUSTERS:
            raise NotEnoughEvidence(
                f"the episodes are of {count} schools; folds by school need {MIN_SCHOOL_CLUSTERS}"
            )
        return replace(self, clustered_by="school")

    def with_imputed_outcome(self, seed: int = 0) -> Episodes:
        """These episodes with the outcome imputed from them alone, so that no others inform it."""
        return self._imputed(seed)[0]

    def censoring_report(self, seed: int = 0) -> list[CensoringReport]:
        """How far each measure is known."""
        return self._imputed(seed)[1]

    def _imputed(self, seed: int) -> tuple[Episodes, list[CensoringReport]]:
        if self.measure_points is None or not len(self):
            return self, []
        outcome, report = impute_censored(
            self.measure_points, self.features, self.support, self.cluster, seed
        )
        return replace(self, outcome=outcome), report


def complete_decision_days(snapshot: Snapshot, outcome: OutcomeDefinition) -> list[date]:
    """The days of `DECISION_DAYS` in every school year whose window lies within the records."""
    last, window = snapshot.latest_date(), timedelta(days=outcome.window_days)
    return [
        decision.day
        for decision in calendar_decision_days(snapshot)
        if decision.day + window <= min(last, decision.year_end)
    ]


def calendar_decision_days(snapshot: Snapshot) -> list[DecisionDay]:
    """The days of `DECISION_DAYS` in every school year of the calendar, past and future."""
    calendar = (
        snapshot.table(Calendar.TABLE)
        .select(Calendar.DATE, Calendar.SCHOOL_YEAR)
        .distinct()
        .to_pandas()
    )
    decision_days: list[DecisionDay] = []
    for _, rows in calendar.groupby(Calendar.SCHOOL_YEAR):
        days = sorted(pd.to_datetime(rows[Calendar.DATE]).dt.date)
        decision_days += [
            DecisionDay(days[number], number, days[-1])
            for number in DECISION_DAYS
            if number < len(days)
        ]
    return sorted(decision_days)


def features_as_of(snapshot: Snapshot, day: date, *, behavior: bool = False) -> pd.DataFrame:
    """The features of everybody enrolled on a day, by `student_id`."""
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "training", day))
    frame = build_features(records, day)[feature_names(behavior=behavior)]
    return frame[frame.index.isin(schools_as_of(records, day).index)]


def build_episodes(
    snapshot: Snapshot,
    *,
    behavior: bool = False,
    outcome: OutcomeDefinition | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Episodes:
    """All episodes of a snapshot. The students' identifiers in it serve for folds only.

    Args:
        behavior: let discipline be among the features, which a district must opt in to.
        outcome: what counts as progress; by default as it comes with Handrail.
        progress: called with how many decision days are done, of how many.
    """
    definition = outcome or OutcomeDefinition.declared()
    days = complete_decision_days(snapshot, definition)
    parts = []
    for done, day in enumerate(days):
        progress(done, len(days))
        parts.append(_episodes_on(snapshot, day, definition, behavior))
    progress(len(days), len(days))
    names, measures = feature_names(behavior=behavior), list(definition.weighted_measures)
    point_columns = [_POINTS + measure for measure in measures]
    frame = (
        pd.concat(parts, ignore_index=True)
        if parts
        else pd.DataFrame(columns=[*names, *point_columns, *_FACTS])
    )
    points = frame[point_columns].astype("float64").set_axis(measures, axis=1)
    return Episodes(
        features=frame[names].astype("float64"),
        student=frame[Students.STUDENT_ID],
        decision_date=frame[_DECISION_DATE],
        support=frame[Programs.SUPPORT],
        outcome=points.sum(axis=1, skipna=False),
        measure_points=points,
        school=frame[SchoolEnrollments.SCHOOL_ID],
        moved_away=frame[_MOVED_AWAY].astype(bool),
    ).with_imputed_outcome()


def drop_feature_families(episodes: Episodes, families: Sequence[str]) -> Episodes:
    """The episodes without these families of features; the grade level always stays.

    Raises:
        UnknownFeatureFamily: a family is not one of theirs, or none would be left.
    """
    family_of = {name: FEATURES_BY_NAME[name].family for name in episodes.features.columns}
    droppable = [
        family for family in dict.fromkeys(family_of.values()) if family != REQUIRED_FAMILY
    ]
    unknown = [family for family in families if family not in droppable]
    if unknown or set(droppable) <= set(families):
        problem = (
            f"there is no family of features {unknown[0]!r} to leave out"
            if unknown
            else "no feature would be left"
        )
        raise UnknownFeatureFamily(f"{problem}; there are {', '.join(droppable)}")
    names = [name for name, family in family_of.items() if family not in families]
    return replace(episodes, features=episodes.features[names])


def require_evidence(episodes: Episodes, snapshot: Snapshot) -> tuple[str, ...]:
    """The supports that there is enough evidence for, in alphabetical order.

    Raises:
        NotEnoughEvidence: naming everything that is missing.
    """
    enough, support_problem = _supports_with_evidence(episodes)
    missing = [
        *_missing_records(snapshot),
        *_missing_days(episodes),
        *_rarely_known_measures(episodes),
        *support_problem,
    ]
    if missing:
        raise NotEnoughEvidence("there is not enough evidence for a model: " + "; ".join(missing))
    return enough


def schools_as_of(records: ScopedRecords, day: date) -> pd.DataFrame:
    """Who was enrolled on the day: index student_id; school_id, that of the latest entry."""
    enrolled = records.ask(_enrollments_on, day)
    enrolled = enrolled.sort_values(
        [
            SchoolEnrollments.STUDENT_ID,
            SchoolEnrollments.ENTRY_DATE,
            SchoolEnrollments.SCHOOL_ID,
        ]
    )
    schools: pd.DataFrame = enrolled.groupby(SchoolEnrollments.STUDENT_ID)[
        [SchoolEnrollments.SCHOOL_ID]
    ].last()
    return schools


def _missing_records(snapshot: Snapshot) -> list[str]:
    row_counts = snapshot.manifest["rows"]
    missing = [
        f"no {description}"
        for name, description in _REQUIRED_TABLES.items()
        if not row_counts.get(name)
    ]
    enrollments = row_counts.get(ServiceEnrollments.TABLE, 0)
    if enrollments < MIN_EPISODES:
        missing.append(
            f"{enrollments} program enrollments on record; at least {MIN_EPISODES} are needed"
        )
    return missing


def _missing_days(episodes: Episodes) -> list[str]:
    days = episodes.decision_date.nunique()
    if days >= MIN_DECISION_DAYS:
        return []
    return [
        f"{days} decision days with a complete window of records after them; at least"
        f" {MIN_DECISION_DAYS} are needed"
    ]


def _rarely_known_measures(episodes: Episodes) -> list[str]:
    if episodes.measure_points is None or not len(episodes):
        return []
    return [
        f"{measure}, which counts as progress, is known in {count:,} episodes; at least"
        f" {MIN_EPISODES} are needed, or a weight of 0 in outcome.toml"
        for measure, count in episodes.measure_points.count().items()
        if count < MIN_EPISODES
    ]


def _supports_with_evidence(episodes: Episodes) -> tuple[tuple[str, ...], list[str]]:
    """The supports with enough starts; and, where there is none, the problem."""
    starts = episodes.support[episodes.support != NONE].value_counts()
    enough = tuple(sorted(str(name) for name in starts.index[starts >= MIN_STARTS_PER_SUPPORT]))
    if enough:
        return enough, []
    most = f"the most is {starts.iloc[0]} ({starts.index[0]})" if len(starts) else "there is none"
    return (), [f"no support with {MIN_STARTS_PER_SUPPORT} starts whose outcome is known; {most}"]


def _episodes_on(
    snapshot: Snapshot, day: date, outcome: OutcomeDefinition, behavior: bool
) -> pd.DataFrame:
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "training", day))
    features = build_features(records, day)[feature_names(behavior=behavior)]
    frame = features.join(progress_points(records, day, outcome).add_prefix(_POINTS))
    stays = _stays(records, day, outcome)
    chosen, unclear = _choices(records, day, outcome)
    frame = frame[frame.index.isin(stays.index) & ~frame.index.isin(unclear)].join(stays)
    frame[Programs.SUPPORT] = chosen.reindex(frame.index).fillna(NONE)
    frame[_DECISION_DATE] = day
    return frame.rename_axis(Students.STUDENT_ID).reset_index()


def _choices(
    records: ScopedRecords, day: date, outcome: OutcomeDefinition
) -> tuple[pd.Series, set[str]]:
    """The first support of each student soon after the day, and who started two at once."""
    student, support = ServiceEnrollments.STUDENT_ID, Programs.SUPPORT
    programs = records.frame(Programs.TABLE)[[Programs.PROGRAM_ID, support]]
    services = records.frame(ServiceEnrollments.TABLE).merge(programs, on=Programs.PROGRAM_ID)
    services = services[services[support].notna()]
    start = pd.to_datetime(services[ServiceEnrollments.START_DATE])
    end = pd.to_datetime(services[ServiceEnrollments.END_DATE])
    decision = pd.Timestamp(day)
    deadline = decision + pd.Timedelta(days=outcome.start_within_days)

    is_ongoing = (start <= decision) & (end.isna() | (end > decision))
    ongoing = pd.MultiIndex.from_frame(services.loc[is_ongoing, [student, support]])
    soon = services[(start > decision) & (start <= deadline)]
    # A second enrollment in a support that is going on already is no new choice.
    soon = soon[~pd.MultiIndex.from_frame(soon[[student, support]]).isin(ongoing)]
    earliest = soon.groupby(student)[ServiceEnrollments.START_DATE].transform("min")
    first = soon[soon[ServiceEnrollments.START_DATE] == earliest]
    supports = first.groupby(student)[support].agg(["first", "nunique"])
    return supports["first"], set(supports.index[supports["nunique"] > 1])


def _stays(records: ScopedRecords, day: date, outcome: OutcomeDefinition) -> pd.DataFrame:
    """Who was enrolled on the day: index student_id; school_id and moved_away."""
    exits = records.ask(_last_exits, day, outcome.window_days).set_index(Students.STUDENT_ID)
    stays = schools_as_of(records, day).join(exits)
    window_end = pd.Timestamp(day) + pd.Timedelta(days=outcome.window_days)
    left_early = pd.to_datetime(stays["left"]) < window_end
    with_exits: pd.DataFrame = stays[[SchoolEnrollments.SCHOOL_ID]].assign(
        moved_away=left_early & ~stays["open"].astype(bool)
    )
    return with_exits


def _enrollments_on(records: ScopedRecords, day: Day) -> TableExpr:
    enrollments = table(records, SchoolEnrollments.TABLE)
    entry, exit_ = (
        enrollments[SchoolEnrollments.ENTRY_DATE],
        enrollments[SchoolEnrollments.EXIT_DATE],
    )
    on_day = enrollments.filter(entry <= date_of(day), exit_.isnull() | (exit_ >= date_of(day)))
    return on_day.select(
        SchoolEnrollments.STUDENT_ID, SchoolEnrollments.SCHOOL_ID, SchoolEnrollments.ENTRY_DATE
    )


def _last_exits(records: ScopedRecords, day: Day, window_days: int) -> TableExpr:
    """Of enrollments begun by the end of the window: the last exit, and whether any is open."""
    enrollments = table(records, SchoolEnrollments.TABLE)
    window_end = date_of(day + timedelta(days=window_days))
    begun = enrollments.filter(enrollments[SchoolEnrollments.ENTRY_DATE] <= window_end)
    exit_date = begun[SchoolEnrollments.EXIT_DATE]
    return begun.group_by(SchoolEnrollments.STUDENT_ID).aggregate(
        left=exit_date.max(), open=exit_date.isnull().any()
    )
