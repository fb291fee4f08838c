"""Which figures of a school are so far beyond plausible that alerts which rest on them are silent.

A doubt is of a school and a category of records. It is worked out from the figures that a load
kept, so no page computes a figure. Schools of fewer than `FEWEST_STUDENTS` are never doubted: what
is said of one child there must not turn on another. What an administrator has confirmed is in
`confirmations.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from records.canonical.schema import Category
from records.checks.measures import MEASURES, MEASURES_BY_KEY, Measure, as_text, is_judged
from records.checks.oddities import beyond_sentence, silence_sentence
from records.checks.plausible_ranges import PlausibleRange
from records.checks.quality import SilentSchool
from records.checks.school_figures import LoadFigures, SchoolFigures
from records.loading.coverage import FEWEST_STUDENTS

SILENCE = "silence"
"""The key of the doubt about a school that has stopped sending attendance. Its value is the day of
the last attendance, as `date.toordinal`; 0 where there was none this year."""

_FOLLOWS_FROM = {"mean_mark": "highest_mark"}
"""A measure that says nothing more where another one of the school is doubted."""


@dataclass(frozen=True)
class Doubt:
    """A figure of a school beyond which alerts of its category are silent.

    Attributes:
        school: its name.
        measure: the key of the figure, or `SILENCE`.
        words: a sentence about the school, without its period.
    """

    school_id: str
    school: str
    category: Category
    measure: str
    value: float
    words: str


def doubts(figures: LoadFigures, ranges: Mapping[str, PlausibleRange]) -> list[Doubt]:
    """What is doubted of a load, by school: silence first, then in the order of `MEASURES`."""
    fewest = max(FEWEST_STUDENTS, figures.smallest_cell)
    silent = {one.school_id: one for one in figures.silent if one.is_unknown}
    found: list[Doubt] = []
    for school in figures.schools.values():
        if school.enrolled < fewest:
            continue
        if school.school_id in silent:
            found.append(_of_silence(silent[school.school_id]))
        found += _of_figures(school, figures, ranges)
    return found


def measure_words(measure: str) -> str:
    """What a doubt is about, in words."""
    known = MEASURES_BY_KEY.get(measure)
    return known.words if known is not None else "no attendance sent"


def value_text(measure: str, value: float) -> str:
    """The value of a doubt to read."""
    if measure == SILENCE:
        return f"none since {as_text(date.fromordinal(int(value)), 'day')}" if value else "none"
    known = MEASURES_BY_KEY.get(measure)
    return as_text(value, known.unit) if known is not None else f"{value:g}"


def range_of(measure: str, ranges: Mapping[str, PlausibleRange]) -> PlausibleRange | None:
    """The plausible range of a figure; None for one that has none."""
    known = MEASURES_BY_KEY.get(measure)
    return ranges.get(known.range_key) if known is not None else None


def _of_silence(school: SilentSchool) -> Doubt:
    value = float(school.since.toordinal()) if school.since is not None else 0.0
    return Doubt(
        school.school_id,
        school.name,
        Category.ATTENDANCE,
        SILENCE,
        value,
        silence_sentence(school),
    )


def _of_figures(
    school: SchoolFigures, figures: LoadFigures, ranges: Mapping[str, PlausibleRange]
) -> list[Doubt]:
    beyond = {
        measure.key: doubt
        for measure in MEASURES
        if (doubt := _of_figure(measure, school, figures, ranges)) is not None
    }
    return [doubt for key, doubt in beyond.items() if _FOLLOWS_FROM.get(key) not in beyond]


def _of_figure(
    measure: Measure,
    school: SchoolFigures,
    figures: LoadFigures,
    ranges: Mapping[str, PlausibleRange],
) -> Doubt | None:
    plausible = ranges.get(measure.range_key)
    value = measure.value(school, figures.smallest_cell)
    if (
        plausible is None
        or not isinstance(value, float)
        or not is_judged(measure, figures)
        or not plausible.silences(value)
    ):
        return None
    return Doubt(
        school.school_id,
        school.name,
        measure.category,
        measure.key,
        value,
        beyond_sentence(school, measure, value, plausible),
    )
