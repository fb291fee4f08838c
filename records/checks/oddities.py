"""What is odd about a load, school by school, in words for the person who has to decide: the worst
first.

An oddity is a question. It rests only on what may be shown (`measures.py`), so that no sentence
tells what a table withholds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from records.canonical.schema import Category
from records.checks.measures import (
    MEASURES,
    MEASURES_BY_KEY,
    Measure,
    as_text,
    is_judged,
    range_text,
)
from records.checks.plausible_ranges import PlausibleRange
from records.checks.quality import SilentSchool
from records.checks.school_figures import LoadFigures, SchoolFigures

SCALES = (4, 5, 10, 12, 20, 50)
"""Highest marks of scales in use that are not of 100 points."""


@dataclass(frozen=True)
class Oddity:
    """Something beyond what is plausible at a school.

    Attributes:
        words: a sentence with the figure, what would be plausible, and where that comes from.
        distance: how far beyond, in widths of the range; infinite where nothing was sent at all.
    """

    school_id: str
    category: Category
    words: str
    distance: float


def oddities(
    figures: LoadFigures,
    before: LoadFigures | None,
    ranges: Mapping[str, PlausibleRange],
    silent: list[SilentSchool],
) -> list[Oddity]:
    """What is beyond plausible, the worst first: schools that fell silent, then by distance.

    Args:
        before: of the last load, if known.
        silent: schools that have stopped sending attendance.
    """
    found = [_silence(school) for school in silent]
    for school in figures.schools.values():
        found += _beyond(school, figures, ranges)
        was = before.schools.get(school.school_id) if before is not None else None
        if before is not None and was is not None:
            found += _changed_enrollment(
                school, was, before.day, ranges["enrolled_change"], figures.smallest_cell
            )
    return sorted(found, key=lambda oddity: -oddity.distance)


def silence_sentence(school: SilentSchool) -> str:
    """That a school has stopped sending attendance, without a period."""
    since = f"since {as_text(school.since, 'day')}" if school.since else "this school year"
    are = "are unknown" if school.is_unknown else "count as attended, as it is very small"
    return (
        f"{school.name} has no absences {since}: its clerk may not have sent them."
        f" {school.days} school days {are}"
    )


def beyond_sentence(
    school: SchoolFigures, measure: Measure, value: float, plausible: PlausibleRange
) -> str:
    """That a figure is beyond its range, without a period."""
    return (
        f"At {school.name} {measure.words} is {as_text(value, measure.unit)};"
        f" {range_text(plausible, measure.unit)} is plausible ({plausible.source})"
    )


def _silence(school: SilentSchool) -> Oddity:
    return Oddity(school.school_id, Category.ATTENDANCE, silence_sentence(school), float("inf"))


def _beyond(
    school: SchoolFigures, figures: LoadFigures, ranges: Mapping[str, PlausibleRange]
) -> list[Oddity]:
    found = []
    if scale := _scale(school, figures.smallest_cell, ranges["highest_mark"]):
        found.append(scale)
    for measure in MEASURES:
        plausible, value = (
            ranges.get(measure.range_key),
            measure.value(school, figures.smallest_cell),
        )
        if (
            plausible is None
            or not isinstance(value, float)
            or value in plausible
            or not is_judged(measure, figures)
            or (scale and measure.category is Category.GRADES)
        ):
            continue
        found.append(
            Oddity(
                school.school_id,
                measure.category,
                beyond_sentence(school, measure, value, plausible),
                plausible.distance(value),
            )
        )
    return found


def _scale(school: SchoolFigures, smallest: int, plausible: PlausibleRange) -> Oddity | None:
    """Marks that all fit a scale other than 100 points."""
    lowest, highest = (
        MEASURES_BY_KEY[key].value(school, smallest) for key in ("lowest_mark", "highest_mark")
    )
    if not isinstance(lowest, float) or not isinstance(highest, float) or highest in plausible:
        return None
    scale = next((scale for scale in SCALES if highest <= scale), None)
    if scale is None or highest <= 0:
        return None
    return Oddity(
        school.school_id,
        Category.GRADES,
        f"Marks at {school.name} run from {as_text(lowest, 'mark')} to"
        f" {as_text(highest, 'mark')}: they may be on a {scale}-point scale. Marks are points of"
        f" 100 ({plausible.source})",
        plausible.distance(highest),
    )


def _changed_enrollment(
    school: SchoolFigures, was: SchoolFigures, day: date, plausible: PlausibleRange, smallest: int
) -> list[Oddity]:
    now, then = (MEASURES_BY_KEY["enrolled"].value(one, smallest) for one in (school, was))
    if not isinstance(now, float) or not isinstance(then, float) or then == 0:
        return []
    change = (now - then) / then
    if change in plausible:
        return []
    return [
        Oddity(
            school.school_id,
            Category.DIRECTORY,
            f"At {school.name} {as_text(now, 'number')} students are enrolled; there were"
            f" {as_text(then, 'number')} at the last load ({as_text(day, 'day')}). A change of"
            f" {range_text(plausible, 'share')} is plausible ({plausible.source})",
            plausible.distance(change),
        )
    ]
