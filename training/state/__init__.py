"""State of a training: checkpoints, callbacks and history."""
