"""Categories in one encoding: names in alphabetical order, joined by `;`

Agreement terms kept theirs as JSON, and consents theirs in the order in which people read them. The
disclosure log's text stays as it is: its hashes cover it. On PostgreSQL the policy function reads
the new text of the terms.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

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
), being_destroyed AS (  -- nothing opens these
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
  SELECT agreement_id, legal_basis, programs::jsonb AS programs, string_to_array(categories, ';') AS categories
  FROM newest JOIN public.agreement_terms USING (agreement_id, version) CROSS JOIN person
  WHERE revoked_at IS NULL AND today BETWEEN starts_on AND ends_on
    AND legal_basis IN ('school_official', 'consent') AND sha256 = encode(sha256(convert_to(document, 'UTF8')), 'hex')
), taking_part AS MATERIALIZED (
  SELECT DISTINCT enrolled.student_id, agreement_id
  FROM person JOIN district_records.service_enrollments AS enrolled USING (publication, organization_id)
  JOIN terms ON programs ? program_id
  WHERE start_date <= today AND (end_date IS NULL OR end_date >= today)
    AND enrolled.student_id NOT IN (SELECT closed.student_id FROM closed)
    AND enrolled.student_id NOT IN (SELECT being_destroyed.student_id FROM being_destroyed)
), granted AS MATERIALIZED (
  SELECT agreement_id, category,
         legal_basis = 'consent' OR category IN ('special_education', 'housing', 'meal_eligibility') AS needs_consent
  FROM person JOIN role_sees USING (role) JOIN terms ON category = ANY (categories)
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
  AND emergencies.student_id NOT IN (SELECT being_destroyed.student_id FROM being_destroyed)
  AND EXISTS (SELECT FROM district_records.students AS known
              WHERE known.publication = person.publication AND known.student_id = emergencies.student_id)
UNION
SELECT everyone.student_id, every_category.category
FROM person JOIN district_records.students AS everyone USING (publication) CROSS JOIN every_category
WHERE role = 'district_admin' AND organization_id = 'district'
  AND everyone.student_id NOT IN (SELECT being_destroyed.student_id FROM being_destroyed);
END
$$
"""


def upgrade() -> None:
    _encode_agreement_terms()
    for table in ("consents", "emergencies", "legal_demands"):
        _sort_categories(table)
    if op.get_bind().dialect.name == "postgresql":
        _replace_policy_function()


def _encode_agreement_terms() -> None:
    """Turn JSON lists into the text, row by row once the column has its new type."""
    bind = op.get_bind()
    stored = bind.execute(sa.select(_terms(sa.JSON()))).all()
    with op.batch_alter_table("agreement_terms") as batch:
        batch.alter_column(
            "categories",
            existing_type=sa.JSON(),
            existing_nullable=False,
            type_=sa.String(400),
            postgresql_using="categories::text",
        )
    terms = _terms(sa.String())
    for agreement_id, version, categories in stored:
        bind.execute(
            sa.update(terms)
            .where(terms.c.agreement_id == agreement_id, terms.c.version == version)
            .values(categories=";".join(sorted(set(categories))))
        )


def _terms(categories: sa.types.TypeEngine[Any]) -> sa.TableClause:
    return sa.table(
        "agreement_terms",
        sa.column("agreement_id", sa.String()),
        sa.column("version", sa.Integer()),
        sa.column("categories", categories),
    )


def _sort_categories(table: str) -> None:
    rows = sa.table(table, sa.column("id", sa.Integer()), sa.column("categories", sa.String()))
    bind = op.get_bind()
    for number, text in bind.execute(sa.select(rows)).all():
        in_order = ";".join(sorted(set(text.split(";"))))
        if in_order != text:
            bind.execute(sa.update(rows).where(rows.c.id == number).values(categories=in_order))


def _replace_policy_function() -> None:
    op.execute("GRANT CREATE ON SCHEMA district_records TO handrail_scope")
    op.execute("SET LOCAL ROLE handrail_scope")
    op.execute(IN_SCOPE)
    op.execute("RESET ROLE")
    op.execute("REVOKE CREATE ON SCHEMA district_records FROM handrail_scope")
