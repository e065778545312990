"""Python's ways in: containers, groups and arrays with numpy in and out, and stores for Zarr libraries."""
