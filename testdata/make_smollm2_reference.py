#!/usr/bin/env python3
"""Makes `testdata/smollm2_greedy.json` from SmolLM2-135M-Instruct's Q4_1 GGUF file.

    target/reference/bin/python testdata/make_smollm2_reference.py target/test-data/SmolLM2-135M-Instruct.Q4_1.gguf

`transformers` dequantizes the file and computes greedy continuations in float32 on a CPU with eager attention. The
prompts are given as text and as ids, without a chat template. An end-of-text token does not stop a run. `gaps` holds the
distance between the best and the second logit at each step: a test may demand equal tokens up to the first small one.
`logits_head` holds the first 64 logits after the prompt.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

PROMPTS = [
    "The history of the bicycle begins in",
    "Question: Why is the sky blue? Answer:",
    "A good measurement of a computer program begins with",
]
STEPS = 96


@torch.no_grad()
def main() -> None:
    gguf = Path(sys.argv[1])
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32, attn_implementation="eager",
        quantization_config=GgufConfig(dequantize=True)).float().eval()
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    cases = []
    for prompt in PROMPTS:
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        output = model(torch.tensor([ids]), use_cache=True)
        head = output.logits[0, -1, :64].tolist()
        greedy, gaps = [], []
        for _ in range(STEPS):
            best, second = output.logits[0, -1].topk(2).values.tolist()
            gaps.append(round(best - second, 5))
            greedy.append(int(output.logits[0, -1].argmax()))
            output = model(torch.tensor([greedy[-1:]]), past_key_values=output.past_key_values, use_cache=True)
        cases.append({
            "prompt": prompt, "prompt_ids": ids, "greedy": greedy, "text": tokenizer.decode(greedy),
            "gaps": gaps, "logits_head": [round(x, 6) for x in head]})
        print(f"smallest gap {min(gaps):.4f} in 96 steps, {min(gaps[:64]):.4f} in 64: {cases[-1]['text']!r}")
    lines = ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases)
    (Path(__file__).parent / "smollm2_greedy.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
