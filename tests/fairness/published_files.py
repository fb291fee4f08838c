"""Everything that a home publishes, read by one attacker: audits of all models together, effects,
cards, drift.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linprog

from fairness.audit.audit import measure_population
from fairness.checks.checks import CHECKS
from fairness.checks.policy import Policy
from fairness.population.students import AuditPopulation, audit_population, suggestions_for
from fairness.report.report import audits_of_snapshot
from records.snapshots.snapshot import Snapshot
from tests.fairness.attacker import Counts, PublicKnowledge, Tied, in_cells, tied_down
from training.episodes.episodes import Episodes, build_episodes
from training.episodes.outcome import OutcomeDefinition
from training.ranking.model_file import RankerModel, read_model
from training.registry.registry import model_version

NUMBERS = (
    "students",
    "in_need",
    "served",
    "compared",
    "left_out",
    "episodes",
    "other",
    "same_first",
    "same_top",
)
"""What numbers of students, or of their records, are called in what is published."""


def small_counts_in_audits(home: Path, most: int) -> list[Tied]:
    """The numbers below ten that all audits of the present records tie down together to fewer than
    ten: of `most` of them, by chance.
    """
    snapshot = Snapshot.current(home)
    audits = audits_of_snapshot(home, snapshot.id, snapshot.latest_date())
    models = [
        read_model(registered.file, registered.sha256)
        for registered in (model_version(home, audit.version) for audit in audits)
    ]
    supports = tuple(dict.fromkeys(name for model in models for name in model.ranker.supports_))
    policy = Policy.from_home(home)
    students = audit_population(snapshot, snapshot.latest_date(), policy, supports)
    episodes = build_episodes(snapshot, outcome=OutcomeDefinition.of(home))
    truths = [_true(model, policy, students, snapshot, episodes) for model in models]
    return tied_down(
        _known(supports), *zip(truths, (audit.shown for audit in audits), strict=True), most=most
    )


def small_numbers(home: Path, smallest: int = 10) -> list[tuple[str, str, int]]:
    """Every number of students from 1 to below `smallest` in a file that is published."""
    files = [
        file
        for pattern in (
            "audits/**/*.json",
            "effects/*.json",
            "drift/*.json",
            "mlartifacts/**/card/*.json",
            "mlartifacts/**/night.json",
            "mlartifacts/**/evaluation*.json",
        )
        for file in home.glob(pattern)
    ]
    assert {file.relative_to(home).parts[0] for file in files} == {
        "audits",
        "effects",
        "drift",
        "mlartifacts",
    }
    read = {
        str(file.relative_to(home)): json.loads(file.read_text(encoding="utf-8")) for file in files
    }
    return [
        (file, where, number)
        for file, content in read.items()
        for where, number in _numbers(content, "")
        if 0 < number < smallest
    ]


def small_counts_in_effects(home: Path, smallest: int = 10) -> list[tuple[str, float]]:
    """The bands of an amount received whose number is left out and follows all the same, to fewer
    than `smallest`.
    """
    tied_down_bands = []
    for file in (home / "effects").glob("*.json"):
        for program in json.loads(file.read_text(encoding="utf-8"))["programs"]:
            served = [amount["figures"]["served"] for amount in program["amounts"]]
            bounds = [
                (0, None) if number is None else (number - 5, number + 4) for number in served
            ]
            whole, rows, limits = program["figures"]["served"], np.empty((0, len(served))), []
            if whole is not None:
                rows, limits = (
                    np.array([np.ones(len(served)), -np.ones(len(served))]),
                    [whole + 4, 5 - whole],
                )
            for place in [at for at, number in enumerate(served) if number is None]:
                goal = np.eye(len(served))[place]
                ends = [linprog(sign * goal, rows, limits, bounds=bounds) for sign in (1, -1)]
                width = -ends[1].fun - ends[0].fun if all(end.status == 0 for end in ends) else None
                if width is not None and width < smallest:
                    tied_down_bands.append((program["program_id"], width))
    return tied_down_bands


def _numbers(content: Any, where: str) -> Iterator[tuple[str, int]]:
    if isinstance(content, Mapping):
        for name, value in content.items():
            if name in NUMBERS and isinstance(value, int) and not isinstance(value, bool):
                yield f"{where}.{name}", value
            else:
                yield from _numbers(value, f"{where}.{name}")
    elif isinstance(content, list):
        for value in content:
            yield from _numbers(value, where)


def _known(supports: tuple[str, ...]) -> PublicKnowledge:
    within = [
        ("need", "students"),
        ("missed", "waiting"),
        ("open", "need"),
        ("missed though open", "missed"),
        ("waiting", "need"),
        ("waiting though open", "waiting"),
        ("waiting though open", "open"),
        ("missed though open", "waiting though open"),
        ("silent", "missed though open"),
        ("act now", "need"),
        ("late", "act now"),
        ("incident", "students"),
    ]
    shares = {
        "suggestion": ("need - missed", "need"),
        "missed": ("missed", "need"),
        "access": ("missed though open", "open"),
        "silence": ("silent", "waiting though open"),
        "late_alert": ("late", "act now"),
        "discipline_record": ("incident", "students"),
    }
    for name in supports:
        within += [
            (f"asked {name}", "open"),
            (f"listed {name}", f"asked {name}"),
            (f"listed {name}", "need - missed"),
            (f"past need {name}", "students"),
            (f"past got {name}", f"past need {name}"),
        ]
        shares |= {
            f"support {name}": (f"listed {name}", f"asked {name}"),
            f"past_support {name}": (f"past got {name}", f"past need {name}"),
        }
    by_model = {"missed", "missed though open", "silent", *(f"listed {name}" for name in supports)}
    return PublicKnowledge(
        tuple(within),
        shares,
        frozenset(by_model),
        (("open", "missed though open", "need - missed"),),
    )


def _true(
    model: RankerModel,
    policy: Policy,
    students: AuditPopulation,
    snapshot: Snapshot,
    episodes: Episodes,
) -> Counts:
    """Of what no check compares by two groups at once, the counts by one: nothing else is in any
    table.
    """
    need = students.in_need(policy)
    missed = need & ~students.in_support & ~suggestions_for(model, students).has_suggestion
    is_open = need & students.eligible.any(axis=1).to_numpy()
    chosen = {
        "students": np.ones(len(need), dtype=bool),
        "need": need,
        "missed": missed,
        "open": is_open,
        "missed though open": missed & is_open,
        "waiting": need & ~students.in_support,
        "waiting though open": is_open & ~students.in_support,
    }
    table, others = measure_population(model, students, snapshot, policy, episodes)
    past = next(rows for rows in others if rows.measures[0].check == "past_support")
    ever = students.groups.index.isin(past.groups.index)
    words = {
        "silence": ("silent", ""),
        "late_alert": ("late", "act now"),
        "discipline_record": ("incident", ""),
        "support": ("listed", "asked"),
        "past_support": ("past got", "past need"),
    }
    counts = in_cells(chosen, students.groups)
    for rows, who in ((table, np.ones(len(need), dtype=bool)), (past, ever)):
        for measure in rows.measures:
            for name, values in zip(
                words.get(measure.check, ()), (measure.numerator, measure.denominator), strict=False
            ):
                flags = np.zeros(len(need), dtype=bool)
                flags[who] = values > 0
                cells = in_cells({f"{name} {measure.item}".strip(): flags}, students.groups)
                counts |= {
                    key: count
                    for key, count in cells.items()
                    if name and (not key[1][0] or CHECKS[measure.check].applies_to(key[1][0]))
                }
    return counts
