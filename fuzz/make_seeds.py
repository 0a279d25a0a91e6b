#!/usr/bin/env python3
"""Makes `fuzz/corpus/`: what each target begins with, from the test data of the tree, cut small. Needs nothing but Python.

    python3 fuzz/make_seeds.py
"""

import io
import json
import struct
import zipfile
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
CRATES = TREE / "crates"
MODELS = TREE / "testdata" / "models"
SERVERS = TREE / "testdata" / "servers"


def put(target: str, name: str, data: bytes | str) -> None:
    folder = TREE / "fuzz" / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def answers(*suffixes: str) -> list[Path]:
    return sorted(path for path in SERVERS.glob("*/*") if path.suffix in suffixes)


def streams() -> None:
    """Most answers were kept without the frame of their body, which is put back: one chunk for each event."""
    for path in answers(".http"):
        for target in ("response", "answer"):
            put(target, f"{path.parent.name}-{path.name}", path.read_bytes())
    for path in answers(".sse", ".json", ".txt"):
        if not path.read_bytes().startswith(b"HTTP/"):
            continue
        name = f"{path.parent.name}-{path.name}"
        head, body = path.read_text().replace("\r\n", "\n").split("\n\n", 1)
        head = head.replace("\n", "\r\n") + "\r\n\r\n"
        if "transfer-encoding: chunked" in head.lower():
            put("sse", name, body)
            events = [event + "\n\n" for event in body.split("\n\n") if event.strip()]
            body = "".join(f"{len(event):x}\r\n{event}\r\n" for event in events) + "0\r\n\r\n"
        for target in ("response", "answer"):
            put(target, name, head + body)
    ok = "HTTP/1.1 200 OK\r\n"
    chunk = 'data: {"model":"m","choices":[{"index":0,"text":" \\ud83d\\ude00a\\n","finish_reason":null}],"usage":null}\n\n'
    heads = {
        "interim": f"HTTP/1.1 100 Continue\r\n\r\n{ok}Content-Length: 6\r\n\r\ndata:x",
        "trailers": f"{ok}Transfer-Encoding: chunked\r\n\r\n5;x=y\r\ndata:\r\n0\r\nA: b\r\nC: d\r\n\r\nHTTP/1.1",
        "until-close": f"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n{chunk}data: [DONE]\n\n",
        "moved": "HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
        "busy": "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 23\r\n\r\nbad sk-0123456789abcdef",
        "coded": f"{ok}Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x1e",
        "coding": f"{ok}Transfer-Encoding: gzip, chunked\r\n\r\n",
        "kinds": f"{ok}\r\n" + "".join(f"data: {json.dumps(chunk)}\r\n\r\n" for chunk in [
            {"choices": [{"delta": {"role": "assistant", "content": ""}}], "object": "chat.completion.chunk"},
            {"choices": [{"delta": {"reasoning_content": "a", "reasoning": "a"}}, {"index": 1, "text": "b"}]},
            {"choices": [{"delta": {"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{\"a\":1}"}}]}}]},
            {"choices": [{"delta": {"function_call": {"name": "f", "arguments": "{}"}, "refusal": "no"}}]},
            {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7,
                                      "prompt_tokens_details": {"cached_tokens": 4}},
             "metrics": {"time_to_first_token_ms": 1.5, "queue_time_ms": 0.5, "generation_time_ms": 9},
             "timings": {"cache_n": 4, "prompt_n": 1, "prompt_ms": 2.5, "predicted_n": 6, "predicted_ms": 7}},
            {"choices": [{"finish_reason": "tool_calls"}, {"index": 1, "finish_reason": "content_filter"}]},
            {"error": {"message": "x"}},
        ]) + "data: [DONE]\r\n\r\n",
    }
    for name, text in heads.items():
        for target in ("response", "answer"):
            put(target, name, text)
    put("sse", "fields", "\ufeff: hi\r\n\r\nevent: error\rdata: ä€\r\rdata:x\ndata: y\n\nid: 1\r\nretry: 5\r\ndata\r\n\r\ndata: z")


def metrics() -> None:
    put("metrics", "slots.json", (SERVERS / "llama-server" / "slots.json").read_text())
    for path in answers(".prom"):
        name, text = f"{path.parent.name}-{path.stem}", path.read_text()
        # Blocks of one metric; of the buckets of a histogram two are enough.
        block, number = "", 0
        for part in text.split("# HELP ")[1:]:
            lines = part.splitlines(keepends=True)
            buckets = [line for line in lines if "_bucket{" in line]
            block += "# HELP " + "".join(line for line in lines if line not in buckets[2:])
            if len(block) > 2000:
                put("metrics", f"{name}-{number}", block)
                block, number = "", number + 1
        put("metrics", f"{name}-{number}", block)


def tensors() -> tuple[dict[str, tuple[list[int], bytes]], bytes]:
    """Those of the smallest model, all f32, and its file."""
    data = (MODELS / "gpt2-width2/model.safetensors").read_bytes()
    length, = struct.unpack("<Q", data[:8])
    header, base = json.loads(data[8:8 + length]), 8 + length
    del header["__metadata__"]
    return {name: (it["shape"], data[base + it["data_offsets"][0]:base + it["data_offsets"][1]])
            for name, it in header.items()}, data


def safetensors() -> None:
    found, data = tensors()
    put("safetensors", "whole", data)
    header = {"a": {"dtype": "F16", "shape": [2, 1], "data_offsets": [0, 4]},
              "b": {"dtype": "I64", "shape": [], "data_offsets": [4, 12]}, "__metadata__": {"format": "pt"}}
    text = json.dumps(header).encode()
    put("safetensors", "small", struct.pack("<Q", len(text)) + text + bytes(12))


class Pickle:
    """Writes the operations that torch writes, without torch."""

    def __init__(self) -> None:
        self.out = bytearray(b"\x80\x02")

    def text(self, text: str) -> "Pickle":
        self.out += b"X" + struct.pack("<I", len(text)) + text.encode()
        return self

    def number(self, number: int) -> "Pickle":
        self.out += b"K" + bytes([number]) if number < 256 else b"J" + struct.pack("<i", number)
        return self

    def sizes(self, sizes: list[int]) -> "Pickle":
        self.out += b"("
        for size in sizes:
            self.number(size)
        self.out += b"t"
        return self

    def tensor(self, name: str, shape: list[int], elements: int, key: str, old: bool) -> None:
        self.text(name).out += b"ctorch._utils\n_rebuild_tensor_v2\n(("
        self.text("storage").out += b"ctorch\nFloatStorage\n"
        self.text(key).text("cpu").number(elements).out += b"NtQ" if old else b"tQ"
        strides = [1]
        for size in reversed(shape[1:]):
            strides.insert(0, strides[0] * size)
        self.number(0).sizes(shape).sizes(strides[:len(shape)]).out += b"\x89ccollections\nOrderedDict\n)RtR"

    def end(self) -> bytes:
        return bytes(self.out + b".")


def pickles() -> None:
    found, _ = tensors()
    for old in (True, False):
        root = Pickle()
        root.out += b"ccollections\nOrderedDict\n)R("
        for key, (name, (shape, data)) in enumerate(found.items()):
            root.tensor(name.removeprefix("transformer."), shape, len(data) // 4, str(key), old)
        root.out += b"u"
        if old:
            facts, keys = Pickle(), Pickle()
            facts.out += b"}q\x00("
            facts.text("protocol_version").number(1001).text("little_endian").out += b"\x88u"
            keys.out += b"](" + b"".join(bytes(Pickle().text(str(key)).out[2:]) for key in range(len(found))) + b"e"
            magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
            storages = b"".join(struct.pack("<q", len(data) // 4) + data for _, data in found.values())
            put("pickle", "old", magic + b"\x80\x02M\xe9\x03." + facts.end() + root.end() + keys.end() + storages)
        else:
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w") as archive:
                entries = {"data.pkl": root.end(), "byteorder": b"little", "version": b"3\n"}
                entries |= {f"data/{key}": data for key, (_, data) in enumerate(found.values())}
                for name, data in entries.items():
                    # The epoch of zip, so that the file is the same every time.
                    archive.writestr(zipfile.ZipInfo(f"m/{name}"), data)
            put("pickle", "archive", file.getvalue())


def gguf() -> None:
    text = lambda text: struct.pack("<Q", len(text.encode())) + text.encode()
    number = lambda number: struct.pack("<II", 4, number)
    real = lambda real: struct.pack("<If", 6, real)
    texts = lambda items: struct.pack("<IIQ", 9, 8, len(items)) + b"".join(map(text, items))
    tokens = [chr(code) for code in range(ord("a"), ord("z") + 1)] + ["ab", "<s>"]
    for name, kind, width, dtype, row in (("f32", "qwen2", 4, 0, lambda n: bytes(4 * n)),
                                          ("q8", "llama", 32, 8, lambda n: bytes(n // 32 * 34))):
        values = {f"{kind}.{key}": number(value) for key, value in {
            "block_count": 1, "context_length": 64, "embedding_length": width, "feed_forward_length": width,
            "attention.head_count": 2, "attention.head_count_kv": 1}.items()}
        values |= {
            "general.architecture": struct.pack("<I", 8) + text(kind),
            "general.alignment": number(32),
            f"{kind}.attention.layer_norm_rms_epsilon": real(1e-6),
            f"{kind}.rope.freq_base": real(10000.0),
            "tokenizer.ggml.model": struct.pack("<I", 8) + text("gpt2"),
            "tokenizer.ggml.pre": struct.pack("<I", 8) + text("qwen2"),
            "tokenizer.ggml.token_type": struct.pack("<IIQ", 9, 5, len(tokens)) + struct.pack("<i", 1) * len(tokens),
            "tokenizer.ggml.tokens": texts(tokens),
            "tokenizer.ggml.merges": texts(["a b"]),
            "tokenizer.ggml.eos_token_id": number(27),
            "tokenizer.ggml.add_bos_token": struct.pack("<IB", 7, 0),
            "tokenizer.chat_template": struct.pack("<I", 8) + text("{{ messages[0].content }}"),
        }
        linear = {"token_embd.weight": len(tokens)} | {f"blk.0.{part}.weight": rows for part, rows in {
            "attn_q": width, "attn_k": width // 2, "attn_v": width // 2, "attn_output": width,
            "ffn_gate": width, "ffn_up": width, "ffn_down": width}.items()}
        shapes = {it: ([width, rows], dtype, row(width) * rows) for it, rows in linear.items()}
        norms = ["blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"]
        shapes |= {it: ([width], 0, bytes(4 * width)) for it in norms}
        if kind == "qwen2":
            biases = {"attn_q": width, "attn_k": width // 2, "attn_v": width // 2}
            shapes |= {f"blk.0.{it}.bias": ([size], 0, bytes(4 * size)) for it, size in biases.items()}
        out = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(values)))
        for key, value in values.items():
            out += text(key) + value
        offset = 0
        for it, (shape, kind_of, data) in shapes.items():
            out += text(it) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind_of, offset)
            offset += -(-len(data) // 32) * 32
        for _, _, data in shapes.values():
            out += bytes(-len(out) % 32) + data
        put("gguf", name, bytes(out))


def copies() -> None:
    for path in sorted(MODELS.glob("*/config.json")):
        put("config", path.parent.name, path.read_bytes())
    put("tokenizer", "byte-level", (MODELS / "gpt2/tokenizer.json").read_bytes())
    words = {"a": 0, "b": 1, "[UNK]": 2, " ": 3}
    for name, model in {
        "word-level": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"},
        "word-piece": {"type": "WordPiece", "vocab": words, "unk_token": "[UNK]",
                       "continuing_subword_prefix": "##", "max_input_chars_per_word": 9},
        "unigram": {"type": "Unigram", "vocab": [["[UNK]", 0.0], ["a", -1.0]], "unk_id": 0, "byte_fallback": False},
        "bpe": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]], "unk_token": None,
                "byte_fallback": True, "fuse_unk": False, "ignore_merges": True},
    }.items():
        put("tokenizer", name, json.dumps({
            "version": "1.0", "truncation": None, "padding": None, "model": model,
            "added_tokens": [{"id": 2, "content": "ab", "single_word": False, "lstrip": False, "rstrip": False,
                              "normalized": False, "special": True}],
            "normalizer": {"type": "Replace", "pattern": {"Regex": "a+"}, "content": "b"},
            "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\s?\\p{L}+"}, "behavior": "Isolated",
                              "invert": False},
            "post_processor": None, "decoder": None}))
    for path in sorted((CRATES / "server/scripts").glob("*.script")):
        put("script", path.stem, path.read_bytes())
    put("script", "fills", "fill 60000000 'x'\nfill 60000000 'y'\n")


def data() -> None:
    custom = [{"prompt": "Tell me", "output_tokens": 6, "timestamp": 0.5}, {"max_completion_tokens": 2, "messages": [
        {"role": "system", "content": None},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]}]
    put("custom", "both", "\ufeff" + "".join(json.dumps(line) + "\n" for line in custom))
    talk = [{"from": "human", "value": "a long question"}, {"from": "gpt", "value": "a \"long\" answer"}, {"value": ""}]
    put("sharegpt", "both", json.dumps([{"id": "x", "conversations": talk}, {"conversation": talk}, {}]))
    mooncake = {"timestamp": 0, "input_length": 1200, "output_length": 5, "hash_ids": [0, 1, 2]}
    put("trace", "mooncake", "\x00" + json.dumps(mooncake) + "\n" + json.dumps(mooncake | {"timestamp": 30}))
    put("trace", "burstgpt", "\x01Timestamp,Model,Request tokens,Response tokens\n5,\"a\nb\",472,18\n45,,1087,0\n")
    put("trace", "azure", "\x02TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n")
    workload = {"name": "a", "source": {"text": {"input_tokens": 9, "output_tokens": 1}}, "num_warmups": 0}
    put("workload", "yaml", "\x00workloads:\n- &a {name: a, source: {random: {input_tokens: 9, output_tokens: 1}}}\n"
                            "- <<: *a\n  name: b\n  arrival: {poisson: {rate: 4}}\n")
    put("workload", "toml", "\x01name = 'a'\n[source.custom]\npath = 'x.jsonl'\n")
    put("workload", "json", "\x02" + json.dumps(workload))
    header = {"line": "header", "schema_version": 1, "generator": "x", "tokenizer": "y"}
    request = {"line": "request", "id": 0, "offset_ns": 0, "prompt": {"text": "a", "token_ids": [1]}, "max_tokens": 1}
    put("plan", "lines", "".join(json.dumps(line) + "\n" for line in (header, {"line": "workload"} | workload, request)))
    for path in sorted((CRATES / "report/tests/data").glob("golden*.jsonl")):
        put("results", path.stem, "".join(path.read_text().splitlines(keepends=True)[:3]))
    put("pem", "both", "".join(f"-----BEGIN {kind}-----\nMAA=\n-----END {kind}-----\n"
                               for kind in ("CERTIFICATE", "PRIVATE KEY", "RSA PRIVATE KEY")))


if __name__ == "__main__":
    for make in (streams, metrics, safetensors, pickles, gguf, copies, data):
        make()
