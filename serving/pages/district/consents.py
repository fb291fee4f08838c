"""Consents and opt-outs: what a student's family has signed, revoked and declined.

For the district alone. A change takes effect at the next request. Nothing is deleted: what was
revoked stays on the list.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Query
from pydantic import Field
from starlette.responses import RedirectResponse, Response

from records.canonical.schema import Category
from records.permissions.consents import (
    Consent,
    ConsentError,
    add_consent,
    consents,
    parse_consent,
    parse_date,
    revoke_consent,
)
from records.permissions.opt_outs import add_opt_out, end_opt_out, opt_outs
from records.staff.accounts import staff_names
from records.staff.viewer import DISTRICT, NotInScope
from serving.pages.forms import (
    NO_SUCH_STUDENT,
    CsrfForm,
    LongText,
    ShortText,
    field_message,
)
from serving.site.dependencies import DistrictAdminVisit, StudentInScope
from serving.site.visit import Visit

router = APIRouter()
Done = Literal["", "added", "revoked", "kept-out", "ended"]
DONE_MESSAGES: dict[str, str] = {
    "added": "Consent saved. It takes effect immediately.",
    "revoked": "Revocation saved.",
    "kept-out": "Opt-out saved.",
    "ended": "End of the opt-out saved.",
}
IN_EFFECT = "In effect"
FIELD_LABELS: dict[str, str] = {
    "organization_id": "Partner",
    "categories": "Categories shared",
    "purpose": "What the family agreed to",
    "signer": "Signed by",
    "signed_on": "Signed on",
    "expires_on": "Valid through",
    "revoked_by": "Revoked by",
    "revoked_on": "Revoked as of",
    "since": "Opted out as of",
    "ended": "Opt-out ends on",
}


class ConsentForm(CsrfForm):
    organization_id: ShortText = ""
    categories: list[Category] = Field(default_factory=list)
    purpose: LongText = ""
    signer: ShortText = ""
    signed_on: ShortText = ""
    expires_on: ShortText = ""


class RevocationForm(CsrfForm):
    number: int
    revoked_by: ShortText = ""
    revoked_on: ShortText = ""


class OptOutForm(CsrfForm):
    day: ShortText = ""


@router.get("/consents")
def consents_page(
    visit: DistrictAdminVisit, student: Annotated[str, Query(max_length=40)] = ""
) -> Response:
    """The way to one student's consents, and how many are in effect: no student is named."""
    code = student.strip()
    if not code:
        return _overview(visit, code)
    try:
        student_id = visit.find_student(code)
    except NotInScope:
        return _overview(visit, code, NO_SUCH_STUDENT)
    return RedirectResponse(f"/consents/{visit.scope.handle(student_id)}", 303)


@router.get("/consents/{handle}")
def student_page(
    handle: str, visit: DistrictAdminVisit, student: StudentInScope, done: Done = ""
) -> Response:
    return _student_page(visit, handle, student, message=DONE_MESSAGES.get(done, ""))


@router.post("/consents/{handle}")
def add(
    handle: str,
    visit: DistrictAdminVisit,
    student: StudentInScope,
    form: Annotated[ConsentForm, Form()],
) -> Response:
    visit.check_csrf(form.csrf)
    fields = form.model_dump(exclude={"csrf", "categories"})
    try:
        signed = parse_consent(
            {**fields, "student_id": student, "categories": ";".join(form.categories)}
        )
        add_consent(visit.database, visit.scope, signed, visit.now)
    except ConsentError as error:
        return _student_page(
            visit, handle, student, problem=field_message(FIELD_LABELS, error), form=form
        )
    return RedirectResponse(f"/consents/{handle}?done=added", 303)


@router.post("/consents/{handle}/revoke")
def revoke(
    handle: str,
    visit: DistrictAdminVisit,
    student: StudentInScope,
    form: Annotated[RevocationForm, Form()],
) -> Response:
    visit.check_csrf(form.csrf)
    try:
        own = {consent.number for consent in consents(visit.database, student)}
        if form.number not in own:
            raise ConsentError("This student has no such consent.")
        revoke_consent(
            visit.database,
            visit.viewer,
            form.number,
            by=form.revoked_by,
            on=parse_date("revoked_on", form.revoked_on),
            now=visit.now,
        )
    except ConsentError as error:
        return _student_page(visit, handle, student, problem=field_message(FIELD_LABELS, error))
    return RedirectResponse(f"/consents/{handle}?done=revoked", 303)


@router.post("/consents/{handle}/opt-out")
def start_opt_out(
    handle: str,
    visit: DistrictAdminVisit,
    student: StudentInScope,
    form: Annotated[OptOutForm, Form()],
) -> Response:
    visit.check_csrf(form.csrf)
    try:
        add_opt_out(visit.database, visit.scope, student, parse_date("since", form.day), visit.now)
    except ConsentError as error:
        return _student_page(visit, handle, student, problem=field_message(FIELD_LABELS, error))
    return RedirectResponse(f"/consents/{handle}?done=kept-out", 303)


@router.post("/consents/{handle}/opt-out/end")
def stop_opt_out(
    handle: str,
    visit: DistrictAdminVisit,
    student: StudentInScope,
    form: Annotated[OptOutForm, Form()],
) -> Response:
    visit.check_csrf(form.csrf)
    try:
        end_opt_out(visit.database, visit.viewer, student, parse_date("ended", form.day), visit.now)
    except ConsentError as error:
        return _student_page(visit, handle, student, problem=field_message(FIELD_LABELS, error))
    return RedirectResponse(f"/consents/{handle}?done=ended", 303)


def _overview(visit: Visit, student: str, problem: str = "") -> Response:
    in_effect = Counter(
        consent.signed.organization_id
        for consent in consents(visit.database)
        if consent.counts(visit.today)
    )
    opted_out = {
        opt_out.student_id for opt_out in opt_outs(visit.database) if opt_out.counts(visit.today)
    }
    return visit.page(
        "consents.html",
        status=422 if problem else 200,
        student_code=student,
        problem=problem,
        partners=[
            (organization.name, in_effect[key])
            for key, organization in visit.organizations.items()
            if key in in_effect
        ],
        opted_out_count=len(opted_out),
    )


def _student_page(
    visit: Visit,
    handle: str,
    student: str,
    *,
    message: str = "",
    problem: str = "",
    form: ConsentForm | None = None,
) -> Response:
    visit.disclosures.record([student], [Category.DIRECTORY])
    family_opt_outs = opt_outs(visit.database, student)
    return visit.page(
        "student_consents.html",
        status=422 if problem else 200,
        handle=handle,
        student=visit.lists.roster[student],
        message=message,
        problem=problem,
        consents=[
            (consent, _status(visit, consent)) for consent in consents(visit.database, student)
        ],
        opt_outs=family_opt_outs,
        has_lasting_opt_out=any(
            opt_out.ended is None or opt_out.ended > visit.today for opt_out in family_opt_outs
        ),
        partners={
            key: organization.name
            for key, organization in visit.organizations.items()
            if key != DISTRICT
        },
        form=form or ConsentForm(csrf=visit.csrf),
        staff=staff_names(visit.database),
        terms=visit.disclosures.terms([student]),
    )


def _status(visit: Visit, consent: Consent) -> str:
    if consent.revoked_on is not None:
        return "Revoked"
    if consent.counts(visit.today):
        return IN_EFFECT
    return "Ended" if consent.signed.expires_on < visit.today else "Not yet in effect"
