"""Many layers seen as one set of arrays: reading, changing, committing. Knows stored chunks, no files and no Zarr."""
