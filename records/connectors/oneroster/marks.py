"""The marks of a roster: of courses (`course_grades.csv`) and of single pieces of work (results).

A course's mark is in points of 100, or a letter that the profile lists. A result is the share of
the points that its piece of work has. Which scale a school uses is stated by the profile or told
from the school's marks; those of a 4-point scale are no points of 100, and 3.7 is never taken for
the mark of a student who failed. The school of a mark is the student's on its day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from records.canonical.quarantine import BadValue, Value
from records.canonical.schema import canonical_table
from records.connectors.csv_files import CsvRecord, RowReader, quarantine_record
from records.connectors.profiles.grades import (
    FEW_POINTS,
    GRADED,
    HIGHEST_MARK,
    HIGHEST_POINT,
    LETTERS,
    NUMBER,
    SCALES_OF_POINTS,
    GradeRules,
    ScaleBySchool,
    number_of,
)
from records.connectors.protocol import RowSink

COURSES, WORK = "course_grades", "gradebook_entries"
_COURSE_MARK, _WORK_MARK = "grade of course_grades.csv", "score of results.csv"
"""What a survey calls the columns."""

_HIGHEST_SHARE = 200
"""Points of 100 of one piece of work: with extra credit, no more than twice what it has."""

_FOUR = 4
_OF_100_FROM = 20
"""A piece of work of so many points is no step of a 4-point scale."""


@dataclass(frozen=True)
class _CourseMark:
    row: dict[str, Value]
    record: CsvRecord


@dataclass(frozen=True)
class _Result:
    row: dict[str, Value]
    file: str
    line: int


class RosterMarks:
    """Places the marks of one source.

    Args:
        school_of: the school of a student on a day, empty where it is not known.
        counted: what the report says at the end, with how often.
    """

    def __init__(
        self,
        sink: RowSink,
        rules: GradeRules,
        school_of: Callable[[str, str], str],
        counted: Counter[str],
    ) -> None:
        self.sink, self.rules, self.school_of, self.counted = sink, rules, school_of, counted
        self._reader = RowReader(canonical_table(COURSES), {"student_id": "userSourcedId"})
        self._courses = ScaleBySchool(self._place_course, self._refuse_course)
        self._work = ScaleBySchool(self._place_result, self._refuse_result)

    def add_course(self, record: CsvRecord) -> None:
        """Take a line of `course_grades.csv`, and quarantine what cannot be a mark."""
        text = record.fields["grade"].strip()
        school = self.school_of(
            record.fields["userSourcedId"].strip(), record.fields.get("date", "")
        )
        try:
            points, is_sure = self._course_points(text, school)
            if points is None:
                self.sink.ignore(record.file, f"no mark on a scale ({text[:20]})")
                return
            in_points = replace(record, fields={**record.fields, "grade": repr(points)})
            mark = _CourseMark(self._reader.row(in_points), record)
        except BadValue as error:
            quarantine_record(self.sink, record.file, record, error)
            return
        if is_sure:
            self._place_course(mark)
        else:
            self._courses.add(school, points, mark)

    def add_result(self, row: dict[str, Value], most: float | None, file: str, line: int) -> None:
        """Take a result whose mark is the share of `most` points, None where it has no mark.

        Raises:
            BadValue: the score is more than twice what the piece of work has.
        """
        grade, result = row["grade"], _Result(row, file, line)
        if not isinstance(grade, float) or most is None:
            self.sink.keep(WORK, row, file, line)
            return
        school = self.school_of(str(row["student_id"]), str(row["due_date"] or ""))
        score, scale = grade * most / 100, self.rules.scale_of(school)
        if scale in SCALES_OF_POINTS and most == _FOUR:
            self._of_stated_scale(scale, score, result)
            return
        if grade > _HIGHEST_SHARE:
            self._code(WORK, f"{score:g} of {most:g}", understood=False)
            raise BadValue(
                "score",
                f"score is {score:g}, and its lineItem has {most:g} points (resultValueMax); it"
                " must be at most twice that",
            )
        is_doubtful = most == _FOUR or (most >= _OF_100_FROM and score <= HIGHEST_POINT)
        if scale is not None:
            self._place_result(result)
        elif is_doubtful:
            self._work.add(school, score, result)
        else:
            self._work.settle(school, is_of_100=True)
            self._place_result(result)

    def finish(self) -> None:
        """Place the marks that were held back until their school's scale is known."""
        self._courses.finish()
        self._work.finish()

    def _course_points(self, text: str, school: str) -> tuple[float | None, bool]:
        """A mark in points of 100, and whether it is sure to be; None for no mark.

        Raises:
            BadValue: nobody has said what it is worth.
        """
        rules, scale = self.rules, self.rules.scale_of(school)
        number = number_of(text)
        if not text:
            raise BadValue("grade", "grade is empty, and a row needs it")
        if rules.is_no_mark(text) or rules.is_left_out(scale):
            self._code(COURSES, text if number is None else NUMBER)
            return None, True
        if (worth := rules.worth(text)) is not None:
            return worth, True
        if number is None or scale == LETTERS:
            self._code(COURSES, text, understood=False)
            listed = ", ".join(sorted(rules.letters))
            raise BadValue(
                "grade",
                f"grade is {text!r}; it must be a number of points of 100, or a letter that"
                " [grades.letters] of profiles/oneroster.toml lists"
                + (f" ({listed})" if listed else ""),
            )
        points, is_percent = number
        if scale in SCALES_OF_POINTS and not is_percent:
            known = rules.in_points(scale, points)
            if known is None:
                self._code(COURSES, text, understood=False)
                raise BadValue(
                    "grade",
                    f'grade is {text!r}, which [grades.points."{scale}"] of'
                    " profiles/oneroster.toml does not put into points of 100",
                )
            return known, True
        if not 0 <= points <= HIGHEST_MARK:
            self._code(COURSES, text, understood=False)
            raise BadValue(
                "grade", f"grade is {text!r}; it must be from 0 to {HIGHEST_MARK} points of 100"
            )
        return points, is_percent or scale is not None

    def _of_stated_scale(self, scale: str, score: float, result: _Result) -> None:
        """Keep a result of a scale that the profile states; its mark is unknown without a table."""
        known = self.rules.in_points(scale, score)
        if known is None:
            self.counted[
                "results on a scale of which the profile does not say the points of 100; their mark"
                " stays unknown"
            ] += 1
        self.sink.keep(WORK, result.row | {"grade": known}, result.file, result.line)

    def _place_course(self, mark: _CourseMark) -> None:
        text = mark.record.fields["grade"]
        self._code(COURSES, text.strip() if number_of(text) is None else NUMBER)
        self.sink.keep(COURSES, mark.row, mark.record.file, mark.record.line_number)

    def _refuse_course(self, mark: _CourseMark) -> None:
        self._code(COURSES, FEW_POINTS, understood=False)
        text = mark.record.fields["grade"].strip()
        error = BadValue(
            "grade",
            f"grade is {text!r}, and no mark of this school is above {HIGHEST_POINT}: it looks like"
            " a 4-point scale. A mark must be in points of 100, or [grades] of"
            " profiles/oneroster.toml must state the scale and what it is worth",
        )
        quarantine_record(self.sink, mark.record.file, mark.record, error)

    def _place_result(self, result: _Result) -> None:
        self._code(WORK, NUMBER)
        self.sink.keep(WORK, result.row, result.file, result.line)

    def _refuse_result(self, result: _Result) -> None:
        self._code(WORK, FEW_POINTS, understood=False)
        self.counted[
            "results that look like a 4-point scale, as no score of their school is above"
            f" {HIGHEST_POINT}; their mark stays unknown"
        ] += 1
        self.sink.keep(WORK, result.row | {"grade": None}, result.file, result.line)

    def _code(self, table: str, code: str, *, understood: bool = True) -> None:
        self.sink.code(table, _COURSE_MARK if table == COURSES else _WORK_MARK, code, understood)


def score_meaning(rules: GradeRules, word: str, sink: RowSink) -> str | None:
    """What the status of a result means, counted as a code; None if nobody has said."""
    if not word:
        return GRADED
    meaning = rules.score_status(word)
    sink.code(WORK, "scoreStatus", word, meaning is not None)
    return meaning
