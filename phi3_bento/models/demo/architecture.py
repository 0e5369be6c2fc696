"""The demo model's shape: Phi-3-Mini's architecture, a thousand times smaller."""

import torch
from transformers import GenerationConfig, Phi3Config, Phi3ForCausalLM, PreTrainedTokenizerFast

HIDDEN = 192
LAYERS = 6
HEADS = 6
INTERMEDIATE = 512
CONTEXT = 4096


def new_model(tokenizer: PreTrainedTokenizerFast) -> Phi3ForCausalLM:
    """A model with random weights; multi-head attention and untied embeddings as in Phi-3-Mini."""
    config = Phi3Config(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        intermediate_size=INTERMEDIATE,
        max_position_embeddings=CONTEXT,
        original_max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        architectures=["Phi3ForCausalLM"],
        resid_pdrop=0.0,
        embd_pdrop=0.0,
    )
    # Eager attention trains twice as fast as SDPA here, whose backward pass is slow on CPUs.
    config._attn_implementation = "eager"
    model = Phi3ForCausalLM(config)
    # A head that starts as the embeddings can repeat what it reads: copying is learnt sooner.
    with torch.no_grad():
        model.lm_head.weight.copy_(model.model.embed_tokens.weight)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=[
            tokenizer.convert_tokens_to_ids(token)
            for token in ("<|endoftext|>", "<|assistant|>", "<|end|>")
        ],
        pad_token_id=tokenizer.pad_token_id,
    )
    return model
