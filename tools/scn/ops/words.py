"""What the words behind an operation may be, as its usage names them: those of a slip are told from those of its own.

The recorder takes any word, and counts one that it does not know as 0. Somebody who types one means something else:
`flags=move` would look as if the kernel had moved nothing, and `4k` is four pages.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from numalab.tools.scn.parse import ADVICE, MODES, ScriptError

__all__ = ["check_word"]

_NUMBERS = ("N", "NS", "MS", "MB", "SEED", "NODE", "0|1", "1")
_LENGTHS = ("LEN", "OFF")
_NUMBER = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|[0-9]+)|max|intmax")
_LENGTH = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|[0-9]+)[bKM]?|max")
_MASKS = ("MASK", "FROM", "TO")
_MASK = re.compile(r"\{([0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*)?\}")


def check_word(name: str, kind: str, word: str) -> None:
    """Raises ScriptError for a word that is not of this kind (LEN, MODE, STRICT|MOVE...); name: whose it is."""
    if kind in _NUMBERS and not _NUMBER.fullmatch(word):
        raise ScriptError(f"no-number:{word[:40]} ({name} is one, such as 1)")
    length = word if kind in _LENGTHS else word.partition(":")[2] if kind == "RANGE" else ""
    if length and not _LENGTH.fullmatch(length):
        raise ScriptError(f"no-length:{length[:40]} (write 8 for pages, 100b, 64K or 2M)")
    if kind in _MASKS and word.startswith("{") and not _MASK.fullmatch(word):
        raise ScriptError(f"bad-mask:{word[:40]} ({name} is such as {{0,2-3}})")
    if known := _choices(kind):
        for part in re.split(r"[|,]", word):
            if part not in known and not _NUMBER.fullmatch(part):
                raise ScriptError(f"no-such-word:{part[:40]} ({name} has {', '.join(known)})")


def _choices(kind: str) -> Collection[str]:
    """The words of a kind that has only some."""
    if kind == "MODE":
        return MODES
    if kind == "ADVICE":
        return ADVICE
    return re.split(r"[|,]", kind) if re.fullmatch(r"\w+([|,]\w+)+|[a-z]\w+", kind) else ()
