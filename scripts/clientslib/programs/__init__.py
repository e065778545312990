"""Programs that use a Zarr library or another one, each run by an interpreter that has it.

They know nothing of arrayfs and work in any folder.
"""
