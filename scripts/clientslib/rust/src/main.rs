//! zarrs (Zarr v3 to write, v2 and v3 to read) on a folder: `write FOLDER`, `check FOLDER NAME…`.
//! The arrays are those of programs/values.py.

use std::error::Error;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;

use zarrs::array::codec::{GzipCodec, ShardingCodecBuilder, ZstdCodec};
use zarrs::array::{data_type, Array, ArrayBuilder, ArraySubset, BytesToBytesCodecTraits};
use zarrs::filesystem::FilesystemStore;

const COLUMNS: u64 = 50;
const SHAPE: [u64; 2] = [7, COLUMNS];

fn first() -> Vec<i32> {
    (0..350).map(|index| index * 3 - 7).collect()
}

fn last() -> Vec<i32> {
    let changed = |index: u64| (2..5).contains(&(index / COLUMNS)) && (10..30).contains(&(index % COLUMNS));
    (0..).zip(first()).map(|(index, value)| if changed(index) { -1 } else { value }).collect()
}

fn builder(name: &str) -> Result<ArrayBuilder, Box<dyn Error>> {
    let mut builder = ArrayBuilder::new(SHAPE.to_vec(), vec![3, 20], data_type::int32(), 0i32);
    let gzip: Arc<dyn BytesToBytesCodecTraits> = Arc::new(GzipCodec::new(5)?);
    match name {
        "v3-gzip" => drop(builder.bytes_to_bytes_codecs(vec![gzip])),
        "v3-zstd" => drop(builder.bytes_to_bytes_codecs(vec![Arc::new(ZstdCodec::new(3, false))])),
        "v3-sharded" => {
            let inner = [1u64, 10].into_iter().map(NonZeroU64::try_from).collect::<Result<Vec<_>, _>>()?;
            let mut sharding = ShardingCodecBuilder::new(inner, &data_type::int32());
            sharding.bytes_to_bytes_codecs(vec![gzip]);
            builder.array_to_bytes_codec(Arc::new(sharding.build()));
        }
        _ => {}
    }
    builder.attributes(serde_json::json!({"units": "mm"}).as_object().cloned().unwrap_or_default());
    Ok(builder)
}

fn write(folder: &Path) -> Result<(), Box<dyn Error>> {
    for name in ["v3-plain", "v3-gzip", "v3-zstd", "v3-sharded"] {
        let store = Arc::new(FilesystemStore::new(folder.join(name))?);
        let array = builder(name)?.build(store, "/")?;
        array.store_metadata()?;
        array.store_array_subset(&array.subset_all(), first().as_slice())?;
        let part = ArraySubset::new_with_ranges(&[2..5, 10..30]);
        array.store_array_subset(&part, vec![-1i32; 60].as_slice())?;
    }
    Ok(())
}

fn check(folder: &Path, names: &[String]) -> Result<(), Box<dyn Error>> {
    for name in names {
        let array = Array::open(Arc::new(FilesystemStore::new(folder.join(name))?), "/")?;
        let found: Vec<i32> = array.retrieve_array_subset(&array.subset_all())?;
        if found != last() {
            return Err(format!("{name}: other values").into());
        }
        if array.attributes().get("units") != Some(&serde_json::json!("mm")) {
            return Err(format!("{name}: other attributes").into());
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let folder = Path::new(&arguments[2]);
    match arguments[1].as_str() {
        "write" => write(folder),
        _ => check(folder, &arguments[3..]),
    }
}
