"""The OneRoster connector held to the documents of 1EdTech, served and judged by a program of
another hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx2
import pytest

from records.connectors.oneroster.api import RESOURCES
from records.loading.load import load
from tests.conftest import Serving
from tests.records.fake_http_server import Reply
from tests.records.fake_oneroster_api import PATHS, FakeOneRosterApi


class Front(FakeOneRosterApi):
    """Gives the tokens, and passes every other question on to the two documents.

    The fixed examples of the gradebook's document do not obey that document, so that its answers
    are made up, anew each time: the first one that holds something is given again and again. Their
    count is any number, so it is set.
    """

    def __init__(self, rostering: str, gradebook: str) -> None:
        super().__init__()
        self.documents = {PATHS["1.2"][""]: rostering, PATHS["1.2"]["gradebook"]: gradebook}
        self.http = httpx2.Client(
            headers={"authorization": "Bearer of the test", "accept": "application/json"}
        )
        self.judged: list[tuple[str, int, str]] = []
        self.given: dict[str, Any] = {}

    def answer(self, method: str, path: str, params: Mapping[str, str], body: bytes) -> Reply:
        base, _, collection = path.rpartition("/")
        prefer = {"prefer": "dynamic=true"} if base == PATHS["1.2"]["gradebook"] else {}
        ids: set[str] = set()
        while not ids:
            response = self.http.request(
                method, f"{self.documents[base]}/{collection}", params=params, headers=prefer
            )
            self.judged.append(
                (collection, response.status_code, response.headers.get("sl-violations", ""))
            )
            if response.status_code != 200:
                return Reply(response.json(), response.status_code)
            given = self.given.get(collection, response.json())
            ids = {record["sourcedId"] for records in given.values() for record in records}
        self.given[collection] = given
        for user in given.get("users", []):
            for role in user["roles"]:
                role["role"] = "student"
        return Reply(given, headers={"X-Total-Count": str(len(ids))})


@pytest.fixture(scope="module")
def front(shared_data: Path, prism: Serving) -> Iterator[Front]:
    documents = shared_data / "oneroster-openapi"
    with (
        prism(documents / "onerosterv1p2rostersservice_openapi3_v1p0.json") as rostering,
        prism(documents / "onerosterv1p2gradebookservice_openapi3_v1p0.json") as gradebook,
    ):
        server = Front(rostering, gradebook)
        with server.running(), server.http:
            yield server


def test_every_request_is_one_that_the_official_documents_allow_and_every_answer_is_accounted_for(
    front: Front, tmp_path: Path
):  # R35
    connector = front.connector(page_size=500)
    for _ in range(2):
        connector.fetch(tmp_path / "mirror", lambda name, done, total: None)
    assert {(status, violations) for _, status, violations in front.judged} == {(200, "")}
    assert {collection for collection, _, _ in front.judged} == {
        resource.name for resource in RESOURCES
    }
    assert {name for request in front.requests for name in request.params} == {
        "limit",
        "offset",
        "sort",
        "orderBy",
        "filter",
    }
    report = load(connector, tmp_path / "mirror", tmp_path / "home")
    given = {
        collection: len({record["sourcedId"] for records in answer.values() for record in records})
        for collection, answer in front.given.items()
    }
    assert {count.file: count.read for count in report.files} == given
    dropped = {
        (dropped_column["file"], dropped_column["column"])
        for dropped_column in report.dropped_columns
    }
    assert {
        ("demographics", "countryOfBirthCode"),
        ("demographics", "cityOfBirth"),
        ("demographics", "stateOfBirthAbbreviation"),
    } <= dropped


def test_the_scopes_of_the_official_documents_are_asked_for(front: Front, tmp_path: Path):  # R22
    front.connector().fetch(tmp_path, lambda name, done, total: None)
    body = next(request.body for request in front.requests if request.path == "/oauth/token")
    scopes = dict(parse_qsl(body.decode()))["scope"].split()
    assert {scope.rsplit("/", 1)[-1] for scope in scopes} == {
        "roster-core.readonly",
        "roster-demographics.readonly",
        "gradebook-core.readonly",
    }
