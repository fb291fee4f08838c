"""A deliberately unfair model, which helps those who miss Thursdays and not those who miss Mondays,
as one group does: no command of the repository, with any of its flags, lets it serve; nor does
anything else that a person could try.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from fairness.approval.signoff import ApprovalService, SignoffRefused, approved_model, sign
from fairness.audit.audit import Audit
from fairness.checks.policy import Policy
from fairness.checks.policy_file import Consequence
from fairness.gate.gate import Verdict
from fairness.report.report import latest_audit, write_report
from features.catalog import feature_names
from handrail.cli import LazyCommand, app
from handrail.settings import Settings
from records.database.engine import open_database
from records.database.tables import SignoffRow
from records.decisions.signoffs import SIGNED, Signoff, add_signoff
from records.staff.accounts import Organization, active_staff_member, add_organization, add_staff
from records.staff.viewer import DISTRICT, Role
from serving.students.caseload import NO_APPROVED_MODEL, ApprovedModelCache
from tests.records.conftest import snapshot_of
from training.ranking.model_file import write_model
from training.ranking.ranker import BenefitRanker
from training.registry.registry import (
    CHAMPION,
    REGISTERED_MODEL,
    champion_version,
    model_version,
    register_model,
    registry_client,
)

ROOT = Path(__file__).parents[2]
TODAY, NOW = date(2026, 4, 17), datetime(2026, 4, 17, 10, 30)
LOGIN, PASSWORD = "eve@district.example", "a password of the test"
REASON = "I say that it may serve all the same, in far more than forty characters."
GAIN = {"same_places.gain.value": 1.0, "same_places.gain.lower": 0.5, "same_places.gain.upper": 1.5}
DAYS = [day for n in range(81) if (day := date(2026, 1, 26) + timedelta(n)).weekday() < 5]
LEFT_OUT = {
    ("serve",): "it never ends by itself; what it serves is asked of the shelf below",
    ("demo",): "it makes a home of its own and touches no other",
}


def rows() -> dict[str, list[dict[str, object]]]:
    """900 students in need: all miss a day a week, Black students Mondays, the others Thursdays."""
    rng = np.random.default_rng(0)
    ids = [f"s{n:04}" for n in range(900)]
    black = dict(zip(ids, rng.random(900) < 0.3, strict=True))
    return {
        "schools": [{"school_id": "k1", "name": "K"}],
        "calendar": [{"school_id": "k1", "date": day, "school_year": 2026} for day in DAYS],
        "students": [
            {"student_id": s, "first_name": "A", "school_id": "k1", "grade_level": n % 13}
            for n, s in enumerate(ids)
        ],
        "school_enrollments": [
            {
                "student_id": s,
                "school_id": "k1",
                "school_year": 2026,
                "grade_level": n % 13,
                "entry_date": DAYS[0],
            }
            for n, s in enumerate(ids)
        ],
        "characteristics": [
            {
                "student_id": s,
                "race_ethnicity": "black" if black[s] else "white",
                "sex": str(rng.choice(["female", "male"])),
            }
            for s in ids
        ],
        "attendance_events": [
            {"student_id": s, "school_id": "k1", "date": day, "status": "absent_unexcused"}
            for s in ids
            for day in DAYS
            if day.weekday() == (0 if black[s] else 3)
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


def unfair_ranker() -> BenefitRanker:
    """It learnt that tutoring helps those alone who come on Mondays."""
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.uniform(0, 1, (1500, len(feature_names()))), columns=feature_names())
    X["monday_absences_60"] = rng.choice([0.0, 12.0], 1500)
    support = pd.Series(np.where(rng.random(1500) < 0.5, "tutoring", "none"))
    outcome = rng.normal(0, 0.5, 1500) + 5 * (
        (support == "tutoring") & (X["monday_absences_60"] < 6)
    )
    ranker = BenefitRanker(("tutoring",), n_folds=3, rounds=30, min_leaf=20, scope_dropout=0.0)
    return ranker.fit(X, pd.Series(outcome), support, pd.Series(np.arange(1500).astype(str)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the model registered and audited, partner records and a reviewer."""
    home = tmp_path_factory.mktemp("unfair") / "home"
    snapshot = snapshot_of(rows(), home)
    file = home / "models" / "unfair.json"
    sha256 = write_model(unfair_ranker(), file, {"snapshot": snapshot.id})
    register_model(home, file, sha256, snapshot.id, GAIN, {})
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    add_organization(database, Organization(DISTRICT, "District", "district"))
    for login, role in (
        (LOGIN, Role.EQUITY_REVIEWER),
        ("ada@district.example", Role.DISTRICT_ADMIN),
    ):
        add_staff(database, login, "A B", role, DISTRICT, PASSWORD)
    database.engine.dispose()
    output = invoke("audit", "--home", str(home))
    assert "Audit of version 1: fail." in output, output
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "home")
    return tmp_path / "home"


def desk(home: Path) -> ApprovalService:
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    return ApprovalService(
        database, home, Policy.declared(), Settings.from_environment(home).secret()
    )


def serves(home: Path) -> bool:
    """Whether anything is approved, or would be loaded by the site."""
    approvals = desk(home)
    shelf = ApprovedModelCache(home, approvals.database, approvals.secret)
    shelf.start(NOW)
    shelf.wait()
    loaded, why = shelf.model(NOW)
    assert (loaded is None) == (why == NO_APPROVED_MODEL)
    return approved_model(approvals, NOW).version is not None or loaded is not None


def invoke(*arguments: str) -> str:
    environment = {"HANDRAIL_TODAY": str(TODAY), "HANDRAIL_PASSWORD": PASSWORD}
    result = CliRunner().invoke(app, arguments, env=environment, input="y\ny\n")
    return result.output


def leaves() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command, hidden ones too."""

    def walk(
        path: tuple[str, ...], command: Any
    ) -> Iterator[tuple[tuple[str, ...], click.Command]]:
        real = command.command if isinstance(command, LazyCommand) else command
        if hasattr(real, "commands"):
            for name, subcommand in real.commands.items():
                yield from walk((*path, name), subcommand)
        else:
            yield path, real

    yield from walk((), get_command(app))


def attempts(path: tuple[str, ...], command: click.Command, home: Path) -> Iterator[list[str]]:
    """The command with all that it asks for, with its flags and without."""
    answers = {
        "version": "1",
        "reviewer": LOGIN,
        "reason": REASON,
        "home": str(home),
        "login": LOGIN,
        "first": "1",
        "second": "1",
        "login_": LOGIN,
        "as_": LOGIN,
    }
    plain: list[str] = []
    flags: list[str] = []
    for option in command.params:
        wanted = answers.get(str(option.name))
        if option.param_type_name == "argument":
            plain += [wanted or str(home)] if option.required or wanted else []
        elif getattr(option, "is_flag", False):
            flags += option.opts[:1]
        elif wanted or option.required or "--as" in option.opts or "--reason" in option.opts:
            value = (
                LOGIN
                if "--as" in option.opts
                else REASON
                if "--reason" in option.opts
                else wanted or "1"
            )
            plain += [option.opts[0], value]
    yield [*path, *plain]
    if flags:
        yield [*path, *plain, *(flag for flag in flags if flag not in {"--help", "--version"})]


def test_the_gate_finds_it_and_says_for_whom(home: Path):  # R61
    audit = latest_audit(home, 1)
    assert audit is not None and audit.verdict is Verdict.FAIL and audit.curves
    assert {("missed", "black"), ("access", "black")} <= {
        (finding.check, finding.value) for finding in audit.stopping
    }
    assert not serves(home)


def test_no_command_with_any_flag_lets_it_serve(made: Path, tmp_path: Path):  # R61
    tried = 0
    for number, (path, command) in enumerate(leaves()):
        if path in LEFT_OUT:
            continue
        home = tmp_path / str(number)
        shutil.copytree(made, home)
        for arguments in attempts(path, command, home):
            output = invoke(*arguments)
            assert "No such option" not in output and "No such command" not in output, (
                arguments,
                output,
            )
            assert not (home / "mlflow.db").exists() or champion_version(home) is None, (
                arguments,
                output,
            )
            assert path[-1] not in {
                "sign",
                "promote",
            } or "failed: it may not serve" in output.replace("\n", " "), output
            tried += 1
        if path[0] in {"sign", "promote", "rollback", "retrain", "audit", "refuse", "train"}:
            assert not serves(home), path
        shutil.rmtree(home)
    assert tried >= 50, tried


def test_mlflows_project_runs_no_command_that_signs():
    project = yaml.safe_load((ROOT / "mlflow" / "MLproject").read_text())
    run = {entry["command"].split()[1] for entry in project["entry_points"].values()}
    assert run == {"train", "evaluate", "compare", "retrain"}


def forged(audit: Audit, **changes: object) -> Audit:
    """The audit as somebody would wish it."""
    findings = tuple(
        replace(finding, verdict=Verdict.PASS, does=Consequence.SHOWS) for finding in audit.findings
    )
    return replace(audit, verdict=Verdict.PASS, findings=findings, **changes)


def test_neither_the_registry_nor_the_files_nor_the_database_lets_it_serve(home: Path):  # R61
    approvals, audit = desk(home), latest_audit(home, 1)
    eve = active_staff_member(approvals.database, LOGIN)
    registry_client(home).set_registered_model_alias(REGISTERED_MODEL, CHAMPION, "1")
    assert not serves(home)
    better = forged(audit, at=audit.at + timedelta(minutes=1))
    write_report(better, home)
    with pytest.raises(SignoffRefused, match="The gate has no record"):
        sign(approvals, 1, eve, REASON, NOW)
    sha256 = model_version(home, 1).sha256
    with approvals.database.session() as session:
        session.add(
            SignoffRow(
                at=NOW,
                reviewer_id=eve.user_id,
                model_version=1,
                model_sha256=sha256,
                audit_sha256=better.sha256,
                decision=SIGNED,
                reason=REASON,
                seal="0" * 64,
            )
        )
    assert not serves(home)
    add_signoff(
        approvals.database,
        Signoff(NOW, eve.user_id, 1, sha256, better.sha256, SIGNED, REASON),
        approvals.secret,
    )
    assert not serves(home)


def test_a_policy_that_would_let_it_pass_is_none(tmp_path: Path):  # R61
    text = (ROOT / "fairness" / "checks" / "policy.toml").read_text()
    file = tmp_path / "policy.toml"
    for old, new in (
        (
            '[checks.missed]\nbeyond = 0.05\nwithin = 0.10\nfails = "stops"',
            '[checks.missed]\nbeyond = 0.05\nwithin = 0.10\nfails = "shows"',
        ),
        ("[checks.missed]\nbeyond = 0.05", "[checks.missed]\nbeyond = 0.95"),
    ):
        assert old in text
        file.write_text(text.replace(old, new))
        with pytest.raises(ValueError, match=r"checks\.missed"):
            Policy.read(file)
