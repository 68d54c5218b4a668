"""The caption server: many people, one model. `streaming.app.serve_command` starts it.

Where things are:

======================== =======================================================================
``PROTOCOL.md``          what clients of ``/v1/stream`` and the server say to each other
``service.py``           what all parts share: the model, the bounds, the sessions
``application.py``       the addresses, and who answers
``serving.py``           the process: socket, signals, the end
``tls.py``               https and wss
``access.py``            hosts and origins: who may come in
``tokens.py``            and by which token
``connections.py``       what a connection may take
``door.py``              how many there may be, and how long they may wait
``tap.py``               how much is read of one at a time
``limits.py``            every bound
``refusal.py``           how a request is turned away
``load.py``              whether another session would make the others wait
``calibration.py``       what a session costs on this machine
``stream.py``            ``/v1/stream``: one connection
``messages.py``          what its parameters and text frames mean
``decoders.py``          frames of bytes to 16 kHz audio
``opus.py``              the same for Opus
``feed.py``              that audio as the source of a session
``live_session.py``      one session, with or without its connection
``event_log.py``         what it said lately, for a client that comes back
``sessions.py``          all of them
``memory.py``            memory that sessions have left, back to the system
``uploads.py``           files that are sent whole: who is next, and how they are heard
``upload_endpoint.py``   one request with a file
``forms.py``             its form, received piece by piece
``transcript.py``        what was heard, in the forms that clients ask for
``openai_api.py``        ``/v1/audio/transcriptions``, ``/v1/models``
``whisper_cpp_api.py``   ``/inference``
``view.py``              ``/view/SESSION``: captions of a session, to read
``page.py``, ``page/``   ``/``: the page with the microphone
``metrics.py``           ``/metrics``, ``/healthz``, ``/readyz``
======================== =======================================================================
"""
