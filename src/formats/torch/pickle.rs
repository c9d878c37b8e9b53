//! Python's pickle as far as it says where tensors lie. Nothing is run: a name of Python's is either one of the few that
//! tensors are made with, and then it is data here, or the file is refused.

use std::collections::HashMap;

use super::value::{Id, SAVE, Value, damaged, global};

/// The most bytes of a pickle, and the most values in it. That of VGG19's weights has 6 KB and 400 values.
const MAX_BYTES: usize = 16 << 20;
pub(super) const MAX_VALUES: usize = 1 << 20;
/// A pickle that was read.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub(super) values: Vec<Value<'a>>,
    pub(super) root: Id,
    /// What follows it.
    pub(super) rest: &'a [u8],
}

impl<'a> Pickle<'a> {
    /// Reads the pickle that `bytes` begin with; the problem is a sentence that follows the file's name.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut machine = Machine {
            rest: &bytes[..bytes.len().min(MAX_BYTES)],
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            copied: 0,
        };
        while machine.step()? {}
        let root = machine.pop()?;
        let read = bytes.len().min(MAX_BYTES) - machine.rest.len();
        Ok(Pickle {
            values: machine.values,
            root,
            rest: &bytes[read..],
        })
    }

    pub(super) fn root(&self) -> &Value<'a> {
        &self.values[self.root]
    }

    /// What a dict has under `key`.
    pub(super) fn get(&self, dict: &[(Id, Id)], key: &str) -> Option<&Value<'a>> {
        let named = |id: Id| matches!(self.values[id], Value::Text(name) if name == key);
        // Of a key that is set twice the last counts, as in Python.
        let (_, value) = dict.iter().rev().find(|(name, _)| named(*name))?;
        Some(&self.values[*value])
    }
}

pub(super) fn too_many() -> String {
    format!(
        "holds more than {MAX_VALUES} values beside its tensors, far more than a network's weights do. {SAVE}"
    )
}

/// Python's stack machine for pickles.
pub(super) struct Machine<'a> {
    rest: &'a [u8],
    pub(super) values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Pairs of lists that dicts were made of.
    pub(super) copied: usize,
}

impl<'a> Machine<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| damaged("its pickle does not end"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// A little-endian number of N bytes.
    fn number<const N: usize>(&mut self) -> Result<u64, String> {
        let mut bytes = [0; 8];
        bytes[..N].copy_from_slice(self.take(N)?);
        Ok(u64::from_le_bytes(bytes))
    }

    /// Bytes after their count.
    fn counted<const N: usize>(&mut self) -> Result<&'a [u8], String> {
        let count = self.number::<N>()?;
        self.take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let line = self.take(end.ok_or_else(|| damaged("its pickle does not end"))?)?;
        self.take(1)?;
        text(line)
    }

    pub(super) fn push(&mut self, value: Value<'a>) -> Result<(), String> {
        if self.values.len() == MAX_VALUES || self.stack.len() == MAX_VALUES {
            return Err(too_many());
        }
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    /// The top of the stack, above the last mark.
    fn top(&self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&id) if self.stack.len() > floor => Ok(id),
            _ => Err(damaged("its pickle takes what is not there")),
        }
    }

    fn pop(&mut self) -> Result<Id, String> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    /// All above the last mark, and the mark.
    fn pop_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop();
        let mark = mark.ok_or_else(|| damaged("its pickle takes what is not there"))?;
        Ok(self.stack.split_off(mark))
    }

    /// A tuple of the upper `count` values.
    fn tuple(&mut self, count: usize) -> Result<(), String> {
        let mut items = (0..count)
            .map(|_| self.pop())
            .collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.push(Value::Sequence(items))
    }

    fn remember(&mut self, index: u32) -> Result<(), String> {
        let top = self.top()?;
        if self.memo.len() == MAX_VALUES {
            return Err(too_many());
        }
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: u64) -> Result<(), String> {
        let known = u32::try_from(index)
            .ok()
            .and_then(|index| self.memo.get(&index));
        let id = *known.ok_or_else(|| damaged("its pickle names what is not there"))?;
        self.again(id)
    }

    /// Pushes a value that was made before.
    pub(super) fn again(&mut self, id: Id) -> Result<(), String> {
        if self.stack.len() == MAX_VALUES {
            return Err(too_many());
        }
        self.stack.push(id);
        Ok(())
    }

    /// Does what the next byte says; false at the end.
    fn step(&mut self) -> Result<bool, String> {
        let code = self.take(1)?[0];
        match code {
            b'.' => return Ok(false),
            0x80 => {
                let version = self.number::<1>()?;
                if !(2..=5).contains(&version) {
                    return Err(damaged("its pickle is of an unknown version"));
                }
            }
            // A frame's length says nothing that the codes in it don't.
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.again(top)?;
            }
            b'N' | 0x88 | 0x89 | 0x8f => self.push(Value::Other)?,
            b'G' => {
                self.take(8)?;
                self.push(Value::Other)?;
            }
            b'J' => {
                let number = self.number::<4>()? as u32 as i32;
                self.push(Value::Int(number.into()))?;
            }
            b'K' => {
                let number = self.number::<1>()?;
                self.push(Value::Int(number as i64))?;
            }
            b'M' => {
                let number = self.number::<2>()?;
                self.push(Value::Int(number as i64))?;
            }
            0x8a => {
                let bytes = self.counted::<1>()?;
                self.push(long(bytes))?;
            }
            0x8b => {
                let bytes = self.counted::<4>()?;
                self.push(long(bytes))?;
            }
            b'X' => {
                let bytes = self.counted::<4>()?;
                self.push(Value::Text(text(bytes)?))?;
            }
            0x8c => {
                let bytes = self.counted::<1>()?;
                self.push(Value::Text(text(bytes)?))?;
            }
            0x8d => {
                let bytes = self.counted::<8>()?;
                self.push(Value::Text(text(bytes)?))?;
            }
            // Text of Python 2, in which names of parameters are ASCII.
            b'U' => {
                let bytes = self.counted::<1>()?;
                self.push(std::str::from_utf8(bytes).map_or(Value::Other, Value::Text))?;
            }
            b'T' => {
                let bytes = self.counted::<4>()?;
                self.push(std::str::from_utf8(bytes).map_or(Value::Other, Value::Text))?;
            }
            b'C' => {
                self.counted::<1>()?;
                self.push(Value::Other)?;
            }
            b'B' => {
                self.counted::<4>()?;
                self.push(Value::Other)?;
            }
            0x8e | 0x96 => {
                self.counted::<8>()?;
                self.push(Value::Other)?;
            }
            b')' | b']' => self.push(Value::Sequence(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b't' | b'l' => {
                let items = self.pop_mark()?;
                self.push(Value::Sequence(items))?;
            }
            b'd' => {
                let items = self.pop_mark()?;
                let pairs = pairs(&items)?;
                self.push(Value::Dict(pairs))?;
            }
            0x91 => {
                self.pop_mark()?;
                self.push(Value::Other)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(items)?;
            }
            0x90 => drop(self.pop_mark()?),
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(vec![(key, value)])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set(pairs(&items)?)?;
            }
            b'q' => {
                let index = self.number::<1>()?;
                self.remember(index as u32)?;
            }
            b'r' => {
                let index = self.number::<4>()?;
                self.remember(index as u32)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let index = self.number::<1>()?;
                self.recall(index)?;
            }
            b'j' => {
                let index = self.number::<4>()?;
                self.recall(index)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global(global(module, name)?))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) =
                    (&self.values[module], &self.values[name])
                else {
                    return Err(damaged("a name in its pickle is no text"));
                };
                let global = global(module, name)?;
                self.push(Value::Global(global))?;
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(Value::Storage(storage))?;
            }
            // A call and a new object of a class: the same for all that is known here.
            b'R' | 0x81 => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                self.call(callee, arguments)?;
            }
            // What is set on a made object (hooks, a dict's version) says nothing of its tensors.
            b'b' => drop(self.pop()?),
            _ => {
                return Err(damaged(&format!(
                    "its pickle has the code {code:#04x}, which tensors are not saved with"
                )));
            }
        }
        Ok(true)
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), String> {
        let top = self.top()?;
        match &mut self.values[top] {
            Value::Sequence(list) => list.extend(items),
            Value::Other => {}
            _ => return Err(damaged("its pickle appends to what is no list")),
        }
        Ok(())
    }

    fn set(&mut self, pairs: Vec<(Id, Id)>) -> Result<(), String> {
        let top = self.top()?;
        match &mut self.values[top] {
            Value::Dict(dict) => dict.extend(pairs),
            Value::Other => {}
            _ => return Err(damaged("its pickle sets items of what is no dict")),
        }
        Ok(())
    }
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| damaged("a name in its pickle is not UTF-8"))
}

/// Python's whole numbers of any length; those beyond 64 bits are no sizes.
fn long(bytes: &[u8]) -> Value<'static> {
    if bytes.len() > 8 {
        return Value::Other;
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut word = [if negative { 0xff } else { 0 }; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(word))
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, String> {
    match items.as_chunks() {
        (pairs, []) => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => Err(damaged("a dict in its pickle has a key without a value")),
    }
}
