"""Native cores behind one protocol, `streaming.protocols.Backend`.

whisper_cpp      whisper.cpp through pywhispercpp, the only importer of it
ctranslate2      CTranslate2, the only importer of it
window_input     what both make of a window before they decode
hearing          from the tokens of a pass to its hypothesis
language_choice  which language an utterance is in
word_timing      token times and mel energy to word times
guards           repetition, noise tags, words past the end of the audio
vocabulary       text to tokens, for prompts and prefixes
processor        what the native wheels need of the processor
openmp           how the threads of a pass wait
pool             the daemon threads that loaded backends run on, and which pass is next
"""
