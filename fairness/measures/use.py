"""What people were shown of a model in use, and what staff did with it, by group: the human in the
loop is audited too.

Rows are students of whom staff opened a list of suggestions; of each organization the newest list
counts. Read in the audit's own scope; what leaves is figures of groups, as of everything else here,
and never who decided what.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from fairness.checks.policy import Policy
from fairness.measures.past import groups_and_cohorts
from fairness.population.comparisons import Measure, MeasureTable
from fairness.population.students import AuditPopulation
from records.access.scope import pipeline_scope
from records.database.engine import Database
from records.decisions.decisions import ACCEPTED, DISMISSED, Decision, decisions_for_model
from records.decisions.impressions import Impression, logged_impressions
from records.snapshots.snapshot import Snapshot


def use_measures(
    database: Database,
    snapshot: Snapshot,
    students: AuditPopulation,
    model_sha256: str,
    policy: Policy,
) -> MeasureTable | None:
    """What was shown of a model, and what came of it; None where nobody was shown anything."""
    scope = pipeline_scope(snapshot, "audit", students.as_of)
    impressions = [
        impression
        for impression in logged_impressions(database, scope)
        if impression.model_sha256 == model_sha256
    ]
    return impression_measures(
        impressions, decisions_for_model(database, scope, model_sha256), students, policy
    )


def impression_measures(
    lists: Iterable[Impression],
    decisions: Iterable[Decision],
    students: AuditPopulation,
    policy: Policy,
) -> MeasureTable | None:
    """The measures of lists and of the decisions on them."""
    known = set(students.groups.index)
    newest = {
        (impression.student_id, impression.organization_id): impression
        for impression in lists
        if impression.student_id in known
    }
    if not newest:
        return None
    with_suggestion = {student for (student, _), shown in newest.items() if shown.listed}
    students_by_action = {
        action: {
            decision.student_id
            for decision in decisions
            if decision.action == action
            and (decision.student_id, decision.organization_id) in newest
        }
        for action in (ACCEPTED, DISMISSED)
    }
    who = pd.Series(sorted({student for student, _ in newest}))
    listed, accepted, dismissed = (
        who.isin(members).to_numpy()
        for members in (
            with_suggestion,
            students_by_action[ACCEPTED],
            students_by_action[DISMISSED],
        )
    )
    need = pd.Series(students.in_need(policy), index=students.groups.index)[who].to_numpy()
    return MeasureTable(
        (
            Measure("shown", "", (need & listed).astype("float64"), need.astype("float64")),
            Measure(
                "accepted", "", (listed & accepted).astype("float64"), listed.astype("float64")
            ),
            Measure(
                "dismissed", "", (listed & dismissed).astype("float64"), listed.astype("float64")
            ),
        ),
        *groups_and_cohorts(who, students),
    )
