#!/usr/bin/env python3
"""Makes the tiny reference models in `testdata/models/`.

    python3 -m venv target/reference && target/reference/bin/pip install -r testdata/requirements.txt
    target/reference/bin/python testdata/make_models.py

Each folder is a Hugging Face checkpoint with random weights and an `expected.json`: for several prompts, the logits
after the prompt and 32 greedy tokens, computed by `transformers` in float32 on a CPU with eager attention. The seeds
are fixed, so the same versions of the libraries make the same bytes (except in `gpt2-bin-legacy`, whose format names
its storages by their address in memory).

The random weights are chosen to make a wrong implementation visible. Norm weights are not one and biases are not zero,
so that forgetting one shows; queries and keys are large enough that attention is far from uniform; and a seed is only
accepted when every greedy step is decided by a clear margin, so that equality of tokens is a fair demand.
"""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent
MODELS = HERE / "models"

VOCAB = 331  # odd: no kernel's lane count divides it
PROMPT_LENGTHS = [1, 5, 17, 40, 90]
GREEDY_STEPS = 32
MIN_GAP = 2e-3  # between the best and the second logit, at every greedy step
EOS = 300

TRAINING_TEXT = """
The harbour wakes before the town does. Boats leave in the dark and come back with the first light, and the people on
the quay count the boxes as they are handed up. Nobody hurries; the same work was done yesterday and will be done again
tomorrow. A measurement is a kind of promise: it says that whoever repeats the work will see the same thing, or will be
able to say why not. The clock on the tower is four minutes slow, and everyone knows it, so nobody is late.
When the rain comes from the west the streets are empty, and the lamps are reflected in the water between the stones.
It's what they've always said: "we'll see it when it's there." In 1987 there were 12 boats; in 2024 there are 340.
"""

TOKENIZER_CASES = [
    "",
    "The harbour wakes before the town does.",
    " leading and  double   spaces\tand\n\nnew lines \n",
    "it's they've we'll I'm you'd HE'S",
    "12 boats in 2024, 3.14 and 1,000,000",
    "Grüße aus Köln — naïve café ☕ 東京 🚢👩‍🚀",
    "<|endoftext|>after the end<|endoftext|>",
    "punctuation!?...()[]{}<>/\\|@#$%^&*",
    "\u0000\u001f\u007f\u00a0\u200b",
]


def make_tokenizer() -> Tokenizer:
    """A byte-level BPE as GPT-2 has, with 256 bytes, 44 merges and one special token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=EOS, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator([TRAINING_TEXT], trainer)
    added = tokenizer.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=False)])
    assert added == 1 and tokenizer.token_to_id("<|endoftext|>") == EOS
    return tokenizer


def randomize(model: torch.nn.Module, seed: int) -> None:
    """Draws every weight by its role. The generator is our own, so the library's defaults do not matter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            noise = torch.randn(weight.shape, generator=generator)
            if weight.dim() == 1:
                is_norm = name.endswith("weight")
                weight.copy_(1 + 0.2 * noise if is_norm else 0.2 * noise)
            elif any(part in name for part in ("wte", "embed_tokens")):
                weight.copy_(0.3 * noise)
            elif any(part in name for part in ("wpe", "embed_positions")):
                weight.copy_(0.3 * noise)
            else:
                # GPT-2's Conv1D keeps [in, out], everything else [out, in].
                conv1d = any(part in name for part in ("c_attn", "c_proj", "c_fc"))
                fan_in = weight.shape[0 if conv1d else 1]
                query_or_key = any(part in name for part in ("q_proj", "k_proj", "c_attn"))
                gain = 1.7 if query_or_key else 1.6
                weight.copy_(gain / math.sqrt(fan_in) * noise)


def prompts() -> list[list[int]]:
    """Token ids over the whole vocabulary, the same for every model."""
    generator = np.random.default_rng(20240229)
    return [generator.integers(0, VOCAB, length).tolist() for length in PROMPT_LENGTHS]


@torch.no_grad()
def reference(model: torch.nn.Module) -> tuple[list[dict], float, int]:
    """Expected figures, the smallest top-2 gap, and the smallest number of distinct tokens in a greedy run.

    Every step is a full forward pass over the whole sequence: nothing here depends on a cache.
    """
    cases, smallest_gap, fewest_distinct = [], math.inf, VOCAB
    for prompt in prompts():
        tokens, after_prompt, greedy = list(prompt), None, []
        for _ in range(GREEDY_STEPS):
            logits = model(torch.tensor([tokens]), use_cache=False).logits[0, -1].float().numpy()
            if after_prompt is None:
                after_prompt = logits
            second, best = np.partition(logits, -2)[-2:]
            smallest_gap = min(smallest_gap, float(best - second))
            greedy.append(int(logits.argmax()))
            tokens.append(greedy[-1])
        fewest_distinct = min(fewest_distinct, len(set(greedy)))
        cases.append({"tokens": prompt, "logits_last": after_prompt, "greedy": greedy})
    return cases, smallest_gap, fewest_distinct


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def write_expected(folder: Path, cases: list[dict]) -> None:
    """One line for each prompt. Floats have the fewest digits that give the same f32 back."""
    lines = []
    for case in cases:
        logits = ",".join(np.format_float_positional(x, unique=True, trim="0") for x in case["logits_last"])
        lines.append(f'{{"tokens":{case["tokens"]},"greedy":{case["greedy"]},"logits_last":[{logits}]}}'.replace(", ", ","))
    (folder / "expected.json").write_text('{"prompts":[\n' + ",\n".join(lines) + "\n]}\n")


def load(folder: Path, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    return model.float().eval()


def edit_config(folder: Path, remove: list[str] = [], **changes: object) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for key in remove:
        del config[key]
    config.update(changes)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def make(name: str, config: transformers.PretrainedConfig, min_distinct: int = 6) -> Path:
    """Saves the first seed whose greedy runs are clear and varied, and what is expected of it."""
    folder = MODELS / name
    for seed in range(200):
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
        randomize(model, seed)
        _, gap, distinct = reference(model)
        if gap > MIN_GAP and distinct >= min_distinct:
            break
    else:
        raise SystemExit(f"{name}: no seed gives clear and varied greedy runs")
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    make_tokenizer().save(str(folder / "tokenizer.json"))
    finish(folder)
    print(f"{name}: seed {seed}, smallest gap {gap:.4f}, at least {distinct} distinct tokens of {GREEDY_STEPS}")
    return folder


def finish(folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Writes `expected.json` from the files as they are on disk."""
    cases, gap, _ = reference(load(folder, dtype))
    assert gap > MIN_GAP, f"{folder.name}: gap {gap}"
    write_expected(folder, cases)


def copy_of(source: Path, name: str, weights: bool = False) -> Path:
    """A new folder with the config and the tokenizer of `source`."""
    folder = MODELS / name
    folder.mkdir()
    for file in ("config.json", "tokenizer.json", *(["model.safetensors"] if weights else [])):
        shutil.copyfile(source / file, folder / file)
    return folder


def rounded_copy(source: Path, name: str, dtype: torch.dtype, dtype_name: str) -> None:
    """The same weights rounded to `dtype`; the arithmetic of the reference stays f32."""
    folder = copy_of(source, name)
    weights = {key: value.to(dtype) for key, value in load_file(source / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    edit_config(folder, dtype=dtype_name)
    finish(folder, dtype)


def sharded_copy(source: Path, name: str) -> None:
    folder = copy_of(source, name)
    load(source).save_pretrained(folder, max_shard_size="60KB")
    shutil.copyfile(source / "config.json", folder / "config.json")
    (folder / "generation_config.json").unlink(missing_ok=True)
    assert (folder / "model.safetensors.index.json").exists()
    finish(folder)


def old_hub_copy(source: Path, name: str, legacy: bool) -> None:
    """What the GPT-2 folders on the hub look like: `pytorch_model.bin`, names without `transformer.`, the causal mask
    stored as a buffer in each layer (cut to 16 positions here, to stay small; no reader needs it), and `vocab.json`
    with `merges.txt` instead of `tokenizer.json`."""
    folder = copy_of(source, name)
    state = {}
    for key, value in load_file(source / "model.safetensors").items():
        key = key.removeprefix("transformer.")
        state[key] = value
        if key.endswith("attn.c_attn.weight"):
            state[key.replace("c_attn.weight", "bias")] = torch.ones(16, 16).tril().bool().view(1, 1, 16, 16)
    state = dict(sorted(state.items()))
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))
    vocab = json.loads((folder / "vocab.json").read_text())
    write_json(folder / "vocab.json", vocab | {"<|endoftext|>": EOS})
    (folder / "tokenizer.json").unlink()
    shutil.copyfile(source / "expected.json", folder / "expected.json")


def main() -> None:
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    shutil.rmtree(MODELS, ignore_errors=True)
    MODELS.mkdir()
    ids = {"bos_token_id": EOS, "eos_token_id": EOS, "pad_token_id": None}

    gpt2 = make("gpt2", transformers.GPT2Config(
        vocab_size=VOCAB, n_positions=256, n_embd=32, n_layer=2, n_head=4, **ids))
    # As wide as sshleifer/tiny-gpt2: a norm over two elements leaves little but signs, so greedy runs repeat.
    make("gpt2-width2", transformers.GPT2Config(
        vocab_size=VOCAB, n_positions=256, n_embd=2, n_layer=2, n_head=2, **ids), min_distinct=1)
    opt = make("opt", transformers.OPTConfig(
        vocab_size=VOCAB, max_position_embeddings=256, hidden_size=32, word_embed_proj_dim=32, ffn_dim=68,
        num_hidden_layers=2, num_attention_heads=4, **ids))
    make("opt-350m-style", transformers.OPTConfig(
        vocab_size=VOCAB, max_position_embeddings=256, hidden_size=36, word_embed_proj_dim=20, ffn_dim=68,
        num_hidden_layers=2, num_attention_heads=6, do_layer_norm_before=False, **ids))

    llama_like = dict(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                      num_key_value_heads=2, intermediate_size=68, max_position_embeddings=1024, **ids)
    llama = make("llama", transformers.LlamaConfig(tie_word_embeddings=True, **llama_like))
    make("llama-untied", transformers.LlamaConfig(
        tie_word_embeddings=False, attention_bias=True, mlp_bias=True, **llama_like))
    # The training length lies between wavelengths, so that all three branches of the rule are taken.
    llama3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    scaled = make("llama3-rope-scaling", transformers.LlamaConfig(
        tie_word_embeddings=True, rope_parameters={"rope_type": "llama3", "rope_theta": 10000.0, **llama3}, **llama_like))
    make("mistral", transformers.MistralConfig(
        **(llama_like | {"num_attention_heads": 6, "hidden_size": 36, "num_key_value_heads": 3}), sliding_window=None,
        tie_word_embeddings=False))
    make("qwen2", transformers.Qwen2Config(tie_word_embeddings=True, **llama_like))
    make("qwen3", transformers.Qwen3Config(tie_word_embeddings=True, head_dim=12, **llama_like))

    # Checkpoints written before transformers 5 keep the rotary constants in these keys.
    edit_config(scaled, remove=["rope_parameters"], rope_theta=10000.0, rope_scaling={"rope_type": "llama3", **llama3})
    finish(scaled)
    edit_config(llama, remove=["rope_parameters"], rope_theta=10000.0, rope_scaling=None)
    finish(llama)

    rounded_copy(llama, "llama-bf16", torch.bfloat16, "bfloat16")
    rounded_copy(opt, "opt-f16", torch.float16, "float16")
    sharded_copy(llama, "llama-sharded")
    old_hub_copy(gpt2, "gpt2-bin", legacy=False)
    old_hub_copy(gpt2, "gpt2-bin-legacy", legacy=True)

    tokenizer = make_tokenizer()
    write_json(MODELS / "tokenizer_cases.json", [
        {"text": text, "ids": tokenizer.encode(text).ids} for text in TOKENIZER_CASES])
    for file in MODELS.rglob("*.safetensors"):
        file.chmod(0o644)
    total = sum(file.stat().st_size for file in MODELS.rglob("*") if file.is_file())
    print(f"{total / 1e6:.2f} MB in {MODELS}")


if __name__ == "__main__":
    main()
