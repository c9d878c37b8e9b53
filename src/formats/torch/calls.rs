//! What the calls in a pickle of tensors would make.

use super::pickle::{MAX_VALUES, Machine, too_many};
use super::value::{Global, Id, SAVE, Storage, Tensor, Value, damaged};

/// The most dimensions of a tensor.
const MAX_DIMENSIONS: usize = 8;

impl<'a> Machine<'a> {
    /// What `("storage", type, key, device, count, view)` names.
    pub(super) fn storage(&self, id: Id) -> Result<Storage<'a>, String> {
        let value = |id: &Id| &self.values[*id];
        let problem = || damaged("its pickle names numbers in an unknown way");
        let Value::Sequence(fields) = &self.values[id] else {
            return Err(problem());
        };
        let [tag, dtype, key, _device, count, view @ ..] = &fields[..] else {
            return Err(problem());
        };
        let (
            Value::Text("storage"),
            Value::Global(Global::Storage(dtype)),
            Value::Text(key),
            Some(count),
        ) = (value(tag), value(dtype), value(key), self.size(*count))
        else {
            return Err(problem());
        };
        let first = match view.first().map(value) {
            None | Some(Value::Other) => 0,
            Some(Value::Sequence(view)) => view
                .get(1)
                .and_then(|first| self.size(*first))
                .ok_or_else(problem)?,
            Some(_) => return Err(problem()),
        };
        Ok(Storage {
            key,
            dtype: *dtype,
            count,
            first,
        })
    }

    /// A count or an offset.
    fn size(&self, id: Id) -> Option<usize> {
        match self.values[id] {
            Value::Int(number) => usize::try_from(number).ok(),
            _ => None,
        }
    }

    /// Pushes what calling `callee` would make.
    pub(super) fn call(&mut self, callee: Id, arguments: Id) -> Result<(), String> {
        let Value::Sequence(arguments) = &self.values[arguments] else {
            return Err(damaged("its pickle calls with what is no tuple"));
        };
        let first = arguments.first().copied();
        let value = first.map(|first| &self.values[first]);
        match self.values[callee] {
            Value::Global(Global::Other) => self.push(Value::Other),
            Value::Global(Global::OrderedDict) => {
                let dict = self.ordered_dict(value)?;
                self.copied += dict.len();
                if self.copied > MAX_VALUES {
                    return Err(too_many());
                }
                self.push(Value::Dict(dict))
            }
            Value::Global(Global::Size) => match (first, value) {
                (Some(tuple), Some(Value::Sequence(_))) => self.again(tuple),
                _ => Err(damaged("a size in its pickle is no tuple")),
            },
            Value::Global(Global::Parameter) => match (first, value) {
                (Some(tensor), Some(Value::Tensor(_))) => self.again(tensor),
                _ => Err(damaged("a parameter in its pickle is no tensor")),
            },
            Value::Global(Global::Rebuild) => {
                let tensor = self.tensor(arguments)?;
                self.push(Value::Tensor(tensor))
            }
            _ => Err(damaged("its pickle calls what is no function")),
        }
    }

    /// What `_rebuild_tensor_v2(storage, offset, shape, strides, ...)` gives.
    fn tensor(&self, arguments: &[Id]) -> Result<Tensor<'a>, String> {
        let problem = || damaged("a tensor in its pickle is made in an unknown way");
        let [storage, offset, shape, strides, other @ ..] = arguments else {
            return Err(problem());
        };
        // requires_grad, hooks, and what says that the numbers are meant negated or conjugated.
        if let Some(&marks) = other.get(2)
            && matches!(&self.values[marks], Value::Dict(marks) if !marks.is_empty())
        {
            return Err(format!("holds a negated or conjugated view. {SAVE}"));
        }
        let sizes = |list: &Id| match &self.values[*list] {
            Value::Sequence(items) if items.len() <= MAX_DIMENSIONS => {
                items.iter().map(|&id| self.size(id)).collect()
            }
            _ => None,
        };
        let (Value::Storage(storage), Some(offset), Some(shape), Some(strides)) = (
            &self.values[*storage],
            self.size(*offset),
            sizes(shape),
            sizes(strides),
        ) else {
            return Err(problem());
        };
        Ok(Tensor {
            storage: *storage,
            offset,
            shape,
            strides,
        })
    }

    /// The pairs of `OrderedDict()` or `OrderedDict([[key, value], ...])`.
    fn ordered_dict(&self, pairs: Option<&Value<'a>>) -> Result<Vec<(Id, Id)>, String> {
        let problem = || damaged("a dict in its pickle is no list of pairs");
        let items = match pairs {
            None => return Ok(Vec::new()),
            Some(Value::Sequence(items)) => items,
            Some(_) => return Err(problem()),
        };
        let pair = |&item: &Id| match &self.values[item] {
            Value::Sequence(pair) => match pair[..] {
                [key, value] => Ok((key, value)),
                _ => Err(problem()),
            },
            _ => Err(problem()),
        };
        items.iter().map(pair).collect()
    }
}
