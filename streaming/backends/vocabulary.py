"""Text to tokens for prompts, over the vocabulary of a loaded model.

A prompt only has to say the right text, not in the one tokenization that the model was
trained on, so words are cut greedily into the longest tokens, as whisper.cpp itself does.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Vocabulary"]


class Vocabulary:
    """The text tokens of a model.

    Args:
        tokens: the bytes of each text token, by id.
    """

    def __init__(self, tokens: Sequence[bytes]) -> None:
        self.tokens = tuple(tokens)
        self._ids = {token: i for i, token in enumerate(self.tokens) if token}
        self._longest = max((len(token) for token in self._ids), default=0)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; bytes that no token has are left out."""
        ids: list[int] = []
        # Tokens do not reach across the space in front of a word.
        for piece in text.replace("\n", " ").encode().replace(b" ", b"\n ").split(b"\n"):
            at = 0
            while at < len(piece):
                for length in range(min(self._longest, len(piece) - at), 0, -1):
                    token = self._ids.get(piece[at : at + length])
                    if token is not None:
                        ids.append(token)
                        break
                else:
                    length = 1
                at += length
        return ids
