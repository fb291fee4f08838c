"""A partner's participants: their links to district students, and the queue of those to review.

`records.identity.linkage` compares; this module stores. What a person has decided is never
overwritten by a later run; when the partner has since changed who the participant is, the question
goes back to the queue and says so. It refuses an answer that was not on offer.
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
"""How long the name of a participant who is not a student is stored: as long as a wrong answer may
still be noticed."""


class IdentityError(UserError, ValueError):
    """A link that cannot be recorded or undone; the message says why."""


class MatchStatus(StrEnum):
    """The state of a participant.

    `changed` waits for review as `unsure` does: a person had decided, about facts that have
    changed since.
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
    """A student who may be a participant, with the probability, 0 to 1, that they are."""

    student_id: str
    probability: float


@dataclass(frozen=True)
class Match:
    """The result of a comparison: `student_id` if it is sure, and candidates, likeliest first."""

    participant: Participant
    status: MatchStatus
    student_id: str | None
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class ParticipantLink:
    """What is stored about a participant.

    `decided_by` is the account that last decided, empty where nobody has; the `student_id` of one
    that is `changed` is what they had decided.
    """

    participant: Participant
    status: MatchStatus
    student_id: str | None
    candidates: tuple[Candidate, ...]
    decided_by: str
    decided_at: datetime | None

    @property
    def waits(self) -> bool:
        """Whether a person may decide who the participant is."""
        return _is_open(self.status, self.decided_by)

    @property
    def offered(self) -> tuple[str, ...]:
        """The students to choose from: the candidates, then the one decided on earlier."""
        earlier = [self.student_id] if self.student_id is not None else []
        candidates = [candidate.student_id for candidate in self.candidates]
        return tuple(dict.fromkeys([*candidates, *earlier]))


def linkage_roster(records: ScopedRecords) -> pd.DataFrame:
    """The students of `records` as they are compared, one row each.

    Returns:
        The columns student_id, first_name, last_name, birth_date, grade_level and school, the
        school by its name, or by its ID where it has none.
    """
    school_names = records.frame("schools").set_index("school_id")["name"]
    students = records.frame("students")
    names = students["school_id"].map(school_names)
    students["school"] = names.where(names.notna(), students["school_id"])
    return students[
        ["student_id", "first_name", "last_name", "birth_date", "grade_level", "school"]
    ]


def record_matches(
    database: Database, organization_id: str, matches: Sequence[Match], now: datetime
) -> Counter[MatchStatus]:
    """Store the result of comparing one organization's participants.

    Equal matches a second time change nothing. Where a person has decided, their decision stays,
    unless the partner has changed the name or the birth date since and the comparison is not sure
    of that very student. Two participants of a partner whom the comparison would link to one
    student both wait for review, also when they came in different files.

    Returns:
        How many of these participants have each status afterwards.

    Raises:
        IdentityError: there is no such organization.
    """
    with database.write_transaction() as session:
        rows = _rows(session, organization_id)
        before = {
            participant_id: (row.status, row.student_id) for participant_id, row in rows.items()
        }
        for match in matches:
            _update_participant(session, rows, match)
        _unlink_rivals(session, organization_id, rows)
        for participant_id, row in rows.items():
            if not row.decided_by and before.get(participant_id) != (row.status, row.student_id):
                row.decided_at = now
        return Counter(
            MatchStatus(rows[match.participant.participant_id].status) for match in matches
        )


def linked_students(database: Database, organization_id: str) -> Mapping[str, str]:
    """The student ID of each linked participant of an organization, by participant ID."""
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
    """Participants who wait for a person's decision, sorted by partner and participant."""
    return _links(database, ParticipantRow.status.in_(OPEN_STATUSES))


def unmatched(database: Database) -> list[ParticipantLink]:
    """Participants without any candidate and undecided, sorted by partner and participant."""
    return _links(
        database, ParticipantRow.status == MatchStatus.NONE, ParticipantRow.decided_by == ""
    )


def confirmed_non_students(database: Database, organization_id: str) -> frozenset[str]:
    """Participants of an organization who a person decided are not students of this district."""
    query = select(ParticipantRow.participant_id).where(
        ParticipantRow.organization_id == organization_id,
        ParticipantRow.status == MatchStatus.NONE,
        ParticipantRow.decided_by != "",
    )
    with database.session() as session:
        return frozenset(session.scalars(query))


def purge_non_student_names(database: Database, now: datetime) -> int:
    """Delete the names of participants who were decided to be no students `NAME_RETENTION` ago.

    Birth date, grade and school go, too. Their number stays, and the students refused for them, so
    that the question is not raised again.

    Returns:
        How many participants were purged.
    """
    is_due = (
        ParticipantRow.status == MatchStatus.NONE,
        ParticipantRow.decided_by != "",
        ParticipantRow.decided_at < now - NAME_RETENTION,
        ParticipantRow.first_name != "",
    )
    with database.write_transaction() as session:
        rows = session.scalars(select(ParticipantRow).where(*is_due)).all()
        for row in rows:
            row.first_name, row.last_name, row.school = "", "", ""
            row.birth_date, row.grade_level = None, None
        return len(rows)


def manually_decided(database: Database) -> list[ParticipantLink]:
    """Participants about whom a person has decided, the latest decision first."""
    links = _links(
        database, ParticipantRow.status.in_(CLOSED_STATUSES), ParticipantRow.decided_by != ""
    )
    return sorted(links, key=lambda link: link.decided_at or datetime.min, reverse=True)


def automatically_linked(database: Database) -> list[ParticipantLink]:
    """Participants whom the comparison alone has linked, sorted by partner and participant."""
    return _links(
        database, ParticipantRow.status == MatchStatus.LINKED, ParticipantRow.decided_by == ""
    )


def status_counts(database: Database) -> Mapping[str, Counter[MatchStatus]]:
    """How many participants have each status, by organization ID."""
    counts: defaultdict[str, Counter[MatchStatus]] = defaultdict(Counter)
    query = select(ParticipantRow.organization_id, ParticipantRow.status)
    with database.session() as session:
        for organization_id, status in session.execute(query):
            counts[organization_id][MatchStatus(status)] += 1
    return dict(sorted(counts.items()))


def resolve_participant(
    database: Database,
    organization_id: str,
    participant_id: str,
    student_id: str | None,
    decided_by: str,
    now: datetime,
    looked_up: str | None = None,
) -> None:
    """Record a person's decision on who a waiting participant is.

    Args:
        student_id: one of the students offered, or None for no student of the district.
        decided_by: the account of that person.
        looked_up: a student whom that person has looked up, who counts as offered.

    Raises:
        IdentityError: there is no such participant, they do not wait, or the student was not
            offered.
    """
    with database.write_transaction() as session:
        row = _row(session, organization_id, participant_id)
        if not _is_open(row.status, row.decided_by):
            raise IdentityError(
                "Someone else has already resolved this participant. Nothing was changed."
            )
        candidates = _candidates(
            session,
            ParticipantCandidateRow.organization_id == organization_id,
            ParticipantCandidateRow.participant_id == participant_id,
        )
        offered = _participant_link(row, candidates).offered
        if student_id is not None and student_id not in (*offered, looked_up):
            raise IdentityError(
                "That student is not one of those offered for this participant."
                " Nothing was changed."
            )
        row.status = MatchStatus.NONE if student_id is None else MatchStatus.LINKED
        row.student_id, row.decided_by, row.decided_at = student_id, decided_by, now


def reopen_participant(
    database: Database, organization_id: str, participant_id: str, undone_by: str, now: datetime
) -> None:
    """Undo a link or a decision for no student; the participant waits until a person decides again.

    Raises:
        IdentityError: there is no such participant, or there is nothing to undo.
    """
    with database.write_transaction() as session:
        row = _row(session, organization_id, participant_id)
        undecided = row.status == MatchStatus.NONE and not row.decided_by
        if row.status not in CLOSED_STATUSES or undecided:
            raise IdentityError(
                "This participant has not been resolved, so there is nothing to undo."
            )
        row.status, row.student_id = MatchStatus.UNSURE, None
        row.decided_by, row.decided_at = undone_by, now


def _update_participant(session: Session, rows: dict[str, ParticipantRow], match: Match) -> None:
    """Bring one participant up to date with a comparison.

    A new participant, and one about whom nobody has decided, gets the comparison's result. A
    decision stays, or becomes `changed` where it is outdated. A participant whose name was purged
    is left alone until there is a new candidate.
    """
    participant = match.participant
    row = rows.get(participant.participant_id)
    if row is None:
        row = ParticipantRow(
            organization_id=participant.organization_id,
            participant_id=participant.participant_id,
            status=match.status,
            student_id=match.student_id,
            decided_by="",
            decided_at=None,
            **_facts(participant),
        )
        session.add(row)
        rows[participant.participant_id] = row
    elif _is_purged(row) and not _is_new_candidate(session, match):
        return
    elif not row.decided_by:
        row.status, row.student_id = match.status, match.student_id
    elif _is_outdated(row, match):
        row.status = MatchStatus.CHANGED
    for name, value in _facts(participant).items():
        setattr(row, name, value)
    _replace_candidates(session, match)


def _is_outdated(row: ParticipantRow, match: Match) -> bool:
    """Whether a decision is about somebody else than the participant is now.

    It is not, where the comparison is sure of the very student who was decided on.
    """
    is_confirmed = match.student_id is not None and match.student_id == row.student_id
    return (
        row.status in CLOSED_STATUSES
        and _identifying_facts(row) != _identifying_facts(match.participant)
        and not is_confirmed
    )


def _replace_candidates(session: Session, match: Match) -> None:
    """Store the candidates of linked participants too: a person may undo a link."""
    participant = match.participant
    session.execute(
        delete(ParticipantCandidateRow).where(
            ParticipantCandidateRow.organization_id == participant.organization_id,
            ParticipantCandidateRow.participant_id == participant.participant_id,
        )
    )
    session.add_all(
        ParticipantCandidateRow(
            organization_id=participant.organization_id,
            participant_id=participant.participant_id,
            student_id=candidate.student_id,
            probability=candidate.probability,
        )
        for candidate in match.candidates
    )


def _unlink_rivals(
    session: Session, organization_id: str, rows: Mapping[str, ParticipantRow]
) -> None:
    """Send automatic links back to review where two participants claim one student.

    A claim is a link, or a candidate above `LINK_THRESHOLD` that waits undecided: else each run of
    one rival's file alone would link again what the run before had unlinked. Participants with
    equal facts are one child listed twice, and no rivals.
    """
    claims: defaultdict[str, list[ParticipantRow]] = defaultdict(list)
    for row in rows.values():
        if row.status == MatchStatus.LINKED and row.student_id is not None:
            claims[row.student_id].append(row)
    sure_candidates = select(ParticipantCandidateRow).where(
        ParticipantCandidateRow.organization_id == organization_id,
        ParticipantCandidateRow.probability >= LINK_THRESHOLD,
    )
    for candidate in session.scalars(sure_candidates):
        row = rows[candidate.participant_id]
        if row.status == MatchStatus.UNSURE and not row.decided_by:
            claims[candidate.student_id].append(row)
    for claimants in claims.values():
        if len({(*_identifying_facts(row), row.grade_level, row.school) for row in claimants}) > 1:
            for row in claimants:
                if not row.decided_by:
                    row.status, row.student_id = MatchStatus.UNSURE, None


def _is_open(status: str, decided_by: str) -> bool:
    """Whether a person may decide who a participant is."""
    return status in OPEN_STATUSES or (status == MatchStatus.NONE and not decided_by)


def _is_purged(row: ParticipantRow) -> bool:
    return row.status == MatchStatus.NONE and row.decided_by != "" and not row.first_name


def _is_new_candidate(session: Session, match: Match) -> bool:
    """Whether a comparison is sure of a student whom nobody has refused for this participant."""
    participant = match.participant
    refused = _candidates(
        session,
        ParticipantCandidateRow.organization_id == participant.organization_id,
        ParticipantCandidateRow.participant_id == participant.participant_id,
    )
    refused_ids = {
        candidate.student_id for candidates in refused.values() for candidate in candidates
    }
    return match.student_id is not None and match.student_id not in refused_ids


def _facts(participant: Participant) -> dict[str, Any]:
    return {
        "first_name": participant.first_name,
        "last_name": participant.last_name,
        "birth_date": participant.birth_date,
        "grade_level": participant.grade_level,
        "school": participant.school,
    }


def _identifying_facts(person: Participant | ParticipantRow) -> tuple[object, ...]:
    """The facts that identify somebody; a grade, a school or a capital letter may well change."""
    return person.first_name.casefold(), person.last_name.casefold(), person.birth_date


def _rows(session: Session, organization_id: str) -> dict[str, ParticipantRow]:
    if session.get(OrganizationRow, organization_id) is None:
        raise IdentityError(f"there is no organization {organization_id!r}")
    query = select(ParticipantRow).where(ParticipantRow.organization_id == organization_id)
    return {row.participant_id: row for row in session.scalars(query)}


def _row(session: Session, organization_id: str, participant_id: str) -> ParticipantRow:
    row = session.get(ParticipantRow, (organization_id, participant_id))
    if row is None:
        raise IdentityError("There is no such participant.")
    return row


def _links(database: Database, *conditions: Any) -> list[ParticipantLink]:
    query = (
        select(ParticipantRow)
        .where(*conditions)
        .order_by(ParticipantRow.organization_id, ParticipantRow.participant_id)
    )
    with database.session() as session:
        candidates = _candidates(session)
        return [_participant_link(row, candidates) for row in session.scalars(query)]


def _candidates(session: Session, *conditions: Any) -> dict[tuple[str, str], list[Candidate]]:
    """Candidates by organization and participant, the likeliest first."""
    query = (
        select(ParticipantCandidateRow)
        .where(*conditions)
        .order_by(ParticipantCandidateRow.probability.desc(), ParticipantCandidateRow.student_id)
    )
    candidates: defaultdict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for row in session.scalars(query):
        candidates[row.organization_id, row.participant_id].append(
            Candidate(row.student_id, row.probability)
        )
    return candidates


def _participant_link(
    row: ParticipantRow, candidates: Mapping[tuple[str, str], Sequence[Candidate]]
) -> ParticipantLink:
    participant = Participant(
        organization_id=row.organization_id,
        participant_id=row.participant_id,
        first_name=row.first_name,
        last_name=row.last_name,
        birth_date=row.birth_date,
        grade_level=row.grade_level,
        school=row.school,
    )
    return ParticipantLink(
        participant=participant,
        status=MatchStatus(row.status),
        student_id=row.student_id,
        candidates=tuple(candidates.get((row.organization_id, row.participant_id), ())),
        decided_by=row.decided_by,
        decided_at=row.decided_at,
    )
