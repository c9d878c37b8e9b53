//! Embeddings as a safetensors file: the tensor `features` [N, length], written as it comes, and in the notes the names of
//! the images in its order (`goldfish.images`, a JSON list) and the layer that gave them (`goldfish.layer`).

use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use safetensors::Dtype;
use serde_json::json;

use super::header::MAX_HEADER;
use super::merged::flush;
use super::write::{self, notes};
use crate::error::{Error, Result};
use crate::files::write_atomic_with;

/// Takes the embedding of an image by its name.
pub type Put<'a> = dyn FnMut(&str, &[f32]) -> Result<()> + 'a;

/// Writes what `fill` puts, rows of `length` numbers, to `path` and returns how many rows those are; `names` are all the
/// images that there may be.
///
/// # Errors
/// [`Error::Data`] where the names are more than a header can hold, [`Error::Io`] where the file cannot be written, and
/// what `fill` returned.
pub fn write_features(
    path: &Path,
    layer: &str,
    length: usize,
    names: &[String],
    fill: impl FnOnce(&mut Put) -> Result<()>,
) -> Result<usize> {
    // The header comes first and is known last: it gets the room that it takes at most.
    let room = header(layer, length, names).len();
    if room as u64 > MAX_HEADER {
        let problem = format!(
            "would need {room} bytes for the names of its images, and no more than {MAX_HEADER} are read. Write several files of fewer images"
        );
        return Err(Error::data(path, problem));
    }
    let mut written = Vec::new();
    write_atomic_with(path, |file| {
        let failed = |e| Error::io(path, "write")(e);
        file.seek(SeekFrom::Start(room as u64)).map_err(failed)?;
        let mut out = BufWriter::with_capacity(1 << 20, &mut *file);
        fill(&mut |name, row| {
            written.push(name.to_string());
            out.write_all(bytemuck::cast_slice(row)).map_err(failed)
        })?;
        flush(out).map_err(failed)?;
        let mut header = header(layer, length, &written);
        if header.len() > room {
            return Err(Error::Usage(
                "features: more images, or others, than were named before".into(),
            ));
        }
        header.resize(room, b' ');
        header[..8].copy_from_slice(&(room as u64 - 8).to_le_bytes());
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        file.write_all(&header).map_err(failed)
    })?;
    Ok(written.len())
}

fn header(layer: &str, length: usize, names: &[String]) -> Vec<u8> {
    let mut notes = notes();
    notes.insert("goldfish.layer".into(), layer.into());
    notes.insert("goldfish.images".into(), json!(names).to_string());
    let shape = [names.len(), length];
    write::header(&notes, [("features", Dtype::F32, &shape[..])])
}
