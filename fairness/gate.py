"""The gate: a declared policy turns figures with intervals into pass, fail or cannot tell.

It refuses to take "not shown to be unfair" for "fair": a pass needs the whole interval on the right side of the
threshold, and a group too small to judge is called so.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

POLICY_FILE = Path(__file__).with_name("policy.toml")
GROUPS = ("sex", "race_ethnicity", "english_learner", "special_education", "unstable_housing", "meal_eligible",
          "grade_band")  # fmt: skip
"""What an audit can compare by."""


class PolicyError(ValueError):
    """A policy file that cannot be used; the message says which entry and what would be right."""


class Verdict(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    CANNOT_TELL = "cannot_tell"


class Interval(NamedTuple):
    """A figure with the lower and upper end of its interval."""

    point: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Policy:
    """The thresholds, by the names in `policy.toml`; `says` and `sources` hold their words there.

    `reported` names groups that are shown but not counted in the verdict, each with the reason.
    """

    groups: tuple[str, ...]
    intersections: tuple[tuple[str, str], ...]
    reported: Mapping[str, str]
    least_suggestion_ratio: float
    most_missed_difference: float
    need_severity: int
    smallest_cell: int
    fewest_in_need: int
    confidence: float
    valid_days: int
    shortest_reason: int
    says: Mapping[str, str]
    sources: Mapping[str, str]

    @classmethod
    def declared(cls, file: Path = POLICY_FILE) -> Policy:
        """The policy in a file.

        Raises:
            PolicyError: an entry is missing, unknown, without a source or out of its range.
        """
        try:
            content = tomllib.loads(file.read_text())
        except tomllib.TOMLDecodeError as error:
            raise PolicyError(f"{file.name}: {error}") from None
        thresholds = content.pop("thresholds", {})
        _check_entries(file, content, thresholds)
        policy = cls(
            groups=tuple(content["groups"]), intersections=tuple((a, b) for a, b in content["intersections"]),
            reported=dict(content["reported"]),
            says={name: entry["says"] for name, entry in thresholds.items()},
            sources={name: entry["source"] for name, entry in thresholds.items()},
            **{name: thresholds[name]["value"] for name in _RANGES},
        )  # fmt: skip
        _check_groups(file, policy)
        return policy

    @property
    def sha256(self) -> str:
        """A digest of everything that the policy says: an audit counts only under the policy it was made under."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def z(self, comparisons: int) -> float:
        """The normal quantile of each interval's end when `comparisons` intervals are to hold at once."""
        return NormalDist().inv_cdf(1 - (1 - self.confidence) / (2 * max(comparisons, 1)))


_RANGES: Mapping[str, tuple[type[int] | type[float], float, float]] = {
    "least_suggestion_ratio": (float, 0.5, 1.0), "most_missed_difference": (float, 0.0, 0.5),
    "need_severity": (int, 1, 3), "smallest_cell": (int, 10, 1000), "fewest_in_need": (int, 20, 10_000),
    "confidence": (float, 0.8, 0.9999), "valid_days": (int, 1, 730), "shortest_reason": (int, 20, 2000),
}  # fmt: skip
"""Type and range of each threshold: outside it, a policy would no longer protect anybody."""


def judge_ratio(ratio: Interval, policy: Policy) -> Verdict:
    """Whether a group's suggestion rate is at least four fifths of that of the others.

    It fails below the threshold where chance does not explain the gap, the interval lying wholly below parity: the
    two conditions of 29 CFR 1607.4(D). It passes where the whole interval is above the threshold.
    """
    if any(math.isnan(value) for value in ratio):
        return Verdict.CANNOT_TELL
    if ratio.point < policy.least_suggestion_ratio and ratio.upper < 1:
        return Verdict.FAIL
    return Verdict.PASS if ratio.lower >= policy.least_suggestion_ratio else Verdict.CANNOT_TELL


def judge_difference(difference: Interval, policy: Policy) -> Verdict:
    """Whether students in need are missed about as seldom in a group as among the others: judged as `judge_ratio`."""
    if any(math.isnan(value) for value in difference):
        return Verdict.CANNOT_TELL
    if difference.point > policy.most_missed_difference and difference.lower > 0:
        return Verdict.FAIL
    return Verdict.PASS if difference.upper <= policy.most_missed_difference else Verdict.CANNOT_TELL


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Fail if any fails; else cannot tell if any is so, or if there is none; else pass."""
    found = set(verdicts)
    for verdict in (Verdict.FAIL, Verdict.CANNOT_TELL):
        if verdict in found:
            return verdict
    return Verdict.PASS if found else Verdict.CANNOT_TELL


def overall(groups: Iterable[Verdict], intersections: Iterable[Verdict]) -> Verdict:
    """The verdict on a model: any failing group or intersection fails it; only groups make it "cannot tell"."""
    crossed = Verdict.FAIL if Verdict.FAIL in set(intersections) else Verdict.PASS
    return worst([worst(groups), crossed])


def _check_entries(file: Path, content: Mapping[str, Any], thresholds: Mapping[str, Any]) -> None:
    if set(content) != {"groups", "intersections", "reported"}:
        raise PolicyError(f"{file.name}: it must hold groups, intersections, reported and thresholds, "
                          f"not {sorted(content)}")  # fmt: skip
    if set(thresholds) != set(_RANGES):
        raise PolicyError(f"{file.name}: missing or unknown thresholds: {sorted(set(thresholds) ^ set(_RANGES))}")
    for name, (type_, low, high) in _RANGES.items():
        entry = thresholds[name]
        for words in ("says", "source"):
            if not str(entry.get(words, "")).strip():
                raise PolicyError(f"{file.name}: thresholds.{name} needs a {words!r}")
        value = entry.get("value")
        if not isinstance(value, type_) or isinstance(value, bool) or not low <= value <= high:
            raise PolicyError(f"{file.name}: thresholds.{name} is {value!r}; it must be {type_.__name__} "
                              f"from {low} to {high}")  # fmt: skip


def _check_groups(file: Path, policy: Policy) -> None:
    if len(set(policy.groups)) != len(policy.groups) or not policy.groups:
        raise PolicyError(f"{file.name}: groups must be named, each once")
    for name in policy.groups:
        if name not in GROUPS:
            raise PolicyError(f"{file.name}: no group {name!r}; there are {', '.join(GROUPS)}")
    for name, why in policy.reported.items():
        if name not in policy.groups or len(why) < policy.shortest_reason:
            raise PolicyError(f"{file.name}: reported.{name} must be one of the groups and give a reason of "
                              f"{policy.shortest_reason} characters or more")  # fmt: skip
    for pair in policy.intersections:
        if not set(pair) <= set(policy.groups) or len(set(pair)) != 2:
            raise PolicyError(f"{file.name}: the intersection {pair} must be of two of the groups")


