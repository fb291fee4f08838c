"""Times the main job on a finished demo, each figure beside a peer in the same run: machines are
noisy, ratios are not.

Run: .venv/bin/python benchmarks/end_to_end.py demo-district
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lightgbm as lgb
import shap
from fastapi.testclient import TestClient

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
from records.people.accounts import active_staff_member, start_session
from records.people.viewer import Scope
from records.snapshots.snapshot import Snapshot
from serving.app import create_app
from serving.students.caseload import RankingInputs, caseload
from training.ranking.model_file import read_model
from training.registry.registry import model_version

LOG_ROWS = 100_000


def seconds(work: Callable[[], object], runs: int = 5) -> float:
    """The median of some runs."""
    found = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def row(what: str, ours: float, peer: str = "", theirs: float | None = None) -> None:
    ratio = f"{ours / theirs:.2f}" if theirs else ""
    beside = f"{1000 * theirs:,.1f} ms" if theirs is not None else ""
    print(f"| {what} | {1000 * ours:,.1f} ms | {peer} | {beside} | {ratio} |", flush=True)


def loading(folder: Path) -> None:
    files = sorted((folder / "source" / "sis").glob("*.csv"))
    with tempfile.TemporaryDirectory() as home:
        ours = seconds(
            lambda: load(OneRosterFiles(), folder / "source" / "sis", Path(home)), runs=1
        )
    theirs = seconds(lambda: [sum(1 for _ in csv.reader(file.open())) for file in files], runs=1)
    row(
        "load OneRoster, 1.5 million rows, all accounted for",
        ours,
        "csv.reader counts the same files",
        theirs,
    )


def features(snapshot: Snapshot) -> None:
    day = snapshot.latest_date()
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", day))
    row("29 features of 16,000 students", seconds(lambda: build_features(records, day), runs=3))


def one_caseload(snapshot: Snapshot, scope: Scope, home: Path) -> None:
    made = model_version(home)
    texts = json.loads(made.file.read_text())["models"]
    model = read_model(made.file, made.sha256)
    row(
        "open the model: digest, parse, canaries",
        seconds(lambda: read_model(made.file, made.sha256)),
        "LightGBM parses the same texts",
        seconds(lambda: [lgb.Booster(model_str=text) for some in texts.values() for text in some]),
    )
    records = ScopedRecords(snapshot, scope)
    frame = build_features(records, scope.today)
    rows = frame[model.ranker.feature_names_].to_numpy()
    boosters = [booster for some in model.ranker.models_.values() for booster in some]
    row(
        f"rank 8 supports for {len(frame)} students",
        seconds(lambda: model.ranker.benefits(frame)),
        "the bare boosters",
        seconds(lambda: [b.predict(rows, num_threads=1) for b in boosters]),
    )
    few, tutoring = frame.head(50), model.ranker.models_["tutoring"]
    explainers = [shap.TreeExplainer(booster) for booster in tutoring]
    row(
        "explain one support for 50 students",
        seconds(lambda: model.ranker.contributions(few, "tutoring")),
        "shap.TreeExplainer on the same boosters",
        seconds(
            lambda: [e.shap_values(few[model.ranker.feature_names_].to_numpy()) for e in explainers]
        ),
    )
    row(
        "the whole caseload: features, alerts, ranks, reasons",
        seconds(lambda: caseload(records, scope.today, RankingInputs(model))),
        "its features alone",
        seconds(lambda: build_features(records, scope.today)),
    )


def requests(settings: Settings, database: Database) -> None:
    app = create_app(site_config(settings))
    app.state.site.shelf.wait()
    browser = TestClient(app, follow_redirects=False)
    viewer = active_staff_member(database, "caseworker@brightpath.example")
    browser.cookies.set("handrail", start_session(database, viewer, settings.now()))
    start = time.perf_counter()
    page = browser.get("/caseload").text
    first = time.perf_counter() - start
    plain = seconds(lambda: browser.get("/agreements"))
    row("GET /caseload, the first time", first, "GET /agreements", plain)
    row("GET /caseload, then", seconds(lambda: browser.get("/caseload")), "GET /agreements", plain)
    student = page.split('href="/students/')[1][:20]
    row(
        "GET one student",
        seconds(lambda: browser.get(f"/students/{student}")),
        "GET /agreements",
        plain,
    )


def log(scope: Scope, settings: Settings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{Path(folder) / 'log.db'}")
        students = sorted(scope.students)[:500]
        for _ in range(LOG_ROWS // len(students)):
            record_disclosures(
                database, scope, students, [Category.DIRECTORY], "/caseload", settings.now()
            )
        sample = {"seq": 1, "prev_hash": "0" * 64, "at": "x" * 23, "rest": "y" * 420}
        rows = [sample | {"seq": n} for n in range(LOG_ROWS)]
        bare = seconds(lambda: [hashlib.sha256(json.dumps(one).encode()) for one in rows], runs=1)
        row(
            f"verify {LOG_ROWS:,} looks",
            seconds(lambda: verify_log(database), runs=3),
            "SHA-256 over JSON as long",
            bare,
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
        print("| what | median | beside | median | ratio |\n|---|---|---|---|---|")
        loading(folder)
        features(snapshot)
        one_caseload(snapshot, scope, home)
        requests(settings, database)
        log(scope, settings)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-district"))
