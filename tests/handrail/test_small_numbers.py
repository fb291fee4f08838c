"""A district that publishes nothing of fewer than twenty students: one file says so, and everything
that a home publishes obeys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fairness.report.report import latest_audit
from handrail.cli import app
from handrail.commands.effects import compute_effects
from handrail.commands.models import audit_version
from handrail.demo import write_source_files
from handrail.settings import Settings
from records.access.scope import pipeline_scope
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.partner_files.service_history import ServiceHistory
from records.database.engine import open_database
from records.decisions.impressions import Impression, RankedSupport, log_impressions
from records.loading.load import load
from records.snapshots.snapshot import Snapshot
from records.suppression.small_numbers import SMALL_NUMBERS_FILE
from tests.fairness.published_files import small_counts_in_effects, small_numbers
from tests.training.monitoring.test_exploration_value import shown_on
from training.episodes.episodes import build_episodes
from training.monitoring.drift_report import compute_drift_report
from training.ranking.ranker import BenefitRanker
from training.registry.registry import model_version, set_challenger
from training.registry.train import train

SMALLEST = 20
TODAY = date(2026, 4, 17)
AT = datetime(2026, 4, 17, 10, 30)
FIGURES = 5
"""Data cells in a row of a group: students, rate, all others, gap, verdict."""


def quiet(name: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A district of 1,400 students, with a model of its earlier days, audit, effects and drift."""
    folder = tmp_path_factory.mktemp("district")
    home = folder / "home"
    files = write_source_files(folder / "source", students=1_400)
    load(OneRosterFiles(), files.sis, home)
    load(ServiceHistory(), files.service_history, home, merge=True)
    (home / SMALL_NUMBERS_FILE.name).write_text(f"smallest_cell = {SMALLEST}\n", encoding="utf-8")
    settings = Settings(home, f"sqlite:///{home / 'handrail.db'}", TODAY)
    snapshot = Snapshot.current(home)
    episodes = build_episodes(snapshot)
    days = np.sort(episodes.decision_date.unique())
    earlier = episodes.take(np.flatnonzero(episodes.decision_date < days[-1]).astype(np.intp))
    ranker = BenefitRanker(min_leaf=30, n_folds=3, rounds=20)
    made = train(snapshot, home, ranker=ranker, episodes=earlier, at=AT)
    audit_version(settings, made.version, quiet, episodes=episodes)
    compute_effects(settings, open_database(settings.database_url), quiet, episodes)
    compute_drift_report(snapshot, made, home, AT)
    return home


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, env={"HANDRAIL_TODAY": str(TODAY)})
    assert result.exit_code == 0, (result.stdout, result.stderr)
    return result.stdout


def numbers(content: Any) -> Iterator[int]:
    """Every whole number in JSON."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        for part in content:
            yield from numbers(part)
    elif isinstance(content, int) and not isinstance(content, bool):
        yield content


def cells(html: str, column: int) -> list[str]:
    """The texts of one column of data cells, of all tables of groups on a page."""
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    found = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows]
    return [re.sub(r"<[^>]+>", "", row[column]).strip() for row in found if len(row) >= FIGURES]


def small(texts: list[str]) -> list[str]:
    return [text for text in texts if text.isdigit() and 0 < int(text) < SMALLEST]


def test_no_file_of_a_home_holds_a_smaller_number_of_students(home: Path):
    assert small_numbers(home, SMALLEST) == []
    assert small_counts_in_effects(home, SMALLEST) == []
    assert small_numbers(home, 10_000), "there are numbers to be read"


def test_an_audit_and_its_pages_obey(home: Path):
    audit = latest_audit(home, 1)
    assert audit is not None and audit.policy["smallest_cell"] == SMALLEST
    assert all(rows >= SMALLEST for rows in audit.data["tables"].values())
    shown = [number for group in audit.groups for number in (group.students, group.in_need)]
    assert None in shown and all(number >= SMALLEST for number in shown if number is not None)
    (report,) = (home / "audits").rglob("report.html")
    html = report.read_text(encoding="utf-8")
    assert small(cells(html, 0)) == [] and f"fewer than {SMALLEST}" in html
    assert "fewer than 10" not in html and "fewer than ten" not in html


def test_a_card_an_evaluation_and_what_drift_is_held_against_obey(home: Path):
    made = model_version(home, 1)
    card = made.artifact("card/model_card.json")
    assert card is not None
    episodes = [count for count in card["episodes"].values() if count is not None]
    assert episodes and min(episodes) >= SMALLEST
    overlap = [row["episodes"] for row in card["evaluation"]["overlap"]]
    assert None in overlap and min(count for count in overlap if count is not None) >= SMALLEST
    (text,) = (home / "mlartifacts").rglob("model_card.md")
    words = text.read_text(encoding="utf-8")
    assert f"(fewer than {SMALLEST} students)" in words and "than ten" not in words
    reference = made.reference()
    assert reference is not None
    for place in reference.places.values():
        assert place.students >= SMALLEST
        for feature in place.features.values():
            shares = [share for share in (*feature.shares, feature.missing) if share is not None]
            # A share is rounded to a thousandth and the number of students to ten.
            assert all(
                (share + 0.0005) * (place.students + 5) >= SMALLEST for share in shares if share
            )


def test_drift_and_effects_obey_and_say_what_they_obey(home: Path):
    (drift,) = (json.loads(file.read_text()) for file in (home / "drift").glob("*.json"))
    assert drift["found"]["days"] and drift["found"]["smallest_cell"] == SMALLEST
    (effects,) = (json.loads(file.read_text()) for file in (home / "effects").glob("*.json"))
    assert effects["inputs"]["smallest_cell"] == SMALLEST
    served = [program["figures"]["served"] for program in effects["programs"]]
    assert all(number is None or number >= SMALLEST for number in served)


def test_what_a_challenger_and_draws_have_shown_obeys(home: Path):
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    students = sorted(pipeline_scope(Snapshot.current(home), "training", TODAY).students)
    set_challenger(home, 1)
    sha256 = model_version(home, 1).sha256
    firsts = [("food", "food", 30), ("food", "health", 15), ("health", "food", 25)]
    lists = [
        Impression(
            student,
            "partner",
            TODAY,
            "snap",
            "a" * 64,
            (RankedSupport(first, 1, 1.0, 2.0, 1.0),),
            challenger_sha256=sha256,
            challenger=(unseen,),
        )
        for student, (first, unseen) in zip(
            students, [pair[:2] for pair in firsts for _ in range(pair[2])], strict=False
        )
    ]
    log_impressions(database, lists, AT)
    said = run("shadow", "--home", str(home))
    assert small(re.findall(r"\d+", said.replace("Version 1 ", ""))) == []
    assert f"it would reveal fewer than {SMALLEST} students" in said or "suppressed" not in said
    log_impressions(database, shown_on(TODAY, students=students[:15]), AT)
    said = run("exploration", "found", "--home", str(home))
    assert f"of fewer than {SMALLEST} students" in said


def test_a_smaller_rule_again_makes_figures_again(home: Path):
    settings = Settings(home, f"sqlite:///{home / 'handrail.db'}", TODAY)
    own = home / SMALL_NUMBERS_FILE.name
    text = own.read_text(encoding="utf-8")
    try:
        own.write_text("smallest_cell = 30\n", encoding="utf-8")
        report, _ = compute_effects(settings, open_database(settings.database_url), quiet)
        assert report.inputs.smallest_cell == 30
    finally:
        own.write_text(text, encoding="utf-8")
