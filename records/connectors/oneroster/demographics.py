"""What the demographics of OneRoster say of sex, race and ethnicity, in any of their spellings.

The standard has the words true and false, male, female, other and unspecified; exports also write
1 and 0, Y and N, or single letters. A value that is not understood is unknown, never a guess, and
is named to the caller. Race is reported by the federal rule: Hispanic of any race, then two or more
races, then the one race (62 FR 58782; 72 FR 59266 for schools).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from records.canonical.quarantine import Value

_RACE_NAMES = {
    "americanIndianOrAlaskaNative": "american_indian",
    "asian": "asian",
    "blackOrAfricanAmerican": "black",
    "nativeHawaiianOrOtherPacificIslander": "pacific_islander",
    "white": "white",
}
_HISPANIC, _TWO_OR_MORE_RACES = "hispanicOrLatinoEthnicity", "demographicRaceTwoOrMoreRaces"
RACE_COLUMNS = (*_RACE_NAMES, _HISPANIC, _TWO_OR_MORE_RACES)
"""The columns of demographics that state a race or ethnicity."""

TRUE_WORDS = frozenset({"true", "1", "yes", "y", "t"})
FALSE_WORDS = frozenset({"false", "0", "no", "n", "f"})

_SEXES: dict[str, str | None] = (
    dict.fromkeys(("female", "f", "girl"), "female")
    | dict.fromkeys(("male", "m", "boy"), "male")
    | dict.fromkeys(
        ("another", "other", "o", "x", "nb", "nonbinary", "non-binary", "non binary", "intersex"),
        "another",
    )
    | dict.fromkeys(
        (
            *("", "u", "unk", "unknown", "unspecified", "not specified", "not selected"),
            *("notselected", "not reported", "not available", "not stated", "declined", "decline"),
            *("prefer not to say", "none", "null", "n/a", "na", "-"),
        )
    )
)

Unknown = Callable[[str, str], None]
"""Takes the column and the text of a value that is not understood."""


def sex_of(text: str, column: str, unknown: Unknown) -> str | None:
    """The canonical sex of a word for it; None where it is left open or not understood."""
    word = text.strip().lower()
    if word not in _SEXES:
        unknown(column, text.strip())
    return _SEXES.get(word)


def demographic_facts(fields: Mapping[str, str], unknown: Unknown) -> dict[str, Value]:
    """The canonical sex and race of a record of demographics, each None where it is unknown."""
    return {
        "sex": sex_of(fields.get("sex", ""), "sex", unknown),
        "race_ethnicity": _race(fields, unknown),
    }


def _race(fields: Mapping[str, str], unknown: Unknown) -> str | None:
    marks = {name: _mark(fields.get(name, ""), name, unknown) for name in RACE_COLUMNS}
    marked = [race for name, race in _RACE_NAMES.items() if marks[name]]
    if marks[_HISPANIC]:
        return "hispanic"
    if marks[_HISPANIC] is None:
        return None
    if len(marked) > 1 or marks[_TWO_OR_MORE_RACES]:
        return "two_or_more"
    return marked[0] if marked and None not in marks.values() else None


def _mark(text: str, column: str, unknown: Unknown) -> bool | None:
    """Whether a race is marked; None for a text that says neither yes nor no."""
    word = text.strip().lower()
    if word in TRUE_WORDS:
        return True
    if not word or word in FALSE_WORDS:
        return False
    unknown(column, text.strip())
    return None
