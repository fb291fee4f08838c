"""The declared facts of the demo district: its calendar, schools, courses and stocks of names.

This module owns what is the same whatever the seed: every place, school and person named here is
made up. It refuses nothing and draws nothing; `population` draws students from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

Dates = npt.NDArray[np.datetime64]
Ints = npt.NDArray[np.int64]

DEMO_TODAY = date(2026, 4, 17)
"""The day on which the demo stands: a Friday in the third school year."""

DISTRICT_ID = "harrow-lake"
DISTRICT_NAME = "Harrow Lake Unified School District"
PERIODS_A_YEAR = 4
KINDERGARTEN, LAST_GRADE = 0, 12


@dataclass(frozen=True)
class SchoolYear:
    """One school year.

    `name` is the calendar year in which it ends; `closed` are inclusive spans without classes.
    """

    name: int
    first: date
    last: date
    closed: tuple[tuple[date, date], ...]

    @property
    def title(self) -> str:
        return f"{self.name - 1}-{self.name % 100:02d}"

    def days(self) -> Dates:
        """All instructional days of the year, in order."""
        days = np.arange(np.datetime64(self.first), np.datetime64(self.last) + 1)
        days = days[np.is_busday(days)]
        for start, end in self.closed:
            days = days[(days < np.datetime64(start)) | (days > np.datetime64(end))]
        return days

    def period_ends(self) -> Dates:
        """The last instructional day of each grading period: four equal parts of the year."""
        days = self.days()
        return days[[len(days) * k // PERIODS_A_YEAR - 1 for k in range(1, PERIODS_A_YEAR + 1)]]


def _one(day: date) -> tuple[date, date]:
    return (day, day)


SCHOOL_YEARS = (
    SchoolYear(
        2024,
        date(2023, 8, 21),
        date(2024, 6, 6),
        (
            _one(date(2023, 9, 4)),
            _one(date(2023, 10, 9)),
            _one(date(2023, 11, 10)),
            (date(2023, 11, 22), date(2023, 11, 24)),
            (date(2023, 12, 21), date(2024, 1, 3)),
            _one(date(2024, 1, 15)),
            _one(date(2024, 2, 19)),
            (date(2024, 3, 25), date(2024, 3, 29)),
            _one(date(2024, 5, 27)),
        ),
    ),
    SchoolYear(
        2025,
        date(2024, 8, 19),
        date(2025, 6, 5),
        (
            _one(date(2024, 9, 2)),
            _one(date(2024, 10, 14)),
            _one(date(2024, 11, 11)),
            (date(2024, 11, 27), date(2024, 11, 29)),
            (date(2024, 12, 23), date(2025, 1, 3)),
            _one(date(2025, 1, 20)),
            _one(date(2025, 2, 17)),
            (date(2025, 3, 24), date(2025, 3, 28)),
            _one(date(2025, 5, 26)),
        ),
    ),
    SchoolYear(
        2026,
        date(2025, 8, 18),
        date(2026, 6, 4),
        (
            _one(date(2025, 9, 1)),
            _one(date(2025, 10, 13)),
            _one(date(2025, 11, 11)),
            (date(2025, 11, 26), date(2025, 11, 28)),
            (date(2025, 12, 22), date(2026, 1, 2)),
            _one(date(2026, 1, 19)),
            _one(date(2026, 2, 16)),
            (date(2026, 3, 23), date(2026, 3, 27)),
            _one(date(2026, 5, 25)),
        ),
    ),
)


@dataclass(frozen=True)
class Calendar:
    """The instructional days up to the demo's date, with what each belongs to (parallel arrays)."""

    days: Dates
    year: Ints
    """Index into SCHOOL_YEARS."""
    weekday: Ints
    """0 is Monday."""
    period: Ints
    """Grading period counted through the years: year * PERIODS_A_YEAR + period, from 0."""
    month: Ints
    """Months with classes, counted through the years from 0."""
    period_end: Ints
    """For each period that is over: the index of its last day."""


def calendar() -> Calendar:
    """The district's instructional days from the first school year to `DEMO_TODAY`."""
    days, year, period = [], [], []
    for index, school_year in enumerate(SCHOOL_YEARS):
        year_days = school_year.days()
        days.append(year_days)
        year.append(np.full(len(year_days), index))
        within = np.searchsorted(school_year.period_ends(), year_days)
        period.append(index * PERIODS_A_YEAR + within)
    all_days = np.concatenate(days)
    past = all_days <= np.datetime64(DEMO_TODAY)
    days_so_far, years, periods = (
        all_days[past],
        np.concatenate(year)[past],
        np.concatenate(period)[past],
    )
    months = days_so_far.astype("datetime64[M]").astype(np.int64)
    ends = np.searchsorted(days_so_far, np.concatenate([y.period_ends() for y in SCHOOL_YEARS]))
    return Calendar(
        days_so_far,
        years,
        (days_so_far.astype(np.int64) + 3) % 7,
        periods,
        np.unique(months, return_inverse=True)[1],
        ends[ends < len(days_so_far)],
    )


ELEMENTARY = (
    "Alder Creek",
    "Birch Hollow",
    "Cedar Bend",
    "Dogwood",
    "Elm Terrace",
    "Fern Valley",
    "Goldfinch",
    "Heron Pond",
    "Ivy Hill",
    "Juniper Flats",
    "Kestrel",
    "Larkspur",
    "Meadow Gate",
    "Nuthatch",
    "Orchard Row",
    "Pebble Brook",
    "Quail Run",
    "Redbud",
    "Sparrow Field",
    "Thistledown",
)
MIDDLE = ("Canal Street", "Ferry Landing", "Mill Pond", "Prairie View", "Stone Bridge")
HIGH = ("East Harrow", "Lakeside Union", "North Ridge", "Old Quarry")
SCHOOL_NAMES = (
    *(f"{name} Elementary School" for name in ELEMENTARY),
    *(f"{name} Middle School" for name in MIDDLE),
    *(f"{name} High School" for name in HIGH),
)
SCHOOL_IDS = tuple(f"{DISTRICT_ID}-{number:03d}" for number in range(101, 101 + len(SCHOOL_NAMES)))


def school_of(zone: Ints, grade: Ints) -> Ints:
    """The index of the school for a zone (0 to 19) and grade; four zones share a middle school."""
    middle = zone // 4
    high = middle % len(HIGH)
    return np.where(
        grade <= 5,
        zone,
        np.where(grade <= 8, len(ELEMENTARY) + middle, len(ELEMENTARY) + len(MIDDLE) + high),
    )


COURSES = (
    ("Reading", "Mathematics", "Science", "Social Studies"),
    ("English", "Mathematics", "Science", "Social Studies"),
    ("English", "Mathematics", "Science", "History"),
)
"""Four courses a year: elementary, middle, high."""


def level_of(grade: Ints) -> Ints:
    """0 elementary (to grade 5), 1 middle (to grade 8), 2 high."""
    return np.where(grade <= 5, 0, np.where(grade <= 8, 1, 2))


FIRST_NAMES = (
    "Aaliyah",
    "Aaron",
    "Abigail",
    "Adam",
    "Adrian",
    "Aiden",
    "Alana",
    "Alejandro",
    "Alex",
    "Alice",
    "Alina",
    "Amara",
    "Amir",
    "Amy",
    "Ana",
    "Andre",
    "Andrea",
    "Angel",
    "Anthony",
    "Aria",
    "Asha",
    "Austin",
    "Ava",
    "Beatriz",
    "Ben",
    "Bianca",
    "Blake",
    "Brandon",
    "Brianna",
    "Bruno",
    "Caleb",
    "Camila",
    "Carlos",
    "Carmen",
    "Casey",
    "Celia",
    "Charlotte",
    "Chloe",
    "Christian",
    "Clara",
    "Cole",
    "Corey",
    "Cristina",
    "Dalia",
    "Daniel",
    "Daria",
    "David",
    "Deja",
    "Derek",
    "Diana",
    "Diego",
    "Dominic",
    "Dylan",
    "Eden",
    "Edith",
    "Eduardo",
    "Elena",
    "Eli",
    "Elijah",
    "Ella",
    "Emilio",
    "Emily",
    "Emma",
    "Eric",
    "Esther",
    "Ethan",
    "Eva",
    "Evan",
    "Farah",
    "Fatima",
    "Felix",
    "Fiona",
    "Francis",
    "Gabriel",
    "Gia",
    "Grace",
    "Grant",
    "Hailey",
    "Hana",
    "Hannah",
    "Harper",
    "Hector",
    "Henry",
    "Hugo",
    "Ian",
    "Imani",
    "Iris",
    "Isaac",
    "Isabel",
    "Ivan",
    "Jada",
    "Jaden",
    "Jamal",
    "James",
    "Jasmine",
    "Jayla",
    "Jin",
    "Joel",
    "Jonah",
    "Jordan",
    "Jose",
    "Julia",
    "Kai",
    "Kara",
    "Keisha",
    "Kevin",
    "Kiara",
    "Kira",
    "Lamar",
    "Layla",
    "Leah",
    "Leo",
    "Lila",
    "Linh",
    "Logan",
    "Lucas",
    "Lucia",
    "Luis",
    "Maeve",
    "Malik",
    "Marco",
    "Maria",
    "Mason",
    "Mateo",
    "Maya",
    "Mei",
    "Micah",
    "Miguel",
    "Mina",
    "Nadia",
    "Naomi",
    "Nathan",
    "Nia",
    "Nina",
    "Noah",
    "Nora",
    "Olive",
    "Omar",
    "Oscar",
    "Paige",
    "Parker",
    "Paulo",
    "Priya",
    "Quinn",
    "Rafael",
    "Rania",
    "Ravi",
    "Reese",
    "Rosa",
    "Ruben",
    "Ruth",
    "Ryan",
    "Sadie",
    "Sam",
    "Samira",
    "Sana",
    "Sara",
    "Silas",
    "Simone",
    "Sofia",
    "Tara",
    "Theo",
    "Tyler",
    "Uma",
    "Valeria",
    "Victor",
    "Violet",
    "Wesley",
    "Willa",
    "Xavier",
    "Yara",
    "Yusuf",
    "Zara",
    "Zoe",
)
LAST_NAMES = (
    "Abbott",
    "Acosta",
    "Adeyemi",
    "Aguilar",
    "Ali",
    "Allen",
    "Alvarez",
    "Anders",
    "Arroyo",
    "Bailey",
    "Baker",
    "Banerjee",
    "Barnes",
    "Becker",
    "Bell",
    "Benitez",
    "Bishop",
    "Brooks",
    "Brown",
    "Burke",
    "Burton",
    "Cabrera",
    "Campbell",
    "Carter",
    "Castillo",
    "Chan",
    "Chavez",
    "Cho",
    "Clarke",
    "Cohen",
    "Cole",
    "Collins",
    "Cooper",
    "Cruz",
    "Dalton",
    "Davis",
    "Delgado",
    "Desai",
    "Diaz",
    "Dixon",
    "Doyle",
    "Duran",
    "Eastman",
    "Edwards",
    "Ellis",
    "Espinoza",
    "Evans",
    "Farrow",
    "Fields",
    "Fisher",
    "Flores",
    "Ford",
    "Foster",
    "Fox",
    "Garcia",
    "Gibson",
    "Gomez",
    "Graham",
    "Grant",
    "Gray",
    "Green",
    "Guzman",
    "Hale",
    "Hall",
    "Harris",
    "Hassan",
    "Hayes",
    "Henry",
    "Hernandez",
    "Hill",
    "Holt",
    "Howard",
    "Hudson",
    "Hughes",
    "Ibarra",
    "Ito",
    "Jackson",
    "James",
    "Jenkins",
    "Jensen",
    "Johnson",
    "Jones",
    "Jordan",
    "Kaur",
    "Keller",
    "Kelly",
    "Khan",
    "Kim",
    "King",
    "Klein",
    "Lam",
    "Lane",
    "Lee",
    "Lewis",
    "Lin",
    "Long",
    "Lopez",
    "Lowe",
    "Marsh",
    "Martin",
    "Martinez",
    "Mason",
    "Medina",
    "Mendez",
    "Miller",
    "Mitchell",
    "Molina",
    "Moore",
    "Morales",
    "Morgan",
    "Morris",
    "Murphy",
    "Nash",
    "Navarro",
    "Nelson",
    "Nguyen",
    "Novak",
    "Nunez",
    "Obrien",
    "Okafor",
    "Ortega",
    "Osman",
    "Owens",
    "Pace",
    "Palmer",
    "Park",
    "Parker",
    "Patel",
    "Pena",
    "Perez",
    "Perry",
    "Pham",
    "Phillips",
    "Pierce",
    "Powell",
    "Price",
    "Quintero",
    "Ramirez",
    "Ramos",
    "Reed",
    "Reyes",
    "Reynolds",
    "Rivera",
    "Roberts",
    "Robinson",
    "Rogers",
    "Romero",
    "Rossi",
    "Russell",
    "Salazar",
    "Sanchez",
    "Sanders",
    "Santos",
    "Schmidt",
    "Scott",
    "Shah",
    "Shaw",
    "Silva",
    "Singh",
    "Smith",
    "Soto",
    "Stone",
    "Suarez",
    "Sullivan",
    "Tanaka",
    "Taylor",
    "Thomas",
    "Torres",
    "Tran",
    "Turner",
    "Vargas",
    "Vega",
    "Velez",
    "Wade",
    "Walker",
    "Wallace",
    "Ward",
    "Watson",
    "Webb",
    "West",
    "White",
    "Williams",
    "Wilson",
    "Wong",
    "Wood",
    "Wright",
    "Yang",
    "Young",
    "Zamora",
    "Zhang",
)
