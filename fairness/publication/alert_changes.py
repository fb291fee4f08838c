"""What other alert rules would change, as numbers of students that may be shown.

Both sets of rules are applied to the same features. Of each school, each group and each rule it is
counted who has an alert now, who would get one and who would lose it. All these numbers are
declared together, so that no small one follows from the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fairness.checks.checks import HIGH_CARDINALITY_ATTRIBUTES
from features.alerts import AlertRule, AlertRules, raise_alerts
from features.doubted_alerts import undoubted
from records.canonical.schema import Category
from records.suppression.cell_suppression import (
    CountName,
    LinkedTables,
    TableCell,
    suppressed_cells,
)
from records.suppression.rounding import round_count
from training.estimation.arrays import BoolArray

DISTRICT, RULE = "district", "rule"
"""The attributes of a row that is of all students, and of one rule."""
LARGE_DISTRICT = 100
"""Students of a district whose number, rounded, is shown whatever follows from it."""
_ANY = "*"
_STUDENTS, _NOW, _THEN, _BEGIN, _END, _STAY, _NEITHER = (
    "students",
    "now",
    "then",
    "begin",
    "end",
    "stay",
    "neither",
)
_SHOWN = (_STUDENTS, _NOW, _BEGIN, _END)


@dataclass(frozen=True)
class AlertChange:
    """Of one group of students, or of one rule: rounded to ten, None where it is withheld.

    Attributes:
        attribute, value: the group, such as "school" and its name; `DISTRICT` and an empty text
            for all students; `RULE` and the rule's name.
        students: in the group; None for a rule.
        now: who have an alert under the rules in force.
        begin, end: who would get one, and would have none any more.
        unchanged: a rule that is the same in both, so that nothing begins or ends.
    """

    attribute: str
    value: str
    students: int | None
    now: int | None
    begin: int | None
    end: int | None
    unchanged: bool = False


def alert_changes(
    features: pd.DataFrame,
    groups: pd.DataFrame,
    in_force: AlertRules,
    proposed: AlertRules,
    smallest: int,
    doubted: Mapping[str, frozenset[Category]] | None = None,
) -> tuple[AlertChange, ...]:
    """All students first, then every group of every attribute, then every rule of either set.

    Args:
        features: with what both sets of rules read, indexed by student.
        groups: a column an attribute, text, indexed as `features`.
        smallest: the smallest number of students that may be shown.
        doubted: what is doubted of each student's school, of which no alert counts.
    """
    return _Changes(features, groups, in_force, proposed, doubted or {}).published(smallest)


def changed_rules(in_force: AlertRules, proposed: AlertRules) -> set[str]:
    """The names of the rules that speak of other students, or stand in one set alone: rules that
    only say it in other words, or with another severity, raise the same alerts.
    """
    before, after = _rules_by_name(in_force), _rules_by_name(proposed)
    return {
        name
        for name in before.keys() | after.keys()
        if name not in before
        or name not in after
        or _speaks_of(before[name]) != _speaks_of(after[name])
    }


class _Changes:
    """The counts, how they add up, and the cells that would be shown of them."""

    def __init__(
        self,
        features: pd.DataFrame,
        groups: pd.DataFrame,
        in_force: AlertRules,
        proposed: AlertRules,
        doubted: Mapping[str, frozenset[Category]],
    ) -> None:
        self.groups = groups
        # An attribute of which all students have the same value says nothing of groups.
        self.attributes = [name for name in groups.columns if groups[name].nunique() > 1]
        self.tables = LinkedTables()
        self.cells: dict[CountName, TableCell] = {}
        before, after = (_rules_by_name(rules) for rules in (in_force, proposed))
        self.names = list(dict.fromkeys([*before, *after]))
        self.unchanged = set(self.names) - changed_rules(in_force, proposed)
        self.now = _holders(features, in_force, doubted)
        self.then = _holders(features, proposed, doubted)
        self.rows: list[tuple[str, str, BoolArray]] = [
            (DISTRICT, "", np.ones(len(groups), dtype=bool)),
            *(
                (attribute, value, (groups[attribute] == value).to_numpy())
                for attribute in self.attributes
                for value in sorted(groups[attribute].unique())
            ),
        ]
        for row in self.rows:
            self._declare_row(*row)
        self._declare_sums()
        for name in self.names:
            self._declare_rule(name)

    def published(self, smallest: int) -> tuple[AlertChange, ...]:
        """The rows with the numbers that may be shown."""
        suppressed = suppressed_cells(self.tables, smallest)

        def number(name: CountName) -> int | None:
            shown = name in self.cells and self.cells[name] not in suppressed
            return round_count(self.tables.true_counts[name]) if shown else None

        changes = []
        for attribute, value, _ in self.rows:
            students, now, begin, end = (number((_ANY, part, attribute, value)) for part in _SHOWN)
            changes.append(AlertChange(attribute, value, students, now, begin, end))
        for name in self.names:
            now, begin, end = (number((name, part, RULE)) for part in (_NOW, _BEGIN, _END))
            is_unchanged = name in self.unchanged
            changes.append(AlertChange(RULE, name, None, now, begin, end, is_unchanged))
        return tuple(changes)

    def _declare_row(self, attribute: str, value: str, who: BoolArray) -> None:
        now, then = self._flags(self.now, _ANY), self._flags(self.then, _ANY)
        counts = {_STUDENTS: who, _NEITHER: who & ~now & ~then} | {
            part: who & flags for part, flags in _parts(now, then).items()
        }
        names = {part: (_ANY, part, attribute, value) for part in counts}
        for part, flags in counts.items():
            self.tables.add_count(names[part], int(flags.sum()))
        for whole, parts in (
            (_STUDENTS, (_NOW, _BEGIN, _NEITHER)),
            (_NOW, (_STAY, _END)),
            (_THEN, (_STAY, _BEGIN)),
        ):
            self.tables.add_total(names[whole], [names[part] for part in parts])
        for part in _SHOWN:
            public = part == _STUDENTS and attribute == DISTRICT and who.sum() >= LARGE_DISTRICT
            cost = 2 if attribute == DISTRICT else int(attribute not in HIGH_CARDINALITY_ATTRIBUTES)
            self._publish(names[part], f"{part} by {attribute}", cost, public=bool(public))

    def _declare_sums(self) -> None:
        """The groups of each attribute make up all students."""
        for attribute in self.attributes:
            values = [value for name, value, _ in self.rows if name == attribute]
            for part in (*_SHOWN, _THEN, _STAY, _NEITHER):
                self.tables.add_total(
                    (_ANY, part, DISTRICT, ""), [(_ANY, part, attribute, value) for value in values]
                )

    def _declare_rule(self, name: str) -> None:
        """Who has the alert of one rule has an alert. Of a rule that stays as it is every reader
        knows that nothing begins or ends.
        """
        parts = _parts(self._flags(self.now, name), self._flags(self.then, name))
        names: Mapping[str, CountName] = {part: (name, part, RULE) for part in parts}
        changed = [other for other in self.names if other not in self.unchanged]
        shown: Sequence[str] = (_NOW,) if name in self.unchanged else (_NOW, _BEGIN, _END)
        for part in (_NOW, _THEN) if name in self.unchanged else parts:
            self.tables.add_count(names[part], int(parts[part].sum()))
        for part in (_NOW, _THEN):
            self.tables.add_subset(names[part], (_ANY, part, DISTRICT, ""))
            if len(self.names) == 1:
                self.tables.add_subset((_ANY, part, DISTRICT, ""), names[part])
        if name in self.unchanged:
            self.tables.add_subset(names[_NOW], names[_THEN])
            self.tables.add_subset(names[_THEN], names[_NOW])
        else:
            self.tables.add_total(names[_NOW], [names[_STAY], names[_END]])
            self.tables.add_total(names[_THEN], [names[_STAY], names[_BEGIN]])
            if changed == [name]:
                for part in (_BEGIN, _END):
                    self.tables.add_subset((_ANY, part, DISTRICT, ""), names[part])
        for part in shown:
            self._publish(names[part], f"{part} by rule", 1)

    def _publish(self, name: CountName, table: str, cost: int, *, public: bool = False) -> None:
        self.cells[name] = self.tables.publish_count(name, table, public=public, cost=cost)

    def _flags(self, holders: Mapping[str, set[str]], name: str) -> BoolArray:
        return np.asarray(self.groups.index.isin(list(holders.get(name, ()))), dtype=bool)


def _parts(now: BoolArray, then: BoolArray) -> dict[str, BoolArray]:
    return {
        _NOW: now,
        _THEN: then,
        _BEGIN: then & ~now,
        _END: now & ~then,
        _STAY: now & then,
    }


def _speaks_of(rule: AlertRule) -> tuple[object, ...]:
    return frozenset(rule.features), frozenset(rule.condition.comparisons), rule.grades


def _rules_by_name(rules: AlertRules) -> dict[str, AlertRule]:
    return {rule.name: rule for rule in rules.rules}


def _holders(
    features: pd.DataFrame, rules: AlertRules, doubted: Mapping[str, frozenset[Category]]
) -> dict[str, set[str]]:
    """The students with an alert of each rule, and with any."""
    holders: dict[str, set[str]] = {}
    for name, student in _raised(features, rules, doubted):
        holders.setdefault(name, set()).add(student)
    return holders


def _raised(
    features: pd.DataFrame, rules: AlertRules, doubted: Mapping[str, frozenset[Category]]
) -> Iterator[tuple[str, str]]:
    for alert in undoubted(raise_alerts(features, rules), doubted):
        yield alert.rule, alert.student_id
        yield _ANY, alert.student_id
