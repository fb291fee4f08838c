"""An Ed-Fi ODS/API (version 5 and later) to canonical tables: everything once, then changes only.

A resource is complete when three things hold: every window of change versions was read in a way
that cannot pass over a record, nothing has changed since, and the mirror holds as many records as
the source counts. Otherwise the resource is read again, a limited number of times, and then
refused. Only the fields named here are stored; no request writes anything. What a record means is
in `edfi/rules.py`.

Source: the Ed-Fi API Design Guidelines and ODS/API documentation (https://docs.ed-fi.org), on
change queries, offset and cursor paging.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from records.canonical.never_ingest import redact
from records.canonical.schema import DERIVED_TABLES, TABLES
from records.connectors.edfi.characteristics import PROGRAM_CHARACTERISTICS, is_homeless
from records.connectors.edfi.rules import EdFiNormalizer
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
from records.connectors.profiles.profile import SourceProfile, standard_profile
from records.connectors.protocol import RowSink, SourceRefused
from records.system.progress import ProgressCallback

CHANGE_VERSION_OVERLAP = 10_000
"""Change versions that are read again next time. A version is assigned before its transaction is
committed, so one may appear below the newest; versions are numbered across all resources, so this
costs at most that many records in total."""

_MAX_FULL_SCANS = 3
_MAX_CATCH_UP_ROUNDS = 20
_MAX_ROUNDS_OVER_ALL = 5
"""Repeated so that a student who was added while grades were read is there with them. At a source
that is written to all day each resource is complete as of its own moment, and the next fetch brings
the rest."""

_PROGRESS_EVERY = 5_000
_DAYS = ("beginDate", "endDate")
_PARTNER_TABLES = ("programs", "service_enrollments")
_INTERVENTION_RESOURCES = (
    "ed-fi/communityProviders",
    "ed-fi/interventions",
    "ed-fi/studentInterventionAssociations",
)


@dataclass(frozen=True)
class EdFiResource:
    """One resource of the API.

    `kind` is the interchange element whose rules it follows, `fields` are those stored of it, and
    `stays_empty` says what is missing without it.
    """

    name: str
    kind: str
    fields: FieldSelection
    stays_empty: str


def _fields(*names: str, **inner: FieldSelection) -> FieldSelection:
    return dict.fromkeys(names, True) | inner


_STUDENT = _fields("studentUniqueId")
_SCHOOL = _fields("schoolId")
_SCHOOL_YEAR = _fields("schoolYear")
_SECTION = _fields("localCourseCode", "schoolId")
_INCIDENT = _fields("incidentIdentifier", "schoolId")


def _program(*names: str, **inner: FieldSelection) -> FieldSelection:
    """The fields of every association with a program, and those of this kind."""
    return _fields(
        "beginDate",
        "endDate",
        *names,
        studentReference=_STUDENT,
        programReference=_fields("programName", "programTypeDescriptor"),
        programParticipationStatuses=_fields("participationStatusDescriptor", "statusEndDate"),
        **inner,
    )


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
            "sessionName",
            "termDescriptor",
            "beginDate",
            "endDate",
            schoolReference=_SCHOOL,
            schoolYearTypeReference=_SCHOOL_YEAR,
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
        "ed-fi/calendars",
        "Calendar",
        _fields(
            "calendarCode",
            "calendarTypeDescriptor",
            gradeLevels=_fields("gradeLevelDescriptor"),
            schoolReference=_SCHOOL,
            schoolYearTypeReference=_SCHOOL_YEAR,
        ),
        "which calendar is for which grades (an enrollment may name its own)",
    ),
    EdFiResource(
        "ed-fi/calendarDates",
        "CalendarDate",
        _fields(
            "date",
            calendarEvents=_fields("calendarEventDescriptor"),
            calendarReference=_fields("calendarCode", "schoolId", "schoolYear"),
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
        "ed-fi/sections",
        "Section",
        _fields(
            "sectionIdentifier",
            courseOfferingReference=_SECTION,
            classPeriods=_fields(classPeriodReference=_fields("classPeriodName")),
        ),
        "when a class meets (worked out from the absences)",
    ),
    EdFiResource(
        "ed-fi/bellSchedules",
        "BellSchedule",
        _fields(
            schoolReference=_SCHOOL,
            classPeriods=_fields(classPeriodReference=_fields("classPeriodName")),
            dates=_fields("date"),
        ),
        "which classes meet on which days (worked out from the absences)",
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
            "limitedEnglishProficiencyDescriptor",
            studentReference=_STUDENT,
            races=_fields("raceDescriptor"),
            studentCharacteristics=_fields(
                "studentCharacteristicDescriptor", "beginDate", "endDate"
            ),
        ),
        "sex, race_ethnicity, and unstable_housing where it is a characteristic of a student",
    ),
    EdFiResource(
        "ed-fi/studentSchoolAssociations",
        "StudentSchoolAssociation",
        _fields(
            "entryDate",
            "exitWithdrawDate",
            "exitWithdrawTypeDescriptor",
            "enrollmentTypeDescriptor",
            "entryGradeLevelDescriptor",
            "primarySchool",
            studentReference=_STUDENT,
            schoolReference=_SCHOOL,
            schoolYearTypeReference=_SCHOOL_YEAR,
            calendarReference=_fields("calendarCode", "schoolYear"),
        ),
        "school_enrollments and grade levels (a student's school is taken from attendance)",
    ),
    EdFiResource(
        "ed-fi/studentSchoolAttendanceEvents",
        "StudentSchoolAttendanceEvent",
        _fields(
            "eventDate",
            "attendanceEventCategoryDescriptor",
            "eventDuration",
            "schoolAttendanceDuration",
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
            sectionReference=_fields(*_SECTION, "sectionIdentifier"),
        ),
        "attendance by classes, and lateness to single ones",
    ),
    EdFiResource(
        "ed-fi/studentSectionAssociations",
        "StudentSectionAssociation",
        _fields(
            "beginDate",
            "endDate",
            studentReference=_STUDENT,
            sectionReference=_fields(*_SECTION, "sectionIdentifier"),
        ),
        "how many classes a student has (worked out from the absences)",
    ),
    EdFiResource(
        "ed-fi/gradebookEntries",
        "GradebookEntry",
        _fields(
            "gradebookEntryIdentifier",
            "title",
            "dueDate",
            "dateAssigned",
            "maxPoints",
            sectionReference=_SECTION,
        ),
        "course, title and due date of gradebook_entries",
    ),
    EdFiResource(
        "ed-fi/studentGradebookEntries",
        "StudentGradebookEntry",
        _fields(
            "numericGradeEarned",
            "letterGradeEarned",
            "pointsEarned",
            "submissionStatusDescriptor",
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
            "letterGradeEarned",
            "gradeTypeDescriptor",
            "currentGradeIndicator",
            gradingPeriodReference=_fields(
                "gradingPeriodName",
                "gradingPeriodDescriptor",
                "periodSequence",
                "schoolId",
                "schoolYear",
            ),
            studentSectionAssociationReference=_fields(
                "localCourseCode", "sectionIdentifier", "studentUniqueId"
            ),
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
        _fields(
            "incidentIdentifier",
            "incidentDate",
            schoolReference=_SCHOOL,
            behaviors=_fields("behaviorDescriptor"),
        ),
        "behavior_incidents",
    ),
    EdFiResource(
        "ed-fi/studentDisciplineIncidentAssociations",
        "StudentDisciplineIncidentAssociation",
        _fields(
            "studentParticipationCodeDescriptor",
            studentReference=_STUDENT,
            disciplineIncidentReference=_INCIDENT,
            behaviors=_fields("behaviorDescriptor"),
        ),
        "behavior_incidents of Data Standard 3 (newer servers have behavior associations)",
    ),
    EdFiResource(
        "ed-fi/studentDisciplineIncidentBehaviorAssociations",
        "StudentDisciplineIncidentBehaviorAssociation",
        _fields(
            "behaviorDescriptor",
            studentReference=_STUDENT,
            disciplineIncidentReference=_INCIDENT,
            disciplineIncidentParticipationCodes=_fields(
                "disciplineIncidentParticipationCodeDescriptor"
            ),
        ),
        "behavior_incidents",
    ),
    EdFiResource(
        "ed-fi/disciplineActions",
        "DisciplineAction",
        _fields(
            "disciplineActionIdentifier",
            "disciplineDate",
            "actualDisciplineActionLength",
            "disciplineActionLength",
            studentReference=_STUDENT,
            disciplines=_fields("disciplineDescriptor"),
            studentDisciplineIncidentAssociations=_fields(
                studentDisciplineIncidentAssociationReference=_INCIDENT
            ),
            studentDisciplineIncidentBehaviorAssociations=_fields(
                studentDisciplineIncidentBehaviorAssociationReference=_INCIDENT
            ),
        ),
        "action and days_removed of behavior_incidents",
    ),
    EdFiResource(
        "ed-fi/studentSpecialEducationProgramAssociations",
        "StudentSpecialEducationProgramAssociation",
        _program(
            "ideaEligibility",
            "specialEducationExitDate",
            specialEducationProgramServices=_fields("serviceEndDate"),
        ),
        "special_education",
    ),
    EdFiResource(
        "ed-fi/studentSection504ProgramAssociations",
        "StudentSection504ProgramAssociation",
        _program("section504Eligible", "section504Eligibility", "accommodationPlan"),
        "special_education of students with a 504 plan alone",
    ),
    EdFiResource(
        "ed-fi/studentLanguageInstructionProgramAssociations",
        "StudentLanguageInstructionProgramAssociation",
        _program(
            "englishLearnerParticipation",
            englishLanguageProficiencyAssessments=_fields("monitoredDescriptor"),
            languageInstructionProgramServices=_fields("serviceEndDate"),
        ),
        "english_learner",
    ),
    EdFiResource(
        "ed-fi/studentHomelessProgramAssociations",
        "StudentHomelessProgramAssociation",
        _program(
            "homelessPrimaryNighttimeResidenceDescriptor",
            homelessProgramServices=_fields("serviceEndDate"),
        ),
        "unstable_housing",
    ),
    EdFiResource(
        "ed-fi/studentSchoolFoodServiceProgramAssociations",
        "StudentSchoolFoodServiceProgramAssociation",
        _program(
            "directCertification",
            schoolFoodServiceProgramServices=_fields(
                "schoolFoodServiceProgramServiceDescriptor", "serviceEndDate"
            ),
        ),
        "meal_eligible",
    ),
    EdFiResource(
        "ed-fi/studentProgramAssociations",
        "StudentProgramAssociation",
        _program(services=_fields("serviceEndDate")),
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
"""Everything that is read, in the order that the rules need: context, then students, then records
about them."""

_REQUIRED_RESOURCE = "ed-fi/students"
_REPLACED_BY = {
    "ed-fi/studentDisciplineIncidentAssociations": (
        "ed-fi/studentDisciplineIncidentBehaviorAssociations"
    )
}


@dataclass
class EdFiApi:
    """The connector for one ODS/API.

    With the option `interventions` it reads the supports that schools run themselves, in place of
    the partners' own tables; without it, those tables stay as `service-history` loaded them.
    `profile` says what the district's own words mean.
    """

    settings: ApiSettings
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    sleep: Callable[[float], None] = time.sleep
    profile: SourceProfile = field(default_factory=lambda: standard_profile("edfi"))
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
        left_out = () if interventions else (*_PARTNER_TABLES, *_INTERVENTION_RESOURCES)
        self.tables = tuple(
            name for name in TABLES if name not in ("service_sessions", *DERIVED_TABLES, *left_out)
        )
        self.resources = tuple(resource for resource in RESOURCES if resource.name not in left_out)

    def fetch(self, folder: Path, progress: ProgressCallback) -> None:
        """Bring the mirror in `folder` up to date. See `ApiConnector`."""
        base = urlsplit(self.settings.base_url)
        client = RestClient(
            f"{base.scheme}://{base.netloc}",
            self.settings.credentials,
            self.retry_policy,
            sleep=self.sleep,
        )
        with open_mirror(folder) as mirror, client:
            api = _Api.find(client, self.settings)
            mirror.drop_other_resources(resource.name for resource in self.resources)
            fetches = [
                _Fetch(api, mirror, resource, self.settings.page_size, progress)
                for resource in sorted(
                    self.resources, key=lambda resource: resource.name != _REQUIRED_RESOURCE
                )
            ]
            versions, overlap = api.versions(), CHANGE_VERSION_OVERLAP
            for _ in range(_MAX_ROUNDS_OVER_ALL):
                for fetch in fetches:
                    fetch.bring_up_to_date(overlap)
                previous_versions, versions, overlap = versions, api.versions(), 0
                if versions == previous_versions:
                    break

    def read(self, directory: Path, sink: RowSink, progress: ProgressCallback) -> None:
        """Read the mirror in `directory`. See `Connector.read`."""
        with open_complete_mirror(
            directory, [resource.name for resource in self.resources], sink
        ) as mirror:
            refused = {
                resource.name: _refused_status(mirror, resource) for resource in self.resources
            }
            readable = [resource for resource in self.resources if refused[resource.name] is None]
            for resource in self.resources:
                if resource not in readable and not _is_replaced(resource, refused):
                    sink.missing(resource.name, resource.stays_empty)
            normalizer = EdFiNormalizer(
                sink,
                self.profile,
                _withheld_characteristics(mirror, self.resources),
            )
            for resource in readable:
                total = mirror.count(resource.name)
                for stored in mirror.records(resource.name):
                    normalizer.add(
                        _JsonRecord(resource.kind, resource.name, stored.number, stored.body)
                    )
                    if stored.number % _PROGRESS_EVERY == 0:
                        progress(resource.name, stored.number, total)
                progress(resource.name, total, total)
            normalizer.finish()


@dataclass(frozen=True)
class _Window:
    """Change versions from `low` to `high`, both included; None means unbounded."""

    low: int | None
    high: int | None

    def params(self) -> dict[str, str | int]:
        ends = {"minChangeVersion": self.low, "maxChangeVersion": self.high}
        return {name: version for name, version in ends.items() if version is not None}


@dataclass(frozen=True)
class _Versions:
    """The oldest and the newest change version for which the source can still report changes."""

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
        """The paths that the API's root names; or `base_url` itself, if it is the data's address.

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
            data = _path_on_host(base.hostname, urls["dataManagementApi"])
            changes = _path_on_host(
                base.hostname, str(urls.get("changeQueries") or urls["dataManagementApi"])
            )
        return cls(client, base.netloc, data, changes.replace("/data/v3", "/changeQueries/v1"))

    def versions(self) -> _Versions | None:
        """The available change versions; None when the API does not track changes."""
        try:
            answer = self.client.get(f"{self.changes}/availableChangeVersions").data
        except RequestRefused as refusal:
            if refusal.status in (403, 404):
                return None
            raise
        by_name = (
            {str(name).lower(): version for name, version in answer.items()}
            if isinstance(answer, Mapping)
            else {}
        )
        oldest, newest = by_name.get("oldestchangeversion"), by_name.get("newestchangeversion")
        if not isinstance(oldest, int) or not isinstance(newest, int):
            raise SourceRefused(
                f"{self.changes}/availableChangeVersions names no oldest or no newest change"
                " version"
            )
        return _Versions(oldest, newest)


def _path_on_host(host: str | None, address: str) -> str:
    """The path of an address named by the source, which must be on the host of the settings.

    The token is sent to no other host.
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


_Cursor = dict[str, Any]


@dataclass(frozen=True)
class _Pass:
    """One reading of a resource: its window of change versions, and where it continues.

    `source` identifies what is read, and how. `cursor` is {} before the first page and None after
    the last; `_Fetch._page` says what it holds in between.
    """

    source: str
    window: _Window
    full_scan: bool
    cursor: _Cursor | None

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> _Pass:
        window = _Window(stored["low"], stored["high"])
        return cls(stored["source"], window, full_scan=stored["sweeps"], cursor=stored["at"])

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "low": self.window.low,
            "high": self.window.high,
            "sweeps": self.full_scan,
            "at": self.cursor,
        }


class _Fetch:
    """Brings one resource of a mirror up to date.

    Reading cannot pass over a record: a cursor points at a record and not at a count, and pages by
    offset are read from the last to the first over a window with an upper end, which records can
    leave but not enter. Those that leave were changed or deleted, and are in the next window or
    among its deletes. So the mirror holds every record that the source has, and equal counts mean
    that it holds no other. They differ when a record was deleted and re-created under the same key,
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
        self._has_scanned_fully = False
        self._no_record_skipped = True
        identity = json.dumps(
            [api.origin, api.data, resource.name, resource.fields], sort_keys=True
        )
        self._source = hashlib.sha256(identity.encode()).hexdigest()[:16]

    def bring_up_to_date(self, overlap: int) -> None:
        """Leave the resource complete in the mirror, or empty and marked as unavailable.

        Args:
            overlap: number of change versions, already read, that are read again.

        Raises:
            SourceUnavailable: the records kept changing while they were read.
            SourceRefused: students may not be read, or a resource that could be read before.
        """
        try:
            self._total = self._count()
        except RequestRefused as refusal:
            if refusal.status not in (403, 404) or self._name == _REQUIRED_RESOURCE:
                raise
            self._mirror.mark_unavailable(self._name, {"source": self._source}, refusal)
            return
        versions = self._api.versions()
        self._resume_interrupted_pass(None if versions is None else versions.newest)
        if versions is None:
            self._read_until_two_passes_agree()
        else:
            self._follow_changes(versions, overlap)
        self._progress(self._name, self._total, max(self._total, 1))

    def _resume_interrupted_pass(self, newest: int | None) -> None:
        """Continue an interrupted pass, if the source still accepts its position."""
        stored = self._mirror.resume_point(self._name)
        if stored is None or stored["source"] != self._source:
            return
        unfinished = _Pass.from_json(stored)
        high = unfinished.window.high
        changed_tracking = (high is None) != (newest is None)
        lost_versions = (newest or 0) < (high or 0)
        if changed_tracking or lost_versions:
            return
        try:
            self._run_pass(unfinished)
        except RequestRefused as refusal:
            # 400: the source no longer knows the cursor, so a new pass must begin.
            if refusal.status != 400:
                raise

    def _read_until_two_passes_agree(self) -> None:
        """Without change versions, read everything until two passes find the same records.

        A page by offset can pass over a record, but hardly the same one twice.
        """
        previous = self._mirror.fingerprint(self._name) if self._has_scanned_fully else None
        for _ in range(_MAX_FULL_SCANS + 1):
            self._no_record_skipped = True
            self._full_scan(None)
            if self._mirror.count(self._name) != self._count():
                previous = None
                continue
            current = self._mirror.fingerprint(self._name)
            if self._no_record_skipped or current == previous:
                return
            previous = current
        self._give_up()

    def _follow_changes(self, versions: _Versions, overlap: int) -> None:
        sync_state, newest = self._mirror.sync_state(self._name) or {}, versions.newest
        synced_version = (
            sync_state.get("newest") if sync_state.get("source") == self._source else None
        )
        low = None
        if synced_version is not None and versions.oldest <= synced_version + 1 <= newest + 1:
            low = max(0, synced_version + 1 - overlap)
        for _ in range(_MAX_FULL_SCANS):
            if low is None:
                self._full_scan(newest)
                low = newest + 1
            if self._catch_up(low):
                return
            low, newest = None, self._newest_version()
        self._give_up()

    def _catch_up(self, low: int) -> bool:
        """Read the changes since `low` until there are none; True if the mirror is complete."""
        for _ in range(_MAX_CATCH_UP_ROUNDS):
            newest, count_before = self._newest_version(), self._mirror.count(self._name)
            changed = 0
            if newest >= low:
                if not self._start_pass(_Window(low, newest), full_scan=False):
                    return False
                changed, low = self._mirror.count_seen(self._name), newest + 1
            if changed or self._mirror.count(self._name) != count_before:
                continue
            if self._mirror.count(self._name) == self._count():
                return True
            if self._newest_version() == newest:
                return False
        return False

    def _newest_version(self) -> int:
        versions = self._api.versions()
        if versions is None:
            raise SourceUnavailable(
                f"{self._name}: the source stopped tracking changes; run the same command again"
            )
        return versions.newest

    def _full_scan(self, newest: int | None) -> None:
        self._start_pass(_Window(None, newest), full_scan=True)

    def _start_pass(self, window: _Window, *, full_scan: bool) -> bool:
        new_pass = _Pass(self._source, window, full_scan=full_scan, cursor={})
        self._mirror.begin(self._name, new_pass.to_json(), sweeps=full_scan)
        return self._run_pass(new_pass)

    def _run_pass(self, current: _Pass) -> bool:
        """Continue a pass to its end; False when its changes cannot be followed one by one."""
        while current.cursor is not None:
            records, cursor = self._page(self._path, current.window, current.cursor)
            current = replace(current, cursor=cursor)
            self._save_records(records, current)
            self._progress(
                self._name,
                min(self._mirror.count_seen(self._name), self._total),
                max(self._total, 1),
            )
        if current.full_scan:
            self._has_scanned_fully = True
        elif not self._apply_deletes(current) or not self._apply_key_changes(current):
            return False
        self._mirror.finish(self._name, {"source": self._source, "newest": current.window.high})
        return True

    def _save_records(
        self, records: list[Mapping[str, Any]], current: _Pass, deleted: tuple[str, ...] = ()
    ) -> None:
        page = []
        dropped: dict[str, str] = {}
        for record in records:
            id_ = self._record_id(record)
            selected, dropped_here = select_fields(
                _with_read_characteristics(record), self._resource.fields
            )
            page.append((id_, selected))
            dropped |= dropped_here
        self._mirror.record_dropped_fields(self._name, dropped)
        self._mirror.take_page(self._name, page, current.to_json(), deleted=deleted)

    def _apply_deletes(self, current: _Pass) -> bool:
        """Apply the deletes of a window; False if they may not be read and no full scan ran."""
        try:
            for deletes in self._pages(f"{self._path}/deletes", current.window):
                deleted = tuple(self._record_id(delete) for delete in deletes)
                self._save_records([], current, deleted)
        except RequestRefused as refusal:
            if refusal.status not in (403, 404):
                raise
            return self._has_scanned_fully
        return True

    def _apply_key_changes(self, current: _Pass) -> bool:
        """Read again each record that another record's new key has changed.

        An old server lists none (404).
        """
        changed: set[str] = set()
        try:
            for changes in self._pages(f"{self._path}/keyChanges", current.window):
                changed.update(self._record_id(change) for change in changes)
        except RequestRefused as refusal:
            if refusal.status not in (403, 404):
                raise
            return refusal.status == 404 or self._has_scanned_fully
        if len(changed) > self._page_size:
            return False
        for id_ in sorted(changed):
            try:
                self._save_records(
                    [self._api.client.get(f"{self._path}/{quote(id_, safe='')}").data], current
                )
            except RequestRefused as refusal:
                if refusal.status != 404:
                    raise
                self._save_records([], current, (id_,))
        return True

    def _pages(self, path: str, window: _Window) -> Iterator[list[Mapping[str, Any]]]:
        cursor: _Cursor | None = {}
        while cursor is not None:
            records, cursor = self._page(path, window, cursor)
            yield records

    def _page(
        self, path: str, window: _Window, cursor: _Cursor
    ) -> tuple[list[Mapping[str, Any]], _Cursor | None]:
        """One page, and the cursor of the next one; None after the last.

        `cursor` is {} for the first page; {"token"} where the source gives cursors; otherwise
        {"before", "size"}: the records before that offset remain, to be read `size` at a time.
        """
        if "token" in cursor:
            answer = self._request(
                path, window, pageToken=cursor["token"], pageSize=self._page_size
            )
            token = answer.headers.get("next-page-token")
            if token == cursor["token"]:
                raise SourceRefused(f"{path}: the source keeps returning the same page")
            return answer.data, {"token": token} if answer.data and token else None
        if "before" in cursor:
            start = max(0, cursor["before"] - cursor["size"])
            answer = self._request(path, window, offset=start, limit=cursor["before"] - start)
            return answer.data, {"before": start, "size": cursor["size"]} if start else None
        answer = self._request(path, window, offset=0, limit=self._page_size, totalCount="true")
        total, token = self._total_count(path, answer), answer.headers.get("next-page-token")
        if answer.data and token:
            return answer.data, {"token": token}
        if total <= len(answer.data):
            return answer.data, None
        if not answer.data:
            raise SourceUnavailable(f"{path}: the source counts {total:,} records and gives none")
        self._no_record_skipped = False
        return answer.data, {"before": total, "size": len(answer.data)}

    def _request(self, path: str, window: _Window, **params: str | int) -> Response:
        query: Params = window.params() | params
        answer = self._api.client.get(path, query)
        if not isinstance(answer.data, list) or not all(
            isinstance(record, Mapping) for record in answer.data
        ):
            raise SourceRefused(f"{path}: the answer is not a list of records")
        return answer

    def _count(self) -> int:
        return self._total_count(
            self._path, self._request(self._path, _Window(None, None), limit=0, totalCount="true")
        )

    def _total_count(self, path: str, answer: Response) -> int:
        total = answer.headers.get("total-count", "")
        if not total.isdecimal():
            raise SourceRefused(
                f"{path}: the source gives no Total-Count, so completeness cannot be verified"
            )
        return int(total)

    def _record_id(self, record: Any) -> str:
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
            "kept: run the same command again at a less busy time"
        )


@dataclass(frozen=True)
class _JsonRecord:
    """A record as the API returns it.

    In JSON a reference holds the complete identity of what it refers to, a nested part of a record
    (a name, an attendance event) is spread over the record itself, and the name of a descriptor
    ends in `Descriptor`.
    """

    kind: str
    file: str
    line: int
    body: Mapping[str, Any]
    label: None = None

    def text(self, *path: str) -> str | None:
        return _as_text(self._value(path, ""))

    def code(self, *path: str) -> str | None:
        return _code_of(self._value(path, "Descriptor"))

    def children(self, name: str) -> Iterator[_JsonRecord]:
        elements = self.body.get(_camel_case(name.removesuffix("Reference")) + "s")
        for element in elements if isinstance(elements, list) else []:
            yield _JsonRecord(self.kind, self.file, self.line, element)

    def reference_label(self, *path: str) -> None:
        return None

    def redacted_text(self) -> str:
        return json.dumps(self.body, sort_keys=True)[:2000]

    def _value(self, path: tuple[str, ...], ending: str) -> Any:
        holder = self.body.get(_camel_case(path[0])) if path[0].endswith("Reference") else self.body
        return holder.get(_camel_case(path[-1]) + ending) if isinstance(holder, Mapping) else None


def _code_of(descriptor: Any) -> str | None:
    """The code of a descriptor, without its namespace."""
    text = _as_text(descriptor)
    return text.rsplit("#", 1)[-1] or None if text else None


def _with_read_characteristics(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A record with those of its student characteristics alone that are read, once for each period.

    The others tell of migrant status, of parents or of health, and are never stored.
    """
    characteristics = record.get("studentCharacteristics")
    if not isinstance(characteristics, list):
        return record
    read = [
        {"studentCharacteristicDescriptor": code} | {name: days.get(name) for name in _DAYS}
        for one in characteristics
        if isinstance(one, Mapping)
        and is_homeless(_code_of(code := one.get("studentCharacteristicDescriptor")))
        for days in one.get("periods") or (one,)
        if isinstance(days, Mapping)
    ]
    return {**record, "studentCharacteristics": read}


def _camel_case(name: str) -> str:
    return name[0].lower() + name[1:]


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, Mapping | list):
        return None
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def _refused_status(mirror: Mirror, resource: EdFiResource) -> int | None:
    """The HTTP status with which the source refused the resource, or None."""
    status: int | None = mirror.sync_state(resource.name).get("missing")
    return status


def _is_replaced(resource: EdFiResource, refused: Mapping[str, int | None]) -> bool:
    """Whether this server has a newer resource in place of this one."""
    newer = _REPLACED_BY.get(resource.name, "")
    return refused[resource.name] == 404 and newer in refused and refused[newer] is None


def _withheld_characteristics(
    mirror: Mirror, resources: tuple[EdFiResource, ...]
) -> frozenset[str]:
    """The characteristics of which some resource may not be read (403).

    One that this server does not have (404) withholds nothing.
    """
    return frozenset(
        PROGRAM_CHARACTERISTICS[resource.kind]
        for resource in resources
        if resource.kind in PROGRAM_CHARACTERISTICS and _refused_status(mirror, resource) == 403
    )
