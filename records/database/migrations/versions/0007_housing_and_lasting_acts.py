"""Destructions that are written down before they begin, who lifted a hold, who took a revocation
back, emergencies in instants; and on PostgreSQL rows of programs that tell of housing, behind a
policy that asks for it

Copies that were published before do not say which rows tell of housing, so they go: `handrail
records publish`.
"""

from __future__ import annotations

from datetime import UTC

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_LIFTED = "\nLifted by "
"""How the reason of a hold went on when it was lifted, before there were columns for it."""

SERVICES = ("service_enrollments", "service_sessions")
CATEGORY_OF = {
    "students": "'directory'",
    "characteristics": "category",
    "school_enrollments": "'directory'",
    "attendance_events": "'attendance'",
    "course_grades": "'grades'",
    "gradebook_entries": "'grades'",
    "assessments": "'assessments'",
    "behavior_incidents": "'behavior'",
    **dict.fromkeys(
        SERVICES,
        "CASE WHEN organization_id = (SELECT district_records.own_organization()) "
        "THEN 'services' ELSE 'services_other' END",
    ),
}
"""Each table that names a student: the category of a row."""

IN_SCOPE = """
CREATE OR REPLACE FUNCTION district_records.in_scope() RETURNS TABLE (student_id text, category text)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 5000 SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
RETURN QUERY WITH person AS (
  SELECT user_id, role, organization_id, asked.instant, asked.moment::date AS today, asked.publication
  FROM public.staff
  JOIN (SELECT nullif(current_setting('handrail.user_id', true), '') AS who,
               nullif(current_setting('handrail.now', true), '')::timestamp AS moment,
               nullif(current_setting('handrail.instant', true), '')::timestamp AS instant,
               nullif(current_setting('handrail.publication', true), '')::integer AS publication) AS asked
    ON user_id = asked.who
  WHERE active AND asked.moment IS NOT NULL
), every_category (category) AS (
  VALUES ('directory'), ('schedule'), ('attendance'), ('grades'), ('assessments'), ('behavior'), ('special_education'),
         ('english_learner'), ('housing'), ('meal_eligibility'), ('demographics'), ('services'), ('services_other')
), role_sees (role, category) AS (
  SELECT 'caseworker', category FROM every_category
  UNION ALL VALUES ('coordinator', 'directory'), ('coordinator', 'schedule'), ('coordinator', 'services'),
                   ('partner_admin', 'directory'), ('partner_admin', 'services')
), closed AS (
  SELECT opt_outs.student_id FROM public.opt_outs, person WHERE since <= today AND (ended IS NULL OR ended > today)
  UNION SELECT legal_holds.student_id FROM public.legal_holds WHERE lifted_at IS NULL
), going AS (  -- being destroyed: nothing opens them
  SELECT unfinished_destructions.student_id FROM public.unfinished_destructions
), consented AS (
  SELECT consents.student_id, named.category
  FROM person JOIN public.consents USING (organization_id)
  CROSS JOIN unnest(string_to_array(categories, ';')) AS named (category)
  WHERE today BETWEEN signed_on AND expires_on AND (revoked_on IS NULL OR revoked_on > today)
), newest AS (
  SELECT DISTINCT ON (agreement_id) agreement_id, version, document, revoked_at
  FROM public.agreements JOIN person USING (organization_id) ORDER BY agreement_id, version DESC
), terms AS (  -- void when the text is not the one of which they were made
  SELECT agreement_id, legal_basis, programs::jsonb AS programs, categories::jsonb AS categories
  FROM newest JOIN public.agreement_terms USING (agreement_id, version) CROSS JOIN person
  WHERE revoked_at IS NULL AND today BETWEEN starts_on AND ends_on
    AND legal_basis IN ('school_official', 'consent') AND sha256 = encode(sha256(convert_to(document, 'UTF8')), 'hex')
), taking_part AS MATERIALIZED (
  SELECT DISTINCT enrolled.student_id, agreement_id
  FROM person JOIN district_records.service_enrollments AS enrolled USING (publication, organization_id)
  JOIN terms ON programs ? program_id
  WHERE start_date <= today AND (end_date IS NULL OR end_date >= today)
    AND enrolled.student_id NOT IN (SELECT closed.student_id FROM closed)
    AND enrolled.student_id NOT IN (SELECT going.student_id FROM going)
), granted AS MATERIALIZED (
  SELECT agreement_id, category,
         legal_basis = 'consent' OR category IN ('special_education', 'housing', 'meal_eligibility') AS needs_consent
  FROM person JOIN role_sees USING (role) JOIN terms ON categories ? category
)
SELECT taking_part.student_id, granted.category
FROM taking_part JOIN granted USING (agreement_id)
WHERE NOT needs_consent
  OR (taking_part.student_id, granted.category) IN (SELECT consented.student_id, consented.category FROM consented)
UNION
SELECT emergencies.student_id, named.category
FROM person JOIN public.emergencies USING (user_id, organization_id)
CROSS JOIN unnest(string_to_array(categories, ';')) AS named (category)
WHERE role IN ('caseworker', 'coordinator', 'partner_admin') AND opened_utc <= instant AND ends_utc > instant AND ended_at IS NULL
  AND named.category IN ('directory', 'schedule', 'attendance', 'grades', 'assessments', 'services', 'services_other')
  AND emergencies.student_id NOT IN (SELECT going.student_id FROM going)
  AND EXISTS (SELECT FROM district_records.students AS known
              WHERE known.publication = person.publication AND known.student_id = emergencies.student_id)
UNION
SELECT everyone.student_id, every_category.category
FROM person JOIN district_records.students AS everyone USING (publication) CROSS JOIN every_category
WHERE role = 'district_admin' AND organization_id = 'district'
  AND everyone.student_id NOT IN (SELECT going.student_id FROM going);
END
$$
"""

ASKED = "nullif(current_setting('handrail.publication', true), '')::integer"
PAIRS = "SELECT student_id, category FROM district_records.in_scope()"
HOUSING = (
    "AND (NOT tells_of_housing OR organization_id = (SELECT district_records.own_organization()) "
    f"OR (student_id, 'housing') IN ({PAIRS}))"
)


def upgrade() -> None:
    op.create_table(
        "unfinished_destructions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("student_id", sa.String(80), nullable=False),
        sa.Column("begun_at", sa.DateTime(), nullable=False),
        sa.Column("by", sa.String(40), nullable=False),
        sa.Column("officer", sa.String(200), nullable=False),
        sa.Column("login", sa.String(200), nullable=False),
        sa.Column("found", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unfinished_destructions")),
        sa.UniqueConstraint("subject", name=op.f("uq_unfinished_destructions_subject")),
    )
    for name, kind in (
        ("reinstated_at", sa.DateTime()),
        ("reinstated_by", sa.String(40)),
        ("reinstatement_reason", sa.Text()),
    ):
        op.add_column("agreements", sa.Column(name, kind, nullable=True))
    _count_emergencies_in_instants()
    _say_who_lifted_holds()
    if op.get_bind().dialect.name == "postgresql":
        _rebuild_the_wall()


def _count_emergencies_in_instants() -> None:
    bind = op.get_bind()
    names = {"opened_utc": "opened_at", "ends_utc": "ends_at"}
    for name in names:
        op.add_column("emergencies", sa.Column(name, sa.DateTime(), nullable=True))
    table = sa.table(
        "emergencies",
        *(sa.column(name, sa.DateTime()) for pair in names.items() for name in pair),
        sa.column("id", sa.Integer()),
    )
    for row in bind.execute(sa.select(table)).mappings().all():
        values = {
            name: row[local].astimezone(UTC).replace(tzinfo=None) for name, local in names.items()
        }
        bind.execute(sa.update(table).where(table.c.id == row["id"]).values(values))
    with op.batch_alter_table("emergencies") as emergencies:
        for name in names:
            emergencies.alter_column(name, existing_type=sa.DateTime(), nullable=False)


def _say_who_lifted_holds() -> None:
    """Take apart what one text said. A name that is nobody's, or several people's, stays in the
    reason.
    """
    op.add_column("legal_holds", sa.Column("lifted_by", sa.String(40), nullable=True))
    op.add_column("legal_holds", sa.Column("lift_reason", sa.Text(), nullable=True))
    bind = op.get_bind()
    people: dict[str, list[str]] = {}
    for user_id, name in bind.execute(sa.text("SELECT user_id, name FROM staff")).all():
        people.setdefault(name, []).append(user_id)
    lifted = bind.execute(
        sa.text("SELECT id, reason FROM legal_holds WHERE lifted_at IS NOT NULL")
    ).all()
    for number, text in lifted:
        reason, found, said = text.rpartition(_LIFTED)
        name, _, why = said.partition(": ")
        if not found:
            continue
        same = people.get(name, [])
        bind.execute(
            sa.text(
                "UPDATE legal_holds SET reason = :reason, lifted_by = :by, lift_reason = :why WHERE"
                " id = :number"
            ),
            {
                "reason": reason,
                "by": same[0] if len(same) == 1 else None,
                "why": why if len(same) == 1 else said,
                "number": number,
            },
        )


def _rebuild_the_wall() -> None:
    op.execute("DELETE FROM district_records.publications")
    for table in CATEGORY_OF:
        partitions = (
            op.get_bind()
            .scalars(
                sa.text(
                    "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent ="
                    " CAST(:parent AS regclass)"
                ),
                {"parent": f"district_records.{table}"},
            )
            .all()
        )
        for partition in partitions:
            op.execute(f"DROP TABLE {partition}")
        op.execute(f"DROP POLICY in_scope ON district_records.{table}")
    for table in SERVICES:
        op.execute(
            f"ALTER TABLE district_records.{table} ADD COLUMN tells_of_housing boolean NOT NULL"
        )
    op.execute("GRANT SELECT (student_id) ON public.unfinished_destructions TO handrail_scope")
    op.execute("GRANT SELECT (opened_utc, ends_utc) ON public.emergencies TO handrail_scope")
    op.execute("GRANT CREATE ON SCHEMA district_records TO handrail_scope")
    op.execute("SET LOCAL ROLE handrail_scope")
    op.execute(IN_SCOPE)
    op.execute("RESET ROLE")
    op.execute("REVOKE CREATE ON SCHEMA district_records FROM handrail_scope")
    for table, category in CATEGORY_OF.items():
        housing = HOUSING if table in SERVICES else ""
        op.execute(
            f"CREATE POLICY in_scope ON district_records.{table} FOR SELECT TO handrail_reader"
            f" USING (publication = {ASKED} AND (student_id, {category}) IN ({PAIRS}) {housing})"
        )
