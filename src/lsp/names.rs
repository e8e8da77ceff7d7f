//! Names that a text defines: where, and where they are used; and other names for them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use gen_lsp_types as lsp;
use rowan::NodeOrToken;

use super::analysis::normal;
use super::context::{child, describe_word, is_named, is_stage, name_of, name_text, token_at};
use super::document::{Document, Lines};
use super::uri::uri_of;
use crate::check::JOINS;
use crate::source::Span;
use crate::syntax::{KEYWORDS, SyntaxKind as K, SyntaxNode, SyntaxToken, parse};

/// More files than this in a folder are no pipelines of one project.
const MAX_FILES: usize = 1000;

/// Something with a name of the writer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// `let name = value`
    Let(String),
    /// `block name { … }`
    Block(String),
    /// A stage's label.
    Label(String),
    /// A parameter of a block that begins at this byte.
    Param(u32, String),
}

impl Named {
    fn name(&self) -> &str {
        match self {
            Named::Let(name) | Named::Block(name) | Named::Label(name) | Named::Param(_, name) => name,
        }
    }

    /// Whether files that are included know it too.
    fn is_global(&self) -> bool {
        matches!(self, Named::Let(_) | Named::Block(_))
    }
}

/// The names that can be used in a text.
pub struct Names {
    lets: BTreeSet<String>,
    blocks: BTreeSet<String>,
    labels: BTreeSet<String>,
    files: Vec<File>,
}

/// A file with its tree; the text itself is the first.
struct File {
    uri: lsp::Uri,
    root: SyntaxNode,
    lines: Lines,
}

impl Names {
    /// The names of a text and of what it includes.
    pub fn new(document: &Document) -> Names {
        let mut files = vec![File { uri: document.uri.clone(), root: document.root(), lines: document.lines.clone() }];
        if let Some(analysis) = &document.analysis {
            for (file, path) in analysis.sources.files().iter().zip(&analysis.paths).skip(1) {
                let lines = Lines::new(&file.text, document.lines.encoding());
                files.push(File { uri: uri_of(path), root: parse(0, &file.text).syntax(), lines });
            }
        }
        Names::of(files)
    }

    /// The names of a text, of what it includes, and of the open texts and those in its folder that include it.
    pub fn around<'a>(document: &Document, open: impl Iterator<Item = &'a Document>) -> Names {
        let Names { mut files, .. } = Names::new(document);
        for file in including(document, open) {
            if files.iter().all(|known| known.uri != file.uri) {
                files.push(file);
            }
        }
        Names::of(files)
    }

    fn of(files: Vec<File>) -> Names {
        let of_kind = |kind: K| -> BTreeSet<String> {
            let nodes = files.iter().flat_map(|file| file.root.descendants());
            nodes.filter(|node| node.kind() == kind).map(|node| name_text(&node)).collect()
        };
        Names { lets: of_kind(K::Let), blocks: of_kind(K::Block), labels: of_kind(K::LabelStage), files }
    }

    /// The names of `let`s, of blocks, and of labels.
    pub fn all(&self) -> [&BTreeSet<String>; 3] {
        [&self.lets, &self.blocks, &self.labels]
    }

    /// The definition of a block.
    pub fn block(&self, name: &str) -> Option<SyntaxNode> {
        let mut nodes = self.files.iter().flat_map(|file| file.root.children());
        nodes.find(|node| node.kind() == K::Block && name_text(node) == name)
    }

    /// What a token names, if that has a name of the writer's; and whether it is named there.
    pub fn named(&self, token: &SyntaxToken) -> Option<(Named, bool)> {
        if token.kind() != K::Path {
            return None;
        }
        let name = token.text().to_owned();
        let parent = token.parent()?;
        let is_name = name_of(&parent).as_ref() == Some(token);
        match parent.kind() {
            K::Let => Some((Named::Let(name), true)),
            K::Block => Some((Named::Block(name), true)),
            K::LabelStage if is_name => Some((Named::Label(name), true)),
            K::Setting if super::context::section_of(&parent) == "profile" && self.lets.contains(&name) => {
                Some((Named::Let(name), false))
            }
            K::Call if is_stage(&parent) && self.blocks.contains(&name) => Some((Named::Block(name), false)),
            K::Arg => self.named_argument(&parent, name),
            K::Expr => self.named_value(&parent, name),
            _ => None,
        }
    }

    /// `name` of `name = value`: a parameter of a block where it is defined or used.
    fn named_argument(&self, arg: &SyntaxNode, name: String) -> Option<(Named, bool)> {
        let owner = arg.parent()?.parent()?;
        if owner.kind() == K::Block {
            return Some((Named::Param(start(&owner), name), true));
        }
        let called = name_text(&owner);
        let blocks = self.files[0].root.children().filter(|node| node.kind() == K::Block);
        let block = blocks.into_iter().find(|block| name_text(block) == called && is_stage(&owner))?;
        params(&block).any(|param| param.text() == name).then(|| (Named::Param(start(&block), name), false))
    }

    fn named_value(&self, expr: &SyntaxNode, name: String) -> Option<(Named, bool)> {
        let holder = expr.parent()?;
        let owner = holder.parent().and_then(|args| args.parent());
        if let Some(owner) = owner.filter(|_| holder.kind() == K::Arg) {
            if owner.kind() == K::Block && !is_named(&holder) {
                return Some((Named::Param(start(&owner), name), true));
            }
            if owner.kind() == K::Call && is_stage(&owner) && JOINS.contains(&name_text(&owner).as_str()) {
                return self.labels.contains(&name).then_some((Named::Label(name), false));
            }
        }
        let block = expr.ancestors().find(|node| node.kind() == K::Block);
        if let Some(block) = block.filter(|block| params(block).any(|param| param.text() == name)) {
            return Some((Named::Param(start(&block), name), false));
        }
        self.lets.contains(&name).then_some((Named::Let(name), false))
    }

    /// Every place where something is named, with its file: definitions too.
    fn occurrences(&self, wanted: &Named) -> Vec<(&File, SyntaxToken, bool)> {
        let files = if wanted.is_global() { &self.files[..] } else { &self.files[..1] };
        let mut found = Vec::new();
        for file in files {
            let tokens = file.root.descendants_with_tokens().filter_map(NodeOrToken::into_token);
            for token in tokens.filter(|token| token.kind() == K::Path && token.text() == wanted.name()) {
                match self.named(&token) {
                    Some((named, is_definition)) if named == *wanted => found.push((file, token, is_definition)),
                    _ => {}
                }
            }
        }
        found
    }
}

/// Open texts and texts in the document's folder that include it, or include what does.
fn including<'a>(document: &Document, open: impl Iterator<Item = &'a Document>) -> Vec<File> {
    let mut texts: BTreeMap<PathBuf, String> = BTreeMap::new();
    let folder = document.path.parent().unwrap_or(Path::new(""));
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_FILES) {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "nnopt")
            && let Ok(text) = std::fs::read_to_string(&path)
        {
            texts.insert(normal(&path), text);
        }
    }
    texts.extend(open.map(|document| (normal(&document.path), document.text.to_string())));
    let trees: BTreeMap<PathBuf, SyntaxNode> =
        texts.iter().map(|(path, text)| (path.clone(), parse(0, text).syntax())).collect();
    let mut known = BTreeSet::from([normal(&document.path)]);
    let mut found = Vec::new();
    loop {
        let includes = |path: &Path, root: &SyntaxNode| included(path, root).iter().any(|path| known.contains(path));
        let more = trees.iter().filter(|(path, root)| !known.contains(*path) && includes(path, root));
        let more: Vec<PathBuf> = more.map(|(path, _)| path.clone()).collect();
        if more.is_empty() {
            return found;
        }
        for path in more {
            let lines = Lines::new(&texts[&path], document.lines.encoding());
            found.push(File { uri: uri_of(&path), root: trees[&path].clone(), lines });
            known.insert(path);
        }
    }
}

/// The files that a text includes.
fn included(path: &Path, root: &SyntaxNode) -> Vec<PathBuf> {
    let base = path.parent().unwrap_or(Path::new(""));
    let items = root.children().filter(|node| node.kind() == K::Include);
    let tokens = items.flat_map(|item| item.descendants_with_tokens().filter_map(NodeOrToken::into_token));
    let texts = tokens.filter(|token| token.kind() == K::String);
    texts.map(|token| normal(&base.join(token.text().trim_matches('"')))).collect()
}

fn start(node: &SyntaxNode) -> u32 {
    node.text_range().start().into()
}

/// The names of a block's parameters.
pub fn params(block: &SyntaxNode) -> impl Iterator<Item = SyntaxToken> + use<> {
    let args = child(block, K::Args);
    let args: Vec<SyntaxNode> = args.iter().flat_map(SyntaxNode::children).collect();
    args.into_iter().filter_map(|arg| name_of(&arg).or_else(|| name_of(&child(&arg, K::Expr)?)))
}

fn location(file: &File, token: &SyntaxToken) -> lsp::Location {
    lsp::Location { uri: file.uri.clone(), range: range(file, token) }
}

fn range(file: &File, token: &SyntaxToken) -> lsp::Range {
    let range = token.text_range();
    file.lines.range(Span::new(0, range.start().into(), range.end().into()))
}

/// Where the thing at an offset is defined.
pub fn definition(names: &Names, offset: usize) -> Option<lsp::Location> {
    let (named, _) = names.named(&token_at(&names.files[0].root, offset)?)?;
    let found = names.occurrences(&named);
    found.iter().find(|(.., is_definition)| *is_definition).map(|(file, token, _)| location(file, token))
}

/// Where the thing at an offset is used.
pub fn references(names: &Names, offset: usize, with_definition: bool) -> Option<Vec<lsp::Location>> {
    let (named, _) = names.named(&token_at(&names.files[0].root, offset)?)?;
    let found = names.occurrences(&named).into_iter();
    let wanted = found.filter(|(.., is_definition)| with_definition || !is_definition);
    Some(wanted.map(|(file, token, _)| location(file, &token)).collect())
}

/// The name at an offset, if it can be changed.
pub fn renamable(document: &Document, offset: usize) -> Option<lsp::Range> {
    let names = Names::new(document);
    let token = token_at(&names.files[0].root, offset)?;
    names.named(&token)?;
    Some(document.token_range(&token))
}

/// The edits that give the thing at an offset another name.
///
/// # Errors
/// Why it cannot have that name.
pub fn rename(names: &Names, offset: usize, new: &str) -> Result<lsp::WorkspaceEdit, String> {
    let token = token_at(&names.files[0].root, offset);
    let Some((named, _)) = token.and_then(|token| names.named(&token)) else {
        return Err("only names of `let`s, blocks, their parameters and labels can be changed".to_owned());
    };
    let is_plain = new.chars().all(|c| c.is_alphanumeric() || c == '_')
        && new.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
    if !is_plain {
        return Err(format!("`{new}` is not a name: names have letters, digits and `_`, and begin with no digit"));
    }
    if KEYWORDS.contains(&new) || describe_word(new).is_some() {
        return Err(format!("`{new}` is a word of the language"));
    }
    if names.all().iter().any(|known| known.contains(new)) {
        return Err(format!("`{new}` is the name of something else"));
    }
    let mut changes: HashMap<lsp::Uri, Vec<lsp::TextEdit>> = HashMap::new();
    for (file, token, _) in names.occurrences(&named) {
        let edit = lsp::TextEdit { range: range(file, &token), new_text: new.to_owned() };
        changes.entry(file.uri.clone()).or_default().push(edit);
    }
    Ok(lsp::WorkspaceEdit { changes: Some(changes), ..Default::default() })
}
