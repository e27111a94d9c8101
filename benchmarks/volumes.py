"""Command: a 3D network's training step and its prediction of a whole volume, against PyTorch and MONAI.

    python -m pip install -r requirements-peers.txt
    python -m benchmarks.volumes --filters 16 --depth 3

The peer is a twin of the 3D UNet with the same weights. Every contender has a process of its own, and does one repeat in each
round. Memory grows from what a process held once it had made its network; time and memory are printed as ratios to the peer's.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.volume_contenders import KerasStep, KerasVolume, MadeWeights, MonaiVolume, Setting, TorchStep
from benchmarks.workers import Contender, Worker, cost_table, hide_gpus, measure, workers
from common import cli
from common.errors import MissingPackage, UserError, expect_number
from common.hardware.devices import cores
from models.unet import UNetConfig

OURS, TORCH, MONAI = "this toolkit", "PyTorch", "MONAI"


@dataclass(kw_only=True)
class VolumesConfig:
    """Compare a 3D network's training step and its prediction of a whole volume with PyTorch and MONAI, on the processor."""

    filters: int = 16
    """Filters of the first level; each level below has twice as many."""
    depth: int = 3
    """Levels of pooling."""
    normalisation: Literal["none", "batch", "instance", "group"] = "instance"
    """After each 3-wide convolution."""
    patch: tuple[int, int, int] = (64, 64, 64)
    """Slices, rows and columns of a window."""
    volume: tuple[int, int, int] = (160, 160, 128)
    """Slices, rows and columns of the volume that is predicted."""
    batch: int = 2
    """Windows of a training step; PyTorch takes other, slower convolutions for a single small one."""
    windows: list[int] | None = None
    """Windows that are predicted at once; null: 1 and 4. PyTorch takes slower convolutions for a single small one."""
    rounds: int = 5
    """Interleaved repeats."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16, with float32 weights, where the processor multiplies it."""
    what: Literal["both", "step", "volume"] = "both"
    """What is compared."""

    def check(self) -> None:
        """Refuse what cannot be compared, before a process is started."""
        self.network.check()
        for name in ("batch", "rounds"):
            expect_number(name, getattr(self, name), 1)
        expect_number("windows", min(self.windows or [1]), 1)
        stride = self.network.stride
        if min(self.patch) < 1 or any(side % stride for side in self.patch):
            raise UserError(f"--patch: expected sides that are multiples of {stride}; received {list(self.patch)}")
        if any(side < part for side, part in zip(self.volume, self.patch, strict=True)):
            raise UserError(f"--volume: expected one no smaller than the patch; received {list(self.volume)}")
        for package in ("torch", "monai"):
            if find_spec(package) is None:
                raise MissingPackage(package, "comparing with PyTorch and MONAI (see requirements-peers.txt)")

    @property
    def network(self) -> UNetConfig:
        """The network that is compared."""
        return UNetConfig(rank=3, filters=self.filters, depth=self.depth, normalisation=self.normalisation)


def main(config: VolumesConfig) -> None:
    """Print a table for the training step, and one for the prediction."""
    config.check()
    hide_gpus()
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.npz"
        setting = Setting(config.network, config.precision, config.patch, config.volume, weights)
        with workers({"weights": partial(MadeWeights, setting)}) as made:
            words = made["weights"].ask("words")
        print(
            f"3D UNet, {config.filters} filters, depth {config.depth}, normalisation {config.normalisation}, {words}, "
            f"{config.precision}, {cores()} cores; median of {config.rounds} interleaved repeats, ratios to the first row"
        )
        if config.what != "volume":
            compare_steps(setting, config.batch, config.rounds)
        if config.what != "step":
            compare_volumes(setting, config.windows or [1, 4], config.rounds)


def compare_steps(setting: Setting, batch: int, rounds: int) -> None:
    """Print the table of training steps."""
    counting = f"{OURS}, its confusion matrix too"
    contenders: dict[str, Callable[[], Contender]] = {
        TORCH: partial(TorchStep, setting, batch, False),
        f"{TORCH}, channels_last_3d": partial(TorchStep, setting, batch, True),
        OURS: partial(KerasStep, setting, batch, False),
        counting: partial(KerasStep, setting, batch, True),
    }
    print(f"\ntraining step: {batch} x {_sides(setting.patch)} x {setting.channels}, cross-entropy, Adam")
    with workers(contenders) as found:
        # The same after as many steps: gradients and updates agree, not the forward pass alone.
        first = {name: worker.ask("repeat") for name, worker in found.items()}
        print(cost_table(measure(found, rounds)))
        last = {name: worker.ask("repeat") for name, worker in found.items()}
        print(f"loss of the first step, {TORCH} {first[TORCH]:.6f}, {OURS} {first[OURS]:.6f}", end="; ")
        print(f"after {rounds + 2} steps {last[TORCH]:.6f} and {last[OURS]:.6f}")
    with workers({name: contenders[name] for name in (TORCH, OURS)}) as fresh:
        theirs, ours = (worker.ask("logits") for worker in fresh.values())
        print(f"logits of a window: largest difference {_largest(theirs, ours):.2e}, largest logit {np.abs(theirs).max():.2f}")


def compare_volumes(setting: Setting, batches: list[int], rounds: int) -> None:
    """Print the table of predictions."""
    contenders: dict[str, Callable[[], Contender]] = {}
    for batch in batches:
        contenders[f"{MONAI}, {batch} at once"] = partial(MonaiVolume, setting, batch)
        contenders[f"{OURS}, {batch} at once"] = partial(KerasVolume, setting, batch)
    print(f"\nprediction of {_sides(setting.volume)} x {setting.channels} in windows of {_sides(setting.patch)}, overlap 0.5")
    with workers(contenders) as found:
        print(cost_table(measure(found, rounds)))
        theirs, ours = list(found.values())[:2]
        _tell_agreement(theirs, ours)


def _tell_agreement(theirs: Worker, ours: Worker) -> None:
    """Print how far blended logits are apart: windows weighed alike on both sides, and by MONAI's own weights."""
    (own, windows), (same, their_windows), (found, _) = ours.ask("logits"), theirs.ask("logits", True), theirs.ask("logits")
    print(f"windows: {MONAI} {their_windows}, {OURS} {windows}; largest logit {np.abs(own).max():.2f}")
    for words, logits in (("the same weights", same), (f"{MONAI}'s own weights, lower at a window's rim", found)):
        differ = np.mean(logits.argmax(-1) != own.argmax(-1))
        print(
            f"by {words}: blended logits differ by {_largest(logits, own):.2e} at most, classes in {differ:.2%} of the voxels"
        )


def _largest(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first - second).max())


def _sides(size: tuple[int, int, int]) -> str:
    return " x ".join(map(str, size))


if __name__ == "__main__":
    cli.run(main, VolumesConfig)
