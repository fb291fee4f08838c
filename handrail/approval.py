"""The approval service of one Handrail home: where its audits are recorded and signed."""

from __future__ import annotations

from fairness.approval.signoff import ApprovalService
from fairness.checks.policy import Policy
from handrail.settings import Settings
from records.database.engine import Database, open_database


def approval_service(settings: Settings, database: Database | None = None) -> ApprovalService:
    """The approval service of a home, with its declared policy and its secret.

    Its database is opened if none is given.

    Raises:
        SettingsError: the secret cannot be used.
        PolicyError: nor can the policy.
    """
    return ApprovalService(
        database or open_database(settings.database_url),
        settings.home,
        Policy.from_home(settings.home),
        settings.secret(),
    )
