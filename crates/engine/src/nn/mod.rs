//! The parts that models are made of, each once.

mod attention;
mod decoder;
mod linear;
mod mlp;
mod norm;
mod rope;

pub(crate) use attention::{Attention, HeadNorm};
pub(crate) use decoder::{Block, Decoder, Head, Positions, Row, Workspace};
pub(crate) use linear::Linear;
pub(crate) use mlp::{Activate, Mlp};
pub(crate) use norm::Norm;
pub(crate) use rope::Rope;
