"""Lists and calls the tools of `aignostics mcp serve`, with PyPI `mcp` 1.x or 2.x. Prints one line of JSON.

    client.py stdio PROGRAM [ARGUMENT …]
    client.py http URL        with the token in the variable TOKEN
"""

import asyncio
import contextlib
import json
import os
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client


def either(result, name, earlier):
    """An attribute, which had another name in version 1."""
    return getattr(result, name) if hasattr(result, name) else getattr(result, earlier)


def content(result):
    return either(result, "structured_content", "structuredContent")


async def connect(stack):
    if sys.argv[1] == "stdio":
        # The library passes only some variables on.
        server = StdioServerParameters(command=sys.argv[2], args=sys.argv[3:], env=dict(os.environ))
        return await stack.enter_async_context(stdio_client(server))
    http = create_mcp_http_client(headers={"authorization": f"Bearer {os.environ['TOKEN']}"})
    await stack.enter_async_context(http)
    return await stack.enter_async_context(streamable_http_client(sys.argv[2], http_client=http))


async def main():
    progress = []

    async def report(done, total, message):
        progress.append(message)

    async with contextlib.AsyncExitStack() as stack:
        reading, writing = (await connect(stack))[:2]
        session = await stack.enter_async_context(ClientSession(reading, writing))
        await session.initialize()
        tools = (await session.list_tools()).tools
        applications = await session.call_tool("list_applications", {})
        runs = await session.call_tool("list_runs", {})
        run = content(runs)["runs"][0]["run_id"]
        waited = await session.call_tool("wait_for_run", {"run_id": run}, progress_callback=report)
        refused = await session.call_tool("describe_run", {"run_id": "xx"})
        resources = (await session.list_resources()).resources
        prompts = (await session.list_prompts()).prompts
    print(json.dumps({
        "tools": len(tools),
        "applications": len(content(applications)["applications"]),
        "ended": content(waited)["ended"],
        "progress": len(progress),
        "refused": either(refused, "is_error", "isError"),
        "resources": len(resources),
        "prompts": len(prompts),
    }))


asyncio.run(main())
