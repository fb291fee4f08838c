"""Decision episodes: a student, a day on which a support could have been chosen, what was chosen,
what followed.

Features are those of the decision day; progress is read from the days after it. A student who takes
part in a support already can start another: that one is the choice, and what goes on is part of the
features. Of several that start within the window the first is the choice, and whatever comes later
is part of what followed it; who starts two different ones on one day says nothing of either.
Nothing here reads a sensitive fact. docs/episodes.md says all this in plain words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.build import build_features
from features.catalog import FEATURES_BY_NAME, feature_names
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.snapshots.queries import DateLike, as_date
from records.snapshots.snapshot import Snapshot
from records.system.errors import UserError
from training.episodes.censoring import CensoringReport, impute_censored
from training.episodes.outcome import OutcomeDefinition, progress_points
from training.estimation.pseudo_outcomes import NONE

DECISION_DAYS = (40, 75, 110)
"""School days of a year at which students are looked at, about one a term."""
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
_FACTS = ("student_id", "decision_date", "support", "school_id", "moved_away")


class NotEnoughEvidence(UserError, ValueError):
    """The records cannot support a model; the message names what is missing."""


class UnknownFeatureFamily(UserError, ValueError):
    """A family of features that is to be left out and is none; the message names those that there
    are.
    """


class DecisionDay(NamedTuple):
    """A day of `DECISION_DAYS` in one school year: the date, which of them it is, and the year's
    last day.
    """

    day: date
    place: int
    year_end: date


@dataclass(frozen=True)
class Episodes:
    """Parallel rows: `features` (float64 by name), `student`, `decision_date`, `support` ("none" or
    one), `outcome`.

    Attributes:
        outcome: progress points, completed where a measure is not known
            (`training.episodes.censoring`).
        points: what is known of it: progress points by measure, NaN where unknown. None where the
            outcome is whole.
        school: the school on the decision day, an empty text where none is on record. None where
            nobody asked.
        moved_away: whether the student left every school of the district within the window.
    """

    features: pd.DataFrame
    student: pd.Series
    decision_date: pd.Series
    support: pd.Series
    outcome: pd.Series
    points: pd.DataFrame | None = None
    school: pd.Series | None = None
    moved_away: pd.Series | None = None

    def __len__(self) -> int:
        return len(self.outcome)

    def take(self, chosen: NDArray[np.intp]) -> Episodes:
        """The episodes at these positions."""

        def of(part: Rows) -> Rows:
            return part.iloc[chosen].reset_index(drop=True)

        def if_any(part: Rows | None) -> Rows | None:
            return None if part is None else of(part)

        return Episodes(
            of(self.features),
            of(self.student),
            of(self.decision_date),
            of(self.support),
            of(self.outcome),
            if_any(self.points),
            if_any(self.school),
            if_any(self.moved_away),
        )

    def by_school(self) -> Episodes:
        """The same with the school in the student's place, for folds and intervals that let no
        school speak of itself.

        Raises:
            NotEnoughEvidence: there are fewer schools than `MIN_SCHOOL_CLUSTERS`.
        """
        schools = pd.Series(dtype=object) if self.school is None else self.school
        if schools.nunique() < MIN_SCHOOL_CLUSTERS:
            raise NotEnoughEvidence(
                f"the episodes are of {schools.nunique()} schools; folds by school need "
                f"{MIN_SCHOOL_CLUSTERS}"
            )
        return replace(self, student=schools)

    def completed(self, seed: int = 0) -> Episodes:
        """The same with the outcome completed from these episodes alone, so that no other ones
        speak in it.
        """
        return self._completed(seed)[0]

    def known(self, seed: int = 0) -> list[CensoringReport]:
        """How far each measure is known."""
        return self._completed(seed)[1]

    def _completed(self, seed: int) -> tuple[Episodes, list[CensoringReport]]:
        if self.points is None or not len(self):
            return self, []
        outcome, report = impute_censored(
            self.points, self.features, self.support, self.student, seed
        )
        return replace(self, outcome=outcome), report


def complete_decision_days(snapshot: Snapshot, outcome: OutcomeDefinition) -> list[date]:
    """The days of `DECISION_DAYS` in every school year whose window lies within the records."""
    last, window = snapshot.latest_date(), timedelta(days=outcome.window_days)
    return [
        one.day
        for one in calendar_decision_days(snapshot)
        if one.day + window <= min(last, one.year_end)
    ]


def calendar_decision_days(snapshot: Snapshot) -> list[DecisionDay]:
    """The days of `DECISION_DAYS` in every school year of the calendar, whether they have passed or
    not, by date.
    """
    calendar = snapshot.table("calendar").select("date", "school_year").distinct().to_pandas()
    found = []
    for _, days in calendar.groupby("school_year"):
        held = sorted(pd.to_datetime(days["date"]).dt.date)
        found += [
            DecisionDay(held[place], place, held[-1])
            for place in DECISION_DAYS
            if place < len(held)
        ]
    return sorted(found)


def features_as_of(snapshot: Snapshot, day: date, *, behavior: bool = False) -> pd.DataFrame:
    """The features of everybody who was on the roll on a day, by `student_id`: of an episode all
    but what followed.
    """
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
    """All episodes of a snapshot. Students are told apart by their identifier, used for folds only.

    Args:
        behavior: let discipline be among the features, which a district must opt in to.
        outcome: what counts as progress; by default as it comes with Handrail.
    """
    measured = outcome or OutcomeDefinition.declared()
    dates = complete_decision_days(snapshot, measured)
    parts = []
    for done, day in enumerate(dates):
        progress(done, len(dates))
        parts.append(_on(snapshot, day, measured, behavior))
    progress(len(dates), len(dates))
    names, counted = feature_names(behavior=behavior), list(measured.counted)
    frame = (
        pd.concat(parts, ignore_index=True)
        if parts
        else pd.DataFrame(columns=[*names, *(_POINTS + name for name in counted), *_FACTS])
    )
    points = frame[[_POINTS + name for name in counted]].astype("float64").set_axis(counted, axis=1)
    return Episodes(
        frame[names].astype("float64"),
        frame["student_id"],
        frame["decision_date"],
        frame["support"],
        points.sum(axis=1, skipna=False),
        points,
        frame["school_id"],
        frame["moved_away"].astype(bool),
    ).completed()


def drop_feature_families(episodes: Episodes, families: Sequence[str]) -> Episodes:
    """The same episodes without these families of features. The grade stays: it says which programs
    are open.

    Raises:
        UnknownFeatureFamily: one is no family of theirs, or none would be left.
    """
    own = {name: FEATURES_BY_NAME[name].family for name in episodes.features.columns}
    there = [family for family in dict.fromkeys(own.values()) if family != REQUIRED_FAMILY]
    wrong = [family for family in families if family not in there]
    kept = [name for name, family in own.items() if family not in families]
    if wrong or set(there) <= set(families):
        said = (
            f"there is no family of features {wrong[0]!r} to leave out"
            if wrong
            else "no feature would be left"
        )
        raise UnknownFeatureFamily(f"{said}; there are {', '.join(there)}")
    return replace(episodes, features=episodes.features[kept])


def require_evidence(episodes: Episodes, snapshot: Snapshot) -> tuple[str, ...]:
    """The supports that there is evidence for, in alphabetical order.

    Raises:
        NotEnoughEvidence: naming every thing that is missing.
    """
    missing = []
    rows = snapshot.manifest["rows"]
    for table, words in (
        ("school_enrollments", "school enrollments (who was on the roll when)"),
        ("course_grades", "course marks by grading period"),
        ("service_enrollments", "who took part in which program"),
    ):
        if not rows.get(table):
            missing.append(f"no {words}")
    services = rows.get("service_enrollments", 0)
    if services < MIN_EPISODES:
        missing.append(
            f"{services} program enrollments on record; at least {MIN_EPISODES} are needed"
        )
    dates = episodes.decision_date.nunique()
    if dates < MIN_DECISION_DAYS:
        missing.append(
            f"{dates} decision days with a whole window of records after them; at least"
            f" {MIN_DECISION_DAYS} are needed"
        )
    if episodes.points is not None and len(episodes):
        missing += [
            f"{name}, which counts as progress, is known of {known:,} episodes; at least"
            f" {MIN_EPISODES} are needed, or a weight of 0 in outcome.toml"
            for name, known in episodes.points.count().items()
            if known < MIN_EPISODES
        ]
    counts = episodes.support[episodes.support != NONE].value_counts()
    enough = tuple(sorted(str(name) for name in counts.index[counts >= MIN_STARTS_PER_SUPPORT]))
    if not enough:
        most = (
            f"the most is {counts.iloc[0]} ({counts.index[0]})" if len(counts) else "there is none"
        )
        missing.append(
            f"no support with {MIN_STARTS_PER_SUPPORT} starts whose outcome is known; {most}"
        )
    if missing:
        raise NotEnoughEvidence("there is not enough evidence for a model: " + "; ".join(missing))
    return enough


def _on(snapshot: Snapshot, day: date, outcome: OutcomeDefinition, behavior: bool) -> pd.DataFrame:
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "training", day))
    names = feature_names(behavior=behavior)
    frame = build_features(records, day)[names].join(
        progress_points(records, day, outcome).add_prefix(_POINTS)
    )
    stays = _stays(records, day, outcome)
    chosen, unclear = _choices(records, day, outcome)
    frame = frame[frame.index.isin(stays.index) & ~frame.index.isin(unclear)].join(stays)
    frame["support"] = chosen.reindex(frame.index).fillna(NONE)
    frame["decision_date"] = day
    return frame.rename_axis("student_id").reset_index()


def _choices(
    records: ScopedRecords, day: date, outcome: OutcomeDefinition
) -> tuple[pd.Series, set[str]]:
    """The first support that each student started soon after, and who started two different ones on
    that first day.
    """
    services = records.frame("service_enrollments").merge(
        records.frame("programs")[["program_id", "support"]], on="program_id"
    )
    services = services[services["support"].notna()]
    start, end = pd.to_datetime(services["start_date"]), pd.to_datetime(services["end_date"])
    at = pd.Timestamp(day)
    going_on = pd.MultiIndex.from_frame(
        services.loc[(start <= at) & (end.isna() | (end > at)), ["student_id", "support"]]
    )
    soon = services[(start > at) & (start <= at + pd.Timedelta(days=outcome.start_within_days))]
    soon = soon[~pd.MultiIndex.from_frame(soon[["student_id", "support"]]).isin(going_on)]
    first = soon[soon["start_date"] == soon.groupby("student_id")["start_date"].transform("min")]
    kinds = first.groupby("student_id")["support"].agg(["first", "nunique"])
    return kinds["first"], set(kinds.index[kinds["nunique"] > 1])


def _stays(records: ScopedRecords, day: date, outcome: OutcomeDefinition) -> pd.DataFrame:
    """Who was enrolled on the day: index student_id; school_id, and whether the student moved away
    in the window.
    """
    last = records.ask(_last_exits, day, outcome.window_days).set_index("student_id")
    found = schools_as_of(records, day).join(last)
    gone = pd.to_datetime(found["left"]) < pd.Timestamp(day) + pd.Timedelta(
        days=outcome.window_days
    )
    known: pd.DataFrame = found[["school_id"]].assign(moved_away=gone & ~found["open"].astype(bool))
    return known


def schools_as_of(records: ScopedRecords, day: date) -> pd.DataFrame:
    """Who was enrolled on the day, and where: index student_id; school_id, the one that was entered
    last.
    """
    found = records.ask(_there, day)
    found = found.sort_values(["student_id", "entry_date", "school_id"])
    last: pd.DataFrame = found.groupby("student_id")[["school_id"]].last()
    return last


def _there(records: ScopedRecords, day: DateLike) -> Any:
    stays, at = records.table("school_enrollments"), as_date(day)
    there = stays.filter(
        stays["entry_date"] <= at, stays["exit_date"].isnull() | (stays["exit_date"] >= at)
    )
    return there.select("student_id", "school_id", "entry_date")


def _last_exits(records: ScopedRecords, day: DateLike, window: int) -> Any:
    stays = records.table("school_enrollments")
    begun = stays.filter(stays["entry_date"] <= as_date(day + timedelta(days=window)))
    return begun.group_by("student_id").aggregate(
        left=begun["exit_date"].max(), open=begun["exit_date"].isnull().any()
    )
