"""Mutations of a file's content, keyed by a seed: of bytes, and of the values of JSON, YAML and CSV."""

import copy
import csv
import gzip
import io
import json

import yaml

NUMBERS = [0, -1, 1.5, 7, 10**9, 2**63, 10**25, 1e308, float("nan"), float("inf"), True]
TEXTS = ["", "x", "None", "1", "-1", "nan", "../../etc", "/", "a\nb", "a\x00b", "\x1b[31m", "é" * 50, "2026-13-45", "x" * 5000]
NESTS = [None, [], {}, [[]], {"a": []}, [None], [[1, 2], [3]], {"": 0}, [1] * 300]
VALUES = [*NUMBERS, *TEXTS, *NESTS]
ODD_TEXTS = [
    "9" * 5000,
    "[" * 400,
    "{" * 400,
    "a: &a [*a]",
    "- " * 200,
    "!!python/object:os.system {}",
    "? [a]\n: 1",
    "\ufeff",
    "1e999",
]


def flip_byte(rng, content):
    """One bit or byte is another one."""
    place = int(rng.integers(len(content)))
    return content[:place] + bytes([content[place] ^ int(rng.integers(1, 256))]) + content[place + 1 :]


def flip_early(rng, content):
    """A byte of the first 400, where headers are, is another one."""
    return flip_byte(rng, content[:400]) + content[400:]


def insert(rng, content):
    """Some bytes are inserted."""
    place = int(rng.integers(len(content) + 1))
    return content[:place] + rng.bytes(int(rng.integers(1, 20))) + content[place:]


def remove(rng, content):
    """Some bytes are left out."""
    place = int(rng.integers(len(content)))
    return content[:place] + content[place + int(rng.integers(1, 20)) :]


def truncate(rng, content):
    """The end is left out."""
    return content[: int(rng.integers(len(content)))]


def repeat(rng, content):
    """A part stands twice."""
    first, last = sorted(int(place) for place in rng.integers(len(content) + 1, size=2))
    return content[:last] + content[first:last] + content[last:]


def noise(rng, content):
    """A part is random bytes."""
    place, length = int(rng.integers(len(content))), int(rng.integers(1, 64))
    return content[:place] + rng.bytes(min(length, len(content) - place)) + content[place + length :]


def zeros(rng, content):
    """A part is zeros, as after a crash."""
    place, length = int(rng.integers(len(content))), int(rng.integers(1, 4096))
    return content[:place] + bytes(min(length, len(content) - place)) + content[place + length :]


def numbers_of_headers(rng, content):
    """Four bytes are a very large or a negative number."""
    place = int(rng.integers(max(1, min(len(content) - 4, 2000))))
    return content[:place] + [b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", bytes(4)][int(rng.integers(3))] + content[place + 4 :]


BYTES = (flip_byte, flip_early, insert, remove, truncate, repeat, noise, zeros, numbers_of_headers)


def inside_gzip(mutate):
    """The same mutation of what a gzip file has packed."""

    def mutated(rng, content):
        return gzip.compress(mutate(rng, gzip.decompress(content)), mtime=0)

    mutated.__name__ = f"{mutate.__name__}_inside"
    return mutated


def places(value, path=()):
    """Keys that lead to each value inside of a value."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, key)
            yield from places(item, (*path, key))


def change_values(rng, value):
    """A nested value with one thing changed: another value, a key or item left out, renamed, repeated, or two swapped."""
    value = copy.deepcopy(value)
    paths = list(places(value))
    if not paths or rng.random() < 0.03:
        return copy.deepcopy(VALUES[int(rng.integers(len(VALUES)))])
    keys = paths[int(rng.integers(len(paths)))]
    inner = value
    for key in keys[:-1]:
        inner = inner[key]
    last, how = keys[-1], int(rng.integers(10))
    if how == 0:
        del inner[last]
    elif how == 1 and isinstance(inner, dict):
        inner[f"{last}x"] = inner.pop(last)
    elif how == 2 and isinstance(inner, list):
        inner.append(copy.deepcopy(inner[last]))
    elif how == 3 and len(inner) > 1:
        other = list(inner)[int(rng.integers(len(inner)))] if isinstance(inner, dict) else int(rng.integers(len(inner)))
        inner[last], inner[other] = inner[other], inner[last]
    elif how == 4:
        inner[last] = [inner[last]] if rng.random() < 0.5 else {"a": inner[last]}
    elif how == 5:
        inner[last] = str(inner[last])
    else:
        inner[last] = copy.deepcopy(VALUES[int(rng.integers(len(VALUES)))])
    return value


def change_json(rng, content):
    """A value of a JSON file is another one."""
    return json.dumps(change_values(rng, json.loads(content)), indent=1).encode()


def change_yaml(rng, content):
    """A value of a YAML file is another one."""
    return yaml.safe_dump(change_values(rng, yaml.safe_load(content)), sort_keys=False, allow_unicode=True).encode()


def odd_text(rng, content):
    """A value of a text file is replaced by a text that asks for much work, or names code."""
    words = content.decode().split()
    word = words[int(rng.integers(len(words)))]
    return content.decode().replace(word, ODD_TEXTS[int(rng.integers(len(ODD_TEXTS)))], 1).encode()


def change_csv(rng, content):
    """A cell of a table is another one, or a row or column is left out or repeated."""
    rows = list(csv.reader(io.StringIO(content.decode())))
    row, how = int(rng.integers(len(rows))), int(rng.integers(6))
    column = int(rng.integers(max(1, len(rows[row]))))
    if how == 0:
        rows = [[*each[:column], *each[column + 1 :]] for each in rows]
    elif how == 1:
        rows.append(list(rows[row]))
    elif how == 2:
        del rows[row]
    elif how == 3:
        rows = [[*each, *each[column : column + 1]] for each in rows]
    elif rows[row]:
        rows[row][column] = str(VALUES[int(rng.integers(len(VALUES)))])
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def mutations_of(name):
    """Mutations that fit a file, by the ending of its name."""
    if name.endswith(".gz"):
        return (*BYTES, *map(inside_gzip, BYTES))
    texts = {".json": (change_json,), ".yaml": (change_yaml,), ".csv": (change_csv,), ".txt": (), ".tfm": ()}
    fitting = next((found for ending, found in texts.items() if name.endswith(ending)), None)
    return BYTES if fitting is None else (*BYTES, odd_text, *fitting * 8)
