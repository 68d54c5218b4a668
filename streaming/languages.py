"""The languages that Whisper's multilingual models know."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import ConfigurationError

__all__ = ["LANGUAGES", "LANGUAGE_NAMES", "parse_languages"]

_NAMES = """
    af:afrikaans am:amharic ar:arabic as:assamese az:azerbaijani ba:bashkir be:belarusian
    bg:bulgarian bn:bengali bo:tibetan br:breton bs:bosnian ca:catalan cs:czech cy:welsh
    da:danish de:german el:greek en:english es:spanish et:estonian eu:basque fa:persian
    fi:finnish fo:faroese fr:french gl:galician gu:gujarati ha:hausa haw:hawaiian he:hebrew
    hi:hindi hr:croatian ht:haitian_creole hu:hungarian hy:armenian id:indonesian is:icelandic
    it:italian ja:japanese jw:javanese ka:georgian kk:kazakh km:khmer kn:kannada ko:korean
    la:latin lb:luxembourgish ln:lingala lo:lao lt:lithuanian lv:latvian mg:malagasy mi:maori
    mk:macedonian ml:malayalam mn:mongolian mr:marathi ms:malay mt:maltese my:myanmar ne:nepali
    nl:dutch nn:nynorsk no:norwegian oc:occitan pa:punjabi pl:polish ps:pashto pt:portuguese
    ro:romanian ru:russian sa:sanskrit sd:sindhi si:sinhala sk:slovak sl:slovenian sn:shona
    so:somali sq:albanian sr:serbian su:sundanese sv:swedish sw:swahili ta:tamil te:telugu
    tg:tajik th:thai tk:turkmen tl:tagalog tr:turkish tt:tatar uk:ukrainian ur:urdu uz:uzbek
    vi:vietnamese yi:yiddish yo:yoruba yue:cantonese zh:chinese
"""

LANGUAGE_NAMES: Mapping[str, str] = {
    code: name.replace("_", " ") for code, name in (each.split(":") for each in _NAMES.split())
}
"""English names, as Whisper's own tokenizer has them, by code."""

LANGUAGES = frozenset(LANGUAGE_NAMES)
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
