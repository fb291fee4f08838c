"""HMIS CSV, the export of housing partners' systems (HUD format, FY 2024 and FY 2026).

Owns which few columns of it become programs, enrollments and sessions. Everything else is dropped
before a line leaves the reader, and the sensitive columns are named in the report: social security
numbers, race, gender, veteran status, disabling conditions, violence, health, and where a person
slept before or went to. Names and birth dates only serve to match a client to a student
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
from records.canonical.supports import SUPPORTS_FILE, SupportCatalog
from records.connectors.csv_files import (
    CsvRecord,
    RowReader,
    format_csv_line,
    iter_readable_rows,
    quarantine_record,
    read_csv,
)
from records.connectors.file_names import files_by_name, find_file
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
_CLIENT_COLUMNS = ("PersonalID", "FirstName", "LastName", "DOB", "DateDeleted")
_STAYS_EMPTY = {
    "Project.csv": "what the partner offers; nothing can be suggested",
    "Exit.csv": "when people left",
    "Services.csv": "single nights and services",
}
_NOT_HOUSING = "7"
_SESSION_KINDS = {
    "142": "a service for runaway and homeless youth",
    "200": "a night in a shelter",
    "300": "help to move on",
}
"""Records of help that a person received on a day (list 1.4 RecordType). The kind of help is not
stored."""
_NOT_SESSIONS = {
    "141": "a service that tells of mental health (PATH)",
    "143": "a service that tells of health (HOPWA)",
    "144": "a service that tells of military service (SSVF)",
    "151": "money that tells of health (HOPWA)",
    "152": "money that tells of military service (SSVF)",
    "161": "a referral that tells of mental health (PATH)",
    "210": "a voucher that tells of military service (HUD-VASH)",
}
_PERMANENT_HOUSING = range(400, 500)
"""Permanent situations (list 3.12.1 Destination, FY 2024 on). Any other destination would reveal
too much about a child."""

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
        non_students: each PersonalID confirmed not to be a student.
        supports: the district's kinds of support, by default those of Handrail: a project that
            houses people is of the kind `SupportCatalog.shelter_support`. Without such a kind its
            kind stays unknown, which tells of housing as well.
    """

    name = "hmis"
    tables: tuple[str, ...] = ("programs", "service_enrollments", "service_sessions")

    def __init__(
        self,
        organization_id: str,
        links: Mapping[str, str],
        non_students: Collection[str] = (),
        supports: SupportCatalog | None = None,
    ) -> None:
        self.organization_id: str | None = organization_id
        self.links = links
        self.non_students = non_students
        self.supports = supports or SupportCatalog.declared()

    def read(self, directory: Path, sink: RowSink, progress: ProgressCallback) -> None:
        """Read projects, exits, enrollments and services; report what is dropped or not read.

        Raises:
            SourceRefused: there is no `Enrollment.csv`, or a header lacks a column.
        """
        files = files_by_name(directory, _COLUMNS)
        if "Enrollment.csv" not in files:
            raise SourceRefused(
                f"{directory} has no Enrollment.csv: this is not an HMIS CSV export"
            )
        for file, path in files.items():
            if path.name.casefold().endswith(".csv"):
                _report_dropped_columns(file, path, sink)
        for file, stays_empty in _STAYS_EMPTY.items():
            if file not in files:
                sink.missing(file, stays_empty)
        _HmisReader(
            str(self.organization_id),
            self.links,
            self.non_students,
            self.supports.shelter_support,
            files,
            sink,
            progress,
        ).run()


def read_clients(directory: Path, organization_id: str) -> ParticipantList:
    """The clients of an export, for linking them to students. Nothing of them is stored here.

    Raises:
        SourceRefused: there is no `Client.csv`, or it lacks a column.
    """
    path = find_file(directory, "Client.csv")
    if not path.is_file():
        raise SourceRefused(f"{directory} has no Client.csv: no clients can be linked to students")
    if not set(_CLIENT_COLUMNS[:-1]) <= set(next(iter_readable_rows(path, _CLIENT_COLUMNS))):
        # Without a header the first line is a child, whom the reader's own words would repeat.
        raise SourceRefused(
            f"{path.name}, line 1: the header must name each of {', '.join(_CLIENT_COLUMNS[:-1])}"
        )
    clients = ParticipantList(path.name)
    seen: set[str] = set()
    for record in read_csv(
        path,
        _CLIENT_COLUMNS[:-1],
        clients,
        lambda file, done, total: None,
        allowed_columns=_CLIENT_COLUMNS,
        known_columns=_CLIENT_COLUMNS,
        date_columns=(),
    ):
        personal_id, first, last, born = (
            record.fields[name].strip() for name in _CLIENT_COLUMNS[:-1]
        )
        if record.fields.get("DateDeleted", "").strip():
            clients.ignore(path.name, "deleted at the source")
        elif not personal_id or not first:
            column = "FirstName" if personal_id else "PersonalID"
            clients.quarantine(
                BadRow(path.name, record.line_number, column, f"{column} is empty", record.raw)
            )
        elif personal_id in seen:
            clients.repeated += 1
        else:
            seen.add(personal_id)
            clients.participants.append(
                Participant(organization_id, personal_id, first, last, _birth_date(born), None, "")
            )
    return clients


def _birth_date(text: str) -> date | None:
    """A birth date; None where it is missing or only approximate (DOBDataQuality says which)."""
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def _report_dropped_columns(file: str, path: Path, sink: RowSink) -> None:
    header = next(iter_readable_rows(path))
    for name in header:
        kind = _KIND_OF.get(name)
        if kind is not None and prohibited_kind(name) is None:
            sink.drop_column(path.name, name, kind)
    if file not in _COLUMNS:
        for name in header:
            prohibited = prohibited_kind(name)
            if prohibited is not None:
                sink.drop_column(path.name, name, prohibited)
        sink.note(f"{path.name} is not a file that this connector reads; it was left alone")


class _HmisReader:
    def __init__(
        self,
        organization_id: str,
        links: Mapping[str, str],
        non_students: Collection[str],
        shelter_support: str | None,
        files: Mapping[str, Path],
        sink: RowSink,
        progress: ProgressCallback,
    ) -> None:
        self.organization_id, self.links, self.non_students = organization_id, links, non_students
        self.shelter_support = shelter_support
        self.non_student_enrollments: set[str] = set()
        self.files, self.sink, self.progress = files, sink, progress
        self.exits: dict[str, tuple[CsvRecord, date, str]] = {}
        self.enrollments: dict[str, tuple[str, str]] = {}

    def run(self) -> None:
        self._projects()
        self._exits()
        self._enrollments()
        self._services()

    def _records(self, file: str) -> Iterator[CsvRecord]:
        """The records of a file that are not marked as deleted and not about a non-student."""
        if file not in self.files:
            return
        columns = _COLUMNS[file]
        for record in read_csv(
            self.files[file],
            columns[:-1],
            self.sink,
            self.progress,
            allowed_columns=frozenset(columns),
            known_columns=columns,
        ):
            if record.fields.get("DateDeleted", "").strip():
                self.sink.ignore(record.file, "deleted at the source")
            elif record.fields.get("PersonalID", "").strip() in self.non_students:
                self.sink.ignore(record.file, NOT_A_STUDENT_REASON)
                self.non_student_enrollments.add(record.fields["EnrollmentID"].strip())
            else:
                yield record

    def _program_id(self, project: str) -> str:
        return f"{self.organization_id}-{project}"

    def _quarantine(self, record: CsvRecord, column: str, reason: str) -> None:
        quarantine_record(self.sink, record.file, record, BadValue(column, reason))

    def _projects(self) -> None:
        reader = RowReader(
            canonical_table("programs"),
            {"program_id": "ProjectID", "name": "ProjectName", "organization_id": "ProjectID"},
        )
        kind_is_open = False
        for record in self._records("Project.csv"):
            try:
                row = reader.row(record)
            except BadValue as error:
                quarantine_record(self.sink, record.file, record, error)
                continue
            housing = record.fields["ProjectType"].strip() != _NOT_HOUSING
            row |= {
                "program_id": self._program_id(str(row["program_id"])),
                "organization_id": self.organization_id,
                "support": self.shelter_support if housing else None,
            }
            kind_is_open |= housing and self.shelter_support is None
            self.sink.keep("programs", row, record.file, record.line_number)
        if kind_is_open:
            self.sink.note(
                "the projects that house people have no kind of support, because the district's"
                f" {SUPPORTS_FILE.name} has neither housing_help nor just one kind that tells of"
                " housing: they are never suggested, and shown as if they told of housing"
            )

    def _exits(self) -> None:
        day_column = canonical_table("service_sessions").column("date")
        for full_record in self._records("Exit.csv"):
            enrollment = full_record.fields["EnrollmentID"].strip()
            # A line may be quarantined, and a person's destination must not be stored even there.
            kept_columns = ("EnrollmentID", "ExitDate")
            record = replace(
                full_record,
                raw=format_csv_line(full_record.fields[name] for name in kept_columns),
                columns=format_csv_line(kept_columns),
            )
            try:
                day = convert(day_column, record.fields["ExitDate"], "ExitDate")
            except BadValue as error:
                quarantine_record(self.sink, record.file, record, error)
                continue
            if enrollment in self.exits:
                self._quarantine(record, "EnrollmentID", "an earlier line ends the same enrolment")
                continue
            destination = record.fields["Destination"].strip()
            is_permanent = destination.isdigit() and int(destination) in _PERMANENT_HOUSING
            assert isinstance(day, date)
            self.exits[enrollment] = (
                record,
                day,
                "Moved to a lasting home" if is_permanent else "Left",
            )

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
        for record in self._records(file):
            try:
                row = reader.row(record)
            except BadValue as error:
                quarantine_record(self.sink, record.file, record, error)
                continue
            student = self._linked_student(record)
            if student is None:
                continue
            enrollment, program_id = (
                record.fields["EnrollmentID"].strip(),
                self._program_id(str(row["program_id"])),
            )
            row |= {
                "student_id": student,
                "program_id": program_id,
                "organization_id": self.organization_id,
            }
            if enrollment in self.exits:
                _, row["end_date"], row["exit_reason"] = self.exits[enrollment]
            self.enrollments[enrollment] = student, program_id
            self.sink.keep("service_enrollments", row, record.file, record.line_number)
        for enrollment, (record, _, _) in self.exits.items():
            if enrollment in self.enrollments:
                self.sink.use(record.file)
            elif enrollment in self.non_student_enrollments:
                self.sink.ignore(record.file, NOT_A_STUDENT_REASON)
            else:
                self._quarantine(
                    record,
                    "EnrollmentID",
                    "no enrolment was loaded that this exit ends",
                )

    def _linked_student(self, record: CsvRecord) -> str | None:
        """The student of a record; None, and quarantined, while the client is not identified."""
        student = self.links.get(record.fields["PersonalID"].strip())
        if student is None:
            self._quarantine(record, "PersonalID", AWAITING_IDENTIFICATION)
        return student

    def _services(self) -> None:
        file = "Services.csv"
        for record in self._records(file):
            kind = record.fields["RecordType"].strip()
            if kind in _NOT_SESSIONS:
                self.sink.ignore(record.file, _NOT_SESSIONS[kind])
                continue
            if kind not in _SESSION_KINDS:
                self._quarantine(
                    record,
                    "RecordType",
                    f"RecordType is {kind!r}; it must be one of "
                    f"{', '.join(sorted(_SESSION_KINDS | _NOT_SESSIONS))}",
                )
                continue
            if (student := self._linked_student(record)) is None:
                continue
            enrollment = self.enrollments.get(record.fields["EnrollmentID"].strip())
            if enrollment is None or enrollment[0] != student:
                self._quarantine(
                    record,
                    "EnrollmentID",
                    "no enrolment of this person was loaded that it belongs to",
                )
                continue
            try:
                row: dict[str, Value] = {
                    "student_id": student,
                    "program_id": enrollment[1],
                    "organization_id": self.organization_id,
                    "session_id": convert(
                        canonical_table("service_sessions").column("session_id"),
                        record.fields["ServicesID"],
                        "ServicesID",
                    ),
                    "date": convert(
                        canonical_table("service_sessions").column("date"),
                        record.fields["DateProvided"],
                        "DateProvided",
                    ),
                    "attended": True,
                }
            except BadValue as error:
                quarantine_record(self.sink, record.file, record, error)
                continue
            self.sink.keep("service_sessions", row, record.file, record.line_number)
