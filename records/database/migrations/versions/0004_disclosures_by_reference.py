"""The disclosure log names students by a reference that destruction can cut, and says what the law
asks for

A log that does not hold under its old encoding is left as it is. One that holds is written anew,
row by row, and chained under the new encoding; heads exported before belong to the old chain.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from records.disclosure_log.disclosures import DisclosureLogDamaged

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

GENESIS = "0" * 64
BATCH = 10_000
NOT_RECORDED = frozenset({"school_official", "consent", "own_records"})
HASHED = (
    "seq",
    "at",
    "user_id",
    "organization_id",
    "student_ref",
    "categories",
    "purpose",
    "legal_basis",
    "law_requires",
    "agreement_id",
    "agreement_sha256",
    "route",
    "shown_together",
)


def upgrade() -> None:
    # Opens SQLite's one write transaction: all of this is done, or none of it.
    op.execute("UPDATE disclosures SET seq = seq WHERE seq = -1")
    _verify_old_chain()
    op.create_table(
        "log_students",
        sa.Column("student_ref", sa.String(64), nullable=False),
        sa.Column("student_id", sa.String(80), nullable=False),
        sa.Column("salt", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("student_ref", name=op.f("pk_log_students")),
        sa.UniqueConstraint("student_id", name=op.f("uq_log_students_student_id")),
    )
    op.drop_index(op.f("ix_disclosures_student_id"), "disclosures")
    op.rename_table("disclosures", "old_disclosures")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER INDEX pk_disclosures RENAME TO pk_old_disclosures")
    op.create_table(
        "disclosures",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("user_id", sa.String(40), nullable=False),
        sa.Column("organization_id", sa.String(80), nullable=False),
        sa.Column("student_ref", sa.String(64), nullable=False),
        sa.Column("categories", sa.String(400), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("legal_basis", sa.String(40), nullable=False),
        sa.Column("law_requires", sa.String(3), nullable=False),
        sa.Column("agreement_id", sa.String(80), nullable=False),
        sa.Column("agreement_sha256", sa.String(64), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("shown_together", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_disclosures")),
    )
    _write_anew()
    op.create_index(op.f("ix_disclosures_student_ref"), "disclosures", ["student_ref"])
    op.drop_table("old_disclosures")


def _verify_old_chain() -> None:
    previous, count = GENESIS, 0
    for batch in _batches("disclosures"):
        for row in batch:
            count += 1
            hashed = {name: value for name, value in row.items() if name != "hash"}
            text = json.dumps(hashed, sort_keys=True, separators=(",", ":"))
            fits = (row["seq"], row["prev_hash"]) == (count, previous)
            if not fits or row["hash"] != hashlib.sha256(text.encode()).hexdigest():
                raise DisclosureLogDamaged(
                    f"the disclosure log does not hold at row {count}, so the database is not"
                    " brought up to date: keep it as it is, for it is evidence, and go on from a"
                    " copy whose log holds"
                )
            previous = row["hash"]


def _write_anew() -> None:
    connection, previous = op.get_bind(), GENESIS
    students: dict[str, dict[str, str]] = {}
    logged = sa.table("disclosures", *(sa.column(name) for name in (*HASHED, "hash")))
    for batch in _batches("old_disclosures"):
        rows = []
        for old in batch:
            student = old["student_id"]
            if student not in students:
                students[student] = _named(student)
            row = old | {
                "student_ref": students[student]["student_ref"],
                "law_requires": "no" if old["legal_basis"] in NOT_RECORDED else "yes",
            }
            text = "\x1f".join([*(str(row[name]) for name in HASHED), previous])
            previous = hashlib.sha256(text.encode()).hexdigest()
            rows.append({name: row[name] for name in HASHED} | {"hash": previous})
        connection.execute(sa.insert(logged), rows)
    if students:
        names = sa.table(
            "log_students", *(sa.column(name) for name in ("student_ref", "student_id", "salt"))
        )
        connection.execute(sa.insert(names), list(students.values()))


def _named(student: str) -> dict[str, str]:
    salt = secrets.token_hex(32)
    reference = hmac.digest(salt.encode(), student.encode(), "sha256").hex()
    return {"student_ref": reference, "student_id": student, "salt": salt}


def _batches(table: str) -> Iterator[list[dict[str, Any]]]:
    """The rows of a log in order, some at a time."""
    rows, last = sa.table(table, sa.column("seq")), None
    while True:
        query = sa.select(sa.text("*")).select_from(rows).order_by(rows.c.seq).limit(BATCH)
        found = (
            op.get_bind()
            .execute(query if last is None else query.where(rows.c.seq > last))
            .mappings()
            .all()
        )
        if not found:
            return
        yield [dict(row) for row in found]
        last = found[-1]["seq"]
