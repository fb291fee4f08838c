"""A OneRoster API (versions 1.1 and 1.2) to canonical tables: everything once, then changes only.

A page begins with the last record of the page before, so that a record that was deleted meanwhile
cannot make another be passed over. Records changed meanwhile are requested by `dateLastModified`,
and the mirror must then hold as many records as the source counts: as it holds all that the source
has, equal counts mean that it holds no other. A source that gives no count, or does not filter as
it claims, is read completely until two passes agree. No request writes anything, and only the
fields named here are stored. What a record means is in `oneroster/rules.py`. Source: 1EdTech
OneRoster 1.1
(https://www.imsglobal.org/oneroster-v11-final-specification, 3.4) and 1.2 REST bindings.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from records.canonical.never_ingest import holds_ssn
from records.connectors.csv_files import CsvRecord, has_rows, read_csv
from records.connectors.file_names import find_file
from records.connectors.http.client import (
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
from records.connectors.oneroster.demographics import RACE_COLUMNS
from records.connectors.oneroster.rules import (
    EXTENSION_TABLES,
    FILES,
    OneRosterNormalizer,
    OneRosterRole,
    current_role_and_orgs,
    is_deleted,
)
from records.connectors.profiles.profile import SourceProfile, standard_profile
from records.connectors.protocol import RowSink, SourceRefused
from records.system.progress import ProgressCallback

CHANGE_OVERLAP = timedelta(days=1)
"""How far before the last fetch changes are requested: clocks differ, and some sources only record
the day."""

FULL_SCAN_AFTER = timedelta(days=7)
"""A full scan once a week, in case a source did not update `dateLastModified` with a change."""

_MAX_FULL_SCANS = 3
_MAX_STEPS_BACK = 50
_PROGRESS_EVERY = 5_000
_PAGE_LIMITS_ARE_MULTIPLES_OF = 50
_REQUIRED_RESOURCE = "students"
_SORTED = {"sort": "sourcedId", "orderBy": "asc"}
_DISTANT_PAST, _FAR_FUTURE = "1970-01-01T00:00:00.000Z", "2999-01-01T00:00:00.000Z"
_OAUTH_SCOPES = " ".join(
    f"https://purl.imsglobal.org/spec/or/v1p2/scope/{name}.readonly"
    for name in ("roster-core", "roster-demographics", "gradebook-core")
)
_ROLE_FIELDS = {
    "role": "role",
    "roleType": "roleType",
    "beginDate": "beginDate",
    "endDate": "endDate",
    "orgSourcedId": "org.sourcedId",
}


@dataclass(frozen=True)
class OneRosterResource:
    """One collection; `fields` maps the columns of the CSV table `file` to paths in the JSON."""

    name: str
    file: str
    fields: Mapping[str, str]
    in_gradebook: bool = False

    @property
    def field_selection(self) -> FieldSelection:
        selection: dict[str, Any] = {}
        roles = (
            {column: f"roles.{path}" for column, path in _ROLE_FIELDS.items()}
            if self.name == _REQUIRED_RESOURCE
            else {}
        )
        for path in ("sourcedId", "status", *self.fields.values(), *roles.values()):
            *objects, last = path.split(".")
            inner = selection
            for name in objects:
                inner = inner.setdefault(name, {})
            inner[last] = True
        return selection


RESOURCES: tuple[OneRosterResource, ...] = (
    OneRosterResource(
        "schools",
        "orgs.csv",
        {"type": "type", "name": "name", "parentSourcedId": "parent.sourcedId"},
    ),
    OneRosterResource(
        "academicSessions",
        "academicSessions.csv",
        {name: name for name in ("type", "title", "startDate", "endDate", "schoolYear")},
    ),
    OneRosterResource(
        "students",
        "users.csv",
        {
            "givenName": "givenName",
            "familyName": "familyName",
            "role": "role",
            "grades": "grades",
            "enabledUser": "enabledUser",
            "identifier": "identifier",
            "userMasterIdentifier": "userMasterIdentifier",
            "userIds": "userIds.identifier",
            "orgSourcedIds": "orgs.sourcedId",
            "primaryOrgSourcedId": "primaryOrg.sourcedId",
        },
    ),
    OneRosterResource(
        "demographics",
        "demographics.csv",
        {column: column for column in ("birthDate", "birthdate", "sex", *RACE_COLUMNS)},
    ),
    OneRosterResource(
        "courses",
        "courses.csv",
        {"title": "title", "schoolYearSourcedId": "schoolYear.sourcedId"},
    ),
    OneRosterResource(
        "classes",
        "classes.csv",
        {
            "title": "title",
            "grades": "grades",
            "courseSourcedId": "course.sourcedId",
            "schoolSourcedId": "school.sourcedId",
            "termSourcedIds": "terms.sourcedId",
        },
    ),
    OneRosterResource(
        "enrollments",
        "enrollments.csv",
        {
            "role": "role",
            "beginDate": "beginDate",
            "endDate": "endDate",
            "userSourcedId": "user.sourcedId",
            "classSourcedId": "class.sourcedId",
            "schoolSourcedId": "school.sourcedId",
        },
    ),
    OneRosterResource(
        "lineItems",
        "lineItems.csv",
        {
            "title": "title",
            "dueDate": "dueDate",
            "resultValueMax": "resultValueMax",
            "classSourcedId": "class.sourcedId",
        },
        in_gradebook=True,
    ),
    OneRosterResource(
        "results",
        "results.csv",
        {
            "score": "score",
            "scoreStatus": "scoreStatus",
            "textScore": "textScore",
            "inProgress": "inProgress",
            "missing": "missing",
            "lineItemSourcedId": "lineItem.sourcedId",
            "studentSourcedId": "student.sourcedId",
        },
        in_gradebook=True,
    ),
)
"""Everything that is read. Of users only students: staff and families are not needed."""

_ROSTER_TABLES = (
    "schools",
    "calendar",
    "students",
    "characteristics",
    "school_enrollments",
    "gradebook_entries",
)


@dataclass
class OneRosterApi:
    """The connector for one OneRoster API.

    The option `extensions` names a folder of extension files, beside the settings unless its path
    is absolute. Without it the tables for which OneRoster has no words stay as another source
    loaded them.
    """

    settings: ApiSettings
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    sleep: Callable[[float], None] = time.sleep
    profile: SourceProfile = field(default_factory=lambda: standard_profile("oneroster"))
    name: str = field(default="oneroster-api", init=False)
    tables: tuple[str, ...] = field(init=False)
    extensions: Path | None = field(init=False)

    def __post_init__(self) -> None:
        options = dict(self.settings.options)
        extensions = options.pop("extensions", None)
        if options or not isinstance(extensions, str | None):
            raise SourceRefused(
                f"{self.settings.name}: the one option of a oneroster-api source is extensions, the"
                f" name of a folder; found {self.settings.options!r}"
            )
        self.extensions = None if extensions is None else self.settings.folder / extensions
        if self.extensions is not None and not self.extensions.is_dir():
            raise SourceRefused(
                f"{self.settings.name}: extensions names {self.extensions}, which is not a folder"
            )
        self.tables = _ROSTER_TABLES + (tuple(EXTENSION_TABLES.values()) if self.extensions else ())
        _paths(self.settings)

    def fetch(self, folder: Path, progress: ProgressCallback) -> None:
        """Bring the mirror in `folder` up to date. See `ApiConnector`."""
        rostering, gradebook = _paths(self.settings)
        credentials = self.settings.credentials
        if rostering != gradebook and not credentials.scope:
            credentials = replace(credentials, scope=_OAUTH_SCOPES)
        base = urlsplit(self.settings.base_url)
        client = RestClient(
            f"{base.scheme}://{base.netloc}", credentials, self.retry_policy, sleep=self.sleep
        )
        with open_mirror(folder) as mirror, client:
            mirror.drop_other_resources(resource.name for resource in RESOURCES)
            for resource in sorted(
                RESOURCES, key=lambda resource: resource.name != _REQUIRED_RESOURCE
            ):
                path = f"{gradebook if resource.in_gradebook else rostering}/{resource.name}"
                _Fetch(client, path, mirror, resource, self.settings, progress).bring_up_to_date()

    def read(self, directory: Path, sink: RowSink, progress: ProgressCallback) -> None:
        """Read the mirror in `directory`, and the extension files. See `Connector.read`."""
        with open_complete_mirror(
            directory, [resource.name for resource in RESOURCES], sink
        ) as mirror:
            OneRosterNormalizer(
                _MirrorSource(mirror, self.extensions, sink, progress), sink, self.profile
            ).run()


def _paths(settings: ApiSettings) -> tuple[str, str]:
    """The paths of rosters and of the gradebook: one path in version 1.1, two in version 1.2.

    Raises:
        SourceRefused: the address is of neither version.
    """
    path = urlsplit(settings.base_url).path.rstrip("/")
    if path.endswith("/v1p1"):
        return path, path
    if path.endswith("/rostering/v1p2"):
        return path, path.removesuffix("/rostering/v1p2") + "/gradebook/v1p2"
    raise SourceRefused(
        f"{settings.name}: base_url is {settings.base_url}; it must end in /ims/oneroster/v1p1 or"
        " in /ims/oneroster/rostering/v1p2"
    )


_ResumePoint = dict[str, Any]


class _Fetch:
    """Brings one resource of a mirror up to date."""

    def __init__(
        self,
        client: RestClient,
        path: str,
        mirror: Mirror,
        resource: OneRosterResource,
        settings: ApiSettings,
        progress: ProgressCallback,
    ) -> None:
        self._client = client
        self._path = path
        self._mirror = mirror
        self._resource = resource
        self._name = resource.name
        self._page_size = settings.page_size
        self._progress = progress
        self._sort: dict[str, str] = dict(_SORTED)
        self._total: int | None = None
        self._first_page: list[str] = []
        self._now = datetime.now(UTC)
        identity = json.dumps([settings.base_url, path, resource.field_selection], sort_keys=True)
        self._source = hashlib.sha256(identity.encode()).hexdigest()[:16]

    def bring_up_to_date(self) -> None:
        """Leave the resource complete in the mirror, or empty and marked as unavailable.

        Raises:
            SourceUnavailable: the records kept changing while they were read.
            SourceRefused: students may not be read, or a resource that could be read before.
        """
        try:
            self._count()
        except RequestRefused as refusal:
            self._mark_unavailable(refusal)
            return
        self._resume_interrupted_pass()
        if self._supports_changes():
            self._follow_changes()
        else:
            self._read_until_two_passes_agree()
        self._show_progress()

    def _mark_unavailable(self, refusal: RequestRefused) -> None:
        if refusal.status not in (403, 404) or self._name == _REQUIRED_RESOURCE:
            raise refusal
        self._mirror.mark_unavailable(self._name, {"source": self._source}, refusal)

    def _resume_interrupted_pass(self) -> None:
        unfinished = self._mirror.resume_point(self._name)
        if unfinished is not None and unfinished["source"] == self._source:
            self._run_pass(unfinished)

    def _supports_changes(self) -> bool:
        """Whether the source counts, and filters by date: all since 1970, none from 2999."""
        try:
            return (
                self._count() is not None
                and self._count(_FAR_FUTURE) == 0
                and self._count(_DISTANT_PAST) == self._count()
            )
        except RequestRefused:
            return False

    def _follow_changes(self) -> None:
        sync_state = self._mirror.sync_state(self._name) or {}
        since = None
        if sync_state.get("source") == self._source and sync_state.get("swept", "") > _timestamp(
            self._now - FULL_SCAN_AFTER
        ):
            since = sync_state["since"]
        for _ in range(_MAX_FULL_SCANS):
            if since is None:
                since = _timestamp(self._now - CHANGE_OVERLAP)
                if not self._start_pass(None):
                    continue
            if self._start_pass(since) and self._mirror.count(self._name) == self._count():
                return
            since = None
        self._give_up()

    def _read_until_two_passes_agree(self) -> None:
        previous = None
        if self._mirror.sync_state(self._name) is not None:
            previous = self._mirror.fingerprint(self._name)
        for _ in range(_MAX_FULL_SCANS + 1):
            reached_end = self._start_pass(None)
            total, current = self._count(), self._mirror.fingerprint(self._name)
            if (
                reached_end
                and total in (None, self._mirror.count(self._name))
                and current == previous
            ):
                return
            previous = current
        self._give_up()

    def _give_up(self) -> None:
        counted = (
            "does not say how many there are"
            if self._total is None
            else f"counts {self._total:,} records"
        )
        raise SourceUnavailable(
            f"{self._path}: it changed each time that it was read; the source {counted}, and "
            f"{self._mirror.count(self._name):,} could be read. What was fetched is kept: run the "
            "same command again"
        )

    def _start_pass(self, since: str | None) -> bool:
        sync_state = self._mirror.sync_state(self._name) or {}
        resume_point = {
            "source": self._source,
            "filter": since,
            "offset": 0,
            "since": _timestamp(self._now - CHANGE_OVERLAP),
            "swept": _timestamp(self._now) if since is None else sync_state.get("swept", ""),
        }
        self._mirror.begin(self._name, resume_point, sweeps=since is None)
        return self._run_pass(resume_point)

    def _run_pass(self, resume_point: _ResumePoint) -> bool:
        """Continue a pass to its end; False when records leave it faster than it can be read."""
        offset = furthest = int(resume_point["offset"])
        for _ in range(_MAX_STEPS_BACK):
            offset, is_at_end = self._read_pages(resume_point, offset, furthest)
            if is_at_end:
                self._mirror.finish(
                    self._name, {name: resume_point[name] for name in ("source", "since", "swept")}
                )
                return True
            furthest = max(furthest, offset)
            offset = max(0, offset - self._page_size)
        return False

    def _read_pages(
        self, resume_point: _ResumePoint, offset: int, furthest: int
    ) -> tuple[int, bool]:
        """Read pages until the end, or until one does not continue where the last one ended."""
        while True:
            start = max(0, offset - 1)
            # Of a later page, the first record is known: a page of one would bring nothing.
            limit = max(self._page_size, 2) if start < offset else self._page_size
            response = self._request({"limit": limit, "offset": start}, resume_point["filter"])
            records = list(self._parse_records(response))
            total = _total_count(response)
            self._refuse_first_page_again(records, start, limit, total)
            if start and not (records and self._mirror.was_seen(self._name, records[0][0])):
                return offset, False
            brings_more = any(not self._mirror.was_seen(self._name, id_) for id_, _ in records)
            before, offset = offset, start + len(records)
            self._mirror.take_page(self._name, records, resume_point | {"offset": offset})
            self._show_progress()
            # The records may have become fewer than were read when the pass stepped back.
            goes_on = brings_more or before < offset < furthest
            if (total is not None and offset >= total) or not goes_on:
                return offset, True

    def _refuse_first_page_again(
        self, records: list[tuple[str, dict[str, str]]], start: int, limit: int, total: int | None
    ) -> None:
        """Refuse a source that ignores `offset` and so hides all records behind its first page.

        A source that does not count its records, and has fewer than it would give at once, may
        answer so: its own limit on a page is then not what the number of records looks like.
        """
        ids = [id_ for id_, _ in records]
        if start == 0:
            self._first_page = ids
        elif (
            total is None
            and ids
            and ids == self._first_page
            and len(ids) <= limit
            and len(ids) % _PAGE_LIMITS_ARE_MULTIPLES_OF == 0
        ):
            raise SourceRefused(
                f"{self._path}: the source gives the same {len(ids):,} records at offset {start:,}"
                " as at offset 0, so that no more than these can be read. It must continue at the"
                " offset that it is asked for"
            )

    def _parse_records(self, answer: Response) -> Iterator[tuple[str, dict[str, str]]]:
        for record in _records_of(answer.data, self._path):
            id_ = record.get("sourcedId") if isinstance(record, Mapping) else None
            if not isinstance(id_, str | int) or id_ == "":
                raise SourceRefused(f"{self._path}: a record has no sourcedId")
            if holds_ssn(str(id_)):
                raise SourceRefused(
                    f"{self._path}: a sourcedId is shaped like a social security number; the"
                    " district must give its students other identifiers"
                )
            selected, dropped = select_fields(record, self._resource.field_selection)
            self._mirror.record_dropped_fields(self._name, dropped)
            yield str(id_), _csv_fields(self._resource, selected)

    def _count(self, since: str | None = None) -> int | None:
        answer = self._request({"limit": 1, "offset": 0}, since)
        total = _total_count(answer)
        if since is None:
            self._total, self._now = total, answer.server_time
        return total

    def _request(self, params: Mapping[str, int], since: str | None) -> Response:
        query: dict[str, str | int] = {**params, **self._sort}
        if since is not None:
            query["filter"] = f"dateLastModified>'{since}'"
        try:
            return self._client.get(self._path, query)
        except RequestRefused as refusal:
            if refusal.status not in (400, 422) or not self._sort:
                raise
        answer = self._client.get(
            self._path, {name: value for name, value in query.items() if name not in _SORTED}
        )
        self._sort = {}
        return answer

    def _show_progress(self) -> None:
        most = max(self._total or 0, self._mirror.count(self._name), 1)
        self._progress(self._name, min(self._mirror.count_seen(self._name), most), most)


def _records_of(data: Any, path: str) -> list[Any]:
    """The records of an answer, whatever name the source gives to their list."""
    lists = (
        [value for value in data.values() if isinstance(value, list)]
        if isinstance(data, Mapping)
        else []
    )
    if len(lists) != 1:
        raise SourceRefused(f"{path}: the answer holds no list of records, as OneRoster's do")
    return lists[0]


def _csv_fields(resource: OneRosterResource, selected: Mapping[str, Any]) -> dict[str, str]:
    """A record in the columns of its CSV table; of a deleted one, only that it is deleted."""
    texts = {"sourcedId": _text_at(selected, "sourcedId"), "status": _text_at(selected, "status")}
    if is_deleted(texts):
        return texts
    texts |= {column: _text_at(selected, path) for column, path in resource.fields.items()}
    if resource.name == _REQUIRED_RESOURCE:
        roles = [
            OneRosterRole.of(
                {column: _text_at(role, path) for column, path in _ROLE_FIELDS.items()}
            )
            for role in selected.get("roles") or ()
        ]
        role, orgs = current_role_and_orgs(roles, texts["primaryOrgSourcedId"])
        texts["orgSourcedIds"] = ",".join(orgs) or texts["orgSourcedIds"]
        is_student = role == "student"
        texts["role"] = role if is_student else texts["role"] or role or "student"
    return {column: text for column, text in texts.items() if text}


def _text_at(value: Any, path: str) -> str:
    for name in path.split("."):
        if isinstance(value, list):
            return ",".join(_text_at(item, name) for item in value)
        value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, list):
        return ",".join(_text(item) for item in value if item is not None)
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _total_count(answer: Response) -> int | None:
    counted = answer.headers.get("x-total-count", "").strip()
    return int(counted) if counted.isdecimal() else None


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


@dataclass
class _MirrorSource:
    """The records of a mirror, and of the extension files beside the settings."""

    mirror: Mirror
    extensions: Path | None
    sink: RowSink
    progress: ProgressCallback
    has_students_only: bool = True

    def has(self, file: str) -> bool:
        if file in _RESOURCE_OF_FILE:
            return "missing" not in self.mirror.sync_state(_RESOURCE_OF_FILE[file].name)
        return self._extension_file(file) is not None

    def display_name(self, file: str) -> str:
        return _RESOURCE_OF_FILE[file].name if file in _RESOURCE_OF_FILE else file

    def is_empty(self, file: str) -> bool:
        extension = self._extension_file(file)
        return extension is not None and not has_rows(extension)

    def lines(self, file: str, required: tuple[str, ...]) -> Iterable[CsvRecord]:
        if file in _RESOURCE_OF_FILE:
            return self._records(file, _RESOURCE_OF_FILE[file].name)
        extension = self._extension_file(file)
        known = FILES[file].columns
        if extension is None:
            return ()
        return read_csv(extension, required, self.sink, self.progress, known_columns=known)

    def _extension_file(self, file: str) -> Path | None:
        path = (
            find_file(self.extensions, file)
            if self.extensions is not None and FILES[file].is_extension
            else None
        )
        return path if path is not None and path.is_file() else None

    def _records(self, file: str, name: str) -> Iterator[CsvRecord]:
        empty, total, number = dict.fromkeys(FILES[file].columns, ""), self.mirror.count(name), 0
        for stored in self.mirror.records(name):
            number, fields = stored.number, empty | dict(stored.body)
            if number % _PROGRESS_EVERY == 0:
                self.progress(name, number, total)
            yield CsvRecord(name, number, fields, ",".join(fields.values()))
        for _ in range(total - number):
            self.sink.ignore(name, "of a student whose records were destroyed")
        self.progress(name, total, max(total, 1))


_RESOURCE_OF_FILE = {resource.file: resource for resource in RESOURCES}
