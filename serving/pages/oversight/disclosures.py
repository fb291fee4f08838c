"""Who saw which record: the district's view of the log, and what a family is told about one
student.
"""

from __future__ import annotations

import os
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from records.disclosure_log.checkpoints import saved_checkpoints
from records.disclosure_log.history import count_disclosures, disclosures
from records.disclosure_log.verification import Verification, verify_log
from records.people.accounts import staff_names
from records.people.viewer import DISTRICT, NotInScope
from serving.exports.disclosure_report import (
    MAX_DISCLOSURES_LISTED,
    DisclosureReport,
    read_report,
    report_csv,
    report_pdf,
)
from serving.services.disclosures import _handle, _name, disclosure_lines
from serving.site.dependencies import DistrictAdminVisit, StudentInLog
from serving.site.visit import Visit

router = APIRouter()
PAGE_SIZE = 50
EVERYBODY = "everybody"


@router.get("/disclosures")
def disclosures_page(
    visit: DistrictAdminVisit,
    student: Annotated[str, Query(max_length=80)] = "",
    organization: str = "",
    person: Annotated[str, Query(max_length=40)] = "",
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
    check: bool = False,
) -> Response:
    student_id = find_logged_student(visit, student) if student else None
    asked = {"user_id": person} if person else viewer_filter(organization)
    found = count_disclosures(visit.database, **asked, student_id=student_id)
    rows = disclosures(
        visit.database,
        **asked,
        student_id=student_id,
        offset=(page - 1) * PAGE_SIZE,
        limit=PAGE_SIZE,
    )
    looks = disclosure_lines(visit, rows)
    checked = verify_disclosure_log(visit) if check else None
    return visit.page(
        "disclosures.html",
        looks=looks,
        found=found,
        pages=max(1, -(-found // PAGE_SIZE)),
        page=page,
        student=student,
        organization=organization,
        checked=checked,
        person=person,
        name=staff_names(visit.database).get(person, "Somebody who has left") if person else "",
        handle=_handle(visit, student_id) if student_id else "",
        stamp=visit.disclosures.stamp(()) if looks else "",
    )


def verify_disclosure_log(visit: Visit) -> Verification:
    """The whole log read, and compared with the heads that the home has kept."""
    return verify_log(
        visit.database, saved_checkpoints(visit.site.config.home), processes=os.cpu_count() or 1
    )


def find_logged_student(visit: Visit, text: str) -> str:
    """The student whom an officer names by the code of their page or by the district's number, also
    if they have left.

    Raises:
        NotInScope: neither the records nor the log know them.
    """
    try:
        return visit.student_named(text)
    except NotInScope:
        return visit.student_named(text, visit.log_scope)


def viewer_filter(organization: str) -> dict[str, str | None]:
    """Whose looks are asked for: by default all partners', since the district's own would bury
    them.
    """
    if organization == EVERYBODY:
        return {}
    return {"organization_id": organization} if organization else {"but_not": DISTRICT}


@router.get("/students/{handle}/disclosures")
def report_page(handle: str, visit: DistrictAdminVisit, student: StudentInLog) -> Response:
    report = _report(visit, student, MAX_DISCLOSURES_LISTED)
    return visit.page("report.html", report=report, name=_name(visit, student), handle=handle)


@router.get("/students/{handle}/disclosures.pdf")
def report_as_pdf(visit: DistrictAdminVisit, student: StudentInLog) -> Response:
    return _file(
        report_pdf(_report(visit, student, MAX_DISCLOSURES_LISTED)),
        "application/pdf",
        "who-has-seen.pdf",
    )


@router.get("/students/{handle}/disclosures.csv")
def report_as_csv(visit: DistrictAdminVisit, student: StudentInLog) -> Response:
    return _file(
        report_csv(_report(visit, student, None)), "text/csv; charset=utf-8", "who-has-seen.csv"
    )


def _report(visit: Visit, student: str, most: int | None) -> DisclosureReport:
    """The report, on which the look that it is stands already."""
    visit.disclosures.record_log_view([student])
    return read_report(
        visit.database, student, _name(visit, student), visit.now, visit.disclosures.stamp(()), most
    )


def _file(content: bytes, kind: str, name: str) -> Response:
    return Response(
        content, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )
