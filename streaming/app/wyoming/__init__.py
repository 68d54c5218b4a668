"""A speech-to-text server for voice assistants that speak the Wyoming protocol.

`streaming.app.wyoming_command` starts it. Where things are:

==================== ===========================================================================
``vocabulary.py``    the protocol's events, from the package ``wyoming``
``wire.py``          events from and to a stream, within bounds
``connection.py``    one client: what it says, what it is told
``transcription.py`` from its audio-start to the transcript: one session
``pcm.py``           the audio of its chunks to 16 kHz
``inflow.py``        that audio as the source of the session, which makes the client wait
``wishes.py``        language and model that it asks for
``info.py``          what it is told about this server
``service.py``       what all connections share: the model, the bounds
``server.py``        all of them, and the end
``address.py``       where it listens: TCP, a Unix socket, or standard input and output
==================== ===========================================================================
"""
