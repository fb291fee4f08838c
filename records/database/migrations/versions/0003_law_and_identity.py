"""Emergencies, legal demands and holds, notices, participants, destructions and backups"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create(
        "emergencies",
        _id(),
        _at("opened_at"),
        _at("ends_at"),
        _at("ended_at", nullable=True),
        _text("opened_by", 40),
        _text("user_id", 40),
        _text("organization_id", 80),
        _text("student_id", 80),
        _text("categories", 400),
        _text("threat"),
        _text("reason"),
        indexes=("user_id", "organization_id", "student_id"),
    )
    _create(
        "legal_demands",
        _id(),
        sa.Column("received_on", sa.Date(), nullable=False),
        _at("recorded_at"),
        _text("recorded_by", 40),
        _text("student_id", 80),
        _text("kind", 40),
        _text("issuer", 200),
        sa.Column("of_court", sa.Boolean(), nullable=False),
        sa.Column("signed_by_judge", sa.Boolean(), nullable=False),
        sa.Column("parent_notified_on", sa.Date(), nullable=True),
        _text("notice_exception"),
        _text("categories", 400),
        _text("status", 20),
        indexes=("student_id", "status"),
    )
    _create(
        "legal_demand_events",
        _id(),
        sa.Column("demand_id", sa.Integer(), nullable=False),
        _at("at"),
        _text("user_id", 40),
        _text("action", 40),
        _text("reason"),
        sa.ForeignKeyConstraint(
            ["demand_id"],
            ["legal_demands.id"],
            name=op.f("fk_legal_demand_events_demand_id_legal_demands"),
        ),
        indexes=("demand_id",),
    )
    _create(
        "legal_holds",
        _id(),
        _text("student_id", 80),
        _at("since"),
        _at("lifted_at", nullable=True),
        _text("placed_by", 40),
        _text("reason"),
        indexes=("student_id",),
    )
    _create(
        "notices",
        _id(),
        _at("at"),
        _text("kind", 40),
        _text("text"),
        _text("path", 200),
        _at("seen_at", nullable=True),
        _text("seen_by", 40),
    )
    _create(
        "participants",
        _text("organization_id", 80),
        _text("participant_id", 80),
        _text("first_name", 200),
        _text("last_name", 200),
        sa.Column("birth_date", sa.Date(), nullable=True),
        sa.Column("grade_level", sa.Integer(), nullable=True),
        _text("school", 200),
        _text("status", 20),
        sa.Column("student_id", sa.String(80), nullable=True),
        _text("decided_by", 40),
        _at("decided_at", nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.organization_id"],
            name=op.f("fk_participants_organization_id_organizations"),
        ),
        key=("organization_id", "participant_id"),
        indexes=("status", "student_id"),
    )
    _create(
        "participant_candidates",
        _id(),
        _text("organization_id", 80),
        _text("participant_id", 80),
        _text("student_id", 80),
        sa.Column("probability", sa.Double(), nullable=False),
        indexes=("organization_id", "participant_id", "student_id"),
    )
    _create(
        "destructions",
        _id(),
        _at("at"),
        _text("by", 40),
        _text("kind", 20),
        _text("subject", 80),
        _text("certificate"),
        _text("sha256", 64),
    )
    _create(
        "backups",
        _id(),
        _text("name", 200),
        _text("place", 400),
        _at("taken_at"),
        sa.Column("expires_on", sa.Date(), nullable=False),
        _at("destroyed_at", nullable=True),
        sa.UniqueConstraint("name", name=op.f("uq_backups_name")),
    )


def _create(
    table: str,
    *parts: sa.schema.SchemaItem,
    key: tuple[str, ...] = ("id",),
    indexes: tuple[str, ...] = (),
) -> None:
    op.create_table(table, *parts, sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{table}")))
    for column in indexes:
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.Integer(), nullable=False)


def _text(name: str, length: int | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text() if length is None else sa.String(length), nullable=False)


def _at(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(), nullable=nullable)
