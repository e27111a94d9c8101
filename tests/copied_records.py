"""Copies of records whose cases are changed, with checksums that fit."""

import shutil

from common.files import checksum, read_json, write_json


def copy_records(records, copy, change):
    """Copy records; `change(case, facts)` gives the new content of a JSON file of a case, or None to leave it."""
    shutil.copytree(records, copy)
    manifest = read_json(copy / "dataset.json", "records")
    for case, shards in manifest["properties"].items():
        for number in range(len(shards)):
            file = copy / "cases" / (f"{case}.copy{number}.json" if number else f"{case}.json")
            facts = change(case, read_json(file, "case"))
            if facts is not None:
                write_json(file, facts)
                shards[number] = checksum(file)
    write_json(copy / "dataset.json", manifest)
    return copy
