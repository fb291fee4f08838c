"""Model versions with their fairness audits, as pages and the API show them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fairness.approval.signoff import ApprovalService, ApprovedVersion, approved_model
from fairness.audit.audit import Audit, AuditError
from fairness.checks.policy import Policy
from fairness.gate.findings import Finding
from fairness.report import wording
from fairness.report.report import audits_of_version
from serving.site.visit import Visit
from training.registry.registry import ModelVersion, challenger_version, model_versions

NOT_AUDITED = "not audited yet"
DAMAGED = "audit damaged"
MAX_NAMED = 3
"""Checks that the queue names before it counts the rest."""


@dataclass(frozen=True)
class AuditedVersion:
    """One registered version with its audits.

    Attributes:
        audits: the newest first; none where one of them cannot be trusted.
        is_serving: whether it is the approved model in use.
        is_challenger: whether it runs beside the approved model, shown to nobody.
        audit_error: why its audits cannot be trusted; empty where they can.
    """

    version: ModelVersion
    audits: tuple[Audit, ...]
    is_serving: bool
    is_challenger: bool = False
    audit_error: str = ""

    @property
    def audit(self) -> Audit | None:
        """The newest audit."""
        return self.audits[0] if self.audits else None

    def find_audit(self, sha256: str) -> Audit | None:
        """The audit with this digest, or the newest for an empty one; None where there is none."""
        if not sha256:
            return self.audit
        return next((audit for audit in self.audits if audit.sha256 == sha256), None)

    @property
    def verdict(self) -> str:
        """That of the newest audit, or in words why there is none."""
        if self.audit:
            return self.audit.verdict
        return DAMAGED if self.audit_error else NOT_AUDITED

    @property
    def gain(self) -> tuple[float, float, float] | None:
        """Value, lower and upper end of the gain over past practice at the same number of places,
        in progress points; None where it was not evaluated.
        """
        metrics = self.version.metrics
        value = metrics.get("same_places.gain.value")
        lower = metrics.get("same_places.gain.lower")
        upper = metrics.get("same_places.gain.upper")
        return None if value is None or lower is None or upper is None else (value, lower, upper)

    @property
    def failed_checks(self) -> str:
        """The checks that stop it, in a phrase."""
        return named_findings(self.audit.stopping) if self.audit else ""

    @property
    def open_question_checks(self) -> str:
        """The checks that leave a question open, in a phrase."""
        return named_findings(self.audit.asking) if self.audit else ""


def audited_versions(visit: Visit) -> list[AuditedVersion]:
    """Every registered version, the newest first."""
    return with_audits(visit, model_versions(visit.site.config.home))


def with_audits(visit: Visit, versions: Iterable[ModelVersion]) -> list[AuditedVersion]:
    """These versions with their audits, in the same order."""
    home = visit.site.config.home
    serving, challenger = approved_version(visit).version, challenger_version(home)
    audited = []
    for version in versions:
        try:
            audits, audit_error = tuple(audits_of_version(home, version.version)), ""
        except AuditError as error:
            audits, audit_error = (), str(error)
        audited.append(
            AuditedVersion(
                version,
                audits,
                is_serving=version == serving,
                is_challenger=version.version == challenger,
                audit_error=audit_error,
            )
        )
    return audited


def approved_version(visit: Visit) -> ApprovedVersion:
    """The version that may be in use now, or none and why."""
    return approved_model(approval_service(visit), visit.now)


def approval_service(visit: Visit) -> ApprovalService:
    """What signs, refuses and checks model versions of this site."""
    config = visit.site.config
    return ApprovalService(
        visit.database, config.home, Policy.from_home(config.home), config.secret
    )


def named_findings(findings: Iterable[Finding]) -> str:
    """The checks of some findings in a phrase: "Missed, Delay, Accuracy, 2 more"."""
    labels = list(dict.fromkeys(wording.check_label(finding.check) for finding in findings))
    more = [f"{len(labels) - MAX_NAMED} more"] if len(labels) > MAX_NAMED else []
    return ", ".join(labels[:MAX_NAMED] + more)
