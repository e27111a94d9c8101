"""Typed readers: what a manifest or table holds is checked, key by key."""

import math

import pytest

from common.errors import UserError
from common.manifests import (
    CONTENT,
    Fields,
    Flag,
    ListOf,
    MapOf,
    Maybe,
    Number,
    Text,
    Whole,
    checked,
    read_manifest,
    read_table,
)

WHERE = "f.json"


def refusal(values, kind):
    with pytest.raises(UserError) as error:
        checked(values, kind, WHERE)
    return str(error.value).removeprefix(f"{WHERE}: ")


@pytest.mark.parametrize(
    ("kind", "right"),
    [
        (Text(), "ü"),
        (Text(("a", "b")), "b"),
        (Number(0, 1), 1),
        (Number(), -0.5),
        (Whole(), -(2**63)),
        (Flag(), False),
        (Maybe(Whole()), None),
        (ListOf(Whole(), 2, 2), [1, 2]),
        (MapOf(Text()), {"a": "b"}),
        (Fields({"a": Whole()}, {"b": Whole()}), {"a": 1, "c": [None, {"d": 1}]}),
        (CONTENT, [{"a": [1, None, "b"]}]),
    ],
)
def test_what_fits_its_description_comes_back_as_it_is(kind, right):
    assert checked(right, kind, WHERE) == right


@pytest.mark.parametrize(
    ("kind", "wrong", "said"),
    [
        (Text(), 1, "expected a text of 0 to 4096 letters; received 1"),
        (Text(), "a\nb", r"expected a text without control characters; received 'a\nb'"),
        (Text(), "\ud800", "expected a text without control characters"),
        (Text(), "a" * 5000, "expected a text of 0 to 4096 letters; received 'aaa"),
        (Text(("a", "b")), [], "expected one of a, b; received []"),
        (Number(0, 1), 1.5, "expected a finite number of 0 to 1; received 1.5"),
        (Number(), math.nan, "expected a finite number; received nan"),
        (Number(), True, "expected a finite number; received True"),
        (Number(), "1", "expected a finite number; received '1'"),
        (Number(), 10**310, "expected a finite number; received 1000"),
        (Whole(0), -1, "expected a whole number of at least 0; received -1"),
        (Whole(), 1.0, "expected a whole number; received 1.0"),
        (Whole(), 2**63, "expected a whole number; received 9223372036854775808"),
        (Flag(), 1, "expected true or false; received 1"),
        (ListOf(Whole(), 2, 2), [1], "expected a list of 2 items; received [1]"),
        (ListOf(Whole(), 1), [], "expected a list of at least 1 item; received []"),
        (ListOf(Maybe(Whole())), [None, "x"], "[1]: expected a whole number; received 'x'"),
        (MapOf(Whole()), [], "expected a mapping; received []"),
        (MapOf(Whole(), 1), {}, "expected a mapping of at least 1 name; received {}"),
        (MapOf(ListOf(Whole())), {"a": [None]}, "a[0]: expected a whole number; received null"),
        (Fields({"a": Whole()}), None, "expected a mapping with a; received null"),
        (Fields({"a": Whole()}), {"b": 1}, "a: expected this key; received ['b']"),
        (Fields({}, {"a": Fields({"b": Flag()})}), {"a": {"b": 0}}, "a.b: expected true or false; received 0"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_key(kind, wrong, said):
    assert refusal(wrong, kind).startswith(said)


def test_a_received_value_is_shortened():
    assert len(refusal({"a": ["x" * 1000] * 1000}, Fields({"a": Whole()}))) < 400


def test_a_manifest_of_another_version_is_refused_first(tmp_path):
    file = tmp_path / "f.json"
    kind = Fields({"format": Whole(), "a": Whole()})
    file.write_text('{"format": 1, "a": "x"}')
    with pytest.raises(UserError, match="expected scores of format 2; received 1; score again"):
        read_manifest(file, "scores", kind, 2, "score again")
    with pytest.raises(UserError, match="a: expected a whole number; received 'x'; score again"):
        read_manifest(file, "scores", kind, 1, "score again")
    yaml = tmp_path / "f.yaml"
    yaml.write_text("a: 3\nformat: 1\n")
    assert read_manifest(yaml, "scores", kind, 1) == {"a": 3, "format": 1}


def test_cells_of_a_table_are_read_by_their_kind(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("a,b,c,d\n1,0.5,x,\n2,,y,7\n")
    columns = {"a": Whole(1), "b": Number(0, or_nan=True), "d": Maybe(Whole())}
    first, second = read_table(file, "scores", columns, {"e": Whole()})
    assert first == {"a": 1, "b": 0.5, "c": "x", "d": None}
    assert math.isnan(second["b"])
    assert (second["a"], second["d"]) == (2, 7)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("b\n1\n", "expected scores with a column a; received b; score again"),
        ("a\n1.5\n", "row 1: a: expected a whole number of at least 1; received '1.5'; score again"),
        ("a\n1\n0\n", "row 2: a: expected a whole number of at least 1; received 0; score again"),
        (f"a\n{'9' * 5000}\n", "row 1: a: expected a whole number of at least 1; received '9999"),
    ],
)
def test_a_wrong_cell_is_refused_with_its_row_and_column(tmp_path, text, said):
    file = tmp_path / "t.csv"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        read_table(file, "scores", {"a": Whole(1)}, advice="score again")
    assert str(error.value).startswith(f"{file}: {said}")
