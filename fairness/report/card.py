"""The part of a model's card that its audit writes: the same findings as in the report, in
short.
"""

from __future__ import annotations

from collections.abc import Sequence

from fairness.audit.audit import Audit
from fairness.gate.gate import Verdict
from fairness.report.views import ReviewQuestion, grid, review_questions
from fairness.report.wording import VERDICT_LABELS, VERDICT_SUMMARIES
from records.suppression.small_numbers import SmallNumbers
from records.system.files import write_atomic
from training.registry.model_card import card_text
from training.registry.registry import ModelVersion

CARD, FACTS = "card/model_card.md", "card/model_card.json"
_VERDICT_MARKS = {
    Verdict.PASS: "passed",
    Verdict.FAIL: "**failed**",
    Verdict.CANNOT_TELL: "cannot tell",
    None: "-",
}


def write_card(model: ModelVersion, audit: Audit) -> None:
    """Write the version's card anew, with its newest audit; a version that was registered without a
    card gets none.
    """
    facts = model.artifact(FACTS)
    if facts is not None:
        text = card_text(facts, SmallNumbers(audit.policy["smallest_cell"]))
        write_atomic(model.artifacts / CARD, text + "\n" + audit_section(audit))


def audit_section(audit: Audit) -> str:
    """An audit in Markdown."""
    parts = [
        "## Fairness",
        (
            f"Audited on {audit.at:%Y-%m-%d} on records as of {audit.as_of}:"
            f" **{VERDICT_LABELS[audit.verdict].lower()}**. {VERDICT_SUMMARIES[audit.verdict]}"
            f" Audit {audit.sha256}, policy {audit.policy_sha256}."
        ),
        *_question_list("What blocks this version", review_questions(audit.stopping)),
        *_question_list(
            "Questions the reviewer must answer in writing", review_questions(audit.asking)
        ),
        "### All checks at a glance",
        (
            "The worst result of each check among the groups in a column; in parentheses: shown,"
            " but not counted."
        ),
        _grid_table(audit),
    ]
    return "\n\n".join(parts) + "\n"


def _question_list(title: str, questions: Sequence[ReviewQuestion]) -> list[str]:
    if not questions:
        return []
    lines = [
        f"- {question.title}: {sentence}"
        for question in questions
        for sentence in question.sentences
    ]
    return [f"### {title}", "\n".join(lines)]


def _grid_table(audit: Audit) -> str:
    verdict_grid = grid(audit)
    rows = [("Check", *verdict_grid.columns), ("---",) * (1 + len(verdict_grid.columns))]
    for title, _, cells in verdict_grid.rows:
        marks = [
            (
                _VERDICT_MARKS[cell.verdict]
                if cell.counts or cell.verdict is None
                else f"({_VERDICT_MARKS[cell.verdict]})"
            )
            for cell in cells
        ]
        rows.append((title, *marks))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
