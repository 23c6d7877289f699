"""Where in a TOML text each key stands: tomllib reads the values, and says nothing of places."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

# The keys from the root to a value, and the numbers of elements in arrays on the way
Place = tuple[str | int, ...]

_SPACE = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
# Of a multi-line string, up to two quotes may stand before the three that end it
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})|' + r"'''.*?'''(?:'{0,2})|" + r'"(?:\\.|[^"\\\n])*"|' + r"'[^'\n]*'", re.DOTALL
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# A date and its time may stand apart
_SCALAR = re.compile(r"[^\s,\]}#]+(?: \d[^\s,\]}#]*)?")


def lines(text: str) -> dict[Place, int]:
    """The line, from 1, of every key and every element of an array; of a key that stands several times, its first.

    Parameters
    ----------
    text : TOML that tomllib has read without an error; of any other text the result means nothing
    """
    reader = _Reader(text)
    while not reader.ended():
        reader.statement()
    return reader.found


class _Reader:
    """A cursor in the text, which steps over one thing at a time and notes the keys among them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[Place, int] = {}
        self.starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self.table: Place = ()
        self.last_element: dict[Place, int] = {}

    def ended(self) -> bool:
        """Whether nothing but space and comments is left."""
        self._over(_SPACE)
        return self.at >= len(self.text)

    def statement(self) -> None:
        """A table's header, or a key and its value."""
        if not self._taken("["):
            return self._pair(self.table)
        several = self._taken("[")
        self.table = self._header(self._key(), several)
        self._taken("]]" if several else "]")
        return None

    def _header(self, keys: list[str], several: bool) -> Place:
        """The place of a header's table; of tables in an array the last one is meant, or one more begun."""
        place: Place = ()
        for number, key in enumerate(keys, 1):
            place = (*place, key)
            self._note(place)
            if several and number == len(keys):
                self.last_element[place] = self.last_element.get(place, -1) + 1
            if place in self.last_element:
                place = (*place, self.last_element[place])
                self._note(place)
        return place

    def _pair(self, table: Place) -> None:
        place = table
        for key in self._key():
            place = (*place, key)
            self._note(place)
        self._taken("=")
        self._value(place)

    def _value(self, place: Place) -> None:
        self._over(_SPACE)
        if self._taken("["):
            self._array(place)
        elif self._taken("{"):
            while not self._taken("}"):
                self._pair(place)
                self._taken(",")
        elif not self._over(_STRING):
            self._over(_SCALAR)

    def _array(self, place: Place) -> None:
        count = 0
        while not self._taken("]"):
            element = (*place, count)
            self._note(element)
            self._value(element)
            self._taken(",")
            count += 1

    def _key(self) -> list[str]:
        """The parts of a dotted key; after it the cursor is where it ends."""
        parts: list[str] = []
        while not parts or self._taken("."):
            self._over(_SPACE)
            bare = self._over(_BARE_KEY)
            parts.append(bare or tomllib.loads(f"key = {self._over(_STRING)}")["key"])
        return parts

    def _note(self, place: Place) -> None:
        self.found.setdefault(place, bisect_right(self.starts, self.at))

    def _over(self, pattern: re.Pattern[str]) -> str:
        """Step over what the pattern finds here, and give it."""
        match = pattern.match(self.text, self.at)
        self.at += len(match[0]) if match else 0
        return match[0] if match else ""

    def _taken(self, mark: str) -> bool:
        """Step over `mark`, and the space before it, if it comes next."""
        self._over(_SPACE)
        if not self.text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        return True
