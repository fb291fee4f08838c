"""The words for everything that a page or an answer names: declared here once, never a code on a
page.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime

from fairness.report.wording import VERDICT_LABELS, VERDICT_SUMMARIES
from fairness.report.wording import capital as capital
from records.canonical.schema import Category
from records.people.viewer import EMERGENCY_BASIS, Role
from records.permissions.agreements import CITATIONS, LegalBasis

CATEGORIES: Mapping[Category, str] = {
    Category.DIRECTORY: "name, grade and school",
    Category.SCHEDULE: "class schedule",
    Category.ATTENDANCE: "attendance",
    Category.GRADES: "course marks",
    Category.ASSESSMENTS: "test results",
    Category.BEHAVIOR: "incidents at school",
    Category.SPECIAL_EDUCATION: "special education",
    Category.ENGLISH_LEARNER: "learning English",
    Category.HOUSING: "housing",
    Category.MEAL_ELIGIBILITY: "meal eligibility",
    Category.DEMOGRAPHICS: "sex and federal group",
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
    LegalBasis.SCHOOL_OFFICIAL: "The partner does a job the school would otherwise do itself",
    LegalBasis.CONSENT: "Each family has signed its own consent",
    LegalBasis.AUDIT_EVALUATION: (
        "Evaluation of programs: figures about groups, never a single student"
    ),
    LegalBasis.STUDIES: "A study: results about groups, never a single student",
}
PURPOSE_KINDS: Mapping[str, str] = {
    "service": "Help to students",
    "audit": "An audit of a program that public money pays for",
    "evaluation": "An evaluation of a program that public money pays for",
    "compliance": "Enforcing a federal law about such a program",
    "predictive_tests": "Developing or checking tests",
    "student_aid": "Running student aid",
    "instruction": "Improving teaching",
}
NON_AGREEMENT_BASES: Mapping[str, str] = {
    "own_records": "The district's own records",
    EMERGENCY_BASIS: "A health or safety emergency (34 CFR 99.31(a)(10) and 99.36)",
    "judicial_order": "An order of a court (34 CFR 99.31(a)(9))",
    "parent": "The family's own right to see the record (34 CFR 99.10)",
}
"""Grounds that no agreement gives."""

DEMAND_STATUSES: Mapping[str, str] = {
    "refused": "Refused",
    "proposed": "A release is proposed",
    "approved": "Approved for release",
}
DEMAND_ACTIONS: Mapping[str, str] = {
    "recorded": "Recorded and refused",
    "notified": "Family told, or lawful exception named",
    "proposed": "Release proposed",
    "approved": "Release approved",
    "denied": "Denied",
    "released": "Taken",
}
SEVERITIES: Mapping[int, str] = {3: "Act now", 2: "Look soon", 1: "Keep an eye on"}
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
"""The reasons most often given, to choose from; a few words may be added."""

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
    "agreement": "What an agreement made",
}
STORES: Mapping[str, str] = {
    "snapshot": "Records that serve",
    "quarantine": "Rows that were set aside",
    "older snapshots": "Older records",
    "features": "Facts worked out from records",
    "consents": "Consents",
    "opt_outs": "Opt-outs",
    "decisions": "What caseworkers did with suggestions",
    "shown_lists": "Suggestions that were shown",
    "emergencies": "Emergencies",
    "legal_holds": "Legal holds",
    "participants": "Participants of partners",
    "participant_candidates": "Students offered for participants",
    "legal_demands": "Register of legal demands",
    "disclosures": "Who saw what",
    "staff": "Accounts",
    "web_sessions": "Sessions signed in",
}
"""The stores that a certificate of destruction names; a mirror of a source is called as its
source."""

QUALITY_FINDING_KINDS: Mapping[str, str] = {
    "hole": "Something is missing",
    "date": "A date that cannot be",
    "contradiction": "Two facts that do not fit",
}
MATCH_LISTS: Mapping[str, str] = {
    "waiting": "Waiting",
    "unfound": "Nobody alike found",
    "decided": "Said by a person",
    "linked": "Linked by the comparison",
}
DAY_STATUSES: Mapping[str, str] = {
    "present": "at school",
    "excused": "absent, excused",
    "unexcused": "absent, not excused",
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


PROGRESS_UNITS: Mapping[str, tuple[str, str]] = {
    "attendance": ("one more school day in every hundred", "{} more school days in every hundred"),
    "grades": ("one more point of 100 in course marks", "{} more points of 100 in course marks"),
    "courses_passed": (
        "one more course passed in every hundred",
        "{} more courses passed in every hundred",
    ),
    "assessments": (
        (
            "one small step up in the same test, a tenth of how far students' results usually lie"
            " apart"
        ),
        (
            "{} small steps up in the same test, each a tenth of how far students' results usually"
            " lie apart"
        ),
    ),
    "incident_free_days": (
        "one more school day in every hundred without an incident written up",
        "{} more school days in every hundred without an incident written up",
    ),
}
"""One of each measure of progress, and several."""

OWN_POINT = (
    "What a point is follows from what the district counts as progress, in its file outcome.toml."
)
RANDOMIZED_ORDER_NOTE = (
    "The first of these are expected to help about equally. Now and then a draw decides which of"
    " them stands first, as the district allows, to find out which helps more. Choose what fits."
)
AUDIT_VERDICTS = VERDICT_LABELS
AUDIT_SUMMARIES = VERDICT_SUMMARIES


def progress_point_text(weights: Mapping[str, float] | None) -> str:
    """A progress point in what it counts, from the weight of each measure; where they are not
    known, where they stand.

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


def support(name: str) -> str:
    return SUPPORT_LABELS.get(name, name.replace("_", " ").capitalize())


def source(name: str) -> str:
    return SOURCES.get(name, name)


def feature_family(name: str) -> str:
    return FEATURE_FAMILY_LABELS.get(name, name.replace("_", " ").capitalize())


def categories(names: Collection[str]) -> str:
    """Categories in the order in which people read them: "attendance, course marks"."""
    return ", ".join(words for category, words in CATEGORIES.items() if category in names)


def category(name: Category) -> str:
    """One category with a capital letter, to stand by itself."""
    return capital(CATEGORIES[name])


def basis(name: str) -> str:
    """A legal basis in words with its citation; the district's own reading has none."""
    if name in NON_AGREEMENT_BASES:
        return NON_AGREEMENT_BASES[name]
    found = LegalBasis(name)
    return f"{BASES[found]} ({CITATIONS[found]})"


def own_records_shown_to(who: str, now: datetime) -> str:
    """What stands by a record that is shown to the district itself."""
    return f"Shown to {who} from the district's own records on {date_time(now)}."


def grade(level: float | None) -> str:
    """A grade level in words; empty where none is on record."""
    if level is None:
        return ""
    return {-1: "Pre-kindergarten", 0: "Kindergarten"}.get(int(level), f"Grade {int(level)}")


def store(name: str) -> str:
    """A store of a certificate of destruction in words."""
    of_source = name.removeprefix("mirror of ")
    return (
        STORES.get(name, name)
        if of_source == name
        else f"What was fetched from {source(of_source)}"
    )


def day(value: date) -> str:
    return f"{value.day} {value:%B %Y}"


def date_time(value: datetime | str) -> str:
    """A time as it is read: "17 April 2026, 09:05"."""
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{day(found)}, {found:%H:%M}"


def count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def share(value: float) -> str:
    """A part of all, from 0 to 1, as it is read: "12%", "under 1%"."""
    return "under 1%" if 0 < value < 0.01 else f"{value:.0%}"


def points(value: float) -> str:
    """Progress points as a number to read: "2.4", "-0.3"."""
    return f"{value:.1f}" if abs(value) >= 0.05 else "0.0"


def _worth_a_point(unit: tuple[str, str], many: float) -> str:
    one, several = unit
    rounded = f"{many:.2g}"
    return (
        one
        if rounded == "1"
        else several.format({"2": "two", "3": "three", "4": "four"}.get(rounded, rounded))
    )


SUPPORT_LABELS = {
    "tutoring": "Tutoring",
    "mentoring": "Mentoring",
    "food": "Food help",
    "housing_help": "Housing help",
    "health": "Health care at school",
    "counselling": "Counselling",
    "restorative_practice": "Restorative practice",
    "summer_meals": "Summer meals",
    "grandparent_readers": "Reading with a grandparent volunteer",
    "victims_services": "Victims' services",
}


FEATURE_FAMILY_LABELS = {
    "grade_level": "Grade",
    "attendance": "Attendance",
    "grades": "Marks",
    "assessments": "Test results",
    "services": "Partner services",
    "behavior": "Incidents at school",
}
