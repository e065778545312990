"""A container as a tree of files: paths, documents, chunk files. Knows Zarr, knows no FUSE."""
