"""Backend, devices and number formats."""
