"""Networks and their use on whole volumes. Keras alone: nothing here knows files, records or patients."""

MODELS = {"unet": "models.unet:UNetConfig"}
"""Name -> config of every network; a config's `build` makes it."""
