"""Signing: only a reviewer, only an audited model, only its own bytes; an alias moved by hand opens
nothing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fairness.approval.signoff import (
    ApprovalService,
    SignoffRefused,
    approved_model,
    record_audit,
    refuse,
    sign,
)
from fairness.audit.audit import FORMAT, Audit, AuditError, EarlierAudit, audit_model
from fairness.audit.basis import AuditBasis, measure_files
from fairness.checks.checks import CHECKS
from fairness.checks.policy import Policy
from fairness.checks.policy_file import Consequence
from fairness.gate.gate import Verdict
from fairness.report.report import audit_folder, audits_of_version, latest_audit, write_report
from features.alert_versions import kept_rules, versions_in_force
from features.alerts import ALERTS_FILE, AlertRules
from features.catalog import feature_names
from features.declarations import DeclarationError
from records.database.engine import Database, open_database
from records.database.tables import GateRecordRow, SignoffRow, StaffRow
from records.decisions.signoffs import SIGNED, Signoff, add_signoff, seal, signoffs
from records.snapshots.snapshot import Snapshot
from records.staff.viewer import DISTRICT, Role, Viewer
from tests.own_supports import own_list, write_own_list
from tests.records.conftest import TODAY, add_organization, snapshot_of
from training.episodes.episodes import Episodes, build_episodes
from training.estimation.policy_value import Estimate
from training.evaluation.drift import RealizedBenefit
from training.monitoring.drift_report import DriftReport, write_drift_report
from training.ranking.model_file import read_model, write_model
from training.ranking.ranker import BenefitRanker
from training.registry.registry import (
    CHAMPION,
    REGISTERED_MODEL,
    ModelVersion,
    champion_version,
    model_version,
    register_model,
    registry_client,
)

GAIN = {"same_places.gain.value": 1.0, "same_places.gain.lower": 0.5, "same_places.gain.upper": 1.5}
NOW = datetime(2026, 4, 17, 9, 0)
POLICY = Policy.declared()
SECRET = b"the secret of this test's district"
REASON = (
    "I read the report; the groups it cannot judge are small, and their caseworkers were told so."
)
DAYS = [day for n in range(60) if (day := date(2026, 1, 26) + timedelta(n)).weekday() < 5]
STUDENTS = 600
FEW = 40
"""Asian students, too few of whom are in need to be judged."""


def rows() -> dict[str, list[dict[str, object]]]:
    """A fair district: every other student is absent every fifth day, whoever they are."""
    rng = np.random.default_rng(0)
    ids = [f"CANARY{n:04}" for n in range(STUDENTS)]
    flags = rng.random((STUDENTS, 4)) < 0.5
    return {
        "schools": [{"school_id": "k1", "name": "K"}],
        "calendar": [{"school_id": "k1", "date": day, "school_year": 2026} for day in DAYS],
        "students": [
            {
                "student_id": s,
                "first_name": "Canaryname",
                "school_id": "k1",
                "grade_level": int(n % 13),
            }
            for n, s in enumerate(ids)
        ],
        "school_enrollments": [
            {
                "student_id": s,
                "school_id": "k1",
                "school_year": 2026,
                "grade_level": int(n % 13),
                "entry_date": DAYS[0],
                "exit_date": DAYS[-1] if n >= STUDENTS - 20 else None,
            }
            for n, s in enumerate(ids)
        ],
        "characteristics": [
            {
                "student_id": s,
                "sex": str(rng.choice(["female", "male"])),
                "race_ethnicity": (
                    str(rng.choice(["white", "black", "hispanic"])) if n >= FEW else "asian"
                ),
                "english_learner": bool(flags[n, 0]),
                "special_education": bool(flags[n, 1]),
                "unstable_housing": bool(flags[n, 2]),
                "meal_eligible": bool(flags[n, 3]),
            }
            for n, s in enumerate(ids)
        ],
        "attendance_events": [
            {"student_id": s, "school_id": "k1", "date": day, "status": "absent_unexcused"}
            for n, s in enumerate(ids)
            if n % 2
            for day in DAYS[n % 5 :: 5]
        ],
        "programs": [
            {
                "program_id": "p1",
                "organization_id": "tutors",
                "name": "T",
                "support": "tutoring",
                "capacity": 50,
                "min_grade": -1,
                "max_grade": 12,
            }
        ],
    }


def small_model(folder: Path, seed: int = 0) -> tuple[Path, str]:
    """A ranker that learnt that tutoring helps where days are missed."""
    rng = np.random.default_rng(seed)
    names = feature_names()
    X = pd.DataFrame(rng.uniform(0, 1, (1200, len(names))), columns=names)
    X["absence_rate_year"] = rng.uniform(0, 0.3, 1200)
    support = pd.Series(np.where(rng.random(1200) < 0.5, "tutoring", "none"))
    outcome = pd.Series(rng.normal(0, 0.5, 1200) + 5 * (support == "tutoring"))
    ranker = BenefitRanker(
        supports=("tutoring",), n_folds=3, rounds=10, min_leaf=20, random_state=seed
    )
    ranker.fit(X, outcome, support, pd.Series(np.arange(1200).astype(str)))
    file = folder / f"small-{seed}.json"
    return file, write_model(ranker, file, {"snapshot": "made up"})


@dataclass
class World:
    home: Path
    database: Database
    snapshot: Snapshot
    version: ModelVersion
    reviewer: Viewer
    caseworker: Viewer
    episodes: Episodes

    def audit(self, **changes: object) -> Audit:
        model = read_model(self.version.file, self.version.sha256)
        audit = audit_model(
            model, self.version.version, self.snapshot, TODAY, POLICY, NOW, episodes=self.episodes
        )
        audit = replace(audit, **changes)
        record_audit(self.desk(), audit)
        return audit

    def desk(self, policy: Policy = POLICY) -> ApprovalService:
        return ApprovalService(self.database, self.home, policy, SECRET)

    def sign(
        self,
        *,
        by: Viewer | None = None,
        reason: str = REASON,
        now: datetime = NOW,
        policy: Policy = POLICY,
    ):
        return sign(self.desk(policy), self.version.version, by or self.reviewer, reason, now)

    def approved(self, now: datetime = NOW, policy: Policy = POLICY):
        return approved_model(self.desk(policy), now)

    def move_alias(self, version: int) -> None:
        registry_client(self.home).set_registered_model_alias(
            REGISTERED_MODEL, CHAMPION, str(version)
        )


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with records and one registered model: made once, since MLflow takes seconds to lay
    out its tables.
    """
    folder = tmp_path_factory.mktemp("registered")
    snapshot = snapshot_of(rows(), folder / "home")
    file, sha256 = small_model(folder)
    register_model(folder / "home", file, sha256, snapshot.id, GAIN, {})
    return folder / "home"


@pytest.fixture
def world(registered: Path, tmp_path: Path) -> World:
    home = tmp_path / "home"
    shutil.copytree(registered, home)
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    reviewer, _ = add_organization(database, DISTRICT, Role.EQUITY_REVIEWER, Role.DATA_SCIENTIST)
    (caseworker,) = add_organization(database, "tutors", Role.CASEWORKER)
    snapshot = Snapshot.current(home)
    return World(
        home,
        database,
        snapshot,
        model_version(home),
        reviewer,
        caseworker,
        build_episodes(snapshot),
    )


def stopping(world: World, at: datetime = NOW) -> Audit:
    """An audit in which one group is found to be helped less."""
    audit = world.audit()
    first = replace(audit.findings[0], verdict=Verdict.FAIL, does=Consequence.STOPS)
    failed = replace(audit, at=at, verdict=Verdict.FAIL, findings=(first, *audit.findings[1:]))
    record_audit(world.desk(), failed)
    if at == NOW:
        shutil.rmtree(audit_folder(world.home, audit))
    return failed


def test_an_audited_model_that_a_reviewer_signs_is_approved_and_the_report_names_who_signed(
    world: World,
):
    audit = world.audit()
    assert audit.verdict is not Verdict.FAIL and audit.in_need == 290 and audit.students == 580
    assert world.approved().version is None
    signoff = world.sign()
    assert (signoff.model_sha256, signoff.audit_sha256) == (world.version.sha256, audit.sha256)
    approved = world.approved()
    assert (approved.version, approved.why_not) == (world.version, "")
    assert latest_audit(world.home, 1) == audit
    assert world.reviewer.name in (audit_folder(world.home, audit) / "report.html").read_text()
    written = "".join(
        file.read_text() for file in (world.home / "audits").rglob("*.*") if file.suffix != ".pdf"
    )
    assert "canary" not in written.lower()


def test_the_same_records_and_model_give_the_same_audit_to_the_byte(world: World):
    assert world.audit().sha256 == world.audit().sha256


def test_a_model_that_was_not_audited_or_is_unknown_cannot_be_signed(world: World):
    with pytest.raises(SignoffRefused, match="has not been audited"):
        world.sign()
    with pytest.raises(SignoffRefused, match="There is no model version 7"):
        sign(world.desk(), 7, world.reviewer, REASON, NOW)
    assert world.approved().why_not == "No model is approved yet."


def test_nobody_signs_but_an_active_equity_reviewer_of_the_district(world: World):
    world.audit()
    with pytest.raises(SignoffRefused, match="equity reviewer"):
        world.sign(by=world.caseworker)
    with pytest.raises(SignoffRefused, match="equity reviewer"):
        world.sign(
            by=replace(world.caseworker, role=Role.EQUITY_REVIEWER, organization_id=DISTRICT)
        )
    with pytest.raises(SignoffRefused, match="active"):
        world.sign(by=replace(world.reviewer, login="nobody@district.example"))
    with world.database.session() as session:
        session.get(StaffRow, world.reviewer.user_id).active = False
    with pytest.raises(SignoffRefused, match="active"):
        world.sign()
    assert champion_version(world.home) is None and signoffs(world.database) == []


def test_a_failed_audit_cannot_be_signed_whatever_the_reason(world: World):
    stopping(world)
    with pytest.raises(SignoffRefused, match="failed"):
        world.sign()
    assert champion_version(world.home) is None


@pytest.mark.parametrize(
    ("metrics", "words"),
    [({}, "never judged"), (GAIN | {"same_places.gain.lower": -0.1}, "not shown to do better")],
)
def test_a_model_that_is_not_shown_to_beat_past_practice_cannot_be_signed(
    world: World, tmp_path: Path, metrics, words
):
    file, sha256 = small_model(tmp_path, seed=2)
    made = register_model(world.home, file, sha256, world.snapshot.id, metrics, {})
    record_audit(world.desk(), replace(world.audit(), version=made.version, model_sha256=sha256))
    with pytest.raises(SignoffRefused, match=words):
        sign(world.desk(), made.version, world.reviewer, REASON, NOW)
    assert champion_version(world.home) is None


def test_a_doubtful_audit_needs_a_written_reason(world: World):
    audit = world.audit()
    assert audit.verdict is Verdict.CANNOT_TELL
    with pytest.raises(SignoffRefused, match="40 characters"):
        world.sign(reason="   fine by me   " + " " * 40)
    with pytest.raises(SignoffRefused):
        world.sign(reason="")
    world.sign()


def test_changed_model_bytes_are_neither_signed_nor_approved(world: World):
    world.audit()
    data = world.version.file.read_bytes()
    world.version.file.write_bytes(data + b" ")
    with pytest.raises(SignoffRefused, match="not the one that was registered"):
        world.sign()
    world.version.file.write_bytes(data)
    world.sign()
    world.version.file.write_bytes(data + b" ")
    assert "not the one that was registered" in world.approved().why_not


@pytest.mark.parametrize("change", [{"model_sha256": "b" * 64}, {"version": 1, "model_sha256": ""}])
def test_an_audit_of_another_model_cannot_be_signed(world: World, change):
    world.audit(**change)
    with pytest.raises(SignoffRefused, match="of another model"):
        world.sign()


def test_an_old_audit_one_from_the_future_and_one_under_another_policy_do_not_count(world: World):
    world.audit()
    late, other = NOW + timedelta(days=181), replace(POLICY, need_severity=3)
    for changed, words in (
        ({"now": late}, "older than 180 days"),
        ({"now": NOW - timedelta(hours=1)}, "future"),
        ({"policy": other}, "another policy"),
    ):
        with pytest.raises(SignoffRefused, match=words):
            world.sign(**changed)
    world.sign()
    assert "older than 180 days" in world.approved(now=late).why_not
    assert "another policy" in world.approved(policy=other).why_not
    assert world.approved().version is not None


CHANGES: dict[str, tuple[str, object, str]] = {
    "the way harm lies in a check": (
        "fairness.audit.basis.CHECKS",
        CHECKS | {"missed": replace(CHECKS["missed"], harm_sign=-1)},
        "The checks changed",
    ),
    "the words of a question": (
        "fairness.audit.basis.CHECKS",
        CHECKS | {"missed": replace(CHECKS["missed"], question="Is all well?")},
        "The checks changed",
    ),
}


OTHER_RULES = {
    "absence_rate_year.at_least = 0.10": "absence_rate_year.at_least = 0.08",
    'severity = 2\nfeatures = ["current_run"]': (
        'severity = 2\ngrades = ["9"]\nfeatures = ["current_run"]'
    ),
}
"""Changes of who is in need: a threshold, and the grades of whom a rule speaks."""


def test_a_signature_lapses_when_anything_changes_that_the_audit_is_bound_to(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    audit = world.audit()
    world.sign()
    assert world.approved().version is not None
    assert audit.basis == asdict(AuditBasis.current(POLICY, audit.supports, AlertRules.declared()))
    since = "since the audit of version 1 was made: audit it again."
    for name, (target, value, words) in CHANGES.items():
        with monkeypatch.context() as changed:
            changed.setattr(target, value)
            assert world.approved().why_not == f"{words} {since}", name
            with pytest.raises(SignoffRefused, match=words):
                world.sign()
    stricter = replace(POLICY, smallest_cell=20)
    assert world.approved(policy=stricter).why_not == (
        f"The smallest number that may be shown changed {since}"
    )
    own_rules = world.home / ALERTS_FILE.name
    for before, after in OTHER_RULES.items():
        own_rules.write_text(ALERTS_FILE.read_text().replace(before, after, 1))
        assert world.approved().why_not == (
            f"The alert rules, by which students are in need, changed {since}"
        )
        with pytest.raises(SignoffRefused, match="The alert rules"):
            world.sign()
    own_rules.write_text(f"# Checked by the district.\n{ALERTS_FILE.read_text()}")
    assert world.approved().version is not None, "a comment changes nobody's need"
    own_rules.write_text("[absent]\n")
    with pytest.raises(DeclarationError, match=r"alerts.toml: \[absent\] features is missing"):
        world.approved()
    own_rules.unlink()
    both = replace(stricter, valid_days=90)
    assert world.approved(policy=both).why_not == (
        f"The policy and the smallest number that may be shown changed {since}"
    )
    assert world.approved().version is not None, "all is as it was signed"


def test_a_signature_lapses_with_the_list_of_supports_where_the_model_knows_the_kind(world: World):
    assert world.audit().supports == {"tutoring": False}
    world.sign()
    lapsed = (
        "The district's list of supports changed since the audit of version 1 was made: audit it"
        " again."
    )
    write_own_list(world.home, "mentoring")
    assert world.approved().version is not None, "the model knows no mentoring and no new kind"
    write_own_list(world.home, "tutoring")
    assert world.approved().why_not == lapsed
    text = own_list().replace("tells_of_housing = false", "tells_of_housing = true", 1)
    (world.home / "supports.toml").write_text(text)
    assert world.approved().why_not == lapsed
    with pytest.raises(SignoffRefused, match="list of supports"):
        world.sign()
    (world.home / "supports.toml").unlink()
    assert world.approved().version is not None, "all is as it was signed"


def test_an_audit_is_of_what_may_be_suggested_by_the_list(world: World):
    assert any(finding.check == "support" for finding in world.audit().findings)
    write_own_list(world.home, "tutoring")
    world.snapshot = Snapshot.current(world.home)
    silent = world.audit()
    assert silent.supports == {"tutoring": None}
    assert not any(finding.check == "support" for finding in silent.findings)
    assert Audit.from_json(silent.to_json()) == silent


def test_an_audit_of_an_earlier_release_keeps_its_text(world: World):
    audit = world.audit()
    basis = {name: digest for name, digest in audit.basis.items() if name != "supports"}
    earlier = replace(audit, basis=basis, supports={})
    assert "supports" not in json.loads(earlier.to_json())
    assert Audit.from_json(earlier.to_json()).sha256 == earlier.sha256


def test_an_earlier_audit_is_counted_again_under_the_rules_of_its_time(world: World):
    earlier = world.audit(at=NOW - timedelta(days=1))
    (world.home / ALERTS_FILE.name).write_text(
        ALERTS_FILE.read_text().replace(
            "absence_rate_year.at_least = 0.10", "absence_rate_year.at_least = 0.05"
        )
    )
    rules, then = AlertRules.of(world.home), kept_rules(world.home, earlier.basis["alert_rules"])
    assert then is not None and then.rules == AlertRules.declared().rules != rules.rules
    model = read_model(world.version.file, world.version.sha256)
    audit = audit_model(
        model,
        world.version.version,
        world.snapshot,
        TODAY,
        POLICY,
        NOW,
        earlier=[EarlierAudit(earlier, model, then)],
        rules=rules,
    )
    assert audit.basis == asdict(AuditBasis.current(POLICY, audit.supports, rules))
    record_audit(world.desk(), audit)
    world.sign()
    assert world.approved().version is not None
    assert [entry.version for entry in versions_in_force(world.home)] == [
        AlertRules.declared().version,
        rules.version,
    ]


def test_a_signature_lapses_with_the_code_of_a_measure_and_not_with_its_comments(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    world.audit()
    world.sign()
    files = {file: tmp_path / file.name for file in measure_files()}
    gate = next(file for file in files if file.name == "gate.py")
    for file, copy in files.items():
        copy.write_bytes(file.read_bytes())
    monkeypatch.setattr("fairness.audit.basis.measure_files", lambda: files.values())
    assert world.approved().version is not None
    text = gate.read_text(encoding="utf-8")
    files[gate].write_text(f"# Words alone.\n{text}", encoding="utf-8")
    assert world.approved().version is not None
    files[gate].write_text(text.replace("1 - policy.confidence", "1.0"), encoding="utf-8")
    assert world.approved().why_not == (
        "The code of the measures changed since the audit of version 1 was made: audit it again."
    )


def test_an_audit_of_an_earlier_release_lapses_and_its_digest_stays(world: World):
    old = world.audit(basis={}, supports={}, policy_sha256=POLICY.sha256)
    assert "basis" not in json.loads(old.to_json()) and Audit.from_json(old.to_json()) == old
    with pytest.raises(SignoffRefused, match="another policy"):
        world.sign()


def test_an_alias_moved_by_hand_approves_nothing(world: World, tmp_path: Path):  # R61
    world.move_alias(1)
    assert (
        world.approved().why_not
        == "The champion alias points to version 1, which nobody has signed."
    )
    world.audit()
    world.sign()
    file, sha256 = small_model(tmp_path, seed=1)
    register_model(world.home, file, sha256, world.snapshot.id, GAIN, {})
    world.move_alias(2)
    approved = world.approved()
    assert approved.version is None and "version 2, which nobody has signed" in approved.why_not


def test_a_registered_digest_changed_by_hand_approves_nothing(world: World):  # R61
    world.audit()
    world.sign()
    world.version.file.write_bytes(b"{}")
    tag = hashlib.sha256(b"{}").hexdigest()
    registry_client(world.home).set_model_version_tag(REGISTERED_MODEL, "1", "sha256", tag)
    assert "nobody has signed" in world.approved().why_not


def test_a_model_refused_after_it_was_signed_serves_no_longer_even_with_the_alias_put_back(
    world: World,
):  # R61
    world.audit()
    world.sign()
    refuse(world.desk(), 1, world.reviewer, "Families asked for more time.", NOW)
    assert champion_version(world.home) is None and world.approved().version is None
    world.move_alias(1)
    assert "refused" in world.approved().why_not
    assert [signoff.decision for signoff in signoffs(world.database, world.version.sha256)] == [
        "refused",
        "signed",
    ]
    assert (
        "Families asked for more time."
        in next((world.home / "audits/v1").rglob("report.html")).read_text()
    )


def test_a_refusal_needs_a_reviewer_and_a_reason_and_no_audit(world: World):
    with pytest.raises(SignoffRefused, match="reason"):
        refuse(world.desk(), 1, world.reviewer, " ", NOW)
    with pytest.raises(SignoffRefused, match="equity reviewer"):
        refuse(world.desk(), 1, world.caseworker, "No", NOW)
    assert refuse(world.desk(), 1, world.reviewer, "Not yet.", NOW).audit_sha256 == ""


def test_an_audit_changed_or_removed_after_the_signature_approves_nothing(world: World):
    audit = world.audit()
    world.sign()
    file = audit_folder(world.home, audit) / "audit.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"students": 590}))
    assert "its digest is another" in world.approved().why_not
    file.write_text("{}")
    assert "cannot be trusted" in world.approved().why_not
    file.unlink()
    assert world.approved().why_not == "The audit of version 1 that was signed is missing."


def test_an_audit_of_an_earlier_release_is_passed_over_and_what_was_signed_of_it_serves_no_longer(
    world: World,
):
    audit = world.audit()
    world.sign()
    text = audit.to_json().replace(FORMAT, "handrail-audit-2")
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    earlier = audit_folder(world.home, audit).with_name(sha256[:16])
    earlier.mkdir()
    (earlier / "audit.json").write_text(text, encoding="utf-8")
    assert latest_audit(world.home, 1) == audit and world.approved().version == world.version
    shutil.rmtree(audit_folder(world.home, audit))
    assert latest_audit(world.home, 1) is None
    signed = Signoff(NOW, world.reviewer.user_id, 1, world.version.sha256, sha256, SIGNED, REASON)
    add_signoff(world.database, replace(signed, at=NOW + timedelta(seconds=1)), SECRET)
    assert (
        world.approved().why_not
        == "The audit of version 1 that was signed is of an earlier release: audit and sign it"
        " anew."
    )
    (earlier / "audit.json").write_text(text.replace("pass", "fail", 1), encoding="utf-8")
    with pytest.raises(AuditError, match="its digest is another"):
        latest_audit(world.home, 1)


def test_an_audit_that_the_gate_has_not_on_record_is_not_signed(world: World):  # R61
    audit = world.audit()
    shutil.rmtree(audit_folder(world.home, audit))
    shows = tuple(replace(finding, does=Consequence.SHOWS) for finding in audit.findings)
    write_report(replace(audit, verdict=Verdict.PASS, findings=shows), world.home)
    with pytest.raises(SignoffRefused, match="The gate has no record of the audit"):
        world.sign()


@pytest.mark.parametrize("row", [SignoffRow, GateRecordRow])
def test_a_row_written_into_the_database_by_hand_approves_nothing(world: World, row):  # R61
    world.audit()
    world.sign()
    assert world.approved().version is not None
    with world.database.session() as session:
        stored = session.query(row).one()
        stored.at = stored.at + timedelta(seconds=1)
    assert world.approved().version is None
    with world.database.session() as session:
        stored = session.query(row).one()
        stored.at = stored.at - timedelta(seconds=1)
    assert world.approved().version is not None


def test_a_signature_sealed_without_the_districts_secret_approves_nothing(world: World):  # R61
    audit = world.audit()
    forged = Signoff(
        NOW, world.reviewer.user_id, 1, world.version.sha256, audit.sha256, SIGNED, REASON
    )
    add_signoff(world.database, forged, b"another secret")
    world.move_alias(1)
    assert "nobody has signed" in world.approved().why_not
    assert seal(forged, SECRET) != seal(replace(forged, reason="x"), SECRET)


def test_a_later_failing_audit_stops_a_signed_model_and_the_next_one_must_be_signed_again(
    world: World,
):
    audit = world.audit()
    world.sign()
    later = stopping(world, NOW + timedelta(days=1))
    assert [written.at for written in audits_of_version(world.home, 1)] == [later.at, audit.at]
    assert (
        world.approved(NOW + timedelta(days=2)).why_not
        == "A later audit of version 1 failed: it may not serve."
    )
    again = replace(audit, at=NOW + timedelta(days=3))
    record_audit(world.desk(), again)
    assert world.sign(now=NOW + timedelta(days=4)).audit_sha256 == again.sha256
    assert world.approved(NOW + timedelta(days=4)).version is not None


def test_a_change_found_since_the_audit_asks_for_a_new_one_when_its_days_are_over(world: World):
    world.audit()
    world.sign()
    noticed = NOW + timedelta(days=3)
    realized = RealizedBenefit((TODAY,), 500, 2.0, Estimate(0.5, 0.0, 1.0), None, ())
    drift = DriftReport(
        noticed, 1, world.version.sha256, "later", "o", TODAY, True, (), None, None, realized
    )
    write_drift_report(drift, world.home)
    assert drift.needs_retraining
    assert world.approved(noticed + timedelta(days=POLICY.drift_days)).version is not None
    late = noticed + timedelta(days=POLICY.drift_days, seconds=1)
    assert f"as was found on {noticed:%Y-%m-%d}: audit it again" in world.approved(late).why_not
    world.audit(at=noticed + timedelta(days=1))
    world.sign(now=late)
    assert world.approved(late).version is not None
