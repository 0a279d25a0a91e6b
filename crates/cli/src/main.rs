//! The program `sagellm-benchmark`.

fn main() {}
