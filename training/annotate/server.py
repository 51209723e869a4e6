"""The annotator behind any server that speaks OpenAI's chat completions: vLLM, SGLang, llama.cpp, or a provider.

The key comes from the environment (OPENAI_API_KEY) and from nowhere else; servers of one's own mostly want none. What may pass
(429, 5xx, time-outs, lost connections) is retried with growing pauses, or after the pause that the server asks for.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from typing import Any

from tvau_runtime.errors import BackendError, ConfigError
from tvau_runtime.report import jpeg

from .annotator import Reply, Request, RequestError
from .schema import FrameAnswer

__all__ = ["KEY_VARIABLE", "ServerAnnotator"]

KEY_VARIABLE = "OPENAI_API_KEY"
JPEG_QUALITY = 95


class ServerAnnotator:
    """A model on a server.

    url: up to and with `/v1`. model: as the server names it. concurrency: requests under way at once. timeout_s: for one answer.
    retries: of one request, before it counts as failed. guided: sends the JSON schema along, for servers that can hold a model to
    it. temperature: 0 always takes the likeliest token. Raises `BackendError` without the `openai` package.
    """

    batch = 1

    def __init__(
        self,
        url: str,
        model: str,
        *,
        concurrency: int = 8,
        timeout_s: float = 120.0,
        retries: int = 5,
        max_tokens: int = 2048,
        temperature: float = 0.0,
        guided: bool = False,
    ) -> None:
        try:
            import openai
        except ImportError as error:
            raise BackendError("annotating by a server needs the openai package: pip install openai") from error
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"a server's address begins with http:// or https://, got {url!r}")
        self._errors = openai
        self._client = openai.OpenAI(
            base_url=url, api_key=os.environ.get(KEY_VARIABLE) or "none", timeout=timeout_s, max_retries=retries
        )
        self.url, self.model, self.concurrency = url, model, concurrency
        self._settings: dict[str, Any] = {"temperature": temperature, "max_tokens": max_tokens}
        if guided:
            schema = {"name": "frame", "schema": FrameAnswer.model_json_schema(by_alias=False)}
            self._settings["response_format"] = {"type": "json_schema", "json_schema": schema}
        # Not the address: the same model on another port answers alike.
        self.identity = f"{model} {self._settings}"

    def answer(self, requests: Sequence[Request]) -> list[Reply]:
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Reply:
        data = base64.b64encode(jpeg(request.image, quality=JPEG_QUALITY)).decode("ascii")
        content: Any = [
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}},
            {"type": "text", "text": request.prompt},
        ]
        errors = self._errors
        try:
            answer = self._client.chat.completions.create(
                model=self.model, messages=[{"role": "user", "content": content}], **self._settings
            )
            # A server that is none may answer anything, and the package hands it on unchecked.
            choice, usage = answer.choices[0], answer.usage
            text, cut = choice.message.content or "", choice.finish_reason == "length"
            tokens = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
        except errors.APITimeoutError as error:
            raise RequestError("time-out", f"{self.url} took longer than the time-out for each attempt") from error
        except errors.APIConnectionError as error:
            raise RequestError("no connection", f"{self.url} cannot be reached: {error.__cause__ or error}") from error
        except (errors.AuthenticationError, errors.PermissionDeniedError) as error:
            said = f"{self.url} refuses the key ({error.status_code}): set {KEY_VARIABLE} to one that it knows"
            raise BackendError(said) from error
        except errors.NotFoundError as error:
            said = f"{self.url} knows no model {self.model!r} or no chat completions (404): {_short(error)}"
            raise BackendError(said) from error
        except (errors.BadRequestError, errors.UnprocessableEntityError) as error:
            raise RequestError(
                "refused", f"{self.url} refused a request ({error.status_code}): {_short(error)}"
            ) from error
        except errors.RateLimitError as error:
            raise RequestError("rate limit", f"{self.url} has too many requests (429): {_short(error)}") from error
        except errors.APIStatusError as error:
            raise RequestError("server error", f"{self.url} failed ({error.status_code}): {_short(error)}") from error
        except (errors.APIError, AttributeError, IndexError, TypeError, ValueError) as error:
            said = f"{self.url} answered something that is no chat completion: {_short(error)}"
            raise RequestError("no chat completion", said) from error
        return Reply(text, *tokens, cut=cut)

    def close(self) -> None:
        self._client.close()


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:200]}…"
