#!/usr/bin/env python3
"""Makes `testdata/gguf/` from `testdata/models/`: the same weights in llama.cpp's file format.

    target/reference/bin/python testdata/make_gguf.py

The files are laid out as llama.cpp's converter lays them out: its tensor names, GPT-2's matrices turned to [out, in], the
rows of q and k of the `llama` architecture reordered for interleaved rotation, Llama 3's rotary rule as a tensor of
divisors, unused rows of the vocabulary as padding tokens. So a reader of them is held against a layout that it did not
write itself. Unquantized files are expected to give what `models/<name>/expected.json` says; quantized ones have an
`<name>.expected.json` of their own, computed by `transformers` from the dequantized weights.
"""

import json
import shutil
import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf.quants import dequantize, quantize
from make_models import EOS, MODELS, load, reference, write_expected
from safetensors.torch import load_file, save_file

GGUF = Path(__file__).parent / "gguf"
ARCHITECTURES = {"gpt2": "GPT2", "llama": "LLAMA", "qwen2": "QWEN2", "qwen3": "QWEN3"}


def permute(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rotate-half order to interleaved order, head by head."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def rope_divisors(config: dict) -> np.ndarray:
    """Llama 3's rule (https://github.com/meta-llama/llama-models): what each rotary frequency is divided by."""
    rule = config["rope_scaling"]
    dimensions = config["head_dim"]
    wavelength = 2 * np.pi * config["rope_theta"] ** (np.arange(0, dimensions, 2) / dimensions)
    low = rule["original_max_position_embeddings"] / rule["low_freq_factor"]
    high = rule["original_max_position_embeddings"] / rule["high_freq_factor"]
    smooth = (rule["original_max_position_embeddings"] / wavelength - rule["low_freq_factor"]) / (
        rule["high_freq_factor"] - rule["low_freq_factor"])
    between = 1 / ((1 - smooth) / rule["factor"] + smooth)
    divisors = np.where(wavelength < high, 1, np.where(wavelength > low, rule["factor"], between))
    assert len(set(divisors.round(3))) >= 3, "all branches of the rule are taken"
    return divisors.astype(np.float32)


def write_tokenizer(writer: gguf.GGUFWriter, folder: Path, vocab_size: int) -> None:
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    tokens = [None] * vocab_size
    for token, index in model["vocab"].items():
        tokens[index] = token
    types = [gguf.TokenType.NORMAL] * EOS + [gguf.TokenType.CONTROL] + [gguf.TokenType.UNUSED] * (vocab_size - EOS - 1)
    tokens[EOS] = "<|endoftext|>"
    tokens[EOS + 1:] = [f"[PAD{index}]" for index in range(EOS + 1, vocab_size)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_bos_token_id(EOS)
    writer.add_eos_token_id(EOS)
    writer.add_add_bos_token(False)


def write_config(writer: gguf.GGUFWriter, config: dict) -> None:
    gpt2 = config["model_type"] == "gpt2"
    hidden = config["n_embd" if gpt2 else "hidden_size"]
    heads = config["n_head" if gpt2 else "num_attention_heads"]
    writer.add_context_length(config["n_positions" if gpt2 else "max_position_embeddings"])
    writer.add_embedding_length(hidden)
    writer.add_block_count(config["n_layer" if gpt2 else "num_hidden_layers"])
    writer.add_head_count(heads)
    if gpt2:
        writer.add_feed_forward_length(4 * hidden)
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])
        return
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config.get("rope_theta") or config["rope_parameters"]["rope_theta"])
    head_dim = config.get("head_dim") or hidden // heads
    if config["model_type"] == "qwen3":
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    if config["model_type"] == "llama":
        writer.add_rope_dimension_count(head_dim)
        writer.add_vocab_size(config["vocab_size"])


def convert(name: str, quantization: gguf.GGMLQuantizationType | None = None) -> None:
    folder = MODELS / name
    config = json.loads((folder / "config.json").read_text())
    architecture = config["model_type"]
    label = name if quantization is None else f"{name}-{quantization.name.lower()}"
    writer = gguf.GGUFWriter(GGUF / f"{label}.gguf", architecture)
    writer.add_name(label)
    write_config(writer, config)
    write_tokenizer(writer, folder, config["vocab_size"])
    if config.get("rope_scaling"):
        writer.add_tensor("rope_freqs.weight", rope_divisors(config))

    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, ARCHITECTURES[architecture]), 8)
    rounded = {}
    for key, tensor in sorted(load_file(folder / "model.safetensors").items()):
        weight = tensor.numpy()
        if architecture == "gpt2" and key.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            weight = weight.T
        heads = None
        if architecture == "llama" and key.endswith("q_proj.weight"):
            heads = config["num_attention_heads"]
        elif architecture == "llama" and key.endswith("k_proj.weight"):
            heads = config["num_key_value_heads"]
        if heads:
            weight = permute(weight, heads)
        weight = np.ascontiguousarray(weight)
        target = names.get_name(key.removeprefix("transformer.") if architecture == "gpt2" else key, (".weight", ".bias"))
        assert target, key
        block = gguf.GGML_QUANT_SIZES[quantization][0] if quantization is not None else 0
        if block and weight.ndim == 2 and weight.shape[1] % block == 0:
            packed = quantize(weight, quantization)
            writer.add_tensor(target, packed, raw_dtype=quantization)
            weight = dequantize(packed, quantization)
        else:
            writer.add_tensor(target, weight)
        rounded[key] = torch.from_numpy(np.ascontiguousarray(unpermute(weight, heads) if heads else weight))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    if quantization is not None:
        with tempfile.TemporaryDirectory() as scratch:
            scratch = Path(scratch)
            shutil.copyfile(folder / "config.json", scratch / "config.json")
            save_file(rounded, scratch / "model.safetensors", metadata={"format": "pt"})
            cases, gap, _ = reference(load(scratch))
            print(f"{label}: smallest gap {gap:.4f}")
            assert gap > 1e-3, "equality of tokens would not be a fair demand"
            write_expected(scratch, cases)
            shutil.copyfile(scratch / "expected.json", GGUF / f"{label}.expected.json")


def main() -> None:
    shutil.rmtree(GGUF, ignore_errors=True)
    GGUF.mkdir()
    for name in ("gpt2", "llama", "llama3-rope-scaling", "qwen2", "qwen3"):
        convert(name)
    convert("llama", gguf.GGMLQuantizationType.Q8_0)
    convert("llama", gguf.GGMLQuantizationType.Q4_0)


if __name__ == "__main__":
    main()
