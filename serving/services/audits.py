"""Model versions with their audits, as pages and the API show them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fairness.approval.signoff import (
    ApprovalService,
    ApprovedVersion,
    approved_model,
)
from fairness.audit.audit import Audit, AuditError
from fairness.gate.findings import Finding
from fairness.policy.policy import Policy
from fairness.report import wording
from fairness.report.report import (
    audits_of_version,
)
from serving.site.visit import Visit
from training.registry.registry import ModelVersion, challenger_version, model_versions


@dataclass(frozen=True)
class AuditedVersion:
    """One registered version with its audits, the newest first; none of them where one cannot be
    trusted, as `damage` says. `proposed`: whether it is the challenger.
    """

    version: ModelVersion
    audits: tuple[Audit, ...]
    serves: bool
    proposed: bool = False
    damage: str = ""

    @property
    def audit(self) -> Audit | None:
        """The newest audit."""
        return self.audits[0] if self.audits else None

    def chosen(self, sha256: str) -> Audit | None:
        """The audit with this digest, the newest where none is named; None where there is none."""
        return (
            self.audit
            if not sha256
            else next((one for one in self.audits if one.sha256 == sha256), None)
        )

    @property
    def verdict(self) -> str:
        return self.audit.verdict if self.audit else DAMAGED if self.damage else NOT_AUDITED

    @property
    def gain(self) -> tuple[float, float, float] | None:
        """Over past practice at the same places, with its interval, in progress points; None if not
        judged.
        """
        value, lower, upper = (
            self.version.metrics.get(f"same_places.gain.{name}") for name in ESTIMATE_PARTS
        )
        return None if value is None or lower is None or upper is None else (value, lower, upper)

    @property
    def stopped_by(self) -> str:
        """The checks that stop it, in a phrase."""
        return named_findings(self.audit.stopping) if self.audit else ""

    @property
    def asked_by(self) -> str:
        """The checks that leave a question open, in a phrase."""
        return named_findings(self.audit.asking) if self.audit else ""


def audited_versions(visit: Visit) -> list[AuditedVersion]:
    """Every registered version, the newest first."""
    return list(_with_audits(visit, model_versions(visit.site.config.home)))


def _with_audits(visit: Visit, versions: list[ModelVersion]) -> Iterator[AuditedVersion]:
    home = visit.site.config.home
    serving, proposed = approved_version(visit).version, challenger_version(home)
    for one in versions:
        try:
            audits, damage = tuple(audits_of_version(home, one.version)), ""
        except AuditError as error:
            audits, damage = (), str(error)
        yield AuditedVersion(one, audits, one == serving, one.version == proposed, damage)


def approved_version(visit: Visit) -> ApprovedVersion:
    return approved_model(approval_service_of(visit), visit.now)


def approval_service_of(visit: Visit) -> ApprovalService:
    config = visit.site.config
    return ApprovalService(
        visit.database, config.home, Policy.from_home(config.home), config.secret
    )


NOT_AUDITED, DAMAGED = "not audited yet", "audit damaged"


ESTIMATE_PARTS = ("value", "lower", "upper")


MAX_NAMED = 3
"""Checks that the queue names before it counts the rest."""


def named_findings(findings: tuple[Finding, ...]) -> str:
    """The checks of some findings in a phrase."""
    names = list(dict.fromkeys(wording.check_label(one.check) for one in findings))
    more = [f"{len(names) - MAX_NAMED} more"] if len(names) > MAX_NAMED else []
    return ", ".join(names[:MAX_NAMED] + more)
