"""The same answers as the pages, as JSON, to whoever is signed in. Each student shown is written
down first.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import JSONResponse, Response

from records.access.explanation import agreement_status
from records.canonical.schema import Category
from records.disclosure_log.history import disclosures
from serving.api import schemas
from serving.services.agreements import visible_agreements
from serving.services.audits import audited_versions
from serving.services.decisions import decide_on_suggestion
from serving.services.disclosures import disclosure_lines
from serving.services.shown_categories import (
    ALERT_CATEGORIES,
    STUDENT_PAGE_CATEGORIES,
    SUGGESTION_CATEGORIES,
)
from serving.site.dependencies import (
    AuditorVisit,
    CurrentVisit,
    DistrictAdminVisit,
    StudentInFullScope,
    StudentInScope,
)
from serving.site.visit import Visit
from serving.students.record import StudentRecord, read_student
from serving.students.roster import RosterEntry

router = APIRouter(prefix="/api/v1")


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request, visit: CurrentVisit) -> Response:
    return JSONResponse(request.app.openapi())


@router.get("/me")
def me(visit: CurrentVisit) -> schemas.Person:
    """Who is signed in."""
    return schemas.Person(
        name=visit.viewer.name,
        role=visit.viewer.role,
        organization=visit.organization.name,
        csrf=visit.csrf,
    )


@router.get("/students")
def students(
    visit: CurrentVisit,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> schemas.StudentList:
    """The students in scope, by name."""
    shown = list(visit.lists.roster)[offset : offset + limit]
    entries = [
        schemas.StudentEntry(**_directory(visit, visit.lists.roster[student])) for student in shown
    ]
    visit.disclosures.record(shown, [Category.DIRECTORY])
    return schemas.StudentList(
        total=len(visit.lists.roster),
        limit=limit,
        offset=offset,
        students=entries,
        terms=visit.disclosures.stamp(shown),
    )


@router.get("/students/{handle}", response_model_exclude_unset=True)
def student(student_id: StudentInFullScope, visit: CurrentVisit) -> schemas.StudentDetail:
    """One student's record, with the parts that scope lets through, in an emergency too."""
    names = {key: organization.name for key, organization in visit.organizations.items()}
    record = read_student(visit.whole_record(student_id), student_id, visit.as_of, names)
    visit.disclosures.record_whole(student_id, STUDENT_PAGE_CATEGORIES)
    return schemas.StudentDetail(
        **_directory(visit, visit.lists.entry(student_id)),
        **_parts(record),
        terms=visit.disclosures.stamp_whole(student_id),
    )


@router.get("/students/{handle}/alerts")
def alerts(student_id: StudentInScope, visit: CurrentVisit) -> schemas.AlertList:
    """What stands out in the record, the most urgent first."""
    found = visit.lists.caseload.alerts.get(student_id, ())
    visit.disclosures.record([student_id], ALERT_CATEGORIES)
    return schemas.AlertList(
        alerts=[
            schemas.AlertEntry(
                rule=one.rule,
                severity=one.severity,
                headline=one.headline,
                detail=one.detail,
                source=one.source,
            )
            for one in found
        ],
        terms=visit.disclosures.stamp([student_id]),
    )


@router.get("/students/{handle}/suggestions")
def suggestions(student_id: StudentInScope, visit: CurrentVisit) -> schemas.SuggestionList:
    """Ranked supports with everything that adds up to each expected benefit, or why there are
    none.
    """
    advice = visit.lists.caseload.advice[student_id]
    model = visit.model[0]
    visit.disclosures.record([student_id], SUGGESTION_CATEGORIES)
    visit.lists.record_impressions([student_id])
    return schemas.SuggestionList(
        suggestions=[schemas.SuggestionEntry(**asdict(one)) for one in advice.suggestions],
        silence=advice.silence,
        model_sha256=model.sha256 if model else "",
        terms=visit.disclosures.stamp([student_id]),
    )


@router.post("/students/{handle}/suggestions/{support}/decisions", status_code=201)
def decide(
    student_id: StudentInScope,
    support: str,
    visit: CurrentVisit,
    asked: schemas.DecisionRequest,
    x_csrf_token: Annotated[str, Header()] = "",
) -> schemas.DecisionResponse:
    """Accept or dismiss a suggestion as it is shown now."""
    visit.check_csrf(x_csrf_token)
    kept = decide_on_suggestion(
        visit, student_id, support, asked.action, asked.reason, asked.rank, asked.model_sha256
    )
    return schemas.DecisionResponse(
        support=kept.support, action=kept.action, reason=kept.reason, at=kept.at.isoformat()
    )


@router.get("/agreements")
def agreements(visit: CurrentVisit) -> list[schemas.AgreementEntry]:
    """The organisation's own agreements; all of them for the district."""
    return [
        schemas.AgreementEntry(
            agreement_id=one.agreement.agreement_id,
            version=one.agreement.version,
            sha256=one.agreement.sha256,
            organization=visit.organizations[one.agreement.organization_id].name,
            purpose=one.agreement.purpose,
            legal_basis=one.agreement.legal_basis,
            categories=sorted(one.agreement.categories),
            programs=sorted(one.agreement.programs),
            supports=list(one.agreement.supports),
            start=one.agreement.start,
            end=one.agreement.end,
            state=agreement_status(one, visit.today),
        )
        for one in visible_agreements(visit)
    ]


@router.get("/disclosures")
def who_saw_what(
    visit: DistrictAdminVisit, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> schemas.DisclosureList:
    """The newest looks, for the district."""
    looks = [
        schemas.DisclosureEntry(
            at=look.at,
            person=look.person,
            organization=look.organization,
            student=look.handle,
            categories=look.categories,
            purpose=look.purpose,
            legal_basis=look.basis,
            agreement_id=look.agreement_id,
            shown_together=look.together,
            law_requires=look.law_requires,
        )
        for look in disclosure_lines(visit, disclosures(visit.database, limit=limit))
    ]
    return schemas.DisclosureList(looks=looks, terms=visit.disclosures.stamp(()))


@router.get("/audits")
def audits(visit: AuditorVisit) -> list[schemas.AuditEntry]:
    """Every registered version and the verdict of its audit."""
    return [
        schemas.AuditEntry(
            version=one.version.version,
            sha256=one.version.sha256,
            verdict=one.verdict,
            serves=one.serves,
        )
        for one in audited_versions(visit)
    ]


def _directory(visit: Visit, listed: RosterEntry) -> dict[str, Any]:
    return {
        "handle": visit.whole_scope.handle(listed.student_id),
        "name": listed.name,
        "grade": listed.grade,
        "school": listed.school,
    }


def _parts(record: StudentRecord) -> dict[str, Any]:
    """The parts that are there; one that may not be seen is left out."""
    parts = {
        "attendance": record.attendance and dict(record.attendance.counts),
        "marks": (
            record.marks
            and [
                schemas.CourseMark(school_year=year, period=period, course=course, mark=mark)
                for course, row in record.marks.rows
                for (year, period), mark in zip(record.marks.periods, row, strict=True)
                if mark is not None
            ]
        ),
        "tests": (
            record.tests
            and [
                schemas.TestResult(test=test.name, day=day, score=score, measure=measure)
                for test in record.tests
                for day, score, measure in test.results
            ]
        ),
        "incidents": (
            record.incidents and [schemas.IncidentEntry(**asdict(one)) for one in record.incidents]
        ),
        "programs": (
            record.services
            and [
                schemas.ProgramEntry(
                    program=one.program,
                    organization=one.organization,
                    since=one.since,
                    until=one.until,
                    attended=one.attended,
                    missed=one.missed,
                )
                for one in record.services.enrollments
            ]
        ),
        "facts": record.facts and dict(record.facts),
    }
    return {name: part for name, part in parts.items() if part is not None}
