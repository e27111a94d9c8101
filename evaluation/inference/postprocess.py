"""Post-processing of class probabilities to a segmentation: thresholds, connected components, small structures.

The order is: threshold, hysteresis, largest component, small components, rules on whole structures, holes.
Components are three-dimensional and joined over faces, edges and corners (26 neighbours). All counts are of voxels of one case.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common import cli
from common.boxes import foreground_box
from common.configs import find_config
from common.errors import UserError
from common.files import read_yaml, write_yaml
from common.metrics.components import label_components
from common.metrics.masks import class_mask
from data_prep.labels import LabelSchema
from data_prep.structures import Structure, structures_by_name
from training.run import Run

FILE = "postprocess.yaml"
CHOSEN = "chosen"  # key of the file with the search that found the config; it is no option
FOREGROUND = "foreground"  # every class but background, whatever a schema calls it


@dataclass(kw_only=True)
class ReplaceRule:
    """Rule that replaces a structure by another class in cases that have little of it."""

    structure: str
    """Region or class of the schema."""
    below_voxels: int
    """The rule holds where the structure has fewer voxels than this in the whole case."""
    by: str
    """Class that all of the structure's voxels become."""


@dataclass(kw_only=True)
class HysteresisRule:
    """Rule of two thresholds on a structure's probability, the sum of its classes' (Canny, 1986, section VI).

    The structure is made of the components of voxels that reach `low` and hold a voxel that reaches `high`. Voxels that join
    it take its most probable class; those that leave it become the class `becomes`. A structure that is not all of the
    foreground grows inside the foreground alone.
    """

    structure: str
    """Region or class of the schema, or foreground."""
    low: float
    """Probability that every voxel reaches."""
    high: float
    """Probability that the peak of each component reaches."""
    becomes: str
    """Class of the voxels that leave the structure."""


@dataclass
class PostprocessConfig:
    """Post-processing of probabilities. The defaults change nothing: every voxel has its most probable class."""

    threshold: float | None = None
    """Foreground probability (1 minus that of background) from which a voxel is foreground, of the most probable foreground
    class; null: the most probable of all classes, which with two classes is a threshold of 0.5."""
    largest: bool = False
    """Keep only the largest connected component of the foreground; other components become background."""
    hysteresis: list[HysteresisRule] = field(default_factory=list)
    """Rules of two thresholds, such as [{structure: foreground, low: 0.3, high: 0.8, becomes: background}]; done after the
    threshold and in this order."""
    least_voxels: dict[str, int] = field(default_factory=dict)
    """Structure (region or class of the schema, or foreground) and the voxels that its connected components need to be kept,
    such as {WT: 100, ET: 20}; done in this order."""
    becomes: dict[str, str] = field(default_factory=dict)
    """Structure of least_voxels and the class that its removed components become, such as {ET: non-enhancing tumor}; those
    that are not named become background."""
    replace: list[ReplaceRule] = field(default_factory=list)
    """Rules on a structure's voxels in the whole case, such as [{structure: ET, below_voxels: 200, by: non-enhancing tumor}];
    done in this order."""
    fill_holes: str | None = None
    """Class that background becomes where foreground encloses it in its slice, such as dark cysts; null: none. Done last."""

    @property
    def needs_probabilities(self) -> bool:
        """False where the most probable classes are enough."""
        return self.threshold is not None or bool(self.hysteresis)

    def check(self, schema: LabelSchema) -> None:
        """Refuse numbers out of range, and names that the schema does not have.

        Raises:
            UserError: names the option and the expected values.
        """
        _expect("threshold", "0 to 1", self.threshold, self.threshold is None or 0 <= self.threshold <= 1)
        for place, hysteresis in enumerate(self.hysteresis):
            option = f"hysteresis[{place}]"
            members(hysteresis.structure, schema, f"{option}.structure")
            _expect(f"{option}.high", "0 to 1", hysteresis.high, 0 <= hysteresis.high <= 1)
            _expect(f"{option}.low", "0 up to high", hysteresis.low, 0 < hysteresis.low <= hysteresis.high)
            _check_target(f"{option}.becomes", hysteresis.becomes, hysteresis.structure, schema)
        for name, least in self.least_voxels.items():
            members(name, schema, "least_voxels")
            _expect(f"least_voxels.{name}", "at least 0 voxels", least, least >= 0)
        for name, target in self.becomes.items():
            _expect("becomes", "structures that least_voxels names", name, name in self.least_voxels)
            _check_target(f"becomes.{name}", target, name, schema)
        for place, rule in enumerate(self.replace):
            members(rule.structure, schema, f"replace[{place}].structure")
            _expect(f"replace[{place}].below_voxels", "at least 0 voxels", rule.below_voxels, rule.below_voxels >= 0)
            _check_target(f"replace[{place}].by", rule.by, rule.structure, schema)
        if self.fill_holes is not None:
            wanted = schema.class_names[1:]
            _expect("fill_holes", f"one of {', '.join(wanted)}", self.fill_holes, self.fill_holes in wanted)


def members(name: str, schema: LabelSchema, option: str) -> list[int]:
    """Indices of the classes that a structure unites: `foreground`, or else a region, or else a class.

    Args:
        name: of the structure.
        schema: of the classes.
        option: where the name stands, for the error.

    Raises:
        UserError: no such structure, or one that takes background in.
    """
    structures = structures_by_name(schema) | {FOREGROUND: Structure("class", FOREGROUND, tuple(range(1, len(schema.classes))))}
    fitting = [known for known, structure in structures.items() if structure.members and 0 not in structure.members]
    _expect(option, f"one of {', '.join(fitting)}", name, name in fitting)
    return list(structures[name].members)


def apply(
    config: PostprocessConfig, probabilities: np.ndarray, schema: LabelSchema, inside: np.ndarray | None = None
) -> np.ndarray:
    """Segment a volume by its class probabilities.

    Args:
        config: checked.
        probabilities: (Z, H, W, classes) float32.
        schema: of the classes.
        inside: as of `apply_classes`.

    Returns:
        (Z, H, W) uint8, class indices.
    """
    classes = threshold_classes(probabilities, config.threshold)
    if inside is not None:
        classes[~inside] = 0
    for rule in config.hysteresis:
        own = members(rule.structure, schema, "hysteresis")
        probability = structure_probability(probabilities, own)
        low, high = (probability >= np.float32(level) for level in (rule.low, rule.high))
        if inside is not None:
            low &= inside
        best = np.array(own, np.uint8)[probabilities[..., own].argmax(axis=-1)]
        classes = apply_hysteresis(rule, classes, low, high, best, schema)
    return apply_classes(config, classes, schema)


def structure_probability(probabilities: np.ndarray, structure: Sequence[int]) -> np.ndarray:
    """Probability (Z, H, W) float32 of a structure, the sum of its classes'; of the whole foreground 1 minus background's."""
    if len(structure) == probabilities.shape[-1] - 1:
        return np.float32(1) - probabilities[..., 0]
    total: np.ndarray = probabilities[..., list(structure)].sum(axis=-1, dtype=np.float32)
    return total


def apply_hysteresis(
    rule: HysteresisRule,
    classes: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    best: np.ndarray,
    schema: LabelSchema,
) -> np.ndarray:
    """Apply a hysteresis rule to class indices.

    Args:
        rule: checked.
        classes: (Z, H, W) uint8; left as they are.
        low, high: (Z, H, W) bool, where the structure's probability reaches the rule's thresholds.
        best: (Z, H, W) uint8, most probable of the structure's classes.
        schema: of the classes.

    Returns:
        (Z, H, W) uint8, a new array.
    """
    own = members(rule.structure, schema, "hysteresis")
    if len(own) < len(schema.classes) - 1:
        low = low & (classes > 0)
    box = foreground_box(low)
    labels, count = label_components(low[box])
    peaked = np.zeros(count + 1, bool)
    peaked[labels[high[box]]] = True
    peaked[0] = False
    kept = np.zeros(classes.shape, bool)
    kept[box] = peaked[labels]
    before = class_mask(classes, own)
    found = np.where(kept & ~before, best, classes)
    found[before & ~kept] = schema.class_names.index(rule.becomes)
    return found


def threshold_classes(probabilities: np.ndarray, threshold: float | None) -> np.ndarray:
    """Class indices (Z, H, W) uint8 of probabilities (Z, H, W, classes), by `PostprocessConfig.threshold`."""
    if threshold is None:
        return probabilities.argmax(axis=-1).astype(np.uint8)
    classes = probabilities[..., 1:].argmax(axis=-1).astype(np.uint8) + np.uint8(1)
    classes[1 - probabilities[..., 0] < threshold] = 0
    return classes


def apply_classes(
    config: PostprocessConfig, classes: np.ndarray, schema: LabelSchema, inside: np.ndarray | None = None
) -> np.ndarray:
    """Post-process class indices: all rules of a config but threshold and hysteresis.

    Args:
        config: checked.
        classes: (Z, H, W) uint8, class indices; left as they are.
        schema: of the classes.
        inside: (Z, H, W) bool, False where there can only be background, such as outside a skull-stripped head; it counts
            before components are sought.

    Returns:
        (Z, H, W) uint8, class indices, a new array.
    """
    found = classes.astype(np.uint8, copy=True)
    if inside is not None:
        found[~inside] = 0
    part = found[foreground_box(found > 0)]  # a view: changes of it change the volume
    if config.largest:
        _keep_largest(part)
    for name, least in config.least_voxels.items():
        target = schema.class_names.index(config.becomes.get(name, schema.class_names[0]))
        _remove_small(part, members(name, schema, "least_voxels"), least, target)
    for rule in config.replace:
        mask = class_mask(part, members(rule.structure, schema, "replace"))
        if np.count_nonzero(mask) < rule.below_voxels:
            part[mask] = schema.class_names.index(rule.by)
    if config.fill_holes is not None:
        _fill_holes(part, schema.class_names.index(config.fill_holes))
    return found


def describe(setting: PostprocessConfig) -> str:
    """Description of a setting in words."""
    parts = [] if setting.threshold is None else [f"threshold {setting.threshold:g}"]
    parts += [f"{rule.structure} from {rule.low:g} with a peak of {rule.high:g}" for rule in setting.hysteresis]
    parts += ["largest component"] if setting.largest else []
    for name, least in setting.least_voxels.items():
        target = f" (smaller ones become {setting.becomes[name]})" if name in setting.becomes else ""
        parts.append(f"components of {name} of {least} voxels or more{target}")
    parts += [f"{rule.structure} of fewer than {rule.below_voxels} voxels becomes {rule.by}" for rule in setting.replace]
    parts += [] if setting.fill_holes is None else [f"holes filled with {setting.fill_holes}"]
    return ", ".join(parts) or "no post-processing"


def choice_of(path: Path) -> dict[str, Any]:
    """Choice of the settings of a file, its entry `chosen`: metric, patients and the like; empty without one."""
    values = read_yaml(find_config(path, "post-processing", among="postprocess"), "post-processing")
    chosen = values.get(CHOSEN) if isinstance(values, dict) else None
    return chosen if isinstance(chosen, dict) else {}


def run_file(run: Run, head: str, file: str = FILE) -> Path:
    """File of a head's post-processing in a run's folder: postprocess.yaml, or postprocess_HEAD.yaml of several heads."""
    voxels = [name for name, each in run.heads.items() if each.per_voxel]
    return run.path / (file if len(voxels) < 2 else f"{Path(file).stem}_{head}{Path(file).suffix}")


def load(run: Run, head: str) -> PostprocessConfig:
    """The post-processing of a head that a run's folder holds, the default where it holds none.

    Raises:
        UserError: the file is damaged, or has an unknown key.
    """
    path = run_file(run, head)
    return load_file(path) if path.is_file() else PostprocessConfig()


def load_file(path: Path) -> PostprocessConfig:
    """The post-processing of a YAML file, given by its path or the name of a shipped one; its entry `chosen` is passed over.

    Raises:
        UserError: no such file, a damaged one, or an unknown key.
    """
    path = find_config(path, "post-processing", among="postprocess")
    values = read_yaml(path, "post-processing")
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{path}: expected post-processing: a YAML mapping of options to values")
    options = {key: value for key, value in values.items() if key != CHOSEN}
    config: PostprocessConfig = cli.from_dict(PostprocessConfig, options, path)
    return config


def save(run: Run, head: str, config: PostprocessConfig, how: dict[str, Any]) -> Path:
    """Write the post-processing of a head into a run's folder, with how it was chosen under `chosen`; returns the file."""
    path = run_file(run, head)
    write_yaml(path, cli.as_dict(config) | {CHOSEN: cli.as_dict(how)})
    return path


def _keep_largest(classes: np.ndarray) -> None:
    """Leave the foreground's largest component alone, in place; of equal ones the first."""
    labels, count = label_components(classes > 0)
    if count > 1:
        classes[labels != _sizes(labels, count)[1:].argmax() + 1] = 0


def _remove_small(classes: np.ndarray, structure: Sequence[int], least: int, target: int) -> None:
    """Turn a structure's components of fewer than `least` voxels into the class `target`, in place."""
    labels, count = label_components(class_mask(classes, structure))
    small = _sizes(labels, count) < least
    small[0] = False
    if small.any():
        classes[small[labels]] = target


def _fill_holes(classes: np.ndarray, target: int) -> None:
    """Turn background that is enclosed in its slice, joined over edges of pixels alone, into the class `target`, in place."""
    from scipy.ndimage import binary_fill_holes

    for picture in classes:
        foreground = picture > 0
        if foreground.any():
            picture[binary_fill_holes(foreground) & ~foreground] = target


def _sizes(labels: np.ndarray, count: int) -> np.ndarray:
    """Voxels of each component (count + 1,), those outside all first."""
    return np.bincount(labels.ravel(), minlength=count + 1)


def _check_target(option: str, target: str, structure: str, schema: LabelSchema) -> None:
    """Refuse an unknown class, or one that belongs to the structure whose voxels it would take."""
    taken = members(structure, schema, option)
    fitting = [name for c, name in enumerate(schema.class_names) if c not in taken]
    _expect(option, f"a class outside {structure}, one of {', '.join(fitting)}", target, target in fitting)


def _expect(option: str, wanted: str, received: Any, fits: bool) -> None:
    if not fits:
        raise UserError(f"postprocess.{option}: expected {wanted}; received {received}")
