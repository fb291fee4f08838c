"""Which codes a source uses, and what nobody has said of them: read before anything is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from records.canonical.quarantine import BadRow, Value
from records.canonical.schema import ATTENDANCE_STATUSES
from records.connectors.profiles.profile import IGNORED
from records.connectors.protocol import Connector
from records.system.progress import ProgressCallback


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


def draft_profile(uses: list[CodeUse], today: date) -> str:
    """A profile file with a line to complete for each code that is not understood."""
    lines = [
        f"# Drafted on {today} from the source's own files. Complete a line and take its # away.",
        "",
        "[attendance]",
        '# by = "day"            # "day", "section" (by classes) or "either"',
        '# section_rule = "half"  # how classes missed make a day: "share", "half" or "any"',
        "",
        "[attendance.codes]",
        f"# Each code is one of: {', '.join((*ATTENDANCE_STATUSES, IGNORED))};",
        '# with parts of a day: HD = { status = "absent_excused", absent_share = 0.5 }',
    ]
    lines += _questions(uses, "attendance_events", '"..."')
    events = _questions(uses, "calendar", "")
    if events:
        lines += ["", "[calendar]", "# Put each of these events into one of the two lists."]
        lines += [line.removesuffix(" = ") for line in events]
        lines += ["# school_days = []", "# other_days = []"]
    return "\n".join([*lines, ""])


def _questions(uses: list[CodeUse], table: str, example: str) -> list[str]:
    lines = []
    for use in uses:
        if use.table == table and not use.understood:
            code = use.code.replace("\\", "\\\\").replace('"', '\\"')
            lines += [
                f"# {use.count:,} of the values of {use.column} ({use.share:.1%}):",
                f'# "{code}" = {example}',
            ]
    return lines
