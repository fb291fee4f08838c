"""The effect of each partner program: whom it served, how much they received, and at what cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from training.effects.costs import Cost, cost_per_point, cost_per_student
from training.effects.dose_response import DoseBand, dose_response
from training.effects.effects import NO_ESTIMATE_REASONS, Effect, EffectsError, estimate_effect
from training.episodes.episodes import Episodes
from training.episodes.outcome import OutcomeDefinition
from training.estimation.policy_value import Estimate
from training.estimation.pseudo_outcomes import NONE


@dataclass(frozen=True)
class ServiceTables:
    """Canonical tables (`records.canonical.schema`): programs, service_enrollments,
    service_sessions, school_enrollments.
    """

    programs: pd.DataFrame
    enrollments: pd.DataFrame
    sessions: pd.DataFrame
    stays: pd.DataFrame


@dataclass(frozen=True)
class ProgramEffect:
    """One partner's program: what it achieved, by amount received, and at what cost (US dollars;
    None if not known).

    `cost_per_point` is the cost of one progress point of one student, with the interval that the
    effect's gives: None unless the whole interval of the effect lies above zero.
    """

    program_id: str
    organization_id: str
    name: str
    support: str
    effect: Effect
    dosage: tuple[DoseBand, ...]
    students_a_year: float
    cost_per_student: float | None
    cost_per_point: Estimate | None

    @property
    def verdict(self) -> str:
        return self.effect.verdict


def programs_of_episodes(
    episodes: Episodes, services: ServiceTables, outcome: OutcomeDefinition
) -> pd.DataFrame:
    """Which program served each episode, how much of it was received within the outcome's window,
    and the school.

    Returns:
        Rows as in `episodes`: program_id and organization_id (missing without a support), sessions
        attended and minutes of them (missing where the program records none), school_id on the
        decision day (missing if none is on record).

    Raises:
        EffectsError: a support that no enrollment on record explains.
    """
    asked = pd.DataFrame(
        {
            "row": np.arange(len(episodes)),
            "student_id": episodes.student.to_numpy(),
            "day": pd.to_datetime(episodes.decision_date).to_numpy(),
            "support": episodes.support.to_numpy(),
        }
    )
    begun = _begun(asked[asked["support"] != NONE], services, outcome)
    found = asked.merge(begun[["row", "program_id", "organization_id"]], on="row", how="left")
    lost = found[(found["support"] != NONE) & found["program_id"].isna()]
    if len(lost):
        first = lost.iloc[0]
        raise EffectsError(
            f"{len(lost)} episodes name a support that no enrollment explains: the first is row "
            f"{first['row']}, {first['support']} on {first['day']:%Y-%m-%d}"
        )
    amounts = _amounts(begun, services.sessions, outcome)
    found = found.merge(amounts, on="row", how="left").merge(
        _schools(asked, services.stays), on="row", how="left"
    )
    found = found.sort_values("row").set_index(episodes.support.index)
    return found[["program_id", "organization_id", "sessions", "minutes", "school_id"]]


def program_effects(
    episodes: Episodes,
    services: ServiceTables,
    costs: Mapping[str, Cost],
    *,
    amount: Literal["sessions", "minutes"] = "sessions",
    outcome: OutcomeDefinition | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[ProgramEffect, ...]:
    """One answer a program that served anybody, in the order of program ids.

    Those compared are the episodes in which no support began; some of these students began one
    later, so a real effect may be somewhat larger than the figure; where they are very many, some
    are drawn (`CONTROLS_PER_SERVED`). The decision day is adjusted for beside the features:
    progress has seasons.

    Args:
        costs: by program; a program without one has no figures of cost.
        amount: what dosage counts.
        progress: called with how many programs are done, of how many.
    """
    joined = programs_of_episodes(episodes, services, outcome or OutcomeDefinition.declared())
    days = pd.to_datetime(episodes.decision_date)
    features = episodes.features.reset_index(drop=True).assign(
        decision_day=(days - pd.Timestamp("2000-01-01")).dt.days.to_numpy(dtype="float64"),
        day_of_school_year=(days.dt.dayofyear.to_numpy(dtype="float64") - 182) % 366,
    )
    years = sorted(set(_school_year(days)))
    unserved = (episodes.support == NONE).to_numpy()
    known = joined["school_id"].notna().to_numpy().all()
    programs = services.programs.set_index("program_id")
    answers: list[ProgramEffect] = []
    served_any = sorted(joined["program_id"].dropna().unique())
    for program in served_any:
        progress(len(answers), len(served_any))
        served = (joined["program_id"] == program).to_numpy()
        rows = np.flatnonzero(served | unserved)
        points, who = episodes.outcome.to_numpy()[rows], episodes.student.to_numpy()[rows]
        where = joined["school_id"].to_numpy()[rows] if known else None
        received = joined[amount].to_numpy(dtype="float64")[rows]
        found = estimate_effect(
            points, served[rows], features.iloc[rows], who, where, thin=True, seed=seed
        )
        bands = dose_response(
            points, served[rows], received, features.iloc[rows], who, where, thin=True, seed=seed
        )
        yearly = _students_a_year(
            services.enrollments[services.enrollments["program_id"] == program], years
        )
        each = float(joined.loc[served, "sessions"].mean())
        price = cost_per_student(costs[program], yearly, each) if program in costs else None
        row = programs.loc[program]
        answers.append(
            ProgramEffect(
                str(program),
                str(row["organization_id"]),
                str(program if pd.isna(row["name"]) else row["name"]),
                str(row["support"]),
                found,
                bands,
                yearly,
                price,
                None if price is None else cost_per_point(price, found),
            )
        )
    progress(len(served_any), len(served_any))
    return tuple(answers)


def effects_table(found: Sequence[ProgramEffect]) -> pd.DataFrame:
    """One row a program: who, how many served and left out, naive and adjusted figures, costs,
    verdict and reason.
    """
    rows = [
        {
            "program_id": one.program_id,
            "organization_id": one.organization_id,
            "support": one.support,
            "served": one.effect.served,
            "left_out": one.effect.served_left_out,
            **_named("naive", one.effect.naive),
            **_named("effect", one.effect.estimate),
            **{
                f"effect_{band.name.replace(', ', '_').replace(' ', '_')}": _value(
                    band.effect.estimate
                )
                for band in one.dosage
            },
            "cost_per_student": np.nan if one.cost_per_student is None else one.cost_per_student,
            **_named("cost_per_point", one.cost_per_point),
            "verdict": one.verdict,
            "reason": NO_ESTIMATE_REASONS.get(one.effect.cannot_tell, ""),
        }
        for one in found
    ]
    return pd.DataFrame(rows)


def _begun(
    asked: pd.DataFrame, services: ServiceTables, outcome: OutcomeDefinition
) -> pd.DataFrame:
    """The enrollment behind each support: the first soon after the decision, as
    `training.episodes.episodes` chooses it.
    """
    offered = services.programs[["program_id", "organization_id", "support"]].dropna(
        subset=["support"]
    )
    taken = services.enrollments[["student_id", "program_id", "start_date"]].merge(
        offered, on="program_id"
    )
    pairs = asked.merge(taken, on="student_id", suffixes=("", "_offered"))
    start = pd.to_datetime(pairs["start_date"])
    soon = (start > pairs["day"]) & (
        start <= pairs["day"] + pd.Timedelta(days=outcome.start_within_days)
    )
    first = pairs.assign(start_date=start)[soon].sort_values(["row", "start_date", "program_id"])
    first = first.drop_duplicates("row")
    return first[first["support"] == first["support_offered"]]


def _amounts(
    begun: pd.DataFrame, sessions: pd.DataFrame, outcome: OutcomeDefinition
) -> pd.DataFrame:
    held = sessions[sessions["attended"].astype("boolean").fillna(False).to_numpy(dtype=bool)]
    pairs = begun[["row", "student_id", "program_id", "day"]].merge(
        held[["student_id", "program_id", "date", "minutes"]], on=["student_id", "program_id"]
    )
    day = pd.to_datetime(pairs["date"])
    within = pairs[
        (day > pairs["day"]) & (day <= pairs["day"] + pd.Timedelta(days=outcome.window_days))
    ]
    counted = within.groupby("row").agg(sessions=("program_id", "size"), minutes=("minutes", "sum"))
    counted = counted.reindex(begun["row"], fill_value=0.0).astype("float64")
    programs = begun.set_index("row")["program_id"]
    timed = sessions.loc[sessions["minutes"].notna(), "program_id"].unique()
    counted.loc[~programs.isin(sessions["program_id"].unique()), "sessions"] = np.nan
    counted.loc[~programs.isin(timed), "minutes"] = np.nan
    return counted.reset_index()


def _schools(asked: pd.DataFrame, stays: pd.DataFrame) -> pd.DataFrame:
    """The school of the latest entry that holds on the decision day."""
    pairs = asked[["row", "student_id", "day"]].merge(
        stays[["student_id", "school_id", "entry_date", "exit_date"]], on="student_id"
    )
    entry, left = pd.to_datetime(pairs["entry_date"]), pd.to_datetime(pairs["exit_date"])
    there = pairs.assign(entry_date=entry)[
        (entry <= pairs["day"]) & (left.isna() | (left >= pairs["day"]))
    ]
    last = there.sort_values(
        ["row", "entry_date", "school_id"], ascending=[True, False, True]
    ).drop_duplicates("row")
    return last[["row", "school_id"]]


def _school_year(days: pd.Series) -> pd.Series:
    """Calendar year in which the school year of each day ends; a school year begins on July 1, as
    budgets do.
    """
    years: pd.Series = days.dt.year + (days.dt.month >= 7).astype(int)
    return years


def _students_a_year(enrollments: pd.DataFrame, years: Sequence[int]) -> float:
    """Students in the program in a year, on average over those of `years` that had any."""
    start, end = pd.to_datetime(enrollments["start_date"]), pd.to_datetime(enrollments["end_date"])
    counts = []
    for year in years:
        first, after = pd.Timestamp(year - 1, 7, 1), pd.Timestamp(year, 7, 1)
        counts.append(
            enrollments.loc[(start < after) & (end.isna() | (end >= first)), "student_id"].nunique()
        )
    held = [count for count in counts if count]
    return float(np.mean(held)) if held else 0.0


def _named(prefix: str, found: Estimate | None) -> dict[str, float]:
    low, high = (np.nan, np.nan) if found is None else (found.lower, found.upper)
    return {prefix: _value(found), f"{prefix}_lower": low, f"{prefix}_upper": high}


def _value(found: Estimate | None) -> float:
    return np.nan if found is None else found.value
