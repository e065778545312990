"""AnnData: write_zarr and read_zarr, with categories, sparse matrices, strings and nested mappings."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse

from clientslib.programs.cases import cases, expect, main
from clientslib.programs.values import equal


def _data() -> anndata.AnnData:
    counts = (np.arange(60 * 20).reshape(60, 20) % 7).astype("f4")
    obs = pd.DataFrame(
        {
            "kind": pd.Categorical([["T", "B", "NKé"][n % 3] for n in range(60)]),
            "ordered": pd.Categorical(["low", "high"] * 30, categories=["low", "high"], ordered=True),
            "text": [f"note {n}" for n in range(60)],
            "n": np.arange(60),
            "flag": np.arange(60) % 2 == 0,
        },
        index=[f"cell{n}" for n in range(60)],
    )
    return anndata.AnnData(
        X=scipy.sparse.csr_matrix(counts),
        obs=obs,
        var=pd.DataFrame(index=[f"gene{n}" for n in range(20)]),
        layers={"dense": counts, "csc": scipy.sparse.csc_matrix(counts)},
        obsm={"pca": counts[:, :3].astype("f8")},
        uns={"title": "é", "nested": {"a": np.arange(3), "b": "x", "texts": np.array(["u", "vé"], object)}},
    )


def write_write_zarr(folder: Path) -> None:
    for zarr_format in (2, 3):
        anndata.settings.zarr_write_format = zarr_format
        _data().write_zarr(folder / f"v{zarr_format}.zarr")
        _data().write_zarr(folder / f"v{zarr_format}.zarr", chunks=(20, 20))
    _data().write_h5ad(folder / "a.h5ad")


def check_write_zarr(folder: Path) -> None:
    expected = _data()
    read = [anndata.read_zarr(folder / f"v{number}.zarr") for number in (2, 3)]
    for found in (*read, anndata.read_h5ad(folder / "a.h5ad")):
        equal(found.X.toarray(), expected.X.toarray())
        equal(found.layers["dense"], expected.layers["dense"])
        equal(found.layers["csc"].toarray(), expected.layers["dense"])
        equal(found.obsm["pca"], expected.obsm["pca"])
        for column in expected.obs.columns:
            expect(found.obs[column].tolist(), expected.obs[column].tolist(), column)
        expect(found.obs["kind"].cat.categories.tolist(), ["B", "NKé", "T"])
        expect(list(found.obs_names), list(expected.obs_names))
        expect(str(found.uns["title"]), "é")
        expect(list(found.uns["nested"]["texts"]), ["u", "vé"])


CASES = cases(globals())

if __name__ == "__main__":
    main(CASES)
