"""A student's sensitive facts as of a day, as one scope shows them.

A source may say from when to when a fact held. Then the days decide, and the fact recorded last
only where they say nothing.
"""

from __future__ import annotations

from datetime import date

import pandas as pd

from records.access.scoped_records import ScopedRecords
from records.canonical.schema import PERIOD_CATEGORIES


def characteristics_on(records: ScopedRecords, day: date) -> pd.DataFrame:
    """The table `characteristics`, each of the facts with periods as of `day`.

    A fact with periods holds on their days; on other days it does not, except before the first of
    them where it is not known at all. A student who has periods alone has a row too.

    Returns:
        The columns of the table, one row a student; True, False or None where a fact is unknown.
    """
    facts = records.frame("characteristics").set_index("student_id").astype(object)
    visible = {
        category
        for student in records.students
        for category in records.scope.categories(student)
        if category in PERIOD_CATEGORIES.values()
    }
    for name, category in PERIOD_CATEGORIES.items():
        if category in visible:
            facts = _as_of(facts, name, records.frame(f"{name}_periods"), day)
    return facts.where(facts.notna(), None).sort_index().reset_index()


def _as_of(facts: pd.DataFrame, name: str, periods: pd.DataFrame, day: date) -> pd.DataFrame:
    if periods.empty:
        return facts
    first, last = pd.to_datetime(periods["first_date"]), pd.to_datetime(periods["last_date"])
    now = pd.Timestamp(day)
    by_student = pd.DataFrame(
        {
            "covered": (first <= now) & (last.isna() | (last >= now)),
            "begun": first <= now,
        }
    ).groupby(periods["student_id"])
    days = by_student.any()
    facts = facts.reindex(facts.index.union(days.index).rename("student_id"))
    known = facts.loc[days.index, name].notna()
    value = days["covered"].astype(object).where(days["begun"] | known, None)
    facts.loc[days.index, name] = value
    return facts
