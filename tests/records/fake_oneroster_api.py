"""A OneRoster server on this machine: it holds a made-up roster, which changes, and obeys the
standard or does not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from records.connectors.http.settings import ApiSettings
from records.connectors.oneroster.api import OneRosterApi
from tests.records.fake_http_server import QUICK, FakeHttpServer, Reply
from tests.records.synthetic_roster import Roster

PATHS = {
    "1.1": {"": "/ims/oneroster/v1p1"},
    "1.2": {"": "/ims/oneroster/rostering/v1p2", "gradebook": "/ims/oneroster/gradebook/v1p2"},
}
COLLECTIONS = {
    "schools": ("orgs.csv", "orgs"),
    "academicSessions": ("academicSessions.csv", "academicSessions"),
    "students": ("users.csv", "users"),
    "demographics": ("demographics.csv", "demographics"),
    "courses": ("courses.csv", "courses"),
    "classes": ("classes.csv", "classes"),
    "enrollments": ("enrollments.csv", "enrollments"),
    "lineItems": ("lineItems.csv", "lineItems"),
    "results": ("results.csv", "results"),
}
"""Path of a collection -> the file of the roster that it holds, and what its list is called."""
LONG_AGO = timedelta(days=10)


@dataclass
class StoredRecord:
    fields: dict[str, str]
    changed: datetime
    deleted: bool = False


class FakeOneRosterApi(FakeHttpServer):
    """`without` are collections that these credentials may not read, and the status that says so.

    `after_page` is called each time that a page was made, and may change what is held.
    """

    def __init__(
        self,
        version: str = "1.2",
        *,
        sorts: bool = True,
        filters: str = "honestly",
        counts: bool = True,
        lists_deleted: bool = True,
        most: int = 1_000,
    ) -> None:
        super().__init__()
        self.version = version
        self.sorts, self.filters, self.counts = sorts, filters, counts
        self.lists_deleted, self.most = lists_deleted, most
        self.held: dict[str, dict[str, StoredRecord]] = {}
        self.without: dict[str, int] = {}
        self.more: dict[str, Any] = {}
        self.after_page: Callable[[], None] = lambda: None

    def set_roster(self, made: Roster, ago: timedelta = timedelta(0)) -> None:
        """Hold this roster; what differs from before was changed so long ago."""
        now = datetime.now(UTC) - ago
        for file, records in made.items():
            held = self.held.setdefault(file, {})
            for id_, record in list(held.items()):
                if id_ not in records and not record.deleted:
                    if self.lists_deleted:
                        held[id_] = StoredRecord(record.fields, now, deleted=True)
                    else:
                        del held[id_]
            for id_, fields in records.items():
                if id_ not in held or held[id_].deleted or held[id_].fields != fields:
                    held[id_] = StoredRecord(dict(fields), now)

    def ids(self, collection: str) -> set[str]:
        return {id_ for id_, _ in self._collection(collection)}

    def connector(self, page_size: int = 3, **options: Any) -> OneRosterApi:
        return OneRosterApi(self.settings(page_size, **options), QUICK, sleep=lambda seconds: None)

    def settings(self, page_size: int = 3, **options: Any) -> ApiSettings:
        base = self.url + PATHS[self.version][""]
        return ApiSettings(
            "oneroster-api", "north", base, self.credentials(), page_size, options, Path()
        )

    def answer(self, method: str, path: str, params: Mapping[str, str], body: bytes) -> Reply:
        base, _, collection = path.rpartition("/")
        in_gradebook = self.version == "1.2" and collection in ("lineItems", "results")
        if (
            collection not in COLLECTIONS
            or base != PATHS[self.version]["gradebook" if in_gradebook else ""]
        ):
            return Reply({"imsx_codeMajor": "failure"}, 404)
        if collection in self.without:
            return Reply({"imsx_codeMajor": "failure"}, self.without[collection])
        records = self._filtered(self._collection(collection), params.get("filter"))
        if self.sorts and params.get("sort") == "sourcedId":
            records.sort(key=lambda record: record[0], reverse=params.get("orderBy") == "desc")
        offset, limit = int(params.get("offset", 0)), min(int(params.get("limit", 100)), self.most)
        page = [self._json(collection, id_, held) for id_, held in records[offset : offset + limit]]
        headers = {"X-Total-Count": str(len(records))} if self.counts else {}
        if limit > 1:
            self.after_page()
        return Reply({COLLECTIONS[collection][1]: page}, headers=headers)

    def _collection(self, collection: str) -> list[tuple[str, StoredRecord]]:
        wanted = {"schools": ("type", "school"), "students": ("role", "student")}.get(collection)
        records = [
            (id_, held)
            for id_, held in self.held.get(COLLECTIONS[collection][0], {}).items()
            if wanted is None or held.fields[wanted[0]] == wanted[1]
        ]
        return sorted(records, key=lambda record: hashlib.sha256(record[0].encode()).digest())

    def _filtered(
        self, records: list[tuple[str, StoredRecord]], filter_text: str | None
    ) -> list[tuple[str, StoredRecord]]:
        if filter_text is None or self.filters == "not at all":
            return records
        since = re.fullmatch(r"dateLastModified>'([^']+)'", filter_text)
        assert since is not None, filter_text
        return (
            []
            if self.filters == "to nothing"
            else [record for record in records if stamp(record[1].changed) > since[1]]
        )

    def _json(self, collection: str, id_: str, held: StoredRecord) -> dict[str, Any]:
        fields = json_of(collection, held.fields, self.version)
        return (
            self.more
            | fields
            | {
                "sourcedId": id_,
                "status": "tobedeleted" if held.deleted else "active",
                "dateLastModified": stamp(held.changed),
            }
        )


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def json_of(collection: str, fields: Mapping[str, str], version: str) -> dict[str, Any]:
    """A record as the API of that version says it."""
    body: dict[str, Any] = {
        name: text
        for name, text in fields.items()
        if text
        and not name.endswith("SourcedId")
        and name not in ("orgSourcedIds", "termSourcedIds", "agentSourcedIds")
    }
    for name, text in fields.items():
        if name.endswith("SourcedId") and text:
            body[name.removesuffix("SourcedId")] = {
                "sourcedId": text,
                "href": f"https://sis.example/{text}",
                "type": name.removesuffix("SourcedId"),
            }
    if fields.get("termSourcedIds"):
        body["terms"] = [
            {"sourcedId": term, "type": "term"} for term in fields["termSourcedIds"].split(",")
        ]
    for name in ("grades", "subjects"):
        if name in body:
            body[name] = body[name].split(",")
    for name in ("score", "resultValueMax"):
        if name in body:
            body[name] = float(body[name])
    if "dueDate" in body:
        body["dueDate"] += "T00:00:00.000Z"
    if collection == "students":
        orgs = [
            {"sourcedId": org, "type": "org"} for org in fields["orgSourcedIds"].split(",") if org
        ]
        role = body.pop("role")
        if version == "1.1":
            body |= {"role": role, "orgs": orgs}
        else:
            body["roles"] = [{"roleType": "primary", "role": role, "org": org} for org in orgs]
    if collection == "demographics" and version == "1.1" and "birthDate" in body:
        body["birthdate"] = body.pop("birthDate")
    return body
