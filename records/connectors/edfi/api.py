"""An Ed-Fi ODS/API (version 5 and later) to canonical tables: everything once, then only what has
changed.

A resource is whole when three things hold: every window of change versions was read in a way that
cannot pass over a record, nothing has changed since, and the mirror holds as many records as the
source counts. Where they do not hold the resource is read anew, a bounded number of times, and then
refused. Only the fields named here leave an answer; no request writes anything. What a record means
is in `edfi_rules`.

Source: the Ed-Fi API Design Guidelines and ODS/API documentation (https://docs.ed-fi.org), on
change queries, offset and cursor paging.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from records.canonical.never_ingest import redact
from records.canonical.schema import TABLES
from records.connectors.edfi.rules import PROGRAM_CHARACTERISTICS, EdFiNormalizer
from records.connectors.http.client import (
    Params,
    RequestRefused,
    Response,
    RestClient,
    RetryPolicy,
    SourceUnavailable,
)
from records.connectors.http.mirror import (
    FieldSelection,
    Mirror,
    open_complete_mirror,
    open_mirror,
    select_fields,
)
from records.connectors.http.settings import ApiSettings
from records.connectors.protocol import RowSink, SourceRefused
from records.system.progress import ProgressCallback

CHANGE_VERSION_OVERLAP = 10_000
"""Change versions that are read again next time. A version is given out before its transaction is
committed, so one may appear below the newest; versions are numbered over all resources, so this
costs at most so many records in all."""

_SWEEPS = 3
_ROUNDS = 20
_ROUNDS_OVER_ALL = 5
"""So that a student who was added while marks were read is there with them. At a source that is
written to all day each resource is whole at its own moment, and the next fetch brings the rest."""

_PROGRESS_EVERY = 5_000
_PARTNERS_TABLES = ("programs", "service_enrollments")
_OF_INTERVENTIONS = (
    "ed-fi/communityProviders",
    "ed-fi/interventions",
    "ed-fi/studentInterventionAssociations",
)


@dataclass(frozen=True)
class EdFiResource:
    """One resource: the interchange element whose rules it follows, the fields kept of it, what it
    is needed for.
    """

    name: str
    kind: str
    wanted: FieldSelection
    stays_empty: str


def _fields(*names: str, **inner: FieldSelection) -> FieldSelection:
    return dict.fromkeys(names, True) | inner


_STUDENT = _fields("studentUniqueId")
_SCHOOL = _fields("schoolId")
_SCHOOL_YEAR = _fields("schoolYear")
_SECTION = _fields("localCourseCode", "schoolId")
_PROGRAM = _fields(studentReference=_STUDENT, programReference=_fields("programName"))

RESOURCES: tuple[EdFiResource, ...] = (
    EdFiResource("ed-fi/schools", "School", _fields("schoolId", "nameOfInstitution"), "schools"),
    EdFiResource(
        "ed-fi/communityProviders",
        "CommunityProvider",
        _fields("communityProviderId", "nameOfInstitution"),
        "who runs an intervention (its school is taken)",
    ),
    EdFiResource(
        "ed-fi/sessions",
        "Session",
        _fields(
            "beginDate", "endDate", schoolReference=_SCHOOL, schoolYearTypeReference=_SCHOOL_YEAR
        ),
        "school days that no calendar lists",
    ),
    EdFiResource(
        "ed-fi/gradingPeriods",
        "GradingPeriod",
        _fields(
            "gradingPeriodName",
            "gradingPeriodDescriptor",
            "periodSequence",
            "endDate",
            schoolReference=_SCHOOL,
            schoolYearTypeReference=_SCHOOL_YEAR,
        ),
        "course_grades (a mark without its period has no date)",
    ),
    EdFiResource(
        "ed-fi/calendarDates",
        "CalendarDate",
        _fields(
            "date",
            calendarEvents=_fields("calendarEventDescriptor"),
            calendarReference=_fields("schoolId", "schoolYear"),
        ),
        "calendar (the weekdays of each term are taken)",
    ),
    EdFiResource(
        "ed-fi/courses",
        "Course",
        _fields("courseCode", "courseTitle"),
        "course titles (courses keep their codes)",
    ),
    EdFiResource(
        "ed-fi/courseOfferings",
        "CourseOffering",
        _fields("localCourseCode", "localCourseTitle"),
        "local course titles",
    ),
    EdFiResource(
        "ed-fi/students",
        "Student",
        _fields("studentUniqueId", "firstName", "lastSurname", "birthDate"),
        "everything",
    ),
    EdFiResource(
        "ed-fi/studentEducationOrganizationAssociations",
        "StudentEducationOrganizationAssociation",
        _fields(
            "sexDescriptor",
            "hispanicLatinoEthnicity",
            studentReference=_STUDENT,
            races=_fields("raceDescriptor"),
        ),
        "sex and race_ethnicity (the fairness audit has no such groups)",
    ),
    EdFiResource(
        "ed-fi/studentSchoolAssociations",
        "StudentSchoolAssociation",
        _fields(
            "entryDate",
            "exitWithdrawDate",
            "entryGradeLevelDescriptor",
            studentReference=_STUDENT,
            schoolReference=_SCHOOL,
            schoolYearTypeReference=_SCHOOL_YEAR,
        ),
        "school_enrollments and grade levels (a student's school is taken from attendance)",
    ),
    EdFiResource(
        "ed-fi/studentSchoolAttendanceEvents",
        "StudentSchoolAttendanceEvent",
        _fields(
            "eventDate",
            "attendanceEventCategoryDescriptor",
            studentReference=_STUDENT,
            schoolReference=_SCHOOL,
        ),
        "attendance_events",
    ),
    EdFiResource(
        "ed-fi/studentSectionAttendanceEvents",
        "StudentSectionAttendanceEvent",
        _fields(
            "eventDate",
            "attendanceEventCategoryDescriptor",
            studentReference=_STUDENT,
            sectionReference=_fields("schoolId"),
        ),
        "lateness to single classes",
    ),
    EdFiResource(
        "ed-fi/gradebookEntries",
        "GradebookEntry",
        _fields(
            "gradebookEntryIdentifier",
            "title",
            "dueDate",
            "dateAssigned",
            sectionReference=_SECTION,
        ),
        "course, title and due date of gradebook_entries",
    ),
    EdFiResource(
        "ed-fi/studentGradebookEntries",
        "StudentGradebookEntry",
        _fields(
            "numericGradeEarned",
            studentReference=_STUDENT,
            gradebookEntryReference=_fields("gradebookEntryIdentifier"),
        ),
        "gradebook_entries",
    ),
    EdFiResource(
        "ed-fi/grades",
        "Grade",
        _fields(
            "numericGradeEarned",
            gradingPeriodReference=_fields(
                "gradingPeriodName", "gradingPeriodDescriptor", "schoolId", "schoolYear"
            ),
            studentSectionAssociationReference=_fields("localCourseCode", "studentUniqueId"),
        ),
        "course_grades (so no course average and no course-failing alert)",
    ),
    EdFiResource(
        "ed-fi/studentAssessments",
        "StudentAssessment",
        _fields(
            "administrationDate",
            studentReference=_STUDENT,
            assessmentReference=_fields("assessmentIdentifier"),
            scoreResults=_fields("result", "assessmentReportingMethodDescriptor"),
        ),
        "assessments",
    ),
    EdFiResource(
        "ed-fi/disciplineIncidents",
        "DisciplineIncident",
        _fields("incidentIdentifier", "incidentDate", schoolReference=_SCHOOL),
        "behavior_incidents",
    ),
    EdFiResource(
        "ed-fi/studentDisciplineIncidentBehaviorAssociations",
        "StudentDisciplineIncidentBehaviorAssociation",
        _fields(
            "behaviorDescriptor",
            studentReference=_STUDENT,
            disciplineIncidentReference=_fields("incidentIdentifier", "schoolId"),
        ),
        "behavior_incidents",
    ),
    EdFiResource(
        "ed-fi/disciplineActions",
        "DisciplineAction",
        _fields(
            "actualDisciplineActionLength",
            "disciplineActionLength",
            studentReference=_STUDENT,
            disciplines=_fields("disciplineDescriptor"),
            studentDisciplineIncidentBehaviorAssociations=_fields(
                studentDisciplineIncidentBehaviorAssociationReference=_fields(
                    "incidentIdentifier", "schoolId"
                )
            ),
        ),
        "action and days_removed of behavior_incidents",
    ),
    EdFiResource(
        "ed-fi/studentSpecialEducationProgramAssociations",
        "StudentSpecialEducationProgramAssociation",
        _PROGRAM,
        "special_education",
    ),
    EdFiResource(
        "ed-fi/studentSection504ProgramAssociations",
        "StudentSection504ProgramAssociation",
        _PROGRAM,
        "special_education of students with a 504 plan alone",
    ),
    EdFiResource(
        "ed-fi/studentLanguageInstructionProgramAssociations",
        "StudentLanguageInstructionProgramAssociation",
        _PROGRAM,
        "english_learner",
    ),
    EdFiResource(
        "ed-fi/studentHomelessProgramAssociations",
        "StudentHomelessProgramAssociation",
        _PROGRAM,
        "unstable_housing",
    ),
    EdFiResource(
        "ed-fi/studentSchoolFoodServiceProgramAssociations",
        "StudentSchoolFoodServiceProgramAssociation",
        _PROGRAM,
        "meal_eligible",
    ),
    EdFiResource(
        "ed-fi/studentProgramAssociations",
        "StudentProgramAssociation",
        _PROGRAM,
        "english_learner of students in a language program of the general kind",
    ),
    EdFiResource(
        "ed-fi/interventions",
        "Intervention",
        _fields(
            "interventionIdentificationCode",
            "beginDate",
            "endDate",
            educationOrganizationReference=_fields("educationOrganizationId"),
        ),
        "programs and service_enrollments of school-run supports",
    ),
    EdFiResource(
        "ed-fi/studentInterventionAssociations",
        "StudentInterventionAssociation",
        _fields(
            studentReference=_STUDENT,
            interventionReference=_fields("interventionIdentificationCode"),
        ),
        "service_enrollments of school-run supports",
    ),
)
"""Everything that is read, in the order in which the rules need it: context, then students, then
what is about them."""

_NEEDED = "ed-fi/students"


@dataclass
class EdFiApi:
    """The connector for one ODS/API.

    With the option `interventions` it brings the supports that schools run themselves, in place of
    the partners' own tables; without, those tables stay as `service-history` loaded them.
    """

    settings: ApiSettings
    patience: RetryPolicy = field(default_factory=RetryPolicy)
    sleep: Callable[[float], None] = time.sleep
    name: str = field(default="edfi-api", init=False)
    tables: tuple[str, ...] = field(init=False)
    resources: tuple[EdFiResource, ...] = field(init=False)

    def __post_init__(self) -> None:
        options = dict(self.settings.options)
        interventions = options.pop("interventions", False)
        if options or not isinstance(interventions, bool):
            raise SourceRefused(
                f"{self.settings.name}: the one option of an edfi-api source is interventions, true"
                f" or false; found {self.settings.options!r}"
            )
        without = () if interventions else (*_PARTNERS_TABLES, *_OF_INTERVENTIONS)
        self.tables = tuple(
            name for name in TABLES if name != "service_sessions" and name not in without
        )
        self.resources = tuple(resource for resource in RESOURCES if resource.name not in without)

    def fetch(self, folder: Path, progress: ProgressCallback) -> None:
        """Bring the mirror in `folder` up to date. See `ApiConnector`."""
        base = urlsplit(self.settings.base_url)
        client = RestClient(
            f"{base.scheme}://{base.netloc}",
            self.settings.credentials,
            self.patience,
            sleep=self.sleep,
        )
        with open_mirror(folder) as mirror, client:
            api = _Api.find(client, self.settings)
            mirror.keep_only(resource.name for resource in self.resources)
            fetches = [
                _Fetch(api, mirror, resource, self.settings.page_size, progress)
                for resource in sorted(
                    self.resources, key=lambda resource: resource.name != _NEEDED
                )
            ]
            versions, overlap = api.versions(), CHANGE_VERSION_OVERLAP
            for _ in range(_ROUNDS_OVER_ALL):
                for fetch in fetches:
                    fetch.bring_up_to_date(overlap)
                before, versions, overlap = versions, api.versions(), 0
                if versions == before:
                    break

    def read(self, directory: Path, sink: RowSink, progress: ProgressCallback) -> None:
        """Read the mirror in `directory`. See `Connector.read`."""
        with open_complete_mirror(
            directory, [resource.name for resource in self.resources], sink
        ) as mirror:
            readable = [
                resource for resource in self.resources if _missing(mirror, resource) is None
            ]
            for resource in self.resources:
                if resource not in readable:
                    sink.missing(resource.name, resource.stays_empty)
            reading = EdFiNormalizer(sink, _facts_known(mirror, self.resources))
            for resource in readable:
                total = mirror.count(resource.name)
                for kept in mirror.records(resource.name):
                    reading.take(_JsonRecord(resource.kind, resource.name, kept.number, kept.body))
                    if kept.number % _PROGRESS_EVERY == 0:
                        progress(resource.name, kept.number, total)
                progress(resource.name, total, total)
            reading.finish()


@dataclass(frozen=True)
class _Window:
    """Change versions from `low` to `high`, both included; None is without an end."""

    low: int | None
    high: int | None

    def params(self) -> dict[str, str | int]:
        ends = {"minChangeVersion": self.low, "maxChangeVersion": self.high}
        return {name: version for name, version in ends.items() if version is not None}


@dataclass(frozen=True)
class _Versions:
    """The change versions of which a source can still tell what changed."""

    oldest: int
    newest: int


@dataclass(frozen=True)
class _Api:
    """Where an ODS/API has its resources, and its change versions if it tracks changes at all."""

    client: RestClient
    origin: str
    data: str
    changes: str

    @classmethod
    def find(cls, client: RestClient, settings: ApiSettings) -> _Api:
        """The paths that the API's root names; those beside `base_url` where it is the data's own
        address.

        Raises:
            SourceRefused: the root names another host, or addresses with a part to fill in.
        """
        base = urlsplit(settings.base_url)
        data = changes = base.path.rstrip("/")
        if "/data/v3" not in data:
            urls = client.get(data + "/").data
            urls = urls.get("urls") if isinstance(urls, Mapping) else None
            if not isinstance(urls, Mapping) or not isinstance(urls.get("dataManagementApi"), str):
                raise SourceRefused(
                    f"{settings.base_url} is not the root of an Ed-Fi API: it has no"
                    " dataManagementApi"
                )
            data = _path_at(base.hostname, urls["dataManagementApi"])
            changes = _path_at(
                base.hostname, str(urls.get("changeQueries") or urls["dataManagementApi"])
            )
        return cls(client, base.netloc, data, changes.replace("/data/v3", "/changeQueries/v1"))

    def versions(self) -> _Versions | None:
        """None when the API does not track changes. Version 5 begins the names with a capital
        letter.
        """
        try:
            found = self.client.get(f"{self.changes}/availableChangeVersions").data
        except RequestRefused as refused:
            if refused.status in (403, 404):
                return None
            raise
        named = (
            {str(name).lower(): version for name, version in found.items()}
            if isinstance(found, Mapping)
            else {}
        )
        oldest, newest = named.get("oldestchangeversion"), named.get("newestchangeversion")
        if not isinstance(oldest, int) or not isinstance(newest, int):
            raise SourceRefused(
                f"{self.changes}/availableChangeVersions names no oldest or no newest change"
                " version"
            )
        return _Versions(oldest, newest)


def _path_at(host: str | None, address: str) -> str:
    """The path of an address that the source named; the token goes to no other host than the
    settings say.
    """
    parts = urlsplit(address)
    if parts.hostname != host:
        raise SourceRefused(
            f"the API's root names an address on another host ({parts.hostname}); base_url must"
            " name the host that holds the data"
        )
    if "{" in parts.path:
        raise SourceRefused(
            f"the API's root names {parts.path}: base_url must name the district's own part of it,"
            " for example the school year"
        )
    return parts.path.rstrip("/")


_Place = dict[str, Any]


class _Fetch:
    """Brings one resource of a mirror up to date.

    Reading cannot pass over a record: a cursor stands on a record and not on a count, and pages by
    offset are read from the last to the first over a window that is closed above, which records can
    leave but not enter. Those that leave were changed or deleted, and are in the next window or
    among its deletes. So the mirror holds every record that the source has, and equal counts mean
    that it holds no other. They differ when a record was deleted and made again under the same key,
    since the source then lists no delete; or when the client may see more or less than before.
    """

    def __init__(
        self,
        api: _Api,
        mirror: Mirror,
        resource: EdFiResource,
        page_size: int,
        progress: ProgressCallback,
    ) -> None:
        self._api = api
        self._mirror = mirror
        self._resource = resource
        self._name = resource.name
        self._page_size = page_size
        self._progress = progress
        self._total = 0
        self._swept = False
        self._passed_none_over = True
        identity = json.dumps(
            [api.origin, api.data, resource.name, resource.wanted], sort_keys=True
        )
        self._source = hashlib.sha256(identity.encode()).hexdigest()[:16]

    def bring_up_to_date(self, overlap: int) -> None:
        """Leave the resource whole in the mirror, or empty and marked as missing.

        Args:
            overlap: so many change versions that were read before are read again.

        Raises:
            SourceUnavailable: it would not hold still.
            SourceRefused: students may not be read, or something that could be read before.
        """
        try:
            self._total = self._count()
        except RequestRefused as refused:
            if refused.status not in (403, 404) or self._name == _NEEDED:
                raise
            self._mirror.mark_missing(self._name, {"source": self._source}, refused)
            return
        versions = self._api.versions()
        self._finish_what_was_begun(None if versions is None else versions.newest)
        if versions is None:
            self._read_until_two_passes_agree()
        else:
            self._follow_changes(versions, overlap)
        self._progress(self._name, self._total, max(self._total, 1))

    def _finish_what_was_begun(self, newest: int | None) -> None:
        """Go on with the pass that was cut short, if the source is still the same and still knows
        the place (400).
        """
        place = self._mirror.place(self._name)
        if place is None or place["source"] != self._source or (newest or 0) < (place["high"] or 0):
            return
        if (place["high"] is None) != (newest is None):
            return
        try:
            self._go_through(place)
        except RequestRefused as refused:
            if refused.status != 400:
                raise

    def _read_until_two_passes_agree(self) -> None:
        """Without change versions a page by offset can pass over a record, but hardly the same one
        twice.
        """
        before = self._mirror.fingerprint(self._name) if self._swept else None
        for _ in range(_SWEEPS + 1):
            self._passed_none_over = True
            self._sweep(None)
            if self._mirror.count(self._name) != self._count():
                before = None
                continue
            found = self._mirror.fingerprint(self._name)
            if self._passed_none_over or found == before:
                return
            before = found
        self._give_up()

    def _follow_changes(self, versions: _Versions, overlap: int) -> None:
        synced, newest = self._mirror.synced(self._name) or {}, versions.newest
        known = synced.get("newest") if synced.get("source") == self._source else None
        low = None
        if known is not None and versions.oldest <= known + 1 <= newest + 1:
            low = max(0, known + 1 - overlap)
        for _ in range(_SWEEPS):
            if low is None:
                self._sweep(newest)
                low = newest + 1
            if self._catch_up(low):
                return
            low, newest = None, self._newest()
        self._give_up()

    def _catch_up(self, low: int) -> bool:
        """Read what has changed since `low` until nothing does; whether the mirror is then
        whole.
        """
        for _ in range(_ROUNDS):
            newest, before = self._newest(), self._mirror.count(self._name)
            met = 0
            if newest >= low:
                if not self._pass(_Window(low, newest), sweeps=False):
                    return False
                met, low = self._mirror.met(self._name), newest + 1
            if met or self._mirror.count(self._name) != before:
                continue
            if self._mirror.count(self._name) == self._count():
                return True
            if self._newest() == newest:
                return False
        return False

    def _newest(self) -> int:
        versions = self._api.versions()
        if versions is None:
            raise SourceUnavailable(
                f"{self._name}: the source stopped tracking changes; run the same command again"
            )
        return versions.newest

    def _sweep(self, newest: int | None) -> None:
        self._pass(_Window(None, newest), sweeps=True)

    def _pass(self, window: _Window, *, sweeps: bool) -> bool:
        place = self._place(window, sweeps=sweeps)
        self._mirror.begin(self._name, place, sweeps=sweeps)
        return self._go_through(place)

    def _place(self, window: _Window, *, sweeps: bool) -> _Place:
        return {
            "source": self._source,
            "low": window.low,
            "high": window.high,
            "sweeps": sweeps,
            "at": {},
        }

    def _go_through(self, place: _Place) -> bool:
        """Go on with a pass to its end; False when its changes cannot be followed one by one, so
        that it has none.
        """
        window, at = _Window(place["low"], place["high"]), place["at"]
        while at is not None:
            records, at = self._page(self._path, window, at)
            self._take(records, place | {"at": at})
            self._progress(
                self._name, min(self._mirror.met(self._name), self._total), max(self._total, 1)
            )
        place = place | {"at": None}
        if place["sweeps"]:
            self._swept = True
        elif not self._take_deletes(window, place) or not self._take_key_changes(window, place):
            return False
        self._mirror.finish(self._name, {"source": self._source, "newest": window.high})
        return True

    def _take(
        self, records: list[Mapping[str, Any]], place: _Place, deleted: tuple[str, ...] = ()
    ) -> None:
        page = []
        refused: dict[str, str] = {}
        for record in records:
            id_ = self._id(record)
            kept, found = select_fields(record, self._resource.wanted)
            page.append((id_, kept))
            refused |= found
        self._mirror.note_refused(self._name, refused)
        self._mirror.take_page(self._name, page, place, deleted=deleted)

    def _take_deletes(self, window: _Window, place: _Place) -> bool:
        """A client that may not read the deletes finds them by reading everything, once in each
        fetch.
        """
        try:
            for deletes in self._pages(f"{self._path}/deletes", window):
                self._take([], place, tuple(self._id(delete) for delete in deletes))
        except RequestRefused as refused:
            if refused.status not in (403, 404):
                raise
            return self._swept
        return True

    def _take_key_changes(self, window: _Window, place: _Place) -> bool:
        """Read again what another record's new key has changed with it. An old server lists none
        (404).
        """
        changed: set[str] = set()
        try:
            for changes in self._pages(f"{self._path}/keyChanges", window):
                changed.update(self._id(change) for change in changes)
        except RequestRefused as refused:
            if refused.status not in (403, 404):
                raise
            return refused.status == 404 or self._swept
        if len(changed) > self._page_size:
            return False
        for id_ in sorted(changed):
            try:
                self._take(
                    [self._api.client.get(f"{self._path}/{quote(id_, safe='')}").data], place
                )
            except RequestRefused as refused:
                if refused.status != 404:
                    raise
                self._take([], place, (id_,))
        return True

    def _pages(self, path: str, window: _Window) -> Iterator[list[Mapping[str, Any]]]:
        at: _Place | None = {}
        while at is not None:
            records, at = self._page(path, window, at)
            yield records

    def _page(
        self, path: str, window: _Window, at: _Place
    ) -> tuple[list[Mapping[str, Any]], _Place | None]:
        """One page, and where the next one is; None after the last.

        `at` is {} for the first page; {"token"} where the source gives cursors; else {"before",
        "size"}: the records before that offset are still to be read, so many at a time.
        """
        if "token" in at:
            answer = self._ask(path, window, pageToken=at["token"], pageSize=self._page_size)
            token = answer.headers.get("next-page-token")
            if token == at["token"]:
                raise SourceRefused(f"{path}: the source gives the same page again and again")
            return answer.data, {"token": token} if answer.data and token else None
        if "before" in at:
            start = max(0, at["before"] - at["size"])
            answer = self._ask(path, window, offset=start, limit=at["before"] - start)
            return answer.data, {"before": start, "size": at["size"]} if start else None
        answer = self._ask(path, window, offset=0, limit=self._page_size, totalCount="true")
        total, token = self._total_of(path, answer), answer.headers.get("next-page-token")
        if answer.data and token:
            return answer.data, {"token": token}
        if total <= len(answer.data):
            return answer.data, None
        if not answer.data:
            raise SourceUnavailable(f"{path}: the source counts {total:,} records and gives none")
        self._passed_none_over = False
        return answer.data, {"before": total, "size": len(answer.data)}

    def _ask(self, path: str, window: _Window, **params: str | int) -> Response:
        asked: Params = window.params() | params
        answer = self._api.client.get(path, asked)
        if not isinstance(answer.data, list) or not all(
            isinstance(record, Mapping) for record in answer.data
        ):
            raise SourceRefused(f"{path}: the answer is not a list of records")
        return answer

    def _count(self) -> int:
        return self._total_of(
            self._path, self._ask(self._path, _Window(None, None), limit=0, totalCount="true")
        )

    def _total_of(self, path: str, answer: Response) -> int:
        total = answer.headers.get("total-count", "")
        if not total.isdecimal():
            raise SourceRefused(
                f"{path}: the source gives no Total-Count, so nobody can tell whether all was read"
            )
        return int(total)

    def _id(self, record: Any) -> str:
        id_ = record.get("id") if isinstance(record, Mapping) else None
        if not isinstance(id_, str) or not id_:
            raise SourceRefused(f"{self._path}: the source gave a record without an id")
        return redact(id_)

    @property
    def _path(self) -> str:
        return f"{self._api.data}/{self._name}"

    def _give_up(self) -> None:
        raise SourceUnavailable(
            f"{self._name}: the records kept changing while they were read. What was fetched is "
            "kept: run the same command again at a quieter hour"
        )


@dataclass(frozen=True)
class _JsonRecord:
    """A record as the API gives it.

    In JSON a reference holds the whole identity of what it refers to, a common part of a record (a
    name, an attendance event) is spread over the record itself, and the name of a descriptor says
    that it is one.
    """

    kind: str
    file: str
    line: int
    body: Mapping[str, Any]
    label: None = None

    def text(self, *path: str) -> str | None:
        return _as_text(self._at(path, ""))

    def code(self, *path: str) -> str | None:
        text = _as_text(self._at(path, "Descriptor"))
        return text.rsplit("#", 1)[-1] or None if text else None

    def each(self, name: str) -> Iterator[_JsonRecord]:
        held = self.body.get(_camel(name.removesuffix("Reference")) + "s")
        for one in held if isinstance(held, list) else []:
            yield _JsonRecord(self.kind, self.file, self.line, one)

    def points_to(self, *path: str) -> None:
        return None

    def shown(self) -> str:
        return json.dumps(self.body, sort_keys=True)[:2000]

    def _at(self, path: tuple[str, ...], ending: str) -> Any:
        holder = self.body.get(_camel(path[0])) if path[0].endswith("Reference") else self.body
        return holder.get(_camel(path[-1]) + ending) if isinstance(holder, Mapping) else None


def _camel(name: str) -> str:
    return name[0].lower() + name[1:]


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, Mapping | list):
        return None
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def _missing(mirror: Mirror, resource: EdFiResource) -> int | None:
    """The status with which the source refused the resource, or None."""
    status: int | None = mirror.synced(resource.name).get("missing")
    return status


def _facts_known(mirror: Mirror, resources: tuple[EdFiResource, ...]) -> set[str]:
    """The characteristics of which every resource could be read. One that this server does not have
    takes none away.
    """
    status = {
        resource.kind: _missing(mirror, resource)
        for resource in resources
        if resource.kind in PROGRAM_CHARACTERISTICS
    }
    read = {PROGRAM_CHARACTERISTICS[kind] for kind, refused in status.items() if refused is None}
    return read - {
        PROGRAM_CHARACTERISTICS[kind] for kind, refused in status.items() if refused == 403
    }
