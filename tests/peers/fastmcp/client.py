"""Lists and calls the tools of `aignostics mcp serve`, with PyPI `fastmcp`. Prints one line of JSON.

    client.py stdio PROGRAM [ARGUMENT …]
    client.py http URL        with the token in the variable TOKEN
"""

import asyncio
import json
import os
import sys

from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport

if sys.argv[1] == "stdio":
    transport = StdioTransport(sys.argv[2], sys.argv[3:], env=dict(os.environ))
else:
    transport = StreamableHttpTransport(sys.argv[2], auth=os.environ["TOKEN"])


async def main():
    progress = []

    async def report(done, total, message):
        progress.append(message)

    async with Client(transport) as client:
        tools = await client.list_tools()
        applications = await client.call_tool("list_applications", {})
        runs = await client.call_tool("list_runs", {})
        run = runs.structured_content["runs"][0]["run_id"]
        waited = await client.call_tool("wait_for_run", {"run_id": run}, progress_handler=report)
        refused = await client.call_tool("describe_run", {"run_id": "xx"}, raise_on_error=False)
        resources = await client.list_resources()
        prompts = await client.list_prompts()
    print(json.dumps({
        "tools": len(tools),
        "applications": len(applications.structured_content["applications"]),
        "ended": waited.structured_content["ended"],
        "progress": len(progress),
        "refused": refused.is_error,
        "resources": len(resources),
        "prompts": len(prompts),
    }))


asyncio.run(main())
