//! Every architecture against `transformers`: logits, and greedy tokens one after another.

use std::path::PathBuf;

use sagellm_core::NoProgress;
use sagellm_model::OpenOptions;
use serde::Deserialize;

use crate::kernels::{BLOCK, Isa, Kernels, KvDtype};
use crate::kv::KvStorage;
use crate::nn::{Decoder, Row, Workspace};
use crate::weights::ComputeDtype;

/// What `testdata/make_models.py` wrote beside each model.
#[derive(Deserialize)]
struct Expected {
    prompts: Vec<Prompt>,
}

#[derive(Deserialize)]
struct Prompt {
    tokens: Vec<u32>,
    logits_last: Vec<f32>,
    greedy: Vec<u32>,
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models").join(name)
}

fn open(name: &str) -> (sagellm_model::Model, Expected) {
    let folder = folder(name);
    let model = sagellm_model::open(folder.to_str().unwrap(), &OpenOptions::default(), &NoProgress).unwrap();
    let expected = std::fs::read(folder.join("expected.json")).unwrap();
    (model, serde_json::from_slice(&expected).unwrap())
}

/// A decoder with a cache for one sequence, whose blocks lie in reverse so that a table mix-up would show.
struct Bench {
    decoder: Decoder,
    kernels: Kernels,
    kv: KvStorage,
    work: Workspace,
    table: Vec<u32>,
}

const POSITIONS: usize = 160;

impl Bench {
    fn new(model: &sagellm_model::Model, dtype: Option<ComputeDtype>, kv_dtype: KvDtype, isa: Isa) -> Self {
        let decoder = super::load(model, dtype, POSITIONS, 2, &NoProgress).unwrap();
        let blocks = POSITIONS.div_ceil(BLOCK);
        let kv = KvStorage::new(blocks, decoder.blocks.len(), decoder.attention, kv_dtype).unwrap();
        let work = Workspace::new(&decoder, 128, 1).unwrap();
        let table = (0..u32::try_from(blocks).unwrap()).rev().collect();
        Self { decoder, kernels: Kernels::new(Some(isa), 2, sagellm_core::Clock::start()).unwrap(), kv, work, table }
    }

    /// Logits after `tokens`, the first of which stands at `start`.
    fn logits(&mut self, tokens: &[u32], start: usize) -> &[f32] {
        let rows: Vec<Row> = tokens
            .iter()
            .enumerate()
            .map(|(i, &token)| Row { sequence: 0, token, position: start + i, logits: i + 1 == tokens.len() })
            .collect();
        self.decoder.forward(&mut self.kernels, &rows, &[&self.table], &mut self.kv, &mut self.work)
    }
}

fn argmax(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
    u32::try_from(best).unwrap()
}

fn agrees(name: &str, dtype: ComputeDtype) {
    let (model, expected) = open(name);
    assert!(expected.prompts.len() >= 4);
    for isa in Isa::available() {
        let mut bench = Bench::new(&model, Some(dtype), KvDtype::F32, isa);
        for prompt in &expected.prompts {
            let len = prompt.tokens.len();
            let logits = bench.logits(&prompt.tokens, 0);
            let size = prompt.logits_last.iter().fold(0.0f32, |top, v| top.max(v.abs()));
            let off = logits.iter().zip(&prompt.logits_last).fold(0.0f32, |top, (a, b)| top.max((a - b).abs()));
            assert_eq!(logits.len(), prompt.logits_last.len());
            // With activations of bfloat16 every product is off by up to 2^-9, and tokens of close logits may change places.
            let rounds = isa == Isa::Avx512Bf16 && dtype == ComputeDtype::Bf16;
            let bound = if rounds { 2e-2 } else { 1e-4 };
            assert!(off <= bound * size, "{name} {isa}, {len} tokens: logits differ by {off}, the largest is {size}");
            if rounds {
                continue;
            }
            let mut token = argmax(logits);
            let mut greedy = vec![token];
            while greedy.len() < prompt.greedy.len() {
                token = argmax(bench.logits(&[token], len + greedy.len() - 1));
                greedy.push(token);
            }
            assert_eq!(greedy, prompt.greedy, "{name} {isa}, {len} tokens");
        }
    }
}

/// One test per reference model, so that a failure names it.
macro_rules! reference {
    ($($test:ident: $folder:literal, $dtype:ident;)*) => {$(
        #[test]
        fn $test() {
            agrees($folder, ComputeDtype::$dtype);
        }
    )*};
}

reference! {
    gpt2: "gpt2", F32;
    gpt2_of_width_2: "gpt2-width2", F32;
    gpt2_from_a_pickle: "gpt2-bin", F32;
    opt: "opt", F32;
    opt_with_norms_after_and_projections: "opt-350m-style", F32;
    opt_from_half_precision: "opt-f16", F32;
    llama: "llama", F32;
    llama_untied_with_biases: "llama-untied", F32;
    llama3_rope_scaling: "llama3-rope-scaling", F32;
    llama_from_shards: "llama-sharded", F32;
    llama_from_bfloat16: "llama-bf16", F32;
    llama_in_bfloat16: "llama-bf16", Bf16;
    mistral: "mistral", F32;
    qwen2: "qwen2", F32;
    qwen3: "qwen3", F32;
}

#[test]
fn chunks_of_a_prompt_give_the_same_bits() {
    for (name, dtype) in [
        ("gpt2", ComputeDtype::F32),
        ("llama", ComputeDtype::F32),
        ("qwen3", ComputeDtype::F32),
        ("llama", ComputeDtype::Bf16),
        ("llama", ComputeDtype::Int8),
    ] {
        let (model, expected) = open(name);
        let prompt = &expected.prompts.iter().max_by_key(|p| p.tokens.len()).unwrap().tokens;
        for isa in Isa::available() {
            let mut bench = Bench::new(&model, Some(dtype), KvDtype::F32, isa);
            let whole = bench.logits(prompt, 0).to_vec();
            let mut bench = Bench::new(&model, Some(dtype), KvDtype::F32, isa);
            let mut start = 0;
            let mut last = Vec::new();
            for size in [1, 7, 30, 2, 16].into_iter().cycle() {
                let end = prompt.len().min(start + size);
                last = bench.logits(&prompt[start..end], start).to_vec();
                start = end;
                if start == prompt.len() {
                    break;
                }
            }
            assert_eq!(whole, last, "{name} {isa}");
        }
    }
}
