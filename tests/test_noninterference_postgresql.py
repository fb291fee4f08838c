"""What is out of a viewer's scope changes no byte of any answer (R1): on PostgreSQL, through its
row-level security.
"""

from __future__ import annotations

from pathlib import Path

from tests.noninterference_probes import PROBES, in_postgresql, run_probes
from tests.random_districts import ROLES


def test_what_is_out_of_scope_changes_no_byte_of_any_answer(  # R1, R3, R5, R7, R18, R20
    approved: Path, tmp_path: Path, postgres_server: str
):
    probes = run_probes(in_postgresql(postgres_server), approved, tmp_path)
    print(f"{probes.total():,} probes: {dict(probes)}")
    assert set(probes) == set(ROLES)
    assert probes.total() >= PROBES
