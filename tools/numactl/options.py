"""Options on a command line, taken apart as the C library's getopt_long() does it, with its words for mistakes."""

from __future__ import annotations

import sys as host
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["BadOption", "Option", "Options"]


class BadOption(Exception):
    """What was said about it has been printed."""


@dataclass(frozen=True)
class Option:
    """letter: what it is known by; argument: whether it takes one: yes, no, or ``None`` for perhaps (``-s1``)."""

    letter: str
    name: str = ""
    argument: bool | None = False


class Options:
    """An iterator over (letter, argument), in the order of the command line; ``rest`` holds what is no option.

    in_order: the first word that is no option ends them; otherwise those behind it are found, too.
    """

    def __init__(
        self, program: str, words: Sequence[str], known: Sequence[Option], *, in_order: bool = False
    ) -> None:
        self.rest: list[str] = []
        self._program, self._words = program, list(words)
        self._letters = {option.letter: option for option in known}
        self._names = {option.name: option for option in known if option.name}
        self._in_order = in_order

    def __iter__(self) -> Iterator[tuple[str, str | None]]:
        """Raises BadOption, after a line about it on standard error."""
        words = self._words
        while words:
            word = words.pop(0)
            if word == "--":
                break
            if not word.startswith("-") or word == "-":
                self.rest.append(word)
                if self._in_order:
                    break
            elif word.startswith("--"):
                yield self._long(word)
            else:
                yield from self._short(word[1:])
        self.rest += words

    def _short(self, letters: str) -> Iterator[tuple[str, str | None]]:
        while letters:
            letter, letters = letters[0], letters[1:]
            option = self._letters.get(letter)
            if option is None:
                raise self._bad(f"invalid option -- '{letter}'")
            if option.argument is False:
                yield letter, None
                continue
            value: str | None = letters or None
            if value is None and option.argument:
                if not self._words:
                    raise self._bad(f"option requires an argument -- '{letter}'")
                value = self._words.pop(0)
            yield letter, value
            return

    def _long(self, word: str) -> tuple[str, str | None]:
        name, equals, given = word[2:].partition("=")
        found = [name] if name in self._names else [other for other in self._names if other.startswith(name)]
        if not found:
            raise self._bad(f"unrecognized option '{word}'")
        if len(found) > 1:
            several = "".join(f" '--{other}'" for other in found)
            raise self._bad(f"option '{word}' is ambiguous; possibilities:{several}")
        option = self._names[found[0]]
        if option.argument is False and equals:
            raise self._bad(f"option '--{found[0]}' doesn't allow an argument")
        if option.argument and not equals:
            if not self._words:
                raise self._bad(f"option '--{found[0]}' requires an argument")
            given = self._words.pop(0)
        return option.letter, given if equals or option.argument else None

    def _bad(self, what: str) -> BadOption:
        print(f"{self._program}: {what}", file=host.stderr)
        return BadOption(what)
