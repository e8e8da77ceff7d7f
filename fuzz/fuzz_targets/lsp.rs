//! Whatever is typed and wherever the cursor is, the language server answers every request, and none with a mistake
//! of its own.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lsp_server::{Connection, Message, Notification, Request, RequestId};
use nnoptc::lsp::{Ended, serve};
use serde_json::{Value, json};

const REQUESTS: [&str; 13] = [
    "hover",
    "completion",
    "signatureHelp",
    "definition",
    "references",
    "prepareRename",
    "rename",
    "documentSymbol",
    "foldingRange",
    "semanticTokens/full",
    "inlayHint",
    "codeLens",
    "formatting",
];

fuzz_target!(|input: (u32, u32, &str, &str)| {
    let (line, character, text, typed) = input;
    let (line, character) = (line % 64, character % 128);
    let (server, client) = Connection::memory();
    let thread = std::thread::spawn(move || serve(server));
    let send = |message: Message| client.sender.send(message).expect("the server listens");
    let notify = |method: &str, params: Value| send(Notification { method: method.to_owned(), params }.into());
    let ask = |id: i32, method: &str, params: Value| {
        send(Request { id: RequestId::from(id), method: method.to_owned(), params }.into());
        loop {
            match client.receiver.recv().expect("the server answers") {
                Message::Response(response) if response.id == RequestId::from(id) => {
                    if let Err(error) = response.response_result {
                        assert!(!error.message.contains("mistake of nnoptc"), "{method}: {}", error.message);
                    }
                    break;
                }
                Message::Notification(log) if log.method == "window/logMessage" => panic!("{}", log.params),
                _ => {}
            }
        }
    };
    ask(0, "initialize", json!({ "processId": null, "rootUri": null, "capabilities": {} }));
    notify("initialized", json!({}));
    let uri = "file:///nowhere/a.nnopt";
    let document = json!({ "uri": uri, "languageId": "nnopt", "version": 1, "text": text });
    notify("textDocument/didOpen", json!({ "textDocument": document }));
    let position = json!({ "line": line, "character": character });
    let range = json!({ "start": position, "end": position });
    for version in [1, 2] {
        for (index, method) in REQUESTS.iter().enumerate() {
            let params = json!({
                "textDocument": { "uri": uri }, "position": position, "range": range, "newName": "other",
                "context": { "includeDeclaration": true }, "options": { "tabSize": 4, "insertSpaces": true },
            });
            ask(100 * version + index as i32 + 1, &format!("textDocument/{method}"), params);
        }
        let change = json!([{ "range": range, "text": typed }]);
        let document = json!({ "uri": uri, "version": version + 1 });
        notify("textDocument/didChange", json!({ "textDocument": document, "contentChanges": change }));
    }
    ask(1000, "shutdown", Value::Null);
    notify("exit", Value::Null);
    assert_eq!(thread.join().expect("the server does not panic"), Ok(Ended::Properly));
});
