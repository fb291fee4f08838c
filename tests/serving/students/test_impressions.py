"""Lists that were shown are kept with their chances; a draw is rare, honest and moves nobody in or
out.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from records.access.scope import pipeline_scope
from records.decisions.exploration import (
    NO_EXPLORATION,
    ExplorationError,
    ExplorationPolicy,
    current_exploration,
    exploration_settings,
    set_exploration,
)
from records.decisions.impressions import (
    Impression,
    RankedSupport,
    log_impressions,
    logged_impressions,
)
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import active_staff_member
from records.staff.district_admins import NotADistrictAdmin
from serving.students.suggestion_order import order_suggestions, weekly_draw
from tests.serving.conftest import NOW, STAFF, TestSite
from tests.serving.students.test_decisions import SHA, model, scope_of  # noqa: F401
from training.monitoring.shadow import NO_SUGGESTION, TopSuggestionPair, compare_shadow_lists
from training.ranking.model_file import RankerModel

STUDENTS = [f"s{n:05d}" for n in range(20_000)]
REASON = "To learn whether food or tutoring helps more."
DRAW = weekly_draw(b"secret", NOW.date(), SHA)


def table(benefits: dict[str, float]) -> pd.DataFrame:
    """The same list for every student, best first."""
    ordered = sorted(benefits, key=lambda name: -benefits[name])
    rows = [
        (student, name, rank, benefits[name])
        for student in STUDENTS
        for rank, name in enumerate(ordered, 1)
    ]
    return pd.DataFrame(rows, columns=["student_id", "support", "rank", "benefit"])


def lists(database, home):
    return logged_impressions(
        database, pipeline_scope(Snapshot.current(home), "training", NOW.date())
    )


def test_without_exploration_the_best_stands_first_for_sure():
    shown, drawn = order_suggestions(
        table({"food": 3.0, "tutoring": 2.9, "health": 2.0, "mentoring": 1.5}),
        NO_EXPLORATION,
        DRAW,
        3,
    )
    assert not drawn and set(shown["rank"]) == {1, 2, 3}
    assert (shown["top_propensity"] == (shown["support"] == "food")).all()


def test_what_stands_first_does_so_as_often_as_its_chance_says():
    benefits = {"food": 3.0, "tutoring": 2.9, "health": 2.6, "mentoring": 1.5}
    shown, drawn = order_suggestions(table(benefits), ExplorationPolicy(0.1, 0.5), DRAW, 4)
    assert set(drawn) == set(STUDENTS) and 0.09 < np.mean(list(drawn.values())) < 0.11
    chances = shown.groupby("support")["top_propensity"].agg(["min", "max"])
    assert chances.loc["food"].tolist() == pytest.approx([0.9 + 0.1 / 3] * 2)
    assert (
        chances.loc["tutoring"].tolist()
        == chances.loc["health"].tolist()
        == pytest.approx([0.1 / 3] * 2)
    )
    assert chances.loc["mentoring"].tolist() == [0.0, 0.0]
    first = shown[shown["rank"] == 1]["support"].value_counts(normalize=True)
    for name in ("food", "tutoring", "health"):
        assert first[name] == pytest.approx(chances.loc[name, "max"], abs=0.004)
    assert shown.groupby("student_id")["top_propensity"].sum().to_numpy() == pytest.approx(1.0)
    assert (shown.groupby("student_id")["support"].apply(frozenset) == frozenset(benefits)).all(), (
        "nobody loses one"
    )
    assert (
        shown.groupby("student_id")["rank"]
        .apply(list)
        .map(lambda ranks: ranks == [1, 2, 3, 4])
        .all()
    )


def test_who_is_not_shown_takes_no_part_and_a_draw_holds_for_its_week():
    shown, drawn = order_suggestions(
        table({"food": 3.0, "tutoring": 2.95}), ExplorationPolicy(0.1, 0.5), DRAW, 1
    )
    assert not drawn and (shown["support"] == "food").all() and (shown["top_propensity"] == 1).all()
    again = weekly_draw(b"secret", NOW.date(), SHA)
    assert [again(one) for one in STUDENTS[:50]] == [DRAW(one) for one in STUDENTS[:50]]
    other = weekly_draw(b"other secret", NOW.date(), SHA)
    assert [other(one) for one in STUDENTS[:50]] != [DRAW(one) for one in STUDENTS[:50]]


def test_only_a_district_administrator_turns_it_on_within_bounds_and_every_setting_stays(
    site: TestSite,
):
    officer, caseworker = (
        active_staff_member(site.database, STAFF[who][0])
        for who in ("district_admin", "caseworker")
    )
    with pytest.raises(
        NotADistrictAdmin, match="only they may let the order of suggestions be drawn"
    ):
        set_exploration(site.database, caseworker, ExplorationPolicy(0.05, 0.5), REASON, NOW)
    for asked, message in (
        (ExplorationPolicy(0.2, 0.5), "share is 0.2; it must be from 0 to 0.1"),
        (ExplorationPolicy(0.05, 3.0), "near is 3; it must be above 0 and at most 1"),
        (ExplorationPolicy(0.05, 0.0), "near is 0"),
    ):
        with pytest.raises(ExplorationError, match=message):
            set_exploration(site.database, officer, asked, REASON, NOW)
    with pytest.raises(ExplorationError, match="reason must be a sentence"):
        set_exploration(site.database, officer, ExplorationPolicy(0.05, 0.5), "because", NOW)
    before = len(exploration_settings(site.database))
    set_exploration(site.database, officer, ExplorationPolicy(0.05, 0.5), REASON, NOW)
    assert current_exploration(site.database) == ExplorationPolicy(0.05, 0.5)
    set_exploration(
        site.database, officer, ExplorationPolicy(0.0, 0.5), "It was on for a whole term.", NOW
    )
    assert current_exploration(site.database) == NO_EXPLORATION
    settings = exploration_settings(site.database)[
        : len(exploration_settings(site.database)) - before
    ]
    assert [one.reason for one in settings] == ["It was on for a whole term.", REASON]


def test_a_list_is_kept_once_with_its_chances_and_what_a_challenger_would_show(
    site: TestSite,
    model: RankerModel,  # noqa: F811
):
    champion = RankerModel(model.ranker, {}, "cd" * 32)
    site.app.state.site.approved_models = SimpleNamespace(
        model=lambda now: (champion, ""), challenger=lambda now: model
    )
    browser, handle = site.browser("caseworker"), site.handle("caseworker", "s02")
    before = len(lists(site.database, site.home))
    for path in (
        "/caseload",
        f"/students/{handle}",
        f"/api/v1/students/{handle}/suggestions",
        f"/students/{handle}",
    ):
        assert browser.get(path).status_code == 200
    kept = lists(site.database, site.home)[before:]
    in_scope = scope_of(site, "caseworker").students
    assert {one.student_id for one in kept} <= in_scope and len(kept) == len(
        {one.student_id for one in kept}
    )
    (own,) = [one for one in kept if one.student_id == "s02"]
    assert (own.model_sha256, own.challenger_sha256, own.drawn) == ("cd" * 32, SHA, False)
    (entry,) = own.listed
    assert (entry.support, entry.rank, entry.top_propensity) == ("mentoring", 1, 1.0)
    assert entry.benefit > entry.lower > 0 and own.challenger == ("mentoring",)
    found = compare_shadow_lists(kept)
    assert found.students == len(kept) and found.same_top is None and not found.first_places


def test_a_shadow_tells_numbers_of_ten_or_more_and_nothing_gives_the_rest_back(site: TestSite):
    def shown(number: int, first: str, unseen: tuple[str, ...]) -> Impression:
        listed = (RankedSupport(first, 1, 1.0, 2.0, 1.0),) if first else ()
        return Impression(f"s{number}", "o", NOW.date(), "snap", SHA, listed, challenger=unseen)

    every = [shown(n, "food", ("food",)) for n in range(30)]
    every += [shown(n, "food", ("tutoring", "food")) for n in range(30, 45)]
    found = compare_shadow_lists([*every, *(shown(n, "", ("food",)) for n in range(45, 48))])
    assert (found.students, found.same_top, found.other) == (48, 30, 18)
    assert found.first_places == (TopSuggestionPair("food", "food", 30),)
    assert compare_shadow_lists(every + [shown(n, "", ()) for n in range(45, 57)]).first_places[
        -1
    ] == TopSuggestionPair(NO_SUGGESTION, NO_SUGGESTION, 12)
    assert compare_shadow_lists([*every, shown(0, "food", ("tutoring",))]).same_top == 29, (
        "each student counts once, by the newest"
    )
    three_alike = [shown(n, "mentoring", ("mentoring",)) for n in range(45, 48)]
    apart = [shown(n, "mentoring", ("food",)) for n in range(48, 58)]
    assert compare_shadow_lists([*every, *three_alike, *apart]).same_top is None, (
        "33 less the 30 who are told would be three"
    )
    two_apart = [shown(n, "mentoring", ("food",)) for n in range(58, 60)]
    ten_alike = [
        shown(n, name, (name,)) for n, name in enumerate(["mentoring"] * 5 + ["health"] * 5, 60)
    ]
    found = compare_shadow_lists([*every, *ten_alike, *two_apart])
    assert (found.other, found.same_top) == (12, None), (
        "and the rest of the others must be ten, or none"
    )
    log_impressions(site.database, [], NOW)
