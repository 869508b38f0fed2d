"""Transforms of text."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Annotated, override

from pydantic import Field

from tieout.domain.records import Value
from tieout.mapping.paths import is_list
from tieout.mapping.transforms.base import Params, Surroundings
from tieout.mapping.transforms.values import TEXT_LENGTH_MAX, shortened, text_of


class Trim(Params):
    """Takes spaces away at both ends."""

    @override
    def apply(self, value: Value, around: Surroundings) -> Value:
        """The text without them."""
        return text_of(value).strip()


class CollapseSpaces(Params):
    """Makes one space of several, line breaks and tabs included, and takes those at both ends away."""

    @override
    def apply(self, value: Value, around: Surroundings) -> Value:
        """The text in one line."""
        return " ".join(text_of(value).split())


class Upper(Params):
    """CAPITAL LETTERS."""

    @override
    def apply(self, value: Value, around: Surroundings) -> Value:
        """The text in capital letters."""
        return text_of(value).upper()


class Lower(Params):
    """small letters."""

    @override
    def apply(self, value: Value, around: Surroundings) -> Value:
        """The text in small letters."""
        return text_of(value).lower()


class Title(Params):
    """Each Word With A Capital."""

    @override
    def apply(self, value: Value, around: Surroundings) -> Value:
        """The text with a capital at each word's start; letters after an apostrophe stay small."""
        return re.sub(r"[^\W\d_]+(['\u2019][^\W\d_]+)?", lambda word: word[0].capitalize(), text_of(value))


class Truncate(Params):
    """Cuts text that is too long for the other side, and says so in a notice."""

    length: Annotated[int, Field(ge=1, le=TEXT_LENGTH_MAX)] = Field(description="Characters that may stay.")

    @override
    def apply(self, value: Value, around: Surroundings) -> Value:
        """The first `length` characters, without spaces at the end."""
        text = text_of(value)
        if len(text) <= self.length:
            return text
        around.notice(f"Cut from {len(text)} to {self.length} characters: {shortened(text)}.")
        return text[: self.length].rstrip()


class Prefix(Params):
    """Puts text before."""

    text: str = Field(description="What stands before.")

    @override
    def apply(self, value: Value, around: Surroundings) -> Value:
        """Both together; empty text stays empty."""
        text = text_of(value)
        return self.text + text if text else text


class Suffix(Params):
    """Puts text after."""

    text: str = Field(description="What stands after.")

    @override
    def apply(self, value: Value, around: Surroundings) -> Value:
        """Both together; empty text stays empty."""
        text = text_of(value)
        return text + self.text if text else text


class Replace(Params):
    """Replaces each place where a piece of text stands."""

    find: str = Field(min_length=1, description="The piece, letter for letter.")
    put: str = Field(default="", description="What stands there instead.")

    @override
    def apply(self, value: Value, around: Surroundings) -> Value:
        """The text with all of them replaced."""
        return text_of(value).replace(self.find, self.put)


class Split(Params):
    """Takes one part of a text: `Doe, Jane` at `,` has the parts `Doe` and `Jane`."""

    at: str = Field(min_length=1, description="What stands between the parts.")
    take: int = Field(default=0, ge=-20, le=20, description="Which part: 0 is the first, -1 the last.")

    @override
    def apply(self, value: Value, around: Surroundings) -> Value:
        """The part without spaces at its ends; null if there are not that many."""
        parts = [part.strip() for part in text_of(value).split(self.at)]
        return parts[self.take] if -len(parts) <= self.take < len(parts) else None


class Join(Params):
    """Makes one text of a list, leaving out what is empty."""

    takes_list = True

    with_: str = Field(default=" ", alias="with", description="What stands between the parts.")

    @override
    def apply(self, value: Value, around: Surroundings) -> Value:
        """The parts in one text; null if there are none."""
        parts = [text_of(part) for part in (value if is_list(value) else [value]) if part is not None]
        return self.with_.join(part for part in parts if part.strip()) or None


class Slug(Params):
    """Makes a plain name of small letters, digits and hyphens: `Größe 4` becomes `grosse-4`."""

    length: int = Field(default=60, ge=1, le=200, description="Characters at most.")

    @override
    def apply(self, value: Value, around: Surroundings) -> Value:
        """The name; null if no letter or digit is left."""
        from slugify import slugify  # noqa: PLC0415 - only loaded where it is used

        return slugify(text_of(value), max_length=self.length) or None


class Hash(Params):
    """Makes a short code that is always the same for the same text, and tells nothing about it."""

    length: int = Field(default=12, ge=6, le=52, description="Letters and digits of the code.")

    @override
    def apply(self, value: Value, around: Surroundings) -> Value:
        """The first `length` characters of the text's SHA-256 in base 32, small letters."""
        digest = hashlib.sha256(text_of(value).encode(errors="surrogatepass")).digest()
        return base64.b32encode(digest).decode().lower()[: self.length]
