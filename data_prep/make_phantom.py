"""Command: write synthetic patients, in the layout of BraTS, as TIFF slices or, for the skull base, as a table of scans."""

from collections import Counter
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from common import cli
from common.errors import Problems, UserError
from common.files import lock, refuse_foreign, remove_unfinished, write_json, write_text
from common.manifests import CONTENT, Fields, MapOf, Text, Whole, read_manifest
from common.parallel import check_workers, map_cases
from common.tables import csv_text
from data_prep.grid.resampling import to_rows
from data_prep.phantom import skull_base, slices
from data_prep.phantom.patient import PhantomConfig, grade_of, make_patient
from data_prep.scans.case import LABEL
from data_prep.scans.itk import write_transform
from data_prep.scans.nifti import write_image
from data_prep.sources.table import TABLE

MANIFEST = "phantom.json"  # written last: the folder is finished
BEGUN = "phantom.begun.json"  # manifest of an unfinished folder
FORMAT = "synthetic patients 1"
PHANTOM = Fields({"format": Text((FORMAT,)), "cases": Whole(1), "seed": Whole(0), "looks": MapOf(CONTENT)}, {"first": Whole(1)})
MOST_CASES = 100_000  # as many as five digits name
ADVICE = "choose another --out, or delete the folder"
OLDER_NAMES = {"flair": "flair", "t1": "t1", "t1ce": "t1ce", "t2": "t2", "seg": "seg"}  # BraTS 2021
SKULL_BASE_OPTIONS = ("secondary_share", "motion_mm", "motion_degrees")
"""Options of one type of tumour, which manifests of the others do not hold."""
NEWER_NAMES = {"flair": "t2f", "t1": "t1n", "t1ce": "t1c", "t2": "t2w", "seg": "seg"}  # since BraTS 2023


@dataclass(kw_only=True)
class MakePhantomConfig(PhantomConfig):
    """Generate synthetic patients with gliomas, metastases or skull-base tumours from random numbers.

    Gliomas and metastases are BraTS cases in OUT/HGG, OUT/LGG, OUT/METS; those of the type lower_grade a folder of slices each,
    with data.csv. Skull-base patients are a table, OUT/cases.csv, and a folder each, with the true transforms between the scans
    as ITK files. A patient depends on the seed, its number and its appearance options alone: more cases can be added to a
    folder later, and an interrupted run continues.
    """

    out: Path
    """Folder for the patients."""
    cases: int = 12
    """Number of patients."""
    first: int = 0
    """Number of the first patient, so that other patients of the same kind get ids of their own."""
    seed: int = 0
    """Seed of the set of patients."""
    workers: int | str = 2
    """Processes that generate patients in parallel; or a Dask scheduler: its address, or its file."""


def main(config: MakePhantomConfig) -> None:
    """Write the patients and print their number and place."""
    config.check()
    if config.first < 0:
        raise UserError(f"--first: expected a number that is not negative; received {config.first}")
    if not 1 <= config.cases <= MOST_CASES - config.first:
        raise UserError(f"--cases: expected 1 to {MOST_CASES} patients, less --first; received {config.cases}")
    if config.seed < 0:
        raise UserError(f"--seed: expected a number that is not negative; received {config.seed}")
    check_workers(config.workers)
    with lock(config.out):
        _refuse_others(config)
        remove_unfinished(config.out)
        paths = {index: patient_paths(config, config.out, index).values() for index in _numbers(config)}
        missing = [index for index, files in paths.items() if not all(path.is_file() for path in files)]
        write_json(config.out / BEGUN, _settings(config))
        write = partial(write_patient, _appearance(config), config.out, config.seed)
        map_cases(write, missing, config.workers, title="generating patients" if missing else None)
        if config.tumour == "skull_base":
            write_text(config.out / TABLE, _table(config))
        elif config.tumour == "lower_grade":
            write_text(config.out / slices.TABLE, _grades(config))
        (config.out / BEGUN).replace(config.out / MANIFEST)
    kinds = Counter(kind_of(config, index) for index in _numbers(config))
    if config.tumour == "lower_grade":
        kinds = Counter({f"of grade {slices.GRADES[kind]}": count for kind, count in kinds.items()})
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    print(f"synthetic patients: {config.out} ({counts}; {len(missing)} newly written)")


def write_patient(config: PhantomConfig, out: Path, seed: int, index: int) -> None:
    """Generate patient `index` and write its channels and label (NIfTI, or TIFF slices), each file atomically."""
    paths = patient_paths(config, out, index)
    if config.tumour == "skull_base":
        head = skull_base.make_skull_base_patient(config, seed, index)
        for name, volume in (*head.scans.items(), (LABEL, head.label)):
            write_image(paths[name], volume.array, volume.affine)
        for name, motion in head.motions.items():
            write_transform(paths[f"{name}.tfm"], to_rows(motion))
        return
    patient = make_patient(config, seed, index)
    if config.tumour == "lower_grade":
        slices.write_slices(patient, paths)
        return
    for name, array in (*patient.channels.items(), ("seg", patient.label)):
        write_image(paths[name], array, patient.affine)


def patient_paths(config: PhantomConfig, out: Path, index: int) -> dict[str, Path]:
    """Files of patient `index`: channel name, `seg` (skull base: `label`, and CHANNEL.tfm of each channel) -> path.

    Of lower-grade gliomas those of `slices.slice_paths`.
    """
    kind = kind_of(config, index)
    if config.tumour == "lower_grade":
        return slices.slice_paths(out, index, config.size[2])
    if config.tumour == "skull_base":
        folder = out / f"SB-{index:05d}"
        images = {name: folder / f"{name}.nii.gz" for name in (*skull_base.CHANNELS, LABEL)}
        return images | {f"{name}.tfm": folder / f"{name}.tfm" for name in skull_base.CHANNELS}
    if config.tumour == "glioma":
        name, endings = f"BraTS2021_{index:05d}_", OLDER_NAMES
    else:
        name, endings = f"BraTS-{'MET' if config.tumour == 'mets' else 'GLI'}-{index:05d}-000-", NEWER_NAMES
    return {part: out / kind / name[:-1] / f"{name}{ending}.nii.gz" for part, ending in endings.items()}


def kind_of(config: PhantomConfig, index: int) -> str:
    """Kind of patient `index`: HGG, LGG or METS; of skull-base patients primary or secondary."""
    if config.tumour == "skull_base":
        return skull_base.subtype_of(config, index)
    return grade_of(config, index) or "METS"


def _table(config: MakePhantomConfig) -> str:
    """Table of skull-base patients: a channel a column, the label, and the attribute `subtype`."""
    columns = [*skull_base.CHANNELS, LABEL]
    rows: list[list[str]] = [["patient_id", *columns, "subtype"]]
    for index in _numbers(config):
        paths = patient_paths(config, config.out, index)
        files = [paths[name].relative_to(config.out).as_posix() for name in columns]
        rows.append([paths[LABEL].parent.name, *files, kind_of(config, index)])
    return csv_text(rows)


def _grades(config: MakePhantomConfig) -> str:
    """Table of lower-grade gliomas: the grade of each patient, by the data set's codes."""
    rows = [[slices.row_name(index), slices.GRADES[kind_of(config, index)]] for index in _numbers(config)]
    return csv_text([["Patient", "neoplasm_histologic_grade"], *rows])


def _numbers(config: MakePhantomConfig) -> range:
    """Numbers of the patients."""
    return range(config.first, config.first + config.cases)


def _appearance(config: PhantomConfig) -> PhantomConfig:
    """Options that determine the images of a patient."""
    return PhantomConfig(**{item.name: getattr(config, item.name) for item in fields(PhantomConfig)})


def _settings(config: MakePhantomConfig) -> dict[str, Any]:
    """Manifest: all that determines the folder's content; a number of the first patient other than 0."""
    looks = cli.as_dict(_appearance(config))
    if config.tumour != "skull_base":
        looks = {name: value for name, value in looks.items() if name not in SKULL_BASE_OPTIONS}
    first = {"first": config.first} if config.first else {}
    return {"format": FORMAT, "cases": config.cases, "seed": config.seed, **first, "looks": looks}


def _refuse_others(config: MakePhantomConfig) -> None:
    """Refuse a folder that holds other files than these options make.

    Raises:
        UserError: it holds other files.
        Problems: it holds patients of other options, a line per option.
    """
    manifests = [config.out / name for name in (MANIFEST, BEGUN) if (config.out / name).is_file()]
    if not manifests:
        refuse_foreign(config.out, "synthetic patients")
        return
    now = _flat(_settings(config))
    lines = []
    for path in manifests:
        before = _flat(read_manifest(path, "manifest of synthetic patients", PHANTOM, advice=ADVICE))
        differing = [key for key in before | now if key != "cases" and before.get(key) != now.get(key)]
        lines += [f"{path}: {key} was {before.get(key)!r} and is now {now.get(key)!r}" for key in differing]
        if before.get("cases", 0) > config.cases:
            lines.append(f"{path}: cases was {before['cases']} and is now {config.cases}, fewer")
    if lines:
        raise Problems(lines, f"{config.out} holds other synthetic patients; {ADVICE}")


def _flat(manifest: dict[str, Any]) -> dict[str, Any]:
    """Settings of a manifest in one dict."""
    return {key: value for key, value in manifest.items() if key != "looks"} | manifest["looks"]


if __name__ == "__main__":
    cli.run(main, MakePhantomConfig)
