"""The access policy exists twice, in Python and in SQL: both agree on every decision."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np

from tests.records.random_access_rules import Comparison, compare_policies
from tests.records.row_secured_database import row_secured_database

WORLDS, STUDENTS, MOMENTS = 4, 60, 12
DECISIONS = 1_000_000


def test_python_and_sql_agree_on_a_million_decisions(postgres_server: str, tmp_path: Path):  # R16
    comparison = Comparison()
    for seed in range(WORLDS):
        database = row_secured_database(postgres_server, f"policy{uuid.uuid4().hex[:12]}").owner
        compare_policies(
            np.random.default_rng(seed),
            database,
            tmp_path / str(seed),
            STUDENTS,
            MOMENTS,
            comparison,
        )
    assert comparison.disagreed == []
    assert comparison.decisions >= DECISIONS
    assert comparison.opened > DECISIONS / 100
