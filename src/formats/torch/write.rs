//! A file as `torch.save` writes a state dict: a zip of a pickle and each tensor's numbers as they are, on a multiple of
//! 64 bytes each, in the order given.

use std::io::{BufWriter, Write};
use std::path::Path;

use safetensors::Dtype;

use super::super::entry::{View, shown};
use crate::error::{Error, Result};
use crate::files::write_atomic_with;

/// What PyTorch calls the folder of a file whose name it does not know.
const ROOT: &str = "archive";
/// Where numbers begin.
const ALIGNED: usize = 64;

/// Writes tensors by name to `path` and returns the file's size; `done` is shown each one's bytes when they are written.
///
/// # Errors
/// [`Error::Data`] for a type that PyTorch has no storage of and for more than a zip's 4 GiB, [`Error::Io`] where the
/// file cannot be written, and what `done` returned.
pub(in super::super) fn write(
    path: &Path,
    tensors: &[(&str, View)],
    mut done: impl FnMut(&[u8]) -> Result<()>,
) -> Result<u64> {
    let pickle = pickle(tensors).map_err(|problem| Error::data(path, problem))?;
    let mut size = 0;
    write_atomic_with(path, |file| {
        let mut zip = Zip {
            out: BufWriter::with_capacity(1 << 20, file),
            written: 0,
            directory: Vec::new(),
            count: 0,
        };
        let io = || Error::io(path, "write");
        let mut entry = |name: &str, bytes: &[u8]| match zip.entry(name, bytes).map_err(io())? {
            true => Ok(()),
            false => Err(Error::data(
                path,
                "would be larger than 4 GiB, more than is written here. Keep the safetensors file",
            )),
        };
        entry("data.pkl", &pickle)?;
        entry("byteorder", b"little")?;
        for (index, (_, view)) in tensors.iter().enumerate() {
            entry(&format!("data/{index}"), view.data)?;
            done(view.data)?;
        }
        entry("version", b"3\n")?;
        size = zip.end().map_err(io())?;
        Ok(())
    })?;
    Ok(size)
}

struct Zip<W: Write> {
    out: W,
    written: usize,
    directory: Vec<u8>,
    count: u16,
}

impl<W: Write> Zip<W> {
    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.written += bytes.len();
        self.out.write_all(bytes)
    }

    /// Writes an entry as it is; false where a zip has no room for it.
    fn entry(&mut self, name: &str, bytes: &[u8]) -> std::io::Result<bool> {
        let name = format!("{ROOT}/{name}");
        // A field of the header that says nothing, so long that the bytes begin where they should.
        let from = self.written + 30 + name.len() + 4;
        let pad = from.next_multiple_of(ALIGNED) - from;
        let (Ok(size), Ok(place), Ok(_)) = (
            u32::try_from(bytes.len()),
            u32::try_from(self.written),
            u32::try_from(from + pad + bytes.len()),
        ) else {
            return Ok(false);
        };
        if self.count == u16::MAX {
            return Ok(false);
        }
        self.count += 1;
        let mut about = Vec::new();
        // Version, no flags, as it is, 1 January 1980.
        for word in [0u16, 0, 0, 0, 0x21] {
            about.extend(word.to_le_bytes());
        }
        for word in [crc32fast::hash(bytes), size, size] {
            about.extend(word.to_le_bytes());
        }
        about.extend((name.len() as u16).to_le_bytes());
        self.put(b"PK\x03\x04")?;
        self.put(&about)?;
        self.put(&(pad as u16 + 4).to_le_bytes())?;
        self.put(name.as_bytes())?;
        self.put(b"FB")?;
        self.put(&(pad as u16).to_le_bytes())?;
        self.put(&vec![b'Z'; pad])?;
        self.put(bytes)?;
        let directory = &mut self.directory;
        directory.extend(b"PK\x01\x02\0\0");
        directory.extend(about);
        directory.extend([0; 12]);
        directory.extend(place.to_le_bytes());
        directory.extend(name.as_bytes());
        Ok(true)
    }

    /// The directory, and how large all is.
    fn end(mut self) -> std::io::Result<u64> {
        let (start, directory) = (self.written as u32, std::mem::take(&mut self.directory));
        self.put(&directory)?;
        self.put(b"PK\x05\x06\0\0\0\0")?;
        self.put(&self.count.to_le_bytes())?;
        self.put(&self.count.to_le_bytes())?;
        self.put(&(directory.len() as u32).to_le_bytes())?;
        self.put(&start.to_le_bytes())?;
        self.put(&[0, 0])?;
        self.out.flush()?;
        Ok(self.written as u64)
    }
}

/// The pickle of an OrderedDict of these tensors, each of a storage of its own.
fn pickle(tensors: &[(&str, View)]) -> Result<Vec<u8>, String> {
    let mut code = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for (index, (name, view)) in tensors.iter().enumerate() {
        let storage = storage(view.dtype).ok_or_else(|| {
            format!(
                "cannot hold {}: PyTorch's files have no storage of {:?}",
                shown(name),
                view.dtype
            )
        })?;
        text(&mut code, name);
        code.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut code, "storage");
        code.extend(format!("ctorch\n{storage}\n").as_bytes());
        text(&mut code, &index.to_string());
        text(&mut code, "cpu");
        int(&mut code, view.shape.iter().product());
        code.extend(b"tQK\0(");
        view.shape.iter().for_each(|&dim| int(&mut code, dim));
        code.extend(b"t(");
        let stride = |dim: usize| {
            view.shape[dim + 1..]
                .iter()
                .map(|&dim| dim.max(1))
                .product()
        };
        (0..view.shape.len()).for_each(|dim| int(&mut code, stride(dim)));
        code.extend(b"t\x89ccollections\nOrderedDict\n)RtR");
    }
    code.extend(b"u.");
    Ok(code)
}

fn text(code: &mut Vec<u8>, text: &str) {
    code.push(b'X');
    code.extend((text.len() as u32).to_le_bytes());
    code.extend(text.as_bytes());
}

fn int(code: &mut Vec<u8>, number: usize) {
    match i32::try_from(number) {
        Ok(number) => {
            code.push(b'J');
            code.extend(number.to_le_bytes());
        }
        Err(_) => {
            code.extend(b"\x8a\x09");
            code.extend((number as u64).to_le_bytes());
            code.push(0);
        }
    }
}

fn storage(dtype: Dtype) -> Option<&'static str> {
    Some(match dtype {
        Dtype::F64 => "DoubleStorage",
        Dtype::F32 => "FloatStorage",
        Dtype::F16 => "HalfStorage",
        Dtype::BF16 => "BFloat16Storage",
        Dtype::I64 => "LongStorage",
        Dtype::I32 => "IntStorage",
        Dtype::I16 => "ShortStorage",
        Dtype::I8 => "CharStorage",
        Dtype::U8 => "ByteStorage",
        Dtype::BOOL => "BoolStorage",
        _ => return None,
    })
}
