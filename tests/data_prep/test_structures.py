"""Structures of a schema: names, members, equal ones; and the region tree with the class that stands in."""

import pytest

from data_prep.labels import LabelSchema
from data_prep.structures import (
    CLASS_MEAN,
    MEAN_WITH_BACKGROUND,
    REGION_MEAN,
    averaged,
    background_structures,
    class_names,
    distinct,
    region_tree,
    repeated_note,
    scored_structures,
    structures_by_name,
)

GLIOMA = {"WT": (None, "background", False), "TC": ("WT", "edema", False), "ET": ("TC", "non-enhancing tumor", True)}


def tree(schema):
    return {
        region.name: (region.parent, schema.class_names[region.replacement], region.innermost) for region in region_tree(schema)
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
    assert tree(LabelSchema.load(name)) == expected


def schema(regions):
    return LabelSchema("mine", {"nothing": (0,), "a": (1,), "b": (2,), "c": (3,)}, regions)


def test_names_and_their_order_mean_nothing():
    mine = schema({"inner": ("c",), "outer": ("c", "a", "b"), "middle": ("b", "c")})
    assert list(tree(mine)) == ["outer", "middle", "inner"]
    assert tree(mine)["inner"] == ("middle", "b", True)


def test_regions_that_are_equal_or_take_in_background_or_nothing_are_left_out():
    mine = schema({"one": ("a", "b"), "same": ("b", "a"), "all": ("nothing", "a"), "none": ()})
    assert tree(mine) == {"one": (None, "nothing", True)}


def test_a_schema_without_regions_has_none():
    assert region_tree(schema({})) == []


BRATS = LabelSchema.load("brats2023")
BINARY = LabelSchema.load("binary")


def titles(structures):
    return [structure.title for structure in structures]


def test_regions_come_first_then_foreground_classes_then_their_mean():
    found = scored_structures(BRATS)
    classes = ["edema (class)", "non-enhancing tumor (class)", "enhancing tumor (class)"]
    assert titles(found) == ["WT (region)", "TC (region)", "ET (region)", *classes, "class mean"]
    assert [each.members for each in found] == [(1, 2, 3), (2, 3), (3,), (1,), (2,), (3,), ()]


def test_background_is_in_the_structures_that_say_so():
    assert titles(background_structures(BRATS)) == ["background (class)", "class mean with background"]
    assert [each.name for each in averaged(MEAN_WITH_BACKGROUND, BRATS)] == BRATS.class_names
    assert [each.name for each in averaged(CLASS_MEAN, BRATS)] == BRATS.class_names[1:]
    assert titles(averaged(REGION_MEAN, BRATS)) == ["WT (region)", "TC (region)", "ET (region)"]


def test_a_structure_averages_itself():
    (wt, *_) = scored_structures(BRATS)
    assert averaged(wt, BRATS) == [wt]


def test_a_name_of_a_region_and_a_class_is_the_region():
    named = structures_by_name(BINARY)
    assert {name: each.kind for name, each in named.items()} == {"tumor": "region", "class_mean": "mean", "region_mean": "mean"}
    assert "region_mean" not in structures_by_name(schema({}))


def test_equal_structures_are_grouped_below_the_first():
    groups = distinct(scored_structures(BRATS))
    assert {first.title: titles(others) for first, others in groups.items() if others} == {
        "ET (region)": ["enhancing tumor (class)"]
    }
    assert len(groups) == 6
    assert repeated_note(groups) == ["Equal structures are printed once: enhancing tumor (class) = ET (region)."]


def test_with_one_foreground_class_a_single_structure_is_left():
    groups = distinct(scored_structures(BINARY))
    assert {first.title: titles(others) for first, others in groups.items()} == {
        "tumor (region)": ["tumor (class)", "class mean"]
    }
    assert repeated_note(distinct(scored_structures(schema({})))) == []


def test_classes_of_a_structure_by_name():
    named = structures_by_name(BRATS)
    assert class_names(named["TC"], BRATS) == ("enhancing tumor", "non-enhancing tumor")
    assert class_names(CLASS_MEAN, BRATS) == ("edema", "enhancing tumor", "non-enhancing tumor")


def test_regions_without_classes_are_not_scored():
    assert titles(scored_structures(schema({"none": ()})))[0] == "a (class)"
