"""Every question that an audit asks, declared once: what is compared, which way harm lies, and its
plain words.

`policy.toml` says of each how much is too much and what follows. A check is added here, in the
module that measures it (`measures`, `past`, `twins`, `live`), and in the policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Contrast = Literal["difference", "ratio", "mean"]
INTERSECTION_SEPARATOR = " x "
"""Between the names of two groups at once."""
HIGH_CARDINALITY_ATTRIBUTES = ("school",)
"""Groups of which there are many."""


@dataclass(frozen=True)
class Check:
    """One question.

    Attributes:
        title, asks: a heading, and the question in plain words.
        comparison: of the group with all others whose value is on record ("difference", "ratio"),
            or of the group with nothing ("mean").
        harm: 1 where more of it harms the group, -1 where less of it does.
        rate: what the figure of the group itself is called.
        unit: "share" (of students, or of benefit) or "points" (progress points).
        about: "model" (what it suggests), "records" (what it learned from and sees), "use" (what
            staff see and do).
        everywhere: whether schools and two groups at once are compared too.
        matched: whether students are compared within equal need, or within what their other records
            foretell.
    """

    title: str
    asks: str
    comparison: Contrast
    harm: Literal[1, -1]
    rate: str
    unit: Literal["share", "points"] = "share"
    about: Literal["model", "records", "use"] = "model"
    matched: bool = False
    everywhere: bool = False

    def compares(self, attribute: str) -> bool:
        """Whether the groups of an attribute are compared: of schools and of two groups at once
        only the main checks are asked, since what is left of most others there is too little to
        judge.
        """
        return self.everywhere or (
            INTERSECTION_SEPARATOR not in attribute and attribute not in HIGH_CARDINALITY_ATTRIBUTES
        )


COMPLEMENT_OF_MISSED = "suggestion"
"""The check whose share is what is left of another's, "missed"."""
CHECKS: Mapping[str, Check] = {
    "suggestion": Check(
        "A support or a suggestion",
        "Of students in need, has this group a support or a suggestion as often as all others?",
        "ratio",
        -1,
        "with a support or a suggestion",
        everywhere=True,
    ),
    "missed": Check(
        "Missed",
        "Of students in need, has this group neither a support nor a suggestion more often than all"
        " others?",
        "difference",
        1,
        "with neither",
        everywhere=True,
    ),
    "access": Check(
        "Access at equal need",
        "Among students of the same need to whom some support is open, has this "
        "group neither a support nor a suggestion more often?",
        "difference",
        1,
        "with neither",
        matched=True,
        everywhere=True,
    ),
    "captured": Check(
        "Benefit captured",
        "Of all the benefit that open supports are expected to bring students in need, is less "
        "captured by the first suggestion in this group?",
        "difference",
        -1,
        "of the benefit captured",
        everywhere=True,
    ),
    "support": Check(
        "Each support",
        "Among students of the same need to whom it is open, is this support suggested as often?",
        "ratio",
        -1,
        "suggested it",
        matched=True,
    ),
    "exposure": Check(
        "Place in the queue",
        "Where places are short, those expected to gain most come first. Does this group stand "
        "as far up?",
        "ratio",
        -1,
        "of the first place's weight",
    ),
    "silence": Check(
        "No suggestion for want of sureness",
        "Of students in need to whom some support is open, does the model say "
        "nothing more often because it is not sure enough?",
        "difference",
        1,
        "not sure enough",
    ),
    "late_alert": Check(
        "Late alerts",
        "Of students whose alert says to act now, had more of this group no alert at all thirty"
        " school days before?",
        "difference",
        1,
        "no earlier alert",
    ),
    "calibration": Check(
        "Did what was expected come true?",
        "Was less gained in this group than was expected, against all others?",
        "difference",
        -1,
        "gained less expected",
        "points",
    ),
    "discipline": Check(
        "Discipline",
        "Of students in need, do more of this group lose a suggestion because the model sees"
        " discipline?",
        "difference",
        1,
        "lose a suggestion",
    ),
    "twins": Check(
        "Twins",
        "For each student in need, the most alike student outside the group beside the most alike"
        " one in it: how many more of those outside have a suggestion?",
        "mean",
        1,
        "more of the twins outside have one",
    ),
    "past_support": Check(
        "Supports in the past",
        "Among students of the same need to whom it was open, did this group get the support "
        "as often, in the past that the model learned from?",
        "ratio",
        -1,
        "got it",
        about="records",
        matched=True,
    ),
    "attendance_record": Check(
        "Absences on record",
        "Among students about whom the other records foretell the same, are fewer absences of "
        "this group on record? Then absences may be missing, and alerts with them.",
        "ratio",
        -1,
        "of days absent",
        about="records",
        matched=True,
        everywhere=True,
    ),
    "discipline_record": Check(
        "Discipline on record",
        "Among students about whom the other records foretell the same, has more of this group "
        "an incident on record?",
        "difference",
        1,
        "with an incident",
        about="records",
        matched=True,
        everywhere=True,
    ),
    "shown": Check(
        "Shown a suggestion",
        "Of students in need whose list staff opened, did as many have a suggestion on it?",
        "ratio",
        -1,
        "had one",
        about="use",
    ),
    "accepted": Check(
        "Accepted by staff",
        "Of students for whom staff saw a suggestion, was one accepted as often?",
        "ratio",
        -1,
        "had one accepted",
        about="use",
    ),
    "dismissed": Check(
        "Dismissed by staff",
        "Of students for whom staff saw a suggestion, was one dismissed more often?",
        "difference",
        1,
        "had one dismissed",
        about="use",
    ),
}
"""In the order of the report."""
