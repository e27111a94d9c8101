"""Files of the campaign of readers: a valid one of each kind, made by the toolkit's own commands where these are quick."""

import json
import shutil

import numpy as np

from common import cli
from common.files import write_json, write_yaml
from data_prep.labels import SCHEMAS
from data_prep.make_phantom import MakePhantomConfig, _settings
from data_prep.scans.itk import write_transform
from evaluation.heads.head_table import write_head_table
from evaluation.inference.predictions import write_manifest
from evaluation.outputs import Origin, claim
from evaluation.scores.classification import SlicePredictions, summary, write_classification_scores
from tests import scans
from tests.checkpoints import legacy_bytes
from tests.conftest import SMALL, run_command, write_source
from tests.evaluation.scores.test_folder import write_made, write_records
from tests.training.runs import TOY
from training.run import Run

RULES = {"channels": {"t1": {"description": "t1", "min_slices": 3}}, "label": {"structures": {"GTV": 1}}, "max_gap": 1.5}
RESAMPLING = {
    "shape": [5, 5, 5],
    "affine": scans.LPS.tolist(),
    "target_shape": [10, 9, 8],
    "target_affine": scans.LPS.tolist(),
    "transform": np.eye(4).tolist(),
}
CONTOURS = [{"structure_name": "TV", "LPS_contour_points": [[[0.0, 0, 0], [4, 0, 0], [4, 4, 0], [0, 4, 0]]]}]


def make_files(folder):
    """Make all files below a folder."""
    make_records(folder)
    make_run(folder)
    make_tables(folder)
    make_scans(folder)
    make_configs(folder)


def make_records(folder):
    """A source and records of it."""
    write_source(folder / "source")
    split = ("--split.folds", 2, "--split.fractions", "[0.6,0.2,0.2]")
    done = run_command("data_prep.make_records", "--source", folder / "source", "--out", folder / "records", *split, *SMALL)
    assert done.status == 0, done.err
    from common.files import read_yaml

    write_json(folder / "settings.json", read_yaml(folder / "records" / "config.yaml", "config"))


def make_run(folder):
    """A run of one epoch."""
    options = ("--records", folder / "records", "--out", folder / "run", *TOY, "--epochs", 1, "--steps_per_epoch", 1)
    done = run_command("training.train", *options)
    assert done.status == 0, done.err


def make_tables(folder):
    """Predictions, scores and tables."""
    run = Run(folder / "run")
    facts = {"flips": [], "cost": {"seconds_per_case": 1.5}, "postprocessing": [{"head": "segmentation", "setting": "none"}]}
    training = [{"records": "/r", "fold": 0, "cases": ["case_0"]}]
    (folder / "predictions").mkdir()
    write_manifest(folder / "predictions", [run], folder / "source", run.schema, facts, ["case_0", "case_1"], training)
    write_head_table(folder, ["a", "b"], {name: [name, "a", "rule", 0.5, 0.25, 3, 4] for name in ("x", "y")})
    write_made(folder / "made", 0)
    write_records(folder / "made_records")
    claim(folder, {"x": [Origin("run", "k", "s")]})
    names = [f"p{number}" for number in range(6)]
    chances = np.linspace(0.1, 0.9, 6)
    found = SlicePredictions(
        names, names, np.zeros(6, np.int64), np.array([0, 0, 1, 0, 1, 1]), np.stack([1 - chances, chances], axis=1)
    )
    facts = {"settings": {"attribute": "grade"}, "folds": [{"weights": "0"}]}
    scores = summary(found, head="h", classes=["a", "b"], split="patient", weights="w", levels=("patient",))
    write_classification_scores(folder / "classes", found, scores | facts)
    np.savez(folder / "features.npz", mean=np.arange(4.0), key=np.array("k"))
    (folder / "a.model").write_bytes(legacy_bytes({"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(3)}))


def make_scans(folder):
    """Scans in each format."""
    from data_prep.scans.dicom import index_files
    from data_prep.scans.dicom_seg import write_seg
    from tests.dicom_files import AXIAL, blob, write_rtstruct, write_series

    made = scans.scan("anna", channels=("t1", "t2"))
    scans.save(folder / "a.nii", made.images["t1"])
    scans.save_slice(folder / "a.tif", np.arange(60, dtype=np.uint8).reshape(6, 10))
    write_series(folder / "dicom" / "series", blob(), AXIAL)
    files = sorted((folder / "dicom" / "series").iterdir())
    for place, file in enumerate(files):
        file.rename(file.with_name(f"{place:04d}.dcm"))
    files = sorted((folder / "dicom" / "series").iterdir())
    (series,) = index_files(files).series
    ids = np.zeros((12, 10, 8), np.uint8)
    ids[2:5, 2:5, 2:5] = 1
    write_seg(folder / "a.seg.dcm", series, ids, {"tumor": [1]}, "case_1")
    square = np.array([[0.0, 0, 0], [4, 0, 0], [4, 4, 0], [0, 4, 0]])
    write_rtstruct(folder / "rt.dcm", files[0], {"GTV": [square]})
    (folder / "contours.json").write_text(json.dumps(CONTOURS))
    write_transform(folder / "a.tfm", tuple(map(tuple, np.eye(4).tolist())))
    (folder / "table").mkdir()
    scans.write_table(folder / "table", [made], {"anna": {"grade": "2"}})
    shutil.copytree(folder / "table", folder / "aligned")
    (folder / "aligned" / "anna").mkdir()
    write_json(folder / "aligned" / "anna" / "case.json", {"label_channel": "t1", "images": {"t1": {"resampling": RESAMPLING}}})
    origin = {"path": "/gone", "options": {"layout": "table"}}
    facts = {"format": 1, "channels": ["t1", "t2"], "schema": Run(folder / "run").schema.to_dict(), "source": origin}
    write_json(folder / "aligned" / "align.json", facts)
    scans.write_msd(folder / "msd", [scans.scan("a", ids=(0, 1, 2, 3)), scans.scan("b", ids=(0, 1, 2, 3))])


def make_configs(folder):
    """Configs, lists and rules."""
    shutil.copy(SCHEMAS / "brats2017-2021.yaml", folder / "schema.yaml")
    shutil.copy(folder / "run" / "config.yaml", folder / "train.yaml")
    write_yaml(folder / "split.yaml", {"train": ["case_0", "case_1"], "validation": ["case_2"], "test": ["case_3"]})
    write_yaml(folder / "rules.yaml", RULES)
    chosen = {"metric": "dice", "patients": 2, "patient_ids": ["a", "b"]}
    write_yaml(folder / "postprocess.yaml", {"threshold": 0.5, "least_voxels": {"WT": 5}, "chosen": chosen})
    runs = [{"name": "plain", "options": {"model.filters": 4}}, {"name": "wide", "options": {"model": {"filters": 8}}}]
    write_yaml(folder / "study.yaml", {"options": {"epochs": 1}, "runs": runs})
    (folder / "cases.txt").write_text("case_0\ncase_1\n")
    config = MakePhantomConfig(out=folder / "phantom", cases=1)
    write_json(folder / "phantom" / "phantom.json", _settings(config))
    assert cli.as_dict(config)
