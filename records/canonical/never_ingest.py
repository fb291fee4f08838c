"""What Handrail never stores, whatever an export holds.

Every connector reads this one list. A column or element that matches is dropped before anything
reaches a disk, and the load report gives its name, never its content. A value shaped like a social
security number is refused in any column.
"""

from __future__ import annotations

import re

NEVER_INGEST: dict[str, tuple[str, ...]] = {
    "social security number": ("ssn", "socialsecurity", "socsec", "nationalid"),
    "citizenship": ("citizen", "nationality"),
    "immigration or migrant status": (
        "immigra",
        "migrant",
        "visa",
        "alienregistration",
        "refugee",
        "asylum",
    ),
    "place of birth": (
        "birthplace",
        "placeofbirth",
        "birthcountry",
        "countryofbirth",
        "birthcity",
        "cityofbirth",
        "birthstate",
        "stateofbirth",
        "stateofbirthabbreviation",
        "dateenteredus",
    ),
    "religion": ("religio", "faith"),
    "political opinion": ("politic",),
    "languages of the family": (
        "homelanguage",
        "parentlanguage",
        "languagesofparents",
        "nativelanguage",
    ),
    "home address": (
        "homeaddress",
        "streetaddress",
        "streetnumber",
        "address1",
        "address2",
        "apartmentroom",
    ),
    "discipline narrative": (
        "narrative",
        "detaileddescription",
        "incidentdescription",
        "reportername",
    ),
    "health or diagnosis": ("diagnos", "healthcondition", "medical", "immunization", "medication"),
    "biometric data": ("biometric", "fingerprint", "faceprint", "voiceprint"),
}
"""Kind of data -> spellings in field names, compared in lower case without punctuation."""

STRUCK_OUT = "[struck out]"
"""Stands in stored text in place of a social security number, so its value may not change."""

_SSN_VALUE = re.compile(r"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)")
_NOT_WORD = re.compile(r"[^a-z0-9]")


def prohibited_kind(name: str) -> str | None:
    """The kind of never-stored data that a column or element of this name holds, or None."""
    plain = _NOT_WORD.sub("", name.lower())
    for kind, spellings in NEVER_INGEST.items():
        if any(spelling in plain for spelling in spellings):
            return kind
    return None


def holds_ssn(value: str) -> bool:
    """Whether the text holds, or once held, something shaped like an SSN (ddd-dd-dddd)."""
    return _SSN_VALUE.search(value) is not None or STRUCK_OUT in value


def redact(raw: str) -> str:
    """The text with every number shaped like a social security number replaced by `STRUCK_OUT`."""
    return _SSN_VALUE.sub(STRUCK_OUT, raw)
