"""Subjects of the campaign of readers: a valid file of each kind, and what the toolkit makes of it."""

import json
from dataclasses import dataclass

import numpy as np

from common import cli
from common.files import read_lines
from common.packed_arrays import check_hdf5, read_npz
from common.torch_checkpoint import read_checkpoint
from data_prep.labels import LabelSchema
from data_prep.records.consistency import refuse_other_config
from data_prep.records.folder import CaseRecord, Records
from data_prep.scans import nifti, tiff
from data_prep.scans.case import CaseFiles, ImageRef
from data_prep.sources import open_source
from data_prep.sources.dicom_rules import load_rules
from data_prep.split import SplitConfig, make_split
from evaluation import outputs
from evaluation.experiments.held_out_classes import read_predictions
from evaluation.heads.head_table import read_head_table
from evaluation.inference.postprocess import choice_of, load_file
from evaluation.inference.predictions import earlier_predictions, merge_predictions, open_predictions, read_cost
from evaluation.scores.facts import read_classification_facts
from evaluation.scores.folder import read_patient_scores, read_scores
from training.config import TrainConfig
from training.run import Run
from training.state.history import read_history

CASES = [CaseFiles(id=f"case_{number}", patient=f"case_{number}", channels={}, label=None) for number in range(5)]


@dataclass(frozen=True)
class Subject:
    """A file below the campaign's folder, and its reader, which returns what it made of it."""

    file: str
    read: object


def run_facts(path):
    """Everything that commands ask of a run's manifest."""
    run = Run(path.parent)
    asked = [run.command, run.config_type, run.channels, run.records_paths, run.heads, run.metadata["status"]]
    return [*asked, run.metadata["split"], run.metadata.get("best_epoch"), run.records_that_annotate("segmentation")]


def run_config(path):
    """Config of a run, as `--resume` takes it."""
    config = Run(path.parent).config
    config.check()
    return config


def aligned(path):
    """Cases of aligned scans, and their way back to the scanner."""
    source = open_source(path if path.name == "align.json" and path.is_dir() else _aligned_root(path))
    cases = source.cases()
    return source.channels, source.schema, [(case, source.scanner_grid(case), source.label_channel(case)) for case in cases]


def _aligned_root(path):
    return path.parent if path.name == "align.json" else path.parent.parent


def source_cases(path):
    """Cases of a source of scans."""
    source = open_source(path if path.suffix == ".csv" else path.parent)
    return source.channels, source.schema, source.cases()


def predictions(path):
    """Predictions, opened, costed and merged."""
    folder = path.parent
    found = open_predictions(folder, None), read_cost(folder), earlier_predictions(folder, [Run(folder.parent / "run")], {})
    merge_predictions([folder], folder.parent / "merged")
    return found


def dicom_series(path):
    """Voxels of a series of which one file was changed."""
    from data_prep.scans.dicom import index_files
    from data_prep.scans.dicom_image import read_series

    found = index_files(sorted(path.parent.glob("*.dcm")))
    return [read_series(series).array for series in found.series]


def dicom_seg(path):
    """Segments of a DICOM SEG."""
    from data_prep.scans.dicom_seg import read_seg

    return read_seg(path)


def contours(path):
    """Structures of an RTSTRUCT, or of the JSON of a data set."""
    from data_prep.scans.contours import read_json_contours, read_rtstruct

    return read_rtstruct(path) if path.suffix == ".dcm" else read_json_contours(path)


def transform(path):
    """Transform of ITK."""
    from data_prep.scans.itk import read_transform

    return read_transform(path)


def weights(path):
    """Weights of a run, loaded into its network, which is built once."""
    from training.state.weights import load_weights

    if path not in _NETWORKS:
        _NETWORKS[path] = Run(path.parent).build_network()
    check_hdf5(path, "weights")
    load_weights(_NETWORKS[path], path)
    return _NETWORKS[path].get_weights()


_NETWORKS = {}


def state(path):
    """State of a training, and its arrays."""
    from training.state.checkpoint import load_progress

    return load_progress(path.parent), read_npz(path, "state")


def study(path):
    """Config of a study."""
    from evaluation.study import StudyConfig

    return cli.parse(StudyConfig, ["--config", str(path), "--records", str(path.parent / "records"), "--out", "x"])


def phantom(path):
    """Manifest of synthetic patients, compared with the options of a call."""
    from data_prep.make_phantom import MakePhantomConfig, _refuse_others

    return _refuse_others(MakePhantomConfig(out=path.parent, cases=1))


def shard(path):
    """Image and label of a shard, verified."""
    records = Records(path.parent.parent)
    opened = records.shard(path.stem)
    opened.verify()
    return np.asarray(opened.image), opened.label


def settings(path):
    """Settings of the records, as they were built."""
    return json.loads((path.parent.parent / "settings.json").read_text())


SUBJECTS = {
    "nifti_gz": Subject("source/HGG/case_0/case_0_t1.nii.gz", lambda path: nifti.read_image(ImageRef(path))),
    "nifti": Subject("a.nii", lambda path: nifti.read_image(ImageRef(path))),
    "tiff": Subject("a.tif", lambda path: tiff.read_slice(path, 1)),
    "dicom": Subject("dicom/series/0000.dcm", dicom_series),
    "dicom_seg": Subject("a.seg.dcm", dicom_seg),
    "rtstruct": Subject("rt.dcm", contours),
    "contours": Subject("contours.json", contours),
    "transform": Subject("a.tfm", transform),
    "shard": Subject("records/cases/case_0.tfrecord", shard),
    "records_case": Subject("records/cases/case_0.json", CaseRecord.read),
    "records": Subject("records/dataset.json", lambda path: vars(Records(path.parent)) | {"_open": 0}),
    "records_config": Subject("records/config.yaml", lambda path: refuse_other_config(path.parent, settings(path))),
    "run": Subject("run/run.json", run_facts),
    "run_config": Subject("run/config.yaml", run_config),
    "run_preparation": Subject("run/preparation.yaml", lambda path: Run(path.parent).preparation),
    "run_schema": Subject("run/schema.yaml", lambda path: Run(path.parent).schema),
    "history": Subject("run/history.csv", lambda path: read_history(path.parent)),
    "weights": Subject("run/last.weights.h5", weights),
    "state": Subject("run/state/epoch_00001.npz", state),
    "predictions": Subject("predictions/predictions.json", predictions),
    "heads_table": Subject("heads.csv", lambda path: read_head_table(path.parent, ["a", "b"])),
    "scores": Subject("made/scores/scores.json", lambda path: read_scores(path.parent)),
    "patient_scores": Subject("made/scores/per_patient.csv", lambda path: read_patient_scores(read_scores(path.parent))),
    "record_scores": Subject("made_records/scores.json", lambda path: read_scores(path.parent)),
    "class_scores": Subject("classes/classification_scores.json", read_classification_facts),
    "class_predictions": Subject("classes/per_patient.csv", lambda path: read_predictions(path, ["a", "b"])),
    "origins": Subject("made_from.json", lambda path: outputs.claim(path.parent, {"x": [outputs.Origin("run", "k", "s")]})),
    "study": Subject("study.yaml", study),
    "train_config": Subject("train.yaml", lambda path: cli.parse(TrainConfig, ["--config", str(path)])),
    "case_list": Subject("cases.txt", lambda path: read_lines(path, "list of cases")),
    "split": Subject("split.yaml", lambda path: make_split(CASES, SplitConfig(file=path))),
    "label_schema": Subject("schema.yaml", lambda path: LabelSchema.load(str(path))),
    "dicom_rules": Subject("rules.yaml", load_rules),
    "postprocess": Subject("postprocess.yaml", lambda path: (load_file(path), choice_of(path))),
    "phantom": Subject("phantom/phantom.json", phantom),
    "features": Subject("features.npz", lambda path: read_npz(path, "features")),
    "torch_weights": Subject("a.model", read_checkpoint),
    "table": Subject("table/cases.csv", source_cases),
    "aligned": Subject("aligned/align.json", aligned),
    "aligned_case": Subject("aligned/anna/case.json", aligned),
    "decathlon": Subject("msd/dataset.json", source_cases),
}
