// What clients of the official TypeScript SDKs do with the MCP server: `node work.mjs MODE http URL TOKEN`, or
// `node work.mjs MODE stdio PROGRAM DATABASE`. MODE is `legacy` for the SDK of the revisions with a handshake, or
// else a mode of the current SDK. Both check each result against the tool's output schema.

const [mode, transport, where, what] = process.argv.slice(2);
const isCurrent = mode !== "legacy";
const [core, http, stdio] = await Promise.all(
  isCurrent
    ? [
        import("@modelcontextprotocol/client"),
        import("@modelcontextprotocol/client"),
        import("@modelcontextprotocol/client/stdio"),
      ]
    : [
        import("@modelcontextprotocol/sdk/client/index.js"),
        import("@modelcontextprotocol/sdk/client/streamableHttp.js"),
        import("@modelcontextprotocol/sdk/client/stdio.js"),
      ],
);

const client = new core.Client(
  { name: "test", version: "1" },
  isCurrent ? { versionNegotiation: { mode: mode === "auto" ? "auto" : { pin: mode } } } : {},
);
await client.connect(
  transport === "stdio"
    ? new stdio.StdioClientTransport({ command: where, args: ["mcp", "--database", what] })
    : new http.StreamableHTTPClientTransport(new URL(where), {
        requestInit: { headers: { Authorization: `Bearer ${what}` } },
      }),
);

const { tools } = await client.listTools();
const raw = (name, args = {}) => client.callTool({ name, arguments: args });
const call = async (name, args) => {
  const result = await raw(name, args);
  const content = result.structuredContent;
  if (result.isError || !content.notice.startsWith("Untrusted content")) throw new Error(JSON.stringify(result));
  if (JSON.stringify(content) !== JSON.stringify(JSON.parse(result.content[0].text))) throw new Error("other text");
  return content;
};

const pages = [];
for (let args = { limit: 2 }; args; ) {
  const page = await call("list_calls", args);
  pages.push(page.calls.map((row) => row.conversation_id));
  args = page.has_more ? { limit: 2, cursor: page.next_cursor } : undefined;
}
const found = await call("search_turns", { q: "reefer", driver_id: 7 });
const one = await call("get_call", { conversation_id: "conv_a/b?c" });
const history = await call("driver_history", { q: "maria" });
const stats = await call("stats", { by: "channel" });
const refused = [
  await raw("list_calls", { limit: 0, status: "over" }),
  await raw("get_call", { conversation_id: "conv_none" }),
];
const unknown = await raw("erase_call").then(
  () => null,
  (error) => error.code,
);
const version = isCurrent
  ? client.getNegotiatedProtocolVersion()
  : (client.transport._protocolVersion ?? client.transport.protocolVersion ?? null);
console.log(
  JSON.stringify({
    version,
    server: client.getServerVersion().name,
    tools: Object.fromEntries(tools.map((tool) => [tool.name, tool.annotations.readOnlyHint])),
    pages,
    found: found.turns.map((turn) => turn.conversation_id),
    call: [one.call.driver_name, one.turns.map((turn) => turn.message_text)],
    history: [history.driver.id, history.totals.calls, history.calls.length],
    stats: stats.all.calls,
    refused: refused.map((result) => result.isError && [result.content[0].text]),
    unknown,
  }),
);
await client.close();
