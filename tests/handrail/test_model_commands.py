"""The life of a model from the command line: trained by MLflow, judged, compared, proposed at
night, promoted, rolled back. The district is made once; what it holds is too little to show a gain,
which is part of what is tested.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fairness.approval.signoff import (
    ApprovalService,
    SignoffRefused,
    approved_model,
    record_audit,
    rollback,
)
from fairness.checks.policy import POLICY_FILE, Policy
from fairness.checks.policy_file import Consequence
from fairness.gate.gate import Verdict
from fairness.report.report import audits_of_snapshot, audits_of_version, latest_audit
from handrail.cli import app
from handrail.demo import write_source_files
from handrail.retraining import retrain
from handrail.settings import Settings
from records.access.scope import pipeline_scope
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.partner_files.service_history import ServiceHistory
from records.database.engine import open_database
from records.decisions.impressions import log_impressions
from records.decisions.signoffs import signoffs
from records.loading.load import load
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import active_staff_member, add_staff
from records.staff.viewer import DISTRICT, Role
from serving.wording.words import day
from tests.fairness.published_files import (
    small_counts_in_audits,
    small_counts_in_effects,
    small_numbers,
)
from tests.training.monitoring.test_exploration_value import shown_on
from training.episodes.outcome import OutcomeDefinition
from training.evaluation.model_comparison import Superiority
from training.monitoring.drift_report import drift_report_file, newest_drift_report
from training.monitoring.exploration_value import (
    BEST_FIRST,
    CHALLENGER_FIRST,
    NEAR_BEST_FIRST,
    progress_after,
)
from training.ranking.model_file import read_model
from training.ranking.ranker import BenefitRanker
from training.registry.registry import (
    CHAMPION,
    REGISTERED_MODEL,
    challenger_version,
    champion_version,
    model_version,
    model_versions,
    register_model,
    registry_client,
    set_challenger,
)

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 4, 17, 10, 30)
POLICY = Policy.declared()
WORDS = "Its caseworkers asked for it, and I have read the report on it."
LOGIN, PASSWORD = "eve@district.example", "a password of the test"
GAIN = {"same_places.gain.value": 1.0, "same_places.gain.lower": 0.5, "same_places.gain.upper": 1.5}


def run(*arguments: str) -> str:
    """What a command says when it ends well."""
    result = CliRunner().invoke(app, arguments, env={"HANDRAIL_TODAY": "2026-04-18"})
    assert result.exit_code == 0, (result.exit_code, result.stdout, result.stderr)
    return result.stdout


def refused(*arguments: str) -> str:
    """What a command says when it refuses."""
    result = CliRunner().invoke(app, arguments, env={"HANDRAIL_TODAY": "2026-04-18"})
    assert result.exit_code == 2 and "Traceback" not in result.stderr, (
        result.stdout,
        result.stderr,
    )
    return result.stderr


def policy_of_few_groups() -> str:
    """The policy that comes with Handrail, without intersections and schools.

    A night makes three audits, and what it withholds of them takes longest by far.
    """
    text, count = re.subn(
        r"^groups = \[.*?\]\nintersections = [^\n]*\n",
        'groups = ["sex", "race_ethnicity", "english_learner", "special_education",'
        ' "unstable_housing", "meal_eligible", "grade_band"]\nintersections = []\n',
        POLICY_FILE.read_text(),
        flags=re.DOTALL | re.MULTILINE,
    )
    assert count == 1
    return re.sub(r"^school = [^\n]*\n", "", text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A district whose first version was trained by `mlflow run`."""
    folder = tmp_path_factory.mktemp("district")
    files = write_source_files(folder / "source", students=1_400)
    load(OneRosterFiles(), files.sis, folder / "home")
    load(ServiceHistory(), files.service_history, folder / "home", merge=True)
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "run",
        str(ROOT / "mlflow"),
        "--env-manager",
        "local",
        "-P",
        f"home={folder / 'home'}",
    ]
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'runs.db'}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "home"


def test_mlflow_runs_the_project_and_its_folder_holds_no_python(trained: Path):
    (made,) = model_versions(trained)
    assert made.recipe and made.snapshot_id == Snapshot.current(trained).id
    assert champion_version(trained) is None and challenger_version(trained) is None
    assert [file.name for file in (ROOT / "mlflow").rglob("*") if file.is_file()] == ["MLproject"]


def test_a_version_is_evaluated_and_the_words_say_by_which_of_two_ways(trained: Path):
    output = run("evaluate", "--home", str(trained))
    made = model_version(trained)
    stored = made.artifact(f"evaluations/on-{made.snapshot_id}.json")
    assert stored is not None and stored["how"].startswith(
        "There is too little data since this version's training period"
    )
    assert stored["how"] in output and stored["sensitivity"] in output
    gain = stored["same_places"]["gain"]
    assert [gain[part] for part in ("value", "lower", "upper")] == pytest.approx(
        [made.metrics[f"same_places.gain.{part}"] for part in ("value", "lower", "upper")]
    )
    for words in (
        "IPS",
        "SNIPS",
        "DR",
        "SWITCH-DR",
        "effective sample size",
        "thin overlap",
        "tutoring",
    ):
        assert words in output
    assert f"{gain['value']:+.2f} ({gain['lower']:+.2f} to {gain['upper']:+.2f})" in output


def test_drift_without_a_decision_day_since_says_when_the_next_one_is(trained: Path):
    made = model_version(trained)
    reference = made.reference()
    assert reference is not None and set(reference.places) == {40, 75, 110}
    output = run("drift", "--home", str(trained))
    stored = newest_drift_report(trained)
    assert stored is not None and (stored.version, stored.snapshot_id) == (1, made.snapshot_id)
    if not stored.days:
        assert f"No decision day has passed since {day(stored.learned_until)}" in output
    assert (
        "What to do:" in output and str(drift_report_file(trained, 1, made.snapshot_id)) in output
    )
    assert "there is no model version 7" in refused(
        "drift", "--version", "7", "--home", str(trained)
    )


def test_what_draws_have_shown_is_told_from_the_log_alone(trained: Path):
    output = run("exploration", "found", "--home", str(trained))
    assert output.startswith("Too little is known yet: 0 lists were eligible for randomization")
    snapshot = Snapshot.current(trained)
    students = sorted(pipeline_scope(snapshot, "training", NOW.date()).students)
    made = model_version(trained)
    shown = date.fromisoformat(read_model(made.file, made.sha256).manifest["decision_dates"][1])
    database = open_database(f"sqlite:///{trained / 'handrail.db'}")
    log_impressions(database, shown_on(shown, students=students), NOW)
    log_impressions(database, shown_on(NOW.date(), students=students), NOW)
    output = run("exploration", "found", "--home", str(trained))
    known = progress_after(snapshot, OutcomeDefinition.declared(), shown)
    assert (
        f"{len(known):,} lists of {len(known):,} students were eligible for randomization"
        " and have 90 days" in output
    )
    for words in (BEST_FIRST, NEAR_BEST_FIRST, CHALLENGER_FIRST, "first place was randomized"):
        assert words in output


def test_a_night_trains_only_what_is_new_compares_and_stops_at_the_gate(
    trained: Path, tmp_path: Path
):
    home = tmp_path / "home"
    shutil.copytree(trained, home)
    (home / POLICY_FILE.name).write_text(policy_of_few_groups())
    settings = Settings(home, f"sqlite:///{home / 'handrail.db'}", NOW.date())
    output = run("retrain", "--home", str(home))
    assert "Nothing has changed since version 1" in output and "It is the challenger" in output
    audit = latest_audit(home, 1)
    assert audit is not None and (challenger_version(home), champion_version(home)) == (1, None)
    registry_client(home).set_registered_model_alias(REGISTERED_MODEL, CHAMPION, "1")
    quick = BenefitRanker(n_folds=3, rounds=20, interaction_rounds=5, min_leaf=30)
    night = retrain(settings, ranker=quick, progress=lambda name, done, total: None)
    assert night.trained and night.version == 2 and night.comparison is not None
    assert (
        night.comparison["how"].startswith("There is too little data since")
        and champion_version(home) == 1
    )
    assert night.is_challenger == (
        night.comparison["finding"] == Superiority.BETTER and night.verdict != "fail"
    )
    assert challenger_version(home) == (2 if night.is_challenger else 1)
    stored = model_version(home).artifact("night.json")
    assert stored == night.to_dict() and stored["drift"]["version"] == 1
    again = retrain(settings, ranker=quick, progress=lambda name, done, total: None)
    assert (
        not again.trained
        and again.comparison == night.comparison
        and len(model_versions(home)) == 2
    )
    assert again.champion_verdict is None and len(audits_of_version(home, 1)) == 1
    month = replace(settings, today=NOW.date() + timedelta(days=POLICY.reaudit_days + 2))
    later = retrain(month, ranker=quick, progress=lambda name, done, total: None)
    newest, before = audits_of_version(home, 1)
    assert later.champion_verdict is newest.verdict and newest.at > before.at and before == audit
    with (home / "models" / ".retrain.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another retraining is already running" in refused("retrain", "--home", str(home))
    run("effects", "--home", str(home))  # R60
    snapshot = Snapshot.current(home)
    assert len(audits_of_snapshot(home, snapshot.id, snapshot.latest_date())) == 2
    assert (
        small_numbers(home)
        == small_counts_in_effects(home)
        == small_counts_in_audits(home, most=80)
        == []
    )


def test_a_night_on_thin_records_says_what_is_missing(approved: Path, tmp_path: Path):
    home = tmp_path / "home"
    shutil.copytree(approved, home)
    for command in ("evaluate", "compare", "retrain"):
        assert "run `handrail load` first" in refused(command, "--home", str(home))
    files = write_source_files(tmp_path / "source", students=300)
    load(OneRosterFiles(), files.sis, home)
    assert "there is not enough evidence for a model" in refused("retrain", "--home", str(home))
    assert len(model_versions(home)) == 1
    assert "version 1 is the only one" in refused("compare", "--home", str(home))
    assert "cannot be compared with itself" in refused("compare", "1", "--home", str(home))
    assert "there is no model version 7" in refused(
        "evaluate", "--version", "7", "--home", str(home)
    )


@pytest.fixture
def home(approved: Path, tmp_path: Path) -> Path:
    """Version 1 is in service; version 2 has the same file and its own audit. Eve may sign."""
    home = tmp_path / "home"
    shutil.copytree(approved, home)
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    add_staff(database, LOGIN, "Eve Green", Role.EQUITY_REVIEWER, DISTRICT, PASSWORD)
    again(home, 2)
    return home


def again(home: Path, version: int) -> None:
    """The first version registered once more, with its audit, as if that had passed."""
    first, audit = model_version(home, 1), latest_audit(home, 1)
    assert audit is not None
    made = register_model(home, first.file, first.sha256, first.snapshot_id, GAIN, {})
    assert made.version == version
    findings = tuple(
        replace(finding, verdict=Verdict.PASS, does=Consequence.SHOWS) for finding in audit.findings
    )
    record_audit(
        desk(home), replace(audit, version=version, verdict=Verdict.PASS, findings=findings)
    )


def desk(home: Path, policy: Policy = POLICY) -> ApprovalService:
    """The desk that the commands use."""
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    return ApprovalService(database, home, policy, Settings.from_environment(home).secret())


def decide(command: str, home: Path, *arguments: str) -> tuple[int, str]:
    """Exit status and words of a decision by the reviewer Eve."""
    arguments_given = [command, *arguments, "--as", LOGIN, "--home", str(home)]
    result = CliRunner().invoke(
        app, arguments_given, env={"HANDRAIL_TODAY": "2026-04-18", "HANDRAIL_PASSWORD": PASSWORD}
    )
    assert "Traceback" not in result.stderr
    return result.exit_code, result.stdout + result.stderr


def compared(home: Path, finding: Superiority, **changes: object) -> None:
    """Keep a comparison of version 2 with version 1 on record."""
    candidate, champion = model_version(home, 2), model_version(home, 1)
    candidate.keep(
        "comparisons/against-v1.json",
        {
            "candidate_version": 2,
            "candidate_sha256": candidate.sha256,
            "champion_version": 1,
            "champion_sha256": champion.sha256,
            "finding": str(finding),
        }
        | changes,
    )


def test_a_champion_is_replaced_by_what_was_found_better_or_for_a_written_reason(home: Path):
    set_challenger(home, 2)
    for finding, changes, words in (
        (
            None,
            {},
            (
                "Version 2 was not compared with version 1, which serves (`handrail compare`): say"
                " in 40"
            ),
        ),
        (
            Superiority.NO_BETTER,
            {},
            "compared with version 1, which serves, and found 'no better shown'",
        ),
        (Superiority.WORSE, {}, "and found 'worse'"),
        (
            Superiority.BETTER,
            {"champion_sha256": "0" * 64},
            "Version 2 was not compared with version 1",
        ),
    ):
        if finding is not None:
            compared(home, finding, **changes)
        status, output = decide("promote", home, "2", "--reason", "Newer.")
        assert status == 2 and words in output
        assert (champion_version(home), challenger_version(home)) == (1, 2)
    compared(home, Superiority.BETTER)
    status, output = decide("promote", home, "2", "--reason", "Newer.")
    assert (status, output) == (
        0,
        f"Version 2 is in service instead of version 1, signed by {LOGIN}.\n",
    )
    assert (champion_version(home), challenger_version(home)) == (2, None)
    status, output = decide("promote", home, "1", "--reason", WORDS)
    assert status == 0 and champion_version(home) == 1


def test_a_rollback_is_a_signature_and_two_of_them_go_back_two_versions(home: Path):
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    again(home, 3)
    for version in ("2", "3"):
        assert decide("promote", home, version, "--reason", WORDS)[0] == 0
    before = len(signoffs(database))
    assert decide("rollback", home, "--reason", "  ")[0] == 2
    assert decide("rollback", home, "--reason", "Too few suggestions.")[1].startswith(
        "Version 2 is in service again"
    )
    newest = signoffs(database)[0]
    assert (newest.model_version, newest.decision) == (2, "signed")
    assert newest.reason == "Return to version 2: Too few suggestions."
    assert decide("rollback", home, "--reason", "Still.")[1].startswith(
        "Version 1 is in service again"
    )
    status, output = decide("rollback", home, "--reason", "Still.")
    assert status == 2 and "No earlier version was signed that could serve again." in output
    assert len(signoffs(database)) == before + 2 and champion_version(home) == 1
    assert approved_model(desk(home), NOW).version == model_version(home, 1)


def test_a_refused_champion_is_followed_by_the_one_before_it(home: Path):
    assert decide("promote", home, "2", "--reason", WORDS)[0] == 0
    assert (
        decide("refuse", home, "2", "--reason", "It misses many.")[0] == 0
        and champion_version(home) is None
    )
    assert (
        decide("rollback", home, "--reason", "As before.")[0] == 0 and champion_version(home) == 1
    )


def test_nothing_is_rolled_back_to_a_version_whose_audit_no_longer_stands(home: Path):
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    eve = active_staff_member(database, LOGIN)
    assert decide("promote", home, "2", "--reason", WORDS)[0] == 0

    def why(now: datetime = NOW, policy: Policy = POLICY) -> str:
        before = signoffs(database)
        with pytest.raises(SignoffRefused) as refusal:
            rollback(desk(home, policy), eve, WORDS, now)
        assert signoffs(database) == before and champion_version(home) == 2
        return str(refusal.value)

    assert "is older than 180 days" in why(NOW + timedelta(days=181))
    assert "made under another policy" in why(policy=replace(POLICY, valid_days=179))
    file, (audit,) = model_version(home, 1).file, (home / "audits" / "v1").rglob("audit.json")
    bytes_before, audit_before = file.read_bytes(), audit.read_bytes()
    file.write_bytes(bytes_before + b" ")
    assert "is not the one that was registered" in why()
    file.write_bytes(bytes_before)
    audit.write_text(json.dumps(json.loads(audit_before) | {"students": 10_000}))
    assert "its digest is another" in why()
    audit.unlink()
    assert "The audit of version 1 that was signed is missing." in why()
    audit.write_bytes(audit_before)
    scientist = add_staff(
        database, "sol@district.example", "Sol Ray", Role.DATA_SCIENTIST, DISTRICT, PASSWORD
    )
    with pytest.raises(SignoffRefused, match="Only the district's equity reviewer"):
        rollback(desk(home), scientist, WORDS, NOW)
    assert rollback(desk(home), eve, WORDS, NOW).model_version == 1


def test_a_registration_that_is_killed_leaves_every_version_whole(tmp_path: Path):
    home = tmp_path / "home"
    (tmp_path / "ranker.json").write_text("{}")
    script = (
        "import sys; from pathlib import Path; from training.registry.registry import"
        " register_model\nfor n in range(500): register_model(Path(sys.argv[1]), Path(sys.argv[2]),"
        " 'x', 's', {'a': 1.0}, {'b': 1}, artifacts={'card/card.md': 'words'})"
    )
    command = [sys.executable, "-c", script, str(home), str(tmp_path / "ranker.json")]
    for wait in (0.0, 0.7):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=ROOT)
        started = len(list((home / "mlartifacts").glob("*")))
        while process.poll() is None and len(list((home / "mlartifacts").glob("*"))) == started:
            time.sleep(0.02)
        time.sleep(wait)
        process.kill()
        process.wait()
        versions = model_versions(home)
        assert [made.version for made in versions] == list(range(len(versions), 0, -1))
        assert all((made.artifacts / "card/card.md").read_text() == "words" for made in versions)
    count = len(model_versions(home))
    made = register_model(home, tmp_path / "ranker.json", "x", "s", {}, {})
    assert made.version == count + 1 and made.file.read_text() == "{}"
