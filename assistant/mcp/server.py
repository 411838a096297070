"""The Model Context Protocol: the assistant's tools for clients that speak it.

Here is what both ways of reaching them share, and standard input and output; `http` has `/mcp`.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
from pydantic import ValidationError

from assistant.access.caller import LOCAL, Caller
from assistant.mcp.tools import Tool, tools
from index.errors import CasebookError

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server
    from mcp.types import CallToolResult

    from assistant.answering import Answering

log = logging.getLogger("casebook.mcp")

INSTRUCTIONS = (
    "Casebook answers from the organisation's own documents. Use `ask` for a question, `search` for "
    "passages on a subject, and `fetch` to read the document that one is from. Cite what you use."
)

INVALID_REQUEST, INVALID_PARAMS, INTERNAL_ERROR = -32600, -32602, -32603
"""Codes of JSON-RPC 2.0, section 5.1."""

From = tuple[Caller, str | None]
"""Who calls, and the address by which they reach this service over HTTP."""


def run_stdio(answering: "Answering") -> None:
    """Serve one client over standard input and output, until it closes them, as the local caller who may
    read everything. Nothing but the protocol goes to standard output. Closes the gateway at the end.
    """
    anyio.run(serve_stdio, answering)


async def serve_stdio(answering: "Answering") -> None:
    """As `run_stdio`, in an event loop that runs already."""
    from mcp.server.stdio import stdio_server

    server = mcp_server(answering, lambda request: (LOCAL, None))
    try:
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
    finally:
        await answering.gateway.close()


def mcp_server(answering: "Answering", sent_by: Callable[[Any], From]) -> "Server[Any]":
    """The protocol's side: lists the tools and calls them. `sent_by` tells whose a request is."""
    from mcp.server.lowlevel import Server
    from mcp.shared.exceptions import MCPError
    from mcp.types import ListToolsResult

    by_name = {tool.name: tool for tool in tools(answering)}
    listed = ListToolsResult(tools=[_listed(tool) for tool in by_name.values()])

    async def on_list(context: Any, params: Any) -> ListToolsResult:
        return listed

    async def on_call(context: Any, params: Any) -> "CallToolResult":
        if params.name not in by_name:
            known = ", ".join(by_name)
            raise MCPError(INVALID_PARAMS, f"no tool {params.name!r}: there are {known}")
        caller, service = sent_by(context.request)
        return await _called(by_name[params.name], params.arguments or {}, caller, service)

    return Server(
        "casebook",
        title="Casebook",
        instructions=INSTRUCTIONS,
        on_list_tools=on_list,
        on_call_tool=on_call,
    )


def _listed(tool: Tool) -> Any:
    from mcp import types

    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.arguments.model_json_schema(),
        output_schema=tool.output.model_json_schema(),
        annotations=types.ToolAnnotations(read_only_hint=True, open_world_hint=False),
    )


async def _called(
    tool: Tool, arguments: dict[str, Any], caller: Caller, service: str | None
) -> "CallToolResult":
    """What a tool gives; what a model or a person can mend comes back as the tool's own error."""
    from mcp.shared.exceptions import MCPError
    from mcp.types import CallToolResult, TextContent

    try:
        output = await tool.run(tool.arguments.model_validate(arguments), caller, service)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return CallToolResult(content=[TextContent(type="text", text=told)], is_error=True)
    except CasebookError as error:
        log.warning("tool %s: %s", tool.name, error)
        return CallToolResult(content=[TextContent(type="text", text=str(error))], is_error=True)
    except Exception:
        # The border of the protocol: the SDK would tell the client what an unexpected error says.
        log.exception("tool %s broke", tool.name)
        raise MCPError(INTERNAL_ERROR, "internal error; the server's log has the details") from None
    text = output.model_dump_json()
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=output.model_dump()
    )
