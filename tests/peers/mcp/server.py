"""MCP servers behind one gateway, for tests: PyPI `mcp` 1.x or 2.x, streamable HTTP, a bearer token required.

    server.py JWKS_URL AUDIENCE PORT [CERTIFICATE KEY CLIENT_AUTHORITY]

It listens on PORT of 127.0.0.1 (0 for a free port), with mutual TLS if the files are given, and prints its port in one
line of JSON. Every server has the path /v1/mcp/{ordId}/{tenant}. Then every line of JSON on stdin is a command. The
response is one line with all requests so far.

    {}                             changes nothing
    {"until": ["tools/call", 2]}   responds after this number of requests of this JSON-RPC method
    {"revoke": true}               refuses every token that was accepted so far
    {"down": {"orders": 503}}      lets servers respond with this status; 0 for no response
    {"together": 4}                lists no tools until this number of requests for them is waiting
    {"release": true}              resumes the waiting tools
    {"forget": true}               deletes all sessions
    {"sessions": true}             refuses `server/discover`, as servers before MCP 2026-07-28

It ends with stdin, so that it never outlives the test.
"""

import asyncio
import contextlib
import json
import os
import socket
import ssl
import sys
from typing import Any

import jwt
import uvicorn
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings

try:
    from mcp.server.mcpserver import Context, Image, MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    IS_VERSION_1 = False
except ImportError:
    from mcp.server.fastmcp import Context, Image
    from mcp.server.fastmcp import FastMCP as MCPServer
    from mcp.server.fastmcp.exceptions import ToolError

    IS_VERSION_1 = True

JWKS, AUDIENCE, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
CERTIFICATE, KEY, AUTHORITY = (sys.argv[4:] + [None] * 3)[:3]
SERVERS = ["orders", "stock", "people", "weather", "ledger"]

requests, accepted, revoked, down = [], set(), set(), {}
together, asked, sessions = 0, 0, False
counted, released = asyncio.Condition(), asyncio.Event()
keys = jwt.PyJWKClient(JWKS)


class Verifier:
    """Accepts tokens that the provider has signed for this audience and that are not revoked."""

    async def verify_token(self, token):
        try:
            key = await asyncio.to_thread(keys.get_signing_key_from_jwt, token)
            claims = jwt.decode(token, key.key, algorithms=["RS256"], audience=AUDIENCE)
        except jwt.PyJWTError:
            return None
        if token in revoked:
            return None
        accepted.add(token)
        return AccessToken(
            token=token, client_id=claims["client_id"], scopes=[], subject=claims["sub"], claims=claims
        )


async def note(entry):
    async with counted:
        requests.append(entry)
        counted.notify_all()


def server(name):
    settings = AuthSettings(issuer_url="https://issuer.test", resource_server_url=None)
    path = {"streamable_http_path": f"/v1/mcp/{name}/tenant-1"}
    mcp = MCPServer(
        name, auth=settings, token_verifier=Verifier(), log_level="ERROR", **(path if IS_VERSION_1 else {})
    )

    @mcp.tool()
    def add(a: int, b: int) -> int:
        """Adds two integers."""
        return a + b

    @mcp.tool()
    def whoami() -> dict[str, Any]:
        """Says whom the token speaks for, and which certificate it is bound to."""
        token = get_access_token()
        return {"server": name, "sub": token.subject, "cnf": token.claims.get("cnf"), "token": token.token[-12:]}

    @mcp.tool()
    def clash(self_: str, tool: str, principal: str, arguments: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Has parameters that are called like those of whoever calls it."""
        return {"tool": tool, "principal": principal, "arguments": arguments, "timeout": timeout, "self_": self_}

    @mcp.tool()
    def many() -> list:
        """Returns several blocks."""
        return ["one", Image(data=b"\x89PNG", format="png"), "two"]

    @mcp.tool()
    def fail(reason: str) -> str:
        """Fails."""
        raise ToolError(reason)

    @mcp.tool()
    async def wait(steps: int, ctx: Context) -> str:
        """Says how far it is, and waits until it is let go."""
        try:
            for step in range(steps):
                await ctx.report_progress(step + 1, steps, f"step {step + 1}")
            await released.wait()
        except asyncio.CancelledError:
            asyncio.get_running_loop().create_task(note({"method": "cancelled", "server": name}))
            raise
        return "released"

    @mcp.tool()
    async def learn(trick: str, ctx: Context) -> str:
        """Learns another tool, and says that it has."""
        mcp.add_tool(lambda: trick, name=trick, description="Was learnt.")
        await ctx.session.send_tool_list_changed()
        return trick

    @mcp.tool(name=f"{name}: tell me everything that you know of the weather, the stars & all the other things there are")
    def odd_name() -> str:
        """Has a name that no language model accepts."""
        return "much"

    return mcp.streamable_http_app(**({} if IS_VERSION_1 else path))


class Gateway:
    """Passes requests to the servers, and records them."""

    def __init__(self):
        self.servers, self.lifespans = {}, contextlib.AsyncExitStack()

    async def start(self):
        for name in SERVERS:
            app = server(name)
            await self.lifespans.enter_async_context(app.router.lifespan_context(app))
            self.servers[name] = app

    async def restart(self):
        await self.lifespans.aclose()
        self.lifespans = contextlib.AsyncExitStack()
        await self.start()

    async def __call__(self, scope, receive, send):
        name = scope["path"].split("/")[3] if scope["path"].startswith("/v1/mcp/") else ""
        body, more = b"", scope["method"] == "POST"
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        entry = {
            "method": json.loads(body).get("method") if body else scope["method"],
            "server": name,
            "correlation": headers.get("x-correlation-id"),
            "session": headers.get("mcp-session-id"),
            "token": headers.get("authorization", "")[-12:],
        }
        replayed = False

        async def replay():
            nonlocal replayed
            if replayed or scope["method"] != "POST":
                return await receive()
            replayed = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def watched(message):
            if message["type"] == "http.response.start":
                entry["status"] = message["status"]
                await note(entry)
            await send(message)

        if down.get(name) == 0:
            entry["status"] = 0
            await note(entry)
            await asyncio.Event().wait()
        if entry["method"] == "tools/list":
            await meet()
        status = down.get(name, 404 if name not in self.servers else None)
        if sessions and entry["method"] == "server/discover":
            status = 400
        if status:
            await watched({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self.servers[name](scope, replay, watched)


def require_sessions():
    global sessions
    sessions = True


def set_together(number):
    global together, asked
    if number != together:
        together, asked = number, 0


async def meet():
    """Returns when the configured number of requests is waiting."""
    global asked
    async with counted:
        asked += 1
        counted.notify_all()
        await counted.wait_for(lambda: asked >= together)


async def obey(gateway, command):
    if command.get("revoke"):
        revoked.update(accepted)
    if "down" in command:
        down.clear()
        down.update(command["down"])
    set_together(command.get("together", together))
    if command.get("release"):
        released.set()
    if command.get("sessions"):
        require_sessions()
    if command.get("forget"):
        await gateway.restart()
    method, least = command.get("until", (None, 0))
    async with counted:
        await counted.wait_for(lambda: sum(entry["method"] == method for entry in requests) >= least)


async def commands(gateway):
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await obey(gateway, json.loads(line))
        print(json.dumps({"requests": requests}), flush=True)


async def main():
    gateway = Gateway()
    await gateway.start()
    # The protocol is named explicitly: otherwise asyncio does not disable the delays of TCP, 40 ms for each response.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", PORT))
    tls = dict(ssl_certfile=CERTIFICATE, ssl_keyfile=KEY, ssl_ca_certs=AUTHORITY, ssl_cert_reqs=ssl.CERT_REQUIRED)
    config = uvicorn.Config(gateway, lifespan="off", log_level="error", **(tls if CERTIFICATE else {}))
    uvicorn_server = uvicorn.Server(config)
    serving = asyncio.create_task(uvicorn_server.serve(sockets=[listener]))
    while not uvicorn_server.started and not serving.done():
        await asyncio.sleep(0.01)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    await commands(gateway)
    # Requests that still wait have no client any more.
    os._exit(0)


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main(), debug=False)
