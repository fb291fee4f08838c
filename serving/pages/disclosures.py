"""Who saw which record: the district's view of the log, and what a family is told about one student."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from records.accounts import staff_names
from records.disclosures import Disclosure, count_disclosures, disclosures, kept_heads, verify
from records.schema import Category
from records.scope import DISTRICT
from serving.context import ForDistrict, InScope, Visit
from serving.disclosure_report import MOST_LOOKS, Look, Report, look_in_words, read_report, report_csv, report_pdf

router = APIRouter()
PAGE = 50
EVERYBODY = "everybody"
DESTROYED = "A student whose record was destroyed"
LEFT = "A student no longer on the rolls"


@router.get("/disclosures")
def disclosures_page(visit: ForDistrict, student: Annotated[str, Query(max_length=40)] = "", organization: str = "",
                     page: Annotated[int, Query(ge=1, le=100_000)] = 1, check: bool = False) -> Response:  # fmt: skip
    student_id = visit.scope.student_of(student) if student else None
    asked = looks_by(organization) | {"student_id": student_id}
    found = count_disclosures(visit.database, **asked)
    rows = disclosures(visit.database, **asked, offset=(page - 1) * PAGE, limit=PAGE)
    looks = looks_of(visit, rows)
    checked = verify(visit.database, kept_heads(visit.site.config.home)) if check else None
    return visit.page("disclosures.html", looks=looks, found=found, pages=max(1, -(-found // PAGE)), page=page,
                      student=student, organization=organization, checked=checked,
                      stamp=visit.stamp(()) if looks else "")  # fmt: skip


def looks_by(organization: str) -> dict[str, str | None]:
    """Whose looks are asked for: by default all partners', since the district's own would bury them."""
    if organization == EVERYBODY:
        return {}
    return {"organization_id": organization} if organization else {"but_not": DISTRICT}


@router.get("/students/{handle}/disclosures")
def report_page(handle: str, visit: ForDistrict, student: InScope) -> Response:
    report = _report(visit, student, MOST_LOOKS)
    return visit.page("report.html", report=report, name=visit.roster[student].name, handle=handle)


@router.get("/students/{handle}/disclosures.pdf")
def report_as_pdf(visit: ForDistrict, student: InScope) -> Response:
    return _file(report_pdf(_report(visit, student, MOST_LOOKS)), "application/pdf", "who-has-seen.pdf")


@router.get("/students/{handle}/disclosures.csv")
def report_as_csv(visit: ForDistrict, student: InScope) -> Response:
    return _file(report_csv(_report(visit, student, None)), "text/csv; charset=utf-8", "who-has-seen.csv")


def looks_of(visit: Visit, rows: list[Disclosure]) -> list[Look]:
    """These rows in words; the names on them are themselves a look, which is written down first."""
    named = list(dict.fromkeys(row.student_id for row in rows if row.student_id in visit.scope.students))
    visit.disclose([student for student in named if student is not None], [Category.DIRECTORY])
    staff = staff_names(visit.database)
    return [look_in_words(row, staff, visit.organizations, *_student(visit, row.student_id)) for row in rows]


def _student(visit: Visit, student_id: str | None) -> tuple[str, str]:
    """Name and handle."""
    if student_id is None:
        return DESTROYED, ""
    known = visit.roster.get(student_id)
    return (known.name, visit.scope.handle(student_id)) if known else (LEFT, "")


def _report(visit: Visit, student: str, most: int | None) -> Report:
    """The report, on which the look that it is stands already."""
    visit.disclose([student], [Category.DIRECTORY])
    name = visit.roster[student].name
    return read_report(visit.database, student, name, visit.now, visit.stamp([student]), most)


def _file(content: bytes, kind: str, name: str) -> Response:
    return Response(content, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})
