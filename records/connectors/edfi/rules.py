"""What an Ed-Fi record means in the canonical tables, whichever way it came.

One set of rules reads the interchange's XML and the ODS/API's JSON: a rule asks for a value by its
path in the interchange, and the record knows how its own format spells it. Names of reporters,
narratives, addresses, health and migrant records are never read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from records.canonical.quarantine import BadRow, BadValue, convert, convert_row
from records.canonical.schema import TABLES
from records.connectors.edfi.school_days import (
    ClassAttendance,
    ClassMissed,
    SchoolCalendar,
    Term,
    is_absence,
)
from records.connectors.profiles.profile import (
    IGNORED,
    AttendanceCode,
    SourceProfile,
    standard_profile,
)
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
_INCIDENT_BEHAVIOR = (
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
        """What other records of the source use to link to it, where the format has links."""

    def text(self, *path: str) -> str | None: ...

    def code(self, *path: str) -> str | None:
        """The code of a descriptor, without its namespace."""

    def children(self, name: str) -> Iterator[EdFiRecord]:
        """The record once for each of its elements of that name, with that element alone."""

    def reference_label(self, *path: str) -> str | None:
        """The label of the record that a reference links to, where the format has links."""

    def redacted_text(self) -> str:
        """The record for the quarantine, without anything that is never stored."""


@dataclass
class _PendingRow:
    """A row that is written at the end, once the other records about it have been read."""

    file: str
    line: int
    values: dict[str, str | None]


@dataclass
class EdFiNormalizer:
    """Normalizes the records of one source, with what must be remembered between them.

    `complete_characteristics` are those that the source reports for everybody: a student without
    one does not have it.
    """

    sink: RowSink
    profile: SourceProfile = field(default_factory=lambda: standard_profile("edfi"))
    complete_characteristics: set[str] = field(default_factory=set)
    students: dict[str, _PendingRow] = field(default_factory=dict)
    attendance_schools: dict[str, Counter[str]] = field(default_factory=dict)
    characteristics: dict[str, dict[str, str | None]] = field(default_factory=dict)
    characteristic_sources: dict[str, tuple[str, int]] = field(default_factory=dict)
    has_enrollments: bool = False
    course_titles: dict[str, str] = field(default_factory=dict)
    gradebook: dict[str, dict[str, str | None]] = field(default_factory=dict)
    periods: dict[tuple[str, str, int], tuple[int, str]] = field(default_factory=dict)
    incident_dates: dict[str, str] = field(default_factory=dict)
    incident_labels: dict[str, str] = field(default_factory=dict)
    incidents: dict[tuple[str, str], _PendingRow] = field(default_factory=dict)
    providers: dict[str, str] = field(default_factory=dict)
    interventions: dict[str, dict[str, str | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.calendar = SchoolCalendar(self.sink)
        self.classes = ClassAttendance(self.sink, self.profile)

    def add(self, record: EdFiRecord) -> None:
        """Pass one record to its rule; a bad value quarantines this record alone."""
        never_stored = NEVER_STORED_KINDS.get(record.kind)
        if never_stored:
            self.sink.ignore(record.file, never_stored)
            return
        rule = _RULES.get(record.kind)
        if rule is None:
            self.sink.ignore(record.file, f"{record.kind}: not used")
            return
        try:
            rule(self, record)
        except BadValue as error:
            raw = f"{record.kind}: {record.redacted_text()}"
            self.sink.quarantine(BadRow(record.file, record.line, error.column, error.reason, raw))

    def finish(self) -> None:
        """Write the pending rows, the characteristics and the school days inferred from terms."""
        for student_id, pending in self.students.items():
            if "school_id" not in pending.values and student_id in self.attendance_schools:
                pending.values["school_id"] = self.attendance_schools[student_id].most_common(1)[0][
                    0
                ]
            self._add_row_at("students", pending.values, pending.file, pending.line)
        if self.students and not self.has_enrollments:
            self.sink.note(
                "No enrollment records: a student's school is the one that recorded their"
                " attendance, and grade levels stay empty."
            )
        for pending in self.incidents.values():
            self._add_row_at("behavior_incidents", pending.values, pending.file, pending.line)
        self._characteristics()
        self.calendar.finish()
        self.classes.finish()

    def add_row(self, table: str, texts: dict[str, str | None], record: EdFiRecord) -> None:
        self._add_row_at(table, texts, record.file, record.line)

    def school(self, record: EdFiRecord) -> None:
        self.add_row(
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
            "school_year": str(_school_year(_school_year_text(record))),
        }
        begin = convert_row(TABLES["calendar"], texts)
        end = convert_row(TABLES["calendar"], texts | {"date": record.text("EndDate")})
        self.calendar.terms.append(
            Term(
                school=str(begin["school_id"]),
                first=begin["date"],  # type: ignore[arg-type]
                last=end["date"],  # type: ignore[arg-type]
                school_year=int(begin["school_year"]),  # type: ignore[arg-type]
                is_summer=self.profile.is_summer(record.code("Term"), record.text("SessionName")),
                file=record.file,
                line=record.line,
            )
        )
        self.sink.use(record.file)

    def grading_period(self, record: EdFiRecord) -> None:
        school, year = record.text(*_SCHOOL) or "", _school_year(_school_year_text(record))
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
        identity = ("CalendarReference", "CalendarIdentity")
        row = convert_row(
            TABLES["calendar"],
            {
                "school_id": record.text(*identity, *_SCHOOL),
                "date": record.text("Date"),
                "school_year": str(_school_year(record.text(*identity, "SchoolYear"))),
            },
        )
        events = [event.code("CalendarEvent") or "" for event in record.children("CalendarEvent")]
        kinds = {event: self.profile.is_school_day(event) for event in events}
        for event, kind in kinds.items():
            self.sink.code("calendar", "CalendarEvent", event, kind is not None)
        if any(kinds.values()):
            self.calendar.add_school_day(row, record.file, record.line)
        elif None in kinds.values():
            self.sink.ignore(
                record.file, "CalendarDate of a kind whose meaning the profile does not state"
            )
        else:
            self.calendar.closed.add((str(row["school_id"]), row["date"]))  # type: ignore[arg-type]
            self.sink.ignore(record.file, "CalendarDate without classes")

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
            self.add_row("students", texts, record)
            return
        self.students[str(student_id)] = _PendingRow(record.file, record.line, texts)
        self._demographics(str(student_id), record)

    def student_organization(self, record: EdFiRecord) -> None:
        self._demographics(record.text(*_STUDENT) or "", record)
        self.sink.use(record.file)

    def enrollment(self, record: EdFiRecord) -> None:
        student_id, school = record.text(*_STUDENT), record.text(*_SCHOOL)
        entry = record.text("EntryDate")
        grade = _GRADE_LEVELS.get(record.code("EntryGradeLevel") or "")
        year = _school_year_text(record)
        texts = {
            "student_id": student_id,
            "school_id": school,
            "entry_date": entry,
            "exit_date": record.text("ExitWithdrawDate"),
            "grade_level": None if grade is None else str(grade),
            "school_year": str(_school_year(year)) if year else _school_year_of_entry(entry),
        }
        self.add_row("school_enrollments", texts, record)
        self.has_enrollments = True
        pending = self.students.get(student_id or "")
        if pending is not None and (pending.values.get("_entered") or "") <= (entry or ""):
            pending.values |= {
                "school_id": school,
                "grade_level": texts["grade_level"],
                "_entered": entry,
            }

    def attendance(self, record: EdFiRecord) -> None:
        in_section = record.kind == "StudentSectionAttendanceEvent"
        code = self._attendance_code(record)
        if code.status == IGNORED:
            self.sink.ignore(record.file, "attendance code that says nothing of the day")
            return
        texts = {
            "student_id": record.text(*_STUDENT),
            "school_id": record.text(*(_COURSE_OFFERING if in_section else ()), *_SCHOOL),
            "date": record.text("AttendanceEvent", "EventDate") or record.text("EventDate"),
            "status": code.status,
            "absent_share": None if in_section else _absent_share(record, code),
        }
        row = convert_row(TABLES["attendance_events"], texts)
        if in_section and is_absence(code.status):
            self.classes.add(
                ClassMissed(
                    student=str(row["student_id"]),
                    school=str(row["school_id"]),
                    day=row["date"],  # type: ignore[arg-type]
                    section=_section_of(record),
                    status=code.status,
                ),
                record.file,
                record.line,
            )
        elif in_section and code.status == "present":
            self.sink.ignore(record.file, "present in one class")
        elif not in_section and self.profile.attendance_by == "section":
            self.sink.ignore(record.file, "attendance by days (the profile says by classes)")
        else:
            if is_absence(code.status):
                self.classes.schools_by_day.add(str(row["school_id"]))
            self.sink.keep("attendance_events", row, record.file, record.line)
        self.attendance_schools.setdefault(str(row["student_id"]), Counter())[
            str(row["school_id"])
        ] += 1

    def _attendance_code(self, record: EdFiRecord) -> AttendanceCode:
        """What the record's code means.

        Raises:
            BadValue: nobody has stated what it means.
        """
        recorded = (
            record.code("AttendanceEvent", "AttendanceEventCategory")
            or record.code("AttendanceEventCategory")
            or ""
        )
        code = self.profile.attendance(recorded)
        self.sink.code("attendance_events", "AttendanceEventCategory", recorded, code is not None)
        if code is None:
            raise BadValue(
                "AttendanceEventCategory",
                f"AttendanceEventCategory is {recorded!r}, and nobody has stated what that means:"
                " profiles/edfi.toml can, under [attendance.codes]",
            )
        return code

    def section_enrollment(self, record: EdFiRecord) -> None:
        student = record.text(*_STUDENT) or ""
        column = TABLES["school_enrollments"].column("exit_date")
        begin, end = (convert(column, record.text(name)) for name in ("BeginDate", "EndDate"))
        self.classes.enrolled[student].append((begin, end))  # type: ignore[arg-type]
        self.sink.use(record.file)

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
        self.add_row("gradebook_entries", texts | self.gradebook.get(entry or "", {}), record)

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
        self.add_row(
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
        scores = [
            score
            for score in record.children("ScoreResult")
            if _is_number(score.text("ScoreResult", "Result"))
        ]
        if not scores:
            self.sink.ignore(record.file, "StudentAssessment without a numeric score")
            return
        for position, score in enumerate(scores):
            values = convert_row(
                TABLES["assessments"],
                base
                | {
                    "score": score.text("ScoreResult", "Result"),
                    "measure": score.code("ScoreResult", "AssessmentReportingMethod"),
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
            self.add_row("behavior_incidents", texts, record)
            return
        self.incidents[(student_id, incident)] = _PendingRow(record.file, record.line, texts)

    def discipline_action(self, record: EdFiRecord) -> None:
        student_id = record.text(*_STUDENT) or ""
        references = record.children(_INCIDENT_BEHAVIOR[0])
        incidents = [
            self._incident_of(reference, *_INCIDENT_BEHAVIOR) for reference in references
        ] or [""]
        for incident in incidents:
            if (student_id, incident) not in self.incidents:
                raise BadValue(
                    _INCIDENT_BEHAVIOR[0],
                    f"the action names incident {incident!r}, which this student has no part in",
                )
        action = next(
            (
                code
                for discipline in record.children("Discipline")
                if (code := discipline.code("Discipline"))
            ),
            None,
        )
        for incident in incidents:
            self.incidents[(student_id, incident)].values |= {
                "action": action,
                "days_removed": (
                    record.text("ActualDisciplineActionLength")
                    or record.text("DisciplineActionLength")
                ),
            }
        self.sink.use(record.file)

    def program(self, record: EdFiRecord) -> None:
        name = record.text("ProgramReference", "ProgramIdentity", "ProgramName") or ""
        characteristic = PROGRAM_CHARACTERISTICS.get(record.kind)
        if record.kind == "StudentProgramAssociation" and name.startswith(_LANGUAGE_PROGRAMS):
            characteristic = "english_learner"
        if characteristic is None:
            self.sink.ignore(record.file, f"{record.kind}: not used")
            return
        student_id = record.text(*_STUDENT) or ""
        self.characteristics.setdefault(student_id, {})[characteristic] = "true"
        self.characteristic_sources.setdefault(student_id, (record.file, record.line))
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
        self.add_row(
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
        self.add_row(
            "service_enrollments",
            {"student_id": record.text(*_STUDENT)} | self.interventions[code],
            record,
        )

    def _add_row_at(self, table: str, texts: dict[str, str | None], file: str, line: int) -> None:
        self.sink.keep(table, convert_row(TABLES[table], texts), file, line)

    def _demographics(self, student_id: str, record: EdFiRecord) -> None:
        sex = (record.code("Sex") or "").lower()
        race = _race_ethnicity(record)
        if not sex and not race:
            return
        if sex and sex not in ("female", "male"):
            sex = "another"
        known = self.characteristics.setdefault(student_id, {})
        known["sex"] = sex or known.get("sex")
        known["race_ethnicity"] = race or known.get("race_ethnicity")
        self.characteristic_sources.setdefault(student_id, (record.file, record.line))

    def _incident_of(self, record: EdFiRecord, *within: str) -> str:
        label = record.reference_label(*within, _INCIDENT[0])
        return (
            self.incident_labels.get(label, label)
            if label
            else _incident_id(record, *within, *_INCIDENT)
        )

    def _characteristics(self) -> None:
        absent = {
            characteristic: "false" if characteristic in self.complete_characteristics else None
            for characteristic in PROGRAM_CHARACTERISTICS.values()
        }
        for student_id in self.students if self.complete_characteristics else self.characteristics:
            pending = self.students.get(student_id)
            file, line = self.characteristic_sources.get(student_id) or (pending.file, pending.line)  # type: ignore[union-attr]
            texts = {"student_id": student_id, **absent, **self.characteristics.get(student_id, {})}
            self.sink.derive(
                "characteristics", convert_row(TABLES["characteristics"], texts), file, line
            )


def _race_ethnicity(record: EdFiRecord) -> str | None:
    if record.text("HispanicLatinoEthnicity") in ("true", "1"):
        return "hispanic"
    codes = [race.code("Race", "Race") or race.code("Race") for race in record.children("Race")]
    races = {_RACES[code] for code in codes if code in _RACES}
    if len(races) > 1:
        return "two_or_more"
    return next(iter(races), None)


def _section_of(record: EdFiRecord) -> str:
    section = ("SectionReference", "SectionIdentity")
    names = (
        record.text(*section, "SectionIdentifier") or record.text(*section, "UniqueSectionCode"),
        record.text(*_COURSE_OFFERING, "LocalCourseCode"),
        record.text(*section, "ClassPeriodName"),
    )
    return " ".join(name for name in names if name)


def _absent_share(record: EdFiRecord, code: AttendanceCode) -> str | None:
    """How much of the day was missed: the event's duration in days, else what its code says.

    Source: Ed-Fi Data Standard, AttendanceEvent.EventDuration: "the amount of time for the event as
    recognized by the school", in days. A duration of none, or of more than a day, says nothing.
    """
    if not is_absence(code.status) and code.status != "partial":
        return None
    text = record.text("AttendanceEvent", "EventDuration") or record.text("EventDuration")
    if text is not None and _is_number(text) and 0 < float(text) < 1:
        return text
    return None if code.absent_share is None else repr(code.absent_share)


def _school_year_text(record: EdFiRecord) -> str | None:
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


def _school_year_of_entry(entry: str | None) -> str | None:
    """The school year of an entry date; one that begins in July or later ends in the next year."""
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
    "StudentSectionAssociation": EdFiNormalizer.section_enrollment,
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
