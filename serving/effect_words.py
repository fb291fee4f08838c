"""What a program achieved, in sentences for the district: figures with their range, never a cause, never a bare number.

A pure function of `training.effects`. Where nobody can tell, the sentence says so and why. Whether a program works is
the district's judgement: the sentences say what the records show of students who were alike on record.
"""

from __future__ import annotations

from serving.words import WHAT_A_POINT_IS, count, points
from serving.words import support as support_label
from training.effects import CANNOT_TELL, GAIN, LOSS, NEVER_CAME, NO_DIFFERENCE, UNKNOWN, Band, Effect, ProgramEffect
from training.policy_value import Estimate

VERDICTS = {
    GAIN: "More progress than similar students",
    LOSS: "Less progress than similar students",
    NO_DIFFERENCE: "No difference that the records can show",
    UNKNOWN: "Cannot tell",
}
BANDS = {"low": "least", "middle": "a middling amount", "high": "most"}
CAVEAT = ("What is not on record is not compared: families, motivation and luck may differ. This says what went along "
          "with the program, not what it caused.")  # fmt: skip


def sentences(found: ProgramEffect) -> tuple[str, ...]:
    """What to say of one program, the answer first; the last sentence is always `CAVEAT`."""
    name = f"{found.name} ({support_label(found.support).lower()})"
    said = [_answer(name, found.effect)]
    if found.effect.estimate is not None:
        said += [_left_out(found.effect), WHAT_A_POINT_IS, *(_band(band) for band in found.dosage)]
    said += [_naive(found.effect), *_cost(found), CAVEAT]
    return tuple(sentence for sentence in said if sentence)


def _answer(name: str, found: Effect) -> str:
    if found.estimate is None:
        return f"{name}: cannot tell, because {CANNOT_TELL[found.cannot_tell]}."
    served = count(found.served, "student", "students")
    if found.verdict in (GAIN, LOSS):
        way = "more" if found.verdict == GAIN else "less"
        return (f"{name}: the {served} served made between {_range(found.estimate)} points {way} progress than similar "
                f"students who were not served.")  # fmt: skip
    low, high = points(-found.estimate.lower), points(found.estimate.upper)
    return (f"{name}: the progress of the {served} served cannot be told from that of similar students who were not "
            f"served: anything from {low} points less to {high} points more.")  # fmt: skip


def _range(found: Estimate) -> str:
    """The two ends without their sign, the smaller first."""
    ends = sorted((abs(found.lower), abs(found.upper)))
    return f"{points(ends[0])} and {points(ends[1])}"


def _left_out(found: Effect) -> str:
    if not found.served_left_out:
        return ""
    what = count(found.served_left_out, "record of a student served is", "records of students served are")
    return f"{what} left out: nobody alike went without."


def _naive(found: Effect) -> str:
    if found.naive is None:
        return ""
    way = "more" if found.naive.value >= 0 else "less"
    return (f"A naive comparison, with all who were not served however unlike, gives {points(abs(found.naive.value))} "
            f"points {way}; it mixes what the program did with whom it was given to.")  # fmt: skip


def _band(band: Band) -> str:
    """One sentence a band: by how much was received, against none."""
    if band.name == NEVER_CAME:
        who = "Students who enrolled and never came"
    else:
        amount = f"{band.least:,.0f}" + (f" to {band.most:,.0f}" if band.most > band.least else "")
        who = f"Students who received {BANDS[band.name]} ({amount})"
    if band.effect.estimate is None:
        return f"{who}: cannot tell, because {CANNOT_TELL[band.effect.cannot_tell]}."
    if band.effect.verdict in (GAIN, LOSS):
        way = "more" if band.effect.verdict == GAIN else "less"
        return f"{who} made between {_range(band.effect.estimate)} points {way} progress than similar students."
    return f"{who} cannot be told from similar students."


def _cost(found: ProgramEffect) -> tuple[str, ...]:
    if found.cost_per_student is None:
        return ("What the program costs is not on record.",)
    each = f"It costs ${found.cost_per_student:,.0f} for each student served."
    if found.cost_per_point is None:
        return (each, "Cannot tell what a point of progress costs: it is not sure that there was any.")
    low, high = found.cost_per_point.lower, found.cost_per_point.upper
    return (each, f"A point of progress of one student goes along with a cost of ${low:,.0f} to ${high:,.0f}.")
