//! The pickle machine, cut down to what tables of tensors use.
//!
//! Opcodes are those of protocols 2 to 5 (`Lib/pickletools.py` of CPython). Values are small and refer to each other by
//! number, so that neither a shared nor a deeply nested structure costs more than the bytes that describe it.

use std::collections::HashMap;
use std::path::Path;

use super::calls::{Callable, Element};
use crate::ModelError;

/// Ends a hostile file early. Some 25 operations describe a tensor.
const MAX_OPERATIONS: usize = 1 << 21;

/// A value on the stack. Texts lie in the file, compound values in the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(&'a str),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Callable(Callable),
    Storage(usize),
    Tensor(usize),
}

/// Bytes outside the pickle, by key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage<'a> {
    pub(super) element: Element,
    pub(super) key: &'a str,
    pub(super) elements: usize,
}

/// A view of a storage. Offset and strides count elements.
#[derive(Clone, Debug)]
pub(super) struct TensorView {
    pub(super) storage: usize,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// A machine that has run.
pub(super) struct Machine<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    at: usize,
    pub(super) stack: Vec<Value<'a>>,
    /// Heights of the stack at which marks lie.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    pub(super) tuples: Vec<Vec<Value<'a>>>,
    lists: Vec<Vec<Value<'a>>>,
    dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    pub(super) storages: Vec<Storage<'a>>,
    pub(super) tensors: Vec<TensorView>,
}

impl<'a> Machine<'a> {
    /// Runs the pickle that begins at byte `at` of `bytes`. Gives the machine, what it made, and where the pickle ends.
    pub(super) fn run(path: &'a Path, bytes: &'a [u8], at: usize) -> Result<(Self, Value<'a>, usize), ModelError> {
        let mut machine = Self {
            path,
            bytes,
            at,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            tuples: Vec::new(),
            lists: Vec::new(),
            dicts: Vec::new(),
            storages: Vec::new(),
            tensors: Vec::new(),
        };
        for _ in 0..MAX_OPERATIONS {
            if let Some(value) = machine.step()? {
                let end = machine.at;
                return Ok((machine, value, end));
            }
        }
        Err(machine.damaged("the pickle does not end"))
    }

    pub(super) fn list(&self, at: usize) -> &[Value<'a>] {
        &self.lists[at]
    }

    pub(super) fn dict(&self, at: usize) -> &[(Value<'a>, Value<'a>)] {
        &self.dicts[at]
    }

    pub(super) fn storages(&self) -> &[Storage<'a>] {
        &self.storages
    }

    pub(super) fn storage(&self, at: usize) -> &Storage<'a> {
        &self.storages[at]
    }

    pub(super) fn tensor(&self, at: usize) -> &TensorView {
        &self.tensors[at]
    }

    pub(super) fn damaged(&self, what: &str) -> ModelError {
        ModelError::damaged(self.path, format!("{what} (at byte {} of its pickle)", self.at))
    }

    pub(super) fn refused(&self, what: String) -> ModelError {
        ModelError::unsupported(
            self.path,
            format!("{what} is not something that weights need, and was not run"),
            "if you trust the file, load it with torch and save it as safetensors",
        )
    }

    /// Runs one operation; gives the result when it was the last.
    fn step(&mut self) -> Result<Option<Value<'a>>, ModelError> {
        let [operation] = self.array()?;
        match operation {
            b'.' => return self.pop().map(Some),
            0x80 => {
                let [protocol] = self.array()?;
                if !(2..=5).contains(&protocol) {
                    return Err(self.damaged(&format!("pickle protocol {protocol} is unknown")));
                }
            }
            // A frame only announces its length.
            0x95 => {
                self.array::<8>()?;
            }
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Integer(number.into()));
            }
            b'K' => {
                let [number] = self.array()?;
                self.stack.push(Value::Integer(number.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(self.array()?);
                self.stack.push(Value::Integer(number.into()));
            }
            0x8a => self.long()?,
            b'G' => {
                let number = f64::from_be_bytes(self.array()?);
                self.stack.push(Value::Float(number));
            }
            b'U' | 0x8c => {
                let [length] = self.array()?;
                self.text(length.into())?;
            }
            b'T' | b'X' => {
                let length = u32::from_le_bytes(self.array()?);
                self.text(length.into())?;
            }
            0x8d => {
                let length = u64::from_le_bytes(self.array()?);
                self.text(length)?;
            }
            b'(' => self.marks.push(self.stack.len()),
            b')' => self.push_tuple(Vec::new()),
            0x85..=0x87 => {
                let count = usize::from(operation - 0x84);
                let items = self.pop_many(count)?;
                self.push_tuple(items);
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.push_tuple(items);
            }
            b']' => {
                self.lists.push(Vec::new());
                self.stack.push(Value::List(self.lists.len() - 1));
            }
            b'}' => self.push_dict(Vec::new()),
            b'a' => {
                let items = self.pop_many(1)?;
                self.append(items)?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.set_items(&items)?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)?;
            }
            b'q' => {
                let [slot] = self.array()?;
                self.remember(slot.into())?;
            }
            b'r' => {
                let slot = u32::from_le_bytes(self.array()?);
                self.remember(slot)?;
            }
            0x94 => {
                let slot = u32::try_from(self.memo.len()).map_err(|_| self.damaged("the memo is full"))?;
                self.remember(slot)?;
            }
            b'h' => {
                let [slot] = self.array()?;
                self.recall(slot.into())?;
            }
            b'j' => {
                let slot = u32::from_le_bytes(self.array()?);
                self.recall(slot)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.name(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (module, name) {
                    (Value::Text(module), Value::Text(name)) => self.name(module, name)?,
                    _ => return Err(self.damaged("a name is not a text")),
                }
            }
            b'R' => self.call()?,
            b'b' => self.build()?,
            b'Q' => self.persistent()?,
            other => return Err(self.refused(format!("the pickle operation {other:#04x}"))),
        }
        Ok(None)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], ModelError> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        match end.and_then(|end| Some((self.bytes.get(self.at..end)?, end))) {
            Some((part, end)) => {
                self.at = end;
                Ok(part)
            }
            None => Err(self.damaged("the pickle is cut off")),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ModelError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    fn long(&mut self) -> Result<(), ModelError> {
        let [length] = self.array()?;
        let bytes = self.take(length.into())?;
        if bytes.len() > 16 {
            return Err(self.damaged("a number is too large"));
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut array = [if negative { 0xff } else { 0 }; 16];
        array[..bytes.len()].copy_from_slice(bytes);
        self.stack.push(Value::Integer(i128::from_le_bytes(array)));
        Ok(())
    }

    fn utf8(&self, bytes: &'a [u8]) -> Result<&'a str, ModelError> {
        std::str::from_utf8(bytes).map_err(|_| self.damaged("a text is not UTF-8"))
    }

    fn text(&mut self, length: u64) -> Result<(), ModelError> {
        let bytes = self.take(length)?;
        let text = self.utf8(bytes)?;
        self.stack.push(Value::Text(text));
        Ok(())
    }

    /// A text up to the end of the line. Names are short, so the end is looked for nearby only.
    fn line(&mut self) -> Result<&'a str, ModelError> {
        let rest = &self.bytes[self.at..];
        let length =
            rest.iter().take(256).position(|&byte| byte == b'\n').ok_or_else(|| self.damaged("a name has no end"))?;
        self.at += length + 1;
        self.utf8(&rest[..length])
    }

    /// The lowest height to which operations may take the stack down.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub(super) fn pop(&mut self) -> Result<Value<'a>, ModelError> {
        if self.stack.len() > self.floor()
            && let Some(value) = self.stack.pop()
        {
            return Ok(value);
        }
        Err(self.damaged("the stack is empty"))
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Value<'a>>, ModelError> {
        match self.stack.len().checked_sub(count) {
            Some(height) if height >= self.floor() => Ok(self.stack.split_off(height)),
            _ => Err(self.damaged("the stack is too short")),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value<'a>>, ModelError> {
        let mark = self.marks.pop().ok_or_else(|| self.damaged("there is no mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn push_tuple(&mut self, items: Vec<Value<'a>>) {
        self.tuples.push(items);
        self.stack.push(Value::Tuple(self.tuples.len() - 1));
    }

    pub(super) fn push_dict(&mut self, items: Vec<(Value<'a>, Value<'a>)>) {
        self.dicts.push(items);
        self.stack.push(Value::Dict(self.dicts.len() - 1));
    }

    fn append(&mut self, items: Vec<Value<'a>>) -> Result<(), ModelError> {
        match self.stack.last() {
            Some(&Value::List(list)) => self.lists[list].extend(items),
            _ => return Err(self.damaged("something is appended to what is no list")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Value<'a>]) -> Result<(), ModelError> {
        let (pairs, []) = items.as_chunks::<2>() else { return Err(self.damaged("a key has no value")) };
        match self.stack.last() {
            Some(&Value::Dict(dict)) => self.dicts[dict].extend(pairs.iter().map(|&[key, value]| (key, value))),
            _ => return Err(self.damaged("a key is set in what is no dictionary")),
        }
        Ok(())
    }

    fn remember(&mut self, slot: u32) -> Result<(), ModelError> {
        let value = *self.stack.last().ok_or_else(|| self.damaged("the stack is empty"))?;
        self.memo.insert(slot, value);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Result<(), ModelError> {
        let value = *self.memo.get(&slot).ok_or_else(|| self.damaged(&format!("memo {slot} was never set")))?;
        self.stack.push(value);
        Ok(())
    }
}
