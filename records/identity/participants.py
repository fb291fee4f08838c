"""Who a partner's participants are: links to district students, what waits for a person, and what a
person said.

`records.identity.linkage` compares; this module keeps. What a person has said is never overwritten
by a later run; when the partner has since changed who the participant is, the question goes back to
the queue and says so. It refuses an answer that was not on offer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

import pandas as pd
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from records.access.scoped_records import ScopedRecords
from records.database.engine import Database
from records.database.tables import OrganizationRow, ParticipantCandidateRow, ParticipantRow
from records.system.errors import UserError

LINK_THRESHOLD = 0.98
"""The least probability of a link. Most links are far above it: on lists whose truth is known,
about one in ten thousand is wrong (docs/benchmarks.md)."""


NAME_RETENTION = timedelta(days=30)
"""How long the name of a participant who is no student stays: so long an answer given in error can
be seen."""


class IdentityError(UserError, ValueError):
    """A link that cannot be recorded or undone; the message says why."""


class MatchStatus(StrEnum):
    """Where a participant stands. `changed` waits as `unsure` does: a person had said, of facts
    that are no more.
    """

    LINKED = "linked"
    UNSURE = "unsure"
    NONE = "none"
    CHANGED = "changed"


OPEN_STATUSES = (MatchStatus.UNSURE, MatchStatus.CHANGED)
CLOSED_STATUSES = (MatchStatus.LINKED, MatchStatus.NONE)


@dataclass(frozen=True)
class Participant:
    """A person as a partner knows them. An empty name or school is one that was not given."""

    organization_id: str
    participant_id: str
    first_name: str
    last_name: str
    birth_date: date | None
    grade_level: int | None
    school: str


@dataclass(frozen=True)
class Candidate:
    """A student whom a participant may be, and how probably."""

    student_id: str
    probability: float


@dataclass(frozen=True)
class Match:
    """What a comparison found: `student_id` where it is sure, and the likeliest students first."""

    participant: Participant
    status: MatchStatus
    student_id: str | None
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class ParticipantLink:
    """What is kept of a participant.

    `decided_by` is who last had a hand in it, empty where nobody had; `student_id` of one that is
    `changed` is what they had said.
    """

    participant: Participant
    status: MatchStatus
    student_id: str | None
    candidates: tuple[Candidate, ...]
    decided_by: str
    decided_at: datetime | None

    @property
    def waits(self) -> bool:
        return _is_open(self.status, self.decided_by)

    @property
    def offered(self) -> tuple[str, ...]:
        """The students to choose from."""
        earlier = [self.student_id] if self.student_id is not None else []
        return tuple(dict.fromkeys([*(one.student_id for one in self.candidates), *earlier]))


def linkage_roster(records: ScopedRecords) -> pd.DataFrame:
    """The students of `records` as they are compared: names, birth date, grade, and the school by
    its name.
    """
    schools = records.frame("schools").set_index("school_id")["name"]
    frame = records.frame("students")
    frame["school"] = frame["school_id"].map(schools).fillna(frame["school_id"])
    return frame[["student_id", "first_name", "last_name", "birth_date", "grade_level", "school"]]


def record_matches(
    database: Database, organization_id: str, matches: Sequence[Match], now: datetime
) -> Counter[MatchStatus]:
    """Keep what a comparison found of one organisation's participants, and count where they stand
    afterwards.

    The same matches twice change nothing. Where a person has had a hand, their word stays, unless
    the partner has changed the name or the birth date since and the comparison is not sure of that
    very student. Two participants of a partner whom the comparison would link to one student both
    wait, also when they came in different files.

    Raises:
        IdentityError: there is no such organisation.
    """
    with database.write_transaction() as session:
        rows = _rows(session, organization_id)
        before = {key: (row.status, row.student_id) for key, row in rows.items()}
        for match in matches:
            _settle(session, rows, match)
        _part_rivals(session, organization_id, rows)
        for key, row in rows.items():
            if not row.decided_by and before.get(key) != (row.status, row.student_id):
                row.decided_at = now
        return Counter(
            MatchStatus(rows[match.participant.participant_id].status) for match in matches
        )


def linked_students(database: Database, organization_id: str) -> Mapping[str, str]:
    """The student of each participant of an organisation who is linked to one."""
    query = select(ParticipantRow).where(
        ParticipantRow.organization_id == organization_id,
        ParticipantRow.status == MatchStatus.LINKED,
    )
    with database.session() as session:
        return {
            row.participant_id: row.student_id
            for row in session.scalars(query)
            if row.student_id is not None
        }


def review_queue(database: Database) -> list[ParticipantLink]:
    """Participants who wait for a person, in the order of partner and participant."""
    return _standings(database, ParticipantRow.status.in_(OPEN_STATUSES))


def unmatched(database: Database) -> list[ParticipantLink]:
    """Participants for whom the comparison found no student, and of whom nobody has said more, in
    the same order.
    """
    return _standings(
        database, ParticipantRow.status == MatchStatus.NONE, ParticipantRow.decided_by == ""
    )


def confirmed_non_students(database: Database, organization_id: str) -> frozenset[str]:
    """Participants of an organisation of whom a person has said that they are no student of this
    district.
    """
    query = select(ParticipantRow.participant_id).where(
        ParticipantRow.organization_id == organization_id,
        ParticipantRow.status == MatchStatus.NONE,
        ParticipantRow.decided_by != "",
    )
    with database.session() as session:
        return frozenset(session.scalars(query))


def purge_non_student_names(database: Database, now: datetime) -> int:
    """Delete name, birth date, grade and school of those who have been no student for
    `NAME_RETENTION`; how many these are.

    Their number stays, and the students that were refused for them, so that the question is not
    asked again.
    """
    old = (
        ParticipantRow.status == MatchStatus.NONE,
        ParticipantRow.decided_by != "",
        ParticipantRow.decided_at < now - NAME_RETENTION,
        ParticipantRow.first_name != "",
    )
    with database.write_transaction() as session:
        rows = session.scalars(select(ParticipantRow).where(*old)).all()
        for row in rows:
            row.first_name, row.last_name, row.school = "", "", ""
            row.birth_date, row.grade_level = None, None
        return len(rows)


def manually_decided(database: Database) -> list[ParticipantLink]:
    """Participants about whom a person has said who they are, or that they are none, the latest
    first.
    """
    found = _standings(
        database, ParticipantRow.status.in_(CLOSED_STATUSES), ParticipantRow.decided_by != ""
    )
    return sorted(found, key=lambda one: one.decided_at or datetime.min, reverse=True)


def automatically_linked(database: Database) -> list[ParticipantLink]:
    """Participants whom the comparison alone has linked, in the order of partner and
    participant.
    """
    return _standings(
        database, ParticipantRow.status == MatchStatus.LINKED, ParticipantRow.decided_by == ""
    )


def status_counts(database: Database) -> Mapping[str, Counter[MatchStatus]]:
    """How many participants of each organisation stand where."""
    found: defaultdict[str, Counter[MatchStatus]] = defaultdict(Counter)
    with database.session() as session:
        for organization_id, status in session.execute(
            select(ParticipantRow.organization_id, ParticipantRow.status)
        ):
            found[organization_id][MatchStatus(status)] += 1
    return dict(sorted(found.items()))


def resolve_participant(
    database: Database,
    organization_id: str,
    participant_id: str,
    student_id: str | None,
    decided_by: str,
    now: datetime,
    looked_up: str | None = None,
) -> None:
    """Record a person's word on who a waiting participant is: one of the students offered, or None
    for no student.

    Args:
        looked_up: a student whom that person has looked up, who counts as offered.

    Raises:
        IdentityError: there is no such participant, they do not wait, or the student was not
            offered.
    """
    with database.write_transaction() as session:
        row = _row(session, organization_id, participant_id)
        if not _is_open(row.status, row.decided_by):
            raise IdentityError(
                "Somebody has said who this participant is in the meantime. Nothing was changed."
            )
        candidates = _candidates(
            session,
            ParticipantCandidateRow.organization_id == organization_id,
            ParticipantCandidateRow.participant_id == participant_id,
        )
        offered = _standing(row, candidates).offered
        if student_id is not None and student_id not in (*offered, looked_up):
            raise IdentityError(
                "That student is not one of those offered for this participant. Nothing was"
                " changed."
            )
        row.status = MatchStatus.NONE if student_id is None else MatchStatus.LINKED
        row.student_id, row.decided_by, row.decided_at = student_id, decided_by, now


def reopen_participant(
    database: Database, organization_id: str, participant_id: str, undone_by: str, now: datetime
) -> None:
    """Take back a link or a "none of these": the participant waits until a person says anew,
    whatever a run finds.

    Raises:
        IdentityError: there is no such participant, or nothing was settled about them.
    """
    with database.write_transaction() as session:
        row = _row(session, organization_id, participant_id)
        if row.status not in CLOSED_STATUSES or (
            row.status == MatchStatus.NONE and not row.decided_by
        ):
            raise IdentityError(
                "Nothing is settled about this participant, so there is nothing to take back."
            )
        row.status, row.student_id, row.decided_by, row.decided_at = (
            MatchStatus.UNSURE,
            None,
            undone_by,
            now,
        )


def _settle(session: Session, rows: dict[str, ParticipantRow], match: Match) -> None:
    """Bring one participant up to date. Candidates are kept for linked ones too: a person may take
    a link back.
    """
    one = match.participant
    row = rows.get(one.participant_id)
    if row is not None and _is_forgotten(row) and not _is_news(session, match):
        return
    facts = {
        "first_name": one.first_name,
        "last_name": one.last_name,
        "birth_date": one.birth_date,
        "grade_level": one.grade_level,
        "school": one.school,
    }
    if row is None:
        row = ParticipantRow(
            organization_id=one.organization_id,
            participant_id=one.participant_id,
            status=match.status,
            student_id=match.student_id,
            decided_by="",
            decided_at=None,
            **facts,
        )
        session.add(row)
        rows[one.participant_id] = row
    elif not row.decided_by:
        row.status, row.student_id = match.status, match.student_id
    elif (
        row.status in CLOSED_STATUSES
        and _who(row) != _who(one)
        and (match.student_id is None or match.student_id != row.student_id)
    ):
        row.status = MatchStatus.CHANGED
    for name, value in facts.items():
        setattr(row, name, value)
    theirs = (
        ParticipantCandidateRow.organization_id == one.organization_id,
        ParticipantCandidateRow.participant_id == one.participant_id,
    )
    session.execute(delete(ParticipantCandidateRow).where(*theirs))
    session.add_all(
        ParticipantCandidateRow(
            organization_id=one.organization_id,
            participant_id=one.participant_id,
            student_id=candidate.student_id,
            probability=candidate.probability,
        )
        for candidate in match.candidates
    )


def _part_rivals(
    session: Session, organization_id: str, rows: Mapping[str, ParticipantRow]
) -> None:
    """What the comparison alone has linked to a student whom another participant of the partner
    claims too waits.

    A claim is a link, or a sure candidate that waits with nobody's word: else each run of one
    rival's file alone would link what the run before had parted.
    """
    claims: defaultdict[str, list[ParticipantRow]] = defaultdict(list)
    for row in rows.values():
        if row.status == MatchStatus.LINKED and row.student_id is not None:
            claims[row.student_id].append(row)
    sure = select(ParticipantCandidateRow).where(
        ParticipantCandidateRow.organization_id == organization_id,
        ParticipantCandidateRow.probability >= LINK_THRESHOLD,
    )
    for candidate in session.scalars(sure):
        row = rows[candidate.participant_id]
        if row.status == MatchStatus.UNSURE and not row.decided_by:
            claims[candidate.student_id].append(row)
    for rivals in claims.values():
        if len({(*_who(row), row.grade_level, row.school) for row in rivals}) > 1:
            for row in rivals:
                if not row.decided_by:
                    row.status, row.student_id = MatchStatus.UNSURE, None


def _is_open(status: str, decided_by: str) -> bool:
    """Whether a person may say who a participant is."""
    return status in OPEN_STATUSES or (status == MatchStatus.NONE and not decided_by)


def _is_forgotten(row: ParticipantRow) -> bool:
    return row.status == MatchStatus.NONE and row.decided_by != "" and not row.first_name


def _is_news(session: Session, match: Match) -> bool:
    """Whether a comparison is sure of a student whom nobody has refused for this participant."""
    one = match.participant
    refused = _candidates(
        session,
        ParticipantCandidateRow.organization_id == one.organization_id,
        ParticipantCandidateRow.participant_id == one.participant_id,
    )
    known = {candidate.student_id for candidates in refused.values() for candidate in candidates}
    return match.student_id is not None and match.student_id not in known


def _who(one: Participant | ParticipantRow) -> tuple[object, ...]:
    """The facts that say who somebody is: a new grade or school is ordinary life, and so is a
    capital letter.
    """
    return one.first_name.casefold(), one.last_name.casefold(), one.birth_date


def _rows(session: Session, organization_id: str) -> dict[str, ParticipantRow]:
    if session.get(OrganizationRow, organization_id) is None:
        raise IdentityError(f"there is no organisation {organization_id!r}")
    query = select(ParticipantRow).where(ParticipantRow.organization_id == organization_id)
    return {row.participant_id: row for row in session.scalars(query)}


def _row(session: Session, organization_id: str, participant_id: str) -> ParticipantRow:
    row = session.get(ParticipantRow, (organization_id, participant_id))
    if row is None:
        raise IdentityError("There is no such participant.")
    return row


def _standings(database: Database, *conditions: Any) -> list[ParticipantLink]:
    query = select(ParticipantRow).where(*conditions)
    order = (ParticipantRow.organization_id, ParticipantRow.participant_id)
    with database.session() as session:
        candidates = _candidates(session)
        return [_standing(row, candidates) for row in session.scalars(query.order_by(*order))]


def _candidates(session: Session, *conditions: Any) -> dict[tuple[str, str], list[Candidate]]:
    query = (
        select(ParticipantCandidateRow)
        .where(*conditions)
        .order_by(ParticipantCandidateRow.probability.desc(), ParticipantCandidateRow.student_id)
    )
    found: defaultdict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for row in session.scalars(query):
        found[row.organization_id, row.participant_id].append(
            Candidate(row.student_id, row.probability)
        )
    return found


def _standing(
    row: ParticipantRow, candidates: Mapping[tuple[str, str], Sequence[Candidate]]
) -> ParticipantLink:
    participant = Participant(
        row.organization_id,
        row.participant_id,
        row.first_name,
        row.last_name,
        row.birth_date,
        row.grade_level,
        row.school,
    )
    theirs = candidates.get((row.organization_id, row.participant_id), ())
    return ParticipantLink(
        participant,
        MatchStatus(row.status),
        row.student_id,
        tuple(theirs),
        row.decided_by,
        row.decided_at,
    )
