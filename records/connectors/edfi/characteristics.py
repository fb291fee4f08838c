"""Who a student is: the sensitive facts of programs and of demographics, and when programs ran.

A fact that no record decides stays unknown. A student without a program is known to be without it
only where the source has that kind of program at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property, lru_cache

from records.canonical.quarantine import BadValue, Value, convert_row
from records.canonical.schema import PERIOD_CATEGORIES, TABLES
from records.connectors.edfi.descriptors import (
    federal_group,
    learns_english,
    sex_of,
    shown,
)
from records.connectors.edfi.record import EdFiRecord, day_of, says_no, says_yes, student_of
from records.connectors.profiles.grades import plain
from records.connectors.profiles.profile import ProgramRules
from records.connectors.protocol import RowSink

PROGRAM_CHARACTERISTICS = {
    "StudentSpecialEducationProgramAssociation": "special_education",
    "StudentSection504ProgramAssociation": "special_education",
    "StudentLanguageInstructionProgramAssociation": "english_learner",
    "StudentHomelessProgramAssociation": "unstable_housing",
    "StudentSchoolFoodServiceProgramAssociation": "meal_eligible",
}
"""Kind of association -> the characteristic that it gives a student."""
OTHER_PROGRAMS = (
    "StudentProgramAssociation",
    "StudentCTEProgramAssociation",
    "StudentTitleIPartAProgramAssociation",
)

_SERVICES = {
    "StudentSpecialEducationProgramAssociation": "SpecialEducationProgramService",
    "StudentLanguageInstructionProgramAssociation": "LanguageInstructionProgramService",
    "StudentHomelessProgramAssociation": "HomelessProgramService",
    "StudentProgramAssociation": "Service",
}
_MEAL = "SchoolFoodServiceProgramService"
_STATUS = "ProgramParticipationStatus"
_PROFICIENCY = "EnglishLanguageProficiencyAssessment"
_NOT_TAKING_PART = {
    "noteligible",
    "ineligible",
    "referred",
    "exited",
    "inactive",
    "monitored",
    "withdrawn",
    "didnotqualify",
}
_HOUSED = {"nothomeless", "notapplicable", "permanent", "permanenthousing", "stable"}
_CHARACTERISTIC = "StudentCharacteristic"
_MOST_NOTES = 10
_SCHOOL_YEAR_BEGINS_IN = 7


@dataclass(frozen=True, slots=True)
class _Stay:
    """When a program ran; `services_end` is the last day of its services if all have one."""

    first: date | None
    last: date | None
    services_end: date | None


@dataclass(slots=True)
class _Participation:
    """What the programs of one kind say of a student."""

    file: str
    line: int
    stays: list[_Stay] = field(default_factory=list)
    is_unclear: bool = False


@dataclass(slots=True)
class _Demographics:
    """The codes that the records about a student give, of all schools together."""

    file: str
    line: int
    is_hispanic: bool = False
    sexes: frozenset[str] = frozenset()
    races: frozenset[str] = frozenset()
    proficiencies: frozenset[str] = frozenset()


@dataclass
class StudentCharacteristics:
    """The sensitive facts of one source, written once all records have been read.

    Args:
        programs: which programs of the general kind give what, and when one without an end ends.
        withheld: characteristics of which the source does not show every kind of program: of
            these a student without one may have it all the same.
    """

    sink: RowSink
    programs: ProgramRules
    withheld: frozenset[str] = frozenset()
    _programs: dict[tuple[str, str], _Participation] = field(default_factory=dict)
    _demographics: dict[str, _Demographics] = field(default_factory=dict)
    _reported: set[str] = field(default_factory=set)
    _newest_past: date = date.min
    _newest_begun: date = date.min
    _entries: Counter[date] = field(default_factory=Counter)
    _undecided: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add_program(self, record: EdFiRecord) -> None:
        """Take a student's part in a program, or ignore it if it says nothing of these facts.

        Raises:
            BadValue: it names no student, or its days are not days in order.
        """
        characteristic = self._characteristic_of(record)
        if characteristic is None:
            self.sink.ignore(record.file, f"{record.kind}: not used")
            return
        student, stay = student_of(record), self._stay_of(record)
        takes_part = _takes_part(record, characteristic)
        known = self._participation(student, characteristic, record)
        self.see_day(stay.first)
        if takes_part:
            known.stays.append(stay)
        elif takes_part is None:
            known.is_unclear = True
        self.sink.use(record.file)

    def _characteristic_of(self, record: EdFiRecord) -> str | None:
        if record.kind != "StudentProgramAssociation":
            return PROGRAM_CHARACTERISTICS.get(record.kind)
        program = ("ProgramReference", "ProgramIdentity")
        return self.programs.characteristic(
            record.text(*program, "ProgramName"), record.code(*program, "ProgramType")
        )

    def _stay_of(self, record: EdFiRecord) -> _Stay:
        stay = _stay_of(record)
        if stay.last is None and stay.first is not None and self.programs.ends_with_year:
            return replace(stay, last=end_of_school_year(stay.first))
        return stay

    def add_demographics(self, student: str, record: EdFiRecord) -> None:
        """Take sex, races and English of a record about a student, and what older versions of the
        standard say there instead of in programs.
        """
        self._add_homelessness(student, record)
        self._add_meals(student, record)
        sex, proficiency = record.code("Sex"), record.code("LimitedEnglishProficiency")
        races = tuple(
            code
            for race in record.children("Race")
            if (code := race.code("Race", "Race") or race.code("Race"))
        )
        is_hispanic = says_yes(record.text("HispanicLatinoEthnicity"))
        if not (sex or proficiency or races or is_hispanic):
            return
        known = self._demographics.setdefault(student, _Demographics(record.file, record.line))
        known.is_hispanic |= is_hispanic
        known.sexes = _union(known.sexes, (sex,) if sex else ())
        known.races = _union(known.races, races)
        known.proficiencies = _union(known.proficiencies, (proficiency,) if proficiency else ())

    def _add_homelessness(self, student: str, record: EdFiRecord) -> None:
        """Take the characteristic Homeless: of versions 2 and 3, with the days on which it held.

        Of several periods only the first can be told, so one that has ended leaves it unknown.
        """
        for child in record.children(_CHARACTERISTIC):
            code = child.code(_CHARACTERISTIC, _CHARACTERISTIC) or child.code(_CHARACTERISTIC)
            if not is_homeless(code):
                continue
            first, last = (
                day_of(child, _CHARACTERISTIC, name)
                or day_of(child, _CHARACTERISTIC, "Period", name)
                for name in ("BeginDate", "EndDate")
            )
            known = self._participation(student, "unstable_housing", record)
            known.stays.append(_Stay(first, last, None))
            known.is_unclear |= day_of(child, _CHARACTERISTIC, "Period", "EndDate") is not None
            self.see_day(first)

    def _add_meals(self, student: str, record: EdFiRecord) -> None:
        """Take the eligibility for meals that version 2 gives with the student."""
        meals = plain(record.code("SchoolFoodServicesEligibility"))
        if not meals:
            return
        known = self._participation(student, "meal_eligible", record)
        if meals.startswith(("free", "reduced")):
            known.stays.append(_Stay(None, None, None))
        elif not meals.startswith(("full", "paid")):
            known.is_unclear = True

    def _participation(
        self, student: str, characteristic: str, record: EdFiRecord
    ) -> _Participation:
        self._reported.add(characteristic)
        return self._programs.setdefault(
            (student, characteristic), _Participation(record.file, record.line)
        )

    def see_day(self, day: date | None) -> None:
        """Take a day on which something began, or is to begin."""
        if day is not None and day > self._newest_begun:
            self._newest_begun = day

    def see_enrollment(self, entered: date) -> None:
        """Take the day on which a student entered a school, or is to enter it."""
        self._entries[entered] += 1
        self.see_day(entered)

    def see_past(self, text: str | None) -> None:
        """Take a day, as it is written, that was past when the source was: an absence, a test.

        What is no date says nothing.
        """
        if text and text[:10] > str(self._newest_past):
            with suppress(ValueError):
                self._newest_past = date.fromisoformat(text[:10])

    @cached_property
    def _is_past_known(self) -> bool:
        """Whether days that were past reach into the school year of most enrollments.

        What began is no sign of the present: students are enrolled, and programs planned, for the
        year to come.
        """
        entries = sorted(self._entries.elements())
        usual = entries[len(entries) // 2] if entries else date.min
        return self._newest_past > date.min and self._newest_past >= usual

    @cached_property
    def _newest(self) -> date:
        """The newest day that the source knows of, once all of it has been read."""
        past, begun = self._newest_past, self._newest_begun
        return past if self._is_past_known else max(past, begun)

    def finish(self, students: Mapping[str, tuple[str, int]]) -> None:
        """Write the facts of every student, and the days on which their programs ran.

        Args:
            students: where the record of each student of the source is.
        """
        complete = self._reported - self.withheld
        described = dict.fromkeys(
            [*self._demographics, *(student for student, _ in self._programs)]
        )
        for student in students if complete else described:
            facts = self._facts(student, complete)
            if any(value is not None for value in facts.values()):
                texts = {"student_id": student, **facts}
                values = convert_row(TABLES["characteristics"], texts)
                self.sink.derive("characteristics", values, *self._place(student, students))
        for (student, characteristic), known in self._programs.items():
            self._write_periods(student, characteristic, known)
        for (what, code), count in self._undecided.most_common(_MOST_NOTES):
            self.sink.note(
                f"Students whose {what} stays unknown because of the code {code}: {count:,}"
            )

    def _facts(self, student: str, complete: set[str]) -> dict[str, str | None]:
        known = self._demographics.get(student)
        facts = {name: self._program_fact(student, name) for name in PERIOD_CATEGORIES}
        if known is not None and (student, "english_learner") not in self._programs:
            facts["english_learner"] = self._english(known)
        for name in complete:
            if facts[name] is None and not self._is_said(student, name, known):
                facts[name] = "false"
        if known is not None:
            facts["sex"] = self._sex(known)
            group, culprit = federal_group(known.races, hispanic=known.is_hispanic)
            facts["race_ethnicity"] = group
            if culprit is not None:
                self._undecided[("race_ethnicity", shown(culprit))] += 1
        return facts

    def _is_said(self, student: str, characteristic: str, known: _Demographics | None) -> bool:
        """Whether some record speaks of it, so that a fact left unknown was not left out."""
        if (student, characteristic) in self._programs:
            return True
        codes = known.proficiencies if known and characteristic == "english_learner" else ()
        return any(learns_english(code) != "unknown" for code in codes)

    def _program_fact(self, student: str, characteristic: str) -> str | None:
        """Whether it holds now. A program that begins or ends on a day to come is open or not by
        the day, so it is unknown here, and its days say it."""
        known = self._programs.get((student, characteristic))
        if known is None:
            return None
        doubts = [known.is_unclear]
        for stay in known.stays:
            if self._is_to_come(stay):
                doubts.append(True)
            elif stay.last is not None:
                doubts.append(stay.last >= self._newest)
            elif self._is_in_doubt(stay):
                doubts.append(True)
            else:
                return "true"
        return None if any(doubts) else "false"

    def _is_to_come(self, stay: _Stay) -> bool:
        """Whether a program begins after the newest day that was past."""
        return self._is_past_known and stay.first is not None and stay.first > self._newest

    def _is_in_doubt(self, stay: _Stay) -> bool:
        """Whether a program is open though all its services have ended."""
        ended = stay.services_end
        return stay.last is None and ended is not None and ended < self._newest

    def _write_periods(self, student: str, characteristic: str, known: _Participation) -> None:
        lasts: dict[date, date | None] = {}
        for stay in known.stays:
            if stay.first is None or self._is_in_doubt(stay):
                continue
            lasts[stay.first] = _later(lasts.get(stay.first, stay.last), stay.last)
        for first, last in sorted(lasts.items()):
            values: dict[str, Value] = {
                "student_id": student,
                "first_date": first,
                "last_date": last,
            }
            self.sink.derive(f"{characteristic}_periods", values, known.file, known.line)

    def _english(self, known: _Demographics) -> str | None:
        said = {code: learns_english(code) for code in known.proficiencies}
        for code in sorted(code for code, value in said.items() if value is None):
            self._undecided[("english_learner", shown(code))] += 1
        values = set(said.values()) - {"unknown"}
        return values.pop() if len(values) == 1 else None

    def _sex(self, known: _Demographics) -> str | None:
        said = {code: sex_of(code) for code in known.sexes}
        for code in sorted(code for code, value in said.items() if value is None):
            self._undecided[("sex", shown(code))] += 1
        values = set(said.values()) - {"unknown"}
        return values.pop() if len(values) == 1 else None

    def _place(self, student: str, students: Mapping[str, tuple[str, int]]) -> tuple[str, int]:
        """Where a record about these facts of the student is, or the student's own."""
        known = self._demographics.get(student)
        if known is not None:
            return known.file, known.line
        for name in PERIOD_CATEGORIES:
            program = self._programs.get((student, name))
            if program is not None:
                return program.file, program.line
        return students[student]


@lru_cache(4096)
def _union(known: frozenset[str], more: tuple[str, ...]) -> frozenset[str]:
    """One set for all students of the same codes: a district has many students and few sets."""
    return known.union(more)


def is_homeless(code: str | None) -> bool:
    """Whether a StudentCharacteristic says that the student is homeless."""
    return plain(code).startswith("homeless")


def end_of_school_year(day: date) -> date:
    """The last day of June of the school year of a day."""
    return date(day.year + (day.month >= _SCHOOL_YEAR_BEGINS_IN), 6, 30)


def _takes_part(record: EdFiRecord, characteristic: str) -> bool | None:
    """Whether an association gives its student the characteristic; None where it does not say.

    EnglishLearnerParticipation is about Title III money: a learner of English may be served without
    it, and a speaker of English may learn in two languages.
    """
    statuses = {
        plain(status.code(_STATUS, "ParticipationStatus"))
        for status in record.children(_STATUS)
        if not status.text(_STATUS, "StatusEndDate")
    }
    eligible = ("IdeaEligibility", "Section504Eligible", "Section504Eligibility")
    if statuses and statuses <= _NOT_TAKING_PART:
        return False
    if characteristic == "special_education":
        plan = ("AccommodationPlan",)
        refused = statuses == {"refused"}
        return not refused and not any(
            says_no(record.code(name) or record.text(name)) for name in (*eligible, *plan)
        )
    if characteristic == "unstable_housing":
        return plain(record.code("HomelessPrimaryNighttimeResidence")) not in _HOUSED
    if characteristic == "meal_eligible":
        return _has_cheaper_meals(record)
    monitored = [
        plain(assessment.code(_PROFICIENCY, "Monitored"))
        for assessment in record.children(_PROFICIENCY)
    ]
    if any(code.startswith("year") or code == "monitored" for code in monitored):
        return False
    return None if says_no(record.text("EnglishLearnerParticipation")) else True


def _has_cheaper_meals(record: EdFiRecord) -> bool | None:
    """Whether meals are free or at a reduced price; None where the services do not say."""
    if record.kind != "StudentSchoolFoodServiceProgramAssociation":
        return None
    codes = [plain(service.code(_MEAL, _MEAL)) for service in record.children(_MEAL)]
    cheaper = any(code.startswith(("free", "reduced")) for code in codes)
    at_full_price = any(code.startswith(("fullprice", "paid")) for code in codes)
    if says_yes(record.text("DirectCertification")):
        return True
    if cheaper == at_full_price:
        return None
    return cheaper


def _stay_of(record: EdFiRecord) -> _Stay:
    first = day_of(record, "BeginDate")
    last = day_of(record, "EndDate") or day_of(record, "SpecialEducationExitDate")
    service = _SERVICES.get(record.kind, _MEAL)
    ends = [day_of(child, service, "ServiceEndDate") for child in record.children(service)]
    services_end = _latest(ends)
    if record.kind == "StudentSchoolFoodServiceProgramAssociation":
        last, services_end = last or services_end, None
    if first is not None and last is not None and last < first:
        raise BadValue("EndDate", f"EndDate is {last}, before BeginDate {first}")
    return _Stay(first, last, services_end)


def _later(first: date | None, second: date | None) -> date | None:
    """The later of two last days, None if one of them is not over."""
    return None if first is None or second is None else max(first, second)


def _latest(ends: Iterable[date | None]) -> date | None:
    """The latest of the days, None unless every one is known."""
    days = list(ends)
    known = [day for day in days if day is not None]
    return max(known) if known and len(known) == len(days) else None
