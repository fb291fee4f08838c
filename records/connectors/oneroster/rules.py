"""What a OneRoster record means in the canonical tables, whichever way it came.

One set of rules reads the CSV files of versions 1.0 to 1.2, their mirror, and the answers of the
API: each provides its records as lines of the CSV tables. OneRoster has rosters and results, but no
attendance, incidents or program flags. Districts export those as extension files beside it, whose
columns are the canonical ones with the student in `userSourcedId`.

What the rules decide where the standard leaves it open:

- A student's grade is what `users.grades` says, if that is one grade. If it is empty or a list, the
  classes of the student's last school year say it, provided that each of them is of one grade and
  they agree: a class of grades 9 to 12 says nothing about one student. A word that is no known
  grade leaves the grade unknown; the student stays.
- The classes of a student at a school make up the times there: a student without any class on days
  on which the school holds classes was away, and a break without school days parts nothing.
- A line of `attendance.csv` that names a class is about that class alone. Where a school records no
  days, classes missed become days by the rule of the source's profile.
- A summer session is apart from the school year: its days are no school days, and a class in it is
  no enrollment at its school.
- Users who are one child are one student (`persons.py`); what names a further user is theirs.
- `enabledUser` says whether somebody can sign in (1.2: "the record is active but system access is
  curtailed"). A student who cannot by any user, and has no enrollment, has left and is left out.
- Work that is exempt, missing or not submitted has no mark, whatever its score; an unfinished mark
  (partially graded, or 0 for work that is only submitted) is unknown, and so is one with a status
  that the profile does not list. A mark is the share of `resultValueMax`: extra credit takes it
  above 100, and without a maximum it is unknown. What scale it is on is in `marks.py`.

Source: 1EdTech OneRoster 1.1 and 1.2 CSV Tables,
https://www.imsglobal.org/oneroster-v11-final-csv-tables and
https://www.imsglobal.org/spec/oneroster/v1p2/bind/csv.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property, lru_cache, partial
from typing import Protocol

from records.canonical.never_ingest import redact
from records.canonical.quarantine import (
    BadRow,
    BadValue,
    Value,
    convert,
    date_as_iso,
    lost_zeros_hint,
)
from records.canonical.schema import ABSENT_STATUSES, ATTENDANCE_STATUSES, canonical_table
from records.connectors.attendance.unknown_shares import UnknownShares
from records.connectors.csv_files import CsvRecord, RowReader, quarantine_record
from records.connectors.grade_levels import listed_grade_levels
from records.connectors.oneroster.class_lines import CLASS_COLUMN, ClassLines
from records.connectors.oneroster.demographics import (
    FALSE_WORDS,
    RACE_COLUMNS,
    demographic_facts,
    sex_of,
)
from records.connectors.oneroster.marks import COURSES, RosterMarks, score_meaning
from records.connectors.oneroster.persons import OWN_IDENTIFIERS, OneChild, Persons
from records.connectors.oneroster.school_years import (
    MAX_SESSION_DAYS,
    AcademicSession,
    SchoolYears,
)
from records.connectors.profiles.grades import NO_MARK, SUBMITTED, UNFINISHED
from records.connectors.profiles.profile import IGNORED, SourceProfile
from records.connectors.protocol import RowSink, SourceRefused


@dataclass(frozen=True)
class SourceFile:
    """One table of OneRoster or one extension file, and the columns that are read of it.

    Without the `required` columns the file is of no use; the `optional` ones may be absent.
    `stays_empty` says what is missing without the file; None where nothing is.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    stays_empty: str | None
    is_extension: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        return self.required + self.optional


EXTENSION_TABLES = {
    "attendance.csv": "attendance_events",
    "course_grades.csv": "course_grades",
    "assessments.csv": "assessments",
    "incidents.csv": "behavior_incidents",
}
"""Extension file -> its table."""

_FLAG_COLUMNS = ("english_learner", "special_education", "unstable_housing", "meal_eligible")


def _extension(
    name: str,
    stays_empty: str,
    student_column: str = "userSourcedId",
    *,
    also: tuple[str, ...] = (),
) -> SourceFile:
    canonical = canonical_table(name)
    named = [
        (student_column if column.name == "student_id" else column.name, column.required)
        for column in canonical.columns
        if column.name != "calendar_code"  # OneRoster has one calendar a school
    ]
    return SourceFile(
        tuple(column for column, required in named if required),
        (*(column for column, required in named if not required), *also),
        stays_empty,
        is_extension=True,
    )


FILES: dict[str, SourceFile] = {
    "orgs.csv": SourceFile(
        ("sourcedId", "type"), ("status", "name", "parentSourcedId"), "names of schools"
    ),
    "academicSessions.csv": SourceFile(
        ("sourcedId", "type", "startDate", "endDate"),
        ("status", "title", "schoolYear"),
        "school years",
    ),
    "roles.csv": SourceFile(
        ("userSourcedId", "role", "orgSourcedId"),
        ("sourcedId", "status", "roleType", "beginDate", "endDate"),
        None,
    ),
    "users.csv": SourceFile(
        ("sourcedId", "givenName", "familyName"),
        (
            *("status", "role", "enabledUser", "grades", "grade", "orgSourcedIds"),
            *("primaryOrgSourcedId", "userIds", *OWN_IDENTIFIERS),
        ),
        None,
    ),
    "demographics.csv": SourceFile(
        (),
        ("sourcedId", "userSourcedId", "status", "birthDate", "birthdate", "sex", *RACE_COLUMNS),
        "birth dates, sex, race and ethnicity",
    ),
    "characteristics.csv": SourceFile(
        ("userSourcedId",),
        _FLAG_COLUMNS,
        "language, disability, housing and meal facts (the fairness audit needs them)",
        is_extension=True,
    ),
    "calendar.csv": _extension("calendar", "school days (worked out from terms instead)"),
    "courses.csv": SourceFile(
        ("sourcedId", "title"),
        ("status", "schoolYearSourcedId", "schoolYearId"),
        "titles of courses",
    ),
    "classes.csv": SourceFile(
        ("sourcedId", "schoolSourcedId"),
        (
            *("status", "title", "grades", "grade", "courseSourcedId"),
            *("termSourcedIds", "termSourcedId"),
        ),
        "which school a class belongs to",
    ),
    "enrollments.csv": SourceFile(
        ("userSourcedId", "classSourcedId", "role"),
        ("sourcedId", "status", "schoolSourcedId", "beginDate", "endDate"),
        "when a student was enrolled where",
    ),
    "lineItems.csv": SourceFile(
        ("sourcedId", "title", "classSourcedId"),
        ("status", "dueDate", "resultValueMax"),
        "marks for single pieces of work",
    ),
    "results.csv": SourceFile(
        ("sourcedId", "lineItemSourcedId", "studentSourcedId", "score"),
        ("status", "scoreStatus", "textScore", "inProgress", "incomplete", "missing"),
        "marks for single pieces of work",
    ),
    "attendance.csv": _extension(
        "attendance_events", "attendance: no absence can be seen", also=(CLASS_COLUMN,)
    ),
    "course_grades.csv": _extension("course_grades", "course marks"),
    "assessments.csv": _extension("assessments", "test results"),
    "incidents.csv": _extension("behavior_incidents", "behavior incidents"),
}
"""Every file that is read -> what is read of it. A column that is not here is not stored in the
mirror either. Version 1.0 has `grade`, `termSourcedId` and `schoolYearId`."""

_DELETED_STATUSES = ("tobedeleted", "inactive", "deleted")
_OPEN_END = "9999-12-31"
_SUMMER = "a day of a summer session, apart from the school year"
_SUMMER_CLASS = "of a class of a summer session, apart from the school year"
_HALVES = ("am", "pm", "morning", "afternoon")
"""Parts of a day that are half of it each."""
_NO_DAYS = "school days (academicSessions.csv has no school year and no term with dates either)"
_FLAGGED_STATUSES = (
    ("missing", "missing"),
    ("inProgress", "in progress"),
    ("incomplete", "incomplete"),
)
"""Flags of a result of version 1.2 that say that it has no mark, with their words."""
_EXIT_DATE = canonical_table("school_enrollments").column("exit_date")
_BIRTH_DATE = canonical_table("students").column("birth_date")
_MARK = canonical_table("gradebook_entries").column("grade")
_IDS_APART = re.compile(r"[\s,;\"'\[\]]+")
_NAMED_VALUES = 8
_NAMED_CONTRADICTIONS = 20
_VALUE_LENGTH = 30


def required_columns(file: str, *, has_roles: bool) -> tuple[str, ...]:
    """The columns that a file must have.

    Until version 1.2 added `roles.csv`, users carried their role themselves.
    """
    before_roles = file == "users.csv" and not has_roles
    return FILES[file].required + (("role",) if before_roles else ())


def is_deleted(fields: Mapping[str, str]) -> bool:
    """Whether the source marks a record as deleted."""
    return "".join(fields.get("status", "").split()).lower() in _DELETED_STATUSES


@dataclass(frozen=True)
class OneRosterRole:
    """A user's role at one organization, with dates as the source writes them."""

    role: str
    org: str
    is_primary: bool
    begins: str
    ends: str

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> OneRosterRole:
        return cls(
            fields.get("role", "").strip().lower(),
            fields.get("orgSourcedId", "").strip(),
            fields.get("roleType", "").strip().lower() == "primary",
            date_as_iso(fields.get("beginDate", "")),
            date_as_iso(fields.get("endDate", "")),
        )


def current_role_and_orgs(
    roles: Iterable[OneRosterRole], primary_org: str
) -> tuple[str, tuple[str, ...]]:
    """Whether a user is a student, and at which organizations, by all their roles (version 1.2).

    A student may have a role at several schools, each of them primary there. The organization that
    the user's own record calls primary comes first, then the role that lasts longest, then a
    primary role, then the role that began last.
    """
    ranked = sorted(
        roles,
        key=lambda role: (
            role.org == primary_org,
            role.ends or _OPEN_END,
            role.is_primary,
            role.begins,
            role.org,
            role.role,
        ),
        reverse=True,
    )
    of_student = [role.org for role in ranked if role.role == "student"]
    if of_student:
        return "student", tuple(dict.fromkeys(org for org in of_student if org))
    return (ranked[0].role if ranked else ""), ()


class OneRosterSource(Protocol):
    """Where records come from.

    With `has_students_only` it provides no other users, so that an unknown identifier may be a
    teacher's.
    """

    has_students_only: bool

    def has(self, file: str) -> bool: ...

    def display_name(self, file: str) -> str:
        """The name by which the people of the district know this file."""

    def is_empty(self, file: str) -> bool:
        """Whether the file is there and has no line below its header."""

    def lines(self, file: str, required: tuple[str, ...]) -> Iterable[CsvRecord]:
        """Its records, none where there is no such file."""


@dataclass
class _Characteristics:
    """The characteristics of one student, and the file and line that reported the first of them."""

    file: str
    line: int
    values: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Stay:
    """A time at a school, and the file and line of the enrollment with which it begins."""

    first: date
    last: date | None
    file: str
    line: int


@dataclass
class _SchoolEnrollment:
    """One student at one school in one school year, in one or more classes.

    `spans` are the first and last days of the classes, each with the file and line that said so
    first; `grades` are those of the classes that are of one grade only.
    """

    spans: dict[tuple[date, date | None], tuple[str, int]] = field(default_factory=dict)
    grades: set[int] = field(default_factory=set)

    def stays(self, school_days: Sequence[date]) -> list[_Stay]:
        """The times at the school, in order, by its school days in order.

        Who has no class on a day on which the school holds classes is away from it.
        """
        stays: list[_Stay] = []
        for (first, last), (file, line) in sorted(self.spans.items(), key=lambda span: span[0][0]):
            known = stays[-1] if stays else None
            if known is None or _is_away(known.last, first, school_days):
                stays.append(_Stay(first, last, file, line))
            elif known.last is not None:
                end = None if last is None else max(known.last, last)
                stays[-1] = replace(known, last=end)
        return stays

    @property
    def grade(self) -> int | None:
        """The one grade on which the classes agree."""
        return next(iter(self.grades)) if len(self.grades) == 1 else None


def _is_away(last: date | None, first: date, school_days: Sequence[date]) -> bool:
    """Whether a school day lies between the last day of one class and the first of the next."""
    if last is None or first <= last:
        return False
    return bisect_right(school_days, last) < bisect_left(school_days, first)


@dataclass(frozen=True)
class _OwnGrade:
    """What a user's own record says of the grade; `is_stated` is False where it leaves it open.

    A stated grade of None is a student in no grade, or in one that is not understood.
    """

    is_stated: bool
    level: int | None


@dataclass(frozen=True)
class _Student:
    """One record of a user who is a student: the columns of the row that it states, and where it
    is.
    """

    user: str
    row: dict[str, Value]
    grade: _OwnGrade
    is_enabled: bool
    file: str
    line: int


@dataclass(frozen=True)
class _Class:
    """One class; `grade` is None unless the class is of one grade."""

    school: str
    grade: int | None
    course: str
    sessions: tuple[str, ...]


@dataclass(frozen=True)
class _PieceOfWork:
    """One line item; `points_possible` is None where it is not known."""

    title: str
    course: str
    due: date | None
    points_possible: float | None


class OneRosterNormalizer:
    """Normalizes the records of one source into a sink."""

    def __init__(self, source: OneRosterSource, sink: RowSink, profile: SourceProfile) -> None:
        self.source, self.sink, self.profile = source, sink, profile
        self.has_roles = source.has("roles.csv")
        self.empty = frozenset(file for file in FILES if source.is_empty(file))
        self.characteristics: dict[str, _Characteristics] = {}
        self.birth_dates: dict[str, date] = {}
        self.students: dict[str, list[_Student]] = {}
        self.disabled: set[str] = set()
        self.enrolled: set[str] = set()
        self.left_out: set[str] = set()
        self.non_student_ids: set[str] = set()
        self.users_seen: Counter[str] = Counter()
        self.first_user_aside: str | None = None
        self.persons = Persons()
        self.aliases: Mapping[str, str] = {}
        self.later_demographics: list[CsvRecord] = []
        self.roles: dict[str, list[OneRosterRole]] = {}
        self.school_years = SchoolYears()
        self.schools: list[str] = []
        self.is_school: dict[str, bool] = {}
        self.parents: dict[str, str] = {}
        self.classes: dict[str, _Class] = {}
        self.courses: dict[str, tuple[str, str]] = {}
        self.enrollments: dict[tuple[str, str, int], _SchoolEnrollment] = {}
        self.part_days: Counter[tuple[str, ...]] = Counter()
        self.parts = UnknownShares(sink, profile.source)
        self.class_lines = ClassLines(sink, profile, self._is_student)
        self.school_days: dict[str, list[date]] = {}
        self.line_items: dict[str, _PieceOfWork] = {}
        self.counted: Counter[str] = Counter()
        self.not_understood: dict[tuple[str, str, str], Counter[str]] = {}
        self.marks = RosterMarks(sink, profile.grades, self._school_of, self.counted)

    def run(self) -> None:
        """Read everything that the source has, and report the files that it lacks.

        A file that is there and has no line below its header counts as missing: an export that was
        cut short looks the same.

        Raises:
            SourceRefused: there is no user, or none of them is a student.
        """
        self._refuse_without_users()
        self._orgs()
        self._academic_sessions()
        self._report_missing_files()
        self._roles()
        self._users()
        self._read_demographics()
        self._unite_users()
        self._courses()
        self._classes()
        self._enrollments()
        self._leave_out_disabled()
        self._refuse_without_students()
        for record in self.later_demographics:
            self._demographics(record)
        self._characteristics()
        self._calendar()
        self._keep_students()
        self._line_items()
        self._results()
        for file, name in EXTENSION_TABLES.items():
            if name == COURSES:
                for record in self._lines(file):
                    self.marks.add_course(self._of_student(record, "userSourcedId"))
            else:
                self._canonical_file(file, name, "userSourcedId")
        self.marks.finish()
        self._note_what_was_counted()
        self.parts.finish()

    def _report_missing_files(self) -> None:
        for file, expected in FILES.items():
            name = self.source.display_name(file)
            if file in self.empty:
                counts = ": it counts as a missing file" if expected.stays_empty else ""
                self.sink.note(f"{name} has a header and no rows{counts}")
            if expected.stays_empty is not None and not self._has(file):
                has_days = file != "calendar.csv" or self.school_years.years
                self.sink.missing(name, expected.stays_empty if has_days else _NO_DAYS)

    def _has(self, file: str) -> bool:
        """Whether a file is there and has a line below its header."""
        return self.source.has(file) and file not in self.empty

    def _keep_students(self) -> None:
        last_year: dict[str, int] = {}
        for student, _, year in self.enrollments:
            last_year[student] = max(year, last_year.get(student, year))
        class_grades: dict[str, set[int | None]] = {}
        for (student, _, year), enrollment in self.enrollments.items():
            if year == last_year[student]:
                class_grades.setdefault(student, set()).add(enrollment.grade)
        for student, of_users in self.students.items():
            records = self.students[student] = self._of_current_user(student, of_users)
            of_classes = class_grades.get(student, set())
            for record in records:
                grade = record.grade.level
                if not record.grade.is_stated and len(of_classes) == 1:
                    grade = next(iter(of_classes))
                more = {"birth_date": self.birth_dates.get(student), "grade_level": grade}
                self.sink.keep("students", record.row | more, record.file, record.line)
        for student, known in self.characteristics.items():
            self.sink.derive(
                "characteristics", {"student_id": student} | known.values, known.file, known.line
            )
        for (student, school, year), enrollment in self.enrollments.items():
            own = self.students[student][0].grade
            is_own = own.is_stated and year == last_year[student]
            for stay in enrollment.stays(self.school_days.get(school, ())):
                row: dict[str, Value] = {
                    "student_id": student,
                    "school_id": school,
                    "school_year": year,
                    "grade_level": own.level if is_own else enrollment.grade,
                    "entry_date": stay.first,
                    "exit_date": stay.last,
                }
                self.sink.derive("school_enrollments", row, stay.file, stay.line)

    def _of_current_user(self, student: str, records: list[_Student]) -> list[_Student]:
        """The records of the user by whom a student goes now; those of the others are counted.

        It is one who can sign in, then one at whose school the student is enrolled longest, then
        the one with the student's own identifier. A grade that it leaves open another may state.
        """
        users = dict.fromkeys(record.user for record in records)
        if len(users) == 1:
            return records
        last_days: dict[str, str] = {}
        for _, last, school in self._stays_of.get(student, ()):
            last_days[school] = max(last, last_days.get(school, ""))
        current = max(
            records,
            key=lambda record: (
                record.is_enabled,
                last_days.get(str(record.row["school_id"] or ""), ""),
                record.user == student,
                record.user,
            ),
        ).user
        own = [record for record in records if record.user == current]
        others = [record for record in records if record.user != current]
        for record in others:
            self.sink.use(record.file)
        stated = [record.grade for record in (*own, *others) if record.grade.is_stated]
        if len({grade.level for grade in stated}) > 1:
            self.counted[
                "students whose users state different grades; that of their current user counts"
            ] += 1
        if not stated or own[0].grade.is_stated:
            return own
        return [replace(record, grade=stated[0]) for record in own]

    def _lines(self, file: str) -> Iterable[CsvRecord]:
        return self.source.lines(file, required_columns(file, has_roles=self.has_roles))

    def _is_live(self, record: CsvRecord) -> bool:
        """False, and counted as ignored, for a record that the source marks as deleted."""
        deleted = is_deleted(record.fields)
        if deleted:
            self.sink.ignore(record.file, "deleted at the source")
        return not deleted

    def _quarantine(self, record: CsvRecord, column: str | None, reason: str) -> None:
        self.sink.quarantine(
            BadRow(record.file, record.line_number, column, reason, record.raw, record.columns)
        )

    def _quarantine_error(self, record: CsvRecord, error: BadValue) -> None:
        quarantine_record(self.sink, record.file, record, error)

    def _canonical_file(self, file: str, name: str, student_column: str = "student_id") -> None:
        """Read a file whose columns are those of a canonical table, into that table."""
        reader = RowReader(canonical_table(name), {"student_id": student_column})
        for record in self._lines(file):
            record = self._of_student(record, student_column)
            try:
                if name == "attendance_events":
                    record = self._with_code_explained(record)
                    if record.fields["status"] == IGNORED:
                        self.sink.ignore(
                            record.file, "attendance code that says nothing of the day"
                        )
                        continue
                row = reader.row(record)
                if name == "attendance_events" and self.class_lines.takes(record, row):
                    continue
            except BadValue as error:
                self._quarantine_error(record, error)
            else:
                if name == "calendar" and self.school_years.is_of_summer(row["date"]):  # type: ignore[arg-type]
                    self.sink.ignore(record.file, _SUMMER)
                    continue
                self.sink.keep(name, row, record.file, record.line_number)
                if name == "calendar":
                    days = self.school_days.setdefault(str(row["school_id"]), [])
                    days.append(row["date"])  # type: ignore[arg-type]
        if name == "attendance_events":
            self.class_lines.finish()

    def _with_code_explained(self, record: CsvRecord) -> CsvRecord:
        """An attendance record with the meaning of its code, and how much of the day it is about.

        Raises:
            BadValue: nobody has explained the code, or how much of the day its part is.
        """
        text = record.fields["status"].strip()
        code = self.profile.attendance(text)
        if code is None:
            self.sink.code("attendance_events", "status", text, understood=False)
            raise BadValue(
                "status",
                f"status is {text!r}; it must be one of {', '.join(ATTENDANCE_STATUSES)}, or"
                " profiles/oneroster.toml must say what it means, under [attendance.codes]",
            )
        part = record.fields.get("part", "").strip()
        share = record.fields.get("absent_share", "").strip()
        if share and not _is_share(share):
            raise BadValue(
                "absent_share", f"absent_share is {share!r}; it must be a number from 0 to 1"
            )
        if not share and code.absent_share is not None:
            share = repr(code.absent_share)
        says_how_much = self.parts.says_how_much(text, code.status, share)
        self.sink.code("attendance_events", "status", text, says_how_much)
        if not share and part and code.status in ABSENT_STATUSES:
            if part.casefold() not in _HALVES:
                raise BadValue(
                    "absent_share",
                    f"part is {part!r}, and absent_share does not say how much of the day that is;"
                    " it must be a number from 0 to 1",
                )
            share = "0.5"
        if share and not part:
            entry = tuple(
                record.fields[name].strip() for name in ("userSourcedId", "school_id", "date")
            )
            self.part_days[(*entry, code.status)] += 1
            number = self.part_days[(*entry, code.status)]
            part = str(number) if number > 1 else ""
        fields = {**record.fields, "status": code.status, "absent_share": share, "part": part}
        return replace(record, fields=fields)

    def _orgs(self) -> None:
        reader = RowReader(canonical_table("schools"), {"school_id": "sourcedId"})
        for record in self._lines("orgs.csv"):
            if not self._is_live(record):
                continue
            if record.fields["type"].strip().lower() != "school":
                part = record.fields["sourcedId"].strip()
                self.is_school[part] = False
                self.parents[part] = record.fields.get("parentSourcedId", "").strip()
                self.sink.ignore(
                    record.file, f"not a school ({record.fields['type'].strip() or 'no type'})"
                )
                continue
            try:
                row = reader.row(record)
            except BadValue as error:
                self._quarantine_error(record, error)
                continue
            self.schools.append(str(row["school_id"]))
            self.is_school[str(row["school_id"])] = True
            self.sink.keep("schools", row, record.file, record.line_number)

    def _academic_sessions(self) -> None:
        column = canonical_table("school_enrollments").column("entry_date")
        for record in self._lines("academicSessions.csv"):
            if not self._is_live(record):
                continue
            try:
                start, end = (
                    convert(column, record.fields["startDate"], "startDate"),
                    convert(column, record.fields["endDate"], "endDate"),
                )
            except BadValue as error:
                self._quarantine_error(record, error)
                continue
            if not isinstance(start, date) or not isinstance(end, date):
                continue
            days, kind = (end - start).days, record.fields["type"].strip()
            if days < 0:
                self._quarantine(record, "endDate", f"endDate {end} is before startDate {start}")
                continue
            if days > MAX_SESSION_DAYS:
                self._quarantine(
                    record,
                    "endDate",
                    f"the session lasts {days:,} days; a school year or a term is shorter than"
                    f" {MAX_SESSION_DAYS} days",
                )
                continue
            self.school_years.add(
                AcademicSession(
                    record.fields["sourcedId"].strip(),
                    kind,
                    start,
                    end,
                    _year_named(record.fields.get("schoolYear", "")),
                    is_summer=self.profile.is_summer(record.fields.get("title"), kind),
                )
            )
            self.sink.use(record.file)

    def _roles(self) -> None:
        for record in self._lines("roles.csv"):
            if self._is_live(record):
                self.roles.setdefault(record.fields["userSourcedId"].strip(), []).append(
                    OneRosterRole.of(record.fields)
                )
                self.sink.use(record.file)

    def _users(self) -> None:
        table = canonical_table("students")
        for record in self._lines("users.csv"):
            role, orgs = self._role_and_orgs(record.fields)
            if not self._is_live(record):
                self.users_seen["deleted at the source"] += 1
                if role == "student":
                    self._add_deleted_user(record)
                continue
            self.users_seen[role or "no role"] += 1
            if role != "student":
                self.non_student_ids.add(record.fields["sourcedId"].strip())
                self.sink.ignore(record.file, f"not a student ({role or 'no role'})")
                continue
            try:
                row = {
                    name: convert(table.column(name), record.fields[source], source)
                    for name, source in (
                        ("student_id", "sourcedId"),
                        ("first_name", "givenName"),
                        ("last_name", "familyName"),
                    )
                }
            except BadValue as error:
                if self.first_user_aside is None:
                    self.first_user_aside = f"line {record.line_number}: {error.reason}"
                self._quarantine_error(record, error)
                continue
            student = str(row["student_id"])
            row["school_id"] = self._school_now(orgs)
            if _is_disabled(record.fields):
                self.disabled.add(student)
            self._add_user(record, is_live=True)
            grade = self._own_grade(record)
            self.students.setdefault(student, []).append(
                _Student(
                    student,
                    row,
                    grade,
                    not _is_disabled(record.fields),
                    record.file,
                    record.line_number,
                )
            )

    def _add_deleted_user(self, record: CsvRecord) -> None:
        """Take a deleted user as evidence, unless the identifier is one that is never stored."""
        column = canonical_table("students").column("student_id")
        try:
            convert(column, record.fields["sourcedId"], "sourcedId")
        except BadValue:
            return
        self._add_user(record, is_live=False)

    def _add_user(self, record: CsvRecord, *, is_live: bool) -> None:
        self.persons.add(
            record.fields["sourcedId"].strip(),
            record.fields,
            (record.file, record.line_number),
            is_live=is_live,
            is_enabled=not _is_disabled(record.fields),
        )

    def _unite_users(self) -> None:
        """Make those users one student who are one child; what contradicts itself is noted.

        From here on a record that names a further identifier of a student is the student's.
        """
        decided = self.persons.decide(self.sink.known_students)
        self.aliases = decided.aliases
        self.sink.same_students(decided.aliases)
        of_several = Counter(
            student for user, student in decided.aliases.items() if user in self.students
        )
        for user, student in decided.aliases.items():
            for record in self.students.pop(user, ()):
                row = record.row | {"student_id": student}
                self.students.setdefault(student, []).append(replace(record, row=row))
        may_sign_in = {
            student
            for student in decided.aliases.values()
            if any(record.user not in self.disabled for record in self.students.get(student, ()))
        }
        self.disabled = {self.aliases.get(user, user) for user in self.disabled} - may_sign_in
        if of_several:
            self.sink.note(
                f"students who go by a further identifier too: {len(of_several):,}; these"
                f" {of_several.total():,} users are aliases of theirs"
            )
        self._note_contradictions(decided)

    def _note_contradictions(self, decided: OneChild) -> None:
        for one in decided.contradictions[:_NAMED_CONTRADICTIONS]:
            lines = ", ".join(str(line) for _, line in one.places)
            users = redact(", ".join(sorted(one.users)))
            self.sink.passing_note(
                f"{one.places[0][0]}, lines {lines}: the users {users} have one {one.column}, and"
                f" their {one.differ} differ, so they stay students of their own; correct the"
                f" {one.column}, or the {one.differ} if it is one child"
            )
        if others := decided.contradictions[_NAMED_CONTRADICTIONS:]:
            self.sink.note(f"{len(others):,} other groups of users contradict each other so")
        for column, number in decided.of_no_child.items():
            self.counted[
                f"users who share {column} with users of other names; it is no number of one child"
                " there and joins nobody"
            ] = number

    def _role_and_orgs(self, fields: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
        """The role of a user, by `roles.csv` or by their own record, and their organizations.

        A `roles.csv` without any line, or without one about this user, leaves the user's own role
        as it is.
        """
        primary = fields.get("primaryOrgSourcedId", "").strip()
        roles = self.roles.get(fields["sourcedId"].strip(), ())
        role, orgs = current_role_and_orgs(roles, primary)
        listed = _ids(f"{primary},{fields.get('orgSourcedIds', '')}")
        if role == "student":
            return role, orgs or listed
        own = fields.get("role", "").strip().lower()
        return (own, listed) if own == "student" or not role else (role, orgs)

    def _school_now(self, orgs: tuple[str, ...]) -> str | None:
        school = self._first_school(orgs)
        if school is None and orgs:
            self.counted[
                "students at no organization that is a school; their school is unknown"
            ] += 1
        return school

    def _first_school(self, orgs: Iterable[str]) -> str | None:
        """The first of some organizations that is a school, or may be one; None without any.

        A department is one of the school above it. An API lists every school. A file of
        organizations need not be whole.
        """
        named = [org for org in orgs if org]
        for org in (*named, *map(self._school_above, named)):
            if self.is_school.get(org):
                return org
        lists_all = self.source.has_students_only and any(self.is_school.values())
        return next((org for org in named if not (lists_all or org in self.is_school)), None)

    def _school_above(self, org: str) -> str:
        """The school of which an organization is a part; empty where there is none."""
        passed = {org}
        while not self.is_school.get(org) and (above := self.parents.get(org, "")) not in passed:
            passed.add(org := above)
        return org if self.is_school.get(org) else ""

    def _own_grade(self, record: CsvRecord) -> _OwnGrade:
        text = record.fields.get("grades") or record.fields.get("grade", "")
        levels = self._grades(record, text)
        if not levels:
            return _OwnGrade(False, None)
        if len(levels) > 1:
            self.counted["students with several grades of their own"] += 1
            return _OwnGrade(False, None)
        return _OwnGrade(True, levels.pop())

    def _grades(self, record: CsvRecord, text: str) -> set[int | None]:
        """The grades of a list; empty for no text, and only None for text that is no grade."""
        try:
            return listed_grade_levels(text, "grades")
        except BadValue:
            self._not_understood(record, "grades", text)
            return {None}

    def _not_understood(self, record: CsvRecord, column: str, text: str) -> None:
        what = {"grades": "the grade", "sex": "sex"}.get(column, "race and ethnicity")
        of_column = self.not_understood.setdefault((record.file, column, what), Counter())
        of_column[redact(text.strip())[:_VALUE_LENGTH]] += 1

    def _leave_out_disabled(self) -> None:
        """Leave out students whose account is disabled and who are enrolled nowhere."""
        can_tell = self._has("enrollments.csv")
        kept = self.disabled & self.enrolled if can_tell else self.disabled
        for student in sorted(self.disabled - kept):
            self.left_out.add(student)
            for record in self.students.pop(student):
                self.sink.ignore(
                    record.file,
                    "the account is disabled (enabledUser is false), and there is no enrollment",
                )
        if kept:
            self.counted[
                "students whose account is disabled (enabledUser is false); they were kept, as the"
                " source has enrollments of theirs or no enrollments at all"
            ] = len(kept)

    def _refuse_without_users(self) -> None:
        users = "users.csv"
        if users in self.empty:
            raise SourceRefused(
                f"{self.source.display_name(users)} has a header and no rows: a district has"
                " students, so the export was cut short"
            )

    def _refuse_without_students(self) -> None:
        if self.students or not self.users_seen:
            return
        users, roles = self.source.display_name("users.csv"), self.source.display_name("roles.csv")
        seen = ", ".join(f"{number:,} {role}" for role, number in self.users_seen.most_common())
        aside = (
            f" The first that could not be read is {self.first_user_aside}."
            if self.first_user_aside
            else ""
        )
        left_out = (
            f" {len(self.left_out):,} have a disabled account and no enrollment."
            if self.left_out
            else ""
        )
        raise SourceRefused(
            f"{users}: none of its {self.users_seen.total():,} users could be loaded as a student"
            f" (roles: {seen}).{aside}{left_out} A student has the role student in {users} or in"
            f" {roles}"
        )

    def _student(self, record: CsvRecord, column: str) -> str | None:
        """The student of a record; None, and counted, when the identifier is not a student's."""
        student = self._student_of(record.fields.get(column, "").strip())
        if student in self.students:
            return student
        if student in self.non_student_ids:
            self.sink.ignore(record.file, "not a student")
        elif student in self.left_out:
            self.sink.ignore(record.file, "of a student who was left out (disabled account)")
        else:
            users = self.source.display_name("users.csv")
            self._quarantine(
                record,
                column,
                f"no student in {users} has the identifier {student!r}"
                + lost_zeros_hint(student, self.students.keys()),
            )
        return None

    def _of_student(self, record: CsvRecord, column: str) -> CsvRecord:
        """The record with the student's own identifier in place of a further one."""
        user = record.fields.get(column, "").strip()
        if user not in self.aliases:
            return record
        return replace(record, fields={**record.fields, column: self.aliases[user]})

    def _student_of(self, user: str) -> str:
        return self.aliases.get(user, user)

    def _is_student(self, record: CsvRecord) -> bool:
        return self._student(record, "userSourcedId") is not None

    def _read_demographics(self) -> None:
        """Read demographics: at once, or later of users who may be one with another or be left out.

        Birth date and sex say whether they are one.
        """
        suspects = self.persons.suspects()
        for record in self._lines("demographics.csv"):
            if not self._is_live(record):
                continue
            user = record.fields.get(_user_column(record), "").strip()
            if user in suspects:
                sex = sex_of(record.fields.get("sex", ""), "sex", lambda column, text: None)
                try:
                    self.persons.add_facts(user, _birth_date(record), sex)
                except BadValue:
                    self.persons.add_facts(user, None, sex)  # it is quarantined later
            if user in suspects or user in self.disabled:
                self.later_demographics.append(record)
            else:
                self._demographics(record)

    def _demographics(self, record: CsvRecord) -> None:
        column = _user_column(record)
        user = self._student_of(record.fields.get(column, "").strip())
        is_known = user in self.students or user in self.left_out
        if self.source.has_students_only and not is_known:
            self.sink.ignore(record.file, "of somebody who is not one of the students")
            return
        if (student := self._student(record, column)) is None:
            return
        try:
            born = _birth_date(record)
        except BadValue as error:
            self._quarantine_error(record, error)
            return
        if born is not None:
            self.birth_dates[student] = born
        facts = demographic_facts(record.fields, partial(self._not_understood, record))
        self._record_characteristics(student, record, facts)

    def _record_characteristics(
        self, student: str, record: CsvRecord, values: Mapping[str, Value]
    ) -> None:
        known = self.characteristics.setdefault(
            student, _Characteristics(record.file, record.line_number)
        ).values
        for name, value in values.items():
            if value is not None and known.get(name) not in (None, value):
                self._quarantine(
                    record,
                    name,
                    f"{name} differs from what an earlier line said of the same student",
                )
                return
        known.update({name: value for name, value in values.items() if value is not None})
        self.sink.use(record.file)

    def _characteristics(self) -> None:
        columns = [canonical_table("characteristics").column(name) for name in _FLAG_COLUMNS]
        for record in self._lines("characteristics.csv"):
            if (student := self._student(record, "userSourcedId")) is None:
                continue
            try:
                values = {
                    column.name: convert(column, record.fields.get(column.name))
                    for column in columns
                }
            except BadValue as error:
                self._quarantine_error(record, error)
                continue
            self._record_characteristics(student, record, values)

    def _calendar(self) -> None:
        if self._has("calendar.csv"):
            self._canonical_file("calendar.csv", "calendar")
            for listed in self.school_days.values():
                listed.sort()
            return
        days, years = self.school_years.school_days(), self.school_years.years
        if days and self.schools:
            self.sink.note(
                "school days were worked out from the weekdays of each school year: holidays count"
                " as days"
            )
        sessions = self.source.display_name("academicSessions.csv")
        for year in years:
            if year.terms:
                self.sink.note(
                    f"{sessions} lists no school year {year.name - 1}-{year.name}: it was put"
                    f" together from terms ({year.terms}), from {year.start} to {year.end}"
                )
        self.school_days = dict.fromkeys(self.schools, self.school_years.days_taught())
        for school in self.schools:
            for day, name in days.items():
                self.sink.derive(
                    "calendar", {"school_id": school, "date": day, "school_year": name}, sessions, 0
                )

    def _courses(self) -> None:
        for record in self._lines("courses.csv"):
            if self._is_live(record):
                year = record.fields.get("schoolYearSourcedId") or record.fields.get("schoolYearId")
                self.courses[record.fields["sourcedId"].strip()] = (
                    record.fields["title"].strip(),
                    (year or "").strip(),
                )
                self.sink.use(record.file)

    def _classes(self) -> None:
        for record in self._lines("classes.csv"):
            if not self._is_live(record):
                continue
            fields = record.fields
            levels = self._grades(record, fields.get("grades") or fields.get("grade", ""))
            course, year = self.courses.get(fields.get("courseSourcedId", "").strip(), ("", ""))
            terms = fields.get("termSourcedIds") or fields.get("termSourcedId", "")
            self.classes[fields["sourcedId"].strip()] = _Class(
                fields["schoolSourcedId"].strip(),
                levels.pop() if len(levels) == 1 else None,
                course or fields.get("title", "").strip(),
                (*_ids(terms), year),
            )
            self.sink.use(record.file)

    def _enrollments(self) -> None:
        for record in self._lines("enrollments.csv"):
            if not self._is_live(record):
                continue
            if record.fields["role"].strip().lower() != "student":
                self.sink.ignore(record.file, "not a student")
                continue
            if (student := self._student(record, "userSourcedId")) is None:
                continue
            self.enrolled.add(student)
            in_class = self.classes.get(record.fields["classSourcedId"].strip())
            if in_class is not None and self.school_years.are_of_summer(in_class.sessions):
                self.sink.ignore(record.file, _SUMMER_CLASS)
                continue
            try:
                school, first, last, grade = self._enrollment(record)
            except BadValue as error:
                self._quarantine_error(record, error)
                continue
            self.sink.use(record.file)
            key = (student, school, self.school_years.year_of(first))
            enrollment = self.enrollments.setdefault(key, _SchoolEnrollment())
            enrollment.spans.setdefault((first, last), (record.file, record.line_number))
            if grade is not None:
                enrollment.grades.add(grade)

    def _enrollment(self, record: CsvRecord) -> tuple[str, date, date | None, int | None]:
        """The school, the first and last day, and the class's grade of one enrollment.

        Raises:
            BadValue: it has no school, no day on which it began, or ends before that.
        """
        in_class = self.classes.get(record.fields["classSourcedId"].strip())
        own_school = record.fields.get("schoolSourcedId", "").strip()
        class_school = in_class.school if in_class else ""
        school = self._first_school((own_school, class_school)) or own_school or class_school
        if not school:
            classes = self.source.display_name("classes.csv")
            raise BadValue("classSourcedId", f"no school: {classes} does not have this class")
        begun, ended = (
            convert(_EXIT_DATE, record.fields.get(name, ""), name)
            for name in ("beginDate", "endDate")
        )
        first = begun if isinstance(begun, date) else self._first_day(in_class)
        last = ended if isinstance(ended, date) else None
        if last is not None and last < first:
            begins = "beginDate" if begun else "the first day of its term,"
            raise BadValue("endDate", f"endDate {last} is before {begins} {first}")
        return school, first, last, in_class.grade if in_class else None

    def _first_day(self, in_class: _Class | None) -> date:
        """When an enrollment without a date began: with its class's terms, or with the one year.

        Raises:
            BadValue: neither is known.
        """
        first = self.school_years.first_day(in_class.sessions) if in_class else None
        if first is not None:
            self.counted[
                "enrollments without beginDate; they were taken to begin with the first term of"
                " their class"
            ] += 1
            return first
        years = self.school_years.years
        if len({year.name for year in years}) == 1:
            self.counted[
                "enrollments without beginDate, whose class has no term that is known; they were"
                " taken to begin with the school year"
            ] += 1
            return years[0].start
        raise BadValue(
            "beginDate",
            "beginDate is empty, and neither a term of the class nor a single school year in"
            f" {self.source.display_name('academicSessions.csv')} says when the enrollment began",
        )

    def _line_items(self) -> None:
        due_column = canonical_table("gradebook_entries").column("due_date")
        for record in self._lines("lineItems.csv"):
            if not self._is_live(record):
                continue
            try:
                due = convert(due_column, record.fields.get("dueDate"), "dueDate")
                most = convert(_MARK, record.fields.get("resultValueMax"), "resultValueMax")
            except BadValue as error:
                self._quarantine_error(record, error)
                continue
            in_class = self.classes.get(record.fields["classSourcedId"].strip())
            self.line_items[record.fields["sourcedId"].strip()] = _PieceOfWork(
                record.fields["title"].strip(),
                in_class.course if in_class else "",
                due if isinstance(due, date) else None,
                most if isinstance(most, float) and most > 0 else None,
            )
            self.sink.use(record.file)

    def _results(self) -> None:
        for record in self._lines("results.csv"):
            if (
                not self._is_live(record)
                or (student := self._student(record, "studentSourcedId")) is None
            ):
                continue
            item = self.line_items.get(record.fields["lineItemSourcedId"].strip())
            if item is None:
                self._quarantine(
                    record,
                    "lineItemSourcedId",
                    f"{self.source.display_name('lineItems.csv')} does not have this piece of work",
                )
                continue
            flag = _flagged_status(record.fields)
            word = flag or _status_word(record.fields.get("scoreStatus", ""))
            meaning = NO_MARK if flag else score_meaning(self.profile.grades, word, self.sink)
            if meaning == NO_MARK:
                self.sink.ignore(record.file, f"work without a mark ({word})")
                continue
            row: dict[str, Value] = {
                "student_id": student,
                "entry_id": record.fields["sourcedId"].strip(),
                "course": item.course or None,
                "title": item.title or None,
                "due_date": item.due,
            }
            try:
                row["grade"] = self._mark(record.fields, item, meaning)
                self.marks.add_result(row, item.points_possible, record.file, record.line_number)
            except BadValue as error:
                self._quarantine_error(record, error)

    def _mark(
        self, fields: Mapping[str, str], item: _PieceOfWork, status: str | None
    ) -> float | None:
        """The share of the points that a result earned, in points of 100; None while unknown.

        Args:
            status: what the status of the result means; None if nobody has said.

        Raises:
            BadValue: the score is not a number, or is below 0.
        """
        score = convert(_MARK, fields["score"], "score")
        if not isinstance(score, float):
            if fields.get("textScore", "").strip():
                self.counted["results with a mark in words only; it stays unknown"] += 1
            return None
        if score < 0:
            raise BadValue("score", f"score is {fields['score'].strip()}; it must be 0 or more")
        if status is None:
            self.counted[
                "results whose scoreStatus is not understood; their mark stays unknown"
            ] += 1
            return None
        if status == UNFINISHED or (status == SUBMITTED and score == 0):
            self.counted["results that are not fully graded; their mark stays unknown"] += 1
            return None
        if item.points_possible is None:
            self.counted[
                "results whose lineItem has no resultValueMax above 0; their mark stays unknown"
            ] += 1
            return None
        return 100.0 * score / item.points_possible

    def _school_of(self, student: str, day: str) -> str:
        """The school of a student on a day, by the enrollment that was open then.

        Where none was, or there is no day, it is the school of the student's own record; empty
        where that is not known either.
        """
        when = _as_iso(day)
        for first, last, school in self._stays_of.get(student, ()):
            if first <= when <= last:
                return school
        records = self.students.get(student)
        return str(records[0].row["school_id"] or "") if records else ""

    @cached_property
    def _stays_of(self) -> dict[str, list[tuple[str, str, str]]]:
        """First day, last day and school of each enrollment of a student, the latest first."""
        stays: dict[str, list[tuple[str, str, str]]] = {}
        for (student, school, _), enrollment in self.enrollments.items():
            for first, last in enrollment.spans:
                end = _OPEN_END if last is None else last.isoformat()
                stays.setdefault(student, []).append((first.isoformat(), end, school))
        for of_student in stays.values():
            of_student.sort(reverse=True)
        return stays

    def _note_what_was_counted(self) -> None:
        for what, number in self.counted.items():
            subject, _, rest = what.partition(";")
            self.sink.note(f"{subject}: {number:,}{f' ({rest.strip()})' if rest else ''}")
        for (file, column, what), values in self.not_understood.items():
            named = ", ".join(
                f"{value!r} ({number:,})" for value, number in values.most_common(_NAMED_VALUES)
            )
            others = len(values) - _NAMED_VALUES
            self.sink.note(
                f"{file}: {column} is not understood in {values.total():,}"
                f" record{'s' if values.total() > 1 else ''}: {named}"
                f"{f' and {others:,} other values' if others > 0 else ''}; {what} stays unknown"
                " there"
            )


def _is_disabled(fields: Mapping[str, str]) -> bool:
    return fields.get("enabledUser", "").strip().lower() in FALSE_WORDS


def _user_column(record: CsvRecord) -> str:
    """The column of demographics that names the user: the second is OneRoster 1.0's."""
    return "sourcedId" if record.fields.get("sourcedId") else "userSourcedId"


def _birth_date(record: CsvRecord) -> date | None:
    """The birth date of a record of demographics.

    Raises:
        BadValue: it is no date.
    """
    text = record.fields.get("birthDate") or record.fields.get("birthdate")
    born = convert(_BIRTH_DATE, text, "birthDate")
    return born if isinstance(born, date) else None


def _ids(text: str) -> tuple[str, ...]:
    """The identifiers of a list, in order."""
    return tuple(id_ for id_ in _IDS_APART.split(text) if id_)


def _year_named(text: str) -> int | None:
    """The school year of `2026` or `2025-2026`; None for any other text."""
    years = re.findall(r"(?<!\d)(?:19|20)\d\d(?!\d)", text)
    return max(map(int, years), default=None)


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def _flagged_status(fields: Mapping[str, str]) -> str:
    """The word for the flag of version 1.2 by which a result has no mark; empty without one."""
    set_flags = (
        word for flag, word in _FLAGGED_STATUSES if fields.get(flag, "").strip().lower() == "true"
    )
    return next(set_flags, "")


@lru_cache(maxsize=10_000)
def _as_iso(day: str) -> str:
    return date_as_iso(day)


@lru_cache(maxsize=1_000)
def _status_word(text: str) -> str:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text.strip().removeprefix("ext:"))
    return re.sub(r"[\s_-]+", " ", spaced).lower()
