"""Verdicts on many programs that hold together, not only one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from training.effects.effects import GAIN, LOSS, NO_DIFFERENCE
from training.effects.program_effects import ProgramEffect

SIGNIFICANCE_LEVEL = 0.05


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of one family, adjusted so that the chance of a single false finding stays below the
    level (Holm 1979).

    It holds however the comparisons hang together, and those of programs do: they share who was not
    served.
    """
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = floor
    return adjusted


class JointVerdict(NamedTuple):
    """A verdict that holds together with those on all other programs, and the adjusted p-value (NaN
    if unknown).
    """

    verdict: str
    p_value: float


def joint_verdicts(found: Sequence[ProgramEffect]) -> tuple[JointVerdict, ...]:
    """The verdict on each program such that, at 95%, no gain or loss among all of them is there by
    chance.

    The family is the programs with an estimate. A district funds or ends a program by its verdict,
    so one false verdict is one too many: Holm's step-down rather than a share of false findings.
    Intervals stay as they are.
    """
    told = [place for place, one in enumerate(found) if one.effect.estimate is not None]
    adjusted = dict(zip(told, holm([found[place].effect.p_value for place in told]), strict=True))
    return tuple(
        JointVerdict(
            (
                NO_DIFFERENCE
                if one.verdict in (GAIN, LOSS) and adjusted[place] >= SIGNIFICANCE_LEVEL
                else one.verdict
            ),
            adjusted.get(place, float("nan")),
        )
        for place, one in enumerate(found)
    )
