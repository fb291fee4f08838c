"""Record linkage: which district student a partner's participant is, by one Splink model.

Owns the comparison of names, birth dates, grades and schools, with all the model's numbers, and the
rule for when a comparison is sure enough. It refuses to guess: a participant who fits two students,
or a student who fits two participants of one partner, is left for a person to decide. It stores
nothing, writes no file and logs no name.
"""

from __future__ import annotations

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

from records.identity.names import normalized_words
from records.identity.nicknames import possible_full_names
from records.identity.participants import LINK_THRESHOLD, Candidate, Match, MatchStatus, Participant

MIN_ODDS_RATIO = 300.0
"""How many times likelier than the next student the linked one must be: twins whose names are a
letter apart differ by less, because one slip of the pen lies between them."""

CANDIDATE_THRESHOLD = 0.02
"""Below this probability a student is not shown to the person who decides, except as the rival of a
sure one."""

MAX_CANDIDATES = 3
"""How many students a person chooses from, at most."""


@dataclass(frozen=True)
class ComparisonLevel:
    """One way in which a fact of two records can agree or differ.

    `label` is shown to people. `sql_condition` compares the columns `..._l` and `..._r`. `m` is how
    often it holds for two records of one child, `u` for records of two children. With a
    `term_frequency_column`, agreement counts by how rare that very name, day or school is on the
    roster, and `u` is for a value of average rarity.
    """

    label: str
    sql_condition: str
    m: float
    u: float
    term_frequency_column: str | None = None

    @property
    def agrees(self) -> bool:
        """Whether it is evidence for one child."""
        return self.m > self.u


def _missing(condition: str, label: str = "nothing to compare") -> ComparisonLevel:
    return ComparisonLevel(label, condition, 1.0, 1.0)


_SIMILAR = (
    "jaro_winkler_similarity({0}_l, {0}_r) >= 0.92 or "
    "(damerau_levenshtein({0}_l, {0}_r) <= 1 and least(length({0}_l), length({0}_r)) >= 4)"
)

COMPARISONS: Mapping[str, tuple[ComparisonLevel, ...]] = {
    "first": (
        _missing("first_l is null or first_r is null"),
        ComparisonLevel("the same", "first_l = first_r", 0.84, 0.005, "first"),
        ComparisonLevel(
            "a nickname, or one of several names", "list_has_any(given_l, given_r)", 0.06, 0.001
        ),
        ComparisonLevel(
            "differs by a letter or two", _SIMILAR.format("first"), 0.08, 0.002, "first"
        ),
        ComparisonLevel(
            "differs by several letters",
            "jaro_winkler_similarity(first_l, first_r) >= 0.8",
            0.01,
            0.012,
        ),
        ComparisonLevel("different name", "ELSE", 0.01, 0.98),
    ),
    "last": (
        _missing("last_l is null or last_r is null"),
        ComparisonLevel("the same", "last_l = last_r", 0.82, 0.005, "last"),
        ComparisonLevel("one of several surnames", "list_has_any(family_l, family_r)", 0.06, 0.005),
        ComparisonLevel("differs by a letter or two", _SIMILAR.format("last"), 0.07, 0.002, "last"),
        ComparisonLevel("different name", "ELSE", 0.05, 0.988),
    ),
    "birth": (
        _missing("birth_l is null or birth_r is null"),
        ComparisonLevel("the same", "birth_l = birth_r", 0.93, 0.00025, "birth"),
        ComparisonLevel(
            "day and month swapped", "birth_l = birth_swapped_r", 0.02, 0.0001, "birth"
        ),
        ComparisonLevel(
            "differs by one digit", "damerau_levenshtein(birth_l, birth_r) <= 1", 0.03, 0.006
        ),
        ComparisonLevel("different day", "ELSE", 0.02, 0.994),
    ),
    "grade": (
        _missing(
            "grade_l is null or grade_r is null or (birth_l is not null and birth_r is not null)",
            label="",
        ),
        ComparisonLevel("the same", "grade_l = grade_r", 0.85, 0.08),
        ComparisonLevel("one grade apart", "abs(grade_l - grade_r) = 1", 0.13, 0.14),
        ComparisonLevel("different grade", "ELSE", 0.02, 0.78),
    ),
    "school": (
        _missing("school_l is null or school_r is null"),
        ComparisonLevel("the same", "school_l = school_r", 0.8, 0.16, "school"),
        ComparisonLevel("nearly the same", _SIMILAR.format("school"), 0.05, 0.01),
        ComparisonLevel("different school", "ELSE", 0.15, 0.83),
    ),
}
"""Each fact with its levels, of which the first that holds counts.

The `u` are the highest of those measured on the pairs of three rosters (the demo district, the
Ed-Fi sample, the synthetic roster of the tests), rounded up; that of a school among children of one
grade. The `m` are how partners' lists are expected to be; they are fixed because a partner with
thirty participants is too small to estimate them from (docs/benchmarks.md). A grade follows from a
birth date, so it counts only where there is none.
"""

AS_GIVEN, SWAPPED = "as given", "swapped"
NAME_ORDERS: Mapping[str, float] = {AS_GIVEN: 0.97, SWAPPED: 0.03}
"""How often a list has first and last names in their columns, and in each other's."""

_PRIOR_STUDENTS = 250
"""Students of average rarity who are added to a roster before anything on it is called rare: a name
seen once says little of how rare it is, and on a roster of a dozen every name is seen once."""

_BLOCKING_RULES = (
    "l.birth = r.birth",
    "l.birth = r.birth_swapped",
    "l.first = r.first",
    "l.last = r.last",
)
"""Only pairs for which one of these holds are compared at all."""

_MIN_MATCH_PROBABILITY = 0.0001
"""Pairs below it are not considered."""

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
_FIELDS = pa.schema(
    [
        ("unique_id", pa.string()),
        ("first", pa.string()),
        ("given", pa.list_(pa.string())),
        ("last", pa.string()),
        ("family", pa.list_(pa.string())),
        ("birth", pa.string()),
        ("birth_swapped", pa.string()),
        ("grade", pa.int32()),
        ("school", pa.string()),
    ]
)


def link_participants(participants: Sequence[Participant], students: pd.DataFrame) -> list[Match]:
    """A match for each participant, in their order.

    A participant is linked when the probability is at least `LINK_THRESHOLD`, the student is
    `MIN_ODDS_RATIO` times likelier than the next, the first name agrees, and so does the birth date
    or the school. Before anything is compared, a participant is as likely to be no student of the
    district as to be one. The arithmetic is that of Fellegi and Sunter, "A Theory for Record
    Linkage" (1969).

    Args:
        participants: of one partner or of several; each partner's are compared with one another.
        students: one row each, with the columns of
            `records.identity.participants.linkage_roster`.
    """
    if not participants or students.empty:
        return [Match(participant, MatchStatus.NONE, None, ()) for participant in participants]
    candidates = _candidates_by_participant(participants, students)
    matches = [
        _match(participant, candidates[index]) for index, participant in enumerate(participants)
    ]
    return _unlink_shared(matches)


def describe_similarity(
    pairs: Sequence[tuple[Participant, str]], students: pd.DataFrame
) -> list[dict[str, str]]:
    """How alike each fact of a participant and a student is, in the labels of `COMPARISONS`.

    Where the names are more alike in swapped columns, `first` and `last` say so. A grade next to
    two birth dates has an empty label.

    Args:
        pairs: participants, each with the ID of the student to compare with.
        students: as for `link_participants`.

    Returns:
        One label for each fact, for each pair.
    """
    if not pairs:
        return []
    variants = _name_variants([participant for participant, _ in pairs])
    pair_keys = pa.table(
        {
            "key": list(variants.index_and_order),
            "student": [pairs[index][1] for index, _ in variants.index_and_order.values()],
        }
    )
    level_numbers = ", ".join(
        f"{_level_number_sql(levels)} as {name}" for name, levels in COMPARISONS.items()
    )
    with _engine() as engine:
        left = engine.from_arrow(_suffixed(variants.records, "_l"))
        right = engine.from_arrow(_suffixed(_roster_records(students), "_r"))
        joined = (
            engine.from_arrow(pair_keys)
            .join(left, "key = unique_id_l")
            .join(right, "student = unique_id_r")
        )
        rows = joined.project(f"key, {level_numbers}").fetchall()
    levels_of_variant = {
        variants.index_and_order[key]: {
            name: COMPARISONS[name][number]
            for name, number in zip(COMPARISONS, numbers, strict=True)
        }
        for key, *numbers in rows
    }
    return [
        _labels(levels_of_variant[index, AS_GIVEN], levels_of_variant[index, SWAPPED])
        for index in range(len(pairs))
    ]


@dataclass(frozen=True, eq=False)
class _Candidate:
    """One student whom a participant may be, with the level of each fact.

    `odds` is how many times likelier that is than that they are no student of the district.
    """

    student_id: str
    odds: float
    levels: Mapping[str, ComparisonLevel]

    @cached_property
    def can_be_linked(self) -> bool:
        """Whether enough facts agree: the first name, and the birth date or else the school."""
        agrees = {name: level.agrees for name, level in self.levels.items()}
        birth_is_missing = self.levels["birth"] is COMPARISONS["birth"][0]
        return agrees["first"] and (agrees["birth"] or (birth_is_missing and agrees["school"]))

    @cached_property
    def has_similar_name(self) -> bool:
        return self.levels["first"].agrees or self.levels["last"].agrees


def _match(participant: Participant, candidates: Sequence[_Candidate]) -> Match:
    ranked = sorted(
        (candidate for candidate in candidates if candidate.has_similar_name),
        key=lambda candidate: (-candidate.odds, candidate.student_id),
    )
    # Being no student of the district has odds of 1.
    total_odds = 1.0 + sum(candidate.odds for candidate in candidates)
    possible = [
        candidate for candidate in ranked if candidate.odds / total_odds >= CANDIDATE_THRESHOLD
    ]
    if not possible:
        return Match(participant, MatchStatus.NONE, None, ())
    best, *rivals = ranked
    is_sure = best.can_be_linked and best.odds / total_odds >= LINK_THRESHOLD
    close_rivals = [
        rival for rival in rivals if is_sure and MIN_ODDS_RATIO * rival.odds > best.odds
    ]
    offered = list(dict.fromkeys([*possible, *close_rivals]))[:MAX_CANDIDATES]
    shown = tuple(
        Candidate(candidate.student_id, candidate.odds / total_odds) for candidate in offered
    )
    if is_sure and not close_rivals:
        return Match(participant, MatchStatus.LINKED, best.student_id, shown)
    return Match(participant, MatchStatus.UNSURE, None, shown)


def _unlink_shared(matches: Sequence[Match]) -> list[Match]:
    """Leave to a person every link to a student whom another participant of the partner shares.

    Rows that are equal but for their participant ID are one child listed twice, and both linked.
    """
    claims: defaultdict[tuple[str, str], set[Participant]] = defaultdict(set)
    for match in matches:
        if match.student_id is not None:
            claims[match.participant.organization_id, match.student_id].add(
                replace(match.participant, participant_id="")
            )
    return [
        replace(match, status=MatchStatus.UNSURE, student_id=None)
        if match.student_id is not None
        and len(claims[match.participant.organization_id, match.student_id]) > 1
        else match
        for match in matches
    ]


def _candidates_by_participant(
    participants: Sequence[Participant], students: pd.DataFrame
) -> Mapping[int, list[_Candidate]]:
    """By the participant's index, each student who fits at all, in the likelier order of names."""
    variants = _name_variants(participants)
    best: defaultdict[int, dict[str, _Candidate]] = defaultdict(dict)
    for key, student_id, match_weight, *gammas in _predict(variants.records, students):
        index, order = variants.index_and_order[key]
        candidate = _Candidate(
            student_id=student_id,
            odds=NAME_ORDERS[order] * 2.0**match_weight,
            levels={
                name: _level_of_gamma(COMPARISONS[name], gamma)
                for name, gamma in zip(COMPARISONS, gammas, strict=True)
            },
        )
        other_order = best[index].get(student_id)
        if other_order is None or candidate.odds > other_order.odds:
            best[index][student_id] = candidate
    by_index = {index: list(candidates.values()) for index, candidates in best.items()}
    return defaultdict(list, by_index)


def _predict(participants: pa.Table, students: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Splink's prediction for every pair that is compared.

    Returns:
        For each pair the participant's key, the student's ID, the match weight (the base-2
        logarithm of the Bayes factor times the prior odds), and for each comparison its gamma, the
        number of the level.
    """
    roster = _roster_records(students)
    gammas = ", ".join(f"gamma_{name}" for name in COMPARISONS)
    with _engine() as engine:
        api = DuckDBAPI(engine)
        tables = [
            api.register(participants, table_name="participants"),
            api.register(roster, table_name="students"),
        ]
        linker = Linker(tables, _settings(len(students)), log_level=None)
        for column, frequencies in _term_frequencies(roster).items():
            registered = api.register(frequencies, table_name=f"frequencies_of_{column}")
            linker.table_management.register_term_frequency_lookup(registered, column)
        predictions = linker.inference.predict(
            threshold_match_probability=_MIN_MATCH_PROBABILITY, warning_mode="never"
        )
        rows: list[tuple[Any, ...]] = (
            predictions.as_duckdbpyrelation()
            .project(f"unique_id_l, unique_id_r, match_weight, {gammas}")
            .fetchall()
        )
    return rows


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
        blocking_rules_to_generate_predictions=[
            {"blocking_rule": rule} for rule in _BLOCKING_RULES
        ],
    )


def _splink_level(level: ComparisonLevel) -> dict[str, Any]:
    if level.m == level.u:
        return {"sql_condition": level.sql_condition, "is_null_level": True}
    splink_level: dict[str, Any] = {
        "sql_condition": level.sql_condition,
        "m_probability": level.m,
        "u_probability": level.u,
    }
    if level.term_frequency_column:
        splink_level["tf_adjustment_column"] = level.term_frequency_column
    return splink_level


def _level_of_gamma(levels: tuple[ComparisonLevel, ...], gamma: int) -> ComparisonLevel:
    """Splink numbers levels from the last one up, and a missing fact is -1."""
    return levels[0] if gamma < 0 else levels[len(levels) - 1 - gamma]


def _level_number_sql(levels: tuple[ComparisonLevel, ...]) -> str:
    """An SQL expression for the index of the first level that holds."""
    *tested, last = range(len(levels))
    cases = " ".join(f"when {levels[number].sql_condition} then {number}" for number in tested)
    return f"case {cases} else {last} end"


def _suffixed(table: pa.Table, suffix: str) -> pa.Table:
    return table.rename_columns([f"{name}{suffix}" for name in table.column_names])


def _labels(
    as_given: Mapping[str, ComparisonLevel], swapped: Mapping[str, ComparisonLevel]
) -> dict[str, str]:
    """The labels of the likelier order of the names."""
    if NAME_ORDERS[SWAPPED] * _bayes_factor(swapped) <= NAME_ORDERS[AS_GIVEN] * _bayes_factor(
        as_given
    ):
        return {name: level.label for name, level in as_given.items()}
    labels = {name: level.label for name, level in swapped.items()}
    for name in ("first", "last"):
        labels[name] += ", first and last name swapped"
    return labels


def _bayes_factor(levels: Mapping[str, ComparisonLevel]) -> float:
    """Of the two names alone: the order of the names changes nothing else."""
    return levels["first"].m / levels["first"].u * levels["last"].m / levels["last"].u


def _term_frequencies(roster: pa.Table) -> dict[str, pa.Table]:
    """How frequent each value of a column is on the roster, shrunk toward an average value.

    Returns:
        By column, a table of the values and their shares (`tf_...`), as Splink looks them up.
    """
    average_shares = {
        level.term_frequency_column: level.u
        for levels in COMPARISONS.values()
        for level in reversed(levels)
        if level.term_frequency_column
    }
    frequencies = {}
    for column, average_share in average_shares.items():
        counts = Counter(value for value in roster[column].to_pylist() if value is not None)
        totals = (
            _same_grade_students(roster)
            if column == "school"
            else dict.fromkeys(counts, counts.total())
        )
        shares = [
            (count + _PRIOR_STUDENTS * average_share) / (totals[value] + _PRIOR_STUDENTS)
            for value, count in counts.items()
        ]
        frequencies[column] = pa.Table.from_arrays(
            [pa.array(counts, pa.string()), pa.array(shares, pa.float64())],
            names=[column, f"tf_{column}"],
        )
    return frequencies


def _same_grade_students(roster: pa.Table) -> dict[str, int]:
    """For each school, the roster's students in the grades it has.

    A school is judged among children of its age: else every high school would be rare.
    """
    grades, schools = roster["grade"].to_pylist(), roster["school"].to_pylist()
    grades_of_school: defaultdict[str, set[int | None]] = defaultdict(set)
    for grade, school in zip(grades, schools, strict=True):
        grades_of_school[school].add(grade)
    students_of_grade = Counter(grades)
    return {
        school: sum(students_of_grade[grade] for grade in own_grades)
        for school, own_grades in grades_of_school.items()
    }


@dataclass(frozen=True)
class _NameVariants:
    """Each participant twice, with the names as given and swapped.

    `index_and_order` says of each record's key whose it is, and in which of `NAME_ORDERS`.
    """

    records: pa.Table
    index_and_order: Mapping[str, tuple[int, str]]


def _name_variants(participants: Sequence[Participant]) -> _NameVariants:
    rows = []
    index_and_order = {}
    for index, participant in enumerate(participants):
        first, last = participant.first_name, participant.last_name
        for order, names in ((AS_GIVEN, (first, last)), (SWAPPED, (last, first))):
            key = f"{index} {order}"
            index_and_order[key] = (index, order)
            rows.append(
                _record(
                    key,
                    *names,
                    participant.birth_date,
                    participant.grade_level,
                    participant.school,
                )
            )
    return _NameVariants(pa.Table.from_pylist(rows, schema=_FIELDS), index_and_order)


def _roster_records(students: pd.DataFrame) -> pa.Table:
    columns = ("student_id", "first_name", "last_name", "birth_date", "grade_level", "school")
    rows = zip(*(students[name] for name in columns), strict=True)
    return pa.Table.from_pylist(
        [_record(*(None if pd.isna(value) else value for value in row)) for row in rows],
        schema=_FIELDS,
    )


def _record(
    key: str | None,
    first_name: str | None,
    last_name: str | None,
    birth_date: Any,
    grade: float | None,
    school: str | None,
) -> dict[str, Any]:
    """One record as it is compared: lower case without accents, and names also by their parts."""
    given_words = normalized_words(first_name or "")
    family_words = [word for word in normalized_words(last_name or "") if word not in _GENERATIONS]
    first, last = "".join(given_words), "".join(family_words)
    given_names = {
        full_name
        for word in (first, *_name_parts(given_words))
        for full_name in possible_full_names(word)
    }
    return {
        "unique_id": key,
        "first": first or None,
        "given": sorted(given_names),
        "last": last or None,
        "family": sorted({last, *_name_parts(family_words)}),
        "birth": None if birth_date is None else f"{birth_date:%Y-%m-%d}",
        "birth_swapped": None if birth_date is None else f"{birth_date:%Y-%d-%m}",
        "grade": None if grade is None else int(grade),
        "school": _normalized_school(school or "") or None,
    }


def _name_parts(words: Sequence[str]) -> list[str]:
    return [word for word in words if len(word) > 2 and word not in _PARTICLES]


def _normalized_school(text: str) -> str:
    """The first word of a school's name is its own; the others are written out or left out."""
    first, *rest = normalized_words(text) or [""]
    expanded = (_SCHOOL_WORDS.get(word, word) for word in rest)
    return " ".join(word for word in (first, *expanded) if word)


@contextmanager
def _engine() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB in memory that spills nothing to a disk and fetches nothing from elsewhere."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "temp_directory": "",
        "autoinstall_known_extensions": "false",
    }
    with duckdb.connect(":memory:", config=config) as connection:
        yield connection
