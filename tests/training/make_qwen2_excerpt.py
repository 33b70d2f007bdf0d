"""Writes qwen2_excerpt.json: what a Qwen2 tokenizer makes of some conversations, and the part of it that does so.

    python make_qwen2_excerpt.py qwen.tiktoken > qwen2_excerpt.json

`qwen.tiktoken` is the vocabulary as its makers publish it (package dashscope 2.0.2, Apache 2.0, 151,643 ranks: Qwen2
keeps them and goes on with its special tokens from 151643). The ids are tiktoken's over the whole vocabulary. The
excerpt holds every token that is a part of one of the texts' words, so over these texts it merges as the whole does.
"""

from __future__ import annotations

import base64
import json
import sys
from itertools import pairwise
from pathlib import Path

import regex  # type: ignore[import-not-found]
import tiktoken  # type: ignore[import-not-found]

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")
SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
# Turns of conversations: a report, a box, accents and other scripts, numbers and signs, several turns.
CONVERSATIONS = (
    (("Provide a radiology report for this Chest X-Ray.", "The lungs are clear. No pleural effusion."),),
    (
        ("Where is the right lower lung zone?", "It is at [0.12, 0.34, 0.56, 0.78]."),
        ("Is there a pneumothorax?", "Yes, a small apical pneumothorax (5 mm) on the left."),
        ("And in French?", "Épanchement pleural à gauche : 1½ cm — à contrôler."),
    ),
    (("所見を書いてください。", "心拡大を認めます。胸水はありません。\nSüdlich: 37 °C"),),
    (("List it.", "1. Cardiomegaly\n2. Oedema\n\n   3. <b>'s</b> isn't   markup\t!"),),
)


def asked(turns: tuple[tuple[str, str], ...]) -> str:
    """The form a model is asked in."""
    text = ""
    for number, (question, answer) in enumerate(turns):
        image = "" if number else "<image>\n"
        text += f"<|im_start|>user\n{image}{question}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"
    return text.removesuffix("\n")


def excerpt(texts: list[str], ranks: dict[bytes, int]) -> tuple[dict[str, int], list[list[str]]]:
    """Tokens of the texts' words with their ids, and the merges that make them, in GPT-2's letters for bytes."""
    words = {
        match.group().encode()
        for text in texts
        for part in regex.split("|".join(map(regex.escape, SPECIAL)), text)
        for match in regex.finditer(PATTERN, part)
    }
    tokens = {bytes([value]) for value in range(256)}
    for word in words:
        tokens |= {word[a:b] for a in range(len(word)) for b in range(a + 1, len(word) + 1)} & ranks.keys()
    ordered = sorted(tokens, key=ranks.__getitem__)
    merges = [halves(token, ranks) for token in ordered if len(token) > 1]
    letters = letters_of_bytes()
    spelled = {"".join(letters[value] for value in token): ranks[token] for token in ordered}
    told = [["".join(letters[value] for value in half) for half in pair] for pair in merges]
    return spelled, told


def halves(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two tokens that were joined to this one: what is left of its bytes by all earlier merges."""
    parts = [bytes([value]) for value in token]
    while len(parts) > 2:
        joined = [(ranks.get(a + b, sys.maxsize), i) for i, (a, b) in enumerate(pairwise(parts))]
        rank, place = min(joined)
        if rank >= ranks[token]:
            raise ValueError(token)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts[0], parts[1]


def letters_of_bytes() -> dict[int, str]:
    """GPT-2's letter for each byte: itself where it can be seen, else one from 256 on."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [value for value in range(256) if value not in seen]
    return {value: chr(value) for value in seen} | {value: chr(256 + n) for n, value in enumerate(hidden)}


def main() -> None:
    lines = Path(sys.argv[1]).read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}
    special = {name: len(ranks) + number for number, name in enumerate(SPECIAL)}
    whole = tiktoken.Encoding("qwen2", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=special)
    texts = [asked(turns) for turns in CONVERSATIONS]
    trained = [f"{SYSTEM}{text}\n" for text in texts]
    vocabulary, merges = excerpt(trained, ranks)
    chats = [
        {
            "turns": turns,
            "asked": whole.encode(text, allowed_special="all"),
            "trained": whole.encode(with_system, allowed_special="all"),
        }
        for turns, text, with_system in zip(CONVERSATIONS, texts, trained, strict=True)
    ]
    told = {
        "pattern": PATTERN,
        "special": special,
        "vocabulary": vocabulary,
        "merges": merges,
        "chats": chats,
    }
    json.dump(told, sys.stdout, ensure_ascii=True, separators=(",", ":"))


if __name__ == "__main__":
    main()
