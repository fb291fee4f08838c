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

from fairness.audit.audit import group_comparisons, measure_population
from fairness.measures.matched_pairs import matched_pair_measures
from fairness.policy.policy import Policy
from fairness.population.comparisons import GroupComparison, MeasureTable
from fairness.population.students import (
    AuditPopulation,
    audit_population,
    suggestions_for,
    with_intersections,
)
from handrail.demo import write_source_files
from handrail.demo.simulation import OfferBias
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.partner_files.service_history import ServiceHistory
from records.loading.load import load
from records.snapshots.snapshot import Snapshot
from training.episodes.episodes import Episodes, build_episodes, require_evidence
from training.ranking.model_file import RankerModel
from training.ranking.ranker import BenefitRanker

Injection = Callable[[Path], None]
POLICY = Policy.declared()
GROUP = "black"
NO_BIAS: OfferBias = {}
N_PERMUTATIONS = 5
CANDIDATE_SEED_BASE = 90_000
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
class LoadedDistrict:
    """A district as it was read in, with what a candidate says there."""

    snapshot: Snapshot
    students: AuditPopulation
    episodes: Episodes
    model: RankerModel

    def measured(self) -> tuple[MeasureTable, list[MeasureTable]]:
        return measure_population(self.model, self.students, self.snapshot, POLICY, self.episodes)

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
    def true(self) -> LoadedDistrict:
        """As it is."""
        return read(self.source, self.folder / "true", self.model)

    @cached_property
    def deals(self) -> list[tuple[AuditPopulation, list[GroupComparison]]]:
        """With every group fact dealt out anew among its students, some times, and the figures of
        each.

        What is measured of a student is the same whatever the group, but for twins.
        """
        rng, found = np.random.default_rng(self.seed), self.true
        table, others = found.measured()
        advice = suggestions_for(found.model, found.students)
        alike = [rows for rows in others if rows.measures[0].check != "twins"]
        deals = []
        for _ in range(N_PERMUTATIONS):
            students = permute_groups(found.students, rng)
            dealt = [
                replace(rows, groups=students.groups.loc[rows.groups.index])
                for rows in (table, *alike)
            ]
            twins = matched_pair_measures(
                students, advice, list(found.model.ranker.feature_names_), POLICY
            )
            deals.append((students, group_comparisons(dealt[0], [*dealt[1:], *twins])))
        return deals

    def spoiled(self, spoil: Injection, name: str) -> LoadedDistrict:
        """The same district with spoiled files."""
        copy = self.folder / name
        shutil.copytree(self.source, copy / "source")
        spoil(copy / "source" / "sis")
        return read(copy / "source", copy / "home", self.model)

    def with_past(self, habit: OfferBias) -> LoadedDistrict:
        """The same students, offered supports by another habit."""
        return read(
            source(self.folder / "past", self.seed, habit),
            self.folder / "past" / "home",
            self.model,
        )


def candidate(place: int) -> RankerModel:
    """A model learned in another district of the same kind."""
    with TemporaryDirectory() as folder:
        snapshot = snapshot_of(
            source(Path(folder), CANDIDATE_SEED_BASE + place), Path(folder) / "home"
        )
        episodes = build_episodes(snapshot)
        ranker = BenefitRanker(require_evidence(episodes, snapshot), random_state=place)
        ranker.fit(episodes.features, episodes.outcome, episodes.support, episodes.student)
    return RankerModel(ranker, {}, f"{place:064d}")


def source(folder: Path, seed: int, habit: OfferBias = NO_BIAS) -> Path:
    """A district's source files."""
    write_source_files(folder / "source", seed=seed, habit=habit)
    return folder / "source"


def snapshot_of(files: Path, home: Path) -> Snapshot:
    """Source files, read in like any other."""
    load(OneRosterFiles(), files / "sis", home)
    load(ServiceHistory(), files / "service_history", home, merge=True)
    return Snapshot.current(home)


def read(files: Path, home: Path, model: RankerModel) -> LoadedDistrict:
    snapshot = snapshot_of(files, home)
    students = audit_population(snapshot, snapshot.latest_date(), POLICY, model.ranker.supports_)
    return LoadedDistrict(snapshot, students, build_episodes(snapshot), model)


def permute_groups(students: AuditPopulation, rng: np.random.Generator) -> AuditPopulation:
    """The same students with each group fact of somebody else, drawn fact by fact."""
    groups = students.groups.copy()
    for name in DEALT:
        groups[name] = rng.permutation(groups[name].to_numpy())
    return replace(students, groups=with_intersections(groups, POLICY))


def drop_absences(share: float, seed: int) -> Injection:
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


def add_incidents(share: float, seed: int) -> Injection:
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
