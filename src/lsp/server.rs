//! The main thread: owns the open texts, answers requests, sends diagnostics.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::select;
use gen_lsp_types as lsp;
use lsp_server::{Connection, ErrorCode, Message, Notification, Request, RequestId, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::analysis::{Analyst, Event, Job, normal, panic_message};
use super::document::{Document, Encoding};
use super::{actions, completion, diagnostics, folding, hover, inlay, lens, names, signature, symbols, tokens, uri};
use crate::plan::prepare::Memory;
use crate::syntax::format::format;

/// How the client ended the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As the protocol says: `shutdown`, then `exit`.
    Properly,
    /// Without `shutdown`.
    Abruptly,
}

/// Serves one client over stdin and stdout until it ends the conversation.
///
/// # Errors
/// When the streams break, or the client does not keep to the protocol.
pub fn run() -> Result<Ended, String> {
    let (connection, threads) = Connection::stdio();
    let ended = serve(connection)?;
    threads.join().map_err(|error| error.to_string())?;
    Ok(ended)
}

/// Serves one client over any connection.
///
/// # Errors
/// As [`run`].
pub fn serve(connection: Connection) -> Result<Ended, String> {
    let (id, params) = connection.initialize_start().map_err(|error| error.to_string())?;
    let params: lsp::InitializeParams =
        serde_json::from_value(params).map_err(|error| format!("`initialize` cannot be read: {error}"))?;
    let client = Client::new(&params.capabilities);
    let result = lsp::InitializeResult {
        capabilities: capabilities(&client),
        server_info: Some(lsp::ServerInfo {
            name: "nnoptc".to_owned(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        }),
    };
    let result = serde_json::to_value(result).map_err(|error| error.to_string())?;
    connection.initialize_finish(id, result).map_err(|error| error.to_string())?;
    Server {
        connection,
        client,
        analyst: Analyst::start(),
        documents: BTreeMap::new(),
        memory: HashMap::new(),
        waiting: Vec::new(),
        shown: BTreeSet::new(),
        next_id: 0,
        is_shut_down: false,
    }
    .serve()
}

/// What the client can do.
struct Client {
    encoding: Encoding,
    snippets: bool,
    refreshes_hints: bool,
    refreshes_lenses: bool,
    diagnostics: Delivery,
}

/// How diagnostics of open texts reach the client; a client that got them in both ways would show them twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    /// Sent when they are known; the client does not know of another way.
    Pushed,
    /// Sent when they are known; the client could ask but not be told to ask again, which data read in the background
    /// and included files need.
    OnlyPushed,
    /// Asked for by the client.
    Pulled,
}

impl Client {
    fn new(capabilities: &lsp::ClientCapabilities) -> Client {
        let general = capabilities.general.as_ref();
        let encodings = general.and_then(|general| general.position_encodings.as_ref());
        let utf8 = encodings.is_some_and(|known| known.contains(&lsp::PositionEncodingKind::UTF8));
        let completion = capabilities.text_document.as_ref().and_then(|text| text.completion.as_ref());
        let item = completion.and_then(|completion| completion.completion_item.as_ref());
        let workspace = capabilities.workspace.as_ref();
        let hints = workspace.and_then(|workspace| workspace.inlay_hint.as_ref());
        let lenses = workspace.and_then(|workspace| workspace.code_lens.as_ref());
        let pulls = capabilities.text_document.as_ref().is_some_and(|text| text.diagnostic.is_some());
        let diagnostics = workspace.and_then(|workspace| workspace.diagnostics.as_ref());
        let refreshes_diagnostics = diagnostics.and_then(|diagnostics| diagnostics.refresh_support).unwrap_or(false);
        Client {
            encoding: if utf8 { Encoding::Utf8 } else { Encoding::Utf16 },
            snippets: item.and_then(|item| item.snippet_support).unwrap_or(false),
            refreshes_hints: hints.and_then(|hints| hints.refresh_support).unwrap_or(false),
            refreshes_lenses: lenses.and_then(|lenses| lenses.refresh_support).unwrap_or(false),
            diagnostics: match (pulls, refreshes_diagnostics) {
                (false, _) => Delivery::Pushed,
                (true, false) => Delivery::OnlyPushed,
                (true, true) => Delivery::Pulled,
            },
        }
    }
}

fn capabilities(client: &Client) -> lsp::ServerCapabilities {
    let encoding = match client.encoding {
        Encoding::Utf8 => lsp::PositionEncodingKind::UTF8,
        Encoding::Utf16 => lsp::PositionEncodingKind::UTF16,
    };
    let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
    lsp::ServerCapabilities {
        position_encoding: Some(encoding),
        text_document_sync: Some(lsp::TextDocumentSync::Options(lsp::TextDocumentSyncOptions {
            open_close: Some(true),
            change: Some(lsp::TextDocumentSyncKind::Incremental),
            ..Default::default()
        })),
        completion_provider: Some(lsp::CompletionOptions {
            trigger_characters: words(&["(", ",", "=", ">", "\"", "/", "."]),
            ..Default::default()
        }),
        hover_provider: Some(lsp::HoverProvider::Bool(true)),
        signature_help_provider: Some(lsp::SignatureHelpOptions {
            trigger_characters: words(&["(", ","]),
            ..Default::default()
        }),
        definition_provider: Some(lsp::DefinitionProvider::Bool(true)),
        references_provider: Some(lsp::ReferencesProvider::Bool(true)),
        document_symbol_provider: Some(lsp::DocumentSymbolProvider::Bool(true)),
        code_action_provider: Some(lsp::CodeActionProvider::CodeActionOptions(lsp::CodeActionOptions {
            code_action_kinds: Some(vec![lsp::CodeActionKind::QuickFix, lsp::CodeActionKind::SourceFixAll]),
            ..Default::default()
        })),
        code_lens_provider: Some(lsp::CodeLensOptions::default()),
        document_formatting_provider: Some(lsp::DocumentFormattingProvider::Bool(true)),
        rename_provider: Some(lsp::RenameProvider::RenameOptions(lsp::RenameOptions {
            prepare_provider: Some(true),
            ..Default::default()
        })),
        folding_range_provider: Some(lsp::FoldingRangeProvider::Bool(true)),
        semantic_tokens_provider: Some(lsp::SemanticTokensProvider::SemanticTokensOptions(
            lsp::SemanticTokensOptions {
                legend: tokens::legend(),
                full: Some(lsp::Full::Bool(true)),
                ..Default::default()
            },
        )),
        diagnostic_provider: (client.diagnostics != Delivery::OnlyPushed).then(|| {
            lsp::DiagnosticProvider::DiagnosticOptions(lsp::DiagnosticOptions {
                inter_file_dependencies: true,
                ..Default::default()
            })
        }),
        inlay_hint_provider: Some(lsp::InlayHintProvider::Bool(true)),
        ..Default::default()
    }
}

/// A request that waits for its text to be checked.
struct Waiting {
    uri: String,
    version: i32,
    request: Request,
}

struct Server {
    connection: Connection,
    client: Client,
    analyst: Analyst,
    /// The open texts by their addresses.
    documents: BTreeMap<String, Document>,
    /// What trainings need, by address and version.
    memory: HashMap<String, (i32, Memory)>,
    waiting: Vec<Waiting>,
    /// Addresses for which diagnostics are shown.
    shown: BTreeSet<String>,
    next_id: i32,
    is_shut_down: bool,
}

impl Server {
    fn serve(mut self) -> Result<Ended, String> {
        loop {
            select! {
                recv(self.connection.receiver) -> message => {
                    let Ok(message) = message else { return Ok(Ended::Abruptly) };
                    match message {
                        // Answers may still come in between, so `exit` is not waited for here.
                        Message::Request(request) if request.method == "shutdown" => {
                            self.is_shut_down = true;
                            self.send(Response::new_ok(request.id, serde_json::Value::Null));
                        }
                        Message::Request(request) if self.is_shut_down => {
                            let message = "the server is shut down".to_owned();
                            self.send(Response::new_err(request.id, ErrorCode::InvalidRequest as i32, message));
                        }
                        Message::Request(request) => self.request(request),
                        Message::Notification(notification) if notification.method == "exit" => {
                            return Ok(if self.is_shut_down { Ended::Properly } else { Ended::Abruptly });
                        }
                        Message::Notification(notification) => self.notification(notification),
                        // Answers to refreshes say nothing.
                        Message::Response(_) => {}
                    }
                }
                recv(self.analyst.events) -> event => {
                    if let Ok(event) = event {
                        self.event(event);
                    }
                }
            }
        }
    }

    fn send(&self, message: impl Into<Message>) {
        // Where the client is gone, the next receive ends the loop.
        let _ = self.connection.sender.send(message.into());
    }

    fn notify<N: lsp::Notification>(&self, params: N::Params) {
        self.send(Notification::new(String::from(N::METHOD), params));
    }

    fn log(&self, message: String) {
        let kind = lsp::MessageType::Error;
        self.notify::<lsp::LogMessageNotification>(lsp::LogMessageParams { kind, message });
    }

    fn notification(&mut self, notification: Notification) {
        let method = notification.method.clone();
        let Notification { params, .. } = notification;
        match lsp::LspNotificationMethod::from(method.as_str()) {
            lsp::LspNotificationMethod::TextDocumentDidOpen => {
                self.with::<lsp::DidOpenTextDocumentParams>(&method, params, |server, params| {
                    let lsp::TextDocumentItem { uri, version, text, .. } = params.text_document;
                    let key = uri.0.clone();
                    let document = Document::new(uri, version, &text, server.client.encoding);
                    server.documents.insert(key, document);
                    server.check_all();
                });
            }
            lsp::LspNotificationMethod::TextDocumentDidChange => {
                self.with::<lsp::DidChangeTextDocumentParams>(&method, params, |server, params| {
                    let lsp::VersionedTextDocumentIdentifier { version, text_document_identifier } =
                        params.text_document;
                    let uri = text_document_identifier.uri.0;
                    server.drop_waiting(&uri);
                    if let Some(document) = server.documents.get_mut(&uri) {
                        document.change(version, params.content_changes);
                    }
                    server.check(&uri);
                });
            }
            lsp::LspNotificationMethod::TextDocumentDidClose => {
                self.with::<lsp::DidCloseTextDocumentParams>(&method, params, |server, params| {
                    let uri = params.text_document.uri.0;
                    server.drop_waiting(&uri);
                    server.memory.remove(&uri);
                    server.publish_after(|documents| {
                        documents.remove(&uri);
                    });
                });
            }
            // Whatever else changed, texts that include it or read it are checked again.
            lsp::LspNotificationMethod::TextDocumentDidSave
            | lsp::LspNotificationMethod::WorkspaceDidChangeWatchedFiles => self.check_all(),
            lsp::LspNotificationMethod::CancelRequest => {
                let id: Option<RequestId> = serde_json::from_value(params["id"].clone()).ok();
                let (cancelled, kept) = std::mem::take(&mut self.waiting)
                    .into_iter()
                    .partition(|waiting| Some(&waiting.request.id) == id.as_ref());
                self.waiting = kept;
                self.refuse(cancelled, ErrorCode::RequestCanceled, "cancelled");
            }
            _ => {}
        }
    }

    /// Does something with the parameters of a notification; neither wrong ones nor a panic end the server.
    fn with<P: DeserializeOwned>(&mut self, method: &str, params: serde_json::Value, act: impl FnOnce(&mut Server, P)) {
        let params = match serde_json::from_value(params) {
            Ok(params) => params,
            Err(error) => return self.log(format!("`{method}` cannot be read: {error}")),
        };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| act(self, params))) {
            self.log(format!("`{method}` failed: {}", panic_message(&*payload)));
        }
    }

    fn check_all(&mut self) {
        let all: Vec<String> = self.documents.keys().cloned().collect();
        all.iter().for_each(|uri| self.check(uri));
    }

    fn check(&self, uri: &str) {
        let Some(document) = self.documents.get(uri) else { return };
        let open = self.documents.values().map(|document| (normal(&document.path), document.text.clone())).collect();
        let job = Job { uri: uri.to_owned(), path: normal(&document.path), version: document.version, open };
        self.analyst.submit(job);
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Checked { uri, analysis } => {
                if self.documents.get(&uri).is_none_or(|document| document.version != analysis.version) {
                    return;
                }
                self.publish_after(|documents| {
                    if let Some(document) = documents.get_mut(&uri) {
                        document.analysis = Some(Arc::from(analysis));
                    }
                });
                self.answer_waiting(&uri);
            }
            Event::HeadersRead { uri } => {
                self.check(&uri);
                self.refresh();
            }
            Event::Measured { uri, version, memory } => {
                self.memory.insert(uri, (version, memory));
                if self.client.refreshes_lenses {
                    self.ask::<lsp::CodeLensRefreshRequest>();
                }
            }
            Event::Panicked { uri, version, message } => {
                self.log(format!("checking {uri} failed: {message}"));
                if let Some(document) = self.documents.get_mut(&uri).filter(|document| document.version == version) {
                    document.is_failed = true;
                }
                let (failed, kept) = std::mem::take(&mut self.waiting)
                    .into_iter()
                    .partition(|waiting| waiting.uri == uri && waiting.version == version);
                self.waiting = kept;
                self.refuse(failed, ErrorCode::RequestFailed, "the check failed");
            }
        }
    }

    /// Asks the client to ask again for what depends on data that has been read by now.
    fn refresh(&mut self) {
        if self.client.refreshes_hints {
            self.ask::<lsp::InlayHintRefreshRequest>();
        }
        if self.client.refreshes_lenses {
            self.ask::<lsp::CodeLensRefreshRequest>();
        }
    }

    fn ask<R: lsp::Request>(&mut self) {
        self.next_id += 1;
        let id = RequestId::from(self.next_id);
        self.send(Request { id, method: String::from(R::METHOD), params: serde_json::Value::Null });
    }

    /// Changes what is known, and sees to it that the client learns what is said then.
    fn publish_after(&mut self, change: impl FnOnce(&mut BTreeMap<String, Document>)) {
        if self.client.diagnostics != Delivery::Pulled {
            change(&mut self.documents);
            return self.publish(diagnostics::by_file(&self.documents));
        }
        let before = diagnostics::by_file(&self.documents);
        change(&mut self.documents);
        let mut after = diagnostics::by_file(&self.documents);
        // For a text that was not known before, the client asks by itself.
        let is_other = |(uri, said): (&String, &diagnostics::Said)| after.get(uri).is_some_and(|now| now != said);
        let is_outdated = before.iter().any(is_other);
        // Nobody asks for files that are not open.
        after.retain(|uri, _| !self.documents.contains_key(uri));
        self.publish(after);
        if is_outdated {
            self.ask::<lsp::DiagnosticRefreshRequest>();
        }
    }

    /// Sends what is said of files, and that nothing is said of files of which something was.
    fn publish(&mut self, all: BTreeMap<String, diagnostics::Said>) {
        // Of a text that is being checked, what was said stands until then.
        let is_checked = |uri: &String| self.documents.get(uri).is_none_or(|document| document.current().is_some());
        let (done, pending): (Vec<String>, Vec<String>) =
            self.shown.iter().filter(|uri| !all.contains_key(*uri)).cloned().partition(is_checked);
        for uri in done {
            let nothing = lsp::PublishDiagnosticsParams { uri: lsp::Uri(uri), version: None, diagnostics: Vec::new() };
            self.notify::<lsp::PublishDiagnosticsNotification>(nothing);
        }
        self.shown = all.keys().cloned().chain(pending).collect();
        for (uri, (version, diagnostics)) in all {
            let params = lsp::PublishDiagnosticsParams { uri: lsp::Uri(uri), version, diagnostics };
            self.notify::<lsp::PublishDiagnosticsNotification>(params);
        }
    }

    fn drop_waiting(&mut self, uri: &str) {
        let (stale, kept) = std::mem::take(&mut self.waiting).into_iter().partition(|waiting| waiting.uri == uri);
        self.waiting = kept;
        self.refuse(stale, ErrorCode::ContentModified, "the text has changed");
    }

    fn refuse(&self, waiting: Vec<Waiting>, code: ErrorCode, message: &str) {
        for Waiting { request, .. } in waiting {
            let mut response = Response::new_err(request.id, code as i32, message.to_owned());
            if let Err(error) = &mut response.response_result
                && matches!(code, ErrorCode::ContentModified)
                && request.method == "textDocument/diagnostic"
            {
                // The protocol's own way to say so; the client asks again.
                error.code = ErrorCode::ServerCancelled as i32;
                let again = lsp::DiagnosticServerCancellationData { retrigger_request: true };
                error.data = serde_json::to_value(again).ok();
            }
            self.send(response);
        }
    }

    fn answer_waiting(&mut self, uri: &str) {
        let (ready, kept) = std::mem::take(&mut self.waiting).into_iter().partition(|waiting| waiting.uri == uri);
        self.waiting = kept;
        ready.into_iter().for_each(|waiting: Waiting| self.answer(waiting.request));
    }

    /// Answers a request, at once or when its text has been checked.
    fn request(&mut self, request: Request) {
        use lsp::LspRequestMethod as Method;
        let waits = matches!(
            Method::from(request.method.as_str()),
            Method::TextDocumentHover
                | Method::TextDocumentInlayHint
                | Method::TextDocumentCodeAction
                | Method::TextDocumentCodeLens
                | Method::TextDocumentCompletion
                | Method::TextDocumentDiagnostic
        );
        let uri = uri_of_request(&request).to_owned();
        match self.documents.get(&uri) {
            Some(document) if waits && document.current().is_none() && !document.is_failed => {
                let version = document.version;
                self.waiting.push(Waiting { uri, version, request });
            }
            _ => self.answer(request),
        }
    }

    fn answer(&self, request: Request) {
        let id = request.id.clone();
        let response = catch_unwind(AssertUnwindSafe(|| self.respond(request))).unwrap_or_else(|payload| {
            let message = panic_message(&*payload);
            Response::new_err(id, ErrorCode::InternalError as i32, format!("a mistake of nnoptc: {message}"))
        });
        self.send(response);
    }

    fn respond(&self, request: Request) -> Response {
        use lsp::LspRequestMethod as Method;
        let method = request.method.clone();
        match Method::from(method.as_str()) {
            Method::TextDocumentHover => self.reply::<lsp::HoverRequest>(request, |params| {
                let at = params.text_document_position_params;
                let document = self.document(&at.text_document)?;
                hover::hover(document, document.offset(at.position))
            }),
            Method::TextDocumentCompletion => self.reply::<lsp::CompletionRequest>(request, |params| {
                let at = params.text_document_position_params;
                let document = self.document(&at.text_document)?;
                let items = completion::complete(document, document.offset(at.position), self.client.snippets);
                Some(lsp::CompletionResponse::CompletionItemList(items))
            }),
            Method::TextDocumentDiagnostic if self.is_failed(&request) => {
                // What was said before stands.
                Response::new_err(request.id, ErrorCode::RequestFailed as i32, "the check failed".to_owned())
            }
            Method::TextDocumentDiagnostic => self.reply::<lsp::DocumentDiagnosticRequest>(request, |params| {
                let uri = &params.text_document.uri.0;
                diagnostics::report(&self.documents, uri, params.previous_result_id.as_deref())
            }),
            Method::TextDocumentSignatureHelp => self.reply::<lsp::SignatureHelpRequest>(request, |params| {
                let at = params.text_document_position_params;
                let document = self.document(&at.text_document)?;
                signature::help(document, document.offset(at.position))
            }),
            Method::TextDocumentDefinition => self.reply::<lsp::DefinitionRequest>(request, |params| {
                let at = params.text_document_position_params;
                let document = self.document(&at.text_document)?;
                let found = names::definition(&self.names(document), document.offset(at.position))?;
                Some(lsp::DefinitionResponse::Definition(lsp::Definition::Location(found)))
            }),
            Method::TextDocumentReferences => self.reply::<lsp::ReferencesRequest>(request, |params| {
                let at = params.text_document_position_params;
                let document = self.document(&at.text_document)?;
                names::references(
                    &self.names(document),
                    document.offset(at.position),
                    params.context.include_declaration,
                )
            }),
            Method::TextDocumentPrepareRename => self.reply::<lsp::PrepareRenameRequest>(request, |params| {
                let at = params.text_document_position_params;
                let document = self.document(&at.text_document)?;
                names::renamable(document, document.offset(at.position)).map(lsp::PrepareRenameResult::Range)
            }),
            Method::TextDocumentRename => self.rename(request),
            Method::TextDocumentDocumentSymbol => self.reply::<lsp::DocumentSymbolRequest>(request, |params| {
                let symbols = symbols::symbols(self.document(&params.text_document)?);
                Some(lsp::DocumentSymbolResponse::DocumentSymbolList(symbols))
            }),
            Method::TextDocumentFoldingRange => self.reply::<lsp::FoldingRangeRequest>(request, |params| {
                Some(folding::ranges(self.document(&params.text_document)?))
            }),
            Method::TextDocumentSemanticTokensFull => self.reply::<lsp::SemanticTokensRequest>(request, |params| {
                let data = tokens::tokens(self.document(&params.text_document)?);
                Some(lsp::SemanticTokens { result_id: None, data })
            }),
            Method::TextDocumentInlayHint => self.reply::<lsp::InlayHintRequest>(request, |params| {
                Some(inlay::hints(self.document(&params.text_document)?, params.range))
            }),
            Method::TextDocumentCodeAction => self.reply::<lsp::CodeActionRequest>(request, |params| {
                Some(actions::actions(
                    self.document(&params.text_document)?,
                    params.range,
                    params.context.only.as_deref(),
                ))
            }),
            Method::TextDocumentCodeLens => self.reply::<lsp::CodeLensRequest>(request, |params| {
                let document = self.document(&params.text_document)?;
                let measured = self.memory.get(&document.uri.0);
                let memory = measured.filter(|(version, _)| *version == document.version).map(|(_, memory)| memory);
                Some(lens::lenses(document, memory))
            }),
            Method::TextDocumentFormatting => self.reply::<lsp::DocumentFormattingRequest>(request, |params| {
                let document = self.document(&params.text_document)?;
                // A text with mistakes is left alone; they are shown already.
                let mut formatted = format(0, &document.text).ok()?;
                if document.text.contains("\r\n") {
                    formatted = formatted.replace('\n', "\r\n");
                }
                Some(document.edit_to(&formatted).into_iter().collect())
            }),
            _ => {
                let message = format!("`{method}` is not offered");
                Response::new_err(request.id, ErrorCode::MethodNotFound as i32, message)
            }
        }
    }

    fn rename(&self, request: Request) -> Response {
        let (id, params) = (request.id, serde_json::from_value::<lsp::RenameParams>(request.params));
        let params = match params {
            Ok(params) => params,
            Err(error) => return Response::new_err(id, ErrorCode::InvalidParams as i32, error.to_string()),
        };
        let at = params.text_document_position_params;
        let Some(document) = self.document(&at.text_document) else {
            return Response::new_err(id, ErrorCode::InvalidParams as i32, "the text is not open".to_owned());
        };
        match names::rename(&self.names(document), document.offset(at.position), &params.new_name) {
            Ok(edit) => Response::new_ok(id, edit),
            Err(reason) => Response::new_err(id, ErrorCode::RequestFailed as i32, reason),
        }
    }

    /// Whether checking the text that a request is about ended in a panic.
    fn is_failed(&self, request: &Request) -> bool {
        self.documents.get(uri_of_request(request)).is_some_and(|document| document.is_failed)
    }

    fn document(&self, identifier: &lsp::TextDocumentIdentifier) -> Option<&Document> {
        self.documents.get(&identifier.uri.0)
    }

    /// The names that a text shares with others.
    fn names(&self, document: &Document) -> names::Names {
        names::Names::around(document, self.documents.values().filter(|other| other.uri != document.uri))
    }

    fn reply<R: lsp::Request>(&self, request: Request, answer: impl FnOnce(R::Params) -> R::Result) -> Response
    where
        R::Result: Serialize,
    {
        match serde_json::from_value::<R::Params>(request.params) {
            Ok(params) => Response::new_ok(request.id, answer(params)),
            Err(error) => Response::new_err(request.id, ErrorCode::InvalidParams as i32, error.to_string()),
        }
    }
}

/// The address of the text that a request is about.
fn uri_of_request(request: &Request) -> &str {
    request.params["textDocument"]["uri"].as_str().unwrap_or("")
}

/// The address of a path of an analysis: the client's own where the text is open.
pub(super) fn address(documents: &BTreeMap<String, Document>, path: &std::path::Path) -> lsp::Uri {
    let path = normal(path);
    let open = documents.values().find(|document| normal(&document.path) == path);
    open.map_or_else(|| uri::uri_of(&path), |document| document.uri.clone())
}
