"""A made-up roster and a partner's list of participants whose truth is known: who is whom, and what
was done to each.

Names follow a long-tailed stock, as real ones do. Families share a surname and often a school; some
children are twins, some of them with names a letter apart. Of the list, some are no students of the
district at all, and among those are brothers, sisters and namesakes of students. Everybody in it is
made up.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, timedelta

import pandas as pd

from records.identity.nicknames import SHORT_FORMS
from records.identity.participants import Participant

ORGANIZATION = "tutors"
NON_STUDENT_SHARE = 0.12
"""The share of a list who are not students of the district."""

FIRST_NAMES = """
Maria Jose Liam Emma Noah Olivia Sofia Mateo Isabella Daniel Camila Sebastian Mia Alexander
Valentina Santiago Emily Elijah Ava James Charlotte Benjamin Amelia Lucas Evelyn Ethan Abigail
Michael Elizabeth Jacob Victoria Logan Natalie David Gabriela Joseph Samantha Samuel Andrea Anthony
Daniela Gabriel Alejandra Christopher Katherine Andrew Zoe Joshua Nicole Nathaniel Aaliyah Christian
Destiny Jonathan Jasmine Angel Kimberly Jayden Brianna Isaac Alexandra Adrian Leah José María Sofía
Andrés Zoë Renée Chloé Nicolás Ángel Inés Beyoncé Tomás Jesús Lucía Noëlle Xiomara Tenzin Priya Amir
Fatima Omar Aisha Yusuf Layla Mohammed Mariam Ahmed Zainab Hana Kenji Mei Wei Linh Minh An Thuy
Quang Kofi Ama Kwame Imani Malik Keisha DeAndre Latoya Tyrone Shaniqua Marquis Jamal Dakota Cheyenne
Savannah Hunter Wyatt Colton Mary-Kate Anne-Marie Jean-Luc Juan-Pablo Maria-Elena Luis-Miguel
Mary-Ann Ana-Lucia John-Paul Sarah-Jane
"""
LAST_NAMES = """
Garcia Rodriguez Martinez Hernandez Lopez Gonzalez Smith Johnson Williams Brown Jones Perez Sanchez
Ramirez Torres Miller Davis Wilson Anderson Thomas Taylor Moore Jackson Martin Lee Flores Rivera
Gomez Diaz Nguyen White Harris Clark Lewis Robinson Walker Young Allen King Wright Scott Hill Green
Adams Nelson Baker Hall Campbell Mitchell Carter Reyes Morales Cruz Ortiz Gutierrez Chavez Ramos
Ruiz Alvarez Mendoza Vasquez Castillo Jimenez Moreno Romero Herrera Medina Peña Núñez Muñoz Ibáñez
Yáñez Müller Françoise O'Brien O'Neil O'Connor D'Angelo McDonald MacKenzie St.Clair Tran Pham Patel
Singh Khan Ali Hassan Mohamed Abdi Osman Okafor Mensah Owusu Diallo Traore Kim Park Choi Chen Wang
Li Zhang Wu Vang Xiong Yang Lor Thao Yazzie Begay Tsosie Nez Kowalski Nowak Schmidt Rossi Silva
Santos Oliveira Costa Pereira
"""
PARTICLES = ("De La ", "de ", "Van ", "Del ")
TWINS_ALIKE = (
    ("Jayden", "Jaylen"),
    ("Maria", "Mariah"),
    ("Ana", "Anna"),
    ("Mario", "Maria"),
    ("Kayla", "Kaylee"),
    ("Daniel", "Daniela"),
    ("Aiden", "Caiden"),
    ("Emma", "Emily"),
    ("Madison", "Madeline"),
    ("Brian", "Brianna"),
)
SCHOOLS = tuple(
    f"{name} {kind} School"
    for kind, names in (
        (
            "Elementary",
            (
                "Lincoln Washington Jefferson Roosevelt Maple Oak Cedar Riverside Hillcrest"
                " Parkview Eastside Westgate Lakeshore Sunset Franklin Madison Monroe Adams Harbor"
                " Prairie"
            ),
        ),
        ("Middle", "Lincoln Central Riverside Hamilton Cesar-Chavez"),
        ("High", "Central Northside Washington"),
    )
    for name in names.split()
)


@dataclass(frozen=True)
class Child:
    first_name: str
    last_name: str
    birth_date: date | None
    grade_level: int
    school: str


@dataclass(frozen=True)
class LinkageWorld:
    """Participants with known truth: each one's student or None, and the row's damage."""

    students: pd.DataFrame
    participants: list[Participant]
    truth: Mapping[str, str | None]
    damage: Mapping[str, str]


def make_world(seed: int, students: int, participants: int) -> LinkageWorld:
    """Children of the district and a list of participants. The same seed gives the same world."""
    rng = random.Random(seed)
    names = _Names(rng)
    families: list[list[Child]] = []
    while sum(map(len, families)) < students:
        families.append(_family(rng, names))
    rng.shuffle(families)
    roster = [
        (f"s{place:05d}", child)
        for place, child in enumerate(child for family in families for child in family)
    ]
    strangers = round(NON_STUDENT_SHARE * participants)
    listed = [
        *_attending(rng, families, roster, participants - strangers),
        *((None, _stranger(rng, names, roster)) for _ in range(strangers)),
    ]
    rng.shuffle(listed)
    rows = []
    for place, (student, child) in enumerate(listed):
        kind = rng.choices(list(DAMAGES), [share for share, _ in DAMAGES.values()])[0]
        spoilt = DAMAGES[kind][1](rng, names, child)
        rows.append(
            (
                f"p{place:04d}",
                student,
                kind if spoilt != child else "none",
                _as_written(rng, spoilt),
            )
        )
    return LinkageWorld(
        pd.DataFrame(
            [(student, *vars(child).values()) for student, child in roster],
            columns=["student_id", *Child.__annotations__],
        ),
        [Participant(ORGANIZATION, key, *written) for key, _, _, written in rows],
        {key: student for key, student, _, _ in rows},
        {key: damage for key, _, damage, _ in rows},
    )


def exact_match_links(world: LinkageWorld) -> dict[str, str]:
    """What a plain look-up of names and birth date, letter for letter, would link."""
    by_facts: dict[tuple[object, ...], list[str]] = {}
    for row in world.students.itertuples():
        by_facts.setdefault((row.first_name, row.last_name, row.birth_date), []).append(
            row.student_id
        )
    links = {
        participant.participant_id: by_facts.get(
            (participant.first_name, participant.last_name, participant.birth_date), []
        )
        for participant in world.participants
    }
    return {key: students[0] for key, students in links.items() if len(students) == 1}


class _Names:
    """Names by a long-tailed law: a few hundred common ones, and thousands made of syllables."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._first = (
            FIRST_NAMES.split(),
            _tail(rng, 3000, ("a", "ia", "on", "el", "us", "en", "y")),
        )
        self._last = (
            LAST_NAMES.split(),
            _tail(rng, 6000, ("son", "ez", "er", "ski", "man", "ova", "ton")),
        )

    def first(self) -> str:
        return self._draw(*self._first, common=0.7, lean=1.3)

    def last(self) -> str:
        name = self._draw(*self._last, common=0.6, lean=1.5)
        drawn = self._rng.random()
        if drawn < 0.14:
            return f"{name}{self._rng.choice('- ')}{self._draw(*self._last, common=0.6, lean=1.5)}"
        return f"{self._rng.choice(PARTICLES)}{name}" if drawn < 0.17 else name

    def _draw(self, stock: list[str], tail: list[str], common: float, lean: float) -> str:
        if self._rng.random() < common:
            return stock[min(int(len(stock) * self._rng.random() ** lean), len(stock) - 1)]
        return self._rng.choice(tail)


def _tail(rng: random.Random, number: int, endings: tuple[str, ...]) -> list[str]:
    parts = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    return [
        "".join(rng.choices(parts, k=rng.choice((1, 2, 2, 3)))).capitalize() + rng.choice(endings)
        for _ in range(number)
    ]


def _family(rng: random.Random, names: _Names) -> list[Child]:
    last, zone = names.last(), rng.randrange(20)
    children: list[Child] = []
    for _ in range(rng.choices((1, 2, 3), (0.6, 0.3, 0.1))[0]):
        born = date(2007, 9, 1) + timedelta(days=rng.randrange(13 * 365))
        children.append(_child(names.first(), last, born, zone))
    if rng.random() < 0.03:
        born = children[0].birth_date
        pair = rng.choice(TWINS_ALIKE) if rng.random() < 0.4 else (names.first(), names.first())
        children = [
            _child(name, last, born, zone) for name in pair if pair[0] != pair[1]
        ] or children
    return children


def _child(first: str, last: str, born: date, zone: int) -> Child:
    grade = 2025 - born.year - (5 if (born.month, born.day) < (9, 1) else 6)
    place = zone if grade <= 5 else 20 + zone // 4 if grade <= 8 else 25 + zone // 4 % 3
    return Child(first, last, born, grade, SCHOOLS[place])


def _attending(
    rng: random.Random, families: list[list[Child]], roster: list[tuple[str, Child]], wanted: int
) -> list[tuple[str, Child]]:
    """Single children, and whole families: brothers, sisters and twins come together."""
    places = iter(roster)
    grouped = [[next(places) for _ in family] for family in families]
    chosen: list[tuple[str, Child]] = []
    for family in rng.sample(grouped, len(grouped)):
        twins = len({child.birth_date for _, child in family}) < len(family)
        if len(chosen) < wanted and (twins or rng.random() < 0.5):
            chosen += family if twins or rng.random() < 0.4 else [rng.choice(family)]
    return rng.sample(chosen, len(chosen))[:wanted]


def _stranger(rng: random.Random, names: _Names, roster: list[tuple[str, Child]]) -> Child:
    """A child who is no student: unrelated, a sibling of a student, or a student's namesake."""
    alone = _family(rng, names)[0]
    kin = rng.choice(roster)[1]
    drawn = rng.random()
    if drawn < 0.25:
        return replace(alone, last_name=kin.last_name, school=kin.school)
    if drawn < 0.5:
        return replace(alone, first_name=kin.first_name, last_name=kin.last_name)
    return alone


def _as_written(rng: random.Random, child: Child) -> tuple[str, str, date | None, int | None, str]:
    """The values that no partner writes quite as the district does: school name and grade."""
    drawn = rng.random()
    school = child.school
    if drawn < 0.15:
        school = ""
    elif drawn < 0.4:
        school = (
            school.replace(" School", "").replace("Elementary", "Elem.").replace("Middle", "MS")
        )
    elif drawn < 0.48:
        school = rng.choice(SCHOOLS)
    grade = rng.choices((child.grade_level, child.grade_level - 1, None), (0.8, 0.12, 0.08))[0]
    return child.first_name, child.last_name, child.birth_date, grade, school


Damage = Callable[[random.Random, _Names, Child], Child]


def _nothing(rng: random.Random, names: _Names, child: Child) -> Child:
    return child


def _plain_letters(rng: random.Random, names: _Names, child: Child) -> Child:
    def plain(text: str) -> str:
        bare = "".join(
            c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)
        )
        return rng.choice((str.upper, str.lower, str.title))(bare)

    return replace(child, first_name=plain(child.first_name), last_name=plain(child.last_name))


def _typo_in_first(rng: random.Random, names: _Names, child: Child) -> Child:
    return replace(child, first_name=_mistyped(rng, child.first_name))


def _typo_in_last(rng: random.Random, names: _Names, child: Child) -> Child:
    return replace(child, last_name=_mistyped(rng, child.last_name))


def _typos_in_both(rng: random.Random, names: _Names, child: Child) -> Child:
    return _typo_in_last(rng, names, _typo_in_first(rng, names, child))


def _swapped(rng: random.Random, names: _Names, child: Child) -> Child:
    return replace(child, first_name=child.last_name, last_name=child.first_name)


def _hyphens(rng: random.Random, names: _Names, child: Child) -> Child:
    """A double surname halved or joined otherwise; a single one doubled."""
    halves = child.last_name.replace("-", " ").split()
    if len(halves) == 1:
        return replace(child, last_name=f"{child.last_name}-{names.last()}")
    return replace(
        child,
        last_name=rng.choice((halves[0], halves[-1], "-".join(halves), " ".join(reversed(halves)))),
    )


def _new_surname(rng: random.Random, names: _Names, child: Child) -> Child:
    return replace(child, last_name=names.last())


def _no_birth_date(rng: random.Random, names: _Names, child: Child) -> Child:
    return replace(child, birth_date=None)


def _day_for_month(rng: random.Random, names: _Names, child: Child) -> Child:
    born = child.birth_date
    return (
        replace(child, birth_date=born.replace(month=born.day, day=born.month))
        if born.day <= 12
        else child
    )


def _wrong_digit(rng: random.Random, names: _Names, child: Child) -> Child:
    written = child.birth_date.isoformat()
    dates: list[date] = []
    for at in (3, 5, 6, 8, 9):
        for digit in "0123456789":
            with suppress(ValueError):
                dates.append(date.fromisoformat(written[:at] + digit + written[at + 1 :]))
    return replace(child, birth_date=rng.choice([day for day in dates if day != child.birth_date]))


def _nickname(rng: random.Random, names: _Names, child: Child) -> Child:
    shorts = SHORT_FORMS.get(child.first_name.lower(), "").split()
    return replace(child, first_name=rng.choice(shorts).capitalize()) if shorts else child


def _one_of_two_first_names(rng: random.Random, names: _Names, child: Child) -> Child:
    parts = child.first_name.split("-")
    return replace(
        child, first_name=parts[0] if len(parts) > 1 else f"{child.first_name} {names.first()}"
    )


def _mistyped(rng: random.Random, name: str) -> str:
    at = rng.randrange(1, len(name)) if len(name) > 1 else 0
    letter = rng.choice("abcdefghijklmnopqrstuvwxyz")
    return rng.choice(
        (
            name[:at] + name[at + 1 :],
            name[:at] + letter + name[at:],
            name[:at] + letter + name[at + 1 :],
            name[: at - 1] + name[at] + name[at - 1] + name[at + 1 :] if at else name + letter,
        )
    )


DAMAGES: Mapping[str, tuple[float, Damage]] = {
    "none": (0.40, _nothing),
    "capitals and accents": (0.12, _plain_letters),
    "typo in the first name": (0.07, _typo_in_first),
    "typo in the last name": (0.07, _typo_in_last),
    "typos in both names": (0.02, _typos_in_both),
    "first and last name swapped": (0.04, _swapped),
    "hyphens and double surnames": (0.08, _hyphens),
    "changed surname": (0.03, _new_surname),
    "no birth date": (0.04, _no_birth_date),
    "day and month exchanged": (0.03, _day_for_month),
    "wrong digit in the birth date": (0.04, _wrong_digit),
    "nickname": (0.03, _nickname),
    "one first name of two": (0.03, _one_of_two_first_names),
}
"""What can have happened to a row: its share of the list, and how it is done."""
