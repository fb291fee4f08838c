"""The audit as a document to file: what it says, who signed, and that it can be read by
everybody.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest

from fairness.audit.audit import Audit
from fairness.gate.gate import Verdict
from fairness.report.report import (
    Charts,
    Signature,
    audit_folder,
    latest_audit,
    report_html,
    report_pdf,
    write_report,
)
from fairness.report.wording import LIMITATIONS, VERDICT_SUMMARIES
from tests.fairness.handwritten_audits import CURVES, audit_of, finding
from tests.serving import district
from tests.serving.pdf_text import pdf_text

SIGNED = (
    Signature(datetime(2026, 4, 18, 10, 5), "Marcus Bell", "signed", "I read it <all> & #agree."),
    Signature(datetime(2026, 4, 19, 11), "Ana Ruiz", "refused", "A family complained."),
)
FAILING = audit_of(
    [
        finding("missed", "race_ethnicity", "black", 0.09, Verdict.FAIL),
        finding("missed", "race_ethnicity", "white", -0.04),
        finding("access", "sex", "another", None, Verdict.CANNOT_TELL),
        finding("missed", "race_ethnicity x sex", "black x female", 0.08, Verdict.CANNOT_TELL),
        finding("missed", "school", "School Nine", 0.2, Verdict.FAIL),
    ],
    curves=CURVES,
)
PASSING = audit_of([finding("missed", "sex", "female", 0.01)])


def document(audit: Audit, signatures: tuple[Signature, ...] = ()) -> bytes:
    return report_pdf(audit, Charts.of(audit), signatures)


def text(file: bytes) -> str:
    return re.sub(r"\s+", " ", pdf_text(file).replace("\u2019", "'"))


def test_the_document_says_the_verdict_what_stops_the_version_and_who_is_asked_about():  # R60
    document_text = text(document(FAILING))
    assert f"Failed . {VERDICT_SUMMARIES[Verdict.FAIL]}" in document_text
    assert "What blocks this version Missed" in document_text
    assert (
        "Black or African American students: 20% with neither, all others 20%. +9 points (+7 to"
        " +11)." in document_text
    )
    assert "Questions the reviewer must answer in writing" in document_text
    assert (
        "Too few students to judge" in document_text
        and "Students of another sex: " in document_text
    )


def test_each_page_carries_the_digest_its_number_and_the_title():
    pages = pdf_text(document(FAILING)).split("\n")
    assert len(pages) > 2
    for number, page in enumerate(pages, start=1):
        assert FAILING.sha256 in page and f"Page {number} of {len(pages)}" in page
        assert "Fairness audit of model version 1" in page


def test_it_says_who_signed_who_refused_and_why():
    document_text = text(document(PASSING, SIGNED))
    assert "Signed Marcus Bell 2026-04-18 at 10:05 I read it <all> & #agree." in document_text
    assert "Refused Ana Ruiz 2026-04-19 at 11:00 A family complained." in document_text
    assert "Not signed yet." in text(document(PASSING)) and "Not signed yet." not in document_text


def test_it_is_tagged_and_the_charts_have_words():
    file = document(FAILING)
    assert b"<pdfuaid:part>1</pdfuaid:part>" in file and b"/MarkInfo<</Marked true" in file
    assert b"/S/TH" in file and b"/S/H1" in file and b"/S/Figure" in file
    assert (
        b"How much more often each group is left out" in file
        and b"Benefit captured against" in file
    )
    assert b"Fairness audit of model version 1</rdf:li>" in file and b"/URI" not in file


def test_the_same_audit_is_the_same_document():
    assert document(FAILING, SIGNED) == document(FAILING, SIGNED)


def test_mitigation_options_stand_only_where_something_stops_the_version():
    document_text = text(document(FAILING))
    assert (
        "Mitigation options Nothing here is applied by itself" in document_text
        and "handrail train --without FAMILY" in document_text
    )
    assert (
        "Floor at 50% of an even share 71% +2 points Black or African American students 69%"
        in document_text
    )
    assert "counts places, and its largest gap is that of students who wait" in document_text
    assert "Mitigation options" not in text(document(PASSING))


def test_it_holds_method_limits_policy_and_what_was_read_and_no_single_school():
    document_text = text(document(FAILING))
    for sentence in (
        "Mantel and Haenszel",
        "Holm's procedure",
        *LIMITATIONS,
        "students (about 3,000 rows)",
        "c" * 64,
        FAILING.policy_sha256,
        "This district's own step: one audit a semester",
        "four-fifths",
    ):
        assert sentence in document_text or sentence in document_text.replace("- ", "-"), sentence
    assert "School Nine" not in document_text, "schools do not count; they are on the page"
    assert document_text.index("Signatures") < document_text.index("Check by check"), (
        "what is signed comes before the tables"
    )


def test_page_and_document_say_the_same():
    page = report_html(FAILING, Charts.of(FAILING), SIGNED)
    heads = [re.sub("<[^>]+>", "", head) for head in re.findall(r"<h2[^>]*>(.*?)</h2>", page)]
    document_text = text(document(FAILING, SIGNED))
    places = [document_text.index(f" {head} ") for head in heads]
    assert len(heads) >= 9 and places == sorted(places)


def test_every_verdict_of_the_page_leads_to_its_table_within_the_check():
    page = report_html(FAILING, Charts.of(FAILING), ())
    ids = re.findall(r'id="([^"]+)"', page)
    targets = re.findall(r'href="#([^"]+)"', page)
    assert len(targets) > 4 and set(targets) <= set(ids) and len(ids) == len(set(ids))
    for table in re.findall(r'id="(table-[^"]+)"', page):
        before = page[: page.index(f'id="{table}"')]
        assert before.count("<details") > before.count("</details>"), (
            "a link opens what it leads into"
        )


@pytest.mark.parametrize("audit", [FAILING, PASSING])
def test_every_file_of_a_report_is_written_and_read_back(audit: Audit, tmp_path: Path):
    report = write_report(audit, tmp_path)
    names = {file.name for file in audit_folder(tmp_path, audit).iterdir()}
    curves = {"curves.svg"} if audit.curves else set()
    assert (
        names
        == {
            "audit.json",
            "chart.svg",
            "chart-narrow.svg",
            "report.html",
            "report.pdf",
        }
        | curves
    )
    assert report.name == "report.html" and latest_audit(tmp_path, 1) == audit


def test_a_real_audit_names_no_student(approved: Path):  # R25, R60
    audit = latest_audit(approved, 1)
    assert audit is not None
    document_text = text((audit_folder(approved, audit) / "report.pdf").read_bytes())
    names = [
        str(row[name])
        for row in district.rows()["students"]
        for name in ("first_name", "last_name")
    ]
    assert not [
        name for name in (*district.STUDENTS, *names, district.CANARY) if name in document_text
    ]
    assert "Only for a test" in document_text and "Signed" in document_text
