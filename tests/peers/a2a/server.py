"""A2A agents for tests: PyPI `a2a-sdk`, which serves their cards and validates cards.

    server.py

It listens on a free port of 127.0.0.1, and prints the port in one line of JSON. The agents `recipes` (A2A 1.0 and 0.3) and
`weather` (A2A 1.0 only) have the paths /v1/a2a/{agent}/{tenant}. Then every line of JSON on stdin is a command. The response
is one line of JSON.

    {}                          responds with all requests so far
    {"version": "2.0"}          changes the version of all agents, and responds with all requests so far
    {"validate": {...}}         responds with the verdicts of the SDK on a card: {"1.0": null or an error, "0.3": ...}

It ends with stdin, so that it never outlives the test.
"""

import asyncio
import json
import os
import socket
import sys

import pydantic
import uvicorn
from a2a.client.card_resolver import parse_agent_card
from a2a.compat.v0_3 import types as v03
from a2a.server.routes import create_agent_card_routes
from a2a.types.a2a_pb2 import AgentCapabilities, AgentCard, AgentInterface, AgentSkill
from a2a.utils.errors import A2AError
from a2a.utils.proto_utils import validate_proto_required_fields
from google.protobuf.json_format import ParseError
from starlette.applications import Starlette
from starlette.routing import Mount

TENANT, VERSION = "tenant-1", ["1.0"]
requests = []


def card(name, port, protocols):
    url = f"http://127.0.0.1:{port}/v1/a2a/{name}/{TENANT}"
    interface = lambda version: AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version=version)
    skill = AgentSkill(id="find", name="Find", description=f"Finds {name}.", tags=[name], examples=[f"Find {name}"])
    return AgentCard(
        name=name.title(),
        description=f"An agent for {name}.",
        version=VERSION[0],
        supported_interfaces=[interface(version) for version in protocols],
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[skill],
    )


async def current(agent_card):
    agent_card.version = VERSION[0]
    return agent_card


def routes(name, port, protocols, cache_control):
    served = create_agent_card_routes(card(name, port, protocols), card_modifier=current, cache_control=cache_control)
    return Mount(f"/v1/a2a/{name}/{TENANT}", routes=served)


def recorded(app):
    async def recording(scope, receive, send):
        if scope["type"] != "http":
            return await app(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        request = {"path": scope["path"], "tag": headers.get("if-none-match"), "accept": headers.get("accept")}
        request["correlation"] = headers.get("x-correlation-id")

        async def sending(message):
            if message["type"] == "http.response.start":
                requests.append(request | {"status": message["status"]})
            await send(message)

        await app(scope, receive, sending)

    return recording


def verdict(check):
    try:
        check()
    except (A2AError, ParseError, pydantic.ValidationError) as error:
        return str(error)[:300] or type(error).__name__
    return None


def validated(candidate):
    text = json.dumps(candidate)
    return {
        "1.0": verdict(lambda: validate_proto_required_fields(parse_agent_card(json.loads(text)))),
        "0.3": verdict(lambda: v03.AgentCard.model_validate_json(text)),
    }


def answer(command):
    if "validate" in command:
        return validated(command["validate"])
    if "version" in command:
        VERSION[0] = command["version"]
    return {"requests": requests}


async def commands():
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(answer(json.loads(line))), flush=True)
    os._exit(0)


async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    app = Starlette(
        routes=[routes("recipes", port, ["1.0", "0.3"], "max-age=60"), routes("weather", port, ["1.0"], None)]
    )
    server = uvicorn.Server(uvicorn.Config(recorded(app), log_level="warning", lifespan="off"))
    print(json.dumps({"port": port}), flush=True)
    await asyncio.gather(server.serve(sockets=[listener]), commands())


asyncio.run(main())
