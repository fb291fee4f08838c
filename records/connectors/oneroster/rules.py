"""What a OneRoster record means in the canonical tables, whichever way it came.

One set of rules reads the CSV files of versions 1.0 to 1.2, what is kept of them for later changes,
and the answers of the API: each gives its records as lines of the CSV tables. OneRoster carries
rosters and results; it has no attendance, incidents or program flags. Districts export those beside
it as extension files, whose columns are the canonical ones with the student in `userSourcedId`.
Source: 1EdTech OneRoster 1.1 and 1.2 CSV Tables,
https://www.imsglobal.org/oneroster-v11-final-csv-tables and
https://www.imsglobal.org/spec/oneroster/v1p2/bind/csv.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Protocol

from records.canonical.quarantine import BadRow, BadValue, Value, convert
from records.canonical.schema import canonical_table
from records.connectors.csv_files import CsvRecord, RowReader, quarantine_record
from records.connectors.protocol import RowSink


@dataclass(frozen=True)
class SourceFile:
    """One table of OneRoster, or one of the extension files: the columns that are read of it.

    `required` are those without which the file is of no use, `used` the others. `stays_empty` says
    what is not there without the file; None where nothing is amiss.
    """

    required: tuple[str, ...]
    used: tuple[str, ...]
    stays_empty: str | None
    is_extension: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        return self.required + self.used


EXTENSION_TABLES = {
    "attendance.csv": "attendance_events",
    "course_grades.csv": "course_grades",
    "assessments.csv": "assessments",
    "incidents.csv": "behavior_incidents",
}
"""Extension file -> its table."""

_FLAGS = ("english_learner", "special_education", "unstable_housing", "meal_eligible")
_RACE_NAMES = {
    "americanIndianOrAlaskaNative": "american_indian",
    "asian": "asian",
    "blackOrAfricanAmerican": "black",
    "nativeHawaiianOrOtherPacificIslander": "pacific_islander",
    "white": "white",
}
_HISPANIC, _MANY_RACES = "hispanicOrLatinoEthnicity", "demographicRaceTwoOrMoreRaces"
RACE_COLUMNS = (*_RACE_NAMES, _HISPANIC, _MANY_RACES)
"""The columns of demographics that say a race or ethnicity."""


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
        _FLAGS,
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
"""Every file that is read -> what is read of it. A column that is not here is not kept for later
loads either."""

_SEXES = {
    "female": "female",
    "f": "female",
    "male": "male",
    "m": "male",
    "unspecified": None,
    "": None,
}
_GRADES = {"IT": -1, "PR": -1, "PK": -1, "TK": 0, "KG": 0, "K": 0}
_DELETED = ("tobedeleted", "inactive")
_OPEN_END = "9999-12-31"


def required_columns(file: str, *, has_roles: bool) -> tuple[str, ...]:
    """The columns that a file must have. Until version 1.2 brought `roles.csv`, users had their
    role themselves.
    """
    before_roles = file == "users.csv" and not has_roles
    return FILES[file].required + (("role",) if before_roles else ())


def is_deleted(fields: Mapping[str, str]) -> bool:
    """Whether the source marks a record as deleted."""
    return fields.get("status", "").strip().lower() in _DELETED


@dataclass(frozen=True)
class OneRosterRole:
    """What a user is at one organisation. Dates as the source has them; empty where it has none."""

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
            fields.get("beginDate", "").strip()[:10],
            fields.get("endDate", "").strip()[:10],
        )


def current_role_and_school(roles: Iterable[OneRosterRole], primary_org: str) -> tuple[str, str]:
    """Whether somebody is a student, and at which school now, from everything they are (OneRoster
    1.2).

    A student may have a role at several schools, each of them primary there. The one that the
    user's own record calls primary comes first, then the one that lasts longest, then a primary
    role, then the one that began last.
    """
    found = sorted(
        roles,
        key=lambda one: (
            one.org == primary_org,
            one.ends or _OPEN_END,
            one.is_primary,
            one.begins,
            one.org,
            one.role,
        ),
    )
    as_student = [one for one in found if one.role == "student"]
    if as_student:
        return "student", as_student[-1].org
    return (found[-1].role if found else ""), ""


class OneRosterSource(Protocol):
    """Where lines come from. `only_students`: it gives no other users, so that a stranger may be
    one of those.
    """

    only_students: bool

    def has(self, file: str) -> bool: ...

    def called(self, file: str) -> str:
        """The name under which the people of the district know this file."""

    def lines(self, file: str, required: tuple[str, ...]) -> Iterable[CsvRecord]:
        """Its records, none where there is no such file."""


@dataclass
class _Facts:
    """What two files say of one student, and where the first of them said it."""

    file: str
    line: int
    values: dict[str, Value] = field(default_factory=dict)


@dataclass
class _Stay:
    """One student at one school in one school year. The grade is that of the class that began
    first.
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
    """One pass over a source into a sink."""

    def __init__(self, source: OneRosterSource, sink: RowSink) -> None:
        self.source, self.sink = source, sink
        self.has_roles = source.has("roles.csv")
        self.facts: dict[str, _Facts] = {}
        self.birth_dates: dict[str, date] = {}
        self.students: list[tuple[dict[str, Value], str, int]] = []
        self.user_ids: set[str] = set()
        self.other_ids: set[str] = set()
        self.roles: dict[str, list[OneRosterRole]] = {}
        self.years: list[tuple[date, date, int]] = []
        self.schools: list[str] = []
        self.classes: dict[str, tuple[str, int | None, str]] = {}
        self.courses: dict[str, str] = {}
        self.line_items: dict[str, tuple[str, str, date | None, float]] = {}

    def run(self) -> None:
        """Read everything that the source has; name the files that it lacks."""
        for file, expected in FILES.items():
            if expected.stays_empty is not None and not self.source.has(file):
                self.sink.missing(self.source.called(file), expected.stays_empty)
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
        for student, facts in self.facts.items():
            self.sink.derive(
                "characteristics", {"student_id": student} | facts.values, facts.file, facts.line
            )
        self._calendar()
        self._courses()
        self._classes()
        self._enrollments()
        self._line_items()
        self._results()
        for file, name in EXTENSION_TABLES.items():
            self._table(file, name, "userSourcedId")

    def _lines(self, file: str) -> Iterable[CsvRecord]:
        return self.source.lines(file, required_columns(file, has_roles=self.has_roles))

    def _live(self, line: CsvRecord) -> bool:
        """False, and counted as ignored, for a record that the source marks as deleted."""
        deleted = is_deleted(line.fields)
        if deleted:
            self.sink.ignore(line.file, "deleted at the source")
        return not deleted

    def _bad(self, line: CsvRecord, column: str | None, reason: str) -> None:
        self.sink.quarantine(BadRow(line.file, line.number, column, reason, line.raw, line.columns))

    def _refuse(self, line: CsvRecord, error: BadValue) -> None:
        quarantine_record(self.sink, line.file, line, error)

    def _table(self, file: str, name: str, student_column: str = "student_id") -> None:
        """Read a file whose columns are those of a canonical table, into that table."""
        reader = RowReader(canonical_table(name), {"student_id": student_column})
        for line in self._lines(file):
            try:
                row = reader.row(line)
            except BadValue as error:
                self._refuse(line, error)
            else:
                self.sink.keep(name, row, line.file, line.number)

    def _orgs(self) -> None:
        reader = RowReader(canonical_table("schools"), {"school_id": "sourcedId"})
        for line in self._lines("orgs.csv"):
            if not self._live(line):
                continue
            if line.fields["type"].strip().lower() != "school":
                self.sink.ignore(
                    line.file, f"not a school ({line.fields['type'].strip() or 'no type'})"
                )
                continue
            try:
                row = reader.row(line)
            except BadValue as error:
                self._refuse(line, error)
                continue
            self.schools.append(str(row["school_id"]))
            self.sink.keep("schools", row, line.file, line.number)

    def _academic_sessions(self) -> None:
        column = canonical_table("school_enrollments").column("entry_date")
        for line in self._lines("academicSessions.csv"):
            if not self._live(line):
                continue
            try:
                start, end = (
                    convert(column, line.fields["startDate"]),
                    convert(column, line.fields["endDate"]),
                )
            except BadValue as error:
                self._refuse(line, error)
                continue
            if (
                line.fields["type"] == "schoolYear"
                and isinstance(start, date)
                and isinstance(end, date)
            ):
                self.years.append((start, end, end.year))
            self.sink.use(line.file)
        self.years.sort()

    def _roles(self) -> None:
        for line in self._lines("roles.csv"):
            if self._live(line):
                self.roles.setdefault(line.fields["userSourcedId"].strip(), []).append(
                    OneRosterRole.of(line.fields)
                )
                self.sink.use(line.file)

    def _users(self) -> None:
        id_column = canonical_table("students").column("student_id")
        for line in self._lines("users.csv"):
            if not self._live(line):
                continue
            role, school = self._role_and_school(line.fields)
            if role != "student":
                self.other_ids.add(line.fields["sourcedId"].strip())
                self.sink.ignore(line.file, f"not a student ({role or 'no role'})")
                continue
            try:
                student = convert(id_column, line.fields["sourcedId"])
                row: dict[str, Value] = {
                    "student_id": student,
                    "first_name": convert(
                        canonical_table("students").column("first_name"), line.fields["givenName"]
                    ),
                    "last_name": convert(
                        canonical_table("students").column("last_name"), line.fields["familyName"]
                    ),
                    "grade_level": _grade(line.fields.get("grades", ""), "grades"),
                    "school_id": school or None,
                }
            except BadValue as error:
                self._refuse(line, error)
                continue
            self.user_ids.add(str(student))
            self.students.append((row, line.file, line.number))

    def _role_and_school(self, fields: Mapping[str, str]) -> tuple[str, str]:
        if self.has_roles:
            roles = self.roles.get(fields["sourcedId"].strip(), ())
            return current_role_and_school(roles, fields.get("primaryOrgSourcedId", "").strip())
        return fields["role"].strip().lower(), fields.get("orgSourcedIds", "").split(",")[0].strip()

    def _student(self, line: CsvRecord, column: str) -> str | None:
        """The student of a record; None, and accounted for, when it is somebody else or nobody."""
        student = line.fields.get(column, "").strip()
        if student in self.user_ids:
            return student
        if student in self.other_ids:
            self.sink.ignore(line.file, "not a student")
        else:
            users = self.source.called("users.csv")
            self._bad(line, column, f"no student in {users} has the identifier {student!r}")
        return None

    def _demographics(self) -> None:
        birth = canonical_table("students").column("birth_date")
        for line in self._lines("demographics.csv"):
            key = (
                "sourcedId" if line.fields.get("sourcedId") else "userSourcedId"
            )  # the second is OneRoster 1.0's
            if not self._live(line):
                continue
            if self.source.only_students and line.fields.get(key, "").strip() not in self.user_ids:
                self.sink.ignore(line.file, "of somebody who is not one of the students")
                continue
            if (student := self._student(line, key)) is None:
                continue
            try:
                born = convert(birth, line.fields.get("birthDate") or line.fields.get("birthdate"))
            except BadValue as error:
                self._refuse(line, error)
                continue
            if isinstance(born, date):
                self.birth_dates[student] = born
            self._learn(student, line, _demographic(line.fields))

    def _learn(self, student: str, line: CsvRecord, values: Mapping[str, Value]) -> None:
        known = self.facts.setdefault(student, _Facts(line.file, line.number)).values
        for name, value in values.items():
            if value is not None and known.get(name) not in (None, value):
                self._bad(
                    line, name, f"{name} differs from what an earlier line said of the same student"
                )
                return
        known.update({name: value for name, value in values.items() if value is not None})
        self.sink.use(line.file)

    def _characteristics(self) -> None:
        columns = [canonical_table("characteristics").column(name) for name in _FLAGS]
        for line in self._lines("characteristics.csv"):
            if (student := self._student(line, "userSourcedId")) is None:
                continue
            try:
                values = {
                    column.name: convert(column, line.fields.get(column.name)) for column in columns
                }
            except BadValue as error:
                self._refuse(line, error)
                continue
            self._learn(student, line, values)

    def _calendar(self) -> None:
        if self.source.has("calendar.csv"):
            self._table("calendar.csv", "calendar")
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
                            self.source.called("academicSessions.csv"),
                            0,
                        )

    def _courses(self) -> None:
        for line in self._lines("courses.csv"):
            if self._live(line):
                self.courses[line.fields["sourcedId"].strip()] = line.fields["title"].strip()
                self.sink.use(line.file)

    def _classes(self) -> None:
        for line in self._lines("classes.csv"):
            if not self._live(line):
                continue
            try:
                grade = _grade(line.fields.get("grades", ""), "grades")
            except BadValue as error:
                self._refuse(line, error)
                continue
            course = self.courses.get(line.fields.get("courseSourcedId", "").strip(), "")
            self.classes[line.fields["sourcedId"].strip()] = (
                line.fields["schoolSourcedId"].strip(),
                grade,
                course or line.fields.get("title", "").strip(),
            )
            self.sink.use(line.file)

    def _enrollments(self) -> None:
        day = canonical_table("school_enrollments").column("exit_date")
        stays: dict[tuple[str, str, int], _Stay] = {}
        for line in self._lines("enrollments.csv"):
            if not self._live(line):
                continue
            if line.fields["role"].strip().lower() != "student":
                self.sink.ignore(line.file, "not a student")
                continue
            if (student := self._student(line, "userSourcedId")) is None:
                continue
            school, grade, _ = self.classes.get(
                line.fields["classSourcedId"].strip(), ("", None, "")
            )
            school = line.fields.get("schoolSourcedId", "").strip() or school
            if not school:
                self._bad(
                    line,
                    "classSourcedId",
                    f"no school: {self.source.called('classes.csv')} does not have this class",
                )
                continue
            try:
                first, last = (
                    convert(day, line.fields.get(name, "")) for name in ("beginDate", "endDate")
                )
            except BadValue as error:
                self._refuse(line, error)
                continue
            self.sink.use(line.file)
            if not isinstance(first, date):
                continue
            last = last if isinstance(last, date) else None
            key = (student, school, self._year(first))
            known = stays.get(key)
            if known is None:
                stays[key] = _Stay(first, last, grade, line.file, line.number)
            else:
                known.add(first, last, grade)
        for (student, school, year), stay in stays.items():
            row: dict[str, Value] = {
                "student_id": student,
                "school_id": school,
                "school_year": year,
                "grade_level": stay.grade,
                "entry_date": stay.first,
                "exit_date": stay.last,
            }
            self.sink.derive("school_enrollments", row, stay.file, stay.line)

    def _year(self, day: date) -> int:
        for start, end, name in self.years:
            if start <= day <= end:
                return name
        return day.year + (day.month >= 7)

    def _line_items(self) -> None:
        due = canonical_table("gradebook_entries").column("due_date")
        number = canonical_table("gradebook_entries").column("grade")
        for line in self._lines("lineItems.csv"):
            if not self._live(line):
                continue
            try:
                day = convert(due, line.fields.get("dueDate"))
                most = convert(number, line.fields.get("resultValueMax"))
            except BadValue as error:
                self._refuse(line, error)
                continue
            course = self.classes.get(line.fields["classSourcedId"].strip(), ("", None, ""))[2]
            best = float(most) if isinstance(most, float) and most > 0 else 100.0
            self.line_items[line.fields["sourcedId"].strip()] = (
                line.fields["title"].strip(),
                course,
                day if isinstance(day, date) else None,
                best,
            )
            self.sink.use(line.file)

    def _results(self) -> None:
        score_column = canonical_table("gradebook_entries").column("grade")
        for line in self._lines("results.csv"):
            if not self._live(line) or (student := self._student(line, "studentSourcedId")) is None:
                continue
            item = self.line_items.get(line.fields["lineItemSourcedId"].strip())
            if item is None:
                self._bad(
                    line,
                    "lineItemSourcedId",
                    f"{self.source.called('lineItems.csv')} does not have this piece of work",
                )
                continue
            try:
                score = convert(score_column, line.fields["score"])
            except BadValue as error:
                self._refuse(line, error)
                continue
            title, course, due, best = item
            grade = 100.0 * score / best if isinstance(score, float) else None
            row: dict[str, Value] = {
                "student_id": student,
                "entry_id": line.fields["sourcedId"].strip(),
                "course": course or None,
                "title": title or None,
                "due_date": due,
                "grade": grade,
            }
            self.sink.keep("gradebook_entries", row, line.file, line.number)


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
    elif len(marked) > 1 or _is_marked(fields, _MANY_RACES):
        race = "two_or_more"
    elif marked:
        race = marked[0]
    return {
        "sex": _SEXES.get(fields.get("sex", "").strip().lower(), "another"),
        "race_ethnicity": race,
    }


def _is_marked(fields: Mapping[str, str], name: str) -> bool:
    return fields.get(name, "").strip().lower() == "true"
