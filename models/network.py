"""Network: the settings that make one, and what commands ask of it whatever its architecture."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from common.trust import refuse_untrusted
from data_prep.grid.geometry import Triple

if TYPE_CHECKING:
    import keras

Intensity = Literal["minmax", "zscore", "median"]
"""How the intensities of an image are scaled."""


@dataclass
class NetworkConfig(ABC):
    """Settings of a network; a subclass is a dataclass whose fields are options of a command."""

    name: str = ""
    """Which network."""

    @property
    @abstractmethod
    def rank(self) -> int:
        """2 for a network of slices, 3 for one of volumes."""

    @property
    @abstractmethod
    def stride(self) -> int:
        """Divisor of the input's sides."""

    @property
    def margin(self) -> int:
        """Voxels on each side by which the output is smaller than the input: none, where convolutions are padded."""
        return 0

    @property
    def fixed_patch(self) -> Triple | None:
        """Slices, rows and columns of the only patch that the network takes; None: any."""
        return None

    def prediction_patch(self, patch: Triple | None) -> Triple | None:
        """Slices, rows and columns of the patches of prediction, given those of training; None for whole slices."""
        return patch if self.rank == 3 else None

    @property
    def bottleneck(self) -> str:
        """Layer whose features stand for a whole image; empty: unknown, the coarsest one is looked for (`models.features`)."""
        return ""

    def origin(self) -> str:
        """Source of the initial weights where no `init_from` gives others, for tables."""
        return "random initialisation"

    def fixed_layers(self, network: "keras.Model") -> list[Any]:
        """Layers that never train: none."""
        return []

    @abstractmethod
    def check(self) -> None:
        """Refuse settings that make no network.

        Raises:
            UserError: a number out of its range, or what cannot be found.
        """

    def refuse_untrusted(self, file: Path) -> None:
        """Refuse code that a run's config names and the user has not trusted; the toolkit's networks name none.

        Args:
            file: config of the run.

        Raises:
            UserError: names the file, and the option that accepts the code.
        """
        refuse_untrusted(self.name, file)

    @abstractmethod
    def build(
        self,
        channels: int,
        heads: dict[str, int],
        pooled: Sequence[str] = (),
        intensity: Intensity = "minmax",
        load_pretrained: bool = True,
    ) -> "keras.Model":
        """Make the network: images (N, ..., channels) -> {head: logits float32}.

        Args:
            channels: of the input.
            heads: name -> number of outputs, such as {"segmentation": 4}.
            pooled: heads with one vector of logits for each image or patch; the others have one for each voxel.
            intensity: how the records' intensities are scaled (`PrepareConfig.intensity`), for pretrained backbones.
            load_pretrained: load weights that were trained elsewhere; False where a run's own weights are loaded next, so that
                prediction does without their file.

        Raises:
            UserError: the network cannot be built so.
        """


@dataclass
class SegmenterConfig(NetworkConfig):
    """Settings of a network that takes intensities as they are, and whose configs name no pretrained weights."""

    def build(
        self,
        channels: int,
        heads: dict[str, int],
        pooled: Sequence[str] = (),
        intensity: Intensity = "minmax",
        load_pretrained: bool = True,
    ) -> "keras.Model":
        """Make the network, whatever the scaling of the intensities; arguments and errors as of `NetworkConfig.build`."""
        return self.assemble(channels, heads, pooled)

    @abstractmethod
    def assemble(self, channels: int, heads: dict[str, int], pooled: Sequence[str]) -> "keras.Model":
        """Make the network: images (N, ..., channels) -> {head: logits float32}; arguments as of `NetworkConfig.build`."""
