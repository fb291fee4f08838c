"""Marks of courses: which of a student's marks count, and what a mark is worth.

A source gives several marks for one course: of each grading period, of the semester, of the course,
and interim ones. The finest final ones are used. A mark is in points of 100; letters need a table
that the district states, and marks of a 4-point scale are refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from records.canonical.quarantine import BadRow, BadValue, Value, convert_row
from records.canonical.schema import TABLES
from records.connectors.edfi.descriptors import (
    LETTERS_WITHOUT_MARK,
    MarkTerm,
    mark_term,
    plain,
    shown,
)
from records.connectors.edfi.record import (
    COURSE_OFFERING,
    SCHOOL,
    SECTION,
    EdFiRecord,
    says_yes,
    student_of,
)
from records.connectors.protocol import RowSink

_SECTION_OF_STUDENT = ("StudentSectionAssociationReference", "StudentSectionAssociationIdentity")
_HIGHEST_MARK = 110
"""Points of 100, with extra credit: as `records.checks.quality` has it."""

_HIGHEST_POINT = 5
"""Of a 4-point scale, where an advanced course gives one more."""

_ENOUGH_MARKS = 10_000
"""So many marks without one above `_HIGHEST_POINT` settle that the scale has 4 points."""

_MOST_NOTES = 10
_FOUR_POINTS = (
    "NumericGradeEarned is {mark:g}, and no mark of this source is above 5: it looks like a 4-point"
    " scale, and a mark must be in points of 100"
)


@dataclass(frozen=True)
class Period:
    """A grading period: its place within the year, and the day on which its marks are final."""

    sequence: int
    ended: str


@dataclass
class GradingPeriods:
    """The grading periods of a source. The standard knows them by name, or by name and place."""

    _periods: dict[tuple[str, str, int, int | None], Period] = field(default_factory=dict)
    _ends: dict[tuple[str, int], set[str]] = field(default_factory=dict)

    def add(
        self, school: str, year: int, names: Iterable[str | None], sequence: str | None, ended: str
    ) -> None:
        """Add a grading period under each of its names.

        Raises:
            BadValue: its place is not a whole number.
        """
        if sequence and not _is_whole(sequence):
            raise BadValue(
                "PeriodSequence", f"PeriodSequence is {sequence!r}; it must be a whole number"
            )
        place = int(sequence or 0)
        self._ends.setdefault((school, year), set()).add(ended)
        for name in filter(None, names):
            for key in {None, place or None}:
                self._periods[(school, plain(name), year, key)] = Period(place, ended)

    def find(self, school: str, name: str, year: int, sequence: str | None) -> Period:
        """The grading period that a mark names; without a place, it is numbered by its last day.

        Raises:
            BadValue: there is no such period.
        """
        place = int(sequence) if sequence and _is_whole(sequence) else None
        period = self._periods.get((school, plain(name), year, place)) or self._periods.get(
            (school, plain(name), year, None)
        )
        if period is None:
            raise BadValue(
                "GradingPeriod", f"{name!r} of school {school} is not one of the grading periods"
            )
        if period.sequence:
            return period
        earlier = sum(end < period.ended for end in self._ends[(school, year)])
        return Period(earlier + 1, period.ended)


_FAILING = ("F", "E", "FAIL")
"""Letters beside which a 0 is a mark."""

_PERIOD_SCHOOL = ("GradingPeriodReference", "GradingPeriodIdentity", *SCHOOL)


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isascii() and text.replace(".", "", 1).isdigit()


@dataclass(frozen=True, slots=True)
class _Mark:
    """A mark that waits; `course` is the student's course of a year, of which one term counts.

    `letter_points` is what its letter is worth, None where it has none or the district's table does
    not list it.
    """

    term: MarkTerm
    type_: str
    course: tuple[str, str, int]
    school: str
    values: dict[str, Value]
    file: str
    line: int
    raw: str
    letter_points: float | None


@dataclass
class CourseMarks:
    """The marks of one source. Those of a grading period are written as they are read; longer terms
    wait until it is known for which courses they are needed.

    Args:
        letter_marks: what each letter is worth in points of 100, as the district states it.
    """

    sink: RowSink
    letter_marks: Mapping[str, float] = field(default_factory=dict)
    _unscaled: dict[str, list[_Mark]] = field(default_factory=dict)
    _is_of_100: dict[str, bool] = field(default_factory=dict)
    _longer: list[_Mark] = field(default_factory=list)
    _covered: set[tuple[str, str, int]] = field(default_factory=set)
    _types_not_understood: Counter[str] = field(default_factory=Counter)
    _letters: int = 0
    _four_points: int = 0

    def add(self, record: EdFiRecord, period: Period, year: int, titles: Mapping[str, str]) -> None:
        """Take a mark whose type is one of the end of a term.

        Raises:
            BadValue: it has no mark, or one that is not in points of 100.
        """
        mark = self._mark(record)
        if mark is None:
            return
        section = (*_SECTION_OF_STUDENT, *SECTION)
        code = record.text(*_SECTION_OF_STUDENT, *COURSE_OFFERING, "LocalCourseCode") or ""
        student = student_of(record, *_SECTION_OF_STUDENT)
        values = convert_row(
            TABLES["course_grades"],
            {
                "student_id": student,
                "course": titles.get(code) or code,
                "school_year": str(year),
                "period": str(period.sequence),
                "date": period.ended,
                "grade": str(mark),
                "section_id": record.text(*section, "SectionIdentifier")
                or record.text(*section, "UniqueSectionCode"),
            },
        )
        type_ = record.code("GradeType")
        term = mark_term(type_)
        assert term is not None
        is_number = bool(record.text("NumericGradeEarned"))
        school = record.text(*_PERIOD_SCHOOL) or ""
        may_be_refused = is_number and not self._is_of_100.get(school)
        self._scale(
            _Mark(
                term,
                type_ or "",
                (student, code, year),
                school,
                values,
                record.file,
                record.line,
                f"{record.kind}: {record.redacted_text()}" if may_be_refused else "",
                self._worth(record.text("LetterGradeEarned")),
            ),
            is_number=is_number,
        )

    def leave_out(self, record: EdFiRecord) -> bool:
        """Whether a record is no final mark; then it is ignored by its type."""
        type_ = record.code("GradeType")
        if says_yes(record.text("CurrentGradeIndicator")):
            self.sink.ignore(record.file, "Grade before the end of its period: not a final mark")
            return True
        term = mark_term(type_)
        if term is None:
            self._types_not_understood[shown(type_)] += 1
            self.sink.ignore(record.file, f"Grade of the type {shown(type_)}: not understood")
        elif term is MarkTerm.NOT_FINAL:
            self.sink.ignore(record.file, f"Grade of the type {shown(type_)}: not a final mark")
        return term in (None, MarkTerm.NOT_FINAL)

    def finish(self) -> None:
        """Write the marks that waited, and say what the source lacks."""
        for school in list(self._unscaled):
            highest = max((_points(mark) for mark in self._unscaled[school]), default=0)
            self._settle(school, is_of_100=highest == 0)
        for term in (MarkTerm.SEMESTER, MarkTerm.COURSE):
            used = set()
            for mark in self._longer:
                if mark.term is not term:
                    continue
                if mark.course in self._covered:
                    self._leave_longer(mark)
                else:
                    self.sink.keep("course_grades", mark.values, mark.file, mark.line)
                    used.add(mark.course)
            self._covered |= used
        for type_, count in self._types_not_understood.most_common(_MOST_NOTES):
            self.sink.note(
                f"Marks of the type {type_}, which is not understood, so that they do not count:"
                f" {count:,}"
            )
        if self._letters:
            self.sink.note(
                f"Marks that are letters alone (LetterGradeEarned without NumericGradeEarned):"
                f" {self._letters:,}. They count once the district states what each letter is worth"
                " in points of 100."
            )
        if self._four_points:
            self.sink.note(
                f"Marks that look like a 4-point scale: {self._four_points:,}. None of them is"
                " above 5, and a mark must be in points of 100."
            )

    def _mark(self, record: EdFiRecord) -> float | None:
        """The mark in points of 100; None where the record says that there is none."""
        number, letter = record.text("NumericGradeEarned"), record.text("LetterGradeEarned")
        points = _number(number) if number else None
        is_no_mark = (letter or "").upper() in LETTERS_WITHOUT_MARK
        is_unknown_zero = points == 0 and bool(letter) and not self._is_failing(letter or "")
        if is_no_mark or is_unknown_zero:
            self.sink.ignore(record.file, f"Grade with the letter {shown(letter)}: not a mark")
            return None
        if points is not None:
            if not 0 <= points <= _HIGHEST_MARK:
                raise BadValue(
                    "NumericGradeEarned",
                    f"NumericGradeEarned is {number!r}; a mark must be from 0 to {_HIGHEST_MARK}"
                    " points of 100",
                )
            return points
        if not letter:
            raise BadValue(
                "NumericGradeEarned", "NumericGradeEarned is empty, and so is LetterGradeEarned"
            )
        worth = self._worth(letter)
        if worth is not None:
            return worth
        self._letters += 1
        stated = f"; it lists {', '.join(sorted(self.letter_marks))}" if self.letter_marks else ""
        raise BadValue(
            "NumericGradeEarned",
            f"NumericGradeEarned is empty and LetterGradeEarned is {letter!r}: a table from letters"
            f" to points of 100 is needed that lists this letter{stated}",
        )

    def _is_failing(self, letter: str) -> bool:
        """Whether a 0 beside this letter may be a mark."""
        is_in_table = self._worth(letter) is not None
        return letter.upper() in _FAILING or _is_number(letter) or is_in_table

    def _worth(self, letter: str | None) -> float | None:
        """What a letter is worth by the district's table."""
        if not letter or not self.letter_marks:
            return None
        letters = {name.upper(): worth for name, worth in self.letter_marks.items()}
        return letters.get(letter.upper())

    def _scale(self, mark: _Mark, *, is_number: bool) -> None:
        """Place a mark once it is known whether the numbers of its school are points of 100."""
        is_of_100 = self._is_of_100.get(mark.school)
        if not is_number or is_of_100:
            self._place(mark)
        elif is_of_100 is False:
            self._refuse(mark)
        else:
            waiting = self._unscaled.setdefault(mark.school, [])
            waiting.append(mark)
            if _points(mark) > _HIGHEST_POINT:
                self._settle(mark.school, is_of_100=True)
            elif len(waiting) >= _ENOUGH_MARKS:
                self._settle(mark.school, is_of_100=False)

    def _settle(self, school: str, *, is_of_100: bool) -> None:
        self._is_of_100[school] = is_of_100
        for mark in self._unscaled.pop(school, []):
            (self._place if is_of_100 else self._refuse)(mark)

    def _place(self, mark: _Mark) -> None:
        if mark.term is MarkTerm.GRADING_PERIOD:
            self._covered.add(mark.course)
            self.sink.keep("course_grades", mark.values, mark.file, mark.line)
        elif mark.course in self._covered:
            self._leave_longer(mark)
        else:
            self._longer.append(replace(mark, raw=""))

    def _leave_longer(self, mark: _Mark) -> None:
        self.sink.ignore(
            mark.file,
            f"Grade of the type {shown(mark.type_)}: the marks of shorter terms are used",
        )

    def _refuse(self, mark: _Mark) -> None:
        """Refuse a number of a 4-point scale; beside a letter of the table the letter counts."""
        if mark.letter_points is not None:
            self._place(replace(mark, values=mark.values | {"grade": mark.letter_points}))
            return
        self._four_points += 1
        reason = _FOUR_POINTS.format(mark=_points(mark))
        self.sink.quarantine(BadRow(mark.file, mark.line, "NumericGradeEarned", reason, mark.raw))


def _points(mark: _Mark) -> float:
    return float(mark.values["grade"])  # type: ignore[arg-type]


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if number != number:
        raise BadValue("NumericGradeEarned", f"NumericGradeEarned is {text!r}; it must be a number")
    return number
