"""What a client of the official Python SDK does with the MCP server: `work.py MODE http URL TOKEN`, or
`work.py MODE stdio PROGRAM DATABASE`. The SDK checks each result against the tool's output schema."""

import asyncio
import json
import sys

import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client


async def work(client: Client) -> dict:
    listed = await client.list_tools()

    async def call(tool: str, **arguments):
        result = await client.call_tool(tool, arguments)
        assert not result.is_error, result
        assert json.loads(result.content[0].text) == result.structured_content
        assert result.structured_content["notice"].startswith("Untrusted content"), result
        return result.structured_content

    pages, arguments = [], {"limit": 2}
    while arguments:
        page = await call("list_calls", **arguments)
        pages.append([row["conversation_id"] for row in page["calls"]])
        arguments = {"limit": 2, "cursor": page["next_cursor"]} if page["has_more"] else None
    found = await call("search_turns", q="reefer", driver_id=7)
    one = await call("get_call", conversation_id="conv_a/b?c")
    history = await call("driver_history", q="maria")
    stats = await call("stats", by="channel")
    bad = await client.call_tool("list_calls", {"limit": 0, "status": "over"})
    missing = await client.call_tool("get_call", {"conversation_id": "conv_none"})
    try:
        await client.call_tool("erase_call", {})
        unknown = None
    except MCPError as error:
        unknown = error.code
    return {
        "version": client.protocol_version,
        "server": client.server_info.name,
        "tools": {tool.name: tool.annotations.read_only_hint for tool in listed.tools},
        "pages": pages,
        "found": [turn["conversation_id"] for turn in found["turns"]],
        "call": [one["call"]["driver_name"], [turn["message_text"] for turn in one["turns"]]],
        "history": [history["driver"]["id"], history["totals"]["calls"], len(history["calls"])],
        "stats": stats["all"]["calls"],
        "refused": [result.is_error and [result.content[0].text] for result in (bad, missing)],
        "unknown": unknown,
    }


async def main(mode: str, transport: str, where: str, what: str) -> None:
    if transport == "stdio":
        server = StdioServerParameters(command=where, args=["mcp", "--database", what])
        async with Client(server, mode=mode) as client:
            print(json.dumps(await work(client)))
        return
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {what}"}) as http:
        async with Client(streamable_http_client(where, http_client=http), mode=mode) as client:
            print(json.dumps(await work(client)))


asyncio.run(main(*sys.argv[1:]))
