"""What a fresh installation starts with: no password, no way in from elsewhere, secrets that only
their owner reads.
"""

from __future__ import annotations

import os
import re
import stat
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from handrail.cli import app
from handrail.commands.serve import check_listen_address, site_config
from handrail.demo.partners import PASSWORD, all_staff
from handrail.settings import DEMO_MARKER_FILE, Settings, SettingsError
from records.database.engine import open_database
from records.disclosure_log.limits import DisclosureLimits
from records.staff.accounts import authenticate, organizations, staff_names
from serving.app import create_app

ELSEWHERE = (
    "0.0.0.0",
    "::",
    "10.1.2.3",
    "192.168.0.7",
    "2001:db8::1",
    "handrail.district.example",
    "",
)
HERE = ("127.0.0.1", "localhost", "::1", "127.0.0.2")


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in os.environ if name.startswith("HANDRAIL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def fresh(tmp_path: Path) -> Settings:
    return Settings.from_environment(tmp_path / "home")


@pytest.fixture
def demo(fresh: Settings) -> Settings:
    fresh.home.mkdir()
    (fresh.home / DEMO_MARKER_FILE).write_text('{"today": "2026-04-17"}')
    return Settings.from_environment(fresh.home)


def serve(*words: str) -> tuple[int, str]:
    """Exit status and what was said of `handrail serve`, which these words must make refuse."""
    run = CliRunner().invoke(app, ["serve", *words])
    assert "Traceback" not in run.output and "Handrail is at" not in run.output
    return run.exit_code, run.output


@pytest.mark.parametrize("host", ELSEWHERE)
def test_nobody_elsewhere_reaches_the_site_in_clear(fresh: Settings, host: str):  # R54
    with pytest.raises(SettingsError, match="--tls-certificate and --tls-key, or --behind-proxy"):
        check_listen_address(fresh, host, encrypted=False)
    check_listen_address(fresh, host, encrypted=True)


@pytest.mark.parametrize("host", HERE)
def test_this_machine_reaches_it_in_clear(fresh: Settings, host: str):  # R54
    check_listen_address(fresh, host, encrypted=False)


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_demo_serves_this_machine_alone_even_over_tls(demo: Settings, encrypted: bool):  # R54
    for host in ELSEWHERE:
        with pytest.raises(SettingsError, match="a demo's password is public"):
            check_listen_address(demo, host, encrypted)
    for host in HERE:
        check_listen_address(demo, host, encrypted)


def test_serve_listens_on_this_machine_by_default_and_has_no_debug_mode(fresh: Settings):  # R54
    text = (
        CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
    )
    assert re.search(r"--host .*\[default: 127\.0\.0\.1\]", text)
    assert "debug" not in text.lower() and "reload" not in text.lower()
    site = create_app(site_config(fresh))
    assert not site.debug and site.docs_url is None and site.redoc_url is None


def test_serve_refuses_in_plain_words(fresh: Settings, demo: Settings, tmp_path: Path):  # R54
    other, home = ("--home", str(tmp_path / "other")), ("--home", str(demo.home))
    pem = tmp_path / "file.pem"
    pem.write_text("x")
    for words, part in (
        (("--host", "0.0.0.0", *other), "0.0.0.0 can be reached by others"),
        (
            ("--host", "0.0.0.0", "--tls-certificate", str(pem), *other),
            "--tls-certificate and --tls-key belong",
        ),
        (
            ("--host", "0.0.0.0", "--tls-key", str(pem), *other),
            "--tls-certificate and --tls-key belong",
        ),
        (
            ("--tls-certificate", str(tmp_path / "no.pem"), "--tls-key", str(pem), *other),
            "is not a file",
        ),
        (
            ("--host", "0.0.0.0", "--tls-certificate", str(pem), "--tls-key", str(pem), *home),
            "demo's password is public",
        ),
        (
            ("--host", "0.0.0.0", "--behind-proxy", "10.0.0.2", *home),
            "a demo's password is public",
        ),
    ):
        status, output = serve(*words)
        assert (status, part in output) == (2, True), (words, output)


def test_serve_refuses_a_secret_that_others_may_read(fresh: Settings):  # R54
    fresh.secret()
    (fresh.home / "secret").chmod(0o644)
    status, output = serve("--home", str(fresh.home))
    assert (
        status,
        "may be read by others than its owner: run chmod 600" in output.replace("\n", " "),
    ) == (2, True), output


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o610])
def test_a_secret_that_others_may_read_is_refused(fresh: Settings, mode: int):  # R54
    fresh.secret()
    (fresh.home / "secret").chmod(mode)
    with pytest.raises(SettingsError, match="run chmod 600"):
        fresh.secret()


def test_a_secret_is_made_on_first_use_for_its_owner_alone_and_stays(
    fresh: Settings, tmp_path: Path
):  # R54
    before = os.umask(0)
    try:
        secret = fresh.secret()
    finally:
        os.umask(before)
    assert stat.S_IMODE((fresh.home / "secret").stat().st_mode) == 0o600
    assert len(secret) >= 32 and fresh.secret() == secret
    assert Settings.from_environment(tmp_path / "another").secret() != secret


def test_a_short_secret_is_refused_and_a_long_one_leaves_no_file(
    fresh: Settings, monkeypatch
):  # R54
    monkeypatch.setenv("HANDRAIL_SECRET", "x" * 31)
    with pytest.raises(SettingsError, match="fewer than 32 characters"):
        fresh.secret()
    assert serve("--home", str(fresh.home))[0] == 2
    monkeypatch.setenv("HANDRAIL_SECRET", "x" * 32)
    assert fresh.secret() == b"x" * 32
    assert not (fresh.home / "secret").exists()


def test_a_fresh_home_has_no_account_no_organisation_and_no_password(fresh: Settings):  # R54
    config = site_config(fresh)
    assert staff_names(config.database) == {} and organizations(config.database) == {}
    assert config.demo_accounts == () and config.demo_password == ""
    for login in ("admin", next(login for login, *_ in all_staff())):
        assert authenticate(config.database, login, PASSWORD, fresh.now()) is None


def test_the_demos_password_opens_nothing_outside_a_demo(fresh: Settings, demo: Settings):
    assert site_config(demo).demo_password == PASSWORD
    (demo.home / DEMO_MARKER_FILE).unlink()
    assert site_config(demo).demo_password == ""


def test_no_source_file_holds_a_secret_but_the_demos_printed_password():  # R54
    assigned = re.compile(
        r"(?i)(password|secret|token|api_?key)\w*\s*(:\s*\w+\s*)?=\s*[frb]?[\"'][^\"'{]{6,}[\"']"
    )
    secrets_found = []
    for room in ("records", "features", "training", "fairness", "serving", "handrail"):
        for file in (Path(__file__).parents[2] / room).rglob("*.py"):
            secrets_found += [
                (file.name, line.strip())
                for line in file.read_text().splitlines()
                if assigned.search(line)
            ]
    assert [name for name, _ in secrets_found] == ["partners.py"], secrets_found


def test_a_day_that_is_none_is_refused_and_a_demo_stands_on_its_own(
    fresh: Settings, demo: Settings, monkeypatch
):
    assert demo.today == date(2026, 4, 17) and demo.now().date() == date(2026, 4, 17)
    monkeypatch.setenv("HANDRAIL_TODAY", "tomorrow")
    with pytest.raises(SettingsError, match="HANDRAIL_TODAY is 'tomorrow'"):
        Settings.from_environment(fresh.home)


def test_the_database_of_a_fresh_home_lies_in_it(fresh: Settings):
    open_database(fresh.database_url)
    assert (fresh.home / "handrail.db").is_file()


def test_a_district_sets_how_many_students_one_person_may_be_shown(
    fresh: Settings, monkeypatch
):  # R31
    assert site_config(fresh).limits == DisclosureLimits(200, 1_000)
    monkeypatch.setenv("HANDRAIL_STUDENTS_AT_ONCE", "120")
    monkeypatch.setenv("HANDRAIL_STUDENTS_A_DAY", "300")
    assert site_config(Settings.from_environment(fresh.home)).limits == DisclosureLimits(120, 300)
    for name, text, least in (
        ("AT_ONCE", "99", 100),
        ("AT_ONCE", "all", 100),
        ("A_DAY", "119", 120),
        ("A_DAY", "-1", 120),
        ("A_DAY", "1e9", 120),
    ):
        with monkeypatch.context() as changed:
            changed.setenv(f"HANDRAIL_STUDENTS_{name}", text)
            expected = (
                f"HANDRAIL_STUDENTS_{name} is '{text}'; it must be a whole number of at least"
                f" {least}"
            )
            with pytest.raises(SettingsError, match=expected):
                Settings.from_environment(fresh.home)
