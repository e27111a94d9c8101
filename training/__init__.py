"""Training: input pipeline, losses, metrics, exact state, and the run folder that a training leaves."""

import common  # noqa: F401  # its interrupts hold before the imports of any command

LOSSES = {
    "focal": "training.objectives.losses:FocalConfig",
    "cross_entropy": "training.objectives.losses:CrossEntropyConfig",
    "bce_dice": "training.objectives.losses:BceDiceConfig",
    "dice_ce": "training.objectives.losses:DiceCeConfig",
}
"""Name -> config of every loss; a config's `build` makes it."""

LOGGERS = {
    "files": "training.loggers.config:FilesConfig",
    "wandb": "training.loggers.config:WandbConfig",
}
"""Name -> config of the loggers of a training."""
