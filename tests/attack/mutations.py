"""Texts with something wrong in them: what a disk, an editor or a bad mood does to a file."""

from __future__ import annotations

import random

__all__ = ["mutated"]

PIECES = (
    b"\0", b"\xff", b"\xc3\x28", "\u20ac\U0001f40c".encode(), b"\r\n", b"\r", b"\n\n", b"", b"-1", b"0",
    b"99999999999999999999", b"18446744073709551615", b"0x", b"1e999", b"nan", b"4096T", b"[", b"]]", b'"', b"'''",
    b"=", b"+", b":", b"#", b" " * 300, b"x" * 20_000, b"%s%n", b"../../..", b"-" * 50,
)  # fmt: skip


def mutated(rng: random.Random, text: bytes) -> bytes:
    """The text with one to four things done to it."""
    for _ in range(rng.randrange(1, 5)):
        text = _once(rng, text)
    return text


def _once(rng: random.Random, text: bytes) -> bytes:
    at = rng.randrange(len(text) + 1)
    to = min(len(text), at + rng.choice((0, 1, 2, 4, 20)))
    lines = text.split(b"\n")
    line = rng.randrange(len(lines))
    words = text.split(b" ")
    match rng.randrange(8):
        case 0:
            return text[:at] + bytes([rng.randrange(256)]) + text[at + 1 :]
        case 1:
            return text[:at] + rng.choice(PIECES) + text[to:]
        case 2:
            return b"\n".join(lines[:line] + lines[line + 1 :])
        case 3:
            return b"\n".join([*lines[:line], lines[line], *lines[line:]])
        case 4:
            one, other = rng.randrange(len(words)), rng.randrange(len(words))
            words[one], words[other] = words[other], words[one]
            return b" ".join(words)
        case 5:
            words[rng.randrange(len(words))] = rng.choice(PIECES)
            return b" ".join(words)
        case 6:
            digits = [i for i, byte in enumerate(text) if 48 <= byte < 58]
            here = rng.choice(digits) if digits else at
            return text[:here] + rng.choice(PIECES[8:16]) + text[here + 1 :]
        case _:
            return text[:at] if rng.randrange(3) == 0 else text.replace(b"\n", b"\r\n")
