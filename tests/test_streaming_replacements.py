from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import Noise, ScriptedBackend, chunks_of, make_parts, name_of, say, simulate
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.app import Settings
from streaming.app import make_parts as parts_of
from streaming.errors import ConfigurationError
from streaming.evaluation import check_events
from streaming.events import (
    AudioDropped,
    Committed,
    Event,
    Final,
    Notice,
    Partial,
    Refined,
    SessionEnded,
    SessionStarted,
    SpeechStarted,
    Stats,
    Word,
    event_to_json,
    text_of,
)
from streaming.metrics import SessionMetrics
from streaming.replacements import Replacements, Rewriter
from streaming.session import Session
from streaming.words import key


def words(text: str, *, start_s: float = 0.0) -> list[Word]:
    """A word each 0.3 s; a first one without a space has none."""
    return [Word(" " + w, start_s + i * 0.3, start_s + i * 0.3 + 0.2, 0.9 - i / 100)
            for i, w in enumerate(text.split())]  # fmt: skip


def characters(text: str) -> list[Word]:
    return [Word(c, float(i), i + 1.0, 0.9) for i, c in enumerate(text)]


def rewritten(rules: str, heard: Sequence[Word]) -> str:
    return text_of(Replacements.parse(rules).rewrite(heard)[0])


# -- rules --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "heard", "seen"),
    [
        ("acme corp -> ACME Corp", "so acme corp, they", " so ACME Corp, they"),
        ("acme corp -> ACME Corp", "So Acme-Corp. They", " So ACME Corp. They"),
        ("acme corp -> ACME Corp", "acme corporation", " acme corporation"),
        ("acme corp -> ACME Corp", "corp acme", " corp acme"),
        ("acme corp -> ACME Corp", "acme acme corp", " acme ACME Corp"),
        ("damn -> *", '"Damn," he said', ' "****," he said'),
        ("god damn -> *", "God damn it!", " *** **** it!"),
        ("éclair -> *", "un E\N{COMBINING ACUTE ACCENT}clair.", " un ******."),
        ("damn -> ####", "damn!", " ####!"),
        ("a b -> X\na b c -> Y\nb -> Z", "a b c a b b", " Y X Z"),
        ("a b c -> Y\nb d -> Z", "a b d", " a Z"),
        ("therapist -> *", "the rapist", " the rapist"),
        (
            "the rapist -> *\ntherapist -> doctor",
            "the rapist, a therapist",
            " *** ******, a doctor",
        ),
        ("lower case -> Lower", "lower-case lowercase lower case", " Lower Lower Lower"),
        ("acme -> Acme Inc.", "with acme. And acme, too", " with Acme Inc. And Acme Inc., too"),
        ("a -> b\nb -> a", "a b", " b a"),
        ("twenty -> 20", "twenty-one twenty", " twenty-one 20"),
        ("\uff21cme -> Acme", "acme", " Acme"),
        ("don't -> do not", "Don\u2019t", " do not"),
    ],
)
def test_whole_words_are_replaced_and_punctuation_stays(rules: str, heard: str, seen: str) -> None:
    assert rewritten(rules, words(heard)) == seen


def test_a_phrase_goes_over_the_characters_of_a_language_without_spaces() -> None:
    assert (
        rewritten("東京 -> Tokyo\n京都 -> Kyoto", characters("東京都、京都。"))
        == "Tokyo都、Kyoto。"
    )
    assert rewritten("東京 -> *", characters("「東京」")) == "「**」"


def test_a_replaced_phrase_is_one_word_that_lasts_from_the_first_to_the_last() -> None:
    heard = words("so acme corp they")
    seen, _ = Replacements.parse("acme corp -> ACME").rewrite(heard)
    assert seen == [heard[0], Word(" ACME", heard[1].start_s, heard[2].end_s, 0.88), heard[3]]


def test_a_sign_that_stands_for_letters_is_masked_as_they_are() -> None:
    assert rewritten("tm -> *", words("™")) == " *"


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ("", "names.txt has no rule; write `heard -> wanted` lines"),
        ("# a -> b\n\n", "names.txt has no rule"),
        ("a -> b\nacme", "names.txt, line 2: 'acme' is no rule; write `heard -> wanted`"),
        ("a ->", "names.txt, line 1: what does 'a' become? write text, or * to mask"),
        ("-> b", "names.txt, line 1: '' has no letter or digit that could be heard"),
        ("!? -> b", "names.txt, line 1: '!?' has no letter or digit"),
        ("# x\n\nA b -> c\na, B -> d", "names.txt, line 4: 'a, B' has a rule already"),
        ("a " * 11 + "-> b", "is too long; a phrase has at most 10 words and 100 letters"),
        ("a" * 101 + "-> b", "is too long; a phrase has at most 10 words and 100 letters"),
        ("\n".join(f"w{i} -> x" for i in range(1001)), "line 1001: too many rules; 1000 are"),
    ],
)
def test_a_bad_rule_is_told_by_its_line(rules: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        Replacements.parse(rules, name="names.txt")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rules.txt"
    with pytest.raises(ConfigurationError, match=r"rules\.txt: No such file"):
        Replacements.read(path)
    path.write_bytes(b"caf\xe9 -> x")
    with pytest.raises(ConfigurationError, match="not UTF-8 text"):
        Replacements.read(path)
    path.write_bytes(b"# " + b"x" * (1 << 20))
    with pytest.raises(ConfigurationError, match="larger than 1 MB"):
        Replacements.read(path)
    path.write_bytes("\ufeffa -> b".encode())
    assert text_of(Replacements.read(path).rewrite(words("a"))[0]) == " b"


# -- events -------------------------------------------------------------------------------------


def rewrite(rules: Replacements, events: Sequence[Event]) -> list[Event]:
    rewriter = Rewriter(rules)
    return [out for event in events for out in rewriter.push(event)]


def committed(*heard: Word) -> Committed:
    return Committed(text=text_of(heard), words=heard, language="en")


def partial(said: Sequence[Word], *tentative: Word) -> Partial:
    return Partial(committed=text_of(tuple(said)), tentative=text_of(tentative), words=tentative)


def final(*heard: Word) -> Final:
    return Final(text=text_of(heard), words=heard, language="en")


def test_a_word_that_may_begin_a_phrase_waits_as_tentative_for_the_next_one() -> None:
    so, acme, corp = words("so acme corp")
    rules = Replacements.parse("acme corp -> ACME")
    phrase = Word(" ACME", acme.start_s, corp.end_s, corp.probability)
    seen = rewrite(
        rules,
        [
            committed(so, acme),
            partial([so, acme]),
            partial([so, acme], corp),
            committed(corp),
            partial([so, acme, corp]),
            final(so, acme, corp),
        ],
    )
    assert seen == [
        committed(so),
        partial([so], acme),
        partial([so], phrase),
        committed(phrase),
        partial([so, phrase]),
        final(so, phrase),
    ]


def test_what_waits_is_committed_with_the_final() -> None:
    acme, corp = words("acme corp")
    rules = Replacements.parse("acme corp ltd -> X\nacme corp -> Y")
    phrase = Word(" Y", acme.start_s, corp.end_s, corp.probability)
    events = [committed(acme), committed(corp), final(acme, corp)]
    assert rewrite(rules, events) == [committed(phrase), final(phrase)]


def test_no_phrase_goes_on_from_one_utterance_into_the_next() -> None:
    acme, corp = words("acme corp")
    rules = Replacements.parse("acme corp -> *")
    first = [committed(acme), final(acme)]
    second = [committed(corp), final(corp)]
    assert rewrite(rules, [*first, *second]) == [*first, *second]


def test_a_word_waits_for_no_more_words_than_its_phrase_has() -> None:
    rules = Replacements.parse("a a a a b -> X")
    seen, waiting = rules.rewrite(words("a " * 50), whole=False)
    assert len(waiting) == 4
    assert len(seen) == 46


letters = st.sampled_from("abcd")
phrases = st.lists(letters, min_size=1, max_size=4).map(" ".join)
wanted = st.sampled_from(["*", "X", "Y Z", "a", "Q."])
rule_sets = st.dictionaries(phrases, wanted, min_size=1, max_size=6)
heard_words = st.lists(
    st.tuples(letters, st.sampled_from(["", ",", ".", '"']), st.booleans()), max_size=14
)


def rules_of(rules: dict[str, str]) -> Replacements:
    made = Replacements()
    for heard, becomes in rules.items():
        made.add(heard, becomes)
    return made


def as_words(heard: Sequence[tuple[str, str, bool]]) -> list[Word]:
    return [
        Word(" " + (c.upper() if upper else c) + mark, i * 0.3, i * 0.3 + 0.2, 0.5)
        for i, (c, mark, upper) in enumerate(heard)
    ]


@st.composite
def logs(draw: st.DrawFn, heard: list[Word]) -> list[Event]:
    """One utterance that says these words, committed in any steps with partials between."""
    events: list[Event] = [SessionStarted(session="s"), SpeechStarted()]
    cuts = sorted(draw(st.lists(st.integers(0, len(heard)), max_size=5)))
    at = 0
    for cut in [*cuts, len(heard)]:
        if cut > at:
            events.append(committed(*heard[at:cut]))
        at = cut
        if draw(st.booleans()):
            until = draw(st.integers(at, len(heard)))
            events.append(partial(heard[:at], *heard[at:until]))
    return [*events, final(*heard), Stats(), SessionEnded()]


def numbered(events: Sequence[Event]) -> list[Event]:
    return [replace(event, seq=i, session="s") for i, event in enumerate(events)]


@settings(max_examples=300, deadline=None)
@given(data=st.data(), rules=rule_sets, heard=heard_words)
def test_the_promises_hold_and_the_steps_of_committing_do_not_matter(
    data: st.DataObject, rules: dict[str, str], heard: list[tuple[str, str, bool]]
) -> None:
    made, said = rules_of(rules), as_words(heard)
    first = rewrite(made, data.draw(logs(said)))
    assert check_events(numbered(first)) == []
    [ended] = [event for event in first if isinstance(event, Final)]
    assert list(ended.words) == made.rewrite(said)[0]
    [refined] = Rewriter(made).push(Refined(text=text_of(said), words=tuple(said)))
    assert isinstance(refined, Refined)
    assert (refined.text, refined.words) == (ended.text, ended.words)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), heard=heard_words)
def test_a_masked_word_is_nowhere(data: st.DataObject, heard: list[tuple[str, str, bool]]) -> None:
    masked = rules_of({"a": "*", "b c": "X", "a b d": "Y"})
    events = rewrite(masked, data.draw(logs(as_words(heard))))
    for event in events:
        if isinstance(event, Partial | Committed | Final | Refined):
            body = json.loads(event_to_json(event))
            texts = [body.get(name, "") for name in ("text", "committed", "tentative")]
            texts += [word["text"] for word in body["words"]]
            assert "a" not in {key(word) for text in texts for word in text.split()}


@settings(max_examples=100, deadline=None)
@given(data=st.data(), rules=rule_sets, heard=heard_words)
def test_rules_that_match_nothing_change_no_event(
    data: st.DataObject, rules: dict[str, str], heard: list[tuple[str, str, bool]]
) -> None:
    elsewhere = {
        phrase.translate(str.maketrans("abcd", "wxyz")): to for phrase, to in rules.items()
    }
    events = data.draw(logs(as_words(heard)))
    events += [Refined(), Notice(message="a"), AudioDropped(reason="a")]
    assert rewrite(rules_of(elsewhere), events) == events


# -- in a session -------------------------------------------------------------------------------


def test_a_session_replaces_at_its_end_and_the_model_sees_what_it_heard() -> None:
    script = say(12, 8)
    texts = [word.text for word in script.words]
    rules = rules_of({texts[3] + texts[4]: "PHRASE", texts[5]: "*", texts[13]: "Thirteen"})
    plain_backend = ScriptedBackend(script, Noise(unsure=0.3), forces_prefix=True)
    plain = simulate(chunks_of(script.audio()), plain_backend)
    backend = ScriptedBackend(script, Noise(unsure=0.3), forces_prefix=True)
    parts = replace(make_parts(), replacements=rules)
    seen = simulate(chunks_of(script.audio()), backend, parts)
    assert check_events(seen) == []
    asked = [(w.start_sample, w.n_frames, w.context, w.prefix) for w in backend.windows]
    assert asked == [
        (w.start_sample, w.n_frames, w.context, w.prefix) for w in plain_backend.windows
    ]
    heard = [word for event in plain if isinstance(event, Final) for word in event.words]
    told = [word.text for event in seen if isinstance(event, Final) for word in event.words]
    assert told == [word.text for word in rules.rewrite(heard)[0]]
    assert {" PHRASE", " ****", " Thirteen"} <= set(told)
    for event in seen:
        assert texts[5].strip() not in event_to_json(event)


@pytest.mark.parametrize("seed", range(8))
def test_the_promises_hold_however_the_model_hears(seed: int) -> None:
    script = say(9, 20, pause_s=0.9)
    texts = [word.text for word in script.words]
    rules = rules_of(
        {text + after: "*" for text, after in zip(texts[::2], texts[1::2], strict=False)}
        | {texts[3]: "Three", "".join(texts[20:25]): "FIVE"}
    )
    noise = Noise(respelled=0.3, misheard=0.05, unsure=0.5, loops=0.1, invented=0.2, jitter_s=0.1)
    parts = make_parts(max_utterance_s=3.0)
    items = chunks_of(script.audio())
    plain = simulate(items, ScriptedBackend(script, noise, seed=seed), parts)
    seen = simulate(
        items, ScriptedBackend(script, noise, seed=seed), replace(parts, replacements=rules)
    )
    assert check_events(seen) == []
    wanted = [rules.rewrite(event.words)[0] for event in plain if isinstance(event, Final)]
    assert [list(event.words) for event in seen if isinstance(event, Final)] == wanted
    assert [word for words in wanted for word in words if "*" in word.text]


def test_a_delay_counts_when_a_word_really_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    delays: list[float] = []
    monkeypatch.setattr(SessionMetrics, "committed", lambda _, delay_s: delays.append(delay_s))
    first, second = words("acme corp")
    parts = make_parts()
    parts = replace(parts, replacements=Replacements.parse("acme corp -> X"))
    session = Session(parts, n_mels=80, started=SessionStarted(session="s"))
    assert session.say([committed(first)], 1.0) == []
    assert delays == []
    [seen] = session.say([committed(second)], 2.0)
    assert isinstance(seen, Committed)
    assert seen.clock_s == 2.0
    assert delays == [2.0 - second.end_s]


def test_what_the_end_commits_is_in_the_totals() -> None:
    script = say(2)
    held = script.words[-1].text
    parts = replace(make_parts(), replacements=rules_of({held + " more": "X"}))
    session = Session(parts, n_mels=80, started=SessionStarted(session="s"))
    session.start()
    session.say([committed(Word(held, 0.0, 0.3, 0.9))], 1.0)
    backend = ScriptedBackend(script)
    for chunk in chunks_of(script.audio()):
        session.feed(chunk, 1.0)
        if (due := session.next_pass()) is not None:
            session.complete(due, backend.decode(session.window(due)), 0.1, 1.0)
    events = session.end(3.0)
    [stats] = [event for event in events if isinstance(event, Stats)]
    assert [event for event in events if isinstance(event, Committed)]
    assert stats.delay_max_s == pytest.approx(3.0 - 0.3)


def test_the_settings_name_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.txt"
    path.write_text(f"{name_of(0)} -> X\n")
    settings = Settings(vad="energy", replace=str(path))
    assert settings.described()["replace"] == str(path)
    rules = parts_of(settings).replacements
    assert rules is not None
    assert text_of(rules.rewrite(words(name_of(0)))[0]) == " X"
    assert parts_of(Settings(vad="energy")).replacements is None
    with pytest.raises(ConfigurationError, match="No such file"):
        parts_of(Settings(vad="energy", replace=str(tmp_path / "none")))
