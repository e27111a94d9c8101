"""Reports: one self-contained web page for a run, a cross-validation, a comparison or a study."""
