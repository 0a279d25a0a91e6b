//! What the targets share: where to cut an input, a watch on memory, and models in which one file is bad.

pub mod cuts;
pub mod data;
pub mod memory;
pub mod model;
