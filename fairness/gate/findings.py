"""What an audit shows: groups with their sizes and the answer to every check, as it may be
shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from fairness.checks.checks import INTERSECTION_SEPARATOR
from fairness.checks.policy_file import Consequence
from fairness.gate.gate import Verdict

TOO_FEW = "too_few"
NOTHING_RECORDED = "nothing_recorded"


@dataclass(frozen=True)
class Group:
    """One group, as it may be shown: numbers rounded to ten; None where too small or where others
    would follow.
    """

    attribute: str
    value: str
    students: int | None
    in_need: int | None

    @property
    def is_intersection(self) -> bool:
        """Whether this is an intersection of two groups."""
        return INTERSECTION_SEPARATOR in self.attribute


@dataclass(frozen=True)
class Finding:
    """The answer to one check for one group, as it may be shown.

    Attributes:
        n: students whom the check asks about in the group, rounded to ten.
        rate, others_rate: shares in hundredths, or progress points in tenths, of the group and of
            all others.
        gap, lower, upper: how they compare, with its interval: hundredths, or tenths of a progress
            point.
        does: what follows from the verdict under the policy.
        counts: False where the policy only shows this group.
        why: empty, or the code of why nothing could be judged.
    """

    check: str
    item: str
    attribute: str
    value: str
    verdict: Verdict
    does: Consequence
    counts: bool
    n: int | None
    rate: float | None
    others_rate: float | None
    gap: float | None
    lower: float | None
    upper: float | None
    why: str

    @property
    def is_intersection(self) -> bool:
        return INTERSECTION_SEPARATOR in self.attribute


@dataclass(frozen=True)
class PublishedAudit:
    """What may be shown of an audit. `helped`: the share of all in need who have a support or a
    suggestion.
    """

    students: int | None
    in_need: int | None
    helped: float | None
    groups: tuple[Group, ...]
    findings: tuple[Finding, ...]
