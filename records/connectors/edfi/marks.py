"""Marks of courses: which of a student's marks count, and what a mark is worth.

A source gives several marks for one course: of each grading period, of the semester, of the course,
and interim ones. The finest final ones are used. A mark is in points of 100; the profile says which
types count and what letters and the numbers of other scales are worth. Where it does not state a
scale, each school's marks show whether they are points of 100, and those of a 4-point scale are
refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date

from records.canonical.quarantine import BadRow, BadValue, Value, convert_row
from records.canonical.schema import TABLES
from records.connectors.edfi.descriptors import shown
from records.connectors.edfi.record import (
    COURSE_OFFERING,
    SCHOOL,
    SECTION,
    STUDENT,
    EdFiRecord,
    says_yes,
    student_of,
)
from records.connectors.profiles.grades import (
    FEW_POINTS,
    HIGHEST_MARK,
    LETTERS,
    NO_MARK,
    NUMBER,
    SCALES_OF_POINTS,
    SUBMITTED,
    UNFINISHED,
    GradeRules,
    MarkTerm,
    ScaleBySchool,
    number_of,
    plain,
)
from records.connectors.protocol import RowSink

_SECTION_OF_STUDENT = ("StudentSectionAssociationReference", "StudentSectionAssociationIdentity")
_MARK, _TYPE, _WORK_MARK = "mark of a course", "GradeType", "mark of a piece of work"
"""What a survey calls the columns: a mark is a number, a letter or both."""

_MOST_NOTES = 10
_TRACKS_APART = 14
"""Days by which one grading period may end later in one part of a school than in another."""

_FOUR_POINTS = (
    "NumericGradeEarned is {mark:g}, and no mark of this source is above 5: it looks like a 4-point"
    " scale, and a mark must be in points of 100"
)


@dataclass(frozen=True)
class Period:
    """A grading period: its place within the year, and the day on which its marks are final.

    `term` is what its name says that it is, where that is more than a grading period.
    """

    sequence: int
    ended: str
    term: MarkTerm = MarkTerm.GRADING_PERIOD

    @property
    def is_long(self) -> bool:
        """Whether it is a semester or a year: it spans grading periods, and has no place of one."""
        return self.term in (MarkTerm.SEMESTER, MarkTerm.COURSE)


@dataclass
class GradingPeriods:
    """The grading periods of a source. The standard knows them by name, or by name and place.

    Semesters stand among them with places of their own: First Semester is 1, as First Nine Weeks.
    A semester takes the place of the grading period with which it ends.
    """

    rules: GradeRules = field(default_factory=GradeRules)
    _periods: dict[tuple[str, str, int, int | None], Period] = field(default_factory=dict)
    _short: dict[tuple[str, int], set[tuple[int, str]]] = field(default_factory=dict)
    _ends: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    _placed: dict[tuple[str, int, Period], Period] = field(default_factory=dict)

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
        known = [name for name in names if name]
        place = int(sequence or 0)
        period = Period(place, ended, self._term(known))
        self._placed.clear()
        self._ends.setdefault((school, year), set()).add(ended)
        if not period.is_long:
            self._short.setdefault((school, year), set()).add((place, ended))
        for name in known:
            for key in {None, place or None}:
                self._periods[(school, plain(name), year, key)] = period

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
        key = (school, year, period)
        if key not in self._placed:
            self._placed[key] = replace(period, sequence=self._place(school, year, period))
        return self._placed[key]

    def _place(self, school: str, year: int, period: Period) -> int:
        """The place of a period among the grading periods of its school year, from 1."""
        short = self._short.get((school, year), set())
        place, ended = period.sequence, period.ended
        if period.is_long and short:
            place, ended = min(short, key=lambda one: (_days_between(one[1], ended), one))
        if place and not _has_two_kinds(short):
            return place
        ends = {end for _, end in short} or self._ends[(school, year)]
        return sum(end < ended for end in ends) + 1

    def _term(self, names: Iterable[str]) -> MarkTerm:
        terms = [self.rules.term(name) for name in names]
        long = [term for term in terms if term in (MarkTerm.SEMESTER, MarkTerm.COURSE)]
        is_short = MarkTerm.GRADING_PERIOD in terms or not long
        return MarkTerm.GRADING_PERIOD if is_short else max(long)


_PERIOD_SCHOOL = ("GradingPeriodReference", "GradingPeriodIdentity", *SCHOOL)


def _days_between(one: str, other: str) -> int:
    """Days between two last days; very many where one is no day."""
    with suppress(ValueError):
        return abs((date.fromisoformat(one[:10]) - date.fromisoformat(other[:10])).days)
    return 10**6


def _has_two_kinds(periods: Iterable[tuple[int, str]]) -> bool:
    """Whether grading periods of one place end weeks apart: nine weeks and six weeks side by side,
    of which each has a first one.
    """
    ends: dict[int, set[str]] = {}
    for place, ended in periods:
        ends.setdefault(place, set()).add(ended)
    return any(_days_between(min(of), max(of)) > _TRACKS_APART for of in ends.values())


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit()


@dataclass(frozen=True, slots=True)
class _Mark:
    """A mark that waits; `course` is the student's course of a year, of which one term counts.

    `letter_points` is what its letter is worth, None where it has none or the district's table does
    not list it.
    """

    term: MarkTerm
    type_: str
    course: tuple[str, str, int]
    values: dict[str, Value]
    file: str
    line: int
    raw: str
    letter_points: float | None


@dataclass(frozen=True, slots=True)
class _Worth:
    """A mark as it is read; `is_sure` where it is known to be in points of 100."""

    points: float
    is_sure: bool


@dataclass
class CourseMarks:
    """The marks of one source. Those of a grading period are written as they are read; longer terms
    wait until it is known for which courses they are needed.

    Args:
        rules: which types count, and what a mark is worth.
    """

    sink: RowSink
    rules: GradeRules = field(default_factory=GradeRules)
    _longer: list[_Mark] = field(default_factory=list)
    _covered: set[tuple[str, str, int]] = field(default_factory=set)
    _types_not_understood: Counter[str] = field(default_factory=Counter)
    _letters: int = 0
    _four_points: int = 0

    def __post_init__(self) -> None:
        self._scales = ScaleBySchool(self._place_number, self._refuse)

    def add(self, record: EdFiRecord, period: Period, year: int, titles: Mapping[str, str]) -> None:
        """Take a mark whose type is one of the end of a term.

        Raises:
            BadValue: it has no mark, or one that is not in points of 100.
        """
        school = record.text(*_PERIOD_SCHOOL) or ""
        worth = self._worth(record, school)
        if worth is None:
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
                "grade": str(worth.points),
                "section_id": record.text(*section, "SectionIdentifier")
                or record.text(*section, "UniqueSectionCode"),
            },
        )
        type_ = record.code("GradeType")
        term = self.rules.term(type_)
        assert term is not None
        may_be_refused = not worth.is_sure and self._scales.may_refuse(school)
        mark = _Mark(
            max(term, period.term),
            type_ or "",
            (student, code, year),
            values,
            record.file,
            record.line,
            f"{record.kind}: {record.redacted_text()}" if may_be_refused else "",
            self.rules.worth(record.text("LetterGradeEarned")),
        )
        if worth.is_sure:
            self._place(mark)
        else:
            self._scales.add(school, worth.points, mark)

    def leave_out(self, record: EdFiRecord) -> bool:
        """Whether a record is no final mark; then it is ignored by its type."""
        type_ = record.code("GradeType")
        if says_yes(record.text("CurrentGradeIndicator")):
            self.sink.ignore(record.file, "Grade before the end of its period: not a final mark")
            return True
        term = self.rules.term(type_)
        self.sink.code("course_grades", _TYPE, type_ or "", term is not None)
        if term is None:
            self._types_not_understood[shown(type_)] += 1
            self.sink.ignore(record.file, f"Grade of the type {shown(type_)}: not understood")
        elif term is MarkTerm.NOT_FINAL:
            self.sink.ignore(record.file, f"Grade of the type {shown(type_)}: not a final mark")
        return term in (None, MarkTerm.NOT_FINAL)

    def finish(self) -> None:
        """Write the marks that waited, and say what the source lacks."""
        self._scales.finish()
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

    def _worth(self, record: EdFiRecord, school: str) -> _Worth | None:
        """The mark; None, and ignored, where the record says that there is none.

        Raises:
            BadValue: nobody has said what it is worth.
        """
        number, letter = record.text("NumericGradeEarned"), record.text("LetterGradeEarned") or ""
        if not number and number_of(letter) is not None:
            number, letter = letter, ""
        rules, scale = self.rules, self.rules.scale_of(school)
        points = number_of(number or "")
        if number and points is None:
            self._unexplained(number)
            raise BadValue(
                "NumericGradeEarned", f"NumericGradeEarned is {number!r}; it must be a number"
            )
        is_zero = points is not None and points[0] == 0
        is_unknown_zero = is_zero and bool(letter) and not rules.is_failing(letter)
        if rules.is_no_mark(letter) or is_unknown_zero:
            self._understood(letter)
            self.sink.ignore(record.file, f"Grade with the letter {shown(letter)}: not a mark")
            return None
        if rules.is_left_out(scale):
            self._understood(letter or NUMBER)
            self.sink.ignore(
                record.file, f"Grade of a scale without points of 100 ({scale}, by the profile)"
            )
            return None
        if points is not None and scale != LETTERS:
            return self._of_number(*points, number or "", letter, scale)
        return self._of_letter(letter)

    def _of_number(
        self, points: float, is_percent: bool, text: str, letter: str, scale: str | None
    ) -> _Worth:
        if scale in SCALES_OF_POINTS and not is_percent:
            known = self.rules.in_points(scale, points)
            known = self.rules.worth(letter) if known is None else known
            if known is None:
                self._unexplained(text)
                raise BadValue(
                    "NumericGradeEarned",
                    f'NumericGradeEarned is {text!r}, which [grades.points."{scale}"] of the'
                    " profile does not put into points of 100",
                )
            self._understood(NUMBER)
            return _Worth(known, is_sure=True)
        if not 0 <= points <= HIGHEST_MARK:
            self._unexplained(text)
            raise BadValue(
                "NumericGradeEarned",
                f"NumericGradeEarned is {text!r}; a mark must be from 0 to {HIGHEST_MARK}"
                " points of 100",
            )
        is_sure = is_percent or scale is not None
        if is_sure:
            self._understood(NUMBER)
        return _Worth(points, is_sure)

    def _of_letter(self, letter: str) -> _Worth:
        if not letter:
            raise BadValue(
                "NumericGradeEarned", "NumericGradeEarned is empty, and so is LetterGradeEarned"
            )
        worth = self.rules.worth(letter)
        if worth is not None:
            self._understood(letter)
            return _Worth(worth, is_sure=True)
        self._letters += 1
        self._unexplained(letter)
        listed = sorted(self.rules.letters)
        stated = f"; it lists {', '.join(listed)}" if listed else ""
        raise BadValue(
            "NumericGradeEarned",
            f"NumericGradeEarned is empty and LetterGradeEarned is {letter!r}: a table from letters"
            f" to points of 100 is needed that lists this letter{stated}",
        )

    def _understood(self, code: str) -> None:
        self.sink.code("course_grades", _MARK, code, True)

    def _unexplained(self, code: str) -> None:
        self.sink.code("course_grades", _MARK, code, False)

    def _place_number(self, mark: _Mark) -> None:
        self._understood(NUMBER)
        self._place(mark)

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
            self._understood(NUMBER)
            self._place(replace(mark, values=mark.values | {"grade": mark.letter_points}))
            return
        self._four_points += 1
        self._unexplained(FEW_POINTS)
        reason = _FOUR_POINTS.format(mark=_points(mark))
        self.sink.quarantine(BadRow(mark.file, mark.line, "NumericGradeEarned", reason, mark.raw))


_ENTRY = ("GradebookEntryReference", "GradebookEntryIdentity")


@dataclass(frozen=True, slots=True)
class _PieceOfWork:
    """A gradebook entry; `points_possible` is None, and `school` empty, where it is not known."""

    values: dict[str, str | None]
    points_possible: float | None
    school: str


@dataclass(frozen=True, slots=True)
class _WorkMark:
    values: dict[str, Value]
    file: str
    line: int


@dataclass
class Gradebook:
    """The marks of single pieces of work, in points of 100.

    A mark is the share of the entry's MaxPoints that PointsEarned is, else NumericGradeEarned on
    the scale of its school, else what the profile says of LetterGradeEarned. Work that is exempt or
    was not submitted has none, whatever number stands beside it. Where nobody has said the scale,
    numbers of a school that has none above 5 are those of a 4-point scale: their mark is unknown.

    Args:
        rules: the scales of the schools, and what the status of a submission means.
    """

    sink: RowSink
    rules: GradeRules = field(default_factory=GradeRules)
    _entries: dict[str, _PieceOfWork] = field(default_factory=dict)
    _unknown: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._scales = ScaleBySchool(self._keep_number, self._keep_unknown)

    def add_entry(self, record: EdFiRecord, titles: Mapping[str, str]) -> None:
        """Take a piece of work.

        Raises:
            BadValue: its MaxPoints is no number.
        """
        code = record.text(*COURSE_OFFERING, "LocalCourseCode")
        title = record.text("Title") or record.text("GradebookEntryTitle")
        self._entries[_entry_id(record)] = _PieceOfWork(
            {
                "course": titles.get(code or "", code),
                "title": title,
                "due_date": record.text("DueDate") or record.text("DateAssigned"),
            },
            _number_at(record, "MaxPoints"),
            record.text(*COURSE_OFFERING, *SCHOOL) or record.text(*SECTION, *SCHOOL) or "",
        )
        self.sink.use(record.file)

    def add_mark(self, record: EdFiRecord) -> None:
        """Take a student's mark for a piece of work.

        Raises:
            BadValue: it names no student or no piece of work, or its mark is no number.
        """
        entry_id = _entry_id(record, *_ENTRY)
        work = self._entries.get(entry_id)
        values = convert_row(
            TABLES["gradebook_entries"],
            {
                "student_id": record.text(*STUDENT),
                "entry_id": entry_id,
                **(work.values if work else {}),
            },
        )
        status = record.code("SubmissionStatus") or ""
        meaning = self.rules.score_status(status)
        if status:
            self.sink.code("gradebook_entries", "SubmissionStatus", status, meaning is not None)
        if meaning == NO_MARK:
            self.sink.ignore(record.file, f"work without a mark ({shown(status)})")
            return
        earned, number = (
            _number_at(record, name) for name in ("PointsEarned", "NumericGradeEarned")
        )
        most = work.points_possible if work else None
        mark = _WorkMark(values, record.file, record.line)
        points = number if earned is None else earned
        if meaning is None or meaning == UNFINISHED or (meaning == SUBMITTED and points == 0):
            self._unknown["submission is not graded, or whose SubmissionStatus is not known"] += 1
            self._keep(mark)
        elif earned is not None and most:
            self._keep(_with_points(mark, _share(earned, most)))
        elif number is None:
            letter = self.rules.worth(record.text("LetterGradeEarned"))
            if earned is not None and letter is None:
                self._unknown["entry has no MaxPoints above 0"] += 1
            self._keep(_with_points(mark, letter))
        else:
            school = record.text(*_ENTRY, *COURSE_OFFERING, *SCHOOL) or (
                work.school if work else ""
            )
            self._add_number(record, mark, most, school or "")

    def _add_number(
        self, record: EdFiRecord, mark: _WorkMark, most: float | None, school: str
    ) -> None:
        """Take a mark by its NumericGradeEarned, on the scale of its school.

        Raises:
            BadValue: it is none of points of 100, and no other scale is stated.
        """
        text, scale = record.text("NumericGradeEarned") or "", self.rules.scale_of(school)
        points, is_percent = number_of(text) or (0.0, False)
        is_stated = is_percent or scale is not None
        if not is_stated and most and most != _WHOLE and points <= most:
            self._unknown["NumericGradeEarned is within MaxPoints: points, or points of 100"] += 1
            self._keep(mark)
            return
        if not 0 <= points <= HIGHEST_MARK:
            self._code(text, understood=False)
            raise BadValue(
                "NumericGradeEarned",
                f"NumericGradeEarned is {text!r}; a mark must be from 0 to {HIGHEST_MARK}"
                " points of 100",
            )
        if self.rules.is_left_out(scale) or (scale == LETTERS and not is_percent):
            letter = self.rules.worth(record.text("LetterGradeEarned"))
            self._keep_number(_with_points(mark, letter))
        elif scale in SCALES_OF_POINTS and not is_percent:
            known = self.rules.in_points(scale, points)
            self._code(NUMBER if known is not None else text, understood=known is not None)
            if known is None:
                self._unknown[f'number [grades.points."{scale}"] does not put into points'] += 1
            self._keep(_with_points(mark, known))
        elif is_stated:
            self._keep_number(_with_points(mark, points))
        else:
            self._scales.add(school, points, _with_points(mark, points))

    def finish(self) -> None:
        """Write the marks that waited, and say which are unknown."""
        self._scales.finish()
        for why, count in self._unknown.most_common():
            self.sink.note(
                f"Marks of single pieces of work that stay unknown, whose {why}: {count:,}."
                f"{_SCALE_CAN_BE_STATED if 'number' in why else ''}"
            )

    def _keep(self, mark: _WorkMark) -> None:
        self.sink.keep("gradebook_entries", mark.values, mark.file, mark.line)

    def _keep_number(self, mark: _WorkMark) -> None:
        self._code(NUMBER)
        self._keep(mark)

    def _code(self, code: str, *, understood: bool = True) -> None:
        self.sink.code("gradebook_entries", _WORK_MARK, code, understood)

    def _keep_unknown(self, mark: _WorkMark) -> None:
        self._code(FEW_POINTS, understood=False)
        self._unknown["numbers look like a 4-point scale: none of their school is above 5"] += 1
        self._keep(_with_points(mark, None))


_SCALE_CAN_BE_STATED = (
    " [grades] of profiles/edfi.toml can state the scale of each school and what it is worth."
)
_WHOLE = 100.0
_HIGHEST_SHARE = 200.0
"""Points of 100 of one piece of work: with extra credit, no more than twice what it has."""


def _share(earned: float, most: float) -> float:
    share = 100.0 * earned / most
    if share > _HIGHEST_SHARE:
        raise BadValue(
            "PointsEarned",
            f"PointsEarned is {earned:g}, and its GradebookEntry has MaxPoints {most:g}; it must be"
            " at most twice that",
        )
    return share


def _with_points(mark: _WorkMark, points: float | None) -> _WorkMark:
    return replace(mark, values=mark.values | {"grade": points})


def _number_at(record: EdFiRecord, name: str) -> float | None:
    """The number of an element, None where there is none.

    Raises:
        BadValue: it is no number, or below 0.
    """
    text = record.text(name)
    if not text:
        return None
    read = number_of(text)
    if read is None or read[0] < 0:
        raise BadValue(name, f"{name} is {text!r}; it must be a number, 0 or more")
    return read[0]


def _entry_id(record: EdFiRecord, *within: str) -> str:
    """What names a piece of work: an identifier, or before version 4 its title, day and section.

    Raises:
        BadValue: neither is there.
    """
    identifier = record.text(*within, "GradebookEntryIdentifier")
    if identifier:
        return identifier
    offering = (*within, *COURSE_OFFERING)
    parts = (
        record.text(*within, "GradebookEntryTitle"),
        record.text(*within, "DateAssigned"),
        record.text(*offering, *SCHOOL),
        record.text(*offering, "LocalCourseCode"),
        record.text(*within, *SECTION, "SectionIdentifier"),
    )
    if not parts[0]:
        raise BadValue(
            "GradebookEntryIdentifier",
            "GradebookEntryIdentifier is empty, and so is GradebookEntryTitle: a row needs one",
        )
    return " ".join(part for part in parts if part)


def _points(mark: _Mark) -> float:
    return float(mark.values["grade"])  # type: ignore[arg-type]
