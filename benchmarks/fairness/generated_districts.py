"""Generated demo districts of 16,000 students, and injections of bias into their source files.

The students of a district are generated once. A district with an injection is a copy of its files,
changed and loaded like any other.
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
from fairness.checks.policy import Policy
from fairness.measures.matched_pairs import matched_pair_measures
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
"""Changes the files of a student information system in this folder."""

POLICY = Policy.declared()
GROUP = "black"
"""The group that injections disadvantage, as a value of `race_ethnicity`."""

NO_BIAS: OfferBias = {}
N_PERMUTATIONS = 5
CANDIDATE_SEED_BASE = 90_000
"""Seeds from here on belong to the districts in which candidates are trained."""

PERMUTED_ATTRIBUTES = (
    "sex",
    "race_ethnicity",
    "english_learner",
    "special_education",
    "unstable_housing",
    "meal_eligible",
)


@dataclass(frozen=True)
class LoadedDistrict:
    """A district as loaded, with the candidate that is audited on it."""

    snapshot: Snapshot
    students: AuditPopulation
    episodes: Episodes
    model: RankerModel

    def measure(self) -> tuple[MeasureTable, list[MeasureTable]]:
        return measure_population(self.model, self.students, self.snapshot, POLICY, self.episodes)

    def comparisons(self) -> list[GroupComparison]:
        """The figures of an audit of this district."""
        return group_comparisons(*self.measure())

    @property
    def in_group(self) -> np.ndarray:
        """Whether each student belongs to `GROUP`, shape (students,)."""
        return (self.students.groups["race_ethnicity"] == GROUP).to_numpy()


@dataclass(frozen=True)
class District:
    """One generated district, and what is derived from it; each is computed once.

    Attributes:
        folder: an empty folder for source files and homes.
        seed: of the generator.
        model: the candidate that is audited.
    """

    folder: Path
    seed: int
    model: RankerModel

    @cached_property
    def source(self) -> Path:
        return write_source(self.folder, self.seed)

    @cached_property
    def unchanged(self) -> LoadedDistrict:
        """The district without any injection."""
        return load_district(self.source, self.folder / "true", self.model)

    @cached_property
    def permutations(self) -> list[tuple[AuditPopulation, list[GroupComparison]]]:
        """The district with group memberships permuted among its students, and each one's figures.

        Measures of a student do not depend on group membership, except for matched pairs.
        """
        rng, district = np.random.default_rng(self.seed), self.unchanged
        table, other_tables = district.measure()
        suggestions = suggestions_for(district.model, district.students)
        tables = [
            table,
            *(other for other in other_tables if other.measures[0].check != "twins"),
        ]
        permutations = []
        for _ in range(N_PERMUTATIONS):
            students = permute_groups(district.students, rng)
            first, *rest = [
                replace(rows, groups=students.groups.loc[rows.groups.index]) for rows in tables
            ]
            pairs = matched_pair_measures(
                students, suggestions, list(district.model.ranker.feature_names_), POLICY
            )
            permutations.append((students, group_comparisons(first, [*rest, *pairs])))
        return permutations

    def with_injection(self, inject: Injection, name: str) -> LoadedDistrict:
        """The district with an injection into its files, in a subfolder of this name."""
        copy = self.folder / name
        shutil.copytree(self.source, copy / "source")
        inject(copy / "source" / "sis")
        return load_district(copy / "source", copy / "home", self.model)

    def with_past_bias(self, bias: OfferBias) -> LoadedDistrict:
        """The same students, to whom supports were offered in the past with this bias."""
        return load_district(
            write_source(self.folder / "past", self.seed, bias),
            self.folder / "past" / "home",
            self.model,
        )


def train_candidate(number: int) -> RankerModel:
    """A model trained in another generated district."""
    with TemporaryDirectory() as folder:
        snapshot = load_snapshot(
            write_source(Path(folder), CANDIDATE_SEED_BASE + number), Path(folder) / "home"
        )
        episodes = build_episodes(snapshot)
        ranker = BenefitRanker(require_evidence(episodes, snapshot), random_state=number)
        ranker.fit(episodes.features, episodes.outcome, episodes.support, episodes.student)
    return RankerModel(ranker, {}, f"{number:064d}")


def write_source(folder: Path, seed: int, bias: OfferBias = NO_BIAS) -> Path:
    """Write a district's source files; the folder that holds them."""
    write_source_files(folder / "source", seed=seed, habit=bias)
    return folder / "source"


def load_snapshot(files: Path, home: Path) -> Snapshot:
    """Load source files into a home, as a district's own are loaded."""
    load(OneRosterFiles(), files / "sis", home)
    load(ServiceHistory(), files / "service_history", home, merge=True)
    return Snapshot.current(home)


def load_district(files: Path, home: Path, model: RankerModel) -> LoadedDistrict:
    snapshot = load_snapshot(files, home)
    students = audit_population(snapshot, snapshot.latest_date(), POLICY, model.ranker.supports_)
    return LoadedDistrict(snapshot, students, build_episodes(snapshot), model)


def permute_groups(students: AuditPopulation, rng: np.random.Generator) -> AuditPopulation:
    """The same students with each attribute permuted among them, independently of the others."""
    groups = students.groups.copy()
    for name in PERMUTED_ATTRIBUTES:
        groups[name] = rng.permutation(groups[name].to_numpy())
    return replace(students, groups=with_intersections(groups, POLICY))


def drop_absences(share: float, seed: int) -> Injection:
    """Removes this share of the group's absences."""

    def inject(sis: Path) -> None:
        file = sis / "attendance.csv"
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        group, draws = set(group_ids(sis)), np.random.default_rng(seed).random(len(lines))
        remaining = [
            line
            for line, draw in zip(lines, draws, strict=True)
            if not (draw < share and ",absent" in line and line.split(",")[0] in group)
        ]
        file.write_text("".join(remaining), encoding="utf-8")

    return inject


def add_incidents(share: float, seed: int) -> Injection:
    """Records an incident this school year for this share of the group, among those without one."""

    def inject(sis: Path) -> None:
        incidents = pd.read_csv(sis / "incidents.csv", dtype=str, keep_default_na=False)
        this_year = incidents[incidents["date"] >= "2025-08-18"]
        group = group_ids(sis)
        without = group[~group.isin(this_year["userSourcedId"])]
        chosen = without.sample(round(share * len(group)), random_state=seed)
        added = this_year.sample(len(chosen), replace=True, random_state=seed).assign(
            userSourcedId=chosen.to_numpy(),
            incident_id=[f"more-{number}" for number in range(len(chosen))],
        )
        pd.concat([incidents, added]).to_csv(
            sis / "incidents.csv", index=False, lineterminator="\n"
        )

    return inject


def group_ids(sis: Path) -> pd.Series:
    """Identifiers of the group's students, from a demo district's own files."""
    demographics = pd.read_csv(sis / "demographics.csv", dtype=str)
    in_group = (
        (demographics["blackOrAfricanAmerican"] == "true")
        & (demographics["hispanicOrLatinoEthnicity"] != "true")
        & (demographics["demographicRaceTwoOrMoreRaces"] != "true")
    )
    return demographics.loc[in_group, "sourcedId"]
