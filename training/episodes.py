"""Decision episodes: a student, a day on which a support could have been chosen, what was chosen, what followed.

Features are those of the decision day; the outcome is read from the days after it. A student who already takes part
in a support on that day has no decision to make there. Nothing here reads a sensitive fact.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.attendance import student_days
from features.build import build_features
from features.catalog import feature_names
from records.scope import ScopedRecords, pipeline_scope
from records.snapshots import Snapshot

NONE = "none"
OUTCOME_FILE = Path(__file__).parent / "outcome.toml"
DECISION_DAYS = (40, 75, 110)
"""School days of a year at which students are looked at, about one a term."""
FEWEST_EPISODES = 200
FEWEST_OF_A_SUPPORT = 100
FEWEST_DATES = 2


class NotEnoughEvidence(ValueError):
    """The records cannot support a model; the message names what is missing."""


@dataclass(frozen=True)
class Outcome:
    """How progress is measured: `training/outcome.toml`."""

    window_days: int
    start_within_days: int
    attendance_weight: float
    grades_weight: float
    smallest_benefit: float
    fewest_school_days: int

    @classmethod
    @cache
    def declared(cls) -> Outcome:
        return cls(**tomllib.loads(OUTCOME_FILE.read_text()))


@dataclass(frozen=True)
class Episodes:
    """Parallel rows: `features` (float64 by name), `student`, `decision_date`, `support` ("none" or one), `outcome`."""

    features: pd.DataFrame
    student: pd.Series
    decision_date: pd.Series
    support: pd.Series
    outcome: pd.Series

    def __len__(self) -> int:
        return len(self.outcome)

    def take(self, chosen: NDArray[np.intp]) -> Episodes:
        """The episodes at these positions."""
        return Episodes(
            self.features.iloc[chosen].reset_index(drop=True), self.student.iloc[chosen].reset_index(drop=True),
            self.decision_date.iloc[chosen].reset_index(drop=True), self.support.iloc[chosen].reset_index(drop=True),
            self.outcome.iloc[chosen].reset_index(drop=True),
        )  # fmt: skip


def decision_dates(snapshot: Snapshot, outcome: Outcome) -> list[date]:
    """The days of `DECISION_DAYS` in every school year whose window lies within the records."""
    calendar = snapshot.table("calendar").select("date", "school_year").distinct().to_pandas()
    last = snapshot.latest_date()
    found = []
    for _, days in calendar.groupby("school_year"):
        held = sorted(pd.to_datetime(days["date"]).dt.date)
        for place in DECISION_DAYS:
            if place < len(held) and held[place] + timedelta(days=outcome.window_days) <= min(last, held[-1]):
                found.append(held[place])
    return sorted(found)


def build_episodes(snapshot: Snapshot, *, behavior: bool = False,
                   progress: Callable[[int, int], None] = lambda done, total: None) -> Episodes:  # fmt: skip
    """All episodes of a snapshot. Students are told apart by their identifier, used for folds only."""
    outcome = Outcome.declared()
    dates = decision_dates(snapshot, outcome)
    parts = []
    for done, day in enumerate(dates):
        progress(done, len(dates))
        parts.append(_on(snapshot, day, outcome, behavior))
    progress(len(dates), len(dates))
    names = feature_names(behavior=behavior)
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(
        columns=[*names, "student_id", "decision_date", "support", "outcome"])  # fmt: skip
    return Episodes(frame[names].astype("float64"), frame["student_id"], frame["decision_date"],
                    frame["support"], frame["outcome"].astype("float64"))  # fmt: skip


def check_sufficient(episodes: Episodes, snapshot: Snapshot) -> tuple[str, ...]:
    """The supports that there is evidence for, in alphabetical order.

    Raises:
        NotEnoughEvidence: naming every thing that is missing.
    """
    missing = []
    rows = snapshot.manifest["rows"]
    for table, words in (("school_enrollments", "school enrollments (who was on the roll when)"),
                         ("course_grades", "course marks by grading period"),
                         ("service_enrollments", "who took part in which program")):  # fmt: skip
        if not rows.get(table):
            missing.append(f"no {words}")
    services = rows.get("service_enrollments", 0)
    if services < FEWEST_EPISODES:
        missing.append(f"{services} program enrollments on record; at least {FEWEST_EPISODES} are needed")
    dates = episodes.decision_date.nunique()
    if dates < FEWEST_DATES:
        missing.append(f"{dates} decision days with {Outcome.declared().window_days} days of records after them; at "
                       f"least {FEWEST_DATES} are needed")  # fmt: skip
    counts = episodes.support[episodes.support != NONE].value_counts()
    enough = tuple(sorted(str(name) for name in counts.index[counts >= FEWEST_OF_A_SUPPORT]))
    if not enough:
        most = f"the most is {counts.iloc[0]} ({counts.index[0]})" if len(counts) else "there is none"
        missing.append(f"no support with {FEWEST_OF_A_SUPPORT} starts whose outcome is known; {most}")
    if missing:
        raise NotEnoughEvidence("there is not enough evidence for a model: " + "; ".join(missing))
    return enough


def _on(snapshot: Snapshot, day: date, outcome: Outcome, behavior: bool) -> pd.DataFrame:
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "training", day))
    features = build_features(records, day)[feature_names(behavior=behavior)]
    progress_points = _progress(records, day, outcome)
    chosen, taking_part = _choices(records, day, outcome)
    frame = features.join(progress_points.rename("outcome"), how="inner").dropna(subset=["outcome"])
    frame = frame[frame.index.isin(_enrolled(records, day)) & ~frame.index.isin(taking_part)]
    frame["support"] = chosen.reindex(frame.index).fillna(NONE)
    frame["decision_date"] = day
    return frame.reset_index()


def _progress(records: ScopedRecords, day: date, outcome: Outcome) -> pd.Series:
    """Progress points from the window before the decision to the window after it."""
    after = day + timedelta(days=outcome.window_days)
    days = student_days(records, after)
    later = days["date"] > ibis.date(day.isoformat())
    rates = days.group_by("student_id").aggregate(
        before=days["absent"].mean(where=~later), after=days["absent"].mean(where=later),
        days_before=(~later).cast("int64").sum(), days_after=later.cast("int64").sum(),
    ).to_pandas().set_index("student_id")  # fmt: skip
    enough = (rates["days_before"] >= outcome.fewest_school_days) & (rates["days_after"] >= outcome.fewest_school_days)
    attended = (100.0 * (rates["before"] - rates["after"]))[enough]
    marks = records.table("course_grades")
    marks = marks.filter(marks["date"] <= ibis.date(after.isoformat()))
    final = marks["date"] > ibis.date(day.isoformat())
    recent = marks["date"] > ibis.date((day - timedelta(days=400)).isoformat())
    averages = marks.group_by("student_id").aggregate(
        before=marks["grade"].mean(where=~final & recent), after=marks["grade"].mean(where=final),
    ).to_pandas().set_index("student_id")  # fmt: skip
    change = (averages["after"] - averages["before"]).astype("float64").reindex(attended.index)
    points: pd.Series = outcome.attendance_weight * attended + outcome.grades_weight * change
    return points.astype("float64")


def _choices(records: ScopedRecords, day: date, outcome: Outcome) -> tuple[pd.Series, set[str]]:
    """The first support that each student started soon after, and who took part in one already."""
    services = records.frame("service_enrollments").merge(
        records.frame("programs")[["program_id", "support"]], on="program_id")  # fmt: skip
    services = services[services["support"].notna()]
    start, end = pd.to_datetime(services["start_date"]), pd.to_datetime(services["end_date"])
    at = pd.Timestamp(day)
    taking_part = set(services.loc[(start <= at) & (end.isna() | (end > at)), "student_id"])
    soon = services[(start > at) & (start <= at + pd.Timedelta(days=outcome.start_within_days))]
    first = soon.sort_values(["start_date", "program_id"]).groupby("student_id")["support"].first()
    return first, taking_part


def _enrolled(records: ScopedRecords, day: date) -> Sequence[str]:
    stays = records.table("school_enrollments")
    at = ibis.date(day.isoformat())
    there = stays.filter(stays["entry_date"] <= at, stays["exit_date"].isnull() | (stays["exit_date"] >= at))
    found: list[str] = there["student_id"].to_pyarrow().to_pylist()
    return found
