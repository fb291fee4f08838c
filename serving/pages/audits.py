"""Fairness audits: what each version of the model was found to do for whom, and who signed or refused it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Form, HTTPException
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import FileResponse, RedirectResponse, Response

from fairness.audit import Audit
from fairness.gate import Policy
from fairness.report import read_audit
from fairness.signoff import Approved, SignoffRefused, approved_model, refuse, sign
from records.accounts import staff_names
from records.scope import Role
from records.signoffs import signoffs
from serving.context import Visit, only
from training.lifecycle import ModelVersion, model_versions

router = APIRouter()
ForAuditors = Annotated[Visit, only(Role.EQUITY_REVIEWER, Role.DATA_SCIENTIST, Role.DISTRICT_ADMIN)]
ForReviewer = Annotated[Visit, only(Role.EQUITY_REVIEWER)]
NOT_AUDITED = "not audited yet"


@dataclass(frozen=True)
class Audited:
    """One registered version with its audit, if it has one."""

    version: ModelVersion
    audit: Audit | None
    serves: bool

    @property
    def verdict(self) -> str:
        return self.audit.verdict if self.audit else NOT_AUDITED


class ReviewForm(BaseModel):
    model_config = ConfigDict(extra="forbid")
    csrf: str
    decision: Literal["sign", "refuse"]
    reason: str = Field(min_length=1, max_length=2000)


@router.get("/audits")
def audits_page(visit: ForAuditors) -> Response:
    return visit.page("audits.html", versions=audited_versions(visit), why_not=_approved(visit).why_not)


@router.get("/audits/{version}")
def audit_page(version: int, visit: ForAuditors) -> Response:
    return _show(visit, _version(visit, version))


@router.post("/audits/{version}")
def review(version: int, visit: ForReviewer, form: Annotated[ReviewForm, Form()]) -> Response:
    visit.check_csrf(form.csrf)
    found = _version(visit, version)
    decide = sign if form.decision == "sign" else refuse
    try:
        decide(visit.database, visit.site.config.home, version, visit.viewer, form.reason, visit.now, Policy.declared())
    except SignoffRefused as error:
        return _show(visit, found, str(error), 409)
    return RedirectResponse(f"/audits/{version}", 303)


@router.get("/audits/{version}/chart.svg")
def chart(version: int, visit: ForAuditors) -> Response:
    return FileResponse(_file(visit, version, "chart.svg"), media_type="image/svg+xml")


@router.get("/audits/{version}/report.html")
def report(version: int, visit: ForAuditors) -> Response:
    name = f"handrail-audit-version-{version}.html"
    return FileResponse(_file(visit, version, "report.html"), media_type="text/html", filename=name)


def audited_versions(visit: Visit) -> list[Audited]:
    """Every registered version, the newest first."""
    home = visit.site.config.home
    serving = _approved(visit).version
    return [Audited(one, read_audit(home, one.version), one == serving) for one in model_versions(home)]


def _approved(visit: Visit) -> Approved:
    return approved_model(visit.database, visit.site.config.home, visit.now, Policy.declared())


def _version(visit: Visit, version: int) -> Audited:
    for found in audited_versions(visit):
        if found.version.version == version:
            return found
    raise HTTPException(404)


def _show(visit: Visit, found: Audited, problem: str = "", status: int = 200) -> Response:
    response = visit.page(
        "audit.html", found=found, problem=problem, staff=staff_names(visit.database),
        signatures=signoffs(visit.database, found.version.sha256), may_sign=visit.viewer.role is Role.EQUITY_REVIEWER,
        has_chart=_path(visit, found.version.version, "chart.svg").is_file(),
    )  # fmt: skip
    response.status_code = status
    return response


def _file(visit: Visit, version: int, name: str) -> Path:
    file = _path(visit, version, name)
    if not file.is_file():
        raise HTTPException(404)
    return file


def _path(visit: Visit, version: int, name: str) -> Path:
    return visit.site.config.home / "audits" / f"v{version}" / name
