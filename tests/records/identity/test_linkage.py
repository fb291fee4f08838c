"""Linking participants to students on lists whose truth is known."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import date
from difflib import SequenceMatcher
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest

from records.identity.linkage import (
    COMPARISONS,
    MAX_CANDIDATES,
    NAME_ORDERS,
    describe_similarity,
    link_participants,
)
from records.identity.participants import Match, MatchStatus, Participant
from tests.records.synthetic_participants import (
    ORGANIZATION,
    Child,
    LinkageWorld,
    exact_match_links,
    make_world,
)

SEEDS = (11, 12, 13, 14)
COLUMNS = ["student_id", "first_name", "last_name", "birth_date", "grade_level", "school"]


@pytest.fixture(scope="module")
def worlds() -> dict[int, tuple[LinkageWorld, list[Match]]]:
    """Four lists of 600 participants and 4,000 students each, with their matches."""
    generated = {seed: make_world(seed, students=4000, participants=600) for seed in SEEDS}
    return {
        seed: (world, link_participants(world.participants, world.students))
        for seed, world in generated.items()
    }


def linked(matches: list[Match]) -> dict[str, str]:
    return {
        match.participant.participant_id: match.student_id
        for match in matches
        if match.status is MatchStatus.LINKED and match.student_id is not None
    }


def precision_and_recall(world: LinkageWorld, links: dict[str, str]) -> tuple[float, float]:
    right = sum(world.truth[participant] == student for participant, student in links.items())
    return right / len(links), right / sum(student is not None for student in world.truth.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_links_are_right_and_few_are_missed(
    worlds: dict[int, tuple[LinkageWorld, list[Match]]], seed: int
):
    world, matches = worlds[seed]
    precision, recall = precision_and_recall(world, linked(matches))
    assert precision >= 0.995 and recall >= 0.9, (precision, recall)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_plain_look_up_would_miss_half_so_the_lists_are_not_easy(
    worlds: dict[int, tuple[LinkageWorld, list[Match]]], seed: int
):
    world, _ = worlds[seed]
    precision, recall = precision_and_recall(world, exact_match_links(world))
    assert precision >= 0.99 and recall < 0.55, (precision, recall)
    assert sum(student is None for student in world.truth.values()) >= 60
    assert len(set(world.damage.values())) == 13


@pytest.mark.parametrize("seed", SEEDS)
def test_whoever_is_not_linked_has_the_right_student_among_the_few_offered(
    worlds: dict[int, tuple[LinkageWorld, list[Match]]], seed: int
):
    world, matches = worlds[seed]
    for match in matches:
        student = world.truth[match.participant.participant_id]
        if match.status is not MatchStatus.LINKED and student is not None:
            candidates = [candidate.student_id for candidate in match.candidates]
            assert student in candidates, match.status
        assert len(match.candidates) <= MAX_CANDIDATES
        assert (match.status is MatchStatus.LINKED) == (match.student_id is not None)


def test_twins_are_never_mistaken_for_each_other(
    worlds: dict[int, tuple[LinkageWorld, list[Match]]],
):
    """Everybody with a twin on the roster, as is and with a letter left out of the first name."""
    for world, _ in worlds.values():
        twins = twins_of(world)
        assert len(twins) > 60
        listed = as_participants(twins)
        slips = [
            replace(twin, first_name=twin.first_name[:2] + twin.first_name[3:]) for twin in listed
        ]
        exact, slipped = (
            linked(link_participants(people, world.students)) for people in (listed, slips)
        )
        assert all(
            student == participant
            for links in (exact, slipped)
            for participant, student in links.items()
        )
        assert len(exact) > len(listed) // 3


def test_a_twin_who_is_no_student_is_not_linked_to_the_one_who_is(
    worlds: dict[int, tuple[LinkageWorld, list[Match]]],
):
    for world, _ in worlds.values():
        twins = twins_of(world)
        away = (
            twins.groupby(["last_name", "birth_date", "school"]).filter(names_far_apart).iloc[::2]
        )
        assert len(away) > 15
        here = world.students[~world.students["student_id"].isin(away["student_id"])]
        assert linked(link_participants(as_participants(away), here)) == {}


def twins_of(world: LinkageWorld) -> pd.DataFrame:
    return world.students.groupby(["last_name", "birth_date", "school"]).filter(
        lambda group: len(group) == 2
    )


def names_far_apart(pair: pd.DataFrame) -> bool:
    return SequenceMatcher(None, *pair["first_name"].str.casefold()).ratio() < 0.5


def as_participants(students: pd.DataFrame) -> list[Participant]:
    """The students as a partner who makes no mistake would list them."""
    return [
        Participant(
            ORGANIZATION,
            row.student_id,
            row.first_name,
            row.last_name,
            row.birth_date,
            row.grade_level,
            row.school,
        )
        for row in students.itertuples()
    ]


JAYDEN = Child("Jayden", "O'Neil", date(2012, 4, 17), 7, "Hill Middle School")
ROSTER = [
    ("s1", Child("María José", "García-López", date(2013, 4, 5), 6, "Lincoln Elementary School")),
    ("s2", Child("Robert", "Smith", date(2012, 10, 3), 7, "Hill Middle School")),
    ("s3", JAYDEN),
    ("s4", replace(JAYDEN, first_name="Jaylen")),
    ("s5", Child("Anh Thư", "Nguyễn", date(2014, 1, 30), 5, "Lincoln Elementary School")),
    ("s6", Child("Destiny", "Okafor", date(2014, 12, 9), 5, "Lincoln Elementary School")),
]


@pytest.fixture(scope="module")
def roster() -> pd.DataFrame:
    """Six children among a thousand others."""
    others = make_world(5, students=1000, participants=10).students
    few = pd.DataFrame(
        [(student, *vars(child).values()) for student, child in ROSTER], columns=COLUMNS
    )
    return pd.concat([others.assign(student_id="o" + others["student_id"]), few], ignore_index=True)


def participant(
    first: str,
    last: str,
    born: date | None,
    grade: int | None = None,
    school: str = "",
    participant_id: str = "p1",
) -> Participant:
    return Participant(ORGANIZATION, participant_id, first, last, born, grade, school)


@pytest.mark.parametrize(
    ("listed", "student"),
    [
        (participant("MARIA JOSE", "GARCIA LOPEZ", date(2013, 4, 5)), "s1"),
        (participant("Maria", "Garcia", date(2013, 4, 5), school="Lincoln Elem."), "s1"),
        (participant("maria josé", "lópez", date(2013, 4, 5), 6), "s1"),
        (participant("Garcia-Lopez", "Maria Jose", date(2013, 4, 5)), "s1"),
        (
            participant("María José", "García-López", date(2013, 5, 4), 6, "Lincoln Elementary"),
            "s1",
        ),
        (participant("Bob", "Smith", date(2012, 10, 3), 7, "Hill MS"), "s2"),
        (participant("Robbert", "Smith", date(2012, 10, 3), 6, "Hill Middle"), "s2"),
        (participant("Robert", "Smith Jr.", date(2012, 10, 3)), "s2"),
        (participant("Anh Thu", "Nguyen", date(2014, 1, 30)), "s5"),
        (participant("Destiny", "Okafor", None, 5, "Lincoln Elementary School"), "s6"),
        (participant("Destiny", "Okafer", date(2014, 12, 8), 5, "Lincoln Elementary School"), "s6"),
    ],
    ids=lambda value: (
        value if isinstance(value, str) else " ".join((value.first_name, value.last_name))
    ),
)
def test_a_child_written_differently_by_a_partner_is_still_linked(
    roster: pd.DataFrame, listed: Participant, student: str
):
    [match] = link_participants([listed], roster)
    assert (match.status, match.student_id) == (MatchStatus.LINKED, student)


@pytest.mark.parametrize(
    "listed",
    [
        participant("Jaden", "O'Neil", date(2012, 4, 17), 7, "Hill Middle School"),
        participant("Jay", "O'Neil", date(2012, 4, 17), 7, "Hill Middle School"),
        participant("Jayden", "O'Neil", date(2012, 4, 17), 7, "Hill Middle School"),
        participant("Jalyn", "Oneil", date(2012, 4, 17), 7, "Hill Middle School"),
    ],
    ids=lambda listed: listed.first_name,
)
def test_twins_whose_names_are_a_letter_apart_are_left_to_a_person(
    roster: pd.DataFrame, listed: Participant
):
    [match] = link_participants([listed], roster)
    assert match.status is MatchStatus.UNSURE
    assert {"s3", "s4"} <= {candidate.student_id for candidate in match.candidates}


def test_a_brother_or_a_namesake_of_a_student_is_not_linked(roster: pd.DataFrame):
    for listed in (
        participant("Thomas", "O'Neil", date(2012, 4, 17), 7, "Hill Middle School"),
        participant("Robert", "Smith", date(2015, 2, 20), 4, "Hill Middle School"),
        participant("Destiny", "Okafor", date(2009, 7, 2), None, "Lincoln Elementary School"),
        participant("Destiny", "Okafor", None, 5, ""),
    ):
        [match] = link_participants([listed], roster)
        assert match.status is not MatchStatus.LINKED, listed


def test_a_participant_who_fits_two_students_is_offered_both(roster: pd.DataFrame):
    again = roster[roster["student_id"] == "s2"].assign(student_id="s2-again")
    [match] = link_participants(
        [participant("Robert", "Smith", date(2012, 10, 3), 7, "Hill Middle School")],
        pd.concat([roster, again], ignore_index=True),
    )
    assert (match.status, match.student_id) == (MatchStatus.UNSURE, None)
    assert [candidate.student_id for candidate in match.candidates] == ["s2", "s2-again"]
    assert match.candidates[0].probability == pytest.approx(match.candidates[1].probability)


def test_two_participants_of_one_partner_do_not_share_a_student_unless_their_rows_are_the_same(
    roster: pd.DataFrame,
):
    robert = participant("Robert", "Smith", date(2012, 10, 3), 7, "Hill Middle School")
    bob = replace(robert, participant_id="p2", first_name="Bob")
    assert [match.status for match in link_participants([robert, bob], roster)] == [
        MatchStatus.UNSURE,
        MatchStatus.UNSURE,
    ]
    repeated = replace(robert, participant_id="p2")
    assert linked(link_participants([robert, repeated], roster)) == {"p1": "s2", "p2": "s2"}
    elsewhere = replace(bob, organization_id="pantry")
    assert linked(link_participants([robert, elsewhere], roster)) == {"p1": "s2", "p2": "s2"}


def test_a_match_does_not_depend_on_the_order_of_either_list(
    worlds: dict[int, tuple[LinkageWorld, list[Match]]],
):
    world, matches = worlds[SEEDS[0]]
    shuffled = world.students.sample(frac=1, random_state=1)
    again = link_participants(world.participants[::-1], shuffled)[::-1]
    assert [(match.status, match.student_id) for match in again] == [
        (match.status, match.student_id) for match in matches
    ]


def test_a_roster_without_birth_dates_grades_or_schools_links_nobody_by_name_alone():
    bare = pd.DataFrame(
        [("s1", "Xiomara", "Quillfeather", None, None, None), ("s2", None, None, None, None, None)],
        columns=COLUMNS,
    )
    [match] = link_participants([participant("Xiomara", "Quillfeather", None)], bare)
    assert match.status is MatchStatus.UNSURE
    assert link_participants([], bare) == []
    [nobody] = link_participants([participant("Xiomara", "Quillfeather", None)], bare.head(0))
    assert (nobody.status, nobody.candidates) == (MatchStatus.NONE, ())


def test_the_shares_of_each_fact_sum_to_one_and_a_level_covers_everything_else():
    for name, levels in COMPARISONS.items():
        missing, *rest = levels
        assert (missing.m, missing.u) == (1.0, 1.0), name
        assert rest[-1].sql_condition == "ELSE" and not rest[-1].agrees, name
        assert sum(level.m for level in rest) == pytest.approx(1.0, abs=0.01), name
        assert sum(level.u for level in rest) == pytest.approx(1.0, abs=0.01), name
        assert all(level.label != other.label for level, other in combinations(rest, 2)), name
    assert sum(NAME_ORDERS.values()) == pytest.approx(1.0)


def test_how_alike_two_records_are_is_described_in_labels(roster: pd.DataFrame):
    listed = participant("Bob", "Smyth", date(2012, 3, 10), 7, "Hill MS")
    swapped = participant("Nguyen", "Anh Thu", None, 4)
    assert describe_similarity([(listed, "s2"), (swapped, "s5")], roster) == [
        {
            "first": "a nickname, or one of several names",
            "last": "differs by a letter or two",
            "birth": "day and month swapped",
            "grade": "",
            "school": "the same",
        },
        {
            "first": "the same, first and last name swapped",
            "last": "the same, first and last name swapped",
            "birth": "nothing to compare",
            "grade": "one grade apart",
            "school": "nothing to compare",
        },
    ]
    assert describe_similarity([], roster) == []


def test_linking_is_silent_and_leaves_no_file(
    roster: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
):  # R25
    monkeypatch.chdir(tmp_path)
    people = [
        participant("Quillfeather", "Thistlewood", date(2012, 10, 3), 7, "Hill Middle School"),
        participant("Robert", "Smith", date(2012, 10, 3), 7, "Hill Middle School", "p2"),
    ]
    with caplog.at_level(logging.NOTSET), caplog.at_level(1, logger="splink"):
        matches = link_participants(people, roster)
        describe_similarity([(people[1], "s2")], roster)
    assert linked(matches) == {"p2": "s2"}
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    log = caplog.text.casefold()
    assert not [
        name for name in ("quillfeather", "thistlewood", "robert", "2012-10-03") if name in log
    ]
