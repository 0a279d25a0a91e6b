//! Memory and processor of this process and its host.
