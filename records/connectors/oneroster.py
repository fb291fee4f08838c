"""OneRoster 1.1 CSV (1.0 tolerated), with the district's extension files beside it.

OneRoster carries rosters and results; it has no attendance, incidents or program flags. Districts export those
beside it: `attendance.csv`, `incidents.csv`, `characteristics.csv`, `course_grades.csv`, `assessments.csv` and
`calendar.csv`, whose columns are the canonical ones with the student in `userSourcedId`.
Source: 1EdTech OneRoster 1.1 CSV Tables, https://www.imsglobal.org/oneroster-v11-final-csv-tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from records.connectors.csv_files import Line, RowReader, quarantine, read_csv
from records.connectors.protocol import Progress, Sink, SourceRefused
from records.connectors.service_history import read_table
from records.quarantine import BadRow, BadValue, Value, convert
from records.schema import table

EXTENSIONS = {
    "attendance.csv": "attendance_events",
    "course_grades.csv": "course_grades",
    "assessments.csv": "assessments",
    "incidents.csv": "behavior_incidents",
}
_STAYS_EMPTY = {
    "orgs.csv": "names of schools",
    "demographics.csv": "birth dates, sex, race and ethnicity",
    "enrollments.csv": "when a student was enrolled where",
    "classes.csv": "which school a class belongs to",
    "courses.csv": "titles of courses",
    "academicSessions.csv": "school years",
    "results.csv": "marks for single pieces of work",
    "lineItems.csv": "marks for single pieces of work",
    "attendance.csv": "attendance: no absence can be seen",
    "course_grades.csv": "course marks",
    "assessments.csv": "test results",
    "incidents.csv": "behavior incidents",
    "characteristics.csv": "language, disability, housing and meal facts (the fairness audit needs them)",
    "calendar.csv": "school days (worked out from terms instead)",
}
_READ = {"users.csv", "manifest.csv", *_STAYS_EMPTY}
_SEXES = {"female": "female", "f": "female", "male": "male", "m": "male"}
_RACES = {
    "americanIndianOrAlaskaNative": "american_indian",
    "asian": "asian",
    "blackOrAfricanAmerican": "black",
    "nativeHawaiianOrOtherPacificIslander": "pacific_islander",
    "white": "white",
}
_GRADES = {"IT": -1, "PR": -1, "PK": -1, "TK": 0, "KG": 0, "K": 0}
_FLAGS = ("english_learner", "special_education", "unstable_housing", "meal_eligible")


class OneRoster:
    """Connector for a folder of OneRoster CSV files."""

    name = "oneroster"
    tables: tuple[str, ...] = (
        "schools", "calendar", "students", "characteristics", "school_enrollments", "attendance_events",
        "course_grades", "gradebook_entries", "assessments", "behavior_incidents",
    )  # fmt: skip

    def read(self, directory: Path, sink: Sink, progress: Progress) -> None:
        """Read every file that is known; name those that are missing and those that are not read.

        Raises:
            SourceRefused: there is no `users.csv`, or a header lacks a column.
        """
        if not (directory / "users.csv").is_file():
            raise SourceRefused(f"{directory} has no users.csv: it is not a OneRoster CSV folder")
        for file, stays_empty in _STAYS_EMPTY.items():
            if not (directory / file).is_file():
                sink.missing(file, stays_empty)
        for path in sorted(directory.glob("*.csv")):
            if path.name not in _READ:
                sink.note(f"{path.name} is not a file that this connector reads; it was left alone")
        _Reading(directory, sink, progress).run()


@dataclass
class _Facts:
    """What two files say of one student, and where the first of them said it."""

    file: str
    line: int
    values: dict[str, Value] = field(default_factory=dict)


@dataclass
class _Stay:
    """One student at one school in one school year."""

    first: date
    last: date | None
    grade: int | None
    file: str
    line: int


class _Reading:
    def __init__(self, directory: Path, sink: Sink, progress: Progress) -> None:
        self.directory, self.sink, self.progress = directory, sink, progress
        self.facts: dict[str, _Facts] = {}
        self.birth_dates: dict[str, date] = {}
        self.students: list[tuple[dict[str, Value], int]] = []
        self.user_ids: set[str] = set()
        self.other_ids: set[str] = set()
        self.years: list[tuple[date, date, int]] = []
        self.schools: list[str] = []
        self.classes: dict[str, tuple[str, int | None, str]] = {}
        self.courses: dict[str, str] = {}
        self.line_items: dict[str, tuple[str, str, date | None, float]] = {}

    def run(self) -> None:
        self._orgs()
        self._academic_sessions()
        self._users()
        self._demographics()
        self._characteristics()
        for row, number in self.students:
            self.sink.keep("students", row | {"birth_date": self.birth_dates.get(str(row["student_id"]))},
                           "users.csv", number)  # fmt: skip
        for student, facts in self.facts.items():
            self.sink.derive("characteristics", {"student_id": student} | facts.values, facts.file, facts.line)
        self._calendar()
        self._courses()
        self._classes()
        self._enrollments()
        self._line_items()
        self._results()
        for file, name in EXTENSIONS.items():
            if (self.directory / file).is_file():
                read_table(self.directory / file, name, self.sink, self.progress, "userSourcedId")
        for line in self._lines("manifest.csv", ()):
            self.sink.ignore("manifest.csv", f"a property of the export ({line.fields.get('propertyName', '')})"[:60])

    def _lines(self, file: str, required: tuple[str, ...]) -> Iterable[Line]:
        path = self.directory / file
        return _Stream(path, required, self.sink, self.progress) if path.is_file() else []

    def _live(self, file: str, line: Line) -> bool:
        """False, and counted as ignored, for a record that the source marks as deleted."""
        deleted = line.fields.get("status", "").strip().lower() in ("tobedeleted", "inactive")
        if deleted:
            self.sink.ignore(file, "deleted at the source")
        return not deleted

    def _bad(self, file: str, line: Line, column: str | None, reason: str) -> None:
        self.sink.quarantine(BadRow(file, line.number, column, reason, line.raw))

    def _orgs(self) -> None:
        reader = RowReader(table("schools"), {"school_id": "sourcedId"})
        for line in self._lines("orgs.csv", ("sourcedId", "type")):
            if not self._live("orgs.csv", line):
                continue
            if line.fields["type"].strip().lower() != "school":
                self.sink.ignore("orgs.csv", f"not a school ({line.fields['type'].strip() or 'no type'})")
                continue
            try:
                row = reader.row(line)
            except BadValue as error:
                quarantine(self.sink, "orgs.csv", line, error)
                continue
            self.schools.append(str(row["school_id"]))
            self.sink.keep("schools", row, "orgs.csv", line.number)

    def _academic_sessions(self) -> None:
        column = table("school_enrollments").column("entry_date")
        for line in self._lines("academicSessions.csv", ("sourcedId", "type", "startDate", "endDate")):
            if not self._live("academicSessions.csv", line):
                continue
            try:
                start, end = convert(column, line.fields["startDate"]), convert(column, line.fields["endDate"])
            except BadValue as error:
                quarantine(self.sink, "academicSessions.csv", line, error)
                continue
            if line.fields["type"] == "schoolYear" and isinstance(start, date) and isinstance(end, date):
                self.years.append((start, end, end.year))
            self.sink.use("academicSessions.csv")
        self.years.sort()

    def _users(self) -> None:
        id_column = table("students").column("student_id")
        for line in self._lines("users.csv", ("sourcedId", "role", "givenName", "familyName")):
            if not self._live("users.csv", line):
                continue
            if line.fields["role"].strip().lower() != "student":
                self.other_ids.add(line.fields["sourcedId"].strip())
                self.sink.ignore("users.csv", f"not a student ({line.fields['role'].strip() or 'no role'})")
                continue
            try:
                student = convert(id_column, line.fields["sourcedId"])
                row: dict[str, Value] = {
                    "student_id": student,
                    "first_name": convert(table("students").column("first_name"), line.fields["givenName"]),
                    "last_name": convert(table("students").column("last_name"), line.fields["familyName"]),
                    "grade_level": _grade(line.fields.get("grades", ""), "grades"),
                    "school_id": line.fields.get("orgSourcedIds", "").split(",")[0].strip() or None,
                }
            except BadValue as error:
                quarantine(self.sink, "users.csv", line, error)
                continue
            self.user_ids.add(str(student))
            self.students.append((row, line.number))

    def _student(self, file: str, line: Line, column: str) -> str | None:
        """The student of a record; None, and accounted for, when it is somebody else or nobody."""
        student = line.fields.get(column, "").strip()
        if student in self.user_ids:
            return student
        if student in self.other_ids:
            self.sink.ignore(file, "not a student")
        else:
            self._bad(file, line, column, f"no student in users.csv has the identifier {student!r}")
        return None

    def _demographics(self) -> None:
        birth = table("students").column("birth_date")
        file = "demographics.csv"
        for line in self._lines(file, ()):
            key = "sourcedId" if "sourcedId" in line.fields else "userSourcedId"  # the second is OneRoster 1.0's
            if not self._live(file, line) or (student := self._student(file, line, key)) is None:
                continue
            try:
                born = convert(birth, line.fields.get("birthDate", line.fields.get("birthdate", "")))
            except BadValue as error:
                quarantine(self.sink, file, line, error)
                continue
            if isinstance(born, date):
                self.birth_dates[student] = born
            self._learn(student, file, line, _demographic(line.fields))

    def _learn(self, student: str, file: str, line: Line, values: Mapping[str, Value]) -> None:
        known = self.facts.setdefault(student, _Facts(file, line.number)).values
        for name, value in values.items():
            if value is not None and known.get(name) not in (None, value):
                self._bad(file, line, name, f"{name} differs from what an earlier line said of the same student")
                return
        known.update({name: value for name, value in values.items() if value is not None})
        self.sink.use(file)

    def _characteristics(self) -> None:
        file = "characteristics.csv"
        columns = [table("characteristics").column(name) for name in _FLAGS]
        for line in self._lines(file, ("userSourcedId",)):
            if (student := self._student(file, line, "userSourcedId")) is None:
                continue
            try:
                values = {column.name: convert(column, line.fields.get(column.name)) for column in columns}
            except BadValue as error:
                quarantine(self.sink, file, line, error)
                continue
            self._learn(student, file, line, values)

    def _calendar(self) -> None:
        if (self.directory / "calendar.csv").is_file():
            read_table(self.directory / "calendar.csv", "calendar", self.sink, self.progress)
            return
        if self.years and self.schools:
            self.sink.note("school days were worked out from the weekdays of each school year: holidays count as days")
        for start, end, name in self.years:
            days = [start + timedelta(n) for n in range((end - start).days + 1)]
            for school in self.schools:
                for day in days:
                    if day.weekday() < 5:
                        self.sink.derive("calendar", {"school_id": school, "date": day, "school_year": name},
                                         "academicSessions.csv", 0)  # fmt: skip

    def _courses(self) -> None:
        for line in self._lines("courses.csv", ("sourcedId", "title")):
            if self._live("courses.csv", line):
                self.courses[line.fields["sourcedId"].strip()] = line.fields["title"].strip()
                self.sink.use("courses.csv")

    def _classes(self) -> None:
        for line in self._lines("classes.csv", ("sourcedId", "schoolSourcedId")):
            if not self._live("classes.csv", line):
                continue
            try:
                grade = _grade(line.fields.get("grades", ""), "grades")
            except BadValue as error:
                quarantine(self.sink, "classes.csv", line, error)
                continue
            course = self.courses.get(line.fields.get("courseSourcedId", "").strip(), "")
            self.classes[line.fields["sourcedId"].strip()] = (
                line.fields["schoolSourcedId"].strip(), grade, course or line.fields.get("title", "").strip(),
            )  # fmt: skip
            self.sink.use("classes.csv")

    def _enrollments(self) -> None:
        file = "enrollments.csv"
        day = table("school_enrollments").column("exit_date")
        stays: dict[tuple[str, str, int], _Stay] = {}
        for line in self._lines(file, ("userSourcedId", "classSourcedId", "role")):
            if not self._live(file, line):
                continue
            if line.fields["role"].strip().lower() != "student":
                self.sink.ignore(file, "not a student")
                continue
            if (student := self._student(file, line, "userSourcedId")) is None:
                continue
            school, grade, _ = self.classes.get(line.fields["classSourcedId"].strip(), ("", None, ""))
            school = line.fields.get("schoolSourcedId", "").strip() or school
            if not school:
                self._bad(file, line, "classSourcedId", "no school: classes.csv does not have this class")
                continue
            try:
                first, last = (convert(day, line.fields.get(name, "")) for name in ("beginDate", "endDate"))
            except BadValue as error:
                quarantine(self.sink, file, line, error)
                continue
            self.sink.use(file)
            if not isinstance(first, date):
                continue
            last = last if isinstance(last, date) else None
            key = (student, school, self._year(first))
            known = stays.get(key)
            if known is None:
                stays[key] = _Stay(first, last, grade, file, line.number)
            else:
                known.first = min(known.first, first)
                known.last = None if known.last is None or last is None else max(known.last, last)
        for (student, school, year), stay in stays.items():
            row: dict[str, Value] = {
                "student_id": student, "school_id": school, "school_year": year, "grade_level": stay.grade,
                "entry_date": stay.first, "exit_date": stay.last,
            }  # fmt: skip
            self.sink.derive("school_enrollments", row, stay.file, stay.line)

    def _year(self, day: date) -> int:
        for start, end, name in self.years:
            if start <= day <= end:
                return name
        return day.year + (day.month >= 7)

    def _line_items(self) -> None:
        due = table("gradebook_entries").column("due_date")
        number = table("gradebook_entries").column("grade")
        for line in self._lines("lineItems.csv", ("sourcedId", "title", "classSourcedId")):
            if not self._live("lineItems.csv", line):
                continue
            try:
                day = convert(due, line.fields.get("dueDate"))
                most = convert(number, line.fields.get("resultValueMax"))
            except BadValue as error:
                quarantine(self.sink, "lineItems.csv", line, error)
                continue
            course = self.classes.get(line.fields["classSourcedId"].strip(), ("", None, ""))[2]
            best = float(most) if isinstance(most, float) and most > 0 else 100.0
            self.line_items[line.fields["sourcedId"].strip()] = (
                line.fields["title"].strip(), course, day if isinstance(day, date) else None, best,
            )  # fmt: skip
            self.sink.use("lineItems.csv")

    def _results(self) -> None:
        file = "results.csv"
        score_column = table("gradebook_entries").column("grade")
        for line in self._lines(file, ("sourcedId", "lineItemSourcedId", "studentSourcedId", "score")):
            if not self._live(file, line) or (student := self._student(file, line, "studentSourcedId")) is None:
                continue
            item = self.line_items.get(line.fields["lineItemSourcedId"].strip())
            if item is None:
                self._bad(file, line, "lineItemSourcedId", "lineItems.csv does not have this piece of work")
                continue
            try:
                score = convert(score_column, line.fields["score"])
            except BadValue as error:
                quarantine(self.sink, file, line, error)
                continue
            title, course, due, best = item
            grade = 100.0 * score / best if isinstance(score, float) else None
            row: dict[str, Value] = {
                "student_id": student, "entry_id": line.fields["sourcedId"].strip(), "course": course or None,
                "title": title or None, "due_date": due, "grade": grade,
            }  # fmt: skip
            self.sink.keep("gradebook_entries", row, file, line.number)


@dataclass(frozen=True)
class _Stream:
    path: Path
    required: tuple[str, ...]
    sink: Sink
    progress: Progress

    def __iter__(self) -> Iterator[Line]:
        return read_csv(self.path, self.required, self.sink, self.progress)


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
    sex = fields.get("sex", "").strip().lower()
    marked = [race for name, race in _RACES.items() if fields.get(name, "").strip().lower() == "true"]
    race: str | None = None
    if fields.get("hispanicOrLatinoEthnicity", "").strip().lower() == "true":
        race = "hispanic"
    elif len(marked) > 1 or fields.get("demographicRaceTwoOrMoreRaces", "").strip().lower() == "true":
        race = "two_or_more"
    elif marked:
        race = marked[0]
    return {"sex": _SEXES.get(sex, "another") if sex else None, "race_ethnicity": race}
