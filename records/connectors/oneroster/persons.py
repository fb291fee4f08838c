"""Which users of a OneRoster source are one child, by evidence and never by a guess.

A child with an account at each of two schools, or with a new account after a transfer, is several
users. What makes them one:

- an equal `userMasterIdentifier`, which the standard has for that ("to ensure that all of the
  system identifiers/accounts etc. can be reconciled to the same user", OneRoster 1.2), unless birth
  dates or names contradict it;
- an equal `identifier`, or one of `userIds`, if everybody who has it is of the same first and last
  name, and nothing contradicts. The standard does not say what these are: systems write a student
  number there, or a household's, or a school's (Aeries), which join nobody.

Where records contradict each other the users stay apart, and the caller learns which and why. Which
of the identifiers is the student's does not change from load to load.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import combinations

from records.identity.aliases import KnownStudents
from records.identity.names import normalized_words
from records.identity.nicknames import possible_full_names

MASTER = "userMasterIdentifier"
OWN_IDENTIFIERS = (MASTER, "identifier")
"""Columns of a user that hold one identifier each; `userIds` is a list of typed ones."""

_MOST_USERS = 10
"""More users than one child has: an identifier that so many share is no child's."""

_TYPED_ID = re.compile(r"\{[^{}:]*:([^{}]*)\}")
"""One of `userIds` in a file; an API gives them without their types, separated by commas."""

_NOTHING = ("", "null", "na", "none", "nil", "unknown", "tbd")
_REPEATED = 5
"""Equal digits, from which an identifier is one that somebody made up."""

_DIFFERENT_NAMES = "names"


@dataclass
class _User:
    """One user: names in words, where it is listed, and what else is known."""

    id: str
    given: tuple[str, ...]
    family: tuple[str, ...]
    file: str
    line: int
    is_live: bool
    is_enabled: bool
    master: str = ""
    birth_date: date | None = None
    sex: str | None = None


@dataclass(frozen=True)
class Contradiction:
    """Users who share an identifier and are not one child.

    `differ` says in which of their facts they differ; `places` are file and line of each of the
    `users`.
    """

    column: str
    differ: str
    users: frozenset[str]
    places: tuple[tuple[str, int], ...]


@dataclass
class OneChild:
    """What was decided: each further identifier with its student, and what contradicts itself.

    `of_no_child` counts users by the column in which they share an identifier with users of other
    names, where that joins nobody and is no mistake either.
    """

    aliases: dict[str, str] = field(default_factory=dict)
    contradictions: list[Contradiction] = field(default_factory=list)
    of_no_child: Counter[str] = field(default_factory=Counter)


class Persons:
    """Takes the users of a source, then what demographics say of some, and decides who is one."""

    def __init__(self) -> None:
        self._users: dict[str, _User] = {}
        self._sharing: dict[tuple[str, str], set[str]] = {}

    def add(
        self,
        user: str,
        fields: Mapping[str, str],
        place: tuple[str, int],
        *,
        is_live: bool,
        is_enabled: bool,
    ) -> None:
        """Take one record of a student; of a user who is listed twice, the first one's names.

        Args:
            fields: the columns of `users.csv`.
            place: file and line of the record.
            is_live: whether the source has not marked it as deleted.
        """
        given, family = (
            tuple(normalized_words(fields.get(name, ""))) for name in ("givenName", "familyName")
        )
        known = self._users.setdefault(
            user, _User(user, given, family, *place, is_live, is_enabled)
        )
        known.is_live, known.is_enabled = known.is_live or is_live, known.is_enabled or is_enabled
        for column, text in _identifiers(fields):
            if column == MASTER:
                known.master = known.master or text
            self._sharing.setdefault((column, text), set()).add(user)

    def suspects(self) -> frozenset[str]:
        """Users who may be one with another: only of these are more facts needed."""
        return frozenset().union(
            *(
                users
                for column, users, differ in self._groups()
                if not differ or (column == MASTER and len(users) <= _MOST_USERS)
            )
        )

    def add_facts(self, user: str, birth_date: date | None, sex: str | None) -> None:
        """Take what demographics say of a user."""
        known = self._users[user]
        known.birth_date, known.sex = birth_date or known.birth_date, sex or known.sex

    def decide(self, known: KnownStudents) -> OneChild:
        """Which users are one child.

        Args:
            known: what earlier loads found; a student's identifier stays what it was.
        """
        decided = OneChild()
        contradictions: list[Contradiction] = []
        joined: list[tuple[str, set[str]]] = []
        for column, users, differ in self._groups():
            if not differ:
                joined.append((column, set(users)))
            elif differ == _DIFFERENT_NAMES and (column != MASTER or len(users) > _MOST_USERS):
                decided.of_no_child[column] += len(users)
            else:
                contradictions.append(self._contradiction(column, differ, users))
        children: list[set[str]] = []
        for column, child in _connected(joined):
            if differ := self._difference(MASTER, [self._users[user] for user in sorted(child)]):
                contradictions.append(self._contradiction(column, differ, child))
            else:
                children.append(child)
        by_users = {one.users: one for one in reversed(contradictions)}
        decided.contradictions = [
            one
            for one in reversed(by_users.values())
            if not any(one.users <= child for child in children)
        ]
        decided.aliases = self._aliases(children, known)
        return decided

    def _groups(self) -> Iterable[tuple[str, Sequence[str], str]]:
        """Column, users and difference of everybody who shares an identifier with a live user."""
        for (column, _), users in sorted(self._sharing.items()):
            of_group = [self._users[user] for user in sorted(users)]
            if len(users) > 1 and any(user.is_live for user in of_group):
                yield column, sorted(users), self._difference(column, of_group)

    def _difference(self, column: str, users: Sequence[_User]) -> str:
        """In what users who share an identifier contradict each other; empty if in nothing."""
        if column == MASTER:
            if len(users) > _MOST_USERS or not all(
                _may_be_one_name(a, b) for a, b in combinations(users, 2)
            ):
                return _DIFFERENT_NAMES
        elif len({(user.given, user.family) for user in users}) > 1:
            return _DIFFERENT_NAMES
        if _several(user.birth_date for user in users):
            return "birth dates"
        if column == MASTER:
            return ""
        if _several(user.sex for user in users):
            return "sex"
        return MASTER if _several(user.master or None for user in users) else ""

    def _contradiction(self, column: str, differ: str, users: Collection[str]) -> Contradiction:
        places = sorted((self._users[user].file, self._users[user].line) for user in users)
        return Contradiction(column, differ, frozenset(users), tuple(places))

    def _aliases(self, children: Iterable[set[str]], known: KnownStudents) -> dict[str, str]:
        aliases: dict[str, str] = {}
        taken: set[str] = set()
        of_several = sorted(children, key=lambda users: (-len(users), min(users)))
        joined = frozenset().union(*of_several)
        alone = [
            {user}
            for user in sorted(known.aliases.keys() & self._users.keys())
            if user not in joined and self._users[user].is_live
        ]
        with_aliases = frozenset(known.aliases.values())
        for users in (*of_several, *alone):
            before = {user: known.aliases.get(user, user) for user in users}
            candidates = {
                student if student in users or student not in self._users else user
                for user, student in before.items()
            } - taken or users
            student = min(candidates, key=lambda id_: self._rank(id_, known, with_aliases))
            taken.add(student)
            aliases |= dict.fromkeys(users - {student}, student)
        return aliases

    def _rank(
        self, student: str, known: KnownStudents, with_aliases: Collection[str]
    ) -> tuple[bool | int | str, ...]:
        """By which identifier a child goes: the first of an order in which nothing that comes new
        precedes what was there."""
        user = self._users.get(student)
        return (
            not known.is_destroyed(student),
            student not in with_aliases,
            student not in known.students,
            user is not None and not user.is_live,
            user is not None and not user.is_enabled,
            len(student),
            student,
        )


def stands_for_nothing(identifier: str) -> bool:
    """Whether an identifier is empty, or what systems write for one: 0, 999999, NULL or N/A."""
    plain = "".join(character for character in identifier.lower() if character.isalnum())
    repeated = len(set(plain)) == 1 and (plain[0] == "0" or len(plain) >= _REPEATED)
    return plain in _NOTHING or repeated


def _identifiers(fields: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Column and text of each identifier of a user that stands for something."""
    typed = fields.get("userIds", "")
    texts = [
        *((column, fields.get(column, "").strip()) for column in OWN_IDENTIFIERS),
        *(("userIds", text.strip()) for text in _TYPED_ID.findall(typed) or typed.split(",")),
    ]
    return [(column, text) for column, text in texts if not stands_for_nothing(text)]


def _may_be_one_name(one: _User, other: _User) -> bool:
    """Whether two records may name one child, who is known by an equal master identifier.

    The first names must fit: one is the other, its short form or its beginning, so that twins are
    two. Last names must share a word, unless equal birth dates say that the name has changed.
    """
    same_birth = one.birth_date is not None and one.birth_date == other.birth_date
    same_family = not {*one.family}.isdisjoint(other.family)
    return _given_names_fit(one.given, other.given) and (same_family or same_birth)


def _given_names_fit(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    if not one or not other:
        return one == other
    is_one = possible_full_names(one[0]) & possible_full_names(other[0])
    return bool(is_one) and all(a == b for a, b in zip(one[1:], other[1:], strict=False))


def _several(facts: Iterable[object]) -> bool:
    return len({fact for fact in facts if fact is not None}) > 1


def _connected(groups: Iterable[tuple[str, set[str]]]) -> list[tuple[str, set[str]]]:
    """Groups with no user in common, each with the column of the first that it was made from."""
    apart: list[tuple[str, set[str]]] = []
    for column, users in groups:
        touching = [group for group in apart if group[1] & users]
        apart = [group for group in apart if group not in touching]
        first = touching[0][0] if touching else column
        apart.append((first, users.union(*(group[1] for group in touching))))
    return apart
