"""YAML and JSON with bounds: what a few bytes can ask for is refused before it is done, in one line."""

import json
import math

import pytest
import yaml

from common.errors import UserError
from common.files import read_json, read_yaml
from common.yaml_loader import parse_json, parse_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}], {name}: 1}}\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1\nb: [1e-3, 1.5, .5, -2, 0x10]", {"a": 1, "b": [1e-3, 1.5, 0.5, -2, 16]}),
        ("day: 2026-13-45\nother: 2026-01-02", {"day": "2026-13-45", "other": "2026-01-02"}),
        ("time: 1:30:00", {"time": "1:30:00"}),
        ("no: 1\n1: 2\nnull: 3", {"no": 1, "1": 2, "null": 3}),
        ("a: &x [1, 2]\nb: *x", {"a": [1, 2], "b": [1, 2]}),
        ("a: &x {c: 1, d: 2}\nb: {<<: *x, c: 3}", {"a": {"c": 1, "d": 2}, "b": {"c": 3, "d": 2}}),
        ('{"a": [1, null, true]}', {"a": [1, None, True]}),
        ("{a: b}", {"a": "b"}),
        ("~", None),
    ],
)
def test_yaml_is_read(text, value):
    assert parse_yaml(text) == value


def test_as_text_nothing_becomes_a_number():
    assert parse_yaml("[007, 1e3, no, 2026-01-01]", as_text=True) == ["007", "1e3", "no", "2026-01-01"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "anchors repeat more than"),
        (MERGES, "anchors repeat more than"),
        ("a: &a [*a]", "line 1: anchor a stands in itself"),
        ("[" * 300, "at most 64 lists and mappings in each other"),
        ("- " * 500 + "x", "at most 64 lists and mappings in each other"),
        (f"a: {'9' * 5000}", "line 1: expected a number of at most 64 bits; received '999"),
        (f"a: 0x{'f' * 5000}", "expected a number of at most 64 bits"),
        ("a: !!int x", "expected a number of at most 64 bits; received 'x'"),
        ("a: !!int ''", "expected a number of at most 64 bits; received ''"),
        ("a: !!float x", "expected a number of at most 64 bits; received 'x'"),
        ("a: !!bool x", "expected true or false; received 'x'"),
        ("a: !!timestamp 2026-13-45", "could not determine a constructor"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("? [a]\n: 1", "expected a word as the key of a value"),
        ("a: 1\nb: 2\na: 3", "line 3: key a stands in line 1 too"),
        ("a: *b", "line 1"),
        ("a: !!map [1]", "expected a mapping"),
        ("x" * 5_000_000, "more than 4194304 letters"),
    ],
)
def test_yaml_beyond_the_bounds_is_refused_in_one_line(tmp_path, text, said):
    file = tmp_path / "f.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        read_yaml(file, "config")
    assert str(error.value).startswith(f"{file}: config is not YAML (line ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "expected at most 64 lists and mappings in each other"),
        ("[" * 500 + "]" * 500, "expected at most 64 lists and mappings in each other"),
        ("9" * 5000, "expected a number of at most 64 bits; received 999"),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ("[1e999]", "expected a finite number; received 1e999"),
        ('{"a": 1, "a": 2}', "key a stands twice"),
        (r'["\ud800"]', "half of a letter"),
    ],
)
def test_json_beyond_the_bounds_is_refused_in_one_line(tmp_path, text, said):
    file = tmp_path / "f.json"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        read_json(file, "manifest")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_json_is_read():
    value = {"a": [[{"b": 1.5}] * 50, None, True, "ü", "\U0001f600"], "c": -(2**63)}
    assert parse_json(json.dumps(value)) == value


def test_what_is_not_finite_in_yaml_stays_so():
    assert math.isnan(parse_yaml(".nan"))
    with pytest.raises(yaml.YAMLError):
        parse_yaml("{1, 2")
