"""What is far beyond plausible silences alerts, until the district has said that it is right."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from records.canonical.schema import Category
from records.checks.confirmations import (
    MARGIN,
    ConfirmationError,
    ConfirmedFigure,
    confirm_figure,
    confirmed_figures,
    load_doubts,
    settling,
)
from records.checks.doubts import SILENCE, Doubt, doubts
from records.checks.plausible_ranges import declared_ranges
from records.checks.quality import SilentSchool
from records.checks.school_figures import (
    LoadFigures,
    SchoolFigures,
    keep_figures,
    kept_figures,
    school_figures,
)
from records.database.engine import Database
from records.loading.coverage import FEWEST_STUDENTS
from records.staff.district_admins import NotADistrictAdmin
from records.staff.viewer import DISTRICT, Role
from tests.records.conftest import add_organization, snapshot_of
from tests.records.loading.test_coverage import DAYS, district

DAY = date(2026, 3, 20)
NOW = datetime(2026, 3, 20, 9)
RANGES = declared_ranges()
OAK = SchoolFigures("oak", "Oak High", 200, 100, 100, DAY, 200, 0.94, 200, 30)
SILENT = SilentSchool("Oak High", date(2026, 3, 3), 12, "oak")
"""A school without attendance since a day."""


def found(school: SchoolFigures, *silent: SilentSchool) -> list[Doubt]:
    return doubts(LoadFigures(DAY, 10, {school.school_id: school}, silent), RANGES)


def keys(school: SchoolFigures) -> list[str]:
    return [doubt.measure for doubt in found(school)]


@pytest.mark.parametrize(
    "school",
    [
        pytest.param(OAK, id="ordinary"),
        pytest.param(replace(OAK, attendance=0.60, chronic=180), id="alternative"),
        pytest.param(replace(OAK, attendance=1.0, chronic=0), id="virtual"),
        pytest.param(replace(OAK, enrolled=25, attended_by=25, judged=25), id="small"),
        pytest.param(
            replace(OAK, marked=0, lowest=None, highest=None, mean_mark=None), id="kindergarten"
        ),
        pytest.param(
            replace(OAK, with_flag={"special_education": 150}, without_flag={}), id="special"
        ),
        pytest.param(replace(OAK, school_days=100, days_known=30), id="late"),
    ],
)
def test_no_kind_of_school_is_silenced_for_what_it_is(school: SchoolFigures):
    assert found(school) == []


def test_a_figure_that_no_school_has_is_doubted_with_its_category():
    [doubt] = found(replace(OAK, attendance=0.38))
    assert (doubt.category, doubt.measure, doubt.value) == (
        Category.ATTENDANCE,
        "attendance",
        0.38,
    )
    assert doubt.words.startswith("At Oak High the average attendance is 38%; 80% to 99% is")


@pytest.mark.parametrize(("highest", "is_doubted"), [(4.0, True), (50.0, True), (52.0, False)])
def test_marks_of_another_scale_are_doubted_once(highest: float, is_doubted: bool):
    school = replace(OAK, marked=200, lowest=1.0, highest=highest, mean_mark=highest / 2)
    assert ("highest_mark" in keys(school)) is is_doubted
    assert not is_doubted or keys(school) == ["highest_mark"]
    assert {doubt.category for doubt in found(school)} == {Category.GRADES}


def test_a_school_that_sends_nothing_is_doubted_unless_its_days_count():
    [doubt] = found(OAK, SILENT)
    assert (doubt.measure, doubt.category) == (SILENCE, Category.ATTENDANCE)
    assert doubt.words.startswith("Oak High has no absences since March 3, 2026")
    assert found(OAK, replace(SILENT, is_unknown=False)) == []


@given(st.integers(0, FEWEST_STUDENTS - 1), st.floats(0, 1), st.floats(0, 100))
def test_a_school_of_fewer_than_twenty_is_never_doubted(
    enrolled: int, attendance: float, mark: float
):
    few = replace(
        OAK,
        enrolled=enrolled,
        attended_by=300,
        attendance=attendance,
        marked=300,
        lowest=mark,
        highest=mark,
        mean_mark=mark,
    )
    assert found(few, SILENT) == []


def confirmed(value: float, measure: str = "attendance", year: int = 2026) -> ConfirmedFigure:
    return ConfirmedFigure("oak", measure, value, year, "admin", NOW, "It is an online school", 1)


@pytest.mark.parametrize(
    ("then", "now", "holds"),
    [
        (0.38, 0.38, True),
        (0.30, 0.39, True),
        (0.38, 0.38 - MARGIN * 0.19 + 0.001, True),
        (0.38, 0.38 - MARGIN * 0.19 - 0.001, False),
        (1.20, 0.38, False),
    ],
)
def test_a_confirmation_holds_while_the_figure_is_about_what_it_was(
    then: float, now: float, holds: bool
):
    [doubt] = found(replace(OAK, attendance=now))
    assert (settling(doubt, [confirmed(then)], RANGES, 2026) is not None) is holds
    assert settling(doubt, [confirmed(then)], RANGES, 2027) is None, "a new school year"
    assert settling(doubt, [confirmed(then, "mean_mark")], RANGES, 2026) is None
    elm = replace(confirmed(then), school_id="elm")
    assert settling(doubt, [elm], RANGES, 2026) is None


def test_a_confirmed_silence_ends_when_the_school_has_sent_something():
    [doubt] = found(OAK, SILENT)
    later = replace(SILENT, days=40)
    again = replace(SILENT, since=date(2026, 4, 7))
    known = [confirmed(doubt.value, SILENCE)]
    assert settling(found(OAK, later)[0], known, RANGES, 2026) is not None
    assert settling(found(OAK, again)[0], known, RANGES, 2026) is None


def test_the_load_keeps_what_is_doubted_and_an_administrator_settles_it(
    database: Database, tmp_path: Path
):
    admin, other = add_organization(database, DISTRICT, Role.DISTRICT_ADMIN, Role.DATA_SCIENTIST)
    most = district({"elm": 300, "oak": 300}, {"elm": dict.fromkeys(DAYS, 190)})
    most["attendance_events"] += district({"oak": 300}, {"oak": dict.fromkeys(DAYS, 15)})[
        "attendance_events"
    ]
    snapshot, after = snapshot_of(most, tmp_path), DAYS[-1] + timedelta(days=1)
    assert load_doubts(tmp_path, database, snapshot).standing == (), "no figures were kept"
    figures = school_figures(snapshot, after)
    keep_figures(tmp_path, snapshot, figures)
    assert kept_figures(tmp_path, snapshot.id) == figures
    before = load_doubts(tmp_path, database, snapshot)
    assert before.silenced == {("elm", Category.ATTENDANCE)}
    with pytest.raises(ConfirmationError, match="oak attendance: there is no such figure"):
        before.find("oak", "attendance")
    doubt = before.find("elm", "attendance")
    with pytest.raises(ConfirmationError, match="the reason has 2 characters; it must say why"):
        confirm_figure(database, admin, doubt, before.school_year, "ok", NOW)
    with pytest.raises(NotADistrictAdmin):
        confirm_figure(database, other, doubt, before.school_year, "It is a night school", NOW)
    assert confirmed_figures(database) == []
    said = confirm_figure(database, admin, doubt, before.school_year, " It is a night school ", NOW)
    assert (said.reason, said.confirmed_by) == ("It is a night school", admin.user_id)
    settled = load_doubts(tmp_path, database, snapshot)
    assert settled.standing == () and settled.confirmed == {said}
    assert confirmed_figures(database) == [said]
