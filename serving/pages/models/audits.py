"""Fairness audits: which versions of the model wait for a reviewer, what each was found to do for
whom, and who signed or refused it. Nothing here names a student: all of it is made of audits, which
hold none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, HTTPException, Query
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import FileResponse, RedirectResponse, Response

from fairness.approval.signoff import (
    SignoffRefused,
    refuse,
    sign,
    signoff_requirements,
)
from fairness.audit.audit import Audit
from fairness.policy.policy import Policy
from fairness.report import wording
from fairness.report.report import (
    audit_folder,
    checks_html,
    findings_css,
    findings_html,
)
from fairness.report.views import compare_audits
from records.decisions.signoffs import SIGNED, Signoff, signoffs, verified_signoffs
from records.people.accounts import staff_names
from records.people.viewer import Role
from serving.services.audits import (
    AuditedVersion,
    _with_audits,
    approval_service_of,
    approved_version,
    audited_versions,
)
from serving.site.dependencies import AuditorVisit, require_role
from serving.site.visit import Visit
from training.registry.registry import model_versions

router = APIRouter()
ReviewerVisit = Annotated[Visit, require_role(Role.EQUITY_REVIEWER)]
AuditDigest = Annotated[str, Query(pattern="^([0-9a-f]{64})?$")]
VersionNumber = Annotated[int, Query(ge=0, le=1_000_000)]
FILES: Mapping[str, str] = {
    "report.html": "text/html",
    "report.pdf": "application/pdf",
    "audit.json": "application/json",
}
"""What may be taken home of an audit."""


@dataclass(frozen=True)
class ServingVersion:
    """The version that serves, the audit that was signed of it, and until when that holds."""

    found: AuditedVersion
    audit: Audit
    until: datetime


@dataclass(frozen=True)
class SignoffEntry:
    """One entry of the history. `whole`: whether it is as it was kept, so that it counts."""

    signoff: Signoff
    whole: bool


class ReviewForm(BaseModel):
    model_config = ConfigDict(extra="forbid")
    csrf: str
    decision: Literal["sign", "refuse"]
    audit: str = Field(pattern="^[0-9a-f]{64}$")
    reason: str = Field(min_length=1, max_length=2000)


@router.get("/audits")
def audits_page(visit: AuditorVisit) -> Response:
    versions, history = audited_versions(visit), _history(visit)
    decisions = [one.signoff for one in history if one.whole]
    waiting = [one for one in versions if _waits(one, decisions)]
    return visit.page(
        "audits.html",
        versions=versions,
        waiting=waiting,
        serving=_serving(versions, history, Policy.from_home(visit.site.config.home)),
        history=history,
        staff=staff_names(visit.database),
        why_not=approved_version(visit).why_not,
    )


@router.get("/audits/compare")
def compare(
    visit: AuditorVisit,
    first: VersionNumber = 0,
    second: VersionNumber = 0,
    first_audit: AuditDigest = "",
    second_audit: AuditDigest = "",
) -> Response:
    """Two audits beside each other; without two versions, a form to choose them."""
    versions = [one for one in audited_versions(visit) if one.audit]
    if not first and not second:
        return visit.page("audit_compare.html", versions=versions, audits=None, compared=None)
    audits = [_chosen(visit, *one) for one in ((first, first_audit), (second, second_audit))]
    return visit.page(
        "audit_compare.html", versions=versions, audits=audits, compared=compare_audits(*audits)
    )


@router.get("/audits/findings.css")
def findings_stylesheet(visit: AuditorVisit) -> Response:
    """The look of what an audit found: the same file as in its report."""
    return Response(findings_css(), media_type="text/css")


@router.get("/audits/{version}")
def audit_page(version: int, visit: AuditorVisit, audit: AuditDigest = "") -> Response:
    return _show(visit, _version(visit, version), audit)


@router.post("/audits/{version}")
def review(version: int, visit: ReviewerVisit, form: Annotated[ReviewForm, Form()]) -> Response:
    visit.check_csrf(form.csrf)
    found = _version(visit, version)
    desk = approval_service_of(visit)
    try:
        if form.decision == "sign":
            sign(desk, version, visit.viewer, form.reason, visit.now, read=form.audit)
        else:
            refuse(desk, version, visit.viewer, form.reason, visit.now)
    except SignoffRefused as error:
        return _show(visit, found, "", str(error), 409)
    return RedirectResponse(f"/audits/{version}", 303)


@router.get("/audits/{version}/chart.svg")
def chart(version: int, visit: AuditorVisit, audit: AuditDigest = "") -> Response:
    return FileResponse(_file(visit, version, audit, "chart.svg"), media_type="image/svg+xml")


@router.get("/audits/{version}/chart-narrow.svg")
def narrow_chart(version: int, visit: AuditorVisit, audit: AuditDigest = "") -> Response:
    return FileResponse(
        _file(visit, version, audit, "chart-narrow.svg"), media_type="image/svg+xml"
    )


@router.get("/audits/{version}/curves.svg")
def curves(version: int, visit: AuditorVisit, audit: AuditDigest = "") -> Response:
    return FileResponse(_file(visit, version, audit, "curves.svg"), media_type="image/svg+xml")


@router.get("/audits/{version}/report.html")
def report(version: int, visit: AuditorVisit, audit: AuditDigest = "") -> Response:
    return _download(visit, version, audit, "report.html")


@router.get("/audits/{version}/report.pdf")
def report_pdf(version: int, visit: AuditorVisit, audit: AuditDigest = "") -> Response:
    return _download(visit, version, audit, "report.pdf")


@router.get("/audits/{version}/audit.json")
def audit_json(version: int, visit: AuditorVisit, audit: AuditDigest = "") -> Response:
    return _download(visit, version, audit, "audit.json")


def _version(visit: Visit, version: int) -> AuditedVersion:
    found = [one for one in model_versions(visit.site.config.home) if one.version == version]
    for one in _with_audits(visit, found):
        return one
    raise HTTPException(404)


def _chosen(visit: Visit, version: int, which: str) -> Audit:
    audit = _version(visit, version).chosen(which)
    if audit is None:
        raise HTTPException(404)
    return audit


def _history(visit: Visit) -> list[SignoffEntry]:
    """Every decision on record, the newest first."""
    whole = verified_signoffs(visit.database, visit.site.config.secret)
    return [SignoffEntry(one, one in whole) for one in signoffs(visit.database)]


def _waits(found: AuditedVersion, decisions: list[Signoff]) -> bool:
    """Whether a reviewer is asked about a version: nobody has decided on its newest audit, and it
    neither serves nor gave way to another one that was signed.

    Args:
        decisions: those that count, the newest first.
    """
    version = found.version
    own = next(
        (
            one
            for one in decisions
            if (one.model_version, one.model_sha256) == (version.version, version.sha256)
        ),
        None,
    )
    if found.serves or own is None:
        return not found.serves
    gave_way = own.decision == SIGNED and own != next(
        one for one in decisions if one.decision == SIGNED
    )
    return not gave_way and found.audit is not None and found.audit.sha256 != own.audit_sha256


def _serving(
    versions: list[AuditedVersion], history: list[SignoffEntry], policy: Policy
) -> ServingVersion | None:
    found = next((one for one in versions if one.serves), None)
    signed = (
        None
        if found is None
        else next(
            (
                one.signoff
                for one in history
                if one.whole
                and one.signoff.decision == SIGNED
                and one.signoff.model_version == found.version.version
            ),
            None,
        )
    )
    audit = found.chosen(signed.audit_sha256) if found and signed else None
    if found is None or audit is None:
        return None
    return ServingVersion(found, audit, audit.at + timedelta(days=policy.valid_days))


def _show(
    visit: Visit, found: AuditedVersion, which: str, problem: str = "", status: int = 200
) -> Response:
    audit = found.chosen(which)
    if which and audit is None:
        raise HTTPException(404)
    own = {} if audit is None else _findings(visit, found, audit)
    asked = None
    if audit is not None and audit == found.audit and visit.viewer.role is Role.EQUITY_REVIEWER:
        asked = signoff_requirements(approval_service_of(visit), found.version, audit, visit.now)
    response = visit.page(
        "audit.html",
        found=found,
        audit=audit,
        problem=problem,
        staff=staff_names(visit.database),
        files=FILES,
        signatures=signoffs(visit.database, found.version.sha256),
        asked=asked,
        shortest=Policy.from_home(visit.site.config.home).shortest_reason,
        **own,
    )
    response.status_code = status
    return response


def _findings(visit: Visit, found: AuditedVersion, audit: Audit) -> dict[str, Any]:
    """What the page of a version shows of one audit."""
    dots = Markup('<picture><source media="(max-width: 46rem)" srcset="{}">{}</picture>').format(
        _address(audit, "chart-narrow.svg"), _image(audit, "chart.svg", wording.DOT_PLOT_ALT)
    )
    charts = (
        dots,
        _image(audit, "curves.svg", wording.TRADEOFF_CHART_ALT) if audit.curves else Markup(),
    )
    return {
        "findings": findings_html(audit, *charts),
        "checks": checks_html(audit),
        "beside": list(_beside(visit, found, audit)),
    }


def _image(audit: Audit, name: str, alt: str) -> Markup:
    return Markup('<img src="{}" alt="{}">').format(_address(audit, name), alt)


def _address(audit: Audit, name: str) -> str:
    return f"/audits/{audit.version}/{name}?audit={audit.sha256}"


def _beside(visit: Visit, found: AuditedVersion, audit: Audit) -> Iterator[tuple[str, str]]:
    """What an audit may be compared with: words and address."""

    def address(first: Audit) -> str:
        return (
            f"/audits/compare?first={first.version}&second={audit.version}&first_audit={first.sha256}"
            f"&second_audit={audit.sha256}"
        )

    version = None if found.serves else approved_version(visit).version
    if version is not None:
        policy = Policy.from_home(visit.site.config.home)
        serving = _serving(list(_with_audits(visit, [version])), _history(visit), policy)
        if serving is not None:
            yield "Compare with the one that serves", address(serving.audit)
    before = found.audits[found.audits.index(audit) + 1 :]
    if before:
        yield "Compare with the audit before", address(before[0])


def _download(visit: Visit, version: int, which: str, name: str) -> Response:
    title = f"handrail-audit-version-{version}{Path(name).suffix}"
    return FileResponse(_file(visit, version, which, name), media_type=FILES[name], filename=title)


def _file(visit: Visit, version: int, which: str, name: str) -> Path:
    audit = _version(visit, version).chosen(which)
    file = audit_folder(visit.site.config.home, audit) / name if audit else None
    if file is None or not file.is_file():
        raise HTTPException(404)
    return file
