"""What the endpoints are, as HTML in every language: their parameters with ranges and defaults, and calls to copy.

The English sentences are those of the endpoints' docstrings and of the settings' fields; app/texts has them in every
language under "api".
"""

import functools
import inspect
import json
import operator
import os
import re
import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt

from app.api.endpoints import ENDPOINTS, Endpoint
from app.server.options import Options
from app.server.services import Services
from app.texts import in_each, say, say_in_each, texts
from app.ui.html import Words, copy_script, words
from app.ui.links import copy_words
from diffusion.experiments.axes import FIELDS
from diffusion.random_seed import RANDOM
from diffusion.settings import SETTINGS, SamplingSettings

CODE = re.compile("`([^`]+)`")
SIGNS = {Ge: ("≥", "ge"), Gt: (">", "gt"), Le: ("≤", "le"), Lt: ("<", "lt")}
ANY_NUMBER = 2**31  # the bound of numbers that a checkpoint bounds, which the sentence says
PACKAGE = "`pip install gradio_client`"
# Gradio shows its page only when its own button is pressed, not at its address
GRADIOS_OWN = "document.querySelector('footer .show-api')?.click(); return false"


def reference(services: Services, address: str) -> str:
    """Return the description of all endpoints. address: where programs reach them."""
    options = services.options
    limits = say_in_each("api.limits", images=options.max_images, cost=options.max_cost)
    own = f'<a href="?view=api" onclick="{GRADIOS_OWN}">{words(say_in_each("api.own"))}</a>'
    name = services.catalogue.default()
    parts = "".join(_endpoint(one, services, address, name) for one in ENDPOINTS)
    sentences = _marked(say_in_each("api.intro")), _marked(limits), _marked(say_in_each("api.install", package=PACKAGE))
    above = "".join(f"<p>{one}</p>" for one in (*sentences, own))
    return f'<div class="reference">{above}{parts}</div>'


def served_at(page: str) -> str:
    """Return the address that programs use: a Space's own host, else that of the page."""
    return f"https://{os.environ['SPACE_HOST']}/" if os.environ.get("SPACE_HOST") else page


def python_call(endpoint: Endpoint, address: str, checkpoint: str) -> str:
    """Return a Python program that calls an endpoint."""
    arguments = "".join(f"    {name}={value!r},\n" for name, value in endpoint.example(checkpoint).items())
    return (
        f'from gradio_client import Client\n\nclient = Client("{address}")\n'
        f'{endpoint.answer} = client.predict(\n{arguments}    api_name="/{endpoint.name}",\n)\n'
        f"print({endpoint.answer.split(', ')[-1]})\n"
    )


def curl_call(endpoint: Endpoint, address: str, checkpoint: str) -> str:
    """Return two shell commands that call an endpoint: the first gets the number of the call, the second its answer."""
    calls, body = f"{address.rstrip('/')}/gradio_api/call", json.dumps(endpoint.example(checkpoint))
    return (
        f"ID=$(curl -s {calls}/v2/{endpoint.name} -H 'Content-Type: application/json' \\\n"
        f"  -d '{body}' | sed 's/.*: *\"\\(.*\\)\".*/\\1/')\n"
        f"curl -sN {calls}/{endpoint.name}/$ID\n"
    )


def _endpoint(endpoint: Endpoint, services: Services, address: str, checkpoint: str | None) -> str:
    name = endpoint.name
    parameters = inspect.signature(endpoint.make(services)).parameters.values()
    items = []
    for one in parameters:
        kind = _marked(in_each(functools.partial(_kind, endpoint, one, services.options)))
        meaning = _marked(in_each(functools.partial(_meaning, name, one.name)))
        items.append(f"<dt><code>{one.name}</code> {kind}</dt><dd>{meaning}</dd>")
    examples = []
    for kind, call in (("python", python_call), ("curl", curl_call)) if checkpoint else ():
        label = say_in_each(f"api.of_{kind}", name=f"/{name}")
        examples.append(f"<h4>{words(say_in_each(f'api.{kind}'))}</h4>")
        examples.append(copy_script(call(endpoint, address, checkpoint), label, *copy_words()))
    return (
        f'<details id="api-{name}"><summary><code>/{name}</code> {_marked(say_in_each(f"api.{name}.what"))}</summary>'
        f"<h4>{words(say_in_each('api.parameters'))}</h4><dl>{''.join(items)}</dl>"
        f"<h4>{words(say_in_each('api.answer'))}</h4><p>{_marked(say_in_each(f'api.{name}.returns'))}</p>"
        f"{''.join(examples)}</details>"
    )


def _meaning(endpoint: str, parameter: str, language: str) -> str:
    """Return what a parameter is: in the endpoint's own words, else in those of the setting of its name."""
    for key in (f"api.{endpoint}.{parameter}", f"api.settings.{parameter}"):
        if key in texts(language):
            return say(language, key, fields=", ".join(f"`{one}`" for one in FIELDS))
    return SETTINGS[parameter].description


def _kind(endpoint: Endpoint, parameter: inspect.Parameter, options: Options, language: str) -> str:
    """Return a parameter's type or choices, its bounds, and its default, as a setting's field or signature has them."""
    setting = SETTINGS.get(parameter.name)
    is_setting = setting is not None and not _types(parameter.annotation) & {list, dict} - _types(setting.annotation)
    if is_setting and setting.choices:
        said = [", ".join(f"`{one}`" for one in setting.choices)]
    else:
        kinds = [one for one in KINDS if one in _types(parameter.annotation)]
        said = [say(language, "api.or").join(say(language, f"api.kinds.{one.__name__}") for one in kinds)]
    if is_setting:
        said += _bounds(parameter.name, options)
    if parameter.name == "seed" and endpoint.draws_seed:
        said.append(say(language, "api.or_drawn", value=f"`{RANDOM}`"))
    if parameter.default is inspect.Parameter.empty:
        said.append(say(language, "api.required"))
    elif parameter.default is None:
        said.append(say(language, "api.optional"))
    else:
        said.append(say(language, "api.default", value=f"`{json.dumps(parameter.default, ensure_ascii=False)}`"))
    return " · ".join(said)


KINDS = (int, float, str, bool, dict, list)


def _types(annotation: Any) -> set[type]:
    """Return the types that a parameter takes in JSON."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _types(inner[0])
    if origin is Literal:
        return {str}
    if origin in (Union, types.UnionType):
        return functools.reduce(operator.or_, map(_types, inner))
    return {list if (origin or annotation) is tuple else origin or annotation} - {type(None)}


def _bounds(name: str, options: Options) -> list[str]:
    """Return the bounds of a setting's values on this server."""
    declared = [one for one in SamplingSettings.model_fields[name].metadata if type(one) in SIGNS]
    values = [(sign, getattr(one, field)) for one in declared for sign, field in [SIGNS[type(one)]]]
    found = [f"{sign} {value:,}" for sign, value in values if value != ANY_NUMBER]
    return [*found[:1], f"≤ {options.max_images}"] if name == "num_images" else found


def _marked(sentence: Words) -> str:
    """Return a sentence in every language; what stands between backquotes is code."""
    return CODE.sub(r"<code>\1</code>", words(sentence))


def english(endpoint: Callable) -> dict[str, str]:
    """Return the sentences of an endpoint's docstring: "what" it does, what it "returns", and its arguments by name."""
    what, _, rest = inspect.cleandoc(endpoint.__doc__).partition("\n\nArgs:\n")
    arguments, _, returns = rest.partition("\n\nReturns:\n")
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", arguments, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in [("what", what), ("returns", returns), *found]}
