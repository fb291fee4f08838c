"""Figures of made-up programs: exact ones as `training.effects.effects` gives them, and a report as
the site reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pandas as pd

from records.snapshots.snapshot import Snapshot
from training.effects.costs import Cost, cost_per_point
from training.effects.dose_response import DoseBand
from training.effects.effects import Effect
from training.effects.program_effects import ProgramEffect
from training.effects.published_effects import (
    EffectInputs,
    EffectReport,
    current_costs,
    current_inputs,
    publish_effects,
    write_effects,
)
from training.estimation.policy_value import Estimate

AT = datetime(2026, 4, 16, 18, 5)
INPUTS = EffectInputs("snapshot", "o" * 64, "c" * 64, "f" * 64)


def effect_of(value: float, lower: float, upper: float, **changes: object) -> Effect:
    """An effect on 123 students with an interval of Student's t on 900 degrees of freedom."""
    made = Effect(
        "ATT",
        123,
        904,
        Estimate(-1.234, -2.0, -0.4),
        "school",
        14,
        5.0,
        served_left_out=14,
        left_out=30,
        estimate=Estimate(value, lower, upper),
        error=(upper - lower) / 3.925,
        degrees=900,
    )
    return replace(made, **changes)


def suppressed_effect(why: str = "few_served", served: int = 12) -> Effect:
    return effect_of(
        9.9, 9.8, 9.95, estimate=None, cannot_tell=why, served=served, served_left_out=0
    )


def program(
    effect: Effect,
    *bands: DoseBand,
    key: str = "p1",
    name: str = "Readers",
    support: str = "tutoring",
    organization: str = "tutors",
    a_year: float = 80.0,
    cost: float | None = 600.0,
) -> ProgramEffect:
    price = None if cost is None else cost_per_point(cost, effect)
    return ProgramEffect(key, organization, name, support, effect, bands, a_year, cost, price)


def programs_of(made: Sequence[ProgramEffect]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "program_id": one.program_id,
                "organization_id": one.organization_id,
                "name": one.name,
                "support": one.support,
                "cost_per_session": float("nan"),
            }
            for one in made
        ]
    )


def report_of(
    *made: ProgramEffect, costs: Mapping[str, Cost] | None = None, inputs: EffectInputs = INPUTS
) -> EffectReport:
    if costs is None:
        costs = {one.program_id: Cost(600.0, "student") for one in made if one.cost_per_student}
    return publish_effects(made, programs_of(made), costs, inputs, AT)


def put_effects(home: Path, *made: ProgramEffect) -> EffectReport:
    """Figures of the snapshot that serves in `home`, where no cost is stated by the district."""
    snapshot = Snapshot.current(home)
    programs = snapshot.table("programs").to_pandas()
    costs = current_costs(programs, {})
    report = publish_effects(made, programs, costs, current_inputs(home, snapshot.id, costs), AT)
    write_effects(report, home)
    return report
