"""An agreement file is whole, or it is refused with its line."""

from __future__ import annotations

from datetime import date

import pytest

from records.agreements import AgreementError, agreements_of, parse_agreement, save_agreement
from records.database import Database
from records.scope import Role
from tests.records.conftest import add_organization, agreement_text

REQUIRED = (
    "agreement_id", "version", "organization_id", "legal_basis", "purpose", "categories", "consent_required",
    "programs", "supports", "start", "end", "destruction_date", "officers", "redisclosure", "breach_notice_hours",
)  # fmt: skip

WRONG = {
    "version = 1": ["version = 0", 'version = "1"'],
    'legal_basis = "school_official"': ['legal_basis = "police"', 'legal_basis = "audit_evaluation"'],
    'purpose = "Tutoring after school"': ['purpose = ""', "purpose = 3"],
    'categories = ["directory", "attendance", "services"]': [
        'categories = ["directory", "ssn"]', "categories = []", 'categories = ["directory", "directory"]',
        'categories = ["directory", "meal_eligibility"]', 'categories = ["directory", "housing"]',
    ],
    "consent_required = []": ['consent_required = ["grades"]', 'consent_required = ["immigration"]'],
    'programs = ["p1"]': ["programs = []", "programs = [1]"],
    'supports = ["tutoring"]': ['supports = ["policing"]'],
    "start = 2025-08-01": ['start = "2025-08-01"', "start = 2027-08-01"],
    "end = 2026-07-31": ["end = 2024-07-31"],
    "destruction_date = 2026-09-30": ["destruction_date = 2026-01-01"],
    'officers = ["Ana Ruiz, data officer"]': ["officers = []", 'officers = [""]'],
    "breach_notice_hours = 24": ["breach_notice_hours = 0", "breach_notice_hours = 900", "breach_notice = 24"],
}  # fmt: skip


def test_a_whole_agreement_is_read():
    agreement = parse_agreement(agreement_text(), "a.toml")
    assert agreement.in_force(date(2026, 7, 31))
    assert not agreement.in_force(date(2026, 8, 1))
    assert agreement.supports == ("tutoring",)


@pytest.mark.parametrize("key", REQUIRED)
def test_each_missing_element_is_refused_by_name(key: str):  # R14
    text = "\n".join(line for line in agreement_text().splitlines() if not line.startswith(f"{key} ="))
    with pytest.raises(AgreementError, match=rf"a\.toml, line \d+: {key} is missing"):
        parse_agreement(text, "a.toml")


@pytest.mark.parametrize(("good", "bad"), [(good, bad) for good, bads in WRONG.items() for bad in bads])
def test_each_wrong_element_is_refused_with_its_line(good: str, bad: str):  # R14
    text = agreement_text()
    assert good in text
    with pytest.raises(AgreementError, match=r"a\.toml, line \d+: "):
        parse_agreement(text.replace(good, bad), "a.toml")


def test_text_that_is_not_toml_is_refused():
    with pytest.raises(AgreementError, match=r"a\.toml: not valid TOML"):
        parse_agreement("purpose = ", "a.toml")


def test_a_stored_version_cannot_be_changed_and_a_newer_one_replaces_it(database: Database):
    add_organization(database, "tutors", Role.CASEWORKER)
    first = parse_agreement(agreement_text(), "a.toml")
    save_agreement(database, first)
    save_agreement(database, first)
    with pytest.raises(AgreementError, match="needs a higher version"):
        save_agreement(database, parse_agreement(agreement_text(categories=["directory"]), "a.toml"))
    newer = agreement_text(categories=["directory"]).replace("version = 1", "version = 2")
    save_agreement(database, parse_agreement(newer, "a.toml"))
    (current,) = agreements_of(database, "tutors", date(2026, 4, 17))
    assert (current.version, current.categories) == (2, {"directory"})
