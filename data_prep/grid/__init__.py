"""Voxel grids: exact geometry between native and prepared grid, and resizing."""
