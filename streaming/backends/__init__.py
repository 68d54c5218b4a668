"""Native cores behind one protocol, `streaming.protocols.Backend`.

whisper_cpp   whisper.cpp through pywhispercpp, the only importer of it
word_timing   token times and mel energy to word times
guards        repetition, noise tags, words past the end of the audio
vocabulary    text to tokens, for prompts
processor     what the native wheels need of the processor
pool          the daemon threads that loaded backends run on, and which pass is next
"""
