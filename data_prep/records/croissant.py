"""Croissant description of records: JSON-LD by which catalogues of data sets find and read them.

Croissant 1.0 (MLCommons, https://docs.mlcommons.org/croissant/). Cases have their ids, as the files have; nothing else of the
source is in it. Licence, citation, version and date of publication are for the owners of the data to add.
"""

from collections.abc import Mapping, Sequence
from typing import Any

FILE = "croissant.json"
CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
SLICES = (
    "One tf.train.Example a slice: image (raw bytes, height x width x channels, little-endian {dtype}), label (raw bytes, "
    "height x width; class c is the bit 1 << c, no bit: not annotated), shape, dtype, case, copy and slice."
)


def croissant(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Croissant description of a records folder.

    Args:
        manifest: content of its dataset.json.
    """
    channels, classes, split = manifest["channels"], manifest["schema"]["classes"], manifest["split"]
    counts = ", ".join(f"{len(cases)} {subset}" for subset, cases in split.items())
    description = (
        f"{len(manifest['cases'])} prepared scans ({counts}) with the channels {', '.join(channels)} and the classes "
        f"{', '.join(classes)}, as TFRecord."
    )
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": f"records-{manifest['schema']['name']}",
        "description": description,
        "conformsTo": CONFORMS_TO,
        "keywords": ["brain tumour", "segmentation", "MRI", "TFRecord"],
        "distribution": [
            _files(
                "shards", "cases/*.tfrecord", "application/x-tfrecord", SLICES.format(dtype=manifest["preparation"]["dtype"])
            ),
            _files(
                "properties",
                "cases/*.json",
                "application/json",
                "Properties of each shard: attributes, grid, voxels per class.",
            ),
        ],
        "recordSet": [
            _inline("subsets", "Cases of each subset.", ("case", "subset"), _rows(split)),
            _inline("classes", "Classes and their label ids.", ("class", "ids"), _classes(classes)),
        ],
    }


def _files(name: str, pattern: str, encoding: str, description: str) -> dict[str, Any]:
    """Set of files."""
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "description": description,
        "encodingFormat": encoding,
        "includes": pattern,
    }


def _inline(name: str, description: str, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Table of texts whose rows stand in the description itself."""
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "key": {"@id": f"{name}/{columns[0]}"},
        "field": [
            {"@type": "cr:Field", "@id": f"{name}/{column}", "name": column, "dataType": "sc:Text"} for column in columns
        ],
        "data": [{f"{name}/{column}": value for column, value in row.items()} for row in rows],
    }


def _rows(split: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    return [{"case": case, "subset": subset} for subset, cases in split.items() for case in cases]


def _classes(classes: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {"class": name, "ids": " ".join(map(str, ids if isinstance(ids, list) else [ids]))} for name, ids in classes.items()
    ]
