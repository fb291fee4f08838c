"""Demo districts of 16,000 students made anew, and what can be done to one's source files.

The students of one district are generated once; each spoiled district is a copy of its files,
spoiled and read in.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from fairness.audit.audit import figures, measured
from fairness.measures.matched_pairs import twin_measures
from fairness.policy.policy import Policy
from fairness.population.comparisons import Figure, Rows
from fairness.population.students import Students, advice_of, audited_students, crossed
from handrail.demo import generate
from handrail.demo.simulation import Habit
from records.connectors.oneroster.files import OneRoster
from records.connectors.partner_files.service_history import ServiceHistory
from records.snapshots.snapshot import Snapshot, load
from training.episodes.episodes import Episodes, build_episodes, check_sufficient
from training.ranking.model_file import RankerModel
from training.ranking.ranker import BenefitRanker

Spoil = Callable[[Path], None]
POLICY = Policy.declared()
GROUP = "black"
ALIKE: Habit = {}
DEALS = 5
ELSEWHERE = 90_000
"""Seeds from here on are of the districts that candidates learn in."""
DEALT = (
    "sex",
    "race_ethnicity",
    "english_learner",
    "special_education",
    "unstable_housing",
    "meal_eligible",
)


@dataclass(frozen=True)
class World:
    """A district as it was read in, with what a candidate says there."""

    snapshot: Snapshot
    students: Students
    episodes: Episodes
    model: RankerModel

    def measured(self) -> tuple[Rows, list[Rows]]:
        return measured(self.model, self.students, self.snapshot, POLICY, self.episodes)

    @property
    def ours(self) -> np.ndarray:
        """Who is of the group that is wronged."""
        return (self.students.groups["race_ethnicity"] == GROUP).to_numpy()


@dataclass(frozen=True)
class District:
    """One district's students and their past, with everything that is read out of it made once."""

    folder: Path
    seed: int
    model: RankerModel

    @cached_property
    def source(self) -> Path:
        return source(self.folder, self.seed)

    @cached_property
    def true(self) -> World:
        """As it is."""
        return read(self.source, self.folder / "true", self.model)

    @cached_property
    def deals(self) -> list[tuple[Students, list[Figure]]]:
        """With every group fact dealt out anew among its students, some times, and the figures of
        each.

        What is measured of a student is the same whatever the group, but for twins.
        """
        rng, found = np.random.default_rng(self.seed), self.true
        table, others = found.measured()
        advice = advice_of(found.model, found.students)
        alike = [rows for rows in others if rows.measures[0].check != "twins"]
        deals = []
        for _ in range(DEALS):
            students = dealt_anew(found.students, rng)
            dealt = [
                replace(rows, groups=students.groups.loc[rows.groups.index])
                for rows in (table, *alike)
            ]
            twins = twin_measures(students, advice, list(found.model.ranker.feature_names_), POLICY)
            deals.append((students, figures(dealt[0], [*dealt[1:], *twins])))
        return deals

    def spoiled(self, spoil: Spoil, name: str) -> World:
        """The same district with spoiled files."""
        copy = self.folder / name
        shutil.copytree(self.source, copy / "source")
        spoil(copy / "source" / "sis")
        return read(copy / "source", copy / "home", self.model)

    def with_past(self, habit: Habit) -> World:
        """The same students, offered supports by another habit."""
        return read(
            source(self.folder / "past", self.seed, habit),
            self.folder / "past" / "home",
            self.model,
        )


def candidate(place: int) -> RankerModel:
    """A model learned in another district of the same kind."""
    with TemporaryDirectory() as folder:
        snapshot = snapshot_of(source(Path(folder), ELSEWHERE + place), Path(folder) / "home")
        episodes = build_episodes(snapshot)
        ranker = BenefitRanker(check_sufficient(episodes, snapshot), random_state=place)
        ranker.fit(episodes.features, episodes.outcome, episodes.support, episodes.student)
    return RankerModel(ranker, {}, f"{place:064d}")


def source(folder: Path, seed: int, habit: Habit = ALIKE) -> Path:
    """A district's source files."""
    generate(folder / "source", seed=seed, habit=habit)
    return folder / "source"


def snapshot_of(files: Path, home: Path) -> Snapshot:
    """Source files, read in like any other."""
    load(OneRoster(), files / "sis", home)
    load(ServiceHistory(), files / "service_history", home, merge=True)
    return Snapshot.current(home)


def read(files: Path, home: Path, model: RankerModel) -> World:
    snapshot = snapshot_of(files, home)
    students = audited_students(snapshot, snapshot.latest_date(), POLICY, model.ranker.supports_)
    return World(snapshot, students, build_episodes(snapshot), model)


def dealt_anew(students: Students, rng: np.random.Generator) -> Students:
    """The same students with each group fact of somebody else, drawn fact by fact."""
    groups = students.groups.copy()
    for name in DEALT:
        groups[name] = rng.permutation(groups[name].to_numpy())
    return replace(students, groups=crossed(groups, POLICY))


def unwritten(share: float, seed: int) -> Spoil:
    """Leaves out a share of the group's absences."""

    def spoil(sis: Path) -> None:
        lines = (sis / "attendance.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        ours, chance = set(ids_of(sis)), np.random.default_rng(seed).random(len(lines))
        kept = [
            line
            for line, drawn in zip(lines, chance, strict=True)
            if not (drawn < share and ",absent" in line and line.split(",")[0] in ours)
        ]
        (sis / "attendance.csv").write_text("".join(kept), encoding="utf-8")

    return spoil


def overwritten(share: float, seed: int) -> Spoil:
    """Writes down an incident this school year of a share of the group's students, among those who
    had none.
    """

    def spoil(sis: Path) -> None:
        told = pd.read_csv(sis / "incidents.csv", dtype=str, keep_default_na=False)
        year = told[told["date"] >= "2025-08-18"]
        ours = ids_of(sis)
        without = ours[~ours.isin(year["userSourcedId"])]
        chosen = without.sample(round(share * len(ours)), random_state=seed)
        more = year.sample(len(chosen), replace=True, random_state=seed).assign(
            userSourcedId=chosen.to_numpy(),
            incident_id=[f"more-{number}" for number in range(len(chosen))],
        )
        pd.concat([told, more]).to_csv(sis / "incidents.csv", index=False, lineterminator="\n")

    return spoil


def ids_of(sis: Path) -> pd.Series:
    """Students of the group, in a demo's own files."""
    told = pd.read_csv(sis / "demographics.csv", dtype=str)
    ours = (told["blackOrAfricanAmerican"] == "true") & (
        told["hispanicOrLatinoEthnicity"] != "true"
    )
    return told.loc[ours & (told["demographicRaceTwoOrMoreRaces"] != "true"), "sourcedId"]
