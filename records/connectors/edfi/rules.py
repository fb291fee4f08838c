"""What an Ed-Fi record means in the canonical tables, whichever way it came.

One set of rules reads the interchange's XML and the ODS/API's JSON: a rule asks for a value by its
path in the interchange, and the record knows how its own format spells it. Names of reporters,
narratives, addresses, health and migrant records are never read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

from records.canonical.quarantine import BadRow, BadValue, Value, convert, convert_row
from records.canonical.schema import TABLES
from records.connectors.attendance.classes import ClassAttendance, ClassMissed, Section, is_absence
from records.connectors.attendance.unknown_shares import UnknownShares
from records.connectors.edfi.characteristics import (
    OTHER_PROGRAMS,
    PROGRAM_CHARACTERISTICS,
    StudentCharacteristics,
)
from records.connectors.edfi.descriptors import never_a_stay
from records.connectors.edfi.discipline import DisciplineRecords
from records.connectors.edfi.marks import CourseMarks, Gradebook, GradingPeriods
from records.connectors.edfi.record import COURSE_OFFERING as _COURSE_OFFERING
from records.connectors.edfi.record import SCHOOL as _SCHOOL
from records.connectors.edfi.record import STUDENT as _STUDENT
from records.connectors.edfi.record import EdFiRecord, says_yes, student_of
from records.connectors.edfi.school_days import CalendarKind, SchoolCalendar, Term
from records.connectors.grade_levels import grade_level
from records.connectors.profiles.profile import (
    IGNORED,
    AttendanceCode,
    SourceProfile,
    standard_profile,
)
from records.connectors.profiles.survey import MINUTES
from records.connectors.protocol import RowSink

NEVER_STORED_KINDS = {
    "StudentMigrantEducationProgramAssociation": "migrant status: never stored",
    "StudentNeglectedOrDelinquentProgramAssociation": (
        "neglected or delinquent program: never stored"
    ),
    "StudentHealth": "health: never stored",
}
_CLASS = "class"
"""The part of a day that an entry from a single class is about."""

_SHORTEST_DAY = 240
"""Minutes from which an absence may be one of a whole day: four hours, the shortest school day that
states ask of the first grades."""

_DAYS_PAST = {
    "StudentSchoolAttendanceEvent": (("AttendanceEvent", "EventDate"), ("EventDate",)),
    "StudentAssessment": (("AdministrationDate",),),
    "DisciplineIncident": (("IncidentDate",),),
}
"""Where a record has a day that was past when the source was written."""


@dataclass
class _PendingRow:
    """A row that is written at the end, once the other records about it have been read."""

    file: str
    line: int
    values: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class _TimedAbsence:
    """An absence of which the minutes are on record, and not how much of the day they are."""

    row: dict[str, Value]
    minutes: float
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class _Stay:
    """One enrollment of a student; `is_primary` is whether the source calls the school primary."""

    entered: date
    left: date | None
    is_primary: bool
    school: str
    grade_level: str | None


@dataclass
class EdFiNormalizer:
    """Normalizes the records of one source, with what must be remembered between them.

    `withheld_characteristics` are those of which this client may not read every kind of program;
    `profile` says what the district's own words mean.
    """

    sink: RowSink
    profile: SourceProfile = field(default_factory=lambda: standard_profile("edfi"))
    withheld_characteristics: frozenset[str] = frozenset()
    students: dict[str, _PendingRow] = field(default_factory=dict)
    repeated_students: list[_PendingRow] = field(default_factory=list)
    stays: dict[str, list[_Stay]] = field(default_factory=dict)
    never_at: dict[str, set[str]] = field(default_factory=dict)
    attendance_schools: dict[str, Counter[str]] = field(default_factory=dict)
    course_titles: dict[str, str] = field(default_factory=dict)
    grading_periods: GradingPeriods = field(init=False)
    providers: dict[str, str] = field(default_factory=dict)
    interventions: dict[str, dict[str, str | None]] = field(default_factory=dict)
    newest_record: str = ""
    timed: list[_TimedAbsence] = field(default_factory=list)
    part_days: Counter[tuple[Value, ...]] = field(default_factory=Counter)
    marks: CourseMarks = field(init=False)
    gradebook: Gradebook = field(init=False)
    discipline: DisciplineRecords = field(init=False)
    facts: StudentCharacteristics = field(init=False)

    def __post_init__(self) -> None:
        self.grading_periods = GradingPeriods(self.profile.grades)
        self.marks = CourseMarks(self.sink, self.profile.grades)
        self.gradebook = Gradebook(self.sink, self.profile.grades)
        self.discipline = DisciplineRecords(self.sink)
        self.facts = StudentCharacteristics(
            self.sink, self.profile.programs, self.withheld_characteristics
        )
        self.calendar = SchoolCalendar(self.sink)
        self.classes = ClassAttendance(self.sink, self.profile)
        self.parts = UnknownShares(self.sink, self.profile.source)

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
            return
        for path in _DAYS_PAST.get(record.kind, ()):
            text = record.text(*path)
            self.facts.see_past(text)
            self.newest_record = max(self.newest_record, (text or "")[:10])

    def finish(self) -> None:
        """Write the pending rows, the characteristics and the school days inferred from terms."""
        for pending in (*self.students.values(), *self.repeated_students):
            values = pending.values | self._school_now(str(pending.values["student_id"]))
            self._add_row_at("students", values, pending.file, pending.line)
        if self.students and not self.stays:
            self.sink.note(
                "No enrollment records: a student's school is the one that recorded their"
                " attendance, and grade levels stay empty."
            )
        self.marks.finish()
        self.gradebook.finish()
        self.discipline.finish()
        self.facts.finish(
            {student: (pending.file, pending.line) for student, pending in self.students.items()}
        )
        self._keep_timed_absences()
        self.classes.finish(self.calendar.finish())
        self.parts.finish()

    def add_row(self, table: str, texts: dict[str, str | None], record: EdFiRecord) -> None:
        self._add_row_at(table, texts, record.file, record.line)

    def school(self, record: EdFiRecord) -> None:
        self.calendar.schools.add(record.text("SchoolId") or "")
        self.add_row(
            "schools",
            {"school_id": record.text("SchoolId"), "name": record.text("NameOfInstitution")},
            record,
        )

    def district(self, record: EdFiRecord) -> None:
        """A district, whose own calendar is that of its schools in version 2 of the standard."""
        self.calendar.districts.add(record.text("LocalEducationAgencyId") or "")
        self.sink.ignore(record.file, f"{record.kind}: not used")

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
        self.grading_periods.add(
            _school_of_period(record),
            _year_of_period(record),
            (record.text("GradingPeriodName"), record.code("GradingPeriod")),
            record.text("PeriodSequence"),
            record.text("EndDate") or "",
        )
        self.sink.use(record.file)

    def school_calendar(self, record: EdFiRecord) -> None:
        grades = (_grade_level(child.code("GradeLevel")) for child in record.children("GradeLevel"))
        self.calendar.add_calendar(
            record.text(*_SCHOOL) or "",
            _school_year(_school_year_text(record)),
            record.text("CalendarCode") or "",
            CalendarKind.of(
                record.code("CalendarType") or "",
                [grade for grade in grades if grade is not None],
            ),
        )
        self.sink.use(record.file)

    def calendar_date(self, record: EdFiRecord) -> None:
        identity = ("CalendarReference", "CalendarIdentity")
        organization = ("EducationOrganizationReference", "EducationOrganizationIdentity")
        day, year = record.text("Date"), record.text(*identity, "SchoolYear")
        school = (
            record.text(*identity, *_SCHOOL)
            or record.text(*organization, "EducationOrganizationId")  # in version 2 of the standard
            or record.text(*_SCHOOL)
        )
        is_version_2 = not record.text(*identity, *_SCHOOL)
        row = convert_row(
            TABLES["calendar"],
            {
                "school_id": school,
                "date": day,
                "school_year": _school_year_of_entry(day, "Date")
                if is_version_2 and not year
                else str(_school_year(year)),
            },
        )
        events = [
            event.code("CalendarEvent", "CalendarEvent") or event.code("CalendarEvent") or ""
            for event in record.children("CalendarEvent")
        ]
        kinds = {event: self.profile.is_school_day(event) for event in events}
        for event, kind in kinds.items():
            self.sink.code("calendar", "CalendarEvent", event, kind is not None)
        code = record.text(*identity, "CalendarCode") or ""
        if self.profile.is_closed(events):
            self.calendar.close_planned(row, code)
        if self.profile.has_classes(events):
            is_planned = self.profile.is_only_planned(events)
            self.calendar.add_school_day(
                row, code, record.file, record.line, is_only_planned=is_planned
            )
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
        row = _PendingRow(record.file, record.line, texts)
        if self.students.setdefault(str(student_id), row) is not row:
            self.repeated_students.append(row)
        self.facts.add_demographics(str(student_id), record)

    def student_organization(self, record: EdFiRecord) -> None:
        self.facts.add_demographics(student_of(record), record)
        self.sink.use(record.file)

    def enrollment(self, record: EdFiRecord) -> None:
        student_id, school = record.text(*_STUDENT), record.text(*_SCHOOL)
        entry = record.text("EntryDate")
        grade = _grade_level(record.code("EntryGradeLevel"))
        calendar = ("CalendarReference", "CalendarIdentity")
        year_text = _school_year_text(record) or record.text(*calendar, "SchoolYear")
        year = str(_school_year(year_text)) if year_text else _school_year_of_entry(entry)
        texts = {
            "student_id": student_id,
            "school_id": school,
            "entry_date": entry,
            "exit_date": record.text("ExitWithdrawDate"),
            "grade_level": None if grade is None else str(grade),
            "school_year": year,
            "calendar_code": self.calendar.followed_by(
                school or "", int(year), record.text(*calendar, "CalendarCode"), grade
            ),
        }
        row = convert_row(TABLES["school_enrollments"], texts)
        entered, left = row["entry_date"], row["exit_date"]
        assert isinstance(entered, date)
        stays = self.stays.setdefault(student_id or "", [])
        unused = never_a_stay(record.code("EnrollmentType"), record.code("ExitWithdrawType"))
        if unused is not None:
            self.never_at.setdefault(student_id or "", set()).add(school or "")
            self.sink.ignore(record.file, f"{record.kind}: {unused}")
            return
        if isinstance(left, date) and left < entered:
            raise BadValue(
                "ExitWithdrawDate",
                f"ExitWithdrawDate {left} is before EntryDate {entered}: the student was not there"
                " on any day",
            )
        self.facts.see_enrollment(entered)
        self.sink.keep("school_enrollments", row, record.file, record.line)
        stay = _Stay(
            entered=entered,
            left=left if isinstance(left, date) else None,
            is_primary=says_yes(record.text("PrimarySchool")),
            school=school or "",
            grade_level=texts["grade_level"],
        )
        stays.append(stay)

    def attendance(self, record: EdFiRecord) -> None:
        in_section = record.kind == "StudentSectionAttendanceEvent"
        code = self._attendance_code(record, in_section)
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
        if self._was_never_at(str(row["student_id"]), str(row["school_id"])):
            self.sink.ignore(record.file, "attendance at a school to which the student never came")
            return
        if in_section and code.status in ("tardy", "present"):
            self.classes.came_to(str(row["student_id"]), row["date"], _section_of(record))  # type: ignore[arg-type]
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
            if in_section:
                row["part"] = _CLASS
            elif is_absence(code.status):
                self.classes.missed_by_day(row)
            minutes = None if in_section else _minutes_missed(record, code, row)
            if minutes is not None:
                self.timed.append(_TimedAbsence(row, minutes, record.file, record.line))
            else:
                self._keep_attendance(row, record.file, record.line)
        self.attendance_schools.setdefault(str(row["student_id"]), Counter())[
            str(row["school_id"])
        ] += 1

    def _keep_attendance(self, row: dict[str, Value], file: str, line: int) -> None:
        if row["absent_share"] is not None:
            entry = (row["student_id"], row["school_id"], row["date"], row["status"])
            self.part_days[entry] += 1
            row["part"] = str(self.part_days[entry]) if self.part_days[entry] > 1 else None
        self.sink.keep("attendance_events", row, file, line)

    def _keep_timed_absences(self) -> None:
        """Write the absences of which the minutes are on record, as shares of their school's day.

        Where no absence of a school is as long as a day, it is not known how much of one it was.
        """
        lengths: dict[str, Counter[float]] = {}
        for absence in self.timed:
            if absence.minutes >= _SHORTEST_DAY:
                of_school = lengths.setdefault(str(absence.row["school_id"]), Counter())
                of_school[absence.minutes] += 1
        days = {
            school: max(counts, key=lambda minutes: (counts[minutes], minutes))
            for school, counts in lengths.items()
        }
        unknown = 0
        for absence in self.timed:
            row, whole = absence.row, days.get(str(absence.row["school_id"]))
            kind = "minutes of a school that shows no whole day" if whole is None else "minutes"
            self.sink.code("attendance_events", MINUTES, kind, whole is not None)
            if whole is None:
                unknown += 1
                row = row | {"status": "partial"}
            elif absence.minutes < whole:
                row = row | {"absent_share": absence.minutes / whole}
            self._keep_attendance(row, absence.file, absence.line)
        if unknown:
            self.sink.note(
                f"Absences of so many minutes ({MINUTES}), at schools where none is as long as a"
                f" day ({_SHORTEST_DAY} minutes or more): {unknown:,}. How much of the day they are"
                " is not known, so that they count as no absence; EventDuration can say it in days."
            )

    def _was_never_at(self, student: str, school: str) -> bool:
        """Whether the student's enrollments at a school, those that were read before, are of none
        that began.
        """
        return school in self.never_at.get(student, ()) and not any(
            stay.school == school for stay in self.stays.get(student, ())
        )

    def _attendance_code(self, record: EdFiRecord, in_section: bool) -> AttendanceCode:
        """What the record's code means; part of a class is no part of the day.

        Raises:
            BadValue: nobody has stated what it means.
        """
        recorded = (
            record.code("AttendanceEvent", "AttendanceEventCategory")
            or record.code("AttendanceEventCategory")
            or ""
        )
        code = self.profile.attendance(recorded)
        is_understood = code is not None and (
            in_section
            or self.parts.says_how_much(recorded, code.status, _absent_share(record, code))
        )
        self.sink.code("attendance_events", "AttendanceEventCategory", recorded, is_understood)
        if code is None:
            raise BadValue(
                "AttendanceEventCategory",
                f"AttendanceEventCategory is {recorded!r}, and nobody has stated what that means:"
                " profiles/edfi.toml can, under [attendance.codes]",
            )
        return code

    def section(self, record: EdFiRecord) -> None:
        """A section, and the periods of the day in which it meets."""
        offering = ("CourseOfferingReference", "CourseOfferingIdentity")
        school = record.text(*offering, *_SCHOOL) or record.text(*_SCHOOL) or ""
        periods = [
            period.text("ClassPeriodReference", "ClassPeriodIdentity", "ClassPeriodName")
            for period in record.children("ClassPeriodReference")
        ]
        name = _section_name(
            record.text("SectionIdentifier") or record.text("UniqueSectionCode"),
            record.text(*offering, "LocalCourseCode"),
        )
        self.classes.meetings.periods[school, name].update(p for p in periods if p)
        self.sink.use(record.file)

    def bell_schedule(self, record: EdFiRecord) -> None:
        """The periods that meet on some days; without days it says nothing of any."""
        school = record.text(*_SCHOOL) or ""
        reference = ("ClassPeriodReference", "ClassPeriodIdentity", "ClassPeriodName")
        periods = {
            period.text(*path, *reference)
            for path in ((), ("MeetingTime",))
            for period in record.children((*path, *reference)[0])
        }
        days = [day.text("Date") for day in record.children("Date")]
        days += [
            day.text("CalendarDateReference", "CalendarDateIdentity", "Date")
            for day in record.children("CalendarDateReference")
        ]
        column = TABLES["calendar"].column("date")
        for day in days:
            held = self.classes.meetings.held[school, convert(column, day)]  # type: ignore[index]
            held.update(period for period in periods if period)
        self.sink.use(record.file)

    def section_enrollment(self, record: EdFiRecord) -> None:
        student = record.text(*_STUDENT) or ""
        column = TABLES["school_enrollments"].column("exit_date")
        begin, end = (convert(column, record.text(name)) for name in ("BeginDate", "EndDate"))
        self.classes.enrolled[student].append((_section_of(record), begin, end))  # type: ignore[arg-type]
        self.sink.use(record.file)

    def gradebook_entry(self, record: EdFiRecord) -> None:
        self.gradebook.add_entry(record, self.course_titles)

    def student_gradebook_entry(self, record: EdFiRecord) -> None:
        self.gradebook.add_mark(record)

    def grade(self, record: EdFiRecord) -> None:
        if self.marks.leave_out(record):
            return
        reference = ("GradingPeriodReference", "GradingPeriodIdentity")
        year = _year_of_period(record, *reference)
        period = self.grading_periods.find(
            _school_of_period(record, *reference),
            record.text(*reference, "GradingPeriodName")
            or record.code(*reference, "GradingPeriod")
            or "",
            year,
            record.text(*reference, "PeriodSequence"),
        )
        self.marks.add(record, period, year, self.course_titles)

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
        self.discipline.add_incident(record)

    def incident_part(self, record: EdFiRecord) -> None:
        self.discipline.add_part(record)

    def discipline_action(self, record: EdFiRecord) -> None:
        self.discipline.add_action(record)

    def program(self, record: EdFiRecord) -> None:
        self.facts.add_program(record)

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

    def _school_now(self, student_id: str) -> dict[str, str | None]:
        """School and grade by the enrollment that counts, or the school that recorded attendance.

        Of several it is the one that has begun by the newest day on record, is open, is at the
        school that the source calls primary, was entered last, and recorded most attendance.
        """
        attended = self.attendance_schools.get(student_id, Counter())
        newest = self.newest_record

        def rank(stay: _Stay) -> tuple[bool, bool, bool, date, int]:
            has_begun = not newest or stay.entered.isoformat() <= newest
            is_open = stay.left is None or (bool(newest) and stay.left.isoformat() >= newest)
            return has_begun, is_open, stay.is_primary, stay.entered, attended[stay.school]

        stays = self.stays.get(student_id)
        if stays:
            stay = max(stays, key=rank)
            return {"school_id": stay.school, "grade_level": stay.grade_level}
        is_unsaid = stays is None and attended
        return {"school_id": attended.most_common(1)[0][0]} if is_unsaid else {}


def _grade_level(code: str | None) -> int | None:
    """The grade of a descriptor; None where there is none, or no word for a grade."""
    try:
        return grade_level(code or "", "EntryGradeLevel")
    except BadValue:
        return None


def _section_of(record: EdFiRecord) -> Section:
    section = ("SectionReference", "SectionIdentity")
    name = _section_name(
        record.text(*section, "SectionIdentifier") or record.text(*section, "UniqueSectionCode"),
        record.text(*_COURSE_OFFERING, "LocalCourseCode"),
        record.text(*section, "ClassPeriodName"),
    )
    return record.text(*_COURSE_OFFERING, *_SCHOOL) or record.text(*section, *_SCHOOL) or "", name


def _section_name(*parts: str | None) -> str:
    return " ".join(part for part in parts if part)


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


def _minutes_missed(
    record: EdFiRecord, code: AttendanceCode, row: dict[str, Value]
) -> float | None:
    """The minutes of an absence, where nothing else says how much of the day it was.

    Source: Ed-Fi Data Standard, StudentSchoolAttendanceEvent.SchoolAttendanceDuration: "the
    duration in minutes of the school attendance event".
    """
    duration = record.text("AttendanceEvent", "EventDuration") or record.text("EventDuration")
    minutes = record.text(MINUTES)
    is_open = is_absence(code.status) and row["absent_share"] is None and not duration
    return float(minutes) if is_open and minutes and _is_above_0(minutes) else None


def _is_above_0(text: str) -> bool:
    return _is_number(text) and float(text) > 0


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


def _school_year_of_entry(entry: str | None, column: str = "EntryDate") -> str:
    """The school year of a date; one in July or later is of the year that ends in the next."""
    try:
        day = date.fromisoformat((entry or "")[:10])
    except ValueError:
        raise BadValue(column, f"{column} is {entry!r}; a date must look like 2021-08-23") from None
    return str(day.year + 1 if day.month >= 7 else day.year)


def _school_of_period(record: EdFiRecord, *within: str) -> str:
    """The school of a grading period; in version 2.0 of the standard any organization."""
    organization = ("EducationOrganizationReference", "EducationOrganizationIdentity")
    return (
        record.text(*within, *_SCHOOL)
        or record.text(*within, *organization, "EducationOrganizationId")
        or ""
    )


def _year_of_period(record: EdFiRecord, *within: str) -> int:
    """The school year of a grading period; version 2 of the standard knows its first day alone."""
    text = record.text(*within, "SchoolYear") or (None if within else _school_year_text(record))
    begin = record.text(*within, "BeginDate")
    return _school_year(_school_year_of_entry(begin) if begin and not text else text)


_RULES: dict[str, Callable[[EdFiNormalizer, EdFiRecord], None]] = {
    "School": EdFiNormalizer.school,
    "LocalEducationAgency": EdFiNormalizer.district,
    "CommunityProvider": EdFiNormalizer.provider,
    "Session": EdFiNormalizer.session,
    "GradingPeriod": EdFiNormalizer.grading_period,
    "Calendar": EdFiNormalizer.school_calendar,
    "CalendarDate": EdFiNormalizer.calendar_date,
    "Course": EdFiNormalizer.course,
    "CourseOffering": EdFiNormalizer.course_offering,
    "Section": EdFiNormalizer.section,
    "BellSchedule": EdFiNormalizer.bell_schedule,
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
    "StudentDisciplineIncidentAssociation": EdFiNormalizer.incident_part,
    "StudentDisciplineIncidentBehaviorAssociation": EdFiNormalizer.incident_part,
    "DisciplineAction": EdFiNormalizer.discipline_action,
    "Intervention": EdFiNormalizer.intervention,
    "StudentInterventionAssociation": EdFiNormalizer.student_intervention,
    **dict.fromkeys((*PROGRAM_CHARACTERISTICS, *OTHER_PROGRAMS), EdFiNormalizer.program),
}
