//! What a pickle may call, and what then happens: the few constructors that a table of tensors needs.

use super::machine::{Machine, Storage, TensorView, Value};
use crate::{Dtype, ModelError};

/// The names that a pickle may mention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Callable {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Element),
}

/// What a storage holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Element {
    pub(super) width: usize,
    /// Ours, or the name of one that weights cannot have.
    pub(super) dtype: Result<Dtype, &'static str>,
}

impl Machine<'_> {
    /// Looks a name up in the list of what is allowed.
    pub(super) fn name(&mut self, module: &str, name: &str) -> Result<(), ModelError> {
        let element = |width, dtype| Callable::Storage(Element { width, dtype });
        let callable = match (module, name) {
            ("collections", "OrderedDict") => Callable::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Callable::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Callable::RebuildParameter,
            ("torch", "FloatStorage") => element(4, Ok(Dtype::F32)),
            ("torch", "HalfStorage") => element(2, Ok(Dtype::F16)),
            ("torch", "BFloat16Storage") => element(2, Ok(Dtype::Bf16)),
            ("torch", "DoubleStorage") => element(8, Err("F64")),
            ("torch", "LongStorage") => element(8, Err("I64")),
            ("torch", "IntStorage") => element(4, Err("I32")),
            ("torch", "ShortStorage") => element(2, Err("I16")),
            ("torch", "CharStorage") => element(1, Err("I8")),
            ("torch", "ByteStorage") => element(1, Err("U8")),
            ("torch", "BoolStorage") => element(1, Err("BOOL")),
            _ => return Err(self.refused(format!("`{module}.{name}`"))),
        };
        self.stack.push(Value::Callable(callable));
        Ok(())
    }

    pub(super) fn call(&mut self) -> Result<(), ModelError> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let (Value::Tuple(arguments), Value::Callable(callable)) = (arguments, callable) else {
            return Err(self.damaged("what is called is no function"));
        };
        // No allowed function takes more than seven.
        let arguments: Vec<_> = self.tuples[arguments].iter().take(8).copied().collect();
        match (callable, &arguments[..]) {
            (Callable::OrderedDict, []) => self.push_dict(Vec::new()),
            (
                Callable::RebuildTensor,
                &[Value::Storage(storage), Value::Integer(offset), Value::Tuple(shape), Value::Tuple(strides), ..],
            ) => {
                let view = usize::try_from(offset).ok().zip(self.sizes(shape)).zip(self.sizes(strides));
                let Some(((offset, shape), strides)) = view else {
                    return Err(self.damaged("a tensor's offset, shape or strides are not sizes"));
                };
                self.tensors.push(TensorView { storage, offset, shape, strides });
                self.stack.push(Value::Tensor(self.tensors.len() - 1));
            }
            (Callable::RebuildParameter, &[tensor @ Value::Tensor(_), ..]) => self.stack.push(tensor),
            _ => return Err(self.damaged("a function is called with the wrong arguments")),
        }
        Ok(())
    }

    fn sizes(&self, tuple: usize) -> Option<Vec<usize>> {
        /// More than any tensor has.
        const MAX_DIMENSIONS: usize = 16;
        let items = &self.tuples[tuple];
        if items.len() > MAX_DIMENSIONS {
            return None;
        }
        items
            .iter()
            .map(|item| match item {
                Value::Integer(size) => usize::try_from(*size).ok(),
                _ => None,
            })
            .collect()
    }

    /// A dictionary may be given attributes (`_metadata` of a state dict). They are not needed.
    pub(super) fn build(&mut self) -> Result<(), ModelError> {
        self.pop()?;
        match self.stack.last() {
            Some(Value::Dict(_)) => Ok(()),
            _ => Err(self.refused("the state of an object".into())),
        }
    }

    /// A reference to bytes outside the pickle: `("storage", class, key, place, elements)`, and `None` in old files.
    pub(super) fn persistent(&mut self) -> Result<(), ModelError> {
        let Value::Tuple(tuple) = self.pop()? else {
            return Err(self.damaged("a storage is not described by a tuple"));
        };
        let (Value::Text("storage"), Value::Callable(Callable::Storage(element)), Value::Text(key), elements) =
            (match self.tuples[tuple][..] {
                [tag, class, key, _place, Value::Integer(elements)]
                | [tag, class, key, _place, Value::Integer(elements), Value::None] => (tag, class, key, elements),
                _ => return Err(self.damaged("a storage is not described as torch does")),
            })
        else {
            return Err(self.damaged("a storage is not described as torch does"));
        };
        let elements = usize::try_from(elements).map_err(|_| self.damaged("a storage has no size"))?;
        self.storages.push(Storage { element, key, elements });
        self.stack.push(Value::Storage(self.storages.len() - 1));
        Ok(())
    }
}
