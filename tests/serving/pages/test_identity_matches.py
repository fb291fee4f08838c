"""Who is who: only the district's administrators see the students to choose from, and what they say
is kept.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, timedelta

import httpx2
import pytest

from records.identity.participants import (
    NAME_RETENTION,
    Candidate,
    Match,
    MatchStatus,
    Participant,
    linked_students,
    manually_decided,
    purge_non_student_names,
    record_matches,
    review_queue,
)
from tests.serving import district
from tests.serving.conftest import NOW, STAFF, TestSite
from tests.serving.crawl import Page, crawl, csrf_of
from tests.serving.html_text import one_line

BORN = date(2013, 7, 21)
SURE = Participant("tutors", "T-1", "Given02", "Lastname02", BORN, 3, "Hill School")
UNSURE = Participant("tutors", "T-2", "Thistlewood", "Lastname03", BORN, 4, "Harbor School")
STRANGER = Participant("tutors", "T/3 &", "Xiomara", "Okonkwo", date(2009, 2, 3), 12, "")
MATCHES = [
    Match(SURE, MatchStatus.LINKED, "s03", (Candidate("s03", 0.999),)),
    Match(UNSURE, MatchStatus.UNSURE, None, (Candidate("s04", 0.625),)),
    Match(STRANGER, MatchStatus.NONE, None, ()),
]


@pytest.fixture
def matched(site: TestSite) -> TestSite:
    """The site after a partner's list was compared: one linked, one waiting, one not found."""
    record_matches(site.database, "tutors", MATCHES, NOW)
    return site


def say(
    browser: httpx2.Client, choice: str, participant: str = "T-2", **changes: str
) -> httpx2.Response:
    form = {
        "csrf": csrf_of(browser.get("/agreements")),
        "organization": "tutors",
        "participant": participant,
    }
    return browser.post("/matches", data=form | {"choice": choice} | changes)


def take_back(
    browser: httpx2.Client, participant: str, show: str, **changes: str
) -> httpx2.Response:
    form = {
        "csrf": csrf_of(browser.get("/agreements")),
        "organization": "tutors",
        "participant": participant,
    }
    return browser.post("/matches/undo", data=form | {"show": show} | changes)


def test_the_page_shows_the_participant_beside_the_students_with_how_alike_each_fact_is(
    matched: TestSite,
):
    page = one_line(matched.browser("district_admin").get("/matches").text)
    assert "1 participant waits for district staff" in page
    assert (
        "Thistlewood Lastname03, participant T-2 of Tutors" in page
        and "As Tutors reported it" in page
    )
    row = re.sub(r"<[^>]+>", " ", page[page.index("Given03 Lastname03") :].split("</tr>")[0])
    for words in (
        "First name: different name. Last name: the same.",
        "July 21, 2013",
        "Grade 4",
        "Harbor School",
    ):
        assert words in row, words
    assert row.count("the same") == 3
    assert "None of these" in page and "0." not in page.split("<main")[1].split("</main>")[0]
    assert not [one for one in ("Given02", "Xiomara") if one in page]


def test_whoever_is_shown_is_written_down_first_and_stamped(matched: TestSite):  # R23, R27
    browser = matched.browser("district_admin")
    offered = {student for one in review_queue(matched.database) for student in one.offered}
    before = len(matched.log())
    page = one_line(browser.get("/matches").text)
    looks = matched.log()[before:]
    assert {one.student_id for one in looks} == offered == {"s04"}
    assert {(one.route, one.categories) for one in looks} == {
        ("/matches", frozenset({"directory"}))
    }
    assert "Shown to Staff district_admin" in page
    browser.get("/matches?show=linked")
    assert matched.log()[-1].student_id == "s03"
    logged = len(matched.log())
    assert (
        "Shown to" not in one_line(browser.get("/matches?show=decided").text)
        and len(matched.log()) == logged
    )


@pytest.mark.parametrize("who", sorted(set(STAFF) - {"district_admin"}))
def test_nobody_but_the_districts_administrators_finds_the_queue_or_a_way_to_answer(
    matched: TestSite, who: str
):  # R2
    browser = matched.browser(who)
    handle = matched.handle("district_admin", "s04")
    for response in (
        browser.get("/matches"),
        browser.get("/matches?show=linked"),
        say(browser, handle),
        say(browser, "none"),
        take_back(browser, "T-1", "linked"),
    ):
        assert response.status_code == 404
    for path, response in crawl(browser).items():
        assert "/matches" not in one_line(response.text) and "Thistlewood" not in one_line(
            response.text
        ), path
    assert (
        linked_students(matched.database, "tutors") == {"T-1": "s03"}
        and manually_decided(matched.database) == []
    )


def test_a_choice_links_the_participant_and_keeps_who_said_so_and_when(matched: TestSite):
    browser = matched.browser("district_admin")
    response = say(browser, matched.handle("district_admin", "s04"))
    assert (response.status_code, response.headers["location"]) == (303, "/matches")
    assert linked_students(matched.database, "tutors") == {"T-1": "s03", "T-2": "s04"}
    assert "Nobody is on this list." in one_line(browser.get("/matches").text)
    page = one_line(browser.get("/matches?show=decided").text)
    assert (
        "Staff district_admin" in page
        and "April 17, 2026, 10:30 AM" in page
        and "Given03 Lastname03" in page
    )
    [kept] = manually_decided(matched.database)
    assert kept.decided_at == NOW and kept.decided_by


def test_none_of_these_leaves_the_participant_unlinked_and_off_the_queue(matched: TestSite):
    browser = matched.browser("district_admin")
    assert say(browser, "none").status_code == 303
    assert (
        linked_students(matched.database, "tutors") == {"T-1": "s03"}
        and review_queue(matched.database) == []
    )
    assert "Not a student of this district" in one_line(browser.get("/matches?show=decided").text)


@pytest.mark.parametrize(("participant", "show"), [("T-1", "linked"), ("T-2", "decided")])
def test_what_was_said_or_linked_can_be_taken_back(matched: TestSite, participant: str, show: str):
    browser = matched.browser("district_admin")
    say(browser, matched.handle("district_admin", "s04"))
    matched.clock[0] = NOW + timedelta(minutes=5)
    response = take_back(browser, participant, show)
    assert (response.status_code, response.headers["location"]) == (303, f"/matches?show={show}")
    assert participant not in linked_students(matched.database, "tutors")
    record_matches(matched.database, "tutors", MATCHES, matched.clock[0])
    assert participant not in linked_students(matched.database, "tutors")
    page = one_line(browser.get("/matches").text)
    assert f"participant {participant} of Tutors" in page
    assert "Staff district_admin undid the earlier answer on April 17, 2026." in page


def test_a_changed_participant_comes_back_saying_so_with_the_earlier_answer_marked(
    matched: TestSite,
):
    browser = matched.browser("district_admin")
    say(browser, matched.handle("district_admin", "s04"))
    other = Participant("tutors", "T-2", "Wren", "Sparrow", BORN, 4, "Harbor School")
    record_matches(matched.database, "tutors", [Match(other, MatchStatus.NONE, None, ())], NOW)
    page = one_line(browser.get("/matches").text)
    assert "decided on April 17, 2026 which student this is." in page
    assert "Since then Tutors has changed the name or the birth date" in page
    assert "The earlier answer" in page and "Given03 Lastname03" in page
    assert linked_students(matched.database, "tutors") == {"T-1": "s03"}
    assert say(browser, "none").status_code == 303


def test_a_late_or_foreign_answer_changes_nothing_and_is_told_plainly(
    matched: TestSite,
):  # R21, R46
    browser, before = matched.browser("district_admin"), review_queue(matched.database)
    handle = matched.handle("district_admin", "s04")
    other = matched.handle("district_admin", "s09")
    refused = say(browser, other)
    assert refused.status_code == 409
    assert (
        "That student is not one of those offered for this participant. Nothing was changed."
        in one_line(refused.text)
    )
    assert say(browser, "s04").status_code == 404
    assert say(browser, matched.handle("caseworker", "s04")).status_code == 404
    assert say(browser, handle, participant="T-9").status_code == 409
    foreign = csrf_of(matched.browser("district_admin").get("/agreements"))
    assert say(browser, handle, csrf=foreign).status_code == 403
    for change in ({"decided_by": "me"}, {"participant": "x" * 81}, {"choice": ""}):
        response = say(browser, **({"choice": handle} | change))
        assert response.status_code in (404, 422), change
    assert take_back(browser, "T-1", "everything").status_code == 422
    assert take_back(browser, "T-2", "decided").status_code == 409
    assert review_queue(matched.database) == before
    say(browser, handle)
    late = say(browser, "none")
    assert (
        late.status_code == 409
        and "Someone else has already resolved this participant." in one_line(late.text)
    )
    assert linked_students(matched.database, "tutors") == {"T-1": "s03", "T-2": "s04"}


def look_up(
    browser: httpx2.Client, number: str, participant: str = "T-2", show: str = "waiting"
) -> httpx2.Response:
    form = {
        "csrf": csrf_of(browser.get("/agreements")),
        "organization": "tutors",
        "participant": participant,
    }
    return browser.post("/matches/look-up", data=form | {"number": number, "show": show})


def test_a_student_can_be_looked_up_by_number_who_is_shown_written_down_and_then_chosen(
    matched: TestSite,
):  # R23
    browser, handle = matched.browser("district_admin"), matched.handle("district_admin", "s09")
    before = len(matched.log())
    found = look_up(browser, " s09 ")
    assert (
        found.status_code == 200
        and "Given08 Lastname08" in one_line(found.text)
        and "Looked up by ID" in one_line(found.text)
    )
    assert Page(found.text).problems == []
    assert {(one.student_id, one.route) for one in matched.log()[before:]} == {
        ("s04", "/matches/look-up"),
        ("s09", "/matches/look-up"),
    }
    assert [one.participant.participant_id for one in review_queue(matched.database)] == ["T-2"], (
        "looking decides nothing"
    )
    assert say(browser, handle).status_code == 409, "only who was looked up may be chosen"
    assert say(browser, handle, looked_up=handle).status_code == 303
    assert linked_students(matched.database, "tutors") == {"T-1": "s03", "T-2": "s09"}
    [kept] = manually_decided(matched.database)
    assert kept.decided_by and kept.decided_at == NOW


def test_a_number_of_nobody_is_told_plainly_and_names_nobody(matched: TestSite):
    browser = matched.browser("district_admin")
    for number in ("s99", "Given08", ""):
        refused = look_up(browser, number)
        assert refused.status_code in (409, 422) and "Given08" not in refused.text.replace(
            f'"{number}"', ""
        )
    assert (
        "No student in the district has this ID. Nothing was changed."
        in look_up(browser, "s99").text
    )
    assert look_up(browser, "s09", participant="T-9").status_code == 409
    for who in sorted(set(STAFF) - {"district_admin"}):
        assert look_up(matched.browser(who), "s09").status_code == 404


def test_a_participant_whom_nobody_is_like_can_be_looked_up_or_said_to_be_no_student(
    matched: TestSite,
):
    browser, handle = matched.browser("district_admin"), matched.handle("district_admin", "s09")
    page = one_line(browser.get("/matches?show=unfound").text)
    assert (
        "Xiomara Okonkwo, participant T/3 &amp; of Tutors" in page
        and "Not a student of this district" in page
    )
    assert Page(page).problems == []
    assert "Given08 Lastname08" in look_up(browser, "s09", "T/3 &", "unfound").text
    answer = say(browser, handle, "T/3 &", looked_up=handle, show="unfound")
    assert (answer.status_code, answer.headers["location"]) == (303, "/matches?show=unfound")
    assert take_back(browser, "T/3 &", "decided").status_code == 303
    assert say(browser, "none", "T/3 &").status_code == 303
    assert "Nobody is on this list." in one_line(browser.get("/matches?show=unfound").text)


def test_the_name_of_somebody_who_is_no_student_is_deleted_and_the_page_says_so(matched: TestSite):
    browser = matched.browser("district_admin")
    say(browser, "none")
    assert (
        purge_non_student_names(matched.database, NOW + NAME_RETENTION + timedelta(minutes=1)) == 1
    )
    page = one_line(browser.get("/matches?show=decided").text)
    assert "Name deleted 30 days after the answer" in page and "Thistlewood" not in page


def test_a_student_who_has_left_the_records_is_not_named(matched: TestSite):
    record_matches(matched.database, "tutors", [Match(SURE, MatchStatus.LINKED, "gone", ())], NOW)
    page = one_line(matched.browser("district_admin").get("/matches?show=linked").text)
    assert "A student who is no longer in the district" in page and "records</td>" in page


def test_each_form_can_be_read_and_worked_without_seeing(matched: TestSite):
    for path in ("/matches", "/matches?show=linked"):
        page = Page(one_line(matched.browser("district_admin").get(path).text))
        assert page.problems == [] and page.open == []
        fields = [field for field in page.all("input") if field.get("type") != "hidden"]
        labelled = {label["for"] for label in page.all("label")}
        assert {field["id"] for field in fields} == labelled
        assert len(page.all("fieldset")) == len(page.all("legend"))


def test_a_long_queue_is_read_a_page_at_a_time(site: TestSite):  # R31
    record_matches(
        site.database,
        "tutors",
        [
            Match(
                replace(UNSURE, participant_id=f"T-{n:03d}"),
                MatchStatus.UNSURE,
                None,
                tuple(
                    Candidate(f"s{place:02d}", 0.3) for place in (n % 4 + 2, n % 4 + 3, n % 4 + 4)
                ),
            )
            for n in range(45)
        ],
        NOW,
    )
    browser = site.browser("district_admin")
    first, second = (
        one_line(browser.get("/matches").text),
        one_line(browser.get("/matches?page=2").text),
    )
    third = one_line(browser.get("/matches?page=3").text)
    assert [page.count("<fieldset") for page in (first, second, third)] == [20, 20, 5]
    assert "45 participants wait" in third and "Showing 41 to 45 of 45." in third
    assert "There is no such page." in one_line(browser.get("/matches?page=99").text)
    assert district.CANARY not in first + second + third
