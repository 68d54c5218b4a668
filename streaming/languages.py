"""The languages that Whisper's multilingual models know."""

from __future__ import annotations

from .errors import ConfigurationError

__all__ = ["LANGUAGES", "parse_languages"]

LANGUAGES = frozenset(
    """
    af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw
    he hi hr ht hu hy id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt
    my ne nl nn no oc pa pl ps pt ro ru sa sd si sk sl sn so sq sr su sv sw ta te tg th tk tl
    tr tt uk ur uz vi yi yo yue zh
    """.split()  # noqa: SIM905 - a list of strings would be ten times as long
)
"""Codes, mostly ISO 639-1, as whisper.cpp spells them."""


def parse_languages(text: str) -> tuple[str | None, tuple[str, ...]]:
    """Read ``auto``, ``en`` or ``en,ja``.

    Returns:
        The language, None where it is to be detected, and the languages that detection may
        choose from, empty for all.

    Raises:
        ConfigurationError: a code that Whisper does not know.
    """
    codes = tuple(dict.fromkeys(code.strip().lower() for code in text.split(",") if code.strip()))
    unknown = [code for code in codes if code != "auto" and code not in LANGUAGES]
    if unknown or not codes:
        raise ConfigurationError(
            f"unknown language {', '.join(unknown) or text!r}; use 'auto' or codes such as "
            f"en, de, ja: {', '.join(sorted(LANGUAGES))}"
        )
    if "auto" in codes:
        return None, ()
    return (codes[0], ()) if len(codes) == 1 else (None, codes)
