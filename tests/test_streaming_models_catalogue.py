from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import _pywhispercpp
import pytest
from model_files import ggml_model

from streaming.errors import ModelError
from streaming.models.catalogue import CATALOGUE, ModelSpec, alignment_heads, file_name

# State, encoder and decoder layers; the official files' own dimensions.
DIMENSIONS = {
    "tiny": (384, 4, 4),
    "base": (512, 6, 6),
    "small": (768, 12, 12),
    "medium": (1024, 24, 24),
    "large-v1": (1280, 32, 32),
    "large-v2": (1280, 32, 32),
    "large-v3": (1280, 32, 32),
    "large-v3-turbo": (1280, 32, 4),
}
BLOCK_BYTES = {"f16": 64, "q5_0": 22, "q5_1": 24, "q8_0": 34}
TOKEN_BYTES = {True: 307_057, False: 320_827}
"""Text of the vocabulary, for multilingual and English models."""


def expected_size(spec: ModelSpec) -> int:
    """Bytes of a file, added up tensor by tensor."""
    name, _, quantization = spec.name.replace(".en", "").partition("-q")
    state, encoder_layers, decoder_layers = DIMENSIONS[name]
    block = BLOCK_BYTES[f"q{quantization}" if quantization else "f16"]
    n_vocab = 51864 + spec.multilingual + (spec.n_mels == 128)

    total = 56 + spec.n_mels * 201 * 4 + 4 + 4 * 50257 + TOKEN_BYTES[spec.multilingual]

    def head(name: str, n_dims: int) -> int:
        return 12 + 4 * n_dims + len(name)

    def vector(name: str, length: int) -> int:
        return head(name, 1) + 4 * length

    def matrix(name: str, weights: int) -> int:
        return head(name, 2) + weights // 32 * block

    for name, length in (("decoder", 448), ("encoder", 1500)):
        total += head(f"{name}.positional_embedding", 2) + 4 * length * state
    total += matrix("decoder.token_embedding.weight", n_vocab * state)
    for conv, n_in in (("conv1", spec.n_mels), ("conv2", state)):
        total += head(f"encoder.{conv}.weight", 3) + 2 * state * n_in * 3
        total += head(f"encoder.{conv}.bias", 2) + 4 * state
    for norm in ("decoder.ln", "encoder.ln_post"):
        total += vector(f"{norm}.weight", state) + vector(f"{norm}.bias", state)
    for side, layers, attentions in (
        ("encoder", encoder_layers, ["attn"]),
        ("decoder", decoder_layers, ["attn", "cross_attn"]),
    ):
        for layer in range(layers):
            to = f"{side}.blocks.{layer}"
            for norm in ("mlp_ln", *(f"{name}_ln" for name in attentions)):
                total += vector(f"{to}.{norm}.weight", state) + vector(f"{to}.{norm}.bias", state)
            total += matrix(f"{to}.mlp.0.weight", 4 * state**2)
            total += vector(f"{to}.mlp.0.bias", 4 * state)
            total += matrix(f"{to}.mlp.2.weight", 4 * state**2)
            total += vector(f"{to}.mlp.2.bias", state)
            for name in attentions:
                for part in ("query", "key", "value", "out"):
                    total += matrix(f"{to}.{name}.{part}.weight", state**2)
                    total += vector(f"{to}.{name}.{part}.bias", state) if part != "key" else 0
    return total


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_size_of_a_file_follows_from_its_dimensions(name: str) -> None:
    assert CATALOGUE[name].size_bytes == expected_size(CATALOGUE[name])


def test_digests_are_sha1_and_all_different() -> None:
    digests = [spec.sha1 for spec in CATALOGUE.values()]
    assert all(re.fullmatch("[0-9a-f]{40}", digest) for digest in digests)
    assert len(set(digests)) == len(digests)


def test_every_quantized_model_has_its_original() -> None:
    quantized = [spec for spec in CATALOGUE.values() if spec.quantized_from]
    assert len(quantized) == 10
    for spec in quantized:
        assert spec.quantized_from in CATALOGUE
        assert spec.size_bytes < CATALOGUE[spec.quantized_from].size_bytes


def test_models_come_from_small_to_large() -> None:
    originals = [spec for name, spec in CATALOGUE.items() if "-q" not in name]
    sizes = [spec.size_bytes for spec in originals if spec.multilingual][:6]
    assert all(smaller <= larger for smaller, larger in pairwise(sizes))


def test_names_tell_language_and_mel_bands() -> None:
    assert not CATALOGUE["small.en-q5_1"].multilingual
    assert CATALOGUE["base-q8_0"].multilingual
    assert CATALOGUE["large-v3-turbo-q5_0"].n_mels == 128
    assert CATALOGUE["large-v2"].n_mels == 80
    assert file_name("tiny.en") == "ggml-tiny.en.bin"


@pytest.mark.parametrize(
    ("n_vocab", "layers", "name", "heads"),
    [
        (51864, (4, 4), "ggml-mine.bin", "TINY_EN"),
        (51865, (6, 6), "ggml-mine-q8_0.bin", "BASE"),
        (51864, (12, 12), "small.bin", "SMALL_EN"),
        (51865, (24, 24), "x.bin", "MEDIUM"),
        (51865, (32, 32), "ggml-large-v1.bin", "LARGE_V1"),
        (51865, (32, 32), "ggml-large-v2-q5_0.bin", "LARGE_V2"),
        (51865, (32, 32), "mine.bin", None),
        (51866, (32, 32), "mine.bin", "LARGE_V3"),
        (51866, (32, 4), "mine.bin", "LARGE_V3_TURBO"),
        (51866, (32, 2), "distilled.bin", None),
    ],
)
def test_alignment_heads_fit_the_dimensions(
    tmp_path: Path, n_vocab: int, layers: tuple[int, int], name: str, heads: str | None
) -> None:
    header = bytearray(ggml_model()[:48])
    for offset, value in ((4, n_vocab), (20, layers[0]), (36, layers[1])):
        header[offset : offset + 4] = value.to_bytes(4, "little")
    path = tmp_path / name
    path.write_bytes(header)
    assert alignment_heads(path) == heads
    assert heads is None or hasattr(_pywhispercpp, f"WHISPER_AHEADS_{heads}")


def test_alignment_heads_of_another_file_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "notes.bin"
    path.write_text("not a model")
    with pytest.raises(ModelError, match=r"not a whisper\.cpp"):
        alignment_heads(path)
