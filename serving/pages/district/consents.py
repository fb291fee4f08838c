"""Consents and opt-outs: what a student's family has signed, taken back and refused, for the
district alone.

Whatever is written down here counts at the next request. Nothing is deleted: what was revoked stays
on the list.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import RedirectResponse, Response

from records.canonical.schema import Category
from records.people.accounts import staff_names
from records.people.viewer import DISTRICT, NotInScope
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
from serving.site.dependencies import DistrictAdminVisit, StudentInScope
from serving.site.visit import Visit

router = APIRouter()
NO_SUCH_STUDENT = "There is no student with this number or code in the records."
ShortText = Annotated[str, Field(max_length=200)]
Done = Literal["", "added", "revoked", "kept-out", "ended"]
DONE_MESSAGES: dict[str, str] = {
    "added": "The consent is written down. It counts from the next request on.",
    "revoked": "The revocation is written down.",
    "kept-out": "The opt-out is written down.",
    "ended": "The end of the opt-out is written down.",
}
FIELD_LABELS: dict[str, str] = {
    "organization_id": "Partner",
    "categories": "What it opens",
    "purpose": "What the family agreed to",
    "signer": "Signed by",
    "signed_on": "Signed on",
    "expires_on": "Counts until",
    "revoked_by": "Who took it back",
    "revoked_on": "From which day",
    "since": "From which day",
    "ended": "From which day",
}


class ConsentForm(BaseModel):
    model_config = ConfigDict(extra="forbid")
    csrf: str
    organization_id: ShortText = ""
    categories: list[Category] = []
    purpose: Annotated[str, Field(max_length=2000)] = ""
    signer: ShortText = ""
    signed_on: ShortText = ""
    expires_on: ShortText = ""


class RevocationForm(BaseModel):
    model_config = ConfigDict(extra="forbid")
    csrf: str
    number: int
    revoked_by: ShortText = ""
    revoked_on: ShortText = ""


class OptOutForm(BaseModel):
    model_config = ConfigDict(extra="forbid")
    csrf: str
    day: ShortText = ""


@router.get("/consents")
def consents_page(
    visit: DistrictAdminVisit, student: Annotated[str, Query(max_length=40)] = ""
) -> Response:
    """The way to one student's list, and how many count today: no student is named."""
    code = student.strip()
    try:
        if code:
            return RedirectResponse(
                f"/consents/{visit.scope.handle(visit.student_named(code))}", 303
            )
    except NotInScope:
        return _front(visit, code, NO_SUCH_STUDENT)
    return _front(visit, code)


@router.get("/consents/{handle}")
def student_page(
    handle: str, visit: DistrictAdminVisit, student: StudentInScope, done: Done = ""
) -> Response:
    return _of_student(visit, handle, student, said=DONE_MESSAGES.get(done, ""))


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
        return _of_student(visit, handle, student, problem=_in_words(error), form=form)
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
        if form.number not in {one.number for one in consents(visit.database, student)}:
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
        return _of_student(visit, handle, student, problem=_in_words(error))
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
        return _of_student(visit, handle, student, problem=_in_words(error))
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
        return _of_student(visit, handle, student, problem=_in_words(error))
    return RedirectResponse(f"/consents/{handle}?done=ended", 303)


def _front(visit: Visit, student: str, problem: str = "") -> Response:
    counted = Counter(
        one.signed.organization_id for one in consents(visit.database) if one.counts(visit.today)
    )
    partners = [
        (one.name, counted[key]) for key, one in visit.organizations.items() if key in counted
    ]
    kept_out = len({one.student_id for one in opt_outs(visit.database) if one.counts(visit.today)})
    response = visit.page(
        "consents.html", student=student, problem=problem, partners=partners, kept_out=kept_out
    )
    response.status_code = 422 if problem else 200
    return response


def _of_student(
    visit: Visit,
    handle: str,
    student: str,
    *,
    said: str = "",
    problem: str = "",
    form: ConsentForm | None = None,
) -> Response:
    visit.disclosures.record([student], [Category.DIRECTORY])
    kept_out = opt_outs(visit.database, student)
    partners = {key: one.name for key, one in visit.organizations.items() if key != DISTRICT}
    response = visit.page(
        "student_consents.html",
        handle=handle,
        listed=visit.lists.roster[student],
        said=said,
        problem=problem,
        found=[(one, _state(visit, one)) for one in consents(visit.database, student)],
        kept_out=kept_out,
        lasting=next(
            (one for one in kept_out if one.ended is None or one.ended > visit.today), None
        ),
        partners=partners,
        form=form or ConsentForm(csrf=visit.csrf),
        staff=staff_names(visit.database),
        stamp=visit.disclosures.stamp([student]),
    )
    response.status_code = 422 if problem else 200
    return response


def _state(visit: Visit, consent: Consent) -> str:
    if consent.revoked_on is not None:
        return "Revoked"
    if consent.counts(visit.today):
        return "Counts"
    return "Ended" if consent.signed.expires_on < visit.today else "Not yet"


def _in_words(error: ConsentError) -> str:
    label = FIELD_LABELS.get(error.field)
    return f"{label}: this {error.reason}." if label else error.reason
