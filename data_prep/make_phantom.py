"""Command: write made patients in the layout of BraTS 2021."""

import sys
from collections.abc import Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from common import cli
from common.errors import Problems, UserError
from common.files import lock, read_json, write_json
from common.processes import worker_pool
from data_prep.phantom import PhantomConfig, grade_of

MANIFEST = "phantom.json"  # written last: the folder is finished
BEGUN = "phantom.begun.json"  # what an unfinished folder will be
FORMAT = "made patients 1"
MOST_CASES = 100_000  # as many as five digits name


@dataclass(kw_only=True)
class MakePhantomConfig(PhantomConfig):
    """Make glioma patients out of random numbers and write them in the layout of BraTS 2021, in OUT/HGG and OUT/LGG.

    A patient depends on the seed, its number and the looks alone: more cases can be added to a folder later, and a run that
    was stopped goes on where it was.
    """

    out: Path
    """Folder for the patients."""
    cases: int = 12
    """Number of patients."""
    seed: int = 0
    """Names the set of patients."""
    workers: int = 2
    """Processes that make patients at once."""


def main(config: MakePhantomConfig) -> None:
    """Write the patients and say where they are."""
    _check(config)
    with lock(config.out):
        _refuse_others(config)
        missing = [index for index in range(config.cases) if not all(path.is_file() for path in _paths(config, index).values())]
        write_json(config.out / BEGUN, _settings(config))
        _write(config, missing)
        (config.out / BEGUN).replace(config.out / MANIFEST)
    lower = sum(grade_of(config, index) == "LGG" for index in range(config.cases))
    print(f"made patients: {config.out} ({config.cases - lower} HGG, {lower} LGG; {len(missing)} newly written)")


def write_patient(config: PhantomConfig, out: Path, seed: int, index: int) -> None:
    """Make patient `index` and write its channels and label (`.nii.gz`), each file whole or not at all."""
    from data_prep.phantom import make_patient
    from data_prep.scans.nifti import write_image

    patient = make_patient(config, seed, index)
    paths = patient_paths(out, patient.grade, index)
    for name, array in (*patient.channels.items(), ("seg", patient.label)):
        write_image(paths[name], array, patient.affine)


def patient_paths(out: Path, grade: str, index: int) -> dict[str, Path]:
    """The files of patient `index`: channel name, or `seg`, -> path."""
    name = f"BraTS2021_{index:05d}"
    return {part: out / grade / name / f"{name}_{part}.nii.gz" for part in ("flair", "t1", "t1ce", "t2", "seg")}


def _paths(config: MakePhantomConfig, index: int) -> dict[str, Path]:
    return patient_paths(config.out, grade_of(config, index), index)


def _check(config: MakePhantomConfig) -> None:
    config.check()
    if not 1 <= config.cases <= MOST_CASES:
        raise UserError(f"--cases: expected 1 to {MOST_CASES}; received {config.cases}")
    if config.seed < 0:
        raise UserError(f"--seed: expected a number that is not negative; received {config.seed}")
    if config.workers < 1:
        raise UserError(f"--workers: expected at least 1; received {config.workers}")


def _looks(config: PhantomConfig) -> PhantomConfig:
    """The part of a config that decides how patients look."""
    return PhantomConfig(**{item.name: getattr(config, item.name) for item in fields(PhantomConfig)})


def _settings(config: MakePhantomConfig) -> dict[str, Any]:
    """The manifest: all that decides the folder's content."""
    return {"format": FORMAT, "cases": config.cases, "seed": config.seed, "looks": cli.as_dict(_looks(config))}


def _refuse_others(config: MakePhantomConfig) -> None:
    """Refuse a folder that holds anything but a part of what was asked for."""
    manifests = [config.out / name for name in (MANIFEST, BEGUN) if (config.out / name).is_file()]
    if not manifests:
        strangers = sorted(path.name for path in config.out.iterdir() if path.name != ".lock")
        if strangers:
            raise UserError(f"{config.out}: expected an empty or new folder for made patients; it holds {strangers[0]!r}")
    lines = []
    for path in manifests:
        before, now = _flat(read_json(path, "manifest of made patients")), _flat(_settings(config))
        differing = [key for key in before | now if key != "cases" and before.get(key) != now.get(key)]
        lines += [f"{path}: {key} was {before.get(key)!r} and is now {now.get(key)!r}" for key in differing]
        if before.get("cases", 0) > config.cases:
            lines.append(f"{path}: cases was {before['cases']} and is now {config.cases}, fewer")
    if lines:
        raise Problems(lines, f"{config.out} holds other made patients; choose another --out, or delete the folder")


def _flat(manifest: Any) -> dict[str, Any]:
    if not isinstance(manifest, dict) or not isinstance(manifest.get("looks"), dict):
        return {}
    return {key: value for key, value in manifest.items() if key != "looks"} | manifest["looks"]


def _write(config: MakePhantomConfig, missing: list[int]) -> None:
    """Write the missing patients, with a progress bar."""
    from tqdm import tqdm

    write = partial(write_patient, _looks(config), config.out, config.seed)
    done = _in_processes(write, missing, config.workers) if config.workers > 1 and len(missing) > 1 else map(write, missing)
    for _ in tqdm(done, "making patients", len(missing), unit="case", file=sys.stderr, disable=not missing):
        pass


def _in_processes(write: partial[None], missing: list[int], workers: int) -> Iterator[None]:
    with worker_pool(min(workers, len(missing))) as pool:
        for future in as_completed([pool.submit(write, index) for index in missing]):
            yield future.result()


if __name__ == "__main__":
    cli.run(main, MakePhantomConfig)
