"""A district as a folder of Ed-Fi XML interchange files, in three of the standard's versions.

The versions differ in how they write a code, in what names a grading period and in how an action
belongs to a student's part in an incident. Attendance is of school days, or of sections: then an
absence is one of every class of the day, half a day one of half of the classes. Everything of the
neutral form is carried.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from xml.sax.saxutils import escape

from tests.source_forms.districts import (
    COURSES,
    PERIODS,
    WEEKDAYS,
    District,
    Entry,
    Incident,
    Mark,
    Period,
    Spell,
    Student,
)

CLASSES = ("MATH7", "ELA7", "SCI7", "PE7")
GRADES = {6: "Sixth grade", 7: "Seventh grade", 8: "Eighth grade"}
STATUSES = {
    "absent_excused": "Excused Absence",
    "absent_unexcused": "Unexcused Absence",
    "tardy": "Tardy",
}
PERIOD_NAMES = {1: "First Nine Weeks", 2: "Second Nine Weeks", 3: "Third Nine Weeks"}
LAST_PERIOD = "Fourth Nine Weeks"
SEXES = {"female": "Female", "male": "Male", "another": "Non-binary"}
OLD_RACES = {
    "white": ("White",),
    "black": ("Black - African American",),
    "asian": ("Asian",),
    "two_or_more": ("White", "Asian"),
    "hispanic": ("White",),
}
NEW_RACES = OLD_RACES | {
    "black": ("Black or African American",),
    "hispanic": ("Hispanic or Latino",),
}


@dataclass(frozen=True)
class Standard:
    """One version of the standard: its namespace, and which of its habits are the old ones."""

    version: int
    namespace: str

    def code(self, element: str, code: str, descriptor: str = "") -> str:
        """An element that holds a code: with its namespace since version 3."""
        if self.version < 3:
            return tag(element, tag("CodeValue", code) if descriptor else code)
        return tag(element, f"uri://ed-fi.org/{descriptor or element}Descriptor#{code}")

    @property
    def section_name(self) -> str:
        return "UniqueSectionCode" if self.version < 3 else "SectionIdentifier"


STANDARDS = {
    "2.2": Standard(2, "http://ed-fi.org/0220"),
    "3.3": Standard(3, "http://ed-fi.org/0330"),
    "5.2": Standard(5, "http://ed-fi.org/5.2.0"),
}


def write_edfi(district: District, folder: Path, standard: Standard, *, by_section: bool) -> Path:
    """Write the files of a district into a new folder."""
    folder.mkdir(parents=True)
    kind = "Section" if by_section else "School"
    files = {
        "EducationOrganization": _schools(district),
        "EducationOrgCalendar": _calendar(district, standard),
        "MasterSchedule": _courses(district),
        "StudentParent" if standard.version < 3 else "Student": _students(district, standard),
        "StudentEnrollment": _enrollments(district, standard, by_section),
        f"Student{kind}Attendance": _attendance(district, standard, by_section),
        "StudentGrade": _grades(district, standard),
        "StudentDiscipline": _discipline(district, standard),
    }
    for name, records in files.items():
        root = f"Interchange{'StudentAttendance' if 'Attendance' in name else name}"
        lines = "\n".join(records)
        (folder / f"{name}.xml").write_text(
            f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{standard.namespace}">\n'
            f"{lines}\n</{root}>\n",
            encoding="utf-8",
        )
    return folder


def tag(name: str, *contents: object) -> str:
    """An element with elements, or with one text."""
    texts = [str(content) for content in contents]
    inner = "".join(text if text.startswith("<") else escape(text) for text in texts)
    return f"<{name}>{inner}</{name}>"


def reference(kind: str, *identity: str) -> str:
    return tag(f"{kind}Reference", tag(f"{kind}Identity", *identity))


def of_school(school: str) -> str:
    return reference("School", tag("SchoolId", school))


def of_student(student: str) -> str:
    return reference("Student", tag("StudentUniqueId", student))


def of_section(standard: Standard, school: str, course: str) -> str:
    offering = reference("CourseOffering", tag("LocalCourseCode", course), of_school(school))
    return reference("Section", tag(standard.section_name, f"{course}-1"), offering)


def school_year(year: int) -> str:
    return tag("SchoolYear", f"{year - 1}-{year}")


def _schools(district: District) -> Iterator[str]:
    for school in district.schools:
        yield tag("School", tag("NameOfInstitution", f"School {school}"), tag("SchoolId", school))


def _calendar(district: District, standard: Standard) -> Iterator[str]:
    for school in district.schools:
        yield tag(
            "Session",
            tag("SessionName", "Fall"),
            school_year(2026),
            tag("BeginDate", WEEKDAYS[0]),
            tag("EndDate", WEEKDAYS[-1]),
            standard.code("Term", "Fall Semester"),
            of_school(school),
        )
        for period in PERIODS:
            yield _grading_period(standard, school, period)
        for day in district.days[school]:
            kind = "Instructional day" if day.weekday() < 5 else "Make-up day"
            yield _calendar_date(standard, school, day, kind)
        for day in district.closed(school):
            yield _calendar_date(standard, school, day, "Holiday")


def _calendar_date(standard: Standard, school: str, day: date, kind: str) -> str:
    calendar = reference("Calendar", tag("CalendarCode", 1), of_school(school), school_year(2026))
    return tag("CalendarDate", tag("Date", day), standard.code("CalendarEvent", kind), calendar)


def _period_name(period: Period) -> str:
    return PERIOD_NAMES.get(period.number, LAST_PERIOD)


def _grading_period(standard: Standard, school: str, period: Period) -> str:
    named = standard.code("GradingPeriod", _period_name(period))
    if standard.version >= 5:
        named = tag("GradingPeriodName", _period_name(period)) + named
    year = school_year(period.school_year) if standard.version >= 3 else ""
    organization = of_school(school)
    if standard.version < 3:
        identity = tag("EducationOrganizationId", school)
        organization = reference("EducationOrganization", identity)
    return tag(
        "GradingPeriod",
        named,
        year,
        tag("BeginDate", period.first),
        tag("EndDate", period.last),
        tag("PeriodSequence", period.number),
        organization,
    )


def _of_period(standard: Standard, school: str, period: Period) -> str:
    name, year = _period_name(period), school_year(period.school_year)
    if standard.version >= 5:
        identity = [tag("GradingPeriodName", name), year, of_school(school)]
    elif standard.version >= 3:
        sequence = tag("PeriodSequence", period.number)
        identity = [standard.code("GradingPeriod", name), sequence, year, of_school(school)]
    else:
        organization = tag("EducationOrganizationId", school)
        identity = [
            standard.code("GradingPeriod", name),
            tag("BeginDate", period.first),
            reference("EducationOrganization", organization),
        ]
    return reference("GradingPeriod", *identity)


def _courses(district: District) -> Iterator[str]:
    for school in district.schools:
        for code, title in COURSES.items():
            yield tag(
                "CourseOffering",
                tag("LocalCourseCode", code),
                tag("LocalCourseTitle", title),
                of_school(school),
            )


def _students(district: District, standard: Standard) -> Iterator[str]:
    for student in district.students:
        name = tag("Name", tag("FirstName", f"First{student.id}"), tag("LastSurname", "Test"))
        born = tag("BirthData", tag("BirthDate", "2012-03-04"))
        facts = _demographics(student, standard) if standard.version < 3 else ""
        yield tag("Student", tag("StudentUniqueId", student.id), name, born, facts)


def _demographics(student: Student, standard: Standard) -> str:
    sex = standard.code("Sex", SEXES[student.sex]) if student.sex else ""
    table = NEW_RACES if standard.version >= 5 else OLD_RACES
    races = [standard.code("Race", code) for code in table.get(student.race or "", ())]
    if standard.version < 5:
        races = [tag("Race", race) for race in races] if standard.version == 3 else races
        if student.race == "hispanic":
            races.append(tag("HispanicLatinoEthnicity", "true"))
    return sex + "".join(races)


def _enrollments(district: District, standard: Standard, by_section: bool) -> Iterator[str]:
    for student in district.students:
        for spell in student.spells:
            yield _enrollment(student, spell, standard)
            if by_section:
                yield from _section_enrollments(student, spell, standard)
        if standard.version >= 3:
            organization = tag("EducationOrganizationId", 1)
            yield tag(
                "StudentEducationOrganizationAssociation",
                of_student(student.id),
                reference("EducationOrganization", organization),
                _demographics(student, standard),
            )


def _enrollment(student: Student, spell: Spell, standard: Standard) -> str:
    return tag(
        "StudentSchoolAssociation",
        of_student(student.id),
        of_school(spell.school),
        school_year(2026),
        tag("EntryDate", spell.first),
        standard.code("EntryGradeLevel", GRADES[student.grade], "GradeLevel"),
        tag("ExitWithdrawDate", spell.last) if spell.last else "",
    )


def _section_enrollments(student: Student, spell: Spell, standard: Standard) -> Iterator[str]:
    for course in CLASSES:
        yield tag(
            "StudentSectionAssociation",
            of_student(student.id),
            of_section(standard, spell.school, course),
            tag("BeginDate", spell.first),
            tag("EndDate", spell.last) if spell.last else "",
        )


def _attendance(district: District, standard: Standard, by_section: bool) -> Iterator[str]:
    for student in district.students:
        by_day: dict[date, list[Entry]] = {}
        for entry in student.entries:
            by_day.setdefault(entry.day, []).append(entry)
        for entries in by_day.values():
            if by_section:
                yield from _day_by_sections(student.id, entries, standard)
            else:
                yield from (_day(student.id, entry, standard) for entry in entries)


def _day(student: str, entry: Entry, standard: Standard) -> str:
    share = "" if entry.share is None else tag("EventDuration", entry.share)
    event = _event(entry, standard, share)
    return tag("StudentSchoolAttendanceEvent", event, of_student(student), of_school(entry.school))


def _day_by_sections(student: str, entries: list[Entry], standard: Standard) -> Iterator[str]:
    """An absence takes its share of the day's classes; somebody late is late for the last."""
    missed = 0
    for entry in sorted(entries, key=lambda entry: entry.status):
        count = 1 if entry.share is None else round(entry.share * len(CLASSES))
        first = len(CLASSES) - 1 if entry.share is None else missed
        missed += 0 if entry.share is None else count
        for course in CLASSES[first : first + count]:
            yield tag(
                "StudentSectionAttendanceEvent",
                _event(entry, standard, ""),
                of_student(student),
                of_section(standard, entry.school, course),
            )


def _event(entry: Entry, standard: Standard, share: str) -> str:
    category = standard.code(
        "AttendanceEventCategory", STATUSES[entry.status], "AttendanceEventCategory"
    )
    event = tag("EventDate", entry.day) + category + share
    return event if standard.version < 3 else tag("AttendanceEvent", event)


def _grades(district: District, standard: Standard) -> Iterator[str]:
    for student in district.students:
        for mark in student.marks:
            yield _grade(student.id, mark, standard)


def _grade(student: str, mark: Mark, standard: Standard) -> str:
    section = reference(
        "StudentSectionAssociation",
        of_student(student),
        of_section(standard, mark.school, mark.course),
    )
    return tag(
        "Grade",
        tag("NumericGradeEarned", mark.points),
        standard.code("GradeType", "Grading Period"),
        section,
        _of_period(standard, mark.school, mark.period),
    )


def _discipline(district: District, standard: Standard) -> Iterator[str]:
    for incident in district.incidents:
        yield tag(
            "DisciplineIncident",
            tag("IncidentIdentifier", incident.number),
            tag("IncidentDate", incident.day),
            of_school(incident.school),
        )
        for student in incident.parts:
            yield _part(student, incident, standard)
        for student, action in incident.parts.items():
            if action is not None:
                yield _action(student, incident, standard)


def _of_incident(incident: Incident) -> str:
    number = tag("IncidentIdentifier", incident.number)
    return reference("DisciplineIncident", number, of_school(incident.school))


def _part(student: str, incident: Incident, standard: Standard) -> str:
    who = of_student(student) + _of_incident(incident)
    behavior = standard.code("Behavior", incident.behavior)
    if standard.version >= 5:
        return tag("StudentDisciplineIncidentBehaviorAssociation", who, behavior)
    part = standard.code("StudentParticipationCode", "Perpetrator")
    return tag("StudentDisciplineIncidentAssociation", who, part, tag("Behavior", behavior))


def _action(student: str, incident: Incident, standard: Standard) -> str:
    action = incident.parts[student]
    assert action is not None
    part = of_student(student) + _of_incident(incident)
    kind = "Behavior" if standard.version >= 5 else ""
    belongs = (
        _of_incident(incident)
        if standard.version < 3
        else reference(f"StudentDisciplineIncident{kind}Association", part)
    )
    days = "" if action.days is None else tag("ActualDisciplineActionLength", action.days)
    response = standard.code("Discipline", action.response)
    return tag(
        "DisciplineAction",
        tag("DisciplineActionIdentifier", f"{incident.id}-{student}"),
        tag("DisciplineDate", incident.day),
        response,
        days,
        of_student(student),
        belongs,
    )
