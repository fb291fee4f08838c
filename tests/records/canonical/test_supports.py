"""The list of supports: what a district may write in it, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from records.canonical.quarantine import BadValue, convert
from records.canonical.schema import TABLES, canonical_table
from records.canonical.supports import (
    SUPPORT_COLUMN,
    SUPPORTS_FILE,
    SupportCatalog,
    SupportsError,
)
from tests.own_supports import HOMEWORK_CLUB, MOTEL_VOUCHERS, OWN_HOUSING, own_list, write_own_list

KIND = canonical_table("programs").column(SUPPORT_COLUMN)


def test_the_list_of_handrail_has_words_in_two_languages_for_each_kind():
    catalog = SupportCatalog.declared()
    assert catalog.keys[:4] == ("tutoring", "mentoring", "food", "housing_help")
    assert len(catalog.kinds) == 10
    for kind in catalog.kinds:
        assert kind.name != kind.name_es and kind.description.endswith("."), kind.key
        assert kind.description_es.endswith("."), kind.key
    assert set(catalog.keys) - set(catalog.harmless) == {"housing_help"}
    assert catalog.label("counselling") == "Counseling"
    assert catalog.label_es("counselling") == "Consejería"


def test_a_districts_file_is_the_whole_list(tmp_path: Path):
    assert SupportCatalog.of(tmp_path) == SupportCatalog.declared()
    file = tmp_path / SUPPORTS_FILE.name
    file.write_text(MOTEL_VOUCHERS + HOMEWORK_CLUB)
    own = SupportCatalog.of(tmp_path)
    assert (own.file, own.keys) == (file, ("motel_vouchers", "homework_club"))
    assert own.harmless == ("homework_club",)
    assert "tutoring" not in own and "homework_club" in own
    club = own.kinds[1]
    assert (club.typical_cost, club.cost_source) == (
        "about $300 a student a year",
        "the district's contract of 2025",
    )


def test_a_kind_on_no_list_is_named_by_its_key_in_words():
    catalog = SupportCatalog.declared()
    assert catalog.label("ice_rink") == catalog.label_es("ice_rink") == "Ice rink"


def test_only_programs_have_a_kind_of_support():
    catalog = SupportCatalog.declared()
    for name, table in TABLES.items():
        limited = catalog.table(table)
        changed = [
            column.name
            for column, before in zip(limited.columns, table.columns, strict=True)
            if column != before
        ]
        assert changed == ([SUPPORT_COLUMN] if name == "programs" else []), name


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("Tutoring", "tutoring"),
        ("tutorng", "tutoring"),
        ("Motel vouchers", "motel_vouchers"),
        ("MOTEL-VOUCHER", "motel_vouchers"),
        ("Vales de motel", "motel_vouchers"),
        ("counseling", "counselling"),
        ("Food assistance", "food"),
        ("school health services", "health"),
        ("ice skating", None),
    ],
)
def test_a_kind_that_is_on_no_list_is_refused_with_what_would_be_right(
    tmp_path: Path, text: str, nearest: str | None
):
    catalog = write_own_list(tmp_path)
    with pytest.raises(BadValue) as refused:
        convert(catalog.column(KIND), text, "Kind")
    assert refused.value.reason == (
        f"Kind is {text!r}; it must be one of {', '.join(catalog.keys)}"
        + (f"; {nearest} is the nearest" if nearest else "")
        + "; a kind is added in the district's supports.toml (`handrail supports write`)"
    )


def test_a_kind_of_the_list_and_no_kind_are_read(tmp_path: Path):
    column = write_own_list(tmp_path).column(KIND)
    assert convert(column, " motel_vouchers ") == "motel_vouchers"
    assert convert(column, "") is None


@pytest.mark.parametrize(
    ("left_out", "kind"),
    [
        ((), "housing_help"),
        (("housing_help",), "motel_vouchers"),
        (("housing_help", "motel_vouchers"), None),
    ],
)
def test_a_shelter_whose_export_names_no_kind_has_the_one_that_tells_of_housing(
    tmp_path: Path, left_out: tuple[str, ...], kind: str | None
):
    text = own_list(*left_out, text=HOMEWORK_CLUB)
    if "motel_vouchers" not in left_out:
        text += MOTEL_VOUCHERS
    (tmp_path / SUPPORTS_FILE.name).write_text(text)
    assert SupportCatalog.of(tmp_path).shelter_support == kind


def test_of_two_own_kinds_that_tell_of_housing_a_shelter_has_neither(tmp_path: Path):
    other = MOTEL_VOUCHERS.replace("motel", "hotel").replace("Motel", "Hotel")
    file = tmp_path / SUPPORTS_FILE.name
    file.write_text(MOTEL_VOUCHERS + other)
    assert SupportCatalog.of(tmp_path).shelter_support is None


def test_only_what_decides_changes_the_digest(tmp_path: Path):
    own = write_own_list(tmp_path)
    assert set(own.keys) - set(own.harmless) == set(OWN_HOUSING)
    rules = own.rules(["motel_vouchers", "food", "ice_rink"])
    assert rules == {"food": False, "ice_rink": None, "motel_vouchers": True}
    text = own_list()
    for changed, decides in (
        (text.replace("Motel vouchers", "Nights in a motel"), False),
        (text.replace("about $300", "about $400"), False),
        (text.replace("tells_of_housing = false", "tells_of_housing = true", 1), True),
        (own_list("food"), True),
    ):
        (tmp_path / SUPPORTS_FILE.name).write_text(changed)
        assert (SupportCatalog.of(tmp_path).sha256 != own.sha256) == decides


ERRORS = [
    ("", "there is no kind of support; name at least one"),
    ("[food", "Expected"),
    ('food = "yes"', "food is 'yes'; it must be a table: [food]"),
    (
        MOTEL_VOUCHERS.replace("[motel_vouchers]", "[Motel-Vouchers]"),
        "[Motel-Vouchers] is not a key of a support: it must be lower-case letters, digits and"
        " underscores, such as motel_vouchers",
    ),
    (MOTEL_VOUCHERS.replace("[motel_vouchers]", "[none]"), "and not 'none'"),
    (
        MOTEL_VOUCHERS.replace('name_es = "Vales de motel"\n', ""),
        "[motel_vouchers] name_es is missing; it must be a text in quotes",
    ),
    (
        MOTEL_VOUCHERS.replace('"Motel vouchers"', '" "'),
        "[motel_vouchers] name is ' '; it must be a text in quotes",
    ),
    (
        MOTEL_VOUCHERS.replace('"Motel vouchers"', "3"),
        "[motel_vouchers] name is 3; it must be a text in quotes",
    ),
    (
        MOTEL_VOUCHERS.replace("tells_of_housing = true\n", ""),
        "[motel_vouchers] tells_of_housing is missing; it must be true or false",
    ),
    (
        MOTEL_VOUCHERS.replace("= true", '= "true"'),
        "[motel_vouchers] tells_of_housing is 'true'; it must be true or false, without quotes",
    ),
    (
        MOTEL_VOUCHERS.replace("tells_of_housing", "tells_of_home"),
        "[motel_vouchers] tells_of_home is not known; the entries are name, name_es, description,"
        " description_es, typical_cost, cost_source, tells_of_housing",
    ),
    (
        HOMEWORK_CLUB.replace('cost_source = "the district\'s contract of 2025"\n', ""),
        "[homework_club] cost_source is missing; typical_cost and cost_source are given together",
    ),
    (
        MOTEL_VOUCHERS + HOMEWORK_CLUB.replace("Homework club", "motel VOUCHERS"),
        "[homework_club] name is 'motel VOUCHERS', as of [motel_vouchers]; each kind needs a name"
        " of its own",
    ),
]


@pytest.mark.parametrize(("text", "words"), ERRORS)
def test_a_list_with_a_mistake_is_refused_by_file_kind_and_entry(
    tmp_path: Path, text: str, words: str
):
    file = tmp_path / SUPPORTS_FILE.name
    file.write_text(text)
    with pytest.raises(SupportsError) as refused:
        SupportCatalog.of(tmp_path)
    assert str(refused.value).startswith(f"{file}: ") and words in str(refused.value)
