"""Who saw what: the disclosure log for the district, and the family's report of one student."""

from __future__ import annotations

import os
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from records.disclosure_log.checkpoints import saved_checkpoints
from records.disclosure_log.history import count_disclosures, disclosures
from records.disclosure_log.verification import Verification, verify_log
from records.staff.accounts import staff_names
from records.staff.viewer import DISTRICT, NotInScope
from serving.exports.disclosure_report import (
    MAX_DISCLOSURES_LISTED,
    DisclosureReport,
    read_report,
    report_csv,
    report_pdf,
)
from serving.pages.pager import Pager
from serving.services.disclosures import (
    disclosure_lines,
    logged_student_handle,
    logged_student_name,
)
from serving.site.dependencies import DistrictAdminVisit, StudentInLog
from serving.site.visit import Visit
from serving.wording import words

router = APIRouter()
EVERYBODY = "everybody"
"""The form's value for all organizations, the district included."""


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
    viewers = {"user_id": person} if person else viewer_filter(organization)
    total = count_disclosures(visit.database, **viewers, student_id=student_id)
    pager = Pager(page, total)
    rows = disclosures(
        visit.database, **viewers, student_id=student_id, offset=pager.offset, limit=pager.size
    )
    lines = disclosure_lines(visit, rows)
    return visit.page(
        "disclosures.html",
        disclosures=lines,
        pager=pager,
        student_code=student,
        organization=organization,
        person=person,
        person_name=words.staff_name(staff_names(visit.database), person) if person else "",
        handle=logged_student_handle(visit, student_id) if student_id else "",
        verification=verify_disclosure_log(visit) if check else None,
        terms=visit.disclosures.terms(()) if lines else "",
    )


@router.get("/students/{handle}/disclosures")
def report_page(handle: str, visit: DistrictAdminVisit, student: StudentInLog) -> Response:
    return visit.page(
        "report.html",
        report=_report(visit, student, MAX_DISCLOSURES_LISTED),
        student_name=logged_student_name(visit, student),
        handle=handle,
    )


@router.get("/students/{handle}/disclosures.pdf")
def report_as_pdf(visit: DistrictAdminVisit, student: StudentInLog) -> Response:
    report = _report(visit, student, MAX_DISCLOSURES_LISTED)
    return _attachment(report_pdf(report), "application/pdf", "who-has-seen.pdf")


@router.get("/students/{handle}/disclosures.csv")
def report_as_csv(visit: DistrictAdminVisit, student: StudentInLog) -> Response:
    report = _report(visit, student, max_listed=None)
    return _attachment(report_csv(report), "text/csv; charset=utf-8", "who-has-seen.csv")


def verify_disclosure_log(visit: Visit) -> Verification:
    """The whole log, read and compared with the checkpoints saved in the home folder."""
    checkpoints = saved_checkpoints(visit.site.config.home)
    return verify_log(visit.database, checkpoints, processes=os.cpu_count() or 1)


def find_logged_student(visit: Visit, text: str) -> str:
    """The ID of the student whom a district administrator names by the code of their page or by
    their ID, also if they have left.

    Raises:
        NotInScope: neither the records nor the log know them.
    """
    try:
        return visit.find_student(text)
    except NotInScope:
        return visit.find_student(text, visit.disclosure_log_scope)


def viewer_filter(organization: str) -> dict[str, str | None]:
    """Whose views are listed, as arguments of `disclosures`: by default all partners', since the
    district's own would bury them.
    """
    if organization == EVERYBODY:
        return {}
    return {"organization_id": organization} if organization else {"but_not": DISTRICT}


def _report(visit: Visit, student: str, max_listed: int | None) -> DisclosureReport:
    """The report, with the view that making it is."""
    visit.disclosures.record_log_view([student])
    name = logged_student_name(visit, student)
    terms = visit.disclosures.terms(())
    return read_report(visit.database, student, name, visit.now, terms, max_listed)


def _attachment(content: bytes, media_type: str, name: str) -> Response:
    disposition = f'attachment; filename="{name}"'
    return Response(content, media_type=media_type, headers={"Content-Disposition": disposition})
