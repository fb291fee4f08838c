"""The policy: what a district declares to be fair enough, read from `policy.toml` and checked.

It refuses a file that would no longer protect anybody: an entry that is missing, unknown, without a
source, or outside its range.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fairness.policy.checks import CHECKS, INTERSECTION_SEPARATOR, Contrast

POLICY_FILE = Path(__file__).with_name("policy.toml")
GROUP_ATTRIBUTES = (
    "sex",
    "race_ethnicity",
    "english_learner",
    "special_education",
    "unstable_housing",
    "meal_eligible",
    "grade_band",
    "school",
)
"""What an audit can compare by."""


class PolicyError(ValueError):
    """A policy file that cannot be used; the message says which entry and what would be right."""


class Consequence(StrEnum):
    """What the answer to one check does."""

    STOPS = "stops"
    """The model may not serve."""
    ASKS = "asks"
    """It may serve only with the reviewer's written reason."""
    SHOWS = "shows"
    """It is on the page and decides nothing."""


@dataclass(frozen=True)
class Threshold:
    """What one check asks for.

    Attributes:
        beyond: a gap beyond this fails, where chance does not explain it. A ratio falls below it.
        within: the whole interval must lie within this to pass.
        fails, unsure: what a failing check does, and one that cannot tell.
    """

    beyond: float
    within: float
    fails: Consequence
    unsure: Consequence
    source: str


@dataclass(frozen=True)
class Policy:
    """The thresholds, by the names in `policy.toml`; `says` and `sources` hold their words there.

    `reported` names groups, or "check:group", that are shown but not counted in the verdict, each
    with the reason.
    """

    groups: tuple[str, ...]
    intersections: tuple[tuple[str, str], ...]
    reported: Mapping[str, str]
    checks: Mapping[str, Threshold]
    need_severity: int
    smallest_cell: int
    fewest_in_need: int
    confidence: float
    strong_proxy: float
    valid_days: int
    drift_days: int
    reaudit_days: int
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
            content = tomllib.loads(file.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise PolicyError(f"{file.name}: {error}") from None
        thresholds, checks = content.pop("thresholds", {}), content.pop("checks", {})
        _check_entries(file, content, thresholds)
        policy = cls(
            groups=tuple(content["groups"]),
            intersections=tuple((a, b) for a, b in content["intersections"]),
            reported=dict(content["reported"]),
            checks=_checks(file, checks),
            says={name: entry["says"] for name, entry in thresholds.items()},
            sources={name: entry["source"] for name, entry in thresholds.items()},
            **{name: thresholds[name]["value"] for name in _RANGES},
        )
        _check_groups(file, policy)
        return policy

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Policy:
        """A policy as an audit holds it.

        Raises:
            PolicyError: it is none.
        """
        try:
            return TypeAdapter(cls).validate_python(content)
        except ValidationError as error:
            raise PolicyError(f"the policy of an audit cannot be read: {error}") from None

    @property
    def attributes(self) -> tuple[str, ...]:
        """What is compared by: every group, then every intersection of two."""
        return (*self.groups, *(INTERSECTION_SEPARATOR.join(pair) for pair in self.intersections))

    @property
    def sha256(self) -> str:
        """A digest of everything that the policy says: an audit counts only under the policy it was
        made under.
        """
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def counts(self, check: str, attribute: str) -> bool:
        """Whether the answer counts in the verdict, rather than being shown alone."""
        return not {attribute, f"{check}:{attribute}"} & self.reported.keys()


_RANGES: Mapping[str, tuple[type[int] | type[float], float, float]] = {
    "need_severity": (int, 1, 3),
    "smallest_cell": (int, 10, 1000),
    "fewest_in_need": (int, 20, 10_000),
    "confidence": (float, 0.8, 0.9999),
    "strong_proxy": (float, 0.55, 1.0),
    "valid_days": (int, 1, 730),
    "drift_days": (int, 0, 90),
    "reaudit_days": (int, 1, 180),
    "shortest_reason": (int, 20, 2000),
}
"""Type and range of each threshold: outside it, a policy would no longer protect anybody."""
_SIZES: Mapping[Contrast, tuple[float, float]] = {
    "ratio": (0.5, 1.0),
    "difference": (0.0, 0.5),
    "mean": (0.0, 0.5),
}
_MOST_POINTS = 3.0
"""Progress points, for a check that compares these."""
_MUST_STOP = ("suggestion", "missed", "access")
"""Checks of which a failing one always stops a model: no district may write these down to a
remark."""
_ALWAYS_COUNT = ("sex", "race_ethnicity", "english_learner", "special_education")
"""Groups that no district may leave out of these checks."""
_WIDEST_GAP, _WIDEST_RATIO = 0.15, 0.75


def _check_entries(file: Path, content: Mapping[str, Any], thresholds: Mapping[str, Any]) -> None:
    if set(content) != {"groups", "intersections", "reported"}:
        raise PolicyError(
            f"{file.name}: it must hold groups, intersections, reported, thresholds and checks, "
            f"not {sorted(content)}"
        )
    _check_shapes(file, content)
    if set(thresholds) != set(_RANGES):
        raise PolicyError(
            f"{file.name}: missing or unknown thresholds: {sorted(set(thresholds) ^ set(_RANGES))}"
        )
    for name, (type_, low, high) in _RANGES.items():
        entry = thresholds[name]
        if not isinstance(entry, dict):
            raise PolicyError(
                f"{file.name}: thresholds.{name} must be a table with value, says and source"
            )
        for words in ("says", "source"):
            if not str(entry.get(words, "")).strip():
                raise PolicyError(f"{file.name}: thresholds.{name} needs a {words!r}")
        value = entry.get("value")
        if not isinstance(value, type_) or isinstance(value, bool) or not low <= value <= high:
            raise PolicyError(
                f"{file.name}: thresholds.{name} is {value!r}; it must be {type_.__name__} "
                f"from {low} to {high}"
            )


def _checks(file: Path, entries: Mapping[str, Any]) -> dict[str, Threshold]:
    if set(entries) != set(CHECKS):
        raise PolicyError(
            f"{file.name}: missing or unknown checks: {sorted(set(entries) ^ set(CHECKS))}"
        )
    found = {}
    for name, check in CHECKS.items():
        entry, where = entries[name], f"{file.name}: checks.{name}"
        if not isinstance(entry, dict):
            raise PolicyError(
                f"{where} must be a table with beyond, within, fails, unsure and source"
            )
        if (
            set(entry) != {"beyond", "within", "fails", "unsure", "source"}
            or not str(entry["source"]).strip()
        ):
            raise PolicyError(
                f"{where} must hold beyond, within, fails, unsure and a source, not {sorted(entry)}"
            )
        low, high = (0.0, _MOST_POINTS) if check.unit == "points" else _SIZES[check.comparison]
        for size in ("beyond", "within"):
            if not isinstance(entry[size], float) or not low <= entry[size] <= high:
                raise PolicyError(
                    f"{where}.{size} is {entry[size]!r}; it must be a number from {low} to {high}, "
                    "with a decimal point"
                )
        for answer, allowed in (
            ("fails", set(Consequence)),
            ("unsure", set(Consequence) - {Consequence.STOPS}),
        ):
            if entry[answer] not in allowed:
                raise PolicyError(
                    f"{where}.{answer} is {entry[answer]!r}; it must be one of "
                    f"{', '.join(sorted(allowed))}"
                )
        if name in _MUST_STOP and not _protects(check.comparison, entry["beyond"], entry["within"]):
            raise PolicyError(
                f"{where} would let too wide a gap pass: a ratio may be {_WIDEST_RATIO} at least, a"
                f" difference {_WIDEST_GAP} at most"
            )
        if name in _MUST_STOP and (
            entry["fails"] != Consequence.STOPS or entry["unsure"] == Consequence.SHOWS
        ):
            raise PolicyError(
                f"{where}: a failing one must stop a model, and one that cannot tell must ask"
            )
        found[name] = Threshold(
            entry["beyond"],
            entry["within"],
            Consequence(entry["fails"]),
            Consequence(entry["unsure"]),
            entry["source"],
        )
    return found


def _check_shapes(file: Path, content: Mapping[str, Any]) -> None:
    groups, pairs, reported = content["groups"], content["intersections"], content["reported"]
    if not isinstance(groups, list) or not all(isinstance(name, str) for name in groups):
        raise PolicyError(f"{file.name}: groups must be named, each once, as a list of words")
    if (
        not isinstance(pairs, list)
        or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
        or not all(isinstance(name, str) for pair in pairs for name in pair)
    ):
        raise PolicyError(f"{file.name}: each intersection must be a list of two of the groups")
    if not isinstance(reported, dict):
        raise PolicyError(f"{file.name}: reported must be a table of groups with a reason each")
    for name, why in reported.items():
        if not isinstance(why, str):
            raise PolicyError(f"{file.name}: reported.{name} must be a reason in words")


def _protects(comparison: Contrast, beyond: float, within: float) -> bool:
    if comparison == "ratio":
        return min(beyond, within) >= _WIDEST_RATIO
    return max(beyond, within) <= _WIDEST_GAP


def _check_groups(file: Path, policy: Policy) -> None:
    if len(set(policy.groups)) != len(policy.groups) or not policy.groups:
        raise PolicyError(f"{file.name}: groups must be named, each once")
    for name in policy.groups:
        if name not in GROUP_ATTRIBUTES:
            raise PolicyError(
                f"{file.name}: no group {name!r}; there are {', '.join(GROUP_ATTRIBUTES)}"
            )
    for pair in policy.intersections:
        if not set(pair) <= set(policy.groups) or len(set(pair)) != 2:
            raise PolicyError(f"{file.name}: the intersection {pair} must be of two of the groups")
    for name, why in policy.reported.items():
        check, _, group = name.rpartition(":")
        if group not in policy.attributes or check not in {"", *CHECKS}:
            raise PolicyError(
                f"{file.name}: reported.{name} is none of the groups, nor a check and one of them"
                ' such as "support:meal_eligible"'
            )
        if set(group.split(INTERSECTION_SEPARATOR)) & set(_ALWAYS_COUNT) and check in {
            "",
            *_MUST_STOP,
        }:
            raise PolicyError(
                f"{file.name}: reported.{name} would leave out a group that always counts"
            )
        if len(why) < policy.shortest_reason:
            raise PolicyError(
                f"{file.name}: reported.{name} must give a reason of {policy.shortest_reason}"
                " characters or more"
            )
