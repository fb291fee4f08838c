"""The desk at which this home's audits are kept and signed."""

from __future__ import annotations

from fairness.approval.signoff import ApprovalService
from fairness.policy.policy import Policy
from handrail.settings import Settings
from records.database.engine import Database, open_database


def approval_service(settings: Settings, database: Database | None = None) -> ApprovalService:
    """The desk of a home: with its database, which is opened where none is given, the declared
    policy and its secret.

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
