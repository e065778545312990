"""`xarray.open_dataset("weather.af", engine="arrayfs")`: xarray's own Zarr engine on a container."""

from __future__ import annotations

import os
from typing import Any

from xarray.backends import BackendEntrypoint
from xarray.backends.zarr import ZarrBackendEntrypoint
from xarray.core.dataset import Dataset

from arrayfs.api.zarr_store import ZarrStore
from arrayfs.format.naming import SUFFIX


class ArrayfsBackendEntrypoint(BackendEntrypoint):
    """Opens containers for reading; to write, give a `ZarrStore` to `to_zarr`."""

    description = "Open containers of arrayfs (.af)"
    url = "https://docs.xarray.dev/en/stable/user-guide/io.html#zarr"
    open_dataset_parameters = (*(ZarrBackendEntrypoint.open_dataset_parameters or ()), "version")

    def open_dataset(  # type: ignore[override]  # as all engines do, it takes what it knows
        self, filename_or_obj: str | os.PathLike[str], *, version: str | int | None = None, **options: Any
    ) -> Dataset:
        """version: a number, a tag or a time, instead of the newest; other options are those of the engine "zarr"."""
        store = ZarrStore(filename_or_obj, read_only=True, version=version)
        options.setdefault("consolidated", False)
        dataset: Dataset = ZarrBackendEntrypoint().open_dataset(store, **options)  # type: ignore[arg-type]
        return dataset

    def guess_can_open(self, filename_or_obj: object) -> bool:
        return isinstance(filename_or_obj, str | os.PathLike) and os.fspath(filename_or_obj).endswith(SUFFIX)
