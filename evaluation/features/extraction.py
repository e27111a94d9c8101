"""Features of cases by a run's network, stored in a folder and reused as long as the weights are the same.

FOLDER/WEIGHTS/CASE.npz   poolings and shape of one case; WEIGHTS is the checksum of the weights file
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from common import cli
from common.errors import UserError
from common.files import checksum, write_serialised
from common.finite import naming
from common.hardware.backend import load_backend
from common.packed_arrays import read_npz
from common.parallel import map_cases
from data_prep.records.image_view import network_input
from evaluation.features.cases import LabelledCase, Volume
from evaluation.features.shape import shape_features
from evaluation.inference import postprocess
from evaluation.inference.ensemble import Ensemble, InferenceConfig
from models.features import POOLINGS, feature_network, pooled_features
from training.heads.segmentation import SegmentationHead
from training.run import Run

FORMAT = 1
FEATURES = (*POOLINGS, "shape")


@dataclass(frozen=True)
class FeatureExtractor:
    """Features of cases by one run.

    Attributes:
        run: of a network with a segmentation head.
        head: its name.
        layer: of the network; empty: the bottleneck.
        inference: batch size and overlap of patches.
        folder: for stored features.
        kinds: out of `FEATURES`.
    """

    run: Run
    head: str
    layer: str
    inference: InferenceConfig
    folder: Path
    kinds: tuple[str, ...]

    def extract(self, cases: Sequence[LabelledCase], title: str) -> np.ndarray:
        """Features (cases, F) float64; the network runs on cases that are not stored, with progress under a title."""
        missing = [case for case in cases if self._stored(case) is None]
        map_cases(self._compute, missing, title=title if missing else None)
        return np.stack([self._row(case) for case in cases])

    def layer_of(self, case: LabelledCase) -> str:
        """Name of the layer whose features are stored of a case; the network finds it where none is named."""
        return str((self._stored(case) or {}).get("layer", self.layer))

    def _compute(self, case: LabelledCase) -> None:
        """Compute and store the features of one case.

        Raises:
            NotFinite: features or logits are NaN or infinite; names the run.
        """
        volume = case.read(self.run)
        network, layer = self._network
        ensemble = Ensemble([self.run], [self._segmenter], self.inference, self.head)
        box = ensemble.view_box(0, volume.inside)
        image = network_input(np.asarray(volume.image[box]))
        if not image.size:
            raise UserError(f"case {case.id}: every voxel is zero; leave the case out by --cases")
        sliding = self.inference.sliding_window(self.run)
        with naming(str(self.run.path)):
            found = pooled_features(network, image, sliding, self.inference.effective_batch_size(sliding))
        texts = {"key": self._key(case), "layer": layer}
        if "shape" in self.kinds:
            found["shape"] = self._shape(ensemble, volume, case)
            texts["rules"] = self._rules_key
        content: dict[str, Any] = found | {name: np.array(text) for name, text in texts.items()}
        write_serialised(self._path(case), lambda file: np.savez(file, **content))

    def _shape(self, ensemble: Ensemble, volume: Volume, case: LabelledCase) -> np.ndarray:
        """Shape of the predicted mask, post-processed as the run's predictions are."""
        if volume.spacing_mm is None:
            raise UserError(
                f"case {case.id}: expected the distance of voxels for shape; received none; leave shape out of --features"
            )
        schema, rules = cast(SegmentationHead, self.run.heads[self.head]).schema, self._rules
        if rules.needs_probabilities:
            probabilities = ensemble.probabilities(volume.image, volume.inside)
            classes = postprocess.apply(rules, probabilities, schema, volume.inside)
        else:
            classes = ensemble.classes(volume.image, volume.inside)
            classes = postprocess.apply_classes(rules, classes, schema, volume.inside)
        return shape_features(classes > 0, volume.spacing_mm)

    def _row(self, case: LabelledCase) -> np.ndarray:
        """Stored features of a case as one vector."""
        stored = self._stored(case)
        if stored is None:
            raise UserError(f"{self._path(case)}: features that were just written are gone; run the command again")
        return np.concatenate([stored[kind] for kind in self.kinds]).astype(np.float64)

    def _stored(self, case: LabelledCase) -> dict[str, np.ndarray] | None:
        """Features of a case from a file of the same weights, scan and settings; None where there is none."""
        try:
            found = read_npz(self._path(case), "features")
        except UserError:  # not there yet, or damaged
            return None
        numbers = [found[kind] for kind in self.kinds if kind in found]
        if not all(each.ndim == 1 and each.dtype.kind == "f" and np.isfinite(each).all() for each in numbers):
            return None
        if str(found.get("key")) != self._key(case) or not set(self.kinds) <= set(found):
            return None
        return None if "shape" in self.kinds and str(found.get("rules")) != self._rules_key else found

    def _path(self, case: LabelledCase) -> Path:
        return self.folder / self._checksum / f"{case.id}.npz"

    def _key(self, case: LabelledCase) -> str:
        """Text of everything that the poolings depend on."""
        sliding = self.inference.sliding_window(self.run)
        return repr((FORMAT, self._checksum, self.head, self.layer, case.content, sliding, self.run.preparation.to_dict()))

    @cached_property
    def _checksum(self) -> str:
        return checksum(self.run.weights)

    @cached_property
    def _rules(self) -> postprocess.PostprocessConfig:
        return postprocess.load(self.run, self.head)

    @property
    def _rules_key(self) -> str:
        return repr(cli.as_dict(self._rules))

    @cached_property
    def _segmenter(self) -> Any:
        load_backend()
        return self.run.load_network()

    @cached_property
    def _network(self) -> tuple[Any, str]:
        layer = self.layer or self.run.config.model.bottleneck
        return feature_network(self._segmenter, self.head, self.inference.sliding_window(self.run), layer)
