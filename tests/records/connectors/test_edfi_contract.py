"""The Ed-Fi connector held to the documents of the Ed-Fi Alliance, served and judged by a program
of another hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from records.connectors.edfi.api import RESOURCES
from records.loading.load import load
from tests.conftest import Serving
from tests.records.fake_edfi_api import FakeEdFiApi
from tests.records.fake_http_server import Reply

NEWER_THAN_THE_DOCUMENT = {"ed-fi/studentSection504ProgramAssociations"}
"""Data Standard 5.1 added it; the published document is of 5.0."""
OLDER_THAN_THE_DOCUMENT = {"ed-fi/studentDisciplineIncidentAssociations"}
OLDER_FIELDS = {
    "ed-fi/grades": ["gradingPeriodReference.periodSequence"],
    "ed-fi/disciplineActions": ["studentDisciplineIncidentAssociations"],
    "ed-fi/studentEducationOrganizationAssociations": [
        "studentCharacteristics.beginDate",
        "studentCharacteristics.endDate",
    ],
}
"""What Data Standard 3 and 4 have and 5.0 has no more."""
NOT_IN_THE_DOCUMENT = NEWER_THAN_THE_DOCUMENT | OLDER_THAN_THE_DOCUMENT


class Front(FakeEdFiApi):
    """Gives the tokens, and passes every other question on to the two documents.

    Their examples never move on, so the change versions are those of this server, in the shape of
    the document; and they name the header Total-Count in words only, so it is added. The lists of
    deletes and of new keys are in neither.
    """

    def __init__(self, resources: str, changes: str) -> None:
        super().__init__()
        self.resources, self.changes = resources, changes
        self.http = httpx2.Client(
            headers={"authorization": "Bearer of the test", "accept": "application/json"}
        )
        self.judged: list[tuple[str, int, str]] = []

    def answer(self, method: str, path: str, params: Mapping[str, str], body: bytes) -> Reply:
        if path == "/api/":
            return super().answer(method, path, params, body)
        if path.endswith(("/deletes", "/keyChanges")):
            return Reply({}, 404)
        address = path.replace("/api/data/v3", self.resources).replace(
            "/api/changeQueries/v1", self.changes
        )
        response = self.http.request(method, address, params=params)
        self.judged.append(
            (
                path.removeprefix("/api/data/v3/"),
                response.status_code,
                response.headers.get("sl-violations", ""),
            )
        )
        data = response.json()
        if path.endswith("/availableChangeVersions"):
            ours = super().answer(method, path, params, body)
            return ours if set(ours.data) == set(data) else Reply({}, 500)
        return Reply(
            data,
            response.status_code,
            {"Total-Count": str(len(data))} if isinstance(data, list) else {},
        )


@pytest.fixture(scope="module")
def documents(shared_data: Path) -> Path:
    return shared_data / "edfi-openapi"


@pytest.fixture(scope="module")
def front(documents: Path, prism: Serving) -> Iterator[Front]:
    with (
        prism(documents / "resources-ds-5.0.yaml") as resources,
        prism(documents / "change-queries-api-1.0.0.yaml") as changes,
    ):
        server = Front(resources, changes)
        with server.running(), server.http:
            yield server


def test_every_request_is_one_that_the_official_documents_allow_and_every_answer_is_accounted_for(
    front: Front, tmp_path: Path
):  # R35
    connector = front.connector(page_size=500, interventions=True)
    for _ in range(2):
        front.nightfall()
        connector.fetch(tmp_path / "mirror", lambda name, done, total: None)
    refused = {path for path, status, violations in front.judged if status != 200 or violations}
    assert refused == NOT_IN_THE_DOCUMENT
    paths = {path for path, _, _ in front.judged}
    assert paths >= {resource.name for resource in RESOURCES} | {
        "/api/changeQueries/v1/availableChangeVersions"
    }
    assert {name for request in front.requests for name in request.params} == {
        "offset",
        "limit",
        "totalCount",
        "minChangeVersion",
        "maxChangeVersion",
    }
    report = load(connector, tmp_path / "mirror", tmp_path / "home")
    assert {count.file: count.read for count in report.files} == {
        resource.name: 1 for resource in RESOURCES if resource.name not in NOT_IN_THE_DOCUMENT
    }
    assert {missing.file for missing in report.missing} == NEWER_THAN_THE_DOCUMENT
    assert report.rows["students"] == 1
    dropped = {
        (dropped_column["file"], dropped_column["column"])
        for dropped_column in report.dropped_columns
    }
    assert {
        ("ed-fi/students", "citizenshipStatusDescriptor"),
        ("ed-fi/students", "visas"),
        ("ed-fi/disciplineIncidents", "reporterName"),
    } <= dropped


def test_the_documents_do_judge(front: Front):
    for wrong in (
        "students?limit=501",
        "students?offset=first",
        "learners",
        "students?minChangeVersion=now",
    ):
        assert front.http.get(f"{front.resources}/ed-fi/{wrong}").status_code >= 400, wrong
    assert httpx2.get(f"{front.resources}/ed-fi/students").status_code == 401


def test_every_field_that_is_read_is_a_field_of_the_official_document(documents: Path):
    document = yaml.load((documents / "resources-ds-5.0.yaml").read_text(), Loader=yaml.CSafeLoader)
    for resource in RESOURCES:
        if resource.name not in NOT_IN_THE_DOCUMENT:
            answer = document["paths"][f"/{resource.name}"]["get"]["responses"]["200"]
            schema = answer["content"]["application/json"]["schema"]
            older = OLDER_FIELDS.get(resource.name, [])
            assert unknown(resource.fields, schema, document) == older, resource.name


def unknown(wanted: Any, schema: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    """The wanted fields, at every depth, that the schema does not have."""
    while "$ref" in schema or "items" in schema:
        schema = (
            schema["items"]
            if "items" in schema
            else document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        )
    if wanted is True:
        return (
            []
            if "properties" not in schema
            else ["a value is wanted, and the document has an object"]
        )
    fields = schema.get("properties", {})
    missing = [name for name in wanted if name not in fields]
    known = [name for name in wanted if name in fields]
    return missing + [
        f"{name}.{inner}"
        for name in known
        for inner in unknown(wanted[name], fields[name], document)
    ]
