"""Made-up districts: students with groups and needs drawn by chance, and what a made-up model says
of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime

import numpy as np
import pandas as pd

from fairness.audit.audit import Audit, compared_count, verdict_of
from fairness.audit.basis import AuditBasis
from fairness.checks.checks import INTERSECTION_SEPARATOR
from fairness.checks.policy import Policy
from fairness.gate.findings import Finding, Group, PublishedAudit
from fairness.gate.gate import ComparisonVerdict, assign_verdicts
from fairness.measures.model import model_measures
from fairness.measures.proxies import ALL_FAMILIES, Proxy
from fairness.population.comparisons import (
    NOT_RECORDED,
    GroupComparison,
    MeasureTable,
    compare_groups,
)
from fairness.population.students import AuditPopulation, ModelSuggestions
from fairness.publication.counts import AuditMeasures
from fairness.publication.publishing import publish
from features.catalog import feature_names
from training.ranking.suggestions import TOO_UNCERTAIN

POLICY = replace(Policy.declared(), reported={})
"""The declared thresholds with every group counted, whatever a district only reports."""
RACES = {"white": 0.4, "hispanic": 0.3, "black": 0.2, "asian": 0.095, "american_indian": 0.005}
SUPPORTS = ("mentoring", "tutoring")
YES_NO = ("english_learner", "special_education", "unstable_housing", "meal_eligible")
TODAY = date(2026, 4, 17)


@dataclass(frozen=True)
class District:
    """Students, what a model says of them, and every step of the audit from there."""

    students: AuditPopulation
    advice: ModelSuggestions
    policy: Policy = POLICY
    others: tuple[MeasureTable, ...] = ()
    only: tuple[str, ...] = ()
    """The checks that are asked, where it is not all."""

    @property
    def table(self) -> MeasureTable:
        measures = tuple(
            measure
            for measure in model_measures(self.students, self.advice, self.policy)
            if measure.check in self.only or not self.only
        )
        return MeasureTable(measures, self.students.groups, self.students.cohorts)

    def figures(self) -> list[GroupComparison]:
        return [
            figure
            for rows in (self.table, *self.others)
            for figure in compare_groups(*in_order(rows))
        ]

    def judged(self) -> list[ComparisonVerdict]:
        return assign_verdicts(self.figures(), self.policy)

    def counted(self) -> AuditMeasures:
        return AuditMeasures(
            self.table,
            self.others,
            self.students.in_need(self.policy).astype("float64"),
            self.policy,
        )

    def shown(self, *before: tuple[AuditMeasures, PublishedAudit]) -> PublishedAudit:
        return publish(self.judged(), self.counted(), before)

    def audit(self, **changes: object) -> Audit:
        judged, basis = self.judged(), AuditBasis.current(self.policy, {})
        shown = publish(judged, self.counted())
        data = {
            "manifest_sha256": "c" * 64,
            "tables": {"students": 3000, "attendance_events": 120_450},
        }
        traces = (
            Proxy("race_ethnicity", "attendance", 0.55, 0.51, 0.59),
            Proxy("race_ethnicity", ALL_FAMILIES, 0.74, 0.7, 0.78),
        )
        audit = Audit(
            1,
            "a" * 64,
            "snap",
            TODAY,
            datetime(2026, 4, 17, 9),
            data,
            basis.sha256,
            json.loads(json.dumps(asdict(self.policy))),
            compared_count(judged),
            verdict_of(shown.findings),
            shown.students,
            shown.in_need,
            shown.helped,
            False,
            shown.groups,
            shown.findings,
            traces,
            (),
            asdict(basis),
        )
        return replace(audit, **changes)


def in_order(rows: MeasureTable) -> tuple[tuple, pd.DataFrame, pd.Series]:
    return rows.measures, rows.groups, rows.cohorts


def synthetic_district(
    size: int,
    seed: int = 0,
    helped: float | Mapping[str, float] = 0.6,
    *,
    need: float = 0.5,
    served: float = 0.1,
    policy: Policy = POLICY,
    races: Mapping[str, float] = RACES,
    only: tuple[str, ...] = (),
) -> District:
    """A district of so many students; of those in need and in no support, `helped` gives the share
    with a suggestion, for all or by race (0.6 where a race is not named).
    """
    rng = np.random.default_rng(seed)
    index = pd.Index([f"CANARY{n:05}" for n in range(size)], name="student_id")
    groups = pd.DataFrame(index=index)
    groups["sex"] = rng.choice(["female", "male"], size)
    groups["race_ethnicity"] = rng.choice(list(races), size, p=list(races.values()))
    for name in YES_NO:
        groups[name] = rng.choice(["yes", "no"], size, p=(0.3, 0.7))
    grade = rng.integers(-1, 13, size)
    groups["grade_band"] = pd.cut(
        grade, [-2, 2, 5, 8, 12], labels=["pre_k_2", "3_5", "6_8", "9_12"]
    ).astype(str)
    groups["school"] = rng.choice(["Adams", "Baker", "Clark"], size, p=(0.4, 0.35, 0.25))
    groups = groups.astype(object)[list(policy.groups)]
    for first, second in policy.intersections:
        groups[first + INTERSECTION_SEPARATOR + second] = (
            groups[first] + INTERSECTION_SEPARATOR + groups[second]
        )
    in_need = rng.random(size) < need
    severity = pd.DataFrame(
        {
            "attendance": np.where(in_need, rng.choice([2, 3], size), rng.choice([0, 1], size)),
            "grades": np.where(in_need, rng.choice([0, 1, 2, 3], size), 0),
        },
        index=index,
    )
    eligible = pd.DataFrame({name: rng.random(size) < 0.8 for name in SUPPORTS}, index=index)
    chances = (
        groups["race_ethnicity"].map(helped).fillna(0.6) if isinstance(helped, Mapping) else helped
    )
    suggested = rng.random(size) < np.asarray(chances, dtype="float64")
    benefit = pd.DataFrame(rng.normal(3, 1, (size, 2)), index=index, columns=list(SUPPORTS)).clip(
        lower=0.1
    )
    names = feature_names(model_only=False)
    features = pd.DataFrame(rng.normal(0, 1, (size, len(names))), index=index, columns=names)
    features = features.assign(grade_level=grade.astype(float))
    earlier = pd.Series(rng.choice([0.0, 1.0, 2.0], size), index=index)
    cohorts = pd.Series(grade.astype(str), index)
    cohorts = groups["school"].astype(str) + "|" + cohorts if "school" in groups else cohorts
    students = AuditPopulation(
        TODAY, features, groups, cohorts, severity, earlier, eligible, rng.random(size) < served
    )
    return District(students, advice_from(students, suggested, benefit), policy, only=only)


def advice_from(
    students: AuditPopulation, suggested: np.ndarray, benefit: pd.DataFrame
) -> ModelSuggestions:
    """To whom something is suggested, every open support is, the most benefit first."""
    listed = students.eligible & suggested[:, None]
    rank = benefit.where(listed).rank(axis=1, ascending=False, method="first")
    silence = pd.Series(TOO_UNCERTAIN, index=listed.index, dtype=object)[~listed.any(axis=1)]
    return ModelSuggestions(listed, rank, benefit, silence.reindex(listed.index))


def find_finding(
    audit: PublishedAudit | Audit, check: str, attribute: str, value: str, item: str = ""
) -> Finding:
    return next(
        finding
        for finding in audit.findings
        if (finding.check, finding.item, finding.attribute, finding.value)
        == (check, item, attribute, value)
    )


def size_of(audit: PublishedAudit | Audit, attribute: str, value: str) -> Group:
    return next(
        group for group in audit.groups if (group.attribute, group.value) == (attribute, value)
    )


__all__ = [
    "NOT_RECORDED",
    "POLICY",
    "District",
    "advice_from",
    "find_finding",
    "size_of",
    "synthetic_district",
]
