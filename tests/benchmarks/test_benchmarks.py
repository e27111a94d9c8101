"""Benchmarks at toy size: they run and print their tables; times are never asserted."""

import subprocess
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import augment, intervals, lesions, monai_training, surface, volumes
from benchmarks.augment import ALL, GROUPS, OWN, PLAIN, STEP, AugmentBenchmarkConfig, shares, ways
from benchmarks.intervals import SCORES, IntervalsConfig, mean_rows
from benchmarks.lesions import LesionsConfig
from benchmarks.monai_training import MonaiTrainingConfig
from benchmarks.surface import SurfaceConfig, random_pairs
from benchmarks.torch_unet import build_twin, load_twin, read_weights, write_weights
from benchmarks.volume_contenders import Setting
from benchmarks.volumes import VolumesConfig
from benchmarks.workers import Cost, cost_table, measure, workers
from common import cli
from common.errors import MissingPackage, UserError
from data_prep.augmentation.draw import AugmentConfig
from models.unet import UNetConfig

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [
    f"benchmarks.{path.stem}"
    for path in (ROOT / "benchmarks").glob("*.py")
    if "cli.run(main" in path.read_text(encoding="utf-8")
]
HEAVY = ("tensorflow", "keras", "torch", "monai", "grain", "cv2")
TOY = """
model: {{name: unet, rank: {rank}, filters: 2, depth: 1, normalisation: instance}}
input: {{batch_size: 2, patch: {patch}, threads: 1}}
augment: {augment}
precision: float32
"""
VOLUMES = "{rank: 3, tilt_degrees: 10, elastic_sigma: 3, flips: [], probability: 0.7}"


class Adder:
    """A contender that counts its repeats."""

    def __init__(self, start):
        self.value = start

    def repeat(self):
        self.value += 1

    def total(self, more):
        return self.value + more

    def fail(self):
        raise UserError("what the user gave")


def toy(folder, name, **settings):
    path = folder / name
    path.write_text(TOY.format(**settings))
    return path


def test_the_benchmarks_were_found():
    assert {"benchmarks.augment", "benchmarks.volumes", "benchmarks.readers"} <= set(COMMANDS)


def test_no_benchmark_imports_a_framework_before_it_is_needed():
    program = f"import sys, {', '.join(COMMANDS)}\nprint(sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("module", "config"), [(augment, AugmentBenchmarkConfig), (volumes, VolumesConfig)])
def test_help_tells_every_option(module, config, capsys):
    with pytest.raises(SystemExit) as end:
        cli.run(module.main, config, ["--help"])
    shown = capsys.readouterr().out
    assert end.value.code == 0
    for option in config.__dataclass_fields__:
        assert f"--{option}" in shown


def test_every_kind_of_augmentation_is_timed_alone():
    aids = {"rank", "probability", "elastic_sigma", "fill_from"}
    assert {name for names in GROUPS.values() for name in names} == {item.name for item in fields(AugmentConfig)} - aids


def test_augmentation_is_timed_in_two_and_three_dimensions(records, tmp_path, capsys):
    slices = toy(tmp_path, "slices.yaml", rank=2, patch="null", augment="{probability: 0}")
    windows = toy(tmp_path, "windows.yaml", rank=3, patch="[8, 8, 8]", augment=VOLUMES)
    for config, steps, examples in ((slices, 2, "3 slices of 16 x 16"), (windows, 0, "2 patches of 8 x 8 x 8")):
        numbers = ["--batches", "1", "--rounds", "1", "--steps", str(steps), "--trainings", "1", "--slices", "3"]
        cli.run(augment.main, AugmentBenchmarkConfig, ["--records", str(records), "--train", str(config), *numbers])
        table, flips = capsys.readouterr().out, config == slices
        assert table.startswith(f"{config}: {examples} a step; unet, ")
        rows = table.splitlines()
        assert [row for row in rows if row.startswith((STEP, PLAIN, OWN, ALL))]
        assert any(row.startswith("  flips alone") for row in rows) == flips
        assert any(row.startswith("  elastic alone") for row in rows)
        trainings = 3 if steps else 0
        assert sum("%" in row for row in rows) == 4 + 4 + flips + trainings  # steps and reading, changes alone, short trainings
        assert any("2 steps, 1 threads reading ahead" in row for row in rows) == bool(steps)


def test_short_trainings_can_be_left_out(records, tmp_path, capsys):
    config = toy(tmp_path, "slices.yaml", rank=2, patch="null", augment="{probability: 0}")
    options = ["--records", str(records), "--train", str(config), "--rounds", "1", "--steps", "0"]
    cli.run(augment.main, AugmentBenchmarkConfig, options)
    shown = capsys.readouterr().out
    assert "8 slices of 16 x 16 a step" in shown
    assert "waiting" not in shown


def test_each_change_is_timed_alone_and_only_if_the_config_asks_for_it():
    found = ways(AugmentConfig(rank=3, tilt_degrees=5, noise=0, probability=0.3, fill=0.2))
    alone = {name.strip().removesuffix(" alone"): way for name, way in found.items() if name.endswith(" alone")}
    assert set(alone) == set(GROUPS) - {"noise", "bias field", "blur", "erasing", "fainter tumours"}
    assert all(way.probability == 1 and way.fill == (0.2 if name == "filled channels" else 0) for name, way in alone.items())
    turned = alone["rotation, tilt, scale, crop"]
    assert (turned.tilt_degrees, turned.elastic, turned.brightness, turned.flips) == (5, 0, 0, [])
    assert alone["flips"].flips == ["x", "y"]
    plain, own, every = (next(way for name, way in found.items() if name.startswith(row)) for row in (PLAIN, OWN, ALL))
    assert (plain.probability, own.probability, every.probability) == (0, 0.3, 1)
    assert (plain.fill, every.fill) == (0, 0.2)


def test_shares_are_of_the_step_and_augmentation_is_what_comes_on_top():
    rows = shares({STEP: 2.0, PLAIN: 0.1, "augmented": 0.3}).splitlines()
    assert [row.split()[-3:] for row in rows[1:3]] == [["step", "2000.0", "100.00%"], ["augmented", "100.0", "5.00%"]]
    assert rows[3].split() == ["augmented", "300.0", "15.00%", "10.00%"]


@pytest.mark.parametrize(("option", "value"), [("--rounds", 0), ("--batches", 0), ("--slices", 0), ("--steps", -1)])
def test_numbers_that_measure_nothing_are_refused(option, value, capsys):
    with pytest.raises(SystemExit) as end:
        cli.run(augment.main, AugmentBenchmarkConfig, ["--records", "nowhere", option, str(value)])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {option}: expected at least")


def test_a_training_config_that_is_missing_is_one_line(records, capsys):
    with pytest.raises(SystemExit):
        cli.run(augment.main, AugmentBenchmarkConfig, ["--records", str(records), "--train", "nowhere.yaml"])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: nowhere.yaml")


def test_contenders_live_in_processes_of_their_own_and_are_repeated_in_turn():
    with workers({"one": partial(Adder, 0), "ten": partial(Adder, 10)}) as found:
        costs = measure(found, rounds=2)
        assert [found[name].ask("total", 100) for name in ("one", "ten")] == [103, 113]  # two rounds and the one before
        with pytest.raises(UserError, match="what the user gave"):
            found["one"].ask("fail")
    for cost in costs.values():
        assert cost.seconds >= 0
        assert cost.peak > cost.growth >= 0


def test_costs_are_told_with_ratios_to_the_first_row():
    rows = cost_table(
        {"a": Cost(1.0, 2.0, 300 * 2**20, 100 * 2**20), "b": Cost(0.5, 3.0, 400 * 2**20, 150 * 2**20)}
    ).splitlines()
    assert rows[1].split() == ["a", "1.000", "1.000", "2.000", "1.000", "100", "1.000", "300"]
    assert rows[2].split() == ["b", "0.500", "0.500", "3.000", "1.500", "150", "1.500", "400"]


def test_random_pairs_of_masks_are_not_empty_and_depend_on_the_seed_alone():
    pairs, again = list(random_pairs(16, 3)), list(random_pairs(16, 3))
    assert all(truth.any() and prediction.any() and truth.shape == prediction.shape for truth, prediction, _ in pairs)
    assert len({spacing for *_, spacing in pairs}) > 3
    for (truth, prediction, spacing), other in zip(pairs, again, strict=True):
        np.testing.assert_array_equal(truth, other[0])
        np.testing.assert_array_equal(prediction, other[1])
        assert spacing == other[2]


def test_hd95_is_compared_with_surface_distance(capsys, monkeypatch):
    monkeypatch.setattr(surface, "find_spec", lambda package: None)
    with pytest.raises(MissingPackage, match=r"requirements-peers\.txt.*pip install surface-distance"):
        surface.main(SurfaceConfig())
    monkeypatch.undo()
    pytest.importorskip("surface_distance")
    surface.main(SurfaceConfig(pairs=24))
    printed = capsys.readouterr().out.splitlines()
    assert float(printed[0].removeprefix("24 random pairs: largest relative difference ")) < 1e-9
    assert float(printed[1].removeprefix("NSD at 1 mm: largest difference ")) < 1e-9


def test_metrics_of_a_case_are_timed(capsys):
    lesions.main(LesionsConfig(rules=["brats2023-met"], shape=(40, 40, 30), lesions=2, false_positives=2, rounds=1))
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("40 x 40 x 30 voxels, schema brats2023; CPU seconds")
    assert [line.split("  ")[0] for line in printed[1:]] == [
        *("default metrics", "and HD95, NSD by all definitions", "default metrics and brats2023-met"),
        "all definitions and 1 rules",
    ]


def test_coverage_of_intervals_is_simulated(capsys):
    numbers = ["--sets", "20", "--slow_sets", "4", "--resamples", "20"]
    cli.run(intervals.main, IntervalsConfig, numbers)
    tables = ("\n" + capsys.readouterr().out).split("\n\n**")[1:]
    assert len(tables) == len(SCORES) + 1 + 9 + 9 + 3
    for table in tables:
        heading, _, *rows = [line for line in table.splitlines() if line.startswith("|")]
        for row in rows:
            cells = [cell.split() for cell in row.strip("|").split("|")[1:]]
            assert len(cells) == heading.count("|") - 2
            assert all(0 <= float(coverage) <= 1 and float(width) >= 0 for coverage, width in cells)
    with pytest.raises(UserError, match="--sets: expected at least 2"):
        IntervalsConfig(sets=1).check()


def test_a_simulated_coverage_is_near_the_nominal_one_and_depends_on_the_seed_alone():
    config = IntervalsConfig(sets=200, slow_sets=4, resamples=10)
    rows = mean_rows(SCORES[0], config)
    assert rows == mean_rows(SCORES[0], config)
    assert rows != mean_rows(SCORES[0], IntervalsConfig(sets=200, slow_sets=4, resamples=10, seed=1))
    assert all(0.88 < float(cell.split()[0]) < 0.99 for cell in rows["Student t"])
    assert all(cell.startswith("1.000") for cell in rows["Anderson, DKW"])


def test_a_missing_peer_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr(volumes, "find_spec", lambda package: None)
    with pytest.raises(MissingPackage, match=r"requirements-peers\.txt.*pip install torch"):
        VolumesConfig().check()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"patch": (12, 16, 16)}, "--patch"),
        ({"volume": (32, 64, 64)}, "--volume"),
        ({"rounds": 0}, "--rounds"),
        ({"depth": 0}, "depth"),
    ],
)
def test_what_cannot_be_compared_is_refused(options, said):
    with pytest.raises(UserError, match=said):
        VolumesConfig(**options).check()


def test_weights_come_back_from_their_file_layer_by_layer(tmp_path):
    network = UNetConfig(rank=3, filters=2, depth=1).build(3, {"segmentation": 4})
    write_weights(network, tmp_path / "weights.npz")
    found = read_weights(tmp_path / "weights.npz")
    expected = {layer.name: layer.get_weights() for layer in network.layers if layer.get_weights()}
    assert set(found) == set(expected)
    for name, arrays in expected.items():
        for one, other in zip(arrays, found[name], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("normalisation", ["none", "batch", "instance", "group"])
def test_the_twin_in_torch_gives_the_same_logits(normalisation, rng):
    torch = pytest.importorskip("torch")
    network = UNetConfig(rank=3, filters=8, depth=2, normalisation=normalisation).build(3, {"segmentation": 4})
    weights = {
        layer.name: [
            np.abs(rng.normal(array, 0.1)).astype(np.float32) if array.ndim == 1 else array for array in layer.get_weights()
        ]
        for layer in network.layers
    }
    for layer in network.layers:
        layer.set_weights(weights[layer.name])
    twin = build_twin(8, 2, normalisation, 3, "segmentation", 4)
    load_twin(twin, weights)
    image = rng.standard_normal((1, 8, 12, 16, 3)).astype(np.float32)
    expected = np.asarray(network.predict_on_batch(image)["segmentation"])
    with torch.inference_mode():
        found = twin.eval()(torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, -1, 1)))).numpy()
    np.testing.assert_allclose(np.moveaxis(found, 1, -1), expected, atol=2e-4)
    with pytest.raises(ValueError, match="bottom_conv1"):
        load_twin(twin, weights | {"bottom_conv1": []})


@pytest.mark.slow
def test_volumes_are_compared_at_toy_size(capsys):
    pytest.importorskip("torch")
    pytest.importorskip("monai")
    sizes = [
        "--filters",
        "4",
        "--depth",
        "1",
        "--patch",
        "[8,8,8]",
        "--volume",
        "[12,16,10]",
        "--windows",
        "[2]",
        "--rounds",
        "1",
    ]
    cli.run(volumes.main, VolumesConfig, sizes)
    shown = capsys.readouterr().out
    assert "windows: MONAI 12, this toolkit 12" in shown
    assert float(shown.split("by the same weights: blended logits differ by ")[1].split()[0]) < 1e-4
    assert float(shown.split("logits of a window: largest difference ")[1].split(",")[0]) < 1e-4


def test_loss_and_learning_rates_are_compared_with_monai(capsys):
    pytest.importorskip("torch")
    pytest.importorskip("monai")
    cli.run(monai_training.main, MonaiTrainingConfig, [])
    shown = capsys.readouterr().out
    loss, gradient = shown.split("largest relative difference ")[1].split(", of a gradient ")
    assert max(float(loss), float(gradient.split()[0])) < 1e-6
    assert all(float(line.split("at most ")[1].split()[0]) < 1e-6 for line in shown.splitlines() if line.startswith("cosine"))


def test_all_contenders_see_the_same_data(tmp_path):
    setting = Setting(UNetConfig(rank=3), "float32", (4, 4, 4), (8, 8, 8), tmp_path / "weights.npz", channels=2)
    assert setting.image(1, 4, 4, 4).shape == (1, 4, 4, 4, 2)
    np.testing.assert_array_equal(setting.image(3, 4), setting.image(3, 4))
    assert set(setting.classes_of(50).tolist()) == {0, 1, 2, 3}
