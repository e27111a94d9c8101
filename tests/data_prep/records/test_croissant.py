import json

from data_prep.records.croissant import CONFORMS_TO, FILE, croissant
from data_prep.records.folder import Records


def test_records_hold_their_description(records):
    found = json.loads((records / FILE).read_text())
    assert found == croissant(json.loads((records / "dataset.json").read_text()))
    assert (found["@type"], found["conformsTo"], found["name"]) == ("sc:Dataset", CONFORMS_TO, "records-brats2017-2021")
    assert found["description"].startswith("5 prepared scans (3 train, 1 validation, 1 test) with the channels flair, t1")


def test_its_sets_of_files_are_the_records_files(records):
    sets = json.loads((records / FILE).read_text())["distribution"]
    files = {path for each in sets for path in records.glob(each["includes"])}
    assert files == set((records / "cases").iterdir())


def test_subsets_and_classes_are_tables(records):
    tables = {table["name"]: table for table in json.loads((records / FILE).read_text())["recordSet"]}
    opened = Records(records)
    subsets = {row["subsets/case"]: row["subsets/subset"] for row in tables["subsets"]["data"]}
    assert subsets == {case: subset for subset, cases in opened.split.items() for case in cases}
    assert {row["classes/class"]: row["classes/ids"] for row in tables["classes"]["data"]}["enhancing tumor"] == "4"
    for table in tables.values():
        names = {field["@id"] for field in table["field"]}
        assert table["key"]["@id"] in names
        assert all(set(row) == names for row in table["data"])


def test_no_path_of_the_source_is_in_it(records, source):
    assert str(source.parent) not in (records / FILE).read_text()
