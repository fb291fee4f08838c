"""Which codes a source uses, and what nobody has said of them: read before anything is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from records.canonical.quarantine import BadRow, Value
from records.canonical.schema import ATTENDANCE_STATUSES
from records.connectors.profiles.grades import (
    FEW_POINTS,
    FOUR,
    SCALES,
    SCORE_STATUSES,
    STANDARDS,
    TERM_NAMES,
)
from records.connectors.profiles.profile import IGNORED
from records.connectors.protocol import Connector
from records.identity.aliases import KnownStudents
from records.system.progress import ProgressCallback

_MARKS = ("course_grades", "gradebook_entries")
MINUTES = "SchoolAttendanceDuration"
"""A column of Ed-Fi in minutes: it has no codes that a profile could explain."""


@dataclass(frozen=True)
class CodeUse:
    """One code of one column, and how often it stands there; `share` is of the column, 0 to 1."""

    table: str
    column: str
    code: str
    count: int
    share: float
    understood: bool


@dataclass
class CodeSurvey:
    """A sink that keeps no row and counts the codes that a connector meets."""

    counts: dict[tuple[str, str], Counter[tuple[str, bool]]] = field(default_factory=dict)
    known_students: KnownStudents = field(default_factory=KnownStudents)

    def code(self, table: str, column: str, code: str, understood: bool) -> None:
        self.counts.setdefault((table, column), Counter())[code, understood] += 1

    def keep(self, table: str, values: Mapping[str, Value], file: str, line: int) -> None: ...

    def derive(self, table: str, values: Mapping[str, Value], file: str, line: int) -> None: ...

    def use(self, file: str) -> None: ...

    def missing(self, file: str, stays_empty: str) -> None: ...

    def note(self, text: str) -> None: ...

    def quarantine(self, row: BadRow) -> None: ...

    def ignore(self, file: str, kind: str) -> None: ...

    def drop_column(self, file: str, column: str, kind: str) -> None: ...

    def same_students(self, aliases: Mapping[str, str]) -> None: ...

    def passing_note(self, text: str) -> None: ...

    def uses(self) -> list[CodeUse]:
        """Every code, by table and column, those not understood first and then by how often."""
        result = []
        for (table, column), codes in sorted(self.counts.items()):
            total = sum(codes.values())
            ordered = sorted(codes.items(), key=lambda item: (item[0][1], -item[1], item[0][0]))
            result += [
                CodeUse(table, column, code, count, count / total, understood)
                for (code, understood), count in ordered
            ]
        return result


def survey_codes(connector: Connector, folder: Path, progress: ProgressCallback) -> list[CodeUse]:
    """The codes of a source, read without loading anything.

    Raises:
        SourceRefused: the source cannot be read.
    """
    survey = CodeSurvey()
    connector.read(folder, survey, progress)
    return survey.uses()


@dataclass(frozen=True)
class _Section:
    """A part of a profile in which codes of a column are explained."""

    table: str
    columns: tuple[str, ...]
    heading: str
    comments: tuple[str, ...]


_SECTIONS = (
    _Section(
        "course_grades",
        ("GradeType", "storecode"),
        "[grades.types]",
        (f"Each type is one of: {', '.join(TERM_NAMES)}.",),
    ),
    _Section(
        "course_grades",
        (),
        "[grades.letters]",
        (
            "What each letter is worth in points of 100, as A = 95; words that are no mark go to"
            " no_mark.",
        ),
    ),
    _Section(
        "gradebook_entries",
        ("scoreStatus", "SubmissionStatus"),
        "[grades.score_statuses]",
        (f"Each status is one of: {', '.join(SCORE_STATUSES)}.",),
    ),
)


def draft_profile(uses: list[CodeUse], today: date, vendor: str | None = None) -> str:
    """A profile file with a line to complete for each code that is not understood.

    Args:
        vendor: the system that the export says it comes from; its words are offered, not assumed.
    """
    asked = [use for use in uses if not use.understood]
    lines = [
        f"# Drafted on {today} from the source's own files. Complete a line and take its # away.",
        *([f'# vendor = "{vendor}"  # the words that this system publishes'] if vendor else []),
        "",
        "[attendance]",
        '# by = "day"            # "day", "section" (by classes) or "either"',
        '# section_rule = "half"  # how classes missed make a day: "share", "half" or "any"',
        "",
        "[attendance.codes]",
        f"# Each code is one of: {', '.join((*ATTENDANCE_STATUSES, IGNORED))};",
        '# with parts of a day: HD = { status = "absent_excused", absent_share = 0.5 }',
    ]
    attendance = (use for use in asked if use.table == "attendance_events")
    lines += _questions((use for use in attendance if use.column != MINUTES), '"..."')
    events = _questions((use for use in asked if use.table == "calendar"), "")
    if events:
        lines += ["", "[calendar]", "# Put each of these events into one of the two lists."]
        lines += [line.removesuffix(" = ") for line in events]
        lines += ["# school_days = []", "# other_days = []"]
    if any(use.table in _MARKS for use in asked):
        lines += ["", *_scale_lines(asked)]
        for section in _SECTIONS:
            codes = _questions(
                filter(_belongs_to(section), asked), '"..."' if section.columns else "..."
            )
            if codes:
                lines += ["", section.heading, *(f"# {text}" for text in section.comments), *codes]
    return "\n".join([*lines, ""])


def _scale_lines(asked: Iterable[CodeUse]) -> list[str]:
    """The start of the table of marks, with what a 4-point scale needs where there is one."""
    lines = [
        "[grades]",
        f'# scale = "{SCALES[0]}"  # of all schools: {", ".join(SCALES)}',
        '# no_mark = ["NM"]  # words in place of a mark that are none',
        "# [grades.schools]",
        f'# "100" = "{STANDARDS}"  # the scale of one school, by its number',
    ]
    few = sum(use.count for use in asked if use.code == FEW_POINTS)
    if few:
        lines += [
            f"# {few:,} marks are numbers up to 5. State the scale above, and here what it is",
            "# worth in points of 100; numbers between two lie between them. Without it they stay",
            "# unknown.",
            f'# [grades.points."{FOUR}"]',
            "# 4 = 95",
            "# 3 = 85",
        ]
    return lines


def _belongs_to(section: _Section) -> Callable[[CodeUse], bool]:
    named = {column for other in _SECTIONS for column in other.columns}

    def belongs(use: CodeUse) -> bool:
        is_of = use.column in section.columns if section.columns else use.column not in named
        return use.table == section.table and is_of and use.code != FEW_POINTS

    return belongs


def _questions(uses: Iterable[CodeUse], example: str) -> list[str]:
    lines = []
    for use in uses:
        code = use.code.replace("\\", "\\\\").replace('"', '\\"')
        lines += [
            f"# {use.count:,} of the values of {use.column} ({use.share:.1%}):",
            f'# "{code}" = {example}',
        ]
    return lines
