"""Limited places: the plan is the best one over what the viewer's scope suggests, and says who
changes places.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import httpx2
import numpy as np
import pandas as pd
import pytest

from features.alerts import AlertRules
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.decisions.impressions import logged_impressions
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import active_staff_member
from records.staff.sessions import start_session
from records.staff.viewer import Scope
from serving.site.navigation import PLACEMENT_ROLES
from serving.students.caseload import Caseload, RankingInputs, caseload
from tests.random_districts import redraw_out_of_scope
from tests.records.conftest import snapshot_of
from tests.serving.conftest import NOW, STAFF, TestSite, open_site
from tests.serving.html_text import one_line
from tests.serving.placement_district import OWN, planning_rows, train_placement_model
from tests.serving.site.test_html import check_page
from tests.serving.students.test_decisions import scope_of
from tests.serving.trained_model import install_model
from training.allocation.allocation import Allocation, allocate
from training.ranking.model_file import RankerModel

ASK = "/places?places_food=6&places_mentoring=9"
_HANDLE = re.compile(r"/students/([0-9a-f]{20})")


@pytest.fixture(scope="module")
def ranker() -> RankerModel:
    return train_placement_model()


@pytest.fixture(scope="module")
def planning_home(filled_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("planning") / "home"
    shutil.copytree(filled_home, home)
    snapshot_of(planning_rows(), home)
    return home


@pytest.fixture(scope="module")
def planning(
    planning_home: Path, ranker: RankerModel, tmp_path_factory: pytest.TempPathFactory
) -> TestSite:
    """The site with the page's door open for caseworkers, whose scopes hold suggestions."""
    return site_of(planning_home, ranker, tmp_path_factory.mktemp("site") / "home")


@pytest.fixture(scope="module")
def uneven(
    planning_home: Path, ranker: RankerModel, tmp_path_factory: pytest.TempPathFactory
) -> TestSite:
    """The same where the oldest students can be in no mentoring, and nobody has said how many
    places there are.
    """
    rows = planning_rows()
    for row in rows["programs"]:
        row["capacity"] = None
        row["max_grade"] = 8 if row["support"] == "mentoring" else None
    site = site_of(planning_home, ranker, tmp_path_factory.mktemp("uneven") / "home")
    snapshot_of(rows, site.home)
    return site


@pytest.fixture(scope="module")
def scope(planning: TestSite) -> Scope:
    return scope_of(planning, "caseworker")


@pytest.fixture(scope="module")
def advised(planning: TestSite, ranker: RankerModel, scope: Scope) -> Caseload:
    """What the caseworker's scope suggests, worked out beside the site."""
    return caseload(
        ScopedRecords(Snapshot.current(planning.home), scope),
        NOW.date(),
        RankingInputs(ranker),
        AlertRules.declared(),
    )


@pytest.fixture(scope="module")
def benefits(advised: Caseload) -> pd.DataFrame:
    rows = {
        student: {
            one.support: one.benefit
            for one in advised.advice[student].suggestions
            if one.support in OWN
        }
        for student in advised.order
    }
    return pd.DataFrame.from_dict(
        {student: row for student, row in rows.items() if row}, orient="index"
    )


@pytest.fixture(scope="module")
def plan(advised: Caseload, benefits: pd.DataFrame) -> Allocation:
    return allocate(benefits, {"food": 6, "mentoring": 9}, order=advised.order)


def site_of(planning_home: Path, ranker: RankerModel, home: Path) -> TestSite:
    shutil.copytree(planning_home, home)
    site = open_site(home)
    install_model(site, ranker)
    return site


def told(page: httpx2.Response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text))


def rows_of(page: httpx2.Response) -> dict[str, tuple[str, str]]:
    """By handle: what the plan and the order of urgency give, as the list of all has it."""
    found = {}
    for row in re.findall(
        r"<tr><th scope=\"row\"><a href=\"/students/.*?</tr>", one_line(page.text), re.S
    ):
        handle = _HANDLE.search(row)
        cells = re.findall(
            r"data-label=\"(?:This plan|In order of urgency)\">(.*?)</td>", row, re.S
        )
        assert handle is not None and len(cells) == 2
        plan, turn = (
            re.sub(r"<span class=\"quiet\">.*?</span>|<[^>]+>", "", cell).strip() for cell in cells
        )
        found[handle[1]] = (plan.split(" ")[0], turn.split(" ")[0])
    return found


def test_the_page_is_there_for_those_alone_whose_scope_may_hold_suggestions(
    planning_home: Path, ranker: RankerModel, tmp_path: Path
):
    site = site_of(planning_home, ranker, tmp_path / "home")
    nowhere = site.browser("caseworker").get("/nothing/here")
    for who, (_, role, _) in STAFF.items():
        answer = site.browser(who).get(ASK)
        if role in PLACEMENT_ROLES:
            assert answer.status_code == 200 and 'aria-current="page"' in one_line(answer.text), who
        else:
            assert (answer.status_code, answer.content) == (404, nowhere.content), who
        if who == "pantry":
            assert (
                "does not show you suggestions of a support that your own programs offer"
                in told(answer)
            )
            assert "points" not in one_line(answer.text) and "/students/" not in one_line(
                answer.text
            )


def test_the_plan_is_the_best_over_what_the_scope_suggests_beside_the_order_of_urgency(
    planning: TestSite, scope: Scope, benefits: pd.DataFrame, plan: Allocation
):
    assert plan.gain > 0.1 and len(benefits) > 50, "there is something to choose, and a second page"
    page = planning.browser("caseworker").get(ASK)
    shown = rows_of(page) | rows_of(planning.browser("caseworker").get(ASK + "&page=2"))
    names = {"food": "Food", "mentoring": "Mentoring"}
    for column, side in enumerate((plan.best, plan.greedy)):
        given = {place.student: names[place.support] for place in side.given}
        assert {handle: cells[column] for handle, cells in shown.items()} == {
            scope.handle(student): given.get(student, "Waits") for student in benefits.index
        }
    said = told(page)
    assert (
        f"Of {len(benefits)} students to whom one of your supports is suggested, 15 would get a"
        " place." in said
    )
    assert (
        f"The total expected benefit is about {plan.best.total:.1f} points: {plan.gain:.1f} more"
        " than in order of" in said
    )
    assert "You decide; nothing happens automatically." in said


def test_who_would_change_places_stands_on_two_lists(
    planning: TestSite, scope: Scope, plan: Allocation
):
    best, greedy = ({place.student for place in side.given} for side in (plan.best, plan.greedy))
    assert best - greedy and greedy - best
    page = one_line(planning.browser("caseworker").get(ASK).text)
    for heading, students in (
        ("Place by this plan, but not in order of urgency", best - greedy),
        ("Place in order of urgency, but not by this plan", greedy - best),
    ):
        part = page.split(f"<h3>{heading}</h3>")[1].split("</div>")[0]
        assert set(_HANDLE.findall(part)) == {scope.handle(student) for student in students}
    assert "What the plan changes" not in one_line(
        planning.browser("caseworker").get(ASK + "&page=2").text
    )


def test_the_form_begins_with_what_is_free_on_record_and_offers_own_supports_alone(
    planning: TestSite,
):
    page = planning.browser("caseworker").get("/places")
    fields = dict(re.findall(r'name="places_(\w+)" type="number"[^>]* value="(\d*)"', page.text))
    assert fields == {"food": "5", "mentoring": "12", "tutoring": "30"}
    assert "9 places on record; 4 students on your caseload enrolled." in told(page)


def test_what_is_free_is_unknown_until_somebody_says_so(uneven: TestSite):
    page = uneven.browser("caseworker").get("/places")
    assert "The number of places is not on record." in one_line(page.text) and not _HANDLE.search(
        page.text
    )
    assert "enter above how many places you have." in told(page)


def test_every_student_who_is_shown_is_on_the_log_once_and_their_list_is_kept(
    planning: TestSite, scope: Scope
):  # R23
    browser, start = planning.browser("caseworker"), len(planning.log())
    for path in (
        ASK,
        ASK + "&page=2",
        ASK + "&page=9",
        ASK + "&floor=school",
        "/places?places_food=x",
    ):
        before = len(planning.log())
        page = browser.get(path)
        handles = set(_HANDLE.findall(page.text))
        rows = planning.log()[before:]
        assert Counter(scope.handle(row.student_id) for row in rows) == Counter(handles), path
        assert all(
            row.route == "/places" and row.shown_together == len(handles) <= 90 for row in rows
        ), path
        assert (
            bool(handles)
            == ("Do not pass it on" in one_line(page.text))
            == ("page=9" not in path and "=x" not in path)
        ), path
    rows = planning.log()[start:]
    browser.get("/caseload")
    assert {row.categories for row in rows} == {planning.log()[-1].categories}, (
        "as the caseload says it"
    )
    training = pipeline_scope(Snapshot.current(planning.home), "training", NOW.date())
    assert {row.student_id for row in rows} <= {
        one.student_id for one in logged_impressions(planning.database, training)
    }


@pytest.mark.parametrize(
    "number", ["-1", "2.5", "1e3", "ten", "10001", "9" * 400, "٣", "<b>", "' OR 1=1 --"]
)
def test_a_number_that_is_none_is_said_plainly_and_shows_nobody(planning: TestSite, number: str):
    page = planning.browser("caseworker").get(
        "/places", params={"places_food": number, "places_mentoring": "2"}
    )
    assert page.status_code == 422
    assert (
        "Food assistance: enter the number of places as a whole number from 0 to 10,000."
        in told(page)
    )
    assert (
        'aria-invalid="true"' in one_line(page.text)
        and "<b>" not in one_line(page.text)
        and not _HANDLE.search(page.text)
    )
    check_page("/places", page.text)


def test_a_floor_that_is_none_or_a_page_that_is_none_is_no_error_of_ours(planning: TestSite):
    browser = planning.browser("caseworker")
    for end in (
        "&floor=race_ethnicity",
        "&floor=meal_eligible",
        "&page=0",
        "&page=x",
        "&page=99999999",
    ):
        assert browser.get(ASK + end).status_code == 422, end
    assert (
        browser.get(ASK + "&places_housing_help=3&places_nothing=2").content
        == browser.get(ASK).content
    )
    assert "There is no such page." in one_line(browser.get(ASK + "&page=9").text)


@pytest.mark.parametrize(("floor", "column"), [("school", "school_id"), ("grade", "grade_level")])
def test_each_group_gets_its_fair_share(
    planning: TestSite, scope: Scope, benefits: pd.DataFrame, floor: str, column: str
):
    facts = {row["student_id"]: row[column] for row in planning_rows()["students"]}
    bands = ((-1, 2), (3, 5), (6, 8), (9, 12))
    label = {
        student: (
            next(band for band in bands if band[0] <= fact <= band[1]) if floor == "grade" else fact
        )
        for student, fact in facts.items()
    }
    sizes = Counter(label[student] for student in benefits.index)
    browser = planning.browser("caseworker")
    page = browser.get(f"{ASK}&floor={floor}")
    shown = rows_of(page) | rows_of(browser.get(f"{ASK}&floor={floor}&page=2"))
    got = Counter(
        label[student] for student in benefits.index if shown[scope.handle(student)][0] != "Waits"
    )
    assert got.total() == 15 and all(
        got[group] >= int(15 * size / len(benefits)) for group, size in sizes.items()
    )
    assert "Students with a suggestion" in one_line(
        page.text
    ) and "That minimum is not possible" not in one_line(page.text)


def test_a_share_that_cannot_be_kept_is_said_with_what_would_be_possible(uneven: TestSite):
    browser = uneven.browser("caseworker")
    said = told(browser.get("/places?places_mentoring=12&floor=grade"))
    assert re.search(
        r"That minimum is not possible\. Grades 9 to 12: its minimum comes to [2-6] places, and at"
        r" most 0 can go to its students",
        said,
    )
    assert "Half of a fair share is not possible either. The plan below has no minimum." in said
    assert "12 would get a place" in said
    said = told(browser.get("/places?places_mentoring=12&places_food=2&floor=grade"))
    assert (
        "at most 2 can go to its students" in said
        and "Half of a fair share for each is possible" in said
    )
    half = told(browser.get("/places?places_mentoring=12&places_food=2&floor=grade_half"))
    assert "That minimum is not possible" not in half
    least = re.search(r"Grades 9 to 12 \d+ (\d+) (\d+) ", half)
    assert least and 1 <= int(least[1]) <= int(least[2]), (
        "students with a suggestion, at least, by this plan"
    )


def test_without_an_approved_model_the_page_says_what_the_caseload_says(
    planning: TestSite, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        planning.app.state.site,
        "approved_models",
        SimpleNamespace(
            model=lambda now: (None, "The district has not approved any."),
            challenger=lambda now: None,
        ),
    )
    before = len(planning.log())
    page = planning.browser("caseworker").get(ASK)
    assert (
        page.status_code == 200
        and '<p class="note">The district has not approved any.</p>' in one_line(page.text)
    )
    assert not _HANDLE.search(page.text) and len(planning.log()) == before


def test_the_pages_are_whole_html_without_a_script_or_a_claim_of_cause(planning: TestSite):
    browser = planning.browser("caseworker")
    for path in ("/places", ASK, ASK + "&floor=school", ASK + "&floor=grade_half&page=2"):
        page = browser.get(path)
        check_page(path, page.text)
        assert "<script" not in one_line(page.text)
        said = told(page).lower()
        for word in (
            "risk score",
            "because of",
            "causes",
            "caused",
            "will gain",
            "cutoff",
            "loser",
            "deserve",
        ):
            assert word not in said, (path, word)


def test_nothing_out_of_scope_changes_a_byte(
    planning: TestSite, planning_home: Path, ranker: RankerModel, scope: Scope, tmp_path: Path
):  # R1, R20
    changed = site_of(planning_home, ranker, tmp_path / "other")
    token = start_session(
        planning.database, active_staff_member(planning.database, STAFF["caseworker"][0]), NOW
    )
    for site in (planning, changed):
        site.database.engine.dispose()
    shutil.copyfile(planning.home / "handrail.db", changed.home / "handrail.db")
    changes = redraw_out_of_scope(planning_rows(), scope, np.random.default_rng(3))
    assert len(set(changes.made)) > 1_000 and len(scope.students) == 60
    snapshot_of(changes.rows, changed.home)
    for end in (
        "&places_tutoring=3",
        "",
        "&page=2",
        "&floor=school",
        "&floor=grade",
        "&floor=grade_half",
    ):
        answers = []
        for site in (planning, changed):
            browser = site.browser()
            browser.cookies.set("handrail", token)
            answers.append(browser.get(ASK + end))
        assert answers[0].status_code == 200 and _HANDLE.search(answers[0].text), end
        assert (
            answers[0].content == answers[1].content and answers[0].headers == answers[1].headers
        ), end
