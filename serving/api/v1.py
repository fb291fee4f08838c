"""The JSON answers, to whoever is signed in, in the scope of the pages.

Each disclosure of a student is logged first. Function names are operation IDs of the published
OpenAPI document and stay as they are.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import JSONResponse, Response

from records.access.explanation import agreement_status
from records.canonical.schema import Category
from records.disclosure_log.history import disclosures
from records.permissions.agreements import StoredAgreement
from serving.api import schemas
from serving.services.agreements import visible_agreements
from serving.services.audits import audited_versions
from serving.services.decisions import decide_on_suggestion
from serving.services.disclosures import disclosure_lines
from serving.services.shown_categories import STUDENT_PAGE_CATEGORIES, SUGGESTION_CATEGORIES
from serving.site.dependencies import (
    AuditorVisit,
    CurrentVisit,
    DistrictAdminVisit,
    StudentInFullScope,
    StudentInScope,
)
from serving.site.visit import Visit
from serving.students.record import (
    CourseGrades,
    Services,
    StudentRecord,
    TestScores,
    read_student,
)
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
        terms=visit.disclosures.terms(shown),
    )


@router.get("/students/{handle}", response_model_exclude_unset=True)
def student(student_id: StudentInFullScope, visit: CurrentVisit) -> schemas.StudentDetail:
    """One student's record, with the parts that scope lets through, in an emergency too."""
    names = {key: organization.name for key, organization in visit.organizations.items()}
    record = read_student(visit.full_record(student_id), student_id, visit.as_of, names)
    visit.disclosures.record_full_record(student_id, STUDENT_PAGE_CATEGORIES)
    return schemas.StudentDetail(
        **_directory(visit, visit.lists.roster_entry(student_id)),
        **_parts(record),
        terms=visit.disclosures.full_record_terms(student_id),
    )


@router.get("/students/{handle}/alerts")
def alerts(student_id: StudentInScope, visit: CurrentVisit) -> schemas.AlertList:
    """What stands out in the record, the most urgent first."""
    raised = visit.lists.caseload.alerts.get(student_id, ())
    visit.disclosures.record([student_id], visit.alert_rules.categories)
    return schemas.AlertList(
        alerts=[
            schemas.AlertEntry(
                rule=alert.rule,
                severity=alert.severity,
                headline=alert.headline,
                detail=alert.detail,
                source=alert.source,
            )
            for alert in raised
        ],
        doubted=sorted(visit.lists.caseload.doubted.get(student_id, ())),
        terms=visit.disclosures.terms([student_id]),
    )


@router.get("/students/{handle}/suggestions")
def suggestions(student_id: StudentInScope, visit: CurrentVisit) -> schemas.SuggestionList:
    """Ranked supports with all that adds up to each expected benefit, or why there are none."""
    advice = visit.lists.caseload.advice[student_id]
    model = visit.champion
    visit.disclosures.record([student_id], SUGGESTION_CATEGORIES)
    visit.lists.record_impressions([student_id])
    return schemas.SuggestionList(
        suggestions=[
            schemas.SuggestionEntry(
                support_name=visit.supports.label(shown.support), **asdict(shown)
            )
            for shown in advice.suggestions
        ],
        silence=advice.no_suggestion_reason,
        model_sha256=model.sha256 if model else "",
        terms=visit.disclosures.terms([student_id]),
    )


@router.post("/students/{handle}/suggestions/{support}/decisions", status_code=201)
def decide(
    student_id: StudentInScope,
    support: str,
    visit: CurrentVisit,
    request: schemas.DecisionRequest,
    x_csrf_token: Annotated[str, Header()] = "",
) -> schemas.DecisionResponse:
    """Accept or dismiss a suggestion as it is shown now."""
    visit.check_csrf(x_csrf_token)
    decision = decide_on_suggestion(
        visit,
        student_id,
        support,
        action=request.action,
        reason=request.reason,
        rank=request.rank,
        model_sha256=request.model_sha256,
    )
    return schemas.DecisionResponse(
        support=decision.support,
        action=decision.action,
        reason=decision.reason,
        at=decision.at.isoformat(),
    )


@router.get("/agreements")
def agreements(visit: CurrentVisit) -> list[schemas.AgreementEntry]:
    """The organization's own agreements; all of them for the district."""
    return [_agreement_entry(visit, stored) for stored in visible_agreements(visit)]


@router.get("/disclosures")
def who_saw_what(
    visit: DistrictAdminVisit, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> schemas.DisclosureList:
    """The newest disclosures, for the district."""
    looks = [
        schemas.DisclosureEntry(
            at=line.at,
            person=line.person,
            organization=line.organization,
            student=line.handle,
            categories=line.categories,
            purpose=line.purpose,
            legal_basis=line.basis,
            agreement_id=line.agreement_id,
            shown_together=line.students_in_list,
            law_requires=line.law_requires,
        )
        for line in disclosure_lines(visit, disclosures(visit.database, limit=limit))
    ]
    return schemas.DisclosureList(looks=looks, terms=visit.disclosures.terms(()))


@router.get("/audits")
def audits(visit: AuditorVisit) -> list[schemas.AuditEntry]:
    """Every registered version and the verdict of its audit."""
    return [
        schemas.AuditEntry(
            version=audited.version.version,
            sha256=audited.version.sha256,
            verdict=audited.verdict,
            serves=audited.is_serving,
        )
        for audited in audited_versions(visit)
    ]


def _directory(visit: Visit, entry: RosterEntry) -> dict[str, Any]:
    return {
        "handle": visit.full_scope.handle(entry.student_id),
        "name": entry.name,
        "grade": entry.grade,
        "school": entry.school,
    }


def _agreement_entry(visit: Visit, stored: StoredAgreement) -> schemas.AgreementEntry:
    agreement = stored.agreement
    return schemas.AgreementEntry(
        agreement_id=agreement.agreement_id,
        version=agreement.version,
        sha256=agreement.sha256,
        organization=visit.organizations[agreement.organization_id].name,
        purpose=agreement.purpose,
        legal_basis=agreement.legal_basis,
        categories=sorted(agreement.categories),
        programs=sorted(agreement.programs),
        supports=list(agreement.supports),
        start=agreement.start,
        end=agreement.end,
        state=agreement_status(stored, visit.today),
    )


def _parts(record: StudentRecord) -> dict[str, Any]:
    """The parts of the record that may be seen; the others are left out."""
    parts = {
        "attendance": record.attendance and (dict(record.attendance.counts) or None),
        "marks": record.course_grades and _course_marks(record.course_grades),
        "tests": record.test_scores and _test_results(record.test_scores),
        "incidents": (
            record.incidents
            and [schemas.IncidentEntry(**asdict(incident)) for incident in record.incidents]
        ),
        "programs": record.services and _program_entries(record.services),
        "facts": record.facts and dict(record.facts),
    }
    return {name: part for name, part in parts.items() if part is not None}


def _course_marks(grades: CourseGrades) -> list[schemas.CourseMark]:
    return [
        schemas.CourseMark(school_year=year, period=period, course=course, mark=grade)
        for course, row in grades.rows
        for (year, period), grade in zip(grades.periods, row, strict=True)
        if grade is not None
    ]


def _test_results(tests: tuple[TestScores, ...]) -> list[schemas.TestResult]:
    return [
        schemas.TestResult(test=test.name, day=day, score=score, measure=measure)
        for test in tests
        for day, score, measure in test.results
    ]


def _program_entries(services: Services) -> list[schemas.ProgramEntry]:
    return [
        schemas.ProgramEntry(
            program=enrollment.program,
            organization=enrollment.organization,
            since=enrollment.since,
            until=enrollment.until,
            attended=enrollment.attended,
            missed=enrollment.missed,
        )
        for enrollment in services.enrollments
    ]
