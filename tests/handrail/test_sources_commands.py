"""`handrail sources profile`: a district finds out which of its codes nobody has explained."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from handrail.cli import app
from records.connectors.profiles.profile import read_profile
from tests.records.fake_http_server import CLIENT, SECRET
from tests.records.fake_powerschool import FakePowerSchool, fill
from tests.records.synthetic_roster import roster, write_csv

SETTINGS = """
kind = "powerschool"
name = "north-sis"
base_url = "{url}"
token_url = "{url}/oauth/token"
client_id = "{client}"
client_secret_env = "NORTH_SECRET"
"""


@pytest.fixture
def case(cases: Path) -> Path:
    return cases / "09-edfi-local-codes"


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, " ".join((result.stdout + result.stderr).split())


def test_codes_are_listed_explained_and_then_loaded(case: Path, tmp_path: Path):
    code, text = run("sources", "profile", "edfi", case, "--home", tmp_path)
    assert code == 1
    assert "UX │ 48 │ 100.0% │ ?" in text
    profile = tmp_path / "profiles" / "edfi.toml"
    draft = profile.read_text()
    assert '# "UX" = "..."' in draft

    code, text = run("load", "edfi", case, "--home", tmp_path)
    assert code == 2
    assert "nothing was changed: of 48 values of AttendanceEventCategory, 48 are codes" in text
    assert "`handrail sources profile edfi` drafts it" in text

    profile.write_text(draft.replace('# "UX" = "..."', '"UX" = "absent_unexcused"'))
    assert run("sources", "profile", "edfi", case, "--home", tmp_path)[0] == 0
    code, text = run("load", "edfi", case, "--home", tmp_path)
    assert code == 0, text


def test_a_draft_never_replaces_a_districts_own_file(case: Path, tmp_path: Path):
    profile = tmp_path / "profiles" / "edfi.toml"
    profile.parent.mkdir()
    profile.write_text('[attendance.codes]\nEX = "absent_excused"\n')
    code, text = run("sources", "profile", "edfi", case, "--home", tmp_path)
    assert code == 1
    assert "what the codes marked ? mean" in text
    assert profile.read_text() == '[attendance.codes]\nEX = "absent_excused"\n'


def test_status_says_by_which_profile_a_source_was_read_and_when_it_changed(
    case: Path, tmp_path: Path
):
    profile = tmp_path / "profiles" / "edfi.toml"
    profile.parent.mkdir()
    profile.write_text('[attendance.codes]\nUX = "absent_unexcused"\n')
    code, text = run("load", "edfi", case, "--home", tmp_path)
    assert code == 0, text
    text = run("records", "status", "--home", tmp_path)[1]
    assert f"edfi was read by profile version {read_profile('edfi', tmp_path).digest[:12]}" in text
    assert "changed since" not in text
    profile.write_text('[attendance.codes]\nUX = "absent_excused"\n')
    text = run("records", "status", "--home", tmp_path)[1]
    assert "profiles/edfi.toml changed since the last load: load again" in text


def test_the_vendor_that_an_export_names_is_offered_and_never_assumed(tmp_path: Path):
    folder = write_csv(roster(), tmp_path / "in")
    with (folder / "manifest.csv").open("a") as manifest:
        manifest.write("source.systemName,Infinite Campus\nfile.attendance,bulk\n")
    lines = ("userSourcedId,school_id,date,status", "s0,k1,2025-10-17,Early Release Excused")
    (folder / "attendance.csv").write_text("\n".join(lines) + "\n")
    home = tmp_path / "home"
    code, text = run("sources", "profile", "oneroster", folder, "--home", home)
    assert code == 1
    assert "The export says that it comes from 'Infinite Campus'" in text
    profile = home / "profiles" / "oneroster.toml"
    assert '# vendor = "infinite_campus"' in profile.read_text()
    profile.write_text('vendor = "infinite_campus"\n')
    code, text = run("sources", "profile", "oneroster", folder, "--home", home)
    assert code == 0 and "comes from" not in text and "Every code is explained" in text


def test_the_codes_of_a_powerschool_server_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NORTH_SECRET", SECRET)
    server, home = FakePowerSchool(), tmp_path / "home"
    settings = tmp_path / "power.toml"
    with server.running():
        fill(server, students=2)
        server.change("storedgrades", "studentid = 1000", storecode="T1")
        settings.write_text(SETTINGS.format(url=server.url, client=CLIENT))
        code, text = run("sources", "profile", "powerschool", settings, "--home", home)
    assert code == 1, text
    assert "storecode │ T1 │ 1 │ 50.0% │ ?" in text
    assert '# "T1" = "..."' in (home / "profiles" / "powerschool.toml").read_text()


def test_an_unknown_source_and_a_broken_profile_are_named(case: Path, tmp_path: Path):
    assert (
        "the sources are: edfi, oneroster, edfi-api" in run("sources", "profile", "hmis", case)[1]
    )
    profile = tmp_path / "profiles" / "edfi.toml"
    profile.parent.mkdir()
    profile.write_text('[attendance.codes]\nUX = "gone"\n')
    code, text = run("load", "edfi", case, "--home", tmp_path)
    assert code == 2
    assert "[attendance] codes says 'gone' of 'UX'" in text
