"""``python -m streaming`` is the command ``stream-transcribe``."""

from .app.cli import main

main()
