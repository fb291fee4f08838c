"""Alembic's entry: runs on the connection that `records.database.engine.open_database` hands
over.
"""

from __future__ import annotations

from alembic import context

from records.database.tables import OrmTable

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=OrmTable.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
