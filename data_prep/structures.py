"""Scored structures of a label schema: regions, classes and their means; and the tree of nested regions."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from data_prep.labels import LabelSchema


@dataclass(frozen=True)
class Structure:
    """Set of classes that is scored as one, or a mean over such sets.

    Attributes:
        kind: "region" (named union of classes), "class", or "mean" (mean of the scores of several structures).
        name: of the region, class or mean.
        members: sorted indices of the classes whose union it is; empty for a mean.
    """

    kind: Literal["region", "class", "mean"]
    name: str
    members: tuple[int, ...] = ()

    @property
    def title(self) -> str:
        """Display name: `WT (region)`, `edema (class)`, `class mean`."""
        return self.name.replace("_", " ") if self.kind == "mean" else f"{self.name} ({self.kind})"


CLASS_MEAN = Structure("mean", "class_mean")
REGION_MEAN = Structure("mean", "region_mean")
MEAN_WITH_BACKGROUND = Structure("mean", "class_mean_with_background")


def scored_structures(schema: LabelSchema) -> list[Structure]:
    """Structures that are scored: the regions, the foreground classes, and last the class mean."""
    regions = [
        Structure("region", name, tuple(sorted(members))) for name, members in schema.region_indices().items() if members
    ]
    return [*regions, *_classes(schema)[1:], CLASS_MEAN]


def background_structures(schema: LabelSchema) -> list[Structure]:
    """Structures that take background in: the class background, and the mean over all classes."""
    return [_classes(schema)[0], MEAN_WITH_BACKGROUND]


def averaged(mean: Structure, schema: LabelSchema) -> list[Structure]:
    """Structures whose scores a mean averages; the structure itself where it is no mean."""
    if mean.kind != "mean":
        return [mean]
    if mean == REGION_MEAN:
        return [structure for structure in scored_structures(schema) if structure.kind == "region"]
    return _classes(schema)[0 if mean == MEAN_WITH_BACKGROUND else 1 :]


def structures_by_name(schema: LabelSchema) -> dict[str, Structure]:
    """Structures by name, as options name them; of a region and a class of one name, the region.

    `region_mean` is among them where the schema has regions.
    """
    scored = scored_structures(schema)
    means = [REGION_MEAN] if any(structure.kind == "region" for structure in scored) else []
    named: dict[str, Structure] = {}
    for structure in [*scored, *means]:
        named.setdefault(structure.name, structure)
    return named


def class_names(structure: Structure, schema: LabelSchema) -> tuple[str, ...]:
    """Sorted names of the classes that a structure is made of, or that a mean averages over."""
    members = {member for part in averaged(structure, schema) for member in part.members}
    return tuple(sorted(schema.class_names[member] for member in members))


def distinct(structures: Iterable[Structure]) -> dict[Structure, list[Structure]]:
    """Structures without those that repeat an earlier one: structure -> others of the same voxels.

    The class mean repeats the class where there is only one; whether there is, is read off the structures given.
    """
    groups: dict[tuple[int, ...], Structure] = {}
    found: dict[Structure, list[Structure]] = {}
    listed = list(structures)
    single = {structure.members for structure in listed if structure.kind == "class" and 0 not in structure.members}
    for structure in listed:
        members = structure.members
        if structure == CLASS_MEAN and len(single) == 1:
            (members,) = single
        first = groups.setdefault(members, structure) if members else structure
        if first == structure:
            found[structure] = []
        else:
            found[first].append(structure)
    return found


def repeated_note(groups: dict[Structure, list[Structure]]) -> list[str]:
    """Note that names the structures that a table leaves out because they repeat another one; empty without any."""
    same = [f"{', '.join(other.title for other in others)} = {first.title}" for first, others in groups.items() if others]
    return [f"Equal structures are printed once: {'; '.join(same)}."] if same else []


@dataclass(frozen=True)
class NestedRegion:
    """Region of the region tree, with its parent, the region around it.

    Attributes:
        name: of the region.
        members: sorted indices of its classes.
        parent: name of the smallest region that holds it and more; None where there is none.
        replacement: index of the class that its voxels become when taken out of it: a class of `parent`, or background.
        innermost: True where it holds no other region.
    """

    name: str
    members: tuple[int, ...]
    parent: str | None
    replacement: int
    innermost: bool


def region_tree(schema: LabelSchema) -> list[NestedRegion]:
    """Regions of a schema from the outermost to the innermost, each with the region around it.

    Where several classes of the parent could be the replacement, it is the last in the schema's order, which names classes from
    the outside in: enhancing tumour that is none becomes non-enhancing tumour rather than necrosis, and the core that is none
    edema. Regions that take in background are left out; of regions of the same classes the first stays.
    """
    names: dict[frozenset[int], str] = {}
    for name, members in schema.region_indices().items():
        if members and 0 not in members:
            names.setdefault(frozenset(members), name)
    depth = {members: sum(other > members for other in names) for members in names}
    tree = []
    for inner in sorted(names, key=lambda members: depth[members]):
        parent = min((other for other in names if other > inner), key=len, default=None)
        tree.append(
            NestedRegion(
                name=names[inner],
                members=tuple(sorted(inner)),
                parent=None if parent is None else names[parent],
                replacement=0 if parent is None else max(parent - inner),
                innermost=not any(other < inner for other in names),
            )
        )
    return tree


def _classes(schema: LabelSchema) -> list[Structure]:
    return [Structure("class", name, (c,)) for c, name in enumerate(schema.class_names)]
