"""The terms of agreements as rows, and on PostgreSQL copies of the student tables behind row-level
security

Two roles without a login share the cluster's databases. `handrail_reader` may read the copies, and
of them what the policies let through. `handrail_scope` owns the functions that say what that is: it
reads what decides, and writes nothing. The owner of the copies is neither, and sees no row of them.
"""

from __future__ import annotations

import tomllib

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

OWN_OR_OTHER = (
    "CASE WHEN organization_id = (SELECT district_records.own_organization()) THEN 'services' ELSE"
    " 'services_other' END"
)
PUBLISHED = {
    "students": (
        "'directory'",
        "first_name text, last_name text, birth_date date, grade_level integer, school_id text",
    ),
    "characteristics": (
        "category",
        "category text NOT NULL, name text NOT NULL, value text NOT NULL",
    ),
    "school_enrollments": (
        "'directory'",
        "school_id text, school_year integer, grade_level integer, entry_date date, exit_date date",
    ),
    "attendance_events": ("'attendance'", "school_id text, date date, status text"),
    "course_grades": (
        "'grades'",
        "course text, school_year integer, period integer, date date, grade double precision",
    ),
    "gradebook_entries": (
        "'grades'",
        "entry_id text, course text, title text, due_date date, grade double precision",
    ),
    "assessments": (
        "'assessments'",
        "assessment text, date date, score double precision, measure text",
    ),
    "behavior_incidents": (
        "'behavior'",
        "incident_id text, date date, behavior text, action text, days_removed double precision",
    ),
    "service_enrollments": (
        OWN_OR_OTHER,
        "program_id text, organization_id text, start_date date, end_date date, exit_reason text",
    ),
    "service_sessions": (
        OWN_OR_OTHER,
        (
            "session_id text, program_id text, organization_id text, date date, attended boolean,"
            " minutes double precision"
        ),
    ),
}
"""Each table that names a student: the category of a row, and the columns beside `publication` and
`student_id`."""

ROLES = """
DO $$
DECLARE
  needed text;
BEGIN
  FOREACH needed IN ARRAY ARRAY['handrail_reader', 'handrail_scope'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = needed) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', needed);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;  -- another database of this cluster was first
      END;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = needed AND (rolsuper OR rolbypassrls)) THEN
      RAISE EXCEPTION 'the role % can go around row security; take that from it first', needed;
    END IF;
    IF NOT pg_has_role(current_user, needed, 'MEMBER') THEN
      EXECUTE format('GRANT %I TO CURRENT_USER', needed);
    END IF;
  END LOOP;
END
$$
"""

IN_SCOPE = """
CREATE FUNCTION district_records.in_scope() RETURNS TABLE (student_id text, category text)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 5000 SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
RETURN QUERY WITH person AS (
  SELECT user_id, role, organization_id, asked.moment, asked.moment::date AS today, asked.publication
  FROM public.staff
  JOIN (SELECT nullif(current_setting('handrail.user_id', true), '') AS who,
               nullif(current_setting('handrail.now', true), '')::timestamp AS moment,
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
WHERE role IN ('caseworker', 'coordinator', 'partner_admin') AND opened_at <= moment AND ends_at > moment AND ended_at IS NULL
  AND named.category IN ('directory', 'schedule', 'attendance', 'grades', 'assessments', 'services', 'services_other')
  AND EXISTS (SELECT FROM district_records.students AS known
              WHERE known.publication = person.publication AND known.student_id = emergencies.student_id)
UNION
SELECT everyone.student_id, every_category.category
FROM person JOIN district_records.students AS everyone USING (publication) CROSS JOIN every_category
WHERE role = 'district_admin' AND organization_id = 'district';
END
$$
"""

OWN_ORGANIZATION = """
CREATE FUNCTION district_records.own_organization() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
SELECT organization_id FROM public.staff WHERE user_id = nullif(current_setting('handrail.user_id', true), '') AND active
$$
"""

READ_BY_SCOPE = {
    "public.staff": "user_id, active, role, organization_id",
    "public.agreements": "agreement_id, version, organization_id, document, revoked_at",
    "public.agreement_terms": (
        "agreement_id, version, sha256, legal_basis, starts_on, ends_on, categories, programs"
    ),
    "public.consents": "student_id, organization_id, categories, signed_on, expires_on, revoked_on",
    "public.opt_outs": "student_id, since, ended",
    "public.legal_holds": "student_id, lifted_at",
    "public.emergencies": (
        "user_id, organization_id, student_id, categories, opened_at, ends_at, ended_at"
    ),
    "district_records.students": "publication, student_id",
    "district_records.service_enrollments": (
        "publication, student_id, organization_id, program_id, start_date, end_date"
    ),
}
"""All that decides who may be seen, and all that `handrail_scope` may read."""


ASKED = "nullif(current_setting('handrail.publication', true), '')::integer"
PAIRS = "SELECT student_id, category FROM district_records.in_scope()"


def upgrade() -> None:
    _keep_terms()
    if op.get_bind().dialect.name == "postgresql":
        _build_the_wall()


def _keep_terms() -> None:
    terms = op.create_table(
        "agreement_terms",
        sa.Column("agreement_id", sa.String(80), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("legal_basis", sa.String(40), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.Column("categories", sa.JSON(), nullable=False),
        sa.Column("programs", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["agreement_id", "version"],
            ["agreements.agreement_id", "agreements.version"],
            name=op.f("fk_agreement_terms_agreement_id_agreements"),
        ),
        sa.PrimaryKeyConstraint("agreement_id", "version", name=op.f("pk_agreement_terms")),
    )
    stored = (
        op.get_bind()
        .execute(sa.text("SELECT agreement_id, version, sha256, document FROM agreements"))
        .all()
    )
    for agreement_id, version, sha256, document in stored:
        found = tomllib.loads(document)
        op.bulk_insert(
            terms,
            [
                {
                    "agreement_id": agreement_id,
                    "version": version,
                    "sha256": sha256,
                    "legal_basis": found["legal_basis"],
                    "starts_on": found["start"],
                    "ends_on": found["end"],
                    "categories": sorted(found["categories"]),
                    "programs": sorted(found["programs"]),
                }
            ],
        )


def _build_the_wall() -> None:
    op.execute(ROLES)
    op.execute("CREATE SCHEMA district_records")
    op.execute("GRANT USAGE ON SCHEMA district_records TO handrail_reader")
    op.execute("GRANT USAGE, CREATE ON SCHEMA district_records TO handrail_scope")
    op.execute(
        "CREATE TABLE district_records.publications (number integer GENERATED ALWAYS AS IDENTITY"
        " PRIMARY KEY, snapshot_id text NOT NULL, published_at timestamptz NOT NULL DEFAULT now())"
    )
    op.execute("GRANT SELECT ON district_records.publications TO handrail_reader")
    for table, (_, columns) in PUBLISHED.items():
        op.execute(
            f"CREATE TABLE district_records.{table} (publication integer NOT NULL, student_id text"
            f" NOT NULL, {columns}) PARTITION BY LIST (publication)"
        )
        op.execute(f"CREATE INDEX ON district_records.{table} (student_id)")
        op.execute(f"ALTER TABLE district_records.{table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE district_records.{table} FORCE ROW LEVEL SECURITY")
        op.execute(f"GRANT SELECT ON district_records.{table} TO handrail_reader")
    op.execute("CREATE INDEX ON district_records.service_enrollments (organization_id, program_id)")
    for table, columns in READ_BY_SCOPE.items():
        op.execute(f"GRANT SELECT ({columns}) ON {table} TO handrail_scope")
    for table in ("students", "service_enrollments"):
        op.execute(
            f"CREATE POLICY decides ON district_records.{table} FOR SELECT TO handrail_scope USING"
            " (true)"
        )
    for name, body in (("in_scope", IN_SCOPE), ("own_organization", OWN_ORGANIZATION)):
        op.execute(body)
        op.execute(f"REVOKE ALL ON FUNCTION district_records.{name}() FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION district_records.{name}() TO handrail_reader")
        op.execute(f"ALTER FUNCTION district_records.{name}() OWNER TO handrail_scope")
    op.execute("REVOKE CREATE ON SCHEMA district_records FROM handrail_scope")
    for table, (category, _) in PUBLISHED.items():
        op.execute(
            f"CREATE POLICY in_scope ON district_records.{table} FOR SELECT TO handrail_reader"
            f" USING (publication = {ASKED} AND (student_id, {category}) IN ({PAIRS}))"
        )
