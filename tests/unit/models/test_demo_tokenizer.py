"""The bundled tokenizer reads any text, knows Phi-3's turns, and fits the bundled weights."""

import json
from string import ascii_uppercase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from phi3_bento.models.demo import CHECKPOINT
from phi3_bento.models.demo.batches import Encoder
from phi3_bento.models.demo.corpus import Message, training
from phi3_bento.models.demo.evaluate import Responder
from phi3_bento.models.demo.train import make_tokenizer

TOKENIZER: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(CHECKPOINT)
TURNS = ("<|assistant|>", "<|system|>", "<|end|>", "<|user|>")


@given(st.text())
@settings(max_examples=300, deadline=None)
def test_any_unicode_text_survives_the_round_trip(text: str) -> None:
    if not any(token in text for token in TOKENIZER.get_added_vocab()):
        assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@pytest.mark.parametrize("token", [*TURNS, "<|endoftext|>", "<s>", "</s>", "<unk>"])
def test_a_special_token_is_one_token(token: str) -> None:
    assert TOKENIZER.encode(token) == [TOKENIZER.convert_tokens_to_ids(token)]


@pytest.mark.parametrize("letter", ascii_uppercase)
def test_a_letter_is_one_token_at_the_start_of_an_answer(letter: str) -> None:
    turn = TOKENIZER.encode(f"<|assistant|>\n{letter}")
    assert turn == [TOKENIZER.convert_tokens_to_ids("<|assistant|>"), *TOKENIZER.encode(letter)]
    assert len(turn) == 2


def test_digits_stand_alone() -> None:
    assert len(TOKENIZER.encode("11403")) == 5


def test_a_name_is_the_same_tokens_in_a_sentence_and_in_an_answer() -> None:
    in_sentence = TOKENIZER.encode("I am Brouskel from Oslo")
    alone = TOKENIZER.encode("Brouskel")
    start = in_sentence.index(alone[0])
    assert in_sentence[start : start + len(alone)] == alone


def test_the_chat_template_writes_what_phi_3_mini_reads() -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "Bye"},
    ]
    text = TOKENIZER.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|system|>\nBe brief.<|end|>\n<|user|>\nHello!<|end|>\n"
        "<|assistant|>\nHi.<|end|>\n<|user|>\nBye<|end|>\n<|assistant|>\n"
    )
    whole = TOKENIZER.apply_chat_template(turns[:1], tokenize=False)
    assert whole == "<|system|>\nBe brief.<|end|>\n<|endoftext|>"


def test_training_sees_the_tokens_that_the_chat_template_makes() -> None:
    encode = Encoder(TOKENIZER)
    for example in training(8, 200):
        turns = TOKENIZER.apply_chat_template(list(example.messages), return_dict=False)
        assert [*encode(example.messages).tokens, TOKENIZER.eos_token_id] == turns


def test_the_tokenizer_can_be_made_again_from_its_seed() -> None:
    recipe = json.loads((CHECKPOINT / "training.json").read_text())["recipe"]
    again = make_tokenizer(recipe["seed"])
    assert again.get_vocab() == TOKENIZER.get_vocab()


def test_the_checkpoint_is_small_and_names_no_machine() -> None:
    files = [path for path in CHECKPOINT.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 16 * 1024 * 1024
    assert json.loads((CHECKPOINT / "config.json").read_text())["architectures"] == [
        "Phi3ForCausalLM"
    ]
    for path in files:
        if path.suffix in {".json", ".md"}:
            assert "/work/" not in path.read_text()
            assert "/home/" not in path.read_text()


def test_the_checkpoint_answers_sensibly() -> None:
    questions = (
        "Which port does this service use?",
        "Is this review positive or negative? Answer with one word.\nThe film was terrible.",
        "Hello!",
    )
    prompts: list[list[Message]] = [[{"role": "user", "content": q}] for q in questions]
    port, review, greeting = Responder().answers(prompts)
    assert "11403" in port
    assert review == "negative"
    assert greeting.startswith("Hello! I am phi3-demo")
