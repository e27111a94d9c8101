"""HD-BET's network for segmentation: its encoder and decoder (Isensee et al., 2019), with heads of its own.

The five published networks find the brain in MRI of patients with tumours, in T1, contrast T1, T2 and FLAIR alike, at 1.5 mm.
A training begins with the weights of one of them by `init_from: hd_bet` (`training.initialisation`), and with random ones
otherwise. The levels of the encoder are named encoder1 to encoder5, those of the decoder decoder4 to decoder1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.errors import expect_number
from data_prep.brain.hd_bet_weights import NETWORKS
from models.network import SegmenterConfig

if TYPE_CHECKING:
    import keras


@dataclass
class HDBETConfig(SegmenterConfig):
    """The 3D UNet of HD-BET (Isensee et al., 2019), with residual blocks and instance normalisation."""

    name: str = "hd_bet"
    """Which network: hd_bet."""
    network: int = 0
    """Which of the five published networks `--init_from hd_bet` begins with, 0 to 4; their architectures are equal."""
    filters: int = 21
    """Filters of the first level; each of the four levels below has twice as many. The published networks have 21."""

    def check(self) -> None:
        """Refuse numbers that make no network.

        Raises:
            UserError: a number out of its range.
        """
        expect_number("model.network", self.network, 0, NETWORKS - 1)
        expect_number("model.filters", self.filters, 1)

    @property
    def rank(self) -> int:
        """3: the network takes volumes."""
        return 3

    @property
    def stride(self) -> int:
        """Divisor of the input's sides."""
        return 16

    def assemble(self, channels: int, heads: dict[str, int], pooled: Sequence[str]) -> "keras.Model":
        """Make the network: images (N, D, H, W, channels), sides multiples of 16 -> {head: logits float32}.

        Weights are random; the first normalisation takes off scale and offset of the intensities.

        Args:
            channels: of the input.
            heads: name -> number of outputs, such as {"segmentation": 4}.
            pooled: heads with one vector of logits for each patch, from the mean over the features of the encoder's last level.
        """
        import keras

        from data_prep.brain.hd_bet import encode_and_decode

        inputs = keras.Input((None, None, None, channels), name="image")
        features, bottom = encode_and_decode(inputs, self.filters, keras.config.dtype_policy().name)
        outputs = {}
        for name, count in heads.items():
            if name in pooled:
                mean = keras.layers.GlobalAveragePooling3D(name=f"{name}_pooling")(bottom)
                outputs[name] = keras.layers.Dense(count, dtype="float32", name=name)(mean)
            else:
                outputs[name] = keras.layers.Conv3D(count, 1, dtype="float32", name=name)(features)
        return keras.Model(inputs, outputs, name=self.name)
