"""PDF files that a screen reader can read, in whatever letters a name is written."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from typst import TypstError

from records.system.pdf import render_pdf
from serving.exports.disclosure_report import (
    ABOUT,
    DisclosureLine,
    DisclosureReport,
    PartySummary,
    report_pdf,
)
from tests.serving.pdf_text import pdf_text

BOXES = "A box (□) stands for a letter that could not be printed here."
LINE = DisclosureLine(
    at="2026-04-17T10:30:00.000",
    person="Somebody",
    organization="Tutors",
    student="",
    handle="",
    categories="attendance",
    purpose="Tutoring",
    basis="A legal basis",
    agreement_id="a1",
    authority="agreement a1",
    path="",
    students_in_list=2,
    law_requires=True,
    threat="",
)
PARTY = PartySummary(
    organization="Tutors",
    purpose="Tutoring",
    basis="A legal basis",
    authority="agreement a1",
    path="",
    categories="attendance",
    views="1 view",
    first="April 17, 2026, 10:30 AM",
    last="April 17, 2026, 10:30 AM",
    recordkeeping="Yes (34 CFR 99.32(a)(5))",
    redisclosure="",
)


def about(name: str, views: int = 1) -> DisclosureReport:
    title = f"Who has seen the record of {name}"
    return DisclosureReport(
        title, "1 view.", views, (PARTY,), (LINE,) * views, ABOUT, "Shown to somebody."
    )


def test_a_pdf_is_tagged_titled_and_of_one_language():
    file = report_pdf(about("Ana Ruiz"))
    assert b"<pdfuaid:part>1</pdfuaid:part>" in file and b"/MarkInfo<</Marked true" in file
    assert b"Who has seen the record of Ana Ruiz</rdf:li>" in file
    assert re.search(rb"/Lang\(en\)", file) and b"/StructTreeRoot" in file
    assert b"/S/TH" in file and b"/S/H1" in file, (
        "headers of tables and headings are marked as such"
    )
    assert b"/URI" not in file and b"/JavaScript" not in file


def test_the_same_report_is_the_same_file():
    assert report_pdf(about("Ana Ruiz")) == report_pdf(about("Ana Ruiz"))


def test_every_page_carries_its_number_and_the_terms():  # R27
    pages = pdf_text(report_pdf(about("Ana Ruiz", views=120))).split("\n")
    assert len(pages) > 3
    for number, page in enumerate(pages, start=1):
        assert f"Page {number} of {len(pages)}" in page and "Shown to somebody." in page
    assert sum(page.count("Recordkeeping required by law.") for page in pages) == 120


@pytest.mark.parametrize(
    "name", ["Zoë Ñandú Łukasz", "Nguyễn Thị Ánh", "Оксана Ґонта", "Ελένη", "Đặng Ư Ơ"]
)
def test_names_keep_their_letters(name: str):
    told = pdf_text(report_pdf(about(name)))
    assert f"Who has seen the record of {name}" in told and BOXES not in told


@pytest.mark.parametrize("name", ["محمد علي", "נועה", "नेहा"])
def test_scripts_that_are_drawn_otherwise_are_drawn_too(name: str):
    told = pdf_text(report_pdf(about(name)))
    assert set(name) <= set(told) and "□" not in told


@pytest.mark.parametrize(
    "name", ["王小明", "김철수", "หนูนา", "አበበ", "\U00017000\U00017001", "bell\a and nul\0"]
)
def test_a_letter_that_no_font_has_is_a_box_and_the_report_says_so(name: str):
    told = pdf_text(report_pdf(about(f"Ana {name} Ruiz")))
    assert re.search("Who has seen the record of Ana .+ Ruiz", told)
    drawn = set(name) <= set(told)
    assert drawn or (BOXES in told and "□" in told.replace(BOXES, "")), (
        "a font of this machine has it, or a box stands"
    )


def test_a_name_is_never_taken_for_a_command():
    name = '#import "x.typ" $x^2$ *b* _i_ `raw` [y] \\ // "q" <l> @r = h'
    assert f"Who has seen the record of {name}" in pdf_text(report_pdf(about(name))).replace(
        "\u201d", '"'
    ).replace("\u201c", '"')


def test_a_template_reads_no_package_and_no_file_outside_its_folder(tmp_path: Path):
    found = [
        *Path("serving/templates").glob("*.typ"),
        *Path("fairness/report/templates").glob("*.typ"),
    ]
    assert len(found) == 2
    for template in found:
        assert "@" not in template.read_text() and "import" not in template.read_text()
    (tmp_path.parent / "secret").write_text("secret")
    (tmp_path / "wrong.typ").write_text('#set document(title: "x")\n#read("../secret")')
    with pytest.raises(TypstError):
        render_pdf(tmp_path / "wrong.typ", {})


def test_a_look_without_a_purpose_says_its_ground():
    own = replace(
        LINE, purpose="", basis="The district's own records", agreement_id="", law_requires=False
    )
    told = pdf_text(report_pdf(replace(about("Ana Ruiz"), disclosures=(own,))))
    assert (
        "The district's own records" in told.replace("\u2019", "'")
        and "Recordkeeping required by law." not in told
    )
