"""Refuses malformed requests before Gradio reads them, which would answer some with a 500 and a traceback in the log.

A body is checked for what every event shares: JSON of a bounded size, an event that exists and runs on the server, and
as many values as it has inputs. What a value may be, the event itself checks.
"""

import json
import re
from collections.abc import Callable

import gradio as gr
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATHS = re.compile(r"/(?:(queue/join)|(?:run|api)/([^/]+)|call/([^/]+)|reset|cancel|component_server)/?$")
Events = Callable[[object], dict]  # a session's number -> its events by their numbers
MAX_BODY = 24_000_000  # bytes; a picture for /bound is at most 16 MB of base64


class BadBody(ValueError):
    """A body that no event takes. status: of the answer; the text says what is wrong."""

    def __init__(self, text: str, status: int = 422):
        super().__init__(text)
        self.status = status


class CheckedBodies:
    """ASGI middleware: answers malformed bodies of Gradio's event routes itself, and passes on all else."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        route = PATHS.search(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        try:
            body = await _read(receive)
            check_body(body, route[1] or route[2] or route[3], _events_of(scope["app"]), may_be_unknown=bool(route[3]))
        except BadBody as error:
            await JSONResponse({"error": str(error)}, error.status)(scope, receive, send)
            return

        async def again() -> Message:
            nonlocal body
            if body is None:
                return await receive()
            message, body = {"type": "http.request", "body": body, "more_body": False}, None
            return message

        async def refused(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 500:
                message = message | {"status": 422}  # what Gradio's routes answer if an event refuses its values
            await send(message)

        await self.app(scope, again, refused)


async def _read(receive: Receive) -> bytes:
    parts, length = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadBody("the request was cut off", 400)
        parts.append(message.get("body", b""))
        length += len(parts[-1])
        if length > MAX_BODY:
            raise BadBody(f"a request has at most {MAX_BODY // 10**6} MB", 413)
        if not message.get("more_body"):
            return b"".join(parts)


def _events_of(app) -> Events:
    """Return what gives the events that a session can send: the page's, and those drawn for the session alone."""

    def events(session) -> dict:
        known = isinstance(session, str) and session in app.state_holder
        return app.state_holder[session].blocks_config.fns if known else app.get_blocks().fns

    return events


def check_body(body: bytes, route: str | None, events: Events, may_be_unknown: bool = False) -> None:
    """Check a body. Raises BadBody.

    events: see _events_of. route: "queue/join" or the name of an event, None for a route of another kind.
    may_be_unknown: leave a name that is unknown, and a body of /call's other form, to refusals.py and Gradio.
    """
    try:
        found = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BadBody("the body must be JSON") from None
    if not isinstance(found, dict):
        raise BadBody("the body must be a JSON object")
    if route is None:
        return
    session = found.get("session_hash")
    if not isinstance(session, str | None):
        raise BadBody("session_hash: must be a text")
    event = _event(found, route, events(session), may_be_unknown)
    if event is None or (may_be_unknown and "data" not in found):
        return
    data = found.get("data")
    if not isinstance(data, list):
        raise BadBody("data: must be a list")
    most = len(event.inputs)
    least = sum(not isinstance(component, gr.State) for component in event.inputs)
    if not least <= len(data) <= most:
        raise BadBody(f"data: must have {most} values, got {len(data)}")


def _event(found: dict, route: str, events: dict, may_be_unknown: bool):
    """Return the event that a body or its route names; None if that name is unknown and may be. Raises BadBody."""
    index = found.get("fn_index")
    if index is None:
        by_name = next((event for event in events.values() if event.api_name == route), None)
        if by_name is not None or may_be_unknown:
            return by_name
    event = events.get(index) if isinstance(index, int) and not isinstance(index, bool) else None
    if event is None:
        raise BadBody("fn_index: there is no such event")
    if event.fn is None:
        raise BadBody("fn_index: this event runs in the browser")
    return event


def _refuse_constant(name: str):
    raise ValueError(name)
