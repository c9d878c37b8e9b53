//! A file of `torch.save`, read where it lies: the pickle says which tensors there are, and their numbers stand in the
//! file as they are in memory, in a zip or, before PyTorch 1.6, one after the other.

mod calls;
mod pickle;
mod value;
mod write;
mod zip;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

pub(super) use self::write::write;

use self::pickle::Pickle;
use self::value::{Id, Storage, Tensor, Value, damaged};
use self::zip::Zip;
use super::entry::{Data, Entry, shown};

/// The number that a file before PyTorch 1.6 begins with, as a pickle, and the number of its version.
const MAGIC: &[u8] = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
const VERSION: i64 = 1001;

/// Under what a training script keeps the parameters among other things.
const NESTED: [&str; 3] = ["state_dict", "model_state_dict", "model"];
/// Averages of the parameters, which such a script may keep beside them.
const AVERAGED: [&str; 2] = ["state_dict_ema", "model_ema"];
/// How deep they lie at most.
const DEPTH: usize = 3;

/// What is wrong, as a sentence that follows the file's name.
type Problem = String;

/// Whether the file with these bytes is one: a zip whose first entry PyTorch writes, or a pickle.
pub(super) fn is_torch(file: &[u8]) -> bool {
    let first_name = || {
        let length = usize::from(u16::from_le_bytes(*file.get(26..)?.first_chunk()?));
        file.get(30..)?.get(..length)
    };
    let in_zip = |name: &[u8]| {
        [
            &b"data.pkl"[..],
            b"/.format_version",
            b"/.storage_alignment",
            b"/byteorder",
            b"/version",
        ]
        .iter()
        .any(|end| name.ends_with(end))
    };
    match file {
        [b'P', b'K', 3, 4, ..] => first_name().is_some_and(in_zip),
        // A safetensors file's length, and then its header.
        [_, _, _, _, _, _, _, _, b'{', ..] => false,
        // PROTO with a version, then an opcode that can begin an object: a dict, a global, a tuple, the magic number,
        // a frame.
        [
            0x80,
            2..=5,
            b'}' | b'c' | b'(' | b']' | b'\x8a' | b'\x95' | b'\x8c',
            ..,
        ] => true,
        _ => false,
    }
}

/// The tensors of a file, by name.
pub(super) fn read(file: &[u8]) -> Result<BTreeMap<String, Entry>, Problem> {
    match file.starts_with(b"PK") {
        true => read_zip(file),
        false => read_legacy(file),
    }
}

fn read_zip(file: &[u8]) -> Result<BTreeMap<String, Entry>, Problem> {
    let zip = Zip::open(file)?;
    let pickles = zip.names().filter_map(|name| name.strip_suffix("data.pkl"));
    let root = pickles
        .min_by_key(|root| root.len())
        .ok_or_else(|| damaged("data.pkl is missing"))?;
    let entry = |name: &str| format!("{root}{name}");
    let has = |name: &str| zip.names().any(|other| other == entry(name));
    if has("constants.pkl") {
        return Err(
            "is a TorchScript program, which is not run here. In Python: \
             torch.save(torch.jit.load(FILE).state_dict(), NEW)"
                .into(),
        );
    }
    if has("byteorder") && zip.checked(&entry("byteorder"))? != b"little" {
        return Err(big_endian());
    }
    let pickle = Pickle::read(zip.checked(&entry("data.pkl"))?)?;
    tensors(file, &pickle, |storage| {
        let lies = zip.find(&entry(&format!("data/{}", storage.key)))?;
        let wanted = storage.count.checked_mul(storage.dtype.bitsize() / 8);
        match wanted == Some(lies.len()) {
            true => Ok(lies),
            false => Err(damaged(&format!(
                "storage {} has {} bytes and should have {} numbers",
                shown(storage.key),
                lies.len(),
                storage.count
            ))),
        }
    })
}

fn big_endian() -> Problem {
    "was saved on a big-endian machine. Save it again on another: torch.save(torch.load(FILE), NEW)"
        .into()
}

fn read_legacy(file: &[u8]) -> Result<BTreeMap<String, Entry>, Problem> {
    if file.get(2..2 + MAGIC.len()) != Some(MAGIC) {
        return Err(
            "is a pickle of Python's own and no file of torch.save; it is not run. Save the tensors with \
             torch.save(model.state_dict(), NEW)"
                .into(),
        );
    }
    let version = Pickle::read(&file[2 + MAGIC.len()..])?;
    if !matches!(version.root(), Value::Int(VERSION)) {
        return Err(damaged("its version is unknown"));
    }
    let system = Pickle::read(version.rest)?;
    let pickle = Pickle::read(system.rest)?;
    let keys = Pickle::read(pickle.rest)?;
    let Value::Sequence(listed) = keys.root() else {
        return Err(damaged("its storages have no list"));
    };
    // The storages follow in the order of the list, each after its count of numbers; how long a number is, the pickle says.
    let mut sizes = HashMap::new();
    for value in &pickle.values {
        if let Value::Storage(storage) = value {
            let size = (storage.dtype.bitsize() / 8, storage.count);
            if *sizes.entry(storage.key).or_insert(size) != size {
                let twice = format!("storage {} is of two sizes", shown(storage.key));
                return Err(damaged(&twice));
            }
        }
    }
    let mut places: HashMap<&str, Range<usize>> = HashMap::new();
    let mut start = file.len() - keys.rest.len();
    for &key in listed {
        let Value::Text(key) = keys.values[key] else {
            return Err(damaged("the name of a storage is no text"));
        };
        let (size, count) = *sizes
            .get(key)
            .ok_or_else(|| damaged(&format!("storage {} is of no size", shown(key))))?;
        let stored = file.get(start..).and_then(|rest| rest.first_chunk());
        match stored.map(|count| u64::from_le_bytes(*count)) {
            Some(stored) if stored == count as u64 => {}
            // A big-endian machine's counts, which its own note may not say.
            Some(stored) if stored.swap_bytes() == count as u64 => return Err(big_endian()),
            Some(stored) => {
                return Err(damaged(&format!(
                    "storage {} has {stored} numbers and should have {count}",
                    shown(key)
                )));
            }
            None => return Err(cut(file)),
        }
        let from = start + 8;
        let to = count
            .checked_mul(size)
            .and_then(|bytes| from.checked_add(bytes));
        start = to.filter(|&to| to <= file.len()).ok_or_else(|| cut(file))?;
        if places.insert(key, from..start).is_some() {
            return Err(damaged(&format!("storage {} is there twice", shown(key))));
        }
    }
    if start != file.len() {
        let more = file.len() - start;
        return Err(damaged(&format!("{more} bytes follow its last tensor")));
    }
    tensors(file, &pickle, |storage| {
        let place = places.get(storage.key).cloned();
        place.ok_or_else(|| damaged(&format!("storage {} is missing", shown(storage.key))))
    })
}

fn cut(file: &[u8]) -> Problem {
    let length = file.len();
    damaged(&format!("it ends within its tensors, after {length} bytes"))
}

/// The tensors that the pickle names; `place` says where a storage lies in the file.
fn tensors(
    file: &[u8],
    pickle: &Pickle,
    place: impl Fn(&Storage) -> Result<Range<usize>, Problem>,
) -> Result<BTreeMap<String, Entry>, Problem> {
    let mut found = BTreeMap::new();
    // What is put together is held in memory, and is no more than the file.
    let mut room = file.len();
    for (name, value) in parameters(pickle)? {
        if let Value::Tensor(tensor) = value {
            let name = name.ok_or_else(|| damaged("a tensor's name is no text"))?;
            let lies = place(&tensor.storage)?;
            let entry = entry(&file[lies.clone()], lies.start, tensor, &mut room);
            let entry = entry.map_err(|problem| format!("holds {}: {problem}", shown(name)))?;
            // Of a key that is set twice the last counts, as in Python.
            found.insert(name.to_string(), entry);
        }
    }
    Ok(found)
}

/// The names and values of the dict that holds the parameters.
fn parameters<'a>(
    pickle: &'a Pickle,
) -> Result<impl Iterator<Item = (Option<&'a str>, &'a Value<'a>)>, Problem> {
    let text = |id: Id| match pickle.values[id] {
        Value::Text(text) => Some(text),
        _ => None,
    };
    let mut dict = match pickle.root() {
        Value::Dict(dict) => dict,
        _ => return Err(without(&[])),
    };
    for _ in 0..DEPTH {
        let inner = NESTED.iter().find_map(|key| match pickle.get(dict, key) {
            Some(Value::Dict(inner)) => Some((key, inner)),
            _ => None,
        });
        let Some((key, inner)) = inner else { break };
        if let Some(averaged) = AVERAGED.iter().find(|key| pickle.get(dict, key).is_some()) {
            tracing::warn!("of what the file holds {key} is read and not {averaged}");
        }
        dict = inner;
    }
    let tensor = |(_, value): &(Id, Id)| matches!(pickle.values[*value], Value::Tensor(_));
    if !dict.iter().any(tensor) {
        let names: Vec<&str> = dict.iter().filter_map(|&(name, _)| text(name)).collect();
        return Err(without(&names));
    }
    Ok(dict
        .iter()
        .map(move |&(name, value)| (text(name), &pickle.values[value])))
}

fn without(names: &[&str]) -> Problem {
    let first: Vec<String> = names.iter().take(5).map(|name| shown(name)).collect();
    let what = match names {
        [] => "is a PyTorch file without tensors by name".to_string(),
        _ => format!(
            "is a PyTorch file whose first entries ({}) are no tensors, and which has none under {}",
            first.join(", "),
            NESTED.join(", ")
        ),
    };
    format!("{what}. Save a network's parameters: torch.save(model.state_dict(), NEW)")
}

/// A tensor in its storage, whose bytes begin at `start` of the file. `room` is how many bytes may yet be put together.
fn entry(bytes: &[u8], start: usize, tensor: &Tensor, room: &mut usize) -> Result<Entry, Problem> {
    let size = tensor.storage.dtype.bitsize() / 8;
    let outside = || "it lies outside of its storage. The file is damaged: fetch or save it again";
    let entry = |data| Entry {
        dtype: tensor.storage.dtype,
        shape: tensor.shape.clone(),
        data,
    };
    if tensor.shape.len() != tensor.strides.len() {
        return Err("its shape and its strides differ in length".into());
    }
    let count = tensor
        .shape
        .iter()
        .try_fold(1, |count: usize, &dim| count.checked_mul(dim));
    let count = count.ok_or_else(outside)?;
    if count == 0 {
        return Ok(entry(Data::Gathered(Vec::new())));
    }
    let first = tensor.storage.first.checked_add(tensor.offset);
    let first = first.ok_or_else(outside)?;
    let dims = || tensor.shape.iter().zip(&tensor.strides);
    let last = dims().try_fold(first, |last, (&dim, &stride)| {
        last.checked_add(stride.checked_mul(dim - 1)?)
    });
    let within = last.is_some_and(|last| last < bytes.len() / size);
    if !within {
        return Err(outside().into());
    }
    // Whether each element follows the last; the stride of a single one does not matter.
    let mut next = 1;
    let mut contiguous = true;
    for (&dim, &stride) in dims().rev().filter(|(dim, _)| **dim > 1) {
        contiguous &= stride == next;
        next *= dim;
    }
    if contiguous {
        let from = start + first * size;
        return Ok(entry(Data::Lies(from..from + count * size)));
    }
    let length = count.checked_mul(size).filter(|length| length <= room);
    let length = length.ok_or(
        "it repeats numbers of its storage. Save it written out: .contiguous() in PyTorch",
    )?;
    *room -= length;
    Ok(entry(Data::Gathered(gather(bytes, first, tensor, length))))
}

/// The elements of a view in order, the last dimension fastest.
fn gather(bytes: &[u8], first: usize, tensor: &Tensor, length: usize) -> Vec<u8> {
    let size = tensor.storage.dtype.bitsize() / 8;
    let mut gathered = Vec::with_capacity(length);
    let mut index = vec![0; tensor.shape.len()];
    let mut element = first;
    while gathered.len() < length {
        gathered.extend_from_slice(&bytes[element * size..][..size]);
        for (place, (&dim, &stride)) in tensor.shape.iter().zip(&tensor.strides).enumerate().rev() {
            index[place] += 1;
            element += stride;
            if index[place] < dim {
                break;
            }
            element -= stride * dim;
            index[place] = 0;
        }
    }
    gathered
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn no_changed_byte_brings_it_down() {
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/torch");
        for name in ["zip", "legacy", "old", "views", "nested", "protocol4"] {
            let path = format!("{fixtures}/{name}.pth");
            let mut bytes = std::fs::read(path).expect("the fixture");
            assert!(read(&bytes).is_ok());
            let mut refused = 0;
            for place in 0..bytes.len() {
                let was = bytes[place];
                for with in [0, 0xff, was ^ 1, b'h', b'.'] {
                    bytes[place] = with;
                    refused += usize::from(read(&bytes).is_err());
                }
                bytes[place] = was;
            }
            // Where a number or a name changed the file is another one, and whole.
            assert!(refused > bytes.len() / 4, "{name}: {refused}");
        }
    }
}
