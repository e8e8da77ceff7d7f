// Measures the time from an edit to its diagnostics in a file of 500 lines, through the library that VS Code uses.
//
//   node latency.mjs PATH/TO/nnoptc FOLDER/OF/EXAMPLES LIMIT
//
// Leaves with 1 where the median is above LIMIT ms.

import assert from "node:assert/strict";
import path from "node:path";
import { pathToFileURL } from "node:url";

import { Client, eventually, lsp, Text } from "./client.mjs";

const [program, examples, limit] = process.argv.slice(2);
assert.ok(Number(limit) > 0, "the third argument is a limit in ms");
/** Some edits first, as long as the server's pages and caches are cold. */
const [WARM_UP, EDITS] = [5, 50];

const head = `\
nnopt 1

let width = 16

block part(units, rate = 0.5) {
    linear(units) -> relu -> dropout(rate)
}

data {
    train     = csv("data/iris.csv", target = species)
    val       = split(train, 20%, stratified)
    normalize = auto
}

model {
    part(width)
`;
const tail = `\
    residual { linear(width) }
    linear(classes)
}

loss      = cross_entropy
optimizer = adam(lr = 1e-3)

train {
    epochs = 3
    batch  = 16
}
`;
const lines = (text) => text.split("\n").length - 1;
const middle = Array.from({ length: 500 - lines(head) - lines(tail) }, (_, layer) => `    linear(width) -> relu # ${layer}\n`);
const text = new Text(head + middle.join("") + tail);
assert.equal(lines(text.text), 500);

const client = await Client.start(program);
const uri = pathToFileURL(path.resolve(examples, "latency.nnopt")).href;
await client.open(uri, text.text);
// All that happens in the background has happened when the memory is known.
await eventually("figures above the model", async () => {
  const [lens] = await client.ask(lsp.CodeLensRequest.type, { textDocument: { uri } });
  assert.match(lens?.command.title ?? "", /to train/);
});

// The edits of someone who types in the middle of the model: a mistake, and mended again.
const relu = text.range("linear(width) -> relu # 240\n", "relu");
const times = [];
for (let edit = 0; edit < WARM_UP + EDITS; edit += 1) {
  const newText = edit % 2 === 0 ? "rleu" : "relu";
  const start = performance.now();
  const said = await client.change(uri, edit + 2, [{ range: relu, newText }]);
  times.push(performance.now() - start);
  const errors = said.filter(({ severity }) => severity === 1);
  const expected = edit % 2 === 0 ? [["E0202", relu]] : [];
  assert.deepEqual(errors.map(({ code, range }) => [code, range]), expected);
}
await client.end();

const sorted = times.slice(WARM_UP).sort((a, b) => a - b);
const [median, worst] = [sorted[EDITS / 2], sorted.at(-1)].map((time) => `${time.toFixed(1)} ms`);
console.log(`latency: ${EDITS} edits of 500 lines, each to its diagnostics: median ${median}, worst ${worst}`);
if (sorted[EDITS / 2] > Number(limit)) {
  console.error(`latency: the median is to be at most ${limit} ms`);
  process.exit(1);
}
