"""What a OneRoster record means in the canonical tables, whichever way it came.

One set of rules reads the CSV files of versions 1.0 to 1.2, their mirror, and the answers of the
API: each provides its records as lines of the CSV tables. OneRoster has rosters and results, but no
attendance, incidents or program flags. Districts export those as extension files beside it, whose
columns are the canonical ones with the student in `userSourcedId`.
Source: 1EdTech OneRoster 1.1 and 1.2 CSV Tables,
https://www.imsglobal.org/oneroster-v11-final-csv-tables and
https://www.imsglobal.org/spec/oneroster/v1p2/bind/csv.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Protocol

from records.canonical.quarantine import (
    BadRow,
    BadValue,
    Value,
    convert,
    date_as_iso,
    lost_zeros_hint,
)
from records.canonical.schema import canonical_table
from records.connectors.csv_files import CsvRecord, RowReader, quarantine_record
from records.connectors.protocol import RowSink


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
_RACE_NAMES = {
    "americanIndianOrAlaskaNative": "american_indian",
    "asian": "asian",
    "blackOrAfricanAmerican": "black",
    "nativeHawaiianOrOtherPacificIslander": "pacific_islander",
    "white": "white",
}
_HISPANIC, _TWO_OR_MORE_RACES = "hispanicOrLatinoEthnicity", "demographicRaceTwoOrMoreRaces"
RACE_COLUMNS = (*_RACE_NAMES, _HISPANIC, _TWO_OR_MORE_RACES)
"""The columns of demographics that state a race or ethnicity."""


def _extension(name: str, stays_empty: str, student_column: str = "userSourcedId") -> SourceFile:
    canonical = canonical_table(name)
    named = [
        (student_column if column.name == "student_id" else column.name, column.required)
        for column in canonical.columns
    ]
    return SourceFile(
        tuple(column for column, required in named if required),
        tuple(column for column, required in named if not required),
        stays_empty,
        is_extension=True,
    )


FILES: dict[str, SourceFile] = {
    "orgs.csv": SourceFile(("sourcedId", "type"), ("status", "name"), "names of schools"),
    "academicSessions.csv": SourceFile(
        ("sourcedId", "type", "startDate", "endDate"), ("status",), "school years"
    ),
    "roles.csv": SourceFile(
        ("userSourcedId", "role", "orgSourcedId"),
        ("sourcedId", "status", "roleType", "beginDate", "endDate"),
        None,
    ),
    "users.csv": SourceFile(
        ("sourcedId", "givenName", "familyName"),
        ("status", "role", "grades", "orgSourcedIds", "primaryOrgSourcedId"),
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
    "courses.csv": SourceFile(("sourcedId", "title"), ("status",), "titles of courses"),
    "classes.csv": SourceFile(
        ("sourcedId", "schoolSourcedId"),
        ("status", "title", "grades", "courseSourcedId"),
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
        ("status",),
        "marks for single pieces of work",
    ),
    "attendance.csv": _extension("attendance_events", "attendance: no absence can be seen"),
    "course_grades.csv": _extension("course_grades", "course marks"),
    "assessments.csv": _extension("assessments", "test results"),
    "incidents.csv": _extension("behavior_incidents", "behavior incidents"),
}
"""Every file that is read -> what is read of it. A column that is not here is not stored in the
mirror either."""

_SEXES = {
    "female": "female",
    "f": "female",
    "male": "male",
    "m": "male",
    "unspecified": None,
    "": None,
}
_GRADES = {"IT": -1, "PR": -1, "PK": -1, "TK": 0, "KG": 0, "K": 0}
_DELETED_STATUSES = ("tobedeleted", "inactive")
_OPEN_END = "9999-12-31"


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


def current_role_and_school(roles: Iterable[OneRosterRole], primary_org: str) -> tuple[str, str]:
    """Whether a user is a student, and at which school now, by all their roles (version 1.2).

    A student may have a role at several schools, each of them primary there. The school that the
    user's own record calls primary wins, then the role that lasts longest, then a primary role,
    then the role that began last.
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
    )
    student_roles = [role for role in ranked if role.role == "student"]
    if student_roles:
        return "student", student_roles[-1].org
    return (ranked[-1].role if ranked else ""), ""


class OneRosterSource(Protocol):
    """Where records come from.

    With `has_students_only` it provides no other users, so that an unknown identifier may be a
    teacher's.
    """

    has_students_only: bool

    def has(self, file: str) -> bool: ...

    def display_name(self, file: str) -> str:
        """The name by which the people of the district know this file."""

    def lines(self, file: str, required: tuple[str, ...]) -> Iterable[CsvRecord]:
        """Its records, none where there is no such file."""


@dataclass
class _Characteristics:
    """The characteristics of one student, and the file and line that reported the first of them."""

    file: str
    line: int
    values: dict[str, Value] = field(default_factory=dict)


@dataclass
class _SchoolEnrollment:
    """One student at one school in one school year.

    The grade level is that of the class that began first.
    """

    first: date
    last: date | None
    grade: int | None
    file: str
    line: int

    def add(self, first: date, last: date | None, grade: int | None) -> None:
        if (first, grade is None, grade or 0) < (self.first, self.grade is None, self.grade or 0):
            self.grade = grade
        self.first = min(self.first, first)
        self.last = None if self.last is None or last is None else max(self.last, last)


class OneRosterNormalizer:
    """Normalizes the records of one source into a sink."""

    def __init__(self, source: OneRosterSource, sink: RowSink) -> None:
        self.source, self.sink = source, sink
        self.has_roles = source.has("roles.csv")
        self.characteristics: dict[str, _Characteristics] = {}
        self.birth_dates: dict[str, date] = {}
        self.students: list[tuple[dict[str, Value], str, int]] = []
        self.user_ids: set[str] = set()
        self.non_student_ids: set[str] = set()
        self.roles: dict[str, list[OneRosterRole]] = {}
        self.years: list[tuple[date, date, int]] = []
        self.schools: list[str] = []
        self.classes: dict[str, tuple[str, int | None, str]] = {}
        self.courses: dict[str, str] = {}
        self.line_items: dict[str, tuple[str, str, date | None, float]] = {}

    def run(self) -> None:
        """Read everything that the source has, and report the files that it lacks."""
        for file, expected in FILES.items():
            if expected.stays_empty is not None and not self.source.has(file):
                self.sink.missing(self.source.display_name(file), expected.stays_empty)
        self._orgs()
        self._academic_sessions()
        self._roles()
        self._users()
        self._demographics()
        self._characteristics()
        for row, file, number in self.students:
            self.sink.keep(
                "students",
                row | {"birth_date": self.birth_dates.get(str(row["student_id"]))},
                file,
                number,
            )
        for student, known in self.characteristics.items():
            self.sink.derive(
                "characteristics", {"student_id": student} | known.values, known.file, known.line
            )
        self._calendar()
        self._courses()
        self._classes()
        self._enrollments()
        self._line_items()
        self._results()
        for file, name in EXTENSION_TABLES.items():
            self._canonical_file(file, name, "userSourcedId")

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
            try:
                row = reader.row(record)
            except BadValue as error:
                self._quarantine_error(record, error)
            else:
                self.sink.keep(name, row, record.file, record.line_number)

    def _orgs(self) -> None:
        reader = RowReader(canonical_table("schools"), {"school_id": "sourcedId"})
        for record in self._lines("orgs.csv"):
            if not self._is_live(record):
                continue
            if record.fields["type"].strip().lower() != "school":
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
            if (
                record.fields["type"] == "schoolYear"
                and isinstance(start, date)
                and isinstance(end, date)
            ):
                self.years.append((start, end, end.year))
            self.sink.use(record.file)
        self.years.sort()

    def _roles(self) -> None:
        for record in self._lines("roles.csv"):
            if self._is_live(record):
                self.roles.setdefault(record.fields["userSourcedId"].strip(), []).append(
                    OneRosterRole.of(record.fields)
                )
                self.sink.use(record.file)

    def _users(self) -> None:
        id_column = canonical_table("students").column("student_id")
        for record in self._lines("users.csv"):
            if not self._is_live(record):
                continue
            role, school = self._role_and_school(record.fields)
            if role != "student":
                self.non_student_ids.add(record.fields["sourcedId"].strip())
                self.sink.ignore(record.file, f"not a student ({role or 'no role'})")
                continue
            try:
                student = convert(id_column, record.fields["sourcedId"], "sourcedId")
                row: dict[str, Value] = {
                    "student_id": student,
                    "first_name": convert(
                        canonical_table("students").column("first_name"),
                        record.fields["givenName"],
                        "givenName",
                    ),
                    "last_name": convert(
                        canonical_table("students").column("last_name"),
                        record.fields["familyName"],
                        "familyName",
                    ),
                    "grade_level": _grade(record.fields.get("grades", ""), "grades"),
                    "school_id": school or None,
                }
            except BadValue as error:
                self._quarantine_error(record, error)
                continue
            self.user_ids.add(str(student))
            self.students.append((row, record.file, record.line_number))

    def _role_and_school(self, fields: Mapping[str, str]) -> tuple[str, str]:
        if self.has_roles:
            roles = self.roles.get(fields["sourcedId"].strip(), ())
            return current_role_and_school(roles, fields.get("primaryOrgSourcedId", "").strip())
        return fields["role"].strip().lower(), fields.get("orgSourcedIds", "").split(",")[0].strip()

    def _student(self, record: CsvRecord, column: str) -> str | None:
        """The student of a record; None, and counted, when the identifier is not a student's."""
        student = record.fields.get(column, "").strip()
        if student in self.user_ids:
            return student
        if student in self.non_student_ids:
            self.sink.ignore(record.file, "not a student")
        else:
            users = self.source.display_name("users.csv")
            self._quarantine(
                record,
                column,
                f"no student in {users} has the identifier {student!r}"
                + lost_zeros_hint(student, self.user_ids),
            )
        return None

    def _demographics(self) -> None:
        birth_date_column = canonical_table("students").column("birth_date")
        for record in self._lines("demographics.csv"):
            key = (
                "sourcedId" if record.fields.get("sourcedId") else "userSourcedId"
            )  # the second is OneRoster 1.0's
            if not self._is_live(record):
                continue
            if (
                self.source.has_students_only
                and record.fields.get(key, "").strip() not in self.user_ids
            ):
                self.sink.ignore(record.file, "of somebody who is not one of the students")
                continue
            if (student := self._student(record, key)) is None:
                continue
            try:
                born = convert(
                    birth_date_column,
                    record.fields.get("birthDate") or record.fields.get("birthdate"),
                    "birthDate",
                )
            except BadValue as error:
                self._quarantine_error(record, error)
                continue
            if isinstance(born, date):
                self.birth_dates[student] = born
            self._record_characteristics(student, record, _demographic(record.fields))

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
        if self.source.has("calendar.csv"):
            self._canonical_file("calendar.csv", "calendar")
            return
        if self.years and self.schools:
            self.sink.note(
                "school days were worked out from the weekdays of each school year: holidays count"
                " as days"
            )
        for start, end, name in self.years:
            days = [start + timedelta(n) for n in range((end - start).days + 1)]
            for school in self.schools:
                for day in days:
                    if day.weekday() < 5:
                        self.sink.derive(
                            "calendar",
                            {"school_id": school, "date": day, "school_year": name},
                            self.source.display_name("academicSessions.csv"),
                            0,
                        )

    def _courses(self) -> None:
        for record in self._lines("courses.csv"):
            if self._is_live(record):
                self.courses[record.fields["sourcedId"].strip()] = record.fields["title"].strip()
                self.sink.use(record.file)

    def _classes(self) -> None:
        for record in self._lines("classes.csv"):
            if not self._is_live(record):
                continue
            try:
                grade = _grade(record.fields.get("grades", ""), "grades")
            except BadValue as error:
                self._quarantine_error(record, error)
                continue
            course = self.courses.get(record.fields.get("courseSourcedId", "").strip(), "")
            self.classes[record.fields["sourcedId"].strip()] = (
                record.fields["schoolSourcedId"].strip(),
                grade,
                course or record.fields.get("title", "").strip(),
            )
            self.sink.use(record.file)

    def _enrollments(self) -> None:
        date_column = canonical_table("school_enrollments").column("exit_date")
        enrollments: dict[tuple[str, str, int], _SchoolEnrollment] = {}
        for record in self._lines("enrollments.csv"):
            if not self._is_live(record):
                continue
            if record.fields["role"].strip().lower() != "student":
                self.sink.ignore(record.file, "not a student")
                continue
            if (student := self._student(record, "userSourcedId")) is None:
                continue
            school, grade, _ = self.classes.get(
                record.fields["classSourcedId"].strip(), ("", None, "")
            )
            school = record.fields.get("schoolSourcedId", "").strip() or school
            if not school:
                classes = self.source.display_name("classes.csv")
                self._quarantine(
                    record, "classSourcedId", f"no school: {classes} does not have this class"
                )
                continue
            try:
                first, last = (
                    convert(date_column, record.fields.get(name, ""), name)
                    for name in ("beginDate", "endDate")
                )
            except BadValue as error:
                self._quarantine_error(record, error)
                continue
            self.sink.use(record.file)
            if not isinstance(first, date):
                continue
            last = last if isinstance(last, date) else None
            key = (student, school, self._year(first))
            enrollment = enrollments.get(key)
            if enrollment is None:
                enrollments[key] = _SchoolEnrollment(
                    first, last, grade, record.file, record.line_number
                )
            else:
                enrollment.add(first, last, grade)
        for (student, school, year), enrollment in enrollments.items():
            row: dict[str, Value] = {
                "student_id": student,
                "school_id": school,
                "school_year": year,
                "grade_level": enrollment.grade,
                "entry_date": enrollment.first,
                "exit_date": enrollment.last,
            }
            self.sink.derive("school_enrollments", row, enrollment.file, enrollment.line)

    def _year(self, day: date) -> int:
        for start, end, name in self.years:
            if start <= day <= end:
                return name
        return day.year + (day.month >= 7)

    def _line_items(self) -> None:
        due_column = canonical_table("gradebook_entries").column("due_date")
        grade_column = canonical_table("gradebook_entries").column("grade")
        for record in self._lines("lineItems.csv"):
            if not self._is_live(record):
                continue
            try:
                due = convert(due_column, record.fields.get("dueDate"), "dueDate")
                max_value = convert(
                    grade_column, record.fields.get("resultValueMax"), "resultValueMax"
                )
            except BadValue as error:
                self._quarantine_error(record, error)
                continue
            course = self.classes.get(record.fields["classSourcedId"].strip(), ("", None, ""))[2]
            points_possible = (
                float(max_value) if isinstance(max_value, float) and max_value > 0 else 100.0
            )
            self.line_items[record.fields["sourcedId"].strip()] = (
                record.fields["title"].strip(),
                course,
                due if isinstance(due, date) else None,
                points_possible,
            )
            self.sink.use(record.file)

    def _results(self) -> None:
        score_column = canonical_table("gradebook_entries").column("grade")
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
            try:
                score = convert(score_column, record.fields["score"], "score")
            except BadValue as error:
                self._quarantine_error(record, error)
                continue
            title, course, due, points_possible = item
            grade = 100.0 * score / points_possible if isinstance(score, float) else None
            row: dict[str, Value] = {
                "student_id": student,
                "entry_id": record.fields["sourcedId"].strip(),
                "course": course or None,
                "title": title or None,
                "due_date": due,
                "grade": grade,
            }
            self.sink.keep("gradebook_entries", row, record.file, record.line_number)


def _grade(text: str, column: str) -> int | None:
    first = text.split(",")[0].strip().upper()
    if not first:
        return None
    if first in _GRADES:
        return _GRADES[first]
    if first.isdigit() and 0 <= int(first) <= 13:
        return int(first)
    raise BadValue(column, f"{column} is {text!r}; a grade must look like KG, 01 or 12")


def _demographic(fields: Mapping[str, str]) -> dict[str, Value]:
    marked = [race for name, race in _RACE_NAMES.items() if _is_marked(fields, name)]
    race: str | None = None
    if _is_marked(fields, _HISPANIC):
        race = "hispanic"
    elif len(marked) > 1 or _is_marked(fields, _TWO_OR_MORE_RACES):
        race = "two_or_more"
    elif marked:
        race = marked[0]
    return {
        "sex": _SEXES.get(fields.get("sex", "").strip().lower(), "another"),
        "race_ethnicity": race,
    }


def _is_marked(fields: Mapping[str, str], name: str) -> bool:
    return fields.get(name, "").strip().lower() == "true"
