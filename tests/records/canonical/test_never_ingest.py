"""What is never stored, in every spelling that exports use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from records.canonical.never_ingest import holds_ssn, prohibited_kind, redact
from records.canonical.schema import TABLES

SPELLINGS = (
    "SSN",
    "ssn",
    "Student SSN",
    "social_security_number",
    "SocialSecurityNumber",
    "Soc Sec No",
    "citizenship",
    "CitizenshipStatus",
    "US_Citizen",
    "country_of_birth",
    "countryOfBirthCode",
    "BirthCountry",
    "birth_city",
    "cityOfBirth",
    "stateOfBirthAbbreviation",
    "Place of Birth",
    "immigration_status",
    "ImmigrantFlag",
    "migrant",
    "Visa",
    "religion",
    "Religious affiliation",
    "home_language_of_parents",
    "Home Address",
    "StreetNumberName",
    "incident_narrative",
    "BehaviorDetailedDescription",
    "Diagnosis",
    "MedicalAlert",
    "fingerprint_hash",
    "Asylum seeker",
)


@pytest.mark.parametrize("header", SPELLINGS)
def test_every_spelling_is_refused(header: str):  # R38
    assert prohibited_kind(header) is not None


def test_no_canonical_column_has_a_refused_name():  # R38
    assert [
        c.name for table in TABLES.values() for c in table.columns if prohibited_kind(c.name)
    ] == []


@given(
    st.text(max_size=20),
    st.from_regex(r"[0-9]{3}-[0-9]{2}-[0-9]{4}", fullmatch=True),
    st.text(max_size=20),
)
def test_a_social_security_number_never_survives_redaction(
    before: str, number: str, after: str
):  # R38
    text = f"{before} {number} {after}"
    assert holds_ssn(text)
    assert number not in redact(text)
