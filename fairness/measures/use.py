"""What people were shown of a model in use, and what staff did with it, by group: the human in the
loop is audited too.

Rows are students of whom staff opened a list of suggestions; of each organisation the newest list
counts. Read in the audit's own scope; what leaves is figures of groups, as of everything else here,
and never who decided what.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from fairness.measures.past import of_students
from fairness.policy.policy import Policy
from fairness.population.comparisons import Measure, Rows
from fairness.population.students import Students
from records.access.scope import pipeline_scope
from records.database.engine import Database
from records.decisions.decisions import ACCEPTED, DISMISSED, Decision, decisions_on
from records.decisions.impressions import ShownList, lists_shown
from records.snapshots.snapshot import Snapshot


def live_measures(
    database: Database, snapshot: Snapshot, students: Students, model_sha256: str, policy: Policy
) -> Rows | None:
    """What was shown of a model, and what came of it; None where nobody was shown anything."""
    scope = pipeline_scope(snapshot, "audit", students.as_of)
    lists = [one for one in lists_shown(database, scope) if one.model_sha256 == model_sha256]
    return shown_and_decided(lists, decisions_on(database, scope, model_sha256), students, policy)


def shown_and_decided(
    lists: Iterable[ShownList], decisions: Iterable[Decision], students: Students, policy: Policy
) -> Rows | None:
    """The measures of lists and of the decisions on them."""
    known = set(students.groups.index)
    newest = {
        (one.student_id, one.organization_id): one for one in lists if one.student_id in known
    }
    if not newest:
        return None
    with_one = {student for (student, _), one in newest.items() if one.listed}
    done = {
        action: {
            one.student_id
            for one in decisions
            if one.action == action and (one.student_id, one.organization_id) in newest
        }
        for action in (ACCEPTED, DISMISSED)
    }
    who = pd.Series(sorted({student for student, _ in newest}))
    listed, accepted, dismissed = (
        who.isin(some).to_numpy() for some in (with_one, done[ACCEPTED], done[DISMISSED])
    )
    need = pd.Series(students.in_need(policy), index=students.groups.index)[who].to_numpy()
    return Rows(
        (
            Measure("shown", "", (need & listed).astype("float64"), need.astype("float64")),
            Measure(
                "accepted", "", (listed & accepted).astype("float64"), listed.astype("float64")
            ),
            Measure(
                "dismissed", "", (listed & dismissed).astype("float64"), listed.astype("float64")
            ),
        ),
        *of_students(who, students),
    )
