"""One visit: who asks, when, and what they may see, worked out anew at each request.

Nothing of a student is read here but through `records.access`. What is kept between requests is
kept by the digest of everything that decides what is visible, so that no two scopes ever share it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from functools import cached_property
from typing import Any

from fastapi import Request
from starlette.responses import HTMLResponse

from records.access.row_security import records_for
from records.access.scope import scope_for
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import Category
from records.database.engine import Database
from records.decisions.exploration import current_exploration
from records.disclosure_log.student_references import with_former_students
from records.people.accounts import Organization, organizations
from records.people.notices import count_unseen
from records.people.viewer import DISTRICT, Role, Scope, Viewer
from records.permissions.emergencies import Emergency, emergencies
from records.snapshots.snapshot import NoSnapshot, Snapshot
from serving.site.disclosure_writer import DisclosureWriter
from serving.site.exceptions import InvalidCsrfToken
from serving.site.navigation import navigation
from serving.site.site import Site
from serving.site.student_lists import StudentLists
from serving.students.caseload import (
    RankingInputs,
)
from serving.wording import words
from training.episodes.outcome import weights_of
from training.ranking.model_file import RankerModel


class Visit:
    """One request of one signed-in person."""

    def __init__(self, site: Site, request: Request, viewer: Viewer, csrf: str) -> None:
        self.site = site
        self.request = request
        self.viewer = viewer
        self.csrf = csrf
        self.now = site.config.clock()
        self.disclosures = DisclosureWriter(self)
        self.lists = StudentLists(self)

    @property
    def database(self) -> Database:
        return self.site.config.database

    @property
    def today(self) -> date:
        return self.now.date()

    @property
    def of_district(self) -> bool:
        return self.viewer.organization_id == DISTRICT

    @cached_property
    def snapshot(self) -> Snapshot:
        return Snapshot.current(self.site.config.home)

    @cached_property
    def scope(self) -> Scope:
        """What agreements open. Lists, alerts and suggestions rest on it: no emergency changes any
        of them.
        """
        return self.whole_scope.by_agreement

    @cached_property
    def whole_scope(self) -> Scope:
        """The same and what emergencies open: for one student's own record alone."""
        return scope_for(
            self.viewer, self.database, self.snapshot, self.now, self.site.config.secret
        )

    @cached_property
    def log_scope(self) -> Scope:
        """For an officer: whose looks may be read, those of students who have left too."""
        return with_former_students(self.database, self.scope)

    @cached_property
    def emergencies(self) -> list[Emergency]:
        """Those that are open to this person now, the newest first."""
        return [
            one
            for one in emergencies(self.database, user_id=self.viewer.user_id)
            if one.is_open(self.now)
        ]

    @property
    def is_officer(self) -> bool:
        """Whether this person acts for the district in matters of law."""
        return self.viewer.role is Role.DISTRICT_ADMIN

    @cached_property
    def unseen_notices(self) -> int:
        return count_unseen(self.database)

    @cached_property
    def as_of(self) -> date:
        """Today. The last day on record would tell of records that this viewer may not see."""
        return self.today

    @cached_property
    def visible(self) -> frozenset[Category]:
        """The categories visible of at least one student."""
        return frozenset().union(
            *{grant.categories for grants in self.scope.grants.values() for grant in grants}
        )

    @cached_property
    def organizations(self) -> dict[str, Organization]:
        return organizations(self.database)

    @cached_property
    def organization(self) -> Organization:
        return self.organizations[self.viewer.organization_id]

    @cached_property
    def program_names(self) -> dict[str, str]:
        """What each program is called; empty while nothing is loaded."""
        try:
            programs = self.records(()).frame("programs")
        except NoSnapshot:
            return {}
        return {
            row["program_id"]: row["name"] or row["program_id"]
            for row in programs.to_dict("records")
        }

    @property
    def model(self) -> tuple[RankerModel | None, str]:
        return self.ranking.champion, self.ranking.why_none

    @property
    def point(self) -> str:
        """What a progress point of the served model is."""
        champion = self.model[0]
        return words.progress_point_text(champion.manifest.get("weights") if champion else None)

    def point_by(self, outcome_sha256: str | None) -> str:
        """What a progress point is in figures worked out by this outcome, if the district has not
        changed it since.
        """
        weights = weights_of(self.site.config.home, outcome_sha256) if outcome_sha256 else None
        return words.progress_point_text(weights)

    def records(self, students: Iterable[str] | None = None) -> ScopedRecords:
        return self._records(self.scope, students)

    def whole_record(self, student: str) -> ScopedRecords:
        """One student's record with what emergencies open of it."""
        return self._records(self.whole_scope, [student])

    @cached_property
    def ranking(self) -> RankingInputs:
        """What ranks supports now."""
        shelf, config = self.site.shelf, self.site.config
        exploration = current_exploration(self.database)
        return RankingInputs(
            *shelf.model(self.now), shelf.challenger(self.now), exploration, config.secret
        )

    def student_named(self, text: str, scope: Scope | None = None) -> str:
        """The student whom the district's staff name by the district's number or by the code of the
        student's page.

        Args:
            scope: in which they are looked for, by default the records that this person sees.

        Raises:
            NotInScope: no such student is in it.
        """
        named, scope = text.strip(), scope or self.scope
        return named if named in scope.students else scope.student_of(named)

    def check_csrf(self, given: str) -> None:
        """Refuse a form that this session's own pages did not make."""
        if given != self.csrf:
            raise InvalidCsrfToken

    def page(self, template: str, **values: Any) -> HTMLResponse:
        path = self.request.url.path
        return self.site.render(
            template, visit=self, menu=navigation(self.viewer.role), path=path, **values
        )

    def close(self) -> None:
        if "snapshot" in self.__dict__ and "connection" in self.snapshot.__dict__:
            self.snapshot.connection.disconnect()

    def _records(self, scope: Scope, students: Iterable[str] | None) -> ScopedRecords:
        asked = None if students is None else tuple(students)
        tables = records_for(self.viewer, self.database, self.snapshot, self.now, asked)
        return ScopedRecords(tables, scope, asked)
