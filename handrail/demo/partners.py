"""The demo's partners, with their programs, agreements and staff: declared, all fictitious."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date

from handrail.demo.district import DISTRICT_NAME
from records.decisions.program_costs import CostUnit
from records.staff.viewer import DISTRICT, Role

PASSWORD = "handrail demo only"
"""Of every demo account; a home made by `handrail demo` serves on this machine alone."""

_COMMON = ("directory", "attendance", "grades", "assessments", "services")


@dataclass(frozen=True)
class Program:
    """One program. An intake program has no kind of support: one is chosen there later.

    `starts_per_intake` is how many of 16,000 students start on an intake day.
    """

    program_id: str
    name: str
    support: str
    capacity: int
    cost_per_session: float
    min_grade: int = 0
    max_grade: int = 12
    starts_per_intake: int = 0


@dataclass(frozen=True)
class Partner:
    organization_id: str
    name: str
    kind: str
    purpose: str
    activity: str
    programs: tuple[Program, ...]
    categories: tuple[str, ...] = _COMMON
    consent_required: tuple[str, ...] = ()
    supports: tuple[str, ...] = ()
    legal_basis: str = "school_official"
    purpose_kind: str = "service"
    staff: tuple[tuple[str, str, Role], ...] = field(default=())
    records_officer: str = ""
    """Who answers for the records; the first of the staff where nobody is named."""
    version: int = 1
    start: date = date(2025, 8, 1)
    end: date = date(2026, 7, 31)
    destruction_date: date = date(2026, 9, 30)
    breach_notice_hours: int = 24


PARTNERS = (
    Partner(
        "brightpath",
        "BrightPath Tutoring",
        "tutoring",
        "After-school tutoring and a place to study",
        "Tutors read attendance and marks to choose whom to invite, and in what to help",
        (
            Program("bp-tutoring", "After-school tutoring", "tutoring", 520, 38.0, 0, 12, 300),
            Program("bp-study-hall", "Open study hall", "", 150, 6.0, 5, 12),
        ),
        (*_COMMON, "schedule", "housing"),
        ("housing",),
        ("tutoring", "mentoring", "food", "health"),
        staff=(
            ("caseworker@brightpath.example", "Dana Whitfield", Role.CASEWORKER),
            ("admin@brightpath.example", "Ruth Calloway", Role.PARTNER_ADMIN),
        ),
        version=2,
    ),
    Partner(
        "northstar",
        "Northstar Mentors",
        "mentoring",
        "One-to-one mentoring",
        "Mentors read attendance and marks to see how a student is doing, and what to talk about",
        (Program("ns-mentoring", "Weekly mentoring", "mentoring", 500, 22.0, 3, 12, 300),),
        supports=("mentoring", "tutoring", "counselling"),
        staff=(("caseworker@northstar.example", "Noel Ferris", Role.CASEWORKER),),
    ),
    Partner(
        "lakepantry",
        "Lake Pantry",
        "food",
        "Weekend food for families who ask",
        "Volunteers read the list of who takes part, and write down each bag that is given out",
        (Program("lp-weekend", "Weekend food bags", "food", 520, 9.0, 0, 12, 300),),
        ("directory", "services"),
        staff=(("coordinator@lakepantry.example", "Iris Boone", Role.COORDINATOR),),
    ),
    Partner(
        "keystone",
        "Keystone Housing Help",
        "housing",
        "Keeping families housed",
        "Advisers read attendance, and what a family has agreed to share, to offer help in time",
        (Program("kh-housing", "Housing advice", "housing_help", 120, 75.0, 0, 12, 40),),
        ("directory", "attendance", "services", "housing"),
        ("housing",),
        ("housing_help", "food"),
        staff=(("caseworker@keystone.example", "Omar Teller", Role.CASEWORKER),),
    ),
    Partner(
        "cityclinic",
        "Harrow Lake School Clinic",
        "health",
        "Health care at school",
        "The clinic reads attendance to see whom absences keep from school, and offers a visit",
        (Program("cc-clinic", "School clinic", "health", 460, 44.0, 0, 12, 260),),
        ("directory", "attendance", "services"),
        supports=("health", "food"),
        staff=(("caseworker@cityclinic.example", "Mina Castell", Role.CASEWORKER),),
    ),
    Partner(
        "openroom",
        "The Open Room",
        "counselling",
        "Counselling for young people",
        "Counsellors read attendance and marks to see who may want somebody to talk to",
        (Program("or-counsel", "Counselling", "counselling", 360, 60.0, 4, 12, 200),),
        supports=("counselling", "mentoring"),
        staff=(("caseworker@openroom.example", "Tess Amador", Role.CASEWORKER),),
    ),
    Partner(
        "mendworks",
        "Mendworks",
        "restorative practice",
        "Restorative circles at school",
        "Circle keepers read what happened at school to bring together those whom it touched",
        (
            Program(
                "mw-circles", "Restorative circles", "restorative_practice", 260, 30.0, 5, 12, 130
            ),
        ),
        (*_COMMON, "behavior"),
        supports=("restorative_practice", "mentoring"),
        staff=(("caseworker@mendworks.example", "Jo Lindqvist", Role.CASEWORKER),),
    ),
    Partner(
        "summertable",
        "Summer Table",
        "summer meals",
        "Meals while school is out",
        "Volunteers read the list of who takes part, and write down each meal that is given out",
        (Program("st-meals", "Summer meals", "summer_meals", 400, 5.0, 0, 12, 0),),
        ("directory", "services"),
        staff=(("coordinator@summertable.example", "Carl Ostrow", Role.COORDINATOR),),
    ),
    Partner(
        "silverpages",
        "Silver Pages",
        "grandparent readers",
        "Reading with a grandparent volunteer",
        "Readers read the list of who takes part, and write down each time they read together",
        (Program("sp-readers", "Grandparent readers", "grandparent_readers", 240, 4.0, 0, 3, 130),),
        ("directory", "services"),
        staff=(("readers@silverpages.example", "Edna Marsh", Role.COORDINATOR),),
    ),
    Partner(
        "safeharbor",
        "Safe Harbor",
        "victims' services",
        "Help after harm, only with a family's written consent",
        "Advocates read attendance to see whether a student is safe and at school",
        (Program("sh-victims", "Victims' services", "victims_services", 60, 85.0, 0, 12, 15),),
        ("directory", "attendance", "services"),
        legal_basis="consent",
        staff=(("caseworker@safeharbor.example", "Lena Abara", Role.CASEWORKER),),
    ),
    Partner(
        "lakecollege",
        "Lake College Evaluation Group",
        "evaluation",
        "Evaluating after-school programs",
        "The college compares groups of students who took part with groups who did not",
        (),
        ("directory", "attendance", "grades"),
        legal_basis="audit_evaluation",
        purpose_kind="evaluation",
        staff=(("evaluator@lakecollege.example", "Hugh Prentiss", Role.CASEWORKER),),
    ),
    Partner(
        "oldmill",
        "Old Mill Art Workshop",
        "art",
        "Art after school",
        "Teachers read the list of who takes part",
        (Program("om-art", "Art after school", "", 40, 12.0),),
        ("directory", "services"),
        records_officer="Paul Anselm",
        start=date(2024, 8, 1),
        end=date(2025, 7, 31),
        destruction_date=date(2026, 3, 31),
    ),
)
"""The last of them is a partner of the past: its agreement has ended, and its day of destruction is
over."""

COSTS: tuple[tuple[str, int, CostUnit], ...] = (
    ("bp-tutoring", 1_150, "student"),
    ("ns-mentoring", 640, "student"),
    ("kh-housing", 96_500, "year"),
    ("cc-clinic", 186_000, "year"),
    ("or-counsel", 60, "session"),
    ("sh-victims", 78_000, "year"),
)
"""What some programs cost, as the district states it, in US dollars; a year's in a district of
16,000 students. Of the other programs the partners' own files say what a session costs."""

EXPORTING_PARTNER = "mendworks"
"""The partner that sends an export of its own system instead of the plain files; `exports` writes
it."""

ORGANIZATION_NAMES = {partner.organization_id: partner.name for partner in PARTNERS} | {
    DISTRICT: "the district"
}

DISTRICT_STAFF = (
    ("admin@district.example", "Grace Olander", Role.DISTRICT_ADMIN),
    ("counsel@district.example", "Ines Moreau", Role.DISTRICT_ADMIN),
    ("data@district.example", "Priya Raman", Role.DATA_SCIENTIST),
    ("equity@district.example", "Marcus Bell", Role.EQUITY_REVIEWER),
)

AGREEMENT = """# An agreement between {district} and {name}. Made up, for the demo.
agreement_id = "{organization_id}-2025"
version = {version}
organization_id = "{organization_id}"
legal_basis = "{legal_basis}"
purpose = "{purpose}"
purpose_kind = "{purpose_kind}"
activity = "{activity}"
categories = [{categories}]
consent_required = [{consent_required}]
programs = [{programs}]
supports = [{supports}]
start = {start}
end = {end}
destruction_date = {destruction_date}
officers = ["{officer}, {name}"]
safeguards = "Read in Handrail only, by staff with an account of their own \
who have been trained; nothing is copied out"
redisclosure = "None without the written word of {district}"
breach_notice_hours = {breach_notice_hours}
"""


def versions_of_partner(partner: Partner) -> Iterator[Partner]:
    """The partner at each version of its agreement; the first shared less."""
    if partner.version > 1:
        categories = tuple(
            name for name in partner.categories if name not in partner.consent_required
        )
        yield replace(
            partner, version=1, categories=categories, consent_required=(), breach_notice_hours=72
        )
    yield partner


def agreement_text(partner: Partner) -> str:
    """The agreement as the file that a lawyer reads."""

    def quoted(words: tuple[str, ...]) -> str:
        return ", ".join(f'"{word}"' for word in words)

    return AGREEMENT.format(
        district=DISTRICT_NAME,
        name=partner.name,
        organization_id=partner.organization_id,
        purpose=partner.purpose,
        purpose_kind=partner.purpose_kind,
        activity=partner.activity,
        legal_basis=partner.legal_basis,
        categories=quoted(partner.categories),
        officer=partner.records_officer or partner.staff[0][1],
        version=partner.version,
        start=partner.start,
        end=partner.end,
        destruction_date=partner.destruction_date,
        breach_notice_hours=partner.breach_notice_hours,
        consent_required=quoted(partner.consent_required),
        supports=quoted(partner.supports),
        programs=quoted(tuple(program.program_id for program in partner.programs)),
    )


def all_staff() -> list[tuple[str, str, Role, str]]:
    """Login, name, role and organization of everybody in the demo."""
    partners = [
        (*person, partner.organization_id) for partner in PARTNERS for person in partner.staff
    ]
    return [*((*person, DISTRICT) for person in DISTRICT_STAFF), *partners]
