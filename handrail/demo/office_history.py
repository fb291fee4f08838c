"""What the demo's office did before the demo's date: consents, demands, emergencies, views.

Each thing is done by the function that a page or a command uses, as the person and at the moment
given, in the order of time. The students are the first of a partner's list, so that the same
district has the same story.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from handrail.demo.district import DEMO_TODAY
from handrail.settings import Settings
from records.access.scope import scope_for
from records.canonical.schema import Category
from records.database.engine import Database
from records.decisions.program_costs import replace_program_costs
from records.destruction.backups import Backup, add_backup, mark_backup_destroyed
from records.destruction.destruction import destroy_student
from records.disclosure_log.disclosures import record_disclosures
from records.identity.participants import resolve_participant, review_queue
from records.legal_demands.legal_demands import propose_release, record_demand, record_notice
from records.legal_demands.legal_documents import LegalDocument
from records.permissions.consents import add_consents, consents, revoke_consent
from records.permissions.emergencies import emergencies, end_emergency, open_emergency
from records.permissions.legal_holds import place_hold
from records.permissions.opt_outs import add_opt_out
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import active_staff_member
from records.staff.notices import mark_seen, notices
from records.staff.viewer import Scope, Viewer

ADMIN_LOGIN = "admin@district.example"
COUNSEL_LOGIN = "counsel@district.example"
TUTOR = "caseworker@brightpath.example"
MENTOR = "caseworker@northstar.example"
HOUSING = "caseworker@keystone.example"
PANTRY = "coordinator@lakepantry.example"
CLINIC = "caseworker@cityclinic.example"
FAMILY = "Parent or guardian"

RECORD_VIEWS = (
    (TUTOR, 0, datetime(2026, 4, 7, 15, 12)),
    (MENTOR, 1, datetime(2026, 4, 8, 13, 40)),
    (TUTOR, 0, datetime(2026, 4, 9, 15, 55)),
    (PANTRY, 0, datetime(2026, 4, 10, 16, 30)),
    (TUTOR, 1, datetime(2026, 4, 14, 15, 20)),
)
"""Who opened which student of their list, and when: a log that begins on the day itself would tell
nothing."""


def simulate_office_history(settings: Settings, database: Database, consents_file: Path) -> None:
    """Do all that was done before the demo's date, and early on it.

    Args:
        signed: the file of consents.
    """
    office = _Office(settings, database)
    office.record_consents(consents_file)
    office.record_demands()
    office.open_fire_emergency()
    office.open_records()
    office.destroy()
    office.propose_release()
    office.identify_participant()


def record_program_costs(settings: Settings, database: Database, costs: Path) -> None:
    """Record what some programs cost, as stated at the start of the school year."""
    at = datetime(2025, 9, 2, 14, 30)
    programs = (
        Snapshot.current(settings.home).table("programs")["program_id"].to_pyarrow().to_pylist()
    )
    replace_program_costs(database, active_staff_member(database, ADMIN_LOGIN), costs, programs, at)


def open_todays_emergency(settings: Settings, database: Database, now: datetime) -> None:
    """Open a record to the school's clinic for the coming hours, unless one is open now."""
    if any(emergency.is_open(now) for emergency in emergencies(database)):
        return
    office = _Office(settings, database)
    open_emergency(
        database,
        office.scope(ADMIN_LOGIN, now),
        office.student_at(PANTRY, now, 2, but_not_of=CLINIC),
        categories={Category.DIRECTORY, Category.ATTENDANCE, Category.SERVICES_OTHER},
        threat=(
            "The student was taken ill on the way to school and is at the clinic. Nobody at home"
            " answers the phone."
        ),
        reason="A program that knows the family may know whom to call.",
        hours=4,
        now=now,
        user_id=office.viewer(CLINIC).user_id,
    )


@dataclass(frozen=True)
class _Office:
    settings: Settings
    database: Database

    def viewer(self, login: str) -> Viewer:
        return active_staff_member(self.database, login)

    def scope(self, login: str, at: datetime) -> Scope:
        snapshot = Snapshot.current(self.settings.home)
        return scope_for(self.viewer(login), self.database, snapshot, at, self.settings.secret())

    def student_at(self, login: str, at: datetime, position: int = 0, but_not_of: str = "") -> str:
        """A student of a partner's list by position, from 0; stable for one district."""
        others = self.scope(but_not_of, at).students if but_not_of else frozenset()
        return sorted(self.scope(login, at).without_emergencies.students - others)[position]

    def record_consents(self, consents_file: Path) -> None:
        began = datetime(2025, 9, 3, 9, 10)
        add_consents(self.database, self.scope(ADMIN_LOGIN, began), consents_file, began)
        at = datetime(2026, 3, 3, 10, 5)
        admin = self.scope(ADMIN_LOGIN, at)
        add_opt_out(self.database, admin, self.student_at(MENTOR, at), at.date(), at)
        at = datetime(2026, 3, 10, 11, 30)
        in_force = min(
            consent.number for consent in consents(self.database) if consent.counts(at.date())
        )
        revoke_consent(self.database, admin.viewer, in_force, by=FAMILY, on=at.date(), now=at)

    def record_demands(self) -> None:
        """Record a demand that no judge signed, and a court's, with the family notified in time."""
        at = datetime(2026, 3, 12, 14, 20)
        counsel = self.scope(COUNSEL_LOGIN, at)
        record_demand(
            self.database,
            counsel,
            self.student_at(PANTRY, at),
            LegalDocument(
                "administrative",
                "An immigration enforcement officer",
                at.date(),
                of_court=False,
                signed_by_judge=False,
                categories=frozenset({Category.DIRECTORY, Category.ATTENDANCE}),
            ),
            "Two officers brought it to the front desk of the school. It was copied, and they were"
            " told that nothing is released on it.",
            at,
        )
        at = datetime(2026, 3, 23, 9, 45)
        student = self.student_at(TUTOR, at, 5)
        record_demand(
            self.database,
            counsel,
            student,
            LegalDocument(
                "subpoena",
                "Harrow County Family Court",
                at.date(),
                of_court=True,
                signed_by_judge=False,
                categories=frozenset({Category.DIRECTORY, Category.ATTENDANCE, Category.GRADES}),
            ),
            "It came by post with the court's seal, in a matter of guardianship.",
            at,
        )
        place_hold(
            self.database,
            counsel,
            student,
            "A matter of guardianship before Harrow County Family Court.",
            at,
        )
        notified = datetime(2026, 3, 24, 16, 0)
        record_notice(
            self.database,
            counsel.viewer,
            2,
            notified.date(),
            "",
            "A letter to both parents, with a copy of the subpoena.",
            notified,
        )

    def propose_release(self) -> None:
        at = datetime(2026, 4, 16, 11, 0)
        propose_release(
            self.database,
            self.viewer(COUNSEL_LOGIN),
            2,
            "The family was told on 24 March and has not objected. "
            "The district's lawyer has checked the seal and the date.",
            at,
        )

    def identify_participant(self) -> None:
        """Identify one of the waiting participants, so that there is a decision to undo."""
        at = datetime(2026, 4, 17, 7, 45)
        first = review_queue(self.database)[0]
        resolve_participant(
            self.database,
            first.participant.organization_id,
            first.participant.participant_id,
            first.offered[0],
            self.viewer(COUNSEL_LOGIN).user_id,
            at,
        )

    def open_fire_emergency(self) -> None:
        """Open and end an emergency of a caseworker for a student of their own list."""
        at = datetime(2026, 4, 2, 7, 50)
        scope, student = self.scope(HOUSING, at), self.student_at(HOUSING, at, 1)
        emergency = open_emergency(
            self.database,
            scope,
            student,
            categories={Category.SERVICES_OTHER},
            hours=4,
            now=at,
            threat=(
                "A fire closed the building where the family lives last night, and nobody knows"
                " where they slept."
            ),
            reason="Another program may have seen the family since.",
        )
        for minute in (52, 58):
            self._open_record(HOUSING, student, at.replace(minute=minute), list(Category))
        end_emergency(self.database, scope.viewer, emergency.number, at.replace(hour=9, minute=30))
        (notice,) = notices(self.database, unseen=True)
        mark_seen(
            self.database, self.viewer(COUNSEL_LOGIN), notice.number, at.replace(hour=8, minute=15)
        )

    def open_records(self) -> None:
        for login, position, at in RECORD_VIEWS:
            self._open_record(login, self.student_at(login, at, position), at, list(Category))

    def destroy(self) -> None:
        """Destroy the record of a family that moved away; one backup with it lasts until June."""
        at = datetime(2026, 4, 15, 10, 25)
        for name, place, day, ends in (
            (
                "Copy of 2 February",
                "The district office's safe",
                datetime(2026, 2, 2, 1, 0),
                datetime(2026, 5, 2),
            ),
            (
                "Copy of 1 April",
                "The district office's safe",
                datetime(2026, 4, 1, 1, 0),
                datetime(2026, 6, 30),
            ),
        ):
            add_backup(self.database, Backup(name, place, day, ends.date()))
        mark_backup_destroyed(self.database, "Copy of 2 February", datetime(2026, 4, 1, 8, 30))
        rows = Snapshot.current(self.settings.home).table("service_enrollments")
        served = set(rows["student_id"].to_pyarrow().to_pylist())
        unserved = min(self.scope(ADMIN_LOGIN, at).students - served)
        destroy_student(
            self.database,
            self.settings.home,
            unserved,
            self.viewer(ADMIN_LOGIN),
            at,
            self.settings.secret(),
        )

    def _open_record(
        self, login: str, student: str, at: datetime, shown: Collection[Category]
    ) -> None:
        assert at.date() < DEMO_TODAY
        for basis in self.scope(login, at).grounds(student):
            record_disclosures(self.database, basis, [student], shown, "/students/{handle}", at)
