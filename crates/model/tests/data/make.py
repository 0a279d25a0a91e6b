"""Makes the files beside it. Needs the packages gguf, numpy and sentencepiece (here: 0.19, 2.4, 0.2.3).

quants.json: random blocks of every quantized type, and the numbers that gguf's reference code reads from them, both as
hexadecimal (the numbers as little-endian f32).
sentencepiece.json: a small BPE model trained by sentencepiece, as GGUF keeps it, and the ids that sentencepiece itself gives.
"""
import io
import json
import pathlib

import gguf
import numpy
import sentencepiece

HERE = pathlib.Path(__file__).parent
TYPES = {"q8_0": (34, [0]), "q4_0": (18, [0]), "q4_1": (20, [0, 2]), "q4_k": (144, [0, 2]), "q6_k": (210, [208]),
         "q5_k": (176, [0, 2]), "q5_0": (22, [0]), "q5_1": (24, [0, 2])}


def quants():
    random = numpy.random.default_rng(1)
    made = {}
    for name, (size, halves) in TYPES.items():
        blocks = random.integers(0, 256, (2, size), dtype=numpy.uint8)
        for at in halves:
            halves_of_blocks = random.normal(0, 0.1, 2).astype("<f2")
            blocks[:, at : at + 2] = halves_of_blocks.view(numpy.uint8).reshape(2, 2)
        numbers = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[name.upper()])
        made[name] = {"blocks": blocks.tobytes().hex(), "numbers": numbers.astype("<f4").tobytes().hex()}
    return made


TEXTS = [
    "The harbour wakes before the town does. Nets are mended on the quay while the first boats come in.",
    "A lamp burns in the window of the chandler, who sells rope, tar, lamps and news.",
    "In winter the harbour freezes for some weeks, and the boats are pulled up on the shore.",
    "The ferry brings letters, newspapers and now and then a stranger with a heavy bag.",
    "When the wind turns north, nobody leaves; the old men say so, and the young ones have learned it.",
]
CASES = [
    "The harbour wakes before the town does.",
    "  two spaces, and   three",
    "newspapers\nand\tletters",
    "naïve café 東京 🚢",
    "12 boats",
    "",
    "x",
]


def sentence_piece():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=model, model_type="bpe", vocab_size=380, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=True, minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())

    def kind(token):
        if processor.is_unknown(token):
            return 2
        if processor.is_control(token):
            return 3
        return 6 if processor.is_byte(token) else 1

    tokens = range(processor.get_piece_size())
    return {
        "tokens": [processor.id_to_piece(token) for token in tokens],
        "scores": [processor.get_score(token) for token in tokens],
        "types": [kind(token) for token in tokens],
        "cases": [{"text": text, "ids": [processor.bos_id()] + processor.encode(text)} for text in CASES],
    }


for name, made in {"quants.json": quants(), "sentencepiece.json": sentence_piece()}.items():
    (HERE / name).write_text(json.dumps(made, ensure_ascii=False) + "\n")
