"""Who is who: participants of partners whom the comparison could not surely link, for a person at
the district to say.

The district's administrators alone see it: the students to choose from are in no partner's scope.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import pandas as pd
from fastapi import APIRouter, Form, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import RedirectResponse, Response

from records.canonical.schema import Category
from records.identity.linkage import describe_similarity
from records.identity.participants import (
    Candidate,
    IdentityError,
    Participant,
    ParticipantLink,
    automatically_linked,
    linkage_roster,
    manually_decided,
    reopen_participant,
    resolve_participant,
    review_queue,
    unmatched,
)
from records.people.accounts import staff_names
from serving.site.dependencies import DistrictAdminVisit
from serving.site.visit import Visit
from serving.wording import words

router = APIRouter()
PAGE = 20
NO_MATCH = "none"
MatchList = Literal["waiting", "unfound", "decided", "linked"]
_READ = {
    "waiting": review_queue,
    "unfound": unmatched,
    "decided": manually_decided,
    "linked": automatically_linked,
}


@dataclass(frozen=True)
class CandidateItem:
    """A student of the district beside a participant: `alike` says of each fact how alike it is."""

    handle: str
    name: str
    birth_date: str
    grade: str
    school: str
    alike: dict[str, str]
    said_before: bool


@dataclass(frozen=True)
class ParticipantItem:
    """One participant as the partner gave them, and the students to choose from or the one who was
    chosen.
    """

    standing: ParticipantLink
    partner: str
    name: str
    birth_date: str
    grade: str
    school: str
    choices: tuple[CandidateItem, ...]
    person: str

    @property
    def chosen(self) -> CandidateItem | None:
        return self.choices[0] if self.choices else None

    @property
    def forgotten(self) -> bool:
        """Whether the participant is no student, and has been for so long that the name was
        deleted.
        """
        return not self.standing.waits and not self.standing.participant.first_name


class ChoiceForm(BaseModel):
    model_config = ConfigDict(extra="forbid")
    csrf: str
    organization: str = Field(max_length=80)
    participant: str = Field(max_length=80)
    choice: str = Field(max_length=40)
    looked_up: str = Field("", max_length=40)
    show: MatchList = "waiting"


class LookUpForm(BaseModel):
    model_config = ConfigDict(extra="forbid")
    csrf: str
    organization: str = Field(max_length=80)
    participant: str = Field(max_length=80)
    number: str = Field(max_length=80)
    show: Literal["waiting", "unfound"]


class UndoForm(BaseModel):
    model_config = ConfigDict(extra="forbid")
    csrf: str
    organization: str = Field(max_length=80)
    participant: str = Field(max_length=80)
    show: MatchList


@router.get("/matches")
def matches_page(
    visit: DistrictAdminVisit,
    show: MatchList = "waiting",
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> Response:
    return _show(visit, show, page)


@router.post("/matches")
def save_answer(visit: DistrictAdminVisit, form: Annotated[ChoiceForm, Form()]) -> Response:
    visit.check_csrf(form.csrf)
    student = None if form.choice == NO_MATCH else visit.scope.student_of(form.choice)
    looked_up = visit.scope.student_of(form.looked_up) if form.looked_up else None
    try:
        resolve_participant(
            visit.database,
            form.organization,
            form.participant,
            student,
            visit.viewer.user_id,
            visit.now,
            looked_up,
        )
    except IdentityError as error:
        return _show(visit, form.show, 1, str(error), 409)
    return RedirectResponse(
        "/matches" if form.show == "waiting" else f"/matches?show={form.show}", 303
    )


@router.post("/matches/look-up")
def look_up(visit: DistrictAdminVisit, form: Annotated[LookUpForm, Form()]) -> Response:
    """One participant beside the student of the district who has this number. Nothing is decided by
    looking.
    """
    visit.check_csrf(form.csrf)
    number = form.number.strip()
    asked = (form.organization, form.participant)
    found = [
        one
        for one in _READ[form.show](visit.database)
        if (one.participant.organization_id, one.participant.participant_id) == asked
    ]
    if not found:
        return _show(
            visit,
            form.show,
            1,
            "This participant is no longer on this list. Nothing was changed.",
            409,
        )
    if number not in visit.scope.students:
        return _show(
            visit,
            form.show,
            1,
            "No student of the district has this number. Nothing was changed.",
            409,
        )
    offered = (
        Candidate(number, 0.0),
        *(one for one in found[0].candidates if one.student_id != number),
    )
    return _show(
        visit,
        form.show,
        1,
        found=[replace(found[0], candidates=offered)],
        looked_up=visit.scope.handle(number),
    )


@router.post("/matches/undo")
def undo_answer(visit: DistrictAdminVisit, form: Annotated[UndoForm, Form()]) -> Response:
    visit.check_csrf(form.csrf)
    try:
        reopen_participant(
            visit.database, form.organization, form.participant, visit.viewer.user_id, visit.now
        )
    except IdentityError as error:
        return _show(visit, form.show, 1, str(error), 409)
    return RedirectResponse(f"/matches?show={form.show}", 303)


def participant_items(visit: Visit, standings: Sequence[ParticipantLink]) -> list[ParticipantItem]:
    """These participants in words. The students on them are a look, which is written down first."""
    pairs = [
        (one, student)
        for one in standings
        for student in _students(one)
        if student in visit.scope.students
    ]
    named = sorted({student for _, student in pairs})
    visit.disclosures.record(named, [Category.DIRECTORY])
    students = linkage_roster(visit.records(named))
    facts = {row[0]: _facts(*row[1:]) for row in students.itertuples(index=False)}
    alike = describe_similarity([(one.participant, student) for one, student in pairs], students)
    choices: dict[ParticipantLink, list[CandidateItem]] = {one: [] for one in standings}
    for (one, student), how in zip(pairs, alike, strict=True):
        said_before = one.waits and student == one.student_id
        choices[one].append(
            CandidateItem(visit.scope.handle(student), *facts[student], how, said_before)
        )
    staff = staff_names(visit.database)
    return [_line(visit, staff, one, choices[one]) for one in standings]


def _show(
    visit: Visit,
    show: MatchList,
    page: int,
    problem: str = "",
    status: int = 200,
    found: Sequence[ParticipantLink] | None = None,
    looked_up: str = "",
) -> Response:
    found = _READ[show](visit.database) if found is None else found
    shown = found[(page - 1) * PAGE : page * PAGE]
    lines = participant_items(visit, shown)
    students = {student for one in shown for student in _students(one)} & visit.scope.students
    waiting = len(review_queue(visit.database))
    response = visit.page(
        "matches.html",
        show=show,
        lines=lines,
        found=len(found),
        waiting=waiting,
        problem=problem,
        looked_up=looked_up,
        rivals=_rivals(found) if show == "waiting" else {},
        page=page,
        pages=max(1, -(-len(found) // PAGE)),
        first=(page - 1) * PAGE + 1,
        stamp=visit.disclosures.stamp(students) if students else "",
    )
    response.status_code = status
    return response


def _rivals(waiting: Sequence[ParticipantLink]) -> dict[Participant, list[str]]:
    """Of each participant, the partner's other participants who wait and may be the same
    student.
    """
    offered: dict[tuple[str, str], list[Participant]] = {}
    for one in waiting:
        for student in one.offered:
            offered.setdefault((one.participant.organization_id, student), []).append(
                one.participant
            )
    found: dict[Participant, list[str]] = {}
    for alike in offered.values():
        for given in alike:
            found.setdefault(given, []).extend(
                other.participant_id for other in alike if other != given
            )
    return {given: list(dict.fromkeys(others)) for given, others in found.items() if others}


def _students(one: ParticipantLink) -> tuple[str, ...]:
    """Whom the page names beside a participant: all who are offered while they wait, then the one
    who was chosen.
    """
    if one.waits:
        return one.offered
    return (one.student_id,) if one.student_id is not None else ()


def _line(
    visit: Visit, staff: Mapping[str, str], one: ParticipantLink, choices: Sequence[CandidateItem]
) -> ParticipantItem:
    given = one.participant
    facts = _facts(
        given.first_name, given.last_name, given.birth_date, given.grade_level, given.school
    )
    person = staff.get(one.decided_by, "Somebody who has left") if one.decided_by else ""
    return ParticipantItem(
        one, visit.organizations[given.organization_id].name, *facts, tuple(choices), person
    )


def _facts(first: Any, last: Any, born: Any, grade: Any, school: Any) -> tuple[str, str, str, str]:
    """Name, birth date, grade and school in words, empty where they are not known."""
    first, last, school = ("" if pd.isna(value) else str(value) for value in (first, last, school))
    birth_date = "" if pd.isna(born) else words.day(born)
    return (
        f"{first} {last}".strip(),
        birth_date,
        words.grade(None if pd.isna(grade) else grade),
        school,
    )
