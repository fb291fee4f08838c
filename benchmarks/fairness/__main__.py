"""How often the fairness gate finds a bias that was put into a demo district, and how often it passes a fair one.

Run: python -m benchmarks.fairness [--worlds 40] [--models 4] [--scenarios fair,attendance] [--out FILE.csv]

Each world is a demo district of 16,000 students, drawn anew and read in like any other; what is done to it is done to
its source files, or to the habit by which its past offered supports:

- fair: every group fact is dealt out anew among the students, so that no group differs from the others in anything but
  by chance, and the past offered supports to all alike.
- attendance: of Black students' absences a share is not written down, so large that of those truly in need 10 points
  more are missed: they take part in no support and have no suggestion.
- attendance_alerts: the same, so small that of those truly in need 10 points more have no alert.
- discipline: an incident is written down of 10 in 100 Black students who had none.
- tutoring: in the past, Black students whose marks were low got tutoring so seldom that 10 points fewer ever had it.
- model: a model that leaves 10 points more of a group in need without a suggestion, at equal need; for groups of five
  sizes.

A bias counts as caught where the check that it belongs to fails for the group. The candidates were learned in other
districts of the same kind.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scipy.stats import binomtest

from fairness.audit import figures, measured
from fairness.checks import CROSS
from fairness.comparisons import Measure
from fairness.gate import Judged, Verdict, consequence, judge, overall
from fairness.policy import Consequence, Policy
from fairness.students import Students, advice_of, audited_students, crossed, severities
from handrail.demo import generate
from handrail.demo.history import Habit
from records.connectors.oneroster import OneRoster
from records.connectors.service_history import ServiceHistory
from records.scope import ScopedRecords, pipeline_scope
from records.snapshots import Snapshot, load
from training.benefit import Flags
from training.episodes import Episodes, build_episodes, check_sufficient
from training.model_file import RankerModel
from training.ranker import BenefitRanker
from training.suggestions import open_to_grade

Scenario = Callable[[int, RankerModel, np.random.Generator, Path], Iterator["Outcome"]]
POLICY = Policy.declared()
GROUP = "black"
ALIKE: Habit = {}
STARVED: Habit = {GROUP: {"tutoring": 0.45}}
SIZES: Mapping[str, tuple[str, str]] = {
    "Hispanic": ("race_ethnicity", "hispanic"), "Black": ("race_ethnicity", "black"),
    "special education": ("special_education", "yes"), "learning English": ("english_learner", "yes"),
    "Asian": ("race_ethnicity", "asian"),
}  # fmt: skip
DEALT = ("sex", "race_ethnicity", "english_learner", "special_education", "unstable_housing", "meal_eligible")
POINTS = 0.10
LARGE = 200
"""Students in need of a group that is large enough to be judged by most checks."""


@dataclass(frozen=True)
class World:
    """A district as it was read in, with what a candidate says there."""

    snapshot: Snapshot
    students: Students
    episodes: Episodes
    model: RankerModel

    def judged(self, students: Students | None = None) -> list[Judged]:
        table, others = measured(self.model, students or self.students, self.snapshot, POLICY, self.episodes)
        return judge(figures(table, others), POLICY)


@dataclass(frozen=True)
class Outcome:
    """One trial: what was to be found, and whether it was."""

    scenario: str
    caught: bool
    gap: float
    note: str = ""


def candidates(count: int, seed: int, step: Callable[[], None]) -> list[RankerModel]:
    """Models learned in districts of the same kind."""
    found = []
    for place in range(count):
        with TemporaryDirectory() as folder:
            snapshot = district(Path(folder), seed + place)
            episodes = build_episodes(snapshot)
            supports = check_sufficient(episodes, snapshot)
            ranker = BenefitRanker(supports, random_state=place)
            ranker.fit(episodes.features, episodes.outcome, episodes.support, episodes.student)
        found.append(RankerModel(ranker, {}, f"{place:064d}"))
        step()
    return found


def district(folder: Path, seed: int, habit: Habit = ALIKE,
             spoil: Callable[[Path], None] = lambda source: None) -> Snapshot:  # fmt: skip
    files = generate(folder / "source", seed=seed, habit=habit)
    spoil(folder / "source" / "sis")
    load(OneRoster(), files.sis, folder / "home")
    load(ServiceHistory(), files.service_history, folder / "home", merge=True)
    return Snapshot.current(folder / "home")


def world(folder: Path, seed: int, model: RankerModel, habit: Habit = ALIKE,
          spoil: Callable[[Path], None] = lambda source: None) -> World:  # fmt: skip
    snapshot = district(folder, seed, habit, spoil)
    students = audited_students(snapshot, snapshot.latest_date(), POLICY, model.ranker.supports_)
    return World(snapshot, students, build_episodes(snapshot), model)


def dealt_anew(students: Students, rng: np.random.Generator) -> Students:
    """The same students with each group fact of somebody else, drawn fact by fact."""
    groups = students.groups.copy()
    for name in DEALT:
        groups[name] = rng.permutation(groups[name].to_numpy())
    return replace(students, groups=crossed(groups, POLICY))


def ids_of(sis: Path) -> pd.Series:
    """Students of the group, in a demo's own files."""
    told = pd.read_csv(sis / "demographics.csv", dtype=str)
    ours = (told["blackOrAfricanAmerican"] == "true") & (told["hispanicOrLatinoEthnicity"] != "true")
    return told.loc[ours & (told["demographicRaceTwoOrMoreRaces"] != "true"), "sourcedId"]


def unwritten(share: float, seed: int) -> Callable[[Path], None]:
    """Leaves out a share of the group's absences."""

    def spoil(sis: Path) -> None:
        lines = (sis / "attendance.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        ours, chance = set(ids_of(sis)), np.random.default_rng(seed).random(len(lines))
        kept = [line for line, drawn in zip(lines, chance, strict=True)
                if not (drawn < share and ",absent" in line and line.split(",")[0] in ours)]  # fmt: skip
        (sis / "attendance.csv").write_text("".join(kept), encoding="utf-8")

    return spoil


def overwritten(share: float, seed: int) -> Callable[[Path], None]:
    """Writes down an incident this school year of a share of the group's students who had none."""

    def spoil(sis: Path) -> None:
        told = pd.read_csv(sis / "incidents.csv", dtype=str, keep_default_na=False)
        year = told[told["date"] >= "2025-08-18"]
        ours = ids_of(sis)
        without = ours[~ours.isin(year["userSourcedId"])]
        chosen = without.sample(round(share * len(ours)), random_state=seed)
        more = year.sample(len(chosen), replace=True, random_state=seed).assign(
            userSourcedId=chosen.to_numpy(), incident_id=[f"more-{number}" for number in range(len(chosen))])
        pd.concat([told, more]).to_csv(sis / "incidents.csv", index=False, lineterminator="\n")

    return spoil


def fails(judged: list[Judged], check: str, attribute: str, value: str, item: str | None = None) -> bool:
    return any(one.verdict is Verdict.FAIL for one in judged
               if (one.figure.check, one.figure.attribute, one.figure.value) == (check, attribute, value)
               and (item is None or one.figure.item == item))  # fmt: skip


def fair(seed: int, model: RankerModel, rng: np.random.Generator, folder: Path) -> Iterator[Outcome]:
    """Five deals of one district: whether anything stops or fails, and whether every group large enough passes."""
    found = world(folder, seed, model)
    for _ in range(5):
        judged = found.judged(dealt_anew(found.students, rng))
        answers = [_answer(one) for one in judged]
        plain = [(one, what) for one, what in zip(judged, answers, strict=True) if CROSS not in one.figure.attribute]
        stops = any(what is Consequence.STOPS for _, _, what in answers)
        failed = any(verdict is Verdict.FAIL and counts for verdict, counts, _ in answers)
        large = [what for one, what in plain if one.enough and one.figure.rows >= LARGE]
        yield Outcome("fair: nothing stops it", not stops, 0.0)
        yield Outcome("fair: no check fails", not failed, 0.0)
        yield Outcome(f"fair: passes, groups of {LARGE} or more in need", overall(large) is Verdict.PASS, 0.0)
        yield Outcome("fair: passes, every group", overall(what for _, what in plain) is Verdict.PASS, 0.0)


def _answer(one: Judged) -> tuple[Verdict, bool, Consequence]:
    counts = POLICY.counts(one.figure.check, one.figure.attribute)
    return one.verdict, counts, consequence(one.verdict, POLICY.checks[one.figure.check], counts)


def attendance(share: float, name: str, of: Callable[[Students, Flags, Students, Flags], Flags]) -> Scenario:
    """A share of absences is not written down; `of` says who is wronged by it."""

    def run(seed: int, model: RankerModel, rng: np.random.Generator, folder: Path) -> Iterator[Outcome]:
        truth = world(folder / "true", seed, model).students
        found = world(folder / "spoiled", seed, model, spoil=unwritten(share, seed))
        need = truth.in_need(POLICY)
        missed = of(truth, need, found.students, advice_of(model, found.students).suggested)
        ours = (truth.groups["race_ethnicity"] == GROUP).to_numpy()
        gap = float(missed[need & ours].mean() - missed[need & ~ours].mean())
        yield Outcome(name, fails(found.judged(), "attendance_record", "race_ethnicity", GROUP), gap)

    return run


def missed_by_model(truth: Students, need: Flags, seen: Students, suggested: Flags) -> Flags:
    return need & ~seen.served & ~suggested


def missed_by_alert(truth: Students, need: Flags, seen: Students, suggested: Flags) -> Flags:
    return need & ~seen.in_need(POLICY)


def discipline(seed: int, model: RankerModel, rng: np.random.Generator, folder: Path) -> Iterator[Outcome]:
    found = world(folder, seed, model, spoil=overwritten(POINTS, seed))
    ours = (found.students.groups["race_ethnicity"] == GROUP).to_numpy()
    has = (found.students.features["incidents_year"] > 0).to_numpy()
    caught = fails(found.judged(), "discipline_record", "race_ethnicity", GROUP)
    yield Outcome("discipline", caught, float(has[ours].mean() - has[~ours].mean()))


def tutoring(seed: int, model: RankerModel, rng: np.random.Generator, folder: Path) -> Iterator[Outcome]:
    found = world(folder, seed, model, STARVED)
    records = ScopedRecords(found.snapshot, pipeline_scope(found.snapshot, "training", date.max))
    services = records.frame("service_enrollments").merge(records.frame("programs")[["program_id", "support"]])
    index, episodes = found.students.groups.index, found.episodes
    ever = index.isin(services.loc[services["support"] == "tutoring", "student_id"])
    marks = severities(episodes.features.set_axis(range(len(episodes)), axis=0))["grades"].to_numpy()
    may = open_to_grade(records.frame("programs"), episodes.features["grade_level"], ["tutoring"])["tutoring"]
    low = index.isin(episodes.student[(marks >= POLICY.need_severity) & may.to_numpy()])
    ours = (found.students.groups["race_ethnicity"] == GROUP).to_numpy()
    caught = fails(found.judged(), "past_support", "race_ethnicity", GROUP, "tutoring")
    yield Outcome("tutoring", caught, float(ever[low & ~ours].mean() - ever[low & ours].mean()))


def unfair_model(seed: int, model: RankerModel, rng: np.random.Generator, folder: Path) -> Iterator[Outcome]:
    """Suggestions that a group's students in need would have are withheld from as many as make 10 points."""
    found = world(folder, seed, model)
    for name, (attribute, value) in SIZES.items():
        students = dealt_anew(found.students, rng)
        need = students.in_need(POLICY)
        missed = need & ~students.served & ~advice_of(model, students).suggested
        ours = (students.groups[attribute] == value).to_numpy() & need
        helped = np.flatnonzero(ours & ~missed)
        taken = rng.choice(helped, round(POINTS * ours.sum()), replace=False)
        spoiled = missed.copy()
        spoiled[taken] = True
        table, others = measured(model, students, found.snapshot, POLICY, found.episodes)
        rest = [one for one in table.measures if one.check not in {"missed", "access"}]
        told = replace(table, measures=(*_told(students, spoiled, need), *rest))
        judged = judge(figures(told, others), POLICY)
        caught = fails(judged, "missed", attribute, value) or fails(judged, "access", attribute, value)
        others_in_need = (students.groups[attribute] != value).to_numpy() & need
        gap = float(spoiled[ours].mean() - spoiled[others_in_need].mean())
        yield Outcome(f"model: {name}", caught, gap, f"{ours.sum()} in need")


def _told(students: Students, missed: Flags, need: Flags) -> list[Measure]:
    open_to = students.may.to_numpy(dtype=bool).any(axis=1)
    return [Measure("missed", "", missed.astype(float), need.astype(float)),
            Measure("access", "", (missed & open_to).astype(float), (need & open_to).astype(float),
                    students.need)]  # fmt: skip


SCENARIOS: Mapping[str, Scenario] = {
    "fair": fair,
    "attendance": attendance(0.45, "attendance: 10 points more missed", missed_by_model),
    "attendance_alerts": attendance(0.07, "attendance: 10 points more without an alert", missed_by_alert),
    "discipline": discipline, "tutoring": tutoring, "model": unfair_model,
}  # fmt: skip


def tabled(outcomes: list[Outcome]) -> Table:
    table = Table("scenario", "found", "share", "95% interval", "the gap that was put in", "notes")
    for name in dict.fromkeys(one.scenario for one in outcomes):
        some = [one for one in outcomes if one.scenario == name]
        caught = sum(one.caught for one in some)
        ends = binomtest(caught, len(some)).proportion_ci(method="wilson")
        gaps = [one.gap for one in some]
        table.add_row(name, f"{caught} of {len(some)}", f"{caught / len(some):.1%}",
                      f"{ends.low:.1%} to {ends.high:.1%}",
                      f"{np.mean(gaps):+.3f} ({min(gaps):+.3f} to {max(gaps):+.3f})", some[0].note)  # fmt: skip
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=40)
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--scenarios", default=",".join(SCENARIOS))
    parser.add_argument("--seed", type=int, default=7_000)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    names, began = asked.scenarios.split(","), time.monotonic()
    outcomes: list[Outcome] = []
    console = Console(width=140)
    with Progress(console=console) as progress:
        task = progress.add_task("learning candidates", total=asked.models)
        models = candidates(asked.models, 90_000, lambda: progress.advance(task))
        for name in names:
            task = progress.add_task(name, total=asked.worlds)
            for place in range(asked.worlds):
                rng = np.random.default_rng(asked.seed + place)
                with TemporaryDirectory() as folder:
                    outcomes += SCENARIOS[name](asked.seed + place, models[place % len(models)], rng, Path(folder))
                progress.advance(task)
                if asked.out:
                    pd.DataFrame(outcomes).to_csv(asked.out, index=False)
    console.print(tabled(outcomes))
    console.print(f"{asked.worlds} worlds a scenario, {asked.models} candidates, {time.monotonic() - began:,.0f} s")


if __name__ == "__main__":
    main()
