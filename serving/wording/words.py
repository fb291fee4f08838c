"""Labels of every code that a page or an answer names, and formats of dates, counts and shares.

Declared here once, so that no page shows a code and no two pages name a thing differently.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime

from fairness.report.wording import VERDICT_LABELS, VERDICT_SUMMARIES
from fairness.report.wording import capital as capital
from records.canonical.schema import Category
from records.permissions.agreements import CITATIONS, LegalBasis
from records.staff.viewer import EMERGENCY_BASIS, Role

CATEGORIES: Mapping[Category, str] = {
    Category.DIRECTORY: "name, grade level, and school",
    Category.SCHEDULE: "class schedule",
    Category.ATTENDANCE: "attendance",
    Category.GRADES: "course grades",
    Category.ASSESSMENTS: "test scores",
    Category.BEHAVIOR: "behavior incidents",
    Category.SPECIAL_EDUCATION: "special education",
    Category.ENGLISH_LEARNER: "English learner status",
    Category.HOUSING: "housing",
    Category.MEAL_ELIGIBILITY: "meal eligibility",
    Category.DEMOGRAPHICS: "sex and race/ethnicity",
    Category.SERVICES: "the partner's own services",
    Category.SERVICES_OTHER: "other partners' services",
}
ROLES: Mapping[Role, str] = {
    Role.CASEWORKER: "Caseworker",
    Role.COORDINATOR: "Coordinator",
    Role.PARTNER_ADMIN: "Partner administrator",
    Role.DATA_SCIENTIST: "Data scientist",
    Role.EQUITY_REVIEWER: "Equity reviewer",
    Role.DISTRICT_ADMIN: "District administrator",
}
BASES: Mapping[LegalBasis, str] = {
    LegalBasis.SCHOOL_OFFICIAL: (
        "The partner performs a service the school would otherwise perform itself"
    ),
    LegalBasis.CONSENT: "Each family has signed its own consent",
    LegalBasis.AUDIT_EVALUATION: (
        "Evaluation of programs: figures about groups, never a single student"
    ),
    LegalBasis.STUDIES: "A study: results about groups, never a single student",
}
PURPOSE_KINDS: Mapping[str, str] = {
    "service": "Services for students",
    "audit": "Audit of a publicly funded program",
    "evaluation": "Evaluation of a publicly funded program",
    "compliance": "Enforcing a federal law on publicly funded programs",
    "predictive_tests": "Developing or checking tests",
    "student_aid": "Running student aid",
    "instruction": "Improving teaching",
}
NON_AGREEMENT_BASES: Mapping[str, str] = {
    "own_records": "The district's own records",
    EMERGENCY_BASIS: "A health or safety emergency (34 CFR 99.31(a)(10) and 99.36)",
    "judicial_order": "A court order (34 CFR 99.31(a)(9))",
    "parent": "The family's own right to see the record (34 CFR 99.10)",
}
"""Legal bases that are not an agreement's."""

DEMAND_STATUSES: Mapping[str, str] = {
    "refused": "Refused",
    "proposed": "Release proposed",
    "approved": "Approved for release",
}
DEMAND_ACTIONS: Mapping[str, str] = {
    "recorded": "Recorded and refused",
    "notified": "Family notified, or legal exception cited",
    "proposed": "Release proposed",
    "approved": "Release approved",
    "denied": "Denied",
    "released": "Downloaded",
}
SEVERITIES: Mapping[int, str] = {3: "Act now", 2: "Follow up soon", 1: "Monitor"}
DECISION_ACTIONS: Mapping[str, str] = {"accepted": "Accepted", "dismissed": "Dismissed"}
DISMISSAL_REASONS: tuple[str, ...] = (
    "The family said no",
    "The student already has this kind of help elsewhere",
    "The times or the place do not work",
    "No place is free",
    "Another kind of help comes first",
    "The records do not match what we know",
    "Another reason",
)
"""The most common reasons, to choose from; details may be added. They are stored as they stand."""

SOURCES: Mapping[str, str] = {
    "edfi": "Ed-Fi files",
    "edfi-api": "Ed-Fi",
    "oneroster": "OneRoster files",
    "oneroster-api": "OneRoster",
    "powerschool": "PowerSchool",
    "service-history": "Partners' service history",
    "hmis": "Housing partners' files (HMIS)",
}
DESTRUCTION_KINDS: Mapping[str, str] = {
    "student": "One student's record",
    "agreement": "Data of one agreement",
}
STORES: Mapping[str, str] = {
    "snapshot": "Records in use",
    "quarantine": "Quarantined rows",
    "older snapshots": "Older records",
    "features": "Features computed from records",
    "consents": "Consents",
    "opt_outs": "Opt-outs",
    "decisions": "Decisions on suggestions",
    "shown_lists": "Suggestions shown",
    "emergencies": "Emergencies",
    "legal_holds": "Legal holds",
    "participants": "Partners' participants",
    "participant_candidates": "Candidate matches for participants",
    "student_aliases": "Further identifiers of the student",
    "moved_student_rows": "Notes of what came from a further identifier",
    "legal_demands": "Register of legal demands",
    "disclosures": "Who saw what",
    "staff": "Accounts",
    "web_sessions": "Sign-in sessions",
}
"""The stores that a certificate of destruction names; a mirror has the name of its source."""

QUALITY_FINDING_KINDS: Mapping[str, str] = {
    "hole": "Something is missing",
    "date": "Impossible date",
    "contradiction": "Contradiction",
}
MATCH_LISTS: Mapping[str, str] = {
    "waiting": "Waiting",
    "unfound": "No similar student",
    "decided": "Decided by staff",
    "linked": "Linked automatically",
}
DAY_STATUSES: Mapping[str, str] = {
    "present": "present",
    "excused": "absent, excused",
    "unexcused": "absent, unexcused",
    "unexplained": "absent, reason not recorded",
    "part": "absent part of the day",
    "late": "late",
}
SEXES: Mapping[str, str] = {"female": "Female", "male": "Male", "another": "Another"}
RACE_ETHNICITY_GROUPS: Mapping[str, str] = {
    "american_indian": "American Indian or Alaska Native",
    "asian": "Asian",
    "black": "Black or African American",
    "hispanic": "Hispanic or Latino",
    "pacific_islander": "Native Hawaiian or Pacific Islander",
    "two_or_more": "Two or more races",
    "white": "White",
}
FEATURE_FAMILY_LABELS: Mapping[str, str] = {
    "grade_level": "Grade level",
    "attendance": "Attendance",
    "grades": "Course grades",
    "assessments": "Test scores",
    "services": "Partner services",
    "behavior": "Behavior incidents",
}

PROGRESS_UNITS: Mapping[str, tuple[str, str]] = {
    "attendance": ("one more school day in every hundred", "{} more school days in every hundred"),
    "grades": ("one more point of 100 in course grades", "{} more points of 100 in course grades"),
    "courses_passed": (
        "one more course passed in every hundred",
        "{} more courses passed in every hundred",
    ),
    "assessments": (
        "a gain of one tenth of a standard deviation on the same test",
        "a gain of {} tenths of a standard deviation on the same test",
    ),
    "incident_free_days": (
        "one more school day in every hundred without an incident written up",
        "{} more school days in every hundred without an incident written up",
    ),
}
"""One of each measure of progress, and several."""

OWN_POINT = "The district defines progress points in its file outcome.toml."
RANDOMIZED_ORDER_NOTE = (
    "The first of these are expected to help about equally. The district sometimes lets a random"
    " draw decide which is listed first, to find out which helps more. Choose what fits."
)
AUDIT_VERDICTS = VERDICT_LABELS
AUDIT_SUMMARIES = VERDICT_SUMMARIES


def progress_point_text(weights: Mapping[str, float] | None) -> str:
    """What one progress point is, in a sentence: from the weight of each measure, or, where the
    weights are not known, where the district defines them.

    Args:
        weights: progress points for one unit of each measure of
            `training.episodes.outcome.MEASURE_UNITS`.
    """
    counted = {name: weight for name, weight in (weights or {}).items() if weight > 0}
    parts = [
        _worth_a_point(unit, 1 / counted[name])
        for name, unit in PROGRESS_UNITS.items()
        if name in counted
    ]
    return f"One point is {', or '.join(parts)}." if parts else OWN_POINT


def source(name: str) -> str:
    """A source of records in words."""
    return SOURCES.get(name, name)


def feature_family(name: str) -> str:
    """A family of features in words."""
    return FEATURE_FAMILY_LABELS.get(name, name.replace("_", " ").capitalize())


def categories(names: Collection[str]) -> str:
    """Categories in the order in which people read them: "attendance, course grades".

    A name that is no category, which only a tampered log holds, stands last and is called unknown.
    """
    known = [words for category, words in CATEGORIES.items() if category in names]
    unknown = [f"unknown ({name})" for name in sorted(set(names) - set(CATEGORIES))]
    return ", ".join(known + unknown)


def doubted_records(school: str, category: Category) -> str:
    """That records of a school look unusual, so that no alert is made of them."""
    name = CATEGORIES[category]
    return (
        f"{capital(name)}: the records of {school} look unusual. The district is checking them, so"
        f" no {name} alerts are shown for its students."
    )


def category(name: Category) -> str:
    """One category with a capital letter, to stand on its own."""
    return capital(CATEGORIES[name])


def basis(name: str) -> str:
    """A legal basis in words with its citation; the district's own records have none."""
    if name in NON_AGREEMENT_BASES:
        return NON_AGREEMENT_BASES[name]
    legal_basis = LegalBasis(name)
    return f"{BASES[legal_basis]} ({CITATIONS[legal_basis]})"


def own_records_shown_to(viewer: str, now: datetime) -> str:
    """The sentence that stands with a record shown to the district itself."""
    return f"Shown to {viewer} from the district's own records on {date_time(now)}."


def grade(level: float | None) -> str:
    """A grade level in words; empty where none is on record."""
    if level is None:
        return ""
    return {-1: "Pre-kindergarten", 0: "Kindergarten"}.get(int(level), f"Grade {int(level)}")


def store(name: str) -> str:
    """A store of a certificate of destruction in words."""
    mirrored = name.removeprefix("mirror of ")
    return STORES.get(name, name) if mirrored == name else f"Downloaded copy of {source(mirrored)}"


def day(value: date) -> str:
    """A day as it is read: "April 17, 2026"."""
    return f"{value:%B} {value.day}, {value.year}"


def date_time(value: datetime | str) -> str:
    """A time as it is read: "April 17, 2026, 9:05 AM". Text is in ISO form."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    half = "AM" if moment.hour < 12 else "PM"
    return f"{day(moment)}, {moment.hour % 12 or 12}:{moment:%M} {half}"


def staff_name(names: Mapping[str, str], user_id: str) -> str:
    """The name of a member of staff by account, also of one whose account is gone."""
    return names.get(user_id, "a former staff member")


def count(number: int, one: str, many: str) -> str:
    """A number with its noun: "1 view", "1,200 views"."""
    return f"{number:,} {one if number == 1 else many}"


def decimal(value: float) -> str:
    """A number of days with at most one decimal: "9", "9.5", "1,204"."""
    return f"{value:,.1f}".removesuffix(".0")


def decimal_count(number: float, one: str, many: str) -> str:
    """A number that may have parts, with its noun: "1 day", "9.5 days"."""
    return f"{decimal(number)} {one if decimal(number) == '1' else many}"


def share(value: float) -> str:
    """A part of all, from 0 to 1, as it is read: "12%", "under 1%"."""
    return "under 1%" if 0 < value < 0.01 else f"{value:.0%}"


def points(value: float) -> str:
    """Progress points as a number to read: "2.4", "-0.3"."""
    return f"{value:.1f}" if abs(value) >= 0.05 else "0.0"


def _worth_a_point(unit: tuple[str, str], many: float) -> str:
    singular, plural = unit
    rounded = f"{many:.2g}"
    if rounded == "1":
        return singular
    return plural.format({"2": "two", "3": "three", "4": "four"}.get(rounded, rounded))
