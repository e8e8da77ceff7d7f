//! What can be written at a place: sections, settings, items, arguments, values, paths.

use std::path::Path;

use gen_lsp_types as lsp;
use rowan::TextSize;

use super::context::{
    Slot, child, describe_word, entry, entry_of_call, is_body, is_named, name_text, of_kind, section_of,
    slot_of_argument, slot_of_holder, slot_of_value,
};
use super::document::Document;
use super::hover::describe_param;
use super::names::{Names, params};
use crate::check::lints::LINTS;
use crate::check::{JOINS, SETTING_SECTIONS, SPLITS, STAGE_SECTIONS, TOP_SETTINGS};
use crate::explain::page;
use crate::formats::csv::column_names;
use crate::formats::files::Disk;
use crate::library::TargetType;
use crate::library::reference::Entry;
use crate::schema::{FromArg, Word};
use crate::source::Span;
use crate::syntax::{SyntaxKind as K, SyntaxNode, SyntaxToken};

/// More entries of a folder than this are of no use in a list.
const MAX_PATHS: usize = 1000;

/// What can be written at an offset.
pub fn complete(document: &Document, offset: usize, snippets: bool) -> Vec<lsp::CompletionItem> {
    let word_start = word_start(&document.text, offset);
    let root = document.root();
    let inside = root.token_at_offset(TextSize::new(offset as u32)).left_biased();
    let mut list = List { document, range: Span::new(0, word_start, offset), snippets, items: Vec::new() };
    match inside.as_ref().map(SyntaxToken::kind) {
        Some(K::Comment) => return Vec::new(),
        Some(K::String | K::OpenString) => {
            let token = inside.unwrap_or_else(|| unreachable!("its kind is known"));
            let start = usize::from(token.text_range().start());
            let closed = token.kind() == K::String && offset == usize::from(token.text_range().end());
            if offset > start && !closed {
                list.paths(start + 1, offset);
            }
            return list.items;
        }
        _ => {}
    }
    match place(&root, &document.text, word_start) {
        Place::File => list.items_of_file(&root),
        Place::Settings(body, section) => list.settings(&body, &section),
        Place::Stages(section) => list.stages(&section),
        Place::Value(slot, at) => list.values(slot, Some(&at)),
        Place::Argument(call, args) => list.arguments(&call, &args, word_start),
        Place::Lint(args) => list.lints(&args),
        Place::Join => JOINS[1..].iter().for_each(|word| list.word(word, lsp::CompletionItemKind::Keyword)),
        Place::Nothing => {}
    }
    list.items
}

/// Where the word before an offset begins.
fn word_start(text: &str, offset: usize) -> usize {
    let before = text[..offset].char_indices().rev();
    let word = before.take_while(|(_, c)| c.is_alphanumeric() || matches!(c, '_' | '.'));
    word.last().map_or(offset, |(start, _)| start)
}

/// What stands at a place.
enum Place {
    File,
    Settings(SyntaxNode, String),
    Stages(String),
    Value(Option<Slot>, SyntaxNode),
    Argument(SyntaxNode, SyntaxNode),
    Lint(SyntaxNode),
    Join,
    Nothing,
}

/// What can stand after what stands before.
fn place(root: &SyntaxNode, text: &str, at: usize) -> Place {
    let mut before = root.token_at_offset(TextSize::new(at as u32)).left_biased();
    while before.as_ref().is_some_and(|token| token.kind().is_trivia() || usize::from(token.text_range().end()) > at) {
        before = before.and_then(|token| token.prev_token());
    }
    let Some(token) = before else { return Place::File };
    let Some(parent) = token.parent() else { return Place::File };
    let new_line = text[usize::from(token.text_range().end())..at].contains('\n');
    match (token.kind(), parent.kind()) {
        (K::Equals, K::LabelStage) | (K::Arrow, _) => return Place::Stages(section_of(&parent)),
        (K::Equals, _) if !new_line => return Place::Value(slot_of_holder(&parent), parent),
        (K::OpenParen | K::Comma, K::Args) => {
            return match parent.parent() {
                Some(call) if call.kind() == K::Call => Place::Argument(call, parent),
                Some(allow) if allow.kind() == K::Allow => Place::Lint(parent),
                _ => Place::Nothing,
            };
        }
        (K::OpenParen | K::OpenBracket | K::Comma, K::List | K::Group) => {
            let slot = parent.parent().and_then(|expr| slot_of_value(&expr));
            return Place::Value(slot, parent);
        }
        (K::Operator | K::Minus, _) => return Place::Value(slot_of_value(&parent), parent),
        (K::Keyword, K::Join) => return Place::Join,
        (K::OpenBrace | K::CloseBrace | K::Semicolon, _) => {}
        _ if !new_line => return Place::Nothing,
        _ => {}
    }
    let open = |body: &SyntaxNode| {
        let closed = body.last_token().is_some_and(|last| last.kind() == K::CloseBrace);
        !closed || usize::from(body.text_range().end()) > at
    };
    match parent.ancestors().find(|node| is_body(node) && open(node)) {
        Some(body) if body.kind() == K::SettingBody => {
            let section = section_of(&body);
            Place::Settings(body, section)
        }
        Some(body) if body.kind() == K::StageBody => Place::Stages(section_of(&body)),
        Some(_) => Place::Nothing,
        None => Place::File,
    }
}

/// The items found so far, and what they replace.
struct List<'a> {
    document: &'a Document,
    range: Span,
    snippets: bool,
    items: Vec<lsp::CompletionItem>,
}

impl List<'_> {
    /// Adds an item; `snippet` has places to fill in, and `plain` is written where the client knows no snippets.
    fn push(&mut self, label: &str, kind: lsp::CompletionItemKind, snippet: &str, plain: &str, about: About) {
        let new_text = if self.snippets { snippet } else { plain };
        let format = if self.snippets { lsp::InsertTextFormat::Snippet } else { lsp::InsertTextFormat::PlainText };
        let edit = lsp::TextEdit { range: self.document.lines.range(self.range), new_text: new_text.to_owned() };
        let documentation = about.documentation.map(|value| {
            lsp::Documentation::MarkupContent(lsp::MarkupContent { kind: lsp::MarkupKind::Markdown, value })
        });
        self.items.push(lsp::CompletionItem {
            label: label.to_owned(),
            kind: Some(kind),
            detail: about.detail,
            documentation,
            sort_text: Some(format!("{:04}", self.items.len())),
            insert_text_format: Some(format),
            text_edit: Some(lsp::CompletionItemTextEdit::TextEdit(edit)),
            ..Default::default()
        });
    }

    fn word(&mut self, word: &str, kind: lsp::CompletionItemKind) {
        let about = About { detail: None, documentation: describe_word(word).map(str::to_owned) };
        self.push(word, kind, word, word, about);
    }

    fn entry(&mut self, entry: &Entry) {
        let kind = lsp::CompletionItemKind::Function;
        let about = About { detail: Some(entry.summary().to_owned()), documentation: Some(entry.markdown()) };
        self.push(entry.name, kind, &call_snippet(entry), entry.name, about);
    }

    fn items_of_file(&mut self, root: &SyntaxNode) {
        let given: Vec<String> = root.children().map(|node| name_text(&node)).collect();
        let is_new = |name: &str| given.iter().all(|known| known != name);
        if root.children().all(|node| node.kind() != K::Version) {
            self.snippet("nnopt", "nnopt 1");
        }
        for section in SETTING_SECTIONS.into_iter().chain(STAGE_SECTIONS).filter(|section| is_new(section)) {
            self.snippet(section, &format!("{section} {{\n    $0\n}}"));
        }
        for setting in TOP_SETTINGS.into_iter().filter(|setting| is_new(setting)) {
            let about = About { detail: None, documentation: describe_word(setting).map(str::to_owned) };
            let plain = format!("{setting} = ");
            self.push(setting, lsp::CompletionItemKind::Property, &format!("{plain}$0"), &plain, about);
        }
        self.snippet("let", "let ${1:name} = $0");
        self.snippet("block", "block ${1:name}(${2:units}) {\n    $0\n}");
        self.snippet("include", "include \"$0\"");
        self.snippet("profile", "profile ${1:quick} {\n    $0\n}");
        self.snippet("allow", "allow($0)");
    }

    /// Lints that are not silenced yet.
    fn lints(&mut self, args: &SyntaxNode) {
        let given: Vec<String> = args.descendants_with_tokens().map(|element| element.to_string()).collect();
        for lint in LINTS.iter().filter(|lint| given.iter().all(|name| name != lint.name)) {
            let about = About {
                detail: Some(lint.code.0.to_owned()),
                documentation: page(lint.code.0).map(|page| page.text.to_owned()),
            };
            self.push(lint.name, lsp::CompletionItemKind::EnumMember, lint.name, lint.name, about);
        }
    }

    fn snippet(&mut self, word: &str, snippet: &str) {
        let about = About { detail: None, documentation: describe_word(word).map(str::to_owned) };
        self.push(word, lsp::CompletionItemKind::Keyword, snippet, word, about);
    }

    fn settings(&mut self, body: &SyntaxNode, section: &str) {
        let given: Vec<String> = body.children().map(|node| name_text(&node)).collect();
        let mut known: Vec<(String, About)> = Vec::new();
        let plain = |word: &str| About { detail: None, documentation: describe_word(word).map(str::to_owned) };
        match section {
            "data" => known.extend(SPLITS.into_iter().chain(["normalize"]).map(|name| (name.to_owned(), plain(name)))),
            "train" | "profile" => {
                let prefix = if section == "train" { "" } else { "train." };
                let train = entry("section", "train").map_or(&[][..], |train| train.params);
                known.extend(train.iter().map(|param| {
                    let detail = param.default.map(|default| format!("{} by default", default()));
                    let about = About { detail, documentation: Some(describe_param(param)) };
                    (format!("{prefix}{}", param.name), about)
                }));
                if section == "profile" {
                    known.extend(TOP_SETTINGS.into_iter().map(|name| (name.to_owned(), plain(name))));
                    let lets = Names::new(self.document).all()[0].clone();
                    known.extend(lets.into_iter().map(|name| (name, About::default())));
                }
            }
            _ => {}
        }
        self.snippet("allow", "allow($0)");
        for (name, about) in known {
            if !given.contains(&name) {
                let plain = format!("{name} = ");
                self.push(&name, lsp::CompletionItemKind::Property, &format!("{plain}$0"), &plain, about);
            }
        }
    }

    fn stages(&mut self, section: &str) {
        if section == "augment" {
            return of_kind("augmentation").for_each(|entry| self.entry(entry));
        }
        of_kind("layer").for_each(|entry| self.entry(entry));
        let names = Names::new(self.document);
        let [_, blocks, labels] = names.all();
        for name in blocks {
            let args: Vec<String> = names.block(name).iter().flat_map(params).map(|param| param.to_string()).collect();
            let places: Vec<String> = args.iter().enumerate().map(|(i, arg)| format!("${{{}:{arg}}}", i + 1)).collect();
            let snippet = if args.is_empty() { name.clone() } else { format!("{name}({})", places.join(", ")) };
            let about = About { detail: Some(format!("block {name}({})", args.join(", "))), documentation: None };
            self.push(name, lsp::CompletionItemKind::Function, &snippet, name, about);
        }
        self.snippet("allow", "allow($0)");
        self.snippet("repeat", "repeat ${1:2} {\n    $0\n}");
        self.snippet("residual", "residual {\n    $0\n}");
        self.snippet("branch", "branch {\n    { $1 }\n    { $2 }\n} join ${3|concat,add|}");
        for join in JOINS {
            let choices: Vec<&str> = labels.iter().map(String::as_str).collect();
            let place =
                if choices.is_empty() { "${1:label}".to_owned() } else { format!("${{1|{}|}}", choices.join(",")) };
            self.snippet(join, &format!("{join}({place})"));
        }
    }

    fn values(&mut self, slot: Option<Slot>, at: Option<&SyntaxNode>) {
        if let Some(slot) = slot {
            slot.words().into_iter().for_each(|word| self.word(word, lsp::CompletionItemKind::EnumMember));
            slot.entries().into_iter().for_each(|entry| self.entry(entry));
            if let Slot::Param(entry, param) = slot {
                match (entry.name, param.name) {
                    ("csv", "target" | "drop") => self.columns(at),
                    (item, param) => self.words_of_data(item, param),
                }
            }
        }
        if matches!(slot, None | Some(Slot::Param(..))) {
            let block = at.and_then(|node| node.ancestors().find(|node| node.kind() == K::Block));
            for param in block.iter().flat_map(params) {
                self.word(param.text(), lsp::CompletionItemKind::Variable);
            }
            for name in Names::new(self.document).all()[0] {
                self.word(name, lsp::CompletionItemKind::Constant);
            }
            if at.is_some_and(|node| matches!(section_of(node).as_str(), "model" | "block")) {
                self.word("classes", lsp::CompletionItemKind::Constant);
            }
        }
    }

    /// The columns of the table whose path stands in the call around a node. Its header is read here, since a call that
    /// is being written is none that has been checked.
    fn columns(&mut self, at: Option<&SyntaxNode>) {
        let args = at.into_iter().flat_map(SyntaxNode::ancestors).find(|node| node.kind() == K::Args);
        let is_path = |arg: &SyntaxNode| !is_named(arg) || name_text(arg) == "path";
        let Some(value) = args.and_then(|args| child(&args.children().find(is_path)?, K::Expr)) else { return };
        let text = value.text().to_string();
        // No file that anyone has is named so that it needs an escape.
        let path = text.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let Some(path) = path.filter(|path| !path.contains('\\')) else { return };
        let path = self.document.path.parent().unwrap_or(Path::new("")).join(path);
        for name in column_names(&Disk, &path).unwrap_or_default() {
            self.word(&Word(name).show(), lsp::CompletionItemKind::EnumMember);
        }
    }

    /// Words that come from the data: splits, what is measured.
    fn words_of_data(&mut self, item: &str, param: &str) {
        let Some(analysis) = &self.document.analysis else { return };
        let findings = &analysis.findings;
        let mut words: Vec<String> = Vec::new();
        match (item, param) {
            ("split", "from") => words.push("train".to_owned()),
            ("patience", "on") => {
                let metric = if matches!(findings.targets, Some(TargetType::Values(_))) { "mae" } else { "accuracy" };
                for split in findings.splits.iter().filter(|split| split.name != "test").rev() {
                    words.extend(["loss", metric].map(|metric| format!("{}.{metric}", split.name)));
                }
            }
            _ => {}
        }
        words.iter().for_each(|word| self.word(word, lsp::CompletionItemKind::EnumMember));
    }

    /// Arguments that have not been given, and values of the one that a value without a name would be for.
    fn arguments(&mut self, call: &SyntaxNode, args: &SyntaxNode, at: usize) {
        if JOINS.contains(&name_text(call).as_str()) {
            let labels = Names::new(self.document).all()[2].clone();
            return labels.iter().for_each(|label| self.word(label, lsp::CompletionItemKind::Variable));
        }
        let before = |arg: &SyntaxNode| usize::from(arg.text_range().start()) < at;
        let others: Vec<SyntaxNode> = args.children().filter(|arg| arg.kind() == K::Arg && !touches(arg, at)).collect();
        let unnamed = others.iter().filter(|arg| before(arg) && !is_named(arg)).count();
        let only_unnamed = others.iter().filter(|arg| before(arg)).all(|arg| !is_named(arg));
        if only_unnamed {
            self.values(slot_of_argument(call, None, Some(unnamed)), Some(args));
        }
        let Some(entry) = entry_of_call(call) else { return };
        let given: Vec<String> = others.iter().filter(|arg| is_named(arg)).map(name_text).collect();
        for param in entry.params.iter().skip(unnamed).filter(|param| given.iter().all(|name| name != param.name)) {
            let detail = param.default.map(|default| format!("{} by default", default()));
            let about = About { detail, documentation: Some(describe_param(param)) };
            let plain = format!("{} = ", param.name);
            self.push(param.name, lsp::CompletionItemKind::Field, &format!("{plain}$0"), &plain, about);
        }
    }

    /// Files and folders beside the text, for the path that begins at `start`.
    fn paths(&mut self, start: usize, offset: usize) {
        let partial = &self.document.text[start..offset];
        let folder_end = partial.rfind('/').map_or(0, |slash| slash + 1);
        let base = self.document.path.parent().unwrap_or(Path::new(""));
        let folder = base.join(&partial[..folder_end]);
        self.range = Span::new(0, start + folder_end, offset);
        let mut found: Vec<(bool, String)> = Vec::new();
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten().take(MAX_PATHS) {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_folder = entry.path().is_dir();
            if !name.starts_with('.') && !name.contains(['"', '\\']) {
                found.push((!is_folder, name));
            }
        }
        found.sort();
        for (is_file, name) in found {
            let kind = if is_file { lsp::CompletionItemKind::File } else { lsp::CompletionItemKind::Folder };
            let text = if is_file { name } else { format!("{name}/") };
            self.push(&text, kind, &text.replace('$', "\\$").replace('}', "\\}"), &text, About::default());
        }
    }
}

/// What is shown beside an item.
#[derive(Default)]
struct About {
    detail: Option<String>,
    documentation: Option<String>,
}

/// Whether a node is the one that is being written.
fn touches(arg: &SyntaxNode, at: usize) -> bool {
    usize::from(arg.text_range().start()) <= at && at < usize::from(arg.text_range().end())
}

/// The call with a place for each argument that has to be given.
fn call_snippet(entry: &Entry) -> String {
    let required = entry.params.iter().filter(|param| param.default.is_none()).enumerate();
    let places: Vec<String> = required
        .map(|(index, param)| {
            let place = format!("${{{}:{}}}", index + 1, param.name);
            let text = if param.name == "path" { format!("\"{place}\"") } else { place };
            if index == 0 { text } else { format!("{} = {text}", param.name) }
        })
        .collect();
    if places.is_empty() { entry.name.to_owned() } else { format!("{}({})", entry.name, places.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsp::document::Encoding;

    /// What is offered at the `|` of a text.
    fn offered(text: &str) -> Vec<(String, String)> {
        let offset = text.find('|').unwrap();
        let text = text.replacen('|', "", 1);
        let document = Document::new(lsp::Uri("file:///a.nnopt".to_owned()), 1, &text, Encoding::Utf8);
        let insert = |item: &lsp::CompletionItem| match &item.text_edit {
            Some(lsp::CompletionItemTextEdit::TextEdit(edit)) => edit.new_text.clone(),
            _ => unreachable!("every item is an edit"),
        };
        complete(&document, offset, true).iter().map(|item| (item.label.clone(), insert(item))).collect()
    }

    #[track_caller]
    fn check_offers(text: &str, wanted: &[&str], unwanted: &[&str]) {
        let offered = offered(text);
        let has = |name: &str| offered.iter().any(|(label, _)| label == name);
        for name in wanted {
            assert!(has(name), "`{name}` is not offered in {text}: {offered:?}");
        }
        for name in unwanted {
            assert!(!has(name), "`{name}` is offered in {text}");
        }
    }

    #[test]
    fn what_is_offered_depends_on_the_place() {
        check_offers("|", &["data", "model", "loss", "let", "nnopt"], &["conv2d", "epochs"]);
        check_offers("nnopt 1\n\nmodel { }\n|", &["data", "train"], &["model", "nnopt"]);
        check_offers("data {\n    tr|", &["train", "val", "normalize"], &["epochs", "csv"]);
        check_offers("train {\n    epochs = 3\n    |\n}", &["batch", "seed"], &["epochs", "model"]);
        check_offers("model {\n    |\n}", &["conv2d", "repeat", "residual"], &["random_crop", "mse", "data"]);
        check_offers("model {\n    conv2d(3) -> |", &["batch_norm", "relu"], &["kernel"]);
        check_offers("augment {\n    ran|", &["random_crop"], &["linear"]);
        check_offers("model { conv2d(32, |", &["kernel", "padding"], &["filters", "conv2d"]);
        check_offers("model { conv2d(32, kernel = 3, pad|) }", &["padding", "init"], &["kernel"]);
        check_offers("model { conv2d(32, padding = |", &["same", "classes"], &["valid", "kernel"]);
        check_offers("model { linear(3, init = |) }", &["kaiming_normal"], &["l2", "relu"]);
        check_offers("let width = 3\nmodel { linear(|", &["width", "classes", "units"], &["relu"]);
        check_offers("loss = |\noptimizer = adam", &["cross_entropy", "mse"], &["adam"]);
        check_offers("metrics = [accuracy, |]", &["mae", "top_k"], &["adam"]);
        check_offers("train { early_stop = |", &["patience", "none"], &[]);
        check_offers("train { precision = |", &["f32"], &["auto"]);
        check_offers("data { normalize = |", &["auto", "none", "given"], &[]);
        check_offers("data { train = |", &["csv", "idx", "split"], &["given"]);
        check_offers("block a(n) { linear(|", &["n"], &[]);
        check_offers("let width = 3\nmodel { x = linear(1)\n add(|", &["x"], &["linear", "width", "classes"]);
        check_offers("model { branch { { relu } } join |", &["concat", "add"], &["use"]);
        check_offers("allow(|", &["no_warmup"], &["conv2d"]);
        check_offers("allow(no_warmup, |)", &["no_effect"], &["no_warmup"]);
        check_offers("al|", &["allow"], &[]);
        check_offers("profile a {\n    |", &["train.epochs", "optimizer"], &["epochs"]);
        for text in ["# |", "x = \"a\"|", "loss = mse |", "block a(|"] {
            assert_eq!(offered(text), [], "{text}");
        }
    }

    #[test]
    fn columns_are_those_of_the_table_that_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t.csv"), "a;b c;label\n1;2;0\n").unwrap();
        let path = folder.path().join("t.csv").display().to_string();
        let all = ["a", "\"b c\"", "label"];
        check_offers(&format!("data {{ train = csv(\"{path}\", target = |"), &all, &["relu"]);
        check_offers(&format!("data {{ train = csv(\"{path}\", target = la|) }}"), &all, &[]);
        check_offers(&format!("data {{ train = csv(target = label, drop = [a, |], path = \"{path}\") }}"), &all, &[]);
        check_offers("data { train = csv(\"none.csv\", target = |", &["auto"], &["a"]);
    }

    #[test]
    fn calls_have_places_for_what_must_be_given() {
        let offered = offered("model { |");
        let insert = |name: &str| offered.iter().find(|(label, _)| label == name).map(|(_, insert)| insert.as_str());
        assert_eq!(insert("conv2d"), Some("conv2d(${1:filters}, kernel = ${2:kernel})"));
        assert_eq!(insert("relu"), Some("relu"));
        assert_eq!(insert("dropout"), Some("dropout"));
    }

    #[test]
    fn nothing_panics_wherever_the_cursor_is() {
        let text = crate::syntax::tests::SAMPLE;
        for (end, _) in text.char_indices().step_by(7) {
            let document = Document::new(lsp::Uri("file:///a".to_owned()), 1, &text[..end], Encoding::Utf16);
            for (offset, _) in text[..end].char_indices().step_by(11).chain([(end, ' ')]) {
                complete(&document, offset, false);
            }
        }
    }
}
