// Adds a bearer token to every request: the server scenarios have no option for it.
const authorization = `Bearer ${process.env.TOKEN}`;
const original = globalThis.fetch;
globalThis.fetch = (input, init = {}) => {
  const headers = new Headers(init.headers ?? (input instanceof Request ? input.headers : undefined));
  if (!headers.has("authorization")) headers.set("authorization", authorization);
  return original(input, { ...init, headers });
};
const http = require("node:http");
const request = http.request;
http.request = (...parts) => {
  const sent = request(...parts);
  if (!sent.hasHeader("authorization")) sent.setHeader("authorization", authorization);
  return sent;
};
