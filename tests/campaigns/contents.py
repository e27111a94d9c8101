"""Contents of output folders without what differs from one call to the next: dates, times, logs and locks."""

import csv
import io
import json

import h5py
import numpy as np
import pydicom
import yaml

from common.files import LOCK

TIMES = {"minutes", "cost", "seconds", "seconds_per_case", "minutes_training", "peak_memory"}  # keys and columns
LOGS = (
    "logs",
    "stacks.txt",
    "table.md",
    "table.tex",
    "table.txt",
    "study.md",
    "study.tex",
    "cost.csv",
)  # what names times, or holds the output of commands


def contents(folder, ignored=()):
    """Relative path -> content of each file of a folder that a repeated call must give again, bit for bit."""
    found = {}
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if path.is_file() and path.name != LOCK and not {*place.parts} & {*LOGS, *ignored}:
            found[place.as_posix()] = content(path)
    return found


def content(path):
    """Content of a file that compares equal where only times differ."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: _text_or_bytes(arrays[name]) for name in arrays.files}
    if path.suffix == ".h5":
        found = {}
        with h5py.File(path) as file:
            file.visititems(lambda name, item: found.update({name: item[()].tobytes()} if hasattr(item, "shape") else {}))
        return found
    if path.suffix == ".json":
        return without_times(json.loads(path.read_text()))
    if path.suffix == ".yaml":
        return without_times(yaml.safe_load(path.read_text()))
    if path.suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(path.read_text())))
        return [{name: cell for name, cell in row.items() if name not in TIMES} for row in rows]
    if path.suffix == ".dcm":
        dataset = pydicom.dcmread(path)
        dataset.walk(_without_date)
        return {element.keyword or str(element.tag): element.to_json() for element in dataset}
    return path.read_bytes()


def without_times(value):
    """JSON or YAML without times."""
    if isinstance(value, dict):
        return {name: without_times(each) for name, each in value.items() if name not in TIMES}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def differences(expected, found):
    """Lines for the files that differ between two contents."""
    lines = [f"{name}: lacks" for name in expected.keys() - found.keys()]
    lines += [f"{name}: is extra" for name in found.keys() - expected.keys()]
    for name in expected.keys() & found.keys():
        if expected[name] != found[name]:
            lines.append(f"{name}: differs{first_difference(expected[name], found[name])}")
    return sorted(lines)


def first_difference(expected, found):
    """Where two contents differ first, and how: `, minutes.total: expected 1, received 2`."""
    if type(expected) is type(found) and isinstance(expected, dict) and expected.keys() == found.keys():
        key = next(key for key in expected if expected[key] != found[key])
        return f", {key}{first_difference(expected[key], found[key])}"
    if type(expected) is type(found) and isinstance(expected, list) and len(expected) == len(found):
        place = next(place for place in range(len(expected)) if expected[place] != found[place])
        return f", {place}{first_difference(expected[place], found[place])}"
    return f": expected {str(expected)[:300]}, received {str(found)[:300]}"


def _without_date(dataset, element):
    if element.VR in ("DA", "TM", "DT"):
        del dataset[element.tag]


def _text_or_bytes(array):
    if array.dtype.kind == "U" and array.ndim == 0:
        text = str(array)
        return without_times(json.loads(text)) if text.startswith("{") else text
    return array.dtype.str, array.shape, array.tobytes()
