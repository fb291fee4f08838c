"""A OneRoster API (versions 1.1 and 1.2) to canonical tables: everything once, then only what has
changed.

A page begins with the last record of the page before, so that a record that was deleted meanwhile
cannot make another be passed over. What was changed meanwhile is asked for by `dateLastModified`,
and the mirror must then hold as many records as the source counts: as it holds all that the source
has, equal counts mean that it holds no other. A source that gives no count, or does not filter as
it says, is read whole until two passes agree. No request writes anything, and only the fields named
here leave an answer. What a record means is in `oneroster_rules`. Source: 1EdTech OneRoster 1.1
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
from records.connectors.csv_files import CsvRecord, read_csv
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
from records.connectors.oneroster.rules import (
    EXTENSION_TABLES,
    FILES,
    RACE_COLUMNS,
    OneRosterNormalizer,
    OneRosterRole,
    current_role_and_school,
    is_deleted,
)
from records.connectors.protocol import RowSink, SourceRefused
from records.system.progress import ProgressCallback

CHANGE_OVERLAP = timedelta(days=1)
"""How far before the last fetch changes are asked for: clocks differ, and some sources know the day
alone."""

FULL_SCAN_AFTER = timedelta(days=7)
"""A whole pass once a week, in case a source forgot to move `dateLastModified` when it changed
something."""

_SWEEPS = 3
_MOST_STEPS_BACK = 50
_PROGRESS_EVERY = 5_000
_NEEDED = "students"
_SORTED = {"sort": "sourcedId", "orderBy": "asc"}
_LONG_AGO, _NOT_YET = "1970-01-01T00:00:00.000Z", "2999-01-01T00:00:00.000Z"
_SCOPES = " ".join(
    f"https://purl.imsglobal.org/spec/or/v1p2/scope/{name}.readonly"
    for name in ("roster-core", "roster-demographics", "gradebook-core")
)
_ROLE = {
    "role": "role",
    "roleType": "roleType",
    "beginDate": "beginDate",
    "endDate": "endDate",
    "orgSourcedId": "org.sourcedId",
}


@dataclass(frozen=True)
class OneRosterResource:
    """One collection. `fields` are the columns of the CSV table `file` -> where the JSON has
    them.
    """

    name: str
    file: str
    fields: Mapping[str, str]
    in_gradebook: bool = False

    @property
    def wanted(self) -> FieldSelection:
        wanted: dict[str, Any] = {}
        roles = (
            {column: f"roles.{path}" for column, path in _ROLE.items()}
            if self.name == _NEEDED
            else {}
        )
        for path in ("sourcedId", "status", *self.fields.values(), *roles.values()):
            *objects, last = path.split(".")
            inner = wanted
            for step in objects:
                inner = inner.setdefault(step, {})
            inner[last] = True
        return wanted


RESOURCES: tuple[OneRosterResource, ...] = (
    OneRosterResource("schools", "orgs.csv", {"type": "type", "name": "name"}),
    OneRosterResource(
        "academicSessions",
        "academicSessions.csv",
        {"type": "type", "startDate": "startDate", "endDate": "endDate"},
    ),
    OneRosterResource(
        "students",
        "users.csv",
        {
            "givenName": "givenName",
            "familyName": "familyName",
            "role": "role",
            "grades": "grades",
            "orgSourcedIds": "orgs.sourcedId",
            "primaryOrgSourcedId": "primaryOrg.sourcedId",
        },
    ),
    OneRosterResource(
        "demographics",
        "demographics.csv",
        {column: column for column in ("birthDate", "birthdate", "sex", *RACE_COLUMNS)},
    ),
    OneRosterResource("courses", "courses.csv", {"title": "title"}),
    OneRosterResource(
        "classes",
        "classes.csv",
        {
            "title": "title",
            "grades": "grades",
            "courseSourcedId": "course.sourcedId",
            "schoolSourcedId": "school.sourcedId",
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
            "lineItemSourcedId": "lineItem.sourcedId",
            "studentSourcedId": "student.sourcedId",
        },
        in_gradebook=True,
    ),
)
"""Everything that is read. Of users only students: staff and families are no business of ours."""

_OF_ROSTERS = (
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
    patience: RetryPolicy = field(default_factory=RetryPolicy)
    sleep: Callable[[float], None] = time.sleep
    name: str = field(default="oneroster-api", init=False)
    tables: tuple[str, ...] = field(init=False)
    extensions: Path | None = field(init=False)

    def __post_init__(self) -> None:
        options = dict(self.settings.options)
        named = options.pop("extensions", None)
        if options or not isinstance(named, str | None):
            raise SourceRefused(
                f"{self.settings.name}: the one option of a oneroster-api source is extensions, the"
                f" name of a folder; found {self.settings.options!r}"
            )
        self.extensions = None if named is None else self.settings.folder / named
        if self.extensions is not None and not self.extensions.is_dir():
            raise SourceRefused(
                f"{self.settings.name}: extensions names {self.extensions}, which is not a folder"
            )
        self.tables = _OF_ROSTERS + (tuple(EXTENSION_TABLES.values()) if self.extensions else ())
        _paths(self.settings)

    def fetch(self, folder: Path, progress: ProgressCallback) -> None:
        """Bring the mirror in `folder` up to date. See `ApiConnector`."""
        rostering, gradebook = _paths(self.settings)
        credentials = self.settings.credentials
        if rostering != gradebook and not credentials.scope:
            credentials = replace(credentials, scope=_SCOPES)
        base = urlsplit(self.settings.base_url)
        client = RestClient(
            f"{base.scheme}://{base.netloc}", credentials, self.patience, sleep=self.sleep
        )
        with open_mirror(folder) as mirror, client:
            mirror.keep_only(resource.name for resource in RESOURCES)
            for resource in sorted(RESOURCES, key=lambda resource: resource.name != _NEEDED):
                path = f"{gradebook if resource.in_gradebook else rostering}/{resource.name}"
                _Fetch(client, path, mirror, resource, self.settings, progress).bring_up_to_date()

    def read(self, directory: Path, sink: RowSink, progress: ProgressCallback) -> None:
        """Read the mirror in `directory`, and the extension files. See `Connector.read`."""
        with open_complete_mirror(
            directory, [resource.name for resource in RESOURCES], sink
        ) as mirror:
            OneRosterNormalizer(_Answers(mirror, self.extensions, sink, progress), sink).run()


def _paths(settings: ApiSettings) -> tuple[str, str]:
    """The paths of rosters and of the gradebook: one until version 1.1, two since 1.2.

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


_Place = dict[str, Any]


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
        self._now = datetime.now(UTC)
        identity = json.dumps([settings.base_url, path, resource.wanted], sort_keys=True)
        self._source = hashlib.sha256(identity.encode()).hexdigest()[:16]

    def bring_up_to_date(self) -> None:
        """Leave the resource whole in the mirror, or empty and marked as missing.

        Raises:
            SourceUnavailable: it would not hold still.
            SourceRefused: students may not be read, or something that could be read before.
        """
        try:
            self._count()
        except RequestRefused as refused:
            self._mark_missing(refused)
            return
        self._finish_what_was_begun()
        if self._tells_changes():
            self._follow_changes()
        else:
            self._read_until_two_passes_agree()
        self._show_progress()

    def _mark_missing(self, refused: RequestRefused) -> None:
        if refused.status not in (403, 404) or self._name == _NEEDED:
            raise refused
        self._mirror.mark_missing(self._name, {"source": self._source}, refused)

    def _finish_what_was_begun(self) -> None:
        place = self._mirror.place(self._name)
        if place is not None and place["source"] == self._source:
            self._go_through(place)

    def _tells_changes(self) -> bool:
        """Whether the source counts, and filters by date: everything since long ago, and nothing of
        the future.
        """
        try:
            return (
                self._count() is not None
                and self._count(_NOT_YET) == 0
                and self._count(_LONG_AGO) == self._count()
            )
        except RequestRefused:
            return False

    def _follow_changes(self) -> None:
        synced = self._mirror.synced(self._name) or {}
        since = None
        if synced.get("source") == self._source and synced.get("swept", "") > _written(
            self._now - FULL_SCAN_AFTER
        ):
            since = synced["since"]
        for _ in range(_SWEEPS):
            if since is None:
                since = _written(self._now - CHANGE_OVERLAP)
                if not self._pass(None):
                    continue
            if self._pass(since) and self._mirror.count(self._name) == self._count():
                return
            since = None
        self._give_up()

    def _read_until_two_passes_agree(self) -> None:
        before = None
        if self._mirror.synced(self._name) is not None:
            before = self._mirror.fingerprint(self._name)
        for _ in range(_SWEEPS + 1):
            is_whole = self._pass(None)
            total, found = self._count(), self._mirror.fingerprint(self._name)
            if is_whole and total in (None, self._mirror.count(self._name)) and found == before:
                return
            before = found
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

    def _pass(self, since: str | None) -> bool:
        synced = self._mirror.synced(self._name) or {}
        place = {
            "source": self._source,
            "filter": since,
            "offset": 0,
            "since": _written(self._now - CHANGE_OVERLAP),
            "swept": _written(self._now) if since is None else synced.get("swept", ""),
        }
        self._mirror.begin(self._name, place, sweeps=since is None)
        return self._go_through(place)

    def _go_through(self, place: _Place) -> bool:
        """Go on with a pass to its end; False when records leave it faster than it can be read."""
        offset = furthest = int(place["offset"])
        for _ in range(_MOST_STEPS_BACK):
            offset, is_at_end = self._read_on(place, offset, furthest)
            if is_at_end:
                self._mirror.finish(
                    self._name, {name: place[name] for name in ("source", "since", "swept")}
                )
                return True
            furthest = max(furthest, offset)
            offset = max(0, offset - self._page_size)
        return False

    def _read_on(self, place: _Place, offset: int, furthest: int) -> tuple[int, bool]:
        """Read pages until the end, or until one does not go on where the one before ended."""
        while True:
            start = max(0, offset - 1)
            answer = self._ask(
                {"limit": self._page_size + offset - start, "offset": start}, place["filter"]
            )
            records = list(self._records(answer))
            if start and not (records and self._mirror.has_met(self._name, records[0][0])):
                return offset, False
            brings_more = any(not self._mirror.has_met(self._name, id_) for id_, _ in records)
            offset = start + len(records)
            self._mirror.take_page(self._name, records, place | {"offset": offset})
            self._show_progress()
            total = _total(answer)
            if (total is not None and offset >= total) or not (brings_more or offset < furthest):
                return offset, True

    def _records(self, answer: Response) -> Iterator[tuple[str, dict[str, str]]]:
        for record in _only_list(answer.data, self._path):
            id_ = record.get("sourcedId") if isinstance(record, Mapping) else None
            if not isinstance(id_, str | int) or id_ == "":
                raise SourceRefused(f"{self._path}: a record has no sourcedId")
            if holds_ssn(str(id_)):
                raise SourceRefused(
                    f"{self._path}: a sourcedId is shaped like a social security number; the"
                    " district must give its students other identifiers"
                )
            kept, refused = select_fields(record, self._resource.wanted)
            self._mirror.note_refused(self._name, refused)
            yield str(id_), _fields(self._resource, kept)

    def _count(self, since: str | None = None) -> int | None:
        answer = self._ask({"limit": 1, "offset": 0}, since)
        total = _total(answer)
        if since is None:
            self._total, self._now = total, answer.clock
        return total

    def _ask(self, params: Mapping[str, int], since: str | None) -> Response:
        asked: dict[str, str | int] = {**params, **self._sort}
        if since is not None:
            asked["filter"] = f"dateLastModified>'{since}'"
        try:
            return self._client.get(self._path, asked)
        except RequestRefused as refused:
            if refused.status not in (400, 422) or not self._sort:
                raise
        answer = self._client.get(
            self._path, {name: value for name, value in asked.items() if name not in _SORTED}
        )
        self._sort = {}
        return answer

    def _show_progress(self) -> None:
        most = max(self._total or 0, self._mirror.count(self._name), 1)
        self._progress(self._name, min(self._mirror.met(self._name), most), most)


def _only_list(data: Any, path: str) -> list[Any]:
    """The records of an answer, whatever the source calls their list."""
    lists = (
        [value for value in data.values() if isinstance(value, list)]
        if isinstance(data, Mapping)
        else []
    )
    if len(lists) != 1:
        raise SourceRefused(f"{path}: the answer holds no list of records, as OneRoster's do")
    return lists[0]


def _fields(resource: OneRosterResource, kept: Mapping[str, Any]) -> dict[str, str]:
    """A record in the columns of its CSV table; of one that is deleted, that it is."""
    texts = {"sourcedId": _text(kept, "sourcedId"), "status": _text(kept, "status")}
    if is_deleted(texts):
        return texts
    texts |= {column: _text(kept, path) for column, path in resource.fields.items()}
    if resource.name == _NEEDED:
        roles = [
            OneRosterRole.of({column: _text(one, path) for column, path in _ROLE.items()})
            for one in kept.get("roles", ())
        ]
        if roles:
            texts["role"], texts["orgSourcedIds"] = current_role_and_school(
                roles, texts["primaryOrgSourcedId"]
            )
        texts["role"] = texts["role"] or "student"
    return {column: text for column, text in texts.items() if text}


def _text(kept: Any, path: str) -> str:
    for step in path.split("."):
        if isinstance(kept, list):
            return ",".join(_text(one, step) for one in kept)
        kept = kept.get(step) if isinstance(kept, Mapping) else None
    if isinstance(kept, list):
        return ",".join(str(one) for one in kept)
    if isinstance(kept, bool):
        return str(kept).lower()
    return "" if kept is None else str(kept)


def _total(answer: Response) -> int | None:
    counted = answer.headers.get("x-total-count", "").strip()
    return int(counted) if counted.isdecimal() else None


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


@dataclass
class _Answers:
    """The lines of a mirror, and of the extension files that lie beside the settings."""

    mirror: Mirror
    extensions: Path | None
    sink: RowSink
    progress: ProgressCallback
    only_students: bool = True

    def has(self, file: str) -> bool:
        if file in _OF_FILE:
            return "missing" not in self.mirror.synced(_OF_FILE[file].name)
        return self._extension(file) is not None

    def called(self, file: str) -> str:
        return _OF_FILE[file].name if file in _OF_FILE else file

    def lines(self, file: str, required: tuple[str, ...]) -> Iterable[CsvRecord]:
        if file in _OF_FILE:
            return self._answers(file, _OF_FILE[file].name)
        extension = self._extension(file)
        return () if extension is None else read_csv(extension, required, self.sink, self.progress)

    def _extension(self, file: str) -> Path | None:
        path = (
            self.extensions / file
            if self.extensions is not None and FILES[file].is_extension
            else None
        )
        return path if path is not None and path.is_file() else None

    def _answers(self, file: str, name: str) -> Iterator[CsvRecord]:
        empty, total, number = dict.fromkeys(FILES[file].columns, ""), self.mirror.count(name), 0
        for kept in self.mirror.records(name):
            number, fields = kept.number, empty | dict(kept.body)
            if number % _PROGRESS_EVERY == 0:
                self.progress(name, number, total)
            yield CsvRecord(name, number, fields, ",".join(fields.values()))
        for _ in range(total - number):
            self.sink.ignore(name, "of a student whose records were destroyed")
        self.progress(name, total, max(total, 1))


_OF_FILE = {resource.file: resource for resource in RESOURCES}
