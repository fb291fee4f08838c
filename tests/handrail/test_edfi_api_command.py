"""`handrail load edfi-api`: one command for the first load and for every night, and one sentence
when it cannot.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from handrail.cli import app
from records.connectors.edfi.api import RESOURCES
from records.connectors.http.settings import read_api_settings
from records.snapshots.snapshot import Snapshot
from tests.records.fake_edfi_api import FakeEdFiApi, add_student, fill
from tests.records.fake_http_server import CLIENT, SECRET, status

ROOT = Path(__file__).parents[2]
SETTINGS = """
kind = "edfi-api"
name = "north-county"
base_url = "{url}/api"
token_url = "{url}/oauth/token"
client_id = "{client}"
client_secret_env = "NORTH_COUNTY_SECRET"
page_size = 2
"""


@pytest.fixture
def ods() -> Iterator[FakeEdFiApi]:
    server = FakeEdFiApi()
    with server.running():
        fill(server)
        yield server


@pytest.fixture
def source(ods: FakeEdFiApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NORTH_COUNTY_SECRET", SECRET)
    file = tmp_path / "north-county.toml"
    file.write_text(SETTINGS.format(url=ods.url, client=CLIENT))
    return file


def run(home: Path, source: Path, kind: str = "edfi-api") -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["load", kind, str(source), "--home", str(home)])
    return done.exit_code, done.stdout, done.stderr


def test_the_first_load_brings_the_district_and_the_next_one_what_has_changed(
    ods: FakeEdFiApi, source: Path, tmp_path: Path
):
    code, output, _ = run(tmp_path / "home", source)
    assert code == 0 and "is now the current one" in output
    assert Snapshot.current(tmp_path / "home").manifest["rows"]["students"] == 6
    assert (tmp_path / "home" / "sources" / "north-county" / "mirror.sqlite").is_file()
    code, output, _ = run(tmp_path / "home", source)
    assert code == 0 and "already was the current one" in output  # R37
    add_student(ods, 40)
    assert run(tmp_path / "home", source)[0] == 0
    assert Snapshot.current(tmp_path / "home").manifest["rows"]["students"] == 7


def test_a_resource_that_is_closed_is_named_with_what_stays_empty(
    ods: FakeEdFiApi, source: Path, tmp_path: Path
):
    ods.refused = {"ed-fi/grades": 403}
    code, output, _ = run(tmp_path / "home", source)
    assert code == 0
    assert "Not found: ed-fi/grades. Not available without it: course_grades" in output


def test_a_resource_that_is_closed_after_it_was_read_refuses_the_load(
    ods: FakeEdFiApi, source: Path, tmp_path: Path
):
    assert run(tmp_path / "home", source)[0] == 0
    before = Snapshot.current(tmp_path / "home").id
    ods.refused = {"ed-fi/studentSchoolAttendanceEvents": 403}
    code, output, error = run(tmp_path / "home", source)
    assert (code, output) == (2, "")
    assert (
        "studentSchoolAttendanceEvents: the source answered 403" in error
        and "nothing was changed" in error
    )
    assert Snapshot.current(tmp_path / "home").id == before


def test_a_load_that_is_cut_short_is_one_sentence_and_the_old_records_serve(
    ods: FakeEdFiApi, source: Path, tmp_path: Path
):
    run(tmp_path / "home", source)
    before = Snapshot.current(tmp_path / "home").id
    add_student(ods, 40)
    ods.faults.extend([*[None] * 30, status(418)])
    code, output, error = run(tmp_path / "home", source)
    assert (code, output) == (2, "")
    assert re.search(
        r"^handrail: /api/\S+: the source answered 418: check its address", error, re.M
    )
    assert "Traceback" not in error
    assert Snapshot.current(tmp_path / "home").id == before
    assert run(tmp_path / "home", source)[0] == 0
    assert Snapshot.current(tmp_path / "home").manifest["rows"]["students"] == 7


def test_settings_of_another_kind_of_source_are_refused(source: Path, tmp_path: Path):
    source.write_text(source.read_text().replace('kind = "edfi-api"', 'kind = "another"'))
    code, _, error = run(tmp_path / "home", source)
    assert code == 2
    assert "north-county.toml: kind is 'another', and the command says 'edfi-api'" in error


def test_settings_that_are_not_there_are_said_to_be_missing(tmp_path: Path):
    code, _, error = run(tmp_path / "home", tmp_path / "nowhere.toml")
    assert code == 2
    assert "nowhere.toml is not a file" in error


def test_the_settings_that_the_guide_shows_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    guide = (ROOT / "docs" / "api-sources.md").read_text()
    blocks = re.findall(r"^```toml\n(.*?)^```", guide, re.S | re.M)
    [shown] = [block for block in blocks if 'kind = "edfi-api"' in block]
    (tmp_path / "source.toml").write_text(shown)
    monkeypatch.setenv("HANDRAIL_EDFI_SECRET", SECRET)
    assert read_api_settings(tmp_path / "source.toml").options == {"interventions": False}


def test_the_guide_names_every_resource_that_is_read():
    guide = (ROOT / "docs" / "api-sources.md").read_text()
    assert [
        resource.name
        for resource in RESOURCES
        if f"`{resource.name.removeprefix('ed-fi/')}`" not in guide
    ] == []
