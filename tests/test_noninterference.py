"""What is out of a viewer's scope changes no byte of any answer (R1); here with SQLite, the default."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from records.accounts import start_session
from records.database import open_database
from records.scope import Role, scope_for
from records.snapshots import Snapshot
from tests.probes import PROBES, STUDENTS, answers, in_sqlite, probe
from tests.records.conftest import snapshot_of
from tests.serving.conftest import SECRET
from tests.worlds import NOW, ROLES, draw_law, draw_rows


def test_what_is_out_of_scope_changes_no_byte_of_any_answer(approved: Path, tmp_path: Path):  # R1, R3, R5, R7, R20
    probes = probe(in_sqlite(), approved, tmp_path)
    print(f"{probes.total():,} probes: {dict(probes)}")
    assert set(probes) == set(ROLES)
    assert probes.total() >= PROBES


def test_the_model_does_suggest_and_the_answers_do_depend_on_what_is_in_scope(approved: Path, tmp_path: Path):
    rng = np.random.default_rng(0)
    shutil.copytree(approved, tmp_path / "home")
    database = open_database(f"sqlite:///{tmp_path / 'home' / 'handrail.db'}")
    students = [f"s{place:04d}" for place in range(STUDENTS)]
    viewers = draw_law(rng, database, students)
    tokens = {viewer: start_session(database, viewer, NOW) for viewer in viewers if viewer.role is Role.CASEWORKER}
    found = []
    for seed in (1, 2):
        snapshot_of(draw_rows(np.random.default_rng(seed), STUDENTS), tmp_path / "home")
        found.append({viewer: answers(tmp_path / "home", database, token) for viewer, token in tokens.items()})
    assert any(b"Accept" in content for answer in found[0].values() for _, content, _ in answer.values())
    differing = [viewer for viewer in tokens if found[0][viewer] != found[1][viewer]]
    seeing = [viewer for viewer in tokens if scope_for(viewer, database, Snapshot.current(tmp_path / "home"), NOW,
                                                       SECRET).students]  # fmt: skip
    assert seeing and set(seeing) <= set(differing)
