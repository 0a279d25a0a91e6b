#!/usr/bin/env python3
"""Measures the CPU engine, alone or beside transformers (torch) and llama.cpp, and writes Markdown and JSON.

    bench/engine.py [--models gpt2,smollm2-135m] [--formats f32,bf16,q8_0,q4_1] [--runs 5] [--json FILE] [--markdown FILE]
                    [--prepare FOLDER --smollm2 FILE.gguf] [--files FOLDER] [--rivals transformers,llamacpp] [--python PATH]
                    [--isa avx2]
    bench/engine.py --perplexity TEXT --files FOLDER [--models smollm2-135m] [--formats ...] [--rivals ...] [--python PATH]
    bench/engine.py --join FILE.json... [--markdown FILE]

Without rivals it needs nothing but a Rust toolchain: weights are random (`synthetic:MODEL`), in f32, bf16 and int8 (shown as
q8_0, which it is). With `--files`, models are read from there: what `--prepare` wrote, which needs the packages gguf, numpy,
torch and transformers, and the real SmolLM2 in a GGUF file. Rivals need those and llama-cpp-python; `--python` names an
interpreter that has them.

Every figure comes from a process of its own, and those of the engine and its rivals alternate: medians and ranges over the
runs are shown. Prefill is one prompt; decode is so many requests with 32 tokens each, over the next 64 tokens. Rivals are fed
with fixed tokens: what they would spend on choosing them is not counted. Memory is the process's peak; `decode 1` is also
shown as bytes of weights per second, as a share of what plain reading reached right before or after that process, whichever
was more: memory that is shared with others gives now more and now less. A second table holds the figures against the bars
that the engine is to meet. With `--isa`, the engine is also measured with that instruction set, in f32.

A run can be cut into several (by models, formats, runs), each with `--json`; `--join` puts them together.

With `--perplexity` every format is given a text instead, in windows of 512 tokens; int8 is f32 quantized while loading.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", HOME / "target"))
PROMPT, OUTPUT = 32, 65
PREFILL, DECODE = (128, 512), (1, 4, 10, 32)
DTYPES = {"q8_0": "int8"}
SHAPES = {
    "gpt2": dict(vocab=50257, hidden=768, inner=3072, layers=12, heads=12, kv_heads=12, context=1024),
    "smollm2-135m": dict(vocab=49152, hidden=576, inner=1536, layers=30, heads=9, kv_heads=3, context=8192),
    "qwen2.5-0.5b": dict(vocab=151936, hidden=896, inner=4864, layers=24, heads=14, kv_heads=2, context=32768),
}


def multiplied(model: str) -> int:
    """Weights that every token is multiplied with: all matrices but the positions; the head is the embedding."""
    s = SHAPES[model]
    head = s["hidden"] // s["heads"]
    attention = 2 * s["hidden"] ** 2 + 2 * s["hidden"] * head * s["kv_heads"]
    mlp = (2 if model == "gpt2" else 3) * s["hidden"] * s["inner"]
    return s["vocab"] * s["hidden"] + s["layers"] * (attention + mlp)


WINDOW = 512
BYTES = {"f32": 4, "bf16": 2, "f16": 2, "q8_0": 34 / 32, "q4_0": 18 / 32, "q4_1": 20 / 32, "q5_0": 22 / 32, "q5_1": 24 / 32,
         "q4_k": 144 / 256}
# What the engine is to reach: rates in multiples of a rival's in the same format, shares of the bandwidth, MiB.
RATES = {"llamacpp": {"prefill 512": 1.3, "decode 1": 1.0, "decode 10": 1.3},
         "transformers": {"prefill 512": 1.2, "decode 1": 3.0, "decode 10": 2.3}}
SHARES = {"f32": 0.75, "bf16": 0.65}
OVERHEAD, READY = 60, 0.5
# What decoding with a lesser instruction set is to keep of the rate.
KEPT = {"engine avx2": 0.9}


def child(command: list) -> dict:
    """Runs a command to its end: its JSON line, and its peak resident MiB."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        return {"failed": process.returncode}
    result = json.loads(output.strip().splitlines()[-1])
    return {**result, "peak_mib": usage.ru_maxrss / 1024, "seconds": time.monotonic() - started}


def join(sizes) -> str:
    return ",".join(map(str, sizes))


def ours(args, model: str, form: str, *more: str) -> dict:
    file = args.files and args.files / f"{model}-{form}.gguf"
    given = [str(file)] if file and file.exists() else [f"synthetic:{model}", "--dtype", DTYPES.get(form, form)]
    return child([args.program, *given, *more, "--prefill", join(args.prefill), "--decode", join(args.decode)])


def rival(args, name: str, model: str, form: str) -> dict:
    sizes = ["--prefill", join(args.prefill), "--decode", join(args.decode)]
    return child([args.python, __file__, "--one", name, model, form, "--files", str(args.files), *sizes])


def threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def timed(work) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def tokens_of(count: int, shift: int, vocab: int) -> list:
    return [(i * 7919 + (shift + 1) * 104729) % vocab for i in range(count)]


def windows(args) -> list:
    tokens = json.loads(args.tokens.read_text())
    return [tokens[at:at + WINDOW] for at in range(0, len(tokens), WINDOW)]


def surprise(logits, following) -> float:
    """Sum of the negative logarithmic probabilities of the tokens that follow, in nats."""
    import numpy as np

    wide = np.asarray(logits[:len(following)], np.float64)
    top = wide.max(axis=1)
    total = np.log(np.exp(wide - top[:, None]).sum(axis=1)) + top
    return float((total - wide[np.arange(len(following)), following]).sum())


def one_llamacpp(args, model: str, form: str) -> dict:
    import ctypes

    import llama_cpp as llama

    llama.llama_backend_init()
    settings = llama.llama_model_default_params()
    silent = llama.llama_log_callback(lambda *_: None)
    llama.llama_log_set(silent, ctypes.c_void_p(0))
    loaded = llama.llama_model_load_from_file(str(args.files / f"{model}-{form}.gguf").encode(), settings)
    settings = llama.llama_context_default_params()
    settings.n_ctx, settings.n_batch, settings.n_ubatch, settings.n_seq_max = 4096, 512, 512, 32
    settings.n_threads = settings.n_threads_batch = threads()
    if hasattr(settings, "kv_unified"):
        settings.kv_unified = True
    context = llama.llama_init_from_model(loaded, settings)
    batch = llama.llama_batch_init(512, 0, 1)
    vocab = SHAPES[model]["vocab"]

    def step(rows):
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position, 1
            batch.seq_id[i][0], batch.logits[i] = sequence, wanted
        assert llama.llama_decode(context, batch) == 0
        llama.llama_synchronize(context)

    def clear():
        if hasattr(llama, "llama_memory_clear"):
            llama.llama_memory_clear(llama.llama_get_memory(context), True)
        else:
            llama.llama_kv_self_clear(context)

    if args.tokens:
        import numpy as np

        nats = 0.0
        for window in windows(args):
            clear()
            step([(token, i, 0, True) for i, token in enumerate(window)])
            logits = np.ctypeslib.as_array(llama.llama_get_logits(context), (len(window), vocab))
            nats += surprise(logits, window[1:])
        return {"nats": nats}

    def prefill(size: int, sequence: int = 0):
        step([(t, i, sequence, i + 1 == size) for i, t in enumerate(tokens_of(size, sequence, vocab))])

    result = {"prefill": {}, "decode": {}}
    for size in args.prefill:
        rates = []
        for _ in range(4):
            clear()
            rates.append(size / timed(lambda: prefill(size)))
        result["prefill"][size] = statistics.median(rates[1:])
    for size in args.decode:
        clear()
        for sequence in range(size):
            prefill(PROMPT, sequence)
        spent = timed(lambda: [step([(tokens_of(1, i, vocab)[0], PROMPT + i, s, True) for s in range(size)])
                               for i in range(OUTPUT - 1)])
        result["decode"][size] = size * (OUTPUT - 1) / spent
    return result


def one_transformers(args, model: str, form: str) -> dict:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads())
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[form]
    loaded = AutoModelForCausalLM.from_pretrained(args.files / f"{model}-hf", dtype=dtype).eval()
    vocab = SHAPES[model]["vocab"]
    batch = lambda rows, count: torch.tensor([tokens_of(count, row, vocab) for row in range(rows)])
    result = {"prefill": {}, "decode": {}}
    if args.tokens:
        with torch.inference_mode():
            logits = lambda window: loaded(torch.tensor([window])).logits[0].float().numpy()
            return {"nats": sum(surprise(logits(window), window[1:]) for window in windows(args))}
    with torch.inference_mode():
        for size in args.prefill:
            rates = [size / timed(lambda: loaded(batch(1, size), logits_to_keep=1)) for _ in range(4)]
            result["prefill"][size] = statistics.median(rates[1:])
        for size in args.decode:
            cache = loaded(batch(size, PROMPT), logits_to_keep=1, use_cache=True).past_key_values
            one = batch(size, 1)

            def decode():
                for _ in range(OUTPUT - 1):
                    loaded(one, past_key_values=cache, use_cache=True)

            result["decode"][size] = size * (OUTPUT - 1) / timed(decode)
    return result


def prepare(args) -> None:
    """Writes the models for the rivals, and for the engine beside them: GGUF in every format, and Hugging Face folders."""
    import gguf
    import numpy as np
    import torch
    from gguf.quants import dequantize, quantize
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        GgufConfig,
        GPT2Config,
        GPT2LMHeadModel,
        Qwen2Config,
        Qwen2ForCausalLM,
    )

    args.prepare.mkdir(parents=True, exist_ok=True)
    k_formats = [name for name in args.formats if name.endswith("_k")]
    kinds = {name: getattr(gguf.GGMLQuantizationType, name.upper()) for name in args.formats if name not in k_formats}

    def write(path: Path, kind, fields, tensors) -> None:
        writer = gguf.GGUFWriter(path, fields["general.architecture"])
        for key, (value, value_type, item_type) in fields["all"].items():
            writer.add_key_value(key, value, value_type, item_type)
        for name, data in tensors.items():
            wide = data.ndim == 1 or "position_embd" in name
            this = gguf.GGMLQuantizationType.F32 if wide else kind
            writer.add_tensor(name, quantize(data, this), raw_dtype=this)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    def write_k(folder: Path, model: str, form: str, fields) -> None:
        """llama.cpp's own quantization of the rows that are whole blocks of 256, 8 bits for the rest."""
        import llama_cpp as llama

        wanted = getattr(gguf.GGMLQuantizationType, form.upper())
        settings = llama.llama_model_quantize_default_params()
        settings.ftype = getattr(llama, {"q6_k": "LLAMA_FTYPE_MOSTLY_Q6_K"}.get(form, f"LLAMA_FTYPE_MOSTLY_{form.upper()}_S"))
        settings.pure = True
        raw = folder / f"{model}-{form}.raw"
        assert llama.llama_model_quantize(str(folder / f"{model}-f32.gguf").encode(), str(raw).encode(), settings) == 0
        quantized = {tensor.name: tensor for tensor in gguf.GGUFReader(raw).tensors}
        writer = gguf.GGUFWriter(folder / f"{model}-{form}.gguf", fields["general.architecture"])
        for key, (value, value_type, item_type) in fields["all"].items():
            writer.add_key_value(key, value, value_type, item_type)
        for tensor in gguf.GGUFReader(folder / f"{model}-q8_0.gguf").tensors:
            other = quantized[tensor.name]
            taken = other if other.tensor_type == wanted else tensor
            writer.add_tensor(tensor.name, taken.data, raw_dtype=taken.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        raw.unlink()

    if args.smollm2:
        reader = gguf.GGUFReader(args.smollm2)
        fields = {"all": {}}
        for field in reader.fields.values():
            if field.name.startswith("GGUF.") or field.name == "general.file_type":
                continue
            if field.name == "general.architecture":
                fields[field.name] = field.contents()
                continue
            item = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            fields["all"][field.name] = (field.contents(), field.types[0], item)
        tensors = {t.name: dequantize(t.data, t.tensor_type).reshape(tuple(reversed(t.shape.tolist()))).astype(np.float32)
                   for t in reader.tensors}
        for name, kind in kinds.items():
            write(args.prepare / f"smollm2-135m-{name}.gguf", kind, fields, tensors)
        for name in k_formats:
            write_k(args.prepare, "smollm2-135m", name, fields)
        settings = dict(gguf_file=args.smollm2.name, quantization_config=GgufConfig(dequantize=True))
        AutoModelForCausalLM.from_pretrained(args.smollm2.parent, **settings, dtype=torch.float32).save_pretrained(
            args.prepare / "smollm2-135m-hf")
        AutoTokenizer.from_pretrained(args.smollm2.parent, gguf_file=args.smollm2.name).save_pretrained(
            args.prepare / "smollm2-135m-hf")

    # A vocabulary of letters and nothing else: no text is ever made of it.
    words = lambda vocab: [chr(0x100 + i) for i in range(256)] + ["\u0100\u0101"] + [f"[PAD{i}]" for i in range(257, vocab)]
    kind = gguf.GGUFValueType

    def metadata(architecture: str, model: str, pre: str, special: dict) -> dict:
        shape = SHAPES[model]
        return {"general.architecture": architecture, "all": {
            f"{architecture}.context_length": (shape["context"], kind.UINT32, None),
            f"{architecture}.embedding_length": (shape["hidden"], kind.UINT32, None),
            f"{architecture}.block_count": (shape["layers"], kind.UINT32, None),
            f"{architecture}.feed_forward_length": (shape["inner"], kind.UINT32, None),
            f"{architecture}.attention.head_count": (shape["heads"], kind.UINT32, None),
            f"{architecture}.attention.head_count_kv": (shape["kv_heads"], kind.UINT32, None),
            **{f"{architecture}.{key}": (value, kind.FLOAT32, None) for key, value in special.items()},
            "tokenizer.ggml.model": ("gpt2", kind.STRING, None),
            "tokenizer.ggml.pre": (pre, kind.STRING, None),
            "tokenizer.ggml.tokens": (words(shape["vocab"]), kind.ARRAY, kind.STRING),
            "tokenizer.ggml.token_type": ([1] * 257 + [5] * (shape["vocab"] - 257), kind.ARRAY, kind.INT32),
            "tokenizer.ggml.merges": (["\u0100 \u0101"], kind.ARRAY, kind.STRING),
            "tokenizer.ggml.bos_token_id": (0, kind.UINT32, None),
            "tokenizer.ggml.eos_token_id": (0, kind.UINT32, None),
        }}

    def write_random(model: str, made, architecture, fields: dict) -> None:
        made.save_pretrained(args.prepare / f"{model}-hf")
        names = gguf.get_tensor_name_map(architecture, SHAPES[model]["layers"])
        tensors = {}
        for key, tensor in made.base_model.state_dict().items():
            data = tensor.float().numpy()
            if key.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
                data = data.T
            name = names.get_name(key, (".weight", ".bias")) or names.get_name(f"model.{key}", (".weight", ".bias"))
            tensors[name] = np.ascontiguousarray(data, np.float32)
        for name, this in kinds.items():
            write(args.prepare / f"{model}-{name}.gguf", this, fields, tensors)

    torch.manual_seed(0)
    if "gpt2" in args.models:
        fields = metadata("gpt2", "gpt2", "gpt-2", {"attention.layer_norm_epsilon": 1e-5})
        write_random("gpt2", GPT2LMHeadModel(GPT2Config()), gguf.MODEL_ARCH.GPT2, fields)
    if "qwen2.5-0.5b" in args.models:
        shape = SHAPES["qwen2.5-0.5b"]
        config = Qwen2Config(vocab_size=shape["vocab"], hidden_size=shape["hidden"], intermediate_size=shape["inner"],
                             num_hidden_layers=shape["layers"], num_attention_heads=shape["heads"],
                             num_key_value_heads=shape["kv_heads"], max_position_embeddings=shape["context"],
                             rms_norm_eps=1e-6, tie_word_embeddings=True, rope_theta=1e6)
        fields = metadata("qwen2", "qwen2.5-0.5b", "qwen2", {"attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 1e6})
        write_random("qwen2.5-0.5b", Qwen2ForCausalLM(config), gguf.MODEL_ARCH.QWEN2, fields)


def summary(values: list) -> dict:
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "values": values}


def bandwidth(args) -> float:
    return child([args.program, "-", "--bandwidth", "512"])["bytes_per_s"]


def measure(args) -> dict:
    table, bandwidths = {}, []
    for run in range(args.runs):
        before = bandwidth(args)
        for model in args.models:
            for form in args.formats:
                subjects = [("engine", lambda: ours(args, model, form))]
                for isa in args.isa if form == "f32" else []:
                    subjects.append((f"engine {isa}", lambda isa=isa: ours(args, model, form, "--isa", isa)))
                for name in args.rivals:
                    if name == "llamacpp" or form in ("f32", "bf16"):
                        subjects.append((name, lambda name=name: rival(args, name, model, form)))
                # The one that begins changes from run to run.
                for name, subject in subjects[run % len(subjects):] + subjects[:run % len(subjects)]:
                    result = subject()
                    after = bandwidth(args)
                    best, before = max(before, after), after
                    bandwidths.append(best)
                    if "failed" in result:
                        print(f"{name} on {model} in {form} ended with {result['failed']}", file=sys.stderr)
                        continue
                    row = table.setdefault((model, form, name), {})
                    for kind in ("prefill", "decode"):
                        for size, rate in result[kind].items():
                            row.setdefault(f"{kind} {size}", []).append(rate)
                    row.setdefault("peak MiB", []).append(result["peak_mib"])
                    if "1" in result["decode"] and form in BYTES:
                        read = result["decode"]["1"] * multiplied(model) * BYTES[form]
                        row.setdefault("of bandwidth %", []).append(100 * read / best)
                    if "load_s" in result:
                        row.setdefault("ready s", []).append(result["open_s"] + result["load_s"])
                    if "kv_mib" in result and form in BYTES:
                        weights = multiplied(model) * BYTES[form] / 2**20
                        row.setdefault("over MiB", []).append(result["peak_mib"] - weights - result["kv_mib"])
    return summarize(args.runs, threads(), bandwidths, table)


def summarize(runs: int, cores: int, bandwidths: list, table: dict) -> dict:
    rows = []
    for (model, form, name), columns in table.items():
        figures = {column: summary(values) for column, values in columns.items()}
        rows.append({"model": model, "format": form, "subject": name, "figures": figures})
    return {"threads": cores, "runs": runs, "read_bytes_per_s": summary(bandwidths), "rows": rows}


def joined(files: list) -> dict:
    """Several results as one: their runs of the same row together."""
    table, bandwidths, results = {}, [], [json.loads(file.read_text()) for file in files]
    for result in results:
        bandwidths += result["read_bytes_per_s"]["values"]
        for row in result["rows"]:
            columns = table.setdefault((row["model"], row["format"], row["subject"]), {})
            for column, figure in row["figures"].items():
                columns.setdefault(column, []).extend(figure["values"])
    runs = max(len(values) for columns in table.values() for values in columns.values())
    return summarize(runs, results[0]["threads"], bandwidths, table)


def bars(result: dict) -> str:
    """The engine's medians against what it is to reach."""
    figures = {(row["model"], row["format"], row["subject"]): row for row in result["rows"]}
    lines = ["| model | format | figure | bar | medians | best against best | met by medians |", "|---|---|---|---|---|---|---|"]

    def line(model, form, what, bar, measured, best, met):
        lines.append(f"| {model} | {form} | {what} | {bar} | {measured} | {best} | {'yes' if met else '**no**'} |")

    for (model, form, name), row in figures.items():
        if name != "engine":
            continue
        ours = {column: figure["median"] for column, figure in row["figures"].items()}
        best = {column: figure["high"] for column, figure in row["figures"].items()}
        least = {column: figure["low"] for column, figure in row["figures"].items()}
        share = ours.get("of bandwidth %", 0) / 100
        if share and form in SHARES:
            line(model, form, "decode 1, of bandwidth", f"{SHARES[form]:.0%}", f"{share:.0%}", f"{best['of bandwidth %']:.0f}%",
                 share >= SHARES[form])
        for other, bar in KEPT.items():
            theirs = figures.get((model, form, other), {"figures": {}})["figures"].get("decode 1")
            if theirs:
                kept, bests = theirs["median"] / ours["decode 1"], theirs["high"] / best["decode 1"]
                line(model, form, f"decode 1, {other} of engine", f"{bar:.1f} ×", f"{kept:.2f} ×", f"{bests:.2f} ×", kept >= bar)
        for rival, rates in RATES.items():
            theirs = figures.get((model, form, rival), {"figures": {}})["figures"]
            for column, bar in rates.items():
                if column in ours and column in theirs:
                    times = ours[column] / theirs[column]["median"]
                    bests = f"{best[column] / theirs[column]['high']:.2f} ×"
                    line(model, form, f"{column}, of {rival}", f"{bar:.1f} ×", f"{times:.2f} ×", bests, times >= bar)
        if "over MiB" in ours:
            line(model, form, "memory beyond weights and cache", f"{OVERHEAD} MiB", f"{ours['over MiB']:.0f} MiB",
                 f"{least['over MiB']:.0f} MiB", ours["over MiB"] <= OVERHEAD)
        if "ready s" in ours and model == "smollm2-135m":
            line(model, form, "ready", f"{READY} s", f"{ours['ready s']:.2f} s", f"{least['ready s']:.2f} s",
                 ours["ready s"] < READY)
    return "\n".join(lines) + "\n"


def perplexities(args) -> str:
    """A table of how well the formats foresee a text."""
    import tempfile

    lines = ["| model | format | subject | perplexity | against f32 |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        tokens = Path(folder) / "tokens.json"
        for model in args.models:
            base = None
            for form in args.formats:
                file = args.files / f"{model}-{'f32' if form == 'int8' else form}.gguf"
                dtype = ["--dtype", "int8"] if form == "int8" else []
                found = child([args.program, str(file), "--text", str(args.perplexity), *dtype])
                tokens.write_text(json.dumps(found["tokens"]))
                rows = [("engine", found["nats"])]
                for name in args.rivals:
                    if form != "int8" and (name == "llamacpp" or form in ("f32", "bf16")):
                        settings = ["--files", str(args.files), "--tokens", str(tokens)]
                        rows.append((name, child([args.python, __file__, "--one", name, model, form, *settings])["nats"]))
                for name, nats in rows:
                    value = math.exp(nats / found["scored"])
                    base = base or value
                    lines.append(f"| {model} | {form} | {name} | {value:.3f} | {value / base - 1:+.2%} |")
    return "\n".join(lines) + f"\n\n{found['scored']} tokens.\n"


def markdown(result: dict) -> str:
    columns = []
    for row in result["rows"]:
        columns += [column for column in row["figures"] if column not in columns]
    read = result["read_bytes_per_s"]
    lines = [
        f"Tokens per second, median (lowest–highest) of {result['runs']} runs, {result['threads']} threads. "
        f"Plain reading: {read['median'] / 1e9:.1f} GB/s ({read['low'] / 1e9:.1f}–{read['high'] / 1e9:.1f}).",
        "",
        "| model | format | subject | " + " | ".join(columns) + " |",
        "|---|---|---|" + "---|" * len(columns),
    ]
    for row in result["rows"]:
        cells = []
        for column in columns:
            figure = row["figures"].get(column)
            digits = 2 if column == "ready s" else 0 if not figure or figure["median"] >= 100 else 1
            cells.append(figure and f"{figure['median']:.{digits}f} ({figure['low']:.{digits}f}–{figure['high']:.{digits}f})" or "")
        lines.append(f"| {row['model']} | {row['format']} | {row['subject']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    several = lambda text: text.split(",") if text else []
    sizes = lambda text: [int(size) for size in several(text)]
    parser.add_argument("--models", type=several, default=["gpt2", "smollm2-135m"])
    parser.add_argument("--formats", type=several)
    parser.add_argument("--prefill", type=sizes, default=list(PREFILL))
    parser.add_argument("--decode", type=sizes, default=list(DECODE))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--program", type=Path, help="built example `measure` [default: built now]")
    parser.add_argument("--files", type=Path)
    parser.add_argument("--prepare", type=Path)
    parser.add_argument("--smollm2", type=Path)
    parser.add_argument("--rivals", type=several, default=[])
    parser.add_argument("--isa", type=several, default=[], help="other instruction sets to measure the engine with")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--perplexity", type=Path, metavar="TEXT")
    parser.add_argument("--join", type=Path, nargs="+", metavar="FILE.json")
    parser.add_argument("--tokens", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", nargs=3, metavar=("RIVAL", "MODEL", "FORMAT"), help="run one rival once and print JSON")
    args = parser.parse_args()
    if args.one:
        rivals = {"llamacpp": one_llamacpp, "transformers": one_transformers}
        print(json.dumps(rivals[args.one[0]](args, *args.one[1:])))
        return 0
    args.formats = args.formats or (["f32", "bf16", "q8_0", "q4_1"] if args.files or args.prepare else ["f32", "bf16", "q8_0"])
    if args.prepare:
        prepare(args)
        return 0
    if (args.rivals or args.perplexity) and not args.files:
        parser.error("rivals and perplexities need --files, which --prepare writes")
    if not args.program and not args.join:
        command = ["cargo", "build", "--release", "--quiet", "--package", "sagellm-engine", "--example", "measure"]
        subprocess.run(command, cwd=HOME, check=True)
        args.program = TARGET / "release" / "examples" / "measure"
    if args.perplexity:
        result = None
        text = perplexities(args)
    else:
        result = joined(args.join) if args.join else measure(args)
        text = markdown(result) + "\n" + bars(result)
    print(text, end="")
    if args.markdown:
        args.markdown.write_text(text)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
