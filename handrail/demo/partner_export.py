"""What one partner sends in its own format: a participant list with typos, an export, a mapping.

The partner has its own numbers for children, so that they must be matched to students. Most match
easily. Some are on the list by a nickname. Three have no birth date, school or grade on it; two are
on it twice; and `NON_STUDENTS` attend no school of the district.

Its files have been through a spreadsheet: titles above the header and a footer below the records,
dates without zeros in front or with a time of day, semicolons and Windows-1252, empty columns at
the end, and a number that the spreadsheet has shortened.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from handrail.demo.partners import EXPORTING_PARTNER, PARTNERS
from records.identity.nicknames import SHORT_FORMS

NON_STUDENTS = (
    ("Wilhelmina", "Featherstonehaugh", "2013-02-11", "7", "Saint Brannock's"),
    ("Balthazar", "Quillfeather", "2015-09-30", "5", "Home school"),
)
_EXACT_SHARE = 0.82
"""Share of participants who are written exactly as the district writes them."""

_NICKNAME_SHARE = 0.25
"""Share of the participants with a usual nickname who are on the list by it."""

_BAD_EXITS = (("MW-E-99999", "3/2/2026", "Goals met"),)
_BAD_SESSIONS = (
    ("MW-S-bad-1", "{participant}", "Restorative circles", "2/30/2026 0:00", "Present", "45", ""),
    ("MW-S-bad-2", "{participant}", "Restorative circles", "3/4/2026 0:00", "Perhaps", "45", ""),
    ("MW-S-bad-3", "1.2E+09", "Restorative circles", "3/4/2026 0:00", "Present", "45", ""),
    ("MW-S-odd-1", "{participant}", "Restorative circles", "3/5/2026 0:00", "Cancelled", "45", ""),
)
_TITLE = ("Mendworks", "Enrollment report; printed 4/17/2026 3:52 AM", "")
_CONFIDENTIAL = "Confidential \u2013 do not distribute"
_NOTE, _NOTE_EVERY = "Met at the caf\u00e9", 40

MAPPING = """# How Mendworks's export is read. Each line says: what Handrail calls it = \
what the export calls it.
organization_id = "{organization_id}"

[programs."{name}"]
program_id = "{program_id}"
support = "{support}"
capacity = {capacity}
cost_per_session = {cost}
min_grade = {lowest}
max_grade = {highest}

[[file]]
name = "Enrollments.csv"
holds = "enrollments"
header_line = {header_line}
dates = ["MM/DD/YYYY"]

[file.columns]
participant_id = "Participant ID"
enrollment_id = "Record ID"
program_id = "Program Name"
start_date = "Enrollment Date"

[[file]]
name = "Exits.csv"
holds = "exits"
dates = ["MM/DD/YYYY"]

[file.columns]
enrollment_id = "Enrollment Record ID"
end_date = "Exit Date"
exit_reason = "Exit Reason"

[file.values.exit_reason]
"Goals met" = "Completed"

[[file]]
name = "Attendance.csv"
holds = "sessions"
dates = ["MM/DD/YYYY"]

[file.columns]
participant_id = "Participant ID"
program_id = "Program Name"
session_id = "Record ID"
date = "Service Date"
attended = "Attended?"
minutes = "Duration (min)"

[file.values.attended]
"Present" = true
"No Show" = false

[file.leave_out]
attended = ["Cancelled"]
"""


def write_export(
    folder: Path,
    children: pd.DataFrame,
    service_enrollments: pd.DataFrame,
    sessions: pd.DataFrame,
    rng: np.random.Generator,
) -> None:
    """Write `participants.csv`, the three files of the export and `mapping.toml` into `folder`.

    Args:
        children: all participants ever, as the district knows them: student_id, names, birth date,
            grade, school.
        service_enrollments: every partner's enrollments, with `end_date` empty while they last.
        sessions: every partner's sessions.
    """
    numbers = pd.Series(
        [f"MW-{number:04d}" for number in range(1, len(children) + 1)], index=children["student_id"]
    )
    current = service_enrollments[
        (service_enrollments["organization_id"] == EXPORTING_PARTNER)
        & (service_enrollments["end_date"] == "")
    ]
    current_ids = current["student_id"].drop_duplicates().tolist()
    listed = _participants(children, numbers, current_ids, rng)
    _save(
        folder / "participants.csv",
        _with_nicknames(listed, rng),
        footer=("", f"Total participants: {len(listed)}", _CONFIDENTIAL),
        encoding="cp1252",
    )
    (program,) = next(
        partner.programs for partner in PARTNERS if partner.organization_id == EXPORTING_PARTNER
    )
    _service_history(folder, numbers, service_enrollments, sessions, program.name)
    (folder / "mapping.toml").write_text(
        MAPPING.format(
            organization_id=EXPORTING_PARTNER,
            header_line=len(_TITLE) + 1,
            name=program.name,
            program_id=program.program_id,
            support=program.support,
            capacity=program.capacity,
            cost=program.cost_per_session,
            lowest=program.min_grade,
            highest=program.max_grade,
        )
    )


def _participants(
    children: pd.DataFrame, numbers: pd.Series, current_ids: list[str], rng: np.random.Generator
) -> pd.DataFrame:
    """The participants as the partner's staff wrote them down."""
    written = children.assign(participant_id=numbers.to_numpy()).set_index("student_id", drop=False)
    has_typo = rng.random(len(written)) > _EXACT_SHARE
    kinds = rng.choice(len(_TYPOS), size=len(written), p=[share for _, _, share in _TYPOS])
    for student, typo_made, kind in zip(written["student_id"], has_typo, kinds, strict=True):
        if typo_made:
            column, make_typo, _ = _TYPOS[kind]
            written.loc[student, column] = make_typo(written.loc[student, column])
    incomplete, twice = current_ids[:3], current_ids[3:5]
    written.loc[incomplete, ["birth_date", "school", "grade"]] = ""
    written.loc[incomplete, "last_name"] = [
        _swapped(name) for name in written.loc[incomplete, "last_name"]
    ]
    duplicates = written.loc[twice].assign(
        participant_id=[f"MW-{9001 + place}" for place in range(len(twice))], grade="", school=""
    )
    non_students = pd.DataFrame(
        [(f"MW-{9101 + place}", *facts) for place, facts in enumerate(NON_STUDENTS)],
        columns=list(_COLUMNS),
    )
    return pd.concat([written[list(_COLUMNS)], duplicates[list(_COLUMNS)], non_students])


def _service_history(
    folder: Path,
    numbers: pd.Series,
    service_enrollments: pd.DataFrame,
    sessions: pd.DataFrame,
    program: str,
) -> None:
    """Enrollments, exits and sessions as the partner's own system exports them."""
    enrollments = service_enrollments[
        service_enrollments["organization_id"] == EXPORTING_PARTNER
    ].reset_index(drop=True)
    records = pd.Series([f"MW-E-{number:05d}" for number in range(1, len(enrollments) + 1)])
    started = pd.DataFrame(
        {
            "Record ID": records,
            "Participant ID": numbers[enrollments["student_id"]].to_numpy(),
            "Program Name": program,
            "Enrollment Date": _as_written(enrollments["start_date"]),
        }
    )
    _save(
        folder / "Enrollments.csv",
        started,
        title=_TITLE,
        footer=("", f"Total records: {len(started)}", _CONFIDENTIAL),
        empty_columns=2,
    )
    ended = enrollments["end_date"] != ""
    left = pd.DataFrame(
        {
            "Enrollment Record ID": records[ended],
            "Exit Date": _as_written(enrollments.loc[ended, "end_date"]),
            "Exit Reason": "Goals met",
        }
    )
    _save(folder / "Exits.csv", left, bad=_BAD_EXITS)
    own_sessions = sessions[sessions["organization_id"] == EXPORTING_PARTNER]
    held = pd.DataFrame(
        {
            "Record ID": own_sessions["session_id"],
            "Participant ID": numbers[own_sessions["student_id"]].to_numpy(),
            "Program Name": program,
            "Service Date": _as_written(own_sessions["date"]) + " 0:00",
            "Attended?": np.where(own_sessions["attended"] == "true", "Present", "No Show"),
            "Duration (min)": own_sessions["minutes"],
            "Notes": np.where(np.arange(len(own_sessions)) % _NOTE_EVERY == 0, _NOTE, ""),
        }
    )
    participant = str(numbers.iloc[0])
    _save(
        folder / "Attendance.csv",
        held,
        bad=[[text.format(participant=participant) for text in row] for row in _BAD_SESSIONS],
        footer=("", _CONFIDENTIAL),
        separator=";",
        encoding="cp1252",
        empty_columns=3,
    )


def _save(
    file: Path,
    records: pd.DataFrame,
    *,
    bad: Sequence[Sequence[str]] = (),
    title: Sequence[str] = (),
    footer: Sequence[str] = (),
    separator: str = ",",
    encoding: str = "utf-8",
    empty_columns: int = 0,
) -> None:
    """Write records as a spreadsheet saves them, with `bad` ones at the end."""
    written = records.to_csv(index=False, sep=separator, lineterminator="\n").splitlines()
    written += [separator.join(row) for row in bad]
    empty = separator * empty_columns
    lines = [*title, *(line + empty for line in written), *footer]
    file.write_bytes("".join(line + "\r\n" for line in lines).encode(encoding))


def _with_nicknames(listed: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The list with some children by the first of their usual nicknames."""
    chosen = rng.random(len(listed)) < _NICKNAME_SHARE
    names = [
        SHORT_FORMS[name.lower()].split()[0].capitalize()
        if is_chosen and name.lower() in SHORT_FORMS
        else name
        for name, is_chosen in zip(listed["first_name"], chosen, strict=True)
    ]
    return listed.assign(first_name=names)


def _as_written(days: pd.Series) -> Any:
    """2026-04-07 as 4/7/2026."""
    day = pd.to_datetime(days)
    parts = (day.dt.month, day.dt.day, day.dt.year)
    month, day_of_month, year = (part.astype(int).astype(str) for part in parts)
    return month + "/" + day_of_month + "/" + year


def _swapped(name: str) -> str:
    """The name with two middle letters swapped, unless little would be left of it."""
    if len(name) < 5:
        return name
    middle = max(1, len(name) // 2 - 1)
    return name[:middle] + name[middle + 1 : middle + 2] + name[middle] + name[middle + 2 :]


def _without_a_letter(name: str) -> str:
    return name[:-2] + name[-1] if len(name) > 4 else name


def _day_off(day: str) -> str:
    """The date with the last digit of its day changed."""
    return day[:-1] + str((int(day[-1]) + 1) % 9 + 1) if day[-2] != "3" else day


def _short_school(school: str) -> str:
    return school.removesuffix(" School")


_COLUMNS = ("participant_id", "first_name", "last_name", "birth_date", "grade", "school")
_TYPOS = (
    ("last_name", _swapped, 0.4),
    ("first_name", _without_a_letter, 0.27),
    ("birth_date", _day_off, 0.03),
    ("school", _short_school, 0.3),
)
"""Column, slip of the pen, and how often it is this one."""
