"""Who saw which record: the district's view of the log, and what a parent is told about one student."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from records.accounts import staff_names
from records.disclosures import Disclosure, count_disclosures, disclosures, verify
from records.schema import Category
from records.scope import DISTRICT
from serving import words
from serving.context import ForDistrict, InScope, Visit

router = APIRouter()
PAGE = 50
EVERYBODY = "everybody"
MOST_IN_A_REPORT = 5_000
"""Looks at one student that a report lists; it says so when there are more."""


@dataclass(frozen=True)
class Look:
    """One look in words. `handle` is empty where the student is no longer in the records."""

    at: str
    person: str
    organization: str
    student: str
    handle: str
    categories: str
    purpose: str
    basis: str
    agreement_id: str
    together: int
    law_requires: bool


@router.get("/disclosures")
def disclosures_page(visit: ForDistrict, student: Annotated[str, Query(max_length=40)] = "", organization: str = "",
                     page: Annotated[int, Query(ge=1, le=100_000)] = 1, check: bool = False) -> Response:  # fmt: skip
    student_id = visit.scope.student_of(student) if student else None
    asked = looks_by(organization) | {"student_id": student_id}
    found = count_disclosures(visit.database, **asked)
    rows = disclosures(visit.database, **asked, offset=(page - 1) * PAGE, limit=PAGE)
    looks = looks_of(visit, rows)
    checked = verify(visit.database) if check else None
    return visit.page("disclosures.html", looks=looks, found=found, pages=max(1, -(-found // PAGE)), page=page,
                      student=student, organization=organization, checked=checked)  # fmt: skip


def looks_by(organization: str) -> dict[str, str | None]:
    """Whose looks are asked for: by default all partners', since the district's own would bury them."""
    if organization == EVERYBODY:
        return {}
    return {"organization_id": organization} if organization else {"but_not": DISTRICT}


@router.get("/students/{handle}/disclosures")
def report_page(handle: str, visit: ForDistrict, student: InScope) -> Response:
    visit.disclose([student], [Category.DIRECTORY])
    rows = disclosures(visit.database, student_id=student, limit=MOST_IN_A_REPORT)
    return visit.page("report.html", listed=visit.roster[student], handle=handle, looks=words_of(visit, rows),
                      most=MOST_IN_A_REPORT, stamp=visit.stamp([student]))  # fmt: skip


def looks_of(visit: Visit, rows: list[Disclosure]) -> list[Look]:
    """These rows in words; the names on them are themselves a look, which is written down first."""
    named = list(dict.fromkeys(row.student_id for row in rows if row.student_id in visit.scope.students))
    visit.disclose(named, [Category.DIRECTORY])
    return words_of(visit, rows)


def words_of(visit: Visit, rows: list[Disclosure]) -> list[Look]:
    """These rows in words."""
    staff = staff_names(visit.database)
    return [_look(visit, staff, row) for row in rows]


def _look(visit: Visit, staff: dict[str, str], row: Disclosure) -> Look:
    known = visit.roster.get(row.student_id)
    organization = visit.organizations.get(row.organization_id)
    return Look(
        row.at, staff.get(row.user_id, "Somebody who has left"),
        organization.name if organization else row.organization_id,
        known.name if known else "A student no longer on the rolls",
        visit.scope.handle(row.student_id) if known else "", words.categories(row.categories.split(";")), row.purpose,
        words.basis(row.legal_basis), row.agreement_id, row.shown_together, row.law_requires,
    )  # fmt: skip
