"""Which figures of a school are shown, each declared once, and what is withheld of them.

A figure about fewer students than the rule for small numbers allows is withheld, and so is a share
where those who are not in it are as few. What nobody knows is unknown, and neither is ever zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from statistics import median
from typing import Literal

from records.canonical.schema import PERIOD_CATEGORIES, Category
from records.checks.plausible_ranges import PlausibleRange
from records.checks.school_figures import FLAGS, GROUPED_BY, LoadFigures, SchoolFigures


class Silent(Enum):
    """Why a figure has no value, in the words in which it is read."""

    UNKNOWN = "unknown"
    WITHHELD = "withheld"


Value = float | date | Silent
Unit = Literal["number", "share", "mark", "day"]


@dataclass(frozen=True)
class Measure:
    """A figure of a school.

    Attributes:
        key: what it is named in code; `range_key` names its plausible range, if it has one.
        words: what it is, as a sentence has it after "At Oak High".
        value: its value, given the smallest number of students that may be shown.
    """

    key: str
    words: str
    unit: Unit
    category: Category
    value: Callable[[SchoolFigures, int], Value]
    range_key: str = ""


@dataclass(frozen=True)
class FigureRow:
    """One figure of one school beside what it is compared with, each as text to read.

    Attributes:
        before: at the last load; empty where there is none to compare with.
        others: the median of the other schools; empty where there is none.
        plausible: the range with its bounds, and `source` where it comes from; empty where there is
            no range.
        is_doubted: whether the value is beyond the range.
    """

    words: str
    now: str
    before: str
    others: str
    plausible: str
    source: str
    is_doubted: bool


def figure_rows(
    school_id: str,
    figures: LoadFigures,
    before: LoadFigures | None,
    ranges: Mapping[str, PlausibleRange],
) -> list[FigureRow]:
    """Every figure of a school, in the order of `MEASURES`."""
    smallest, school = figures.smallest_cell, figures.schools[school_id]
    others = [one for one in figures.schools.values() if one.school_id != school_id]
    was = before.schools.get(school_id) if before is not None else None
    rows = []
    for measure in MEASURES:
        value = measure.value(school, smallest)
        plausible = ranges.get(measure.range_key)
        rows.append(
            FigureRow(
                words=measure.words[0].upper() + measure.words[1:],
                now=as_text(value, measure.unit),
                before=as_text(measure.value(was, smallest), measure.unit) if was else "",
                others=_median_text(measure, others, smallest),
                plausible=range_text(plausible, measure.unit) if plausible else "",
                source=plausible.source if plausible else "",
                is_doubted=plausible is not None
                and isinstance(value, float)
                and is_judged(measure, figures)
                and value not in plausible,
            )
        )
    return rows


def range_sources(ranges: Mapping[str, PlausibleRange]) -> list[str]:
    """A sentence for each range: what it is of, its bounds, and where it comes from."""
    first: dict[str, Measure] = {}
    for measure in MEASURES:
        if measure.range_key:
            first.setdefault(measure.range_key, measure)
    return [
        f"Plausible for {_RANGE_WORDS.get(key, measure.words)}:"
        f" {range_text(ranges[key], measure.unit)}. {ranges[key].source}"
        for key, measure in first.items()
    ]


def is_judged(measure: Measure, figures: LoadFigures) -> bool:
    """Whether a figure is held against its range: what is unknown at every school was not loaded,
    and is no fault of one.
    """
    if measure.range_key != "unknown":
        return True
    name = measure.key.removeprefix("unknown_")
    return any(one.unknown.get(name, 0) < one.enrolled for one in figures.schools.values())


def as_text(value: Value, unit: Unit) -> str:
    """A value to read: "412", "93%", "3.4", "March 3, 2026", "unknown", "withheld"."""
    if isinstance(value, Silent):
        return value.value
    if isinstance(value, date):
        return f"{value:%B} {value.day}, {value.year}"
    if unit == "share":
        return "under 1%" if 0 < value < 0.01 else f"{value:.0%}"
    if unit == "mark":
        return f"{value:,.1f}".removesuffix(".0")
    return f"{value:,.0f}"


def range_text(plausible: PlausibleRange, unit: Unit) -> str:
    """A range to read: "80% to 99%"."""
    return f"{as_text(plausible.low, unit)} to {as_text(plausible.high, unit)}"


def _median_text(measure: Measure, others: Sequence[SchoolFigures], smallest: int) -> str:
    values = [measure.value(one, smallest) for one in others]
    numbers = [value for value in values if isinstance(value, float)]
    return as_text(median(numbers), measure.unit) if numbers else ""


def _number(count: int | None) -> Value:
    return Silent.UNKNOWN if count is None else float(count)


def _students(count: int | None, smallest: int) -> Value:
    """A number of students, 0 included."""
    return Silent.WITHHELD if count is not None and 0 < count < smallest else _number(count)


def _share(part: int, rest: int, smallest: int) -> Value:
    """The share of a part in all; withheld if either part is too small."""
    if part + rest == 0:
        return Silent.UNKNOWN
    return Silent.WITHHELD if min(part, rest) < smallest else part / (part + rest)


def _of_students(value: float | None, students: int, smallest: int) -> Value:
    """A figure about some students."""
    if value is None:
        return Silent.UNKNOWN
    return Silent.WITHHELD if students < smallest else float(value)


def _days_known(school: SchoolFigures, smallest: int) -> Value:
    if school.days_known is None or not school.school_days:
        return Silent.UNKNOWN
    return school.days_known / school.school_days


def _last_taken(school: SchoolFigures, smallest: int) -> Value:
    return Silent.UNKNOWN if school.last_taken is None else school.last_taken


def _mark(value: float | None, school: SchoolFigures, smallest: int) -> Value:
    """Where marks lie; too few students for that are not the same as no marks."""
    if value is None and school.marked:
        return Silent.WITHHELD
    return _of_students(value, school.marked, smallest)


def _chronic(school: SchoolFigures, smallest: int) -> Value:
    return _share(school.chronic, school.judged - school.chronic, smallest)


def _program_enrollments(school: SchoolFigures, smallest: int) -> Value:
    shown = _students(school.in_programs, smallest)
    return shown if isinstance(shown, Silent) else _number(school.program_enrollments)


def _unknown(name: str) -> Callable[[SchoolFigures, int], Value]:
    """The share of enrolled students of whom something is unknown; none and all may be said."""

    def value(school: SchoolFigures, smallest: int) -> Value:
        unknown = school.unknown.get(name, 0)
        if school.enrolled >= smallest and unknown in (0, school.enrolled):
            return unknown / school.enrolled
        return _share(unknown, school.enrolled - unknown, smallest)

    return value


def _with_flag(name: str) -> Callable[[SchoolFigures, int], Value]:
    def value(school: SchoolFigures, smallest: int) -> Value:
        return _share(school.with_flag.get(name, 0), school.without_flag.get(name, 0), smallest)

    return value


_FLAG_WORDS: Mapping[str, str] = {
    "english_learner": "the share of English learners",
    "special_education": "the share of students in special education",
    "unstable_housing": "the share of students without stable housing",
    "meal_eligible": "the share of students eligible for free or reduced-price meals",
}
_UNKNOWN_WORDS: Mapping[str, str] = {
    "sex": "the share of students whose sex is unknown",
    "race_ethnicity": "the share of students whose race and ethnicity are unknown",
    "english_learner": "the share of students of whom it is unknown if they are learning English",
    "special_education": "the share of students of whom it is unknown if they are in special"
    " education",
    "unstable_housing": "the share of students whose housing is unknown",
    "meal_eligible": "the share of students whose eligibility for meals is unknown",
}

_RANGE_WORDS: Mapping[str, str] = {
    "unknown": "the share of students of whom something is unknown that other schools know"
}

MEASURES: tuple[Measure, ...] = (
    Measure(
        "enrolled",
        "the number of students enrolled",
        "number",
        Category.DIRECTORY,
        lambda school, smallest: _students(school.enrolled, smallest),
    ),
    Measure(
        "school_days",
        "the number of school days this year so far",
        "number",
        Category.ATTENDANCE,
        lambda school, smallest: _number(school.school_days),
    ),
    Measure(
        "days_known",
        "the share of school days on which attendance is known",
        "share",
        Category.ATTENDANCE,
        _days_known,
        "days_known",
    ),
    Measure(
        "last_taken",
        "the last day on which attendance was taken",
        "day",
        Category.ATTENDANCE,
        _last_taken,
    ),
    Measure(
        "attendance",
        "the average attendance",
        "share",
        Category.ATTENDANCE,
        lambda school, smallest: _of_students(school.attendance, school.attended_by, smallest),
        "attendance",
    ),
    Measure(
        "chronic_absence",
        "the share of students who are chronically absent",
        "share",
        Category.ATTENDANCE,
        _chronic,
        "chronic_absence",
    ),
    Measure(
        "lowest_mark",
        "the low end of most marks",
        "mark",
        Category.GRADES,
        lambda school, smallest: _mark(school.lowest, school, smallest),
        "lowest_mark",
    ),
    Measure(
        "highest_mark",
        "the high end of most marks",
        "mark",
        Category.GRADES,
        lambda school, smallest: _mark(school.highest, school, smallest),
        "highest_mark",
    ),
    Measure(
        "mean_mark",
        "the mean of the marks",
        "mark",
        Category.GRADES,
        lambda school, smallest: _mark(school.mean_mark, school, smallest),
        "mean_mark",
    ),
    *(
        Measure(name, _FLAG_WORDS[name], "share", PERIOD_CATEGORIES[name], _with_flag(name), name)
        for name in FLAGS
    ),
    *(
        Measure(
            f"unknown_{name}",
            _UNKNOWN_WORDS[name],
            "share",
            PERIOD_CATEGORIES.get(name, Category.DEMOGRAPHICS),
            _unknown(name),
            "unknown",
        )
        for name in GROUPED_BY
    ),
    Measure(
        "program_enrollments",
        "the number of active program enrollments",
        "number",
        Category.SERVICES,
        _program_enrollments,
    ),
)
MEASURES_BY_KEY: Mapping[str, Measure] = {measure.key: measure for measure in MEASURES}
