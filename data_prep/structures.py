"""Which regions of a schema lie inside which, and which class a voxel becomes that is taken out of one."""

from dataclasses import dataclass

from data_prep.labels import LabelSchema


@dataclass(frozen=True)
class NestedRegion:
    """A region and what surrounds it.

    Attributes:
        name: the region's.
        members: indices of its classes.
        around: the smallest region that holds it and more; None where there is none.
        stand_in: index of the class that its voxels become when they are taken out of it: a class of `around`, or background.
        innermost: whether it holds no other region.
    """

    name: str
    members: tuple[int, ...]
    around: str | None
    stand_in: int
    innermost: bool


def nested_regions(schema: LabelSchema) -> list[NestedRegion]:
    """The regions of a schema, from the outermost to the innermost.

    Where several classes of the region around could stand in, it is the last in the schema's order, which names classes from
    the outside in: enhancing tumour that is none becomes non-enhancing tumour rather than necrosis, and the core that is none
    edema. Regions that take in background are left out; of regions of the same classes the first stays.
    """
    found: dict[frozenset[int], str] = {}
    for name, members in schema.region_indices().items():
        if members and 0 not in members:
            found.setdefault(frozenset(members), name)
    depth = {members: sum(other > members for other in found) for members in found}
    return [_placed(members, found) for members in sorted(found, key=lambda members: depth[members])]


def _placed(members: frozenset[int], found: dict[frozenset[int], str]) -> NestedRegion:
    holding = [other for other in found if other > members]
    around = min(holding, key=len, default=None)
    return NestedRegion(
        name=found[members],
        members=tuple(sorted(members)),
        around=None if around is None else found[around],
        stand_in=0 if around is None else max(around - members),
        innermost=not any(other < members for other in found),
    )
