"""Who asks, and what they may see: `Viewer`, `Role`, `Grant` and `Scope`.

These are values alone. What fills a scope is worked out in `records.access.scope`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from functools import cached_property

from records.canonical.schema import CONSENT_CATEGORIES, Category
from records.system.errors import UserError


class Role(StrEnum):
    """What a person does; with the agreement it decides what they may see."""

    CASEWORKER = "caseworker"
    COORDINATOR = "coordinator"
    PARTNER_ADMIN = "partner_admin"
    DATA_SCIENTIST = "data_scientist"
    EQUITY_REVIEWER = "equity_reviewer"
    DISTRICT_ADMIN = "district_admin"
    PIPELINE = "pipeline"


ALL_CATEGORIES = frozenset(Category)


ROLE_CATEGORIES: Mapping[Role, frozenset[Category]] = {
    Role.CASEWORKER: ALL_CATEGORIES,
    Role.COORDINATOR: frozenset({Category.DIRECTORY, Category.SCHEDULE, Category.SERVICES}),
    Role.PARTNER_ADMIN: frozenset({Category.DIRECTORY, Category.SERVICES}),
    Role.DATA_SCIENTIST: frozenset(),
    Role.EQUITY_REVIEWER: frozenset(),
    Role.DISTRICT_ADMIN: ALL_CATEGORIES,
    Role.PIPELINE: ALL_CATEGORIES,
}
"""The most that a role may see, whatever an agreement grants."""


SENSITIVE_CATEGORIES = frozenset(
    {
        Category.DEMOGRAPHICS,
        Category.ENGLISH_LEARNER,
        Category.SPECIAL_EDUCATION,
        Category.HOUSING,
        Category.MEAL_ELIGIBILITY,
    }
)
"""Read by the fairness audit alone; never by the pipeline that makes features and trains models."""


EMERGENCY_BASIS = "health_or_safety_emergency"
"""34 CFR 99.31(a)(10) and 99.36."""


EMERGENCY_CATEGORIES = (
    ALL_CATEGORIES
    - CONSENT_CATEGORIES
    - {Category.BEHAVIOR, Category.DEMOGRAPHICS, Category.ENGLISH_LEARNER}
)
"""The most that an emergency opens. What needs a family's consent stays closed, and so do incidents
and group facts: none of them helps to find or treat a child in danger."""


DISTRICT = "district"


PARTNER_ROLES = frozenset({Role.CASEWORKER, Role.COORDINATOR, Role.PARTNER_ADMIN})


class NotInScope(UserError, LookupError):
    """No such student for this viewer. The same for a student who exists elsewhere and for one who
    does not.
    """


@dataclass(frozen=True)
class Viewer:
    """Who asks."""

    user_id: str
    login: str
    name: str
    role: Role
    organization_id: str


@dataclass(frozen=True)
class Grant:
    """Why one student may be seen: an agreement's line, as it applies to this student and this
    role.
    """

    agreement_id: str
    agreement_sha256: str
    legal_basis: str
    purpose: str
    organization_id: str
    categories: frozenset[Category]
    supports: tuple[str, ...]


@dataclass(frozen=True)
class Scope:
    """Students x categories that one viewer may see on one day."""

    viewer: Viewer
    today: date
    grants: Mapping[str, tuple[Grant, ...]]
    secret: bytes

    @property
    def students(self) -> frozenset[str]:
        return frozenset(self.grants)

    def categories(self, student_id: str) -> frozenset[Category]:
        """The categories visible of this student; empty when the student is out of scope."""
        return frozenset().union(*(grant.categories for grant in self.grants.get(student_id, ())))

    def sees_housing_services(self, student_id: str) -> bool:
        """Whether other organisations' services may be seen even where they tell of this student's
        housing.

        The pipelines see them: whom such a help served is what training learns from, and no page
        reads it there.
        """
        return self.viewer.role is Role.PIPELINE or Category.HOUSING in self.categories(student_id)

    def supports(self, student_id: str) -> tuple[str, ...]:
        """The supports that may be suggested for this student, in the agreements' order."""
        return tuple(
            dict.fromkeys(s for grant in self.grants.get(student_id, ()) for s in grant.supports)
        )

    def handle(self, student_id: str) -> str:
        """The opaque identifier of a student for this organisation: 20 hex digits, another for each
        organisation.

        Raises:
            NotInScope: the student is not in scope.
        """
        if student_id not in self.grants:
            raise NotInScope("not found")
        message = f"{self.viewer.organization_id}\0{student_id}".encode()
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()[:20]

    def student_of(self, handle: str) -> str:
        """The student behind a handle.

        Raises:
            NotInScope: no student in scope has this handle.
        """
        try:
            return self._by_handle[handle]
        except KeyError:
            raise NotInScope("not found") from None

    @cached_property
    def by_agreement(self) -> Scope:
        """This scope without what emergencies open: lists, alerts and suggestions rest on it
        alone.
        """
        if self.viewer.role not in PARTNER_ROLES:
            return self
        kept = {
            student: tuple(grant for grant in grants if grant.legal_basis != EMERGENCY_BASIS)
            for student, grants in self.grants.items()
        }
        return replace(self, grants={student: grants for student, grants in kept.items() if grants})

    def grounds(self, student_id: str) -> tuple[Scope, ...]:
        """What opens one student, a ground at a time: agreements, then what each emergency adds to
        what came before.

        Raises:
            NotInScope: the student is not in scope.
        """
        self.handle(student_id)
        agreed = self.by_agreement.grants.get(student_id, ())
        seen = self.by_agreement.categories(student_id)
        found = [replace(self, grants={student_id: agreed})] if agreed else []
        for grant in self.grants[student_id]:
            if grant.legal_basis == EMERGENCY_BASIS and grant.categories - seen:
                added = replace(grant, categories=grant.categories - seen)
                found.append(replace(self, grants={student_id: (added,)}))
                seen |= added.categories
        return tuple(found)

    def narrowed(self, student_id: str, grant: Grant) -> Scope:
        """One student of this scope on another ground, and of them no more than this scope shows.

        Raises:
            NotInScope: the student is not in scope.
        """
        self.handle(student_id)
        kept = replace(grant, categories=grant.categories & self.categories(student_id))
        return replace(self, grants={student_id: (kept,)})

    @cached_property
    def _by_handle(self) -> dict[str, str]:
        return {self.handle(student): student for student in self.grants}

    def fingerprint(self) -> str:
        """A digest of everything that decides what is visible: results may be shared only where it
        is equal.
        """
        lines = [f"{self.viewer.organization_id} {self.viewer.role}"]
        for student in sorted(self.grants):
            seen = ",".join(sorted(self.categories(student)))
            lines.append(f"{student}|{seen}|{','.join(self.supports(student))}")
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def emergency_reference(number: int) -> str:
    """How the log and a grant name an emergency, where else they name an agreement."""
    return f"emergency-{number}"
