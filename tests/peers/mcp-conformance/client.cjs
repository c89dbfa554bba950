// Lists and calls the tools of `aignostics mcp serve`, with npm `@modelcontextprotocol/sdk` (version 1) or
// `@modelcontextprotocol/client` (version 2). Prints one line of JSON.
//
//     client.cjs 1|2 stdio PROGRAM [ARGUMENT …]
//     client.cjs 1|2 http URL        with the token in the variable TOKEN
//
// The packages are those of the working folder.
const installed = require("node:module").createRequire(`${process.cwd()}/`);
const [version, kind, target, ...rest] = process.argv.slice(2);
const scope = "@modelcontextprotocol";
const [clients, stdio, http] =
  version === "1"
    ? ["sdk/client/index.js", "sdk/client/stdio.js", "sdk/client/streamableHttp.js"]
    : ["client", "client/stdio", "client"];
const { Client } = installed(`${scope}/${clients}`);

function transport() {
  if (kind === "stdio") {
    const { StdioClientTransport } = installed(`${scope}/${stdio}`);
    return new StdioClientTransport({ command: target, args: rest, env: process.env });
  }
  const { StreamableHTTPClientTransport } = installed(`${scope}/${http}`);
  const headers = { authorization: `Bearer ${process.env.TOKEN}` };
  return new StreamableHTTPClientTransport(new URL(target), { requestInit: { headers } });
}

async function main() {
  const client = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode: "auto" } });
  await client.connect(transport());
  let progress = 0;
  const call = (name, args, options) =>
    version === "1"
      ? client.callTool({ name, arguments: args }, undefined, options)
      : client.callTool({ name, arguments: args }, options);
  const { tools } = await client.listTools();
  const applications = await call("list_applications", {});
  const runs = await call("list_runs", {});
  const run = runs.structuredContent.runs[0].run_id;
  const waited = await call("wait_for_run", { run_id: run }, { onprogress: () => (progress += 1) });
  const refused = await call("describe_run", { run_id: "xx" });
  const { resources } = await client.listResources();
  const { prompts } = await client.listPrompts();
  await client.close();
  console.log(
    JSON.stringify({
      tools: tools.length,
      applications: applications.structuredContent.applications.length,
      ended: waited.structuredContent.ended,
      progress,
      refused: refused.isError,
      resources: resources.length,
      prompts: prompts.length,
    }),
  );
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
