// The extension in a real VS Code workbench, in headless Chromium: squiggles, problems, shapes, hover, quick fixes.
//
//   node workbench.mjs MODULES VSIX NNOPTC EXAMPLES FOLDER
//
// MODULES is a folder with the packages of package.json, NNOPTC the program, EXAMPLES the folder of shipped pipelines, and
// FOLDER takes what is written: a picture, editor.png, among it. Each step waits for at most half a minute.

import { spawn, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { join, resolve } from "node:path";

const [modules, vsix, nnoptc, examples, folder] = process.argv.slice(2).map((path) => resolve(path));
const { chromium } = createRequire(join(modules, "package.json"))("playwright-core");
const vscode = join(modules, "node_modules/code-server/lib/vscode/out/server-main.js");
const WAIT = 30_000;

// Three mistakes: a misspelt name, probabilities into a loss of scores, and a name that other programs use.
const TEXT = `nnopt 1

data {
    train     = csv("data/digits.csv", target = label, shape = [1, 8, 8])
    val       = split(train, 20%, stratified)
    normalize = auto
}

model {
    conv2d(16, kernel = 3) -> batch_norm -> relu
    max_pool(2)
    flatten
    linear(64) -> relu
    linear(classes) -> softmax
}

loss      = cross_entropy
optimizer = adam(learning_rate = 1e-3)
schedule  = cosin

train {
    epochs = 5
    batch  = 64
}
`;
const MENDED = TEXT.replace("cosin", "cosine").replace(" -> softmax", "").replace("learning_rate", "lr");

function fail(message) {
  throw new Error(message);
}

/** A port that is free now. */
async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** Asks again until there is an answer. */
async function until(what, ask) {
  const end = Date.now() + WAIT;
  let last;
  while (Date.now() < end) {
    last = await ask();
    if (last?.ok) return last.value;
    await new Promise((done) => setTimeout(done, 100));
  }
  fail(`${what}: found ${JSON.stringify(last?.found)}`);
}

rmSync(folder, { recursive: true, force: true });
const workspace = join(folder, "digits");
const serverData = join(folder, "server");
mkdirSync(join(serverData, "data/Machine"), { recursive: true });
mkdirSync(join(workspace, "data"), { recursive: true });
cpSync(join(examples, "data/digits.csv"), join(workspace, "data/digits.csv"));
writeFileSync(join(workspace, "digits.nnopt"), TEXT);
writeFileSync(
  join(serverData, "data/Machine/settings.json"),
  JSON.stringify({
    "nnopt.server.path": nnoptc,
    "editor.minimap.enabled": false,
    "editor.fontSize": 14,
    "editor.hover.delay": 100,
    "git.enabled": false,
    "workbench.startupEditor": "none",
    "workbench.tips.enabled": false,
    "workbench.colorTheme": "Default Light Modern",
  }),
);
const serverArgs = ["--accept-server-license-terms", "--server-data-dir", serverData, "--telemetry-level", "off"];
const installed = spawnSync(process.execPath, [vscode, ...serverArgs, "--install-extension", vsix], { encoding: "utf8" });
if (!installed.stdout.includes("was successfully installed")) {
  fail(`the extension was not installed: ${installed.stdout}${installed.stderr}`);
}

const port = await freePort();
const server = spawn(
  process.execPath,
  [vscode, ...serverArgs, "--host", "127.0.0.1", "--port", String(port), "--without-connection-token"],
  { stdio: "ignore" },
);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
const page = await browser.newPage({ viewport: { width: 1180, height: 820 } });
page.setDefaultTimeout(WAIT);

try {
  const address = `http://127.0.0.1:${port}/?folder=${encodeURIComponent(workspace)}`;
  await until("the workbench is served", async () => {
    const answer = await fetch(address).catch((error) => ({ ok: false, status: String(error) }));
    return { ok: answer.ok, found: answer.status };
  });
  await page.goto(address);
  await page.waitForSelector(".monaco-workbench");
  // A folder that nobody has opened yet has to be trusted before extensions run.
  const trust = page.getByRole("button", { name: "Yes, I trust the authors" });
  await Promise.race([
    trust.waitFor().then(() => trust.click()),
    page.waitForSelector(".explorer-folders-view .monaco-list-row"),
  ]);
  await trust.click({ timeout: 3_000 }).catch(() => {});
  const file = page.locator(".explorer-folders-view .monaco-list-row", { hasText: "digits.nnopt" });
  await file.dblclick();
  await page.waitForSelector(".monaco-editor .view-line");

  const squiggles = () => page.locator(".squiggly-error").count();
  const expectSquiggles = (count) =>
    until(`${count} squiggles`, async () => ({ ok: (await squiggles()) === count, value: count, found: await squiggles() }));
  await expectSquiggles(3);

  await page.keyboard.press("Control+B");
  // The problems, with their codes and places.
  await page.keyboard.press("Control+Shift+M");
  const problems = page.locator(".markers-panel .monaco-list-row");
  const expected = ["`cosin` is not a schedule", "`cross_entropy` takes logits", "`adam` has no argument `learning_rate`"];
  const shown = await until("three problems", async () => {
    const rows = await problems.allInnerTexts();
    return { ok: expected.every((text) => rows.some((row) => row.includes(text))), value: rows, found: rows };
  });

  // Shapes behind the layers that change them.
  const hints = await until("shapes behind layers", async () => {
    const text = (await page.locator(".view-lines").innerText()).replaceAll(/\u00a0|\u200c|\u200d/g, " ");
    const wanted = ["[16, 6, 6]", "[16, 3, 3]", "[144]", "[64]", "[10]"];
    return { ok: wanted.every((hint) => text.includes(hint)), value: wanted, found: text };
  });

  // Hover: what the layer does, and what is known of it here.
  // By the mouse's place: what scrolls words into view by itself moves the editor's parts against each other.
  const placeOf = async (text, which = 0) => {
    const found = page.locator(".view-line span > span", { hasText: new RegExp(`^${text}$`) }).nth(which);
    // The editor draws its lines anew now and then.
    const box = await until(`the place of ${text}`, async () => {
      const box = await found.boundingBox({ timeout: 1_000 }).catch(() => null);
      return { ok: box !== null, value: box, found: null };
    });
    return [box.x + box.width / 2, box.y + box.height / 2];
  };
  await page.mouse.move(...(await placeOf("linear", 1)));
  const hover = page.locator(".monaco-hover:visible");
  await until("the hover of a layer", async () => {
    const text = await hover.allInnerTexts();
    const wanted = ["linear(units", "[batch, 64] → [batch, 10]", "650 parameters", "FLOPs a sample"];
    return { ok: wanted.every((part) => text.join("\n").includes(part)), found: text };
  });
  // A shorter one hides less of the picture.
  await page.keyboard.press("Escape");
  await page.mouse.move(5, 400);
  await page.mouse.move(...(await placeOf("softmax")));
  await until("the hover of another layer", async () => {
    const text = (await hover.allInnerTexts()).join("\n");
    return { ok: text.includes("shares that add up to 1") && text.includes("[batch, 10] → [batch, 10]"), found: text };
  });
  // It is still coming out of the background.
  await page.waitForTimeout(500);
  await page.screenshot({ path: join(folder, "editor.png") });
  await page.keyboard.press("Escape");

  // Quick fixes, as one takes them from the keyboard.
  const mend = async (name, title, left) => {
    const chosen = page.locator(".action-widget .monaco-list-row.focused");
    let asked = 0;
    await until(`${title} among the actions`, async () => {
      const found = (await chosen.allInnerTexts()).join().toLowerCase();
      if (found === "" && Date.now() > asked + 3_000) {
        // Asked too early, the editor says that there are none.
        asked = Date.now();
        await page.keyboard.press("Escape");
        await page.mouse.click(...(await placeOf(name)));
        await page.keyboard.press("Control+.");
      } else if (found !== "" && !found.includes(title)) {
        await page.keyboard.press("ArrowDown");
      }
      return { ok: found.includes(title), found };
    });
    await page.keyboard.press("Enter");
    await expectSquiggles(left);
  };
  await mend("cosin", "write `cosine`", 2);
  await mend("learning_rate", "write `lr`", 1);
  await mend("cross_entropy", "softmax", 0);
  await page.keyboard.press("Control+S");
  const { readFileSync } = await import("node:fs");
  await until("the mended text on the disk", async () => {
    const text = readFileSync(join(workspace, "digits.nnopt"), "utf8");
    return { ok: text === MENDED, found: text };
  });
  const checked = spawnSync(nnoptc, ["check", join(workspace, "digits.nnopt")], { encoding: "utf8" });
  if (checked.status !== 0) fail(`the mended pipeline has mistakes: ${checked.stderr}`);
  console.log(`workbench: 3 squiggles, ${shown.length} rows of problems, shapes ${hints.join(" ")}, a hover and 3 quick fixes`);
} catch (error) {
  await page.screenshot({ path: join(folder, "failed.png") }).catch(() => {});
  console.error(`workbench: ${error.message}\nworkbench: see ${join(folder, "failed.png")}`);
  process.exitCode = 1;
} finally {
  await browser.close();
  server.kill();
}
