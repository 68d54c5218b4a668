"""stream-transcribe: live audio to text while people speak."""
