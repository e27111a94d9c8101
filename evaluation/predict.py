"""Command: segment scans with a run, or with the average of several, on the patients' own grids."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common import cli
from common.errors import Problems, UserError, expect_number
from common.files import lock, read_json, read_lines, refuse_inside, write_json
from data_prep import nifti
from data_prep.case import Case, CaseFiles
from data_prep.labels import LabelSchema, bits_to_classes
from data_prep.prepare import Prepared, inside_mask, prepare
from data_prep.sources import Source, SourceConfig, open_source
from data_prep.sources.checks import check_cases
from evaluation.native_scores import FORMAT, MANIFEST, prediction_path
from training.backend import load_backend
from training.input import SEGMENTATION
from training.run import Run

if TYPE_CHECKING:
    import keras


@dataclass(kw_only=True)
class PredictConfig(SourceConfig):
    """Segment every case of a source and write NIfTI files on the patients' own grid, affine and label ids.

    Scans are prepared as the run's training data were, but whole, not cropped.
    """

    runs: list[Path]
    """Run folders; the probabilities of several are averaged."""
    source: Path
    """Folder of scans or table, annotated or not."""
    out: Path
    """Folder for ID.nii.gz, overlays/ID.png and predictions.json."""
    cases: Path | None = None
    """Text file with the ids of the cases to segment, one a line; default: all."""
    probabilities: bool = False
    """Also write ID_probabilities.nii.gz, float32, classes along the fourth axis."""
    inside_only: bool = True
    """Call voxels that are zero in every channel background, as they lie outside a skull-stripped head; the probabilities are
    left as they are."""
    overlays: bool = True
    """Also draw each case's image, truth where there is one, and prediction."""
    least_size: tuple[int, int] = (0, 0)
    """Rows and columns to which slices are zero-padded at least, such as [256, 256] in the glioma paper; they are always padded
    to a multiple of the network's stride."""
    batch_size: int = 8
    """Slices at once; it changes speed and memory alone."""


@dataclass(frozen=True)
class Ensemble:
    """Networks that see the same channels and tell the same classes.

    Attributes:
        runs: where they come from.
        networks: loaded, one per run.
    """

    runs: list[Run]
    networks: list["keras.Model"]

    def probabilities(self, image: np.ndarray, config: PredictConfig) -> np.ndarray:
        """Class probabilities (Z, H, W, classes) float32 of a prepared volume, averaged over the networks."""
        total = np.zeros((*image.shape[:3], len(self.runs[0].schema.classes)), np.float32)
        for run, network in zip(self.runs, self.networks, strict=True):
            for place, logits in self._batches(run, network, image, config):
                total[place] += softmax(logits)
        return total / len(self.runs)

    def classes(self, image: np.ndarray, config: PredictConfig) -> np.ndarray:
        """Class indices (Z, H, W) uint8; of a single network without ever holding all its logits."""
        if len(self.runs) > 1:
            return self.probabilities(image, config).argmax(axis=-1).astype(np.uint8)
        found = np.zeros(image.shape[:3], np.uint8)
        for place, logits in self._batches(self.runs[0], self.networks[0], image, config):
            found[place] = logits.argmax(axis=-1)
        return found

    @staticmethod
    def _batches(
        run: Run, network: "keras.Model", image: np.ndarray, config: PredictConfig
    ) -> Iterator[tuple[slice, np.ndarray]]:
        from models.infer import predict_slices

        batches = predict_slices(
            network,
            image,
            stride=run.config.model.stride,
            neighbours=run.config.input.neighbours,
            least_size=config.least_size,
            batch_size=config.batch_size,
        )
        for place, logits in batches:
            yield place, logits[SEGMENTATION]


def main(config: PredictConfig) -> None:
    """Segment the cases and say where the files are."""
    from tqdm import tqdm

    expect_number("batch_size", config.batch_size, 1)
    refuse_inside(config.out, config.source)
    runs = _runs(config)
    source = _source(config, runs[0])
    cases = _cases(source, config)
    problems = check_cases(source, cases)
    if problems:
        raise Problems(
            problems, f"{len(problems)} problems in {len(cases)} cases; leave cases out by --cases; nothing was predicted"
        )
    with lock(config.out):
        before = _earlier(config, runs)
        load_backend()
        ensemble = Ensemble(runs, [run.load_network() for run in runs])
        schema = _written_schema(source, runs[0].schema)
        for files in tqdm(cases, "predicting", unit="case", file=sys.stderr):
            _predict_case(source.read(files), ensemble, schema, config)
        _commit(config, runs, schema, sorted({*before, *(files.id for files in cases)}))
    pictures = f", pictures in {config.out / 'overlays'}" if config.overlays else ""
    print(f"predictions: {config.out} ({len(cases)} cases{pictures})")


def _runs(config: PredictConfig) -> list[Run]:
    """The runs, which must agree on what they see and tell."""
    if not config.runs:
        raise UserError("--runs: expected at least one run folder")
    runs = [Run(path) for path in config.runs]
    for run in runs:
        _ = run.weights  # refuses a run without a finished epoch before scans are read
        for name in ("channels", "preparation", "schema"):
            if getattr(run, name) != getattr(runs[0], name):
                raise UserError(f"{run.path}: its {name} differ from those of {runs[0].path}, so their average means nothing")
    return runs


def _source(config: PredictConfig, run: Run) -> Source:
    """The scans, with the channels that the run sees in their order."""
    wanted = config.channels or run.channels
    if wanted != run.channels:
        raise UserError(f"--channels: {run.path} sees {', '.join(run.channels)}; received {', '.join(wanted)}")
    found = open_source(config.source, replace(config, channels=None)).channels
    lacking = [name for name in run.channels if name not in found]
    if lacking and config.missing_channels == "refuse":
        raise UserError(
            f"{config.source}: has channels {', '.join(found)}; {run.path} needs {', '.join(lacking)} as well "
            "(a table may have an empty column of that name, with --missing_channels zero)"
        )
    return open_source(config.source, replace(config, channels=run.channels))


def _cases(source: Source, config: PredictConfig) -> list[CaseFiles]:
    """The cases to segment."""
    cases = source.cases()
    if config.cases is None:
        return cases
    wanted = read_lines(config.cases, "list of cases")
    unknown = sorted(set(wanted) - {files.id for files in cases})
    if unknown or not wanted:
        found = f"{unknown[0]!r}, which is no case of {config.source}" if unknown else "no case"
        raise UserError(f"{config.cases}: names {found}")
    return [files for files in cases if files.id in wanted]


def _earlier(config: PredictConfig, runs: list[Run]) -> list[str]:
    """Cases that an earlier call with the same runs has segmented into the folder."""
    manifest = config.out / MANIFEST
    if not manifest.is_file():
        return []
    values = read_json(manifest, "predictions")
    if values.get("runs") != _names(runs):
        raise UserError(f"{config.out}: holds predictions of other runs ({values.get('runs')}); choose another --out")
    cases: list[str] = values["cases"]
    return cases


def _predict_case(case: Case, ensemble: Ensemble, schema: LabelSchema, config: PredictConfig) -> None:
    """Segment one case and write its files."""
    run = ensemble.runs[0]
    prepared = prepare(case, schema if case.label is not None else None, replace(run.preparation, crop=None))
    if config.probabilities:
        probabilities = ensemble.probabilities(prepared.image, config)
        classes = probabilities.argmax(axis=-1).astype(np.uint8)
        _write_probabilities(config.out, case, prepared, probabilities)
    else:
        classes = ensemble.classes(prepared.image, config)
    if config.inside_only:
        classes[~inside_mask(prepared.image)] = 0
    dtype = np.dtype(np.uint8) if case.label is None else case.label.dtype
    ids = schema.to_ids(prepared.geometry.to_native(classes), dtype if dtype.kind in "iu" else np.uint8)
    nifti.write_image(prediction_path(config.out, case.files.id), ids, case.affine, like=case.files.paths[0])
    if config.overlays:
        _draw(case, prepared, classes, schema, config.out)


def _write_probabilities(out: Path, case: Case, prepared: Prepared, probabilities: np.ndarray) -> None:
    planes = [prepared.geometry.to_native(probabilities[..., c]) for c in range(probabilities.shape[-1])]
    path = out / f"{case.files.id}_probabilities.nii.gz"
    nifti.write_image(path, np.stack(planes, axis=-1), case.affine, like=case.files.paths[0])


def _draw(case: Case, prepared: Prepared, classes: np.ndarray, schema: LabelSchema, out: Path) -> None:
    from evaluation.overlay import draw_overlay

    truth = None if prepared.label is None else bits_to_classes(prepared.label)
    picture = out / "overlays" / f"{case.files.id}.png"
    image = prepared.image[..., 0]
    draw_overlay(picture, image, truth, classes, schema, case.files.id, prepared.geometry.spacing_mm)


def _written_schema(source: Source, schema: LabelSchema) -> LabelSchema:
    """The ids to write: the source's own where it tells the classes of the run, else those the run was trained on."""
    own = source.schema
    return own if own is not None and own.class_names == schema.class_names else schema


def _names(runs: list[Run]) -> list[str]:
    return [str(run.path.resolve()) for run in runs]


def _commit(config: PredictConfig, runs: list[Run], schema: LabelSchema, cases: list[str]) -> None:
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "runs": _names(runs),
        "weights": [run.weights.name for run in runs],
        "source": str(config.source.resolve()),
        "schema": schema.to_dict(),
        "least_size": list(config.least_size),
        "inside_only": config.inside_only,
        "cases": cases,
    }
    write_json(config.out / MANIFEST, manifest)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, float32."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    normalised: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return normalised


if __name__ == "__main__":
    cli.run(main, PredictConfig)
