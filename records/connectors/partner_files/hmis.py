"""HMIS CSV, the export of housing partners' systems (HUD HMIS CSV Format Specifications, FY 2024
and FY 2026).

Owns which few columns of it become programs, enrolments and sessions. Everything else is cut out
before a line leaves the reader, and what is sensitive of it is named in the report: social security
numbers, race, gender, veterans' status, disabling conditions, violence, health, and where somebody
slept before or went to. Names and birth dates serve only to find out which student a client is
(`read_clients`) and are never in a snapshot. Source: HUD, HMIS CSV Format Specifications FY 2024,
https://www.hudexchange.info/resource/3824/hmis-data-dictionary/.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

from records.canonical.never_ingest import prohibited_kind
from records.canonical.quarantine import BadRow, BadValue, Value, convert
from records.canonical.schema import canonical_table
from records.connectors.csv_files import (
    CsvRecord,
    RowReader,
    format_csv_line,
    iter_readable_rows,
    quarantine_record,
    read_csv,
)
from records.connectors.partner_files.participant_list import ParticipantList
from records.connectors.partner_files.service_history import (
    AWAITING_IDENTIFICATION,
    NOT_A_STUDENT_REASON,
)
from records.connectors.protocol import RowSink, SourceRefused
from records.identity.participants import Participant
from records.system.progress import ProgressCallback

_COLUMNS = {
    "Project.csv": ("ProjectID", "ProjectName", "ProjectType", "DateDeleted"),
    "Exit.csv": ("EnrollmentID", "ExitDate", "Destination", "DateDeleted"),
    "Enrollment.csv": ("EnrollmentID", "PersonalID", "ProjectID", "EntryDate", "DateDeleted"),
    "Services.csv": (
        "ServicesID",
        "EnrollmentID",
        "PersonalID",
        "DateProvided",
        "RecordType",
        "DateDeleted",
    ),
}
_CLIENT = ("PersonalID", "FirstName", "LastName", "DOB", "DateDeleted")
_STAYS_EMPTY = {
    "Project.csv": "what the partner offers; nothing can be suggested",
    "Exit.csv": "when people left",
    "Services.csv": "single nights and services",
}
_OTHER_PROJECT = "7"
_SESSIONS = {
    "142": "a service for runaway and homeless youth",
    "200": "a night in a shelter",
    "300": "help to move on",
}
"""Records of help that a person had on a day (list 1.4 RecordType). What kind of help is not
stored."""
_NO_SESSIONS = {
    "141": "a service that tells of mental health (PATH)",
    "143": "a service that tells of health (HOPWA)",
    "144": "a service that tells of military service (SSVF)",
    "151": "money that tells of health (HOPWA)",
    "152": "money that tells of military service (SSVF)",
    "161": "a referral that tells of mental health (PATH)",
    "210": "a voucher that tells of military service (HUD-VASH)",
}
_LASTING_HOME = range(400, 500)
"""Permanent situations (list 3.12.1 Destination, FY 2024 on). Every other destination would say too
much of a child."""

SENSITIVE_COLUMNS: dict[str, tuple[str, ...]] = {
    "name, for linking only": (
        "FirstName",
        "MiddleName",
        "LastName",
        "NameSuffix",
        "NameDataQuality",
    ),
    "birth date, for linking only": ("DOB", "DOBDataQuality"),
    "race or ethnicity": (
        "AmIndAKNative",
        "Asian",
        "BlackAfAmerican",
        "HispanicLatinaeo",
        "HispanicLatinao",
        "MidEastNAfrican",
        "NativeHIPacific",
        "NativeHIOtherPacific",
        "White",
        "RaceNone",
        "Ethnicity",
        "AdditionalRaceEthnicity",
    ),
    "sex, gender or sexual orientation": (
        "Sex",
        "Gender",
        "Woman",
        "Man",
        "Female",
        "Male",
        "NonBinary",
        "NoSingleGender",
        "CulturallySpecific",
        "Transgender",
        "Questioning",
        "DifferentIdentity",
        "DifferentIdentityText",
        "GenderNone",
        "SexualOrientation",
        "SexualOrientationOther",
    ),
    "veteran status": (
        "VeteranStatus",
        "YearEnteredService",
        "YearSeparated",
        "WorldWarII",
        "KoreanWar",
        "VietnamWar",
        "DesertStorm",
        "AfghanistanOEF",
        "IraqOIF",
        "IraqOND",
        "OtherTheater",
        "MilitaryBranch",
        "DischargeStatus",
        "VAMCStation",
    ),
    "disability or health": (
        "DisablingCondition",
        "DisabledHoH",
        "DisabilityType",
        "DisabilityResponse",
        "IndefiniteAndImpairs",
        "MentalHealthDisorderFam",
        "PhysicalDisabilityFam",
        "AlcoholDrugUseDisorderFam",
        "CurrentPregnant",
        "PregnancyStatus",
        "DueDate",
        "GeneralHealthStatus",
        "DentalHealthStatus",
        "MentalHealthStatus",
        "ViralLoad",
        "TCellCount",
        "AntiRetroviral",
        "ClientEnrolledInPATH",
        "DateOfPATHStatus",
        "HOPWAMedAssistedLivingFac",
    ),
    "violence or exploitation": (
        "DomesticViolenceSurvivor",
        "DomesticViolenceVictim",
        "WhenOccurred",
        "CurrentlyFleeing",
        "ExchangeForSex",
        "ExchangeForSexPastThreeMonths",
        "CountOfExchangeForSex",
        "AskedOrForcedToExchangeForSex",
        "AskedOrForcedToExchangeForSexPastThreeMonths",
        "WorkplaceViolenceThreats",
        "WorkplacePromiseDifference",
        "CoercedToContinueWork",
        "LaborExploitPastThreeMonths",
    ),
    "justice or child welfare": (
        "FormerWardChildWelfare",
        "ChildWelfareYears",
        "ChildWelfareMonths",
        "FormerWardJuvenileJustice",
        "JuvenileJusticeYears",
        "JuvenileJusticeMonths",
        "IncarceratedParent",
        "IncarceratedAdult",
        "CriminalRecord",
        "PrisonDischarge",
        "SexOffender",
    ),
    "where somebody lived or went": (
        "LivingSituation",
        "PreviousStreetESSH",
        "DateToStreetESSH",
        "RunawayYouth",
        "TimesHomelessPastThreeYears",
        "MonthsHomelessPastThreeYears",
        "LiteralHomelessHistory",
        "EvictionHistory",
        "OtherDestination",
    ),
    "money": (
        "TotalMonthlyIncome",
        "IncomeFromAnySource",
        "PercentAMI",
        "AnnualPercentAMI",
        "InsufficientIncome",
        "FAAmount",
    ),
    "language": ("PreferredLanguage", "PreferredLanguageDifferent", "TranslationNeeded"),
    "kind of help": (
        "TypeProvided",
        "SubTypeProvided",
        "OtherTypeProvided",
        "MovingOnOtherType",
        "ReferralOutcome",
    ),
}
_KIND_OF = {column: kind for kind, columns in SENSITIVE_COLUMNS.items() for column in columns}


class Hmis:
    """Connector for a folder of HMIS CSV files of one housing partner.

    Args:
        organization_id: whose export it is; each ProjectID becomes the program
            `ORGANIZATION-ProjectID`.
        links: the student of each PersonalID.
        strangers: each PersonalID of whom somebody has said that they are no student.
    """

    name = "hmis"
    tables: tuple[str, ...] = ("programs", "service_enrollments", "service_sessions")

    def __init__(
        self, organization_id: str, links: Mapping[str, str], strangers: Collection[str] = ()
    ) -> None:
        self.organization_id: str | None = organization_id
        self.links = links
        self.strangers = strangers

    def read(self, directory: Path, sink: RowSink, progress: ProgressCallback) -> None:
        """Read projects, exits, enrolments and services; name what is cut out and what is not read.

        Raises:
            SourceRefused: there is no `ProgramEnrollment.csv`, or a header lacks a column.
        """
        if not (directory / "Enrollment.csv").is_file():
            raise SourceRefused(f"{directory} has no Enrollment.csv: it is not an HMIS CSV folder")
        for path in sorted(directory.glob("*.csv")):
            _name_what_is_cut(path, sink)
        for file, stays_empty in _STAYS_EMPTY.items():
            if not (directory / file).is_file():
                sink.missing(file, stays_empty)
        _Reading(
            str(self.organization_id), self.links, self.strangers, directory, sink, progress
        ).run()


def read_clients(directory: Path, organization_id: str) -> ParticipantList:
    """The clients of an export as they are linked to students. This module stores nothing of them.

    Raises:
        SourceRefused: there is no `Client.csv`, or it lacks a column.
    """
    path = directory / "Client.csv"
    if not path.is_file():
        raise SourceRefused(f"{directory} has no Client.csv: nobody can be linked to a student")
    if not set(_CLIENT[:-1]) <= set(next(iter_readable_rows(path))):
        # Without a header the first line is a child, whom the reader's own words would repeat.
        raise SourceRefused(
            f"{path.name}, line 1: the header must name each of {', '.join(_CLIENT[:-1])}"
        )
    found = ParticipantList(path.name)
    seen: set[str] = set()
    for line in read_csv(path, _CLIENT[:-1], found, lambda file, done, total: None, only=_CLIENT):
        person, first, last, born = (line.fields[name].strip() for name in _CLIENT[:-1])
        if line.fields.get("DateDeleted", "").strip():
            found.ignore(path.name, "deleted at the source")
        elif not person or not first:
            column = "FirstName" if person else "PersonalID"
            found.quarantine(BadRow(path.name, line.number, column, f"{column} is empty", line.raw))
        elif person in seen:
            found.repeated += 1
        else:
            seen.add(person)
            found.participants.append(
                Participant(organization_id, person, first, last, _birth_date(born), None, "")
            )
    return found


def _birth_date(text: str) -> date | None:
    """A birth date, None where it was not given or only roughly (its DOBDataQuality says which)."""
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def _name_what_is_cut(path: Path, sink: RowSink) -> None:
    header = next(iter_readable_rows(path))
    for name in header:
        kind = _KIND_OF.get(name)
        if kind is not None and prohibited_kind(name) is None:
            sink.drop_column(path.name, name, kind)
    if path.name not in _COLUMNS:
        for name in header:
            refused = prohibited_kind(name)
            if refused is not None:
                sink.drop_column(path.name, name, refused)
        sink.note(f"{path.name} is not a file that this connector reads; it was left alone")


class _Reading:
    def __init__(
        self,
        organization_id: str,
        links: Mapping[str, str],
        strangers: Collection[str],
        directory: Path,
        sink: RowSink,
        progress: ProgressCallback,
    ) -> None:
        self.organization_id, self.links, self.strangers = organization_id, links, strangers
        self.of_strangers: set[str] = set()
        self.directory, self.sink, self.progress = directory, sink, progress
        self.exits: dict[str, tuple[CsvRecord, date, str]] = {}
        self.enrollments: dict[str, tuple[str, str]] = {}

    def run(self) -> None:
        self._projects()
        self._exits()
        self._enrollments()
        self._services()

    def _lines(self, file: str) -> Iterator[CsvRecord]:
        """The records of a file that are not marked as deleted, and not of somebody who is no
        student.
        """
        path = self.directory / file
        if not path.is_file():
            return
        columns = _COLUMNS[file]
        for line in read_csv(path, columns[:-1], self.sink, self.progress, only=frozenset(columns)):
            if line.fields.get("DateDeleted", "").strip():
                self.sink.ignore(file, "deleted at the source")
            elif line.fields.get("PersonalID", "").strip() in self.strangers:
                self.sink.ignore(file, NOT_A_STUDENT_REASON)
                self.of_strangers.add(line.fields["EnrollmentID"].strip())
            else:
                yield line

    def _program(self, project: str) -> str:
        return f"{self.organization_id}-{project}"

    def _bad(self, file: str, line: CsvRecord, column: str, reason: str) -> None:
        self.sink.quarantine(BadRow(file, line.number, column, reason, line.raw, line.columns))

    def _projects(self) -> None:
        reader = RowReader(
            canonical_table("programs"),
            {"program_id": "ProjectID", "name": "ProjectName", "organization_id": "ProjectID"},
        )
        for line in self._lines("Project.csv"):
            try:
                row = reader.row(line)
            except BadValue as error:
                quarantine_record(self.sink, "Project.csv", line, error)
                continue
            housing = line.fields["ProjectType"].strip() != _OTHER_PROJECT
            row |= {
                "program_id": self._program(str(row["program_id"])),
                "organization_id": self.organization_id,
                "support": "housing_help" if housing else None,
            }
            self.sink.keep("programs", row, "Project.csv", line.number)

    def _exits(self) -> None:
        day_column = canonical_table("service_sessions").column("date")
        for found in self._lines("Exit.csv"):
            enrollment = found.fields["EnrollmentID"].strip()
            # A line may be put aside, and where somebody went must not be kept even there.
            kept = ("EnrollmentID", "ExitDate")
            line = replace(
                found,
                raw=format_csv_line(found.fields[name] for name in kept),
                columns=format_csv_line(kept),
            )
            try:
                day = convert(day_column, line.fields["ExitDate"])
            except BadValue as error:
                quarantine_record(self.sink, "Exit.csv", line, BadValue("ExitDate", error.reason))
                continue
            if enrollment in self.exits:
                self._bad(
                    "Exit.csv", line, "EnrollmentID", "an earlier line ends the same enrolment"
                )
                continue
            destination = line.fields["Destination"].strip()
            lasting = destination.isdigit() and int(destination) in _LASTING_HOME
            assert isinstance(day, date)
            self.exits[enrollment] = line, day, "Moved to a lasting home" if lasting else "Left"

    def _enrollments(self) -> None:
        file = "Enrollment.csv"
        reader = RowReader(
            canonical_table("service_enrollments"),
            {
                "student_id": "PersonalID",
                "program_id": "ProjectID",
                "organization_id": "EnrollmentID",
                "start_date": "EntryDate",
            },
        )
        for line in self._lines(file):
            try:
                row = reader.row(line)
            except BadValue as error:
                quarantine_record(self.sink, file, line, error)
                continue
            student = self._student(file, line)
            if student is None:
                continue
            enrollment, program = (
                line.fields["EnrollmentID"].strip(),
                self._program(str(row["program_id"])),
            )
            row |= {
                "student_id": student,
                "program_id": program,
                "organization_id": self.organization_id,
            }
            if enrollment in self.exits:
                _, row["end_date"], row["exit_reason"] = self.exits[enrollment]
            self.enrollments[enrollment] = student, program
            self.sink.keep("service_enrollments", row, file, line.number)
        for enrollment, (line, _, _) in self.exits.items():
            if enrollment in self.enrollments:
                self.sink.use("Exit.csv")
            elif enrollment in self.of_strangers:
                self.sink.ignore("Exit.csv", NOT_A_STUDENT_REASON)
            else:
                self._bad(
                    "Exit.csv", line, "EnrollmentID", "no enrolment was loaded that this exit ends"
                )

    def _student(self, file: str, line: CsvRecord) -> str | None:
        """The student of a record; None, and put aside, while nobody has said who it is."""
        student = self.links.get(line.fields["PersonalID"].strip())
        if student is None:
            self._bad(file, line, "PersonalID", AWAITING_IDENTIFICATION)
        return student

    def _services(self) -> None:
        file = "Services.csv"
        for line in self._lines(file):
            kind = line.fields["RecordType"].strip()
            if kind in _NO_SESSIONS:
                self.sink.ignore(file, _NO_SESSIONS[kind])
                continue
            if kind not in _SESSIONS:
                self._bad(
                    file,
                    line,
                    "RecordType",
                    f"RecordType is {kind!r}; it must be one of "
                    f"{', '.join(sorted(_SESSIONS | _NO_SESSIONS))}",
                )
                continue
            if (student := self._student(file, line)) is None:
                continue
            known = self.enrollments.get(line.fields["EnrollmentID"].strip())
            if known is None or known[0] != student:
                self._bad(
                    file,
                    line,
                    "EnrollmentID",
                    "no enrolment of this person was loaded that it belongs to",
                )
                continue
            try:
                row: dict[str, Value] = {
                    "student_id": student,
                    "program_id": known[1],
                    "organization_id": self.organization_id,
                    "session_id": convert(
                        canonical_table("service_sessions").column("session_id"),
                        line.fields["ServicesID"],
                    ),
                    "date": convert(
                        canonical_table("service_sessions").column("date"),
                        line.fields["DateProvided"],
                    ),
                    "attended": True,
                }
            except BadValue as error:
                quarantine_record(self.sink, file, line, error)
                continue
            self.sink.keep("service_sessions", row, file, line.number)
