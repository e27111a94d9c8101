"""Classification of patients by features of segmentation networks, in cross-validation."""
