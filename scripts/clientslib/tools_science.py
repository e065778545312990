"""Scientific libraries in C and C++, by their commands."""

from __future__ import annotations

from clientslib.tool import Tool

SCIENCE = [
    Tool(
        "ncgen",
        "netcdf-bin",
        "netCDF-C: NCZarr written, dumped, copied",
        r"""
        echo 'netcdf x { dimensions: y = 7; x = 50; variables: int v(y, x);
        v:units = "mm"; double t(y); t:_FillValue = -9.;
        data: v = '$(seq -s, 0 349)'; t = 1, 2, 3, 4, 5, 6, 7; }' >x.cdl
        ncgen -4 -o "file://$PWD/a.zarr#mode=nczarr,file" x.cdl
        ncgen -4 -o "file://$PWD/b.zarr#mode=zarr,file" x.cdl
        ncgen -4 -o x.nc x.cdl
        nccopy x.nc "file://$PWD/c.zarr#mode=nczarr,file"
        """,
        r"""
        for z in a b c
        do
         m=nczarr
        test $z = b && m=zarr
        ncdump "file://$PWD/$z.zarr#mode=$m,file" | sed 1d >$OUT/$z
        done
        ncdump -v v x.nc | sed 1d >$OUT/n
        cmp $OUT/a $OUT/c
        grep -q '349 ;' $OUT/b
        grep -q 'units = "mm"' $OUT/a
        is_range a.zarr/v
        is_range c.zarr/v
        """,
        (".",),
    ),
    Tool(
        "gdal_translate",
        "gdal-bin",
        "GDAL: Zarr written, read, compared",
        r"""
        $PYTHON -c "import numpy as n; n.arange(350, dtype='<i4').tofile('raw')"
        printf 'ENVI\nsamples = 50\nlines = 7\nbands = 1\nheader offset = 0\n' >raw.hdr
        printf 'data type = 3\ninterleave = bsq\nbyte order = 0\n' >>raw.hdr
        gdal_translate -q -of Zarr -co BLOCKSIZE=3,20 raw g.zarr
        gdal_translate -q -of Zarr -co COMPRESS=ZLIB -co ARRAY_NAME=z raw h.zarr
        gdal_translate -q raw t.tif -co TILED=YES -co COMPRESS=DEFLATE
        gdaladdo -q t.tif 2
        """,
        r"""
        for f in 'ZARR:"g.zarr":/g' 'ZARR:"h.zarr":/z' t.tif
        do
         gdal_translate -q -of ENVI "$f" $OUT/r
        cmp $OUT/r raw
        rm $OUT/r*
        done
        is_range g.zarr/g
        is_range h.zarr/z
        """,
        (".",),
    ),
]
