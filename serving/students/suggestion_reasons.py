"""Why a support is suggested: TreeSHAP contributions by feature family, over what is visible.

The ranker has seen only the viewer's features, so no residual can reveal the others: what the model
made of missing features is the same for every student with the same visible record, and is part of
the starting point. The sentences never claim a cause.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.catalog import FEATURES_BY_NAME
from records.canonical.schema import Category
from training.ranking.ranker import BenefitRanker

_MAX_PHRASES = 2


@dataclass(frozen=True)
class Reason:
    """What one family of features adds to the expected benefit.

    Attributes:
        phrase: the features that contribute most in the family's direction, in words.
        points: the family's contribution in progress points.
    """

    family: str
    phrase: str
    points: float


@dataclass(frozen=True)
class SuggestionExplanation:
    """`base` plus the points of all reasons is the expected benefit, to 1e-9."""

    base: float
    reasons: tuple[Reason, ...]


def explain_suggestions(
    ranker: BenefitRanker, features: pd.DataFrame, support: str, visible: Collection[Category]
) -> list[SuggestionExplanation]:
    """One explanation for each row of `features`, for viewers who all see the same categories."""
    base, contributions = ranker.contributions(features, support)
    names = np.array(ranker.feature_names_)
    may_be_shown = np.array([FEATURES_BY_NAME[name].category in visible for name in names])
    values = features[ranker.feature_names_].to_numpy(dtype="float64")
    return [
        _explanation(
            names,
            values[row],
            contributions[row],
            known=may_be_shown & ~np.isnan(values[row]),
            base=float(base[row]),
        )
        for row in range(len(features))
    ]


def benefit_sentence(benefit: float) -> str:
    """What the expected benefit means, without a claim of cause."""
    return (
        f"Students with a similar record who took part went on to gain about {_points(benefit)}"
        " more than those who did not."
    )


def confidence_label(benefit: float, lower: float) -> str:
    """How sure the ranker is, in a word or two, by how much of the benefit the lower end keeps."""
    if lower >= 0.6 * benefit:
        return "very sure"
    return "sure" if lower >= 0.3 * benefit else "fairly sure"


def _explanation(
    names: NDArray[np.str_],
    values: NDArray[np.float64],
    contributions: NDArray[np.float64],
    known: NDArray[np.bool_],
    base: float,
) -> SuggestionExplanation:
    """The explanation of one row. What is not known here goes into the starting point."""
    families = np.array([FEATURES_BY_NAME[str(name)].family for name in names])
    reasons = []
    for family in dict.fromkeys(families[known].tolist()):
        members = np.flatnonzero(known & (families == family))
        points = float(contributions[members].sum())
        phrase = _phrase(names, values, contributions, members, points)
        reasons.append(Reason(family, phrase or "nothing that stands out", points))
    reasons.sort(key=lambda reason: -abs(reason.points))
    return SuggestionExplanation(base + float(contributions[~known].sum()), tuple(reasons))


def _phrase(
    names: NDArray[np.str_],
    values: NDArray[np.float64],
    contributions: NDArray[np.float64],
    members: NDArray[np.intp],
    points: float,
) -> str:
    """The strongest features of a family that push the way the family does as a whole."""
    tells = np.array([FEATURES_BY_NAME[str(names[member])].tells for member in members])
    same_direction = members[(contributions[members] * points > 0) & tells]
    by_strength = np.argsort(-np.abs(contributions[same_direction]), kind="stable")
    return "; ".join(
        FEATURES_BY_NAME[str(names[member])].phrase(float(values[member]))
        for member in same_direction[by_strength][:_MAX_PHRASES]
    )


def _points(value: float) -> str:
    rounded = f"{value:.1f}".removesuffix(".0")
    return f"{rounded} progress {'point' if rounded == '1' else 'points'}"
