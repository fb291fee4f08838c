"""What the records show of a program, in sentences for the district: a figure with its interval,
never a cause.

Pure functions of `training.effects.published_effects`. Where there is not enough data, the sentence
says so and why. Whether a program works is the district's judgment: the sentences say how students
who took part did, compared with similar students who did not.
"""

from __future__ import annotations

from collections.abc import Sequence

from serving.wording import words
from serving.wording.words import count, points
from training.effects.costs import Cost
from training.effects.dose_response import NEVER_ATTENDED
from training.effects.effects import GAIN, LOSS, NO_DIFFERENCE, UNKNOWN
from training.effects.published_effects import (
    NO_SUPPORT,
    NOBODY_BEGAN,
    REASONS,
    DosageBand,
    EffectFigures,
    EffectReport,
    PublishedEffect,
)
from training.estimation.policy_value import Estimate
from training.estimation.sensitivity import e_value_sentence

VERDICTS = {
    GAIN: "More progress than similar students",
    LOSS: "Less progress than similar students",
    NO_DIFFERENCE: "No detectable difference",
    UNKNOWN: "Not enough data",
}
SUMMARIES = {
    GAIN: (
        "was associated with more progress than similar students made",
        "were associated with more progress than similar students made",
    ),
    LOSS: (
        "was associated with less progress than similar students made",
        "were associated with less progress than similar students made",
    ),
    NO_DIFFERENCE: (
        "shows no statistically significant difference",
        "show no statistically significant difference",
    ),
    UNKNOWN: ("cannot be compared yet", "cannot be compared yet"),
}
"""Of one program, and of several."""

DOSAGE_LABELS = {
    "low": "Fewest sessions",
    "middle": "Mid-range",
    "high": "Most sessions",
    NEVER_ATTENDED: "Enrolled but never attended",
}
COST_UNIT_PHRASES = {
    "student": "for each student",
    "year": "a year",
    "session": "for each session that a student attended",
}
COST_UNIT_LABELS = {
    "student": "Student served",
    "year": "Year",
    "session": "Session that a student attended",
}
"""As a form offers it."""

CAVEAT = "Factors not in the records may explain part of the difference."
SUPPRESSED_COUNT = "not reported"
NO_FIGURE = "not enough data"


def sentences(program: PublishedEffect, family: int) -> tuple[str, ...]:
    """What to say of one program, the answer first.

    Args:
        family: how many programs are compared at once.
    """
    parts = [
        _answer(program),
        _multiple_comparisons(program, family),
        _excluded(program.figures),
        _unadjusted(program.figures),
        *_costs(program),
    ]
    return tuple(sentence for sentence in parts if sentence)


def sensitivity(program: PublishedEffect) -> str:
    """How strong a factor outside the records would have to be to explain the difference; empty
    where nothing is claimed.
    """
    figures = program.figures
    if figures.estimate is None or not figures.spread:
        return ""
    return e_value_sentence(figures.estimate, figures.spread, "took part")


def summary(report: EffectReport) -> tuple[str, ...]:
    """One sentence for each verdict that a program has, with the names of the programs."""
    sentences = []
    for verdict, (of_one, of_several) in SUMMARIES.items():
        names = [program.name for program in report.programs if program.verdict == verdict]
        if names:
            number = count(len(names), "program", "programs")
            predicate = of_one if len(names) == 1 else of_several
            sentences.append(f"{number} {predicate}: {_listed(names)}.")
    return tuple(sentences)


def students_served(figures: EffectFigures) -> str:
    """How many students were served: "about 120"."""
    if figures.cannot_tell in (NO_SUPPORT, NOBODY_BEGAN):
        return "not counted"
    return SUPPRESSED_COUNT if figures.served is None else f"about {figures.served:,}"


def dosage_range(band: DosageBand) -> str:
    """Which students a band holds: "Fewest sessions (up to 5)"."""
    if band.name == NEVER_ATTENDED:
        return DOSAGE_LABELS[NEVER_ATTENDED]
    above = f"more than {band.above:,.0f}" if band.above else ""
    up_to = f"up to {band.up_to:,.0f}" if band.up_to is not None else ""
    return f"{DOSAGE_LABELS[band.name]} ({', '.join(filter(None, (above, up_to))) or 'any number'})"


def estimate_with_interval(estimate: Estimate | None) -> str:
    """A difference in points with its interval: "+2.0 (+1.0 to +3.0)"."""
    if estimate is None:
        return NO_FIGURE
    return f"{signed_points(estimate.value)} ({interval_text(estimate)})"


def interval_text(estimate: Estimate) -> str:
    """The interval alone: "+1.0 to +3.0"."""
    return f"{signed_points(estimate.lower)} to {signed_points(estimate.upper)}"


def signed_points(value: float) -> str:
    """Progress points with their sign: "+2.4", "-0.3", "0.0"."""
    text = points(value)
    return f"+{text}" if value > 0 and text != "0.0" else text


def dollars(amount: float | None) -> str:
    """An amount in whole dollars: "$1,200"."""
    return "unknown" if amount is None else f"${amount:,.0f}"


def dollars_per_point(cost: Estimate | None) -> str:
    """The cost of a progress point with its interval: "$300 ($200 to $600)"."""
    if cost is None:
        return "unknown"
    return f"{dollars(cost.value)} ({dollars(cost.lower)} to {dollars(cost.upper)})"


def cost_text(cost: Cost | None) -> str:
    """A cost as it was stated: "$38 for each session that a student attended"."""
    if cost is None:
        return "not on record"
    whole = cost.dollars == round(cost.dollars)
    amount = f"{cost.dollars:,.0f}" if whole else f"{cost.dollars:,.2f}"
    return f"${amount} {COST_UNIT_PHRASES[cost.per]}"


def _answer(program: PublishedEffect) -> str:
    """How many took part, and how they did compared with similar students."""
    estimate = program.figures.estimate
    if estimate is None:
        return f"Not enough data to compare: {REASONS[program.figures.cannot_tell]}."
    served = _served_sentence(program.figures)
    if estimate.lower < 0 < estimate.upper and program.verdict not in (GAIN, LOSS):
        return (
            f"{served} Their progress was not distinguishable from that of similar students who did"
            f" not take part: anywhere from {points(-estimate.lower)} points less to"
            f" {points(estimate.upper)} points more."
        )
    low, high = _unsigned_interval(estimate)
    direction = "more" if estimate.value > 0 else "less"
    if program.verdict in (GAIN, LOSS):
        return (
            f"{served} They gained {points(abs(estimate.value))} points {direction} than similar"
            f" students who did not (between {low} and {high} points {direction}). {CAVEAT}"
        )
    return (
        f"{served} They gained between {low} and {high} points {direction} than similar students"
        " who did not, which could be due to chance."
    )


def _served_sentence(figures: EffectFigures) -> str:
    served = students_served(figures)
    if served == SUPPRESSED_COUNT:
        return "How many students took part is not reported."
    return f"{words.capital(served)} students took part."


def _unsigned_interval(estimate: Estimate) -> tuple[str, str]:
    """Both ends without their sign, the smaller first."""
    low, high = sorted((abs(estimate.lower), abs(estimate.upper)))
    return points(low), points(high)


def _multiple_comparisons(program: PublishedEffect, family: int) -> str:
    """Why an interval that excludes zero is no finding here."""
    estimate = program.figures.estimate
    if program.verdict != NO_DIFFERENCE or estimate is None:
        return ""
    if estimate.lower <= 0 <= estimate.upper:
        return ""
    return (
        f"By itself, the interval excludes zero. But {family} programs are compared at once, and"
        f" one such interval among {family} comes up by chance too easily."
    )


def _excluded(figures: EffectFigures) -> str:
    """Records of students for whom there was nobody to compare with."""
    if figures.estimate is None or figures.left_out is None:
        return ""
    return (
        f"About {figures.left_out:,} records of students who took part are excluded: no similar"
        " student went without the program."
    )


def _unadjusted(figures: EffectFigures) -> str:
    """What a comparison with everybody else would give, and why not to use it."""
    if figures.naive is None:
        return ""
    direction = "more" if figures.naive.value >= 0 else "less"
    return (
        "An unadjusted comparison with all students who did not take part gives"
        f" {points(abs(figures.naive.value))} points {direction}; it mixes the program's"
        " association with who was offered it."
    )


def _costs(program: PublishedEffect) -> tuple[str, ...]:
    """What the program costs, for a student served and for a point of progress."""
    cost, per_student, per_point = program.cost, program.cost_per_student, program.cost_per_point
    if cost is None:
        return ("What the program costs is not on record.",)
    stated = f"It costs {cost_text(cost)}"
    if cost.per != "student" and per_student is not None:
        stated += f", which is {dollars(per_student)} for each student served"
    if program.verdict == UNKNOWN:
        return (f"{stated}.",)
    if per_point is None:
        return (
            f"{stated}.",
            "Cost per point is unknown because the records do not clearly show a gain.",
        )
    return (
        f"{stated}.",
        "One point of progress by one student was associated with a cost of"
        f" {dollars(per_point.lower)} to {dollars(per_point.upper)}.",
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
