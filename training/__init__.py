"""Training: input pipeline, losses, metrics, exact state, and the run folder that a training leaves."""

LOSSES = {
    "focal": "training.losses:FocalConfig",
    "cross_entropy": "training.losses:CrossEntropyConfig",
    "bce_dice": "training.losses:BceDiceConfig",
}
"""Name -> config of every loss; a config's `build` makes it."""
