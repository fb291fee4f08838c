"""Why a support is suggested, in plain words: TreeSHAP contributions by feature family, added up
from what is visible.

The ranker has seen only the viewer's features, so no residual can tell of the others: what the
model made of missing features is the same for every student with the same visible record, and is
part of the starting point. Words never claim a cause.
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

_MOST_PHRASES = 2


@dataclass(frozen=True)
class Reason:
    """What one family of features adds to the expected benefit, in progress points, said in plain
    words.
    """

    family: str
    phrase: str
    points: float


@dataclass(frozen=True)
class SuggestionExplanation:
    """`base` plus the points of all reasons is the benefit, to 1e-9."""

    base: float
    reasons: tuple[Reason, ...]


def explain_suggestions(
    ranker: BenefitRanker, features: pd.DataFrame, support: str, visible: Collection[Category]
) -> list[SuggestionExplanation]:
    """One explanation a row of `features`, for viewers who may all see the same categories."""
    base, contributions = ranker.contributions(features, support)
    names = np.array(ranker.feature_names_)
    shown = np.array([FEATURES_BY_NAME[name].category in visible for name in names])
    values = features[ranker.feature_names_].to_numpy(dtype="float64")
    return [
        _one(
            names, values[row], contributions[row], shown & ~np.isnan(values[row]), float(base[row])
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
    """How sure the ranker is, in a word or two."""
    if lower >= 0.6 * benefit:
        return "very sure"
    return "sure" if lower >= 0.3 * benefit else "fairly sure"


def _points(value: float) -> str:
    rounded = f"{value:.1f}".removesuffix(".0")
    return f"{rounded} progress {'point' if rounded == '1' else 'points'}"


def _one(
    names: NDArray[np.str_],
    values: NDArray[np.float64],
    contributions: NDArray[np.float64],
    known: NDArray[np.bool_],
    base: float,
) -> SuggestionExplanation:
    families = np.array([FEATURES_BY_NAME[str(name)].family for name in names])
    reasons = []
    for family in dict.fromkeys(families[known].tolist()):
        inside = np.flatnonzero(known & (families == family))
        points = float(contributions[inside].sum())
        telling = np.array([FEATURES_BY_NAME[str(names[place])].tells for place in inside])
        same_way = inside[(contributions[inside] * points > 0) & telling]
        strongest = same_way[np.argsort(-np.abs(contributions[same_way]), kind="stable")][
            :_MOST_PHRASES
        ]
        phrase = "; ".join(
            FEATURES_BY_NAME[str(names[place])].phrase(float(values[place])) for place in strongest
        )
        reasons.append(Reason(family, phrase or "nothing that stands out", points))
    reasons.sort(key=lambda reason: -abs(reason.points))
    return SuggestionExplanation(base + float(contributions[~known].sum()), tuple(reasons))
