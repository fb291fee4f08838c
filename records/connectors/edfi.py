"""Ed-Fi XML interchange files (Data Standard 5.2, and older namespaces) to canonical tables.

Files are streamed, one record in memory at a time; a document type or an entity is refused by name.
Only the elements named here are read: names of reporters, narratives, addresses, health and migrant
records are never looked at, and the load report names those that were met.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from lxml import etree

from records.connectors.protocol import Progress, Sink, SourceRefused
from records.never_ingest import refused_kind
from records.quarantine import BadRow, BadValue, Value, convert_row
from records.schema import TABLES

EXPECTED_FILES = {
    "EducationOrganization": "schools",
    "EducationOrgCalendar": "calendar (so no rate of absence)",
    "MasterSchedule": "course titles (courses keep their codes)",
    "Student": "students",
    "StudentEnrollment": "school_enrollments and grade levels (a student's school is taken from attendance)",
    "StudentSchoolAttendance": "attendance_events",
    "StudentDiscipline": "behavior_incidents",
    "StudentGrade": "course_grades (so no course average and no course-failing alert)",
    "StudentGradebook": "gradebook_entries",
    "StudentTranscript": "past courses and credits",
    "StudentAssessment": "assessments",
    "StudentProgram": "characteristics from programs (the fairness audit has no such groups)",
    "StudentIntervention": "service_enrollments of school-run supports",
}
"""The start of each interchange file's name -> what stays empty without it."""

NEVER_STORED = {
    "StudentMigrantEducationProgramAssociation": "migrant status: never stored",
    "StudentNeglectedOrDelinquentProgramAssociation": "neglected or delinquent program: never stored",
    "StudentHealth": "health: never stored",
}

_GRADE_LEVELS = {
    name: level
    for level, name in enumerate(
        ("Kindergarten", "First grade", "Second grade", "Third grade", "Fourth grade", "Fifth grade", "Sixth grade",
         "Seventh grade", "Eighth grade", "Ninth grade", "Tenth grade", "Eleventh grade", "Twelfth grade")
    )
} | {"Preschool/Prekindergarten": -1, "Early Education": -1, "Infant/toddler": -1}  # fmt: skip
_ATTENDANCE = {
    "Excused Absence": "absent_excused", "Unexcused Absence": "absent_unexcused", "Tardy": "tardy",
    "Partial": "partial", "In Attendance": "present", "Early departure": "partial",
}  # fmt: skip
_RACES = {
    "American Indian - Alaska Native": "american_indian", "American Indian - Alaskan Native": "american_indian",
    "Asian": "asian", "Black - African American": "black", "White": "white",
    "Native Hawaiian - Pacific Islander": "pacific_islander",
}  # fmt: skip
_PROGRAM_FACTS = {
    "StudentSpecialEducationProgramAssociation": "special_education",
    "StudentSection504ProgramAssociation": "special_education",
    "StudentLanguageInstructionProgramAssociation": "english_learner",
    "StudentHomelessProgramAssociation": "unstable_housing",
    "StudentSchoolFoodServiceProgramAssociation": "meal_eligible",
}
_STUDENT = ("StudentReference", "StudentIdentity", "StudentUniqueId")
_SCHOOL = ("SchoolReference", "SchoolIdentity", "SchoolId")


@dataclass
class EdFi:
    """The connector for a folder of Ed-Fi XML interchange files."""

    name: str = "edfi"
    tables: tuple[str, ...] = tuple(TABLES)

    def read(self, directory: Path, sink: Sink, progress: Progress) -> None:
        """Read every `*.xml` file of `directory`. See `Connector.read`."""
        files = sorted(directory.glob("*.xml"), key=_reading_order)
        if not files:
            raise SourceRefused(f"{directory} holds no .xml file; Ed-Fi interchange files were expected")
        for start, stays_empty in EXPECTED_FILES.items():
            if not any(file.name.startswith(start) and _starts_exactly(file.name, start) for file in files):
                sink.missing(f"{start}.xml", stays_empty)
        reading = _Reading(sink)
        for file in files:
            size = file.stat().st_size
            for element in stream(file):
                reading.take(file.name, element)
                if element.sourceline and element.sourceline % 2000 < 3:
                    progress(file.name, min(size, element.sourceline * 40), size)
            progress(file.name, size, size)
        reading.finish()


def stream(file: Path) -> Iterator[Any]:
    """The records of an interchange file (children of the root), one at a time, in constant memory.

    Raises:
        SourceRefused: the file has a document type or entity, or is not well formed, with line and column.
    """
    context = etree.iterparse(
        str(file), events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    depth = 0
    try:
        for event, element in context:
            if depth == 0:
                _refuse_document_type(file, element)
            depth += 1 if event == "start" else -1
            if event == "end" and depth == 1 and isinstance(element.tag, str):
                yield element
                element.clear()
                while element.getprevious() is not None:
                    del element.getparent()[0]
    except etree.XMLSyntaxError as error:
        line, column = error.position
        raise SourceRefused(f"{file.name}, line {line}, column {column}: not well-formed XML: {error.msg}") from None


def _refuse_document_type(file: Path, root: Any) -> None:
    document_type = root.getroottree().docinfo.internalDTD
    if document_type is not None:
        names = ", ".join(entity.name for entity in document_type.iterentities()) or "none"
        raise SourceRefused(
            f"{file.name}: the file declares a document type {document_type.name!r} (entities: {names}); "
            "Ed-Fi files have none, and one could hide or fetch other content"
        )


def _starts_exactly(name: str, start: str) -> bool:
    """True unless the name goes on in lower case: StudentGradebook is not StudentGrade; Student-X is Student."""
    rest = name[len(start) :]
    return not rest[:1].isalpha() or start == "StudentAssessment"


def _reading_order(file: Path) -> tuple[int, str]:
    """Context first (schools, calendar, courses), then students, then what refers to them."""
    first = ("EducationOrganization", "EducationOrgCalendar", "MasterSchedule", "Student.", "Student-")
    for position, start in enumerate(first):
        if file.name.startswith(start):
            return position, file.name
    return len(first), file.name


def _local(element: Any) -> str:
    return str(etree.QName(element).localname) if isinstance(element.tag, str) else ""


def _at(element: Any, *path: str) -> Any | None:
    for step in path:
        element = next((child for child in element if _local(child) == step), None)
        if element is None:
            return None
    return element


def _text(element: Any, *path: str) -> str | None:
    found = _at(element, *path)
    return None if found is None or found.text is None else str(found.text).strip()


def _code(element: Any, *path: str) -> str | None:
    """The code of a descriptor: after `#` in Ed-Fi 3 and later, a CodeValue or plain text before."""
    found = _at(element, *path)
    if found is None:
        return None
    text = _text(found, "CodeValue") or (found.text or "").strip()
    return text.rsplit("#", 1)[-1] or None


def _school_year(text: str | None) -> int:
    try:
        return int((text or "")[-4:])
    except ValueError:
        raise BadValue("SchoolYear", f"SchoolYear is {text!r}; it must look like 2021-2022") from None


@dataclass
class _Waiting:
    """A record that is written at the end, when what other files say of it is known."""

    file: str
    line: int
    values: dict[str, str | None]


@dataclass
class _Reading:
    """One pass over the files of a folder, with the little that must be remembered between records."""

    sink: Sink
    students: dict[str, _Waiting] = field(default_factory=dict)
    schools_met: dict[str, Counter[str]] = field(default_factory=dict)
    facts: dict[str, dict[str, str | None]] = field(default_factory=dict)
    fact_lines: dict[str, tuple[str, int]] = field(default_factory=dict)
    program_file_read: bool = False
    enrolled: bool = False
    course_titles: dict[str, str] = field(default_factory=dict)
    gradebook: dict[str, dict[str, str | None]] = field(default_factory=dict)
    periods: dict[tuple[str, str, int], tuple[int, str]] = field(default_factory=dict)
    sessions: list[tuple[str, date, date, int, str, int]] = field(default_factory=list)
    school_days: set[str] = field(default_factory=set)
    incident_dates: dict[str, str] = field(default_factory=dict)
    incidents: dict[tuple[str, str], _Waiting] = field(default_factory=dict)
    providers: dict[str, str] = field(default_factory=dict)
    interventions: dict[str, dict[str, str | None]] = field(default_factory=dict)

    def take(self, file: str, element: Any) -> None:
        """Send one record where it belongs; a bad value quarantines this record alone."""
        kind, line = _local(element), int(element.sourceline or 0)
        self._report_refused(file, element)
        never = NEVER_STORED.get(kind)
        if never:
            self.sink.ignore(file, never)
            return
        handler = _HANDLERS.get(kind)
        if handler is None:
            self.sink.ignore(file, f"{kind}: not used")
            return
        try:
            handler(self, element, file, line)
        except BadValue as bad:
            raw = "" if kind.startswith("Discipline") else " ".join("".join(element.itertext()).split())[:2000]
            shown = f"{kind}: {_without_refused(element, raw)}"
            self.sink.quarantine(BadRow(file, line, bad.column, bad.reason, shown))

    def _report_refused(self, file: str, element: Any) -> None:
        for child in element.iterdescendants():
            name = _local(child)
            kind = refused_kind(name) if name else None
            if kind is not None:
                self.sink.drop_column(file, name, kind)

    def keep(self, table: str, texts: dict[str, str | None], file: str, line: int) -> None:
        self.sink.keep(table, convert_row(TABLES[table], texts), file, line)

    def school(self, element: Any, file: str, line: int) -> None:
        school_id = _text(element, "SchoolId")
        self.keep("schools", {"school_id": school_id, "name": _text(element, "NameOfInstitution")}, file, line)

    def provider(self, element: Any, file: str, line: int) -> None:
        self.providers[_text(element, "CommunityProviderId") or ""] = _text(element, "NameOfInstitution") or ""
        self.sink.use(file)

    def session(self, element: Any, file: str, line: int) -> None:
        texts = {"school_id": _text(element, *_SCHOOL), "date": _text(element, "BeginDate"),
                 "school_year": str(_school_year(_text(element, "SchoolYear")))}  # fmt: skip
        begin = convert_row(TABLES["calendar"], texts)
        end = convert_row(TABLES["calendar"], texts | {"date": _text(element, "EndDate")})
        self.sessions.append((str(begin["school_id"]), begin["date"], end["date"],  # type: ignore[arg-type]
                              int(begin["school_year"]), file, line))  # type: ignore[arg-type] # fmt: skip
        self.sink.use(file)

    def grading_period(self, element: Any, file: str, line: int) -> None:
        school, year = _text(element, *_SCHOOL) or "", _school_year(_text(element, "SchoolYear"))
        sequence = int(_text(element, "PeriodSequence") or 0)
        for name in (_text(element, "GradingPeriodName"), _code(element, "GradingPeriod")):
            if name:
                self.periods[(school, name, year)] = (sequence, _text(element, "EndDate") or "")
        self.sink.use(file)

    def calendar_date(self, element: Any, file: str, line: int) -> None:
        if (_code(element, "CalendarEvent") or "").lower() != "instructional day":
            self.sink.ignore(file, "CalendarDate without classes")
            return
        identity = ("CalendarReference", "CalendarIdentity")
        school = _text(element, *identity, *_SCHOOL)
        self.school_days.add(f"{school} {_text(element, 'Date')}")
        self.keep("calendar", {"school_id": school, "date": _text(element, "Date"),
                               "school_year": str(_school_year(_text(element, *identity, "SchoolYear")))},
                  file, line)  # fmt: skip

    def course_offering(self, element: Any, file: str, line: int) -> None:
        code = _text(element, "LocalCourseCode")
        if code:
            self.course_titles[code] = _text(element, "LocalCourseTitle") or self.course_titles.get(code, code)
        self.sink.use(file)

    def course(self, element: Any, file: str, line: int) -> None:
        self.course_titles[_text(element, "CourseCode") or ""] = _text(element, "CourseTitle") or ""
        self.sink.use(file)

    def student(self, element: Any, file: str, line: int) -> None:
        student_id = _text(element, "StudentUniqueId")
        texts = {"student_id": student_id, "first_name": _text(element, "Name", "FirstName"),
                 "last_name": _text(element, "Name", "LastSurname"),
                 "birth_date": _text(element, "BirthData", "BirthDate")}  # fmt: skip
        convert_row(TABLES["students"], texts)
        if student_id in self.students:
            self.keep("students", texts, file, line)
            return
        self.students[str(student_id)] = _Waiting(file, line, texts)
        self._demographics(str(student_id), element, file, line)

    def student_organization(self, element: Any, file: str, line: int) -> None:
        self._demographics(_text(element, *_STUDENT) or "", element, file, line)
        self.sink.use(file)

    def _demographics(self, student_id: str, element: Any, file: str, line: int) -> None:
        sex = (_code(element, "Sex") or "").lower()
        found = [_RACES.get(code or "") for child in element if _local(child) == "Race"
                 for code in [_code(child, "Race") or _code(child)]]  # fmt: skip
        races = sorted({race for race in found if race})
        race = "hispanic" if _text(element, "HispanicLatinoEthnicity") in ("true", "1") else (
            "two_or_more" if len(races) > 1 else (races[0] if races else None))  # fmt: skip
        if sex or race:
            known = self.facts.setdefault(student_id, {})
            known["sex"] = (sex if sex in ("female", "male") else "another") if sex else known.get("sex")
            known["race_ethnicity"] = race or known.get("race_ethnicity")
            self.fact_lines.setdefault(student_id, (file, line))

    def enrollment(self, element: Any, file: str, line: int) -> None:
        student_id, school = _text(element, *_STUDENT), _text(element, *_SCHOOL)
        entry = _text(element, "EntryDate")
        grade = _GRADE_LEVELS.get(_code(element, "EntryGradeLevel") or "")
        year = _text(element, "SchoolYear") or _text(element, "SchoolYearTypeReference", "SchoolYear")
        texts = {"student_id": student_id, "school_id": school, "entry_date": entry,
                 "exit_date": _text(element, "ExitWithdrawDate"),
                 "grade_level": None if grade is None else str(grade),
                 "school_year": str(_school_year(year)) if year else _year_of(entry)}  # fmt: skip
        self.keep("school_enrollments", texts, file, line)
        self.enrolled = True
        waiting = self.students.get(student_id or "")
        if waiting is not None and (waiting.values.get("_entered") or "") <= (entry or ""):
            waiting.values |= {"school_id": school, "grade_level": texts["grade_level"], "_entered": entry}

    def attendance(self, element: Any, file: str, line: int) -> None:
        event = _at(element, "AttendanceEvent")
        if event is None:
            event = element
        recorded = _code(event, "AttendanceEventCategory")
        status = _ATTENDANCE.get(recorded or "")
        if status is None:
            raise BadValue("AttendanceEventCategory", f"AttendanceEventCategory is {recorded!r}; "
                           f"it must be one of {', '.join(_ATTENDANCE)}")  # fmt: skip
        in_section = _local(element) == "StudentSectionAttendanceEvent"
        if in_section and status not in ("tardy", "partial"):
            self.sink.ignore(file, "absence from one class (the school day's own record is used)")
            return
        section = ("SectionReference", "SectionIdentity", "CourseOfferingReference", "CourseOfferingIdentity")
        school = _text(element, *(section if in_section else ()), *_SCHOOL)
        student_id = _text(element, *_STUDENT)
        self.keep("attendance_events", {"student_id": student_id, "school_id": school, "status": status,
                                        "date": _text(event, "EventDate")}, file, line)  # fmt: skip
        self.schools_met.setdefault(student_id or "", Counter())[school or ""] += 1

    def gradebook_entry(self, element: Any, file: str, line: int) -> None:
        offering = ("SectionReference", "SectionIdentity", "CourseOfferingReference", "CourseOfferingIdentity")
        code = _text(element, *offering, "LocalCourseCode")
        self.gradebook[_text(element, "GradebookEntryIdentifier") or ""] = {
            "course": self.course_titles.get(code or "", code), "title": _text(element, "Title"),
            "due_date": _text(element, "DueDate") or _text(element, "DateAssigned")}  # fmt: skip
        self.sink.use(file)

    def student_gradebook_entry(self, element: Any, file: str, line: int) -> None:
        entry = _text(element, "GradebookEntryReference", "GradebookEntryIdentity", "GradebookEntryIdentifier")
        texts = {"student_id": _text(element, *_STUDENT), "entry_id": entry,
                 "grade": _text(element, "NumericGradeEarned")}  # fmt: skip
        self.keep("gradebook_entries", texts | self.gradebook.get(entry or "", {}), file, line)

    def grade(self, element: Any, file: str, line: int) -> None:
        section = ("StudentSectionAssociationReference", "StudentSectionAssociationIdentity")
        offering = (*section, "SectionReference", "SectionIdentity", "CourseOfferingReference",
                    "CourseOfferingIdentity")  # fmt: skip
        period = ("GradingPeriodReference", "GradingPeriodIdentity")
        year = _school_year(_text(element, *period, "SchoolYear"))
        school = _text(element, *period, *_SCHOOL) or ""
        name = _text(element, *period, "GradingPeriodName") or _code(element, *period, "GradingPeriod") or ""
        if (school, name, year) not in self.periods:
            raise BadValue("GradingPeriod", f"{name!r} of school {school} is not in EducationOrgCalendar")
        sequence, ended = self.periods[(school, name, year)]
        code = _text(element, *offering, "LocalCourseCode") or ""
        self.keep("course_grades", {
            "student_id": _text(element, *section, *_STUDENT), "course": self.course_titles.get(code, code),
            "school_year": str(year), "period": str(sequence), "date": ended,
            "grade": _text(element, "NumericGradeEarned")}, file, line)  # fmt: skip

    def assessment(self, element: Any, file: str, line: int) -> None:
        identity = ("AssessmentReference", "AssessmentIdentity")
        base = {"student_id": _text(element, *_STUDENT), "date": _text(element, "AdministrationDate"),
                "assessment": _text(element, *identity, "AssessmentTitle")
                or _text(element, *identity, "AssessmentIdentifier")}  # fmt: skip
        results = [child for child in element if _local(child) == "ScoreResult"]
        numeric = [result for result in results if _is_number(_text(result, "Result"))]
        if not numeric:
            self.sink.ignore(file, "StudentAssessment without a numeric score")
            return
        for position, result in enumerate(numeric):
            values = convert_row(TABLES["assessments"], base | {
                "score": _text(result, "Result"), "measure": _code(result, "AssessmentReportingMethod")})  # fmt: skip
            (self.sink.keep if position == 0 else self.sink.derive)("assessments", values, file, line)

    def incident(self, element: Any, file: str, line: int) -> None:
        day = _text(element, "IncidentDate") or ""
        self.incident_dates[element.get("id") or ""] = day
        self.incident_dates[_incident_key(element)] = day
        self.sink.use(file)

    def incident_behavior(self, element: Any, file: str, line: int) -> None:
        student_id, incident = _text(element, *_STUDENT) or "", _incident_reference(element)
        day = self.incident_dates.get(incident)
        if day is None:
            raise BadValue("DisciplineIncidentReference", f"no DisciplineIncident {incident!r} is in the file")
        texts = {"student_id": student_id, "incident_id": incident.removeprefix("DISC_"), "date": day,
                 "behavior": _code(element, "Behavior")}  # fmt: skip
        convert_row(TABLES["behavior_incidents"], texts)
        if (student_id, incident.removeprefix("DISC_")) in self.incidents:
            self.keep("behavior_incidents", texts, file, line)
            return
        self.incidents[(student_id, incident.removeprefix("DISC_"))] = _Waiting(file, line, texts)

    def discipline_action(self, element: Any, file: str, line: int) -> None:
        reference = _at(element, "StudentDisciplineIncidentBehaviorAssociationReference",
                        "StudentDisciplineIncidentBehaviorAssociationIdentity")  # fmt: skip
        student_id = _text(element, *_STUDENT) or ""
        incident = "" if reference is None else _incident_reference(reference).removeprefix("DISC_")
        waiting = self.incidents.get((student_id, incident))
        if waiting is None:
            raise BadValue("StudentDisciplineIncidentBehaviorAssociationReference",
                           f"the action names incident {incident!r}, which this student has no part in")  # fmt: skip
        waiting.values |= {"action": _code(element, "Discipline"),
                           "days_removed": _text(element, "ActualDisciplineActionLength")
                           or _text(element, "DisciplineActionLength")}  # fmt: skip
        self.sink.use(file)

    def program(self, element: Any, file: str, line: int) -> None:
        self.program_file_read = True
        kind = _local(element)
        name = _text(element, "ProgramReference", "ProgramIdentity", "ProgramName") or ""
        fact = _PROGRAM_FACTS.get(kind)
        if kind == "StudentProgramAssociation" and name.startswith(("Bilingual", "English as a Second Language")):
            fact = "english_learner"
        if fact is None:
            self.sink.ignore(file, f"{kind}: not used")
            return
        student_id = _text(element, *_STUDENT) or ""
        self.facts.setdefault(student_id, {})[fact] = "true"
        self.fact_lines.setdefault(student_id, (file, line))
        self.sink.use(file)

    def intervention(self, element: Any, file: str, line: int) -> None:
        code = _text(element, "InterventionIdentificationCode")
        school = _text(element, "EducationOrganizationReference", "EducationOrganizationIdentity",
                       "EducationOrganizationId")  # fmt: skip
        organization = next(iter(self.providers), school)
        self.interventions[code or ""] = {"program_id": code, "organization_id": organization,
                                          "start_date": _text(element, "BeginDate"),
                                          "end_date": _text(element, "EndDate")}  # fmt: skip
        self.keep("programs", {"program_id": code, "organization_id": organization, "name": code}, file, line)

    def student_intervention(self, element: Any, file: str, line: int) -> None:
        code = _text(element, "InterventionReference", "InterventionIdentity", "InterventionIdentificationCode") or ""
        if code not in self.interventions:
            raise BadValue("InterventionReference", f"no Intervention {code!r} is in the file")
        self.keep("service_enrollments", {"student_id": _text(element, *_STUDENT)} | self.interventions[code],
                  file, line)  # fmt: skip

    def finish(self) -> None:
        """Write what had to wait, and what is worked out from terms and attendance."""
        for student_id, waiting in self.students.items():
            if "school_id" not in waiting.values and student_id in self.schools_met:
                waiting.values["school_id"] = self.schools_met[student_id].most_common(1)[0][0]
            self.keep("students", waiting.values, waiting.file, waiting.line)
        if self.students and not self.enrolled:
            self.sink.note("No enrollment file: a student's school is the one that recorded their attendance, and "
                           "grade levels stay empty.")  # fmt: skip
        for waiting in self.incidents.values():
            self.keep("behavior_incidents", waiting.values, waiting.file, waiting.line)
        self._characteristics()
        self._calendar()

    def _characteristics(self) -> None:
        absent = dict.fromkeys(_PROGRAM_FACTS.values(), "false" if self.program_file_read else None)
        ids = self.students if self.program_file_read else self.facts
        for student_id in ids:
            waiting = self.students.get(student_id)
            file, line = self.fact_lines.get(student_id) or (waiting.file, waiting.line)  # type: ignore[union-attr]
            texts = {"student_id": student_id, **absent, **self.facts.get(student_id, {})}
            self.sink.derive("characteristics", convert_row(TABLES["characteristics"], texts), file, line)

    def _calendar(self) -> None:
        worked_out = 0
        for school, begin, end, year, file, line in self.sessions:
            for offset in range((end - begin).days + 1):
                day = begin + timedelta(days=offset)
                if day.weekday() < 5 and f"{school} {day}" not in self.school_days:
                    self.school_days.add(f"{school} {day}")
                    values: dict[str, Value] = {"school_id": school, "date": day, "school_year": year}
                    self.sink.derive("calendar", values, file, line)
                    worked_out += 1
        if worked_out:
            self.sink.note(
                f"The calendar lists few school days: {worked_out} were worked out as the weekdays of each term. "
                "Holidays count as school days until the district sends its calendar."
            )


def _is_number(text: str | None) -> bool:
    try:
        float(text or "")
    except ValueError:
        return False
    return True


def _year_of(entry: str | None) -> str | None:
    """The school year of an entry date: a year that begins in July ends in the next calendar year."""
    try:
        day = date.fromisoformat(entry or "")
    except ValueError:
        raise BadValue("EntryDate", f"EntryDate is {entry!r}; a date must look like 2021-08-23") from None
    return str(day.year + 1 if day.month >= 7 else day.year)


def _incident_key(element: Any) -> str:
    return f"DISC_{_text(element, 'IncidentIdentifier')}_{_text(element, *_SCHOOL)}"


def _incident_reference(element: Any) -> str:
    reference = _at(element, "DisciplineIncidentReference")
    if reference is None:
        return ""
    if reference.get("ref"):
        return str(reference.get("ref"))
    identity = _at(reference, "DisciplineIncidentIdentity")
    return "" if identity is None else _incident_key(identity)


def _without_refused(element: Any, raw: str) -> str:
    for child in element.iterdescendants():
        name = _local(child)
        text = (child.text or "").strip()
        if text and name and refused_kind(name):
            raw = raw.replace(" ".join(text.split()), "[not stored]")
    return raw


_Handler = Callable[[_Reading, Any, str, int], None]
_HANDLERS: dict[str, _Handler] = {
    "School": _Reading.school,
    "CommunityProvider": _Reading.provider,
    "Session": _Reading.session,
    "GradingPeriod": _Reading.grading_period,
    "CalendarDate": _Reading.calendar_date,
    "Course": _Reading.course,
    "CourseOffering": _Reading.course_offering,
    "Student": _Reading.student,
    "StudentEducationOrganizationAssociation": _Reading.student_organization,
    "StudentSchoolAssociation": _Reading.enrollment,
    "StudentSchoolAttendanceEvent": _Reading.attendance,
    "StudentSectionAttendanceEvent": _Reading.attendance,
    "GradebookEntry": _Reading.gradebook_entry,
    "StudentGradebookEntry": _Reading.student_gradebook_entry,
    "Grade": _Reading.grade,
    "StudentAssessment": _Reading.assessment,
    "DisciplineIncident": _Reading.incident,
    "StudentDisciplineIncidentBehaviorAssociation": _Reading.incident_behavior,
    "DisciplineAction": _Reading.discipline_action,
    "Intervention": _Reading.intervention,
    "StudentInterventionAssociation": _Reading.student_intervention,
    **dict.fromkeys((*_PROGRAM_FACTS, "StudentProgramAssociation", "StudentCTEProgramAssociation",
                     "StudentTitleIPartAProgramAssociation"), _Reading.program),
}  # fmt: skip
