// Submits a table with `aignostics mcp serve`, and answers the question of the server, with npm `@modelcontextprotocol/sdk`
// (version 1) or `@modelcontextprotocol/client` (version 2). Prints one line of JSON.
//
//     confirm.cjs 1|2 ANSWER TABLE PROGRAM [ARGUMENT …]
//
// ANSWER is as in tests/peers/mcp/confirm.py. The packages are those of the variable PACKAGES.
const fs = require("node:fs");
const installed = require("node:module").createRequire(`${process.env.PACKAGES}/`);
const [version, answer, table, command, ...args] = process.argv.slice(2);
const scope = "@modelcontextprotocol";
const [clients, stdio] =
  version === "1" ? ["sdk/client/index.js", "sdk/client/stdio.js"] : ["client", "client/stdio"];
const { Client } = installed(`${scope}/${clients}`);
const { StdioClientTransport } = installed(`${scope}/${stdio}`);
const questions = [];

async function handle(request) {
  questions.push(request.params.message);
  if (answer === "silent") await new Promise(() => {});
  if (answer === "gone") process.exit(0);
  if (answer === "changed") fs.writeFileSync(table, fs.readFileSync(table, "utf8").replace("LUNG", "LIVER"));
  if (answer === "decline" || answer === "cancel") return { action: answer };
  return { action: "accept", content: { confirm: answer !== "unchecked" } };
}

async function main() {
  const capabilities = answer === "unsupported" ? {} : { elicitation: { form: {} } };
  const options = { capabilities, versionNegotiation: { mode: "auto" } };
  const client = new Client({ name: "test", version: "1" }, options);
  if (answer !== "unsupported") {
    const schema = version === "1" ? installed(`${scope}/sdk/types.js`).ElicitRequestSchema : "elicitation/create";
    client.setRequestHandler(schema, handle);
  }
  await client.connect(new StdioClientTransport({ command, args, env: process.env }));
  const result = await client.callTool({ name: "submit_run", arguments: { application_id: "tissue", file: table } });
  await client.close();
  const run = result.structuredContent?.run_id ?? null;
  console.log(JSON.stringify({ questions, error: result.isError === true, text: result.content[0].text, run }));
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
