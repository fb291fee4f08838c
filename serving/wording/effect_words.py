"""What went along with a program, in sentences for the district: a figure with its range, never a
cause.

A pure function of `training.effects.published_effects`. Where nobody can tell, the sentence says so
and why. Whether a program works is the district's judgement: the sentences say what the records
show of students who were alike on record.
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
    NO_DIFFERENCE: "No difference that the records can show",
    UNKNOWN: "Cannot tell",
}
SUMMARIES = {
    GAIN: ("went with more progress than similar students made",) * 2,
    LOSS: ("went with less progress than similar students made",) * 2,
    NO_DIFFERENCE: (
        "shows no difference that can be told from chance",
        "show no difference that can be told from chance",
    ),
    UNKNOWN: ("cannot be compared yet",) * 2,
}
"""Of one program, and of several."""
DOSAGE_LABELS = {
    "low": "Fewest sessions",
    "middle": "A middling number",
    "high": "Most sessions",
    NEVER_ATTENDED: "Enrolled and never came",
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
CAVEAT = "Other things that are not on record may explain part of it."
SUPPRESSED_COUNT = "not reported"


def sentences(found: PublishedEffect, family: int) -> tuple[str, ...]:
    """What to say of one program, the answer first.

    Args:
        family: how many programs are compared at once.
    """
    said = [
        _answer(found),
        _corrected(found, family),
        _left_out(found.figures),
        _naive(found.figures),
        *_costs(found),
    ]
    return tuple(sentence for sentence in said if sentence)


def sensitivity(found: PublishedEffect) -> str:
    """How strong something not on record would have to be; empty where nothing is claimed."""
    if found.figures.estimate is None or not found.figures.spread:
        return ""
    return e_value_sentence(found.figures.estimate, found.figures.spread, "took part")


def summary(report: EffectReport) -> tuple[str, ...]:
    """One sentence for each verdict that a program has, with the names."""
    said = []
    for verdict, (one, many) in SUMMARIES.items():
        names = [program.name for program in report.programs if program.verdict == verdict]
        if names:
            said.append(
                f"{count(len(names), 'program', 'programs')} {one if len(names) == 1 else many}: "
                f"{_listed(names)}."
            )
    return tuple(said)


def students_served(found: EffectFigures) -> str:
    """How many students were served: "about 120"."""
    if found.cannot_tell in (NO_SUPPORT, NOBODY_BEGAN):
        return "not counted"
    return SUPPRESSED_COUNT if found.served is None else f"about {found.served:,}"


def dosage_range(found: DosageBand) -> str:
    """Which students a band holds: "Fewest sessions (up to 5)"."""
    if found.name == NEVER_ATTENDED:
        return DOSAGE_LABELS[NEVER_ATTENDED]
    low = f"more than {found.above:,.0f}" if found.above else ""
    high = f"up to {found.up_to:,.0f}" if found.up_to is not None else ""
    return f"{DOSAGE_LABELS[found.name]} ({', '.join(filter(None, (low, high))) or 'any number'})"


def estimate_with_interval(found: Estimate | None) -> str:
    """A difference in points with its range: "+2.0 (+1.0 to +3.0)"."""
    return (
        "cannot tell" if found is None else f"{signed_points(found.value)} ({interval_text(found)})"
    )


def interval_text(found: Estimate) -> str:
    """The range alone: "+1.0 to +3.0"."""
    return f"{signed_points(found.lower)} to {signed_points(found.upper)}"


def dollars(found: float | None) -> str:
    return "not known" if found is None else f"${found:,.0f}"


def dollars_per_point(found: Estimate | None) -> str:
    return (
        "cannot tell"
        if found is None
        else f"${found.value:,.0f} (${found.lower:,.0f} to ${found.upper:,.0f})"
    )


def cost_text(found: Cost | None) -> str:
    """What was stated: "$38 for each session that a student attended"."""
    if found is None:
        return "not on record"
    amount = (
        f"{found.dollars:,.0f}"
        if found.dollars == round(found.dollars)
        else f"{found.dollars:,.2f}"
    )
    return f"${amount} {COST_UNIT_PHRASES[found.per]}"


def _answer(found: PublishedEffect) -> str:
    estimate = found.figures.estimate
    if estimate is None:
        return f"Cannot tell: {REASONS[found.figures.cannot_tell]}."
    served = students_served(found.figures)
    who = (
        "How many students took part is not reported."
        if served == SUPPRESSED_COUNT
        else f"{words.capital(served)} students took part."
    )
    low, high = _range(estimate)
    way = "more" if estimate.value > 0 else "less"
    if found.verdict in (GAIN, LOSS):
        return (
            f"{who} They gained {points(abs(estimate.value))} points {way} than similar students"
            f" who did not (between {low} and {high} points {way}). {CAVEAT}"
        )
    if estimate.lower < 0 < estimate.upper:
        return (
            f"{who} Their progress cannot be told from that of similar students who did not:"
            f" anything from {points(-estimate.lower)} points less to {points(estimate.upper)}"
            " points more."
        )
    return (
        f"{who} They gained between {low} and {high} points {way} than similar students who did"
        " not, which is not enough to tell from chance."
    )


def _range(found: Estimate) -> tuple[str, str]:
    """The two ends without their sign, the smaller first."""
    low, high = sorted((abs(found.lower), abs(found.upper)))
    return points(low), points(high)


def _corrected(found: PublishedEffect, family: int) -> str:
    """Why a range that leaves out zero is no finding here."""
    estimate = found.figures.estimate
    if found.verdict != NO_DIFFERENCE or estimate is None or estimate.lower <= 0 <= estimate.upper:
        return ""
    return (
        f"By itself the range leaves out zero. But {family} programs are compared at once, and one"
        f" such range among {family} comes up by chance too easily."
    )


def _left_out(found: EffectFigures) -> str:
    if found.estimate is None or found.left_out is None:
        return ""
    return (
        f"About {found.left_out:,} records of students who took part are left out: nobody alike"
        " went without."
    )


def _naive(found: EffectFigures) -> str:
    if found.naive is None:
        return ""
    way = "more" if found.naive.value >= 0 else "less"
    gap = points(abs(found.naive.value))
    return (
        f"A naive comparison, with all who did not take part however unlike, gives {gap} points "
        f"{way}; it mixes what went along with the program and whom it was offered to."
    )


def _costs(found: PublishedEffect) -> tuple[str, ...]:
    if found.cost is None:
        return ("What the program costs is not on record.",)
    stated = f"It costs {cost_text(found.cost)}"
    each = (
        ""
        if found.cost.per == "student" or found.cost_per_student is None
        else (f", which is {dollars(found.cost_per_student)} for each student served")
    )
    if found.verdict == UNKNOWN:
        return (f"{stated}{each}.",)
    if found.cost_per_point is None:
        unsure = "What a point of progress costs cannot be told: it is not sure that there was any."
        return f"{stated}{each}.", unsure
    low, high = found.cost_per_point.lower, found.cost_per_point.upper
    point = (
        f"A point of progress of one student went along with a cost of {dollars(low)} to"
        f" {dollars(high)}."
    )
    return f"{stated}{each}.", point


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def signed_points(value: float) -> str:
    said = points(value)
    return f"+{said}" if value > 0 and said != "0.0" else said
