"""Who asks, and what they may see: `Viewer`, `Role`, `Grant` and `Scope`.

These are plain values. `records.access.scope` works out what a scope holds.
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
    """What a person does; together with agreements it decides what they may see."""

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
"""Read by the fairness audit only; never by the pipeline that makes features and trains models."""

EMERGENCY_BASIS = "health_or_safety_emergency"
"""34 CFR 99.31(a)(10) and 99.36."""

EMERGENCY_CATEGORIES = (
    ALL_CATEGORIES
    - CONSENT_CATEGORIES
    - {Category.BEHAVIOR, Category.DEMOGRAPHICS, Category.ENGLISH_LEARNER}
)
"""The most that an emergency opens. What needs a family's consent stays closed, and so do incidents
and demographic groups: none of them helps to find or treat a child in danger."""

DISTRICT = "district"

PARTNER_ROLES = frozenset({Role.CASEWORKER, Role.COORDINATOR, Role.PARTNER_ADMIN})


class NotInScope(UserError, LookupError):
    """No such student for this viewer, whether or not the student exists elsewhere."""


@dataclass(frozen=True)
class Viewer:
    """The person who asks, as they signed in."""

    user_id: str
    login: str
    name: str
    role: Role
    organization_id: str


@dataclass(frozen=True)
class Grant:
    """One agreement or emergency, as it applies to one student and one role."""

    agreement_id: str
    agreement_sha256: str
    legal_basis: str
    purpose: str
    organization_id: str
    categories: frozenset[Category]
    supports: tuple[str, ...]


@dataclass(frozen=True)
class Scope:
    """The students, and of each the categories, that one viewer may see on one day."""

    viewer: Viewer
    today: date
    grants: Mapping[str, tuple[Grant, ...]]
    secret: bytes

    @property
    def students(self) -> frozenset[str]:
        """The students of whom anything is visible."""
        return frozenset(self.grants)

    def categories(self, student_id: str) -> frozenset[Category]:
        """The visible categories of this student; empty if the student is out of scope."""
        return frozenset().union(*(grant.categories for grant in self.grants.get(student_id, ())))

    def sees_housing_services(self, student_id: str) -> bool:
        """Whether other organizations' services are visible even if they reveal housing.

        The pipelines see them: training learns from whom such services helped, and no page reads
        them there.
        """
        return self.viewer.role is Role.PIPELINE or Category.HOUSING in self.categories(student_id)

    def supports(self, student_id: str) -> tuple[str, ...]:
        """The supports that may be suggested for this student, in the agreements' order."""
        return tuple(
            dict.fromkeys(
                support for grant in self.grants.get(student_id, ()) for support in grant.supports
            )
        )

    def handle(self, student_id: str) -> str:
        """The opaque identifier of a student for this organization, 20 hexadecimal digits.

        Another organization has another handle for the same student.

        Raises:
            NotInScope: the student is not in scope.
        """
        if student_id not in self.grants:
            raise NotInScope("not found")
        message = f"{self.viewer.organization_id}\0{student_id}".encode()
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()[:20]

    def student_for_handle(self, handle: str) -> str:
        """The student behind a handle.

        Raises:
            NotInScope: no student in scope has this handle.
        """
        try:
            return self._by_handle[handle]
        except KeyError:
            raise NotInScope("not found") from None

    @cached_property
    def without_emergencies(self) -> Scope:
        """This scope without emergencies: lists, alerts and suggestions use only this."""
        if self.viewer.role not in PARTNER_ROLES:
            return self
        agreed = {
            student: tuple(grant for grant in grants if grant.legal_basis != EMERGENCY_BASIS)
            for student, grants in self.grants.items()
        }
        return replace(
            self, grants={student: grants for student, grants in agreed.items() if grants}
        )

    def grounds(self, student_id: str) -> tuple[Scope, ...]:
        """This student's scope in parts: all agreements, then what each emergency adds to them.

        The disclosure log names one of these parts for each category that is shown.

        Raises:
            NotInScope: the student is not in scope.
        """
        self.handle(student_id)
        agreed = self.without_emergencies.grants.get(student_id, ())
        seen = self.without_emergencies.categories(student_id)
        parts = [replace(self, grants={student_id: agreed})] if agreed else []
        for grant in self.grants[student_id]:
            if grant.legal_basis == EMERGENCY_BASIS and grant.categories - seen:
                added = replace(grant, categories=grant.categories - seen)
                parts.append(replace(self, grants={student_id: (added,)}))
                seen |= added.categories
        return tuple(parts)

    def restricted_to(self, student_id: str, grant: Grant) -> Scope:
        """One student of this scope under another grant, and no more than this scope shows.

        Raises:
            NotInScope: the student is not in scope.
        """
        self.handle(student_id)
        limited = replace(grant, categories=grant.categories & self.categories(student_id))
        return replace(self, grants={student_id: (limited,)})

    @cached_property
    def _by_handle(self) -> dict[str, str]:
        return {self.handle(student): student for student in self.grants}

    def fingerprint(self) -> str:
        """A digest of all that decides what is visible; equal digests may share cached results."""
        lines = [f"{self.viewer.organization_id} {self.viewer.role}"]
        for student in sorted(self.grants):
            visible = ",".join(sorted(self.categories(student)))
            lines.append(f"{student}|{visible}|{','.join(self.supports(student))}")
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def emergency_reference(number: int) -> str:
    """The name of an emergency in grants and in the log, where others name an agreement."""
    return f"emergency-{number}"
