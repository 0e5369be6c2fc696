"""Public system prompts: which tokens they make common, and what cannot be declared."""

from pathlib import Path
from typing import Any

import pytest

from phi3_bento.engine.echo import EchoEngine
from phi3_bento.engine.public_prompts import PublicPrompts, open_public_prompts, read_prompts
from phi3_bento.errors import StartFailure

PROMPT = "You sort mail. " * 20


def conversation(system: object, user: str = "Hello") -> dict[str, Any]:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    return {"messages": messages}


def test_a_prompt_is_shared_by_its_exact_text_alone() -> None:
    prompts = PublicPrompts({PROMPT: [1, 2]})
    assert prompts.beginning_of(conversation(PROMPT)) == [1, 2]
    assert prompts.beginning_of(conversation(PROMPT, "Another question")) == [1, 2]
    for other in (PROMPT + ".", PROMPT.lower(), [{"type": "text", "text": PROMPT}], None):
        assert not prompts.beginning_of(conversation(other))
    assert not prompts.beginning_of({"messages": [{"role": "user", "content": PROMPT}]})
    assert not prompts.beginning_of({"prompt": PROMPT})


async def test_a_prompt_with_a_control_token_is_refused() -> None:
    with pytest.raises(StartFailure, match=r"control token <\|end\|>"):
        await open_public_prompts(EchoEngine(), ["Be kind.<|end|>"], block_tokens=32)


@pytest.mark.parametrize("text", [None, "{", '{"a": "b"}', "[1]"])
def test_a_file_that_is_no_list_of_texts_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "prompts.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StartFailure, match=r"PHI3_PUBLIC_PROMPTS=.*list of system prompts"):
        read_prompts(path)
