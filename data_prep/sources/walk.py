"""Walk over the files of a source, with limits, and words for files that no layout reads."""

import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from os import walk
from pathlib import Path

from common.errors import UserError
from common.input_files import FOLDER_DEPTH, FOLDER_FILES
from common.tables import counted

TOLD_AFTER = 200_000  # files, after each of which a line of progress is printed
IMAGES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr", ".hdr", ".mgh", ".mgz")  # endings of images of any format
CONVERTED = (".mha", ".mhd", ".nrrd", ".nhdr", ".mgh", ".mgz")
"""Endings of formats that are not read; SimpleITK or FreeSurfer make NIfTI of them."""
MANIFEST, NNUNET = "dataset.json", "imagesTr"
MOST_KINDS = 4  # of endings that an error names


def visible_files(root: Path) -> Iterator[Path]:
    """Files below `root` that are not hidden, sorted by folder; links are followed, each folder is visited once.

    A link to a folder that holds `root` is passed over: whatever lies there belongs to the source only by way of it.

    Raises:
        UserError: a folder cannot be read, for to pass it over would lose its patients in silence; too many files, or folders
            in folders; a name that is not UTF-8, or with a line break.
    """
    seen, found = set(), 0
    above = {(status.st_dev, status.st_ino) for status in (folder.stat() for folder in root.resolve().parents)}
    for folder, folders, names in walk(root, followlinks=True, onerror=_refuse_folder):
        status = Path(folder).stat()
        place = (status.st_dev, status.st_ino)
        if place in seen or place in above:
            folders.clear()
            continue
        seen.add(place)
        found = _counted(root, found, len(names))
        if len(Path(folder).parts) - len(root.parts) > FOLDER_DEPTH:
            raise UserError(
                f"{folder}: expected at most {FOLDER_DEPTH} folders in one another below {root}; give a folder of scans"
            )
        _refuse_undecoded(Path(folder), [*folders, *names])
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        yield from (Path(folder) / name for name in sorted(names) if not name.startswith("."))


def passed_by(root: Path, used: Collection[Path], files: Iterable[Path] | None = None) -> list[str]:
    """Warning about images of a source that belong to no case, in one line; none where there are none.

    Args:
        root: of the source.
        used: files of its cases.
        files: among which images are looked for; None: all below the root.
    """
    images = (path for path in (visible_files(root) if files is None else files) if path.name.lower().endswith(IMAGES))
    left = [path.relative_to(root).as_posix() for path in images if path not in used]
    if not left:
        return []
    was, shown = "was" if len(left) == 1 else "were", ", ".join(left[:2])
    more = f", such as {shown}" if len(left) > 2 else f": {shown}"
    return [f"{root}: {counted(len(left), 'image')} {was} passed by{more}"]


def content_words(root: Path) -> str:
    """Description of a folder of no known layout, for the end of an error: what it holds, and what to do about it."""
    if (root / NNUNET).is_dir():
        return f"; it has {NNUNET}, as nnU-Net's folders: add their {MANIFEST}"
    inner = sorted(path.parent.name for path in root.glob(f"*/{MANIFEST}"))
    if inner:
        return f"; give one of its folders with {MANIFEST}: {', '.join(inner[:3])}{' ...' if len(inner) > 3 else ''}"
    kinds: Counter[str] = Counter()
    examples: dict[str, Path] = {}
    for path in visible_files(root):
        ending = ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()
        kinds[ending] += 1
        examples.setdefault(ending, path)
    if not kinds:
        return "; it holds no files"
    listed = ", ".join(f"{count} {ending or 'without ending'}" for ending, count in kinds.most_common(MOST_KINDS))
    converted = next((ending for ending, _ in kinds.most_common() if ending in CONVERTED), None)
    if converted:
        example = examples[converted].name
        return f"; it holds other files: {listed}; convert {example} and the like to NIfTI (SimpleITK: ReadImage, WriteImage)"
    shown = examples[kinds.most_common(1)[0][0]].relative_to(root).as_posix()
    return f"; it holds other files: {listed}, such as {shown}; rename them, or name them in a table"


def _counted(root: Path, before: int, more: int) -> int:
    """Number of files walked so far, printed now and then, for a walk that does not end looks like one that hangs.

    Raises:
        UserError: there are too many.
    """
    found = before + more
    if found > FOLDER_FILES:
        raise UserError(f"{root}: expected a folder of scans with at most {FOLDER_FILES} files below it; received more")
    if found // TOLD_AFTER > before // TOLD_AFTER:
        print(f"{root}: {found} files so far", file=sys.stderr, flush=True)
    return found


def _refuse_undecoded(folder: Path, names: Iterable[str]) -> None:
    """Refuse names that are not UTF-8, or with a line break, which no manifest, list or message can hold."""
    for name in names:
        if "\n" in name or "\r" in name:
            raise UserError(f"{folder}: expected names of files without line breaks; received {name!r}; rename it")
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            shown = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
            raise UserError(f"{folder}: expected names of files in UTF-8; received {shown}; rename it")


def _refuse_folder(error: OSError) -> None:
    raise UserError(f"{error.filename}: folder cannot be read ({error.strerror})") from None
