"""Who is who: which student of the district is a partner's participant, for staff to decide.

The district's administrators alone see it: the candidate students are in no partner's scope.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import pandas as pd
from fastapi import APIRouter, Form, Query
from pydantic import Field
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
from records.staff.accounts import staff_names
from serving.pages.forms import Code, CsrfForm
from serving.pages.pager import Pager
from serving.site.dependencies import DistrictAdminVisit
from serving.site.visit import Visit
from serving.wording import words

router = APIRouter()
PARTICIPANTS_ON_A_PAGE = 20
NO_MATCH = "none"
"""The form's value for a participant who is no student of the district."""

MatchList = Literal["waiting", "unfound", "decided", "linked"]
_READ = {
    "waiting": review_queue,
    "unfound": unmatched,
    "decided": manually_decided,
    "linked": automatically_linked,
}


@dataclass(frozen=True)
class CandidateItem:
    """A student of the district beside a participant.

    Attributes:
        similarity: how similar each fact is, in words, by fact.
        is_earlier_answer: whether staff had matched this student before.
    """

    handle: str
    name: str
    birth_date: str
    grade: str
    school: str
    similarity: dict[str, str]
    is_earlier_answer: bool


@dataclass(frozen=True)
class ParticipantItem:
    """One participant as the partner reported them.

    Attributes:
        link: what is decided of them so far.
        candidates: the students to choose from, or the one who was chosen.
        decided_by: who decided; empty for nobody or an automatic match.
    """

    link: ParticipantLink
    partner: str
    name: str
    birth_date: str
    grade: str
    school: str
    candidates: tuple[CandidateItem, ...]
    decided_by: str

    @property
    def chosen(self) -> CandidateItem | None:
        """The student who was chosen, of a decided participant."""
        return self.candidates[0] if self.candidates else None

    @property
    def name_deleted(self) -> bool:
        """Whether the participant was found to be no student so long ago that the name is gone."""
        return not self.link.waits and not self.link.participant.first_name


class ParticipantForm(CsrfForm):
    organization: str = Field(max_length=80)
    participant: str = Field(max_length=80)


class ChoiceForm(ParticipantForm):
    choice: Code
    looked_up: Code = ""
    show: MatchList = "waiting"


class LookUpForm(ParticipantForm):
    number: str = Field(max_length=80)
    show: Literal["waiting", "unfound"]


class UndoForm(ParticipantForm):
    show: MatchList


@router.get("/matches")
def matches_page(
    visit: DistrictAdminVisit,
    show: MatchList = "waiting",
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> Response:
    return _list_page(visit, show, _READ[show](visit.database), page)


@router.post("/matches")
def save_answer(visit: DistrictAdminVisit, form: Annotated[ChoiceForm, Form()]) -> Response:
    visit.check_csrf(form.csrf)
    student = None if form.choice == NO_MATCH else visit.scope.student_for_handle(form.choice)
    looked_up = visit.scope.student_for_handle(form.looked_up) if form.looked_up else None
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
        return _conflict(visit, form.show, str(error))
    return RedirectResponse(
        "/matches" if form.show == "waiting" else f"/matches?show={form.show}", 303
    )


@router.post("/matches/look-up")
def look_up(visit: DistrictAdminVisit, form: Annotated[LookUpForm, Form()]) -> Response:
    """One participant beside the student of the district with this ID. This decides nothing."""
    visit.check_csrf(form.csrf)
    student = form.number.strip()
    requested = (form.organization, form.participant)
    link = next(
        (
            link
            for link in _READ[form.show](visit.database)
            if (link.participant.organization_id, link.participant.participant_id) == requested
        ),
        None,
    )
    if link is None:
        return _conflict(
            visit, form.show, "This participant is no longer on this list. Nothing was changed."
        )
    if student not in visit.scope.students:
        return _conflict(
            visit, form.show, "No student in the district has this ID. Nothing was changed."
        )
    others = (candidate for candidate in link.candidates if candidate.student_id != student)
    with_student = replace(link, candidates=(Candidate(student, 0.0), *others))
    return _list_page(visit, form.show, [with_student], looked_up=visit.scope.handle(student))


@router.post("/matches/undo")
def undo_answer(visit: DistrictAdminVisit, form: Annotated[UndoForm, Form()]) -> Response:
    visit.check_csrf(form.csrf)
    try:
        reopen_participant(
            visit.database, form.organization, form.participant, visit.viewer.user_id, visit.now
        )
    except IdentityError as error:
        return _conflict(visit, form.show, str(error))
    return RedirectResponse(f"/matches?show={form.show}", 303)


def participant_items(visit: Visit, links: Sequence[ParticipantLink]) -> list[ParticipantItem]:
    """These participants in words. The disclosure of the students beside them is logged first."""
    pairs = [
        (link, student)
        for link in links
        for student in _students_beside(link)
        if student in visit.scope.students
    ]
    students = sorted({student for _, student in pairs})
    visit.disclosures.record(students, [Category.DIRECTORY])
    roster = linkage_roster(visit.records(students))
    facts = {student: _facts(*values) for student, *values in roster.itertuples(index=False)}
    similarities = describe_similarity(
        [(link.participant, student) for link, student in pairs], roster
    )
    candidates: dict[ParticipantLink, list[CandidateItem]] = {link: [] for link in links}
    for (link, student), similarity in zip(pairs, similarities, strict=True):
        name, birth_date, grade, school = facts[student]
        candidates[link].append(
            CandidateItem(
                handle=visit.scope.handle(student),
                name=name,
                birth_date=birth_date,
                grade=grade,
                school=school,
                similarity=similarity,
                is_earlier_answer=link.waits and student == link.student_id,
            )
        )
    staff = staff_names(visit.database)
    return [_participant_item(visit, staff, link, candidates[link]) for link in links]


def _list_page(
    visit: Visit,
    show: MatchList,
    links: Sequence[ParticipantLink],
    page: int = 1,
    *,
    problem: str = "",
    status: int = 200,
    looked_up: str = "",
) -> Response:
    pager = Pager(page, len(links), PARTICIPANTS_ON_A_PAGE)
    shown = pager.slice(links)
    items = participant_items(visit, shown)
    students = {student for link in shown for student in _students_beside(link)}
    students &= visit.scope.students
    return visit.page(
        "matches.html",
        status=status,
        show=show,
        items=items,
        waiting=len(review_queue(visit.database)),
        problem=problem,
        looked_up=looked_up,
        possible_duplicates=_possible_duplicates(links) if show == "waiting" else {},
        pager=pager,
        terms=visit.disclosures.terms(students) if students else "",
    )


def _conflict(visit: Visit, show: MatchList, problem: str) -> Response:
    """The list as it is now, and why the answer does not fit it."""
    links = _READ[show](visit.database)
    return _list_page(visit, show, links, problem=problem, status=409)


def _possible_duplicates(links: Sequence[ParticipantLink]) -> dict[Participant, list[str]]:
    """For each participant, the partner's other participants who may be the same student."""
    by_candidate: dict[tuple[str, str], list[Participant]] = defaultdict(list)
    for link in links:
        for student in link.offered:
            by_candidate[link.participant.organization_id, student].append(link.participant)
    duplicates: dict[Participant, dict[str, None]] = defaultdict(dict)
    for participants in by_candidate.values():
        for participant in participants:
            for other in participants:
                if other != participant:
                    duplicates[participant][other.participant_id] = None
    return {participant: list(others) for participant, others in duplicates.items()}


def _students_beside(link: ParticipantLink) -> tuple[str, ...]:
    """Whom the page names beside a participant: all candidates of one who waits, or the chosen."""
    if link.waits:
        return link.offered
    return (link.student_id,) if link.student_id is not None else ()


def _participant_item(
    visit: Visit,
    staff: Mapping[str, str],
    link: ParticipantLink,
    candidates: Sequence[CandidateItem],
) -> ParticipantItem:
    participant = link.participant
    name, birth_date, grade, school = _facts(
        participant.first_name,
        participant.last_name,
        participant.birth_date,
        participant.grade_level,
        participant.school,
    )
    return ParticipantItem(
        link=link,
        partner=visit.organizations[participant.organization_id].name,
        name=name,
        birth_date=birth_date,
        grade=grade,
        school=school,
        candidates=tuple(candidates),
        decided_by=(
            words.capital(words.staff_name(staff, link.decided_by)) if link.decided_by else ""
        ),
    )


def _facts(first: Any, last: Any, born: Any, grade: Any, school: Any) -> tuple[str, str, str, str]:
    """Name, birth date, grade level and school in words, empty where they are not known."""
    first, last, school = ("" if pd.isna(value) else str(value) for value in (first, last, school))
    birth_date = "" if pd.isna(born) else words.day(born)
    grade = words.grade(None if pd.isna(grade) else grade)
    return f"{first} {last}".strip(), birth_date, grade, school
