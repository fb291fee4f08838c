"""Limited places: who would get one for the highest total benefit, and who in order of urgency.

The plan is computed at each view, over the whole caseload, from suggestions in the viewer's scope.
It is stored nowhere and changes nothing: people decide who gets a place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlencode

import pandas as pd
from fastapi import APIRouter, Query
from starlette.responses import Response

from fairness.population.students import GRADE_BANDS
from fairness.report.wording import GROUP_LABELS
from records.canonical.schema import Category
from records.canonical.supports import SupportCatalog
from serving.pages.casework.students import columns_for
from serving.pages.pager import Pager
from serving.site.dependencies import PlannerVisit
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
"""The least that may go to each group, to choose from."""

_UNKNOWN_GROUP = ""
_GRADE_BANDS = {
    level: GROUP_LABELS["grade_band", band]
    for band, (low, high) in GRADE_BANDS.items()
    for level in range(low, high + 1)
}

Options = Mapping[str, Mapping[str, Suggestion]]
"""By student, in the caseload's order, and support: the suggestions of what the viewer offers."""


@dataclass(frozen=True)
class SupportCapacity:
    """A support of the viewer's own programs that may be suggested.

    Attributes:
        free: places free on record, None where unknown.
        known: what is on record, in a sentence.
    """

    support: str
    free: int | None
    known: str


@dataclass(frozen=True)
class PlacementRequest:
    """What the form asks for.

    Attributes:
        raw_values: the text of each support's field, as it was entered.
        places: the number of places for each support, 0 where the text is no number.
        problems: what is wrong with a field, by support.
    """

    raw_values: Mapping[str, str]
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
    """One student to whom a support of the viewer's is suggested.

    Attributes:
        planned, by_urgency: what they would get by the plan and in order of urgency, if anything.
        top_suggestion: what they wait for where they get nothing.
    """

    handle: str
    student: RosterEntry
    planned: Suggestion | None
    by_urgency: Suggestion | None
    top_suggestion: Suggestion


@dataclass(frozen=True)
class FloorGroup:
    """A group with a floor: its students with a suggestion, the floor in places, and the places it
    gets by the plan and in order of urgency.
    """

    label: str
    students: int
    floor: int
    planned: int
    by_urgency: int


@dataclass(frozen=True)
class PlacementResult:
    """A plan as the page shows it.

    Attributes:
        planned, by_urgency: the support of each student with a place by the plan, and in order of
            urgency.
        students: all to whom something is suggested, those with a place first, each part in the
            caseload's order.
        gained, lost: those with a place by the plan alone, and those with one in order of urgency
            alone.
        different_support: how many get another support than in order of urgency.
        infeasible_reasons: sentences on why the plan is one without the floor that was asked for;
            empty where it has it.
    """

    allocation: Allocation
    planned: Mapping[str, str]
    by_urgency: Mapping[str, str]
    students: tuple[str, ...]
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    different_support: int
    groups: tuple[FloorGroup, ...]
    infeasible_reasons: tuple[str, ...]


@router.get("/places")
def places_page(
    visit: PlannerVisit, floor: FloorName = "", page: Annotated[int, Query(ge=1, le=10_000)] = 1
) -> Response:
    capacities = _capacities(visit)
    floors = _available_floors(visit)
    request = read_request(
        capacities,
        visit.request.query_params,
        floor if floor in floors else "",
        page,
        visit.supports,
    )
    options = _options(visit, capacities)
    result = _result(visit, options, request)
    pager = Pager(page, len(result.students) if result else 0)
    on_page = pager.slice(result.students) if result else ()
    gained = result.gained[:CHANGES_SHOWN] if result and page == 1 else ()
    lost = result.lost[:CHANGES_SHOWN] if result and page == 1 else ()
    shown = list(dict.fromkeys([*on_page, *gained, *lost]))
    items = _items(visit, shown, options, result) if result else {}
    visit.disclosures.record(shown, columns_for(visit).categories)
    visit.lists.record_impressions(shown)
    return visit.page(
        "places.html",
        status=422 if request.problems else 200,
        request=request,
        capacities=capacities,
        floors=floors,
        max_places=MAX_PLACES,
        suggested=len(options),
        result=result,
        items=[items[student] for student in on_page],
        gained=[items[student] for student in gained],
        lost=[items[student] for student in lost],
        pager=pager,
        no_model_reason=visit.ranking.no_model_reason if capacities else "",
        no_plan_reason=_no_plan_reason(visit, capacities, options),
        progress_point=visit.progress_point_text,
        terms=visit.disclosures.terms(shown) if shown else "",
    )


def read_request(
    capacities: Sequence[SupportCapacity],
    fields: Mapping[str, str],
    floor: FloorName,
    page: int,
    supports: SupportCatalog,
) -> PlacementRequest:
    """What the form asks for. A field that is not there stands for the places free on record, an
    empty one for no place.
    """
    on_record = {
        capacity.support: "" if capacity.free is None else str(capacity.free)
        for capacity in capacities
    }
    raw_values = {
        support: fields.get(f"places_{support}", free).strip()
        for support, free in on_record.items()
    }
    numbers = {support: _number(text or "0") for support, text in raw_values.items()}
    problems = {
        support: (
            f"{supports.label(support)}: enter the number of places as a whole number from 0 to"
            f" {MAX_PLACES:,}."
        )
        for support, number in numbers.items()
        if number is None
    }
    places = {support: number or 0 for support, number in numbers.items()}
    return PlacementRequest(raw_values, places, problems, floor, page)


def fair_shares(labels: Mapping[str, str], part: float = 1.0) -> Floors:
    """A floor for each group: its share of the students to whom something is suggested, times
    `part`. Students whose group the viewer does not see have none.
    """
    sizes = Counter(labels.values())
    shares = {
        label: part * size / sizes.total()
        for label, size in sizes.items()
        if label != _UNKNOWN_GROUP
    }
    return Floors(labels, shares)


def _number(text: str) -> int | None:
    """A whole number of places, None for what is not one."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_PLACES))
    return int(text) if is_number and int(text) <= MAX_PLACES else None


def _capacities(visit: Visit) -> list[SupportCapacity]:
    """The supports of the viewer's own programs that some agreement and the district's list
    name.
    """
    programs = visit.records(()).frame("programs")
    own = programs[
        (programs["organization_id"] == visit.viewer.organization_id) & programs["support"].notna()
    ]
    allowed = {
        support
        for grants in visit.scope.grants.values()
        for grant in grants
        for support in grant.supports
    }
    enrolled = _enrolled_counts(visit)
    return [
        _capacity(str(support), rows, enrolled)
        for support, rows in own.groupby("support")
        if support in allowed and support in visit.supports
    ]


def _capacity(
    support: str, programs: pd.DataFrame, enrolled: Mapping[str, int] | None
) -> SupportCapacity:
    if programs["capacity"].isna().any():
        return SupportCapacity(support, None, "The number of places is not on record.")
    places = int(programs["capacity"].sum())
    on_record = f"{words.count(places, 'place', 'places')} on record"
    if enrolled is None:
        return SupportCapacity(support, None, f"{on_record}; you cannot see current enrollment.")
    taken = sum(enrolled.get(str(program), 0) for program in programs["program_id"])
    students = words.count(taken, "student", "students")
    return SupportCapacity(
        support, max(0, places - taken), f"{on_record}; {students} on your caseload enrolled."
    )


def _enrolled_counts(visit: Visit) -> dict[str, int] | None:
    """Students enrolled in each of the viewer's own programs today; None where the viewer sees no
    enrollment.
    """
    if Category.SERVICES not in visit.visible_categories:
        return None
    enrollments = visit.records().frame("service_enrollments")
    start = pd.to_datetime(enrollments["start_date"])
    end = pd.to_datetime(enrollments["end_date"])
    today = pd.Timestamp(visit.as_of)
    own = enrollments["organization_id"] == visit.viewer.organization_id
    current = enrollments[own & (start <= today) & (end.isna() | (end >= today))]
    return {
        str(program): int(number)
        for program, number in current.groupby("program_id")["student_id"].nunique().items()
    }


def _available_floors(visit: Visit) -> dict[FloorName, str]:
    """The floors for groups that this viewer sees."""
    return {
        name: label
        for name, label in FLOORS.items()
        if not name or any(_group_labels(visit, visit.lists.roster, name).values())
    }


def _group_labels(visit: Visit, students: Iterable[str], floor: FloorName) -> dict[str, str]:
    """The group of each student; `_UNKNOWN_GROUP` where it may not be seen or is not on record."""
    roster = visit.lists.roster
    if floor.startswith("school"):
        return {student: roster[student].school for student in students}
    levels = {student: roster[student].grade_level for student in students}
    return {
        student: _UNKNOWN_GROUP if level is None else _GRADE_BANDS.get(level, _UNKNOWN_GROUP)
        for student, level in levels.items()
    }


def _options(visit: Visit, capacities: Sequence[SupportCapacity]) -> Options:
    """Students without a suggestion of what the viewer offers are left out."""
    offered = {capacity.support for capacity in capacities}
    if not offered:
        return {}
    caseload = visit.lists.caseload
    options = {
        student: {
            suggestion.support: suggestion
            for suggestion in caseload.advice[student].suggestions
            if suggestion.support in offered
        }
        for student in caseload.order
    }
    return {student: suggestions for student, suggestions in options.items() if suggestions}


def _no_plan_reason(visit: Visit, capacities: Sequence[SupportCapacity], options: Options) -> str:
    if not capacities:
        return (
            "There is nothing to plan. Your role or your agreement does not show you suggestions of"
            " a support that your own programs offer."
        )
    if not options and visit.champion:
        return "None of the supports you offer is suggested to a student on your caseload today."
    return ""


def _result(visit: Visit, options: Options, request: PlacementRequest) -> PlacementResult | None:
    """The plan, or None where the form asks for none."""
    if request.problems or not options or not any(request.places.values()):
        return None
    rows = [
        (student, suggestion.support, suggestion.benefit)
        for student, suggestions in options.items()
        for suggestion in suggestions.values()
    ]
    benefits = benefit_matrix(pd.DataFrame(rows, columns=["student_id", "support", "benefit"]))
    order = list(options)
    labels = _group_labels(visit, order, request.floor) if request.floor else {}
    part = 0.5 if request.floor.endswith("_half") else 1.0
    floors = fair_shares(labels, part) if labels else None
    try:
        allocation = allocate(benefits, request.places, order=order, floors=floors)
        infeasible_reasons: tuple[str, ...] = ()
    except InfeasibleFloors as error:
        alternative = _alternative(benefits, request.places, labels, part)
        infeasible_reasons = (_infeasible_reason(error), alternative)
        allocation = allocate(benefits, request.places, order=order)
    return _compared(order, allocation, labels, infeasible_reasons)


def _infeasible_reason(error: InfeasibleFloors) -> str:
    if error.group is None:
        return "Each group's minimum is possible alone, but not all of them together."
    minimum = words.count(error.asked[error.group], "place", "places")
    return (
        f"{error.group}: its minimum comes to {minimum}, and at most {error.most} can go to its"
        " students, given what is suggested to them and where places are free."
    )


def _alternative(
    benefits: pd.DataFrame, places: Mapping[str, int], labels: Mapping[str, str], part: float
) -> str:
    """What would be possible in place of floors that are not."""
    if part < 1:
        return "The plan below has no minimum."
    try:
        allocate(benefits, places, floors=fair_shares(labels, 0.5))
    except InfeasibleFloors:
        return "Half of a fair share is not possible either. The plan below has no minimum."
    return (
        "Half of a fair share for each is possible: choose that above. The plan below has no"
        " minimum."
    )


def _compared(
    order: Sequence[str],
    allocation: Allocation,
    labels: Mapping[str, str],
    infeasible_reasons: tuple[str, ...],
) -> PlacementResult:
    """The plan beside the order of urgency."""
    planned = {place.student: place.support for place in allocation.best.given}
    by_urgency = {place.student: place.support for place in allocation.greedy.given}
    placed = [student for student in order if student in planned]
    waiting = [student for student in order if student not in planned]
    return PlacementResult(
        allocation,
        planned,
        by_urgency,
        students=(*placed, *waiting),
        gained=tuple(student for student in placed if student not in by_urgency),
        lost=tuple(student for student in waiting if student in by_urgency),
        different_support=sum(
            by_urgency.get(student, support) != support for student, support in planned.items()
        ),
        groups=_floor_groups(allocation, labels, planned, by_urgency),
        infeasible_reasons=infeasible_reasons,
    )


def _floor_groups(
    allocation: Allocation,
    labels: Mapping[str, str],
    planned: Iterable[str],
    by_urgency: Iterable[str],
) -> tuple[FloorGroup, ...]:
    """The groups by name, that of unknown students last."""
    sizes = Counter(labels.values())
    planned_counts = Counter(labels[student] for student in planned if labels)
    urgency_counts = Counter(labels[student] for student in by_urgency if labels)
    return tuple(
        FloorGroup(
            label or "Not visible to you",
            students=sizes[label],
            floor=allocation.floors.get(label, 0),
            planned=planned_counts[label],
            by_urgency=urgency_counts[label],
        )
        for label in sorted(sizes, key=lambda label: (label == _UNKNOWN_GROUP, label))
    )


def _items(
    visit: Visit, students: Iterable[str], options: Options, result: PlacementResult
) -> dict[str, PlacementItem]:
    """What the page says of each student."""
    return {
        student: PlacementItem(
            handle=visit.scope.handle(student),
            student=visit.lists.roster[student],
            planned=options[student].get(result.planned.get(student, "")),
            by_urgency=options[student].get(result.by_urgency.get(student, "")),
            top_suggestion=max(
                options[student].values(), key=lambda suggestion: suggestion.benefit
            ),
        )
        for student in students
    }
