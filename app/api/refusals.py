"""Answers to calls that do not fit an endpoint; Gradio alone would answer them with "Internal Server Error"."""

import re
from collections.abc import Awaitable, Callable

from fastapi import Request
from fastapi.responses import JSONResponse
from gradio.route_utils import FnIndexInferError

CALL = re.compile(r"/call/(?:v2/)?([^/]+)/?$")
UNKNOWN = re.compile(r"Parameter `(.*)` is not a valid key-word argument", re.DOTALL)
MISSING = re.compile(r"No value provided for required argument: (.*)", re.DOTALL)


def exception_handlers() -> dict[type[Exception], Callable[[Request, Exception], Awaitable[JSONResponse]]]:
    """Return FastAPI's handlers of what Gradio raises on an unknown endpoint, and on unknown or missing parameters."""

    async def refuse(request: Request, error: Exception) -> JSONResponse:
        call = CALL.search(request.url.path)
        endpoints = request.app.get_blocks().get_api_info()["named_endpoints"] if call else {}
        found = call and refusal(call[1], error, endpoints)
        if not found:
            raise error
        status, said = found
        return JSONResponse({"error": said}, status)

    return {TypeError: refuse, KeyError: refuse, FnIndexInferError: refuse}


def refusal(endpoint: str, error: Exception, endpoints: dict[str, dict]) -> tuple[int, str] | None:
    """Return the HTTP status and what is wrong with a call; None if the error is of another kind.

    error: that Gradio raised. endpoints: as `Blocks.get_api_info` describes them, by path.
    """
    if f"/{endpoint}" not in endpoints:
        return 404, f"/{endpoint}: there is no such endpoint; there are {', '.join(endpoints)}"
    if unknown := UNKNOWN.match(str(error)):
        known = ", ".join(one["parameter_name"] for one in endpoints[f"/{endpoint}"]["parameters"])
        return 422, f"{unknown[1]}: /{endpoint} has no such parameter; it has {known}"
    if missing := MISSING.match(str(error)):
        return 422, f"{missing[1]}: /{endpoint} needs a value"
    return None
