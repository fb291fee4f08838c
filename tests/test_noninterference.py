"""R1, R5, R7: two districts that differ only out of a viewer's scope answer that viewer alike, to the last byte.

Random districts, agreements, roles, consents and changes; the whole site is crawled, pages and API, with an approved
model that ranks. What differs between the two is drawn from everything that the viewer may not see.
"""

from __future__ import annotations

import copy
import re
import shutil
import tempfile
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from records.accounts import start_session
from records.database import Database, open_database
from records.schema import TABLES, Category
from records.scope import Role, Scope, Viewer, scope_for
from tests.records.conftest import add_agreement, add_consent, add_organization, snapshot_of
from tests.serving import district
from tests.serving.conftest import SECRET, TestSite, open_site
from tests.serving.crawl import crawl, csrf_of

NOW = datetime(2026, 4, 17, 10, 30)
CONSENTED = (Category.HOUSING, Category.MEAL_ELIGIBILITY, Category.SPECIAL_EDUCATION)
ROLES = (Role.CASEWORKER, Role.COORDINATOR, Role.PARTNER_ADMIN)
WORDS = ("Alpha", "Beta", "Gamma", "Delta")
API = ("/api/v1/me", "/api/v1/students", "/api/v1/students?limit=2&offset=1", "/api/v1/agreements")
PAGES = ("/caseload?q=a", "/caseload?alerts=true", "/caseload?sort=name", "/caseload?page=2", "/students/" + "0" * 20)


@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.generate],
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(data=st.data())
def test_what_is_out_of_scope_changes_no_byte_of_any_answer(approved: Path, data: st.DataObject):  # R1, R5, R7, R20
    seed = data.draw(st.integers(0, 2**32 - 1), label="seed of the district and of the changes")
    role = data.draw(st.sampled_from(ROLES), label="role")
    granted = data.draw(st.lists(st.sampled_from(list(Category)), unique=True, min_size=1), label="granted")
    signed = st.sets(st.sampled_from(CONSENTED), min_size=1)
    consents = data.draw(st.dictionaries(st.sampled_from(district.TUTORED), signed), label="consents")
    rng = np.random.default_rng(seed)
    rows = random_district(rng)
    with tempfile.TemporaryDirectory() as folder:
        homes = [Path(folder) / "before", Path(folder) / "after"]
        shutil.copytree(approved, homes[0])
        database = open_database(f"sqlite:///{homes[0] / 'handrail.db'}")
        viewer = write_agreements(database, role, granted, consents)
        token = start_session(database, viewer, NOW)
        snapshot = snapshot_of(rows, homes[0])
        scope = scope_for(viewer, database, snapshot, NOW, SECRET)
        database.engine.dispose()
        shutil.copytree(homes[0], homes[1])
        snapshot_of(scramble(rows, scope, rng), homes[1])
        before, after = (answers(home, token) for home in homes)
    assert before.keys() == after.keys()
    for path, answer in before.items():
        assert answer == after[path], path


def test_the_model_does_suggest_and_the_answers_do_depend_on_what_is_in_scope(approved: Path, tmp_path: Path):
    shutil.copytree(approved, tmp_path / "home")
    database = open_database(f"sqlite:///{tmp_path / 'home' / 'handrail.db'}")
    granted = [Category.DIRECTORY, Category.ATTENDANCE, Category.GRADES, Category.SERVICES]
    viewer = write_agreements(database, Role.CASEWORKER, granted, {})
    token = start_session(database, viewer, NOW)
    found = []
    for seed in (1, 2):
        snapshot_of(random_district(np.random.default_rng(seed)), tmp_path / "home")
        found.append(answers(tmp_path / "home", token))
    assert any(b"Accept" in content for _, content, _ in found[0].values())
    assert found[0] != found[1]


def write_agreements(database: Database, role: Role, granted: list[Category],
                     consents: dict[str, set[Category]]) -> Viewer:  # fmt: skip
    viewer = add_organization(database, "tutors", *ROLES)[ROLES.index(role)]
    add_organization(database, "pantry", Role.CASEWORKER)
    add_agreement(database, categories=[str(c) for c in granted], supports=["food"],
                  consent_required=[str(c) for c in granted if c in CONSENTED])  # fmt: skip
    for student, categories in consents.items():
        add_consent(database, student, *sorted(categories))
    return replace(viewer, name="Somebody")


def answers(home: Path, token: str) -> dict[str, tuple[int, bytes, dict[str, str]]]:
    """Every answer of the site to this session, by method and path."""
    site: TestSite = open_site(home)
    browser = site.browser()
    browser.cookies.set("handrail", token)
    pages = {f"GET {path}": page for path, page in crawl(browser).items()}
    for path in (*PAGES, *API):
        pages[f"GET {path}"] = browser.get(path)
    for handle in sorted(set(re.findall(r"GET /students/([0-9a-f]{20})", " ".join(pages)))):
        for end in ("", "/alerts", "/suggestions"):
            pages[f"GET /api/v1/students/{handle}{end}"] = browser.get(f"/api/v1/students/{handle}{end}")
        shown = pages.get(f"GET /students/{handle}")
        if shown is not None and "name=\"csrf\"" in shown.text and "/suggestions/" in shown.text:
            path, form = suggestion_form(shown.text)
            pages[f"POST {path}"] = browser.post(path, data=form | {"csrf": csrf_of(shown)})
    site.database.engine.dispose()
    return {path: (page.status_code, page.content, {name: value for name, value in page.headers.items()
                                                    if name not in ("date", "x-request-id")})
            for path, page in pages.items()}  # fmt: skip


def suggestion_form(text: str) -> tuple[str, dict[str, str]]:
    path = re.search(r'action="(/students/[0-9a-f]{20}/suggestions/[a-z_]+)"', text)
    rank, model = re.search(r'name="rank" value="(\d+)"', text), re.search(r'name="model_sha256" value="(\w+)"', text)
    assert path and rank and model
    return path[1], {"action": "accepted", "rank": rank[1], "model_sha256": model[1]}


def random_district(rng: np.random.Generator) -> district.Rows:
    """The small district of the site's tests with random absences, marks and facts, up to a random day."""
    rows = district.rows()
    days = district.school_days()
    rows["attendance_events"] = [
        {"student_id": student, "school_id": "k1", "date": days[place],
         "status": str(rng.choice(["absent_excused", "absent_unexcused", "tardy"]))}
        for student in district.STUDENTS
        for place in sorted({*rng.integers(0, len(days), rng.integers(0, 45)).tolist(),
                             *range(len(days) - int(rng.integers(0, 7)), len(days))})
    ]  # fmt: skip
    for row in rows["course_grades"]:
        row["grade"] = float(rng.integers(45, 99))
    for row in rows["characteristics"]:
        row |= {"unstable_housing": bool(rng.random() < 0.4), "special_education": bool(rng.random() < 0.4),
                "english_learner": bool(rng.random() < 0.4),
                "race_ethnicity": str(rng.choice(["black", "white"]))}  # fmt: skip
    rows["behavior_incidents"] = [
        {"student_id": student, "incident_id": f"i-{student}", "date": days[-int(rng.integers(1, 90))],
         "behavior": "Disruption", "action": "Conversation", "days_removed": float(rng.integers(0, 3))}
        for student in district.STUDENTS if rng.random() < 0.5
    ]  # fmt: skip
    last = days[-int(rng.integers(1, 20))]
    for name in ("attendance_events", "behavior_incidents", "service_sessions"):
        rows[name] = [row for row in rows[name] if row["date"] <= last]
    return rows


def scramble(rows: district.Rows, scope: Scope, rng: np.random.Generator) -> district.Rows:
    """Change, drop and add at random whatever the scope does not show. Who takes part in the viewer's programs stays:
    that is what the scope is made of."""
    changed: district.Rows = copy.deepcopy(rows)
    for name, table in TABLES.items():
        if name not in changed or not table.is_student:
            continue
        kept = []
        for row in changed[name]:
            seen = scope.categories(str(row["student_id"]))
            if table.is_service:
                category = Category.SERVICES_OTHER if row["organization_id"] != "tutors" else Category.SERVICES
                movable = category not in seen and not (name == "service_enrollments" and
                                                        row["organization_id"] == "tutors")  # fmt: skip
                if not movable or rng.random() < 0.5:
                    kept.append(row)
                continue
            hidden = [c for c in table.columns if c.name not in table.key and c.category not in seen]
            facts = {c.category for c in table.columns if c.name != "student_id"}
            if name != "students" and not (facts & seen) and rng.random() < 0.4:
                continue
            for column in hidden:
                row[column.name] = other_value(row.get(column.name), column.values, rng)
            kept.append(row)
        changed[name] = kept
    for student in district.STUDENTS:
        seen = scope.categories(student)
        if Category.BEHAVIOR not in seen:
            changed["behavior_incidents"].append({"student_id": student, "incident_id": f"n-{student}",
                                                  "date": date(2026, 4, 16)})  # fmt: skip
        if Category.SERVICES_OTHER not in seen:
            changed["service_enrollments"].append({"student_id": student, "program_id": "p3", "start_date":
                                                   date(2026, 1, 7), "organization_id": "mentors"})  # fmt: skip
        if Category.ATTENDANCE not in seen:
            changed["attendance_events"].append({"student_id": student, "school_id": "k1", "date": date(2026, 4, 17),
                                                 "status": "partial"})  # fmt: skip
    changed["students"].append({"student_id": "s99", "first_name": "New", "last_name": "Child", "school_id": "k1"})
    return changed


def other_value(value: Any, allowed: tuple[str, ...], rng: np.random.Generator) -> Any:
    if allowed:
        return str(rng.choice(list(allowed)))
    if isinstance(value, bool):
        return bool(rng.random() < 0.5)
    if isinstance(value, float):
        return float(rng.integers(0, 100))
    if isinstance(value, int):
        return int(rng.integers(0, 12))
    if isinstance(value, date):
        return value - timedelta(days=int(rng.integers(0, 60)))
    if isinstance(value, str):
        return str(rng.choice(["k1", "k2"])) if value in ("k1", "k2") else str(rng.choice(list(WORDS)))
    return None
