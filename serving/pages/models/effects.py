"""Partner programs: how their students did compared with similar students, and what each costs.

For the district alone. No partner reads this page: its figures rest on students who are in no
program of theirs, and what a partner is shown must not differ by students whom it may not see (R1).
No single student is on it, so nothing is logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import pandas as pd
from fastapi import APIRouter, Form
from starlette.responses import RedirectResponse, Response

from records.decisions.program_costs import (
    COST_UNITS,
    ProgramCostError,
    StatedCost,
    parse_program_cost,
    program_costs,
    set_program_cost,
)
from records.staff.accounts import staff_names
from records.suppression.small_numbers import SmallNumbersError
from serving.pages.forms import CsrfForm, ShortText, field_message
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
OUTDATED_REASONS = {
    "snapshot_id": "newer records were loaded",
    "costs_sha256": "a program's cost was updated",
    "outcome_sha256": "the definition of progress was changed",
    "features_sha256": "Handrail changed how it compares students",
    "smallest_cell": "the smallest number that may be shown was changed",
}
"""By field of `EffectInputs`."""

FIELD_LABELS = {"program": "Program", "dollars": "US dollars", "per": "For each"}


class CostForm(CsrfForm):
    program: ShortText = ""
    dollars: ShortText = ""
    per: ShortText = ""


@dataclass(frozen=True)
class ProgramItem:
    """One program on record or in the figures.

    Attributes:
        published: its figures, if there are any.
        cost: what it costs now.
        stated_cost: what the district stated; None where the cost is the partner's own figure.
    """

    program_id: str
    name: str
    partner: str
    published: PublishedEffect | None
    cost: Cost | None
    stated_cost: StatedCost | None


@router.get("/effects")
def effects_page(visit: AuditorVisit, done: Literal["", "cost"] = "") -> Response:
    return _page(visit, message="Program cost saved." if done else "")


@router.post("/effects/costs")
def record_cost(visit: DistrictAdminVisit, form: Annotated[CostForm, Form()]) -> Response:
    visit.check_csrf(form.csrf)
    known = {str(program) for program in visit.records(()).frame("programs")["program_id"]}
    try:
        set_program_cost(
            visit.database, visit.viewer, parse_program_cost(form.model_dump(), known), visit.now
        )
    except ProgramCostError as error:
        return _page(visit, problem=field_message(FIELD_LABELS, error), form=form)
    return RedirectResponse("/effects?done=cost", 303)


def _page(
    visit: Visit, *, message: str = "", problem: str = "", form: CostForm | None = None
) -> Response:
    programs = visit.records(()).frame("programs")
    stated = program_costs(visit.database)
    costs = current_costs(programs, stated)
    report, damage = _newest_report(visit)
    plot, dots = _plot(report)
    return visit.page(
        "effects.html",
        status=422 if problem else 200,
        report=report,
        damage=damage,
        programs=_program_items(visit, programs, report, costs, stated),
        plot=plot,
        dots=dots,
        message=message,
        problem=problem,
        form=form,
        progress_point=visit.progress_point_text_for(
            report.inputs.outcome_sha256 if report else None
        ),
        outdated_reasons=_outdated_reasons(visit, report, costs) if report else [],
        cost_units=COST_UNITS,
        effect_words=effect_words,
        staff=staff_names(visit.database),
    )


def _newest_report(visit: Visit) -> tuple[EffectReport | None, str]:
    """The figures of the records in use, or why they cannot be shown."""
    try:
        return newest_effects(visit.site.config.home, visit.snapshot.id), ""
    except EffectFileCorrupt as error:
        return None, str(error)


def _outdated_reasons(visit: Visit, report: EffectReport, costs: dict[str, Cost]) -> list[str]:
    """Why the figures are out of date, in words; empty where they are not."""
    try:
        inputs = current_inputs(visit.site.config.home, visit.snapshot.id, costs)
    except OutcomeError:
        return [OUTDATED_REASONS["outcome_sha256"]]
    except SmallNumbersError:
        return [OUTDATED_REASONS["smallest_cell"]]
    return [OUTDATED_REASONS[name] for name in report.inputs.changed(inputs)]


def _program_items(
    visit: Visit,
    programs: pd.DataFrame,
    report: EffectReport | None,
    costs: Mapping[str, Cost],
    stated: Mapping[str, StatedCost],
) -> list[ProgramItem]:
    """Every program on record, and those that only the figures still hold, by name."""
    partners = {
        str(row["program_id"]): str(row["organization_id"]) for row in programs.to_dict("records")
    }
    names = {program: visit.program_names[program] for program in partners}
    published = {effect.program_id: effect for effect in report.programs} if report else {}
    partners |= {program: effect.organization_id for program, effect in published.items()}
    names |= {program: effect.name for program, effect in published.items()}
    items = [
        ProgramItem(
            program_id=program,
            name=names[program],
            partner=_organization_name(visit, partner),
            published=published.get(program),
            cost=costs.get(program),
            stated_cost=stated.get(program),
        )
        for program, partner in partners.items()
    ]
    return sorted(items, key=lambda item: (item.name.casefold(), item.program_id))


def _organization_name(visit: Visit, organization_id: str) -> str:
    organization = visit.organizations.get(organization_id)
    return organization.name if organization else organization_id


def _plot(report: EffectReport | None) -> tuple[DotPlot | None, dict[str, Dot]]:
    """A plot with a dot for each program that has an estimate, and the dots by program."""
    estimates = {
        effect.program_id: effect.figures.estimate
        for effect in (report.programs if report else ())
        if effect.figures.estimate is not None
    }
    if not estimates:
        return None, {}
    plot = dot_plot([(each.lower, each.value, each.upper) for each in estimates.values()])
    return plot, dict(zip(estimates, plot.dots, strict=True))
