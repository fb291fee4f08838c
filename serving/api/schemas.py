"""The shapes of the JSON answers. A field that is out of scope is not in the answer.

Field names are a published interface and stay as they are; the comments in the pages' words:
`marks` are course grades, `looks` are disclosures, `silence` is why there is no suggestion.
"""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, ConfigDict, Field


class Person(BaseModel):
    name: str
    role: str
    organization: str
    csrf: str = Field(description="Send it back as the header X-CSRF-Token with every change.")


class StudentEntry(BaseModel):
    handle: str
    name: str
    grade: str
    school: str


class AlertEntry(BaseModel):
    rule: str
    severity: int
    headline: str
    detail: str
    source: str


class Terms(BaseModel):
    terms: str = Field(description="On what terms this was shared (34 CFR 99.33).")


class StudentList(Terms):
    total: int
    limit: int
    offset: int
    students: list[StudentEntry]


class CourseMark(BaseModel):
    school_year: str
    period: int
    course: str
    mark: float


class TestResult(BaseModel):
    test: str
    day: date
    score: str
    measure: str


class IncidentEntry(BaseModel):
    day: date
    kind: str
    response: str
    days_removed: float


class ProgramEntry(BaseModel):
    program: str
    organization: str
    since: date
    until: date | None
    attended: int
    missed: int


class StudentDetail(Terms):
    handle: str
    name: str
    grade: str
    school: str
    attendance: dict[str, int] | None = None
    marks: list[CourseMark] | None = None
    tests: list[TestResult] | None = None
    incidents: list[IncidentEntry] | None = None
    programs: list[ProgramEntry] | None = None
    facts: dict[str, str] | None = None


class AlertList(Terms):
    alerts: list[AlertEntry]
    doubted: list[str] = Field(
        description="Data categories of which no alert is raised now, because figures of the"
        " student's school look unusual and the district is checking them."
    )


class ReasonEntry(BaseModel):
    family: str
    phrase: str
    points: float


class SuggestionEntry(BaseModel):
    support: str
    support_name: str = Field(description="What the district calls the kind of support.")
    rank: int
    benefit: float = Field(
        description="Progress points: the base plus the points of every reason, to 1e-9."
    )
    lower: float
    upper: float
    base: float
    sureness: str
    summary: str
    reasons: list[ReasonEntry]
    programs: list[str]


class SuggestionList(Terms):
    suggestions: list[SuggestionEntry]
    silence: str
    model_sha256: str


class DecisionRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    action: str
    reason: str = Field("", max_length=1000)
    rank: int
    model_sha256: str


class DecisionResponse(BaseModel):
    support: str
    action: str
    reason: str
    at: str


class AgreementEntry(BaseModel):
    agreement_id: str
    version: int
    organization: str
    legal_basis: str
    purpose: str
    categories: list[str]
    programs: list[str]
    supports: list[str]
    start: date
    end: date
    state: str
    sha256: str


class DisclosureEntry(BaseModel):
    at: str
    person: str
    organization: str
    student: str
    categories: str
    purpose: str
    legal_basis: str
    agreement_id: str
    shown_together: int
    law_requires: bool


class DisclosureList(Terms):
    looks: list[DisclosureEntry]


class AuditEntry(BaseModel):
    version: int
    sha256: str
    verdict: str
    serves: bool
