"""What a model does for the audited students, as measures: each check's amount and base, a row a
student.

A student in need who takes part in a support already is not left without one, whatever the model
says: "missed" is who has neither a support nor a suggestion.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fairness.checks.policy import Policy
from fairness.population.comparisons import Measure
from fairness.population.students import AuditPopulation, ModelSuggestions
from training.estimation.arrays import BoolArray, FloatArray
from training.ranking.suggestions import TOO_LITTLE_DATA, TOO_UNCERTAIN

_ACT_NOW = 3


def model_measures(
    students: AuditPopulation,
    advice: ModelSuggestions,
    policy: Policy,
    blind: ModelSuggestions | None = None,
) -> list[Measure]:
    """Every measure of what a model suggests.

    Args:
        blind: what it suggests where it sees no discipline; None where discipline is no input.
    """
    need, waiting = students.in_need(policy), students.in_need(policy) & ~students.in_support
    suggested = advice.has_suggestion
    missed = waiting & ~suggested
    open_to = students.eligible.to_numpy(dtype=bool).any(axis=1)
    measures = [
        Measure("suggestion", "", _counted(need & ~missed), _counted(need)),
        Measure("missed", "", _counted(missed), _counted(need)),
        Measure("access", "", _counted(missed & open_to), _counted(need & open_to), students.need),
        _captured(students, advice, waiting),
        *_supports(students, advice, need),
        Measure("exposure", "", np.where(waiting, exposure(advice), 0.0), _counted(waiting)),
        Measure(
            "silence",
            "",
            _counted(waiting & open_to & _unsure(advice)),
            _counted(waiting & open_to),
        ),
        *_late_alerts(students),
    ]
    if blind is not None:
        lost = waiting & blind.has_suggestion & ~suggested
        measures.append(Measure("discipline", "", _counted(lost), _counted(waiting)))
    return measures


def exposure(advice: ModelSuggestions) -> FloatArray:
    """The weight of a student's best place in the queue for a support, 0 to 1.

    All to whom a support is suggested queue for it by expected benefit; place k weighs 1 / log2(1 +
    k), as in discounted cumulative gain (Jarvelin & Kekalainen 2002, ACM TOIS 20(4)). 0 without a
    suggestion.
    """
    places = (
        advice.benefit.where(advice.suggested_supports)
        .rank(ascending=False, method="average")
        .to_numpy(dtype="float64")
    )
    weights = np.nan_to_num(1 / np.log2(1 + places), nan=0.0)
    best: FloatArray = weights.max(axis=1, initial=0.0)
    return best


def _captured(students: AuditPopulation, advice: ModelSuggestions, waiting: BoolArray) -> Measure:
    """Of the greatest expected benefit of an open support, what the first suggestion is expected to
    bring.
    """
    benefit = advice.benefit.to_numpy()
    eligible = students.eligible[advice.benefit.columns].to_numpy(dtype=bool)
    attainable = np.where(eligible, benefit, 0.0).clip(min=0.0).max(axis=1, initial=0.0)
    first = np.where(advice.rank.to_numpy() == 1, benefit, 0.0).sum(axis=1)
    return Measure(
        "captured", "", np.where(waiting, first, 0.0), np.where(waiting, attainable, 0.0)
    )


def _supports(
    students: AuditPopulation, advice: ModelSuggestions, need: BoolArray
) -> Iterator[Measure]:
    for name in advice.suggested_supports.columns:
        eligible = need & students.eligible[name].to_numpy(dtype=bool)
        yield Measure(
            "support",
            str(name),
            _counted(eligible & advice.suggested_supports[name].to_numpy(dtype=bool)),
            _counted(eligible),
            students.need * 2 + students.in_support,
        )


def _unsure(advice: ModelSuggestions) -> BoolArray:
    unsure: BoolArray = advice.silence.isin([TOO_UNCERTAIN, TOO_LITTLE_DATA]).to_numpy()
    return unsure


def _late_alerts(students: AuditPopulation) -> Iterator[Measure]:
    """Nothing where no earlier day is on record."""
    known = students.earlier_severity.notna().to_numpy()
    if known.any():
        now = (students.alert_severity.max(axis=1) >= _ACT_NOW).to_numpy() & known
        yield Measure(
            "late_alert",
            "",
            _counted(now & (students.earlier_severity.to_numpy() == 0)),
            _counted(now),
        )


def _counted(flags: BoolArray) -> FloatArray:
    return np.asarray(flags, dtype="float64")
