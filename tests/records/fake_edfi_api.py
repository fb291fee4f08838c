"""A made-up Ed-Fi ODS/API on this machine: it keeps state, gives out change versions, and pages as
the real one does.

Where the real one is awkward, so is this one (observed in the source of Ed-Fi-ODS 7.3): both ends
of a window count; a record that is deleted and made again under the same key is in no list of
deletes; a record that another one's new key has changed is listed under keyChanges and nowhere
else; a `Next-Page-Token` comes with every page that holds a record, the last one too; without
cursors records come in the order of their ids, so that a new one may appear on any page.
"""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from records.connectors.edfi.api import EdFiApi
from records.connectors.http.mirror import open_mirror
from records.connectors.http.settings import ApiSettings
from tests.records.fake_http_server import QUICK, FakeHttpServer, Reply

Body = dict[str, Any]
Key = tuple[Any, ...]
PAGES_OF = 3


@dataclass
class StoredRecord:
    number: int
    version: int
    key: Key
    body: Body


class FakeEdFiApi(FakeHttpServer):
    """A fake ODS/API.

    `refused` maps resources that this client may not read to their status; `between` runs after
    each page.
    """

    def __init__(self, *, cursors: bool = True, tracks_changes: bool = True, seed: int = 0) -> None:
        super().__init__()
        self.cursors = cursors
        self.tracks_changes = tracks_changes
        self.refused: dict[str, int] = {}
        self.held: dict[str, dict[str, StoredRecord]] = defaultdict(dict)
        self.deletes: dict[str, list[tuple[str, int, Key]]] = defaultdict(list)
        self.key_changes: dict[str, list[tuple[str, int]]] = defaultdict(list)
        self.version = self.oldest = 0
        self.root: Body | None = None
        self.between: Callable[[], None] = lambda: None
        self._number = 0
        self._rng = Random(seed)

    def add(self, resource: str, key: Key, body: Body) -> str:
        with self.lock:
            id_ = f"{self._rng.getrandbits(128):032x}"
            self._number += 1
            self.held[resource][id_] = StoredRecord(self._number, self._next(), key, body)
            return id_

    def change(self, resource: str, id_: str, **fields: Any) -> None:
        with self.lock:
            held = self.held[resource][id_]
            held.body, held.version = held.body | fields, self._next()

    def delete(self, resource: str, id_: str) -> None:
        with self.lock:
            self.deletes[resource].append((id_, self._next(), self.held[resource].pop(id_).key))

    def make_again(self, resource: str, id_: str) -> str:
        """Delete a record, and make one with the same key and the same facts: it has another id."""
        with self.lock:
            held = self.held[resource][id_]
            self.delete(resource, id_)
            return self.add(resource, held.key, held.body)

    def rekey(self, resource: str, id_: str, key: Key, **fields: Any) -> None:
        """Give a record the new key of another one: neither its version nor any window shows it."""
        with self.lock:
            held = self.held[resource][id_]
            held.key, held.body = key, held.body | fields
            self.key_changes[resource].append((id_, self._next()))

    def nightfall(self, versions: int = 20_000) -> None:
        """Write so much elsewhere that the overlap of change versions no longer matters."""
        with self.lock:
            self.version += versions

    def state(self, resource: str) -> dict[str, Body]:
        return {id_: held.body for id_, held in self.held[resource].items()}

    def connector(
        self, *, page_size: int = PAGES_OF, only: Collection[str] = (), **options: Any
    ) -> EdFiApi:
        """A connector to this server that reads the resources in `only`, or all of them."""
        settings = ApiSettings(
            "edfi-api", "north", f"{self.url}/api", self.credentials(), page_size, options
        )
        connector = EdFiApi(settings, QUICK, lambda seconds: None)
        if only:
            connector.resources = tuple(
                resource for resource in connector.resources if resource.name in only
            )
        return connector

    def answer(self, method: str, path: str, params: Mapping[str, str], body: bytes) -> Reply:
        if method != "GET":
            return Reply({"message": "only reading is expected here"}, 405)
        if path == "/api/":
            return Reply(
                self.root
                or {"version": "7.3", "urls": {"dataManagementApi": f"{self.url}/api/data/v3/"}}
            )
        if path == "/api/changeQueries/v1/availableChangeVersions":
            versions = {"oldestChangeVersion": self.oldest, "newestChangeVersion": self.version}
            return Reply(versions) if self.tracks_changes else Reply({}, 404)
        namespace, name, *rest = path.removeprefix("/api/data/v3/").split("/")
        resource = f"{namespace}/{name}"
        if resource in self.refused or (rest and f"{resource}/{rest[0]}" in self.refused):
            return Reply({}, self.refused.get(resource) or self.refused[f"{resource}/{rest[0]}"])
        if rest == ["deletes"]:
            keys = {held.key for held in self.held[resource].values()}
            gone = [
                (version, {"id": id_})
                for id_, version, key in self.deletes[resource]
                if key not in keys
            ]
            return self._listed(params, gone)
        if rest == ["keyChanges"]:
            return self._listed(
                params, [(version, {"id": id_}) for id_, version in self.key_changes[resource]]
            )
        if rest:
            held = self.held[resource].get(rest[0])
            return Reply({"id": rest[0]} | held.body) if held else Reply({}, 404)
        reply = self._page(resource, params)
        self.between()
        return reply

    def _page(self, resource: str, params: Mapping[str, str]) -> Reply:
        low, high = (
            int(params.get("minChangeVersion", 0)),
            int(params.get("maxChangeVersion", 1 << 62)),
        )
        rows = [
            (id_, held) for id_, held in self.held[resource].items() if low <= held.version <= high
        ]
        total = {"Total-Count": str(len(rows))} if params.get("totalCount") == "true" else {}
        if self.cursors:
            rows.sort(key=lambda row: row[1].number)
        else:
            rows.sort()
        if "pageToken" in params:
            start = int(base64.urlsafe_b64decode(params["pageToken"]))
            page = [row for row in rows if row[1].number >= start][: int(params["pageSize"])]
        else:
            page = rows[int(params.get("offset", 0)) :][: int(params.get("limit", 25))]
        token = {}
        if self.cursors and page:
            token = {
                "Next-Page-Token": base64.urlsafe_b64encode(
                    str(page[-1][1].number + 1).encode()
                ).decode()
            }
        return Reply(
            [
                {"id": id_, "_etag": "1", "_lastModifiedDate": "2026-01-01T00:00:00Z"} | held.body
                for id_, held in page
            ],
            headers=total | token,
        )

    def _listed(self, params: Mapping[str, str], entries: Iterable[tuple[int, Body]]) -> Reply:
        if not self.tracks_changes:
            return Reply({}, 404)
        low, high = (
            int(params.get("minChangeVersion", 0)),
            int(params.get("maxChangeVersion", 1 << 62)),
        )
        within = sorted(
            (version, json.dumps(entry)) for version, entry in entries if low <= version <= high
        )
        page = within[int(params.get("offset", 0)) :][: int(params.get("limit", 25))]
        total = {"Total-Count": str(len(within))} if params.get("totalCount") == "true" else {}
        return Reply(
            [{"changeVersion": version} | json.loads(entry) for version, entry in page],
            headers=total,
        )

    def _next(self) -> int:
        self.version += 1
        return self.version


def mirrored(folder: Path, resource: str) -> dict[str, Body]:
    with open_mirror(folder) as mirror:
        return {record.id: dict(record.body) for record in mirror.records(resource)}


SCHOOL_YEAR = {"schoolYear": 2026}
_URI = "uri://ed-fi.org"


def descriptor(kind: str, code: str) -> str:
    return f"{_URI}/{kind}Descriptor#{code}"


def fill(ods: FakeEdFiApi, students: int = 6) -> None:
    """Fill a small district: each resource has records, each value of a student its table."""
    for school in (1, 2):
        ods.add(
            "ed-fi/schools",
            (school,),
            {"schoolId": school, "nameOfInstitution": f"School {school}"},
        )
        ods.add(
            "ed-fi/sessions",
            (school,),
            {
                "sessionName": "Fall",
                "schoolReference": {"schoolId": school},
                "schoolYearTypeReference": SCHOOL_YEAR,
                "beginDate": "2025-09-01",
                "endDate": "2025-09-12",
            },
        )
        ods.add(
            "ed-fi/gradingPeriods",
            (school,),
            {
                "gradingPeriodName": "First",
                "gradingPeriodDescriptor": descriptor("GradingPeriod", "First Six Weeks"),
                "periodSequence": 1,
                "schoolReference": {"schoolId": school},
                "schoolYearTypeReference": SCHOOL_YEAR,
                "beginDate": "2025-09-01",
                "endDate": "2025-10-10",
            },
        )
        ods.add(
            "ed-fi/calendars",
            (school,),
            {
                "calendarCode": "c",
                "calendarTypeDescriptor": descriptor("CalendarType", "School"),
                "gradeLevels": [],
                "schoolReference": {"schoolId": school},
                "schoolYearTypeReference": SCHOOL_YEAR,
            },
        )
        ods.add(
            "ed-fi/bellSchedules",
            (school,),
            {
                "bellScheduleName": "Normal",
                "classPeriods": [
                    {"classPeriodReference": {"classPeriodName": "1", "schoolId": school}}
                ],
                "dates": [{"date": "2025-09-02"}],
                "schoolReference": {"schoolId": school},
            },
        )
        ods.add(
            "ed-fi/sections",
            (school,),
            {
                "sectionIdentifier": "m1",
                "courseOfferingReference": {"localCourseCode": "MATH", "schoolId": school},
                "classPeriods": [
                    {"classPeriodReference": {"classPeriodName": "1", "schoolId": school}}
                ],
            },
        )
        for day, event in ((1, "Instructional day"), (2, "Instructional day"), (3, "Holiday")):
            ods.add(
                "ed-fi/calendarDates",
                (school, day),
                {
                    "date": f"2025-09-{day:02d}",
                    "calendarEvents": [
                        {"calendarEventDescriptor": descriptor("CalendarEvent", event)}
                    ],
                    "calendarReference": {
                        "calendarCode": "c",
                        "schoolId": school,
                        "schoolYear": 2026,
                    },
                },
            )
        ods.add(
            "ed-fi/disciplineIncidents",
            (school,),
            {
                "incidentIdentifier": f"i{school}",
                "incidentDate": "2025-09-02",
                "schoolReference": {"schoolId": school},
            },
        )
    ods.add(
        "ed-fi/communityProviders",
        (9,),
        {"communityProviderId": 9, "nameOfInstitution": "Bright Path"},
    )
    ods.add("ed-fi/courses", ("MATH",), {"courseCode": "MATH", "courseTitle": "Mathematics"})
    ods.add(
        "ed-fi/courseOfferings", ("ART",), {"localCourseCode": "ART", "localCourseTitle": "Art"}
    )
    section = {
        "localCourseCode": "MATH",
        "schoolId": 1,
        "schoolYear": 2026,
        "sectionIdentifier": "m1",
        "sessionName": "Fall",
    }
    for entry in range(2):
        ods.add(
            "ed-fi/gradebookEntries",
            (entry,),
            {
                "gradebookEntryIdentifier": f"e{entry}",
                "title": f"Exercise {entry}",
                "dueDate": "2025-09-03",
                "dateAssigned": "2025-09-02",
                "sectionReference": section,
            },
        )
    ods.add(
        "ed-fi/interventions",
        ("check-in",),
        {
            "interventionIdentificationCode": "check-in",
            "beginDate": "2025-09-01",
            "educationOrganizationReference": {"educationOrganizationId": 1},
        },
    )
    for number in range(students):
        add_student(ods, number)


def add_student(ods: FakeEdFiApi, number: int) -> None:
    student, school = f"s{number}", 1 + number % 2
    of = {
        "studentReference": {
            "studentUniqueId": student,
            "link": {"rel": "Student", "href": f"/students/{number}"},
        }
    }
    at = {"schoolReference": {"schoolId": school}}
    ods.add(
        "ed-fi/students",
        (student,),
        {
            "studentUniqueId": student,
            "firstName": f"First{number}",
            "lastSurname": f"Last{number}",
            "birthDate": f"2012-03-{1 + number % 28:02d}",
        },
    )
    ods.add(
        "ed-fi/studentEducationOrganizationAssociations",
        (student,),
        of
        | {
            "educationOrganizationReference": {"educationOrganizationId": school},
            "hispanicLatinoEthnicity": number == 3,
            "sexDescriptor": descriptor("Sex", ("Female", "Male", "Not Selected")[number % 3]),
            "races": [
                {"raceDescriptor": descriptor("Race", race)}
                for race in ("White", "Asian")[: 1 + number % 2]
            ],
        },
    )
    ods.add(
        "ed-fi/studentSchoolAssociations",
        (student,),
        of
        | at
        | {
            "entryDate": "2025-08-25",
            "entryGradeLevelDescriptor": descriptor("GradeLevel", "Fifth grade"),
            "schoolYearTypeReference": SCHOOL_YEAR,
        },
    )
    for resource, code in (
        ("ed-fi/studentSchoolAttendanceEvents", "Unexcused Absence"),
        ("ed-fi/studentSectionAttendanceEvents", "Tardy"),
    ):
        place = (
            at
            if resource == "ed-fi/studentSchoolAttendanceEvents"
            else {
                "sectionReference": {
                    "localCourseCode": "MATH",
                    "schoolId": school,
                    "schoolYear": 2026,
                    "sectionIdentifier": "m1",
                    "sessionName": "Fall",
                }
            }
        )
        ods.add(
            resource,
            (student,),
            of
            | place
            | {
                "eventDate": "2025-09-02",
                "attendanceEventCategoryDescriptor": descriptor("AttendanceEventCategory", code),
            },
        )
    ods.add(
        "ed-fi/studentSectionAssociations",
        (student,),
        of
        | {
            "beginDate": "2025-08-25",
            "sectionReference": {
                "localCourseCode": "MATH",
                "schoolId": school,
                "schoolYear": 2026,
                "sectionIdentifier": "m1",
                "sessionName": "Fall",
            },
        },
    )
    ods.add(
        "ed-fi/studentGradebookEntries",
        (student,),
        of
        | {
            "gradebookEntryReference": {
                "gradebookEntryIdentifier": f"e{number % 2}",
                "namespace": _URI,
            },
            "numericGradeEarned": 70.5 + number % 30,
        },
    )
    ods.add(
        "ed-fi/grades",
        (student,),
        {
            "numericGradeEarned": 80 + number % 20,
            "gradeTypeDescriptor": descriptor("GradeType", "Grading Period"),
            "gradingPeriodReference": {
                "gradingPeriodName": "First",
                "schoolId": school,
                "schoolYear": 2026,
                "gradingPeriodDescriptor": descriptor("GradingPeriod", "First Six Weeks"),
            },
            "studentSectionAssociationReference": {
                "localCourseCode": ("MATH", "ART")[number % 2],
                "sectionIdentifier": "m1",
                "studentUniqueId": student,
                "schoolId": school,
            },
        },
    )
    ods.add(
        "ed-fi/studentAssessments",
        (student,),
        of
        | {
            "administrationDate": "2025-09-04T16:00:00Z",
            "assessmentReference": {"assessmentIdentifier": "Reading"},
            "scoreResults": [
                {
                    "result": "28",
                    "assessmentReportingMethodDescriptor": descriptor(
                        "AssessmentReportingMethod", "Raw"
                    ),
                },
                {
                    "result": "Pass",
                    "assessmentReportingMethodDescriptor": descriptor(
                        "AssessmentReportingMethod", "L"
                    ),
                },
            ],
        },
    )
    incident = {"incidentIdentifier": f"i{school}", "schoolId": school}
    ods.add(
        "ed-fi/studentDisciplineIncidentBehaviorAssociations",
        (student,),
        of
        | {
            "disciplineIncidentReference": incident,
            "behaviorDescriptor": descriptor("Behavior", "Other"),
        },
    )
    ods.add(
        "ed-fi/studentDisciplineIncidentAssociations",
        (student,),
        of
        | {
            "disciplineIncidentReference": {"incidentIdentifier": "i1", "schoolId": 1},
            "studentParticipationCodeDescriptor": descriptor("StudentParticipationCode", "Witness"),
        },
    )
    ods.add(
        "ed-fi/disciplineActions",
        (student,),
        of
        | {
            "disciplineActionIdentifier": student,
            "disciplineDate": "2025-09-03",
            "actualDisciplineActionLength": 1.0,
            "disciplines": [{"disciplineDescriptor": descriptor("Discipline", "Detention")}],
            "studentDisciplineIncidentBehaviorAssociations": [
                {
                    "studentDisciplineIncidentBehaviorAssociationReference": incident
                    | {"studentUniqueId": student}
                }
            ],
        },
    )
    programs = (
        "SpecialEducation",
        "Section504",
        "LanguageInstruction",
        "Homeless",
        "SchoolFoodService",
        "",
    )
    program = programs[number % len(programs)]
    ods.add(
        f"ed-fi/student{program}ProgramAssociations",
        (student,),
        of
        | {
            "beginDate": "2025-08-25",
            "programReference": {"programName": "Bilingual", "educationOrganizationId": 1},
        },
    )
    ods.add(
        "ed-fi/studentInterventionAssociations",
        (student,),
        of
        | {
            "interventionReference": {
                "interventionIdentificationCode": "check-in",
                "educationOrganizationId": 1,
            }
        },
    )
