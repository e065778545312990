"""Python's ways in: arrays, and stores for Zarr libraries."""
