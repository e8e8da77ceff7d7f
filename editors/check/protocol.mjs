// Talks with `nnoptc lsp` through the library that VS Code uses.
//
//   node protocol.mjs PATH/TO/nnoptc FOLDER/OF/EXAMPLES

import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";

import { ABLE, Client, eventually, lsp, Text } from "./client.mjs";

const [program, examples] = process.argv.slice(2);
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "nnoptc-protocol-"));
process.on("exit", () => fs.rmSync(folder, { recursive: true, force: true }));
const table = fs.readFileSync(path.join(examples, "data/iris.csv"));
fs.mkdirSync(path.join(folder, "data"));
fs.writeFileSync(path.join(folder, "data/é😀.csv"), table);
const uri = pathToFileURL(path.join(folder, "a.nnopt")).href;
const textDocument = { uri };

/** Names and a path in which a character, its UTF-16 units and its bytes are different numbers. */
const TEXT = `\
# Blumen: é😀

nnopt 1

let größe = 16

block teil(𝑛é, rate = 0.5) {
    linear(𝑛é) -> relu -> dropout(rate)
}

data {
    train     = csv("data/é😀.csv", target = species)
    val       = split(train, 20%, stratified)
    normalize = auto
}

model {
    teil(größe)
    𝑎é = linear(größe) -> relu
    residual { linear(größe) }
    add(𝑎é) -> linear(classes)
}

loss      = cross_entropy
optimizer = adam(lr = 1e-3)

train {
    epochs = 3
    batch  = 16
    seed   = 1
}
`;

const isError = ({ severity }) => severity === 1;
const label = ({ label }) => label;

/** The hints of a whole text as `line: label`, once the data is known. */
async function hints(client, uri, text) {
  return eventually(`hints of ${uri}`, async () => {
    const hints = await client.ask(lsp.InlayHintRequest.type, { textDocument: { uri }, range: text.everything });
    assert.ok(hints.length > 0, "there are no hints");
    return hints
      .sort((a, b) => a.position.line - b.position.line || a.position.character - b.position.character)
      .map(({ position, label }) => `${text.text.split("\n")[position.line].trim().split(/ *[ =({]/)[0]}: ${label}`);
  });
}

/** The rows and shapes that editors show in the examples whose data comes with them. */
const SHOWN = {
  "breast_cancer.nnopt": [
    "train: 370 rows, 2 classes", "test: 114 rows", "val: 85 rows", "linear: [16]", "linear: [16]", "linear: [2]",
  ],
  "diabetes.nnopt": [
    "train: 288 rows", "test: 88 rows", "val: 66 rows", "linear: [32]", "linear: [32]", "linear: [1]",
  ],
  "digits.nnopt": ["train: 1,258 rows, 10 classes", "test: 359 rows", "val: 180 rows", "linear: [64]", "linear: [10]"],
  "digits_cnn.nnopt": [
    "train: 1,258 rows, 10 classes", "test: 359 rows", "val: 180 rows", "random_crop: [1, 8, 8]",
    "conv2d: [16, 8, 8]", "conv2d: [16, 8, 8]", "conv2d: [32, 8, 8]", "conv2d: [32, 8, 8]", "max_pool: [32, 4, 4]",
    "flatten: [512]", "dropout: [512]", "linear: [10]",
  ],
  "iris.nnopt": ["train: 120 rows, 3 classes", "test: 30 rows", "linear: [16]", "linear: [16]", "linear: [3]"],
};

/** Every example: no mistakes, the fix of one that is made, hints. */
async function checkExamples() {
  const client = await Client.start(program);
  assert.equal(client.offers.positionEncoding, "utf-16");
  const names = fs.readdirSync(examples).filter((name) => name.endsWith(".nnopt"));
  for (const name of names) {
    const file = path.join(examples, name);
    const uri = pathToFileURL(path.resolve(file)).href;
    const text = new Text(fs.readFileSync(file, "utf8"));
    // Other data need not have been fetched.
    const isMistake = (said) => isError(said) && (name in SHOWN || said.code !== "E0401");
    assert.deepEqual((await client.open(uri, text.text)).filter(isMistake), [], name);

    // A mistake is shown, and its fix takes it away.
    const start = text.text.indexOf("relu");
    const range = { start: text.position(start), end: text.position(start + 4) };
    const wrong = text.edited([{ range, newText: "rleu" }]);
    const mistakes = (await client.change(uri, 2, [{ range, newText: "rleu" }])).filter(isMistake);
    assert.deepEqual(mistakes.map(({ code, range }) => [code, range]), [["E0202", range]], name);
    const context = { diagnostics: mistakes };
    const [fix] = await client.ask(lsp.CodeActionRequest.type, { textDocument: { uri }, range, context });
    const edits = fix.edit.changes[uri];
    assert.equal(wrong.edited(edits).text, text.text, name);
    assert.deepEqual((await client.change(uri, 3, edits)).filter(isMistake), [], name);

    const position = range.start;
    const hover = await client.ask(lsp.HoverRequest.type, { textDocument: { uri }, position });
    assert.match(hover.contents.value, /^```nnopt\nrelu\n```/, name);
    const items = await client.ask(lsp.CompletionRequest.type, { textDocument: { uri }, position });
    assert.ok(items.some(({ label }) => label === "relu"), name);
    const tokens = await client.ask(lsp.SemanticTokensRequest.type, { textDocument: { uri } });
    assert.ok(tokens.data.length > 100 && tokens.data.length % 5 === 0, name);
    const options = { tabSize: 4, insertSpaces: true };
    assert.deepEqual(await client.ask(lsp.DocumentFormattingRequest.type, { textDocument: { uri }, options }), []);
    if (name in SHOWN) {
      assert.deepEqual(await hints(client, uri, text), SHOWN[name], name);
    }
  }
  assert.deepEqual(Object.keys(SHOWN).filter((name) => !names.includes(name)), []);
  await client.end();
  return names.length;
}

/** Mistakes, their fixes, and that asking gives what is sent. */
async function checkDiagnostics(client, clean) {
  const { encoding } = clean;
  const swap = (text, around, from, to) => text.edited([{ range: text.range(around, from), newText: to }]);
  let wrong = swap(clean, "species)", "species", "spezies");
  wrong = swap(wrong, "dropout(", "dropout", "droput");
  wrong = swap(wrong, "add(𝑎é)", "𝑎é", "𝑎è");
  wrong = swap(wrong, "epochs = 3", "=", ":");
  const expected = [
    ["E0102", 1, ":"],
    ["E0202", 1, "droput"],
    ["E0215", 1, "𝑎è"],
    ["E0401", 1, `csv("data/é😀.csv", target = spezies)`],
  ];
  const shown = (said) => said.map(({ code, severity, range }) => [code, severity, wrong.slice(range)]).sort();
  await client.open(uri, wrong.text);
  // The columns are known when the header has been read.
  let report;
  await eventually("all mistakes", async () => {
    report = await client.pull(uri);
    assert.deepEqual(shown(report.items), expected);
  });
  const latest = client.published.filter((params) => params.uri === uri).at(-1);
  assert.deepEqual(latest, { uri, version: 1, diagnostics: report.items });
  assert.deepEqual(await client.pull(uri, report.resultId), { kind: "unchanged", resultId: report.resultId });
  assert.ok(report.items.every(({ source, message }) => source === "nnoptc" && message.length > 0));

  // A client that asks gets the same, once.
  const capabilities = { ...ABLE, general: { positionEncodings: [encoding] } };
  capabilities.workspace = { ...ABLE.workspace, diagnostics: { refreshSupport: true } };
  capabilities.textDocument = { ...ABLE.textDocument, diagnostic: {} };
  const asking = await Client.start(program, capabilities);
  assert.deepEqual(asking.offers.diagnosticProvider, { interFileDependencies: true, workspaceDiagnostics: false });
  const document = { uri, languageId: "nnopt", version: 1, text: wrong.text };
  await asking.connection.sendNotification(lsp.DidOpenTextDocumentNotification.type, { textDocument: document });
  await eventually("the same mistakes", async () => assert.deepEqual(await asking.pull(uri), report));
  assert.ok(asking.asked.includes(lsp.DiagnosticRefreshRequest.method));
  assert.deepEqual(asking.published, []);
  await asking.end();

  // Fixes one by one, each applied to the text that the ones before have left.
  let text = wrong;
  let version = 1;
  for (const [part, title] of [["droput", "Write `dropout`"], [": 3", "Write `=`"], ["𝑎è", "Write `𝑎é`"]]) {
    const range = part === ": 3" ? text.range(part, ":") : text.range(part);
    const context = { diagnostics: [], only: ["quickfix"] };
    const actions = await client.ask(lsp.CodeActionRequest.type, { textDocument, range, context });
    const fix = actions.find((action) => action.title === title);
    assert.ok(fix, `${title} is among ${JSON.stringify(actions.map(({ title }) => title))}`);
    const edits = fix.edit.changes[uri];
    text = text.edited(edits);
    version += 1;
    await client.change(uri, version, edits);
  }
  text = swap(text, "spezies", "spezies", "species");
  const columns = wrong.range("spezies");
  assert.equal(text.text, clean.text);
  assert.deepEqual(await client.change(uri, version + 1, [{ range: columns, newText: "species" }]), []);
  await eventually("a clean text", async () => assert.deepEqual((await client.pull(uri)).items, []));
  return version + 1;
}

/** What stands under the cursor. */
async function checkHover(client, text) {
  const hover = async (around, part) => {
    const found = await client.ask(lsp.HoverRequest.type, { textDocument, position: text.at(around, part) });
    assert.equal(text.slice(found.range), part ?? around);
    return found.contents.value;
  };
  await eventually("shapes in the hover", async () => {
    const linear = await hover("linear(classes)", "linear");
    for (const part of [
      "```nnopt\nlinear(units, bias = true",                  // signature
      "`y = x·Wᵀ + b`",                                       // formula
      "`[batch, 16]` → `[batch, 3]`",                         // inferred shapes
      "51 parameters (204 B)",                                // 16·3 weights and 3 offsets, 4 bytes each
      "96 FLOPs a sample",                                    // a multiply-add is two operations
      "12 B of output a sample",
    ]) {
      assert.ok(linear.includes(part), `${part} is in ${linear}`);
    }
  });
  assert.match(await hover("classes"), /Here it is 3\./);
  assert.equal(await hover("teil(größe)", "größe"), "```nnopt\nlet größe = 16\n```");
  assert.match(await hover("teil(größe)", "teil"), /`\[batch, 4\]` → `\[batch, 16\]` · 80 parameters/);
  assert.match(await hover("add(𝑎é)", "𝑎é"), /The label `𝑎é`/);
  assert.match(await hover("epochs"), /^`epochs`: Passes over the training split/);
  assert.match(await hover("target"), /^`target`: /);
  assert.match(await hover("data {", "data"), /- `train`: 120 rows\n- `val`: 30 rows/);
}

async function checkHints(client, text) {
  assert.deepEqual(await hints(client, uri, text), [
    "linear: [16]", "linear: [16]",                           // the block's two ends
    "train: 120 rows, 3 classes", "val: 30 rows",
    "teil: [16]", "𝑎é: [16]", "residual: [16]", "residual: [16]", "add: [3]",
  ]);
  const range = text.range("    add(𝑎é) -> linear(classes)");
  const [last] = await client.ask(lsp.InlayHintRequest.type, { textDocument, range });
  assert.deepEqual(last.position, range.end);
}

/** What is offered at the end of some text; the text is put back. Returns the number of the last version. */
async function checkCompletion(client, clean, version) {
  const offered = async (around, from, to) => {
    const text = clean.edited([{ range: clean.range(around, from), newText: to.replace("|", "") }]);
    const index = clean.text.indexOf(around) + around.indexOf(from) + to.indexOf("|");
    version += 1;
    await client.change(uri, version, text.text);
    const items = await client.ask(lsp.CompletionRequest.type, { textDocument, position: text.position(index) });
    // What an item replaces ends at the cursor.
    for (const { textEdit } of items) {
      assert.deepEqual(textEdit.range.end, text.position(index));
    }
    const texts = (item) => [item.label, text.edited([item.textEdit]).text.split(/\r?\n/)[text.position(index).line]];
    return new Map(items.map(texts));
  };
  const has = (items, names, not = []) => {
    assert.deepEqual([names.filter((name) => !items.has(name)), not.filter((name) => items.has(name))], [[], []]);
  };
  // Items, in which what must be given are places to fill in.
  let items = await offered("linear(größe) -> relu", "relu", "con|");
  has(items, ["conv2d", "linear", "batch_norm", "repeat", "teil", "use"], ["adam", "epochs", "random_crop"]);
  assert.match(items.get("conv2d"), /-> conv2d\(\$\{1:filters\}, kernel = \$\{2:kernel\}\)/);
  assert.match(items.get("teil"), /-> teil\(\$\{1:𝑛é\}, \$\{2:rate\}\)/);
  // Arguments and values of them.
  items = await offered("linear(classes)", "classes", "classes, |");
  has(items, ["bias", "init"], ["units"]);
  assert.match(items.get("init"), /add\(𝑎é\) -> linear\(classes, init = \$0\)/);
  has(await offered("linear(classes)", "classes", "classes, init = |"), ["kaiming_normal", "xavier_uniform"], ["relu"]);
  has(await offered("linear(classes)", "classes", "|"), ["classes", "größe", "units"], ["relu"]);
  has(await offered("add(𝑎é)", "𝑎é", "|"), ["𝑎é"], ["größe", "classes"]);
  has(await offered("= cross_entropy", "cross_entropy", "|"), ["cross_entropy", "mse"], ["adam"]);
  has(await offered("= auto", "auto", "|"), ["auto", "none", "given"], ["csv"]);
  has(await offered("epochs = 3", "epochs = 3", "|"), ["epochs", "early_stop"], ["batch", "model"]);
  // Paths, and the columns of the file that stands there.
  items = await offered("data/é😀.csv", "é😀.csv", "|");
  assert.deepEqual([...items.keys()], ["é😀.csv"]);
  assert.match(items.get("é😀.csv"), /csv\("data\/é😀\.csv", target = species\)/);
  has(await offered("species)", "species", "|"), ["sepal_length", "petal_width", "species"], ["train"]);
  // Sections that are not there yet.
  items = await offered("loss      =", "loss      =", "|\nloss      =");
  has(items, ["augment", "schedule", "let", "block"], ["data", "model", "loss"]);
  version += 1;
  assert.deepEqual((await client.change(uri, version, clean.text)).filter(isError), []);
  return version;
}

async function checkSignature(client, text) {
  const help = (around, part) => {
    const position = text.range(around, part).end;
    return client.ask(lsp.SignatureHelpRequest.type, { textDocument, position });
  };
  let { signatures, activeParameter } = await help(`csv("data/é😀.csv", `);
  assert.match(signatures[0].label, /^csv\(path, target/);
  assert.equal(signatures[0].parameters[activeParameter].label, "target = auto");
  ({ signatures, activeParameter } = await help("teil(größe)", "teil("));
  assert.deepEqual([signatures[0].label, activeParameter], ["teil(𝑛é, rate)", 0]);
  ({ signatures, activeParameter } = await help("linear(classes)", "linear(class"));
  assert.match(signatures[0].label, /^linear\(units, bias/);
  assert.equal(activeParameter, 0);
  assert.equal(await help("loss"), null);
}

/** Where names come from, where they are used, and what they could be called. */
async function checkNames(client, text) {
  const position = (around, part) => ({ textDocument, position: text.at(around, part) });
  const definition = async (around, part) => {
    const found = await client.ask(lsp.DefinitionRequest.type, position(around, part));
    return found && [found.uri, found.range];
  };
  assert.deepEqual(await definition("teil(größe)", "größe"), [uri, text.range("let größe", "größe")]);
  assert.deepEqual(await definition("teil(größe)", "teil"), [uri, text.range("block teil", "teil")]);
  assert.deepEqual(await definition("linear(𝑛é)", "𝑛é"), [uri, text.range("teil(𝑛é", "𝑛é")]);
  assert.deepEqual(await definition("add(𝑎é)", "𝑎é"), [uri, text.range("𝑎é = ", "𝑎é")]);
  assert.equal(await definition("loss"), null);

  const places = [
    text.range("let größe", "größe"), text.range("teil(größe)", "größe"), text.range("𝑎é = linear(größe)", "größe"),
    text.range("residual { linear(größe)", "größe"),
  ];
  const inOrder = (ranges) => ranges.sort((a, b) => a.start.line - b.start.line);
  for (const [includeDeclaration, wanted] of [[true, places], [false, places.slice(1)]]) {
    const params = { ...position("add(𝑎é)", "𝑎é"), ...position("teil(größe)", "größe"), context: { includeDeclaration } };
    const found = await client.ask(lsp.ReferencesRequest.type, params);
    assert.deepEqual(inOrder(found.map(({ range }) => range)), wanted);
  }
  const prepared = await client.ask(lsp.PrepareRenameRequest.type, position("teil(größe)", "größe"));
  assert.deepEqual(prepared, places[1]);
  const params = { ...position("teil(größe)", "größe"), newName: "breite" };
  const edit = await client.ask(lsp.RenameRequest.type, params);
  assert.equal(text.edited(edit.changes[uri]).text, text.text.replaceAll("größe", "breite"));
  const refused = client.ask(lsp.RenameRequest.type, { ...params, newName: "loss" });
  await assert.rejects(refused, /is a word of the language/);
}

/** Outline, folding, colours, figures above the model, layout. Returns the number of the last version. */
async function checkStructure(client, text, version) {
  const symbols = await client.ask(lsp.DocumentSymbolRequest.type, { textDocument });
  const outline = ({ name, children }) => (children ? [name, ...children.map(outline)] : name);
  assert.deepEqual(symbols.map(outline), [
    "größe", "teil", ["data", "train", "val", "normalize"], ["model", "𝑎é"], "loss", "optimizer",
    ["train", "epochs", "batch", "seed"],
  ]);
  const model = symbols.find(({ name }) => name === "model");
  assert.deepEqual(model.selectionRange, text.range("model"));

  const folds = await client.ask(lsp.FoldingRangeRequest.type, { textDocument });
  const lines = text.text.split(/\r?\n/);
  const folded = folds.map(({ startLine, endLine }) => [lines[startLine], lines[endLine].trim()]);
  assert.deepEqual(folded, [
    ["block teil(𝑛é, rate = 0.5) {", "linear(𝑛é) -> relu -> dropout(rate)"],
    ["data {", "normalize = auto"],
    ["model {", "add(𝑎é) -> linear(classes)"],
    ["train {", "seed   = 1"],
  ]);

  const { tokenTypes, tokenModifiers } = client.offers.semanticTokensProvider.legend;
  const { data } = await client.ask(lsp.SemanticTokensRequest.type, { textDocument });
  const kinds = [];
  for (let i = 0, line = 0, character = 0; i < data.length; i += 5) {
    const [down, right, length, type, modifiers] = data.slice(i, i + 5);
    [line, character] = down > 0 ? [line + down, right] : [line, character + right];
    const range = { start: { line, character }, end: { line, character: character + length } };
    kinds.push([text.slice(range), tokenTypes[type], ...tokenModifiers.filter((_, bit) => modifiers & (1 << bit))].join(" "));
  }
  for (const kind of [
    "# Blumen: é😀 comment", "let keyword", "größe variable declaration", "teil function declaration",
    "𝑛é parameter declaration", "𝑛é parameter", "linear function", "data namespace", "train property",
    `"data/é😀.csv" string`, "species enumMember", "20% number", "𝑎é variable declaration", "𝑎é variable", "-> operator",
    "auto enumMember",
  ]) {
    assert.ok(kinds.includes(kind), `${kind} is among ${JSON.stringify(kinds)}`);
  }

  await eventually("figures above the model", async () => {
    const [lens] = await client.ask(lsp.CodeLensRequest.type, { textDocument });
    assert.deepEqual(lens.range, text.range("model"));
    // 4·16 + 16 and 16·3 + 3, and twice 16·16 + 16.
    assert.match(lens.command.title, /^675 parameters · 1\.25 k FLOPs a sample · .* to train, of which .* activations$/);
  });

  // The layout is the one that the text has, also from a text that has none.
  const options = { tabSize: 4, insertSpaces: true };
  const format = () => client.ask(lsp.DocumentFormattingRequest.type, { textDocument, options });
  assert.deepEqual(await format(), []);
  const loose = text.text.replace("é😀.csv\", target", "é😀.csv\",target").replace("loss      =", "loss=");
  assert.notEqual(loose, text.text);
  await client.change(uri, version + 1, loose);
  assert.equal(new Text(loose, text.encoding).edited(await format()).text, text.text);
  await client.change(uri, version + 2, "model {");
  assert.equal(await format(), null);
  await client.change(uri, version + 3, text.text);
  return version + 3;
}

/** Whatever comes after quick edits is about the version that it names, and the last one comes. */
async function checkQuickEdits(client, clean, version) {
  const last = version + 40;
  const name = (version) => `rleu${version}`;
  const range = clean.range("𝑎é = linear(größe) -> relu", "relu");
  const text = (version) => clean.edited([{ range, newText: name(version) }]).text;
  const before = client.published.length;
  const arrived = client.said(uri, (params) => params.version === last);
  const pulls = [];
  for (let next = version + 1; next <= last; next += 1) {
    await client.changeSilently(uri, next, text(next));
    pulls.push(client.pull(uri).catch((error) => error));
  }
  await arrived;
  const seen = client.published.slice(before);
  for (const params of seen) {
    const [mistake] = params.diagnostics.filter(isError);
    assert.ok(mistake.message.startsWith(`\`${name(params.version)}\` is not`), `${params.version}: ${mistake.message}`);
  }
  assert.ok(seen.length < 40, "of some versions nothing needs to be said");
  for (const [index, report] of (await Promise.all(pulls)).entries()) {
    if (report instanceof Error) {
      assert.deepEqual([report.code, report.data], [lsp.LSPErrorCodes.ServerCancelled, { retriggerRequest: true }]);
    } else {
      assert.ok(report.items[0].message.startsWith(`\`${name(version + 1 + index)}\` is not`), report.items[0].message);
    }
  }
  const report = await client.pull(uri);
  assert.ok(report.items[0].message.startsWith(`\`${name(last)}\` is not`));
  assert.deepEqual(client.published.at(-1).diagnostics, report.items);
}

const files = await checkExamples();
for (const encoding of ["utf-16", "utf-8"]) {
  for (const lineEnd of ["\n", "\r\n"]) {
    try {
      const text = new Text(TEXT.replaceAll("\n", lineEnd), encoding);
      const client = await Client.start(program, { ...ABLE, general: { positionEncodings: ["utf-32", encoding] } });
      assert.equal(client.offers.positionEncoding, encoding);
      let version = await checkDiagnostics(client, text);
      await checkHover(client, text);
      await checkHints(client, text);
      version = await checkCompletion(client, text, version);
      await checkSignature(client, text);
      await checkNames(client, text);
      version = await checkStructure(client, text, version);
      await checkQuickEdits(client, text, version);
      await client.end();
    } catch (error) {
      error.message = `${encoding} ${JSON.stringify(lineEnd)}: ${error.message}`;
      throw error;
    }
  }
}
console.log(`protocol: ${files} files, and everything in UTF-8 and UTF-16, through VS Code's library`);
