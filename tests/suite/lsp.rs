//! The language server as an editor sees it: the program over stdin and stdout.

use std::collections::VecDeque;
use std::io::{BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use lsp_server::{Message, Notification, Request, RequestId, Response};
use serde_json::{Value, json};

/// The longest that any answer may take, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of a server of its own.
pub struct Client {
    server: Child,
    stdin: Option<ChildStdin>,
    messages: Receiver<Message>,
    /// Notifications that nobody has asked for yet.
    notifications: VecDeque<Notification>,
    /// What the server has asked of the client.
    asked: Vec<String>,
    next_id: i32,
    /// The address of the text.
    pub uri: String,
    capabilities: Value,
}

impl Client {
    /// Starts a server for a text in this folder, for a client that is told what there is to say.
    pub fn start(folder: &Path, encodings: &[&str]) -> Client {
        Client::start_with(
            folder,
            &json!({
                "general": { "positionEncodings": encodings },
                "workspace": { "inlayHint": { "refreshSupport": true }, "codeLens": { "refreshSupport": true } },
                "textDocument": { "completion": { "completionItem": { "snippetSupport": true } } },
            }),
        )
    }

    /// Starts a server for a text in this folder, and says what the client can do.
    fn start_with(folder: &Path, capabilities: &Value) -> Client {
        let mut server = Command::new(env!("CARGO_BIN_EXE_nnoptc"))
            .args(["lsp", "--stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, messages) = channel();
        let mut stdout = BufReader::new(server.stdout.take().unwrap());
        std::thread::spawn(move || {
            while let Ok(Some(message)) = Message::read(&mut stdout) {
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let stdin = server.stdin.take();
        let uri = format!("file://{}/a.nnopt", folder.display());
        let (notifications, asked) = (VecDeque::new(), Vec::new());
        let mut client =
            Client { server, stdin, messages, notifications, asked, next_id: 0, uri, capabilities: Value::Null };
        let params = json!({ "processId": null, "rootUri": null, "capabilities": capabilities });
        client.capabilities = client.request("initialize", params)["capabilities"].clone();
        client.notify("initialized", json!({}));
        client
    }

    fn send(&mut self, message: impl Into<Message>) {
        let stdin = self.stdin.as_mut().unwrap();
        message.into().write(stdin).unwrap();
        stdin.flush().unwrap();
    }

    pub fn notify(&mut self, method: &str, params: Value) {
        self.send(Notification { method: method.to_owned(), params });
    }

    fn receive(&mut self) -> Message {
        self.messages.recv_timeout(PATIENCE).expect("the server answers in time")
    }

    fn grant(&mut self, request: Request) {
        self.send(Response::new_ok(request.id, Value::Null));
        self.asked.push(request.method);
    }

    /// The answer to a request: its result, or its error's message.
    fn ask(&mut self, method: &str, params: Value) -> Result<Value, String> {
        self.next_id += 1;
        let id = RequestId::from(self.next_id);
        self.send(Request { id: id.clone(), method: method.to_owned(), params });
        loop {
            match self.receive() {
                Message::Response(response) if response.id == id => {
                    return response.response_result.map_err(|error| error.message);
                }
                Message::Notification(notification) => self.notifications.push_back(notification),
                Message::Request(request) => self.grant(request),
                Message::Response(response) => panic!("an answer to nothing: {response:?}"),
            }
        }
    }

    /// The result of a request.
    #[track_caller]
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        self.ask(method, params).unwrap()
    }

    /// The next diagnostics that are sent, of any text.
    pub fn published(&mut self) -> Value {
        loop {
            let notification = match self.notifications.pop_front() {
                Some(notification) => notification,
                None => match self.receive() {
                    Message::Notification(notification) => notification,
                    Message::Request(request) => {
                        self.grant(request);
                        continue;
                    }
                    Message::Response(response) => panic!("an answer to nothing: {response:?}"),
                },
            };
            assert_ne!(notification.method, "window/logMessage", "{}", notification.params);
            if notification.method == "textDocument/publishDiagnostics" {
                return notification.params;
            }
        }
    }

    /// The diagnostics of a version of the text, once they are sent.
    fn diagnostics(&mut self, version: i32) -> Vec<Value> {
        loop {
            let params = self.published();
            if params["uri"] == self.uri.as_str() && params["version"] == version {
                return params["diagnostics"].as_array().unwrap().clone();
            }
        }
    }

    fn open(&mut self, text: &str) -> Vec<Value> {
        self.open_silently(text);
        self.diagnostics(1)
    }

    /// Opens a text without waiting for anything.
    pub fn open_silently(&mut self, text: &str) {
        let document = json!({ "uri": self.uri, "languageId": "nnopt", "version": 1, "text": text });
        self.notify("textDocument/didOpen", json!({ "textDocument": document }));
    }

    /// The report on the text, for a client that had the one with this number before.
    fn pull(&mut self, previous: &Value) -> Value {
        let params = json!({ "textDocument": { "uri": self.uri }, "previousResultId": previous });
        self.request("textDocument/diagnostic", params)
    }

    /// Replaces a range; the diagnostics of the text after that.
    fn change(&mut self, version: i32, range: Value, text: &str) -> Vec<Value> {
        let changes = json!([{ "range": range, "text": text }]);
        let document = json!({ "uri": self.uri, "version": version });
        self.notify("textDocument/didChange", json!({ "textDocument": document, "contentChanges": changes }));
        self.diagnostics(version)
    }

    /// Replaces the whole text.
    fn replace(&mut self, version: i32, text: &str) -> Vec<Value> {
        let document = json!({ "uri": self.uri, "version": version });
        let changes = json!([{ "text": text }]);
        self.notify("textDocument/didChange", json!({ "textDocument": document, "contentChanges": changes }));
        self.diagnostics(version)
    }

    fn at(&self, line: u32, character: u32) -> Value {
        json!({ "textDocument": { "uri": self.uri }, "position": { "line": line, "character": character } })
    }

    fn document(&self) -> Value {
        json!({ "textDocument": { "uri": self.uri } })
    }

    pub fn end(mut self) {
        assert_eq!(self.request("shutdown", Value::Null), Value::Null);
        self.notify("exit", Value::Null);
        assert_eq!(self.server.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Where a test fails, the server is not to stay.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn range(start: (u32, u32), end: (u32, u32)) -> Value {
    let position = |(line, character)| json!({ "line": line, "character": character });
    json!({ "start": position(start), "end": position(end) })
}

/// A folder with a table of 150 rows, 4 features and 3 classes.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/iris.csv");
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::copy(examples, folder.path().join("data/iris.csv")).unwrap();
    folder
}

const CLEAN: &str = "\
nnopt 1

let width = 16

block part(units, rate = 0.5) {
    linear(units) -> relu -> dropout(rate)
}
allow(no_normalization)
data {
    train = csv(\"data/iris.csv\", target = species)
    val   = split(train, 20%, stratified)
}

model {
    part(width)
    a = linear(width) -> relu
    residual { linear(width) }
    add(a) -> linear(classes)
}

loss      = cross_entropy
optimizer = adam(lr = 1e-3)

train { epochs = 3 }
";

fn labels(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["label"].as_str().unwrap()).collect()
}

#[test]
fn mistakes_are_shown_and_mended() {
    let folder = folder();
    let mut client = Client::start(folder.path(), &["utf-16"]);
    assert_eq!(client.capabilities["positionEncoding"], "utf-16");
    let text = CLEAN.replace("dropout(rate)", "droput(rate)").replace("epochs = 3", "epochs : 3");
    // What depends on the data comes when its header has been read; this does not.
    let said = client.open(&text);
    let seen: Vec<(&str, &Value)> = said.iter().map(|said| (said["code"].as_str().unwrap(), &said["range"])).collect();
    assert_eq!(seen, [("E0202", &range((5, 29), (5, 35))), ("E0102", &range((23, 15), (23, 16)))], "{said:?}");
    assert!(said[0]["message"].as_str().unwrap().starts_with("`droput` is not a layer\n"), "{said:?}");

    let context = json!({ "diagnostics": [said[0]] });
    let params = json!({ "textDocument": { "uri": client.uri }, "range": said[0]["range"], "context": context });
    let actions = client.request("textDocument/codeAction", params);
    let edit = &actions[0]["edit"]["changes"][&client.uri][0];
    assert_eq!(actions[0]["title"], "Write `dropout`");
    assert_eq!(edit, &json!({ "range": range((5, 29), (5, 35)), "newText": "dropout" }));

    // All safe fixes at once: the `:`.
    let context = json!({ "diagnostics": [], "only": ["source.fixAll"] });
    let params = json!({ "textDocument": { "uri": client.uri }, "range": range((0, 0), (0, 0)), "context": context });
    let actions = client.request("textDocument/codeAction", params);
    assert_eq!(actions.as_array().unwrap().len(), 1, "{actions}");
    assert_eq!(actions[0]["edit"]["changes"][&client.uri][0]["newText"], "=");

    assert_eq!(client.change(2, range((5, 29), (5, 35)), "dropout").len(), 1);
    assert_eq!(client.change(3, range((23, 15), (23, 16)), "="), [] as [Value; 0]);
    client.end();
}

/// A client that asks for diagnostics and can be told to ask again.
fn start_pulling(folder: &Path) -> Client {
    Client::start_with(
        folder,
        &json!({ "workspace": { "diagnostics": { "refreshSupport": true } }, "textDocument": { "diagnostic": {} } }),
    )
}

#[test]
fn diagnostics_asked_for_are_those_that_are_sent() {
    let folder = folder();
    // The last is known only with the data: it has 150 rows.
    let text = CLEAN.replace("dropout(rate)", "droput(rate)").replace("epochs = 3", "epochs = 3\n    batch = 400");
    let mended = text.replace("droput", "dropout");
    let mut pushed = Client::start(folder.path(), &[]);
    pushed.open(&text);
    let mut sent = pushed.replace(2, &mended);
    while sent.is_empty() {
        sent = pushed.diagnostics(2);
    }
    assert_eq!(sent[0]["code"], "E0403", "{sent:?}");

    let mut pulling = start_pulling(folder.path());
    let provider = json!({ "interFileDependencies": true, "workspaceDiagnostics": false });
    assert_eq!(pulling.capabilities["diagnosticProvider"], provider);
    pulling.open_silently(&text);
    let first = pulling.pull(&Value::Null);
    assert_eq!((&first["kind"], &first["items"][0]["code"]), (&json!("full"), &json!("E0202")), "{first}");
    let document = json!({ "uri": pulling.uri, "version": 2 });
    let changes = json!([{ "text": mended }]);
    pulling.notify("textDocument/didChange", json!({ "textDocument": document, "contentChanges": changes }));
    let known = eventually(|| {
        let known = pulling.pull(&first["resultId"]);
        (known["items"] == json!(sent)).then_some(known)
    });
    let unchanged = json!({ "kind": "unchanged", "resultId": known["resultId"] });
    assert_eq!(pulling.pull(&known["resultId"]), unchanged);
    assert!(pulling.notifications.is_empty(), "shown twice: {:?}", pulling.notifications);
    // A client that is sent everything may ask as well.
    assert_eq!(pushed.pull(&known["resultId"]), unchanged);
    pushed.end();
    pulling.end();

    // One that cannot be told to ask again is sent everything, and is not led to ask.
    let one_way = Client::start_with(folder.path(), &json!({ "textDocument": { "diagnostic": {} } }));
    assert_eq!(one_way.capabilities["diagnosticProvider"], Value::Null);
    one_way.end();
}

#[test]
fn clients_ask_again_when_something_else_changes_what_is_said() {
    let folder = folder();
    std::fs::write(folder.path().join("parts.nnopt"), "block part(units) { linaer(units) }\n").unwrap();
    let text = "include \"parts.nnopt\"\ndata { train = csv(\"data/iris.csv\", target = species) }\n\
                model { part(3) }\nloss = cross_entropy\noptimizer = adam\ntrain {\n    epochs = 3\n    batch = 400\n}\n";
    let mut client = start_pulling(folder.path());
    client.open_silently(text);
    eventually(|| client.pull(&Value::Null)["items"].to_string().contains("E0403").then_some(()));
    assert!(client.asked.contains(&"workspace/diagnostic/refresh".to_owned()), "{:?}", client.asked);

    // Of a file that is not open everything is sent; once it is open, nothing.
    let other = client.uri.replace("a.nnopt", "parts.nnopt");
    let said = client.notifications.pop_front().unwrap().params;
    assert_eq!((&said["uri"], &said["diagnostics"][0]["code"]), (&json!(other), &json!("E0202")));
    let main = std::mem::replace(&mut client.uri, other.clone());
    client.open_silently("block part(units) { linaer(units) }\n");
    let open = client.pull(&Value::Null);
    assert_eq!(open["items"][0]["code"], "E0202", "{open}");
    let last = client.notifications.pop_back().unwrap().params;
    assert_eq!(last, json!({ "uri": other, "diagnostics": [] }));

    // Closed again, it is sent again.
    client.notify("textDocument/didClose", json!({ "textDocument": { "uri": other } }));
    client.uri = main;
    eventually(|| {
        let sent = client.notifications.back().is_some_and(|sent| sent.params["diagnostics"][0]["code"] == "E0202");
        client.pull(&Value::Null);
        sent.then_some(())
    });
    client.end();
}

#[test]
fn causes_are_related_information() {
    let folder = folder();
    let mut client = Client::start(folder.path(), &[]);
    let said = client.open("let a = 1\nlet a = 2\nloss = mse\n");
    let twice = said.iter().find(|said| said["code"] == "E0208").unwrap();
    assert_eq!(twice["relatedInformation"][0]["location"]["range"], range((0, 4), (0, 5)));
    assert_eq!(twice["relatedInformation"][0]["message"], "first given here");
    client.end();
}

#[test]
fn columns_are_counted_as_agreed() {
    for (offered, agreed, column) in [(&["utf-16"][..], "utf-16", 14), (&["utf-32", "utf-8"], "utf-8", 17)] {
        let folder = tempfile::tempdir().unwrap();
        let mut client = Client::start(folder.path(), offered);
        assert_eq!(client.capabilities["positionEncoding"], agreed);
        let said = client.open("let a = 1\r\nlet b = \"😀é\" 4\r\n");
        assert_eq!(said[0]["range"]["start"], json!({ "line": 1, "character": column }), "{said:?}");
        client.end();
    }
}

/// Asks until the data has been read, which happens in the background.
fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "the data is read in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn shapes_are_hints_and_hovers() {
    let folder = folder();
    let mut client = Client::start(folder.path(), &[]);
    assert_eq!(client.open(CLEAN), [] as [Value; 0]);
    let hints = eventually(|| {
        let params = json!({ "textDocument": { "uri": client.uri }, "range": range((0, 0), (99, 0)) });
        let hints = client.request("textDocument/inlayHint", params);
        (!hints.as_array().unwrap().is_empty()).then_some(hints)
    });
    let mut shown: Vec<(u64, &str)> = hints
        .as_array()
        .unwrap()
        .iter()
        .map(|hint| (hint["position"]["line"].as_u64().unwrap(), hint["label"].as_str().unwrap()))
        .collect();
    shown.sort();
    let expected = [
        (5, "[16]"),
        (5, "[16]"),
        (9, "120 rows, 3 classes"),
        (10, "30 rows"),
        (14, "[16]"),
        (15, "[16]"),
        (16, "[16]"),
        (16, "[16]"),
        (17, "[3]"),
    ];
    assert_eq!(shown, expected);

    let mut hover = |line, character| {
        let params = client.at(line, character);
        client.request("textDocument/hover", params)["contents"]["value"].as_str().unwrap_or("").to_owned()
    };
    let linear = hover(17, 16);
    assert!(linear.starts_with("```nnopt\nlinear(units, bias = true"), "{linear}");
    // 16·3 weights and 3 offsets; a multiply-add is two operations.
    assert!(linear.contains("`[batch, 16]` → `[batch, 3]` · 51 parameters (204 B) · 96 FLOPs a sample"), "{linear}");
    assert_eq!(hover(14, 10), "```nnopt\nlet width = 16\n```");
    assert!(hover(17, 22).contains("Here it is 3."));
    assert!(hover(8, 1).contains("- `train`: 120 rows"));
    assert!(hover(23, 10).starts_with("`epochs`: Passes over the training split."));
    assert!(hover(14, 5).contains("`[batch, 4]` → `[batch, 16]` · 80 parameters"));
    assert!(hover(16, 5).starts_with("The sum of the stages inside"));

    let lens = eventually(|| {
        let params = client.document();
        let lenses = client.request("textDocument/codeLens", params);
        let title = lenses[0]["command"]["title"].as_str()?.to_owned();
        title.contains("to train").then_some(title)
    });
    // 4·16 + 16, three times 16·16 + 16 less one that is `part`, 16·3 + 3.
    assert!(lens.starts_with("675 parameters · 1.25 k FLOPs a sample · "), "{lens}");
    client.end();
}

#[test]
fn texts_are_completed_and_explained() {
    let folder = folder();
    let mut client = Client::start(folder.path(), &[]);
    let text = CLEAN.replace("    add(a)", "    conv2d(8, \n    add(a)");
    client.open(&text);
    let at = client.at(17, 14);
    let items = client.request("textDocument/completion", at.clone());
    assert!(labels(&items).starts_with(&["classes"]) || labels(&items).contains(&"kernel"), "{items}");
    let kernel = items.as_array().unwrap().iter().find(|item| item["label"] == "kernel").unwrap();
    assert_eq!(kernel["textEdit"], json!({ "range": range((17, 14), (17, 14)), "newText": "kernel = $0" }));
    let help = client.request("textDocument/signatureHelp", at);
    assert!(help["signatures"][0]["label"].as_str().unwrap().starts_with("conv2d(filters, kernel, "), "{help}");
    assert_eq!(help["activeParameter"], 1);
    // Right behind the parenthesis, behind blanks and where a value is still to come.
    for (version, (call, active)) in (10..).zip([("conv2d(", 0), ("conv2d( ", 0), ("conv2d(8, kernel = ", 1)]) {
        client.replace(version, &CLEAN.replace("    add(a) -> linear(classes)", &format!("    {call}")));
        let at = client.at(17, 4 + call.len() as u32);
        let help = client.request("textDocument/signatureHelp", at);
        assert_eq!(help["activeParameter"], active, "{call}: {help}");
    }

    // Columns while one is being written, and lints with their pages.
    client.replace(20, &CLEAN.replace("target = species", "target = pet"));
    let line = CLEAN.lines().position(|line| line.contains("target = species")).unwrap() as u32;
    let column = CLEAN.lines().nth(line as usize).unwrap().find("species").unwrap() as u32;
    let at = client.at(line, column + 3);
    let offered = client.request("textDocument/completion", at);
    for name in ["petal_length", "species"] {
        assert!(labels(&offered).contains(&name), "{offered}");
    }
    client.replace(21, &format!("{CLEAN}allow(no_warmup)\n"));
    let at = client.at(CLEAN.lines().count() as u32, 9);
    let said = client.request("textDocument/hover", at)["contents"]["value"].as_str().unwrap_or("").to_owned();
    assert!(said.starts_with("# "), "{said}");

    // Paths in strings.
    client.replace(30, &CLEAN.replace("data/iris.csv", "data/"));
    let at = client.at(9, 22);
    assert_eq!(labels(&client.request("textDocument/completion", at)), ["iris.csv"]);
    client.end();
}

#[test]
fn names_are_found_and_changed() {
    let folder = folder();
    let mut client = Client::start(folder.path(), &[]);
    client.open(CLEAN);
    let definition = |client: &mut Client, line, character| {
        let at = client.at(line, character);
        client.request("textDocument/definition", at)["range"].clone()
    };
    assert_eq!(definition(&mut client, 14, 10), range((2, 4), (2, 9)));
    assert_eq!(definition(&mut client, 14, 5), range((4, 6), (4, 10)));
    assert_eq!(definition(&mut client, 5, 12), range((4, 11), (4, 16)));
    assert_eq!(definition(&mut client, 17, 8), range((15, 4), (15, 5)));
    assert_eq!(definition(&mut client, 19, 2), Value::Null);

    // A text that includes this one uses its names; another one beside it has names of its own.
    std::fs::write(folder.path().join("b.nnopt"), "include \"a.nnopt\"\nlet twice = 2 * width\n").unwrap();
    std::fs::write(folder.path().join("c.nnopt"), "let width = 3\n").unwrap();
    let mut at = client.at(14, 10);
    at["newName"] = json!("size");
    let edit = client.request("textDocument/rename", at)["changes"].clone();
    assert_eq!(edit.as_object().unwrap().len(), 2, "{edit}");
    let other = edit.as_object().unwrap().iter().find(|(uri, _)| uri.ends_with("/b.nnopt")).unwrap().1.clone();
    assert_eq!(other, json!([{ "range": range((1, 16), (1, 21)), "newText": "size" }]));
    std::fs::remove_file(folder.path().join("b.nnopt")).unwrap();

    let mut at = client.at(14, 10);
    at["context"] = json!({ "includeDeclaration": true });
    assert_eq!(client.request("textDocument/references", at).as_array().unwrap().len(), 4);

    let mut at = client.at(14, 10);
    at["newName"] = json!("size");
    let edit = client.request("textDocument/rename", at.clone());
    let mut lines: Vec<u64> = edit["changes"][&client.uri]
        .as_array()
        .unwrap()
        .iter()
        .map(|edit| edit["range"]["start"]["line"].as_u64().unwrap())
        .collect();
    lines.sort();
    assert_eq!(lines, [2, 14, 15, 16]);
    for (name, reason) in [("2x", "is not a name"), ("loss", "is a word of the language"), ("part", "something else")] {
        at["newName"] = json!(name);
        let refused = client.ask("textDocument/rename", at.clone()).unwrap_err();
        assert!(refused.contains(reason), "{refused}");
    }
    let at = client.at(19, 2);
    assert_eq!(client.request("textDocument/prepareRename", at), Value::Null);
    client.end();
}

#[test]
fn texts_are_formatted_folded_and_outlined() {
    let folder = folder();
    let mut client = Client::start(folder.path(), &[]);
    client.open(&CLEAN.replace("loss      =", "loss=").replace("allow(no_normalization)", ""));
    let mut params = client.document();
    params["options"] = json!({ "tabSize": 4, "insertSpaces": true });
    let edits = client.request("textDocument/formatting", params.clone());
    assert_eq!(edits, json!([{ "range": range((20, 4), (20, 4)), "newText": "      " }]));

    let document = client.document();
    let symbols = client.request("textDocument/documentSymbol", document.clone());
    let names: Vec<&str> = symbols.as_array().unwrap().iter().map(|symbol| symbol["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["width", "part", "data", "model", "loss", "optimizer", "train"]);
    assert_eq!(symbols[3]["children"][0]["name"], "a");
    let folds = client.request("textDocument/foldingRange", document.clone());
    let lines = |fold: &Value| (fold["startLine"].as_u64().unwrap(), fold["endLine"].as_u64().unwrap());
    let folds: Vec<(u64, u64)> = folds.as_array().unwrap().iter().map(lines).collect();
    assert_eq!(folds, [(4, 5), (8, 10), (13, 17)]);
    let tokens = client.request("textDocument/semanticTokens/full", document);
    assert_eq!(tokens["data"].as_array().unwrap().len() % 5, 0);

    client.replace(2, "model {");
    assert_eq!(client.request("textDocument/formatting", params.clone()), Value::Null);
    // Line ends of either kind stay.
    client.replace(3, "loss=mse\r\n");
    let edits = client.request("textDocument/formatting", params);
    assert_eq!(edits, json!([{ "range": range((0, 4), (0, 5)), "newText": " = " }]));
    client.end();
}

#[test]
fn included_files_are_part_of_a_text() {
    let folder = folder();
    let parts = folder.path().join("parts.nnopt");
    std::fs::write(&parts, "let width = 16\nblock part(units, rate = 0.5) { linaer(units) }\n").unwrap();
    let mut client = Client::start(folder.path(), &[]);
    let start = CLEAN.find("let").unwrap();
    let end = CLEAN.find("data {").unwrap();
    client.open(&format!("{}include \"parts.nnopt\"\n\n{}", &CLEAN[..start], &CLEAN[end..]));
    // What is wrong in the other file is said of the other file.
    let other = format!("file://{}", parts.display());
    let said = client.notifications.iter().find(|notification| notification.params["uri"] == other.as_str()).cloned();
    let said = said.unwrap_or_else(|| match client.receive() {
        Message::Notification(notification) => notification,
        message => panic!("{message:?}"),
    });
    assert_eq!(said.params["uri"], other.as_str());
    assert_eq!(said.params["diagnostics"][0]["code"], "E0202");
    let at = client.at(10, 6);
    assert_eq!(client.request("textDocument/definition", at)["uri"], other.as_str());

    // Opened by itself it is no pipeline, and need not be one.
    let document = json!({ "uri": other, "languageId": "nnopt", "version": 7, "text": "let width = 16\n" });
    client.notify("textDocument/didOpen", json!({ "textDocument": document }));
    client.uri = other;
    assert_eq!(client.diagnostics(7), [] as [Value; 0]);
    client.end();
}

#[test]
fn wrong_messages_do_not_end_the_server() {
    let folder = folder();
    let mut client = Client::start(folder.path(), &[]);
    assert!(client.ask("textDocument/hover", json!({ "nonsense": 1 })).is_err());
    assert!(client.ask("nnopt/nosuch", json!({})).unwrap_err().contains("not offered"));
    let at = client.at(1, 1);
    assert_eq!(client.request("textDocument/hover", at), Value::Null);
    client.notify("textDocument/didOpen", json!({ "textDocument": 3 }));
    client.notify("nosuch", json!({}));
    match client.receive() {
        Message::Notification(log) => assert_eq!(log.method, "window/logMessage"),
        message => panic!("{message:?}"),
    }
    assert_eq!(client.open(CLEAN), [] as [Value; 0]);
    client.end();
}

#[test]
fn an_exit_without_shutdown_is_not_proper() {
    let folder = folder();
    let mut client = Client::start(folder.path(), &[]);
    client.notify("exit", Value::Null);
    assert_eq!(client.server.wait().unwrap().code(), Some(1));
}

/// A pipeline of 500 lines.
fn long_text() -> String {
    let layers = "    linear(width) -> relu\n".repeat(500 - CLEAN.lines().count());
    CLEAN.replace("    residual", &format!("{layers}    residual"))
}

#[test]
fn diagnostics_follow_an_edit_within_50_ms() {
    let folder = folder();
    let mut client = Client::start(folder.path(), &[]);
    let text = long_text();
    assert_eq!(text.lines().count(), 500);
    client.open(&text);
    // All that happens in the background has happened when the memory is known.
    eventually(|| {
        let params = client.document();
        let lenses = client.request("textDocument/codeLens", params);
        lenses[0]["command"]["title"].as_str()?.contains("to train").then_some(())
    });
    let mut times: Vec<Duration> = (2..32)
        .map(|version| {
            let start = Instant::now();
            let (text, wrong) = if version % 2 == 0 { ("rleu", 1) } else { ("relu", 0) };
            let said = client.change(version, range((250, 21), (250, 25)), text);
            assert_eq!(said.len(), wrong, "{said:?}");
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("from an edit to its diagnostics, 500 lines: median {:?}, worst {:?}", times[15], times[29]);
    // The aim is 50 ms of an optimized build on an idle machine; tests run unoptimized and beside each other.
    let limit = Duration::from_millis(if cfg!(debug_assertions) { 250 } else { 50 });
    assert!(times[15] < limit, "{times:?}");
    client.end();
}

#[test]
fn advice_from_the_latest_run_is_a_quick_fix_until_the_text_changes() {
    let folder = folder();
    let text = CLEAN.replace("adam(lr = 1e-3)", "sgd(lr = 1e3)");
    std::fs::write(folder.path().join("a.nnopt"), &text).unwrap();
    let trained = crate::cli::nnoptc(folder.path(), &["run", "a.nnopt", "--device", "cpu", "-q"]);
    assert_eq!(trained.status.code(), Some(1), "{}", crate::cli::text(&trained.stderr));

    let mut client = Client::start(folder.path(), &[]);
    let mut said = client.open(&text);
    let is_advice = |said: &&Value| said["code"] == "W0601";
    // It comes with what depends on the data.
    while !said.iter().any(|said| is_advice(&said)) {
        said = client.diagnostics(1);
    }
    let advice = said.iter().find(is_advice).unwrap();
    let message = advice["message"].as_str().unwrap();
    assert!(message.contains("the loss was not finite") && message.contains("from the run `"), "{message}");
    let params = json!({ "textDocument": { "uri": client.uri }, "range": advice["range"], "context": { "diagnostics": [advice] } });
    let actions = client.request("textDocument/codeAction", params);
    let fix = actions.as_array().unwrap().iter().find(|action| action["title"] == "Lower the learning rate to 0.5");
    let edit = &fix.unwrap_or_else(|| panic!("{actions}"))["edit"]["changes"][&client.uri][0];
    assert_eq!((&edit["range"], &edit["newText"]), (&advice["range"], &json!("0.5")));

    let mended = text.replace("lr = 1e3", "lr = 0.5");
    let said = client.replace(2, &mended);
    assert!(!said.iter().any(|said| is_advice(&said)), "{said:?}");
    client.end();
}
