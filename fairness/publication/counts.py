"""The counts of students behind an audit, how they add up, and what would be shown of them: what
`disclosure_control` is asked about.

Everything that counts audited students is declared together, with what other audits of the same
students have shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pandas as pd

from fairness.checks.checks import (
    CHECKS,
    COMPLEMENT_OF_MISSED,
    HIGH_CARDINALITY_ATTRIBUTES,
    INTERSECTION_SEPARATOR,
)
from fairness.checks.policy import Policy
from fairness.gate.findings import PublishedAudit
from fairness.population.comparisons import NOT_RECORDED, MeasureTable
from records.suppression.cell_suppression import CountName, LinkedTables, TableCell
from training.estimation.arrays import FloatArray

FindingKey = tuple[str, str, str, str]
"""Check, item, attribute and value."""
LARGE_DISTRICT = 100
"""Students of a district whose number, rounded, is shown whatever follows from it: it is known to
everybody."""
STUDENTS, IN_NEED = "students", "in_need"
_RECORDED, _SIZES = "recorded", "sizes"


@dataclass(frozen=True)
class StudentCounts:
    """One measure of all audited students.

    Attributes:
        numerator, denominator: 1 or 0 for each student; `numerator` is None for a measure that
            counts no students.
        attributes: what it is compared by.
    """

    check: str
    item: str
    numerator: FloatArray | None
    denominator: FloatArray
    attributes: tuple[str, ...]

    @property
    def table(self) -> str:
        return f"{self.check} {self.item}".strip()

    @property
    def complement(self) -> FloatArray:
        """Those asked about who do not count."""
        return self.denominator - (0.0 if self.numerator is None else self.numerator)

    @property
    def published_numerator(self) -> FloatArray:
        """Whose share is shown: who is helped is not missed, and both are one share, so only one is
        shown and to withhold it is enough.
        """
        return (
            self.complement
            if self.check == COMPLEMENT_OF_MISSED or self.numerator is None
            else self.numerator
        )


@dataclass(frozen=True)
class AuditMeasures:
    """What an audit counts: the measures of the audited students, those of `others` rows such as
    decision days, and who is in need, 1 or 0 for each audited student.
    """

    student_measures: MeasureTable
    other_measures: Sequence[MeasureTable]
    in_need: FloatArray
    policy: Policy

    def by_student(self) -> Iterator[StudentCounts]:
        """Every measure, of all audited students: who is in no row of it is not asked about.

        Raises:
            ValueError: rows that are not of these students cannot be protected.
        """
        everybody = self.student_measures.groups.index
        for rows in (self.student_measures, *self.other_measures):
            where = everybody.get_indexer(rows.groups.index)
            for measure in rows.measures:
                if (where < 0).any():
                    raise ValueError(f"the rows of {measure.check} are not of the audited students")
                numerator, denominator = np.zeros((2, len(everybody)))
                numerator[where], denominator[where] = measure.numerator, measure.denominator > 0
                compared = tuple(
                    name for name in rows.groups.columns if CHECKS[measure.check].applies_to(name)
                )
                yield StudentCounts(
                    measure.check,
                    measure.item,
                    numerator if measure.is_count else None,
                    denominator,
                    compared,
                )


class PublicationTables:
    """The counts behind some measures, how they add up, and the facts that would be shown of them.

    Args:
        current: counts of the same students by the audit that is being made now; those of an
            earlier audit are declared together with them.
        shown: what of these was shown already; None where that is to be found out.
    """

    def __init__(
        self,
        counted: AuditMeasures,
        current: PublicationTables | None = None,
        shown: PublishedAudit | None = None,
    ) -> None:
        self.rows, self.policy = counted.student_measures, counted.policy
        rows, policy = self.rows, self.policy
        self.tables: LinkedTables = current.tables if current else LinkedTables()
        self.earlier_publication = None if shown is None else _EarlierPublication.of(shown)
        self.fewest, self.smallest = policy.fewest_in_need, policy.smallest_cell
        self.codes = {name: pd.Categorical(rows.groups[name]) for name in rows.groups.columns}
        self.groups = [
            (name, value)
            for name, codes in self.codes.items()
            for value in sorted(codes.categories)
        ]
        self.plain = {
            name
            for name in self.codes
            if INTERSECTION_SEPARATOR not in name and name not in HIGH_CARDINALITY_ATTRIBUTES
        }
        self.missed_share: TableCell | None = None
        """The share of all in need who are missed; None where that is all of them."""
        self.shares: dict[tuple[FindingKey, bool], TableCell | None] = {}
        """Of the group itself, and of all others."""
        self.numbers: dict[FindingKey, TableCell] = {}
        """How many of a group are asked about."""
        self.sizes: dict[CountName, TableCell] = {}
        self.wholes: list[tuple[str, FloatArray]] = []
        self.in_need: FloatArray = counted.in_need
        same_need = current is None or np.array_equal(current.in_need, self.in_need)
        self.need = IN_NEED if same_need else f"in need {_digest(counted.in_need)}"
        for name, values in ((STUDENTS, np.ones(len(rows.groups))), (self.need, counted.in_need)):
            self._declare_counts(name, values, list(self.codes))
            self.wholes.append((name, values))
        self._publish_sizes()
        measures = list(counted.by_student())
        for measure in sorted(measures, key=lambda counts: not CHECKS[counts.check].all_attributes):
            self._declare_measure(measure)
        self._declare_relations(measures)

    def _publish_sizes(self) -> None:
        for name, _ in self.wholes:
            public = name == STUDENTS and len(self.rows.groups) >= LARGE_DISTRICT
            self._publish_size((name,), _SIZES, 2, public=public)
            for attribute, value in self.groups:
                self._publish_size(
                    (name, attribute, value),
                    f"{_SIZES} by {attribute}",
                    int(attribute in self.plain),
                )

    def _publish_size(
        self, name: CountName, table: str, cost: int, *, public: bool = False
    ) -> None:
        if (
            self.earlier_publication is None
            or (IN_NEED if name[0] == self.need else STUDENTS, *name[1:])
            in self.earlier_publication.sizes
        ):
            self.sizes[name] = self.tables.publish_count(name, table, public=public, cost=cost)
            self._mark_published(self.sizes[name])

    def _publish_share(
        self, part: CountName, whole: CountName, table: str, cost: int, *, already: bool
    ) -> TableCell | None:
        """The share, where it is to be published or was; of an earlier audit's counts nothing is
        published that it has not.
        """
        if self.earlier_publication is not None and not already:
            self.tables.add_complement(part, whole)
            return None
        cell = self.tables.publish_share(part, whole, table, cost=cost)
        self._mark_published(cell)
        return cell

    def _mark_published(self, cell: TableCell) -> None:
        if self.earlier_publication is not None:
            self.tables.mark_published(cell)

    def _declare_measure(self, measure: StudentCounts) -> None:
        """Declare what a measure counts, how many it asks about, and the shares that would be shown
        of it: of students enough to be judged.
        """
        part_name = self._count_name(measure.published_numerator)
        whole_name = self._count_name(measure.denominator)
        for part, whole, values in (
            (whole_name, self._narrowest_whole(measure.denominator), measure.denominator),
            (part_name, whole_name, measure.published_numerator),
        ):
            if part != whole:
                for cell in self._declare_counts(part, values, measure.attributes):
                    self.tables.add_subset(cell, (whole, *cell[1:]))
        if measure.check == COMPLEMENT_OF_MISSED and part_name != whole_name:
            self.missed_share = self._publish_share(
                (part_name,),
                (whole_name,),
                measure.table,
                2,
                already=bool(self.earlier_publication and self.earlier_publication.helped),
            )
        for attribute, value in self.groups:
            if value == NOT_RECORDED or attribute not in measure.attributes:
                continue
            place, both = (
                (measure.check, measure.item, attribute, value),
                (value, _others_of(value)),
            )
            self._publish_number(place, (whole_name, attribute, value))
            if measure.numerator is None:
                continue
            published = part_name != whole_name and all(
                self._may_publish((part_name, attribute, group), (whole_name, attribute, group))
                for group in both
            )
            for group, own in zip(both, (True, False), strict=True):
                already = bool(
                    self.earlier_publication and (place, own) in self.earlier_publication.shares
                )
                self.shares[place, own] = (
                    self._publish_share(
                        (part_name, attribute, group),
                        (whole_name, attribute, group),
                        f"{measure.table} by {attribute}",
                        int(attribute in self.plain),
                        already=already,
                    )
                    if published
                    else None
                )

    def _publish_number(self, place: FindingKey, name: CountName) -> None:
        """How many are asked about: where that is no size of a group already, it is the first to be
        withheld. Of a group that is too small to be judged it is not shown, nor of schools and of
        two groups at once.
        """
        if name in self.sizes:
            self.numbers[place] = self.sizes[name]
        elif self.tables.true_counts[name] < self.fewest or place[2] not in self.plain:
            return
        elif self.earlier_publication is None or place in self.earlier_publication.numbers:
            self.numbers[place] = self.tables.publish_count(
                name, f"{place[0]} {place[1]} numbers by {place[2]}", cost=-1
            )
            self._mark_published(self.numbers[place])

    def _may_publish(self, part: CountName, whole: CountName) -> bool:
        """Whether a share may be shown at all. Where that of a group may not, nor is that of all
        others: what all have less that would give the group's away.
        """
        true = self.tables.true_counts
        size = true.get(whole, 0)
        return size >= self.fewest and min(true[part], size - true[part]) >= self.smallest

    def _declare_relations(self, measures: Sequence[StudentCounts]) -> None:
        """What every reader knows of counts of several checks: which lie within which, and which
        two make up a third.

        "Missed" and "with a support or a suggestion" make up those in need, who are students; and
        those who are not missed though a support is open to them are among those with a support or
        a suggestion.
        """
        counts = dict(self.wholes)
        for measure in measures:
            for values in (
                measure.denominator,
                measure.published_numerator,
                *(() if measure.numerator is None else (measure.numerator,)),
            ):
                counts.setdefault(self._count_name(values), values)
        for measure in measures:
            if any(
                (measure.complement <= other).all() and not (measure.denominator <= other).all()
                for other in counts.values()
            ):
                self._declare_counts(
                    self._count_name(measure.complement), measure.complement, measure.attributes
                )
                counts.setdefault(self._count_name(measure.complement), measure.complement)
        inside = {
            (inner, outer)
            for inner, outer in permutations(counts, 2)
            if (counts[inner] <= counts[outer]).all()
        }
        for inner, outer in inside:
            if not any(
                (inner, between) in inside and (between, outer) in inside for between in counts
            ):
                for cell in self._cells_of(inner, outer):
                    self.tables.add_subset((inner, *cell), (outer, *cell))
        for measure in measures:
            part, whole, others = (
                self._count_name(values)
                for values in (
                    measure.published_numerator,
                    measure.denominator,
                    measure.denominator - measure.published_numerator,
                )
            )
            if others in counts and len({part, whole, others}) == 3:
                for cell in self._cells_of(part, whole, others):
                    self.tables.add_total((whole, *cell), [(part, *cell), (others, *cell)])

    def _cells_of(self, *names: str) -> list[CountName]:
        """The cells that are declared of all these counts."""
        cells = (
            {
                known[1:]
                for known in self.tables.true_counts
                if known[0] == name and "but not" not in known
            }
            for name in names
        )
        return sorted(set.intersection(*cells))

    def _count_name(self, values: FloatArray) -> str:
        """Equal counts share a name, since a reader of the report knows that they are equal."""
        digest = _digest(values)
        known = {_digest(part): name for name, part in self.wholes}
        return known.get(digest, f"count {digest}")

    def _narrowest_whole(self, values: FloatArray) -> str:
        """The narrowest of the wholes that holds them."""
        return next(name for name, whole in reversed(self.wholes) if (values <= whole).all())

    def _declare_counts(
        self, name: str, values: FloatArray, attributes: Sequence[str]
    ) -> list[CountName]:
        """Counts of one kind: in all, by each value of these attributes, and how they add up. Those
        that must lie within others are returned.
        """
        add = self.tables
        cells_within: list[CountName] = [] if (name,) in add.true_counts else [(name,)]
        add.add_count((name,), int(values.sum()))
        new = [
            attribute
            for attribute in attributes
            if not any(
                (name, attribute, value) in add.true_counts
                for value in self.codes[attribute].categories
            )
        ]
        for attribute in new:
            codes = self.codes[attribute]
            sums = np.bincount(codes.codes, values, len(codes.categories))
            cells = {
                str(value): int(count) for value, count in zip(codes.categories, sums, strict=True)
            }
            for value, count in cells.items():
                add.add_count((name, attribute, value), count)
            add.add_total((name,), [(name, attribute, value) for value in cells])
            cells_within += [(name, attribute, value) for value in cells]
            self._declare_recorded(name, attribute, cells)
        for attribute in new:
            if INTERSECTION_SEPARATOR in attribute:
                self._declare_intersection(name, attribute)
        return cells_within

    def _declare_recorded(self, name: str, attribute: str, cells: Mapping[str, int]) -> None:
        """All whose value is on record, and for each value all the others."""
        known = [value for value in cells if value != NOT_RECORDED]
        if len(known) < 2:
            return
        whole = (name, attribute, _RECORDED)
        self.tables.add_count(whole, sum(cells[value] for value in known))
        self.tables.add_total(whole, [(name, attribute, value) for value in known])
        for value in known:
            others = (name, attribute, _others_of(value))
            self.tables.add_count(others, self.tables.true_counts[whole] - cells[value])
            self.tables.add_total(whole, [(name, attribute, value), others])

    def _declare_intersection(self, name: str, attribute: str) -> None:
        """Two groups at once add up to each of both, with those of whom the other is not on
        record.
        """
        true = self.tables.true_counts
        crossed = self.rows.groups[attribute]
        for place, single in enumerate(attribute.split(INTERSECTION_SEPARATOR)):
            half_known = set(self.rows.groups.loc[crossed == NOT_RECORDED, single])
            for value in self.codes[single].categories:
                if value == NOT_RECORDED:
                    continue
                parts = [
                    (name, attribute, both)
                    for both in self.codes[attribute].categories
                    if both != NOT_RECORDED and both.split(INTERSECTION_SEPARATOR)[place] == value
                ]
                if value in half_known:
                    half = (name, attribute, f"{single} {value}, the other not on record")
                    self.tables.add_count(
                        half, true[name, single, value] - sum(true[part] for part in parts)
                    )
                    parts.append(half)
                self.tables.add_total((name, single, value), parts)


@dataclass(frozen=True)
class _EarlierPublication:
    """What an earlier audit has published.

    Attributes:
        sizes: names of counts of `STUDENTS` or `IN_NEED`, of a group or of all.
        numbers: findings that show how many are asked about.
        shares: findings with a share, of the group itself (True) or of all others (False).
        helped: whether the share of all in need who are helped was shown.
    """

    sizes: frozenset[CountName]
    numbers: frozenset[FindingKey]
    shares: frozenset[tuple[FindingKey, bool]]
    helped: bool

    @classmethod
    def of(cls, shown: PublishedAudit) -> _EarlierPublication:
        sizes = {
            (name, *where)
            for where, *numbers in [
                ((), shown.students, shown.in_need),
                *(
                    ((group.attribute, group.value), group.students, group.in_need)
                    for group in shown.groups
                ),
            ]
            for name, number in zip((STUDENTS, IN_NEED), numbers, strict=True)
            if number is not None
        }
        findings = {
            (finding.check, finding.item, finding.attribute, finding.value): finding
            for finding in shown.findings
        }
        shares = {
            (key, own)
            for key, finding in findings.items()
            for own, rate in ((True, finding.rate), (False, finding.others_rate))
            if rate is not None
        }
        return cls(
            frozenset(sizes),
            frozenset(key for key, finding in findings.items() if finding.n is not None),
            frozenset(shares),
            shown.helped is not None,
        )


def _digest(values: FloatArray) -> str:
    """The same text for the same students."""
    return hashlib.sha256(values.tobytes()).hexdigest()[:12]


def _others_of(value: str) -> str:
    """The name of all others whose value is on record."""
    return f"all but {value}"
