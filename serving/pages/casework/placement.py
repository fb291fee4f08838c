"""Limited places: who would get one so that together most is expected, beside who would get one in
order of urgency.

The plan is worked out at each look, over the whole caseload, from suggestions that the viewer's
scope lets through. It is kept nowhere and changes nothing: people decide who gets a place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlencode

import pandas as pd
from fastapi import APIRouter, Query
from starlette.responses import Response

from fairness.population.students import GRADE_BANDS
from fairness.report.wording import GROUP_LABELS
from records.canonical.schema import Category
from serving.pages.casework.students import PAGE_SIZE, columns_for
from serving.site.dependencies import require_role
from serving.site.navigation import PLACEMENT_ROLES
from serving.site.visit import Visit
from serving.students.caseload import Suggestion
from serving.students.roster import RosterEntry
from serving.wording import words
from training.allocation.allocation import (
    Allocation,
    Floors,
    InfeasibleFloors,
    allocate,
    benefit_matrix,
)

router = APIRouter()
PlannerVisit = Annotated[Visit, require_role(*PLACEMENT_ROLES)]
MAX_PLACES = 10_000
CHANGES_SHOWN = 20
"""Students on each of the two lists of changes: with a page of the plan, fewer than one answer may
show."""

FloorName = Literal["", "school", "school_half", "grade", "grade_half"]
FLOORS: Mapping[FloorName, str] = {
    "": "No",
    "school": "A fair share for each school",
    "school_half": "Half of a fair share for each school",
    "grade": "A fair share for each grade band",
    "grade_half": "Half of a fair share for each grade band",
}
_NOT_SEEN = ""
_BAND = {
    level: GROUP_LABELS["grade_band", band]
    for band, (low, high) in GRADE_BANDS.items()
    for level in range(low, high + 1)
}


@dataclass(frozen=True)
class SupportCapacity:
    """A support of the viewer's own programs that may be suggested: the places free on record, None
    where unknown.
    """

    support: str
    free: int | None
    known: str


@dataclass(frozen=True)
class PlacementRequest:
    """What the form asks for, as it was written and as it was read."""

    texts: Mapping[str, str]
    places: Mapping[str, int]
    problems: Mapping[str, str]
    floor: FloorName
    page: int

    @property
    def query(self) -> str:
        """All but the page, as an address has it."""
        fields = {f"places_{support}": str(number) for support, number in self.places.items()}
        return urlencode(fields | ({"floor": self.floor} if self.floor else {})) + "&"


@dataclass(frozen=True)
class PlacementItem:
    """One student to whom a support of these is suggested: what they would get in the plan and in
    order of urgency, or what they wait for.
    """

    handle: str
    student: RosterEntry
    planned: Suggestion | None
    in_turn: Suggestion | None
    waits_for: Suggestion


@dataclass(frozen=True)
class FloorGroup:
    """A group with a floor: students to whom something is suggested, and places in both orders."""

    label: str
    students: int
    least: int
    planned: int
    in_turn: int


@dataclass(frozen=True)
class PlacementResult:
    """A plan as the page shows it.

    Attributes:
        planned, in_turn: the support of each student with a place in the plan, and in order of
            urgency.
        students: all to whom something is suggested, those with a place first, each part in the
            caseload's order.
        gained, lost: those who have a place in the plan alone, and those who have one in order of
            urgency alone.
        others: how many get another support than in order of urgency.
        impossible: sentences on why it is a plan without the floor that was asked for; empty where
            it is not.
    """

    found: Allocation
    planned: Mapping[str, str]
    in_turn: Mapping[str, str]
    students: tuple[str, ...]
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    others: int
    groups: tuple[FloorGroup, ...]
    impossible: tuple[str, ...]


@router.get("/places")
def places_page(
    visit: PlannerVisit, floor: FloorName = "", page: Annotated[int, Query(ge=1, le=10_000)] = 1
) -> Response:
    offers = _offers(visit)
    floors = _floors_open(visit)
    asked = read_request(offers, visit.request.query_params, floor if floor in floors else "", page)
    options = _options(visit, offers)
    result = (
        None
        if asked.problems or not options or not any(asked.places.values())
        else _plan(visit, options, asked)
    )
    students = result.students[(page - 1) * PAGE_SIZE : page * PAGE_SIZE] if result else ()
    gained, lost = (
        (result.gained[:CHANGES_SHOWN], result.lost[:CHANGES_SHOWN])
        if result and page == 1
        else ((), ())
    )
    shown = list(dict.fromkeys([*students, *gained, *lost]))
    lines = {
        student: _line(visit, student, options[student], result) for student in shown if result
    }
    visit.disclosures.record(shown, columns_for(visit).categories)
    visit.lists.record_impressions(shown)
    response = visit.page(
        "places.html",
        offers=offers,
        floors=floors,
        asked=asked,
        result=result,
        suggested=len(options),
        lines=[lines[student] for student in students],
        gained=[lines[student] for student in gained],
        lost=[lines[student] for student in lost],
        pages=max(1, -(-len(result.students) // PAGE_SIZE)) if result else 1,
        first=(page - 1) * PAGE_SIZE + 1,
        most=MAX_PLACES,
        why_no_model=visit.model[1] if offers else "",
        nothing=_why_nothing(visit, offers, options),
        point=visit.point,
        stamp=visit.disclosures.stamp(shown) if shown else "",
    )
    response.status_code = 422 if asked.problems else 200
    return response


def read_request(
    offers: Sequence[SupportCapacity], given: Mapping[str, str], floor: FloorName, page: int
) -> PlacementRequest:
    """What the form asks for: a number that was not given is what is free on record, an empty one
    is no place.
    """
    usual = {offer.support: "" if offer.free is None else str(offer.free) for offer in offers}
    texts = {
        support: given.get(f"places_{support}", free).strip() for support, free in usual.items()
    }
    places = {support: _number(text or "0") for support, text in texts.items()}
    problems = {
        support: (
            f"{words.support(support)}: write the places as a whole number from 0 to"
            f" {MAX_PLACES:,}."
        )
        for support, number in places.items()
        if number is None
    }
    return PlacementRequest(
        texts, {support: number or 0 for support, number in places.items()}, problems, floor, page
    )


def fair_shares(labels: Mapping[str, str], part: float = 1.0) -> Floors:
    """A floor for each group: its share of the students to whom something is suggested, times
    `part`. A group that the viewer does not see has none.
    """
    sizes = Counter(labels.values())
    shares = {
        label: part * size / sizes.total() for label, size in sizes.items() if label != _NOT_SEEN
    }
    return Floors(labels, shares)


def _number(text: str) -> int | None:
    """A whole number of places, None for what is not one."""
    whole = text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_PLACES))
    return int(text) if whole and int(text) <= MAX_PLACES else None


def _offers(visit: Visit) -> list[SupportCapacity]:
    programs = visit.records(()).frame("programs")
    own = programs[
        (programs["organization_id"] == visit.viewer.organization_id) & programs["support"].notna()
    ]
    may = {
        support
        for grants in visit.scope.grants.values()
        for grant in grants
        for support in grant.supports
    }
    taken = _taken(visit)
    return [
        _offer(str(support), rows, taken)
        for support, rows in own.groupby("support")
        if support in may
    ]


def _offer(
    support: str, programs: pd.DataFrame, taken: Mapping[str, int] | None
) -> SupportCapacity:
    if programs["capacity"].isna().any():
        return SupportCapacity(support, None, "How many places there are is not on record.")
    places = int(programs["capacity"].sum())
    all_places = words.count(places, "place", "places")
    if taken is None:
        return SupportCapacity(
            support, None, f"{all_places} on record; who has one now is not open to you."
        )
    used = sum(taken.get(str(program), 0) for program in programs["program_id"])
    return SupportCapacity(
        support,
        max(0, places - used),
        f"{all_places} on record; {words.count(used, 'student', 'students')} "
        "of your list taking part.",
    )


def _taken(visit: Visit) -> dict[str, int] | None:
    """Students who take part in each of the viewer's own programs today, of those whose services
    may be seen.
    """
    if Category.SERVICES not in visit.visible:
        return None
    frame = visit.records().frame("service_enrollments")
    start, end, day = (
        pd.to_datetime(frame["start_date"]),
        pd.to_datetime(frame["end_date"]),
        pd.Timestamp(visit.as_of),
    )
    own = frame["organization_id"] == visit.viewer.organization_id
    now = frame[own & (start <= day) & (end.isna() | (end >= day))]
    return {
        str(program): int(number)
        for program, number in now.groupby("program_id")["student_id"].nunique().items()
    }


def _floors_open(visit: Visit) -> dict[FloorName, str]:
    """The floors that name nothing which this viewer does not see."""
    return {
        name: label
        for name, label in FLOORS.items()
        if not name or any(_labels(visit, visit.lists.roster, name).values())
    }


def _labels(
    visit: Visit, students: Sequence[str] | Mapping[str, object], floor: FloorName
) -> dict[str, str]:
    """The group of each student; empty where it may not be seen or is not on record."""
    if floor.startswith("school"):
        return {student: visit.lists.roster[student].school for student in students}
    levels = {student: visit.lists.roster[student].grade_level for student in students}
    return {
        student: _NOT_SEEN if level is None else _BAND.get(level, _NOT_SEEN)
        for student, level in levels.items()
    }


def _options(visit: Visit, offers: Sequence[SupportCapacity]) -> dict[str, dict[str, Suggestion]]:
    """By student, in the caseload's order, and support: what is suggested of what the viewer
    offers.
    """
    mine = {offer.support for offer in offers}
    if not mine:
        return {}
    advice = visit.lists.caseload.advice
    found = {
        student: {one.support: one for one in advice[student].suggestions if one.support in mine}
        for student in visit.lists.caseload.order
    }
    return {student: suggestions for student, suggestions in found.items() if suggestions}


def _why_nothing(
    visit: Visit, offers: Sequence[SupportCapacity], options: Mapping[str, object]
) -> str:
    if not offers:
        return (
            "There is nothing to plan. Your role or your agreement shows you no suggestion of a"
            " support that your own programs offer."
        )
    if not options and not visit.model[1]:
        return "None of the supports that you offer is suggested to a student on your list today."
    return ""


def _plan(
    visit: Visit, options: Mapping[str, Mapping[str, Suggestion]], asked: PlacementRequest
) -> PlacementResult:
    rows = [
        (student, one.support, one.benefit)
        for student, found in options.items()
        for one in found.values()
    ]
    benefits = benefit_matrix(pd.DataFrame(rows, columns=["student_id", "support", "benefit"]))
    order = list(options)
    labels = _labels(visit, order, asked.floor) if asked.floor else {}
    part = 0.5 if asked.floor.endswith("_half") else 1.0
    impossible: list[str] = []
    try:
        found = allocate(
            benefits,
            asked.places,
            order=order,
            floors=fair_shares(labels, part) if labels else None,
        )
    except InfeasibleFloors as error:
        impossible = [_why(error), *_what_else(benefits, asked.places, labels, part)]
        found = allocate(benefits, asked.places, order=order)
    return _told(order, found, labels, tuple(impossible))


def _why(error: InfeasibleFloors) -> str:
    if error.group is None:
        return (
            "What you ask for each group could be given to any one of them, but not to all of them"
            " at once."
        )
    asked = words.count(error.asked[error.group], "place", "places")
    return (
        f"{error.group}: what you ask for it comes to {asked}, and at most {error.most} can go to"
        " its students, by what is suggested to them and where places are free."
    )


def _what_else(
    benefits: pd.DataFrame, places: Mapping[str, int], labels: Mapping[str, str], part: float
) -> list[str]:
    """What would be possible in place of the floors that are not."""
    if part < 1:
        return ["The plan below is the one without it."]
    try:
        allocate(benefits, places, floors=fair_shares(labels, 0.5))
    except InfeasibleFloors:
        return [
            "Half of a fair share is not possible either. The plan below is the one without it."
        ]
    return [
        "Half of a fair share for each is possible: choose that above. The plan below is the one"
        " without any."
    ]


def _told(
    order: Sequence[str], found: Allocation, labels: Mapping[str, str], impossible: tuple[str, ...]
) -> PlacementResult:
    planned, in_turn = (
        {place.student: place.support for place in plan.given}
        for plan in (found.best, found.greedy)
    )
    first = [student for student in order if student in planned]
    waiting = [student for student in order if student not in planned]
    sizes = Counter(labels.values())
    groups = (
        FloorGroup(
            label or "Not open to you",
            size,
            found.floors.get(label, 0),
            sum(labels[student] == label for student in planned),
            sum(labels[student] == label for student in in_turn),
        )
        for label, size in sorted(sizes.items(), key=lambda item: (not item[0], item[0]))
    )
    return PlacementResult(
        found,
        planned,
        in_turn,
        (*first, *waiting),
        gained=tuple(student for student in first if student not in in_turn),
        lost=tuple(student for student in waiting if student in in_turn),
        others=sum(
            in_turn.get(student, support) != support for student, support in planned.items()
        ),
        groups=tuple(groups),
        impossible=impossible,
    )


def _line(
    visit: Visit, student: str, options: Mapping[str, Suggestion], result: PlacementResult
) -> PlacementItem:
    planned, in_turn = (
        options.get(orders.get(student, "")) for orders in (result.planned, result.in_turn)
    )
    most = max(options.values(), key=lambda one: one.benefit)
    return PlacementItem(
        visit.scope.handle(student), visit.lists.roster[student], planned, in_turn, most
    )
