//! The `data` section: sources by their headers, splits by their counts, normalization.

use std::path::Path;

use super::Headers;
use super::program::{Data, Normalize, Part, ResolvedSetting, SourceData, Split};
use super::scope::Scope;
use super::settings::Section;
use super::{Code, Diagnostic};
use crate::diagnostic::did_you_mean;
use crate::formats::dataset::TargetHeader;
use crate::item;
use crate::library::{self, TargetType};
use crate::schema::{
    FromArg, Given, GivenKind, Mismatch, Origin, Positive, Real, Schema, Word, make_from_table, unknown_item,
};
use crate::source::Span;
use crate::syntax::ast::{Setting, Unit};
use crate::words;

const DATA: Code = Code("E0401");
const SPLIT: Code = Code("E0402");
const DIFFERENT: Code = Code("E0407");
const MISSING: Code = Code("E0209");
const UNKNOWN_SETTING: Code = Code("E0203");
const WRONG: Code = Code("E0207");

/// The names of splits, in the order in which they are reported.
pub const SPLITS: [&str; 3] = ["train", "val", "test"];

words! {
    /// How the rows of a split are drawn.
    pub enum Draw {
        /// All rows have the same chance.
        Random = "random",
        /// Every class gives its share.
        Stratified = "stratified",
    }
}

/// The size of a split: a share of the source or a number of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    share: Option<f64>,
    rows: usize,
}

impl FromArg for Size {
    fn expected() -> String {
        "a share such as `10%`, or a number of rows".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        match given.kind {
            GivenKind::Number { value, unit: Some(Unit::Percent), .. } if value > 0.0 && value < 100.0 => {
                Ok(Size { share: Some(value / 100.0), rows: 0 })
            }
            GivenKind::Number { value, unit: None, integer: false } if value > 0.0 && value < 1.0 => {
                Ok(Size { share: Some(value), rows: 0 })
            }
            GivenKind::Number { value, unit: None, integer: true } if (1.0..4e9).contains(&value) => {
                Ok(Size { share: None, rows: value as usize })
            }
            _ => Err(Mismatch::unfit()),
        }
    }

    fn show(&self) -> String {
        self.share.map_or_else(|| self.rows.to_string(), |share| format!("{}%", (share * 1e12).round() / 1e10))
    }
}

item! {
    /// Takes rows of another split, drawn at random; the other split keeps the rest.
    ///
    /// Shares are of the whole source, also when several splits are taken from it.
    ///
    /// ```nnopt
    /// split(train, 10%, stratified)
    /// ```
    "split" => pub struct SplitItem: Section {
        /// The split that gives the rows.
        from: Word,
        /// How much of it.
        size: Size,
        /// How the rows are drawn.
        draw: Draw = Draw::Random,
    }
}

/// One number, or one for each channel or feature.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers<T>(pub Vec<T>);

impl<T: FromArg> FromArg for Numbers<T> {
    fn expected() -> String {
        format!("{}, or a list with one for each channel", T::expected())
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        match &given.kind {
            GivenKind::List(_) => Vec::<T>::from_arg(given).map(Numbers),
            _ => T::from_arg(given).map(|one| Numbers(vec![one])),
        }
    }

    fn show(&self) -> String {
        if let [one] = &self.0[..] { one.show() } else { self.0.show() }
    }
}

item! {
    /// Normalizes by given figures: `(x − mean) / std`; bytes are shares of 255 before that.
    ///
    /// ```nnopt
    /// given(mean = 0.1307, std = 0.3081)
    /// ```
    "given" => pub struct GivenItem: Section {
        /// The mean of each channel, or one for all.
        mean: Numbers<Real>,
        /// The standard deviation of each channel, or one for all.
        std: Numbers<Positive>,
    }
}

const SPLIT_TABLE: &[&Schema<dyn Section>] = &[&SplitItem::SCHEMA];
const NORMALIZE_TABLE: &[&Schema<dyn Section>] = &[&GivenItem::SCHEMA];

/// Checks the `data` section.
pub(super) struct DataChecker<'a, 'b> {
    pub headers: &'b dyn Headers,
    pub base: &'b Path,
    pub scope: &'b mut Scope<'a>,
    pub diagnostics: &'b mut Vec<Diagnostic>,
    pub resolved: &'b mut Vec<ResolvedSetting>,
}

impl DataChecker<'_, '_> {
    /// The data, if all of it could be understood.
    pub fn check(&mut self, settings: &[Setting], section: Span) -> Option<Data> {
        let before = self.diagnostics.len();
        for setting in settings {
            let known = SPLITS.into_iter().chain(["normalize"]);
            if known.clone().all(|name| name != setting.name.text) {
                self.unknown_setting(setting, known);
            }
        }
        let mut sources = Vec::new();
        let mut takes = Vec::new();
        let mut incomplete = false;
        for setting in settings.iter().filter(|setting| SPLITS.contains(&setting.name.text.as_str())) {
            match self.split_setting(setting) {
                Some(Declared::Source(source)) => sources.push((*source, setting)),
                Some(Declared::Split(item, span)) => takes.push((item, span, setting)),
                None => incomplete = true,
            }
        }
        if !incomplete && sources.iter().all(|(source, _)| source.name != "train") {
            let message = "`data` has no source for `train`";
            let help = "write `train = csv(\"file.csv\", target = label)` or another source";
            self.diagnostics.push(Diagnostic::error(MISSING, section, message).label("`train` is missing").help(help));
            incomplete = true;
        }
        let normalize = self.normalize(settings, section);
        if incomplete || self.diagnostics.len() > before {
            return None;
        }
        sources.sort_by_key(|(source, _)| SPLITS.iter().position(|name| *name == source.name));
        self.agree(&sources);
        let splits = self.splits(&sources, &takes)?;
        let (normalize, normalize_span) = normalize?;
        let first = &sources[0].0.header;
        let (targets, class_names) = match &first.target {
            TargetHeader::Classes { names } => (TargetType::Classes(names.len()), names.clone()),
            TargetHeader::Values { width, .. } => (TargetType::Values(*width), Vec::new()),
        };
        let sample_shape = first.sample_shape.clone();
        if let Normalize::Given { mean, std } = &normalize {
            for (name, numbers) in [("mean", mean), ("std", std)] {
                let channels = sample_shape.first().copied().unwrap_or(1);
                if numbers.len() != 1 && numbers.len() != channels {
                    let message = format!("`{name}` has {} numbers, the data has {channels} channels", numbers.len());
                    self.diagnostics.push(Diagnostic::error(WRONG, normalize_span, message));
                }
            }
        }
        if self.diagnostics.len() > before {
            return None;
        }
        let sources = sources.into_iter().map(|(source, _)| source).collect();
        Some(Data { sources, splits, targets, class_names, sample_shape, normalize, normalize_span })
    }

    fn unknown_setting(&mut self, setting: &Setting, known: impl Iterator<Item = &'static str>) {
        let message = format!("`data` has no setting `{}`", setting.name.text);
        let mut diagnostic = Diagnostic::error(UNKNOWN_SETTING, setting.name.span, message).label("not known here");
        diagnostic = match did_you_mean(&setting.name.text, known) {
            Some(close) => diagnostic.help(format!("a similar setting is `{close}`")).fix(
                crate::diagnostic::Applicability::Suggested,
                format!("write `{close}`"),
                setting.name.span,
                close,
            ),
            None => diagnostic.help("it has `train`, `val`, `test`, `normalize`"),
        };
        self.diagnostics.push(diagnostic);
    }

    fn split_setting(&mut self, setting: &Setting) -> Option<Declared> {
        let given = self.scope.evaluate(&setting.value, self.diagnostics)?;
        let Some(call) = given.as_call() else {
            let message = format!("`{}` is a source or a split, found `{}`", setting.name.text, given.show());
            let help = "write a source such as `csv(\"file.csv\", target = label)`";
            self.diagnostics.push(Diagnostic::error(WRONG, given.span, message).help(help));
            return None;
        };
        if call.name.text == "split" {
            let made = make_from_table(&call, "split", SPLIT_TABLE, self.diagnostics)?;
            self.resolve(setting, made.show());
            let item = (*made.item).as_any().downcast_ref::<SplitItem>()?.clone();
            return Some(Declared::Split(item, call.span));
        }
        let Some(schema) = library::sources::ALL.iter().find(|schema| schema.name == call.name.text) else {
            self.diagnostics.push(unknown_item(&call.name, "source", library::sources::ALL, &["split"]));
            return None;
        };
        let source = schema.make(&call, "argument", self.diagnostics)?;
        self.resolve(setting, source.show());
        match self.headers.header(&source, self.base)? {
            Ok(header) => Some(Declared::Source(Box::new(SourceData {
                name: setting.name.text.clone(),
                base: self.base.to_path_buf(),
                source,
                header,
            }))),
            Err(error) => {
                let diagnostic = Diagnostic::error(DATA, call.span, error.message).label("read from here");
                self.diagnostics.push(error.help.into_iter().fold(diagnostic, Diagnostic::help));
                None
            }
        }
    }

    fn resolve(&mut self, setting: &Setting, value: String) {
        self.resolved.push(ResolvedSetting {
            section: "data",
            name: setting.name.text.clone(),
            value,
            origin: Origin::Given(setting.value.span),
        });
    }

    fn normalize(&mut self, settings: &[Setting], section: Span) -> Option<(Normalize, Span)> {
        let Some(setting) = settings.iter().find(|setting| setting.name.text == "normalize") else {
            self.resolved.push(ResolvedSetting {
                section: "data",
                name: "normalize".to_owned(),
                value: "none".to_owned(),
                origin: Origin::Default,
            });
            return Some((Normalize::None, section));
        };
        let given = self.scope.evaluate(&setting.value, self.diagnostics)?;
        let normalize = match &given.kind {
            GivenKind::Word(word) if word == "auto" => Normalize::Auto,
            GivenKind::Word(word) if word == "none" => Normalize::None,
            GivenKind::Call(call) => {
                let made = make_from_table(call, "normalization", NORMALIZE_TABLE, self.diagnostics)?;
                let item = (*made.item).as_any().downcast_ref::<GivenItem>()?;
                Normalize::Given {
                    mean: item.mean.0.iter().map(|number| number.0).collect(),
                    std: item.std.0.iter().map(|number| number.0).collect(),
                }
            }
            _ => {
                let message =
                    format!("`normalize` is `auto`, `none` or `given(mean = …, std = …)`, found `{}`", given.show());
                self.diagnostics.push(Diagnostic::error(WRONG, given.span, message));
                return None;
            }
        };
        let value = match &given.kind {
            GivenKind::Call(_) => match &normalize {
                Normalize::Given { mean, std } => format!("given(mean = {mean:?}, std = {std:?})"),
                _ => unreachable!("a call is `given`"),
            },
            _ => given.show(),
        };
        self.resolve(setting, value);
        Some((normalize, setting.value.span))
    }

    /// All sources hold the same kind of samples and targets as `train`.
    fn agree(&mut self, sources: &[(SourceData, &Setting)]) {
        let (first, first_setting) = &sources[0];
        for (other, setting) in &sources[1..] {
            let what = if other.header.sample_shape != first.header.sample_shape {
                let (a, b) = (&other.header.sample_shape, &first.header.sample_shape);
                Some(format!("samples of `{}` have the shape {a:?}, those of `{}` {b:?}", other.name, first.name))
            } else {
                match (&other.header.target, &first.header.target) {
                    (TargetHeader::Classes { names }, TargetHeader::Classes { names: known }) => {
                        names.iter().find(|name| !known.contains(name)).map(|name| {
                            format!("`{}` has the class `{name}`, which `{}` does not", other.name, first.name)
                        })
                    }
                    (TargetHeader::Values { width, .. }, TargetHeader::Values { width: known, .. }) => (width != known)
                        .then(|| format!("`{}` has {width} targets, `{}` has {known}", other.name, first.name)),
                    _ => Some(format!("`{}` and `{}` have targets of different kinds", other.name, first.name)),
                }
            };
            if let Some(message) = what {
                let diagnostic = Diagnostic::error(DIFFERENT, setting.value.span, message)
                    .label("differs")
                    .also(first_setting.value.span, format!("`{}` is read here", first.name))
                    .help("all splits have samples of one shape and targets of one kind: correct the path or the arguments");
                self.diagnostics.push(diagnostic);
            }
        }
    }

    fn splits(
        &mut self,
        sources: &[(SourceData, &Setting)],
        takes: &[(SplitItem, Span, &Setting)],
    ) -> Option<Vec<Split>> {
        let mut splits: Vec<Split> = sources
            .iter()
            .enumerate()
            .map(|(index, (source, setting))| Split {
                name: source.name.clone(),
                source: index,
                part: Part::Rest,
                rows: source.header.rows,
                span: setting.value.span,
            })
            .collect();
        for (item, span, setting) in takes {
            let Some(from) = splits.iter().position(|split| split.name == item.from.0 && split.part == Part::Rest)
            else {
                let message = format!("there is no split `{}` with a source of its own to take rows from", item.from.0);
                self.diagnostics.push(Diagnostic::error(SPLIT, *span, message).label("takes rows here"));
                continue;
            };
            let source = splits[from].source;
            let total = sources[source].0.header.rows;
            let rows = item.size.share.map_or(item.size.rows, |share| (share * total as f64).round() as usize);
            let stratified = item.draw == Draw::Stratified;
            if stratified && !matches!(sources[source].0.header.target, TargetHeader::Classes { .. }) {
                let message = "`stratified` is for classes, found numbers as targets";
                self.diagnostics.push(Diagnostic::error(SPLIT, *span, message).help("leave it out"));
                continue;
            }
            let left = splits[from].rows;
            if rows == 0 || rows >= left {
                let what = if rows == 0 {
                    format!("`{}` would be empty: {} of {total} rows", setting.name.text, item.size.show())
                } else {
                    format!("`{}` takes {rows} rows of `{}`, which has {left}", setting.name.text, item.from.0)
                };
                let diagnostic = Diagnostic::error(SPLIT, *span, what)
                    .label("takes rows here")
                    .also(splits[from].span, format!("`{}` has {left} rows", item.from.0))
                    .help("both parts of a split need at least one row");
                self.diagnostics.push(diagnostic);
                continue;
            }
            splits[from].rows -= rows;
            let part = Part::Taken { stratified };
            splits.push(Split { name: setting.name.text.clone(), source, part, rows, span: *span });
        }
        Some(splits)
    }
}

/// What a setting of the section declares.
enum Declared {
    Source(Box<SourceData>),
    Split(SplitItem, Span),
}
