"""What the codes of Ed-Fi's descriptors mean here, in every version of the standard.

The codes are those of the files `Descriptors/*.xml` of the Ed-Fi Data Standard 3.1 to 5.2 and of
the enumerations of `Ed-Fi-Core.xsd` 2.0 and 2.2 (https://github.com/Ed-Fi-Alliance-OSS). Districts
write their own too, so codes are compared in lower case without spaces, hyphens or slashes. A code
that is not understood is never taken for another one.
"""

from __future__ import annotations

from collections.abc import Iterable

from records.canonical.never_ingest import redact
from records.connectors.profiles.grades import plain

_LONGEST_CODE = 60


def shown(code: str | None) -> str:
    """The code as a message may repeat it: short, and without a social security number."""
    return repr(redact((code or "").strip())[:_LONGEST_CODE])


def _plain_keys(**codes: str) -> dict[str, str]:
    return {plain(code): value for value, all_ in codes.items() for code in all_.split("|")}


_RACES = _plain_keys(
    american_indian=(
        "American Indian - Alaska Native|American Indian - Alaskan Native|American Indian"
        "|American Indian or Alaska Native|American Indian or Alaskan Native|Alaska Native"
        "|American Indian and Alaska Native|Native American"
    ),
    asian="Asian",
    black="Black - African American|Black or African American|Black|African American",
    hispanic=(
        "Hispanic or Latino|Hispanic - Latino|Hispanic|Latino|Hispanic Latino Ethnicity"
        "|Hispanic or Latino Ethnicity|Hispanic and Latino"
    ),
    pacific_islander=(
        "Native Hawaiian - Pacific Islander|Native Hawaiian or Pacific Islander"
        "|Native Hawaiian or Other Pacific Islander|Native Hawaiian - Other Pacific Islander"
        "|Native Hawaiian and Other Pacific Islander|Native Hawaiian|Pacific Islander"
    ),
    two_or_more="Two or More|Two or More Races|Multiracial|Multi-racial|More than one race",
    white="White|Caucasian",
    other="Other|Other race|Some other race",
    middle_eastern=(
        "Middle Eastern or North African|Middle Eastern and North African"
        "|Middle Eastern - North African|MENA"
    ),
    declined=(
        "Choose Not to Respond|Chose Not to Respond|Not Selected|Not Applicable|Not Specified"
        "|Not Reported|Unknown|Declined|Declined to Respond|Decline to State|Prefer not to say|None"
    ),
)
_SEXES = _plain_keys(
    female="Female|F|Girl",
    male="Male|M|Boy",
    another="Non-binary|Nonbinary|X|Another|Other|Gender X|Intersex",
    unknown=(
        "Not Selected|Not Applicable|Not Specified|Not Reported|Unknown|U|Undeclared|Declined"
        "|Choose Not to Respond|Decline to State|Prefer not to say|None"
    ),
)
_PROFICIENCIES = _plain_keys(
    true=(
        "Limited|LimitedYes|Limited Yes|Yes|LEP|EL|ELL|English Learner|English Language Learner"
        "|Limited English Proficient|Emergent Bilingual|EB|Multilingual Learner"
    ),
    false=(
        "NotLimited|Not Limited|LimitedNo|Limited No|No|Not LEP|Non-LEP|Fluent|Limited Monitored"
        "|Limited Monitored 1|Limited Monitored 2|Limited Monitored 3|Limited Monitored 4"
        "|Monitored|Formerly Limited|Former LEP|Exited|Reclassified|Never Limited"
        "|RFEP|Reclassified Fluent English Proficient|IFEP|Initial Fluent English Proficient"
        "|FEP|Fluent English Proficient|EO|English Only|Former EL|Former ELL|Former English Learner"
        "|Not EL|Non-EL|Not English Learner|English Proficient"
    ),
    unknown="Not Selected|Not Applicable|Not Specified|Unknown|Missing",
)
"""Monitored students are "no longer receiving language instruction program services"
(`MonitoredDescriptor`), so they are not learning English in such a program now."""


_NO_STAYS = {
    "noshow": "of a student who never came",
    "neverattended": "of a student who never came",
    "didnotattend": "of a student who never came",
    "neverenrolled": "of a student who was never enrolled",
    "invalidenrollment": "an invalid enrollment",
    "enrolledinerror": "an invalid enrollment",
    "preregistered": "of a student who is only registered for a later time",
    "summer": "of a summer term, apart from the school year",
}
"""Start of an ExitWithdrawType or EnrollmentType, as `plain` has it -> why it is no time at a
school. ExitWithdrawTypeDescriptor has No show and Invalid enrollment, EnrollmentTypeDescriptor of
version 6 Preregistered and Summer; the others are districts' words for the same."""


def never_a_stay(*codes: str | None) -> str | None:
    """Why an enrollment with these codes is no time at a school; None for one that is."""
    return next(
        (
            why
            for code in codes
            for start, why in _NO_STAYS.items()
            if plain(code).startswith(start)
        ),
        None,
    )


def federal_group(codes: Iterable[str], *, hispanic: bool) -> tuple[str | None, str | None]:
    """The federal group of race and ethnicity, and the code because of which it is unknown.

    Source: U.S. Department of Education, 72 FR 59266 (2007): Hispanic whatever the race, else the
    one race, else two or more. Middle Eastern or North African is part of White there and a group
    of its own since 2024 (89 FR 22182): alone or beside White it decides nothing, beside any other
    race it is one of two under both. "Other" beside a race is one of two. An answer refused beside
    a race adds nothing.
    """
    kinds = {code: _RACES.get(plain(code), "unclear") for code in codes}
    found = set(kinds.values()) - {"declined"}
    if hispanic or "hispanic" in found:
        return "hispanic", None
    unclear = found & {"unclear", "middle_eastern", "other"}
    races = found - unclear - {"two_or_more"}
    if "two_or_more" in found or len(races) > 1:
        return "two_or_more", None
    if "unclear" not in unclear and races:
        if not unclear:
            return races.pop(), None
        if "other" in unclear or races != {"white"}:
            return "two_or_more", None
    order = ("unclear", "middle_eastern", "other")
    culprits = sorted(
        (code for code, kind in kinds.items() if kind in unclear),
        key=lambda code: (order.index(kinds[code]), code),
    )
    return None, next(iter(culprits), None)


def sex_of(code: str) -> str | None:
    """One of the canonical sexes; `unknown` where the code says so; None if not understood."""
    return _SEXES.get(plain(code))


def learns_english(code: str) -> str | None:
    """What a code of LimitedEnglishProficiency says: true, false, unknown; None if not
    understood.
    """
    return _PROFICIENCIES.get(plain(code))
