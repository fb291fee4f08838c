"""What is out of a viewer's scope changes no byte of any answer (R1): on SQLite, the default."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from records.access.scope import scope_for
from records.database.engine import open_database
from records.staff.sessions import start_session
from records.staff.viewer import Role
from tests.noninterference_probes import (
    CASEWORKERS_PER_DISTRICT,
    PROBES,
    answers,
    in_sqlite,
    run_probes,
)
from tests.random_districts import NOW, ROLES, draw_access_rules, draw_rows
from tests.records.conftest import snapshot_of
from tests.serving.conftest import SECRET

STUDENTS = 60
"""In the small district of the test that the probes can fail at all."""


def test_what_is_out_of_scope_changes_no_byte_of_any_answer(
    approved: Path, tmp_path: Path
):  # R1, R3, R5, R7, R20
    probes = run_probes(in_sqlite(), approved, tmp_path)
    print(f"{probes.total():,} probes: {dict(probes)}")
    assert set(probes) == set(ROLES)
    assert probes.total() >= PROBES


def test_the_model_does_suggest_and_the_answers_do_depend_on_what_is_in_scope(
    approved: Path, tmp_path: Path
):
    rng = np.random.default_rng(0)
    shutil.copytree(approved, tmp_path / "home")
    database = open_database(f"sqlite:///{tmp_path / 'home' / 'handrail.db'}")
    viewers = draw_access_rules(rng, database, [f"s{number:04d}" for number in range(STUDENTS)])
    snapshot = snapshot_of(draw_rows(np.random.default_rng(1), STUDENTS), tmp_path / "home")
    caseworkers = [
        viewer
        for viewer in viewers
        if viewer.role is Role.CASEWORKER
        and scope_for(viewer, database, snapshot, NOW, SECRET).students
    ]
    tokens = {
        viewer: start_session(database, viewer, NOW)
        for viewer in caseworkers[:CASEWORKERS_PER_DISTRICT]
    }
    assert len(tokens) == CASEWORKERS_PER_DISTRICT
    before = {
        viewer: answers(tmp_path / "home", database, token) for viewer, token in tokens.items()
    }
    assert any(
        b"Accept" in content for answer in before.values() for _, content, _ in answer.values()
    )
    snapshot_of(draw_rows(np.random.default_rng(2), STUDENTS), tmp_path / "home")
    for viewer, token in tokens.items():
        assert answers(tmp_path / "home", database, token) != before[viewer], viewer
