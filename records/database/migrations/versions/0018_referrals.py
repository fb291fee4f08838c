"""Referrals and their steps; on PostgreSQL an open one lets its receiver see the student"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
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
), referred AS MATERIALIZED (  -- the role that a referral names is the most that anybody sees on it
  SELECT DISTINCT referrals.student_id, agreement_id, named.category
  FROM person JOIN public.referrals USING (organization_id)
  JOIN terms ON programs ? referrals.program_id
  JOIN role_sees AS named ON named.role = referrals.role
  LEFT JOIN public.consents AS given ON given.id = referrals.consent_id
  WHERE referrals.state IN ('sent', 'accepted', 'started')
    AND (referrals.state <> 'sent' OR today <= referrals.since::date + 30)
    AND (referrals.consent_id IS NULL
         OR today BETWEEN given.signed_on AND given.expires_on AND (given.revoked_on IS NULL OR given.revoked_on > today))
    AND referrals.student_id NOT IN (SELECT closed.student_id FROM closed)
    AND referrals.student_id NOT IN (SELECT being_destroyed.student_id FROM being_destroyed)
    AND EXISTS (SELECT FROM district_records.students AS known
                WHERE known.publication = person.publication AND known.student_id = referrals.student_id)
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
SELECT referred.student_id, granted.category
FROM referred JOIN granted USING (agreement_id, category)
WHERE NOT needs_consent
  OR (referred.student_id, granted.category) IN (SELECT consented.student_id, consented.category FROM consented)
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

READ_BY_SCOPE = {
    "public.referrals": "student_id, organization_id, program_id, role, state, since, consent_id",
    "public.consents": "id",
}


def upgrade() -> None:
    op.create_table(
        "referrals",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("student_id", sa.String(80), nullable=False),
        sa.Column("program_id", sa.String(80), nullable=False),
        sa.Column("organization_id", sa.String(80), nullable=False),
        sa.Column("role", sa.String(40), nullable=False),
        sa.Column("sender_id", sa.String(80), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("since", sa.DateTime(), nullable=False),
        sa.Column("consent_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.organization_id"],
            name=op.f("fk_referrals_organization_id_organizations"),
        ),
        sa.ForeignKeyConstraint(
            ["consent_id"], ["consents.id"], name=op.f("fk_referrals_consent_id_consents")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_referrals")),
    )
    for column in ("student_id", "organization_id", "sender_id", "state"):
        op.create_index(op.f(f"ix_referrals_{column}"), "referrals", [column])
    op.create_table(
        "referral_steps",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("referral_id", sa.Integer(), nullable=False),
        sa.Column("student_id", sa.String(80), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("user_id", sa.String(40), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.ForeignKeyConstraint(
            ["referral_id"], ["referrals.id"], name=op.f("fk_referral_steps_referral_id_referrals")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_referral_steps")),
    )
    for column in ("referral_id", "student_id"):
        op.create_index(op.f(f"ix_referral_steps_{column}"), "referral_steps", [column])
    if op.get_bind().dialect.name == "postgresql":
        for table, columns in READ_BY_SCOPE.items():
            op.execute(f"GRANT SELECT ({columns}) ON {table} TO handrail_scope")
        _replace_policy_function()


def _replace_policy_function() -> None:
    op.execute("GRANT CREATE ON SCHEMA district_records TO handrail_scope")
    op.execute("SET LOCAL ROLE handrail_scope")
    op.execute(IN_SCOPE)
    op.execute("RESET ROLE")
    op.execute("REVOKE CREATE ON SCHEMA district_records FROM handrail_scope")
