"""Lesions of a case under a rule, and the structures of a schema that the rule's regions are."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import UserError
from common.metrics.label_pair import StructurePair
from common.metrics.lesion_rules import CLASS_REGIONS, LESION_RULES, LesionRule
from data_prep.labels import LabelSchema
from data_prep.structures import Structure, scored_structures

WHOLE_TUMOUR = ("WT", "GTV")


@dataclass(frozen=True)
class LesionScores:
    """Lesion of truth, or false positive, in one case under one rule; a row of per_lesion.csv.

    Attributes:
        structure: that the lesion is of.
        rule: name.
        true: False for a false positive.
        counted: the rule counts a lesion of this volume.
        volume_mm3: of the lesion.
        matched: a predicted lesion belongs to it.
        dice, hd95, nsd: with the predicted lesions that belong to it; of a missed or false one the rule's worst values.
    """

    structure: Structure
    rule: str
    true: bool
    counted: bool
    volume_mm3: float
    matched: bool
    dice: float
    hd95: float
    nsd: float


def rule_structures(rule: LesionRule, structures: Sequence[Structure]) -> dict[str, Structure]:
    """Structures that a lesion rule is computed for: region of the rule -> region of that name, or class that it is.

    A schema with a single class besides background has it as the whole tumour (WT, or GTV), whatever its name is. Empty where
    the schema has none of the regions.

    Args:
        rule: of a task.
        structures: `scored_structures` of a schema.
    """
    regions = {structure.name.upper(): structure for structure in structures if structure.kind == "region"}
    classes = {structure.name: structure for structure in structures if structure.kind == "class"}
    # With necrosis as a class of its own, the non-enhancing tumour is not all of NETC.
    known = classes if "necrosis" not in classes else {name: each for name, each in classes.items() if "tumor" not in name}
    single = dict.fromkeys(WHOLE_TUMOUR, structures[0]) if len(classes) == 1 else {}
    found = {name: regions.get(name) or known.get(CLASS_REGIONS.get(name, "")) or single.get(name) for name in rule.regions}
    return {name: structure for name, structure in found.items() if structure is not None}


def check_rules(rules: Sequence[str], schema: LabelSchema) -> None:
    """Refuse lesion rules of which a schema has no region.

    Raises:
        UserError: names the rule, its regions and those of the schema.
    """
    for name in rules:
        rule = LESION_RULES[name]
        if not rule_structures(rule, scored_structures(schema)):
            have = ", ".join(schema.regions) or "none"
            raise UserError(
                f"--lesions {name}: expected one of the regions {', '.join(rule.regions)}; received schema {schema.name} with "
                f"regions {have}; choose another rule, or another schema by --labels"
            )


def missing_regions(rule: LesionRule, structures: Sequence[Structure]) -> list[str]:
    """Regions of a rule that the structures of a schema lack."""
    known = rule_structures(rule, structures)
    return [name for name in rule.regions if name not in known]


def lesion_scores(pair: StructurePair, structure: Structure, rule: str) -> list[LesionScores]:
    """Lesions of a structure under a rule: those of truth, then false positives."""
    compared = pair.lesions(LESION_RULES[rule])
    return [
        LesionScores(
            structure,
            rule,
            lesion.true,
            lesion.counted,
            lesion.volume_mm3,
            lesion.matched,
            *(compared.value_of(lesion, score) for score in ("dice", "hd95", "nsd")),
        )
        for lesion in (*compared.lesions, *compared.false_positives)
    ]
