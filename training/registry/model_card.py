"""The model card of a version: one set of facts, as JSON for machines and as Markdown to read.

What it is for and not for, what it learned from, how it was judged and how sure that is, where it
ends. No row of data and no number of students below the smallest cell is in it. Source of the form:
Mitchell et al. (2019), "Model Cards for Model Reporting", FAT*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from features.catalog import FEATURES_BY_NAME
from records.suppression.small_numbers import DEFAULT_SMALL_NUMBERS, SmallNumbers
from training.episodes.episodes import Episodes
from training.episodes.outcome import MEASURE_UNITS, OutcomeDefinition
from training.estimation.pseudo_outcomes import NONE
from training.evaluation.evaluate import (
    Evaluation,
    Row,
    importance_rows,
    nan_to_none,
)
from training.ranking.ranker import BenefitRanker
from training.registry.provenance import Provenance

INTENDED_USES = (
    (
        "To put in order, for one student, the supports that a partner program offers, by how much"
        " more progress went with each among students whose records looked alike."
    ),
    (
        "To stay silent where the evidence does not suffice: then there is no suggestion, and the"
        " page says why."
    ),
    "For people who know the student and decide: a suggestion is where a conversation starts.",
)
OUT_OF_SCOPE_USES = (
    "Not to decide anything about a child by itself, and not to keep anybody from a support.",
    "Not to foretell a student's future, to rank students by worth or danger, or to discipline.",
    (
        "Not to judge a teacher, a school or a partner: partner pages do that by other means, with"
        " their own limits."
    ),
    "Not for another district's students: it has learned from this one's records alone.",
)
LIMITATIONS = (
    (
        "It learned from what people chose in the past, not from an experiment. What is not on"
        " record (a family's wish, a counselor's hunch) may lie behind a difference; the sentence"
        " beside each claim says how strong it must be."
    ),
    (
        "Where past practice hardly ever chose a support for such students, the models extrapolate:"
        " see overlap."
    ),
    (
        "Progress is what the outcome below measures, over the days named there, and nothing else"
        " about a child."
    ),
    (
        "Records are late, wrong or missing for some; a feature that is unknown or may not be seen"
        " counts as missing."
    ),
    (
        "Whether groups of students are treated alike is not said here but in the fairness audit,"
        " which also holds who signed or refused this version and why."
    ),
)
JsonObject = Mapping[str, Any]


def card_facts(
    ranker: BenefitRanker,
    episodes: Episodes,
    outcome: OutcomeDefinition,
    origin: Provenance,
    judgement: Evaluation,
    parameters: Mapping[str, Any],
    small_numbers: SmallNumbers = DEFAULT_SMALL_NUMBERS,
) -> JsonObject:
    """All that a card says, as plain values: the same in JSON and in Markdown."""
    counts = episodes.support.value_counts()
    families: dict[str, list[str]] = {}
    for name in ranker.feature_names_:
        families.setdefault(FEATURES_BY_NAME[name].family, []).append(
            FEATURES_BY_NAME[name].description
        )
    facts = {
        "for": INTENDED_USES,
        "not_for": OUT_OF_SCOPE_USES,
        "limits": LIMITATIONS,
        "made_from": asdict(origin),
        "decision_days": sorted(str(day) for day in episodes.decision_date.unique()),
        "episodes": {
            name: small_numbers.published_count(int(counts.get(name, 0)))
            for name in (NONE, *ranker.supports_)
        },
        "features": families,
        "outcome": asdict(outcome),
        "parameters": parameters,
        "evaluation": judgement.to_dict(),
        "importance": importance_rows(
            ranker,
            episodes.features,
            {name: FEATURES_BY_NAME[name].family for name in ranker.feature_names_},
        ),
    }
    plain: JsonObject = nan_to_none(facts)
    return plain


def card_text(facts: JsonObject, small_numbers: SmallNumbers = DEFAULT_SMALL_NUMBERS) -> str:
    """The card in Markdown."""
    made, judged = facts["made_from"], facts["evaluation"]
    parts = [
        "# Model card: which support may help this student most",
        "## What it is for",
        _points(facts["for"]),
        "## What it is not for",
        _points(facts["not_for"]),
        "## What it learned from",
        (
            f"Snapshot {made['snapshot']} (manifest {made['snapshot_manifest']}), feature catalog"
            f" {made['catalog']}, outcome {made['outcome']}, code"
            f" {made['version']}{' at ' + made['commit'] if made['commit'] else ''} (source"
            f" {made['source']})."
        ),
        (
            f"Decision days: {', '.join(facts['decision_days'])}. Episodes (a student, a decision"
            " day, what was chosen and what followed), to the nearest ten:"
        ),
        _table(
            ("support", "episodes"),
            [(name, format_count(count)) for name, count in facts["episodes"].items()],
        ),
        "Of each student it may see, where the viewer may:",
        _families(facts["features"]),
        "## What counts as progress",
        _outcome(facts["outcome"]),
        "## How it was judged",
        _judged(judged, small_numbers),
        "### Overlap",
        (
            "Judged episodes by the chance that past practice gave to what the policy chooses, to"
            f" the nearest ten; a dash where fewer than {small_numbers.in_words} students may be"
            " behind."
        ),
        overlap_table(judged["overlap"]),
        "### Calibration",
        "By fifths of the predicted benefit of each student's best support:",
        calibration_table(judged["calibration"]),
        "## What moves it",
        "Mean absolute SHAP contribution by family of features, in progress points:",
        _table(
            ("family", "points"),
            [(row["family"], f"{row['points']:.3f}") for row in facts["importance"]],
        ),
        "## Where it ends",
        _points(facts["limits"]),
        "## How it was learned",
        _table(("parameter", "value"), list(facts["parameters"].items())),
    ]
    return "\n\n".join(parts) + "\n"


def format_estimate(estimate: Mapping[str, float | None]) -> str:
    """An estimate in progress points with its 95% interval."""
    value, lower, upper = (estimate[part] for part in ("value", "lower", "upper"))
    if value is None or lower is None or upper is None:
        return "not known"
    return f"{value:+.2f} ({lower:+.2f} to {upper:+.2f})"


def format_count(count: int | None) -> str:
    """A number of episodes or students that may be published, or a dash."""
    return "-" if count is None else f"{count:,}"


ESTIMATOR_LABELS = {
    "ips": "inverse propensity (IPS)",
    "snips": "self-normalised (SNIPS)",
    "dr": "doubly robust (DR)",
    "switch_dr": "SWITCH-DR",
    "gain": "gain over past practice",
}


def value_rows(policies: Sequence[JsonObject]) -> list[list[str]]:
    """Every figure of policies' values as words: its name, then one cell a policy."""
    rows = [
        [label, *(format_estimate(one[name]) for one in policies)]
        for name, label in ESTIMATOR_LABELS.items()
    ]
    rows.append(
        ["effective sample size", *(f"{one['effective_sample_size']:,.0f}" for one in policies)]
    )
    rows.append(["thin overlap", *(f"{one['thin_overlap']:.1%}" for one in policies)])
    return rows


def overlap_table(rows: Sequence[Row]) -> str:
    """Overlap as a Markdown table: a support a row, a range of chances a column."""
    return _table(*overlap_grid(rows))


def overlap_grid(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Overlap as a heading and rows of words."""
    edges = list(dict.fromkeys((row["above"], row["up_to"]) for row in rows))
    counts = {(row["action"], row["above"]): format_count(row["episodes"]) for row in rows}
    actions = list(dict.fromkeys(row["action"] for row in rows))
    heading = ["chosen", *(f"{above:g} to {up_to:g}" for above, up_to in edges)]
    return heading, [[action, *(counts[action, above] for above, _ in edges)] for action in actions]


def calibration_table(rows: Sequence[Row]) -> str:
    """Calibration as a Markdown table; a sentence where there were too few students."""
    if not rows:
        return "Too few students to show."
    return _table(
        ("fifth", "predicted", "came to (95%)"),
        [
            (
                row["fifth"],
                f"{row['predicted']:+.2f}",
                format_estimate(row | {"value": row["realised"]}),
            )
            for row in rows
        ],
    )


def _judged(judged: JsonObject, small_numbers: SmallNumbers) -> str:
    gain = judged["same_places"]["gain"]
    episodes, places = (
        format_count(small_numbers.published_count(judged[name])) for name in ("episodes", "places")
    )
    return "\n\n".join(
        [
            (
                "A clone that learned from the earlier decision days was judged on the later ones,"
                f" {judged['first_day']} to {judged['last_day']}:"
                f" {episodes} episodes, in {places} of which past practice gave a support. Values"
                " are progress points an episode."
            ),
            _table(
                ("figure", "same number of places", "no limit on places"),
                value_rows([judged["same_places"], judged["no_limit"]]),
            ),
            (
                "**Claim.** At the same number of places its choices went with"
                f" {format_estimate(gain)} more progress points an episode than past practice."
                f" {judged['sensitivity']}"
            ),
        ]
    )


def _outcome(outcome: JsonObject) -> str:
    weights = [
        f"{weight:g} for one more of: {MEASURE_UNITS[name]}"
        for name, weight in outcome["weights"].items()
        if weight
    ]
    return (
        f"Progress points: the sum of changes over {outcome['window_days']} days after the"
        f" decision, by weight: {'; '.join(weights)}. Below {outcome['smallest_benefit']:g}"
        " expected points nothing is suggested."
    )


def _families(families: Mapping[str, Sequence[str]]) -> str:
    return _points(
        [f"{family.replace('_', ' ')}: {'; '.join(said)}" for family, said in families.items()]
    )


def _points(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _table(heading: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
