"""From scans to records: sources, geometry, labels, preparation, augmentation and the record format."""
