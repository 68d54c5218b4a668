from __future__ import annotations

import random

import pytest
from command_talk import Talk, names, said, words
from hypothesis import given
from hypothesis import strategies as st

from streaming.commands import BargeIn, CommandHeard, Commands, CommandSpotter, WakeHeard
from streaming.errors import ConfigurationError
from streaming.events import Final, SessionEnded, SpeechStarted, Word

PHRASES = {
    "lights": "turn [the] {room} lights {state:on|off}",
    "timer": "set a timer for {duration}",
    "note": "write down {text}",
    "stop": ["stop", "be quiet"],
    "dim": "dim the lights",
    "dim_more": "dim the lights more",
}
COMMANDS = Commands(PHRASES, slots={"room": ["kitchen", "living room", "bedroom"]})


def spotter(**choices: object) -> CommandSpotter:
    return CommandSpotter(COMMANDS, **choices)  # type: ignore[arg-type]


# -- what is registered --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phrases", "complaint"),
    [
        ({}, "no command"),
        ({"a": "turn it on", "b": "turn it on"}, "cannot be told apart"),
        ({"a": "switch light on", "b": "switch lite on"}, None),
        ({"a": "turn it off", "b": "turn it of"}, "cannot be told apart"),
        ({"a": "turn on the light", "b": "turn on a light"}, "cannot be told apart"),
        ({"a": "lamp two", "b": "lamp 2"}, "cannot be told apart"),
        ({"a": "call {name}", "b": "call {who}"}, "cannot be told apart"),
        ({"a": "call {name}", "b": "call mother"}, None),
        ({"a": "wait {n:number} minutes", "b": "wait {duration}"}, "cannot be told apart"),
    ],
)
def test_phrases_are_checked_when_they_are_registered(
    phrases: dict[str, str], complaint: str | None
) -> None:
    if complaint is None:
        assert Commands(phrases).names == tuple(phrases)
    else:
        with pytest.raises(ConfigurationError, match=complaint):
            Commands(phrases)


@pytest.mark.parametrize(
    "choices",
    [
        {"window_s": 0.0},
        {"threshold": 0.0},
        {"threshold": 1.5},
        {"barge_in": "loud"},
        {"wake": "{anything}"},
        {"slots": {"room": ["attic"]}},
    ],
)
def test_choices_that_cannot_work_are_refused(choices: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        spotter(**choices)


# -- once, and when ------------------------------------------------------------------------------


def test_a_command_is_told_with_its_slots_times_and_confidence() -> None:
    (heard,) = said(spotter(), "Turn the kitchen lights on.")
    assert isinstance(heard, CommandHeard)
    assert heard.name == "lights"
    assert heard.text == "Turn the kitchen lights on."
    assert heard.slots == {"room": "kitchen", "state": "on"}
    assert (heard.start_s, heard.end_s, heard.clock_s) == pytest.approx((0.0, 2.0, 2.7))
    assert heard.confidence == pytest.approx(0.95)
    assert (heard.utterance, heard.session, heard.early) == (0, "s", False)


def test_tentative_words_count_when_two_passes_heard_them() -> None:
    talk = Talk(spotter())
    assert talk.partial("turn the kitchen") == []
    assert talk.partial("turn the kitchen lights on") == []
    (heard,) = talk.partial("Turn the kitchen lights on.")
    assert isinstance(heard, CommandHeard)
    assert heard.early
    assert talk.final("Turn the kitchen lights on.") == []


def test_two_passes_that_differ_count_for_nothing() -> None:
    talk = Talk(spotter())
    talk.partial("turn the kitchen lights on")
    assert talk.partial("turn the kitchen lights off") == []
    assert talk.partial("turn the bedroom lights off") == []
    assert names(talk.final("turn the bedroom lights on")) == ["lights"]


def test_committed_words_count_at_once() -> None:
    talk = Talk(spotter())
    talk.partial("turn the kitchen lights", commit=3)
    (heard,) = talk.partial("turn the kitchen lights on", commit=5)
    assert isinstance(heard, CommandHeard)
    assert not heard.early


def test_a_correction_of_an_early_command_is_no_second_one() -> None:
    talk = Talk(spotter())
    talk.partial("turn the kitchen lights on")
    assert names(talk.partial("turn the kitchen lights on")) == ["lights"]
    assert talk.partial("turn the bedroom lights off", shift_s=0.15) == []
    assert talk.final("turn the kitchen lights off") == []


def test_words_that_vanish_and_come_back_are_no_second_command() -> None:
    talk = Talk(spotter())
    for _ in range(2):
        talk.hear(words("stop"))
    assert names(talk.spotted) == ["stop"]
    assert talk.hear(()) == []
    assert talk.hear(words("stop", 0.2)) == []
    assert talk.end(words("Stop.", 0.1)) == []


def test_a_command_that_is_said_again_is_told_again() -> None:
    talk = Talk(spotter())
    for _ in range(2):
        talk.partial("stop.")
    again = (*words("Stop."), *words("Stop.", 1.2))
    for _ in range(2):
        talk.hear(again)
    talk.end(again)
    talk.final("stop")
    assert names(talk.spotted) == ["stop", "stop", "stop"]


def test_where_a_longer_phrase_may_come_the_short_one_waits() -> None:
    talk = Talk(spotter())
    for _ in range(3):
        assert talk.partial("dim the lights", commit=3) == []
    assert names(talk.final("dim the lights")) == ["dim"]
    for _ in range(3):
        talk.partial("dim the lights more")
    talk.final("dim the lights more")
    assert names(talk.spotted) == ["dim", "dim_more"]


def test_a_value_that_may_grow_waits_for_the_end() -> None:
    talk = Talk(spotter())
    for _ in range(3):
        assert talk.partial("set a timer for one hour", commit=6) == []
    talk.partial("set a timer for one hour and thirty", commit=8)
    (heard,) = talk.final("set a timer for one hour and thirty minutes")
    assert isinstance(heard, CommandHeard)
    assert heard.slots == {"duration": 5400}


def test_text_goes_to_the_end_of_what_is_said() -> None:
    (first, second) = said(spotter(), "Write down milk, eggs and bread. Stop.")
    assert isinstance(first, CommandHeard)
    assert first.slots == {"text": "milk, eggs and bread"}
    assert names([second]) == ["stop"]


def test_where_the_next_command_begins_the_one_before_is_complete() -> None:
    talk = Talk(spotter())
    heard = "set a timer for five minutes turn the kitchen lights on"
    talk.partial(heard)
    assert names(talk.partial(heard)) == ["timer", "lights"]


def test_a_phrase_may_go_over_a_short_pause_and_over_the_longest_utterance() -> None:
    talk = Talk(spotter())
    talk.end(words("turn the kitchen lights"))
    talk.at_s = 1.6 + 0.8
    assert names(talk.final("on")) == ["lights"]
    talk.final("turn the bedroom", "max_length")
    assert names(talk.final("lights off")) == ["lights", "lights"][1:]


def test_early_words_that_move_on_to_the_next_utterance_are_used_up() -> None:
    talk = Talk(spotter())
    whole = words("so we went on and on. turn the kitchen lights on.")
    talk.hear(whole, commit=4)
    assert names(talk.hear(whole, commit=4)) == ["lights"]
    talk.end(whole[:6], "max_length")
    talk.hear(whole[6:])
    talk.hear(whole[6:])
    talk.end(whole[6:])
    assert names(talk.spotted) == ["lights"]


# -- what is no command --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "he could not stop",
        "stop signs are red",
        "I asked him to turn the kitchen lights on",
        "turn the kitchen lights on every boat in town",
        "you should set a timer for five minutes",
        "turn the kitchen lights",
    ],
)
def test_words_in_a_sentence_are_no_command(text: str) -> None:
    assert said(spotter(), text) == []


@pytest.mark.parametrize(
    "text",
    [
        "please stop",
        "stop please",
        "okay, stop, thank you",
        "could you turn the kitchen lights on now",
        "that is too bright. turn the kitchen lights off",
        "well, um, stop",
    ],
)
def test_polite_words_and_other_sentences_may_stand_around_a_command(text: str) -> None:
    assert len(names(said(spotter(), text))) == 1


def test_what_the_model_is_hardly_sure_of_is_no_command() -> None:
    for probability, expected in ((0.1, []), (0.5, ["stop"])):
        talk = Talk(spotter())
        talk.end(words("stop", probability=probability))
        assert names(talk.spotted) == expected


def test_words_in_no_time_were_not_said() -> None:
    talk = Talk(spotter())
    ghost = (Word(" Stop", 0.5, 0.5, 0.9), Word(" Stop.", 0.5, 0.52, 0.9))
    talk.end((*words("Stop."), *ghost))
    assert names(talk.spotted) == ["stop"]
    on = words("turn the kitchen lights on")
    talk = Talk(spotter())
    talk.end((*on, Word(" Thursday", 2.0, 2.05, 0.3)))
    assert names(talk.spotted) == ["lights"]


def test_a_model_that_begins_again_in_the_silence_does_no_harm() -> None:
    assert names(said(spotter(), "turn the kitchen lights on Turn")) == ["lights"]


# -- wake phrase ---------------------------------------------------------------------------------


def test_without_the_wake_phrase_nothing_counts() -> None:
    assert said(spotter(wake="computer"), "stop", "turn the kitchen lights on") == []


@pytest.mark.parametrize("text", ["Computer, stop.", "hey computer stop", "Computer. Please stop"])
def test_wake_phrase_and_command_may_come_in_one_breath(text: str) -> None:
    woken, heard = said(spotter(wake="computer"), text)
    assert isinstance(woken, WakeHeard)
    assert names([heard]) == ["stop"]


def test_a_command_counts_in_the_window_after_the_wake_phrase() -> None:
    for pause_s, expected in ((3.0, ["stop"]), (9.0, [])):
        talk = Talk(spotter(wake=["computer", "hello machine"], window_s=5.0))
        assert isinstance(talk.final("Computer?")[0], WakeHeard)
        talk.at_s = 0.4 + pause_s
        talk.final("stop")
        assert names(talk.spotted) == expected


def test_a_command_keeps_the_window_open() -> None:
    talk = Talk(spotter(wake="computer", window_s=3.0))
    talk.final("computer stop")
    for _ in range(3):  # 2 s apart
        talk.final("stop")
    talk.at_s += 5.0
    talk.final("stop")
    assert names(talk.spotted) == ["stop"] * 4


def test_a_wake_phrase_in_a_sentence_wakes_nothing() -> None:
    assert said(spotter(wake="computer"), "my computer is slow") == []


def test_a_wake_phrase_is_told_once_and_early() -> None:
    talk = Talk(spotter(wake="computer"))
    talk.partial("computer")
    assert len(talk.partial("computer turn")) == 1
    talk.partial("computer turn the")
    talk.final("computer turn the page")
    assert len(talk.spotted) == 1


# -- barge-in ------------------------------------------------------------------------------------


def test_words_while_the_program_speaks_interrupt_it_once() -> None:
    bot = spotter(barge_in="words")
    talk = Talk(bot)
    for _ in range(2):
        talk.partial("stop")
    bot.speaking = True
    assert talk.final("stop please") == []  # said before it spoke
    (told,) = talk.partial("excuse")
    assert isinstance(told, BargeIn)
    assert told.text == "excuse"
    assert talk.partial("excuse me") == []
    bot.speaking = False
    talk.final("excuse me")
    bot.speaking = True
    assert len(talk.partial("hello there")) == 1


def test_a_noise_or_a_word_from_before_does_not_interrupt() -> None:
    bot = spotter(barge_in="words")
    talk = Talk(bot)
    talk.partial("and then I", commit=2)
    bot.speaking = True
    assert talk.partial("and then I", commit=2) == []
    noise = (Word(" you", 5.0, 5.1, 0.05), Word(" -", 5.1, 5.2, 0.9))
    assert talk.hear((*words("and then I"), *noise), commit=2) == []


def test_only_commands_interrupt_where_that_is_asked_for() -> None:
    bot = spotter(barge_in="commands")
    talk = Talk(bot)
    bot.speaking = True
    assert talk.final("what I am saying is this") == []
    interrupted, heard = talk.final("stop")
    assert isinstance(interrupted, BargeIn)
    assert names([heard]) == ["stop"]


def test_nothing_interrupts_a_program_that_is_silent_or_did_not_ask() -> None:
    for bot in (spotter(), spotter(barge_in="words")):
        assert not bot.speaking
        assert said(bot, "excuse me") == []
    bot = spotter()
    bot.speaking = True
    assert said(bot, "excuse me") == []


# -- sessions ------------------------------------------------------------------------------------


def test_sessions_do_not_mix() -> None:
    bot = spotter(wake="computer")
    one, other = Talk(bot, "one"), Talk(bot, "other")
    one.final("computer")
    assert other.final("stop") == []
    assert names(one.final("stop")) == ["stop"]
    bot.push(SessionEnded(session="one"))
    assert Talk(bot, "one").final("stop") == []


def test_a_spotter_remembers_no_more_than_it_needs() -> None:
    bot = spotter()
    for number in range(300):
        bot.push(SpeechStarted(session=str(number)))
    talk = Talk(bot)
    for _ in range(5):
        text = "so it goes on and on " * 40
        for commit in range(0, 240, 20):
            talk.partial(text, commit=commit)
        talk.final(text)
    assert len(bot._hearings) <= 256
    assert len(bot._hearings["s"].words) <= 60
    talk.final("stop")
    assert names(talk.spotted) == ["stop"]


def test_a_session_that_goes_on_is_not_forgotten_for_others_that_fell_silent() -> None:
    bot = spotter()
    talk = Talk(bot)
    talk.partial("stop")
    assert names(talk.partial("stop")) == ["stop"]
    for number in range(300):
        bot.push(SpeechStarted(session=str(number)))
        if number % 100 == 0:
            talk.partial("stop")
    assert talk.final("stop") == []


@pytest.mark.parametrize(
    ("phrase", "said_"),
    [
        ("lock the front door", "unlock the front door"),
        ("unlock the front door", "lock the front door"),
        ("activate the alarm", "deactivate the alarm"),
        ("mute the phone", "unmute the phone"),
        ("increase the volume", "decrease the volume"),
        ("turn the kitchen lights {on|off}", "turn the kitchen lights not on"),
        ("turn the {room} lights on", "turn the dining room lights on"),
    ],
)
def test_the_opposite_or_something_else_is_no_command(phrase: str, said_: str) -> None:
    slots = {"room": ["kitchen", "living room"]} if "{room}" in phrase else None
    bot = CommandSpotter({"it": phrase}, slots=slots)
    assert said(bot, said_) == []


def test_the_text_of_a_command_begins_with_its_first_word() -> None:
    (heard,) = said(spotter(wake="computer"), "Computer , be quiet.")[1:]
    assert isinstance(heard, CommandHeard)
    assert heard.text == "be quiet."


def test_commands_need_names() -> None:
    with pytest.raises(ConfigurationError, match="a mapping of names to phrases"):
        CommandSpotter("stop")  # type: ignore[arg-type]


def test_a_word_that_grows_beside_a_command_does_not_repeat_it() -> None:
    talk = Talk(spotter())
    heard = [Word(" oh", 0.2, 0.5, 0.9), Word(" stop", 0.5, 0.75, 0.9)]
    talk.hear(heard)
    talk.hear(heard)
    longer = [Word(" oh", 0.2, 0.78, 0.9), Word(" stop", 0.78, 1.1, 0.9)]
    talk.hear(longer, commit=1)
    talk.end(longer)
    assert names(talk.spotted) == ["stop"]


def test_what_one_pass_heard_does_not_complete_the_command_before_it() -> None:
    talk = Talk(spotter())
    talk.partial("set a timer for one hour stop", commit=6)
    assert talk.spotted == []
    talk.final("set a timer for one hour and thirty minutes")
    (timer,) = talk.spotted
    assert isinstance(timer, CommandHeard)
    assert timer.slots == {"duration": 5400}


def test_a_command_that_is_said_again_over_the_longest_utterance_is_told_again() -> None:
    talk = Talk(spotter())
    talk.final("well stop", reason="max_length")
    talk.final("stop")
    assert names(talk.spotted) == ["stop", "stop"]


def test_other_events_are_nothing_to_it() -> None:
    assert spotter().push(SpeechStarted(at_s=1.0)) == []
    assert spotter().push(Final(text="", words=())) == []


# -- whatever the passes were --------------------------------------------------------------------

SENTENCES = {
    "Turn the kitchen lights on.": ["lights"],
    "Stop.": ["stop"],
    "Write down stop.": ["note"],
    "Dim the lights more.": ["dim_more"],
    "The light of the kitchen was on.": [],
    "Set a timer for five minutes.": ["timer"],
    "Be quiet. Turn the living room lights off.": ["stop", "lights"],
}


@given(
    st.lists(st.sampled_from(sorted(SENTENCES)), min_size=1, max_size=4),
    st.integers(0, 10**6),
)
def test_every_command_is_told_once_however_it_was_heard(said: list[str], seed: int) -> None:
    """Passes see more and more words, the last one now and then wrong, and times that waver."""
    rng = random.Random(seed)
    talk = Talk(spotter())
    for sentence in said:
        true = words(sentence, talk.at_s)
        committed: list[Word] = []
        for n in sorted(rng.choices(range(1, len(true) + 1), k=4)):
            heard = [*committed, *(wavering(word, rng) for word in true[len(committed) : n])]
            if rng.random() < 0.3 and n > len(committed):
                heard[-1] = Word(" hm", heard[-1].start_s, heard[-1].end_s, 0.2)
                talk.hear(heard, commit=len(committed))
            else:
                commit = rng.randint(len(committed), n)
                talk.hear(heard, commit=commit)
                committed = heard[:commit]
        rest = [wavering(word, rng) for word in true[len(committed) :]]
        talk.end([*committed, *rest])
    assert names(talk.spotted) == [name for sentence in said for name in SENTENCES[sentence]]


def wavering(word: Word, rng: random.Random) -> Word:
    by_s = rng.uniform(-0.15, 0.15)
    return Word(word.text, max(0.0, word.start_s + by_s), word.end_s + by_s, word.probability)
