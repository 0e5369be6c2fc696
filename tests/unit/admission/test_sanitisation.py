"""A user's text stays text: no special token comes out of any tokenizer of Phi-3's kind."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

import phi3_bento
from phi3_bento.admission.sanitisation import neutralise, sanitise
from phi3_bento.engine.echo import PHI3_SPECIAL_TOKENS as TOKENS

DEMO = Path(phi3_bento.__file__).parent / "models/demo/checkpoint/tokenizer.json"
PIECES = [*TOKENS, *"<|>/s ens\n", "< ", "|end|>", "<|en", "\u200b", "\u0338", "\x1b", "\u226e"]
WIDE = str.maketrans("<|>/", "\uff1c\uff5c\uff1e\uff0f")

forged = st.lists(
    st.sampled_from(PIECES)
    | st.sampled_from(PIECES).map(str.upper)
    | st.sampled_from(PIECES).map(lambda piece: piece.translate(WIDE))
    | st.text(max_size=3)
).map("".join)


def demo_tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(DEMO))


def llama_tokenizer(*normalizing: normalizers.Normalizer, normalized: bool = False) -> Tokenizer:
    """As Phi-3's own: BPE over characters with bytes to fall back on, and added tokens."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581"]
    pieces += [chr(code) for code in range(33, 127)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    vocabulary |= {token: 1_000 + number for number, token in enumerate(TOKENS)}
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True)
    )
    # The library normalises such a token's own text as well: it would begin with what is prepended.
    prepending = [] if normalized else [normalizers.Prepend("\u2581")]
    tokenizer.normalizer = normalizers.Sequence(
        [*normalizing, *prepending, normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.decoder = decoders.ByteFallback()
    tokenizer.add_tokens(
        [
            AddedToken(token, rstrip=token.startswith("<|"), normalized=normalized)
            for token in TOKENS
        ]
    )
    return tokenizer


NORMALIZING: dict[str, list[normalizers.Normalizer]] = {
    "none": [],
    "NFKC": [normalizers.NFKC()],
    "NFKC, lower case": [normalizers.NFKC(), normalizers.Lowercase()],
    "without accents": [normalizers.NFKD(), normalizers.StripAccents()],
    "SentencePiece's": [normalizers.Nmt(), normalizers.NFKC()],
    "BERT's": [normalizers.BertNormalizer()],
}
TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "the demo model's": demo_tokenizer,
    "as Phi-3's": llama_tokenizer,
} | {
    f"that normalises first: {name}": lambda steps=steps: llama_tokenizer(*steps, normalized=True)
    for name, steps in NORMALIZING.items()
}


def special_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    special = {tokenizer.token_to_id(token) for token in TOKENS}
    return [
        token for token in tokenizer.encode(text, add_special_tokens=False).ids if token in special
    ]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_no_special_token_comes_out_of_a_tokenizer(name: str) -> None:
    tokenizer = TOKENIZERS[name]()
    assert len(special_ids(tokenizer, "".join(TOKENS))) == len(TOKENS)

    @settings(max_examples=300)
    @given(text=forged)
    def none_comes_out(text: str) -> None:
        assert not special_ids(tokenizer, sanitise(text, TOKENS))

    none_comes_out()


@pytest.mark.parametrize("name", ["NFKC", "NFKC, lower case", "without accents", "BERT's"])
def test_a_look_alike_is_a_special_token_to_a_tokenizer_that_normalises_first(name: str) -> None:
    """So the look-alikes above are worth their trouble."""
    tokenizer = llama_tokenizer(*NORMALIZING[name], normalized=True)
    look_alikes = {
        "NFKC": "<|end|>".translate(WIDE),
        "NFKC, lower case": "<|END|>",
        "without accents": "\u226e|end|>",
        "BERT's": "<\u200b|end|>",
    }
    assert special_ids(tokenizer, look_alikes[name])
    assert not special_ids(tokenizer, neutralise(look_alikes[name], TOKENS))


@pytest.mark.parametrize("make", [demo_tokenizer, llama_tokenizer])
def test_the_text_is_still_what_the_user_wrote_but_for_a_space(
    make: Callable[[], Tokenizer],
) -> None:
    tokenizer = make()
    ids = tokenizer.encode(neutralise("a<|end|>b", TOKENS), add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False).replace("\u2581", " ").strip() == (
        "a< |end|>b"
    )


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("<|end|>", "< |end|>"),
        ("<<|end|>", "<< |end|>"),
        ("<|end<|end|>|>", "<|end< |end|>|>"),
        ("<s></s>", "< s>< /s>"),
        ("<|END|>", "< |END|>"),
        ("<\u200b|end|>é", "< \u200b|end|>é"),
        ("\uff1c\uff5cend\uff5c\uff1e", "\uff1c \uff5cend\uff5c\uff1e"),
    ],
)
def test_a_space_after_the_first_character_breaks_a_token(text: str, result: str) -> None:
    assert neutralise(text, TOKENS) == result


@pytest.mark.parametrize(
    "text",
    ["", "a < b", "<|", "<|ending|>", "<|end |>", "<div>", "x|end|>", "日本 < 3", "\u202e\u200d"],
)
def test_anything_else_is_left_alone(text: str) -> None:
    assert neutralise(text, TOKENS) == text


@settings(max_examples=500)
@given(
    text=st.text(alphabet="ab<|\ufb01fiEe\u0301\uff1c\u200b"),
    tokens=st.lists(st.text(alphabet="ab<|fi", min_size=2, max_size=4)),
)
def test_any_tokens_are_broken_once_and_for_all(text: str, tokens: list[str]) -> None:
    broken = neutralise(text, tokens)
    folded = unicodedata.normalize("NFKC", broken).lower()
    assert not any(token in broken or token in folded for token in tokens)
    assert neutralise(broken, tokens) == broken


@given(text=forged)
def test_a_second_pass_changes_nothing(text: str) -> None:
    once = sanitise(text, TOKENS)
    assert sanitise(once, TOKENS) == once
    assert neutralise(text, TOKENS).replace(" ", "") == text.replace(" ", "")


def test_dropping_a_control_character_does_not_form_a_token() -> None:
    assert sanitise("<\x1b|end|\x7f>", TOKENS) == "< |end|>"


def test_control_characters_go_and_what_users_write_with_stays() -> None:
    assert sanitise("a\x01\x08\x1b\x7f\x80\x9fb", TOKENS) == "ab"
    assert sanitise("a\vb\fc\x85d", TOKENS) == "a\nb\nc\nd"
    kept = "\t\n\r \u00a0\u200b\u200d\u202e\u2066\ufeff\u2028é日😀"
    assert sanitise(kept, TOKENS) == kept


def test_no_token_can_be_formed_across_parts_or_messages() -> None:
    """Parts are joined by a line feed, messages by a special token: each begins with `<`."""
    assert all("\n" not in token and token.rfind("<") == 0 for token in TOKENS)


def test_no_character_stands_for_two_of_a_token() -> None:
    """So a space after a character is always inside the token that begins with it."""
    wide = (unicodedata.normalize("NFKD", chr(code)) for code in range(0x80, 0x110000))
    assert {text for text in wide if "<" in text} == {"<", "<\u0338"}
