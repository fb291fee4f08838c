"""The mirror of a source: one page is one transaction, a sweep forgets what it did not meet,
nothing unwanted stays.
"""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from records.canonical.never_ingest import NEVER_INGEST, STRUCK_OUT
from records.connectors.http.mirror import (
    Mirror,
    MirrorLocked,
    MirrorRecord,
    open_mirror,
    select_fields,
)


def held(mirror: Mirror, resource: str = "students") -> dict[str, Any]:
    return {record.id: record.body for record in mirror.records(resource)}


def test_an_unfinished_pass_goes_on_from_its_last_page_after_the_process_is_gone(tmp_path: Path):
    with open_mirror(tmp_path) as mirror:
        mirror.begin("students", {"page": 1}, sweeps=True)
        mirror.take_page("students", [("a", {"n": 1})], {"page": 2})
    with open_mirror(tmp_path) as mirror:
        assert mirror.resume_point("students") == {"page": 2}
        assert mirror.sync_state("students") is None
        assert mirror.incomplete_resources(["students"]) == ["students"]
        mirror.take_page("students", [("b", {"n": 2})], {"page": 3})
        mirror.finish("students", {"newest": 9})
    with open_mirror(tmp_path) as mirror:
        assert (mirror.resume_point("students"), mirror.sync_state("students")) == (
            None,
            {"newest": 9},
        )
        assert mirror.incomplete_resources(["students", "grades"]) == ["grades"]
        assert held(mirror) == {"a": {"n": 1}, "b": {"n": 2}}


def test_a_sweep_forgets_what_it_did_not_meet_and_a_delta_only_what_was_deleted(tmp_path: Path):
    with open_mirror(tmp_path) as mirror:
        for sweeps, page, deleted in [(True, "abc", ""), (False, "b", "c"), (True, "ad", "")]:
            mirror.begin("students", {}, sweeps=sweeps)
            mirror.take_page("students", [(id_, {"in": page}) for id_ in page], {}, deleted=deleted)
            assert mirror.count_seen("students") == len(page)
            mirror.finish("students", {})
            if not sweeps:
                assert held(mirror) == {"a": {"in": "abc"}, "b": {"in": "b"}}
        assert held(mirror) == {"a": {"in": "ad"}, "d": {"in": "ad"}}


def test_a_pass_over_one_resource_leaves_the_others_alone(tmp_path: Path):
    with open_mirror(tmp_path) as mirror:
        for resource in ("students", "grades"):
            mirror.begin(resource, {}, sweeps=True)
            mirror.take_page(resource, [("a", {"of": resource})], {})
            mirror.finish(resource, {})
        mirror.begin("students", {}, sweeps=True)
        mirror.finish("students", {})
        assert held(mirror, "grades") == {"a": {"of": "grades"}}
        mirror.record_dropped_fields("grades", {"visa": "immigration or migrant status"})
        mirror.drop_other_resources(["students"])
        assert (held(mirror, "grades"), mirror.sync_state("grades"), mirror.dropped_fields()) == (
            {},
            None,
            [],
        )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.text("abcdef", min_size=1, max_size=2), st.integers(0, 3)), max_size=12),
    st.randoms(),
)
def test_records_are_numbered_the_same_whatever_order_they_came_in(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, int]], rng: Any
):
    unique = list(dict(pairs).items())
    readings: list[tuple[list[MirrorRecord], str]] = []
    for _ in range(2):
        rng.shuffle(unique)
        with open_mirror(tmp_path_factory.mktemp("mirror")) as mirror:
            mirror.begin("students", {}, sweeps=True)
            for id_, number in unique:
                mirror.take_page("students", [(id_, {"n": number})], {})
            mirror.finish("students", {})
            readings.append((list(mirror.records("students")), mirror.fingerprint("students")))
    assert readings[0] == readings[1]
    assert [record.number for record in readings[0][0]] == list(range(1, len(unique) + 1))


def test_a_fingerprint_tells_any_two_states_apart(tmp_path: Path):
    prints = set()
    states: list[list[tuple[str, dict[str, str]]]] = [
        [],
        [("a", {})],
        [("a", {"b": "c"})],
        [("a", {}), ("b", {})],
        [("ab", {})],
        [("a", {"b": "C"})],
    ]
    with open_mirror(tmp_path) as mirror:
        for state in states:
            mirror.begin("students", {}, sweeps=True)
            mirror.take_page("students", state, {})
            mirror.finish("students", {})
            prints.add(mirror.fingerprint("students"))
    assert len(prints) == len(states)


def test_a_second_fetch_into_the_same_mirror_is_refused(tmp_path: Path):
    script = (
        "import sys; from pathlib import Path; from records.connectors.http.mirror import"
        " open_mirror\nwith open_mirror(Path(sys.argv[1])): print('open', flush=True);"
        " sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(MirrorLocked, match="another load reads into"), open_mirror(tmp_path):
            pass
        other.communicate()
    with open_mirror(tmp_path):
        pass


def test_only_its_owner_can_read_a_mirror(tmp_path: Path):
    with open_mirror(tmp_path / "sources" / "north"):
        assert stat.S_IMODE((tmp_path / "sources" / "north").stat().st_mode) == 0o700


def test_only_wanted_fields_are_kept_at_every_depth():
    wanted = {
        "studentReference": {"studentUniqueId": True},
        "races": {"raceDescriptor": True},
        "grades": True,
    }
    record = {
        "studentReference": {"studentUniqueId": "7", "link": {"href": "/students/7"}},
        "races": [{"raceDescriptor": "White", "note": "x"}, "not an object"],
        "grades": ["09", {"x": 1}],
        "loginId": "ada",
    }
    assert select_fields(record, wanted)[0] == {
        "studentReference": {"studentUniqueId": "7"},
        "races": [{"raceDescriptor": "White"}],
        "grades": ["09"],
    }
    assert select_fields({"races": "White", "grades": {"x": 1}}, wanted)[0] == {"grades": None}


def test_what_is_never_stored_is_named_at_every_depth_and_its_value_goes_nowhere():  # R38
    planted = {spellings[0]: "CANARY" for spellings in NEVER_INGEST.values()}
    record = {
        "id": "1",
        "inner": {"deeper": [planted]},
        "name": {**planted, "first": "Ada"},
        **planted,
    }
    selected, refused = select_fields(record, {"name": {"first": True}, "id": True})
    assert selected == {"id": "1", "name": {"first": "Ada"}}
    assert refused == {spellings[0]: kind for kind, spellings in NEVER_INGEST.items()}


def test_a_number_shaped_like_a_social_security_number_is_struck_out_of_what_is_kept():  # R38
    selected, _ = select_fields(
        {"name": "Ada 123-45-6789", "list": ["123-45-6789"]}, {"name": True, "list": True}
    )
    assert selected == {"name": f"Ada {STRUCK_OUT}", "list": [STRUCK_OUT]}


def test_what_was_deleted_at_the_source_is_in_no_byte_of_the_mirror(tmp_path: Path):
    with open_mirror(tmp_path) as mirror:
        mirror.begin("students", {}, sweeps=True)
        mirror.take_page("students", [("a", {"name": "CANARY" * 40}), ("b", {"name": "Bo"})], {})
        mirror.finish("students", {})
        mirror.begin("students", {}, sweeps=False)
        mirror.take_page("students", [], {}, deleted=["a"])
        mirror.finish("students", {})
    assert not any(b"CANARY" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    with sqlite3.connect(tmp_path / "mirror.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
