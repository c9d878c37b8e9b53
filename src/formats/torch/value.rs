//! What a pickle of tensors makes, and the few names of Python's that it may make it with.

use safetensors::Dtype;

use super::super::entry::shown;

/// What to do about a file that holds more than tensors.
pub(super) const SAVE: &str = "If you trust it, load it in Python and save the tensors alone: \
    torch.save(model.state_dict(), FILE)";

/// A value by its place among all that the pickle makes: what is named twice is one value, however deep it nests.
pub(super) type Id = usize;

/// What a pickle makes, of what matters here.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    /// None, truth, fractions, bytes, sets: whatever says nothing of tensors.
    Other,
    Int(i64),
    Text(&'a str),
    /// A list or a tuple.
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Storage<'a>),
    Tensor(Tensor<'a>),
}

/// A name of Python's.
#[derive(Clone, Copy, Debug)]
pub(super) enum Global {
    OrderedDict,
    /// Makes a tensor of storage, offset, size and strides.
    Rebuild,
    /// Gives the tensor that it is given.
    Parameter,
    /// A tuple.
    Size,
    /// Numbers of this type in a row.
    Storage(Dtype),
    /// Makes what says nothing of tensors.
    Other,
}

/// Numbers in a row, outside the pickle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    pub(super) dtype: Dtype,
    pub(super) count: usize,
    /// The first number that this view of it has; of files before PyTorch 0.4.
    pub(super) first: usize,
}

/// A view of a storage.
#[derive(Clone, Debug)]
pub(super) struct Tensor<'a> {
    pub(super) storage: Storage<'a>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// What is wrong with the file, as a sentence that follows its name.
pub(super) fn damaged(what: &str) -> String {
    format!("is a damaged PyTorch file ({what}). Fetch or save it again")
}

/// What a name of Python's stands for; those that `torch.load(weights_only=True)` takes and tensors of floating-point
/// numbers are made with.
pub(super) fn global(module: &str, name: &str) -> Result<Global, String> {
    let storage = |dtype| Ok(Global::Storage(dtype));
    match (module, name) {
        ("collections", "OrderedDict") => Ok(Global::OrderedDict),
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Ok(Global::Rebuild),
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")
        | ("torch.nn.parameter", "Parameter") => Ok(Global::Parameter),
        ("torch", "Size") => Ok(Global::Size),
        ("torch", "DoubleStorage") => storage(Dtype::F64),
        ("torch", "FloatStorage") => storage(Dtype::F32),
        ("torch", "HalfStorage") => storage(Dtype::F16),
        ("torch", "BFloat16Storage") => storage(Dtype::BF16),
        ("torch", "LongStorage") => storage(Dtype::I64),
        ("torch", "IntStorage") => storage(Dtype::I32),
        ("torch", "ShortStorage") => storage(Dtype::I16),
        ("torch", "CharStorage") => storage(Dtype::I8),
        ("torch", "ByteStorage") => storage(Dtype::U8),
        ("torch", "BoolStorage") => storage(Dtype::BOOL),
        (
            "torch",
            "device" | "float64" | "float32" | "float16" | "bfloat16" | "int64" | "int32",
        )
        | ("collections", "Counter" | "defaultdict")
        | ("builtins" | "__builtin__", "set" | "frozenset" | "bytearray" | "complex" | "dict")
        | ("_codecs", "encode") => Ok(Global::Other),
        _ => Err(format!(
            "holds an object of Python's, {}.{}, where only tensors are read; nothing of it was run. {SAVE}",
            shown(module),
            shown(name)
        )),
    }
}
