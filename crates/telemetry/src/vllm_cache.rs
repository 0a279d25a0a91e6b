//! The size of vLLM's KV cache, which is needed to make its usage a number of tokens.

use crate::prometheus::{Exposition, Sample};

/// The KV caches of all engines, from the labels of `vllm:cache_config_info`.
pub(crate) struct VllmCache {
    /// Tokens that they hold, as vLLM says it in its log too.
    pub(crate) tokens: Option<f64>,
    /// Tokens that a usage of 1 stands for.
    pub(crate) usable: Option<f64>,
    /// Bytes that they take on one GPU each: vLLM documents them so, and does not expose how many GPUs an engine has.
    pub(crate) bytes: Option<f64>,
}

impl VllmCache {
    pub(crate) fn new(exposition: &Exposition<'_>) -> Self {
        let engines = exposition.samples("vllm:cache_config_info");
        let sum = |of: &dyn Fn(&Sample<'_>) -> Option<u64>| {
            let each = engines.iter().map(|engine| of(engine).map(|value| value as f64));
            each.sum::<Option<f64>>().filter(|sum| *sum > 0.0)
        };
        let bytes = sum(&|engine| number(engine, "kv_cache_memory_bytes"));
        Self { tokens: sum(&Self::tokens), usable: sum(&Self::usable), bytes }
    }

    fn tokens(engine: &Sample<'_>) -> Option<u64> {
        let blocks = || number(engine, "num_gpu_blocks")?.checked_mul(number(engine, "block_size")?);
        number(engine, "kv_cache_size_tokens").or_else(blocks)
    }

    /// One block is never handed out (vLLM's `BlockPool` calls it the null block), and the usage is a share of the others.
    /// Where layers of several kinds share the blocks, their size says nothing about tokens.
    fn usable(engine: &Sample<'_>) -> Option<u64> {
        let tokens = Self::tokens(engine)?;
        let blocks = number(engine, "num_gpu_blocks").zip(number(engine, "block_size"));
        let others = blocks.and_then(|(count, size)| Some((count.checked_sub(1)?.checked_mul(size)?, size)));
        Some(others.filter(|(others, size)| others.abs_diff(tokens) <= *size).map_or(tokens, |(others, _)| others))
    }
}

fn number(sample: &Sample<'_>, label: &str) -> Option<u64> {
    sample.label(label).and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus::parse;

    #[test]
    fn usage_of_vllm_leaves_out_the_block_that_is_never_handed_out() {
        let read = |labels: &str, usage: f64| {
            let text = format!("vllm:cache_config_info{{{labels}}} 1\n");
            let cache = VllmCache::new(&parse(&text).unwrap());
            ((cache.usable.unwrap() * usage).round(), cache.tokens.unwrap())
        };
        // As a real one told while a request of 128 + 128 tokens was there.
        let real = "block_size=\"128\",num_gpu_blocks=\"364\",kv_cache_size_tokens=\"46592\"";
        assert_eq!(read(real, 2.0 / 363.0), (256.0, 46592.0));
        let told_without_it = "block_size=\"16\",num_gpu_blocks=\"11\",kv_cache_size_tokens=\"160\"";
        assert_eq!(read(told_without_it, 0.5), (80.0, 160.0));
        let of_several_kinds = "block_size=\"16\",num_gpu_blocks=\"1000\",kv_cache_size_tokens=\"50000\"";
        assert_eq!(read(of_several_kinds, 0.5), (25000.0, 50000.0));
    }
}
