"""Who took back that an unusual figure is right, and when"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("confirmed_figures") as table:
        table.add_column(sa.Column("taken_back_by", sa.String(40), nullable=True))
        table.add_column(sa.Column("taken_back_at", sa.DateTime(), nullable=True))
