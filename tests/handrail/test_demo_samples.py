"""`handrail demo --from`: real sample records as a site that can be looked at."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from handrail.cli import app
from handrail.commands.serve import site_config
from handrail.demo.partners import DISTRICT_STAFF, all_staff
from handrail.settings import DEMO_MARKER_FILE, Settings
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import active_staff_member
from records.staff.sessions import start_session
from serving.app import create_app

ADMIN = DISTRICT_STAFF[0][0]


def demo(*arguments: str) -> tuple[int, str, str]:
    run = CliRunner().invoke(app, ["demo", *arguments, "--no-site"])
    return run.exit_code, " ".join(run.stdout.split()), " ".join(run.stderr.split())


@pytest.mark.parametrize(
    ("name", "kind"), [("edfi", "edfi"), ("edfi-sdg", "edfi"), ("oneroster-1.1", "oneroster")]
)
def test_samples_are_recognized_loaded_and_shown(
    shared_data: Path, tmp_path: Path, name: str, kind: str
):
    status, printed, _ = demo(str(tmp_path), "--from", str(shared_data / name))
    assert status == 0
    assert ADMIN in printed and "what was read" in printed
    assert not [
        login
        for login, *_, organization in all_staff()
        if organization != "district" and login in printed
    ]
    settings = Settings.from_environment(tmp_path / "home")
    marker = json.loads((settings.home / DEMO_MARKER_FILE).read_text())
    assert marker["source"] == kind and settings.is_demo
    snapshot = Snapshot.current(settings.home)
    entered = snapshot.table("school_enrollments").to_pyarrow()["entry_date"].to_pylist()
    newest = [day for day in snapshot.manifest["latest"].values() if day] or [str(max(entered))]
    assert str(settings.today) == max(newest)
    config = site_config(settings)
    assert [login for login, *_ in config.demo_accounts] == [login for login, *_ in DISTRICT_STAFF]
    now = datetime.combine(settings.now().date(), datetime.min.time().replace(hour=10))
    browser = TestClient(create_app(replace(config, clock=lambda: now)), follow_redirects=True)
    viewer = active_staff_member(config.database, ADMIN)
    browser.cookies.set("handrail", start_session(config.database, viewer, now))
    for path in ("/", "/students", "/data"):
        assert browser.get(path).status_code == 200, path
    assert "Page not found" not in browser.get("/data").text


def test_a_demo_of_samples_is_made_anew_and_keeps_the_profile_that_explains_them(
    shared_data: Path, tmp_path: Path
):
    arguments = (str(tmp_path), "--from", str(shared_data / "edfi"), "--source", "edfi")
    assert demo(*arguments)[0] == 0
    profile = tmp_path / "home" / "profiles" / "edfi.toml"
    profile.parent.mkdir()
    profile.write_text("[grades.letters]\nA = 95\n")
    assert demo(*arguments)[0] == 0
    assert profile.read_text() == "[grades.letters]\nA = 95\n"


def test_what_cannot_be_shown_is_refused_in_plain_words(shared_data: Path, tmp_path: Path):
    samples = str(shared_data / "edfi")
    status, _, error = demo(str(tmp_path / "a"), "--from", samples, "--students", "5000")
    assert status == 2 and "--students is for the made-up district" in error
    status, _, error = demo(str(tmp_path / "a"), "--source", "edfi")
    assert status == 2 and "--source is for samples" in error
    status, _, error = demo(str(tmp_path / "a"), "--from", samples, "--source", "sis")
    assert status == 2 and "--source is 'sis'; it must be edfi or oneroster" in error
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.csv").write_text("a,b\n")
    status, _, error = demo(str(tmp_path / "b"), "--from", str(tmp_path / "empty"))
    assert status == 2 and "no users.csv of OneRoster" in error
    home = tmp_path / "c" / "home"
    home.mkdir(parents=True)
    (home / "handrail.db").write_text("mine")
    status, _, error = demo(str(tmp_path / "c"), "--from", samples)
    assert status == 2 and "holds something else already" in error
    assert (home / "handrail.db").read_text() == "mine"
    shutil.rmtree(home)
