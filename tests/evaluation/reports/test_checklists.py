import re

import pytest

from evaluation.reports.checklists import CLAIM, TRIPOD_AI, answered, open_items


def test_claim_has_44_items_and_tripod_27_with_52_parts():
    assert [item.number for item in CLAIM] == [str(number) for number in range(1, 45)]
    assert len(TRIPOD_AI) == 52
    assert list(dict.fromkeys(int(re.match(r"\d+", item.number)[0]) for item in TRIPOD_AI)) == list(range(1, 28))
    assert len({item.number for item in TRIPOD_AI}) == 52


@pytest.mark.parametrize("items", [CLAIM, TRIPOD_AI])
def test_each_item_is_answered_or_open(items):
    facts = {"Data": "BraTS", "Network": "unet", "Channels": ""}
    found = answered(items, facts)
    assert {name for _, names in found for name in names} == {"Data", "Network"}
    assert len(found) + len(open_items(items, facts)) == len(items)
    assert open_items(items, {}) == list(items)


def test_an_answer_is_all_known_facts_of_the_item():
    found = {item.number: names for item, names in answered(CLAIM, {"Network": "unet", "Seed": "0"})}
    assert found["24"] == ["Network", "Seed"]
    assert found["22"] == ["Network"]
