"""`handrail sources profile`: a district finds out which of its codes nobody has explained."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from handrail.cli import app


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


def test_an_unknown_source_and_a_broken_profile_are_named(case: Path, tmp_path: Path):
    assert "the sources are: edfi, oneroster" in run("sources", "profile", "hmis", case)[1]
    profile = tmp_path / "profiles" / "edfi.toml"
    profile.parent.mkdir()
    profile.write_text('[attendance.codes]\nUX = "gone"\n')
    code, text = run("load", "edfi", case, "--home", tmp_path)
    assert code == 2
    assert "[attendance] codes says 'gone' of 'UX'" in text
