"""Fairness audits: which model versions wait for a reviewer, what each does, and who signed it.

Nothing here names a student: all of it is made from audits, which hold none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, HTTPException, Query
from markupsafe import Markup
from pydantic import Field
from starlette.responses import FileResponse, RedirectResponse, Response

from fairness.approval.signoff import SignoffRefused, refuse, sign, signoff_requirements
from fairness.audit.audit import Audit
from fairness.checks.policy import Policy
from fairness.report import wording
from fairness.report.report import audit_folder, checks_html, findings_css, findings_html
from fairness.report.views import compare_audits
from records.decisions.signoffs import SIGNED, Signoff, signoffs, verified_signoffs
from records.staff.accounts import staff_names
from records.staff.viewer import Role
from serving.pages.forms import CsrfForm
from serving.services.audits import (
    AuditedVersion,
    approval_service,
    approved_version,
    audited_versions,
    with_audits,
)
from serving.site.dependencies import AuditorVisit, ReviewerVisit
from serving.site.visit import Visit
from training.registry.registry import model_versions

router = APIRouter()
AuditDigest = Annotated[str, Query(pattern="^([0-9a-f]{64})?$")]
VersionNumber = Annotated[int, Query(ge=0, le=1_000_000)]
FILES: Mapping[str, str] = {
    "report.html": "text/html",
    "report.pdf": "application/pdf",
    "audit.json": "application/json",
}
"""What may be downloaded of an audit, with its media type."""


@dataclass(frozen=True)
class ServingVersion:
    """The version in use, the audit of it that was signed, and until when that is valid."""

    audited: AuditedVersion
    audit: Audit
    until: datetime


@dataclass(frozen=True)
class SignoffEntry:
    """One entry of the history; it counts only where it is intact."""

    signoff: Signoff
    is_intact: bool


class ReviewForm(CsrfForm):
    decision: Literal["sign", "refuse"]
    audit: str = Field(pattern="^[0-9a-f]{64}$")
    reason: str = Field(min_length=1, max_length=2000)


@router.get("/audits")
def audits_page(visit: AuditorVisit) -> Response:
    versions, history = audited_versions(visit), _history(visit)
    decisions = [entry.signoff for entry in history if entry.is_intact]
    return visit.page(
        "audits.html",
        versions=versions,
        waiting=[version for version in versions if _waits(version, decisions)],
        serving=_serving_version(versions, history, _policy(visit)),
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
    """Two audits side by side; without two versions, a form to choose them."""
    versions = [version for version in audited_versions(visit) if version.audit]
    if not first and not second:
        return visit.page("audit_compare.html", versions=versions, audits=None, comparison=None)
    audits = (_find_audit(visit, first, first_audit), _find_audit(visit, second, second_audit))
    return visit.page(
        "audit_compare.html", versions=versions, audits=audits, comparison=compare_audits(*audits)
    )


@router.get("/audits/findings.css")
def findings_stylesheet(visit: AuditorVisit) -> Response:
    """The style sheet of an audit's findings, which its report has too."""
    return Response(findings_css(), media_type="text/css")


@router.get("/audits/{version}")
def audit_page(version: int, visit: AuditorVisit, audit: AuditDigest = "") -> Response:
    return _version_page(visit, _find_version(visit, version), audit)


@router.post("/audits/{version}")
def review(version: int, visit: ReviewerVisit, form: Annotated[ReviewForm, Form()]) -> Response:
    visit.check_csrf(form.csrf)
    audited = _find_version(visit, version)
    service = approval_service(visit)
    try:
        if form.decision == "sign":
            sign(service, version, visit.viewer, form.reason, visit.now, read=form.audit)
        else:
            refuse(service, version, visit.viewer, form.reason, visit.now)
    except SignoffRefused as error:
        return _version_page(visit, audited, "", str(error), 409)
    return RedirectResponse(f"/audits/{version}", 303)


@router.get("/audits/{version}/chart.svg")
def chart(version: int, visit: AuditorVisit, audit: AuditDigest = "") -> Response:
    return _chart(visit, version, audit, "chart.svg")


@router.get("/audits/{version}/chart-narrow.svg")
def narrow_chart(version: int, visit: AuditorVisit, audit: AuditDigest = "") -> Response:
    return _chart(visit, version, audit, "chart-narrow.svg")


@router.get("/audits/{version}/curves.svg")
def curves(version: int, visit: AuditorVisit, audit: AuditDigest = "") -> Response:
    return _chart(visit, version, audit, "curves.svg")


@router.get("/audits/{version}/report.html")
def report(version: int, visit: AuditorVisit, audit: AuditDigest = "") -> Response:
    return _download(visit, version, audit, "report.html")


@router.get("/audits/{version}/report.pdf")
def report_pdf(version: int, visit: AuditorVisit, audit: AuditDigest = "") -> Response:
    return _download(visit, version, audit, "report.pdf")


@router.get("/audits/{version}/audit.json")
def audit_json(version: int, visit: AuditorVisit, audit: AuditDigest = "") -> Response:
    return _download(visit, version, audit, "audit.json")


def _find_version(visit: Visit, number: int) -> AuditedVersion:
    """The registered version of this number.

    Raises:
        HTTPException: there is none.
    """
    registered = model_versions(visit.site.config.home)
    for version in with_audits(visit, [each for each in registered if each.version == number]):
        return version
    raise HTTPException(404)


def _find_audit(visit: Visit, number: int, sha256: str) -> Audit:
    """An audit of a version, the newest for an empty digest.

    Raises:
        HTTPException: there is none.
    """
    audit = _find_version(visit, number).find_audit(sha256)
    if audit is None:
        raise HTTPException(404)
    return audit


def _history(visit: Visit) -> list[SignoffEntry]:
    """Every decision on record, the newest first."""
    verified = verified_signoffs(visit.database, visit.site.config.secret)
    return [SignoffEntry(signoff, signoff in verified) for signoff in signoffs(visit.database)]


def _waits(audited: AuditedVersion, decisions: list[Signoff]) -> bool:
    """Whether a reviewer is asked about a version: it is not in use, and nobody has decided on its
    newest audit. A signed version that another one has replaced does not wait again.

    Args:
        decisions: those that count, the newest first.
    """
    if audited.is_serving:
        return False
    key = (audited.version.version, audited.version.sha256)
    own = next(
        (signoff for signoff in decisions if (signoff.model_version, signoff.model_sha256) == key),
        None,
    )
    if own is None:
        return True
    newest_signed = next((signoff for signoff in decisions if signoff.decision == SIGNED), None)
    if own.decision == SIGNED and own != newest_signed:
        return False
    return audited.audit is not None and audited.audit.sha256 != own.audit_sha256


def _policy(visit: Visit) -> Policy:
    """The district's own fairness policy."""
    return Policy.from_home(visit.site.config.home)


def _serving_version(
    versions: list[AuditedVersion], history: list[SignoffEntry], policy: Policy
) -> ServingVersion | None:
    """The version in use with the audit that was signed of it; None where there is none."""
    audited = next((version for version in versions if version.is_serving), None)
    if audited is None:
        return None
    signed = next(
        (
            entry.signoff
            for entry in history
            if entry.is_intact
            and entry.signoff.decision == SIGNED
            and entry.signoff.model_version == audited.version.version
        ),
        None,
    )
    audit = audited.find_audit(signed.audit_sha256) if signed else None
    if audit is None:
        return None
    valid_for = timedelta(days=policy.valid_days)
    return ServingVersion(audited, audit, audit.at + valid_for)


def _version_page(
    visit: Visit, audited: AuditedVersion, sha256: str, problem: str = "", status: int = 200
) -> Response:
    audit = audited.find_audit(sha256)
    if sha256 and audit is None:
        raise HTTPException(404)
    requirements = None
    if audit is not None and audit == audited.audit and visit.viewer.role is Role.EQUITY_REVIEWER:
        requirements = signoff_requirements(
            approval_service(visit), audited.version, audit, visit.now
        )
    return visit.page(
        "audit.html",
        status=status,
        audited=audited,
        audit=audit,
        problem=problem,
        staff=staff_names(visit.database),
        files=FILES,
        signatures=signoffs(visit.database, audited.version.sha256),
        requirements=requirements,
        shortest_reason=_policy(visit).shortest_reason,
        **({} if audit is None else _findings(visit, audited, audit)),
    )


def _findings(visit: Visit, audited: AuditedVersion, audit: Audit) -> dict[str, Any]:
    """What the page of a version shows of one audit."""
    dots = Markup('<picture><source media="(max-width: 46rem)" srcset="{}">{}</picture>').format(
        _file_address(audit, "chart-narrow.svg"), _image(audit, "chart.svg", wording.DOT_PLOT_ALT)
    )
    curves = _image(audit, "curves.svg", wording.TRADEOFF_CHART_ALT) if audit.curves else Markup()
    return {
        "findings": findings_html(audit, dots, curves),
        "checks": checks_html(audit),
        "comparisons": list(_comparisons(visit, audited, audit)),
    }


def _image(audit: Audit, name: str, alt: str) -> Markup:
    return Markup('<img src="{}" alt="{}">').format(_file_address(audit, name), alt)


def _file_address(audit: Audit, name: str) -> str:
    return f"/audits/{audit.version}/{name}?audit={audit.sha256}"


def _comparisons(visit: Visit, audited: AuditedVersion, audit: Audit) -> Iterator[tuple[str, str]]:
    """What an audit may be compared with: label and address."""
    approved = None if audited.is_serving else approved_version(visit).version
    if approved is not None:
        audited_version = with_audits(visit, [approved])
        serving = _serving_version(audited_version, _history(visit), _policy(visit))
        if serving is not None:
            yield "Compare with the version in use", _comparison_address(serving.audit, audit)
    earlier = audited.audits[audited.audits.index(audit) + 1 :]
    if earlier:
        yield "Compare with the previous audit", _comparison_address(earlier[0], audit)


def _comparison_address(first: Audit, second: Audit) -> str:
    return (
        f"/audits/compare?first={first.version}&second={second.version}"
        f"&first_audit={first.sha256}&second_audit={second.sha256}"
    )


def _chart(visit: Visit, version: int, sha256: str, name: str) -> Response:
    return FileResponse(_find_file(visit, version, sha256, name), media_type="image/svg+xml")


def _download(visit: Visit, version: int, sha256: str, name: str) -> Response:
    file = _find_file(visit, version, sha256, name)
    download_name = f"handrail-audit-version-{version}{Path(name).suffix}"
    return FileResponse(file, media_type=FILES[name], filename=download_name)


def _find_file(visit: Visit, version: int, sha256: str, name: str) -> Path:
    """A file of an audit's folder.

    Raises:
        HTTPException: the version, the audit or the file is not there.
    """
    audit = _find_audit(visit, version, sha256)
    file = audit_folder(visit.site.config.home, audit) / name
    if not file.is_file():
        raise HTTPException(404)
    return file
