"""What a district's marks mean: which of them count, and what one is worth in points of 100.

Owns the `[grades]` tables of a profile once they have been checked, and the telling of a scale
where no profile states it. It refuses to guess: letters and the numbers of a 4-point scale have no
points of 100 until the district says which, and a mark that nobody has explained is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from typing import Generic, TypeVar

HIGHEST_MARK = 110
"""Points of 100, with extra credit: as `records.checks.quality` has it."""

HIGHEST_POINT = 5
"""Of a 4-point scale, where an advanced course gives one more."""

POINTS, FOUR, STANDARDS, LETTERS, PASS_FAIL = "0-100", "4.0", "1-4", "letters", "pass/fail"
SCALES = (POINTS, FOUR, STANDARDS, LETTERS, PASS_FAIL)
"""The scales that a profile may state, for all schools or for one."""

SCALES_OF_POINTS = (FOUR, STANDARDS)
"""Scales whose numbers a profile may put into points of 100."""

NUMBER = "a number from 0 to 110"
FEW_POINTS = "a number up to 5, as of a 4-point scale"
"""What a survey and a report call a mark: its number says nothing that a profile could explain."""

_ENOUGH_MARKS = 10_000
"""So many marks without one above `HIGHEST_POINT` settle that the scale has 4 points."""

_APART = re.compile(r"[\W_]+")
_NUMBER = re.compile(r"[+-]?(\d+(?:[.]\d*)?|[.]\d+|\d+,\d{1,2})\s*(%?)", re.ASCII)


class MarkTerm(IntEnum):
    """What a mark is about, in the order of preference: the finest that is final is used."""

    GRADING_PERIOD = 0
    SEMESTER = 1
    COURSE = 2
    NOT_FINAL = 3


TERM_NAMES: Mapping[str, MarkTerm] = {term.name.lower(): term for term in MarkTerm}
"""Name in a profile -> what a mark of that type is about."""

_WORDS_FIRST = (MarkTerm.NOT_FINAL, MarkTerm.GRADING_PERIOD, MarkTerm.SEMESTER, MarkTerm.COURSE)
"""In this order the words within a type decide: a semester exam is an exam."""

GRADED, SUBMITTED, UNFINISHED, NO_MARK = "graded", "submitted", "unfinished", "no_mark"
SCORE_STATUSES = (GRADED, SUBMITTED, UNFINISHED, NO_MARK)
"""What the status of a piece of work may mean: its score counts; it counts unless it is 0; its mark
is not known yet; there is none."""


def plain(code: str | None) -> str:
    """The code as it is compared: lower case, letters and digits alone."""
    return _APART.sub("", (code or "").lower())


def number_of(text: str) -> tuple[float, bool] | None:
    """The number of a mark, and whether it is a percentage; None for what is no number.

    A comma before one or two digits is a decimal point, as in 87,5.
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        return None
    number = float(match[0].removesuffix("%").strip().replace(",", "."))
    return number, bool(match[2])


@dataclass(frozen=True)
class GradeRules:
    """What the marks of one source mean.

    Attributes:
        types: type of a mark, as `plain` has it -> what it is about.
        type_words: words within a type of which `types` says nothing, as `plain` has them.
        scale: one of `SCALES` for every school; None to tell it from each school's marks.
        school_scales: school -> its own scale.
        points: scale of `SCALES_OF_POINTS` -> number -> points of 100; numbers between two of them
            lie between their points.
        letters: letter grade, in capitals -> points of 100.
        no_mark: words in place of a mark that are none, in capitals.
        failing: letters beside which a 0 is a mark, in capitals.
        score_statuses: status of a piece of work, as `plain` has it -> one of `SCORE_STATUSES`.
    """

    types: Mapping[str, MarkTerm] = field(default_factory=dict)
    type_words: Mapping[MarkTerm, tuple[str, ...]] = field(default_factory=dict)
    scale: str | None = None
    school_scales: Mapping[str, str] = field(default_factory=dict)
    points: Mapping[str, Mapping[float, float]] = field(default_factory=dict)
    letters: Mapping[str, float] = field(default_factory=dict)
    no_mark: frozenset[str] = frozenset()
    failing: frozenset[str] = frozenset()
    score_statuses: Mapping[str, str] = field(default_factory=dict)

    def term(self, code: str | None) -> MarkTerm | None:
        """What a mark of this type is about; None if nobody has said.

        A mark without a type is taken for what its grading period says.
        """
        name = plain(code)
        if not name:
            return MarkTerm.GRADING_PERIOD
        if name in self.types:
            return self.types[name]
        return next(
            (
                term
                for term in _WORDS_FIRST
                if any(word in name for word in self.type_words.get(term, ()))
            ),
            None,
        )

    def scale_of(self, school: str) -> str | None:
        """The scale that is stated for a school; None where it has to be told from its marks."""
        return self.school_scales.get(school, self.scale)

    def is_left_out(self, scale: str | None) -> bool:
        """Whether the marks of a stated scale are known to have no points of 100."""
        return scale == PASS_FAIL or (
            scale in SCALES_OF_POINTS and scale not in self.points and not self.letters
        )

    def worth(self, letter: str | None) -> float | None:
        """What a letter is worth in points of 100; None for none, or one that no table lists."""
        return self.letters.get((letter or "").strip().upper())

    def is_no_mark(self, word: str | None) -> bool:
        """Whether a word in place of a mark says that there is none: passed, incomplete."""
        return self.worth(word) is None and (word or "").strip().upper() in self.no_mark

    def is_failing(self, letter: str) -> bool:
        """Whether a 0 beside this letter may be a mark."""
        is_listed = letter.strip().upper() in self.failing or self.worth(letter) is not None
        return is_listed or number_of(letter) is not None

    def in_points(self, scale: str, number: float) -> float | None:
        """A number of a stated scale in points of 100; None where the profile does not say."""
        table = sorted(self.points.get(scale, {}).items())
        for (low, low_points), (high, high_points) in pairwise(table):
            if low <= number <= high:
                share = (number - low) / (high - low)
                return low_points + share * (high_points - low_points)
        return dict(table).get(number)

    def score_status(self, word: str) -> str | None:
        """What the status of a piece of work means; graded without one, None if nobody has said."""
        return self.score_statuses.get(plain(word)) if plain(word) else GRADED


Mark = TypeVar("Mark")


class ScaleBySchool(Generic[Mark]):
    """Holds the marks of a school back until one of them shows that they are points of 100.

    No mark of a 4-point scale is above `HIGHEST_POINT`. A school all of whose marks are 0 has no
    scale of its own: a 0 is a 0 on each.

    Args:
        place: takes a mark in points of 100.
        refuse: takes a mark of a school that has none above `HIGHEST_POINT`.
    """

    def __init__(self, place: Callable[[Mark], None], refuse: Callable[[Mark], None]) -> None:
        self._place, self._refuse = place, refuse
        self._waiting: dict[str, list[tuple[float, Mark]]] = {}
        self._is_of_100: dict[str, bool] = {}

    def may_refuse(self, school: str) -> bool:
        """Whether a mark of this school may still be refused."""
        return not self._is_of_100.get(school, False)

    def add(self, school: str, number: float, mark: Mark) -> None:
        """Place or refuse a mark, or hold it back."""
        is_of_100 = self._is_of_100.get(school)
        if is_of_100 is not None:
            (self._place if is_of_100 else self._refuse)(mark)
            return
        waiting = self._waiting.setdefault(school, [])
        waiting.append((number, mark))
        if number > HIGHEST_POINT:
            self.settle(school, is_of_100=True)
        elif len(waiting) >= _ENOUGH_MARKS:
            self.settle(school, is_of_100=False)

    def settle(self, school: str, *, is_of_100: bool) -> None:
        """Say what the marks of a school are, those that wait and those that follow."""
        self._is_of_100[school] = is_of_100
        for _, mark in self._waiting.pop(school, []):
            (self._place if is_of_100 else self._refuse)(mark)

    def finish(self) -> None:
        """Settle the schools of which marks wait still."""
        for school, waiting in list(self._waiting.items()):
            self.settle(school, is_of_100=max(number for number, _ in waiting) == 0)
