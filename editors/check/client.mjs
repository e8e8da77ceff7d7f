// A server process with VS Code's library in front of it, texts, and positions in them.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
export const lsp = require("vscode-languageserver-protocol/node");

/** The longest that anything may take, in ms. */
const PATIENCE = 60_000;

/** Waits for something, but not for ever. */
export async function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing came in ${PATIENCE / 1000} s`)), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Asks again until the answer is one, which takes a while where data is read in the background. */
export async function eventually(what, ask) {
  const end = performance.now() + PATIENCE;
  let last;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) {
      throw new Error(`${what}, even after ${PATIENCE / 1000} s: ${last.message}`, { cause: last });
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What clients say that can do everything that is checked here. */
export const ABLE = {
  general: { positionEncodings: ["utf-16"] },
  workspace: { inlayHint: { refreshSupport: true }, codeLens: { refreshSupport: true } },
  textDocument: { completion: { completionItem: { snippetSupport: true } } },
};

export class Client {
  /** Every `publishDiagnostics`, in the order in which they came. */
  published = [];
  /** What the server has asked for. */
  asked = [];
  #listeners = new Set();

  static async start(program, capabilities = ABLE) {
    const client = new Client();
    client.process = spawn(program, ["lsp"], { stdio: ["pipe", "pipe", "inherit"] });
    client.ended = new Promise((resolve, reject) => client.process.once("exit", resolve).once("error", reject));
    const { stdin, stdout } = client.process;
    const connection = lsp.createProtocolConnection(
      new lsp.StreamMessageReader(stdout),
      new lsp.StreamMessageWriter(stdin),
    );
    client.connection = connection;
    connection.onNotification(lsp.PublishDiagnosticsNotification.type, (params) => {
      client.published.push(params);
      client.#listeners.forEach((listener) => listener(params));
    });
    // Nothing is said there that is not a mistake of the server.
    connection.onNotification(lsp.LogMessageNotification.type, ({ message }) => {
      console.error(message);
      process.exit(1);
    });
    connection.onRequest((method) => {
      client.asked.push(method);
      return null;
    });
    connection.listen();
    const params = { processId: process.pid, rootUri: null, capabilities };
    ({ capabilities: client.offers } = await client.ask(lsp.InitializeRequest.type, params));
    await connection.sendNotification(lsp.InitializedNotification.type, {});
    return client;
  }

  ask(type, params) {
    return within(this.connection.sendRequest(type, params), type.method);
  }

  /** The next diagnostics of this text that are as wanted. */
  said(uri, isWanted) {
    let listener;
    const found = new Promise((resolve) => {
      listener = (params) => params.uri === uri && isWanted(params) && resolve(params.diagnostics);
      this.#listeners.add(listener);
    });
    return within(found, `diagnostics of ${uri}`).finally(() => this.#listeners.delete(listener));
  }

  /** Sends something and waits for the diagnostics of the version that it makes. */
  async diagnosed(uri, version, type, params) {
    const diagnostics = this.said(uri, (params) => params.version === version);
    await this.connection.sendNotification(type, params);
    return diagnostics;
  }

  open(uri, text) {
    const textDocument = { uri, languageId: "nnopt", version: 1, text };
    return this.diagnosed(uri, 1, lsp.DidOpenTextDocumentNotification.type, { textDocument });
  }

  /** Edits a text, each edit in the result of the one before, or replaces it; the diagnostics after that. */
  change(uri, version, edits) {
    const params = { textDocument: { uri, version }, contentChanges: changes(edits) };
    return this.diagnosed(uri, version, lsp.DidChangeTextDocumentNotification.type, params);
  }

  /** As `change`, without waiting. */
  async changeSilently(uri, version, edits) {
    const params = { textDocument: { uri, version }, contentChanges: changes(edits) };
    await this.connection.sendNotification(lsp.DidChangeTextDocumentNotification.type, params);
  }

  /** The report on a text. */
  pull(uri, previousResultId) {
    return this.ask(lsp.DocumentDiagnosticRequest.type, { textDocument: { uri }, previousResultId });
  }

  /** Ends the conversation as the protocol says. */
  async end() {
    await this.ask(lsp.ShutdownRequest.type);
    await this.connection.sendNotification(lsp.ExitNotification.type);
    assert.equal(await within(this.ended, "the end of the server"), 0);
  }
}

function changes(edits) {
  return typeof edits === "string" ? [{ text: edits }] : edits.map(({ range, newText }) => ({ range, text: newText }));
}

/** A text, with positions counted in the units of an encoding. */
export class Text {
  constructor(text, encoding = "utf-16") {
    this.text = text;
    this.encoding = encoding;
  }

  #length(text) {
    return this.encoding === "utf-8" ? Buffer.byteLength(text) : text.length;
  }

  /** The position of an index of the string. */
  position(index) {
    const before = this.text.slice(0, index).split("\n");
    return { line: before.length - 1, character: this.#length(before.at(-1)) };
  }

  index({ line, character }) {
    const lines = this.text.split("\n");
    const start = lines.slice(0, line).reduce((sum, line) => sum + line.length + 1, 0);
    const units = [...(lines[line] ?? "")];
    let index = start;
    for (let column = 0; column < character; index += units.shift().length) {
      assert.ok(units.length > 0, `line ${line} has no column ${character}`);
      column += this.#length(units[0]);
      assert.ok(column <= character, `column ${character} of line ${line} is inside a character`);
    }
    return index;
  }

  /** Where `part` stands inside `around`, which stands once in the text. */
  range(around, part = around) {
    const first = this.text.indexOf(around);
    assert.ok(first >= 0 && this.text.indexOf(around, first + 1) < 0, `${around} stands once in the text`);
    const start = first + around.indexOf(part);
    assert.ok(around.includes(part), `${part} is in ${around}`);
    return { start: this.position(start), end: this.position(start + part.length) };
  }

  /** The start of `part` inside `around`. */
  at(around, part = around) {
    return this.range(around, part).start;
  }

  slice({ start, end }) {
    return this.text.slice(this.index(start), this.index(end));
  }

  /** This text after edits that do not overlap, all of them in terms of this one. */
  edited(edits) {
    const places = edits.map(({ range, newText }) => [this.index(range.start), this.index(range.end), newText]);
    places.sort(([a], [b]) => b - a);
    const text = places.reduce((text, [start, end, newText]) => text.slice(0, start) + newText + text.slice(end), this.text);
    return new Text(text, this.encoding);
  }

  get everything() {
    return { start: { line: 0, character: 0 }, end: this.position(this.text.length) };
  }
}
