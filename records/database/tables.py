"""The operational tables, one class each. Only `records` reads them.

Class names end in `Row`; table and column names are stored in every database and may only change
with a migration. Lists of categories are columns of `CategoryList`.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    String,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from records.canonical.schema import Category
from records.database.category_list import CategoryList, LoggedCategoryList
from records.system.clock import to_utc


class OrmTable(DeclarativeBase):
    """The base class of all operational tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class OrganizationRow(OrmTable):
    """An organization whose staff may sign in; the district is one of them."""

    __tablename__ = "organizations"
    organization_id: Mapped[str] = mapped_column(String(80), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(40))


class StaffRow(OrmTable):
    """An account. It is closed with `active`, never deleted, so that the log can name it."""

    __tablename__ = "staff"
    user_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    login: Mapped[str] = mapped_column(String(200), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(40))
    organization_id: Mapped[str] = mapped_column(ForeignKey("organizations.organization_id"))
    password_hash: Mapped[str] = mapped_column(String(200))
    active: Mapped[bool]


class AgreementRow(OrmTable):
    """One version of one agreement, as its text. The highest version is the one in force.

    A revocation ends all versions; a version that reinstated the agreement says who did so, when
    and why.
    """

    __tablename__ = "agreements"
    agreement_id: Mapped[str] = mapped_column(String(80), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    organization_id: Mapped[str] = mapped_column(
        ForeignKey("organizations.organization_id"), index=True
    )
    document: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    revoked_at: Mapped[datetime | None]
    reinstated_at: Mapped[datetime | None]
    reinstated_by: Mapped[str | None] = mapped_column(String(40))
    reinstatement_reason: Mapped[str | None] = mapped_column(Text)


class AgreementTermsRow(OrmTable):
    """The terms of one version for the PostgreSQL policies; void if the text has another digest."""

    __tablename__ = "agreement_terms"
    __table_args__ = (
        ForeignKeyConstraint(
            ["agreement_id", "version"], ["agreements.agreement_id", "agreements.version"]
        ),
    )
    agreement_id: Mapped[str] = mapped_column(String(80), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    legal_basis: Mapped[str] = mapped_column(String(40))
    starts_on: Mapped[date]
    ends_on: Mapped[date]
    categories: Mapped[frozenset[Category]] = mapped_column(CategoryList)
    programs: Mapped[list[str]] = mapped_column(JSON)


class ConsentRow(OrmTable):
    """What a family signed, and if they revoked it, who recorded that and when."""

    __tablename__ = "consents"
    id: Mapped[int] = mapped_column(primary_key=True)
    student_id: Mapped[str] = mapped_column(String(80), index=True)
    organization_id: Mapped[str] = mapped_column(
        ForeignKey("organizations.organization_id"), index=True
    )
    categories: Mapped[frozenset[Category]] = mapped_column(CategoryList)
    purpose: Mapped[str] = mapped_column(Text)
    signer: Mapped[str] = mapped_column(String(200))
    signed_on: Mapped[date]
    expires_on: Mapped[date]
    revoked_on: Mapped[date | None]
    recorded_by: Mapped[str | None] = mapped_column(String(40))
    recorded_at: Mapped[datetime | None]
    revoked_by: Mapped[str | None] = mapped_column(String(200))
    revocation_recorded_by: Mapped[str | None] = mapped_column(String(40))
    revocation_recorded_at: Mapped[datetime | None]


class OptOutRow(OrmTable):
    """A student whom the family keeps from every partner, until the day `ended`."""

    __tablename__ = "opt_outs"
    id: Mapped[int] = mapped_column(primary_key=True)
    student_id: Mapped[str] = mapped_column(String(80), index=True)
    since: Mapped[date]
    ended: Mapped[date | None]
    recorded_by: Mapped[str | None] = mapped_column(String(40))
    recorded_at: Mapped[datetime | None]
    end_recorded_by: Mapped[str | None] = mapped_column(String(40))
    end_recorded_at: Mapped[datetime | None]


class EmergencyRow(OrmTable):
    """Access to one student's record for a few hours in an emergency (34 CFR 99.36).

    `opened_utc` and `ends_utc` decide; the local times are what people read.
    """

    __tablename__ = "emergencies"
    id: Mapped[int] = mapped_column(primary_key=True)
    opened_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    opened_utc: Mapped[datetime] = mapped_column(
        default=lambda row: to_utc(row.get_current_parameters()["opened_at"])
    )
    ends_utc: Mapped[datetime] = mapped_column(
        default=lambda row: to_utc(row.get_current_parameters()["ends_at"])
    )
    ended_at: Mapped[datetime | None]
    opened_by: Mapped[str] = mapped_column(String(40))
    user_id: Mapped[str] = mapped_column(String(40), index=True)
    organization_id: Mapped[str] = mapped_column(String(80), index=True)
    student_id: Mapped[str] = mapped_column(String(80), index=True)
    categories: Mapped[frozenset[Category]] = mapped_column(CategoryList)
    threat: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)


class LegalDemandRow(OrmTable):
    """A subpoena, warrant, order or request for one student's records. Refused by default."""

    __tablename__ = "legal_demands"
    id: Mapped[int] = mapped_column(primary_key=True)
    received_on: Mapped[date]
    recorded_at: Mapped[datetime]
    recorded_by: Mapped[str] = mapped_column(String(40))
    student_id: Mapped[str] = mapped_column(String(80), index=True)
    kind: Mapped[str] = mapped_column(String(40))
    issuer: Mapped[str] = mapped_column(String(200))
    of_court: Mapped[bool]
    signed_by_judge: Mapped[bool]
    parent_notified_on: Mapped[date | None]
    notice_exception: Mapped[str] = mapped_column(Text)
    categories: Mapped[frozenset[Category]] = mapped_column(CategoryList)
    status: Mapped[str] = mapped_column(String(20), index=True)


class LegalDemandEventRow(OrmTable):
    """What was done about a demand, by whom and why. Rows are only ever added."""

    __tablename__ = "legal_demand_events"
    id: Mapped[int] = mapped_column(primary_key=True)
    demand_id: Mapped[int] = mapped_column(ForeignKey("legal_demands.id"), index=True)
    at: Mapped[datetime]
    user_id: Mapped[str] = mapped_column(String(40))
    action: Mapped[str] = mapped_column(String(40))
    reason: Mapped[str] = mapped_column(Text)


class LegalHoldRow(OrmTable):
    """Records that may not be destroyed or shown to a partner while a legal matter is open."""

    __tablename__ = "legal_holds"
    id: Mapped[int] = mapped_column(primary_key=True)
    student_id: Mapped[str] = mapped_column(String(80), index=True)
    since: Mapped[datetime]
    placed_by: Mapped[str] = mapped_column(String(40))
    reason: Mapped[str] = mapped_column(Text)
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[str | None] = mapped_column(String(40))
    lift_reason: Mapped[str | None] = mapped_column(Text)


class NoticeRow(OrmTable):
    """Something the district must look at, written in the transaction of the event it reports."""

    __tablename__ = "notices"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(40))
    text: Mapped[str] = mapped_column(Text)
    path: Mapped[str] = mapped_column(String(200))
    seen_at: Mapped[datetime | None]
    seen_by: Mapped[str] = mapped_column(String(40), default="")


class ParticipantRow(OrmTable):
    """A person as a partner knows them, and the district student they are linked to, if any."""

    __tablename__ = "participants"
    organization_id: Mapped[str] = mapped_column(
        ForeignKey("organizations.organization_id"), primary_key=True
    )
    participant_id: Mapped[str] = mapped_column(String(80), primary_key=True)
    first_name: Mapped[str] = mapped_column(String(200))
    last_name: Mapped[str] = mapped_column(String(200))
    birth_date: Mapped[date | None]
    grade_level: Mapped[int | None]
    school: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(20), index=True)
    student_id: Mapped[str | None] = mapped_column(String(80), index=True)
    decided_by: Mapped[str] = mapped_column(String(40))
    decided_at: Mapped[datetime | None]


class ParticipantCandidateRow(OrmTable):
    """A student whom a participant may be, until a person decides."""

    __tablename__ = "participant_candidates"
    id: Mapped[int] = mapped_column(primary_key=True)
    organization_id: Mapped[str] = mapped_column(String(80), index=True)
    participant_id: Mapped[str] = mapped_column(String(80), index=True)
    student_id: Mapped[str] = mapped_column(String(80), index=True)
    probability: Mapped[float]


class StudentAliasRow(OrmTable):
    """A further identifier of a student, from a source that lists one child as several users."""

    __tablename__ = "student_aliases"
    alias_id: Mapped[str] = mapped_column(String(80), primary_key=True)
    student_id: Mapped[str] = mapped_column(String(80), index=True)
    source: Mapped[str] = mapped_column(String(40))
    first_seen: Mapped[datetime]


class MovedStudentRow(OrmTable):
    """A row of another table that moved from an alias to its student; it may have to go back."""

    __tablename__ = "moved_student_rows"
    id: Mapped[int] = mapped_column(primary_key=True)
    alias_id: Mapped[str] = mapped_column(String(80), index=True)
    student_id: Mapped[str] = mapped_column(String(80), index=True)
    table_name: Mapped[str] = mapped_column(String(40))
    row_key: Mapped[list[Any]] = mapped_column(JSON)
    moved_at: Mapped[datetime]


class DestructionRow(OrmTable):
    """A certificate of destruction. It names no student: a digest stands for what was destroyed."""

    __tablename__ = "destructions"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(40))
    kind: Mapped[str] = mapped_column(String(20))
    subject: Mapped[str] = mapped_column(String(80))
    certificate: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))


class UnfinishedDestructionRow(OrmTable):
    """A student whose record is being destroyed, from before the first store is changed.

    The row goes when the certificate is written. `student_id` is blanked once no store holds the
    student any more; `subject` is the digest that the certificate will name.
    """

    __tablename__ = "unfinished_destructions"
    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(String(64), unique=True)
    student_id: Mapped[str] = mapped_column(String(80))
    begun_at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(40))
    officer: Mapped[str] = mapped_column(String(200))
    login: Mapped[str] = mapped_column(String(200))
    found: Mapped[list[dict[str, Any]]] = mapped_column(JSON)


class BackupRow(OrmTable):
    """A backup: certificates of destruction name those that still hold what was destroyed."""

    __tablename__ = "backups"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    place: Mapped[str] = mapped_column(String(400))
    taken_at: Mapped[datetime]
    expires_on: Mapped[date]
    destroyed_at: Mapped[datetime | None]


class DisclosureRow(OrmTable):
    """One disclosure of one student: identifiers and categories, never a name or a value."""

    __tablename__ = "disclosures"
    __table_args__ = (Index("ix_disclosures_user_id_at", "user_id", "at"),)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[str] = mapped_column(String(40))
    user_id: Mapped[str] = mapped_column(String(40))
    organization_id: Mapped[str] = mapped_column(String(80))
    student_ref: Mapped[str] = mapped_column(String(64), index=True)
    categories: Mapped[frozenset[str]] = mapped_column(LoggedCategoryList)
    purpose: Mapped[str] = mapped_column(Text)
    legal_basis: Mapped[str] = mapped_column(String(40))
    law_requires: Mapped[str] = mapped_column(String(3))
    agreement_id: Mapped[str] = mapped_column(String(80))
    agreement_sha256: Mapped[str] = mapped_column(String(64))
    route: Mapped[str] = mapped_column(String(200))
    shown_together: Mapped[int]
    hash: Mapped[str] = mapped_column(String(64))


class LogStudentRow(OrmTable):
    """The student behind a reference of the log; deleted when the student is destroyed."""

    __tablename__ = "log_students"
    student_ref: Mapped[str] = mapped_column(String(64), primary_key=True)
    student_id: Mapped[str] = mapped_column(String(80), unique=True)
    salt: Mapped[str] = mapped_column(String(64))


class WebSessionRow(OrmTable):
    """A signed-in browser. Only a digest of its token is stored."""

    __tablename__ = "web_sessions"
    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("staff.user_id"), index=True)
    csrf: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class SignInAttemptRow(OrmTable):
    """A failed sign-in, stored to slow down guessing; the login only as a digest."""

    __tablename__ = "sign_in_attempts"
    id: Mapped[int] = mapped_column(primary_key=True)
    login_sha256: Mapped[str] = mapped_column(String(64), index=True)
    at: Mapped[datetime]


class DecisionRow(OrmTable):
    """What a caseworker decided about a suggestion, and what they were shown at the time."""

    __tablename__ = "decisions"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    user_id: Mapped[str] = mapped_column(String(40))
    organization_id: Mapped[str] = mapped_column(String(80), index=True)
    student_id: Mapped[str] = mapped_column(String(80), index=True)
    support: Mapped[str] = mapped_column(String(40))
    action: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(Text)
    model_sha256: Mapped[str] = mapped_column(String(64))
    rank: Mapped[int]
    shown: Mapped[str] = mapped_column(Text)


class SignoffRow(OrmTable):
    """An equity reviewer's signature or refusal, bound to the bytes of one model and one audit."""

    __tablename__ = "signoffs"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    reviewer_id: Mapped[str] = mapped_column(ForeignKey("staff.user_id"))
    model_version: Mapped[int]
    model_sha256: Mapped[str] = mapped_column(String(64), index=True)
    audit_sha256: Mapped[str] = mapped_column(String(64))
    decision: Mapped[str] = mapped_column(String(10))
    reason: Mapped[str] = mapped_column(Text)
    seal: Mapped[str] = mapped_column(String(64), server_default="")


class GateRecordRow(OrmTable):
    """The fairness gate's verdict on one audit of one model's bytes."""

    __tablename__ = "gate_records"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    model_version: Mapped[int]
    model_sha256: Mapped[str] = mapped_column(String(64), index=True)
    audit_sha256: Mapped[str] = mapped_column(String(64), index=True)
    policy_sha256: Mapped[str] = mapped_column(String(64))
    verdict: Mapped[str] = mapped_column(String(12))
    seal: Mapped[str] = mapped_column(String(64))


class ProgramCostRow(OrmTable):
    """What a program costs, as the district stated it: valid until `ended_at`, never deleted."""

    __tablename__ = "program_costs"
    id: Mapped[int] = mapped_column(primary_key=True)
    program_id: Mapped[str] = mapped_column(String(80), index=True)
    cents: Mapped[int] = mapped_column(BigInteger)
    per: Mapped[str] = mapped_column(String(10))
    stated_by: Mapped[str] = mapped_column(String(40))
    stated_at: Mapped[datetime]
    ended_by: Mapped[str | None] = mapped_column(String(40))
    ended_at: Mapped[datetime | None]


class ImpressionRow(OrmTable):
    """A list of suggestions that was shown (`records.decisions.impressions`)."""

    __tablename__ = "shown_lists"
    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(64), unique=True, index=True)
    shown_at: Mapped[datetime]
    student_id: Mapped[str] = mapped_column(String(80), index=True)
    organization_id: Mapped[str] = mapped_column(String(80), index=True)
    as_of: Mapped[date]
    snapshot_id: Mapped[str] = mapped_column(String(64))
    model_sha256: Mapped[str] = mapped_column(String(64))
    listed: Mapped[str] = mapped_column(Text)
    drawn: Mapped[bool]
    challenger_sha256: Mapped[str] = mapped_column(String(64))
    challenger: Mapped[str] = mapped_column(Text)


class ExplorationRow(OrmTable):
    """Whether the order of near-equal suggestions may be randomized; the newest row counts.

    See `records.decisions.exploration`.
    """

    __tablename__ = "exploration_settings"
    id: Mapped[int] = mapped_column(primary_key=True)
    share: Mapped[float]
    within: Mapped[float]
    set_by: Mapped[str] = mapped_column(String(40))
    set_at: Mapped[datetime]
    reason: Mapped[str] = mapped_column(Text)


class ConfirmedFigureRow(OrmTable):
    """A figure of a school that looked unusual and is right, as an administrator said
    (`records.checks.confirmations`). What was said stays; one may note that it was taken back.
    """

    __tablename__ = "confirmed_figures"
    id: Mapped[int] = mapped_column(primary_key=True)
    school_id: Mapped[str] = mapped_column(String(80))
    measure: Mapped[str] = mapped_column(String(40))
    value: Mapped[float]
    school_year: Mapped[int]
    confirmed_by: Mapped[str] = mapped_column(String(40))
    at: Mapped[datetime]
    reason: Mapped[str] = mapped_column(Text)
    taken_back_by: Mapped[str | None] = mapped_column(String(40))
    taken_back_at: Mapped[datetime | None]


class ReferralRow(OrmTable):
    """A student proposed for a program (`records.referrals`); `state` and `since` repeat the last
    step for the PostgreSQL policies.
    """

    __tablename__ = "referrals"
    id: Mapped[int] = mapped_column(primary_key=True)
    student_id: Mapped[str] = mapped_column(String(80), index=True)
    program_id: Mapped[str] = mapped_column(String(80))
    organization_id: Mapped[str] = mapped_column(
        ForeignKey("organizations.organization_id"), index=True
    )
    role: Mapped[str] = mapped_column(String(40))
    sender_id: Mapped[str] = mapped_column(String(80), index=True)
    state: Mapped[str] = mapped_column(String(20), index=True)
    since: Mapped[datetime]
    consent_id: Mapped[int | None] = mapped_column(ForeignKey("consents.id"))


class ReferralStepRow(OrmTable):
    """One step of a referral: who moved it, when, to which state and why. Only ever added."""

    __tablename__ = "referral_steps"
    id: Mapped[int] = mapped_column(primary_key=True)
    referral_id: Mapped[int] = mapped_column(ForeignKey("referrals.id"), index=True)
    student_id: Mapped[str] = mapped_column(String(80), index=True)
    at: Mapped[datetime]
    user_id: Mapped[str] = mapped_column(String(40))
    state: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(String(40))
