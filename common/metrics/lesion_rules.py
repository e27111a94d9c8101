"""Lesion rules of challenges as data: components, merging, matching, thresholds, penalties and means, by year and task.

A lesion-wise score means nothing without the rule and its version: on the same files, two releases of one tool gave a Dice of
0.838 and 0.736. `docs/metrics.md` has the table of all rules. Sources:

* BraTS 2023: code of https://github.com/rachitsaluja/BraTS-2023-Metrics
* BraTS 2024: code of https://github.com/rachitsaluja/BraTS-2024-Metrics, a file per task. Files changed their rule under way:
  `metrics_MEN_RT.py` merges no prediction at commit 93f6399, and does at bc6308f. So a version names file and commit.
* BraTS 2026: behaviour of `brats-evaluation` 0.0.10 (on panoptica 2.1.7), re-stated from its outputs
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

CONNECTIVITY = 26  # neighbours over faces, edges and corners, in every rule
CLASS_REGIONS = {
    "NETC": "non-enhancing tumor",
    "SNFH": "edema",
    "RC": "resection cavity",
    "ET": "enhancing tumor",
    "CC": "cystic component",
    "ED": "edema",
}
"""Region of a rule -> class of the label schemas that it is, where a schema has no region of this name."""


@dataclass(frozen=True, kw_only=True)
class LesionRule:
    """Lesion rule of one task of a challenge.

    Attributes:
        name: key in options and files, such as `brats2023-met`.
        challenge, year, task: as the organisers name them.
        version: of the official code that the rule describes.
        regions: that the challenge ranks, and that the rule is computed for; their classes are those of the label schema.
        dilation: of the truth before components are sought, in steps of the 18-neighbourhood; what touches then is one lesion.
        threshold_mm3: volume up to which a true lesion is not counted; `inclusive`: a lesion of just this volume is counted.
        exceptions: (region, dilation, threshold) where a region has others.
        matching: "dilated": every predicted lesion that touches the dilated true lesion belongs to it, perhaps to others too;
            "one-to-one": pairs that overlap, with the largest sum of Dice (Kuhn, 1955).
        merge_prediction: predicted components are merged by the same dilation.
        drop_small: predicted lesions up to the threshold are removed first, counted in voxels or in mm3.
        average: "lesions": over counted true lesions and, with `count_false`, false positives; "matched": over matched pairs.
        count_false: false positives are in the mean, with Dice 0 and HD95 `penalty_mm`.
        needs_truth: without a counted true lesion there is no value (NaN), whatever was predicted.
        empty_is_perfect: without any lesion in both, Dice is 1 and HD95 0; otherwise there is no value (NaN).
        penalty_mm: HD95 of a missed or false lesion; None: the diagonal of the array, in voxels.
        hd95, nsd: definition of HD95 and of NSD. "surface": surface elements and areas (`common.metrics.surface`); "border":
            border voxels, for HD95 both directions pooled, for NSD their mean (`common.metrics.borders`).
        tolerance_mm: of the NSD; None: the smallest spacing.
        further_tolerances_mm: of further NSDs.
        least_dice: Dice below which a matched lesion is a miss in F1 of large and of small lesions.
        large_mm3: volume from which a lesion is large; None: the rule does not divide them.
        reversed_spacing: spacing is applied in reversed order of axes, a defect of the official code.
        note: differences from the official code, and what the rule leaves open.
    """

    name: str
    challenge: str = "BraTS"
    year: int
    task: str
    version: str
    regions: tuple[str, ...] = ("WT", "TC", "ET")
    dilation: int = 0
    threshold_mm3: float = 0.0
    inclusive: bool = False
    exceptions: tuple[tuple[str, int, float], ...] = ()
    matching: Literal["dilated", "one-to-one"] = "dilated"
    merge_prediction: bool = False
    drop_small: Literal["", "voxels", "mm3"] = ""
    average: Literal["lesions", "matched"] = "lesions"
    count_false: bool = True
    needs_truth: bool = False
    empty_is_perfect: bool = True
    penalty_mm: float | None = 374.0
    hd95: Literal["surface", "border"] = "surface"
    nsd: Literal["surface", "border"] = "surface"
    tolerance_mm: float | None = 1.0
    further_tolerances_mm: tuple[float, ...] = ()
    least_dice: float = 0.0
    large_mm3: float | None = None
    reversed_spacing: bool = False
    note: str = ""

    def of_region(self, region: str) -> "LesionRule":
        """Rule with the dilation and threshold of a region, by its name in any case, or by that of its class."""
        for name, dilation, threshold in self.exceptions:
            if name == region.upper() or CLASS_REGIONS.get(name) == region:
                return replace(self, dilation=dilation, threshold_mm3=threshold, exceptions=())
        return self

    def counts(self, volume_mm3: float) -> bool:
        """True for a true lesion of a volume that is counted."""
        return volume_mm3 >= self.threshold_mm3 if self.inclusive else volume_mm3 > self.threshold_mm3

    def detects(self, volume_mm3: float) -> bool:
        """True for a true lesion of a volume that F1 and sensitivity take in: counted ones, or all where sizes are divided."""
        return self.large_mm3 is not None or self.counts(volume_mm3)

    @property
    def tolerances_mm(self) -> dict[str, float | None]:
        """NSDs by name, with their tolerances: `nsd`, and such as `nsd_05mm`; None: the smallest spacing."""
        further = {f"nsd_{f'{each:g}'.replace('.', '')}mm": each for each in self.further_tolerances_mm}
        return {"nsd": self.tolerance_mm, **further}

    def facts(self) -> dict[str, Any]:
        """Entry of a manifest: all attributes and the connectivity."""
        return asdict(self) | {
            "regions": list(self.regions),
            "further_tolerances_mm": list(self.further_tolerances_mm),
            "exceptions": [list(each) for each in self.exceptions],
            "connectivity": CONNECTIVITY,
        }

    @property
    def title(self) -> str:
        """Challenge, task and version in words: `BraTS 2023 MET (BraTS-2023-Metrics, metrics.py)`."""
        official = ", spacing as the official tool applies it" if self.reversed_spacing else ""
        return f"{self.challenge} {self.year} {self.task} ({self.version}{official})"


def _brats2023(task: str, dilation: int, threshold_mm3: float) -> LesionRule:
    return LesionRule(
        name=f"brats2023-{task.lower()}",
        year=2023,
        task=task,
        version="BraTS-2023-Metrics, metrics.py",
        dilation=dilation,
        threshold_mm3=threshold_mm3,
        note="NSD (by surface area, 1 mm) is not in the challenge's code; missed and false lesions count 0.",
    )


_BRATS2024 = LesionRule(
    name="brats2024",
    year=2024,
    task="",
    version="",
    merge_prediction=True,
    drop_small="voxels",
    nsd="border",
    further_tolerances_mm=(0.5,),
    note="HD95 by surface area, NSD as the mean of both directions' shares of border voxels within 1 mm and 0.5 mm.",
)
_JOINED = " The official code also joins lesions of {} that touch one lesion of another tissue; here each region stands alone."


def _brats2024(task: str, joined: str = "", version: str = "at 9e8879a", **values: Any) -> LesionRule:
    """Rule of a task; its file was read at this commit, or, where no commit is known, in its last version."""
    note = _BRATS2024.note + (_JOINED.format(joined) if joined else "")
    file = f"metrics_{task.replace('-', '_')}.py"
    name, version = f"brats2024-{task.lower()}", f"BraTS-2024-Metrics, {file} {version}"
    return replace(_BRATS2024, name=name, task=task, version=version, note=note, **values)


_BRATS2026 = LesionRule(
    name="brats2026",
    year=2026,
    task="",
    version="brats-evaluation 0.0.10",
    matching="one-to-one",
    average="matched",
    empty_is_perfect=False,
    penalty_mm=373.0,
    hd95="border",
    nsd="border",
    tolerance_mm=None,
    note="Where nothing is matched, HD95 is infinite in the official output, and so is every mean over patients; here it is "
    "373 mm, as on the leaderboard for the whole region. F1, sensitivity and false positives are of all lesions.",
)


def _brats2026(task: str, regions: tuple[str, ...], **values: Any) -> list[LesionRule]:
    """Rule of a task with the spacing in the right order of axes, and as the official tool applies it."""
    right = replace(_BRATS2026, name=f"brats2026-{task.lower()}", task=task, regions=regions, **values)
    return [right, replace(right, name=f"{right.name}-official", reversed_spacing=True)]


_ALL = (
    _brats2023("GLI", 3, 50.0),
    _brats2023("SSA", 3, 50.0),
    _brats2023("PED", 3, 50.0),
    _brats2023("MEN", 1, 50.0),
    _brats2023("MET", 1, 2.0),
    _brats2024(
        "GLI",
        joined="ET, NETC, SNFH and RC",
        regions=("WT", "TC", "NETC", "SNFH", "ET", "RC"),
        dilation=3,
        threshold_mm3=20.0,
        exceptions=(("ET", 3, 10.0), ("NETC", 5, 20.0), ("RC", 5, 20.0)),
        penalty_mm=337.0,
    ),
    _brats2024(
        "MET",
        joined="each tissue, and those of WT and TC over them,",
        version="of 2024",
        regions=("WT", "TC", "ET", "RC"),
        dilation=1,
        threshold_mm3=2.0,
        penalty_mm=None,
    ),
    _brats2024("MEN", dilation=1, threshold_mm3=50.0, merge_prediction=False, drop_small=""),
    _brats2024(
        "MEN-RT",
        regions=("GTV",),
        dilation=1,
        threshold_mm3=50.0,
        drop_small="mm3",
        count_false=False,
        penalty_mm=None,
    ),
    _brats2024("PED", regions=("WT", "TC", "ET", "NETC", "CC", "ED"), dilation=5, threshold_mm3=10.0),
    _brats2024("SSA", joined="ET", version="of 2024", dilation=3, threshold_mm3=50.0),
    *_brats2026("gli", ("SNFH", "ET", "NETC", "RC", "TC", "WT")),
    *_brats2026(
        "mets",
        ("ET", "RC", "TC", "WT"),
        threshold_mm3=20.0,
        inclusive=True,
        average="lesions",
        needs_truth=True,
        least_dice=0.1,
        large_mm3=20.0,
        note="Means are over large lesions (20 mm3 or more) of truth and false positives of any size; F1 of large and of small "
        "lesions both count all false positives, and a match of a Dice below 0.1 is a miss in them, while its Dice stays in "
        "the mean.",
    ),
    *_brats2026("ped", ("ET", "NETC", "CC", "ED", "TC", "WT")),
    *_brats2026("MenRT", ("GTV",)),
)
LESION_RULES: dict[str, LesionRule] = {rule.name: rule for rule in _ALL}
"""Name -> rule."""
