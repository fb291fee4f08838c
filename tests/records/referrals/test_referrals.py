"""Referrals: made, moved by the right side for a reason, and a ground to see the student."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from records.access.scope import scope_for
from records.canonical.schema import Category
from records.database.engine import Database
from records.database.tables import OptOutRow
from records.permissions.agreements import revoke_agreement
from records.permissions.consents import SignedConsent, add_consent, revoke_consent
from records.referrals.referrals import (
    ANSWER_WITHIN,
    NoSuchReferral,
    Referral,
    ReferralError,
    move_referral,
    propose_referral,
    referral,
    referrals_for,
)
from records.referrals.states import ENDED, REASONS, VISIBLE, State
from records.snapshots.snapshot import Snapshot
from records.staff.viewer import DISTRICT, NotInScope, Role, Scope, Viewer
from tests.records import six_student_district
from tests.records.conftest import (
    SECRET,
    TODAY,
    add_agreement,
    add_organization,
    at_noon,
    snapshot_of,
)

NOW = at_noon(TODAY)
GRANTED = {Category.DIRECTORY, Category.ATTENDANCE, Category.SERVICES}


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot_of(six_student_district.rows(), tmp_path_factory.mktemp("home"))


@dataclass
class Town:
    """A district, tutors with an agreement for p1, and a pantry that asks each family for p2."""

    database: Database
    snapshot: Snapshot
    people: dict[str, Viewer]

    def scope(self, who: str, now: datetime = NOW) -> Scope:
        return scope_for(self.people[who], self.database, self.snapshot, now, SECRET)

    def sees(self, who: str, student: str = "s5", now: datetime = NOW) -> set[Category]:
        return set(self.scope(who, now).categories(student))

    def propose(
        self, who: str = "admin", student: str = "s5", to: str = "tutors", **changes: object
    ) -> Referral:
        options: dict[str, object] = {"role": Role.CASEWORKER} | changes
        return propose_referral(
            self.database,
            self.scope(who),
            student,
            program_id="p1" if to == "tutors" else "p2",
            organization_id=to,
            now=NOW,
            **options,  # type: ignore[arg-type]
        )

    def move(self, number: int, state: State, who: str = "admin", **options: object) -> Referral:
        now = options.pop("now", NOW)
        return move_referral(
            self.database,
            self.people[who],
            number,
            state,
            now,  # type: ignore[arg-type]
            **options,  # type: ignore[arg-type]
        )

    def consent(self, student: str = "s5", to: str = "pantry", *categories: Category) -> int:
        signed = SignedConsent(
            student,
            to,
            frozenset(categories or GRANTED),
            "A place at the pantry",
            "A parent",
            TODAY,
            date(2026, 7, 31),
        )
        return add_consent(self.database, self.scope("admin"), signed, NOW).number


@pytest.fixture
def town(database: Database, snapshot: Snapshot) -> Town:
    people = {
        name: viewer
        for organization, names in {
            "tutors": {"tutor": Role.CASEWORKER, "coordinator": Role.COORDINATOR},
            "pantry": {"pantry": Role.CASEWORKER},
            "shelter": {"shelter": Role.CASEWORKER},
            DISTRICT: {"admin": Role.DISTRICT_ADMIN, "scientist": Role.DATA_SCIENTIST},
        }.items()
        for name, viewer in zip(
            names, add_organization(database, organization, *names.values()), strict=True
        )
    }
    add_agreement(database)
    add_agreement(
        database,
        agreement_id="a2",
        organization_id="pantry",
        legal_basis="consent",
        programs=["p2"],
        supports=["food"],
    )
    return Town(database, snapshot, people)


def test_a_referral_shows_the_student_from_the_day_it_is_sent_to_its_end(town: Town):
    number = town.propose().number
    assert town.sees("tutor") == set(), "a proposal tells the receiver nothing"
    assert referrals_for(town.database, town.people["tutor"]) == []
    town.move(number, State.SENT)
    assert town.sees("tutor") == GRANTED
    [grant] = town.scope("tutor").grants["s5"]
    assert grant.purpose == f"Referral {number}: Tutoring after school"
    assert (grant.agreement_id, grant.legal_basis) == ("a1", "school_official")
    assert town.sees("pantry") == set()
    for state in (State.ACCEPTED, State.STARTED):
        town.move(number, state, "tutor")
        assert town.sees("tutor") == GRANTED
    town.move(number, State.FINISHED, "tutor")
    assert town.sees("tutor") == set()
    assert "s1" in town.scope("tutor").students, "who is enrolled stays"


@pytest.mark.parametrize("state", sorted(ENDED - {State.FINISHED}))
def test_a_referral_that_ended_another_way_shows_nothing_more(town: Town, state: State):
    number = town.propose().number
    town.move(number, State.SENT)
    if state is State.STOPPED:
        town.move(number, State.ACCEPTED, "tutor")
    who = "admin" if state is State.TAKEN_BACK else "tutor"
    ended = town.move(number, state, who, reason=REASONS[state][0])
    assert ended.is_ended and ended.reason == REASONS[state][0]
    assert town.sees("tutor") == set()


def test_the_role_that_it_names_is_the_most_that_anybody_sees(town: Town):
    number = town.propose(role=Role.COORDINATOR).number
    town.move(number, State.SENT)
    assert town.sees("tutor") == town.sees("coordinator") == GRANTED - {Category.ATTENDANCE}
    assert town.scope("tutor").supports("s5") == ()


def test_nothing_is_shared_before_the_family_said_yes_where_the_law_asks_for_it(town: Town):
    number = town.propose(to="pantry").number
    with pytest.raises(ReferralError, match="a2 asks for the family's consent"):
        town.move(number, State.SENT)
    town.move(number, State.FAMILY_ASKED)
    with pytest.raises(ReferralError, match="must be on record first"):
        town.move(number, State.FAMILY_AGREED)
    of_another_child = town.consent("s6")
    to_another_partner = town.consent("s5", "tutors")
    for consent in (of_another_child, to_another_partner, 99):
        with pytest.raises(ReferralError, match="must be on record first"):
            town.move(number, State.FAMILY_AGREED, consent=consent)
    consent = town.consent("s5", "pantry", Category.DIRECTORY)
    agreed = town.move(number, State.FAMILY_AGREED, consent=consent)
    assert agreed.consent == consent and town.sees("pantry") == set()
    town.move(number, State.SENT)
    assert town.sees("pantry") == {Category.DIRECTORY}, "no more than the family signed"


def test_a_consent_taken_back_closes_the_record_at_the_next_request(town: Town):
    number = town.propose().number
    consent = town.consent("s5", "tutors")
    town.move(number, State.FAMILY_ASKED)
    town.move(number, State.FAMILY_AGREED, consent=consent)
    town.move(number, State.SENT)
    assert town.sees("tutor") == GRANTED
    revoke_consent(town.database, town.people["admin"], consent, by="A parent", on=TODAY, now=NOW)
    assert town.sees("tutor") == set(), "although this agreement asks for no consent"


def test_a_consent_taken_back_before_it_is_sent_stops_the_sending(town: Town):
    number = town.propose(to="pantry").number
    consent = town.consent()
    town.move(number, State.FAMILY_ASKED)
    town.move(number, State.FAMILY_AGREED, consent=consent)
    revoke_consent(town.database, town.people["admin"], consent, by="A parent", on=TODAY, now=NOW)
    with pytest.raises(ReferralError, match="in force today"):
        town.move(number, State.SENT)


@pytest.mark.parametrize("how", ["opt-out", "revoked agreement"])
def test_what_closes_a_record_closes_it_to_a_referral_too(town: Town, how: str):
    number = town.propose().number
    town.move(number, State.SENT)
    assert town.sees("tutor") == GRANTED
    if how == "opt-out":
        with town.database.session() as session:
            session.add(OptOutRow(student_id="s5", since=TODAY, ended=None))
    else:
        revoke_agreement(town.database, "a1", NOW)
    assert town.sees("tutor") == set()


def test_what_nobody_answers_is_closed_after_thirty_days(town: Town):
    number = town.propose().number
    town.move(number, State.SENT)
    last = NOW + ANSWER_WITHIN
    assert town.sees("tutor", now=last) == GRANTED
    assert town.sees("tutor", now=last + timedelta(days=1)) == set()
    town.move(number, State.ACCEPTED, "tutor", now=last)
    assert town.sees("tutor", now=last + timedelta(days=1)) == GRANTED


def test_a_referral_needs_an_agreement_that_covers_the_program(town: Town):
    with pytest.raises(ReferralError, match="No agreement in force with shelter covers"):
        town.propose(to="shelter")
    number = town.propose().number
    revoke_agreement(town.database, "a1", NOW)
    with pytest.raises(ReferralError, match="covers the program p1 any more"):
        town.move(number, State.SENT)


def test_a_student_has_one_open_referral_to_a_program(town: Town):
    number = town.propose().number
    with pytest.raises(ReferralError, match="already has a referral"):
        town.propose()
    town.move(number, State.TAKEN_BACK, reason="made_by_mistake")
    assert town.propose().number != number


def test_who_may_propose_and_send(town: Town):
    with pytest.raises(NotInScope):
        town.propose("tutor", "s5", to="pantry")
    with pytest.raises(ReferralError, match="another organization than one's own"):
        town.propose("tutor", "s1", to="tutors")
    with pytest.raises(ReferralError, match="Only a caseworker or the district"):
        town.propose("coordinator", "s1", to="pantry")
    number = town.propose("tutor", "s2", to="pantry").number
    with pytest.raises(NoSuchReferral):
        town.move(number, State.FAMILY_ASKED, "pantry")
    assert town.move(number, State.FAMILY_ASKED, "tutor").state is State.FAMILY_ASKED
    consent = town.consent("s2")
    with pytest.raises(ReferralError, match="Only the district"):
        town.move(number, State.FAMILY_AGREED, "tutor", consent=consent)
    town.move(number, State.FAMILY_AGREED, consent=consent)
    with pytest.raises(ReferralError, match="Only the district"):
        town.move(number, State.SENT, "tutor")
    town.move(number, State.SENT)
    with pytest.raises(ReferralError, match="Only the organization that was asked"):
        town.move(number, State.ACCEPTED)
    town.move(number, State.ACCEPTED, "pantry")


def test_others_do_not_learn_that_there_is_a_referral(town: Town):
    number = town.propose().number
    town.move(number, State.SENT)
    assert [one.number for one in referrals_for(town.database, town.people["tutor"])] == [number]
    for who in ("pantry", "shelter", "scientist"):
        assert referrals_for(town.database, town.people[who]) == []
        with pytest.raises(NoSuchReferral, match=f"There is no referral {number}"):
            referral(town.database, town.people[who], number)
        with pytest.raises(NoSuchReferral):
            town.move(number, State.ACCEPTED, who)


def test_a_step_that_there_is_not_and_a_reason_that_is_not_listed_are_refused(town: Town):
    number = town.propose().number
    with pytest.raises(ReferralError, match="is proposed; it cannot become accepted"):
        town.move(number, State.ACCEPTED, "admin")
    town.move(number, State.SENT)
    for reason in ("", "his father is in prison"):
        with pytest.raises(ReferralError, match="choose a reason: no place, not eligible"):
            town.move(number, State.DECLINED, "tutor", reason=reason)
    with pytest.raises(ReferralError, match="has no reason"):
        town.move(number, State.ACCEPTED, "tutor", reason="no_place")
    assert referral(town.database, town.people["tutor"], number).state is State.SENT


def test_every_step_is_kept_with_who_when_and_how_long(town: Town):
    number = town.propose().number
    town.move(number, State.SENT, now=NOW + timedelta(days=2))
    town.move(number, State.DECLINED, "tutor", reason="no_place", now=NOW + timedelta(days=5))
    kept = referral(town.database, town.people["admin"], number)
    assert [(step.state, step.user_id, step.reason) for step in kept.steps] == [
        (State.PROPOSED, "district-district_admin", ""),
        (State.SENT, "district-district_admin", ""),
        (State.DECLINED, "tutors-caseworker", "no_place"),
    ]
    assert kept.durations(NOW + timedelta(days=99)) == {
        State.PROPOSED: timedelta(days=2),
        State.SENT: timedelta(days=3),
    }
    assert kept.since == NOW + timedelta(days=5)


def test_no_state_but_those_declared_shows_anything(town: Town):
    """Every path through the states, one referral after another: shown exactly where declared."""
    walk: list[tuple[State, str, str]] = [
        (State.FAMILY_ASKED, "admin", ""),
        (State.FAMILY_AGREED, "admin", ""),
        (State.SENT, "admin", ""),
        (State.ACCEPTED, "tutor", ""),
        (State.STARTED, "tutor", ""),
        (State.STOPPED, "tutor", "did_not_come"),
    ]
    number, consent = town.propose().number, town.consent("s5", "tutors")
    for state, who, reason in walk:
        given = consent if state is State.FAMILY_AGREED else None
        town.move(number, state, who, reason=reason, consent=given)
        assert bool(town.sees("tutor")) == (state in VISIBLE), state


def test_a_student_who_left_the_records_is_not_shown(town: Town, tmp_path: Path):
    number = town.propose().number
    town.move(number, State.SENT)
    rows = six_student_district.rows()
    for name in rows:
        rows[name] = [row for row in rows[name] if row.get("student_id") != "s5"]
    town.snapshot = snapshot_of(rows, tmp_path / "without")
    assert town.sees("tutor") == set()
