"""Twins: for each student in need the most alike student outside the group and the most alike one
inside it. Is the one outside helped more often?

No sensitive fact is an input, so to flip one in the records changes nothing by construction. What
can differ is all that goes with it. Alike is whose inputs are nearest, each in units of its spread.
The nearest lies a little nearer to the middle than the student does, outside and inside alike, so
both are twins and the student is not (Abadie & Imbens 2011, Journal of Business & Economic
Statistics 29(1), on that bias). Where no other group has anybody near, the comparison says little:
only pairs at most twice the usual distance count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from fairness.checks.policy import Policy
from fairness.population.comparisons import NOT_RECORDED, Codes, Measure, MeasureTable
from fairness.population.students import AuditPopulation, ModelSuggestions
from training.estimation.arrays import BoolArray, FloatArray

_MAX_DISTANCE = 2.0
"""Times the median distance of all twins, beyond which two students are no twins."""


@dataclass(frozen=True)
class _Twins:
    """Places of the twins of some students, `own`, and how far the one outside is."""

    own: Codes
    outside: Codes
    inside: Codes
    distance: FloatArray


def matched_pair_measures(
    students: AuditPopulation, advice: ModelSuggestions, inputs: list[str], policy: Policy
) -> Iterator[MeasureTable]:
    """For each attribute, by student in need who takes part in no support: 1 where the twin outside
    alone has a suggestion, -1 where the one inside alone has, else 0.
    """
    waiting = students.in_need(policy) & ~students.in_support
    points = _points(students.features.loc[waiting, inputs])
    suggested = advice.has_suggestion[waiting].astype("float64")
    cohorts = students.cohorts[waiting]
    for attribute in students.groups.columns:
        column = students.groups.loc[waiting, attribute]
        yield MeasureTable(
            (_matched_pair_measure(points, suggested, column),), column.to_frame(), cohorts
        )


def _matched_pair_measure(points: FloatArray, suggested: FloatArray, column: pd.Series) -> Measure:
    pairs_by_group = dict(_twins_by_group(points, column))
    distances = (
        np.concatenate([pairs.distance for pairs in pairs_by_group.values()])
        if pairs_by_group
        else np.zeros(0)
    )
    max_distance = _MAX_DISTANCE * float(np.median(distances)) if len(distances) else 0.0
    differences, paired, errors = np.zeros(len(column)), np.zeros(len(column)), {}
    for value, pairs in pairs_by_group.items():
        near: BoolArray = pairs.distance <= max_distance
        own, outside, inside = pairs.own[near], pairs.outside[near], pairs.inside[near]
        differences[own], paired[own] = suggested[outside] - suggested[inside], 1.0
        if len(own):
            errors[value] = _standard_error(suggested, outside, inside)
    return Measure("twins", "", differences, paired, standard_error_floors=errors)


def _twins_by_group(points: FloatArray, column: pd.Series) -> Iterator[tuple[str, _Twins]]:
    known = (column != NOT_RECORDED).to_numpy()
    for value in sorted(column[known].unique()):
        own = np.flatnonzero((column == value).to_numpy())
        others = np.flatnonzero(known & (column != value).to_numpy())
        if len(own) > 1 and len(others):
            distance, outside = cKDTree(points[others]).query(points[own])
            _, inside = cKDTree(points[own]).query(points[own], k=2)
            itself = inside[:, 0] == np.arange(len(own))
            yield (
                str(value),
                _Twins(
                    own,
                    others[outside],
                    own[np.where(itself, inside[:, 1], inside[:, 0])],
                    distance,
                ),
            )


def _standard_error(suggested: FloatArray, outside: Codes, inside: Codes) -> float:
    """The error of the mean difference where one student is the twin of many: each counts once, by
    its weight.

    Source: Abadie & Imbens (2006), Econometrica 74(1), for matching with replacement.
    """
    both = np.concatenate([suggested[outside], suggested[inside]])
    share = (both.sum() + 1) / (len(both) + 2)
    uses = [
        np.bincount(twins, minlength=len(suggested)).astype("float64")
        for twins in (outside, inside)
    ]
    squares = sum(float((count**2).sum()) for count in uses)
    return math.sqrt(share * (1 - share) * squares) / len(outside)


def _points(inputs: pd.DataFrame) -> FloatArray:
    """Inputs in units of their spread; what is missing lies in the middle, and one unit apart from
    what is not.
    """
    columns = []
    for name in inputs.columns:
        values = inputs[name].to_numpy(dtype="float64")
        missing = ~np.isfinite(values)
        if missing.all():
            continue
        middle, spread = np.median(values[~missing]), values[~missing].std()
        columns.append(np.where(missing, 0.0, (values - middle) / (spread or 1.0)))
        if missing.any():
            columns.append(missing.astype("float64"))
    return np.column_stack(columns) if columns else np.zeros((len(inputs), 1))
