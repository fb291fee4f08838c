"""Which district student a partner's participant is: one splink model, declared here with all its
numbers.

Owns the comparison of names, birth dates, grades and schools, and the rule for when a comparison is
sure enough. It refuses to guess: a participant who fits two students, or a student who fits two
participants of one partner, is left for a person to say. It keeps nothing, writes no file and logs
no name.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
from splink import Linker, SettingsCreator
from splink.backends.duckdb import DuckDBAPI

from records.identity.nicknames import possible_full_names
from records.identity.participants import LINK_THRESHOLD, Candidate, Match, MatchStatus, Participant

MIN_ODDS_RATIO = 300.0
"""How many times likelier than the next student the linked one must be: twins whose names are a
letter apart differ by less, because one slip of a pen lies between them."""

CANDIDATE_THRESHOLD = 0.02
"""Below this probability a student is not shown to the person who decides, but as the rival of a
sure one."""

MAX_CANDIDATES = 3
"""How many students a person chooses from, at most."""


@dataclass(frozen=True)
class ComparisonLevel:
    """One way in which a fact of two records can agree or differ.

    `m` is how often it is so of one child's two records, `u` of two children's. With a `rarity`,
    agreement counts by how rare that very name, day or school is on the roster, and `u` is for one
    of middling rarity.
    """

    says: str
    when: str
    m: float
    u: float
    rarity: str | None = None

    @property
    def agrees(self) -> bool:
        """Whether it speaks for one child."""
        return self.m > self.u


def _missing(condition: str, says: str = "nothing to compare") -> ComparisonLevel:
    return ComparisonLevel(says, condition, 1.0, 1.0)


_ALIKE = (
    "jaro_winkler_similarity({0}_l, {0}_r) >= 0.92 or "
    "(damerau_levenshtein({0}_l, {0}_r) <= 1 and least(length({0}_l), length({0}_r)) >= 4)"
)

COMPARISONS: Mapping[str, tuple[ComparisonLevel, ...]] = {
    "first": (
        _missing("first_l is null or first_r is null"),
        ComparisonLevel("the same", "first_l = first_r", 0.84, 0.005, "first"),
        ComparisonLevel(
            "a short form, or one name of several", "list_has_any(given_l, given_r)", 0.06, 0.001
        ),
        ComparisonLevel("a letter or two differ", _ALIKE.format("first"), 0.08, 0.002, "first"),
        ComparisonLevel(
            "several letters differ",
            "jaro_winkler_similarity(first_l, first_r) >= 0.8",
            0.01,
            0.012,
        ),
        ComparisonLevel("another name", "ELSE", 0.01, 0.98),
    ),
    "last": (
        _missing("last_l is null or last_r is null"),
        ComparisonLevel("the same", "last_l = last_r", 0.82, 0.005, "last"),
        ComparisonLevel("one surname of several", "list_has_any(family_l, family_r)", 0.06, 0.005),
        ComparisonLevel("a letter or two differ", _ALIKE.format("last"), 0.07, 0.002, "last"),
        ComparisonLevel("another name", "ELSE", 0.05, 0.988),
    ),
    "birth": (
        _missing("birth_l is null or birth_r is null"),
        ComparisonLevel("the same", "birth_l = birth_r", 0.93, 0.00025, "birth"),
        ComparisonLevel(
            "day and month in each other's place", "birth_l = turned_r", 0.02, 0.0001, "birth"
        ),
        ComparisonLevel(
            "one digit differs", "damerau_levenshtein(birth_l, birth_r) <= 1", 0.03, 0.006
        ),
        ComparisonLevel("another day", "ELSE", 0.02, 0.994),
    ),
    "grade": (
        _missing(
            "grade_l is null or grade_r is null or (birth_l is not null and birth_r is not null)",
            says="",
        ),
        ComparisonLevel("the same", "grade_l = grade_r", 0.85, 0.08),
        ComparisonLevel("the next one", "abs(grade_l - grade_r) = 1", 0.13, 0.14),
        ComparisonLevel("another grade", "ELSE", 0.02, 0.78),
    ),
    "school": (
        _missing("school_l is null or school_r is null"),
        ComparisonLevel("the same", "school_l = school_r", 0.8, 0.16, "school"),
        ComparisonLevel("much the same", _ALIKE.format("school"), 0.05, 0.01),
        ComparisonLevel("another school", "ELSE", 0.15, 0.83),
    ),
}
"""Each fact with its levels, the first that holds counting.

The `u` are the highest of those measured on the pairs of three rosters (the demo district, the
Ed-Fi sample, the made-up roster of the tests), rounded up; that of a school among children of one
grade. The `m` say how partners' lists are expected to be; they are fixed because a partner with
thirty participants is too small to estimate them from (docs/benchmarks.md). A grade follows from a
birth date, so it is weighed only where there is none.
"""

NAME_ORDERS: Mapping[str, float] = {"as given": 0.97, "turned": 0.03}
"""How often a list has first and last names in their places, and in each other's."""

_MIXED_IN = 250
"""Students of middling rarity who are added to a roster before anything on it is called rare: a
name seen once says little of how rare it is, and on a roster of a dozen every name is seen once."""

_PAIRED_BY = ("l.birth = r.birth", "l.birth = r.turned", "l.first = r.first", "l.last = r.last")
_FAINT = 0.0001
_PARTICLES = frozenset(
    {
        "de",
        "del",
        "la",
        "las",
        "los",
        "el",
        "al",
        "van",
        "von",
        "der",
        "den",
        "da",
        "das",
        "do",
        "dos",
        "di",
        "du",
        "le",
        "bin",
        "ibn",
    }
)
_GENERATIONS = frozenset({"jr", "sr", "ii", "iii", "iv"})
_SCHOOL_WORDS = {
    "el": "elementary",
    "elem": "elementary",
    "es": "elementary",
    "ms": "middle",
    "hs": "high",
    "school": "",
    "sch": "",
}
_LETTERS = str.maketrans(
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "æ": "ae",
        "œ": "oe",
        "'": "",
        "\u2019": "",
        "\u02bb": "",
        ".": "",
    }
)
"""What stands for a letter, or for nothing, and has no accent to take off."""

_FIELDS = pa.schema(
    [
        ("unique_id", pa.string()),
        ("first", pa.string()),
        ("given", pa.list_(pa.string())),
        ("last", pa.string()),
        ("family", pa.list_(pa.string())),
        ("birth", pa.string()),
        ("turned", pa.string()),
        ("grade", pa.int32()),
        ("school", pa.string()),
    ]
)


def link_participants(participants: Sequence[Participant], students: pd.DataFrame) -> list[Match]:
    """A match for each participant, in their order.

    Args:
        participants: of one partner or of several; each partner's are held against one another.
        students: a row each, with the columns of `records.identity.participants.linkage_roster`.

    A participant is linked when the probability is at least `SURE`, the student is `MIN_ODDS_RATIO`
    times likelier than the next, the first name agrees, and so does the birth date or the school.
    Before anything is compared, a participant is as likely to be no student of the district as to
    be one. The arithmetic is that of Fellegi and Sunter, "A Theory for Record Linkage" (1969).
    """
    if not participants or students.empty:
        return [Match(one, MatchStatus.NONE, None, ()) for one in participants]
    fits = _fits(participants, students)
    return _one_to_one([_match(one, fits[place]) for place, one in enumerate(participants)])


def describe_similarity(
    pairs: Sequence[tuple[Participant, str]], students: pd.DataFrame
) -> list[dict[str, str]]:
    """How alike each fact of a participant and a student is, in the words of `COMPARISONS`: one
    answer a pair.

    Where the names are more alike in each other's place, `first` and `last` say so. A grade beside
    two birth dates has no word.
    """
    if not pairs:
        return []
    found = ", ".join(f"{_which_level(levels)} as {name}" for name, levels in COMPARISONS.items())
    sides = pa.table(
        {
            "key": [f"{place} {reading}" for place in range(len(pairs)) for reading in NAME_ORDERS],
            "student": [student for _, student in pairs for _ in NAME_ORDERS],
        }
    )
    with _engine() as engine:
        left = engine.from_arrow(_suffixed(_readings([one for one, _ in pairs]), "_l"))
        right = engine.from_arrow(_suffixed(_roster(students), "_r"))
        joined = (
            engine.from_arrow(sides)
            .join(left, "key = unique_id_l")
            .join(right, "student = unique_id_r")
        )
        rows = joined.project(f"key, {found}").fetchall()
    levels = {
        key: {
            name: COMPARISONS[name][number]
            for name, number in zip(COMPARISONS, numbers, strict=True)
        }
        for key, *numbers in rows
    }
    return [
        _in_words(levels[f"{place} as given"], levels[f"{place} turned"])
        for place in range(len(pairs))
    ]


@dataclass(frozen=True, eq=False)
class _Fit:
    """How well one student fits: the odds against being nobody, and the level of each fact."""

    student_id: str
    odds: float
    levels: Mapping[str, ComparisonLevel]

    @cached_property
    def enough(self) -> bool:
        agrees = {name: level.agrees for name, level in self.levels.items()}
        unknown = self.levels["birth"] is COMPARISONS["birth"][0]
        return agrees["first"] and (agrees["birth"] or (unknown and agrees["school"]))

    @cached_property
    def named_alike(self) -> bool:
        return self.levels["first"].agrees or self.levels["last"].agrees


def _match(participant: Participant, fits: Sequence[_Fit]) -> Match:
    ranked = sorted(
        (fit for fit in fits if fit.named_alike), key=lambda fit: (-fit.odds, fit.student_id)
    )
    total = 1.0 + sum(fit.odds for fit in fits)
    possible = [fit for fit in ranked if fit.odds / total >= CANDIDATE_THRESHOLD]
    if not possible:
        return Match(participant, MatchStatus.NONE, None, ())
    best, *rivals = ranked
    sure = best.enough and best.odds / total >= LINK_THRESHOLD
    close = [fit for fit in rivals if sure and MIN_ODDS_RATIO * fit.odds > best.odds]
    offered = dict.fromkeys([*possible, *close])
    candidates = tuple(Candidate(fit.student_id, fit.odds / total) for fit in offered)[
        :MAX_CANDIDATES
    ]
    if sure and not close:
        return Match(participant, MatchStatus.LINKED, best.student_id, candidates)
    return Match(participant, MatchStatus.UNSURE, None, candidates)


def _one_to_one(matches: Sequence[Match]) -> list[Match]:
    """Nobody of one partner shares a student with somebody else, unless both rows say the same but
    for their key.
    """
    claims: defaultdict[tuple[str, str], set[Participant]] = defaultdict(set)
    for one in matches:
        if one.student_id is not None:
            claims[one.participant.organization_id, one.student_id].add(
                replace(one.participant, participant_id="")
            )
    return [
        replace(one, status=MatchStatus.UNSURE, student_id=None)
        if one.student_id is not None
        and len(claims[one.participant.organization_id, one.student_id]) > 1
        else one
        for one in matches
    ]


def _fits(participants: Sequence[Participant], students: pd.DataFrame) -> Mapping[int, list[_Fit]]:
    """By the participant's place, each student who fits at all, in the better of the two readings
    of the names.
    """
    roster = _roster(students)
    with _engine() as engine:
        api = DuckDBAPI(engine)
        tables = [
            api.register(_readings(participants), table_name="participants"),
            api.register(roster, table_name="students"),
        ]
        linker = Linker(tables, _settings(len(students)), log_level=None)
        for column, rarity in _rarities(roster).items():
            registered = api.register(rarity, table_name=f"rarity_of_{column}")
            linker.table_management.register_term_frequency_lookup(registered, column)
        gammas = ", ".join(f"gamma_{name}" for name in COMPARISONS)
        found = linker.inference.predict(threshold_match_probability=_FAINT, warning_mode="never")
        pairs = (
            found.as_duckdbpyrelation()
            .project(f"unique_id_l, unique_id_r, match_weight, {gammas}")
            .fetchall()
        )
    best: defaultdict[int, dict[str, _Fit]] = defaultdict(dict)
    for key, student, weight, *numbers in pairs:
        place, reading = key.split(" ", 1)
        levels = {
            name: _level(COMPARISONS[name], number)
            for name, number in zip(COMPARISONS, numbers, strict=True)
        }
        fit = _Fit(student, NAME_ORDERS[reading] * 2.0**weight, levels)
        known = best[int(place)].get(fit.student_id)
        if known is None or fit.odds > known.odds:
            best[int(place)][fit.student_id] = fit
    return defaultdict(list, {place: list(fits.values()) for place, fits in best.items()})


def _settings(students: int) -> SettingsCreator:
    return SettingsCreator(
        link_type="link_only",
        probability_two_random_records_match=1.0 / (students + 1),
        comparisons=[
            {
                "output_column_name": name,
                "comparison_levels": [_splink_level(level) for level in levels],
            }
            for name, levels in COMPARISONS.items()
        ],
        blocking_rules_to_generate_predictions=[{"blocking_rule": rule} for rule in _PAIRED_BY],
    )


def _splink_level(level: ComparisonLevel) -> dict[str, Any]:
    if level.m == level.u:
        return {"sql_condition": level.when, "is_null_level": True}
    rarity = {"tf_adjustment_column": level.rarity} if level.rarity else {}
    return {
        "sql_condition": level.when,
        "m_probability": level.m,
        "u_probability": level.u,
    } | rarity


def _level(levels: tuple[ComparisonLevel, ...], gamma: int) -> ComparisonLevel:
    """The level of a splink number: -1 where the fact is missing, else counted from the last level
    up.
    """
    return levels[0] if gamma < 0 else levels[len(levels) - 1 - gamma]


def _which_level(levels: tuple[ComparisonLevel, ...]) -> str:
    *tested, last = range(len(levels))
    return (
        "case "
        + " ".join(f"when {levels[number].when} then {number}" for number in tested)
        + f" else {last} end"
    )


def _suffixed(table: pa.Table, suffix: str) -> pa.Table:
    return table.rename_columns([f"{name}{suffix}" for name in table.column_names])


def _in_words(
    given: Mapping[str, ComparisonLevel], turned: Mapping[str, ComparisonLevel]
) -> dict[str, str]:
    if NAME_ORDERS["turned"] * _weight(turned) > NAME_ORDERS["as given"] * _weight(given):
        swapped = {name: f"{turned[name].says}, in the other's place" for name in ("first", "last")}
        return {name: level.says for name, level in turned.items()} | swapped
    return {name: level.says for name, level in given.items()}


def _weight(levels: Mapping[str, ComparisonLevel]) -> float:
    return levels["first"].m / levels["first"].u * levels["last"].m / levels["last"].u


def _rarities(roster: pa.Table) -> dict[str, pa.Table]:
    """How often each value is met, column by column, on the roster with the middling students mixed
    in.
    """
    middling = {
        level.rarity: level.u
        for levels in COMPARISONS.values()
        for level in reversed(levels)
        if level.rarity
    }
    found = {}
    for column, share in middling.items():
        counts = Counter(value for value in roster[column].to_pylist() if value is not None)
        among = _peers(roster) if column == "school" else dict.fromkeys(counts, counts.total())
        shares = [
            (count + _MIXED_IN * share) / (among[value] + _MIXED_IN)
            for value, count in counts.items()
        ]
        columns = (pa.array(counts, pa.string()), pa.array(shares, pa.float64()))
        found[column] = pa.Table.from_arrays(columns, names=[column, f"tf_{column}"])
    return found


def _peers(roster: pa.Table) -> dict[str, int]:
    """Of each school, the students of the grades that it has: no high school is rare among children
    of its age.
    """
    grades, schools = roster["grade"].to_pylist(), roster["school"].to_pylist()
    taught: defaultdict[str, set[int | None]] = defaultdict(set)
    for grade, school in zip(grades, schools, strict=True):
        taught[school].add(grade)
    students = Counter(grades)
    return {school: sum(students[grade] for grade in found) for school, found in taught.items()}


def _readings(participants: Sequence[Participant]) -> pa.Table:
    """Each participant twice: as given, and with first and last name in each other's place."""
    rows = []
    for place, one in enumerate(participants):
        rest = (one.birth_date, one.grade_level, one.school)
        rows.append(_facts(f"{place} as given", one.first_name, one.last_name, *rest))
        rows.append(_facts(f"{place} turned", one.last_name, one.first_name, *rest))
    return pa.Table.from_pylist(rows, schema=_FIELDS)


def _roster(students: pd.DataFrame) -> pa.Table:
    columns = ("student_id", "first_name", "last_name", "birth_date", "grade_level", "school")
    rows = zip(*(students[name] for name in columns), strict=True)
    return pa.Table.from_pylist(
        [_facts(*(None if pd.isna(value) else value for value in row)) for row in rows],
        schema=_FIELDS,
    )


def _facts(
    key: str | None,
    first: str | None,
    last: str | None,
    birth: Any,
    grade: float | None,
    school: str | None,
) -> dict[str, Any]:
    """One record as it is compared: small letters without accents, and names also in their
    parts.
    """
    given = normalized_words(first or "")
    family = [word for word in normalized_words(last or "") if word not in _GENERATIONS]
    whole_given, whole_family = "".join(given), "".join(family)
    names = {name for word in (whole_given, *_parts(given)) for name in possible_full_names(word)}
    return {
        "unique_id": key,
        "first": whole_given or None,
        "given": sorted(names),
        "last": whole_family or None,
        "family": sorted({whole_family, *_parts(family)}),
        "birth": None if birth is None else f"{birth:%Y-%m-%d}",
        "turned": None if birth is None else f"{birth:%Y-%d-%m}",
        "grade": None if grade is None else int(grade),
        "school": _school(school or "") or None,
    }


def normalized_words(text: str) -> list[str]:
    """The words of a name in small letters, without accents, apostrophes and hyphens."""
    letters = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS))
    return "".join(
        letter if letter.isalnum() else " "
        for letter in letters
        if not unicodedata.combining(letter)
    ).split()


def _parts(words: Sequence[str]) -> list[str]:
    return [word for word in words if len(word) > 2 and word not in _PARTICLES]


def _school(text: str) -> str:
    first, *rest = normalized_words(text) or [""]
    return " ".join(
        word for word in (first, *(_SCHOOL_WORDS.get(word, word) for word in rest)) if word
    )


@contextmanager
def _engine() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB in memory that spills nothing to a disk and fetches nothing from elsewhere."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "temp_directory": "",
        "autoinstall_known_extensions": "false",
    }
    with duckdb.connect(":memory:", config=config) as connection:
        yield connection
