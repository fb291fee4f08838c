"""The profile of a source: a readable file that says what the source's own words mean.

Handrail has one for each kind of source, with the words of the public standard. A district's own
file, `profiles/SOURCE.toml` in its home, adds words and settles what only the district knows; what
it says wins. A load records which profile it was read by.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from records.canonical.schema import ABSENT_STATUSES, ATTENDANCE_STATUSES, PERIOD_CATEGORIES
from records.connectors.profiles.grades import (
    SCALES,
    SCALES_OF_POINTS,
    SCORE_STATUSES,
    TERM_NAMES,
    GradeRules,
    number_of,
    plain,
)
from records.system.errors import UserError
from records.system.files import read_toml

BUILT_IN = Path(__file__).parent
IGNORED = "ignored"
"""The meaning of a code that says nothing about the day."""

SECTION_RULES = ("share", "half", "any")
"""How classes missed make a day: the share of the day's classes; all of the day from half of them
on and else nothing; all of the day from the first one on."""

_DAYS_SHARE = 0.5
_KEYS = {
    "attendance": ("by", "section_rule", "classes_a_day", "codes"),
    "calendar": ("school_days", "other_days", "summer_terms"),
    "grades": (
        *("scale", "schools", "points", "letters", "no_mark", "failing"),
        *("types", "type_words", "score_statuses"),
    ),
    "programs": (*PERIOD_CATEGORIES, "other", "without_end"),
}
_VENDOR = "vendor"
_ALSO_CALLED = {"skyward": ("qmlativ",), "synergy": ("edupoint",)}
_PROGRAM_ENDS = ("open", "school year")
_CODE_KEYS = ("status", "absent_share")
_SHORT_WORD = 4
"""A word of so many letters counts only by itself, not within another."""

_PLANNED = "instructional day"
_SEPARATORS = re.compile(r"[\s_\-]+")


class ProfileError(UserError, ValueError):
    """A profile that cannot be used; the message names the file and the key."""


@dataclass(frozen=True)
class AttendanceCode:
    """What one attendance code says of a day.

    `status` is one of `ATTENDANCE_STATUSES`, or `IGNORED`. `absent_share` is how much of the day
    was missed, 0 to 1; None where the code does not say.
    """

    status: str
    absent_share: float | None = None


@dataclass(frozen=True)
class ProgramRules:
    """What programs say of a student.

    Attributes:
        starts: start of the name or type of a program, as `plain` has it -> the characteristic that
            it gives, None for none. The longest start decides.
        ends_with_year: whether a program without a last day ends with the school year in which it
            began; else it is open.
    """

    starts: Mapping[str, str | None]
    ends_with_year: bool = False

    def characteristic(self, *names: str | None) -> str | None:
        """The characteristic that a program of these names gives; None for none."""
        for name in map(plain, names):
            found = [start for start in self.starts if start and name.startswith(start)]
            if found:
                return self.starts[max(found, key=len)]
        return None


@dataclass(frozen=True)
class SourceProfile:
    """What the words of one source mean.

    Attributes:
        attendance_codes: code -> meaning; look one up with `attendance`.
        attendance_by: "day", "section", or "either": a school that records days is read by days.
        section_rule: one of `SECTION_RULES`.
        classes_a_day: how many classes a day has; None if that is to be seen from the records.
        school_days: kinds of calendar event on which classes are held.
        other_days: kinds of calendar event on which none are.
        summer_terms: words in the name or kind of a term that is not of the school year.
        grades: which marks count, and what they are worth.
        programs: which programs say what of a student, and how they end.
        digest: of all of it, the words of the standard included.
        text: the district's own file, empty where there is none.
        vendor: the system whose published words are added, None for none.
    """

    source: str
    attendance_codes: Mapping[str, AttendanceCode]
    attendance_by: str
    section_rule: str
    classes_a_day: int | None
    school_days: frozenset[str]
    other_days: frozenset[str]
    summer_terms: tuple[str, ...]
    grades: GradeRules
    programs: ProgramRules
    digest: str
    text: str = ""
    vendor: str | None = None

    def attendance(self, code: str) -> AttendanceCode | None:
        """What an attendance code means; None if nobody has said."""
        return self.attendance_codes.get(fold(code))

    def is_school_day(self, event: str) -> bool | None:
        """Whether classes are held on days with this kind of event; None if nobody has said."""
        if fold(event) in self.school_days:
            return True
        return False if fold(event) in self.other_days else None

    def has_classes(self, events: Iterable[str]) -> bool:
        """Whether classes are held on a date with these kinds of event.

        A date planned as a school day and closed later has both: a storm or a holiday closes it,
        unless an event says that it was made up or began late.
        """
        listed = list(events)
        planned = {fold(event) for event in listed if self.is_school_day(event)}
        is_closed = self.is_closed(listed) and self.is_only_planned(listed)
        return bool(planned) and not is_closed

    def is_closed(self, events: Iterable[str]) -> bool:
        """Whether one of these kinds of event closes a planned school day: a storm, a holiday."""
        return any(
            self.is_school_day(event) is False and fold(event) != "other" for event in events
        )

    def is_only_planned(self, events: Iterable[str]) -> bool:
        """Whether these kinds of event plan a school day, and do not say that it was held."""
        return {fold(event) for event in events if self.is_school_day(event)} == {_PLANNED}

    def is_summer(self, *names: str | None) -> bool:
        """Whether a term of these names is apart from the school year."""
        words = fold(" ".join(name for name in names if name))
        whole = re.findall(r"[^\W_]+", words)
        return any(
            word in (words if len(word) > _SHORT_WORD else whole) for word in self.summer_terms
        )

    def reads_by_day(self, days_recorded: int, days_by_classes: int) -> bool:
        """Whether a school's absences from single classes are left out.

        By days where the profile says so; else where the school records at least half as many days
        of absence as its classes show. A few days entered at the office do not make the classes of
        everybody else unread.
        """
        if self.attendance_by != "either":
            return self.attendance_by == "day"
        return days_recorded >= _DAYS_SHARE * days_by_classes

    def missed_of_day(self, statuses: Iterable[str], classes: int) -> dict[str, float]:
        """How much of a day was missed, 0 to 1, by kind of absence.

        Args:
            statuses: of each class missed.
            classes: how many the student had that day.
        """
        counts = Counter(statuses)
        total = counts.total()
        classes = max(classes, total)
        if not total or (self.section_rule == "half" and 2 * total < classes):
            return {}
        if self.section_rule == "share":
            return {status: count / classes for status, count in counts.items()}
        return {"absent_unexcused" if "absent_unexcused" in counts else "absent_excused": 1.0}


def fold(code: str) -> str:
    """A code as it is compared: without case, with single spaces instead of hyphens."""
    return _SEPARATORS.sub(" ", code).strip().casefold()


def read_profile(source: str, home: Path | None = None) -> SourceProfile:
    """The profile of a kind of source, with the district's own additions.

    Args:
        home: the district's folder; None for the words of the standard alone.

    Raises:
        ProfileError: the district's file cannot be used.
    """
    tables = _merged(_tables(BUILT_IN / "every_source.toml"), _tables(BUILT_IN / f"{source}.toml"))
    own = None if home is None else home / "profiles" / f"{source}.toml"
    if own is None or not own.exists():
        return _profile(source, tables)
    vendor = _vendor(own)
    if vendor is not None:
        tables = _merged(tables, _tables(BUILT_IN / f"vendor_{vendor}.toml"))
    tables = _merged(tables, _tables(own))
    return replace(_profile(source, tables), text=own.read_text("utf-8"), vendor=vendor)


def vendors() -> tuple[str, ...]:
    """The student-information systems whose own words a profile may add, as `vendor` names them."""
    return tuple(sorted(file.stem.removeprefix("vendor_") for file in BUILT_IN.glob("vendor_*")))


@cache
def standard_profile(source: str) -> SourceProfile:
    """The profile of a kind of source by the words of its standard alone."""
    return read_profile(source)


def vendor_of(system: str) -> str | None:
    """The vendor whose system a name is, as an export names it; None for none that is known."""
    name = plain(system)
    known = {vendor: (plain(vendor), *_ALSO_CALLED.get(vendor, ())) for vendor in vendors()}
    return next(
        (vendor for vendor, names in known.items() if any(word in name for word in names)), None
    )


def _vendor(file: Path) -> str | None:
    """The system whose words a district's file adds."""
    vendor = read_toml(file, ProfileError).get(_VENDOR)
    if vendor is not None and vendor not in vendors():
        raise ProfileError(f"{file}: {_VENDOR} is {vendor!r}; it must be one of {_list(vendors())}")
    return vendor


def _tables(file: Path) -> dict[str, dict[str, Any]]:
    """The tables of a profile file, each value checked."""
    tables = read_toml(file, ProfileError)
    tables.pop(_VENDOR, None)
    for table, values in tables.items():
        if table not in _KEYS or not isinstance(values, dict):
            raise ProfileError(f"{file}: there is no [{table}]; the tables are {_list(_KEYS)}")
        for key, value in values.items():
            if key not in _KEYS[table]:
                raise ProfileError(
                    f"{file}: [{table}] has no {key}; its keys are {_list(_KEYS[table])}"
                )
            problem = _problem(table, key, value)
            if problem:
                raise ProfileError(f"{file}: [{table}] {key} {problem}")
    return tables


def _problem(table: str, key: str, value: Any) -> str:
    """What is wrong with a value; empty if nothing is."""
    match table, key:
        case "attendance", "codes":
            return _codes_problem(value)
        case "attendance", "by":
            return _choice_problem(value, ("day", "section", "either"))
        case "attendance", "section_rule":
            return _choice_problem(value, SECTION_RULES)
        case "attendance", "classes_a_day":
            is_count = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 20
            return "" if is_count else f"is {value!r}; it must be a whole number from 1 to 20"
        case "programs", "without_end":
            return _choice_problem(value, _PROGRAM_ENDS)
        case "grades", _ if key in _GRADE_TABLES:
            return _GRADE_TABLES[key](value)
    is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return "" if is_list else f"is {value!r}; it must be a list of texts"


def _letters_problem(letters: Any) -> str:
    is_table = isinstance(letters, dict) and all(map(_is_number, letters.values()))
    return "" if is_table else "must say for each letter how many points of 100 it is"


def _points_problem(scales: Any) -> str:
    if not isinstance(scales, dict) or not all(
        isinstance(table, dict) for table in scales.values()
    ):
        return f'must have a table for each scale, as [grades.points."{SCALES_OF_POINTS[0]}"]'
    for scale, table in scales.items():
        if scale not in SCALES_OF_POINTS:
            return f"has {scale!r}; the scales with points are {_list(SCALES_OF_POINTS)}"
        if not table or not all(number_of(text) and _is_number(table[text]) for text in table):
            return f"must say for each number of {scale} how many points of 100 it is"
    return ""


def _meanings_problem(allowed: Iterable[str]) -> Callable[[Any], str]:
    """What is wrong with a table of the district's codes, each with one of these meanings."""
    meanings = tuple(allowed)

    def problem(codes: Any) -> str:
        if not isinstance(codes, dict):
            return "must be a table with a line for each code"
        for code, meaning in codes.items():
            if meaning not in meanings:
                return f"says {meaning!r} of {code!r}; it must be one of {_list(meanings)}"
        return ""

    return problem


def _type_words_problem(words: Any) -> str:
    is_table = isinstance(words, dict) and all(
        term in TERM_NAMES and isinstance(listed, list) and all(isinstance(w, str) for w in listed)
        for term, listed in words.items()
    )
    return "" if is_table else f"must have a list of words for each of {_list(TERM_NAMES)}"


_GRADE_TABLES: Mapping[str, Callable[[Any], str]] = {
    "scale": lambda value: _choice_problem(value, SCALES),
    "schools": _meanings_problem(SCALES),
    "points": _points_problem,
    "letters": _letters_problem,
    "types": _meanings_problem(TERM_NAMES),
    "type_words": _type_words_problem,
    "score_statuses": _meanings_problem(SCORE_STATUSES),
}
"""Key of [grades] -> what is wrong with its value; empty if nothing is."""


def _codes_problem(codes: Any) -> str:
    if not isinstance(codes, dict):
        return "must be a table with a line for each code"
    for code, meaning in codes.items():
        values = meaning if isinstance(meaning, dict) else {"status": meaning}
        unknown = [key for key in values if key not in _CODE_KEYS]
        if unknown or values.get("status") not in (*ATTENDANCE_STATUSES, IGNORED):
            return (
                f"says {meaning!r} of {code!r}; it must be one of {_list(ATTENDANCE_STATUSES)} or"
                f' {IGNORED}, or {{ status = "absent_excused", absent_share = 0.5 }}'
            )
        share = values.get("absent_share")
        if share is not None and not (_is_number(share) and 0 < share <= 1):
            return f"says absent_share = {share!r} of {code!r}; it must be above 0 and at most 1"
        if share is not None and values["status"] not in (*ABSENT_STATUSES, "partial"):
            return f"says how much of a day is missed by {code!r}, which is no absence"
    return ""


def _choice_problem(value: Any, choices: tuple[str, ...]) -> str:
    return "" if value in choices else f"is {value!r}; it must be one of {_list(choices)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _merged(
    standard: Mapping[str, Mapping[str, Any]], own: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The standard's tables with the district's: codes are added, everything else is replaced.

    An event that the district calls a school day is one, whatever the standard calls it.
    """
    merged = {table: {**standard.get(table, {}), **own.get(table, {})} for table in _KEYS}
    for (table, key), compared in _CODE_TABLES.items():
        merged[table][key] = {
            compared(code): meaning
            for tables in (standard, own)
            for code, meaning in tables.get(table, {}).get(key, {}).items()
        }
    for table, key in _ADDED_LISTS:
        listed = (tables.get(table, {}).get(key, ()) for tables in (standard, own))
        merged[table][key] = [word for words in listed for word in words]
    calendar = merged["calendar"]
    for key, other in (("school_days", "other_days"), ("other_days", "school_days")):
        stated = {fold(event) for event in own.get("calendar", {}).get(other, ())}
        kept = [e for e in standard.get("calendar", {}).get(key, ()) if fold(e) not in stated]
        calendar[key] = [*kept, *own.get("calendar", {}).get(key, ())]
    return merged


_ADDED_LISTS = (
    ("grades", "no_mark"),
    ("grades", "failing"),
    *(("programs", name) for name in (*PERIOD_CATEGORIES, "other")),
)
"""Lists to which a district's own words are added."""


def _capitals(letter: str) -> str:
    return letter.strip().upper()


_CODE_TABLES: Mapping[tuple[str, str], Callable[[str], str]] = {
    ("attendance", "codes"): fold,
    ("grades", "letters"): _capitals,
    ("grades", "types"): plain,
    ("grades", "type_words"): str,
    ("grades", "score_statuses"): plain,
    ("grades", "schools"): str.strip,
    ("grades", "points"): str,
}
"""Tables of codes, which a district adds to -> how a code of it is compared."""


def _profile(source: str, tables: Mapping[str, Mapping[str, Any]]) -> SourceProfile:
    attendance, calendar = tables.get("attendance", {}), tables.get("calendar", {})
    text = json.dumps(tables, sort_keys=True)
    return SourceProfile(
        source=source,
        attendance_codes={
            fold(code): AttendanceCode(meaning["status"], meaning.get("absent_share"))
            if isinstance(meaning, dict)
            else AttendanceCode(meaning)
            for code, meaning in attendance.get("codes", {}).items()
        },
        attendance_by=attendance.get("by", "either"),
        section_rule=attendance.get("section_rule", "share"),
        classes_a_day=attendance.get("classes_a_day"),
        school_days=frozenset(map(fold, calendar.get("school_days", ()))),
        other_days=frozenset(map(fold, calendar.get("other_days", ()))),
        summer_terms=tuple(map(fold, calendar.get("summer_terms", ()))),
        grades=_grade_rules(tables.get("grades", {})),
        programs=_program_rules(tables.get("programs", {})),
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )


def _program_rules(programs: Mapping[str, Any]) -> ProgramRules:
    kinds: tuple[str | None, ...] = (*PERIOD_CATEGORIES, None)
    return ProgramRules(
        starts={plain(word): kind for kind in kinds for word in programs.get(kind or "other", ())},
        ends_with_year=programs.get("without_end") == _PROGRAM_ENDS[1],
    )


def _grade_rules(grades: Mapping[str, Any]) -> GradeRules:
    return GradeRules(
        types={code: TERM_NAMES[term] for code, term in grades.get("types", {}).items()},
        type_words={
            TERM_NAMES[term]: tuple(map(plain, words))
            for term, words in grades.get("type_words", {}).items()
        },
        scale=grades.get("scale"),
        school_scales=grades.get("schools", {}),
        points={
            scale: {_number(text): float(points) for text, points in table.items()}
            for scale, table in grades.get("points", {}).items()
        },
        letters={letter: float(points) for letter, points in grades.get("letters", {}).items()},
        no_mark=frozenset(map(_capitals, grades.get("no_mark", ()))),
        failing=frozenset(map(_capitals, grades.get("failing", ()))),
        score_statuses=grades.get("score_statuses", {}),
    )


def _number(text: str) -> float:
    read = number_of(text)
    assert read is not None
    return read[0]


def _list(names: Any) -> str:
    return ", ".join(names)
