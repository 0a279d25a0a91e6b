//! Options of the CPU engine.

use clap::{Args, ValueEnum};
use sagellm_core::Failure;
use sagellm_engine::{ComputeDtype, EngineOptions, Isa};

use super::{BackendName, refuse, whole};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DtypeName {
    /// Every weight in the format that it is stored in
    Auto,
    /// Single precision
    F32,
    /// bfloat16 weights, sums in single precision
    Bf16,
    /// Half precision weights, sums in single precision
    F16,
    /// Weights and activations in 8 bits, with a scale for every 32
    Int8,
}

impl DtypeName {
    pub(crate) fn dtype(self) -> Option<ComputeDtype> {
        match self {
            Self::Auto => None,
            Self::F32 => Some(ComputeDtype::F32),
            Self::Bf16 => Some(ComputeDtype::Bf16),
            Self::F16 => Some(ComputeDtype::F16),
            Self::Int8 => Some(ComputeDtype::Int8),
        }
    }
}

/// How tokens are drafted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SpecName {
    /// What followed the last time that the sequence said the same
    Ngram,
}

/// Settings of the CPU engine.
#[derive(Debug, Args)]
#[command(next_help_heading = "CPU engine")]
pub(crate) struct EngineArgs {
    /// Threads that compute [default: one per processor]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=1024))]
    pub(crate) threads: Option<usize>,
    /// Type of the weights [default: auto]
    #[arg(long, value_enum)]
    pub(crate) dtype: Option<DtypeName>,
    /// Tokens that the KV cache holds [default: enough for what runs at once]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=1 << 32))]
    pub(crate) kv_cache_tokens: Option<usize>,
    /// Tokens computed in one step at most [default: 512]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=1 << 20))]
    pub(crate) max_num_batched_tokens: Option<usize>,
    /// Requests that the engine runs together at most [default: 256]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=1 << 20))]
    pub(crate) max_num_seqs: Option<usize>,
    /// Draft tokens and compute them together with the one before: `ngram` takes what followed the same words earlier in
    /// the sequence. Which tokens come does not depend on it [default: no drafts]
    #[arg(long, value_name = "METHOD", value_enum)]
    pub(crate) spec: Option<SpecName>,
    /// Tokens drafted for a request in one step at most [default: 8]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=64), requires = "spec")]
    pub(crate) spec_tokens: Option<usize>,
    /// Compute every prompt in full, even when its beginning is in the cache
    #[arg(long)]
    pub(crate) no_enable_prefix_caching: bool,
    /// Instruction set to use: avx512-bf16, avx512-vnni, avx512, avx2, neon, scalar [default: the best there is]
    #[arg(long, value_name = "ISA")]
    pub(crate) isa: Option<Isa>,
}

impl EngineArgs {
    /// The engine's settings; `kv_cache_tokens` holds unless told otherwise.
    pub(crate) fn options(&self, kv_cache_tokens: usize, stream_text: bool) -> EngineOptions {
        EngineOptions {
            threads: self.threads.unwrap_or(0),
            isa: self.isa,
            dtype: self.dtype.and_then(DtypeName::dtype),
            kv_cache_tokens: self.kv_cache_tokens.unwrap_or(kv_cache_tokens),
            max_num_batched_tokens: self.max_num_batched_tokens.unwrap_or(512),
            max_num_seqs: self.sequences(),
            prefix_caching: !self.no_enable_prefix_caching,
            draft_tokens: self.spec.map_or(0, |SpecName::Ngram| self.spec_tokens.unwrap_or(8)),
            stream_text,
        }
    }

    /// How many requests it computes at once.
    pub(crate) fn sequences(&self) -> usize {
        self.max_num_seqs.unwrap_or(256)
    }

    /// A server has settings of its own.
    pub(crate) fn refuse_for_servers(&self, backend: BackendName) -> Result<(), Failure> {
        let with = format!("`--backend {}`", backend.name());
        refuse(&self.given(), &with, "it is a setting of the CPU engine; configure the server where it is started")
    }

    /// A simulation computes nothing.
    pub(crate) fn refuse_for_simulation(&self) -> Result<(), Failure> {
        refuse(&self.given(), "`--simulate`", "it is a setting of the CPU engine")
    }

    fn given(&self) -> [(&'static str, bool); 9] {
        [
            ("--threads", self.threads.is_some()),
            ("--dtype", self.dtype.is_some()),
            ("--kv-cache-tokens", self.kv_cache_tokens.is_some()),
            ("--max-num-batched-tokens", self.max_num_batched_tokens.is_some()),
            ("--max-num-seqs", self.max_num_seqs.is_some()),
            ("--no-enable-prefix-caching", self.no_enable_prefix_caching),
            ("--spec", self.spec.is_some()),
            ("--spec-tokens", self.spec_tokens.is_some()),
            ("--isa", self.isa.is_some()),
        ]
    }
}
