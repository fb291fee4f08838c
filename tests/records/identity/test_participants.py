"""Links, the review queue and people's decisions about participants, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.connectors.partner_files.participant_list import MAX_LENGTHS, read_participants
from records.connectors.protocol import SourceRefused
from records.database.engine import Database
from records.identity.linkage import link_participants
from records.identity.participants import (
    NAME_RETENTION,
    Candidate,
    IdentityError,
    Match,
    MatchStatus,
    Participant,
    ParticipantLink,
    automatically_linked,
    confirmed_non_students,
    linkage_roster,
    linked_students,
    manually_decided,
    purge_non_student_names,
    record_matches,
    reopen_participant,
    resolve_participant,
    review_queue,
    status_counts,
    unmatched,
)
from tests.records.conftest import TODAY, add_organization, snapshot_of

NOW = datetime(2026, 4, 17, 9, 0)
LATER = NOW + timedelta(days=3)
LINKED, UNSURE, NONE, CHANGED = MatchStatus
ANA = Participant("tutors", "p1", "Ana", "Ruiz", date(2013, 4, 5), 6, "Harbor School")
BO = Participant("tutors", "p2", "Bo", "Lin", date(2012, 10, 3), 7, "Hill School")
CY = Participant("tutors", "p3", "Cy", "Odum", None, None, "")


def match_of(participant: Participant, status: MatchStatus, *students: str) -> Match:
    """A match of that status, with these students offered, the likeliest first."""
    best = 0.99 if status is LINKED else 0.6
    candidates = tuple(
        Candidate(student, best / 2**place) for place, student in enumerate(students)
    )
    return Match(participant, status, students[0] if status is LINKED else None, candidates)


MATCHES = [match_of(ANA, LINKED, "s1"), match_of(BO, UNSURE, "s2", "s3"), match_of(CY, NONE)]


@pytest.fixture
def store(database: Database) -> Database:
    """A database in which one participant is linked, one waits and one has no candidate."""
    add_organization(database, "tutors")
    add_organization(database, "pantry")
    record_matches(database, "tutors", MATCHES, NOW)
    return database


def everything(database: Database) -> list[ParticipantLink]:
    return [*review_queue(database), *manually_decided(database), *automatically_linked(database)]


def link_of(database: Database, participant_id: str) -> ParticipantLink:
    [link] = [
        link for link in everything(database) if link.participant.participant_id == participant_id
    ]
    return link


def test_sure_links_count_and_unsure_ones_wait(store: Database):
    assert (
        linked_students(store, "tutors") == {"p1": "s1"} and linked_students(store, "pantry") == {}
    )
    [waiting] = review_queue(store)
    assert waiting == ParticipantLink(BO, UNSURE, None, MATCHES[1].candidates, "", NOW)
    assert waiting.offered == ("s2", "s3")
    assert [link.participant for link in automatically_linked(store)] == [ANA]
    assert manually_decided(store) == []
    assert status_counts(store) == {"tutors": {LINKED: 1, UNSURE: 1, NONE: 1}}


def test_equal_matches_a_second_time_change_nothing(store: Database):
    resolve_participant(store, "tutors", "p2", "s3", "u1", NOW)
    before = everything(store)
    counts = record_matches(store, "tutors", MATCHES, LATER)
    assert everything(store) == before
    assert counts == {LINKED: 2, NONE: 1}


def test_a_later_comparison_replaces_an_earlier_one(store: Database):
    record_matches(
        store, "tutors", [match_of(ANA, UNSURE, "s1", "s9"), match_of(CY, LINKED, "s4")], LATER
    )
    assert linked_students(store, "tutors") == {"p3": "s4"}
    assert (link_of(store, "p1").status, link_of(store, "p1").decided_at) == (UNSURE, LATER)
    assert link_of(store, "p1").offered == ("s1", "s9")


def test_a_persons_decision_links_and_stays_whatever_a_later_run_finds(store: Database):
    resolve_participant(store, "tutors", "p2", "s3", "u1", NOW)
    assert linked_students(store, "tutors") == {"p1": "s1", "p2": "s3"}
    moved = replace(BO, grade_level=8, school="Harbor School", last_name="LIN")
    for match in (
        match_of(moved, LINKED, "s2"),
        match_of(moved, UNSURE, "s2"),
        match_of(moved, NONE),
    ):
        record_matches(store, "tutors", [match], LATER)
        assert link_of(store, "p2") == ParticipantLink(
            moved, LINKED, "s3", match.candidates, "u1", NOW
        )


def test_none_of_these_is_a_decision_too(store: Database):
    resolve_participant(store, "tutors", "p2", None, "u1", NOW)
    record_matches(store, "tutors", [match_of(BO, LINKED, "s2")], LATER)
    assert linked_students(store, "tutors") == {"p1": "s1"}
    assert (link_of(store, "p2").status, link_of(store, "p2").decided_by) == (NONE, "u1")


@pytest.mark.parametrize(
    "change",
    [
        {"birth_date": date(2014, 1, 1)},
        {"birth_date": None},
        {"last_name": "Lopez"},
        {"first_name": "Beau"},
    ],
)
@pytest.mark.parametrize("decision", ["s3", None])
def test_a_participant_who_became_somebody_else_goes_back_to_the_queue(
    store: Database, change: dict[str, object], decision: str | None
):
    resolve_participant(store, "tutors", "p2", decision, "u1", NOW)
    other = replace(BO, **change)  # type: ignore[arg-type]
    for match in (match_of(other, LINKED, "s2"), match_of(other, NONE)):
        assert record_matches(store, "tutors", [match], LATER) == {CHANGED: 1}
        assert linked_students(store, "tutors") == {"p1": "s1"}
        assert link_of(store, "p2") == ParticipantLink(
            other, CHANGED, decision, match.candidates, "u1", NOW
        )
        assert decision is None or decision in link_of(store, "p2").offered
    resolve_participant(store, "tutors", "p2", decision, "u2", LATER)
    assert (link_of(store, "p2").student_id, link_of(store, "p2").decided_by) == (decision, "u2")


def test_a_corrected_spelling_keeps_a_decision_that_the_comparison_confirms(
    store: Database,
):
    resolve_participant(store, "tutors", "p2", "s3", "u1", NOW)
    corrected = replace(BO, last_name="Linn")
    record_matches(store, "tutors", [match_of(corrected, LINKED, "s3")], LATER)
    assert link_of(store, "p2") == ParticipantLink(
        corrected, LINKED, "s3", (Candidate("s3", 0.99),), "u1", NOW
    )


def test_an_undone_link_waits_for_a_person_whatever_a_later_run_finds(store: Database):
    resolve_participant(store, "tutors", "p2", "s3", "u1", NOW)
    for participant_id in ("p1", "p2"):
        reopen_participant(store, "tutors", participant_id, "u2", LATER)
    assert linked_students(store, "tutors") == {}
    record_matches(store, "tutors", [MATCHES[0], match_of(BO, LINKED, "s2")], LATER)
    assert linked_students(store, "tutors") == {}
    queue = review_queue(store)
    assert [(link.participant, link.status, link.decided_by) for link in queue] == [
        (ANA, UNSURE, "u2"),
        (BO, UNSURE, "u2"),
    ]
    resolve_participant(store, "tutors", "p1", "s1", "u1", LATER)
    assert linked_students(store, "tutors") == {"p1": "s1"}


def test_a_decision_that_was_not_on_offer_is_refused_and_changes_nothing(store: Database):
    before = everything(store)
    for participant_id, student, message in (
        ("p9", "s2", "no such participant"),
        ("p1", "s1", "already resolved this participant"),
        ("p3", "s2", "not one of those offered"),
        ("p2", "s9", "not one of those offered"),
    ):
        with pytest.raises(IdentityError, match=message):
            resolve_participant(store, "tutors", participant_id, student, "u1", LATER)
    with pytest.raises(IdentityError, match="no such participant"):
        resolve_participant(store, "pantry", "p2", "s2", "u1", LATER)
    for participant_id in ("p2", "p3"):
        with pytest.raises(IdentityError, match="nothing to undo"):
            reopen_participant(store, "tutors", participant_id, "u1", LATER)
    with pytest.raises(IdentityError, match="no organization 'nobody'"):
        record_matches(store, "nobody", [], NOW)
    assert everything(store) == before


def test_two_participants_of_one_partner_who_claim_a_student_in_two_files_both_wait(
    store: Database,
):
    rival = replace(ANA, participant_id="p4", first_name="Anna")
    for _ in range(2):
        assert record_matches(store, "tutors", [match_of(rival, LINKED, "s1")], LATER) == {
            UNSURE: 1
        }
        assert linked_students(store, "tutors") == {}
        assert [link.participant.participant_id for link in review_queue(store)] == [
            "p1",
            "p2",
            "p4",
        ]
    resolve_participant(store, "tutors", "p1", "s1", "u1", LATER)
    record_matches(store, "tutors", [MATCHES[0], match_of(rival, LINKED, "s1")], LATER)
    assert (
        linked_students(store, "tutors") == {"p1": "s1"} and link_of(store, "p4").status is UNSURE
    )


def test_one_child_listed_twice_with_equal_facts_is_linked_twice(store: Database):
    record_matches(
        store, "tutors", [match_of(replace(ANA, participant_id="p4"), LINKED, "s1")], LATER
    )
    assert linked_students(store, "tutors") == {"p1": "s1", "p4": "s1"}


def test_partners_do_not_get_in_each_others_way(store: Database):
    record_matches(
        store,
        "pantry",
        [match_of(replace(ANA, organization_id="pantry", first_name="Anna"), LINKED, "s1")],
        LATER,
    )
    assert linked_students(store, "tutors") == {"p1": "s1"} and linked_students(
        store, "pantry"
    ) == {"p1": "s1"}


def test_from_the_districts_records_to_a_link(store: Database, tmp_path: Path):
    snapshot = snapshot_of(
        {
            "schools": [{"school_id": "k1", "name": "Harbor School"}],
            "students": [
                {
                    "student_id": "s1",
                    "first_name": "Ana",
                    "last_name": "Ruiz",
                    "birth_date": date(2013, 4, 5),
                    "grade_level": 6,
                    "school_id": "k1",
                },
                {"student_id": "s2", "first_name": "Bo", "school_id": "k7"},
            ],
        },
        tmp_path / "home",
    )
    students = linkage_roster(ScopedRecords(snapshot, pipeline_scope(snapshot, "features", TODAY)))
    assert students["school"].tolist() == ["Harbor School", "k7"]
    record_matches(
        store, "pantry", link_participants([replace(ANA, organization_id="pantry")], students), NOW
    )
    assert linked_students(store, "pantry") == {"p1": "s1"}


HEADER = "participant_id,first_name,last_name,birth_date,grade,school\n"


def test_every_line_of_a_participants_file_is_accounted_for(tmp_path: Path):  # R35, R38
    file = tmp_path / "participants.csv"
    file.write_text(
        HEADER.replace("school", "school,religion")
        + "p1,Ana,Ruiz,2013-04-05,6,Harbor School,Methodist\n"
        "p2,Bo,,,K,,\n"
        "p1,Ana,Ruiz,2013-04-05,6,Harbor School,\n"
        "p1,Ann,Ruiz,2013-04-05,6,Harbor School,\n"
        "p3,Cy,Odum,17 April 2013,6,Harbor School,\n"
        "p4,Di,Poe,2013-04-05,sixth,Harbor School,\n"
        "p5,Ed,Quo,2013-04-05,99,Harbor School,\n"
        "p6,,Ray,2013-04-05,6,Harbor School,\n"
        'p7,"Flo,Sim,2013-04-05,6,Harbor School,\n'
        "p8,Gus,078-05-1120,2013-04-05,6,Harbor School,\n"
        f"p9,{'H' * (MAX_LENGTHS['first_name'] + 1)},Tam,,,,\n"
        "\n"
    )
    read = read_participants(file, "tutors")
    assert read.participants == [ANA, Participant("tutors", "p2", "Bo", "", None, 0, "")]
    assert [(row.line, row.column, row.reason) for row in read.bad] == [
        (5, "participant_id", "line 2 has the same participant_id and other facts"),
        (6, "birth_date", "birth_date must be a day such as 2013-04-17, or empty"),
        (7, "grade", "grade must be PK, K or a number up to 13, or empty"),
        (8, "grade", "grade must be PK, K or a number up to 13, or empty"),
        (9, "first_name", "first_name is empty, and a row needs it"),
        (10, None, "a quotation mark is opened and not closed on the same line"),
        (11, "last_name", "last_name holds a number shaped like a social security number"),
        (12, "first_name", "first_name is longer than 200 characters"),
    ]
    assert (read.read, read.repeated, read.ignored) == (12, 1, {"empty line": 1})
    assert read.dropped == {"religion": "religion"} and "Methodist" not in str(read)


def test_a_file_without_its_header_is_refused_without_repeating_the_child_on_its_first_line(
    tmp_path: Path,
):  # R25
    file = tmp_path / "participants.csv"
    for text in (
        "p1,Quillfeather,Ruiz,2013-04-05,6,Harbor School\n",
        "",
        HEADER.replace("grade", "school"),
    ):
        file.write_text(text)
        with pytest.raises(
            SourceRefused, match=r"participants\.csv, line 1: the header must name each of"
        ) as refused:
            read_participants(file, "tutors")
        assert "Quillfeather" not in str(refused.value) and refused.value.__suppress_context__


def test_an_unmatched_participant_may_be_no_student_or_one_who_was_looked_up(store: Database):
    assert [link.participant for link in unmatched(store)] == [CY]
    assert confirmed_non_students(store, "tutors") == frozenset()
    resolve_participant(store, "tutors", "p3", None, "u1", NOW)
    assert (
        unmatched(store) == []
        and confirmed_non_students(store, "tutors") == {"p3"}
        and confirmed_non_students(store, "pantry") == frozenset()
    )
    reopen_participant(store, "tutors", "p3", "u1", NOW)
    with pytest.raises(IdentityError, match="not one of those offered"):
        resolve_participant(store, "tutors", "p3", "s9", "u1", NOW)
    resolve_participant(store, "tutors", "p3", "s9", "u1", NOW, looked_up="s9")
    assert linked_students(store, "tutors") == {"p1": "s1", "p3": "s9"}


def test_the_name_of_a_non_student_is_purged_in_time_and_the_question_does_not_come_back(
    store: Database,
):  # R32
    resolve_participant(store, "tutors", "p2", None, "u1", NOW)
    assert purge_non_student_names(store, NOW + NAME_RETENTION) == 0
    assert purge_non_student_names(store, NOW + NAME_RETENTION + timedelta(seconds=1)) == 1
    assert link_of(store, "p2").participant == Participant("tutors", "p2", "", "", None, None, "")
    record_matches(store, "tutors", MATCHES, LATER)
    record_matches(store, "tutors", [match_of(BO, LINKED, "s2")], LATER)
    assert link_of(store, "p2").participant.first_name == "" and review_queue(store) == []
    assert confirmed_non_students(store, "tutors") == {"p2"}
    assert purge_non_student_names(store, NOW + 2 * NAME_RETENTION) == 0
    assert link_of(store, "p1").participant == ANA
    assert unmatched(store)[0].participant == CY


def test_a_purged_non_student_goes_back_to_the_queue_when_a_student_surely_fits(
    store: Database,
):
    resolve_participant(store, "tutors", "p2", None, "u1", NOW)
    purge_non_student_names(store, NOW + 2 * NAME_RETENTION)
    record_matches(store, "tutors", [match_of(BO, UNSURE, "s7")], LATER)
    assert review_queue(store) == []
    record_matches(store, "tutors", [match_of(BO, LINKED, "s7")], LATER)
    [again] = review_queue(store)
    assert (again.participant, again.status, again.offered) == (BO, CHANGED, ("s7",))
    assert linked_students(store, "tutors") == {"p1": "s1"}
