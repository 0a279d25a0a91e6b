//! The paged KV cache: which blocks are whose ([`BlockPool`]), and where their keys and values lie ([`KvStorage`]).

mod blocks;
mod storage;

pub(crate) use blocks::{BlockPool, Content};
pub(crate) use storage::KvStorage;
