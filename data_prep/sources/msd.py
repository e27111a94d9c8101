"""Medical Segmentation Decathlon: `dataset.json` and NIfTI files whose fourth axis holds the channels.

Raw folders of nnU-Net are read as well: a file for each channel, `imagesTr/ID_0000.nii.gz` and `ID_0001.nii.gz`, and the label
`labelsTr/ID.nii.gz`; their `dataset.json` lists the cases or leaves it to the files.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import read_json
from common.input_files import path_of
from data_prep.labels import LabelSchema
from data_prep.scans import nifti
from data_prep.scans.case import CaseFiles, ImageRef
from data_prep.sources.base import SourceConfig, choose_channels, sorted_cases
from data_prep.sources.nifti_source import NiftiSource
from data_prep.sources.walk import passed_by, visible_files

MANIFEST = "dataset.json"
NAMES = {"flair": "flair", "t1w": "t1", "t1gd": "t1ce", "t2w": "t2"}  # lower-cased name of the Decathlon -> ours
IMAGES, LABELS, TESTS = "imagesTr", "labelsTr", "imagesTs"
FIRST = "_0000"  # end of the name of the first channel's file, in nnU-Net's folders
TASK01 = {0: "background", 1: "edema", 2: "non-enhancing tumor", 3: "enhancing tumor"}


class MsdSource(NiftiSource):
    """Source in the layout of the Medical Segmentation Decathlon."""

    layout = "msd"
    looks_for = f"a file {MANIFEST}"

    def __init__(self, root: Path, config: SourceConfig) -> None:
        super().__init__(root, config)
        path = root / MANIFEST
        manifest = read_json(path, "description of the data set")
        if not isinstance(manifest, dict):
            raise UserError(f"{path}: expected a JSON object; received {type(manifest).__name__}")
        self._all = _channels(path, manifest)
        self.channels = choose_channels(self._all, config.channels, root)
        entries = list(_entries(path, manifest))
        self._apart = any(not (root / image).exists() and _channel_file(root / image, 0).is_file() for image, _ in entries[:1])
        self.stacked = len(self._all) if len(self._all) > 1 and not self._apart else None
        self.schema = LabelSchema.load(config.labels) if config.labels != "auto" else _schema(path, manifest)
        self._cases = sorted_cases((self._case(*entry) for entry in entries), root, config.patient_pattern)

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Recognise a folder with the manifest."""
        return (root / MANIFEST).is_file()

    def source_warnings(self) -> list[str]:
        """Warning about images beside those of the cases; the tests' own folder is none of them."""
        used = {path for case in self._cases for path in case.paths}
        if self._apart:
            shown = [image.path for case in self._cases for image in case.channels.values() if image is not None]
            used |= {_channel_file(_without_number(path), place) for path in shown for place in range(len(self._all))}
        folders = [self.root / name for name in (IMAGES, LABELS) if (self.root / name).is_dir()]
        return passed_by(self.root, used, (path for folder in folders for path in visible_files(folder)))

    def _case(self, image: str, label: str | None) -> CaseFiles:
        """Case of an entry."""
        path = path_of(self.root, image)
        identifier = nifti.stem(path)
        images: dict[str, ImageRef | None] = {}
        for place, name in enumerate(self._all):
            if self._apart:
                file = _channel_file(path, place)
                images[name] = ImageRef(file) if file.exists() else None
            else:
                images[name] = ImageRef(path, place if self.stacked else None)
        return CaseFiles(
            id=identifier,
            patient=identifier,
            channels={name: images[name] for name in self.channels},
            label=None if label is None else ImageRef(path_of(self.root, label)),
        )

    def expected_file(self, files: CaseFiles, channel: str) -> str:
        """Description of the file of a missing channel: its number at the end of the name."""
        return f"expected a name ending in _{self._all.index(channel):04d}"


def _channel_file(image: Path, place: int) -> Path:
    """File of a channel of nnU-Net, of the image `ID.nii.gz`: `ID_0002.nii.gz`."""
    stem = nifti.stem(image)
    return image.parent / f"{stem}_{place:04d}{image.name[len(stem) :]}"


def _without_number(file: Path) -> Path:
    """The inverse of `_channel_file`: the image that a channel's file is of."""
    stem = nifti.stem(file)
    return file.parent / f"{stem[: -len(FIRST)]}{file.name[len(stem) :]}"


def _channels(path: Path, manifest: dict[str, Any]) -> list[str]:
    """Names of the channels in the order of the fourth axis."""
    given = manifest.get("modality", manifest.get("channel_names"))
    try:
        numbered = {int(place): str(name) for place, name in given.items()}  # type: ignore[union-attr]
    except (AttributeError, ValueError):
        numbered = {}
    names = [NAMES.get(name.lower(), name.lower()) for _, name in sorted(numbered.items())]
    if not names or sorted(numbered) != list(range(len(names))) or len(set(names)) < len(names):
        raise UserError(f'{path}: modality: expected the channels\' names, as {{"0": "FLAIR", "1": "T1w"}}; received {given!r}')
    return names


def _entries(path: Path, manifest: dict[str, Any]) -> Iterable[tuple[str, str | None]]:
    """Image and label of the training cases; without any, the images of the test cases."""
    listed = manifest.get("training") or manifest.get("test") or _found_entries(path, manifest)
    if not isinstance(listed, list) or not listed:
        raise UserError(f'{path}: training: expected a list of {{"image": ..., "label": ...}}; received {listed!r}')
    for entry in listed:
        item = {"image": entry} if isinstance(entry, str) else entry
        if not isinstance(item, dict) or not isinstance(item.get("image"), str) or not isinstance(item.get("label", ""), str):
            raise UserError(f'{path}: training: expected {{"image": ..., "label": ...}}; received {entry!r}')
        if not Path(item["image"]).name.startswith("._"):
            yield item["image"], item.get("label")


def _found_entries(path: Path, manifest: dict[str, Any]) -> list[dict[str, str]]:
    """Entries of nnU-Net's folders, whose manifest does not list them: training cases, without any those of the tests.

    Raises:
        UserError: images of another format than NIfTI.
    """
    ending = str(manifest.get("file_ending", ".nii.gz"))
    if ending not in nifti.SUFFIXES:
        raise UserError(f"{path}: file_ending: expected {' or '.join(nifti.SUFFIXES)}; received {ending!r}; convert the images")
    for folder in (IMAGES, TESTS):
        first = sorted((path.parent / folder).glob(f"*{FIRST}{ending}"))
        names = [f"{file.name.removesuffix(FIRST + ending)}{ending}" for file in first if not file.name.startswith(".")]
        entries = [{"image": f"{folder}/{name}", "label": f"{LABELS}/{name}"} for name in names]
        if entries:
            return [entry if (path.parent / entry["label"]).exists() else {"image": entry["image"]} for entry in entries]
    return []


def _schema(path: Path, manifest: dict[str, Any]) -> LabelSchema | None:
    """Label schema of the manifest: that of Task01, or one made from its names."""
    given = manifest.get("labels")
    if given is None:
        return None
    ids = _label_ids(path, given)
    if {number: name.lower().replace("tumour", "tumor") for name, number in ids.items()} == TASK01:
        return LabelSchema.load("msd_task01")
    ignore = [number for name, number in ids.items() if name == "ignore"]
    classes = {name: number for name, number in sorted(ids.items(), key=lambda item: item[1]) if name != "ignore"}
    if 0 not in classes.values():
        raise UserError(f"{path}: labels: expected id 0 for the background; received ids {sorted(ids.values())}; give --labels")
    content = {"name": str(manifest.get("name", "msd")), "classes": classes, "regions": {"foreground": list(classes)[1:]}}
    return LabelSchema.from_dict(content | {"ignore": ignore}, path)


def _label_ids(path: Path, given: Any) -> dict[str, int]:
    """Id by class name, from `{"0": "background"}` as in the Decathlon or `{"background": 0}`."""
    try:
        numbered = all(str(key).lstrip("-").isdigit() for key in given)
        turned = {str(name): int(number) for number, name in given.items()} if numbered else given
        ids = {str(name): int(number) for name, number in turned.items()}
    except (AttributeError, TypeError, ValueError):
        ids = {}
    if not ids or len(ids) < len(given):
        raise UserError(
            f'{path}: labels: expected ids and different names, as {{"0": "background", "1": "edema"}}; received {given!r}; '
            "give --labels"
        )
    return ids
