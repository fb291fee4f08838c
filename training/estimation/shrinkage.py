"""Shrinking noisy estimates of like things toward what they have in common (empirical Bayes)."""

from __future__ import annotations

import numpy as np

from training.estimation.arrays import FloatArray

MIN_TO_POOL = 4
"""With fewer estimates, the others say too little of how far one may lie from their mean."""


def shrink_to_mean(
    levels: FloatArray, errors: FloatArray, min_between_sd: float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """Means with known standard errors, shrunk to the mean of the others; and their own errors.

    The share that is shrunk is how much of the distance may be noise. A mean is compared with the
    others alone, so that an extreme one does not widen its own prior. Source: Efron & Morris
    (1975), JASA 70; the variance between means by DerSimonian & Laird (1986).

    Args:
        levels, errors: the means and their standard errors, shape (means,).
        min_between_sd: smallest standard deviation between means.

    Returns:
        Means and standard errors, shape (means,) each; fewer than `MIN_TO_POOL` are unchanged.
    """
    if len(levels) < MIN_TO_POOL:
        return levels, errors
    shrunk_levels, shrunk_errors = np.empty_like(levels), np.empty_like(levels)
    for index in range(len(levels)):
        others = np.arange(len(levels)) != index
        mean, between_variance = _random_effects(levels[others], errors[others])
        signal = _signal_share(max(between_variance, min_between_sd**2), errors[index])
        shrunk_levels[index] = mean + signal * (levels[index] - mean)
        shrunk_errors[index] = np.sqrt(signal) * errors[index]
    return shrunk_levels, shrunk_errors


def shrink_to_zero(levels: FloatArray, errors: FloatArray, prior_sd: float) -> FloatArray:
    """Estimates shrunk to zero by how much of each may be noise, shape (n,).

    For estimates too few to say what they have in common.

    Args:
        levels, errors: the estimates and their standard errors, shape (n,).
        prior_sd: standard deviation of the prior, whose mean is zero.
    """
    shrunk: FloatArray = levels * _signal_share(prior_sd**2, errors)
    return shrunk


def _signal_share(between_variance: float, errors: FloatArray) -> FloatArray:
    """The share of a distance that is not noise; all of it where nothing is noise."""
    noise = np.square(errors)
    share: FloatArray = np.divide(
        between_variance,
        between_variance + noise,
        out=np.ones_like(noise),
        where=between_variance + noise > 0,
    )
    return share


def _random_effects(levels: FloatArray, errors: FloatArray) -> tuple[float, float]:
    """Mean of the random-effects model of the means, and the variance between them."""
    precision = 1 / np.maximum(errors, 1e-9) ** 2
    fixed_mean = float((precision * levels).sum() / precision.sum())
    excess = float((precision * (levels - fixed_mean) ** 2).sum()) - (len(levels) - 1)
    between = max(0.0, excess / float(precision.sum() - (precision**2).sum() / precision.sum()))
    weight = 1 / (np.maximum(errors, 1e-9) ** 2 + between)
    return float((weight * levels).sum() / weight.sum()), between
