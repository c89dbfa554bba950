"""Submits a table with `aignostics mcp serve`, and answers the question of the server, with PyPI `mcp` 1.x or 2.x.

    confirm.py sessions|stateless ANSWER TABLE PROGRAM [ARGUMENT …]

ANSWER is accept, decline, cancel, unchecked (accepts, but does not confirm), silent (never answers), gone (ends in the
question), changed (changes the table and accepts) or unsupported (cannot ask). It prints one line of JSON.
"""

import asyncio
import json
import os
import pathlib
import sys

from mcp import ClientSession, StdioServerParameters, types
from mcp.client.stdio import stdio_client

LIFECYCLE, ANSWER, TABLE = sys.argv[1:4]
questions = []


async def answer(context, params):
    questions.append(params.message)
    if ANSWER == "silent":
        await asyncio.Event().wait()
    if ANSWER == "gone":
        os._exit(0)
    if ANSWER == "changed":
        table = pathlib.Path(TABLE)
        table.write_text(table.read_text().replace("LUNG", "LIVER"))
    if ANSWER in ("decline", "cancel"):
        return types.ElicitResult(action=ANSWER)
    return types.ElicitResult(action="accept", content={"confirm": ANSWER != "unchecked"})


async def submit(call_tool):
    result = await call_tool("submit_run", {"application_id": "tissue", "file": TABLE})
    is_error = result.is_error if hasattr(result, "is_error") else result.isError
    content = result.structured_content if hasattr(result, "structured_content") else result.structuredContent
    print(json.dumps({
        "questions": questions,
        "error": bool(is_error),
        "text": result.content[0].text,
        "run": (content or {}).get("run_id"),
    }))


async def main():
    # The library passes only some variables on.
    server = StdioServerParameters(command=sys.argv[4], args=sys.argv[5:], env=dict(os.environ))
    callback = None if ANSWER == "unsupported" else answer
    if LIFECYCLE == "stateless":
        from mcp import Client

        async with Client(server, mode="2026-07-28", elicitation_callback=callback) as client:
            return await submit(client.call_tool)
    async with stdio_client(server) as (reading, writing):
        async with ClientSession(reading, writing, elicitation_callback=callback) as session:
            await session.initialize()
            await submit(session.call_tool)


asyncio.run(main())
