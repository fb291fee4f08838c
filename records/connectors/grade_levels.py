"""The words for grades that districts and standards use, as the canonical grade level.

Known are the options of CEDS "Entry Grade Level" (IT, PR, PK, TK, KG, 01 to 13, PS, UG, Other, and
AE and ABE of adult education), the code values of Ed-Fi's GradeLevelDescriptor ("Ninth grade"), and
the usual spellings of both ("9", "9th", "Grade 9", "Gr. 9", "K"). Text that is none of these is
refused rather than guessed at. Source: https://ceds.ed.gov, element 000100 (Entry Grade Level), and
the GradeLevelDescriptor of the Ed-Fi Data Standard, 5.2 and 6.1.
"""

from __future__ import annotations

import re
from functools import lru_cache

from records.canonical.quarantine import BadValue

PRE_KINDERGARTEN, KINDERGARTEN, HIGHEST = -1, 0, 13
"""Grade 13 is a fifth year of high school (CEDS)."""

_LOWEST_NUMBER = -4
"""PowerSchool counts the years before kindergarten down from -1."""

_PRE_KINDERGARTEN = """
    it ; pr ; pk ; pk3 ; pk4 ; p3 ; p4 ; prek ; prek3 ; prek4 ; pre k ; pre k3 ; pre k4 ; pre k 3
    pre k 4 ; pkk ; ec ; ee ; ece ; infant toddler ; infant ; toddler ; preschool ; pre school
    prekindergarten ; pre kindergarten ; preschool prekindergarten ; early education
    early childhood ; early childhood education ; head start ; birth to 2 ; jk
    junior kindergarten
"""
_KINDERGARTEN = """
    k ; kg ; kf ; kh ; ka ; kp ; tk ; sk ; kinder ; kindergarten ; transitional kindergarten
    senior kindergarten ; kindergarten full day ; kindergarten half day ; full day kindergarten
    half day kindergarten ; grade k
"""
_NO_GRADE = """
    ug ; un ; ungraded ; ps ; postsecondary ; post secondary ; other ; ot ; oth ; ae ; abe ; ase
    adult ; adult education ; adult basic education ; adult secondary education ; ged
    out of school ; out of school youth ; os ; oos ; graduate ; graduated ; grad ; none ; unknown
    na ; n a ; not applicable ; not available ; no grade ; no grade level ; unspecified ; null
"""
_ORDINALS = """
    first ; second ; third ; fourth ; fifth ; sixth ; seventh ; eighth ; ninth ; tenth ; eleventh
    twelfth ; thirteenth
"""
_CARDINALS = """
    one ; two ; three ; four ; five ; six ; seven ; eight ; nine ; ten ; eleven ; twelve ; thirteen
"""
_HIGH_SCHOOL = {"freshman": 9, "sophomore": 10, "junior": 11, "senior": 12}

_NUMBER = re.compile(r"(-?\d{1,2})(?:\.0+)?")
_NUMBERED = re.compile(
    r"(?:(?:grade level|grades?|gr|gd|g)\s*)?(\d{1,2})(?:st|nd|rd|th)?(?:\s*grade(?:rs?)?)?"
)
_LISTED_APART = re.compile(r"[,;|/]|\band\b|&")
_RANGE = re.compile(r"(.+?)\s*(?:-|\N{EN DASH}|\bto\b|\bthrough\b)\s*(.+)")
_APART = re.compile(r"[\s_./()\\-]+")


def _words(text: str) -> list[str]:
    return [word.strip() for line in text.splitlines() for word in line.split(";") if word.strip()]


_LEVELS: dict[str, int | None] = (
    dict.fromkeys(_words(_PRE_KINDERGARTEN), PRE_KINDERGARTEN)
    | dict.fromkeys(_words(_KINDERGARTEN), KINDERGARTEN)
    | dict.fromkeys(_words(_NO_GRADE), None)
    | {
        phrase: level
        for level, (ordinal, cardinal) in enumerate(
            zip(_words(_ORDINALS), _words(_CARDINALS), strict=True), start=1
        )
        for phrase in (ordinal, f"{ordinal} grade", f"{ordinal} grader", f"grade {cardinal}")
    }
    | {f"{name}{ending}": level for name, level in _HIGH_SCHOOL.items() for ending in ("", " year")}
)


@lru_cache(maxsize=10_000)
def grade_level(text: str, column: str = "grade_level") -> int | None:
    """The canonical grade level of a word for a grade: -1 before kindergarten, 0, then 1 to 13.

    None for empty text, and for words that say that somebody is in no grade: ungraded,
    post-secondary, adult education, other. A descriptor may come with its namespace
    (`uri://ed-fi.org/GradeLevelDescriptor#Ninth grade`). A transitional kindergarten counts as
    kindergarten.

    Args:
        column: the name of the column, for the error.

    Raises:
        BadValue: the text is no word for a grade that is known.
    """
    word = text.rpartition("#")[2].strip().lower()
    number = _NUMBER.fullmatch(word)
    if number is not None and _LOWEST_NUMBER <= int(number[1]) <= HIGHEST:
        return max(int(number[1]), PRE_KINDERGARTEN)
    plain = _APART.sub(" ", word).strip()
    if plain in _LEVELS:
        return _LEVELS[plain]
    numbered = _NUMBERED.fullmatch(plain)
    if numbered is not None and not word.startswith("-") and int(numbered[1]) <= HIGHEST:
        return int(numbered[1])
    if not plain:
        return None
    raise BadValue(
        column,
        f"{column} is {text.strip()!r}; a grade must look like KG, 01, 12, Ninth grade or UG",
    )


def listed_grade_levels(text: str, column: str = "grade_level") -> set[int | None]:
    """The grade levels of one word, a list ("09,10") or a range ("9-12": its two ends).

    Empty for empty text; None in it stands for being in no grade. See `grade_level`.

    Raises:
        BadValue: a part of the text is no word for a grade that is known.
    """
    words = text.strip().strip("[]").replace('"', "").replace("'", "")
    if not words.strip():
        return set()
    try:
        return {grade_level(words, column)}
    except BadValue:
        parts = [part.strip() for part in _LISTED_APART.split(words) if part.strip()]
    return {level for part in parts for level in _ends(part, column)}


def _ends(text: str, column: str) -> set[int | None]:
    try:
        return {grade_level(text, column)}
    except BadValue:
        ends = _RANGE.fullmatch(text)
        if ends is None:
            raise
    return {grade_level(end, column) for end in ends.groups()}
