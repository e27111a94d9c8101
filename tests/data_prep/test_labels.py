from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from data_prep.labels import SCHEMAS, LabelSchema, bits_to_classes

SHIPPED = sorted(path.stem for path in SCHEMAS.glob("*.yaml"))
REGIONS = {  # region -> ids, as the challenges define them
    "brats2012-2015": {"WT": {1, 2, 3, 4}, "TC": {1, 3, 4}, "ET": {4}},
    "brats2017-2021": {"WT": {1, 2, 4}, "TC": {1, 4}, "ET": {4}},
    "brats2023": {"WT": {1, 2, 3}, "TC": {1, 3}, "ET": {3}},
    "brats2024": {"WT": {1, 2, 3}, "TC": {1, 3}, "ET": {3}, "RC": {4}},
    "brats2024-ped": {"WT": {1, 2, 3, 4}, "TC": {1, 2, 3}, "ET": {1}},
    "brats2024-men-rt": {"GTV": {1}},
    "msd_task01": {"WT": {1, 2, 3}, "TC": {2, 3}, "ET": {3}},
    "binary": {"tumor": {1}},
    "kaggle_3m": {"tumor": {255}},
}


@st.composite
def schemas(draw):
    """Any schema: 2 to 8 classes of one to three ids, negative ones and ids to be ignored included."""
    ids = draw(st.lists(st.integers(-300, 70000), min_size=4, max_size=24, unique=True))
    count = draw(st.integers(2, min(8, len(ids) - 1)))
    groups = {f"class {c}": tuple(ids[c : len(ids) - 1 : count]) for c in range(count)}
    return LabelSchema("made", groups, {}, ignore=(ids[-1],))


@st.composite
def annotated(draw):
    """A schema and a label array of its ids, in any integer type that can hold them."""
    schema = draw(schemas())
    known = list(schema.known)
    types = [kind for kind in "bBhHiIlq" if min(known) >= np.iinfo(kind).min and max(known) <= np.iinfo(kind).max]
    values = draw(st.lists(st.sampled_from(known), min_size=1, max_size=30))
    return schema, np.array(values, draw(st.sampled_from(types)))


@given(annotated())
def test_ids_become_bits_and_come_back(given_values):
    schema, label = given_values
    bits = schema.encode(label)
    assert bits.dtype == np.uint8
    assert schema.unknown_ids(label) == []
    classes = bits_to_classes(bits)
    for value, bit, index in zip(label.tolist(), bits.tolist(), classes.tolist(), strict=True):
        if value in schema.ignore:
            assert (bit, index) == (0, 255)
        else:
            assert bit == 1 << index
            assert value in list(schema.classes.values())[index]
    firsts = schema.to_ids(classes[classes < 255], np.int32)
    assert firsts.tolist() == [list(schema.classes.values())[index][0] for index in classes[classes < 255]]


@given(annotated(), st.integers(-(2**31), 2**31 - 1))
def test_any_unknown_id_is_found(given_values, stranger):
    schema, label = given_values
    mixed = np.append(label.astype(np.int64), stranger)
    expected = [] if stranger in schema.known else [stranger]
    assert schema.unknown_ids(mixed) == expected
    if expected:
        with pytest.raises(ValueError, match="unknown to schema made"):
            schema.encode(mixed)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16])
def test_ids_that_the_type_cannot_hold_do_no_harm(dtype):
    schema = LabelSchema("made", {"background": (0,), "tumor": (100, 300)}, {}, ignore=(-100,))
    np.testing.assert_array_equal(schema.encode(np.array([0, 100], dtype)), [1, 2])


def test_an_empty_array_has_no_unknown_ids():
    assert LabelSchema.load("binary").unknown_ids(np.zeros((0, 3), np.int16)) == []


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_schemas_agree_with_their_challenges(name):
    schema = LabelSchema.load(name)
    groups = list(schema.classes.values())
    regions = {region: {i for c in members for i in groups[c]} for region, members in schema.region_indices().items()}
    assert (schema.name, regions) == (name, REGIONS[name])
    assert next(iter(schema.classes.items())) == ("background", (0,))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_schema_survives_yaml(name, tmp_path):
    schema = LabelSchema.load(name)
    (tmp_path / "copy.yaml").write_text(yaml.safe_dump(schema.to_dict(), sort_keys=False))
    assert LabelSchema.load(str(tmp_path / "copy.yaml")) == schema


def test_brats_ids_are_read_and_written():
    schema = LabelSchema.load("brats2017-2021")
    label = np.array([[0, 1], [2, 4]], np.int16)
    bits = schema.encode(label)
    np.testing.assert_array_equal(bits, [[1, 4], [2, 8]])
    np.testing.assert_array_equal(schema.to_ids(bits_to_classes(bits)), label)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "a label schema needs"),
        ([], "a label schema needs"),
        ({"classes": {"a": 0, "b": 1}}, "a label schema needs"),
        ({"name": "x", "classes": [0, 1]}, "a label schema needs"),
        ({"name": "x", "classes": {"a": 0, "b": 1.5}}, "a label schema needs"),
        ({"name": "x", "classes": {"a": 0, "b": float("inf")}}, "a label schema needs"),
        ({"name": "x", "classes": {"a": 0, "b": True}}, "a label schema needs"),
        ({"name": "x", "classes": {"a": 0, "b": "one"}}, "a label schema needs"),
        ({"name": "x", "classes": {"a": 0}}, "expected 2 to 8 classes; received 1"),
        ({"name": "x", "classes": {str(c): c for c in range(9)}}, "expected 2 to 8 classes; received 9"),
        ({"name": "x", "classes": {"a": 0, "b": [1, 0]}}, r"ids \[0\] stand in more than one class"),
        ({"name": "x", "classes": {"a": 0, "b": 1}, "ignore": 1}, r"ids \[1\] stand in more than one class"),
        ({"name": "x", "classes": {"a": 0, "b": []}}, "every class needs at least one id"),
        (
            {"name": "x", "classes": {"tumour": 1, "background": 0}},
            "expected the background as the first class.*tumour",
        ),
        ({"name": "x", "classes": {"edema": 2, "core": 1}}, r"received edema with ids \[2\]; change the order"),
        ({"name": "x", "classes": {"none": 0, "background": 1}}, "expected the background as the first class"),
        ({"name": "x", "classes": {"a": 0, "b": 1}, "regions": {"R": ["c"]}}, r"region R names \['c'\]"),
    ],
)
def test_a_schema_that_makes_no_sense_gives_one_line(content, message):
    with pytest.raises(UserError, match=message) as caught:
        LabelSchema.from_dict(content, Path("mine.yaml"))
    assert str(caught.value).startswith("mine.yaml: ")
    assert "\n" not in str(caught.value)
