"""How the regions of the schemas that the toolkit knows lie in each other, and which class stands in."""

import pytest

from data_prep.labels import LabelSchema
from data_prep.structures import nested_regions

GLIOMA = {"WT": (None, "background", False), "TC": ("WT", "edema", False), "ET": ("TC", "non-enhancing tumor", True)}


def told(schema):
    return {
        region.name: (region.around, schema.class_names[region.stand_in], region.innermost) for region in nested_regions(schema)
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("brats2017-2021", GLIOMA),
        ("brats2023", GLIOMA),
        ("msd_task01", GLIOMA),
        ("brats2012-2015", GLIOMA),  # necrosis could stand in for enhancing tumour too; the last in the schema's order does
        ("brats2024", GLIOMA | {"RC": (None, "background", True)}),
        ("binary", {"tumor": (None, "background", True)}),
    ],
)
def test_what_is_taken_out_of_a_region_becomes_a_class_of_the_region_around_it(name, expected):
    assert told(LabelSchema.load(name)) == expected


def schema(regions):
    return LabelSchema("mine", {"nothing": (0,), "a": (1,), "b": (2,), "c": (3,)}, regions)


def test_names_and_their_order_mean_nothing():
    mine = schema({"inner": ("c",), "outer": ("c", "a", "b"), "middle": ("b", "c")})
    assert list(told(mine)) == ["outer", "middle", "inner"]
    assert told(mine)["inner"] == ("middle", "b", True)


def test_regions_that_are_equal_or_take_in_background_or_nothing_are_left_out():
    mine = schema({"one": ("a", "b"), "same": ("b", "a"), "all": ("nothing", "a"), "none": ()})
    assert told(mine) == {"one": (None, "nothing", True)}


def test_a_schema_without_regions_has_none():
    assert nested_regions(schema({})) == []
