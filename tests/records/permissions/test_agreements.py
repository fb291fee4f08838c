"""An agreement file is complete, or it is refused and its line named."""

from __future__ import annotations

import hashlib
import tomllib
from datetime import date, datetime
from pathlib import Path

import pytest

from records.canonical.supports import SupportCatalog
from records.database.engine import Database
from records.database.tables import AgreementRow
from records.permissions.agreements import (
    PURPOSE_KINDS,
    AgreementError,
    Reinstatement,
    agreement_versions,
    agreements_in_force,
    line_number_of,
    parse_agreement,
    read_agreement,
    revoke_agreement,
    save_agreement,
)
from records.permissions.reinstatements import reinstate
from records.staff.district_admins import NotADistrictAdmin
from records.staff.viewer import DISTRICT, Role
from tests.records.conftest import add_organization, agreement_text

REQUIRED = tuple(line.split(" =")[0] for line in agreement_text().splitlines() if " =" in line)

WRONG = {
    'agreement_id = "a1"': [
        'agreement_id = "a 1"',
        'agreement_id = "explain"',
        'agreement_id = ""',
    ],
    "version = 1": ["version = 0", 'version = "1"', "version = true"],
    'legal_basis = "school_official"': [
        'legal_basis = "police"',
        'legal_basis = ["school_official", "consent"]',
        "legal_basis = 9931",
    ],
    'purpose = "Tutoring after school"': ['purpose = ""', "purpose = 3"],
    'purpose_kind = "service"': [
        'purpose_kind = "evaluation"',
        'purpose_kind = "instruction"',
        'purpose_kind = "x"',
    ],
    'activity = "Staff read': ['activity = " " # "'],
    'categories = ["directory", "attendance", "services"]': [
        'categories = ["directory", "ssn"]',
        "categories = []",
        'categories = ["directory", "directory"]',
        'categories = "directory"',
        'categories = ["directory", ["grades"]]',
    ],
    "consent_required = []": [
        'consent_required = ["grades"]',
        'consent_required = ["immigration"]',
        'consent_required = ["attendance"]',
    ],
    'programs = ["p1"]': ["programs = []", "programs = [1]"],
    'supports = ["tutoring"]': ['supports = ["policing"]', 'supports = ["tutoring", "tutoring"]'],
    "start = 2025-08-01": ['start = "2025-08-01"', "start = 2025-08-01T00:00:00"],
    "end = 2026-07-31": ["end = 2025-07-31", "end = 2026-02-30"],
    "destruction_date = 2026-09-30": [
        "destruction_date = 2026-01-01",
        "destruction_date = 20260930",
    ],
    'officers = ["Ana Ruiz, data officer"]': [
        "officers = []",
        'officers = [""]',
        'officers = "Ana Ruiz"',
    ],
    'safeguards = "': ['safeguards = "" # "', 'safeguard = "'],
    'redisclosure = "': ['redisclosure = false # "'],
    "breach_notice_hours = 24": [
        "breach_notice_hours = 0",
        "breach_notice_hours = 900",
        "breach_notice = 24",
        "breach_notice_hours = 1.5",
        "breach_notice_hours = 24\nsells_data = true",
        "[breach_notice_hours]",
    ],
}
"""What a line of a whole agreement becomes. Each is refused at that line, or for a second line at
that one."""

MISMATCHED = {
    "purpose_kind": {"legal_basis": "audit_evaluation", "purpose_kind": "service", "supports": []},
    "supports": {"legal_basis": "audit_evaluation"},
    "consent_required": {"categories": ["directory", "meal_eligibility"]},
}
"""Agreements whose lines are right by themselves and wrong together, by the line that is
refused."""


def test_a_whole_agreement_is_read():
    agreement = parse_agreement(agreement_text(), "a.toml")
    assert agreement.in_force(date(2026, 7, 31))
    assert not agreement.in_force(date(2026, 8, 1))
    assert agreement.supports == ("tutoring",)


@pytest.mark.parametrize(
    ("basis", "kind"), [(basis, kind) for basis, kinds in PURPOSE_KINDS.items() for kind in kinds]
)
def test_each_ground_takes_the_purposes_that_the_law_gives_it(basis: str, kind: str):
    text = agreement_text(legal_basis=basis, purpose_kind=kind, supports=[])
    assert parse_agreement(text, "a.toml").purpose_kind == kind


@pytest.mark.parametrize("key", REQUIRED)
def test_each_missing_element_is_refused_by_name_after_the_last_line(key: str):  # R14
    lines = [line for line in agreement_text().splitlines() if not line.startswith(f"{key} =")]
    with pytest.raises(
        AgreementError, match=rf"^a\.toml, line {len(lines) + 1}: {key} is missing: "
    ):
        parse_agreement("\n".join(lines), "a.toml")


@pytest.mark.parametrize(
    ("good", "bad"), [(good, bad) for good, bads in WRONG.items() for bad in bads]
)
def test_each_wrong_element_is_refused_with_its_line(good: str, bad: str):  # R14
    text = agreement_text()
    assert text.count(good) == 1
    broken = text.replace(good, bad)
    line = text[: text.index(good)].count("\n") + 1 + bad.count("\n")
    with pytest.raises(AgreementError) as error:
        parse_agreement(broken, "a.toml")
    missing = "is missing" in str(
        error.value
    )  # a key was misspelt: the line is that of the unknown one
    assert str(error.value).startswith(f"a.toml, line {line}: ") and not missing, str(error.value)


@pytest.mark.parametrize(("key", "changes"), MISMATCHED.items())
def test_lines_that_do_not_go_together_are_refused_at_the_one_to_change(
    key: str, changes: dict[str, object]
):  # R14
    text = agreement_text(**changes)
    line = next(
        number
        for number, line in enumerate(text.splitlines(), start=1)
        if line.startswith(f"{key} =")
    )
    with pytest.raises(AgreementError, match=rf"^a\.toml, line {line}: {key} "):
        parse_agreement(text, "a.toml")


def test_there_are_thirty_broken_files_and_more():  # R14
    assert sum(map(len, WRONG.values())) + len(MISMATCHED) >= 30


@pytest.mark.parametrize(
    ("text", "line"), [("purpose = ", 1), ("version = 1\nend = = 2\n", 2), ('a = "b\n', 1)]
)
def test_text_that_is_not_toml_is_refused_with_its_line(text: str, line: int):  # R14
    with pytest.raises(AgreementError, match=rf"a\.toml, line {line}: not valid TOML"):
        parse_agreement(text, "a.toml")


def test_a_file_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path):
    file = tmp_path / "a.toml"
    file.write_bytes(b'version = 1\npurpose = "Nachhilfe f\xfcr alle"\n')
    with pytest.raises(AgreementError, match=r"a\.toml, line 2: not UTF-8"):
        read_agreement(file, SupportCatalog.declared())


def test_a_file_is_kept_to_the_last_byte(database: Database, tmp_path: Path):
    add_organization(database, "tutors", Role.CASEWORKER)
    file = tmp_path / "a.toml"
    content = (
        agreement_text().replace("\n", "\r\n").replace("Tutoring", "Nachhilfe f\u00fcr").encode()
    )
    file.write_bytes(content)
    save_agreement(database, read_agreement(file, SupportCatalog.declared()))
    (stored,) = agreement_versions(database, "a1")
    assert stored.agreement.text.encode() == content
    assert stored.agreement.sha256 == hashlib.sha256(content).hexdigest()


def test_a_key_within_a_longer_text_or_list_is_not_taken_for_the_line_of_the_key():
    text = (
        'purpose = """Until the\n'
        'end = of the school year, \\""" and\n'
        'start = again"""\n'
        "safeguards = '''\n"
        'categories = none # "\n'
        "'''\n"
        "officers = [ # [\n"
        '  "Ada",\n'
        '  "end"]\n'
        'categories = ["grades", "it\'s ]"]\n'
        "start = 2025-08-01\n"
        "end = 2026-07-31\n"
    )
    assert set(tomllib.loads(text)) == {
        "purpose",
        "safeguards",
        "officers",
        "categories",
        "start",
        "end",
    }
    lines = text.splitlines()
    for key in ("purpose", "safeguards", "officers", "categories", "start", "end"):
        where = max(
            number for number, line in enumerate(lines, start=1) if line.startswith(f"{key} =")
        )
        assert line_number_of(text, key) == where, key
    assert line_number_of(text, "officers", "end") == 9


def test_a_line_is_found_by_its_key_and_in_a_long_list_by_what_it_names():
    text = (
        "start = 2025-08-01\n"
        "# end = never\n"
        "categories = [\n"
        '  "directory",\n'
        '  "grades",\n'
        "]\n"
        "end = 2026-07-31\n"
    )
    assert [line_number_of(text, key) for key in ("start", "categories", "end", "none")] == [
        1,
        3,
        7,
        8,
    ]
    assert line_number_of(text, "categories", "grades") == 5
    assert line_number_of(text, "categories", "attendance") == 3


def test_an_agreement_with_somebody_unknown_is_refused(database: Database):
    with pytest.raises(AgreementError, match="there is no organization 'tutors'"):
        save_agreement(database, parse_agreement(agreement_text(), "a.toml"))


def test_a_text_that_was_accepted_before_a_rule_was_made_still_counts(database: Database):
    """Newer rules require more; what was signed under older ones stays in force."""
    add_organization(database, "tutors", Role.CASEWORKER)
    save_agreement(database, parse_agreement(agreement_text(), "a.toml"))
    older = "\n".join(
        line
        for line in agreement_text().splitlines()
        if not line.startswith(("activity", "safeguards"))
    )
    with database.session() as session:
        session.get_one(AgreementRow, ("a1", 1)).document = older
    (agreement,) = agreements_in_force(database, "tutors", date(2026, 4, 17))
    assert (agreement.purpose, agreement.activity, agreement.safeguards) == (
        "Tutoring after school",
        "",
        "",
    )


def test_a_stored_version_cannot_be_changed_and_a_newer_one_replaces_it(database: Database):
    add_organization(database, "tutors", Role.CASEWORKER)
    first = parse_agreement(agreement_text(), "a.toml")
    save_agreement(database, first)
    save_agreement(database, first)
    with pytest.raises(AgreementError, match="needs a higher version"):
        save_agreement(
            database, parse_agreement(agreement_text(categories=["directory"]), "a.toml")
        )
    newer = agreement_text(categories=["directory"]).replace("version = 1", "version = 2")
    save_agreement(database, parse_agreement(newer, "a.toml"))
    (current,) = agreements_in_force(database, "tutors", date(2026, 4, 17))
    assert (current.version, current.categories) == (2, {"directory"})
    assert [stored.agreement.version for stored in agreement_versions(database, "a1")] == [2, 1]
    assert agreement_versions(database, "a2") == []


def test_a_revocation_lasts_until_it_is_taken_back_with_a_reason(database: Database):  # R12
    (officer,) = add_organization(database, DISTRICT, Role.DISTRICT_ADMIN)
    (caseworker,) = add_organization(database, "tutors", Role.CASEWORKER)
    first, second, third = (
        parse_agreement(agreement_text().replace("version = 1", f"version = {number}"), "a.toml")
        for number in (1, 2, 3)
    )
    today, now = date(2026, 4, 17), datetime(2026, 4, 17, 9)
    save_agreement(database, first)
    with pytest.raises(AgreementError, match="not revoked: there is no revocation to undo"):
        reinstate(database, second, officer, "A mistake", now)
    revoke_agreement(database, "a1", now)
    for again in (first, second):
        with pytest.raises(AgreementError, match="was revoked on 2026-04-17"):
            save_agreement(database, again)
    with pytest.raises(AgreementError, match="give a reason"):
        reinstate(database, second, officer, "  ", now)
    with pytest.raises(AgreementError, match="needs a higher version"):
        reinstate(database, first, officer, "A mistake", now)
    with pytest.raises(NotADistrictAdmin):
        reinstate(database, second, caseworker, "A mistake", now)
    assert agreements_in_force(database, "tutors", today) == []
    reinstate(database, second, officer, " A mistake ", now)
    assert [agreement.version for agreement in agreements_in_force(database, "tutors", today)] == [
        2
    ]
    newest, oldest = agreement_versions(database, "a1")
    assert newest.reinstatement == Reinstatement(now, officer.user_id, "A mistake")
    assert oldest.revoked_at == now
    save_agreement(database, third)
    assert [agreement.version for agreement in agreements_in_force(database, "tutors", today)] == [
        3
    ]
