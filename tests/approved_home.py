"""A home with a small trained, audited and signed model, so that the site makes suggestions."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from fairness.approval.signoff import ApprovalService, record_audit, sign
from fairness.audit.audit import audit_model
from fairness.checks.policy import Policy
from records.database.engine import open_database
from records.staff.accounts import active_staff_member
from records.staff.viewer import DISTRICT, Role
from tests.records.conftest import add_organization, snapshot_of
from tests.serving import district
from tests.training.conftest import SUPPORTS, draw_past
from training.ranking.model_file import read_model, write_model
from training.ranking.ranker import BenefitRanker
from training.registry.registry import register_model

SECRET = b"a secret that only this test knows"
NOW = datetime(2026, 4, 17, 10, 30)
REASON = "Only for a test: the district in it is too small to tell anything about any group."


def write_secret(home: Path) -> None:
    """Write the district's secret where the settings read it."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "secret").write_bytes(SECRET)
    (home / "secret").chmod(0o600)


def make_approved_home(home: Path) -> Path:
    """Fill a home: version 1 is the champion with an inconclusive audit; there are no records."""
    past = draw_past(21)
    ranker = BenefitRanker(SUPPORTS, min_leaf=50, rounds=40, n_folds=3)
    ranker.fit(past.features, past.outcome, past.support, past.student)
    write_secret(home)
    file = home / "models" / "new.json"
    sha256 = write_model(ranker, file, {"snapshot": "none"})
    gain = {
        "same_places.gain.value": 1.0,
        "same_places.gain.lower": 0.5,
        "same_places.gain.upper": 1.5,
    }
    version = register_model(home, file, sha256, "none", gain, {})
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    reviewer = add_organization(database, DISTRICT, Role.EQUITY_REVIEWER)[0]
    snapshot = snapshot_of(district.rows(), home / "audited")
    audit = audit_model(
        read_model(version.file, sha256),
        version.version,
        snapshot,
        NOW.date(),
        Policy.declared(),
        NOW,
    )
    approvals = ApprovalService(database, home, Policy.declared(), SECRET)
    record_audit(approvals, audit)
    sign(approvals, version.version, active_staff_member(database, reviewer.login), REASON, NOW)
    database.engine.dispose()
    shutil.rmtree(home / "audited")
    return home
