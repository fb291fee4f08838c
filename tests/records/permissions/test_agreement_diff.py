"""The differences between two versions of an agreement, in words and line by line."""

from __future__ import annotations

from records.permissions.agreement_diff import describe_changes, diff_lines
from records.permissions.agreements import Agreement, parse_agreement
from tests.records.conftest import agreement_text


def agreement(*replaced: tuple[str, str], **values: object) -> Agreement:
    text = agreement_text(**values)
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    return parse_agreement(text, "a.toml")


def test_each_change_is_a_sentence_in_the_order_of_the_agreement():
    newer = agreement(
        ("2026-07-31", "2026-08-31"),
        ("version = 1", "version = 2"),
        supports=[],
        categories=["directory", "grades", "services"],
    )
    assert describe_changes(agreement(), newer) == [
        "Which records are shared: now also grades; no longer attendance.",
        "The supports that may be suggested: no longer tutoring.",
        "The last day: 2026-08-31 instead of 2026-07-31.",
    ]


def test_a_new_purpose_is_quoted_and_an_order_is_said():
    turned = ["services", "directory", "attendance"]
    newer = agreement(("Tutoring after school", "Tutoring and chess"), categories=turned)
    assert describe_changes(agreement(), newer) == [
        'What the records are shared for: "Tutoring and chess" instead of "Tutoring after school".',
        "Which records are shared: in another order.",
    ]


def test_remarks_alone_change_nothing():
    assert describe_changes(
        agreement(), agreement(("version = 1", "version = 1 # signed twice"))
    ) == ["Only comments or formatting."]


def test_lines_are_compared_with_the_numbers_that_they_have_in_each_version():
    lines = diff_lines("one\ntwo\nthree\n", "one\n2\nthree\nfour\n")
    assert [(line.kind, line.before, line.after, line.text) for line in lines] == [
        ("kept", 1, 1, "one"),
        ("removed", 2, None, "two"),
        ("added", None, 2, "2"),
        ("kept", 3, 3, "three"),
        ("added", None, 4, "four"),
    ]


def test_either_text_can_be_read_off_the_comparison():
    before, after = (
        agreement().text,
        agreement(("2026-07-31", "2026-08-31"), categories=["directory"]).text,
    )
    lines = diff_lines(before, after)
    assert [line.text for line in lines if line.kind != "added"] == before.splitlines()
    assert [line.text for line in lines if line.kind != "removed"] == after.splitlines()
