//! The CPU inference engine: kernels, layers, KV cache, scheduler.
