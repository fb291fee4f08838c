"""What an Ed-Fi record means in the canonical tables, whichever way it came.

One set of rules reads the interchange's XML and the ODS/API's JSON: a rule asks for a fact by its
path in the interchange, and the record knows how its own format spells it. Names of reporters,
narratives, addresses, health and migrant records are never asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Protocol

from records.canonical.quarantine import BadRow, BadValue, Value, convert_row
from records.canonical.schema import TABLES
from records.connectors.protocol import RowSink

NEVER_STORED_KINDS = {
    "StudentMigrantEducationProgramAssociation": "migrant status: never stored",
    "StudentNeglectedOrDelinquentProgramAssociation": (
        "neglected or delinquent program: never stored"
    ),
    "StudentHealth": "health: never stored",
}
PROGRAM_CHARACTERISTICS = {
    "StudentSpecialEducationProgramAssociation": "special_education",
    "StudentSection504ProgramAssociation": "special_education",
    "StudentLanguageInstructionProgramAssociation": "english_learner",
    "StudentHomelessProgramAssociation": "unstable_housing",
    "StudentSchoolFoodServiceProgramAssociation": "meal_eligible",
}
"""Kind of association -> the characteristic that it gives a student."""
OTHER_PROGRAMS = (
    "StudentProgramAssociation",
    "StudentCTEProgramAssociation",
    "StudentTitleIPartAProgramAssociation",
)

_LANGUAGE_PROGRAMS = ("Bilingual", "English as a Second Language")
_GRADE_LEVELS = {
    name: level
    for level, name in enumerate(
        (
            "Kindergarten",
            "First grade",
            "Second grade",
            "Third grade",
            "Fourth grade",
            "Fifth grade",
            "Sixth grade",
            "Seventh grade",
            "Eighth grade",
            "Ninth grade",
            "Tenth grade",
            "Eleventh grade",
            "Twelfth grade",
        )
    )
} | {"Preschool/Prekindergarten": -1, "Early Education": -1, "Infant/toddler": -1}
_ATTENDANCE = {
    "Excused Absence": "absent_excused",
    "Unexcused Absence": "absent_unexcused",
    "Tardy": "tardy",
    "Partial": "partial",
    "In Attendance": "present",
    "Early departure": "partial",
}
_RACES = {
    "American Indian - Alaska Native": "american_indian",
    "American Indian - Alaskan Native": "american_indian",
    "Asian": "asian",
    "Black - African American": "black",
    "White": "white",
    "Native Hawaiian - Pacific Islander": "pacific_islander",
}
_STUDENT = ("StudentReference", "StudentIdentity", "StudentUniqueId")
_SCHOOL = ("SchoolReference", "SchoolIdentity", "SchoolId")
_COURSE_OFFERING = (
    "SectionReference",
    "SectionIdentity",
    "CourseOfferingReference",
    "CourseOfferingIdentity",
)
_INCIDENT = ("DisciplineIncidentReference", "DisciplineIncidentIdentity")
_ACTS_ON = (
    "StudentDisciplineIncidentBehaviorAssociationReference",
    "StudentDisciplineIncidentBehaviorAssociationIdentity",
)


class EdFiRecord(Protocol):
    """One Ed-Fi record. Every path is that of the XML interchange."""

    @property
    def kind(self) -> str:
        """The name of its element, for example `StudentSchoolAssociation`."""

    @property
    def file(self) -> str: ...

    @property
    def line(self) -> int: ...

    @property
    def label(self) -> str | None:
        """What other records of the source call it, where the format has such links."""

    def text(self, *path: str) -> str | None: ...

    def code(self, *path: str) -> str | None:
        """The code of a descriptor, without its namespace."""

    def each(self, name: str) -> Iterator[EdFiRecord]:
        """The record once for each of its elements of that name, with that one alone."""

    def points_to(self, *path: str) -> str | None:
        """The label of the record that a reference links to, where the format has such links."""

    def shown(self) -> str:
        """The record for the quarantine, without anything that is never stored."""


@dataclass
class _Waiting:
    """A record that is written at the end, when what other records say of it is known."""

    file: str
    line: int
    values: dict[str, str | None]


@dataclass
class EdFiNormalizer:
    """One pass over a source, with the little that must be remembered between records.

    `facts_known` are the characteristics for which the source was whole: a student without one does
    not have it.
    """

    sink: RowSink
    facts_known: set[str] = field(default_factory=set)
    students: dict[str, _Waiting] = field(default_factory=dict)
    schools_met: dict[str, Counter[str]] = field(default_factory=dict)
    facts: dict[str, dict[str, str | None]] = field(default_factory=dict)
    fact_lines: dict[str, tuple[str, int]] = field(default_factory=dict)
    enrolled: bool = False
    course_titles: dict[str, str] = field(default_factory=dict)
    gradebook: dict[str, dict[str, str | None]] = field(default_factory=dict)
    periods: dict[tuple[str, str, int], tuple[int, str]] = field(default_factory=dict)
    sessions: list[tuple[str, date, date, int, str, int]] = field(default_factory=list)
    school_days: set[str] = field(default_factory=set)
    incident_dates: dict[str, str] = field(default_factory=dict)
    incident_labels: dict[str, str] = field(default_factory=dict)
    incidents: dict[tuple[str, str], _Waiting] = field(default_factory=dict)
    providers: dict[str, str] = field(default_factory=dict)
    interventions: dict[str, dict[str, str | None]] = field(default_factory=dict)

    def take(self, record: EdFiRecord) -> None:
        """Send one record where it belongs; a bad value quarantines this record alone."""
        never = NEVER_STORED_KINDS.get(record.kind)
        if never:
            self.sink.ignore(record.file, never)
            return
        rule = _RULES.get(record.kind)
        if rule is None:
            self.sink.ignore(record.file, f"{record.kind}: not used")
            return
        try:
            rule(self, record)
        except BadValue as bad:
            shown = f"{record.kind}: {record.shown()}"
            self.sink.quarantine(BadRow(record.file, record.line, bad.column, bad.reason, shown))

    def finish(self) -> None:
        """Write what had to wait, and what is worked out from terms and attendance."""
        for student_id, waiting in self.students.items():
            if "school_id" not in waiting.values and student_id in self.schools_met:
                waiting.values["school_id"] = self.schools_met[student_id].most_common(1)[0][0]
            self._keep("students", waiting.values, waiting.file, waiting.line)
        if self.students and not self.enrolled:
            self.sink.note(
                "No enrollment records: a student's school is the one that recorded their"
                " attendance, and grade levels stay empty."
            )
        for waiting in self.incidents.values():
            self._keep("behavior_incidents", waiting.values, waiting.file, waiting.line)
        self._characteristics()
        self._calendar()

    def keep(self, table: str, texts: dict[str, str | None], record: EdFiRecord) -> None:
        self._keep(table, texts, record.file, record.line)

    def school(self, record: EdFiRecord) -> None:
        self.keep(
            "schools",
            {"school_id": record.text("SchoolId"), "name": record.text("NameOfInstitution")},
            record,
        )

    def provider(self, record: EdFiRecord) -> None:
        self.providers[record.text("CommunityProviderId") or ""] = (
            record.text("NameOfInstitution") or ""
        )
        self.sink.use(record.file)

    def session(self, record: EdFiRecord) -> None:
        texts = {
            "school_id": record.text(*_SCHOOL),
            "date": record.text("BeginDate"),
            "school_year": str(_school_year(_own_year(record))),
        }
        begin = convert_row(TABLES["calendar"], texts)
        end = convert_row(TABLES["calendar"], texts | {"date": record.text("EndDate")})
        self.sessions.append(
            (
                str(begin["school_id"]),
                begin["date"],
                end["date"],  # type: ignore[arg-type]
                int(begin["school_year"]),  # type: ignore[arg-type]
                record.file,
                record.line,
            )
        )
        self.sink.use(record.file)

    def grading_period(self, record: EdFiRecord) -> None:
        school, year = record.text(*_SCHOOL) or "", _school_year(_own_year(record))
        sequence = record.text("PeriodSequence") or "0"
        if not sequence.isdigit():
            raise BadValue(
                "PeriodSequence", f"PeriodSequence is {sequence!r}; it must be a whole number"
            )
        for name in (record.text("GradingPeriodName"), record.code("GradingPeriod")):
            if name:
                self.periods[(school, name, year)] = (int(sequence), record.text("EndDate") or "")
        self.sink.use(record.file)

    def calendar_date(self, record: EdFiRecord) -> None:
        events = [one.code("CalendarEvent") or "" for one in record.each("CalendarEvent")]
        if not any(event.lower() == "instructional day" for event in events):
            self.sink.ignore(record.file, "CalendarDate without classes")
            return
        identity = ("CalendarReference", "CalendarIdentity")
        school, day = record.text(*identity, *_SCHOOL), record.text("Date")
        year = _school_year(record.text(*identity, "SchoolYear"))
        self.school_days.add(f"{school} {(day or '')[:10]}")
        self.keep("calendar", {"school_id": school, "date": day, "school_year": str(year)}, record)

    def course_offering(self, record: EdFiRecord) -> None:
        code = record.text("LocalCourseCode")
        if code:
            self.course_titles[code] = record.text("LocalCourseTitle") or self.course_titles.get(
                code, code
            )
        self.sink.use(record.file)

    def course(self, record: EdFiRecord) -> None:
        self.course_titles[record.text("CourseCode") or ""] = record.text("CourseTitle") or ""
        self.sink.use(record.file)

    def student(self, record: EdFiRecord) -> None:
        student_id = record.text("StudentUniqueId")
        texts = {
            "student_id": student_id,
            "first_name": record.text("Name", "FirstName"),
            "last_name": record.text("Name", "LastSurname"),
            "birth_date": record.text("BirthData", "BirthDate"),
        }
        convert_row(TABLES["students"], texts)
        if student_id in self.students:
            self.keep("students", texts, record)
            return
        self.students[str(student_id)] = _Waiting(record.file, record.line, texts)
        self._demographics(str(student_id), record)

    def student_organization(self, record: EdFiRecord) -> None:
        self._demographics(record.text(*_STUDENT) or "", record)
        self.sink.use(record.file)

    def enrollment(self, record: EdFiRecord) -> None:
        student_id, school = record.text(*_STUDENT), record.text(*_SCHOOL)
        entry = record.text("EntryDate")
        grade = _GRADE_LEVELS.get(record.code("EntryGradeLevel") or "")
        year = _own_year(record)
        texts = {
            "student_id": student_id,
            "school_id": school,
            "entry_date": entry,
            "exit_date": record.text("ExitWithdrawDate"),
            "grade_level": None if grade is None else str(grade),
            "school_year": str(_school_year(year)) if year else _year_of(entry),
        }
        self.keep("school_enrollments", texts, record)
        self.enrolled = True
        waiting = self.students.get(student_id or "")
        if waiting is not None and (waiting.values.get("_entered") or "") <= (entry or ""):
            waiting.values |= {
                "school_id": school,
                "grade_level": texts["grade_level"],
                "_entered": entry,
            }

    def attendance(self, record: EdFiRecord) -> None:
        recorded = record.code("AttendanceEvent", "AttendanceEventCategory") or record.code(
            "AttendanceEventCategory"
        )
        status = _ATTENDANCE.get(recorded or "")
        if status is None:
            raise BadValue(
                "AttendanceEventCategory",
                f"AttendanceEventCategory is {recorded!r}; "
                f"it must be one of {', '.join(_ATTENDANCE)}",
            )
        in_section = record.kind == "StudentSectionAttendanceEvent"
        if in_section and status not in ("tardy", "partial"):
            self.sink.ignore(
                record.file, "absence from one class (the school day's own record is used)"
            )
            return
        school = record.text(*(_COURSE_OFFERING if in_section else ()), *_SCHOOL)
        student_id = record.text(*_STUDENT)
        day = record.text("AttendanceEvent", "EventDate") or record.text("EventDate")
        self.keep(
            "attendance_events",
            {"student_id": student_id, "school_id": school, "status": status, "date": day},
            record,
        )
        self.schools_met.setdefault(student_id or "", Counter())[school or ""] += 1

    def gradebook_entry(self, record: EdFiRecord) -> None:
        code = record.text(*_COURSE_OFFERING, "LocalCourseCode")
        self.gradebook[record.text("GradebookEntryIdentifier") or ""] = {
            "course": self.course_titles.get(code or "", code),
            "title": record.text("Title"),
            "due_date": record.text("DueDate") or record.text("DateAssigned"),
        }
        self.sink.use(record.file)

    def student_gradebook_entry(self, record: EdFiRecord) -> None:
        entry = record.text(
            "GradebookEntryReference", "GradebookEntryIdentity", "GradebookEntryIdentifier"
        )
        texts = {
            "student_id": record.text(*_STUDENT),
            "entry_id": entry,
            "grade": record.text("NumericGradeEarned"),
        }
        self.keep("gradebook_entries", texts | self.gradebook.get(entry or "", {}), record)

    def grade(self, record: EdFiRecord) -> None:
        section = ("StudentSectionAssociationReference", "StudentSectionAssociationIdentity")
        period = ("GradingPeriodReference", "GradingPeriodIdentity")
        year = _school_year(record.text(*period, "SchoolYear"))
        school = record.text(*period, *_SCHOOL) or ""
        name = (
            record.text(*period, "GradingPeriodName") or record.code(*period, "GradingPeriod") or ""
        )
        if (school, name, year) not in self.periods:
            raise BadValue(
                "GradingPeriod", f"{name!r} of school {school} is not one of the grading periods"
            )
        sequence, ended = self.periods[(school, name, year)]
        code = record.text(*section, *_COURSE_OFFERING, "LocalCourseCode") or ""
        self.keep(
            "course_grades",
            {
                "student_id": record.text(*section, *_STUDENT),
                "course": self.course_titles.get(code, code),
                "school_year": str(year),
                "period": str(sequence),
                "date": ended,
                "grade": record.text("NumericGradeEarned"),
            },
            record,
        )

    def assessment(self, record: EdFiRecord) -> None:
        identity = ("AssessmentReference", "AssessmentIdentity")
        base = {
            "student_id": record.text(*_STUDENT),
            "date": record.text("AdministrationDate"),
            "assessment": (
                record.text(*identity, "AssessmentTitle")
                or record.text(*identity, "AssessmentIdentifier")
            ),
        }
        numeric = [
            one
            for one in record.each("ScoreResult")
            if _is_number(one.text("ScoreResult", "Result"))
        ]
        if not numeric:
            self.sink.ignore(record.file, "StudentAssessment without a numeric score")
            return
        for position, one in enumerate(numeric):
            values = convert_row(
                TABLES["assessments"],
                base
                | {
                    "score": one.text("ScoreResult", "Result"),
                    "measure": one.code("ScoreResult", "AssessmentReportingMethod"),
                },
            )
            add = self.sink.keep if position == 0 else self.sink.derive
            add("assessments", values, record.file, record.line)

    def incident(self, record: EdFiRecord) -> None:
        incident = _incident_id(record)
        self.incident_dates[incident] = record.text("IncidentDate") or ""
        if record.label:
            self.incident_labels[record.label] = incident
        self.sink.use(record.file)

    def incident_behavior(self, record: EdFiRecord) -> None:
        student_id, incident = record.text(*_STUDENT) or "", self._incident_of(record)
        day = self.incident_dates.get(incident)
        if day is None:
            raise BadValue(
                "DisciplineIncidentReference", f"there is no DisciplineIncident {incident!r}"
            )
        texts = {
            "student_id": student_id,
            "incident_id": incident,
            "date": day,
            "behavior": record.code("Behavior"),
        }
        convert_row(TABLES["behavior_incidents"], texts)
        if (student_id, incident) in self.incidents:
            self.keep("behavior_incidents", texts, record)
            return
        self.incidents[(student_id, incident)] = _Waiting(record.file, record.line, texts)

    def discipline_action(self, record: EdFiRecord) -> None:
        student_id = record.text(*_STUDENT) or ""
        incidents = [self._incident_of(one, *_ACTS_ON) for one in record.each(_ACTS_ON[0])] or [""]
        for incident in incidents:
            if (student_id, incident) not in self.incidents:
                raise BadValue(
                    _ACTS_ON[0],
                    f"the action names incident {incident!r}, which this student has no part in",
                )
        taken = next(
            (code for one in record.each("Discipline") if (code := one.code("Discipline"))), None
        )
        for incident in incidents:
            self.incidents[(student_id, incident)].values |= {
                "action": taken,
                "days_removed": (
                    record.text("ActualDisciplineActionLength")
                    or record.text("DisciplineActionLength")
                ),
            }
        self.sink.use(record.file)

    def program(self, record: EdFiRecord) -> None:
        name = record.text("ProgramReference", "ProgramIdentity", "ProgramName") or ""
        fact = PROGRAM_CHARACTERISTICS.get(record.kind)
        if record.kind == "StudentProgramAssociation" and name.startswith(_LANGUAGE_PROGRAMS):
            fact = "english_learner"
        if fact is None:
            self.sink.ignore(record.file, f"{record.kind}: not used")
            return
        student_id = record.text(*_STUDENT) or ""
        self.facts.setdefault(student_id, {})[fact] = "true"
        self.fact_lines.setdefault(student_id, (record.file, record.line))
        self.sink.use(record.file)

    def intervention(self, record: EdFiRecord) -> None:
        code = record.text("InterventionIdentificationCode")
        school = record.text(
            "EducationOrganizationReference",
            "EducationOrganizationIdentity",
            "EducationOrganizationId",
        )
        organization = next(iter(self.providers), school)
        self.interventions[code or ""] = {
            "program_id": code,
            "organization_id": organization,
            "start_date": record.text("BeginDate"),
            "end_date": record.text("EndDate"),
        }
        self.keep(
            "programs", {"program_id": code, "organization_id": organization, "name": code}, record
        )

    def student_intervention(self, record: EdFiRecord) -> None:
        code = (
            record.text(
                "InterventionReference", "InterventionIdentity", "InterventionIdentificationCode"
            )
            or ""
        )
        if code not in self.interventions:
            raise BadValue("InterventionReference", f"there is no Intervention {code!r}")
        self.keep(
            "service_enrollments",
            {"student_id": record.text(*_STUDENT)} | self.interventions[code],
            record,
        )

    def _keep(self, table: str, texts: dict[str, str | None], file: str, line: int) -> None:
        self.sink.keep(table, convert_row(TABLES[table], texts), file, line)

    def _demographics(self, student_id: str, record: EdFiRecord) -> None:
        sex = (record.code("Sex") or "").lower()
        codes = [one.code("Race", "Race") or one.code("Race") for one in record.each("Race")]
        races = sorted({_RACES[code] for code in codes if code in _RACES})
        race = (
            "hispanic"
            if record.text("HispanicLatinoEthnicity") in ("true", "1")
            else ("two_or_more" if len(races) > 1 else (races[0] if races else None))
        )
        if sex or race:
            known = self.facts.setdefault(student_id, {})
            known["sex"] = (
                (sex if sex in ("female", "male") else "another") if sex else known.get("sex")
            )
            known["race_ethnicity"] = race or known.get("race_ethnicity")
            self.fact_lines.setdefault(student_id, (record.file, record.line))

    def _incident_of(self, record: EdFiRecord, *within: str) -> str:
        label = record.points_to(*within, _INCIDENT[0])
        return (
            self.incident_labels.get(label, label)
            if label
            else _incident_id(record, *within, *_INCIDENT)
        )

    def _characteristics(self) -> None:
        absent = {
            fact: "false" if fact in self.facts_known else None
            for fact in PROGRAM_CHARACTERISTICS.values()
        }
        for student_id in self.students if self.facts_known else self.facts:
            waiting = self.students.get(student_id)
            file, line = self.fact_lines.get(student_id) or (waiting.file, waiting.line)  # type: ignore[union-attr]
            texts = {"student_id": student_id, **absent, **self.facts.get(student_id, {})}
            self.sink.derive(
                "characteristics", convert_row(TABLES["characteristics"], texts), file, line
            )

    def _calendar(self) -> None:
        worked_out = 0
        for school, begin, end, year, file, line in self.sessions:
            for offset in range((end - begin).days + 1):
                day = begin + timedelta(days=offset)
                if day.weekday() < 5 and f"{school} {day}" not in self.school_days:
                    self.school_days.add(f"{school} {day}")
                    values: dict[str, Value] = {
                        "school_id": school,
                        "date": day,
                        "school_year": year,
                    }
                    self.sink.derive("calendar", values, file, line)
                    worked_out += 1
        if worked_out:
            self.sink.note(
                f"The calendar lists few school days: {worked_out} were worked out as the weekdays"
                " of each term. Holidays count as school days until the district sends its"
                " calendar."
            )


def _own_year(record: EdFiRecord) -> str | None:
    return record.text("SchoolYear") or record.text("SchoolYearTypeReference", "SchoolYear")


def _school_year(text: str | None) -> int:
    try:
        return int((text or "")[-4:])
    except ValueError:
        raise BadValue(
            "SchoolYear", f"SchoolYear is {text!r}; it must look like 2021-2022"
        ) from None


def _is_number(text: str | None) -> bool:
    try:
        float(text or "")
    except ValueError:
        return False
    return True


def _year_of(entry: str | None) -> str | None:
    """The school year of an entry date: a year that begins in July ends in the next calendar
    year.
    """
    try:
        day = date.fromisoformat((entry or "")[:10])
    except ValueError:
        raise BadValue(
            "EntryDate", f"EntryDate is {entry!r}; a date must look like 2021-08-23"
        ) from None
    return str(day.year + 1 if day.month >= 7 else day.year)


def _incident_id(record: EdFiRecord, *within: str) -> str:
    return f"{record.text(*within, 'IncidentIdentifier')}_{record.text(*within, *_SCHOOL)}"


_RULES: dict[str, Callable[[EdFiNormalizer, EdFiRecord], None]] = {
    "School": EdFiNormalizer.school,
    "CommunityProvider": EdFiNormalizer.provider,
    "Session": EdFiNormalizer.session,
    "GradingPeriod": EdFiNormalizer.grading_period,
    "CalendarDate": EdFiNormalizer.calendar_date,
    "Course": EdFiNormalizer.course,
    "CourseOffering": EdFiNormalizer.course_offering,
    "Student": EdFiNormalizer.student,
    "StudentEducationOrganizationAssociation": EdFiNormalizer.student_organization,
    "StudentSchoolAssociation": EdFiNormalizer.enrollment,
    "StudentSchoolAttendanceEvent": EdFiNormalizer.attendance,
    "StudentSectionAttendanceEvent": EdFiNormalizer.attendance,
    "GradebookEntry": EdFiNormalizer.gradebook_entry,
    "StudentGradebookEntry": EdFiNormalizer.student_gradebook_entry,
    "Grade": EdFiNormalizer.grade,
    "StudentAssessment": EdFiNormalizer.assessment,
    "DisciplineIncident": EdFiNormalizer.incident,
    "StudentDisciplineIncidentBehaviorAssociation": EdFiNormalizer.incident_behavior,
    "DisciplineAction": EdFiNormalizer.discipline_action,
    "Intervention": EdFiNormalizer.intervention,
    "StudentInterventionAssociation": EdFiNormalizer.student_intervention,
    **dict.fromkeys((*PROGRAM_CHARACTERISTICS, *OTHER_PROGRAMS), EdFiNormalizer.program),
}
