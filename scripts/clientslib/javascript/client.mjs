// zarrita (Zarr v3 to write, v2 and v3 to read) on a folder: `client.mjs write FOLDER`, `client.mjs check FOLDER NAME…`.
// The arrays are those of programs/values.py.
import assert from "node:assert/strict";
import { FileSystemStore } from "@zarrita/storage";
import * as zarr from "zarrita";

const SHAPE = [7, 50];
const CHUNKS = [3, 20];
const BYTES = { name: "bytes", configuration: { endian: "little" } };
const CODECS = {
  "v3-plain": [BYTES],
  "v3-zstd": [BYTES, { name: "zstd", configuration: { level: 3, checksum: false } }],
};

const first = Int32Array.from({ length: 350 }, (_, index) => index * 3 - 7);
const final = first.map((value, index) => {
  const [row, column] = [Math.floor(index / 50), index % 50];
  return row >= 2 && row < 5 && column >= 10 && column < 30 ? -1 : value;
});

async function write(folder) {
  for (const [name, codecs] of Object.entries(CODECS)) {
    const array = await zarr.create(new FileSystemStore(`${folder}/${name}`), {
      shape: SHAPE, chunkShape: CHUNKS, dtype: "int32", fillValue: 0, codecs, attributes: { units: "mm" },
    });
    await zarr.set(array, null, { data: first, shape: SHAPE, stride: [50, 1] });
    await zarr.set(array, [zarr.slice(2, 5), zarr.slice(10, 30)], -1);
  }
}

async function check(folder, ...names) {
  for (const name of names) {
    const open = name.startsWith("v3") ? zarr.open.v3 : zarr.open.v2;
    const array = await open(new FileSystemStore(`${folder}/${name}`), { kind: "array" });
    assert.equal(array.attrs.units, "mm", name);
    assert.deepEqual((await zarr.get(array)).data, final, name);
  }
}

const [step, ...rest] = process.argv.slice(2);
await { write, check }[step](...rest);
