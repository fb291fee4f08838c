"""Tables of counts of students from which no small count follows, proved by linear programming.

`LinkedTables` holds what would be published, `suppressed_cells` says which cells of it must be
suppressed; it refuses tables that do not add up. Three limits: everything that is ever published of
the same students must be declared together, with `mark_published` for what was published already;
an attacker who guesses that a cell is suppressed for its own small count, not to protect another,
knows more than is assumed here; and one who calculates in whole students, not in fractions, may
find a count a student or two less open.

Source: NCES 2011-603, Statistical Methods for Protecting Personally Identifiable Information in
Aggregate Reporting, and for the attacker's two programs per cell Fischetti & Salazar (2001),
Management Science 47(7).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.optimize import OptimizeResult, linprog
from scipy.sparse import block_array, csr_array, eye_array, hstack
from scipy.sparse.csgraph import connected_components

from records.suppression.rounding import ROUNDING_BASE, round_count, round_share
from records.suppression.small_numbers import LEAST

CountName = tuple[str, ...]
Numbers = npt.NDArray[np.float64]
HALF_PERCENT = 0.005
SOLVED, UNBOUNDED, UNCLEAR = 0, 3, 4
"""What `linprog` says of a program."""
NEARLY = 1e-6
"""Of a student: how far a solution of the solver may be off."""
STEEPNESS, NOISE = 10, 0.03
"""How chance orders the counts that are looked at together; the quickest of those tried on an audit
of 30 measures."""


class CellKind(StrEnum):
    """How a cell is published: a count rounded to ten, or a share in hundredths."""

    ROUNDED = "rounded"
    SHARE = "share"


@dataclass(frozen=True, order=True)
class TableCell:
    """One figure that a table would publish: of one count, or of a part and its whole."""

    table: str
    kind: CellKind
    names: tuple[CountName, ...]


class LinkedTables:
    """Counts of students, how they add up, and the cells that would be published of them.

    Whoever reads the tables knows the names, how they add up and the rules of rounding, but no
    count.
    """

    def __init__(self) -> None:
        self.true_counts: dict[CountName, int] = {}
        self.totals: set[tuple[CountName, tuple[CountName, ...]]] = set()
        self.subsets: set[tuple[CountName, CountName]] = set()
        self.cells: set[TableCell] = set()
        self.public: set[TableCell] = set()
        self.already_published: set[TableCell] = set()
        self.cost: dict[TableCell, int] = {}

    def add_count(self, name: CountName, true: int) -> None:
        """Declare a count. Its true value decides what is published, and nothing else.

        Raises:
            ValueError: below zero, or declared before with another value.
        """
        if true < 0 or self.true_counts.get(name, true) != true:
            raise ValueError(
                f"the count {name} cannot be {true}; declared before: {self.true_counts.get(name)}"
            )
        self.true_counts[name] = true

    def add_total(self, whole: CountName, parts: Sequence[CountName]) -> None:
        """Declare that the parts add up to the whole, as every reader knows.

        Raises:
            ValueError: they do not, or one is not declared or stands twice.
        """
        if len({whole, *parts}) <= len(parts):
            raise ValueError(f"the parts of {whole} are not different counts: {sorted(parts)}")
        found = sum(self._known(part) for part in parts)
        if found != self._known(whole):
            raise ValueError(
                f"the parts of {whole} add up to {found}, not to {self.true_counts[whole]}"
            )
        self.totals.add((whole, tuple(sorted(parts))))

    def add_subset(self, part: CountName, whole: CountName) -> None:
        """Declare that the part is counted in the whole, as every reader knows.

        Raises:
            ValueError: the part is greater, or one is not declared.
        """
        if self._known(part) > self._known(whole):
            raise ValueError(
                f"{part} is {self.true_counts[part]}, more than {whole}, {self.true_counts[whole]}"
            )
        self.subsets.add((part, whole))

    def publish_count(
        self, name: CountName, table: str, *, public: bool = False, cost: int = 0
    ) -> TableCell:
        """Add the cell of a count, which is published rounded to ten, halves up.

        Args:
            public: it is published whatever follows from it, as the size of the whole district is
                known to everybody.
            cost: of the cells that bind a count the cheapest is suppressed first; those below 0
                together.
        """
        self._known(name)
        cell = self._shown(TableCell(table, CellKind.ROUNDED, (name,)), cost)
        self.public |= {cell} if public else set()
        return cell

    def publish_share(
        self, part: CountName, whole: CountName, table: str, *, cost: int = 0
    ) -> TableCell:
        """Add the cell of a share, part of whole in hundredths, and declare that both parts
        make up the whole.
        """
        self.add_complement(part, whole)
        return self._shown(TableCell(table, CellKind.SHARE, (part, whole)), cost)

    def add_complement(self, part: CountName, whole: CountName) -> None:
        """Declare the part within the whole, and the others of the whole as a count, by the name
        `complement(part, whole)`.

        Raises:
            ValueError: the part is greater, or one is not declared.
        """
        self.add_subset(part, whole)
        self.add_count(complement(part, whole), self.true_counts[whole] - self.true_counts[part])

    def mark_published(self, cell: TableCell) -> None:
        """Declare that a cell was published already: it can be suppressed no more."""
        self.public.add(cell)
        self.already_published.add(cell)

    def primary_suppressions(self, smallest: int) -> set[TableCell]:
        """The cells that would show a count below `smallest`, or a share with as few in it or left
        out of it.
        """
        return {
            cell
            for cell in self.cells - self.public
            if min(self.true_counts[name] for name in self._told(cell)) < smallest
        }

    def feasibility_intervals(
        self, names: Iterable[CountName], suppressed: Collection[TableCell]
    ) -> dict[CountName, tuple[float, float]]:
        """The least and the greatest that each count may be, for all a reader knows of the cells
        not suppressed.

        Two linear programs a name; students may come in fractions, so whole students leave a little
        less open.
        """
        attacker = _Attacker(_Subtables.of(self), suppressed)
        places = {name: attacker.place[name] for name in names}
        return {
            name: (attacker.furthest(at, -1)[0], attacker.furthest(at, 1)[0])
            for name, at in places.items()
        }

    def _told(self, cell: TableCell) -> tuple[CountName, ...]:
        return (
            cell.names
            if cell.kind is CellKind.ROUNDED
            else (cell.names[0], complement(*cell.names))
        )

    def _known(self, name: CountName) -> int:
        if name not in self.true_counts:
            raise ValueError(
                f"the count {name} is not declared; call add_count() with its true value first"
            )
        return self.true_counts[name]

    def _shown(self, cell: TableCell, cost: int) -> TableCell:
        self.cells.add(cell)
        self.cost[cell] = max(cost, self.cost.get(cell, cost))
        return cell


def suppressed_cells(published: LinkedTables, smallest: int = LEAST) -> set[TableCell]:
    """The cells to suppress so that every count below `smallest` stays open.

    A count is open where at least `smallest` whole numbers of students fit everything that is
    published. Suppressed are the cells that are small themselves (primary suppression), then, while
    the published cells bind some small count, the cheapest of those that bind it, one of its own
    table where there is one (complementary suppression). Each family of counts that add up is
    settled first with only the families it is counted in, which is quick; then all together, which
    is the proof. The same tables give the same answer in whatever order they were declared.

    A count that is bound by what was published before cannot be opened any more; nothing is
    suppressed for its sake.

    Raises:
        ValueError: a small count would follow with nothing published but the public cells.

    Examples:
        Of 30 students 4 are in group "a": its cell is small. The whole less the other group would
        leave fewer than ten numbers that it can be, so the other cell is suppressed with it.

        >>> tables = LinkedTables()
        >>> for name, students in {"all": 30, "a": 4, "b": 26}.items():
        ...     tables.add_count((name,), students)
        >>> tables.add_total(("all",), [("a",), ("b",)])
        >>> cells = [tables.publish_count((name,), "groups") for name in ("a", "b")]
        >>> _ = tables.publish_count(("all",), "size of the school", public=True)
        >>> sorted(cell.names[0][0] for cell in suppressed_cells(tables))
        ['a', 'b']
    """
    suppressed = published.primary_suppressions(smallest)
    everything = _Subtables.of(published)
    for tables, counts in [*everything.families(), (everything, everything.names)]:
        small = {name for name in counts if published.true_counts[name] < smallest}
        ranges = _AuditedRanges(tables, small, smallest)
        suppressed |= _complementary_suppression(tables, ranges, suppressed)
    return suppressed


def suppressed_parts(counts: Mapping[str, int], smallest: int = LEAST) -> set[str]:
    """Which parts of one whole to suppress, where the whole and its parts are published rounded.

    >>> sorted(suppressed_parts({"few": 4, "many": 26}))
    ['few', 'many']
    >>> suppressed_parts({"few": 4, "some": 16, "many": 40})  # rounding leaves enough open
    {'few'}
    """
    if not counts:
        return set()
    table = LinkedTables()
    table.add_count(("whole",), sum(counts.values()))
    for name, count in counts.items():
        table.add_count(("part", name), count)
    table.add_total(("whole",), [("part", name) for name in counts])
    cells = {table.publish_count(("part", name), "parts"): name for name in counts}
    table.publish_count(("whole",), "whole")
    suppressed = suppressed_cells(table, smallest)
    return {name for cell, name in cells.items() if cell in suppressed}


def complement(part: CountName, whole: CountName) -> CountName:
    """The name of the count of those in the whole and not in the part."""
    return (*whole, "but not", *part)


def _complementary_suppression(
    tables: _Subtables, ranges: _AuditedRanges, suppressed: Collection[TableCell]
) -> set[TableCell]:
    """What must be suppressed more for the small counts to stay open in these tables."""
    more: set[TableCell] = set()
    attacker = _Attacker(tables, suppressed)
    while _audit(attacker, ranges):
        new: set[TableCell] = set()
        for at in ranges.too_narrow():
            binding = _binding_constraints(attacker, ranges, at)
            if binding and not binding & new:
                new |= _cheapest(tables, tables.names[at], binding)
        more |= new
        attacker = _Attacker(tables, {*suppressed, *more})
    return more


def _audit(attacker: _Attacker, ranges: _AuditedRanges) -> bool:
    """Look for consistent counts far apart, for all small counts at once; whether some are narrow
    still.
    """
    left, before = len(ranges.too_narrow()), None
    while left and left != before:
        before = left
        for sign in (-1, 1):
            if goals := ranges.goals(sign):
                ranges.add(attacker.towards(goals, sign, ranges.chance))
        left = len(ranges.too_narrow())
    return left > 0


def _binding_constraints(attacker: _Attacker, ranges: _AuditedRanges, at: int) -> set[TableCell]:
    """The cells that tie a small count down; none if it turns out to be open."""
    binding: set[TableCell] = set()
    ends = {-1: 0.0}
    for sign in (1,) if ranges.least[at] == 0 else (-1, 1):
        ends[sign], counts, cells = attacker.furthest(at, sign)
        binding |= cells
        if counts is not None:
            ranges.add(counts)
    if np.floor(ends[1] + NEARLY) - np.ceil(ends[-1] - NEARLY) >= ranges.smallest:
        ranges.drop(at)
        return set()
    bound_before = bool(binding & attacker.tables.published.already_published)
    binding -= attacker.tables.published.public
    if not binding and bound_before:
        ranges.drop(at)
    elif not binding:
        name = attacker.tables.names[at]
        raise ValueError(
            f"{name} lies between {ends[-1]:g} and {ends[1]:g} with nothing more to withhold"
        )
    return binding


def _cheapest(tables: _Subtables, name: CountName, binding: set[TableCell]) -> set[TableCell]:
    """Of the cells that bind a count the cheapest: then one of its own table, of fewest students.

    All of them at once would be quicker in a small district, and hide most groups in a large one.
    So only those of a cost below 0 go together.
    """
    true = tables.published.true_counts
    if cheap := {cell for cell in binding if tables.published.cost[cell] < 0}:
        return cheap
    own = {
        cell.table
        for cell in tables.cells
        if name in (*cell.names, complement(cell.names[0], cell.names[-1]))
    }
    dear = tables.published.cost
    first = min(
        binding, key=lambda cell: (dear[cell], cell.table not in own, true[cell.names[0]], cell)
    )
    return {cell for cell in tables.cells if cell.names == first.names}


class _AuditedRanges:
    """How far apart each small count has been seen, in whole students, in sets of counts that fit
    all that is published.

    What was seen stays seen while more is suppressed.
    """

    def __init__(self, tables: _Subtables, small: Collection[CountName], smallest: int) -> None:
        true = np.array(
            [tables.published.true_counts[name] for name in tables.names], dtype=np.float64
        )
        self.least, self.greatest = true, true
        self.small = np.array(
            [at for at, name in enumerate(tables.names) if name in small], dtype=np.int64
        )
        self.smallest = smallest
        self.chance = np.random.default_rng(0)

    def add(self, counts: Numbers) -> None:
        self.least = np.minimum(self.least, np.ceil(counts - NEARLY))
        self.greatest = np.maximum(self.greatest, np.floor(counts + NEARLY))

    def drop(self, at: int) -> None:
        self.small = self.small[self.small != at]

    def too_narrow(self) -> list[int]:
        return [
            int(at) for at in self.small[(self.greatest - self.least)[self.small] < self.smallest]
        ]

    def goals(self, sign: int) -> dict[int, float]:
        """Where each narrow count must be seen above (sign 1) or below (-1) to be open; no lower
        than 0, once seen.
        """
        if sign > 0:
            return {at: float(self.least[at]) + self.smallest for at in self.too_narrow()}
        return {
            at: max(0.0, float(self.greatest[at]) - self.smallest)
            for at in self.too_narrow()
            if self.least[at] > 0
        }


@dataclass(frozen=True)
class _Subtables:
    """Some counts in order, with everything that relates only these."""

    published: LinkedTables
    names: tuple[CountName, ...]
    totals: tuple[tuple[CountName, tuple[CountName, ...]], ...]
    subsets: tuple[tuple[CountName, CountName], ...]
    cells: tuple[TableCell, ...]

    @classmethod
    def of(cls, published: LinkedTables) -> _Subtables:
        """All of them."""
        split = {(whole, (part, complement(part, whole))) for part, whole in published.subsets}
        totals = published.totals | {
            (whole, parts) for whole, parts in split if parts[1] in published.true_counts
        }
        cells = sorted(published.cells, key=lambda cell: (cell.table, cell.kind, cell.names))
        return cls(
            published,
            tuple(sorted(published.true_counts)),
            tuple(sorted(totals)),
            tuple(sorted(published.subsets)),
            tuple(cells),
        )

    @cached_property
    def outermost(self) -> npt.NDArray[np.int64]:
        """For each count the place of the one that it is counted in, and is itself in no other."""
        place = {name: at for at, name in enumerate(self.names)}
        above: dict[CountName, CountName] = {}
        for part, whole in self.subsets:
            above.setdefault(part, whole)
            above.setdefault(complement(part, whole), whole)
        found = []
        for name in self.names:
            passed = {name}
            while name in above and above[name] not in passed:
                name = above[name]
                passed.add(name)
            found.append(place[name])
        return np.array(found, dtype=np.int64)

    def only(self, names: Collection[CountName]) -> _Subtables:
        """Of some counts."""
        known = set(names)
        return _Subtables(
            self.published,
            tuple(name for name in self.names if name in known),
            tuple(
                (whole, parts)
                for whole, parts in self.totals
                if whole in known and known.issuperset(parts)
            ),
            tuple(pair for pair in self.subsets if known.issuperset(pair)),
            tuple(cell for cell in self.cells if known.issuperset(cell.names)),
        )

    def families(self) -> Iterator[tuple[_Subtables, list[CountName]]]:
        """For each family of counts that add up, wholes first: its tables, with those of every
        family that it is counted in, and its own counts.
        """
        place = {name: at for at, name in enumerate(self.names)}
        sums = [(part, whole) for whole, parts in self.published.totals for part in parts]
        sums += [(parts[0], parts[1]) for _, parts in set(self.totals) - self.published.totals]
        links = _rows(
            [{place[first]: 1.0, place[second]: 1.0} for first, second in sums], len(place)
        )
        labels = connected_components(links.T @ links, directed=False)[1].tolist()
        members: dict[int, list[CountName]] = {label: [] for label in labels}
        counted_in: dict[int, set[int]] = {label: {label} for label in labels}
        for name, label in zip(self.names, labels, strict=True):
            members[label].append(name)
        for part, whole in self.subsets:
            counted_in[labels[place[part]]].add(labels[place[whole]])
        reach = {label: _reached(label, counted_in) for label in counted_in}
        for label in sorted(reach, key=lambda label: (len(reach[label]), members[label][0])):
            names = [name for family in reach[label] for name in members[family]]
            yield self.only(names), members[label]


def _reached(start: int, above: dict[int, set[int]]) -> set[int]:
    found, new = {start}, {start}
    while new:
        new = {other for one in new for other in above[one]} - found
        found |= new
    return found


class _Attacker:
    """The linear programs of a reader who knows each cell that is not suppressed."""

    def __init__(self, tables: _Subtables, suppressed: Collection[TableCell]) -> None:
        self.tables = tables
        true = tables.published.true_counts
        self.place = place = {name: at for at, name in enumerate(tables.names)}
        self.bounds = np.tile([0.0, np.inf], (len(place), 1))
        self.cells_of_count: dict[int, list[TableCell]] = {}
        self.cells_of_row: dict[int, list[TableCell]] = {}
        unsplit = [
            (part, whole) for part, whole in tables.subsets if complement(part, whole) not in place
        ]
        at_most = [{place[part]: 1.0, place[whole]: -1.0} for part, whole in unsplit]
        for names, cells in _by_names(tables.cells, suppressed).items():
            part, whole = names[0], names[-1]
            if len(names) == 1:
                count = round_count(true[part])
                self.bounds[place[part]] = (
                    max(0, count - ROUNDING_BASE // 2),
                    count + (ROUNDING_BASE - 1) // 2,
                )
                self.cells_of_count[place[part]] = cells
            else:
                share = round_share(true[part] / true[whole])
                for sign in (1.0, -1.0):
                    self.cells_of_row[len(at_most)] = cells
                    at_most.append({place[part]: sign, place[whole]: -sign * share - HALF_PERCENT})
        equal = [
            {place[whole]: -1.0} | {place[part]: 1.0 for part in parts}
            for whole, parts in tables.totals
        ]
        self.equal, self.at_most = _rows(equal, len(place)), _rows(at_most, len(place))

    def furthest(self, at: int, sign: int) -> tuple[float, Numbers | None, set[TableCell]]:
        """The greatest (sign 1) or least (-1) that one count may be, all counts then, and the cells
        that stop it.
        """
        weights = np.zeros(len(self.place))
        weights[at] = -sign
        found = _program(weights, self.at_most, self.equal, self.bounds)
        if found.status == UNBOUNDED:
            return np.inf * sign, None, set()
        counts = _solved(found)
        stopped = _picked(self.cells_of_count, found.lower.marginals + found.upper.marginals)
        return (
            max(0.0, float(counts[at])),
            counts,
            stopped | _picked(self.cells_of_row, found.ineqlin.marginals),
        )

    def towards(self, goals: dict[int, float], sign: int, chance: np.random.Generator) -> Numbers:
        """All counts where many of these together are as great (sign 1) or small (-1) as their
        goals.

        Not all can be at once, so chance says which come first: those counted in the same group
        come together, or they would hold each other back.
        """
        places, size = np.array(list(goals)), len(self.place)
        liking = (
            chance.random(size)[self.tables.outermost[places]] ** STEEPNESS
            + chance.random(len(goals)) * NOISE
        )
        moved = csr_array(
            (np.full(len(goals), -sign), (np.arange(len(goals)), places)), (len(goals), size)
        )
        at_most = block_array(
            [[self.at_most, None], [moved, sign * eye_array(len(goals))]], format="csr"
        )
        equal = hstack([self.equal, csr_array((self.equal.shape[0], len(goals)))], format="csr")
        ends = [(0.0, goal) if sign > 0 else (goal, np.inf) for goal in goals.values()]
        weights = np.concatenate([np.zeros(size), -sign * (liking + NOISE)])
        found = _program(weights, at_most, equal, np.vstack([self.bounds, ends]))
        return _solved(found)[:size]


def _by_names(
    cells: Iterable[TableCell], suppressed: Collection[TableCell]
) -> dict[tuple[CountName, ...], list[TableCell]]:
    """The cells not suppressed; those of several tables that say the same stand together."""
    same: dict[tuple[CountName, ...], list[TableCell]] = {}
    for cell in cells:
        if cell not in suppressed:
            same.setdefault(cell.names, []).append(cell)
    return same


def _rows(rows: Sequence[dict[int, float]], size: int) -> csr_array:
    at = np.repeat(np.arange(len(rows)), np.array([len(row) for row in rows], dtype=np.int64))
    columns = np.array([column for row in rows for column in row], dtype=np.int64)
    values = np.array([value for row in rows for value in row.values()], dtype=np.float64)
    return csr_array((values, (at, columns)), (len(rows), size))


def _picked(cells: dict[int, list[TableCell]], prices: Numbers) -> set[TableCell]:
    return {
        cell for at in np.flatnonzero(np.abs(prices) > NEARLY) for cell in cells.get(int(at), [])
    }


def _program(
    weights: Numbers, at_most: csr_array, equal: csr_array, bounds: Numbers
) -> OptimizeResult:
    """The least weighted sum of what is at most, and equal to, zero in these rows."""
    rows = at_most, np.zeros(at_most.shape[0]), equal, np.zeros(equal.shape[0]), bounds
    found = linprog(weights, *rows)
    # Before it is solved in earnest a program without an end may look like one without an answer.
    return (
        linprog(weights, *rows, options={"presolve": False}) if found.status == UNCLEAR else found
    )


def _solved(found: OptimizeResult) -> Numbers:
    if found.status != SOLVED:
        raise RuntimeError(f"the linear program has no answer: {found.message}")
    return np.asarray(found.x, dtype=np.float64)
