"""Drawing noisy estimates of like things toward what they have in common (empirical Bayes)."""

from __future__ import annotations

import numpy as np

from training.estimation.arrays import FloatArray

MIN_TO_POOL = 4
"""Estimates from which on the others say how far one of them is likely to lie from their mean."""


def shrink_to_mean(
    levels: FloatArray, errors: FloatArray, usual_spread: float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """Empirical Bayes estimates of means with known standard errors, and their own errors, shape
    (means,).

    Each is drawn toward the mean of the others by how much of its distance may be noise, so that
    one far off does not widen what is thought likely of itself. Source: Efron & Morris (1975), JASA
    70; the variance between means by DerSimonian & Laird (1986), at least `usual_spread` squared.
    Fewer than four stay as they are.
    """
    if len(levels) < MIN_TO_POOL:
        return levels, errors
    shrunk, sure = np.empty_like(levels), np.empty_like(levels)
    for place in range(len(levels)):
        others = np.arange(len(levels)) != place
        common, between = _common(levels[others], errors[others])
        between = max(between, usual_spread**2)
        kept = _kept(between, errors[place])
        shrunk[place], sure[place] = (
            common + kept * (levels[place] - common),
            np.sqrt(kept) * errors[place],
        )
    return shrunk, sure


def shrink_to_zero(levels: FloatArray, errors: FloatArray, usual_spread: float) -> FloatArray:
    """Estimates less what may be noise in them, where zero is usual: for too few to say what they
    have in common.
    """
    shrunk: FloatArray = levels * _kept(usual_spread**2, errors)
    return shrunk


def _kept(between: float, errors: FloatArray) -> FloatArray:
    """The share of a distance that is no noise; all of it where nothing is noise."""
    noise = np.square(errors)
    kept: FloatArray = np.divide(
        between, between + noise, out=np.ones_like(noise), where=between + noise > 0
    )
    return kept


def _common(levels: FloatArray, errors: FloatArray) -> tuple[float, float]:
    """Mean and variance of what means with known errors have in common."""
    precision = 1 / np.maximum(errors, 1e-9) ** 2
    common = float((precision * levels).sum() / precision.sum())
    excess = float((precision * (levels - common) ** 2).sum()) - (len(levels) - 1)
    between = max(0.0, excess / float(precision.sum() - (precision**2).sum() / precision.sum()))
    weight = 1 / (np.maximum(errors, 1e-9) ** 2 + between)
    return float((weight * levels).sum() / weight.sum()), between
