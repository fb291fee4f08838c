"""The report: plain words and no student, nothing small, nothing fetched; it reads back as it was
or not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from markupsafe import Markup, escape

from fairness.audit.audit import Audit, AuditError, verdict_of
from fairness.checks.checks import CHECKS, INTERSECTION_SEPARATOR
from fairness.checks.policy_file import Consequence
from fairness.gate.findings import Finding
from fairness.gate.gate import Verdict
from fairness.measures.proxies import ALL_FAMILIES, Proxy
from fairness.population.comparisons import NOT_RECORDED
from fairness.report import views
from fairness.report import wording as words
from fairness.report.report import (
    Signature,
    audit_by_digest,
    audit_folder,
    audits_of_version,
    checks_html,
    findings_html,
    latest_audit,
    write_report,
)
from tests.fairness.synthetic_districts import POLICY, synthetic_district
from tests.serving.pdf_text import pdf_text

SCHOOL = "Schools differ in the programs nearby, and few have enough students to be judged alone"
SOME = replace(
    POLICY,
    groups=("sex", "race_ethnicity", "special_education", "school"),
    reported={"school": SCHOOL},
    intersections=(("race_ethnicity", "sex"),),
)
PASS, FAIL, CANNOT_TELL = Verdict.PASS, Verdict.FAIL, Verdict.CANNOT_TELL
STOPS, ASKS, SHOWS = Consequence.STOPS, Consequence.ASKS, Consequence.SHOWS
TRACES = "Sensitive characteristics that can be inferred"
FILES = {"audit.json", "chart.svg", "chart-narrow.svg", "report.html", "report.pdf"}


@cache
def audit() -> Audit:
    """Of a district in which one group is missed more often, and another is tiny."""
    return synthetic_district(1600, 2, {"black": 0.25}, policy=SOME).audit()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("written")
    write_report(audit(), home)
    return home


def texts(home: Path, of: Audit) -> dict[str, str]:
    return {
        file.name: pdf_text(file.read_bytes()) if file.suffix == ".pdf" else file.read_text()
        for file in audit_folder(home, of).iterdir()
    }


def finding(
    check: str,
    gap: float | None = 0.0,
    verdict: Verdict = PASS,
    does: Consequence = SHOWS,
    **changes: object,
) -> Finding:
    ratio = CHECKS[check].contrast == "ratio"
    ends = (
        (None, None) if gap is None else (gap * 0.8, gap * 1.2) if ratio else (gap - 0.1, gap + 0.1)
    )
    shares = (None, None) if gap is None else (0.5, 0.4)
    shown = Finding(
        check, "", "race_ethnicity", "black", verdict, does, True, 320, *shares, gap, *ends, ""
    )
    return replace(shown, **changes)


def test_written_files_hold_no_student_and_no_small_number_and_fetch_nothing(
    written: Path,
):  # R25, R60
    files = texts(written, audit())
    assert set(files) == FILES
    assert not any("CANARY" in text for text in files.values())
    html = files["report.html"]
    assert not re.search(r"https?:|src=|@import|url\(|<script|<link|<iframe", html)
    tables = re.sub(r"<h2>The policy</h2>.*?</section>", "", html, flags=re.DOTALL)
    cells = re.findall(r"<td>([\d,]+)</td>", tables)
    assert len(cells) > 50 and all(int(cell.replace(",", "")) >= 10 for cell in cells)
    content = json.loads(files["audit.json"])
    sizes = [group[name] for group in content["groups"] for name in ("students", "in_need")]
    sizes += [entry["n"] for entry in content["findings"]]
    sizes += [content["students"], content["in_need"], *content["data"]["tables"].values()]
    assert None in sizes and all(size is None or (size >= 10 and size % 10 == 0) for size in sizes)


def test_the_report_says_the_verdict_names_the_groups_and_that_nobody_signed(written: Path):
    html = texts(written, audit())["report.html"]
    assert audit().verdict is FAIL and '<span class="verdict fail">Failed</span>' in html
    assert words.VERDICT_SUMMARIES[FAIL] in html and "Not signed yet" in html
    assert TRACES in html
    stopping, asking = (
        html.index("What blocks this version"),
        html.index("Questions the reviewer must answer in writing"),
    )
    black = next(
        shown for shown in audit().stopping if (shown.check, shown.value) == ("missed", "black")
    )
    sentence = (
        f"Black or African American students: {black.rate:.0%} with neither, all others"
        f" {black.others_rate:.0%}."
    )
    assert stopping < html.index(sentence) < asking
    tiny = "American Indian or Alaska Native students: A support or a suggestion"
    assert asking < html.index(tiny)
    assert "Native Hawaiian" not in html, "nobody of that group is enrolled"
    assert f"<strong>School</strong>: {SCHOOL}." in html
    assert audit().sha256 in html and audit().model_sha256 in html and audit().policy_sha256 in html
    assert "attendance events (about 120,450 rows)" in html
    for name in {shown.check for shown in audit().findings}:
        assert escape(f"Source: {SOME.checks[name].source}.") in html
    for name, source in SOME.sources.items():
        assert escape(SOME.says[name]) in html and escape(source) in html


def test_the_charts_marks_are_the_gaps_of_the_findings(written: Path):
    svg = texts(written, audit())["chart.svg"]
    assert svg.startswith("<svg") and "Girls" in svg and "Black or African American students" in svg
    assert svg.count("Failed") and "Adams" not in svg
    assert "<svg" in texts(written, audit())["report.html"]


def test_what_is_printed_is_escaped(tmp_path: Path):
    nasty = "<script>alert(1)</script>"
    school = [
        replace(shown, value=nasty)
        if (shown.attribute, shown.value) == ("school", "Adams")
        else shown
        for shown in audit().findings
    ]
    signature = Signature(datetime(2026, 4, 18, 8), nasty, "signed", nasty)
    changed = replace(audit(), snapshot_id=nasty, findings=tuple(school))
    html = write_report(changed, tmp_path, [signature]).read_text()
    assert "<script" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4
    assert "Signed</strong> by &lt;script" in html and "2026-04-18 at 08:00" in html


def test_a_report_of_no_figures_at_all_can_be_written(tmp_path: Path):
    empty = [
        replace(
            shown,
            rate=None,
            others_rate=None,
            gap=None,
            lower=None,
            upper=None,
            why="too_few",
            verdict=CANNOT_TELL,
            does=ASKS,
        )
        for shown in audit().findings
    ]
    bare = replace(
        audit(), findings=tuple(empty), verdict=CANNOT_TELL, in_need=None, helped=None, proxies=()
    )
    html = write_report(bare, tmp_path).read_text()
    assert "No group may be shown" in html and "Cannot tell" in html and "None" not in html
    assert TRACES not in html


def test_an_audit_reads_back_as_it_was(written: Path):
    assert latest_audit(written, 1) == audit()
    assert audit_by_digest(written, 1, audit().sha256) == audit()
    assert Audit.from_json(audit().to_json()) == audit()
    assert latest_audit(written, 2) is None and audits_of_version(written, 2) == []
    assert audit_by_digest(written, 1, "0" * 64) is None


def test_equal_audits_have_equal_bytes_and_any_change_another_digest():
    again = synthetic_district(1600, 2, {"black": 0.25}, policy=SOME).audit()
    assert again == audit() and again.to_json() == audit().to_json()
    changes = (
        {"version": 2},
        {"snapshot_id": "other"},
        {"students": 1610},
        {"helped": 0.5},
        {"behavior": True},
        {"findings": audit().findings[1:]},
        {"proxies": ()},
        {"at": audit().at + timedelta(seconds=1)},
    )
    digests = {replace(audit(), **change).sha256 for change in changes}
    assert len(digests | {audit().sha256}) == len(changes) + 1


def altered(content: dict, **changes: object) -> str:
    return json.dumps(content | changes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: altered(c, verdict="pass"), "the audit says pass, but its findings say fail"),
        (lambda c: altered(c, verdict="fine"), "cannot be read"),
        (
            lambda c: altered(c, findings=[entry | {"does": "shows"} for entry in c["findings"]]),
            "its findings say pass",
        ),
        (lambda c: altered(c, students=1500), "its digest is another"),
        (lambda c: altered(c, groups=c["groups"][1:]), "its digest is another"),
        (lambda c: altered(c, students="many"), "cannot be read"),
        (lambda c: altered(c, format="handrail-audit-1"), "its digest is another"),
        (lambda c: json.dumps([c]), "audit the version again"),
        (
            lambda c: json.dumps({key: value for key, value in c.items() if key != "policy"}),
            "cannot be read",
        ),
        (lambda c: "{", "cannot be read"),
        (lambda c: "", "cannot be read"),
    ],
    ids=[
        "verdict",
        "no verdict",
        "consequences",
        "number",
        "group",
        "text",
        "format",
        "list",
        "part",
        "json",
        "empty",
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_refused(tmp_path: Path, change, says: str):
    file = audit_folder(tmp_path, audit()) / "audit.json"
    file.parent.mkdir(parents=True)
    file.write_text(audit().to_json())
    assert latest_audit(tmp_path, 1) == audit()
    file.write_text(change(json.loads(audit().to_json())))
    for read in (
        lambda: latest_audit(tmp_path, 1),
        lambda: audits_of_version(tmp_path, 1),
        lambda: audit_by_digest(tmp_path, 1, audit().sha256),
    ):
        with pytest.raises(AuditError, match=says):
            read()


def test_an_older_audit_stays_when_a_newer_one_is_written_and_the_newest_is_read_first(
    written: Path, tmp_path: Path
):
    before = texts(written, audit())
    ats = [audit().at + timedelta(days=days) for days in (2, 1, 3)]
    for at in ats:
        file = audit_folder(written, replace(audit(), at=at)) / "audit.json"
        file.parent.mkdir()
        file.write_text(replace(audit(), at=at).to_json())
    assert [earlier.at for earlier in audits_of_version(written, 1)] == [
        *sorted(ats, reverse=True),
        audit().at,
    ]
    assert latest_audit(written, 1).at == max(ats)
    assert texts(written, audit()) == before
    assert audit_by_digest(written, 1, audit().sha256) == audit()
    assert tmp_path not in written.parents


def test_writing_an_audit_again_changes_no_byte_of_it(tmp_path: Path):
    first = texts((write_report(audit(), tmp_path), tmp_path)[1], audit())
    write_report(audit(), tmp_path, [Signature(audit().at, "Ana Ruiz", "refused", "Not yet.")])
    second = texts(tmp_path, audit())
    assert first["audit.json"] == second["audit.json"] and first["chart.svg"] == second["chart.svg"]
    assert (
        "Refused</strong> by Ana Ruiz" in second["report.html"]
        and "Not signed yet" not in second["report.html"]
    )


def test_the_site_shows_what_the_report_shows(written: Path):
    body = str(findings_html(audit(), Markup("<svg></svg>"), Markup()))
    report = texts(written, audit())["report.html"]
    start = body.index("<h3>What blocks this version")
    assert body[start : body.index("</section>", start)] in report
    assert str(checks_html(audit())) in report


def findings_of(check: str, attribute: str = "") -> list[Finding]:
    return [
        shown
        for shown in audit().findings
        if shown.check == check and (not attribute or shown.attribute == attribute)
    ]


def test_the_grid_shows_the_worst_verdict_of_the_groups_that_count():
    grid = views.grid(audit())
    attributes = list(dict.fromkeys(shown.attribute for shown in audit().findings))
    assert grid.columns == tuple(words.attribute_label(name) for name in attributes)
    rows = {anchor: cells for _, anchor, cells in grid.rows}
    order = {FAIL: 0, CANNOT_TELL: 1, PASS: 2}
    for check in ("missed", "access", "suggestion", "captured"):
        for attribute, cell in zip(attributes, rows[check], strict=True):
            verdicts = [shown.verdict for shown in findings_of(check, attribute)]
            assert cell.verdict is min(verdicts, key=order.get)
            assert ("not counted" in cell.notes) is (attribute == "school")
            note = f"{verdicts.count(PASS)} of {len(verdicts)} passed"
            assert (note in cell.notes) is (len(verdicts) > 1 and cell.verdict is not PASS)
    assert rows["missed"][attributes.index("race_ethnicity")].verdict is FAIL
    assert {"support-mentoring", "support-tutoring"} <= set(rows)
    known = [list(CHECKS).index(anchor.partition("-")[0]) for _, anchor, _ in grid.rows]
    assert known == sorted(known), "in the order of the report"


def test_the_grid_says_where_nothing_was_asked():
    others = tuple(
        shown for shown in audit().findings if (shown.check, shown.attribute) != ("missed", "sex")
    )
    grid = views.grid(replace(audit(), findings=others))
    cell = next(cells for _, anchor, cells in grid.rows if anchor == "missed")[
        grid.columns.index("Sex")
    ]
    assert (cell.verdict, cell.counts, cell.notes) == (None, False, ())


def test_a_group_that_is_not_counted_does_not_stain_the_grid_of_those_that_are():
    findings = (
        finding("missed", verdict=PASS),
        finding("missed", value="white", verdict=FAIL, counts=False),
    )
    cells = views.grid(replace(audit(), findings=findings)).rows[0][2]
    assert [(cell.verdict, cell.counts, cell.notes) for cell in cells] == [(PASS, True, ())]


def test_questions_are_a_check_at_a_time_single_groups_before_two_at_once():
    questions = views.review_questions(audit().stopping)
    checks = [stopping.check for stopping in audit().stopping]
    assert [question.title.partition(":")[0] for question in questions] == [
        check.title for name, check in CHECKS.items() if name in checks
    ]
    assert sum(len(question.sentences) for question in questions) == len(checks)
    missed = next(question for question in questions if question.title == "Missed")
    assert missed.sentences[0].startswith("Black or African American students: ")
    assert missed.question == CHECKS["missed"].question
    assert all("Girls" in sentence or "Boys" in sentence for sentence in missed.sentences[1:])


def test_a_check_that_asks_about_several_supports_is_one_question_which_names_each():
    def past(item: str, value: str) -> Finding:
        return finding("past_support", 0.6, value=value, item=item)

    (question,) = views.review_questions(
        [past("tutoring", "black"), past("housing_help", "hispanic"), past("tutoring", "asian")]
    )
    assert question.title == "Supports in the past"
    assert [sentence.partition(":")[0] for sentence in question.sentences] == [
        "Housing help. Hispanic or Latino students",
        "Tutoring. Black or African American students",
        "Tutoring. Asian students",
    ]
    (single,) = views.review_questions([past("tutoring", "black"), past("tutoring", "asian")])
    assert single.title == "Supports in the past: tutoring"
    assert [sentence.partition(":")[0] for sentence in single.sentences] == [
        "Black or African American students",
        "Asian students",
    ]


def test_many_answers_of_one_check_are_counted_after_twelve():
    many = [finding("missed", 0.1, attribute="school", value=f"School {n}") for n in range(15)]
    (question,) = views.review_questions(many)
    assert len(question.sentences) == 13 and question.sentences[-1] == "And 3 more, below."
    assert views.review_questions([]) == []


def test_groups_too_small_to_judge_are_one_question_with_their_checks():
    few = [
        finding(check, None, value=value, why="too_few")
        for check in ("missed", "access")
        for value in ("asian", "white")
    ]
    judged, small = views.review_questions([*few, finding("missed", 0.1)])
    assert (judged.title, len(judged.sentences)) == ("Missed", 1)
    assert small.title == "Too few students to judge"
    assert small.sentences == (
        "Asian students: Missed, Access at equal need.",
        "White students: Missed, Access at equal need.",
    )


@pytest.mark.parametrize(
    ("gap", "cell"),
    [
        (0.081, views.HeatCell("+8", 4, "missed more often")),
        (0.5, views.HeatCell("+50", 4, "missed more often")),
        (0.02, views.HeatCell("+2", 1, "missed more often")),
        (0.004, views.HeatCell("+0", 0, "as often")),
        (-0.04, views.HeatCell("-4", -2, "missed less often")),
        (-0.3, views.HeatCell("-30", -4, "missed less often")),
        (None, views.HeatCell("not shown", 0, "not shown")),
    ],
)
def test_a_cell_of_a_heat_table_says_how_much_more_is_missed(gap, cell):
    crossed = finding("missed", gap, attribute="race_ethnicity x sex", value="black x female")
    (heat,) = views.heat_tables(replace(audit(), findings=(crossed,)))
    assert (heat.title, heat.columns) == ("Race or ethnicity and sex", ("Girls",))
    assert heat.rows == (("Black or African American students", (cell,)),)


def test_a_heat_table_has_a_row_and_a_column_for_each_group_and_a_gap_where_nobody_is():
    (heat,) = views.heat_tables(audit())
    values = {shown.value for shown in findings_of("missed", "race_ethnicity x sex")}
    assert len(heat.rows) == len({value.split(INTERSECTION_SEPARATOR)[0] for value in values})
    assert set(heat.columns) == {"Girls", "Boys"}
    assert sum(len(cells) for _, cells in heat.rows) == 2 * len(heat.rows)


def test_details_hold_every_finding_once_with_its_threshold():
    details = views.details(audit())
    assert sum(len(table.lines) for detail in details for table in detail.tables) == len(
        audit().findings
    )
    missed = next(detail for detail in details if detail.name == "missed")
    assert (
        missed.threshold
        == "Fails at more than 5 points, where chance does not explain it: blocks this version."
        " Passes where the whole interval is within 10 points. Otherwise it cannot tell: asks for a"
        f" written reason. Source: {SOME.checks['missed'].source}."
    )
    suggestion = next(detail for detail in details if detail.name == "suggestion")
    assert suggestion.threshold.startswith("Fails at below 0.80 times")
    assert [table.counts for table in missed.tables] == [
        table.title != "School" for table in missed.tables
    ]
    for table, attribute in zip(
        missed.tables,
        dict.fromkeys(shown.attribute for shown in findings_of("missed")),
        strict=True,
    ):
        assert table.title == words.attribute_label(attribute)
        for line, shown in zip(table.lines, findings_of("missed", attribute), strict=True):
            assert line.n == ("not shown" if shown.n is None else f"{shown.n:,}")
            assert (line.verdict, line.counts, line.why) == (
                shown.verdict,
                shown.counts,
                shown.why,
            )
            assert line.rate == ("not shown" if shown.rate is None else f"{100 * shown.rate:.0f}%")


def test_a_threshold_in_progress_points_is_said_in_them():
    (detail,) = views.details(replace(audit(), findings=(finding("calibration"),)))
    assert detail.threshold.startswith("Fails at more than 0.5 progress points")
    assert (
        "within 1 progress points" in detail.threshold
        and "Otherwise it cannot tell: is shown." in detail.threshold
    )


def test_strong_traces_are_marked_and_what_was_not_asked_says_so():
    proxies = (
        Proxy("sex", "attendance", 0.55, 0.5, 0.6),
        Proxy("sex", ALL_FAMILIES, 0.7, 0.66, 0.74),
        Proxy("race_ethnicity", "grades", 0.69, 0.6, 0.8),
        Proxy("race_ethnicity", ALL_FAMILIES, 0.9, 0.85, 0.95),
    )
    families, rows = views.proxy_rows(replace(audit(), proxies=proxies))
    assert families == ["Attendance", "Grades", "All together"]
    assert rows == [
        views.ProxyRow(
            "Sex",
            (("0.55 (0.50 to 0.60)", False), ("not checked", False), ("0.70 (0.66 to 0.74)", True)),
        ),
        views.ProxyRow(
            "Race or ethnicity",
            (("not checked", False), ("0.69 (0.60 to 0.80)", False), ("0.90 (0.85 to 0.95)", True)),
        ),
    ]
    assert views.proxy_rows(replace(audit(), proxies=())) == (["All together"], [])


def test_what_stops_asks_and_passes_is_counted():
    judged = [shown for shown in audit().findings if shown.attribute != "school"]
    assert views.answer_counts(audit()) == {
        "stop": sum(shown.does is STOPS for shown in audit().findings),
        "ask": sum(shown.does is ASKS for shown in audit().findings),
        "pass": sum(shown.verdict is PASS for shown in judged),
        "fail": sum(shown.verdict is FAIL for shown in judged),
        "of": len(judged),
    }
    assert verdict_of(audit().findings) is FAIL


SENTENCES = {
    "a difference": (
        finding("missed", 0.1),
        (
            "Black or African American students: 50% with neither, all others 40%. "
            "+10 points (+0 to +20)."
        ),
    ),
    "a ratio": (
        finding("suggestion", 0.75, attribute="sex", value="female"),
        (
            "Girls: 50% with a support or a suggestion, all others 40%. 0.75 times as often (0.60"
            " to 0.90)."
        ),
    ),
    "a ratio without an end": (
        finding("suggestion", 2.0, upper=None, attribute="sex", value="male"),
        (
            "Boys: 50% with a support or a suggestion, all others 40%. 2.00 times as often (1.60 to"
            " no limit)."
        ),
    ),
    "a matched difference": (
        finding("access", -0.05),
        (
            "Black or African American students: 50% with neither, all "
            "others 40%. Among those alike in need or records, -5 points (-15 to +5)."
        ),
    ),
    "a mean": (
        finding("twins", 0.07),
        (
            "Black or African American students: 50% more of the twins outside have one. "
            "+7 points (-3 to +17)."
        ),
    ),
    "progress points": (
        finding("calibration", -0.6, rate=-0.7, others_rate=-0.1),
        (
            "Black or African American students: -0.7 points gained less expected, all others -0.1"
            " points. -0.6 progress points (-0.7 to -0.5)."
        ),
    ),
    "too few": (
        finding("missed", None, why="too_few"),
        "Black or African American students: too few students to judge.",
    ),
    "nothing to show": (
        finding("missed", None),
        (
            "Black or African American students: the figures are not shown, "
            "since a small number of students would follow from them."
        ),
    ),
    "nothing on record": (
        finding(
            "missed", None, why="nothing_recorded", attribute="unstable_housing", value=NOT_RECORDED
        ),
        "Housing: not on record for anybody, so no group can be judged.",
    ),
    "two groups at once": (
        finding("missed", 0.1, attribute="race_ethnicity x sex", value="black x female"),
        (
            "Black or African American, girls: 50% with neither, all others 40%. +10 points (+0 to "
            "+20)."
        ),
    ),
}


@pytest.mark.parametrize(("shown", "expected"), SENTENCES.values(), ids=list(SENTENCES))
def test_a_finding_is_said_in_a_sentence(shown: Finding, expected: str):
    assert words.sentence(shown) == expected


def test_groups_of_which_no_figure_may_be_shown_are_named_together_after_the_others():
    boys = finding("missed", None, attribute="sex", value="male")
    sentences = words.sentences(
        [finding("missed", None), finding("missed", 0.1, FAIL, STOPS), boys]
    )
    assert sentences[0] == words.sentence(finding("missed", 0.1, FAIL, STOPS))
    assert sentences[1:] == [
        "Black or African American students; Boys: the figures are not shown, since a small number"
        " of students would follow from them."
    ]


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_is_said_in_words_for_every_verdict(check: str):
    for verdict, does in ((PASS, SHOWS), (FAIL, STOPS), (CANNOT_TELL, ASKS)):
        sentence = words.sentence(
            finding(check, 0.1, verdict, does, item="tutoring" if check == "support" else "")
        )
        assert sentence.startswith("Black or African American students: ") and sentence.endswith(
            ")."
        )
        assert "None" not in sentence and "nan" not in sentence and "_" not in sentence
    assert CHECKS[check].question.rstrip().endswith((".", "?"))


def test_groups_supports_and_verdicts_have_words():
    assert words.check_label("support", "summer_meals") == "Each support: summer meals"
    assert (
        words.attribute_label("race_ethnicity x special_education")
        == "Race or ethnicity and special education"
    )
    assert words.value_label("special_education", "yes") == "Students with an IEP or a 504 plan"
    assert words.value_label("school", "Adams") == "Adams"
    assert words.value_label("sex", NOT_RECORDED) == "Not recorded"
    assert set(words.VERDICT_LABELS) == set(words.VERDICT_SUMMARIES) == set(Verdict)


def numbers(value: object, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from numbers(part, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for part in value:
            yield from numbers(part, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


def test_every_number_of_a_finding_is_in_hundredths_and_in_order():  # R60
    for shown in audit().findings:
        for path, value in numbers(asdict(shown)):
            assert value == pytest.approx(round(value, 2), abs=1e-12), path
        ends = [end for end in (shown.lower, shown.gap, shown.upper) if end is not None]
        assert all(low <= high for low, high in pairwise(ends))
