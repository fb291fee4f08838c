"""Tables of counts of students in which no small count follows from all that is shown, proved by
linear programming.

Source: NCES 2011-603, Statistical Methods for Protecting Personally Identifiable Information in
Aggregate Reporting, and for the attacker's two programs per cell Fischetti & Salazar (2001),
Management Science 47(7). `LinkedTables` holds what would be shown, `suppressed_cells` says which of
it must be withheld; it refuses tables that do not add up. Three limits: all that is ever shown of
the same students must be declared together, as far as it was shown already by `shown_before`; an
attacker who guesses that a fact is withheld for its own count under ten, not for the sake of
another, knows more than is assumed here; and one who reckons in whole students, not in fractions,
may find a count a student or two less open.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.optimize import OptimizeResult, linprog
from scipy.sparse import block_array, csr_array, eye_array, hstack
from scipy.sparse.csgraph import connected_components

from records.suppression.rounding import ROUNDING_BASE, round_count, round_share

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
    """How a fact is shown: a count rounded to ten, or a share in hundredths."""

    ROUNDED = "rounded"
    SHARE = "share"


@dataclass(frozen=True, order=True)
class TableCell:
    """One figure that a table would show: of one count, or of a part and its whole."""

    table: str
    kind: CellKind
    names: tuple[CountName, ...]


class LinkedTables:
    """Counts of students, how they add up, and the facts that would be shown of them.

    Whoever reads the tables knows the names, how they add up and the rules of rounding, but no
    count.
    """

    def __init__(self) -> None:
        self.true: dict[CountName, int] = {}
        self.totals: set[tuple[CountName, tuple[CountName, ...]]] = set()
        self.inside: set[tuple[CountName, CountName]] = set()
        self.facts: set[TableCell] = set()
        self.certain: set[TableCell] = set()
        self.before: set[TableCell] = set()
        self.dear: dict[TableCell, int] = {}

    def count(self, name: CountName, true: int) -> None:
        """Declare a count. Its true value decides what is shown; no bound of `ranges` comes from it
        otherwise.

        Raises:
            ValueError: below zero, or declared before with another value.
        """
        if true < 0 or self.true.get(name, true) != true:
            raise ValueError(
                f"the count {name} cannot be {true}; declared before: {self.true.get(name)}"
            )
        self.true[name] = true

    def total(self, whole: CountName, parts: Sequence[CountName]) -> None:
        """Declare that the parts add up to the whole, as every reader knows.

        Raises:
            ValueError: they do not, or one is not declared or stands twice.
        """
        if len({whole, *parts}) <= len(parts):
            raise ValueError(f"the parts of {whole} are not different counts: {sorted(parts)}")
        found = sum(self._known(part) for part in parts)
        if found != self._known(whole):
            raise ValueError(f"the parts of {whole} add up to {found}, not to {self.true[whole]}")
        self.totals.add((whole, tuple(sorted(parts))))

    def within(self, part: CountName, whole: CountName) -> None:
        """Declare that the part is counted in the whole, as every reader knows.

        Raises:
            ValueError: the part is greater, or one is not declared.
        """
        if self._known(part) > self._known(whole):
            raise ValueError(f"{part} is {self.true[part]}, more than {whole}, {self.true[whole]}")
        self.inside.add((part, whole))

    def rounded(
        self, name: CountName, table: str, *, certain: bool = False, dear: int = 0
    ) -> TableCell:
        """A fact that the table would show: the count rounded to ten, halves up.

        Args:
            certain: it is shown whatever follows from it, as the size of the whole district is
                known to everybody.
            dear: of facts that tie a count the least dear is withheld first; those below 0
                together.
        """
        self._known(name)
        fact = self._shown(TableCell(table, CellKind.ROUNDED, (name,)), dear)
        self.certain |= {fact} if certain else set()
        return fact

    def share(self, part: CountName, whole: CountName, table: str, *, dear: int = 0) -> TableCell:
        """A fact that the table would show: part of whole in hundredths. Declares that both parts
        make up the whole.
        """
        self.split(part, whole)
        return self._shown(TableCell(table, CellKind.SHARE, (part, whole)), dear)

    def split(self, part: CountName, whole: CountName) -> None:
        """Declare the part within the whole, and the others of the whole as a count, by the name
        `complement(part, whole)`.

        Raises:
            ValueError: the part is greater, or one is not declared.
        """
        self.within(part, whole)
        self.count(complement(part, whole), self.true[whole] - self.true[part])

    def shown_before(self, fact: TableCell) -> None:
        """Declare that a fact was shown already: it can be withheld no more."""
        self.certain.add(fact)
        self.before.add(fact)

    def small(self, smallest: int) -> set[TableCell]:
        """The facts that would show a count below `smallest`, or a share with as few in it or left
        out of it.
        """
        return {
            fact
            for fact in self.facts - self.certain
            if min(self.true[name] for name in self._told(fact)) < smallest
        }

    def ranges(
        self, names: Iterable[CountName], withheld: Collection[TableCell]
    ) -> dict[CountName, tuple[float, float]]:
        """The least and the greatest that each count may be, for all a reader knows of the facts
        not withheld.

        Two linear programs a name; students may come in fractions, so whole students leave a little
        less open.
        """
        attacker = _Attacker(_Subtables.of(self), withheld)
        places = {name: attacker.place[name] for name in names}
        return {
            name: (attacker.furthest(at, -1)[0], attacker.furthest(at, 1)[0])
            for name, at in places.items()
        }

    def _told(self, fact: TableCell) -> tuple[CountName, ...]:
        return (
            fact.names
            if fact.kind is CellKind.ROUNDED
            else (fact.names[0], complement(*fact.names))
        )

    def _known(self, name: CountName) -> int:
        if name not in self.true:
            raise ValueError(
                f"the count {name} is not declared; call count() with its true value first"
            )
        return self.true[name]

    def _shown(self, fact: TableCell, dear: int) -> TableCell:
        self.facts.add(fact)
        self.dear[fact] = max(dear, self.dear.get(fact, dear))
        return fact


def suppressed_cells(published: LinkedTables, smallest: int = 10) -> set[TableCell]:
    """The facts to withhold so that every count below `smallest` stays open by `smallest` whole
    students or more.

    Withheld are the facts that are small themselves (`LinkedTables.small`), then, while what is
    shown ties some small count down, the least dear fact among those that tie it, of its own table
    where there is one. First each family of counts that add up is settled with only the families it
    is counted in, which is quick; then all together, which is the proof. The same tables give the
    same answer in whatever order they were declared.

    A count that is tied by what was shown before cannot be opened any more; nothing is withheld for
    its sake.

    Raises:
        ValueError: a small count would follow with nothing shown but what is certain.
    """
    withheld = published.small(smallest)
    everything = _Subtables.of(published)
    for tables, counts in [*everything.families(), (everything, everything.names)]:
        small = {name for name in counts if published.true[name] < smallest}
        withheld |= _complementary_suppression(
            tables, _AuditedRanges(tables, small, smallest), withheld
        )
    return withheld


def suppressed_parts(counts: Mapping[str, int], smallest: int = 10) -> set[str]:
    """Which parts of one whole must not be shown, where the whole and its parts are shown rounded
    to ten.
    """
    if not counts:
        return set()
    table = LinkedTables()
    table.count(("whole",), sum(counts.values()))
    for name, count in counts.items():
        table.count(("part", name), count)
    table.total(("whole",), [("part", name) for name in counts])
    facts = {table.rounded(("part", name), "parts"): name for name in counts}
    table.rounded(("whole",), "whole")
    withheld = suppressed_cells(table, smallest)
    return {name for fact, name in facts.items() if fact in withheld}


def complement(part: CountName, whole: CountName) -> CountName:
    """The name of the count of those in the whole and not in the part."""
    return (*whole, "but not", *part)


def _complementary_suppression(
    tables: _Subtables, seen: _AuditedRanges, withheld: Collection[TableCell]
) -> set[TableCell]:
    """What must be withheld more for the small counts to stay open in these tables."""
    more: set[TableCell] = set()
    attacker = _Attacker(tables, withheld)
    while _audit(attacker, seen):
        new: set[TableCell] = set()
        for at in seen.narrow():
            ties = _binding_constraints(attacker, seen, at)
            if ties and not ties & new:
                new |= _cheapest(tables, tables.names[at], ties)
        more |= new
        attacker = _Attacker(tables, {*withheld, *more})
    return more


def _audit(attacker: _Attacker, seen: _AuditedRanges) -> bool:
    """Look for consistent counts far apart, for all small counts at once; whether some are narrow
    still.
    """
    left, before = len(seen.narrow()), None
    while left and left != before:
        before = left
        for sign in (-1, 1):
            if goals := seen.goals(sign):
                seen.add(attacker.towards(goals, sign, seen.chance))
        left = len(seen.narrow())
    return left > 0


def _binding_constraints(attacker: _Attacker, seen: _AuditedRanges, at: int) -> set[TableCell]:
    """The facts that tie a small count down; none if it turns out to be open."""
    ties: set[TableCell] = set()
    ends = {-1: 0.0}
    for sign in (1,) if seen.least[at] == 0 else (-1, 1):
        ends[sign], counts, facts = attacker.furthest(at, sign)
        ties |= facts
        if counts is not None:
            seen.add(counts)
    if np.floor(ends[1] + NEARLY) - np.ceil(ends[-1] - NEARLY) >= seen.smallest:
        seen.drop(at)
        return set()
    tied_before = bool(ties & attacker.tables.published.before)
    ties -= attacker.tables.published.certain
    if not ties and tied_before:
        seen.drop(at)
    elif not ties:
        name = attacker.tables.names[at]
        raise ValueError(
            f"{name} lies between {ends[-1]:g} and {ends[1]:g} with nothing more to withhold"
        )
    return ties


def _cheapest(tables: _Subtables, name: CountName, ties: set[TableCell]) -> set[TableCell]:
    """Of the facts that tie a count, the least dear: then one of a table of that count, of the
    fewest students.

    All of them at once would be quicker in a small district, and hide most groups in a large one.
    So only those that are cheap go together.
    """
    true = tables.published.true
    if cheap := {fact for fact in ties if tables.published.dear[fact] < 0}:
        return cheap
    own = {
        fact.table
        for fact in tables.facts
        if name in (*fact.names, complement(fact.names[0], fact.names[-1]))
    }
    dear = tables.published.dear
    first = min(
        ties, key=lambda fact: (dear[fact], fact.table not in own, true[fact.names[0]], fact)
    )
    return {fact for fact in tables.facts if fact.names == first.names}


class _AuditedRanges:
    """How far apart each small count has been seen, in whole students, in sets of counts that fit
    all that is shown.

    What was seen stays seen while more is withheld.
    """

    def __init__(self, tables: _Subtables, small: Collection[CountName], smallest: int) -> None:
        true = np.array([tables.published.true[name] for name in tables.names], dtype=np.float64)
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

    def narrow(self) -> list[int]:
        return [
            int(at) for at in self.small[(self.greatest - self.least)[self.small] < self.smallest]
        ]

    def goals(self, sign: int) -> dict[int, float]:
        """Where each narrow count must be seen above (sign 1) or below (-1) to be open; no lower
        than 0, once seen.
        """
        if sign > 0:
            return {at: float(self.least[at]) + self.smallest for at in self.narrow()}
        return {
            at: max(0.0, float(self.greatest[at]) - self.smallest)
            for at in self.narrow()
            if self.least[at] > 0
        }


@dataclass(frozen=True)
class _Subtables:
    """Some counts in order, with all that ties only these together."""

    published: LinkedTables
    names: tuple[CountName, ...]
    totals: tuple[tuple[CountName, tuple[CountName, ...]], ...]
    inside: tuple[tuple[CountName, CountName], ...]
    facts: tuple[TableCell, ...]

    @classmethod
    def of(cls, published: LinkedTables) -> _Subtables:
        """All of them."""
        split = {(whole, (part, complement(part, whole))) for part, whole in published.inside}
        totals = published.totals | {
            (whole, parts) for whole, parts in split if parts[1] in published.true
        }
        facts = sorted(published.facts, key=lambda fact: (fact.table, fact.kind, fact.names))
        return cls(
            published,
            tuple(sorted(published.true)),
            tuple(sorted(totals)),
            tuple(sorted(published.inside)),
            tuple(facts),
        )

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
            tuple(pair for pair in self.inside if known.issuperset(pair)),
            tuple(fact for fact in self.facts if known.issuperset(fact.names)),
        )

    def families(self) -> Iterator[tuple[_Subtables, list[CountName]]]:
        """For each family of counts that add up, wholes first: its tables and those it is counted
        in; its counts.
        """
        place = {name: at for at, name in enumerate(self.names)}
        added = [
            (place[part], place[whole]) for whole, parts in self.published.totals for part in parts
        ]
        added += [
            (place[parts[0]], place[parts[1]])
            for whole, parts in set(self.totals) - self.published.totals
        ]
        ties = _rows([{one: 1.0, other: 1.0} for one, other in added], len(place))
        family = connected_components(ties.T @ ties, directed=False)[1].tolist()
        members: dict[int, list[CountName]] = {one: [] for one in family}
        above: dict[int, set[int]] = {one: {one} for one in family}
        for name, one in zip(self.names, family, strict=True):
            members[one].append(name)
        for part, whole in self.inside:
            above[family[place[part]]].add(family[place[whole]])
        reach = {one: _reached(one, above) for one in above}
        for one in sorted(reach, key=lambda one: (len(reach[one]), members[one][0])):
            yield self.only([name for each in reach[one] for name in members[each]]), members[one]


def _reached(start: int, above: dict[int, set[int]]) -> set[int]:
    found, new = {start}, {start}
    while new:
        new = {other for one in new for other in above[one]} - found
        found |= new
    return found


class _Attacker:
    """The linear programs of a reader who knows every fact of these tables that is not withheld."""

    def __init__(self, tables: _Subtables, withheld: Collection[TableCell]) -> None:
        self.tables = tables
        true = tables.published.true
        self.place = place = {name: at for at, name in enumerate(tables.names)}
        self.bounds = np.tile([0.0, np.inf], (len(place), 1))
        self.facts_of_count: dict[int, list[TableCell]] = {}
        self.facts_of_row: dict[int, list[TableCell]] = {}
        unsplit = [
            (part, whole) for part, whole in tables.inside if complement(part, whole) not in place
        ]
        at_most = [{place[part]: 1.0, place[whole]: -1.0} for part, whole in unsplit]
        for names, facts in _by_names(tables.facts, withheld).items():
            part, whole = names[0], names[-1]
            if len(names) == 1:
                count = round_count(true[part])
                self.bounds[place[part]] = (
                    max(0, count - ROUNDING_BASE // 2),
                    count + (ROUNDING_BASE - 1) // 2,
                )
                self.facts_of_count[place[part]] = facts
            else:
                share = round_share(true[part] / true[whole])
                for sign in (1.0, -1.0):
                    self.facts_of_row[len(at_most)] = facts
                    at_most.append({place[part]: sign, place[whole]: -sign * share - HALF_PERCENT})
        equal = [
            {place[whole]: -1.0} | {place[part]: 1.0 for part in parts}
            for whole, parts in tables.totals
        ]
        self.equal, self.at_most = _rows(equal, len(place)), _rows(at_most, len(place))
        self.outermost = self._outermost()

    def furthest(self, at: int, sign: int) -> tuple[float, Numbers | None, set[TableCell]]:
        """The greatest (sign 1) or least (-1) that one count may be, all counts then, and the facts
        that stop it.
        """
        weights = np.zeros(len(self.place))
        weights[at] = -sign
        found = _program(weights, self.at_most, self.equal, self.bounds)
        if found.status == UNBOUNDED:
            return np.inf * sign, None, set()
        counts = _solved(found)
        stopped = _picked(self.facts_of_count, found.lower.marginals + found.upper.marginals)
        return (
            max(0.0, float(counts[at])),
            counts,
            stopped | _picked(self.facts_of_row, found.ineqlin.marginals),
        )

    def towards(self, goals: dict[int, float], sign: int, chance: np.random.Generator) -> Numbers:
        """All counts where many of these together are as great (sign 1) or small (-1) as their
        goals.

        Not all can be at once, so chance says which come first: those counted in the same group
        come together, or they would hold each other back.
        """
        places, size = np.array(list(goals)), len(self.place)
        liking = (
            chance.random(size)[self.outermost[places]] ** STEEPNESS
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

    def _outermost(self) -> npt.NDArray[np.int64]:
        """For each count the one that it is counted in, and is itself in no other."""
        above: dict[CountName, CountName] = {}
        for part, whole in self.tables.inside:
            above.setdefault(part, whole)
            above.setdefault(complement(part, whole), whole)
        found = []
        for name in self.tables.names:
            passed = {name}
            while name in above and above[name] not in passed:
                name = above[name]
                passed.add(name)
            found.append(self.place[name])
        return np.array(found, dtype=np.int64)


def _by_names(
    facts: Iterable[TableCell], withheld: Collection[TableCell]
) -> dict[tuple[CountName, ...], list[TableCell]]:
    """The facts not withheld; those of several tables that say the same stand together."""
    same: dict[tuple[CountName, ...], list[TableCell]] = {}
    for fact in facts:
        if fact not in withheld:
            same.setdefault(fact.names, []).append(fact)
    return same


def _rows(rows: Sequence[dict[int, float]], size: int) -> csr_array:
    at = np.repeat(np.arange(len(rows)), np.array([len(row) for row in rows], dtype=np.int64))
    columns = np.array([column for row in rows for column in row], dtype=np.int64)
    values = np.array([value for row in rows for value in row.values()], dtype=np.float64)
    return csr_array((values, (at, columns)), (len(rows), size))


def _picked(facts: dict[int, list[TableCell]], prices: Numbers) -> set[TableCell]:
    return {
        fact for at in np.flatnonzero(np.abs(prices) > NEARLY) for fact in facts.get(int(at), [])
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
