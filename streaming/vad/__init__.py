"""Voice activity detectors: the probability that a frame is speech.

====================  =========================  ===========================================
``silero.SileroVad``  32 ms, neural network      the default; holds up in noise
``webrtc.WebRtcVad``  30 ms, mixture model       cheap, yes or no
``energy.EnergyVad``  20 ms, level over floor    no package needed; for clean recordings
``none.NoVad``        10 ms, always 1            everything is speech
====================  =========================  ===========================================

All implement `streaming.protocols.VoiceActivityDetector`: ``frame_samples``,
``process(frame)``, ``reset()``. `streaming.segmenter` turns the probabilities into segments.
Each is imported from its own module, so that only the chosen one's package is loaded.
"""
