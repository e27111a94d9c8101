"""Display names of runs and scores in legends, headings and tables, and families of names."""

from collections.abc import Sequence
from pathlib import Path

from common.errors import UserError
from evaluation.inference.predictions import SCORES


def names_of(option: str, folders: Sequence[Path], given: Sequence[str] | None, least: int | None = None) -> list[str]:
    """Display names of folders: those given, or the shortest ends of the paths that differ.

    Args:
        option: name of the option that lists the folders, without dashes, for errors.
        folders: at least one.
        given: a name for each, in the same order; None: by their paths.
        least: number of different names that are needed at least; None: all differ.

    Raises:
        UserError: names that are not as many or not different, or a folder twice.
    """
    # Folders of scores, P/scores and RUN/scores_SUBSET, have the name of the folder that they are in.
    parts = [folder.resolve().parts for folder in folders]
    plain = [each[:-1] if each[-1] == SCORES else each for each in parts]
    if len(set(plain)) < len(plain):
        raise UserError(f"--{option}: expected different folders; received one of them twice")
    if given is not None:
        if len(given) != len(folders) or len(set(given)) < (least or len(given)):
            expected = (
                f"{len(folders)} different names" if least is None else f"{len(folders)} names, {least} of them different"
            )
            raise UserError(f"--names: expected {expected}; received {', '.join(given)}; give one for each of --{option}")
        if len(set(numbered(given))) < len(given):
            raise UserError(f"--names: expected none like the number of another set; received {', '.join(given)}")
        return list(given)
    owners = [each[:-1] if each[-1].startswith(f"{SCORES}_") else each for each in plain]
    distinct = owners if len(set(owners)) == len(owners) else plain  # two subsets of one run differ
    depths = range(1, max(map(len, distinct)) + 1)
    candidates = (["/".join(each[-depth:]) for each in distinct] for depth in depths)
    return next(names for names in candidates if len(set(names)) == len(names))


def numbered(names: Sequence[str]) -> list[str]:
    """Names, with numbers where one is given several times: b, d, d are b, d (1), d (2)."""
    places = [list(names[: place + 1]).count(name) for place, name in enumerate(names)]
    return [f"{name} ({place})" if names.count(name) > 1 else name for name, place in zip(names, places, strict=True)]


def families(names: Sequence[str]) -> list[tuple[int, int]]:
    """Families of names: a name that begins with another one and goes on with a new word is its variant.

    So "Model 1 with augmentation" belongs to "Model 1", `model1_augmented` to `model1`, but `run10` not to `run1`.

    Returns:
        (family, variant) of each name, families numbered in the order of the names, variants 0 for the name that the others
        begin with, then in the order of the names.
    """
    bases = []
    for name in names:
        longer = [base for base in names if name.startswith(base) and name != base and not name[len(base)].isalnum()]
        bases.append(min([name, *longer], key=len))
    order = list(dict.fromkeys(bases))
    members = {base: [base] + [n for n, b in zip(names, bases, strict=True) if b == base and n != base] for base in order}
    return [(order.index(base), members[base].index(name)) for name, base in zip(names, bases, strict=True)]
