"""Train the demo tokenizer: byte-level BPE with Phi-3's special tokens and chat template."""

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY = 2048
MAX_LENGTH = 4096

_SENTENCE_TOKENS = ("<unk>", "<s>", "</s>")
_END_OF_TEXT = "<|endoftext|>"
# As in microsoft/Phi-3-mini-4k-instruct: white space after these tokens belongs to them.
_TURN_TOKENS = ("<|assistant|>", "<|placeholder1|>", "<|placeholder2|>", "<|placeholder3|>",
                "<|placeholder4|>", "<|system|>", "<|end|>", "<|placeholder5|>", "<|placeholder6|>",
                "<|user|>")  # fmt: skip
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'system' %}"
    "{{'<|system|>\n' + message['content'] + '<|end|>\n'}}"
    "{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}"
    "{% elif message['role'] == 'assistant' %}"
    "{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
# A space belongs to a small word after it, but never to a capitalised word, a digit or a mail
# address. So a name or a number is the same tokens at the start of an answer as inside a sentence,
# and copying it is copying tokens. Digits stand alone, so that sums are done digit by digit.
_WORDS = Regex(
    r"'(?:s|t|re|ve|m|ll|d)\b"
    r"| ?(?![\p{Ll}\p{N}.]+@)[\p{Ll}\p{Lo}\p{Lm}\p{M}]+"
    r"|[\p{Ll}\p{Lo}\p{Lm}\p{M}]+"
    r"|[\p{Lu}\p{Lt}][\p{Ll}\p{Lo}\p{Lm}\p{M}]+"
    r"|[\p{Lu}\p{Lt}]+(?!\p{Ll})"
    r"|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+"
    r"|\s+"
)


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of `VOCABULARY` tokens whose merges come from `texts`."""
    tokenizer = Tokenizer(models.BPE(unk_token=None, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_WORDS, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 1 - len(_TURN_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(token, normalized=False) for token in _SENTENCE_TOKENS],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(_END_OF_TEXT, normalized=False)])
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, rstrip=True) for token in _TURN_TOKENS]
    )
    return _wrapped(tokenizer)


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token=_END_OF_TEXT,
        pad_token=_END_OF_TEXT,
        unk_token="<unk>",
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_LENGTH,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        add_bos_token=False,
    )


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the tokenizer's files into `folder`, ready for `AutoTokenizer`."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    # The class's name in Transformers 4 and 5 alike; 5 would write a name that 4 does not know.
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(config, indent=2) + "\n")
