"""The model card of a version: one set of facts, as JSON for machines and as Markdown to read.

Its intended and out-of-scope uses, training data, evaluation with uncertainty, and limitations. It
holds no row of data and no number of students below the smallest cell. Source of the form: Mitchell
et al. (2019), "Model Cards for Model Reporting", FAT*.
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
        "To rank, for one student, the supports partner programs offer, by how much more progress"
        " similar students made with each."
    ),
    ("To abstain when the evidence is insufficient: no suggestion is made and the page says why."),
    "For people who know the student and decide: a suggestion starts a conversation.",
)
OUT_OF_SCOPE_USES = (
    "Not to decide anything about a child by itself, and not to keep anybody from a support.",
    "Not to predict a student's future, to rank students by merit or risk, or for discipline.",
    (
        "Not to evaluate teachers, schools, or partners: partner pages do that by other means, with"
        " their own limits."
    ),
    "Not for another district's students: it was trained on this district's records only.",
)
LIMITATIONS = (
    (
        "It was trained on what people chose in the past, not on an experiment. What is not on"
        " record (a family's wish, a counselor's hunch) may explain a difference; the note with"
        " each estimate says how strong such a factor would have to be."
    ),
    (
        "Where a support was rarely chosen for such students in the past, the model extrapolates"
        " (see Overlap)."
    ),
    (
        "Progress is what the outcome on this card measures, over the days named there, and nothing"
        " else about a child."
    ),
    (
        "Records are late, wrong or missing for some students; a feature that is unknown or not"
        " shared counts as missing."
    ),
    (
        "Whether groups of students are treated alike is reported in the fairness audit, which also"
        " records who signed or refused this version and why."
    ),
)
ESTIMATOR_LABELS = {
    "ips": "inverse propensity (IPS)",
    "snips": "self-normalized (SNIPS)",
    "dr": "doubly robust (DR)",
    "switch_dr": "SWITCH-DR",
    "gain": "gain over past practice",
}
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
    """Everything a card says, as plain values, from which JSON and Markdown are written."""
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
    made, evaluation = facts["made_from"], facts["evaluation"]
    parts = [
        "# Model card: which support may help this student most",
        "## Intended use",
        _points(facts["for"]),
        "## Out-of-scope use",
        _points(facts["not_for"]),
        "## Training data",
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
        "Features of each student, as far as the viewer may see them:",
        _families(facts["features"]),
        "## Outcome",
        _outcome(facts["outcome"]),
        "## Evaluation",
        _evaluation(evaluation, small_numbers),
        "### Overlap",
        (
            "Evaluated episodes by the probability that past practice gave to what the policy"
            " chooses, to the nearest ten; a dash marks suppressed counts (fewer than"
            f" {small_numbers.in_words} students)."
        ),
        overlap_table(evaluation["overlap"]),
        "### Calibration",
        "By fifths of the predicted benefit of each student's best support:",
        calibration_table(evaluation["calibration"]),
        "## Feature importance",
        "Mean absolute SHAP contribution by family of features, in progress points:",
        _table(
            ("family", "points"),
            [(row["family"], f"{row['points']:.3f}") for row in facts["importance"]],
        ),
        "## Limitations",
        _points(facts["limits"]),
        "## Training parameters",
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


def value_rows(policies: Sequence[JsonObject]) -> list[list[str]]:
    """Every figure of policies' values as text: its name, then one cell a policy."""
    sample_sizes = [f"{policy['effective_sample_size']:,.0f}" for policy in policies]
    thin_overlaps = [f"{policy['thin_overlap']:.1%}" for policy in policies]
    return [
        *(
            [label, *(format_estimate(policy[name]) for policy in policies)]
            for name, label in ESTIMATOR_LABELS.items()
        ),
        ["effective sample size", *sample_sizes],
        ["thin overlap", *thin_overlaps],
    ]


def overlap_table(rows: Sequence[Row]) -> str:
    """Overlap as a Markdown table: a support a row, a range of propensities a column."""
    return _table(*overlap_grid(rows))


def overlap_grid(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Overlap as a heading and rows of text."""
    edges = list(dict.fromkeys((row["above"], row["up_to"]) for row in rows))
    counts = {(row["action"], row["above"]): format_count(row["episodes"]) for row in rows}
    actions = list(dict.fromkeys(row["action"] for row in rows))
    heading = ["chosen", *(f"{above:g} to {up_to:g}" for above, up_to in edges)]
    return heading, [[action, *(counts[action, above] for above, _ in edges)] for action in actions]


def calibration_table(rows: Sequence[Row]) -> str:
    """Calibration as a Markdown table; a sentence where there were too few students."""
    if not rows:
        return "Suppressed: too few students."
    return _table(
        ("fifth", "predicted", "realized (95% CI)"),
        [
            (
                row["fifth"],
                f"{row['predicted']:+.2f}",
                format_estimate(row | {"value": row["realised"]}),
            )
            for row in rows
        ],
    )


def _evaluation(evaluation: JsonObject, small_numbers: SmallNumbers) -> str:
    episodes, places = (
        format_count(small_numbers.published_count(evaluation[name]))
        for name in ("episodes", "places")
    )
    gain = evaluation["same_places"]["gain"]
    return "\n\n".join(
        [
            (
                "A holdout model trained on the earlier decision days was evaluated on the later"
                f" ones, {evaluation['first_day']} to {evaluation['last_day']}:"
                f" {episodes} episodes, in {places} of which past practice"
                " gave a support. Values are progress points per episode."
            ),
            _table(
                ("figure", "same capacity", "no capacity limit"),
                value_rows([evaluation["same_places"], evaluation["no_limit"]]),
            ),
            (
                "**Claim.** At the same capacity, its choices would have gained"
                f" {format_estimate(gain)} progress points per episode over past practice."
                f" {evaluation['sensitivity']}"
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
        [
            f"{family.replace('_', ' ')}: {'; '.join(features)}"
            for family, features in families.items()
        ]
    )


def _points(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _table(heading: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
