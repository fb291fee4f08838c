"""Legal demands are refused without a court or a judge, notice to the family and two people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from records.access.scope import scope_for
from records.canonical.schema import Category
from records.database.engine import Database
from records.database.tables import StaffRow
from records.legal_demands.legal_demands import (
    RELEASE_DAYS,
    Demand,
    DemandAction,
    DemandStatus,
    NoSuchDemand,
    approve_release,
    approved_demand,
    demand,
    demands,
    deny_release,
    events,
    propose_release,
    record_demand,
    record_notice,
    record_release,
    release_barrier,
    release_closes_at,
)
from records.legal_demands.legal_documents import (
    DEMANDABLE_CATEGORIES,
    DOCUMENT_KINDS,
    NOTICE_DAYS,
    LegalDemandError,
    LegalDocument,
)
from records.permissions import legal_holds
from records.permissions.legal_holds import (
    LegalHoldError,
    holds,
    lift_hold,
    place_hold,
)
from records.snapshots.snapshot import Snapshot
from records.staff.district_admins import NotADistrictAdmin
from records.staff.notices import count_unseen, mark_seen, notices
from records.staff.viewer import DISTRICT, Role, Scope, Viewer
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
NOTIFIED = TODAY - timedelta(days=NOTICE_DAYS)
ORDER = LegalDocument(
    "court_order",
    "Juvenile court, case 26-118",
    NOTIFIED,
    True,
    True,
    frozenset({Category.ATTENDANCE}),
    NOTIFIED,
)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot_of(six_student_district.rows(), tmp_path_factory.mktemp("home"))


@pytest.fixture
def admins(database: Database) -> list[Viewer]:
    """Two district administrators, and the tutors' caseworker, who sees s1 and s2."""
    (first,) = add_organization(database, DISTRICT, Role.DISTRICT_ADMIN)
    second = replace(first, user_id="second", login="second@district.example", name="Second")
    with database.session() as session:
        session.add(
            StaffRow(
                user_id=second.user_id,
                login=second.login,
                name=second.name,
                role=second.role,
                organization_id=DISTRICT,
                password_hash="x",
                active=True,
            )
        )
    (caseworker,) = add_organization(database, "tutors", Role.CASEWORKER)
    add_agreement(database)
    return [first, second, caseworker]


def scope_of(database: Database, snapshot: Snapshot, viewer: Viewer) -> Scope:
    return scope_for(viewer, database, snapshot, NOW, SECRET)


@pytest.fixture
def register(database: Database, snapshot: Snapshot, admins: list[Viewer]) -> Callable[..., Demand]:
    def register_demand(document: LegalDocument = ORDER, student: str = "s1") -> Demand:
        return record_demand(
            database,
            scope_of(database, snapshot, admins[0]),
            student,
            document,
            "Brought by hand",
            NOW,
        )

    return register_demand


def history(database: Database, number: int) -> list[tuple[str, str, str]]:
    return [(event.action.value, event.user_id, event.reason) for event in events(database, number)]


def test_a_demand_is_refused_from_the_moment_it_is_recorded(database, admins, register):  # R28
    recorded = register()
    assert recorded.status is DemandStatus.REFUSED
    assert demand(database, recorded.number) == recorded
    assert demands(database) == [recorded]
    assert history(database, recorded.number) == [
        ("recorded", admins[0].user_id, "Brought by hand")
    ]
    for viewer in admins[:2]:
        with pytest.raises(LegalDemandError, match="two district administrators must approve it"):
            approved_demand(database, viewer, recorded.number, NOW)


def test_one_proposes_another_approves_and_it_closes_after_its_days(
    database, admins, register
):  # R28
    first, second, _ = admins
    number = register().number
    propose_release(database, first, number, "Counsel has read it", NOW)
    assert demand(database, number).status is DemandStatus.PROPOSED
    assert "Another administrator must approve it" in notices(database, unseen=True)[0].text
    with pytest.raises(LegalDemandError, match="Another district administrator must approve"):
        approve_release(database, first, number, "I agree with myself", NOW)
    approve_release(database, second, number, "So have I", NOW)
    assert release_closes_at(events(database, number)) == NOW + timedelta(days=RELEASE_DAYS)
    end = NOW + timedelta(days=RELEASE_DAYS)
    assert (
        approved_demand(database, first, number, end - timedelta(seconds=1)).status
        is DemandStatus.APPROVED
    )
    with pytest.raises(LegalDemandError, match="has ended"):
        approved_demand(database, first, number, end)
    record_release(database, second, number, "To the clerk of the court, by hand", "ab" * 32, NOW)
    record_release(database, first, number, "To the clerk again", "cd" * 32, NOW)
    assert [action for action, _, _ in history(database, number)] == [
        "recorded",
        "proposed",
        "approved",
        "released",
        "released",
    ]
    assert (
        history(database, number)[3][2]
        == f"To the clerk of the court, by hand\nSHA-256 {'ab' * 32}"
    )


def test_after_its_days_it_is_proposed_and_approved_again(database, admins, register):  # R28
    first, second, _ = admins
    number = register().number
    propose_release(database, first, number, "Read", NOW)
    approve_release(database, second, number, "Read", NOW)
    with pytest.raises(LegalDemandError, match="already approved"):
        propose_release(database, second, number, "Again", NOW)
    later = NOW + timedelta(days=RELEASE_DAYS)
    propose_release(database, second, number, "The clerk lost it", later)
    with pytest.raises(LegalDemandError, match="Another"):
        approve_release(database, second, number, "Mine", later)
    approve_release(database, first, number, "Fine", later)
    assert approved_demand(database, first, number, later)


def test_either_of_them_denies_and_the_record_stays(database, admins, register):  # R28
    first, second, _ = admins
    number = register().number
    with pytest.raises(LegalDemandError, match="already refused"):
        deny_release(database, second, number, "No", NOW)
    propose_release(database, first, number, "Read", NOW)
    deny_release(database, second, number, "It names another child", NOW)
    with pytest.raises(LegalDemandError, match="No release has been proposed"):
        approve_release(database, second, number, "After all", NOW)
    propose_release(database, first, number, "It was corrected", NOW)
    approve_release(database, second, number, "Yes", NOW)
    deny_release(database, first, number, "The court withdrew it", NOW)
    with pytest.raises(LegalDemandError, match="must approve it first"):
        approved_demand(database, first, number, NOW)
    assert [action for action, _, _ in history(database, number)] == [
        "recorded",
        "proposed",
        "denied",
        "proposed",
        "approved",
        "denied",
    ]


@pytest.mark.parametrize("kind", ["administrative", "no_paper", "parents_lawyer", "other"])
def test_a_document_that_no_judge_stands_behind_is_never_released(
    database, admins, register, kind
):  # R28
    document = replace(ORDER, kind=kind, of_court=False, signed_by_judge=False)
    number = register(document).number
    with pytest.raises(LegalDemandError, match="Nothing can be released for this kind of document"):
        propose_release(database, admins[0], number, "They insist", NOW)
    with pytest.raises(LegalDemandError, match="does not come from a court"):
        register(replace(document, signed_by_judge=True))
    assert [recorded.number for recorded in demands(database)] == [number]


@pytest.mark.parametrize(
    ("kind", "of_court", "signed", "releasable"),
    [
        ("court_order", True, False, True),
        ("court_order", False, True, True),
        ("court_order", False, False, False),
        ("subpoena", True, False, True),
        ("subpoena", False, False, False),
        ("judicial_warrant", True, True, True),
        ("judicial_warrant", True, False, False),
    ],
)
def test_a_court_or_for_a_warrant_a_judge_must_stand_behind_it(
    register, kind, of_court, signed, releasable
):  # R28
    recorded = register(replace(ORDER, kind=kind, of_court=of_court, signed_by_judge=signed))
    barrier = release_barrier(recorded, TODAY)
    assert (barrier == "") == releasable
    assert releasable or "must stand behind this document, and none does" in barrier


def test_every_kind_says_what_it_can_compel():
    assert [kind.name for kind in DOCUMENT_KINDS.values() if kind.needs] == [
        "court_order",
        "subpoena",
        "judicial_warrant",
    ]
    assert all(
        ("can compel" in kind.compels) == bool(kind.needs) for kind in DOCUMENT_KINDS.values()
    )


def test_the_family_has_its_days_to_object(database, admins, register):  # R28, 99.31(a)(9)(ii)
    number = register(replace(ORDER, parent_notified_on=None)).number
    assert "has not been notified" in release_barrier(demand(database, number), TODAY)
    record_notice(database, admins[0], number, NOTIFIED, "", "By letter", NOW)
    notified = demand(database, number)
    assert "may still object" in release_barrier(notified, TODAY - timedelta(days=1))
    assert release_barrier(notified, TODAY) == ""
    assert history(database, number)[-1] == ("notified", admins[0].user_id, "By letter")
    with pytest.raises(LegalDemandError, match="already recorded"):
        record_notice(database, admins[0], number, TODAY, "", "Again", NOW)


def test_a_legal_exception_replaces_notice_and_a_confidential_order_is_never_released_here(
    database, admins, register
):
    number = register(replace(ORDER, parent_notified_on=None)).number
    record_notice(
        database, admins[0], number, None, "parent_is_party", "Order of 2 April, page 1", NOW
    )
    assert release_barrier(demand(database, number), TODAY) == ""
    confidential = register(replace(ORDER, parent_notified_on=None, notice_exception="kept_secret"))
    with pytest.raises(LegalDemandError, match="Families can read the disclosure log"):
        propose_release(database, admins[0], confidential.number, "It is urgent", NOW)


@pytest.mark.parametrize(
    ("notified_on", "exception", "message"),
    [
        (None, "", "either the date"),
        (NOTIFIED, "kept_secret", "either the date"),
        (None, "because", "no exception 'because'"),
        (NOTIFIED - timedelta(days=1), "", "between the date received and today"),
        (TODAY + timedelta(days=1), "", "between the date received and today"),
    ],
)
def test_an_impossible_notice_is_refused(
    database, admins, register, notified_on, exception, message
):
    number = register(replace(ORDER, parent_notified_on=None)).number
    with pytest.raises(LegalDemandError, match=message):
        record_notice(database, admins[0], number, notified_on, exception, "So it was", NOW)
    assert len(events(database, number)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "summons"}, "no kind of document 'summons'"),
        ({"issuer": "  "}, "who issued it"),
        ({"issuer": "x" * 201}, "who issued it"),
        ({"received_on": TODAY + timedelta(days=1)}, "in the future"),
        ({"categories": frozenset()}, "which parts"),
        ({"notice_exception": "kept_secret"}, "either the date"),
        *(
            ({"categories": frozenset({category})}, "cannot include")
            for category in sorted(set(Category) - {*DEMANDABLE_CATEGORIES})
        ),
    ],
)
def test_a_document_that_contradicts_itself_is_not_recorded(database, register, change, message):
    with pytest.raises(LegalDemandError, match=message):
        register(replace(ORDER, **change))
    assert demands(database) == []


def test_meal_eligibility_answers_no_demand():  # 7 CFR 245.6
    assert Category.MEAL_ELIGIBILITY not in DEMANDABLE_CATEGORIES


def test_nobody_but_an_active_district_administrator_does_any_of_it(
    database, admins, snapshot, register
):  # R12, R28
    first, second, caseworker = admins
    number = register().number
    with database.session() as session:
        session.get_one(StaffRow, second.user_id).active = False
    for viewer in (caseworker, second):
        acts: list[Callable[[Viewer], Any]] = [
            lambda who: propose_release(database, who, number, "x", NOW),
            lambda who: approve_release(database, who, number, "x", NOW),
            lambda who: deny_release(database, who, number, "x", NOW),
            lambda who: record_notice(database, who, number, NOTIFIED, "", "x", NOW),
            lambda who: approved_demand(database, who, number, NOW),
            lambda who: record_release(database, who, number, "x", "", NOW),
            lambda who: lift_hold(database, who, 1, "x", NOW),
            lambda who: mark_seen(database, who, 1, NOW),
            lambda who: place_hold(database, scope_of(database, snapshot, who), "s1", "x", NOW),
        ]
        for act in acts:
            with pytest.raises(NotADistrictAdmin):
                act(viewer)
    with pytest.raises(NotADistrictAdmin):
        record_demand(
            database,
            replace(scope_of(database, snapshot, first), viewer=caseworker),
            "s1",
            ORDER,
            "x",
            NOW,
        )
    assert len(events(database, number)) == 1 and holds(database) == []


def test_what_is_not_there_and_what_gives_no_reason_is_refused(
    database, admins, snapshot, register
):
    first = admins[0]
    for act in (propose_release, approve_release, deny_release):
        with pytest.raises(NoSuchDemand, match="no legal demand 77"):
            act(database, first, 77, "x", NOW)
        with pytest.raises(LegalDemandError, match="give a reason"):
            act(database, first, register().number, "  ", NOW)
    with pytest.raises(NoSuchDemand):
        demand(database, 77)
    with pytest.raises(LegalDemandError, match="No student with this ID or code"):
        register(student="nobody")


def test_a_hold_hides_the_student_at_once_and_lifting_brings_back_what_agreements_open(  # R12, R29
    database, admins, snapshot
):
    first, second, caseworker = admins
    district = scope_of(database, snapshot, first)
    placed = place_hold(database, district, "s1", "Lawsuit 26-77", NOW)
    assert legal_holds.in_force(database) == {"s1"}
    assert scope_of(database, snapshot, caseworker).students == {"s2"}
    assert "s1" in scope_of(database, snapshot, second).students, (
        "the district still reads its own records"
    )
    with pytest.raises(LegalHoldError, match="under a legal hold already"):
        place_hold(database, district, "s1", "Again", NOW)
    lift_hold(database, second, placed.number, "Settled", NOW + timedelta(days=3))
    assert legal_holds.in_force(database) == frozenset()
    assert scope_of(database, snapshot, caseworker).students == {"s1", "s2"}
    (hold,) = holds(database)
    assert (hold.placed_by, hold.reason) == (first.user_id, "Lawsuit 26-77")
    assert (hold.lifted_at, hold.lifted_by) == (NOW + timedelta(days=3), second.user_id)
    assert hold.lift_reason == "Settled"
    for number, message in ((placed.number, "lifted before"), (99, "no legal hold 99")):
        with pytest.raises(LegalHoldError, match=message):
            lift_hold(database, first, number, "Again", NOW)
    for student, reason, message in (("nobody", "x", "no student"), ("s2", " ", "say why")):
        with pytest.raises(LegalHoldError, match=message):
            place_hold(database, district, student, reason, NOW)


def test_a_notice_is_seen_once_and_keeps_who_saw_it_first(database, admins, register):
    first, second, _ = admins
    propose_release(database, first, register().number, "Read", NOW)
    (notice,) = notices(database, unseen=True)
    mark_seen(database, second, notice.number, NOW)
    mark_seen(database, first, notice.number, NOW + timedelta(hours=1))
    mark_seen(database, first, 99, NOW)
    (seen,) = notices(database)
    assert (seen.seen_by, seen.seen_at) == (second.user_id, NOW)
    assert notices(database, unseen=True) == [] and count_unseen(database) == 0


def test_the_register_only_grows(database, admins, register):  # R28
    """Whatever is done, each event that was there stays as it was."""
    first, second, _ = admins
    number = register().number
    seen = events(database, number)
    for step in range(3):
        propose_release(database, first, number, f"Round {step}", NOW)
        deny_release(database, second, number, f"Not in round {step}", NOW)
        now = events(database, number)
        assert now[: len(seen)] == seen and len(now) == len(seen) + 2
        seen = now
    assert {event.action for event in seen} == {
        DemandAction.RECORDED,
        DemandAction.PROPOSED,
        DemandAction.DENIED,
    }
    assert demand(database, number).paper.received_on == date(2026, 4, 3)
