"""What may stand in `policy.toml`, as one pydantic model, and what is wrong with a file in words.

A district may tighten the policy. It may not write down a check that protects students to a remark,
leave out a group that must count, or widen a gap until it protects nobody: such a file is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar, Generic, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from fairness.checks.checks import CHECKS, INTERSECTION_SEPARATOR, Contrast
from records.system.errors import UserError
from records.system.files import read_toml

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
BLOCKING_CHECKS = ("suggestion", "missed", "access")
"""Checks of which a failing one always stops a model: no district may write these down to a
remark."""
ALWAYS_COUNTED = ("sex", "race_ethnicity", "english_learner", "special_education")
"""Groups that no district may leave out of these checks."""
WIDEST_GAP, WIDEST_RATIO = 0.15, 0.75
"""How much a district may let pass in these checks."""
_SIZES: Mapping[Contrast, tuple[float, float]] = {
    "ratio": (0.5, 1.0),
    "difference": (0.0, 0.5),
    "mean": (0.0, 0.5),
}
_MOST_POINTS = 3.0
"""Progress points, for a check that compares these."""


class PolicyError(UserError, ValueError):
    """A policy file that cannot be used; the message says which entry and what would be right."""


class Consequence(StrEnum):
    """What the answer to one check does."""

    STOPS = "stops"
    """The model may not serve."""
    ASKS = "asks"
    """It may serve only with the reviewer's written reason."""
    SHOWS = "shows"
    """It is on the page and decides nothing."""


def _within(kind: type[int] | type[float], low: float, high: float) -> BeforeValidator:
    """A number of just this type: TOML tells 1 from 1.0, and true is no number."""

    def check(value: object) -> object:
        if type(value) is not kind or not low <= value <= high:
            what = "a whole number" if kind is int else "a number with a decimal point,"
            raise PydanticCustomError(
                "range",
                "it must be {what} from {low} to {high}",
                {"what": what, "low": low, "high": high},
            )
        return value

    return BeforeValidator(check)


def _decimal(value: object) -> object:
    if type(value) is not float:
        raise PydanticCustomError("decimal", "it must be a number with a decimal point")
    return value


def _not_stopping(value: Consequence) -> Consequence:
    if value is Consequence.STOPS:
        raise PydanticCustomError("unsure", "it must be 'asks' or 'shows'")
    return value


Value = TypeVar("Value")
Words = Annotated[str, StringConstraints(pattern=r"\S")]
Decimal = Annotated[float, BeforeValidator(_decimal)]


class _Table(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)


class ThresholdEntry(_Table, Generic[Value]):
    """One threshold with its words and where it comes from."""

    value: Value
    says: Words
    source: Words


class Thresholds(_Table):
    """Type and range of each threshold: outside it, a policy would no longer protect anybody."""

    need_severity: ThresholdEntry[Annotated[int, _within(int, 1, 3)]]
    fewest_in_need: ThresholdEntry[Annotated[int, _within(int, 20, 10_000)]]
    confidence: ThresholdEntry[Annotated[float, _within(float, 0.8, 0.9999)]]
    strong_proxy: ThresholdEntry[Annotated[float, _within(float, 0.55, 1.0)]]
    valid_days: ThresholdEntry[Annotated[int, _within(int, 1, 730)]]
    drift_days: ThresholdEntry[Annotated[int, _within(int, 0, 90)]]
    reaudit_days: ThresholdEntry[Annotated[int, _within(int, 1, 180)]]
    shortest_reason: ThresholdEntry[Annotated[int, _within(int, 20, 2000)]]


class CheckEntry(_Table):
    """How much is too much in one check, and what follows."""

    beyond: Decimal
    within: Decimal
    fails: Consequence
    unsure: Annotated[Consequence, AfterValidator(_not_stopping)]
    source: Words


class PolicyFile(_Table):
    """A policy file that protects students."""

    groups: tuple[str, ...]
    intersections: tuple[tuple[str, str], ...]
    reported: dict[str, str]
    thresholds: Thresholds
    checks: dict[str, CheckEntry]

    @model_validator(mode="after")
    def _protects(self) -> PolicyFile:
        problems = [*_problems_of_checks(self), *_problems_of_groups(self)]
        if problems:
            raise ValueError("\n".join(problems))
        return self


def read_policy_file(file: Path) -> PolicyFile:
    """The content of a policy file.

    Raises:
        PolicyError: it is no TOML, or an entry is missing, unknown or not allowed; a line each.
    """
    try:
        return PolicyFile.model_validate(read_toml(file, PolicyError))
    except ValidationError as error:
        problems = [line for problem in error.errors() for line in _in_words(problem).splitlines()]
        raise PolicyError("\n".join(f"{file}: {problem}" for problem in problems)) from None


def _problems_of_checks(content: PolicyFile) -> Iterator[str]:
    for name in sorted(content.checks.keys() - CHECKS.keys()):
        yield f"checks.{name} is not known; there are {', '.join(CHECKS)}"
    for name, check in CHECKS.items():
        entry = content.checks.get(name)
        if entry is None:
            yield f"checks.{name} is missing"
            continue
        low, high = (0.0, _MOST_POINTS) if check.unit == "points" else _SIZES[check.contrast]
        for size, value in (("beyond", entry.beyond), ("within", entry.within)):
            if not low <= value <= high:
                yield f"checks.{name}.{size} is {value}; it must be a number from {low} to {high}"
        if name in BLOCKING_CHECKS:
            yield from _problems_of_blocking_check(name, entry)


def _problems_of_blocking_check(name: str, entry: CheckEntry) -> Iterator[str]:
    sizes = entry.beyond, entry.within
    ratio = CHECKS[name].contrast == "ratio"
    if min(sizes) < WIDEST_RATIO if ratio else max(sizes) > WIDEST_GAP:
        yield (
            f"checks.{name} would let too wide a gap pass: a ratio may be {WIDEST_RATIO} at least,"
            f" a difference {WIDEST_GAP} at most"
        )
    if entry.fails is not Consequence.STOPS or entry.unsure is Consequence.SHOWS:
        yield f"checks.{name}: a failing one must stop a model, and one that cannot tell must ask"


def _problems_of_groups(content: PolicyFile) -> Iterator[str]:
    if len(set(content.groups)) != len(content.groups) or not content.groups:
        yield "groups must be named, each once"
    for name in content.groups:
        if name not in GROUP_ATTRIBUTES:
            yield f"no group {name!r}; there are {', '.join(GROUP_ATTRIBUTES)}"
    for pair in content.intersections:
        if not set(pair) <= set(content.groups) or len(set(pair)) != 2:
            yield f"the intersection {pair} must be of two of the groups"
    for name, why in content.reported.items():
        yield from _problems_of_reported(content, name, why)


def _problems_of_reported(content: PolicyFile, name: str, why: str) -> Iterator[str]:
    check, _, group = name.rpartition(":")
    intersections = {INTERSECTION_SEPARATOR.join(pair) for pair in content.intersections}
    if group not in {*content.groups, *intersections} or check not in {"", *CHECKS}:
        yield (
            f"reported.{name} is none of the groups, nor a check and one of them such as"
            ' "support:meal_eligible"'
        )
    always_counted = set(group.split(INTERSECTION_SEPARATOR)) & set(ALWAYS_COUNTED)
    if always_counted and check in {"", *BLOCKING_CHECKS}:
        yield f"reported.{name} would leave out a group that always counts"
    shortest = content.thresholds.shortest_reason.value
    if len(why) < shortest:
        yield f"reported.{name} must give a reason of {shortest} characters or more"


_EXPECTED: Mapping[str, str] = {
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "too_long": "a list of two",
}
"""What pydantic's errors ask for, in the words of TOML."""


def _in_words(problem: ErrorDetails) -> str:
    """One of pydantic's errors as a sentence that names the entry, its value and what would do."""
    name, kind, value = ".".join(map(str, problem["loc"])), problem["type"], problem["input"]
    if kind == "value_error":
        return str(problem["ctx"]["error"])
    if kind == "missing":
        return f"{name} is missing"
    if kind == "extra_forbidden":
        return f"{name} is not known"
    if kind == "string_pattern_mismatch":
        return f"{name} is {value!r}; it must say something"
    if kind == "enum":
        return f"{name} is {value!r}; it must be {problem['ctx']['expected']}"
    if kind in _EXPECTED:
        return f"{name} is {value!r}; it must be {_EXPECTED[kind]}"
    return f"{name} is {value!r}; {problem['msg']}"
