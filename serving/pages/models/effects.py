"""Partner programs: what the records show of each beside similar students, and what it costs. For
the district alone.

No partner reads this page: its figures rest on students who are in no program of theirs, and what a
partner is shown must not differ by students whom it may not see (R1). No single student is on it,
so no look is written down.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import RedirectResponse, Response

from records.decisions.program_costs import (
    COST_UNITS,
    ProgramCostError,
    StatedCost,
    parse_program_cost,
    program_costs,
    set_program_cost,
)
from records.people.accounts import staff_names
from records.suppression.small_numbers import SmallNumbersError
from serving.rendering.charts import Dot, DotPlot, dot_plot
from serving.site.dependencies import AuditorVisit, DistrictAdminVisit
from serving.site.visit import Visit
from serving.wording import effect_words
from training.effects.costs import Cost
from training.effects.published_effects import (
    EffectFileCorrupt,
    EffectReport,
    PublishedEffect,
    current_costs,
    current_inputs,
    newest_effects,
)
from training.episodes.outcome import OutcomeError

router = APIRouter()
ShortText = Annotated[str, Field(max_length=200)]
OUTDATED_REASONS = {
    "snapshot_id": "newer records were loaded",
    "costs_sha256": "what a program costs was stated anew",
    "outcome_sha256": "what counts as progress was changed",
    "features_sha256": "Handrail compares students otherwise",
    "smallest_cell": "the smallest number that may be shown was changed",
}
FIELD_LABELS = {"program": "Program", "dollars": "US dollars", "per": "For each"}


class CostForm(BaseModel):
    model_config = ConfigDict(extra="forbid")
    csrf: str
    program: ShortText = ""
    dollars: ShortText = ""
    per: ShortText = ""


@dataclass(frozen=True)
class ProgramItem:
    """One program on record or in the figures: `told` is what was worked out, `cost` what it costs
    now.
    """

    program_id: str
    name: str
    partner: str
    told: PublishedEffect | None
    cost: Cost | None
    stated: StatedCost | None


@router.get("/effects")
def effects_page(visit: AuditorVisit, done: Literal["", "cost"] = "") -> Response:
    return _show(visit, said="What the program costs is written down." if done else "")


@router.post("/effects/costs")
def record_cost(visit: DistrictAdminVisit, form: Annotated[CostForm, Form()]) -> Response:
    visit.check_csrf(form.csrf)
    known = {str(program) for program in visit.records(()).frame("programs")["program_id"]}
    try:
        set_program_cost(
            visit.database, visit.viewer, parse_program_cost(form.model_dump(), known), visit.now
        )
    except ProgramCostError as error:
        label = FIELD_LABELS.get(error.field)
        return _show(
            visit, problem=f"{label}: this {error.reason}." if label else error.reason, form=form
        )
    return RedirectResponse("/effects?done=cost", 303)


def _show(
    visit: Visit, *, said: str = "", problem: str = "", form: CostForm | None = None
) -> Response:
    programs = visit.records(()).frame("programs")
    stated = program_costs(visit.database)
    costs = current_costs(programs, stated)
    report, damage = _report(visit)
    rows: dict[str, dict[Hashable, Any]] = {
        str(row["program_id"]): row for row in programs.to_dict("records")
    }
    plot, dots = _plot(report)
    response = visit.page(
        "effects.html",
        report=report,
        damage=damage,
        entries=_entries(visit, rows, report, costs, stated),
        plot=plot,
        dots=dots,
        said=said,
        problem=problem,
        form=form,
        point=visit.point_by(report.inputs.outcome_sha256 if report else None),
        changed=[] if report is None else _changed(visit, report, costs),
        per=COST_UNITS,
        effect=effect_words,
        staff=staff_names(visit.database),
    )
    response.status_code = 422 if problem else 200
    return response


def _report(visit: Visit) -> tuple[EffectReport | None, str]:
    """The figures that there are, or why they cannot be shown."""
    try:
        return newest_effects(visit.site.config.home, visit.snapshot.id), ""
    except EffectFileCorrupt as error:
        return None, str(error)


def _changed(visit: Visit, report: EffectReport, costs: dict[str, Cost]) -> list[str]:
    """Why the figures are out of date, in words; empty where they are not."""
    try:
        now = current_inputs(visit.site.config.home, visit.snapshot.id, costs)
    except OutcomeError:
        return [OUTDATED_REASONS["outcome_sha256"]]
    except SmallNumbersError:
        return [OUTDATED_REASONS["smallest_cell"]]
    return [OUTDATED_REASONS[name] for name in report.inputs.changed(now)]


def _entries(
    visit: Visit,
    programs: Mapping[str, Mapping[Hashable, Any]],
    report: EffectReport | None,
    costs: dict[str, Cost],
    stated: dict[str, StatedCost],
) -> list[ProgramItem]:
    """By name: every program on record, and those that the figures still hold."""
    told = {one.program_id: one for one in report.programs} if report else {}
    found = []
    for key in programs.keys() | told.keys():
        partner = (
            told[key].organization_id if key in told else str(programs[key]["organization_id"])
        )
        known = visit.organizations.get(partner)
        name = told[key].name if key in told else visit.program_names[key]
        found.append(
            ProgramItem(
                key,
                name,
                known.name if known else partner,
                told.get(key),
                costs.get(key),
                stated.get(key),
            )
        )
    return sorted(found, key=lambda one: (one.name.casefold(), one.program_id))


def _plot(report: EffectReport | None) -> tuple[DotPlot | None, dict[str, Dot]]:
    """A dot for each program that has an estimate, by program."""
    told = {one.program_id: one.figures.estimate for one in report.programs} if report else {}
    known = {key: (one.lower, one.value, one.upper) for key, one in told.items() if one is not None}
    if not known:
        return None, {}
    plot = dot_plot(list(known.values()))
    return plot, dict(zip(known, plot.dots, strict=True))
