"""One visit: who asks, when, and what they may see, computed anew at each request.

Nothing of a student is read here but through `records.access`. What is shared between requests is
stored under the digest of everything that decides what is visible, so that no two scopes share it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from functools import cached_property
from typing import Any

from fastapi import Request
from starlette.responses import HTMLResponse

from features.alerts import AlertRules
from records.access.row_security import records_for
from records.access.scope import scope_for
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import Category
from records.canonical.supports import SupportCatalog
from records.checks.confirmations import LoadDoubts, load_doubts
from records.database.engine import Database
from records.decisions.exploration import current_exploration
from records.disclosure_log.student_references import with_former_students
from records.permissions.emergencies import Emergency, emergencies
from records.snapshots.snapshot import NoSnapshot, Snapshot
from records.staff.accounts import Organization, organizations
from records.staff.notices import count_unseen
from records.staff.viewer import DISTRICT, Role, Scope, Viewer
from serving.site.exceptions import InvalidCsrfToken
from serving.site.navigation import navigation
from serving.site.site import Site
from serving.site.student_lists import StudentLists
from serving.site.visit_disclosures import VisitDisclosures
from serving.students.caseload import RankingInputs
from serving.wording import words
from training.episodes.outcome import weights_of
from training.ranking.model_file import RankerModel


class Visit:
    """One request of one signed-in person.

    Attributes:
        csrf: the token that every form of this web session must carry.
        now: the district's local time when the request came; all of a visit happens then.
        disclosures: logs what is about to be shown, and words the terms on which it is.
        lists: the students in scope by name, with alerts and suggestions.
    """

    def __init__(self, site: Site, request: Request, viewer: Viewer, csrf: str) -> None:
        self.site = site
        self.request = request
        self.viewer = viewer
        self.csrf = csrf
        self.now = site.config.clock()
        self.disclosures = VisitDisclosures(self)
        self.lists = StudentLists(self)

    @property
    def database(self) -> Database:
        """The store of accounts, agreements and logs."""
        return self.site.config.database

    @property
    def today(self) -> date:
        """The day of the request in the district."""
        return self.now.date()

    @property
    def as_of(self) -> date:
        """The day up to which records are read: today. The last day on record would reveal records
        that this viewer may not see.
        """
        return self.today

    @property
    def is_district_staff(self) -> bool:
        """Whether this person works for the district, in any role."""
        return self.viewer.organization_id == DISTRICT

    @property
    def is_district_admin(self) -> bool:
        """Whether this person acts for the district in legal matters."""
        return self.viewer.role is Role.DISTRICT_ADMIN

    @cached_property
    def organizations(self) -> dict[str, Organization]:
        """Every organization by its ID, the district included."""
        return organizations(self.database)

    @property
    def organization(self) -> Organization:
        """The organization of this person."""
        return self.organizations[self.viewer.organization_id]

    @cached_property
    def unseen_notices(self) -> int:
        """How many notices no district administrator has marked as seen."""
        return count_unseen(self.database)

    @cached_property
    def snapshot(self) -> Snapshot:
        """The records in use.

        Raises:
            NoSnapshot: none are loaded.
        """
        return Snapshot.current(self.site.config.home)

    @property
    def scope(self) -> Scope:
        """What agreements let this person see. Lists, alerts and suggestions rest on it: no
        emergency changes any of them.
        """
        return self.full_scope.without_emergencies

    @cached_property
    def full_scope(self) -> Scope:
        """What agreements and emergencies let this person see, for one student's record only."""
        config = self.site.config
        return scope_for(self.viewer, self.database, self.snapshot, self.now, config.secret)

    @cached_property
    def disclosure_log_scope(self) -> Scope:
        """For a district administrator: whose disclosures may be read, former students included."""
        return with_former_students(self.database, self.scope)

    @cached_property
    def visible_categories(self) -> frozenset[Category]:
        """The categories that this person sees of at least one student."""
        grants = [grant for grants in self.scope.grants.values() for grant in grants]
        return frozenset(category for grant in grants for category in grant.categories)

    @cached_property
    def emergencies(self) -> list[Emergency]:
        """The emergencies in which this person has access now, the newest first."""
        own = emergencies(self.database, user_id=self.viewer.user_id)
        return [emergency for emergency in own if emergency.is_open(self.now)]

    def records(self, students: Iterable[str] | None = None) -> ScopedRecords:
        """The records of these students, or of all in scope, as agreements allow."""
        return self._records(self.scope, students)

    def full_record(self, student: str) -> ScopedRecords:
        """One student's record with what emergencies open of it."""
        return self._records(self.full_scope, [student])

    @cached_property
    def program_names(self) -> dict[str, str]:
        """The name of each program by its ID; empty while no records are loaded."""
        try:
            programs = self.records(()).frame("programs")
        except NoSnapshot:
            return {}
        return {
            row["program_id"]: row["name"] or row["program_id"]
            for row in programs.to_dict("records")
        }

    def find_student(self, text: str, scope: Scope | None = None) -> str:
        """The student ID that the district's staff mean by a student ID or by the code of a
        student's page.

        Args:
            scope: where to look, by default in the records that this person sees.

        Raises:
            NotInScope: no such student is in it.
        """
        scope = scope or self.scope
        code = text.strip()
        return code if code in scope.students else scope.student_for_handle(code)

    @cached_property
    def ranking(self) -> RankingInputs:
        """The model and the settings that rank supports now."""
        models, config = self.site.approved_models, self.site.config
        champion, no_model_reason = models.model(self.now)
        return RankingInputs(
            champion,
            no_model_reason,
            models.challenger(self.now),
            current_exploration(self.database),
            config.secret,
        )

    @cached_property
    def supports(self) -> SupportCatalog:
        """The district's kinds of support, with what people call them.

        Raises:
            SupportsError: the district's list cannot be used.
        """
        return SupportCatalog.of(self.site.config.home)

    @cached_property
    def alert_rules(self) -> AlertRules:
        """The alert rules in force.

        Raises:
            DeclarationError: the district's own file has a mistake.
        """
        return self.site.alert_rules(self.now)

    @cached_property
    def doubts(self) -> LoadDoubts:
        """What is doubted of the records in use, by the figures that their load kept.

        Raises:
            PlausibleRangesError: the district's own file has a mistake.
        """
        return load_doubts(self.site.config.home, self.database, self.snapshot)

    @property
    def champion(self) -> RankerModel | None:
        """The approved model, if there is one."""
        return self.ranking.champion

    @property
    def progress_point_text(self) -> str:
        """What a progress point of the approved model is, in a sentence."""
        champion = self.champion
        return words.progress_point_text(champion.manifest.get("weights") if champion else None)

    def progress_point_text_for(self, outcome_sha256: str | None) -> str:
        """What a progress point is in figures computed with this outcome definition, in a sentence;
        where the district has changed the definition since, where points are defined.
        """
        weights = weights_of(self.site.config.home, outcome_sha256) if outcome_sha256 else None
        return words.progress_point_text(weights)

    def check_csrf(self, token: str) -> None:
        """Refuse a change that a page of this web session did not ask for.

        Raises:
            InvalidCsrfToken: the token is not that of this session.
        """
        if token != self.csrf:
            raise InvalidCsrfToken

    def page(self, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A page of the site for this person, with their navigation."""
        return self.site.render(
            template,
            status,
            visit=self,
            menu=navigation(self.viewer.role),
            path=self.request.url.path,
            **values,
        )

    def close(self) -> None:
        """Give the connection to the records back, if one was opened."""
        if "snapshot" in self.__dict__ and "connection" in self.snapshot.__dict__:
            self.snapshot.connection.disconnect()

    def _records(self, scope: Scope, students: Iterable[str] | None) -> ScopedRecords:
        selected = None if students is None else tuple(students)
        tables = records_for(self.viewer, self.database, self.snapshot, self.now, selected)
        return ScopedRecords(tables, scope, selected)
