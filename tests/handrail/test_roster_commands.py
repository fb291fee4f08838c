"""`handrail load` of rosters: by the OneRoster API, by PowerSchool's queries, and from files that
hold only changes.
"""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest
from typer.testing import CliRunner

from handrail.cli import app
from records.connectors.http.settings import ApiSettings, read_api_settings
from records.connectors.oneroster.api import RESOURCES, OneRosterApi
from records.connectors.powerschool import PowerSchool
from records.snapshots.snapshot import Snapshot
from tests.records.fake_http_server import CLIENT, SECRET
from tests.records.fake_oneroster_api import FakeOneRosterApi
from tests.records.fake_powerschool import FakePowerSchool, fill
from tests.records.fake_powerschool import add_student as enroll
from tests.records.synthetic_roster import add_student, change, roster, write_csv

GUIDE = (Path(__file__).parents[2] / "docs" / "api-sources.md").read_text()
SETTINGS = """
kind = "{kind}"
name = "north-county"
base_url = "{base}"
token_url = "{url}/oauth/token"
client_id = "{client}"
client_secret_env = "NORTH_COUNTY_SECRET"
page_size = 2
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORTH_COUNTY_SECRET", SECRET)


def run(home: Path, kind: str, source: Path, *options: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["load", kind, str(source), *options, "--home", str(home)])
    return done.exit_code, done.stdout, done.stderr


def students(home: Path) -> int:
    return int(Snapshot.current(home).manifest["rows"]["students"])


def test_a_roster_comes_by_its_api_and_then_what_has_changed(tmp_path: Path):
    server, made, file = FakeOneRosterApi(), roster(), tmp_path / "north-county.toml"
    with server.running():
        server.set_roster(made)
        base = f"{server.url}/ims/oneroster/rostering/v1p2"
        file.write_text(
            SETTINGS.format(kind="oneroster-api", base=base, url=server.url, client=CLIENT)
            + '[options]\nextensions = "nightly"\n'
        )
        (tmp_path / "nightly").mkdir()
        (tmp_path / "nightly" / "attendance.csv").write_text(
            "userSourcedId,school_id,date,status\ns0,k1,2025-09-02,tardy\n"
        )
        code, output, error = run(tmp_path / "home", "oneroster-api", file)
        assert code == 0, error
        assert "is now the current one" in output and students(tmp_path / "home") == 6
        assert Snapshot.current(tmp_path / "home").manifest["rows"]["attendance_events"] == 1
        assert (
            "already was the current one" in run(tmp_path / "home", "oneroster-api", file)[1]
        )  # R37
        add_student(made, "s9", 1)
        server.set_roster(made)
        assert run(tmp_path / "home", "oneroster-api", file)[0] == 0
    assert students(tmp_path / "home") == 7


def test_powerschool_comes_by_the_plugins_queries_and_then_what_has_changed(tmp_path: Path):
    server, file = FakePowerSchool(), tmp_path / "north-county.toml"
    with server.running():
        fill(server)
        file.write_text(
            SETTINGS.format(kind="powerschool", base=server.url, url=server.url, client=CLIENT)
            + '[options.attendance]\nA = "absent_unexcused"\n'
        )
        code, output, error = run(tmp_path / "home", "powerschool", file)
        assert code == 0, error
        assert "is now the current one" in output and students(tmp_path / "home") == 6
        assert (
            "already was the current one" in run(tmp_path / "home", "powerschool", file)[1]
        )  # R37
        enroll(server, 9)
        assert run(tmp_path / "home", "powerschool", file)[0] == 0
    assert students(tmp_path / "home") == 7


def test_files_that_hold_only_changes_need_a_whole_export_that_was_kept(tmp_path: Path):
    home, before = tmp_path / "home", roster()
    after = change(before, Random(3))
    add_student(after, "s9", 1)
    bulk = write_csv(before, tmp_path / "bulk")
    delta = write_csv(after, tmp_path / "delta", since=before)
    assert run(home, "oneroster", bulk)[0] == 0
    assert not (home / "sources").exists(), "nothing is kept that nobody asked for"
    code, output, error = run(home, "oneroster", delta)
    assert (code, output) == (2, "")
    assert re.search(
        r"manifest\.csv says that \S+ holds only changes .* with --keep-for-changes first", error
    )
    assert run(home, "oneroster", bulk, "--keep-for-changes")[0] == 0
    code, output, error = run(home, "oneroster", delta)
    assert code == 0, error
    assert "users.csv of earlier loads" in output
    assert Snapshot.current(home).table("students").student_id.to_pyarrow().to_pylist() == sorted(
        id_ for id_, user in after["users.csv"].items() if user["role"] == "student"
    )


def test_only_oneroster_files_are_kept_for_changes(tmp_path: Path):
    code, _, error = run(tmp_path / "home", "edfi", tmp_path, "--keep-for-changes")
    assert code == 2
    assert "--keep-for-changes is for oneroster" in error


def test_the_settings_that_the_guide_shows_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HANDRAIL_ONEROSTER_SECRET", SECRET)
    (tmp_path / "nightly").mkdir()
    (tmp_path / "south-county.secret").write_text(SECRET)
    (tmp_path / "south-county.secret").chmod(0o600)
    shown: dict[str, list[ApiSettings]] = {"oneroster-api": [], "powerschool": [], "edfi-api": []}
    monkeypatch.setenv("HANDRAIL_EDFI_SECRET", SECRET)
    for block in re.findall(r"^```toml\n(.*?)^```", GUIDE, re.S | re.M):
        (tmp_path / "source.toml").write_text(block)
        settings = read_api_settings(tmp_path / "source.toml")
        shown[settings.kind].append(settings)
    assert [OneRosterApi(example).extensions is not None for example in shown["oneroster-api"]] == [
        True,
        False,
    ]
    [school] = [PowerSchool(example) for example in shown["powerschool"]]
    assert school.codes.attendance == {"A": "absent_unexcused", "E": "absent_excused", "T": "tardy"}


def test_the_guide_names_every_collection_that_is_read():
    assert [resource.name for resource in RESOURCES if f"`{resource.name}`" not in GUIDE] == []
