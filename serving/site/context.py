"""One visit: who asks, when, and what they may see, worked out anew at each request.

Nothing of a student is read here but through `records.access.scope`. What is kept between requests
is kept by the digest of everything that decides what is visible, so that no two scopes ever share
it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

import pandas as pd
from fastapi import Depends, HTTPException, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from records.access.row_security import records_for
from records.access.scope import scope_for
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import Category
from records.database.engine import Database
from records.decisions.exploration import current_exploration
from records.decisions.impressions import log_impressions
from records.disclosure_log.disclosures import (
    DisclosureLimits,
    record_disclosures,
    with_former_students,
)
from records.loading.load_history import stale_attendance_since
from records.people.accounts import Organization, organizations, session_viewer
from records.people.notices import count_unseen
from records.people.viewer import DISTRICT, EMERGENCY_BASIS, Grant, NotInScope, Role, Scope, Viewer
from records.permissions.emergencies import Emergency, emergencies
from records.snapshots.snapshot import NoSnapshot, Snapshot
from serving.site.security import cookie_name
from serving.students.caseload import (
    ApprovedModelCache,
    Caseload,
    RankingInputs,
    caseload,
    impression_of,
)
from serving.wording import words
from training.episodes.outcome import weights_of
from training.ranking.model_file import RankerModel

_HERE = Path(__file__).parents[1]
_KEPT = 24
"""Results kept in memory: about two for each organisation of a district with a dozen partners."""


@dataclass(frozen=True)
class SiteConfig:
    """Everything that the site is told. `clock` gives the naive local time of the district."""

    home: Path
    database: Database
    secret: bytes
    clock: Callable[[], datetime]
    secure_cookies: bool = False
    demo_accounts: tuple[tuple[str, str, str], ...] = ()
    demo_password: str = ""
    limits: DisclosureLimits = field(default_factory=DisclosureLimits)


class SignInRequired(Exception):
    """Nobody is signed in."""


class InvalidCsrfToken(Exception):
    """The form was not made by this session's own page."""


class StaleSuggestion(Exception):
    """What was shown is no longer what is suggested."""


class ResultCache:
    """The last few results, each by its key. Whoever asks for one that is being worked out waits
    for it.
    """

    def __init__(self, size: int = _KEPT) -> None:
        self._size = size
        self._lock = Lock()
        self._results: OrderedDict[Hashable, _Slot] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        with self._lock:
            slot = self._results.setdefault(key, _Slot())
            self._results.move_to_end(key)
            while len(self._results) > self._size:
                self._results.popitem(last=False)
        with slot.lock:
            if not slot.done:
                slot.value, slot.done = make(), True
        return slot.value


@dataclass
class _Slot:
    lock: Lock = field(default_factory=Lock)
    done: bool = False
    value: Any = None


@dataclass(frozen=True)
class RosterEntry:
    """A student as a list shows them. An empty word is one that may not be seen or is not on
    record.
    """

    student_id: str
    name: str
    by_name: tuple[str, str]
    grade_level: int | None
    school: str

    @property
    def grade(self) -> str:
        return words.grade(self.grade_level)


class Site:
    """What lives as long as the process: configuration, templates, the model's shelf, results
    kept.
    """

    def __init__(self, config: SiteConfig) -> None:
        self.config = config
        self.shelf = ApprovedModelCache(config.home, config.database, config.secret)
        self.kept = ResultCache()
        self.templates = template_environment()

    def render(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        return HTMLResponse(self.templates.get_template(template).render(**values), status)


class Visit:
    """One request of one signed-in person."""

    def __init__(self, site: Site, request: Request, viewer: Viewer, csrf: str) -> None:
        self.site = site
        self.request = request
        self.viewer = viewer
        self.csrf = csrf
        self.now = site.config.clock()

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
    def roster(self) -> dict[str, RosterEntry]:
        """Every student in scope, by name."""
        found: dict[str, RosterEntry] = self.site.kept.get(
            ("roster", *self._key), lambda: read_roster(self.records())
        )
        return found

    def listed(self, student: str) -> RosterEntry:
        """One student as their own page names them, with what emergencies open."""
        if student in self.roster and not any(
            one.student_id == student for one in self.emergencies
        ):
            return self.roster[student]
        return read_roster(self.whole_record(student))[student]

    @cached_property
    def caseload(self) -> Caseload:
        """Alerts and suggestions of every student in scope."""
        quiet = [Category.ATTENDANCE] if self.attendance_is_old else []
        key = ("caseload", *self._key, *self.ranking.key, *quiet)
        found: Caseload = self.site.kept.get(
            key, lambda: caseload(self.records(), self.as_of, self.ranking, quiet=quiet)
        )
        return found

    @cached_property
    def ranking(self) -> RankingInputs:
        """What ranks supports now."""
        shelf, config = self.site.shelf, self.site.config
        exploration = current_exploration(self.database)
        return RankingInputs(
            *shelf.model(self.now), shelf.challenger(self.now), exploration, config.secret
        )

    def write_down_lists(self, students: Iterable[str]) -> None:
        """Keep the suggestions of these students as they are about to be shown, for later
        evaluation.
        """
        advice = self.caseload.advice
        log_impressions(
            self.database,
            [
                impression_of(
                    self.scope, self.snapshot.id, self.as_of, self.ranking, student, advice[student]
                )
                for student in students
                if student in advice and (advice[student].suggestions or advice[student].challenger)
            ],
            self.now,
        )

    @cached_property
    def attendance_is_old(self) -> datetime | None:
        """When attendance was last loaded, if that is too long ago to raise an alert about
        absences.
        """
        return stale_attendance_since(self.site.config.home, self.now)

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

    def disclose(self, students: Sequence[str], categories: Collection[Category]) -> None:
        """Write down that these students are about to be shown.

        Raises:
            DisclosureLogUnavailable: then nothing may be shown.
            TooManyStudents: the same.
        """
        self._write_down(self.scope, students, categories)

    def disclose_whole(self, student: str, categories: Collection[Category]) -> None:
        """The same for one student's own record: what agreements open and what each emergency adds,
        a row each.

        Raises:
            DisclosureLogUnavailable: then nothing may be shown.
            TooManyStudents: the same.
        """
        for ground in self.whole_scope.grounds(student):
            self._write_down(ground, [student], categories)

    def disclose_looks(self, students: Sequence[str]) -> None:
        """The same for looks at these students, of whom a name is shown at most.

        Raises:
            DisclosureLogUnavailable: then nothing may be shown.
            TooManyStudents: the same.
        """
        scope = self.scope if self.scope.students.issuperset(students) else self.log_scope
        self._write_down(scope, students, [Category.DIRECTORY])

    def stamp(self, students: Iterable[str]) -> str:
        """What must stand by every record that is shown (34 CFR 99.33)."""
        return self._stamp([grant for student in students for grant in self.scope.grants[student]])

    def stamp_whole(self, student: str) -> str:
        """The same for one student's own record."""
        grounds = self.whole_scope.grounds(student)
        return self._stamp([grant for ground in grounds for grant in ground.grants[student]])

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

    def _write_down(
        self, scope: Scope, students: Sequence[str], categories: Collection[Category]
    ) -> None:
        route = self.request.scope["route"].path
        record_disclosures(
            self.database, scope, students, categories, route, self.now, self.site.config.limits
        )

    def _records(self, scope: Scope, students: Iterable[str] | None) -> ScopedRecords:
        asked = None if students is None else tuple(students)
        tables = records_for(self.viewer, self.database, self.snapshot, self.now, asked)
        return ScopedRecords(tables, scope, asked)

    def _stamp(self, grants: Sequence[Grant]) -> str:
        who = f"{self.viewer.name}, {self.organization.name}"
        agreements = sorted({grant.agreement_id for grant in grants if grant.agreement_sha256})
        under = [f"under agreement {' and '.join(agreements)}"] if agreements else []
        if any(grant.legal_basis == EMERGENCY_BASIS for grant in grants):
            under.append("for a health or safety emergency (34 CFR 99.36)")
        if not under:
            return words.own_records_shown_to(who, self.now)
        return (
            f"Shared with {who} {' and '.join(under)} on {words.date_time(self.now)}. "
            "Do not pass it on (34 CFR 99.33)."
        )

    @property
    def _key(self) -> tuple[str, str, str]:
        return self.snapshot.id, self.scope.fingerprint(), str(self.as_of)


def current_visit(request: Request) -> Iterator[Visit]:
    """The visit of whoever is signed in.

    Raises:
        SignInRequired: nobody is.
    """
    site: Site = request.app.state.site
    token = request.cookies.get(cookie_name(site.config.secure_cookies))
    found = session_viewer(site.config.database, token, site.config.clock()) if token else None
    if found is None:
        raise SignInRequired
    visit = Visit(site, request, *found)
    try:
        yield visit
    finally:
        visit.close()


CurrentVisit = Annotated[Visit, Depends(current_visit)]


def require_role(*roles: Role) -> Any:
    """The visit of somebody in one of these roles; for everybody else the page does not exist."""

    def allowed(visit: CurrentVisit) -> Visit:
        if visit.viewer.role not in roles:
            raise HTTPException(404)
        return visit

    return Depends(allowed)


DistrictAdminVisit = Annotated[Visit, require_role(Role.DISTRICT_ADMIN)]


def student_in_scope(handle: str, visit: CurrentVisit) -> str:
    """The student behind the handle of the path, before anything else of the request is looked at.

    Raises:
        NotInScope: the same whether they exist or not.
    """
    return visit.scope.student_of(handle)


StudentInScope = Annotated[str, Depends(student_in_scope)]


def student_in_log(handle: str, visit: DistrictAdminVisit) -> str:
    """The student behind the handle, for an officer who asks for the looks at them, whether they
    have left or not.

    Raises:
        NotInScope: neither the records nor the log name them.
    """
    try:
        return visit.scope.student_of(handle)
    except NotInScope:
        return visit.log_scope.student_of(handle)


StudentInLog = Annotated[str, Depends(student_in_log)]


def student_in_full_scope(handle: str, visit: CurrentVisit) -> str:
    """The student behind the handle, where an emergency may have opened the record too.

    Raises:
        NotInScope: the same whether they exist or not.
    """
    return visit.whole_scope.student_of(handle)


StudentInFullScope = Annotated[str, Depends(student_in_full_scope)]

_PARTNER = frozenset({Role.CASEWORKER, Role.COORDINATOR, Role.PARTNER_ADMIN})
PLACEMENT_ROLES = frozenset({Role.CASEWORKER})
"""Who may weigh how places are given out: nobody else's scope holds a suggestion
(`records.access.scope`)."""

_AUDITORS = frozenset({Role.EQUITY_REVIEWER, Role.DATA_SCIENTIST, Role.DISTRICT_ADMIN})
NAVIGATION: tuple[tuple[str, tuple[tuple[str, str, frozenset[Role]], ...]], ...] = (
    ("Caseload", (("/caseload", "Caseload", _PARTNER),)),
    ("Places", (("/places", "Places", PLACEMENT_ROLES),)),
    (
        "Students",
        (
            ("/students", "All students", frozenset({Role.DISTRICT_ADMIN})),
            ("/matches", "Who is who", frozenset({Role.DISTRICT_ADMIN})),
            ("/consents", "Consents", frozenset({Role.DISTRICT_ADMIN})),
        ),
    ),
    (
        "Model",
        (
            ("/audits", "Fairness audits", _AUDITORS),
            ("/drift", "Changes since training", _AUDITORS),
        ),
    ),
    ("Programs", (("/effects", "Programs", _AUDITORS),)),
    ("Agreements", (("/agreements", "Agreements", frozenset(Role)),)),
    ("Who saw what", (("/disclosures", "Who saw what", frozenset({Role.DISTRICT_ADMIN})),)),
    (
        "Legal matters",
        (
            ("/demands", "Legal demands", frozenset({Role.DISTRICT_ADMIN})),
            ("/emergencies", "Emergencies", frozenset({Role.DISTRICT_ADMIN})),
        ),
    ),
    (
        "Records",
        (
            ("/data", "Data loads", frozenset({Role.DATA_SCIENTIST, Role.DISTRICT_ADMIN})),
            ("/retention", "Destroyed records", frozenset({Role.DISTRICT_ADMIN})),
        ),
    ),
)
"""Groups of pages: path, words, and for whom. The first that a role has is its front page."""


@dataclass(frozen=True)
class NavigationGroup:
    """A group of the navigation: its words, and the path and words of each of its pages that a role
    has.
    """

    label: str
    pages: tuple[tuple[str, str], ...]

    def holds(self, path: str) -> bool:
        """Whether a path is one of its pages or below one."""
        return any(is_within(path, page) for page, _ in self.pages)


def navigation(role: Role) -> list[NavigationGroup]:
    """The groups of which a role has a page. A group of one page is called as the page is."""
    found = []
    for label, pages in NAVIGATION:
        links = tuple((path, words) for path, words, roles in pages if role in roles)
        if links:
            found.append(NavigationGroup(label if len(links) > 1 else links[0][1], links))
    return found


def is_within(path: str, page: str) -> bool:
    """Whether a path belongs to a page of the navigation; a caseworker's student is one of the
    caseload.
    """
    return (
        path == page
        or path.startswith(f"{page}/")
        or (page == "/caseload" and path.startswith("/students/"))
    )


def read_roster(records: ScopedRecords) -> dict[str, RosterEntry]:
    """Every student of `records`, by last name, and first name."""
    schools = records.frame("schools").set_index("school_id")["name"]
    frame = records.frame("students").set_index("student_id").reindex(list(records.students))
    schools = frame["school_id"].map(schools).fillna(frame["school_id"])
    columns = (frame.index, frame["first_name"], frame["last_name"], frame["grade_level"], schools)
    listed = [_listed(*values) for values in zip(*columns, strict=True)]
    return {
        one.student_id: one for one in sorted(listed, key=lambda one: (one.by_name, one.student_id))
    }


def _listed(student: str, first: Any, last: Any, grade: Any, school: Any) -> RosterEntry:
    first, last, school = ("" if pd.isna(value) else str(value) for value in (first, last, school))
    name = f"{first} {last}".strip() or "Name not shared"
    level = None if pd.isna(grade) else int(grade)
    return RosterEntry(student, name, (last.casefold(), first.casefold()), level, school)


def template_environment() -> Environment:
    """The templates of pages: what they are given is escaped, and what is missing is an error."""
    found = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["capital"] = words.capital
    found.globals |= {
        "words": words,
        "is_within": is_within,
        "stylesheet": f"/static/site.css?v={_version('site.css')}",
    }
    return found


def _version(file: str) -> str:
    return hashlib.sha256((_HERE / "static" / file).read_bytes()).hexdigest()[:10]
