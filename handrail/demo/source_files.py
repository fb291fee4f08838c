"""Writes the demo district's source files: OneRoster CSV, service history, agreements, people.

They are in plain words, those of the canonical tables, for benchmarks and tests of what comes after
a load; or, for the demo itself, in the district's own (`local_forms`).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from handrail.demo.district import (
    COURSES,
    DISTRICT_ID,
    DISTRICT_NAME,
    FIRST_NAMES,
    HIGH,
    LAST_GRADE,
    LAST_NAMES,
    SCHOOL_IDS,
    SCHOOL_NAMES,
    SCHOOL_YEARS,
    Calendar,
    Dates,
    Ints,
    calendar,
    level_of,
)
from handrail.demo.local_forms import (
    ABSENT_EXCUSED,
    ABSENT_UNEXCUSED,
    CLASSES_A_DAY,
    FIELD_TRIP,
    HALF_DAY,
    HIGH_SCHOOL_LEVEL,
    PROFILE,
    SUMMER_SCHOOL,
    SUMMERS,
    TARDY,
    LocalFacts,
    class_ids,
    draw_local_facts,
    written_marks,
)
from handrail.demo.partner_export import write_export
from handrail.demo.partners import (
    COSTS,
    EXPORTING_PARTNER,
    PARTNERS,
    agreement_text,
    all_staff,
    versions_of_partner,
)
from handrail.demo.population import Flags, Population, draw_population
from handrail.demo.simulation import (
    DEFAULT_OFFER_BIAS,
    OFFERED_PROGRAMS,
    History,
    OfferBias,
    simulate_history,
    year_and_period,
)
from records.canonical.schema import RACE_ETHNICITIES, SEXES
from records.system.progress import ProgressCallback

_RACE_COLUMNS = {
    "american_indian": "americanIndianOrAlaskaNative",
    "asian": "asian",
    "black": "blackOrAfricanAmerican",
    "pacific_islander": "nativeHawaiianOrOtherPacificIslander",
    "white": "white",
    "two_or_more": "demographicRaceTwoOrMoreRaces",
    "hispanic": "hispanicOrLatinoEthnicity",
}
_BAD_LINES = {
    "sis/attendance.csv": (
        "{student},harrow-lake-101,2026-02-30,{excused}{rest}",
        "{student},harrow-lake-101,2026-03-04,at the dentist{rest}",
        '{student},harrow-lake-101,"2026-03-05,{tardy}',
        "NOBODY,harrow-lake-101,2026-03-06,{tardy}{rest}",
        "{student},harrow-lake-101,2026-03-09",
    ),
    "sis/course_grades.csv": (
        "{student},Mathematics,2026,2,2026-01-15,B plus",
        "{student},,2026,2,2026-01-15,88",
        "{student},Music,2026,2,2026-01-15,112",
    ),
    "service_history/sessions.csv": (
        "ns-bad-1,{student},ns-mentoring,northstar,2026-03-04,maybe,30",
        "ns-bad-2,unknown-participant,ns-mentoring,northstar,2026-03-04,true,30",
        "ns-bad-3,{student},ns-mentoring,northstar,04/03/2026,true,30",
    ),
    "service_history/enrollments.csv": (
        "{student},ns-mentoring,northstar,,,",
        "987-65-4321,ns-mentoring,northstar,2026-01-12,,",
    ),
}
"""Lines as exports really hold them: each must end in quarantine with its reason. `rest` is what
follows the code in the district's own form."""

_ODD_LINES = {
    "sis/attendance.csv": ("{student},harrow-lake-101,2026-03-07,{tardy}{rest}",),
    "service_history/sessions.csv": (
        "ns-odd-1,{student},ns-mentoring,northstar,2026-03-04,true,600",
    ),
}
"""Lines that can be read, and that somebody should look at: a Saturday, ten hours of mentoring."""

_ALL_CLASSES = np.arange(CLASSES_A_DAY)
_TWO_DECADES = np.timedelta64(7_305, "D")
"""By which one student's birth date is wrong, as where 1995 was typed for 2015."""


@dataclass(frozen=True)
class DemoFiles:
    """The paths of the source files."""

    sis: Path
    service_history: Path
    agreements: tuple[Path, ...]
    organizations: Path
    staff: Path
    consents: Path
    costs: Path
    partner_export: Path
    """The folder of `EXPORTING`: its participants, its own export and the mapping that reads it."""
    profile: Path | None
    """What the words of `sis` mean; None where they are plain."""


def write_source_files(
    directory: Path,
    *,
    seed: int = 2026,
    students: int = 16_000,
    habit: OfferBias = DEFAULT_OFFER_BIAS,
    local: bool = False,
    progress: ProgressCallback = lambda step, done, total: None,
) -> DemoFiles:
    """Write the demo district under `directory`.

    Args:
        habit: which groups were offered supports less often at equal need.
        local: whether it exports in its own words, with what a real year holds beside; the
            simulation is the same.
    """
    rng = np.random.default_rng(seed)
    people, days = draw_population(rng, students), calendar()
    history = simulate_history(
        rng,
        people,
        days,
        lambda done, total: progress("simulating three school years", done, total),
        habit,
    )
    facts = draw_local_facts(_local_rng(seed), people, days, history) if local else None
    writer = _Writer(directory, rng, people, days, history, facts)
    steps = (
        writer.roster,
        writer.characteristics,
        writer.attendance,
        writer.grades,
        writer.tests,
        writer.incidents,
        writer.partners,
        writer.consents,
        writer.add_bad_lines,
    )
    for done, step in enumerate(steps):
        progress("writing source files", done, len(steps))
        step()
    progress("writing source files", len(steps), len(steps))
    return DemoFiles(
        directory / "sis",
        directory / "service_history",
        tuple(sorted((directory / "agreements").glob("*.toml"))),
        directory / "organizations.csv",
        directory / "staff.csv",
        directory / "consents.csv",
        directory / "costs.csv",
        directory / EXPORTING_PARTNER,
        _write_profile(directory / "profile.toml") if local else None,
    )


def _local_rng(seed: int) -> np.random.Generator:
    """A generator that moves no draw of the simulation."""
    return np.random.default_rng((seed, 1))


def _write_profile(file: Path) -> Path:
    file.write_text(PROFILE, encoding="utf-8")
    return file


class _Writer:
    def __init__(
        self,
        directory: Path,
        rng: np.random.Generator,
        people: Population,
        days: Calendar,
        history: History,
        facts: LocalFacts | None,
    ) -> None:
        self.directory, self.rng, self.people, self.days, self.history = (
            directory,
            rng,
            people,
            days,
            history,
        )
        self.facts = facts
        for folder in ("sis", "service_history", "agreements", EXPORTING_PARTNER):
            (directory / folder).mkdir(parents=True, exist_ok=True)
        order = rng.permutation(len(people))
        self.ids = np.array([f"HL{400_000 + number}" for number in order], dtype=object)
        self.dates = np.datetime_as_string(days.days).astype(object)
        self.schools = np.array(SCHOOL_IDS, dtype=object)
        entered = people.entry_day[-1]
        self.current = np.flatnonzero(~np.isnat(entered) & (entered <= days.days[-1]))

    def _write(self, file: str, columns: Mapping[str, Any]) -> None:
        pd.DataFrame(dict(columns)).to_csv(self.directory / file, index=False, lineterminator="\n")

    def _rows(self, file: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        with (self.directory / file).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerows([header, *rows])

    def _school_on(self, day: int, who: Ints) -> Any:
        return self.schools[self._school_places(np.full(len(who), day), who)]

    def _school_places(self, day: Ints, who: Ints) -> Ints:
        """The index of the school of each student on each day."""
        year = self.days.year[day]
        moved = self.people.move_day[year, who] <= self.days.days[day]
        places: Ints = self.people.school[year, moved.astype(np.int64), who]
        return places

    def _grades_on(self, day: Ints, who: Ints) -> Ints:
        grades = np.stack([self.people.grade_in(year) for year in range(len(SCHOOL_YEARS))])
        chosen: Ints = grades[self.days.year[day], who]
        return chosen

    def roster(self) -> None:
        people, who = self.people, np.arange(len(self.people))
        district: list[object] = [DISTRICT_ID, "active", DISTRICT_NAME, "district", ""]
        self._rows(
            "sis/orgs.csv",
            ("sourcedId", "status", "name", "type", "parentSourcedId"),
            [
                district,
                *(
                    [school, "active", name, "school", DISTRICT_ID]
                    for school, name in zip(SCHOOL_IDS, SCHOOL_NAMES, strict=True)
                ),
            ],
        )
        self._rows(
            "sis/academicSessions.csv",
            ("sourcedId", "status", "title", "type", "startDate", "endDate", "schoolYear"),
            [
                *(
                    [
                        f"year-{year.name}",
                        "active",
                        year.title,
                        "schoolYear",
                        year.first,
                        year.last,
                        year.name,
                    ]
                    for year in SCHOOL_YEARS
                ),
                *(
                    [f"summer-{year}", "active", f"Summer {year}", "term", first, last, year]
                    for year, first, last in self._summers()
                ),
            ],
        )
        self._rows(
            "sis/calendar.csv",
            ("school_id", "date", "school_year"),
            [
                *(
                    [school, day, year.name]
                    for year in SCHOOL_YEARS
                    for day in np.datetime_as_string(year.days())
                    for school in SCHOOL_IDS
                ),
                *(
                    [SUMMER_SCHOOL, day, year]
                    for year, first, last in self._summers()
                    for day in np.arange(np.datetime64(first), np.datetime64(last) + 1)
                    if np.is_busday(day)
                ),
            ],
        )
        present = ~np.all(np.isnat(people.entry_day), axis=0)
        self._write(
            "sis/users.csv",
            {
                "sourcedId": self.ids[present],
                "status": "active",
                "role": "student",
                "givenName": np.array(FIRST_NAMES, dtype=object)[people.first_name[present]],
                "familyName": np.array(LAST_NAMES, dtype=object)[people.last_name[present]],
                "grades": [f"{grade:02d}" if grade else "KG" for grade in people.grade[present]],
                "orgSourcedIds": self._school_on(len(self.days.days) - 1, who)[present],
            },
        )
        self._classes()
        self._enrollments()

    def _summers(self) -> Sequence[tuple[int, date, date]]:
        return SUMMERS if self.facts is not None else ()

    def _classes(self) -> None:
        rows: list[list[object]] = [
            [
                f"home-{year.name}-{school}-{grade:02d}",
                "active",
                f"Homeroom {grade}",
                f"{grade:02d}" if grade else "KG",
                "homeroom",
                school,
                f"year-{year.name}",
            ]
            for year in SCHOOL_YEARS
            for school in SCHOOL_IDS
            for grade in range(13)
        ]
        if self.facts is not None:
            rows += self._local_classes()
        self._rows(
            "sis/classes.csv",
            (
                "sourcedId",
                "status",
                "title",
                "grades",
                "classType",
                "schoolSourcedId",
                "termSourcedIds",
            ),
            rows,
        )

    def _local_classes(self) -> Iterator[list[object]]:
        """The classes of the high schools, and those of the summer sessions."""
        for index, year in enumerate(SCHOOL_YEARS):
            for place in range(len(SCHOOL_IDS) - len(HIGH), len(SCHOOL_IDS)):
                for grade in range(9, LAST_GRADE + 1):
                    names = class_ids(index, *np.broadcast_arrays(place, grade, _ALL_CLASSES))
                    for name, course in zip(names, COURSES[HIGH_SCHOOL_LEVEL], strict=True):
                        school, term = SCHOOL_IDS[place], f"year-{year.name}"
                        level = f"{grade:02d}"
                        yield [name, "active", course, level, "scheduled", school, term]
        for summer, _, _ in SUMMERS:
            name = f"class-summer-{summer}"
            title, term = "Summer reading", f"summer-{summer}"
            yield [name, "active", title, "", "scheduled", SUMMER_SCHOOL, term]

    def _enrollments(self) -> None:
        parts = []
        for index, year in enumerate(SCHOOL_YEARS):
            last = np.datetime64(year.last)
            past = index < len(SCHOOL_YEARS) - 1
            grades = np.maximum(self.people.grade_in(index), 0)
            for place, who, school, first, end in self._stays(index):
                number = np.full(len(who), place)
                block = np.full(len(who), -1)
                if self.facts is not None:
                    times = np.where(level_of(grades[who]) == HIGH_SCHOOL_LEVEL, CLASSES_A_DAY, 1)
                    block = np.where(np.repeat(times, times) > 1, _numbered(times), -1)
                    number, who, school, first, end = (
                        np.repeat(part, times) for part in (number, who, school, first, end)
                    )
                ends = np.datetime_as_string(end).astype(object)
                open_ended = (end == last) & (not past)
                parts.append(
                    pd.DataFrame(
                        {
                            "sourcedId": [
                                f"e-{year.name}-{place}-{student}"
                                + (f"-{class_number + 1}" if class_number >= 0 else "")
                                for student, class_number in zip(self.ids[who], block, strict=True)
                            ],
                            "status": "active",
                            "classSourcedId": self._class_of(index, school, grades[who], block),
                            "schoolSourcedId": self.schools[school],
                            "userSourcedId": self.ids[who],
                            "role": "student",
                            "beginDate": np.datetime_as_string(first),
                            "endDate": np.where(open_ended, "", ends),
                        }
                    )
                )
        parts += self._summer_enrollments()
        pd.concat(parts).to_csv(
            self.directory / "sis/enrollments.csv", index=False, lineterminator="\n"
        )

    def _class_of(self, index: int, school: Ints, grade: Ints, block: Ints) -> Any:
        """Identifiers of homerooms, and of a class where `block` is one of the day's."""
        padded = np.char.zfill(grade.astype(str), 2).astype(object)
        homerooms = f"home-{SCHOOL_YEARS[index].name}-" + self.schools[school] + "-" + padded
        return np.where(
            block >= 0, class_ids(index, school, grade, np.maximum(block, 0)), homerooms
        )

    def _stays(self, index: int) -> Iterator[tuple[int, Ints, Ints, Dates, Dates]]:
        """The stays of a school year: number, students, schools, first and last days."""
        entry, move = self.people.entry_day[index], self.people.move_day[index]
        here, moves = ~np.isnat(entry), ~np.isnat(move) & ~np.isnat(entry)
        last = np.full(len(entry), SCHOOL_YEARS[index].last, dtype="datetime64[D]")
        first_end = np.where(moves, move - 1, last)
        away = [] if self.facts is None else [s for s in self.facts.away if s.year == index]
        for span in away:
            first_end[span.student] = self.days.days[span.first - 1]
        for place, chosen, first, end in ((0, here, entry, first_end), (1, moves, move, last)):
            who = np.flatnonzero(chosen)
            yield place, who, self.people.school[index, place][who], first[who], end[who]
        back = [span for span in away if not moves[span.student]]
        who = np.array([span.student for span in back], dtype=np.int64)
        if len(who):
            first = self.days.days[[span.last + 1 for span in back]]
            yield 2, who, self.people.school[index, 0][who], first, last[who]

    def _summer_enrollments(self) -> Iterator[pd.DataFrame]:
        if self.facts is None:
            return
        for (year, first, last), who in zip(SUMMERS, self.facts.summer, strict=True):
            yield pd.DataFrame(
                {
                    "sourcedId": [f"e-summer-{year}-{student}" for student in self.ids[who]],
                    "status": "active",
                    "classSourcedId": f"class-summer-{year}",
                    "schoolSourcedId": SUMMER_SCHOOL,
                    "userSourcedId": self.ids[who],
                    "role": "student",
                    "beginDate": str(first),
                    "endDate": str(last),
                }
            )

    def characteristics(self) -> None:
        people = self.people
        present = ~np.all(np.isnat(people.entry_day), axis=0)
        races = {
            column: np.where(people.race[present] == RACE_ETHNICITIES.index(race), "true", "false")
            for race, column in _RACE_COLUMNS.items()
        }
        birth_dates = people.birth_date.copy()
        birth_dates[self.current[2]] -= _TWO_DECADES
        sexes = np.array(["female", "male", "other"], dtype=object)
        assert SEXES[:2] == ("female", "male")
        self._write(
            "sis/demographics.csv",
            {
                "sourcedId": self.ids[present],
                "status": "active",
                "birthDate": np.datetime_as_string(birth_dates[present]),
                "sex": sexes[people.sex[present]],
                **races,
            },
        )

        def as_text(flags: Flags) -> Any:
            return np.where(flags[present], "true", "false")

        self._write(
            "sis/characteristics.csv",
            {
                "userSourcedId": self.ids[present],
                "english_learner": as_text(people.english_learner),
                "special_education": as_text(people.special_education),
                "unstable_housing": as_text(people.unstable_housing),
                "meal_eligible": as_text(people.meal_eligible),
            },
        )

    def attendance(self) -> None:
        day, who, excused = (
            np.concatenate(part) for part in zip(*self.history.absences, strict=True)
        )
        late_day, late_who = (
            np.concatenate(part) for part in zip(*self.history.tardies, strict=True)
        )
        if self.facts is not None:
            self._local_attendance(self.facts, day, who, excused, late_day, late_who)
            return
        status = np.where(excused, "absent_excused", "absent_unexcused")
        frame = pd.DataFrame(
            {
                "day": np.concatenate([day, late_day]),
                "who": np.concatenate([who, late_who]),
                "status": np.concatenate([status, np.full(len(late_day), "tardy")]),
            }
        ).sort_values(["day", "who"], kind="stable")
        self._write("sis/attendance.csv", self._attendance_columns(frame))

    def _attendance_columns(self, frame: pd.DataFrame) -> dict[str, Any]:
        """The columns of an attendance file, from a frame of days, students and codes."""
        day, who = frame["day"].to_numpy(), frame["who"].to_numpy()
        return {
            "userSourcedId": self.ids[who],
            "school_id": self.schools[self._school_places(day, who)],
            "date": self.dates[day],
            "status": frame["status"].to_numpy(),
        }

    def _local_attendance(
        self,
        facts: LocalFacts,
        day: Ints,
        who: Ints,
        excused: Flags,
        late_day: Ints,
        late_who: Ints,
    ) -> None:
        """Attendance in the district's codes: by days, and by classes at the high schools."""
        codes = np.where(excused, ABSENT_EXCUSED, ABSENT_UNEXCUSED)
        at_high_school = level_of(self._grades_on(day, who)) == HIGH_SCHOOL_LEVEL
        times = np.where(at_high_school, CLASSES_A_DAY, 1)
        block = np.where(np.repeat(at_high_school, times), _numbered(times), -1)
        late_level = level_of(self._grades_on(late_day, late_who))
        parts = [
            (np.repeat(day, times), np.repeat(who, times), np.repeat(codes, times), block),
            (late_day, late_who, TARDY, np.where(late_level == HIGH_SCHOOL_LEVEL, 0, -1)),
            (*facts.half_days, HALF_DAY, -1),
            (*facts.skipped[:2], ABSENT_UNEXCUSED, facts.skipped[2]),
            (*facts.field_trips, FIELD_TRIP, -1),
        ]
        frame = pd.concat(
            [
                pd.DataFrame({"day": day, "who": who, "status": code, "block": number})
                for day, who, code, number in parts
            ]
        ).sort_values(["day", "who", "block"], kind="stable")
        columns = self._attendance_columns(frame)
        columns["classSourcedId"] = self._classes_missed(frame)
        self._write("sis/attendance.csv", columns)

    def _classes_missed(self, frame: pd.DataFrame) -> Any:
        """The class of each line that is about one; empty where it is about the day."""
        day, who, block = (frame[name].to_numpy() for name in ("day", "who", "block"))
        names = np.full(len(frame), "", dtype=object)
        for index in range(len(SCHOOL_YEARS)):
            rows = np.flatnonzero((block >= 0) & (self.days.year[day] == index))
            school = self._school_places(day[rows], who[rows])
            grade = self._grades_on(day[rows], who[rows])
            names[rows] = class_ids(index, school, grade, block[rows])
        return names

    def grades(self) -> None:
        parts = []
        for period, who, scores in self.history.grades:
            year, number = year_and_period(period)
            level = level_of(np.maximum(self.people.grade_in(year)[who], 0))
            end = np.datetime_as_string(SCHOOL_YEARS[year].period_ends()[number - 1])
            school = self._school_on(int(self.days.period_end[period]), who)
            for course in range(scores.shape[1]):
                titles = np.array([courses[course] for courses in COURSES], dtype=object)[level]
                parts.append(
                    pd.DataFrame(
                        {
                            "userSourcedId": self.ids[who],
                            "course": titles,
                            "school_year": SCHOOL_YEARS[year].name,
                            "period": number,
                            "date": end,
                            "grade": self._marks(scores[:, course].astype(int), school),
                        }
                    )
                )
        pd.concat(parts).to_csv(
            self.directory / "sis/course_grades.csv", index=False, lineterminator="\n"
        )

    def _marks(self, scores: Ints, school: Any) -> Any:
        return scores if self.facts is None else written_marks(scores, school)

    def tests(self) -> None:
        parts = []
        for index in range(len(SCHOOL_YEARS)):
            for part_of_year in (20, 95):
                day = np.flatnonzero(self.days.year == index)[part_of_year]
                entry = self.people.entry_day[index]
                who = np.flatnonzero(~np.isnat(entry) & (entry <= self.days.days[day]))
                for name in ("Reading", "Mathematics"):
                    score = (
                        150 + 0.9 * self.people.ability[who] + 4 * self.people.grade_in(index)[who]
                    )
                    score = np.round(score + self.rng.normal(0, 4, len(who)))
                    parts.append(
                        pd.DataFrame(
                            {
                                "userSourcedId": self.ids[who],
                                "assessment": f"{name} benchmark",
                                "date": self.dates[day],
                                "score": score.astype(int),
                                "measure": "scale score",
                            }
                        )
                    )
        pd.concat(parts).to_csv(
            self.directory / "sis/assessments.csv", index=False, lineterminator="\n"
        )

    def incidents(self) -> None:
        day = np.concatenate([part[0] for part in self.history.incidents])
        who = np.concatenate([part[1] for part in self.history.incidents])
        kind = np.array(["Disruption", "Disagreement", "Cutting class", "Defiance"], dtype=object)
        actions = ("Conversation", "Detention", "In-school suspension", "Out-of-school suspension")
        chosen = self.rng.choice(4, len(day), p=(0.5, 0.3, 0.12, 0.08))
        self._write(
            "sis/incidents.csv",
            {
                "userSourcedId": self.ids[who],
                "incident_id": [f"inc-{number:06d}" for number in range(len(day))],
                "date": self.dates[day],
                "behavior": kind[self.rng.integers(0, 4, len(day))],
                "action": np.array(actions, dtype=object)[chosen],
                "days_removed": np.array([0, 0, 1, 2])[chosen],
            },
        )

    def partners(self) -> None:
        rows = [
            [
                program.program_id,
                partner.organization_id,
                program.name,
                program.support,
                program.capacity,
                program.cost_per_session,
                program.min_grade,
                program.max_grade,
            ]
            for partner in PARTNERS
            if partner.organization_id != EXPORTING_PARTNER
            for program in partner.programs
        ]
        self._rows(
            "service_history/programs.csv",
            (
                "program_id",
                "organization_id",
                "name",
                "support",
                "capacity",
                "cost_per_session",
                "min_grade",
                "max_grade",
            ),
            rows,
        )
        service_enrollments = self._service_enrollments()
        sessions = self._sessions(service_enrollments)
        for file, frame in (
            ("enrollments", service_enrollments.drop(columns=["first", "last"])),
            ("sessions", sessions),
        ):
            plain = frame[frame["organization_id"] != EXPORTING_PARTNER]
            plain.to_csv(
                self.directory / f"service_history/{file}.csv", index=False, lineterminator="\n"
            )
        write_export(
            self.directory / EXPORTING_PARTNER,
            self._partner_participants(service_enrollments),
            service_enrollments,
            sessions,
            self.rng.spawn(1)[0],
        )
        for partner in PARTNERS:
            for version in versions_of_partner(partner):
                name = f"{partner.organization_id}-{version.version}.toml"
                (self.directory / "agreements" / name).write_text(agreement_text(version))
        share = len(self.people) / 16_000
        self._rows(
            "costs.csv",
            ("program", "dollars", "per"),
            [
                [program, round(dollars * share) if per == "year" else dollars, per]
                for program, dollars, per in COSTS
            ],
        )
        self._rows(
            "organizations.csv",
            ("organization_id", "name", "kind"),
            [
                ["district", DISTRICT_NAME, "district"],
                *([partner.organization_id, partner.name, partner.kind] for partner in PARTNERS),
            ],
        )
        self._rows(
            "staff.csv",
            ("login", "name", "role", "organization_id"),
            [
                [login, name, role.value, organization]
                for login, name, role, organization in all_staff()
            ],
        )

    def _service_enrollments(self) -> pd.DataFrame:
        owner = {
            program.program_id: partner.organization_id
            for partner in PARTNERS
            for program in partner.programs
        }
        student, program, start, end = (
            np.concatenate(part) for part in zip(*self.history.service_starts, strict=True)
        )
        names = [OFFERED_PROGRAMS[place].program_id for place in program]
        study_hall = self._study_hall()
        hall_begins = len(self.days.days) - 60
        student = np.concatenate([student, study_hall])
        start = np.concatenate([start, np.full(len(study_hall), hall_begins)])
        end = np.concatenate([end, np.full(len(study_hall), 10**6)])
        names += ["bp-study-hall"] * len(study_hall)
        today = len(self.dates) - 1
        ended_in_year = (end <= today) & (
            self.days.year[np.minimum(start, today)] == self.days.year[np.minimum(end, today)]
        )
        year_last = np.array(
            [np.flatnonzero(self.days.year == year)[-1] for year in range(len(SCHOOL_YEARS))]
        )
        last_day = np.minimum(end, year_last[self.days.year[np.minimum(start, today)]])
        has_ended = ended_in_year | (last_day < today)
        frame = pd.DataFrame(
            {
                "student_id": self.ids[student],
                "program_id": names,
                "organization_id": [owner[name] for name in names],
                "start_date": self.dates[np.minimum(start, today)],
                "end_date": np.where(has_ended, self.dates[last_day], ""),
                "exit_reason": np.where(has_ended, "Completed", ""),
                "first": start,
                "last": last_day,
            }
        )
        return frame[start <= today].sort_values(
            ["start_date", "program_id", "student_id"], kind="stable"
        )

    def _study_hall(self) -> Ints:
        """Who attends the open study hall now: mostly students with low grades or many absences."""
        grade = self.people.grade[self.current]
        able = self.current[(grade >= 5) & (grade <= 12)]
        absent = np.bincount(
            np.concatenate([part[1] for part in self.history.absences[-45:]]),
            minlength=len(self.people),
        )
        need = (84 - self.people.ability[able]) / 7 + absent[able] / 6
        weight = np.exp(np.clip(need, -3, 3))
        count = min(max(12, round(len(self.people) * 130 / 16_000)), len(able))
        chosen = self.rng.choice(able, size=count, replace=False, p=weight / weight.sum())
        return np.sort(chosen)

    def _partner_participants(self, service_enrollments: pd.DataFrame) -> pd.DataFrame:
        """The participants of `EXPORTING_PARTNER`, as the district knows them, by start date."""
        student_ids = service_enrollments.loc[
            service_enrollments["organization_id"] == EXPORTING_PARTNER, "student_id"
        ].drop_duplicates()
        positions = pd.Series(np.arange(len(self.ids)), index=self.ids)[student_ids].to_numpy()
        people = self.people
        school = self._school_on(len(self.days.days) - 1, np.arange(len(people)))[positions]
        return pd.DataFrame(
            {
                "student_id": student_ids.to_numpy(),
                "first_name": np.array(FIRST_NAMES, dtype=object)[people.first_name[positions]],
                "last_name": np.array(LAST_NAMES, dtype=object)[people.last_name[positions]],
                "birth_date": np.datetime_as_string(people.birth_date[positions]).astype(object),
                "grade": np.array(
                    [str(grade) if grade else "K" for grade in people.grade[positions]],
                    dtype=object,
                ),
                "school": pd.Series(SCHOOL_NAMES, index=SCHOOL_IDS)[school].to_numpy(),
            }
        )

    def _sessions(self, service_enrollments: pd.DataFrame) -> pd.DataFrame:
        counts = ((service_enrollments["last"] - service_enrollments["first"]) // 5 + 1).to_numpy()
        row = np.repeat(np.arange(len(service_enrollments)), counts)
        step = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        day = service_enrollments["first"].to_numpy()[row] + 5 * step
        organization = service_enrollments["organization_id"].to_numpy()[row]
        return pd.DataFrame(
            {
                "session_id": [f"{org}-{number:07d}" for number, org in enumerate(organization)],
                "student_id": service_enrollments["student_id"].to_numpy()[row],
                "program_id": service_enrollments["program_id"].to_numpy()[row],
                "organization_id": organization,
                "date": self.dates[day],
                "attended": np.where(self.rng.random(len(row)) < 0.86, "true", "false"),
                "minutes": 45,
            }
        )

    def consents(self) -> None:
        """Consents of some families of the housing, tutoring and victims' services partners."""
        enrolled = pd.read_csv(
            self.directory / "service_history/enrollments.csv", keep_default_na=False
        )
        active = enrolled[enrolled["end_date"] == ""]
        consent_needs = {
            "keystone": ("housing", 1.0),
            "brightpath": ("housing", 0.3),
            "safeharbor": ("directory;attendance;services", 0.8),
        }
        purpose = {partner.organization_id: partner.purpose for partner in PARTNERS}
        rows: list[list[object]] = []
        for organization, (categories, share) in consent_needs.items():
            students = sorted(
                set(active.loc[active["organization_id"] == organization, "student_id"])
            )
            for student in students:
                if self.rng.random() < share:
                    rows.append(
                        [
                            student,
                            organization,
                            categories,
                            purpose[organization],
                            "Parent or guardian",
                            "2025-09-02",
                            "2026-08-31",
                        ]
                    )
        rows += [[*row[:5], "2024-09-03", "2025-08-29"] for row in rows[:3]]
        self._rows(
            "consents.csv",
            (
                "student_id",
                "organization_id",
                "categories",
                "purpose",
                "signer",
                "signed_on",
                "expires_on",
            ),
            rows,
        )

    def add_bad_lines(self) -> None:
        words = {"excused": "absent_excused", "tardy": "tardy", "rest": ""}
        if self.facts is not None:
            words = {"excused": ABSENT_EXCUSED, "tardy": TARDY, "rest": ","}
        for position, lines_by_file in ((0, _BAD_LINES), (1, _ODD_LINES)):
            for file, lines in lines_by_file.items():
                with (self.directory / file).open("a", encoding="utf-8") as stream:
                    stream.writelines(
                        line.format(student=self.ids[self.current[position]], **words) + "\n"
                        for line in lines
                    )


def _numbered(times: Ints) -> Ints:
    """0 to n - 1 for each n, one after the other."""
    numbers: Ints = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
    return numbers
