"""What is written of programs: aggregates that give no small number away, whole files only, nothing
changed unseen.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serving.synthetic_effects import (
    AT,
    INPUTS,
    effect_of,
    program,
    programs_of,
    report_of,
    suppressed_effect,
)
from training.effects.costs import Cost
from training.effects.dose_response import NEVER_ATTENDED, DoseBand
from training.effects.effects import GAIN, NO_DIFFERENCE
from training.effects.published_effects import (
    NO_SUPPORT,
    NOBODY_BEGAN,
    EffectFileCorrupt,
    EffectReport,
    newest_effects,
    publish_effects,
    read_effects,
    write_effects,
)
from training.estimation.policy_value import Estimate


def test_what_is_written_is_read_again_and_holds_no_exact_number(tmp_path: Path):
    bands = (
        DoseBand(NEVER_ATTENDED, 0, 0, suppressed_effect(served=13)),
        DoseBand("low", 1, 5, effect_of(1.006, 0.1, 2.0, served=41)),
        DoseBand("middle", 6, 12, effect_of(2, 1, 3, served=38)),
        DoseBand("high", 13, 44, effect_of(3, 2, 4, served=31)),
    )
    report = report_of(program(effect_of(2.0049, 1.0, 3.0), *bands))
    write_effects(report, tmp_path)
    assert read_effects(tmp_path, "snapshot") == report
    (published,) = report.programs
    assert (published.figures.served, published.figures.compared, published.figures.left_out) == (
        120,
        900,
        10,
    )
    assert published.figures.estimate == Estimate(2.0, 1.0, 3.0) and published.verdict == GAIN
    assert [band.figures.served for band in published.amounts] == [10, 40, 40, 30]
    assert [(band.above, band.up_to) for band in published.amounts] == [
        (0, 0),
        (0, 5),
        (5, 12),
        (12, None),
    ], "the most that somebody received is one student's number"
    assert (published.cost_per_student, published.cost_per_point) == (600, Estimate(299, 200, 600))


def test_below_ten_students_nothing_tells_how_many_they_are():
    for served in range(1, 10):
        (published,) = report_of(
            program(
                suppressed_effect(served=served),
                DoseBand("low", 1, 4, suppressed_effect(served=served)),
                a_year=50.0,
                cost=900.0 / served,
            )
        ).programs
        assert published.figures.served is None and published.amounts == ()
        assert (published.cost_per_student, published.cost_per_point) == (None, None)
    (published,) = report_of(program(effect_of(2, 1, 3), a_year=9.5, cost=90_000 / 9.5)).programs
    assert published.cost_per_student is None, "90,000 a year would tell that there are nine or ten"
    (published,) = report_of(program(effect_of(2, 1, 3, served_left_out=9))).programs
    assert published.figures.left_out is None


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(1, 80), min_size=1, max_size=4))
def test_no_difference_of_what_is_told_gives_a_small_number_back(sizes: list[int]):
    names = [NEVER_ATTENDED, "low", "middle", "high"][-len(sizes) :]
    bands = [
        DoseBand(name, 1, 2, effect_of(1, 0.5, 1.5, served=size))
        for name, size in zip(names, sizes, strict=True)
    ]
    (published,) = report_of(program(effect_of(2, 1, 3, served=sum(sizes)), *bands)).programs
    shown = {band.name: band.figures.served for band in published.amounts}
    for name, size in zip(names, sizes, strict=True):
        assert shown[name] is None if size < 10 else shown[name] in (None, (size + 5) // 10 * 10)
    hidden = [size for name, size in zip(names, sizes, strict=True) if shown[name] is None]
    if hidden and published.figures.served is not None:
        others = [size for size in shown.values() if size is not None]
        most = published.figures.served + 4 - sum(size - 5 for size in others)
        least = max(0, published.figures.served - 5 - sum(size + 4 for size in others))
        possible = most - (least if len(hidden) == 1 else 0) + 1
        assert possible >= 10, (
            "whoever subtracts what is shown is left with ten numbers or more for each that is not"
        )


def test_every_program_on_record_has_an_entry_and_the_reason_of_its_silence():
    made = (
        program(effect_of(2, 1, 3)),
        program(suppressed_effect(), key="p2", name="hall", support=""),
        program(suppressed_effect(), key="p3", name="Meals", support="food"),
    )
    programs = programs_of(made)
    programs.loc[1, "support"] = None
    report = publish_effects(made[:1], programs, {"p3": Cost(5.0, "session")}, INPUTS, AT)
    assert [(entry.name, entry.figures.cannot_tell) for entry in report.programs] == [
        ("hall", NO_SUPPORT),
        ("Meals", NOBODY_BEGAN),
        ("Readers", ""),
    ]
    assert report.programs[1].cost == Cost(5.0, "session") and report.family == 1


def test_verdicts_hold_together_and_a_cost_of_a_point_needs_one():
    weak = effect_of(2.0, 0.05, 3.95)
    (alone,) = report_of(program(weak)).programs
    assert (alone.verdict, alone.cost_per_point is None) == (GAIN, False)
    report = report_of(
        program(weak), *(program(effect_of(0.1, -2, 2.2), key=f"q{place}") for place in range(4))
    )
    published = next(entry for entry in report.programs if entry.program_id == "p1")
    assert (published.verdict, published.cost_per_point, published.figures.estimate.lower) == (
        NO_DIFFERENCE,
        None,
        0.05,
    )
    assert published.p_adjusted == pytest.approx(5 * weak.p_value, abs=5e-4)


def test_other_costs_make_another_file_and_the_old_one_stays(tmp_path: Path):
    first = report_of(program(effect_of(2, 1, 3)))
    file = write_effects(first, tmp_path)
    bytes_before = file.read_bytes()
    write_effects(first, tmp_path)
    assert [path.name for path in file.parent.iterdir()] == ["snapshot.json"]
    second = report_of(
        program(effect_of(2, 1, 3), cost=700.0), inputs=replace(INPUTS, costs_sha256="d" * 64)
    )
    write_effects(second, tmp_path)
    earlier_file = file.with_name(f"snapshot.{INPUTS.sha256[:12]}.json")
    assert (
        earlier_file.read_bytes() == bytes_before and read_effects(tmp_path, "snapshot") == second
    )
    assert first.inputs.changed(second.inputs) == ("costs_sha256",)


def test_another_snapshot_shows_the_newest_figures_that_there_are(tmp_path: Path):
    assert newest_effects(tmp_path, "snapshot") is None
    old = report_of(program(effect_of(2, 1, 3)))
    new = replace(old, at=old.at.replace(year=2027), inputs=replace(INPUTS, snapshot_id="later"))
    for report in (new, old):
        write_effects(report, tmp_path)
    assert newest_effects(tmp_path, "third") == new
    assert newest_effects(tmp_path, "snapshot") == old


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"served": 120', '"served": 990'),
        lambda text: text[:-40],
        lambda text: "[]",
        lambda text: text.replace("handrail-effects-1", "handrail-effects-0"),
        lambda text: json.dumps({"sha256": ""}),
    ],
)
def test_a_file_that_was_changed_is_not_believed_and_is_named(tmp_path: Path, change):
    report = report_of(program(effect_of(2, 1, 3)))
    file = write_effects(report, tmp_path)
    file.write_text(change(file.read_text()))
    with pytest.raises(EffectFileCorrupt, match=r"snapshot\.json is damaged"):
        read_effects(tmp_path, "snapshot")
    write_effects(report, tmp_path)
    assert read_effects(tmp_path, "snapshot") == report, "the command writes it anew"


def test_a_killed_write_leaves_a_whole_file(tmp_path: Path):
    reports = [
        report_of(program(effect_of(2, 1, 3)), inputs=replace(INPUTS, costs_sha256=one * 64))
        for one in "ab"
    ]
    write_effects(reports[0], tmp_path)

    def forever() -> None:
        while True:
            for report in reports:
                write_effects(report, tmp_path)

    for turn in range(8):
        process = multiprocessing.get_context("fork").Process(target=forever)
        process.start()
        time.sleep(0.03 + 0.01 * turn)
        process.kill()
        process.join()
        assert read_effects(tmp_path, "snapshot") in reports
        assert all(
            EffectReport.from_json(file.read_text())
            for file in (tmp_path / "effects").glob("*.json")
        )
