"""Verdicts on many programs that hold together, not only one by one.

Source: Holm (1979), Scandinavian Journal of Statistics 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from training.effects.effects import GAIN, LOSS, NO_DIFFERENCE
from training.effects.program_effects import ProgramEffect

SIGNIFICANCE_LEVEL = 0.05


class JointVerdict(NamedTuple):
    """A verdict that holds together with all others, and its adjusted p-value (NaN if unknown)."""

    verdict: str
    p_value: float


def joint_verdicts(programs: Sequence[ProgramEffect]) -> tuple[JointVerdict, ...]:
    """Verdicts on all programs of which, at 95% confidence, not one gain or loss is false.

    The family is the programs with an estimate. A district funds or ends a program by its verdict,
    so one false verdict is one too many: Holm's step-down rather than a false discovery rate.
    Intervals stay as they are.
    """
    estimated = [
        index for index, program in enumerate(programs) if program.effect.estimate is not None
    ]
    p_values = holm([programs[index].effect.p_value for index in estimated])
    adjusted = dict(zip(estimated, p_values, strict=True))
    verdicts = []
    for index, program in enumerate(programs):
        is_claim = program.verdict in (GAIN, LOSS)
        by_chance = is_claim and adjusted[index] >= SIGNIFICANCE_LEVEL
        verdict = NO_DIFFERENCE if by_chance else program.verdict
        verdicts.append(JointVerdict(verdict, adjusted.get(index, float("nan"))))
    return tuple(verdicts)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of one family, adjusted by Holm's step-down.

    It holds however the comparisons depend on each other, and those of programs do: they share
    their comparison students.
    """
    adjusted, floor = [0.0] * len(p_values), 0.0
    ascending = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for rank, index in enumerate(ascending):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = floor
    return adjusted
