// Reads files with the TextMate grammar as VS Code does: every letter has a scope, and known words have the right one.
//
//   node textmate.mjs FILE…

import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const oniguruma = require("vscode-oniguruma");
const textmate = require("vscode-textmate");

const wasm = fs.readFileSync(require.resolve("vscode-oniguruma/release/onig.wasm"));
await oniguruma.loadWASM(wasm.buffer.slice(wasm.byteOffset, wasm.byteOffset + wasm.byteLength));
const path = new URL("../vscode/syntaxes/nnopt.tmLanguage.json", import.meta.url);
const registry = new textmate.Registry({
  onigLib: Promise.resolve({
    createOnigScanner: (patterns) => new oniguruma.OnigScanner(patterns),
    createOnigString: (text) => new oniguruma.OnigString(text),
  }),
  loadGrammar: async () => textmate.parseRawGrammar(fs.readFileSync(path, "utf8"), path.pathname),
});
const grammar = await registry.loadGrammar("source.nnopt");

/** The words of a text with the innermost scope of each. */
function scopes(text) {
  let stack = textmate.INITIAL;
  const found = [];
  for (const line of text.split("\n")) {
    const { tokens, ruleStack } = grammar.tokenizeLine(line, stack);
    stack = ruleStack;
    for (const token of tokens) {
      const word = line.slice(token.startIndex, token.endIndex);
      if (word.trim() !== "") {
        found.push([word, token.scopes.at(-1)]);
      }
    }
  }
  return found;
}

function check(text, ...expected) {
  assert.deepEqual(scopes(text).map(([word, scope]) => [word, scope.replace(/\.nnopt$/, "")]), expected);
}

check("let width = 2 * 8  # ok", ["let", "keyword.other"], ["width", "entity.name"], ["=", "keyword.operator"],
  ["2", "constant.numeric"], ["*", "keyword.operator"], ["8", "constant.numeric"],
  ["# ok", "comment.line.number-sign"]);
check("model { conv2d(32, kernel = 3) -> relu }", ["model", "storage.type.section"], ["{", "punctuation"],
  ["conv2d", "support.function"], ["(", "punctuation"], ["32", "constant.numeric"], [",", "punctuation"],
  ["kernel", "variable.other.property"], ["=", "keyword.operator.assignment"], ["3", "constant.numeric"],
  [")", "punctuation"], ["->", "keyword.operator.arrow"], ["relu", "support.function"], ["}", "punctuation"]);
check("x = 5 epochs..1e-4", ["x", "variable.other.property"], ["=", "keyword.operator.assignment"],
  ["5 ", "constant.numeric"], ["epochs", "keyword.other.unit"], ["..", "keyword.operator"],
  ["1e-4", "constant.numeric"]);
check('y = f("a\\n\\q", none)', ["y", "variable.other.property"], ["=", "keyword.operator.assignment"],
  ["f", "entity.name.function"], ["(", "punctuation"], ['"', "string.quoted.double"], ["a", "string.quoted.double"],
  ["\\n", "constant.character.escape"], ["\\q", "invalid.illegal.escape"], ['"', "string.quoted.double"],
  [",", "punctuation"], ["none", "constant.language"], [")", "punctuation"]);
check("repeat 3 { train.relu }", ["repeat", "keyword.control"], ["3", "constant.numeric"], ["{", "punctuation"],
  ["train.relu", "variable.other"], ["}", "punctuation"]);

let words = 0;
for (const file of process.argv.slice(2)) {
  for (const [word, scope] of scopes(fs.readFileSync(file, "utf8"))) {
    assert.notEqual(scope, "source.nnopt", `${file}: \`${word}\` has no scope`);
    assert.ok(!scope.startsWith("invalid"), `${file}: \`${word}\` is ${scope}`);
    words += 1;
  }
}
console.log(`TextMate: ${words} words of ${process.argv.length - 2} files have their scopes`);
