"""An audit as files: JSON for machines, charts, a page to read and print, a PDF to file. Nothing in
them is fetched.

They lie in `home/audits/v<version>/<digest>/`, so that an audit that was signed stays as it was
whatever comes after. The JSON is written last: an audit that can be read has its report.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from fairness.audit.audit import Audit, AuditError, AuditOutdated
from fairness.report import views
from fairness.report import wording as words
from fairness.report.charts import dot_plot, tradeoff_chart
from records.system.files import write_atomic
from records.system.pdf import render_pdf

_TEMPLATES = Path(__file__).parent / "templates"
_JSON = "audit.json"
_SHORT = 16
"""Hex digits of an audit's digest that name its folder."""


@dataclass(frozen=True)
class Signature:
    """A reviewer's decision as the report prints it: `decision` is "signed" or "refused"."""

    at: datetime
    name: str
    decision: str
    reason: str


@dataclass(frozen=True)
class Charts:
    """The charts of an audit as SVG: dots with intervals, as a page and as a phone has room for
    them, and trade curves, empty where nothing stops the model.
    """

    dots: str
    narrow: str
    curves: str

    @classmethod
    def of(cls, audit: Audit) -> Charts:
        trades = views.tradeoff_tables(audit)
        return cls(
            dot_plot(audit), dot_plot(audit, narrow=True), tradeoff_chart(trades) if trades else ""
        )


def write_report(audit: Audit, home: Path, signatures: Sequence[Signature] = ()) -> Path:
    """Write audit.json, report.html, report.pdf and the charts, each whole or not at all; the file
    of report.html.
    """
    folder = audit_folder(home, audit)
    charts = Charts.of(audit)
    write_atomic(folder / "chart.svg", charts.dots)
    write_atomic(folder / "chart-narrow.svg", charts.narrow)
    if charts.curves:
        write_atomic(folder / "curves.svg", charts.curves)
    write_atomic(folder / "report.pdf", report_pdf(audit, charts, signatures))
    report = write_atomic(folder / "report.html", report_html(audit, charts, signatures))
    write_atomic(folder / _JSON, audit.to_json())
    return report


def report_html(audit: Audit, charts: Charts, signatures: Sequence[Signature]) -> str:
    """The page: it stands alone, and prints."""
    dots, narrow, curves = (
        _inline_svg(svg, alt, kind)
        for svg, alt, kind in (
            (charts.dots, words.DOT_PLOT_ALT, "audit-wide-only"),
            (charts.narrow, words.DOT_PLOT_ALT, "audit-narrow"),
            (charts.curves, words.TRADEOFF_CHART_ALT, ""),
        )
    )
    return (
        _pages()
        .get_template("report.html")
        .render(
            findings=findings_html(audit, dots + narrow, curves),
            checks_of_all=checks_html(audit),
            signatures=signatures,
            style=Markup(findings_css()),
            thresholds=_thresholds(audit),
            facts=_facts(audit),
            moment=_moment,
            **_view_objects(audit),
        )
    )


def report_pdf(audit: Audit, charts: Charts, signatures: Sequence[Signature]) -> bytes:
    """The document: what the page says, of the groups that count in the verdict."""
    view_objects = _view_objects(audit)
    checks = [
        asdict(replace(detail, tables=tuple(table for table in detail.tables if table.counts)))
        for detail in view_objects["details"]
    ]
    sections = {
        name: [asdict(item) for item in view_objects[name]]
        for name in ("stopping", "asking", "heats", "traces")
    }
    return render_pdf(
        _TEMPLATES / "report.typ",
        sections
        | {
            "title": _title(audit),
            "made": _made(audit),
            "verdict": words.VERDICT_LABELS[audit.verdict],
            "summary": words.VERDICT_SUMMARIES[audit.verdict],
            "short": views.audit_summary(audit),
            "dots": charts.dots,
            "curves": charts.curves,
            "alts": {"dots": words.DOT_PLOT_ALT, "curves": words.TRADEOFF_CHART_ALT},
            "trades": [_tradeoff_text(table) for table in view_objects["trades"]],
            "mending": words.MITIGATION_INTRO,
            "two_counts": words.PLACES_NOTE,
            "grid": asdict(view_objects["grid"]),
            "verdicts": words.VERDICT_LABELS,
            "why": words.WHY_BRIEFLY,
            "reported": view_objects["reported"],
            "families": view_objects["families"],
            "strong": f"{audit.policy['strong_proxy']:.2f}",
            "checks": checks,
            "policy": _thresholds(audit),
            "method": words.method(audit.policy),
            "limits": words.LIMITATIONS,
            "facts": _facts(audit),
            "smallest": audit.policy["smallest_cell"],
            "digest": audit.sha256,
            "signatures": [
                {
                    "decision": signature.decision.capitalize(),
                    "name": signature.name,
                    "at": _moment(signature.at),
                    "reason": signature.reason,
                }
                for signature in signatures
            ],
        },
    )


def audit_folder(home: Path, audit: Audit) -> Path:
    """Where an audit's files lie."""
    return _versions(home, audit.version) / audit.sha256[:_SHORT]


def audits_of_version(home: Path, version: int) -> list[Audit]:
    """Every audit of a version, the newest first. Those that an earlier release made are passed
    over.

    Raises:
        AuditError: a file is there and is not an audit as it was written.
    """
    audits = []
    for file in sorted(_versions(home, version).glob(f"*/{_JSON}")):
        with suppress(AuditOutdated):
            audits.append(_read(file))
    return sorted(audits, key=lambda audit: audit.at, reverse=True)


def audits_of_snapshot(home: Path, snapshot_id: str, as_of: date) -> list[Audit]:
    """The newest audit of each model, under each policy and with the same schools doubted, on one
    day of a snapshot: the oldest first.

    A file that is not as it was written is passed over: nobody can say what it showed.
    """
    newest: dict[tuple[object, ...], Audit] = {}
    for file in sorted((home / "audits").glob(f"v*/*/{_JSON}")):
        with suppress(AuditError):
            audit = _read(file)
            key = audit.version, audit.model_sha256, audit.policy_sha256, audit.doubted
            if (audit.snapshot_id, audit.as_of) == (snapshot_id, as_of) and (
                key not in newest or newest[key].at < audit.at
            ):
                newest[key] = audit
    return sorted(newest.values(), key=lambda audit: (audit.at, audit.version))


def latest_audit(home: Path, version: int) -> Audit | None:
    """The newest audit of a version; None where it was not audited.

    Raises:
        AuditError: a file is there and is not an audit as it was written.
    """
    return next(iter(audits_of_version(home, version)), None)


def audit_by_digest(home: Path, version: int, sha256: str) -> Audit | None:
    """The audit with this digest; None where it is no longer there.

    Raises:
        AuditOutdated: an earlier release made it.
        AuditError: it is there and is not as it was written.
    """
    file = _versions(home, version) / sha256[:_SHORT] / _JSON
    return _read(file) if file.exists() else None


def findings_html(audit: Audit, dots: Markup, curves: Markup) -> Markup:
    """The findings of an audit as a part of a page, for the report and for the site.

    Args:
        dots, curves: the charts as this page shows them.
    """
    return Markup(
        _pages()
        .get_template("findings.html")
        .render(dots=dots, curves=curves, **_view_objects(audit))
    )


def checks_html(audit: Audit) -> Markup:
    """Every check with every group, as a part of a page."""
    return Markup(_pages().get_template("checks.html").render(**_view_objects(audit)))


def findings_css() -> str:
    """The style of the findings, for the report and for the site."""
    return (_TEMPLATES / "findings.css").read_text(encoding="utf-8")


def _read(file: Path) -> Audit:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise AuditError(f"the audit cannot be read: {error}") from None
    whole = hashlib.sha256(text.encode()).hexdigest()[:_SHORT] == file.parent.name
    try:
        audit = Audit.from_json(text)
    except AuditOutdated:
        if whole:
            raise
    if not whole:
        raise AuditError("the audit is not as it was written: its digest is another")
    return audit


def _versions(home: Path, version: int) -> Path:
    return home / "audits" / f"v{version}"


def _pages() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        lstrip_blocks=True,
    )
    environment.filters |= {"capital": words.capital, "code": _code_markup}
    return environment


def _code_markup(text: str) -> Markup:
    """Text with what stands between backticks as code."""
    parts = text.split("`")
    return Markup().join(
        Markup("<code>{}</code>").format(part) if place % 2 else part
        for place, part in enumerate(parts)
    )


def _inline_svg(svg: str, alt: str, kind: str) -> Markup:
    """A chart within a page, with its words for who cannot see it; nothing where there is none."""
    drawn = Markup(re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg))
    whole = Markup('<div class="chart {}" role="img" aria-label="{}">{}</div>').format(
        kind, alt, drawn
    )
    return whole if svg else Markup()


def _view_objects(audit: Audit) -> dict[str, Any]:
    families, traces = views.proxy_rows(audit)
    return {
        "audit": audit,
        "policy": audit.policy,
        "words": words,
        "title": _title(audit),
        "made": _made(audit),
        "short": views.audit_summary(audit),
        "stopping": views.review_questions(audit.stopping),
        "asking": views.review_questions(audit.asking),
        "grid": views.grid(audit),
        "heats": list(views.heat_tables(audit)),
        "details": views.details(audit),
        "families": families,
        "traces": traces,
        "trades": views.tradeoff_tables(audit),
        "reported": _reported(audit),
    }


def _tradeoff_text(table: views.TradeoffTable) -> dict[str, Any]:
    """A trade curve's table in words."""
    ways = []
    for way, applies, options in table.ways:
        rows = [
            (
                str(option.number),
                words.capital(option.setting),
                words.format_rate(option.captured),
                words.format_worst_gap(option.worst_gap),
                option.whose,
                words.format_rate(option.helped),
            )
            for option in options
        ]
        ways.append({"way": way, "applies": applies, "choices": rows})
    return {"title": table.title, "ways": ways}


def _title(audit: Audit) -> str:
    return f"Fairness audit of model version {audit.version}"


def _made(audit: Audit) -> str:
    return f"Records as of {audit.as_of}. Audited on {_moment(audit.at)}."


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d at %H:%M}"


def _thresholds(audit: Audit) -> list[tuple[str, str, str]]:
    """What the policy says, its size, and its source."""
    return [
        (says, f"{audit.policy[name]}", audit.policy["sources"][name])
        for name, says in sorted(audit.policy["says"].items())
    ]


def _facts(audit: Audit) -> list[tuple[str, str]]:
    """What was audited, and by which digests it can be told."""
    tables = ", ".join(
        f"{name.replace('_', ' ')} (about {rows:,} rows)"
        for name, rows in sorted(audit.data["tables"].items())
    )
    return [
        ("Model", f"version {audit.version}, SHA-256 {audit.model_sha256}"),
        (
            "Records",
            f"snapshot {audit.snapshot_id}, manifest SHA-256 {audit.data['manifest_sha256']}",
        ),
        ("Tables read", tables),
        ("Policy, checks and code", f"SHA-256 {audit.policy_sha256}"),
        ("This audit", f"SHA-256 {audit.sha256}"),
    ]


def _reported(audit: Audit) -> list[tuple[str, str]]:
    """What the policy only shows, with its reason."""
    reported = []
    for name, why in sorted(audit.policy["reported"].items()):
        check, _, attribute = name.rpartition(":")
        label = words.attribute_label(attribute)
        reported.append(
            (f"{words.check_label(check)}, by {label.lower()}" if check else label, why)
        )
    return reported
