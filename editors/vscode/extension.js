// Starts `nnoptc lsp` and connects VS Code with it.

const vscode = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

/** The connection; one for all windows' texts. */
let client;

async function start() {
  const command = vscode.workspace.getConfiguration("nnopt").get("server.path");
  const server = { command, args: ["lsp"] };
  const options = {
    documentSelector: [{ language: "nnopt" }],
    // Data files: shapes and classes come from them.
    synchronize: { fileEvents: vscode.workspace.createFileSystemWatcher("**/*.{nnopt,csv,npy,npz}") },
  };
  client = new LanguageClient("nnopt", "nnopt", server, options);
  try {
    await client.start();
  } catch (error) {
    const choice = await vscode.window.showErrorMessage(
      `\`${command}\` could not be started: ${error.message}`,
      "Set the path",
    );
    if (choice) {
      await vscode.commands.executeCommand("workbench.action.openSettings", "nnopt.server.path");
    }
  }
}

async function stop() {
  const stopping = client;
  client = undefined;
  await stopping?.stop().catch(() => {});
}

async function activate(context) {
  const restart = async () => {
    await stop();
    await start();
  };
  context.subscriptions.push(
    vscode.commands.registerCommand("nnopt.restart", restart),
    vscode.workspace.onDidChangeConfiguration(async (event) => {
      if (event.affectsConfiguration("nnopt.server.path")) {
        await restart();
      }
    }),
  );
  await start();
}

module.exports = { activate, deactivate: stop };
