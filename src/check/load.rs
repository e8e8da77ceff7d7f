//! Reads a pipeline's files: the main one, what it includes, and overrides from profiles and the command line.

use std::path::{Path, PathBuf};

use super::program::Origins;
use super::{Code, Diagnostic, lints};
use crate::diagnostic::did_you_mean;
use crate::formats::files::Files;
use crate::source::{Sources, Span};
use crate::syntax;
use crate::syntax::ast::{Arg, BlockDef, Call, Expr, ExprKind, Item, Name, Setting, Stage};

const UNREADABLE: Code = Code("E0212");
const UNKNOWN_PATH: Code = Code("E0213");
const DUPLICATE: Code = Code("E0208");
const UNKNOWN_SECTION: Code = Code("E0201");
const VERSION: Code = Code("E0216");

/// The sections that hold settings.
pub const SETTING_SECTIONS: [&str; 2] = ["data", "train"];
/// The sections that hold stages.
pub const STAGE_SECTIONS: [&str; 2] = ["augment", "model"];
/// The settings at the top level.
pub const TOP_SETTINGS: [&str; 5] = ["loss", "regularization", "optimizer", "schedule", "metrics"];

/// A section of settings.
#[derive(Clone, Debug, Default)]
pub(super) struct SettingSection {
    pub span: Option<Span>,
    pub settings: Vec<Setting>,
}

/// A section of stages.
#[derive(Clone, Debug)]
pub(super) struct StageSection {
    pub span: Span,
    pub stages: Vec<Stage>,
}

/// Everything that the files say, by kind, with overrides applied.
#[derive(Debug, Default)]
pub(super) struct Declarations {
    pub lets: Vec<Setting>,
    pub blocks: Vec<BlockDef>,
    pub data: SettingSection,
    pub train: SettingSection,
    pub augment: Option<StageSection>,
    pub model: Option<StageSection>,
    pub settings: Vec<Setting>,
    profiles: Vec<(Name, Vec<Setting>)>,
    /// The files as written, the main one first.
    pub asts: Vec<syntax::ast::File>,
    /// What misspelt sections and settings probably meant; that they are missing goes without saying.
    pub misspelt: Vec<&'static str>,
    /// Where the end of the main file is, for what is missing.
    pub end: Span,
}

/// Reads files and collects what they declare.
pub(super) struct Loader<'a> {
    pub files: &'a dyn Files,
    pub sources: Sources,
    pub origins: Origins,
    pub diagnostics: Vec<Diagnostic>,
    pub declarations: Declarations,
    open: Vec<PathBuf>,
}

impl<'a> Loader<'a> {
    pub fn new(files: &'a dyn Files) -> Loader<'a> {
        Loader {
            files,
            sources: Sources::default(),
            origins: Origins::default(),
            diagnostics: Vec::new(),
            declarations: Declarations::default(),
            open: Vec::new(),
        }
    }

    /// Reads the main file; gives its syntax tree.
    ///
    /// # Errors
    /// When the file cannot be read or is not UTF-8.
    pub fn load_main(&mut self, path: &Path) -> Result<syntax::ast::File, String> {
        let text = self.read(path)?;
        let file = self.sources.add(path.display().to_string(), text);
        self.origins.paths.push(path.to_path_buf());
        let ast = self.parse(file);
        self.declarations.end = Span::new(file, ast.span.end as usize, ast.span.end as usize);
        self.open.push(path.to_path_buf());
        self.collect(&ast, path);
        self.open.pop();
        Ok(ast)
    }

    fn read(&self, path: &Path) -> Result<String, String> {
        let bytes = self.files.read(path).map_err(|error| error.to_string())?;
        let text = std::str::from_utf8(&bytes);
        text.map(str::to_owned).map_err(|error| format!("it is not UTF-8 at byte {}", error.valid_up_to()))
    }

    fn parse(&mut self, file: u16) -> syntax::ast::File {
        let text = self.sources.file(file).text.clone();
        let parsed = syntax::parse(file, &text);
        self.diagnostics.extend(parsed.diagnostics);
        parsed.ast
    }

    fn collect(&mut self, ast: &syntax::ast::File, path: &Path) {
        if let Some((version, span)) = ast.version
            && version != 1.0
        {
            let message = format!("this file is in version {version} of the language, this `nnoptc` reads version 1");
            let diagnostic = Diagnostic::error(VERSION, span, message).label("another version");
            self.diagnostics.push(diagnostic.help("write `nnopt 1`, or update nnoptc"));
        }
        lints::check_names(ast, &mut self.diagnostics);
        self.declarations.asts.push(ast.clone());
        for item in &ast.items {
            self.collect_item(item, path);
        }
    }

    fn collect_item(&mut self, item: &Item, path: &Path) {
        match item {
            Item::Let(setting) => {
                let known = self.declarations.lets.iter().find(|other| other.name.text == setting.name.text);
                match known.map(|other| other.name.span) {
                    Some(first) => self.duplicate(&setting.name, first, "name"),
                    None => self.declarations.lets.push(setting.clone()),
                }
            }
            Item::Block(block) => {
                let known = self.declarations.blocks.iter().find(|other| other.name.text == block.name.text);
                match known.map(|other| other.name.span) {
                    Some(first) => self.duplicate(&block.name, first, "block"),
                    None => self.declarations.blocks.push(block.clone()),
                }
            }
            Item::Include { path: included, span } => self.include(included, *span, path),
            Item::Profile { name, settings, .. } => {
                let known = self.declarations.profiles.iter().find(|(other, _)| other.text == name.text);
                match known.map(|(other, _)| other.span) {
                    Some(first) => self.duplicate(name, first, "profile"),
                    None => self.declarations.profiles.push((name.clone(), settings.clone())),
                }
            }
            Item::Settings { name, settings, .. } => {
                let section = match name.text.as_str() {
                    "data" => &mut self.declarations.data,
                    "train" => &mut self.declarations.train,
                    _ => return self.unknown_section(name),
                };
                if let Some(first) = section.span {
                    return self.duplicate(name, first, "section");
                }
                section.span = Some(name.span);
                let mut kept: Vec<Setting> = Vec::new();
                let mut twice = Vec::new();
                for setting in settings {
                    match kept.iter().find(|other| other.name.text == setting.name.text) {
                        Some(first) => twice.push((setting.name.clone(), first.name.span)),
                        None => kept.push(setting.clone()),
                    }
                }
                section.settings = kept;
                for (name, first) in twice {
                    self.duplicate(&name, first, "setting");
                }
            }
            Item::Stages { name, stages, .. } => {
                let section = match name.text.as_str() {
                    "augment" => &mut self.declarations.augment,
                    "model" => &mut self.declarations.model,
                    _ => return self.unknown_section(name),
                };
                match section {
                    Some(StageSection { span, .. }) => {
                        let first = *span;
                        self.duplicate(name, first, "section");
                    }
                    None => *section = Some(StageSection { span: name.span, stages: stages.clone() }),
                }
            }
            Item::Setting(setting) => {
                let known = self.declarations.settings.iter().find(|other| other.name.text == setting.name.text);
                match known.map(|other| other.name.span) {
                    Some(first) => self.duplicate(&setting.name, first, "setting"),
                    None => self.declarations.settings.push(setting.clone()),
                }
            }
        }
    }

    fn duplicate(&mut self, name: &Name, first: Span, kind: &str) {
        let diagnostic = Diagnostic::error(DUPLICATE, name.span, format!("the {kind} `{}` is given twice", name.text))
            .label("given again here")
            .also(first, "first given here")
            .help("keep one of the two");
        self.diagnostics.push(diagnostic);
    }

    fn unknown_section(&mut self, name: &Name) {
        let known = SETTING_SECTIONS.into_iter().chain(STAGE_SECTIONS);
        let message = format!("there is no section `{}`", name.text);
        let mut diagnostic = Diagnostic::error(UNKNOWN_SECTION, name.span, message).label("not a section");
        diagnostic = match did_you_mean(&name.text, known) {
            Some(close) => {
                self.declarations.misspelt.push(close);
                diagnostic.help(format!("a similar section is `{close}`")).fix(
                    crate::diagnostic::Applicability::Suggested,
                    format!("write `{close}`"),
                    name.span,
                    close,
                )
            }
            None => diagnostic.help("sections are `data`, `augment`, `model` and `train`"),
        };
        self.diagnostics.push(diagnostic);
    }

    fn include(&mut self, included: &str, span: Span, from: &Path) {
        let path = from.parent().unwrap_or(Path::new("")).join(included);
        if self.open.contains(&path) {
            let message = format!("`{included}` includes itself");
            let diagnostic = Diagnostic::error(UNREADABLE, span, message).label("included again here");
            self.diagnostics.push(diagnostic.help("remove this line; move what both files need to a third"));
            return;
        }
        match self.read(&path) {
            Ok(text) => {
                let file = self.sources.add(path.display().to_string(), text);
                self.origins.paths.push(path.clone());
                let ast = self.parse(file);
                self.open.push(path.clone());
                self.collect(&ast, &path);
                self.open.pop();
            }
            Err(reason) => {
                let message = format!("could not read `{}`: {reason}", path.display());
                let help = "paths are relative to the file that includes them";
                self.diagnostics.push(Diagnostic::error(UNREADABLE, span, message).label("included here").help(help));
            }
        }
    }

    /// Applies a profile of the files.
    pub fn apply_profile(&mut self, wanted: &str) {
        let found = self.declarations.profiles.iter().find(|(name, _)| name.text == wanted);
        let Some((_, settings)) = found else {
            let names: Vec<String> =
                self.declarations.profiles.iter().map(|(name, _)| format!("`{}`", name.text)).collect();
            let known = if names.is_empty() { "the file has none".to_owned() } else { names.join(", ") };
            let message = format!("there is no profile `{wanted}`");
            let end = self.declarations.end;
            self.diagnostics.push(Diagnostic::error(UNKNOWN_PATH, end, message).help(format!("profiles: {known}")));
            return;
        };
        for setting in settings.clone() {
            self.override_setting(setting);
        }
    }

    /// Checks that the overrides of every profile name something that exists, so that mistakes show before use.
    pub fn check_profiles(&mut self) {
        for (_, settings) in self.declarations.profiles.clone() {
            for setting in &settings {
                if !self.is_known_path(&setting.name.text) {
                    self.unknown_path(&setting.name);
                }
            }
        }
    }

    /// Applies `path=value` from the command line.
    pub fn apply_set(&mut self, text: &str) {
        let file = self.sources.add("--set", text);
        let (name_text, value_start) = match text.split_once('=') {
            Some((name, _)) => (name.trim(), name.len() + 1),
            None => {
                let span = Span::new(file, 0, text.len());
                let message = format!("`--set {text}` has no `=`");
                let help = "write `--set path=value`, such as `--set optimizer.lr=3e-4`";
                self.diagnostics.push(Diagnostic::error(UNKNOWN_PATH, span, message).help(help));
                return;
            }
        };
        // Blanks keep the offsets of the value right in messages.
        let padded = format!("{}{}", " ".repeat(value_start), &text[value_start..]);
        let (value, diagnostics) = syntax::parse_expression(file, &padded);
        let clean = diagnostics.is_empty();
        self.diagnostics.extend(diagnostics);
        let name = Name { text: name_text.to_owned(), span: Span::new(file, 0, value_start - 1) };
        if clean {
            let span = Span::new(file, 0, text.len());
            self.override_setting(Setting { name, value, span });
        }
    }

    fn is_known_path(&self, path: &str) -> bool {
        let declarations = &self.declarations;
        match path.split_once('.') {
            Some((section, _)) if SETTING_SECTIONS.contains(&section) => true,
            Some((setting, _)) => TOP_SETTINGS.contains(&setting),
            None => TOP_SETTINGS.contains(&path) || declarations.lets.iter().any(|other| other.name.text == path),
        }
    }

    fn unknown_path(&mut self, name: &Name) {
        let message = format!("nothing is set by `{}`", name.text);
        let first = name.text.split('.').next().unwrap_or("");
        let known = SETTING_SECTIONS.into_iter().chain(TOP_SETTINGS);
        let help = match did_you_mean(first, known) {
            Some(close) => format!("a similar name is `{close}`"),
            None => "paths begin with `data`, `train`, `loss`, `regularization`, `optimizer`, `schedule`, `metrics`, \
                     or are the name of a `let`"
                .to_owned(),
        };
        self.diagnostics.push(Diagnostic::error(UNKNOWN_PATH, name.span, message).label("unknown path").help(help));
    }

    fn override_setting(&mut self, setting: Setting) {
        if !self.is_known_path(&setting.name.text) {
            return self.unknown_path(&setting.name);
        }
        let path = setting.name.text.clone();
        let declarations = &mut self.declarations;
        match path.split_once('.') {
            None => {
                let list = if TOP_SETTINGS.contains(&path.as_str()) {
                    &mut declarations.settings
                } else {
                    &mut declarations.lets
                };
                put(list, setting);
            }
            Some((section @ ("data" | "train"), rest)) => {
                let list = match section {
                    "data" => &mut declarations.data.settings,
                    _ => &mut declarations.train.settings,
                };
                put_at(list, rest, setting);
            }
            Some(_) => put_at(&mut declarations.settings, &path, setting),
        }
    }
}

/// Sets `setting.value` at a path whose first part is a setting of the list and whose rest are arguments of its call.
fn put_at(list: &mut Vec<Setting>, path: &str, setting: Setting) {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let name = Name { text: first.to_owned(), span: setting.name.span };
    match rest {
        None => put(list, Setting { name, ..setting }),
        Some(rest) => {
            if let Some(found) = list.iter_mut().find(|other| other.name.text == first) {
                put_argument(&mut found.value, rest, &setting);
            } else {
                // There is no call to change: the error of the missing setting says enough.
                put(list, Setting { name, ..setting });
            }
        }
    }
}

fn put(list: &mut Vec<Setting>, setting: Setting) {
    match list.iter_mut().find(|other| other.name.text == setting.name.text) {
        Some(found) => *found = setting,
        None => list.push(setting),
    }
}

fn put_argument(value: &mut Expr, path: &str, setting: &Setting) {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    if let ExprKind::Word(word) = &value.kind {
        let name = Name { text: word.clone(), span: value.span };
        value.kind = ExprKind::Call(Call { name, args: Vec::new(), span: value.span });
    }
    let ExprKind::Call(call) = &mut value.kind else { return };
    let found = call.args.iter_mut().find(|arg| arg.name.as_ref().is_some_and(|name| name.text == first));
    match (found, rest) {
        (Some(arg), Some(rest)) => put_argument(&mut arg.value, rest, setting),
        (Some(arg), None) => {
            arg.value = setting.value.clone();
        }
        (None, _) => {
            let name = Some(Name { text: first.to_owned(), span: setting.name.span });
            call.args.push(Arg { name, value: setting.value.clone(), span: setting.span });
        }
    }
}
