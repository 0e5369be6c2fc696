"""The least that BentoML can do: one route on a mounted app, everything else as it comes."""

import bentoml
from fastapi import FastAPI, Request

app = FastAPI()


@app.post("/v1/chat/completions")
async def chat(request: Request) -> dict[str, str]:
    """Read the JSON, answer with a fixed document."""
    await request.json()
    return {"object": "chat.completion", "content": "Hello!"}


@bentoml.service
@bentoml.asgi_app(app)
class Trivial:
    """Nothing of its own."""
