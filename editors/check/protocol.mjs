// Talks with `nnoptc lsp` through the library that VS Code uses.
//
//   node protocol.mjs PATH/TO/nnoptc FOLDER/OF/EXAMPLES

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(import.meta.url);
const {
  CodeActionRequest, CompletionRequest, createProtocolConnection, DidChangeTextDocumentNotification,
  DidOpenTextDocumentNotification, DocumentFormattingRequest, ExitNotification, HoverRequest, InitializedNotification,
  InitializeRequest, InlayHintRequest, PublishDiagnosticsNotification, SemanticTokensRequest, ShutdownRequest,
  StreamMessageReader, StreamMessageWriter,
} = require("vscode-languageserver-protocol/node");

const [program, examples] = process.argv.slice(2);
const server = spawn(program, ["lsp"], { stdio: ["pipe", "pipe", "inherit"] });
const ended = new Promise((resolve) => server.once("exit", resolve));
const connection = createProtocolConnection(new StreamMessageReader(server.stdout), new StreamMessageWriter(server.stdin));
const waiting = new Map();
connection.onNotification(PublishDiagnosticsNotification.type, ({ uri, version, diagnostics }) => {
  waiting.get(`${uri} ${version}`)?.(diagnostics);
});
connection.onRequest("workspace/inlayHint/refresh", () => null);
connection.listen();

const { capabilities } = await connection.sendRequest(InitializeRequest.type, {
  processId: process.pid,
  rootUri: null,
  capabilities: { general: { positionEncodings: ["utf-16"] } },
});
assert.equal(capabilities.positionEncoding, "utf-16");
await connection.sendNotification(InitializedNotification.type, {});

/** Sends something and waits for the diagnostics of the version that it makes. */
async function diagnosed(uri, version, type, params) {
  const diagnostics = new Promise((resolve) => waiting.set(`${uri} ${version}`, resolve));
  await connection.sendNotification(type, params);
  return diagnostics;
}

let files = 0;
for (const name of fs.readdirSync(examples).filter((name) => name.endsWith(".nnopt"))) {
  const file = path.join(examples, name);
  const uri = pathToFileURL(path.resolve(file)).href;
  const text = fs.readFileSync(file, "utf8");
  const textDocument = { uri, languageId: "nnopt", version: 1, text };
  const said = await diagnosed(uri, 1, DidOpenTextDocumentNotification.type, { textDocument });
  assert.deepEqual(said.filter(({ severity }) => severity === 1), [], name);

  // A mistake is shown, and its fix takes it away.
  const start = text.indexOf("relu");
  const before = text.slice(0, start).split("\n");
  const position = { line: before.length - 1, character: before.at(-1).length };
  const range = { start: position, end: { ...position, character: position.character + 4 } };
  const change = (version, text) => ({ textDocument: { uri, version }, contentChanges: [{ range, text }] });
  const [mistake] = await diagnosed(uri, 2, DidChangeTextDocumentNotification.type, change(2, "rleu"));
  assert.deepEqual([mistake.code, mistake.range], ["E0202", range], name);
  const context = { diagnostics: [mistake] };
  const [fix] = await connection.sendRequest(CodeActionRequest.type, { textDocument: { uri }, range, context });
  assert.deepEqual(fix.edit.changes[uri], [{ range, newText: "relu" }], name);
  await diagnosed(uri, 3, DidChangeTextDocumentNotification.type, change(3, "relu"));

  const hover = await connection.sendRequest(HoverRequest.type, { textDocument: { uri }, position });
  assert.match(hover.contents.value, /^```nnopt\nrelu\n```/, name);
  const items = await connection.sendRequest(CompletionRequest.type, { textDocument: { uri }, position });
  assert.ok(items.some(({ label }) => label === "relu"), name);
  const whole = { start: { line: 0, character: 0 }, end: { line: 9999, character: 0 } };
  assert.ok(Array.isArray(await connection.sendRequest(InlayHintRequest.type, { textDocument: { uri }, range: whole })));
  const tokens = await connection.sendRequest(SemanticTokensRequest.type, { textDocument: { uri } });
  assert.ok(tokens.data.length > 100 && tokens.data.length % 5 === 0, name);
  const options = { tabSize: 4, insertSpaces: true };
  assert.deepEqual(await connection.sendRequest(DocumentFormattingRequest.type, { textDocument: { uri }, options }), []);
  files += 1;
}

await connection.sendRequest(ShutdownRequest.type);
await connection.sendNotification(ExitNotification.type);
assert.equal(await ended, 0);
console.log(`protocol: ${files} files through VS Code's library`);
