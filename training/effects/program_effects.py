"""The effect of each partner program: whom it served, how much they received, and at what cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from records.canonical.columns import (
    Programs,
    SchoolEnrollments,
    ServiceEnrollments,
    ServiceSessions,
)
from training.effects.costs import Cost, cost_per_point, cost_per_student
from training.effects.dose_response import DoseBand, dose_response
from training.effects.effects import NO_ESTIMATE_REASONS, Effect, EffectsError, estimate_effect
from training.episodes.episodes import Episodes
from training.episodes.outcome import OutcomeDefinition
from training.estimation.policy_value import Estimate
from training.estimation.pseudo_outcomes import NONE


@dataclass(frozen=True)
class ServiceTables:
    """Canonical tables of programs, enrollments in them, sessions, and school enrollments."""

    programs: pd.DataFrame
    enrollments: pd.DataFrame
    sessions: pd.DataFrame
    stays: pd.DataFrame


@dataclass(frozen=True)
class ProgramEffect:
    """One partner program: what it achieved, by amount received, and at what cost (US dollars).

    `cost_per_point` is the cost of one progress point of one student, with the interval that the
    effect's gives: None unless the whole interval of the effect lies above zero.
    """

    program_id: str
    organization_id: str
    name: str
    support: str
    effect: Effect
    dosage: tuple[DoseBand, ...]
    students_per_year: float
    cost_per_student: float | None
    cost_per_point: Estimate | None

    @property
    def verdict(self) -> str:
        """The verdict on this program alone (`training.effects.effects.Effect.verdict`)."""
        return self.effect.verdict


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
    """The effect of each program that served anybody, in the order of program ids.

    Comparison episodes are those in which no support began; some of these students began one later,
    so a real effect may be somewhat larger than its estimate. Where they are very many, a sample is
    used (`CONTROLS_PER_SERVED`). The decision day is adjusted for with the features: progress has
    seasons.

    Args:
        episodes: of all decision days.
        services: the tables from which the program of each episode is read.
        costs: by program; a program without one has no figures of cost.
        amount: what doses are measured in.
        outcome: the definition of progress; by default the one of Handrail.
        seed: of folds and samples.
        progress: called with how many programs are done, of how many.

    Raises:
        EffectsError: a support that no enrollment on record explains.
    """
    served_by = programs_of_episodes(episodes, services, outcome or OutcomeDefinition.declared())
    features = _with_season(episodes)
    years = sorted(set(_school_year(pd.to_datetime(episodes.decision_date))))
    unserved = (episodes.support == NONE).to_numpy()
    schools_known = served_by[SchoolEnrollments.SCHOOL_ID].notna().to_numpy().all()
    programs = services.programs.set_index(Programs.PROGRAM_ID)
    program_ids = sorted(served_by[Programs.PROGRAM_ID].dropna().unique())
    effects: list[ProgramEffect] = []
    for program_id in program_ids:
        progress(len(effects), len(program_ids))
        served = (served_by[Programs.PROGRAM_ID] == program_id).to_numpy()
        rows = np.flatnonzero(served | unserved)
        points, students = episodes.outcome.to_numpy()[rows], episodes.student.to_numpy()[rows]
        schools = served_by[SchoolEnrollments.SCHOOL_ID].to_numpy()[rows] if schools_known else None
        received = served_by[amount].to_numpy(dtype="float64")[rows]
        effect = estimate_effect(
            points,
            served[rows],
            features.iloc[rows],
            students,
            schools,
            subsample_controls=True,
            seed=seed,
        )
        dose_bands = dose_response(
            points,
            served[rows],
            received,
            features.iloc[rows],
            students,
            schools,
            subsample_controls=True,
            seed=seed,
        )
        enrollments = services.enrollments
        yearly = _students_a_year(
            enrollments[enrollments[ServiceEnrollments.PROGRAM_ID] == program_id], years
        )
        sessions_each = float(served_by.loc[served, "sessions"].mean())
        per_student = (
            cost_per_student(costs[program_id], yearly, sessions_each)
            if program_id in costs
            else None
        )
        row = programs.loc[program_id]
        effects.append(
            ProgramEffect(
                program_id=str(program_id),
                organization_id=str(row[Programs.ORGANIZATION_ID]),
                name=str(program_id if pd.isna(row[Programs.NAME]) else row[Programs.NAME]),
                support=str(row[Programs.SUPPORT]),
                effect=effect,
                dosage=dose_bands,
                students_per_year=yearly,
                cost_per_student=per_student,
                cost_per_point=None if per_student is None else cost_per_point(per_student, effect),
            )
        )
    progress(len(program_ids), len(program_ids))
    return tuple(effects)


def programs_of_episodes(
    episodes: Episodes, services: ServiceTables, outcome: OutcomeDefinition
) -> pd.DataFrame:
    """The program that served each episode, the amount received in the window, and the school.

    Returns:
        Rows as in `episodes`: program_id and organization_id (missing without a support), sessions
        attended and minutes of them (missing where the program records none), school_id on the
        decision day (missing if none is on record).

    Raises:
        EffectsError: a support that no enrollment on record explains.
    """
    choices = pd.DataFrame(
        {
            "row": np.arange(len(episodes)),
            "student_id": episodes.student.to_numpy(),
            "day": pd.to_datetime(episodes.decision_date).to_numpy(),
            "support": episodes.support.to_numpy(),
        }
    )
    begun = _chosen_enrollments(choices[choices["support"] != NONE], services, outcome)
    programs = choices.merge(begun[["row", "program_id", "organization_id"]], on="row", how="left")
    unexplained = programs[(programs["support"] != NONE) & programs["program_id"].isna()]
    if len(unexplained):
        first = unexplained.iloc[0]
        raise EffectsError(
            f"{len(unexplained)} episodes name a support that no enrollment explains: the first is"
            f" row {first['row']}, {first['support']} on {first['day']:%Y-%m-%d}"
        )
    amounts = _amounts_received(begun, services.sessions, outcome)
    schools = _schools_on_day(choices, services.stays)
    programs = programs.merge(amounts, on="row", how="left").merge(schools, on="row", how="left")
    programs = programs.sort_values("row").set_index(episodes.support.index)
    return programs[["program_id", "organization_id", "sessions", "minutes", "school_id"]]


def effects_table(programs: Sequence[ProgramEffect]) -> pd.DataFrame:
    """One row a program: students, naive and adjusted figures, costs, verdict and reason."""
    rows = [
        {
            "program_id": program.program_id,
            "organization_id": program.organization_id,
            "support": program.support,
            "served": program.effect.served,
            "left_out": program.effect.served_left_out,
            **_estimate_columns("naive", program.effect.naive),
            **_estimate_columns("effect", program.effect.estimate),
            **{
                f"effect_{band.name.replace(', ', '_').replace(' ', '_')}": _value_or_nan(
                    band.effect.estimate
                )
                for band in program.dosage
            },
            "cost_per_student": (
                np.nan if program.cost_per_student is None else program.cost_per_student
            ),
            **_estimate_columns("cost_per_point", program.cost_per_point),
            "verdict": program.verdict,
            "reason": NO_ESTIMATE_REASONS.get(program.effect.cannot_tell, ""),
        }
        for program in programs
    ]
    return pd.DataFrame(rows)


def _with_season(episodes: Episodes) -> pd.DataFrame:
    """The features with the decision day, and its place in the school year from July 1."""
    days = pd.to_datetime(episodes.decision_date)
    return episodes.features.reset_index(drop=True).assign(
        decision_day=(days - pd.Timestamp("2000-01-01")).dt.days.to_numpy(dtype="float64"),
        day_of_school_year=(days.dt.day_of_year.to_numpy(dtype="float64") - 182) % 366,
    )


def _chosen_enrollments(
    choices: pd.DataFrame, services: ServiceTables, outcome: OutcomeDefinition
) -> pd.DataFrame:
    """The enrollment behind each support, chosen as `training.episodes.episodes` does."""
    offered = services.programs[
        [Programs.PROGRAM_ID, Programs.ORGANIZATION_ID, Programs.SUPPORT]
    ].dropna(subset=[Programs.SUPPORT])
    enrollments = services.enrollments[
        [
            ServiceEnrollments.STUDENT_ID,
            ServiceEnrollments.PROGRAM_ID,
            ServiceEnrollments.START_DATE,
        ]
    ].merge(offered, on=Programs.PROGRAM_ID)
    pairs = choices.merge(enrollments, on=ServiceEnrollments.STUDENT_ID, suffixes=("", "_offered"))
    start = pd.to_datetime(pairs[ServiceEnrollments.START_DATE])
    deadline = pairs["day"] + pd.Timedelta(days=outcome.start_within_days)
    soon = (start > pairs["day"]) & (start <= deadline)
    first = pairs.assign(start_date=start)[soon].sort_values(
        ["row", ServiceEnrollments.START_DATE, ServiceEnrollments.PROGRAM_ID]
    )
    first = first.drop_duplicates("row")
    return first[first["support"] == first["support_offered"]]


def _amounts_received(
    begun: pd.DataFrame, sessions: pd.DataFrame, outcome: OutcomeDefinition
) -> pd.DataFrame:
    """Sessions attended and their minutes in the window, by row; missing where not recorded."""
    attended_flags = sessions[ServiceSessions.ATTENDED].astype("boolean").fillna(False)
    attended = sessions[attended_flags.to_numpy(dtype=bool)]
    key: list[str] = [ServiceSessions.STUDENT_ID, ServiceSessions.PROGRAM_ID]
    pairs = begun[["row", *key, "day"]].merge(
        attended[[*key, ServiceSessions.DATE, ServiceSessions.MINUTES]], on=key
    )
    day = pd.to_datetime(pairs[ServiceSessions.DATE])
    window_end = pairs["day"] + pd.Timedelta(days=outcome.window_days)
    within = pairs[(day > pairs["day"]) & (day <= window_end)]
    amounts = within.groupby("row").agg(
        sessions=(ServiceSessions.PROGRAM_ID, "size"), minutes=(ServiceSessions.MINUTES, "sum")
    )
    amounts = amounts.reindex(begun["row"], fill_value=0.0).astype("float64")
    programs = begun.set_index("row")[ServiceSessions.PROGRAM_ID]
    with_minutes = sessions[ServiceSessions.MINUTES].notna()
    recording = sessions[ServiceSessions.PROGRAM_ID].unique()
    recording_minutes = sessions.loc[with_minutes, ServiceSessions.PROGRAM_ID].unique()
    amounts.loc[~programs.isin(recording), "sessions"] = np.nan
    amounts.loc[~programs.isin(recording_minutes), "minutes"] = np.nan
    return amounts.reset_index()


def _schools_on_day(choices: pd.DataFrame, enrollments: pd.DataFrame) -> pd.DataFrame:
    """The school of the latest enrollment that holds on the decision day, by row."""
    pairs = choices[["row", "student_id", "day"]].merge(
        enrollments[
            [
                SchoolEnrollments.STUDENT_ID,
                SchoolEnrollments.SCHOOL_ID,
                SchoolEnrollments.ENTRY_DATE,
                SchoolEnrollments.EXIT_DATE,
            ]
        ],
        on=SchoolEnrollments.STUDENT_ID,
    )
    entry = pd.to_datetime(pairs[SchoolEnrollments.ENTRY_DATE])
    exit_ = pd.to_datetime(pairs[SchoolEnrollments.EXIT_DATE])
    on_day = pairs.assign(entry_date=entry)[
        (entry <= pairs["day"]) & (exit_.isna() | (exit_ >= pairs["day"]))
    ]
    latest = on_day.sort_values(
        ["row", SchoolEnrollments.ENTRY_DATE, SchoolEnrollments.SCHOOL_ID],
        ascending=[True, False, True],
    ).drop_duplicates("row")
    return latest[["row", SchoolEnrollments.SCHOOL_ID]]


def _school_year(days: pd.Series) -> pd.Series:
    """Calendar year in which the school year of each day ends; it begins on July 1."""
    years: pd.Series = days.dt.year + (days.dt.month >= 7).astype(int)
    return years


def _students_a_year(enrollments: pd.DataFrame, years: Sequence[int]) -> float:
    """Students in the program in a year, on average over those of `years` that had any."""
    start = pd.to_datetime(enrollments[ServiceEnrollments.START_DATE])
    end = pd.to_datetime(enrollments[ServiceEnrollments.END_DATE])
    counts = []
    for year in years:
        first_day, day_after = pd.Timestamp(year - 1, 7, 1), pd.Timestamp(year, 7, 1)
        in_year = (start < day_after) & (end.isna() | (end >= first_day))
        counts.append(enrollments.loc[in_year, ServiceEnrollments.STUDENT_ID].nunique())
    counts_with_any = [count for count in counts if count]
    return float(np.mean(counts_with_any)) if counts_with_any else 0.0


def _estimate_columns(name: str, estimate: Estimate | None) -> dict[str, float]:
    lower, upper = (np.nan, np.nan) if estimate is None else (estimate.lower, estimate.upper)
    return {name: _value_or_nan(estimate), f"{name}_lower": lower, f"{name}_upper": upper}


def _value_or_nan(estimate: Estimate | None) -> float:
    return np.nan if estimate is None else estimate.value
