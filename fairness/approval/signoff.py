"""The signature that lets a model serve, and the question whether one may.

Only `sign` and `rollback` move the alias `champion`, and only for a district's equity reviewer, for
the bytes that were registered and audited, and for an audit that the gate has on record. The alias
alone opens nothing: `approved_model` checks signature, gate record, audit and bytes each time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from fairness.audit.audit import Audit, AuditError, AuditOutdated
from fairness.audit.basis import PART_LABELS, AuditBasis
from fairness.checks.policy import Policy
from fairness.gate.gate import Verdict
from fairness.report.report import Signature, audit_by_digest, latest_audit, write_report
from fairness.report.wording import capital
from features.alert_versions import keep_version
from features.alerts import AlertRules
from records.canonical.supports import SupportCatalog
from records.database.engine import Database
from records.decisions.signoffs import (
    REFUSED,
    SIGNED,
    GateRecord,
    Signoff,
    add_gate_record,
    add_signoff,
    gate_records,
    verified_signoffs,
)
from records.staff.accounts import AccountError, active_staff_member, staff_names
from records.staff.viewer import DISTRICT, Role, Viewer
from records.system.errors import UserError
from training.evaluation.model_comparison import Superiority
from training.monitoring.drift_report import DriftReportCorrupt, drift_reports_of
from training.registry.registry import (
    CHALLENGER,
    CHAMPION,
    REGISTERED_MODEL,
    ModelNotFound,
    ModelVersion,
    challenger_version,
    champion_version,
    model_version,
    registry_client,
)
from training.registry.version_evaluation import stored_comparison


@dataclass(frozen=True)
class ApprovalService:
    """Where audits are stored and signed: the database, home and policy, and the secret that seals
    what is stored.
    """

    database: Database
    home: Path
    policy: Policy
    secret: bytes


class SignoffRefused(UserError, ValueError):
    """A signature or refusal that does not count; the message says why in plain words."""


@dataclass(frozen=True)
class ApprovedVersion:
    """The version that may serve, or None and why there is none."""

    version: ModelVersion | None
    why_not: str = ""


@dataclass(frozen=True)
class SignoffRequirements:
    """What stands before a signature: a `problem` that no reason answers, or `doubts` that a
    written one does.
    """

    problem: str
    doubts: tuple[str, ...]


def record_audit(approvals: ApprovalService, audit: Audit) -> Path:
    """Write an audit's files and what the gate says of it; the report's file. Without both it
    cannot be signed.
    """
    report = write_report(audit, approvals.home)
    keep_version(approvals.home, AlertRules.of(approvals.home), audit.at)
    if _gate_record(approvals, audit) is None:
        add_gate_record(
            approvals.database,
            GateRecord(
                audit.at,
                audit.version,
                audit.model_sha256,
                audit.sha256,
                audit.policy_sha256,
                audit.verdict,
            ),
            approvals.secret,
        )
    return report


def sign(
    approvals: ApprovalService,
    version: int,
    reviewer: Viewer,
    reason: str,
    now: datetime,
    *,
    read: str | None = None,
) -> Signoff:
    """Approve a version: the signature is stored and the version becomes the champion.

    It is the newest audit that is signed. Where another one serves, the version must have been
    found better than it (`training.evaluation.model_comparison`), or the reason must be a sentence,
    as where the audit leaves questions open.

    Args:
        read: the digest of the audit that the reviewer has read, where that is known.

    Raises:
        SignoffRefused: the person may not sign, or the audit, its verdict, its age, the model's
            bytes, its gain over past practice or the reason do not allow it. Nothing then changes.
    """
    _check_reviewer(approvals.database, reviewer)
    model = _registered(approvals.home, version)
    audit = _audit(approvals.home, version)
    if audit is None:
        raise SignoffRefused(f"Version {version} has not been audited, so it cannot be signed.")
    if read is not None and read != audit.sha256:
        raise SignoffRefused(
            f"Version {version} was audited again since you opened this page: please read the new "
            "audit first."
        )
    requirements = signoff_requirements(approvals, model, audit, now)
    if requirements.problem:
        raise SignoffRefused(requirements.problem)
    reason, doubts = _reason(reason, "signature"), requirements.doubts
    least = approvals.policy.shortest_reason
    if doubts and len(reason) < least:
        raise SignoffRefused(
            f"{'; '.join(doubts)}: say in {least} characters or more why it may serve all the same."
        )
    return _keep(
        approvals,
        model,
        audit,
        Signoff(now, reviewer.user_id, version, model.sha256, audit.sha256, SIGNED, reason),
    )


def signoff_requirements(
    approvals: ApprovalService, model: ModelVersion, audit: Audit, now: datetime
) -> SignoffRequirements:
    """Why an audit of a version cannot be signed, or what the reviewer must answer in writing to
    sign it.
    """
    problem = _not_servable(approvals, model, audit, now) or _no_gain(model)
    doubts = (
        []
        if problem
        else [*_open_questions(audit), *_not_better(model, approved_model(approvals, now).version)]
    )
    return SignoffRequirements(problem, tuple(doubts))


def rollback(approvals: ApprovalService, reviewer: Viewer, reason: str, now: datetime) -> Signoff:
    """Return to the version that was signed and served before the present champion. It is a
    signature like another.

    Raises:
        SignoffRefused: the person may not sign, there is no earlier version, its audit is too old,
            was made under another policy or is not the one that was signed, its bytes differ, or
            there is no reason. Nothing then changes.
    """
    _check_reviewer(approvals.database, reviewer)
    version = rollback_target(approvals)
    if version is None:
        raise SignoffRefused("No earlier version was signed that could serve again.")
    model = _registered(approvals.home, version)
    audit, problem = _still_signed(approvals, model, now)
    if audit is None or problem:
        raise SignoffRefused(f"{problem} So it cannot serve again as it was signed.")
    words = f"Return to version {version}: {_reason(reason, 'signature')}"
    return _keep(
        approvals,
        model,
        audit,
        Signoff(now, reviewer.user_id, version, model.sha256, audit.sha256, SIGNED, words),
    )


def rollback_target(approvals: ApprovalService) -> int | None:
    """The version that a rollback would return to; None where there is none.

    Signatures lie on one another; one for a version that is beneath already, as a rollback's, takes
    those above it away, and a refusal takes its version out. So two rollbacks go back two versions
    and not there and back.
    """
    pile: list[int] = []
    for signoff in reversed(verified_signoffs(approvals.database, approvals.secret)):
        if signoff.decision == REFUSED:
            pile = [version for version in pile if version != signoff.model_version]
        elif signoff.model_version in pile:
            pile = pile[: pile.index(signoff.model_version) + 1]
        else:
            pile.append(signoff.model_version)
    champion = champion_version(approvals.home)
    beneath = pile[: pile.index(champion)] if champion in pile else pile
    return beneath[-1] if beneath else None


def refuse(
    approvals: ApprovalService, version: int, reviewer: Viewer, reason: str, now: datetime
) -> Signoff:
    """Refuse a version, audited or not: from then on it may not serve, and if it did it is the
    champion no longer.

    The policy changes nothing here: a reviewer may refuse under any.

    Raises:
        SignoffRefused: the person may not decide, the version is unknown, or there is no reason.
    """
    _check_reviewer(approvals.database, reviewer)
    model = _registered(approvals.home, version)
    reason = _reason(reason, "refusal")
    try:
        audit = latest_audit(approvals.home, version)
    except AuditError:
        audit = None
    signoff = Signoff(
        now, reviewer.user_id, version, model.sha256, audit.sha256 if audit else "", REFUSED, reason
    )
    add_signoff(approvals.database, signoff, approvals.secret)
    if champion_version(approvals.home) == version:
        registry_client(approvals.home).delete_registered_model_alias(REGISTERED_MODEL, CHAMPION)
    if audit is not None:
        _print_signatures(approvals, audit)
    return signoff


def approved_model(approvals: ApprovalService, now: datetime) -> ApprovedVersion:
    """What serving may load. Whoever moved the alias, a version without a valid signature is not
    approved.
    """
    version = champion_version(approvals.home)
    if version is None:
        return ApprovedVersion(None, "No model is approved yet.")
    try:
        model = _registered(approvals.home, version)
        _, problem = _still_signed(approvals, model, now)
    except SignoffRefused as error:
        return ApprovedVersion(None, str(error))
    return ApprovedVersion(None, problem) if problem else ApprovedVersion(model)


def _still_signed(
    approvals: ApprovalService, model: ModelVersion, now: datetime
) -> tuple[Audit | None, str]:
    """The audit that was signed of a version, and why that does not let it serve: empty where it
    does.
    """
    version = model.version
    newest = next(
        (
            signoff
            for signoff in verified_signoffs(approvals.database, approvals.secret, model.sha256)
            if signoff.model_version == version
        ),
        None,
    )
    if newest is None:
        return None, f"The champion alias points to version {version}, which nobody has signed."
    if newest.decision != SIGNED:
        return (
            None,
            f"The champion alias points to version {version}, which a reviewer has refused.",
        )
    try:
        audit = audit_by_digest(approvals.home, version, newest.audit_sha256)
        later = _audit(approvals.home, version)
    except AuditOutdated:
        return (
            None,
            (
                f"The audit of version {version} that was signed is of an earlier release: audit"
                " and sign it anew."
            ),
        )
    except AuditError as error:
        raise SignoffRefused(
            f"The audit of version {version} cannot be trusted: {error}."
        ) from None
    if audit is None:
        return None, f"The audit of version {version} that was signed is missing."
    if audit.sha256 != newest.audit_sha256:
        return None, f"The audit of version {version} is not the one that was signed."
    if later is not None and later.at > audit.at and later.verdict is Verdict.FAIL:
        return audit, f"A later audit of version {version} failed: it may not serve."
    return audit, _not_servable(approvals, model, audit, now)


def _keep(
    approvals: ApprovalService, model: ModelVersion, audit: Audit, signoff: Signoff
) -> Signoff:
    """Keep a signature and let its version be the champion, and the challenger no longer."""
    add_signoff(approvals.database, signoff, approvals.secret)
    keep_version(approvals.home, AlertRules.of(approvals.home), signoff.at)
    client = registry_client(approvals.home)
    client.set_registered_model_alias(REGISTERED_MODEL, CHAMPION, str(model.version))
    if challenger_version(approvals.home) == model.version:
        client.delete_registered_model_alias(REGISTERED_MODEL, CHALLENGER)
    _print_signatures(approvals, audit)
    return signoff


def _gate_record(approvals: ApprovalService, audit: Audit) -> GateRecord | None:
    """What the gate has on record of exactly this audit."""
    records = gate_records(approvals.database, approvals.secret, audit.model_sha256)
    return next((record for record in records if record.audit_sha256 == audit.sha256), None)


def _open_questions(audit: Audit) -> list[str]:
    open_questions = len(audit.asking)
    if not open_questions:
        return []
    return [f"The audit leaves {open_questions} question{'s' if open_questions > 1 else ''} open"]


def _not_better(model: ModelVersion, serving: ModelVersion | None) -> list[str]:
    """Why a version is not shown to be better than the one that serves; nothing where it is, or
    where none serves.
    """
    if serving is None or serving.version == model.version:
        return []
    compared = stored_comparison(model, serving)
    if compared is None:
        return [
            f"Version {model.version} was not compared with version {serving.version}, which serves"
            " (`handrail compare`)"
        ]
    if compared["finding"] == Superiority.BETTER:
        return []
    return [
        f"Version {model.version} was compared with version {serving.version}, which serves, and"
        f" found '{compared['finding']}'"
    ]


def _reason(reason: str, where: str) -> str:
    reason = reason.strip()
    if not reason:
        raise SignoffRefused(f"Please give a reason: it stays with your {where}.")
    return reason


def _not_servable(
    approvals: ApprovalService, model: ModelVersion, audit: Audit, now: datetime
) -> str:
    """Why a version may not serve whatever anybody signs; empty where it may."""
    name = f"version {model.version}"
    try:
        digest = hashlib.sha256(model.file.read_bytes()).hexdigest()
    except OSError:
        return f"The file of {name} cannot be read."
    if digest != model.sha256:
        return f"The file of {name} is not the one that was registered."
    if audit.version != model.version or audit.model_sha256 != model.sha256:
        return f"The audit of {name} is of another model."
    if lapsed := _lapsed(approvals, audit):
        return lapsed
    record = _gate_record(approvals, audit)
    if record is None or record.verdict != audit.verdict:
        return (
            f"The gate has no record of the audit of {name}: audit it again with `handrail audit`."
        )
    if audit.verdict is Verdict.FAIL:
        return f"The audit of {name} failed: it may not serve."
    if audit.at > now:
        return f"The audit of {name} is dated in the future."
    if now - audit.at > timedelta(days=approvals.policy.valid_days):
        return (
            f"The audit of {name} is older than {approvals.policy.valid_days} days: audit it again."
        )
    return _drift_reason(approvals, model, audit, now)


def _lapsed(approvals: ApprovalService, audit: Audit) -> str:
    """Which part of what an audit is bound to has changed since; empty where none has."""
    supports = SupportCatalog.of(approvals.home).rules(audit.supports)
    rules = AlertRules.of(approvals.home)
    basis = AuditBasis.current(approvals.policy, supports, rules)
    name = f"version {audit.version}"
    if audit.policy_sha256 == basis.sha256:
        return ""
    changed = basis.changed_since(audit.basis)
    if not changed or changed == ("policy",):
        return f"The audit of {name} was made under another policy: audit it again."
    parts = " and ".join(PART_LABELS[part] for part in changed)
    return f"{capital(parts)} changed since the audit of {name} was made: audit it again."


def _drift_reason(
    approvals: ApprovalService, model: ModelVersion, audit: Audit, now: datetime
) -> str:
    """Why a change found since an audit asks for a new one; empty where none was, or not for long
    enough yet.
    """
    try:
        since = [
            report.at
            for report in drift_reports_of(approvals.home, model.version)
            if report.sha256 == model.sha256 and report.needs_retraining and report.at > audit.at
        ]
    except DriftReportCorrupt as error:
        return (
            f"What has changed since the audit of version {model.version} cannot be read: {error}."
        )
    if since and now - min(since) > timedelta(days=approvals.policy.drift_days):
        return (
            f"The records have changed since the audit of version {model.version}, as was found on "
            f"{min(since):%Y-%m-%d}: audit it again."
        )
    return ""


def _no_gain(model: ModelVersion) -> str:
    """Why a version is not worth promoting; empty where it does better than past practice beyond
    chance.
    """
    lower = model.metrics.get("same_places.gain.lower")
    if lower is None:
        return (
            f"Version {model.version} was never judged against past practice, so it cannot be"
            " signed."
        )
    if lower <= 0:
        return (
            f"Version {model.version} is not shown to do better than past practice at the same"
            f" number of places (the lower end of its gain is {lower:+.2f} progress points), so it"
            " cannot be signed."
        )
    return ""


def _check_reviewer(database: Database, reviewer: Viewer) -> None:
    try:
        current = active_staff_member(database, reviewer.login)
    except AccountError:
        raise SignoffRefused("Only an active member of staff may decide.") from None
    if (
        current != reviewer
        or current.role is not Role.EQUITY_REVIEWER
        or current.organization_id != DISTRICT
    ):
        raise SignoffRefused("Only the district's equity reviewer may sign or refuse a model.")


def _registered(home: Path, version: int) -> ModelVersion:
    try:
        return model_version(home, version)
    except ModelNotFound as error:
        raise SignoffRefused(f"{str(error).capitalize()}.") from None


def _audit(home: Path, version: int) -> Audit | None:
    try:
        return latest_audit(home, version)
    except AuditError as error:
        raise SignoffRefused(
            f"The audit of version {version} cannot be trusted: {error}."
        ) from None


def _print_signatures(approvals: ApprovalService, audit: Audit) -> None:
    """Bring the report up to date; what was signed is the audit itself, which does not change."""
    names = staff_names(approvals.database)
    write_report(
        audit,
        approvals.home,
        [
            Signature(
                signoff.at,
                names.get(signoff.reviewer_id, "somebody who has left"),
                signoff.decision,
                signoff.reason,
            )
            for signoff in verified_signoffs(
                approvals.database, approvals.secret, audit.model_sha256
            )
            if signoff.model_version == audit.version and signoff.audit_sha256 == audit.sha256
        ],
    )
