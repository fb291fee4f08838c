"""Further identifiers of a student: what they are, and what was recorded under them.

A source may list one child as several users, each with an identifier of its own. One of them is the
student's for good, and the others are its aliases. This module stores which is which, and brings
along what the database holds under an alias. It does not decide who is one child: connectors do.

Whatever protects a child (opt-outs, legal holds) is copied before the records change and stays
under either identifier; whatever opens or tells of a record moves after they have, and each move is
on record, so that it goes back when two who were one turn out to be two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import inspect, or_, select, update
from sqlalchemy.orm import Session

from records.database.engine import Database
from records.database.tables import (
    ConsentRow,
    DecisionRow,
    EmergencyRow,
    ImpressionRow,
    LegalDemandRow,
    LegalHoldRow,
    MovedStudentRow,
    OptOutRow,
    ParticipantCandidateRow,
    ParticipantRow,
    ReferralRow,
    ReferralStepRow,
    StudentAliasRow,
)

_MOVED: tuple[type[Any], ...] = (
    ConsentRow,
    DecisionRow,
    ImpressionRow,
    EmergencyRow,
    LegalDemandRow,
    ParticipantRow,
    ParticipantCandidateRow,
    ReferralRow,
    ReferralStepRow,
)
"""Tables whose rows move from an alias to its student. The log of disclosures stays as it was
written: who reads a student's log reads what it says of their aliases too."""

_BY_NAME = {row.__tablename__: row for row in _MOVED}


def _nobody(student_id: str) -> bool:
    return False


@dataclass(frozen=True)
class KnownStudents:
    """What is known of identifiers of students before a source is read.

    `aliases` are further identifiers with the student of each, `students` are those of the current
    records, and `is_destroyed` says whether a student's records were destroyed.
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    students: Collection[str] = frozenset()
    is_destroyed: Callable[[str], bool] = _nobody


@dataclass(frozen=True)
class Identities:
    """Which identifiers stand for one student after a load.

    `aliases` has every further identifier with its student. `joined` are those of them that were
    students of their own in the records before; `apart` were aliases, and are students of their
    own now.
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    joined: Mapping[str, str] = field(default_factory=dict)
    apart: Mapping[str, str] = field(default_factory=dict)

    def changes(self) -> list[str]:
        """What a person should confirm, as clauses: two students become one, or one becomes two."""
        clauses = []
        if self.joined:
            clauses.append(
                f"{_count(self.joined, 'student')} of the current records would become one with"
                f" another, by the identifiers of the source ({_pairs(self.joined, 'with')}); what"
                " is recorded of them comes along"
            )
        if self.apart:
            clauses.append(
                f"{_count(self.apart, 'further user')} of students would be parted from them, as no"
                f" identifier joins them any more ({_pairs(self.apart, 'from')}); what was recorded"
                " before they were one goes back, opt-outs and legal holds count for both, and"
                " everything else stays with the student: load partners' files again afterwards"
            )
        return clauses


def known_aliases(database: Database) -> dict[str, str]:
    """Every alias with its student."""
    with database.session() as session:
        return {row.alias_id: row.student_id for row in session.scalars(select(StudentAliasRow))}


def identifiers_of(database: Database, identifier: str) -> tuple[str, ...]:
    """All identifiers of a student, who is named by any of them: their own, then the aliases."""
    aliases = known_aliases(database)
    student = aliases.get(identifier, identifier)
    return (student, *sorted(alias for alias, of in aliases.items() if of == student))


def protect(database: Database, identities: Identities, day: date) -> None:
    """Copy opt-outs and legal holds that are in force to the identifier that needs them as well.

    Called before the records change, so that there is no moment without them. It may be called
    again.
    """
    known = known_aliases(database)
    pairs = [pair for pair in identities.aliases.items() if pair[0] not in known]
    pairs += [(student, alias) for alias, student in identities.apart.items()]
    if not pairs:
        return
    in_force: dict[type[Any], Any] = {
        OptOutRow: or_(OptOutRow.ended.is_(None), OptOutRow.ended > day),
        LegalHoldRow: LegalHoldRow.lifted_at.is_(None),
    }
    with database.write_transaction() as session:
        for row, condition in in_force.items():
            by_student: dict[str, list[Any]] = {}
            for found in session.scalars(select(row).where(condition)):
                by_student.setdefault(found.student_id, []).append(found)
            for source, target in pairs:
                if target not in by_student:
                    for found in by_student.get(source, ()):
                        session.add(_copy(found, target))


def keep_identities(
    database: Database, identities: Identities, source: str, at: datetime
) -> list[str]:
    """Store a load's aliases, and move what is recorded under them.

    Returns:
        What the report of the load says of it.
    """
    moved: Counter[str] = Counter()
    returned: Counter[str] = Counter()
    with database.write_transaction() as session:
        known = {row.alias_id: row for row in session.scalars(select(StudentAliasRow))}
        for alias in identities.apart:
            if alias in known:
                returned += _move_back(session, alias)
                session.delete(known[alias])
        session.flush()
        for alias, student in sorted(identities.aliases.items()):
            if alias not in known:
                session.add(
                    StudentAliasRow(
                        alias_id=alias, student_id=student, source=source, first_seen=at
                    )
                )
                moved += _move(session, alias, student, at)
            elif known[alias].student_id != student:
                known[alias].student_id = student
    return [
        f"what was recorded under an alias {what}: {_table_counts(counts)}"
        for what, counts in (
            ("is the student's now", moved),
            ("went back, as it is a student of its own", returned),
        )
        if counts
    ]


def _move(session: Session, alias: str, student: str, at: datetime) -> Counter[str]:
    moved: Counter[str] = Counter()
    # What came from a third identifier is the student's now as well.
    session.execute(
        update(MovedStudentRow)
        .where(MovedStudentRow.student_id == alias)
        .values(student_id=student)
    )
    for row in _MOVED:
        for found in session.scalars(select(row).where(row.student_id == alias)):
            if row is ParticipantCandidateRow and _is_candidate(session, found, student):
                continue  # a participant who fitted either: the student is offered once
            found.student_id = student
            key = list(inspect(row).primary_key_from_instance(found))
            session.add(
                MovedStudentRow(
                    alias_id=alias,
                    student_id=student,
                    table_name=row.__tablename__,
                    row_key=key,
                    moved_at=at,
                )
            )
            moved[row.__tablename__] += 1
    return moved


def _move_back(session: Session, alias: str) -> Counter[str]:
    returned: Counter[str] = Counter()
    for entry in session.scalars(select(MovedStudentRow).where(MovedStudentRow.alias_id == alias)):
        row = session.get(_BY_NAME[entry.table_name], tuple(entry.row_key))
        if row is not None and row.student_id == entry.student_id:
            row.student_id = alias
            returned[entry.table_name] += 1
        session.delete(entry)
    return returned


def _is_candidate(session: Session, candidate: ParticipantCandidateRow, student: str) -> bool:
    return (
        session.scalar(
            select(ParticipantCandidateRow.id).where(
                ParticipantCandidateRow.organization_id == candidate.organization_id,
                ParticipantCandidateRow.participant_id == candidate.participant_id,
                ParticipantCandidateRow.student_id == student,
            )
        )
        is not None
    )


def _copy(row: Any, student: str) -> Any:
    columns = [column.key for column in inspect(type(row)).column_attrs if column.key != "id"]
    return type(row)(**{name: getattr(row, name) for name in columns} | {"student_id": student})


_NAMED = 5
"""Pairs that a sentence names; the report has the lines of all."""


def _pairs(pairs: Mapping[str, str], word: str) -> str:
    named = ", ".join(f"{one} {word} {other}" for one, other in sorted(pairs.items())[:_NAMED])
    return named + (f" and {len(pairs) - _NAMED:,} more" if len(pairs) > _NAMED else "")


def _count(things: Collection[str], word: str) -> str:
    return f"{len(things):,} {word}{'s' if len(things) > 1 else ''}"


def _table_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items()))
