//! The functions of each instruction set.

use half::{bf16, f16};

#[cfg(target_arch = "aarch64")]
use super::aarch64;
use super::isa::Isa;
#[cfg(target_arch = "x86_64")]
use super::x86;
use super::{KvDtype, attention, brain, elementwise, integer, matmul, quantize, scalar};
use crate::weights::Format;

/// A product for a range of panels.
pub(super) type Panels = unsafe fn(matmul::Job, usize, usize);

/// Input, weight, bias, epsilon, output.
type LayerNorm = unsafe fn(&[f32], &[f32], &[f32], f32, &mut [f32]);

/// A row of numbers, rounded to pairs of bfloat16.
pub(super) type Round = unsafe fn(&[f32], &mut [u32]);

/// The functions of one instruction set. Each is `unsafe` because the processor must have it.
pub(super) struct Table {
    panels: [Panels; 11],
    attend: [unsafe fn(attention::Job); 3],
    pub(super) quantize: unsafe fn(&[f32], quantize::Target<'_>),
    pub(super) rms_norm: unsafe fn(&mut [f32], &[f32], f32),
    pub(super) layer_norm: LayerNorm,
    pub(super) silu_mul: unsafe fn(&mut [f32], &[f32]),
    pub(super) gelu_tanh: unsafe fn(&mut [f32]),
    /// Rounds activations for products with bfloat16 weights, where these ask for it.
    pub(super) round: Option<Round>,
}

impl Table {
    /// The product with weights of a format.
    pub(super) fn panels(&self, format: Format) -> Panels {
        self.panels[match format {
            Format::F32 => 0,
            Format::F16 => 1,
            Format::Bf16 => 2,
            Format::Q8_0 => 3,
            Format::Q4_0 => 4,
            Format::Q4_1 => 5,
            Format::Q4K => 6,
            Format::Q5K => 7,
            Format::Q6K => 8,
            Format::Q5_0 => 9,
            Format::Q5_1 => 10,
        }]
    }

    /// Attention over a cache of a type.
    pub(super) fn attend(&self, dtype: KvDtype) -> unsafe fn(attention::Job) {
        self.attend[match dtype {
            KvDtype::F32 => 0,
            KvDtype::F16 => 1,
            KvDtype::Bf16 => 2,
        }]
    }

    /// The functions of an instruction set, which the caller knows to be there.
    pub(super) fn of(isa: Isa) -> &'static Self {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => &avx512::BF16,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => &avx512::VNNI,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => &avx512::BASE,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                static AVX2: Table = table!(x86::Avx2, "avx2,fma,f16c");
                &AVX2
            }
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => {
                static NEON: Table = table!(aarch64::Neon);
                &NEON
            }
            _ => {
                static SCALAR: Table = table!(scalar::Scalar);
                &SCALAR
            }
        }
    }
}

/// The levels of AVX-512: each has what the one below lacks.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::*;

    pub(super) static BASE: Table = LEVEL_0;
    pub(super) static VNNI: Table = LEVEL_1;
    pub(super) static BF16: Table =
        Table { panels: with_bf16(LEVEL_1.panels), round: Some(x86::round_bf16), ..LEVEL_1 };

    const LEVEL_0: Table = table!(x86::Avx512<false>, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c");
    const LEVEL_1: Table = {
        let bytes = quantized!(x86::Avx512<true>, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c");
        let [f32, f16, bf16, ..] = LEVEL_0.panels;
        let [q8_0, q4_0, q4_1, q4_k, q5_k, q6_k, q5_0, q5_1] = bytes;
        Table { panels: [f32, f16, bf16, q8_0, q4_0, q4_1, q4_k, q5_k, q6_k, q5_0, q5_1], ..LEVEL_0 }
    };

    const fn with_bf16(mut panels: [Panels; 11]) -> [Panels; 11] {
        table!(@function ["avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c"]
            numbers_bf16(job: matmul::Job, from: usize, to: usize) = brain::panels::<x86::Bf16Dot>(job, from, to));
        panels[2] = numbers_bf16;
        panels
    }
}

/// Instantiates every algorithm for one vector type inside functions that are compiled for its instruction set.
macro_rules! table {
    ($vector:ty $(, $feature:literal)?) => {{
        table!(@function [$($feature)?] numbers_f32(job: matmul::Job, from: usize, to: usize) =
            matmul::panels::<$vector, f32>(job, from, to));
        table!(@function [$($feature)?] numbers_f16(job: matmul::Job, from: usize, to: usize) =
            matmul::panels::<$vector, f16>(job, from, to));
        table!(@function [$($feature)?] numbers_bf16(job: matmul::Job, from: usize, to: usize) =
            brain::panels_widened::<$vector>(job, from, to));
        table!(@function [$($feature)?] attend_f32(job: attention::Job) = attention::attend::<$vector, f32>(job));
        table!(@function [$($feature)?] attend_f16(job: attention::Job) = attention::attend::<$vector, f16>(job));
        table!(@function [$($feature)?] attend_bf16(job: attention::Job) = attention::attend::<$vector, bf16>(job));
        table!(@function [$($feature)?] quantize(x: &[f32], target: quantize::Target<'_>) =
            quantize::quantize::<$vector>(x, target));
        table!(@function [$($feature)?] rms_norm(x: &mut [f32], weight: &[f32], eps: f32) =
            elementwise::rms_norm::<$vector>(x, weight, eps));
        table!(@function [$($feature)?]
            layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) =
            elementwise::layer_norm::<$vector>(x, weight, bias, eps, out));
        table!(@function [$($feature)?] silu_mul(x: &mut [f32], y: &[f32]) =
            elementwise::silu_mul::<$vector>(x, y));
        table!(@function [$($feature)?] gelu_tanh(x: &mut [f32]) = elementwise::gelu_tanh::<$vector>(x));
        let [q8_0, q4_0, q4_1, q4_k, q5_k, q6_k, q5_0, q5_1] = quantized!($vector $(, $feature)?);
        Table {
            panels: [numbers_f32, numbers_f16, numbers_bf16, q8_0, q4_0, q4_1, q4_k, q5_k, q6_k, q5_0, q5_1],
            attend: [attend_f32, attend_f16, attend_bf16],
            quantize,
            rms_norm,
            layer_norm,
            silu_mul,
            gelu_tanh,
            round: None,
        }
    }};
    (@function [$($feature:literal)?] $name:ident($($argument:ident: $type:ty),*) = $call:expr) => {
        $(#[target_feature(enable = $feature)])?
        unsafe fn $name($($argument: $type),*) {
            // SAFETY: forwarded; this function is compiled for the instruction set.
            unsafe { $call }
        }
    };
}
use table;

/// The products with quantized weights among them, in the order of the table.
macro_rules! quantized {
    ($vector:ty $(, $feature:literal)?) => {{
        table!(@function [$($feature)?] q8_0(job: matmul::Job, from: usize, to: usize) =
            integer::panels::<$vector, integer::Q8_0>(job, from, to));
        table!(@function [$($feature)?] q4_0(job: matmul::Job, from: usize, to: usize) =
            integer::panels::<$vector, integer::Q4_0>(job, from, to));
        table!(@function [$($feature)?] q4_1(job: matmul::Job, from: usize, to: usize) =
            integer::panels::<$vector, integer::Q4_1>(job, from, to));
        table!(@function [$($feature)?] q5_0(job: matmul::Job, from: usize, to: usize) =
            integer::panels::<$vector, integer::Q5_0>(job, from, to));
        table!(@function [$($feature)?] q5_1(job: matmul::Job, from: usize, to: usize) =
            integer::panels::<$vector, integer::Q5_1>(job, from, to));
        table!(@function [$($feature)?] q4_k(job: matmul::Job, from: usize, to: usize) =
            integer::panels::<$vector, integer::Q4K>(job, from, to));
        table!(@function [$($feature)?] q5_k(job: matmul::Job, from: usize, to: usize) =
            integer::panels::<$vector, integer::Q5K>(job, from, to));
        table!(@function [$($feature)?] q6_k(job: matmul::Job, from: usize, to: usize) =
            integer::panels::<$vector, integer::Q6K>(job, from, to));
        let all: [Panels; 8] = [q8_0, q4_0, q4_1, q4_k, q5_k, q6_k, q5_0, q5_1];
        all
    }};
}
use quantized;
