"""Times the main job on a finished demo, from loading files to serving pages.

Run:
    .venv/bin/python -m benchmarks.end_to_end demo-district

The argument is the folder of a finished `make demo`. Where there is a reference it is measured in
the same run: machines differ, ratios carry over.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import lightgbm as lgb
import shap
from fastapi.testclient import TestClient

from benchmarks.timing import median_seconds, seconds
from features.alerts import AlertRules
from features.build import build_features
from handrail.commands.serve import site_config
from handrail.settings import Settings
from records.access.scope import pipeline_scope, scope_for
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import Category
from records.connectors.oneroster.files import OneRosterFiles
from records.database.engine import Database, open_database
from records.disclosure_log.disclosures import record_disclosures
from records.disclosure_log.verification import verify_log
from records.loading.load import load
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import active_staff_member
from records.staff.sessions import start_session
from records.staff.viewer import Scope
from serving.app import create_app
from serving.students.caseload import RankingInputs, caseload
from training.ranking.model_file import read_model
from training.registry.registry import model_version

LOG_ROWS = 100_000


def print_row(
    task: str, own: float, reference: str = "", reference_seconds: float | None = None
) -> None:
    """One row of the table; times are in seconds."""
    ratio = f"{own / reference_seconds:.2f}" if reference_seconds else ""
    other = f"{1000 * reference_seconds:,.1f} ms" if reference_seconds is not None else ""
    print(f"| {task} | {1000 * own:,.1f} ms | {reference} | {other} | {ratio} |", flush=True)


def time_loading(folder: Path) -> None:
    source = folder / "source" / "sis"
    files = sorted(source.glob("*.csv"))
    with tempfile.TemporaryDirectory() as home:
        own = seconds(lambda: load(OneRosterFiles(), source, Path(home)))
    reference = seconds(lambda: [sum(1 for _ in csv.reader(file.open())) for file in files])
    print_row(
        "load OneRoster, 1.5 million rows, all accounted for",
        own,
        "csv.reader counts the same files",
        reference,
    )


def time_features(snapshot: Snapshot) -> None:
    day = snapshot.latest_date()
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", day))
    print_row(
        "29 features of 16,000 students",
        median_seconds(lambda: build_features(records, day), runs=3),
    )


def time_one_caseload(snapshot: Snapshot, scope: Scope, home: Path) -> None:
    version = model_version(home)
    texts = json.loads(version.file.read_text())["models"]
    model = read_model(version.file, version.sha256)
    print_row(
        "open the model: digest, parse, canaries",
        median_seconds(lambda: read_model(version.file, version.sha256)),
        "LightGBM parses the same texts",
        median_seconds(
            lambda: [
                lgb.Booster(model_str=text)
                for support_texts in texts.values()
                for text in support_texts
            ]
        ),
    )
    records = ScopedRecords(snapshot, scope)
    frame = build_features(records, scope.today)
    rows = frame[model.ranker.feature_names_].to_numpy()
    boosters = [
        booster
        for support_boosters in model.ranker.models_.values()
        for booster in support_boosters
    ]
    print_row(
        f"rank 8 supports for {len(frame)} students",
        median_seconds(lambda: model.ranker.benefits(frame)),
        "the bare boosters",
        median_seconds(lambda: [booster.predict(rows, num_threads=1) for booster in boosters]),
    )
    page, tutoring = frame.head(50), model.ranker.models_["tutoring"]
    page_rows = page[model.ranker.feature_names_].to_numpy()
    explainers = [shap.TreeExplainer(booster) for booster in tutoring]
    print_row(
        "explain one support for 50 students",
        median_seconds(lambda: model.ranker.contributions(page, "tutoring")),
        "shap.TreeExplainer on the same boosters",
        median_seconds(lambda: [explainer.shap_values(page_rows) for explainer in explainers]),
    )
    print_row(
        "the whole caseload: features, alerts, ranks, reasons",
        median_seconds(
            lambda: caseload(records, scope.today, RankingInputs(model), AlertRules.declared())
        ),
        "its features alone",
        median_seconds(lambda: build_features(records, scope.today)),
    )


def time_requests(settings: Settings, database: Database) -> None:
    app = create_app(site_config(settings))
    app.state.site.approved_models.wait()
    browser = TestClient(app, follow_redirects=False)
    viewer = active_staff_member(database, "caseworker@brightpath.example")
    browser.cookies.set("handrail", start_session(database, viewer, settings.now()))
    start = time.perf_counter()
    page = browser.get("/caseload").text
    first = time.perf_counter() - start
    student = page.split('href="/students/')[1][:20]
    plain = median_seconds(lambda: browser.get("/agreements"))
    caseload_page = median_seconds(lambda: browser.get("/caseload"))
    student_page = median_seconds(lambda: browser.get(f"/students/{student}"))
    print_row("GET /caseload, the first time", first, "GET /agreements", plain)
    print_row("GET /caseload, then", caseload_page, "GET /agreements", plain)
    print_row("GET one student", student_page, "GET /agreements", plain)


def time_log(scope: Scope, settings: Settings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{Path(folder) / 'log.db'}")
        students = sorted(scope.students)[:500]
        for _ in range(LOG_ROWS // len(students)):
            record_disclosures(
                database, scope, students, [Category.DIRECTORY], "/caseload", settings.now()
            )
        sample = {"seq": 1, "prev_hash": "0" * 64, "at": "x" * 23, "rest": "y" * 420}
        rows = [sample | {"seq": number} for number in range(LOG_ROWS)]
        reference = seconds(lambda: [hashlib.sha256(json.dumps(row).encode()) for row in rows])
        print_row(
            f"verify {LOG_ROWS:,} disclosures",
            median_seconds(lambda: verify_log(database), runs=3),
            "SHA-256 over JSON as long",
            reference,
        )


def main(folder: Path) -> None:
    settings = Settings.from_environment(folder / "home")
    with tempfile.TemporaryDirectory() as copy:
        home = Path(copy) / "home"
        shutil.copytree(settings.home, home)
        settings = Settings.from_environment(home)
        database, snapshot = open_database(settings.database_url), Snapshot.current(home)
        viewer = active_staff_member(database, "caseworker@brightpath.example")
        scope = scope_for(viewer, database, snapshot, settings.now(), b"x" * 32)
        print("| task | Handrail (median) | reference | reference (median) | ratio |")
        print("|---|---|---|---|---|")
        time_loading(folder)
        time_features(snapshot)
        time_one_caseload(snapshot, scope, home)
        time_requests(settings, database)
        time_log(scope, settings)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-district"))
