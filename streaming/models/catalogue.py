"""The models there are: whisper.cpp's files with their official digests.

Digests and files are those of the ggerganov/whisper.cpp model repository; its model card and
whisper.cpp's ``models/README.md`` list the digests. Sizes follow from the dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .ggml_file import read_header

__all__ = ["CATALOGUE", "ModelSpec", "alignment_heads", "file_name"]

_Q8_0 = "-q8_0"


def file_name(name: str) -> str:
    """Name of a model's file, in the cache and on the hub."""
    return f"ggml-{name}.bin"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One official model file."""

    name: str
    sha1: str
    """Hexadecimal, lower case."""
    size_bytes: int

    @property
    def multilingual(self) -> bool:
        """Whether it knows languages besides English."""
        return ".en" not in self.name

    @property
    def n_mels(self) -> int:
        """Mel bands it listens to: 80 or 128."""
        return 128 if self.name.startswith("large-v3") else 80

    @property
    def quantized_from(self) -> str | None:
        """Name of the model whose q8_0 form this is."""
        return self.name.removesuffix(_Q8_0) if self.name.endswith(_Q8_0) else None


_FILES = (
    ("tiny", "bd577a113a864445d4c299885e0cb97d4ba92b5f", 77_691_713),
    ("tiny-q5_1", "2827a03e495b1ed3048ef28a6a4620537db4ee51", 32_152_673),
    ("tiny-q8_0", "19e8118f6652a650569f5a949d962154e01571d9", 43_537_433),
    ("tiny.en", "c78c86eb1a8faa21b369bcd33207cc90d64ae9df", 77_704_715),
    ("tiny.en-q5_1", "3fb92ec865cbbc769f08137f22470d6b66e071b6", 32_166_155),
    ("tiny.en-q8_0", "802d6668e7d411123e672abe4cb6c18f12306abb", 43_550_795),
    ("base", "465707469ff3a37a2b9b8d8f89f2f99de7299dac", 147_951_465),
    ("base-q5_1", "a3733eda680ef76256db5fc5dd9de8629e62c5e7", 59_707_625),
    ("base-q8_0", "7bb89bb49ed6955013b166f1b6a6c04584a20fbe", 81_768_585),
    ("base.en", "137c40403d78fd54d454da0f9bd998f78703390c", 147_964_211),
    ("base.en-q5_1", "d26d7ce5a1b6e57bea5d0431b9c20ae49423c94a", 59_721_011),
    ("base.en-q8_0", "bb1574182e9b924452bf0cd1510ac034d323e948", 81_781_811),
    ("small", "55356645c2b361a969dfd0ef2c5a50d530afd8d5", 487_601_967),
    ("small-q5_1", "6fe57ddcfdd1c6b07cdcc73aaf620810ce5fc771", 190_085_487),
    ("small-q8_0", "bcad8a2083f4e53d648d586b7dbc0cd673d8afad", 264_464_607),
    ("small.en", "db8a495a91d927739e50b3fc1cc4c6b8f6c2d022", 487_614_201),
    ("small.en-q5_1", "20f54878d608f94e4a8ee3ae56016571d47cba34", 190_098_681),
    ("small.en-q8_0", "9d75ff4ccfa0a8217870d7405cf8cef0a5579852", 264_477_561),
    ("medium", "fd9727b6e1217c2f614f9b698455c4ffd82463b4", 1_533_763_059),
    ("medium-q5_0", "7718d4c1ec62ca96998f058114db98236937490e", 539_212_467),
    ("medium-q8_0", "e66645948aff4bebbec71b3485c576f3d63af5d6", 823_369_779),
    ("medium.en", "8c30f0e44ce9560643ebd10bbe50cd20eafd3723", 1_533_774_781),
    ("medium.en-q5_0", "bb3b5281bddd61605d6fc76bc5b92d8f20284c3b", 539_225_533),
    ("medium.en-q8_0", "b1cf48c12c807e14881f634fb7b6c6ca867f6b38", 823_382_461),
    ("large-v1", "b1caaf735c4cc1429223d5a74f0f4d0b9b59a299", 3_094_623_691),
    ("large-v2", "0f4c8e34f21cf1a914c59d8b3ce882345ad349d6", 3_094_623_691),
    ("large-v2-q5_0", "00e39f2196344e901b3a2bd5814807a769bd1630", 1_080_732_091),
    ("large-v2-q8_0", "da97d6ca8f8ffbeeb5fd147f79010eeea194ba38", 1_656_129_691),
    ("large-v3", "ad82bf6a9043ceed055076d0fd39f5f186ff8062", 3_095_033_483),
    ("large-v3-q5_0", "e6e2ed78495d403bef4b7cff42ef4aaadcfea8de", 1_081_140_203),
    ("large-v3-turbo", "4af2b29d7ec73d781377bfd1758ca957a807e941", 1_624_555_275),
    ("large-v3-turbo-q5_0", "e050f7970618a659205450ad97eb95a18d69c9ee", 574_041_195),
    ("large-v3-turbo-q8_0", "01bf15bedffe9f39d65c1b6ff9b687ea91f59e0e", 874_188_075),
)

CATALOGUE = {row[0]: ModelSpec(*row) for row in _FILES}
"""Name -> model."""

_HEADS = {
    (4, 4): "TINY",
    (6, 6): "BASE",
    (12, 12): "SMALL",
    (24, 24): "MEDIUM",
    (32, 4): "LARGE_V3_TURBO",
}


def alignment_heads(path: Path) -> str | None:
    """Which of whisper.cpp's presets of word-aligning attention heads fits a model file.

    Returns:
        The end of the constant's name ("TINY_EN" for ``WHISPER_AHEADS_TINY_EN``), or None
        where none fits, as for distilled models.

    Raises:
        ModelError: not a whisper.cpp model file, or unreadable.
    """
    header = read_header(path)
    if header.n_audio_layers == header.n_text_layers == 32:
        if header.n_vocab > 51865:
            return "LARGE_V3"
        # The first two large models have the same dimensions: only the name tells.
        return next((f"LARGE_{v.upper()}" for v in ("v1", "v2") if f"large-{v}" in path.name), None)
    size = _HEADS.get((header.n_audio_layers, header.n_text_layers))
    return size if size is None or header.multilingual else f"{size}_EN"
