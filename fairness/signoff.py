"""The signature that lets a model serve, and the question whether one may.

Only `sign` moves the alias `champion`, and only for a district's equity reviewer, for the bytes that were registered
and audited. The alias alone opens nothing: `approved_model` checks signature, audit and bytes again each time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from fairness.audit import Audit, AuditError
from fairness.gate import Policy, Verdict
from fairness.report import Signature, read_audit, write_report
from records.accounts import AccountError, staff_names, viewer_of
from records.database import Database
from records.scope import DISTRICT, Role, Viewer
from records.signoffs import REFUSED, SIGNED, Signoff, add_signoff, signoffs
from training.lifecycle import (
    CHAMPION,
    REGISTERED_MODEL,
    ModelVersion,
    NoModel,
    champion_version,
    model_version,
    registry,
)


class SignoffRefused(ValueError):
    """A signature or refusal that does not count; the message says why in plain words."""


@dataclass(frozen=True)
class Approved:
    """The version that may serve, or None and why there is none."""

    version: ModelVersion | None
    why_not: str = ""


def sign(database: Database, home: Path, version: int, reviewer: Viewer, reason: str, now: datetime,
         policy: Policy) -> Signoff:  # fmt: skip
    """Approve a version: the signature is kept and the version becomes the champion.

    Raises:
        SignoffRefused: the person may not sign, or the audit, its verdict, its age, the model's bytes, its gain
            over past practice or the reason do not allow it. Nothing then changes.
    """
    _check_reviewer(database, reviewer)
    found = _registered(home, version)
    audit = _audit(home, version)
    if audit is None:
        raise SignoffRefused(f"Version {version} has not been audited, so it cannot be signed.")
    problem = _not_servable(found, audit, now, policy) or _no_gain(found)
    if problem:
        raise SignoffRefused(problem)
    reason = reason.strip()
    fewest = policy.shortest_reason if audit.verdict is Verdict.CANNOT_TELL else 1
    if len(reason) < fewest:
        raise SignoffRefused(
            f"The audit cannot tell for some groups: say in {fewest} characters or more why it may serve all the same."
            if fewest > 1 else "Please give a reason: it stays with your signature.")  # fmt: skip
    signoff = Signoff(now, reviewer.user_id, version, found.sha256, audit.sha256, SIGNED, reason)
    add_signoff(database, signoff)
    registry(home).set_registered_model_alias(REGISTERED_MODEL, CHAMPION, str(version))
    _print_signatures(database, home, audit)
    return signoff


def refuse(database: Database, home: Path, version: int, reviewer: Viewer, reason: str, now: datetime,
           policy: Policy | None = None) -> Signoff:  # fmt: skip
    """Refuse a version, audited or not: from then on it may not serve, and if it did it is the champion no longer.

    The policy changes nothing here: a reviewer may refuse under any.

    Raises:
        SignoffRefused: the person may not decide, the version is unknown, or there is no reason.
    """
    _check_reviewer(database, reviewer)
    found = _registered(home, version)
    reason = reason.strip()
    if not reason:
        raise SignoffRefused("Please give a reason: it stays with your refusal.")
    try:
        audit = read_audit(home, version)
    except AuditError:
        audit = None
    signoff = Signoff(now, reviewer.user_id, version, found.sha256, audit.sha256 if audit else "", REFUSED, reason)
    add_signoff(database, signoff)
    if champion_version(home) == version:
        registry(home).delete_registered_model_alias(REGISTERED_MODEL, CHAMPION)
    if audit is not None:
        _print_signatures(database, home, audit)
    return signoff


def approved_model(database: Database, home: Path, now: datetime, policy: Policy) -> Approved:
    """What serving may load. Whoever moved the alias, a version without a valid signature is not approved."""
    version = champion_version(home)
    if version is None:
        return Approved(None, "No model is approved yet.")
    try:
        found = _registered(home, version)
        audit = _audit(home, version)
    except SignoffRefused as error:
        return Approved(None, str(error))
    newest = next((one for one in signoffs(database, found.sha256) if one.model_version == version), None)
    if newest is None:
        return Approved(None, f"The champion alias points to version {version}, which nobody has signed.")
    if newest.decision != SIGNED:
        return Approved(None, f"The champion alias points to version {version}, which a reviewer has refused.")
    if audit is None:
        return Approved(None, f"The audit of version {version} is missing.")
    if audit.sha256 != newest.audit_sha256:
        return Approved(None, f"The audit of version {version} is not the one that was signed.")
    problem = _not_servable(found, audit, now, policy)
    return Approved(None, problem) if problem else Approved(found)


def _not_servable(found: ModelVersion, audit: Audit, now: datetime, policy: Policy) -> str:
    """Why a version may not serve whatever anybody signs; empty where it may."""
    name = f"version {found.version}"
    try:
        digest = hashlib.sha256(found.file.read_bytes()).hexdigest()
    except OSError:
        return f"The file of {name} cannot be read."
    if digest != found.sha256:
        return f"The file of {name} is not the one that was registered."
    if audit.version != found.version or audit.model_sha256 != found.sha256:
        return f"The audit of {name} is of another model."
    if audit.policy_sha256 != policy.sha256:
        return f"The audit of {name} was made under another policy: audit it again."
    if audit.verdict is Verdict.FAIL:
        return f"The audit of {name} failed: it may not serve."
    if audit.at > now:
        return f"The audit of {name} is dated in the future."
    if now - audit.at > timedelta(days=policy.valid_days):
        return f"The audit of {name} is older than {policy.valid_days} days: audit it again."
    return ""


def _no_gain(found: ModelVersion) -> str:
    """Why a version is not worth promoting; empty where it does better than past practice beyond chance."""
    lower = found.metrics.get("same_places.gain.lower")
    if lower is None:
        return f"Version {found.version} was never judged against past practice, so it cannot be signed."
    if lower <= 0:
        return (f"Version {found.version} is not shown to do better than past practice at the same number of places "
                f"(the lower end of its gain is {lower:+.2f} progress points), so it cannot be signed.")  # fmt: skip
    return ""


def _check_reviewer(database: Database, reviewer: Viewer) -> None:
    try:
        current = viewer_of(database, reviewer.login)
    except AccountError:
        raise SignoffRefused("Only an active member of staff may decide.") from None
    if current != reviewer or current.role is not Role.EQUITY_REVIEWER or current.organization_id != DISTRICT:
        raise SignoffRefused("Only the district's equity reviewer may sign or refuse a model.")


def _registered(home: Path, version: int) -> ModelVersion:
    try:
        return model_version(home, version)
    except NoModel as error:
        raise SignoffRefused(f"{str(error).capitalize()}.") from None


def _audit(home: Path, version: int) -> Audit | None:
    try:
        return read_audit(home, version)
    except AuditError as error:
        raise SignoffRefused(f"The audit of version {version} cannot be trusted: {error}.") from None


def _print_signatures(database: Database, home: Path, audit: Audit) -> None:
    """Bring the report up to date; what was signed is the audit itself, which does not change."""
    names = staff_names(database)
    write_report(audit, home, [
        Signature(one.at, names.get(one.reviewer_id, "somebody who has left"), one.decision, one.reason)
        for one in signoffs(database, audit.model_sha256) if one.model_version == audit.version
    ])  # fmt: skip
