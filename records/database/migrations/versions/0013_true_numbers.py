"""Parts of days, sections of courses, and from when to when a characteristic held

On PostgreSQL the published copies of the student tables get the new columns, and a table for each
characteristic with dates. Its rows have the category of the characteristic: the day on which a
child lost a home tells as much as the fact.
"""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

NEW_COLUMNS = {
    "attendance_events": ("absent_share double precision", "part text"),
    "course_grades": ("section_id text",),
}
PERIODS = {
    "english_learner_periods": "english_learner",
    "special_education_periods": "special_education",
    "unstable_housing_periods": "housing",
    "meal_eligible_periods": "meal_eligibility",
}
"""Table -> the category of its rows."""

ASKED = "nullif(current_setting('handrail.publication', true), '')::integer"
PAIRS = "SELECT student_id, category FROM district_records.in_scope()"


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, columns in NEW_COLUMNS.items():
        for column in columns:
            op.execute(f"ALTER TABLE district_records.{table} ADD COLUMN {column}")
    for table, category in PERIODS.items():
        op.execute(
            f"CREATE TABLE district_records.{table} (publication integer NOT NULL, student_id text"
            " NOT NULL, first_date date, last_date date) PARTITION BY LIST (publication)"
        )
        op.execute(f"CREATE INDEX ON district_records.{table} (student_id)")
        op.execute(f"ALTER TABLE district_records.{table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE district_records.{table} FORCE ROW LEVEL SECURITY")
        op.execute(f"GRANT SELECT ON district_records.{table} TO handrail_reader")
        op.execute(
            f"CREATE POLICY in_scope ON district_records.{table} FOR SELECT TO handrail_reader"
            f" USING (publication = {ASKED} AND (student_id, '{category}') IN ({PAIRS}))"
        )
