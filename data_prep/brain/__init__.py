"""Brain extraction: masks of brain or head, bias field, and skull-stripped cases."""
