"""The demo district: the same bytes each time, and read through the ordinary connectors."""

from __future__ import annotations

import hashlib
from pathlib import Path

from handrail.demo import DEMO_TODAY, generate
from records.agreements import parse_agreement
from records.connectors.oneroster import OneRoster
from records.connectors.service_history import ServiceHistory
from records.schema import SUPPORTS
from records.snapshots import Snapshot, load


def digests(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(folder.rglob("*")) if file.is_file()}  # fmt: skip


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(tmp_path: Path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        generate(tmp_path / name, seed=seed, students=300)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert digests(tmp_path / "a") != digests(tmp_path / "c")


def test_the_demo_loads_like_any_district_and_each_bad_line_is_put_aside(tmp_path: Path):
    files = generate(tmp_path / "source", students=400)
    home = tmp_path / "home"
    reports = [load(OneRoster(), files.sis, home)]
    reports.append(load(ServiceHistory(), files.service_history, home, merge=True))
    snapshot = Snapshot.current(home)
    assert snapshot.quarantined().num_rows == 12, "of both loads"
    for report in reports:
        folder = files.sis if report.source == "oneroster" else files.service_history
        for count in report.files:
            assert count.read == len((folder / count.file).read_bytes().splitlines()) - 1, count
    assert snapshot.latest_date() == DEMO_TODAY
    assert snapshot.manifest["rows"]["students"] == 400
    offered = set(snapshot.table("programs")["support"].to_pyarrow().to_pylist())
    assert offered == {*SUPPORTS, None}
    assert len([parse_agreement(file.read_text(), file.name) for file in files.agreements]) == 11
