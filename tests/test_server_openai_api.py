from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from fakes import Noise, ScriptedBackend, say
from openai import OpenAI
from starlette.testclient import TestClient  # noqa: F401 - the package's own tests need httpx
from upload_server import TALK, UploadServer, serve, wav

from streaming.app.settings import Settings
from streaming.app.compose import make_worker
from streaming.evaluation.text import count_errors
from streaming.events import text_of

SAID = text_of(TALK.words).strip()
