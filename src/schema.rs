//! How items of the language are declared: parameters with types, defaults and documentation, and the `item!` macro.

use crate::diagnostic::{Applicability, Code, Diagnostic, did_you_mean};
use crate::source::Span;
use crate::syntax::ast::{Name, Unit};

mod types;

pub use types::{
    AtLeastOne, Auto, Betas, Border, Count, Duration, NonNegative, Padding, Pair, Period, Positive, Probability, Real,
    Share, Shares, Spread, Stride, SymmetricSpread, Word, quote,
};

/// A value given in the source, with names and arithmetic resolved.
#[derive(Clone, Debug)]
pub struct Given {
    /// What it is.
    pub kind: GivenKind,
    /// Where it stands.
    pub span: Span,
}

/// What a given value is.
#[derive(Clone, Debug)]
pub enum GivenKind {
    /// `3`, `10%` (as 10), `5 epochs`
    Number {
        /// As written; bytes and seconds are scaled.
        value: f64,
        /// Written without point and exponent, or computed from such.
        integer: bool,
        /// Its unit.
        unit: Option<Unit>,
    },
    /// `"text"`
    Text(String),
    /// `auto`, `none`, `true`, `val.accuracy`
    Word(String),
    /// `0.35..1`
    Range(f64, f64),
    /// `[0, 2]`
    List(Vec<Given>),
    /// `patience(3 epochs)`; a bare word is [`GivenKind::Word`] and serves as a call without arguments.
    Call(GivenCall),
    /// An argument that could not be read or has no value, which has been reported; it fits everything, so that the
    /// rest of its call is still checked.
    Unknown,
}

/// A call with its arguments resolved.
#[derive(Clone, Debug)]
pub struct GivenCall {
    /// What is called.
    pub name: Name,
    /// Names (if given) and values, in order.
    pub args: Vec<(Option<Name>, Given)>,
    /// The whole call.
    pub span: Span,
}

impl Given {
    /// How it reads in a message.
    pub fn show(&self) -> String {
        match &self.kind {
            GivenKind::Number { value, unit, integer } => match unit {
                // With its point: that is what is wrong where a count is expected.
                None if !integer => format!("{value:?}"),
                None => format!("{value}"),
                Some(Unit::Percent) => format!("{value}%"),
                Some(Unit::Epochs) => plural(*value, "epoch"),
                Some(Unit::Steps) => plural(*value, "step"),
                Some(Unit::Bytes) => format!("{value} B"),
                Some(Unit::Seconds) => format!("{value} s"),
            },
            GivenKind::Text(text) => format!("{text:?}"),
            GivenKind::Word(word) => word.clone(),
            GivenKind::Range(low, high) => format!("{low}..{high}"),
            GivenKind::List(items) => {
                format!("[{}]", items.iter().map(Given::show).collect::<Vec<_>>().join(", "))
            }
            GivenKind::Call(call) => format!("{}(…)", call.name.text),
            GivenKind::Unknown => "…".to_owned(),
        }
    }

    /// The value as a call: a word is a call without arguments.
    pub fn as_call(&self) -> Option<GivenCall> {
        match &self.kind {
            GivenKind::Call(call) => Some(call.clone()),
            GivenKind::Word(word) => {
                let name = Name { text: word.clone(), span: self.span };
                Some(GivenCall { name, args: Vec::new(), span: self.span })
            }
            _ => None,
        }
    }
}

fn plural(value: f64, unit: &str) -> String {
    format!("{value} {unit}{}", if value == 1.0 { "" } else { "s" })
}

/// Why a value does not fit a parameter.
#[derive(Clone, Debug)]
pub enum Mismatch {
    /// It is not what [`FromArg::expected`] says, with an optional word of help and a replacement that would fit.
    Unfit {
        /// What to do, if more can be said than what was expected.
        help: Option<String>,
        /// What could be written instead.
        replacement: Option<String>,
    },
    /// The value is a call or a list whose own parts are wrong.
    Inside(Vec<Diagnostic>),
}

impl Mismatch {
    /// A mismatch without advice.
    pub fn unfit() -> Mismatch {
        Mismatch::Unfit { help: None, replacement: None }
    }

    /// A mismatch with advice.
    pub fn with_help(help: impl Into<String>) -> Mismatch {
        Mismatch::Unfit { help: Some(help.into()), replacement: None }
    }
}

/// A type that a parameter can have.
pub trait FromArg: Sized {
    /// What fits, with its article: "a count", "a share between 0 and 1, such as `0.5` or `10%`".
    fn expected() -> String;

    /// Reads a given value.
    fn from_arg(given: &Given) -> Result<Self, Mismatch>;

    /// Writes the value as source text that reads back as itself.
    fn show(&self) -> String;

    /// Bare words that fit, for completion and for did-you-mean.
    fn words() -> Vec<&'static str> {
        Vec::new()
    }
}

/// A parameter of an item.
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// Its documentation.
    pub docs: &'static str,
    /// What fits.
    pub expected: fn() -> String,
    /// Bare words that fit.
    pub words: fn() -> Vec<&'static str>,
    /// Its default as source text; `None` where a value must be given.
    pub default: Option<fn() -> String>,
}

/// Where a resolved value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Written in the source (or on the command line) here.
    Given(Span),
    /// The item's default.
    Default,
    /// Found out from the data or the machine.
    Inferred,
}

/// A parameter's value in the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The parameter.
    pub name: &'static str,
    /// The value as source text.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// An item made from a call.
pub struct Made<T: ?Sized> {
    /// The item's name.
    pub name: &'static str,
    /// The item.
    pub item: Box<T>,
    /// The call, or where the item would have been written if it is a default.
    pub span: Span,
    /// Every parameter with its value.
    pub values: Vec<Resolved>,
}

impl<T: ?Sized> Made<T> {
    /// The call as source text with every parameter named.
    pub fn show(&self) -> String {
        if self.values.is_empty() {
            return self.name.to_owned();
        }
        let args: Vec<String> = self.values.iter().map(|value| format!("{} = {}", value.name, value.value)).collect();
        format!("{}({})", self.name, args.join(", "))
    }

    /// The span of a parameter's value, or of the whole call where it is a default.
    pub fn span_of(&self, param: &str) -> Span {
        let found = self.values.iter().find(|value| value.name == param);
        match found.map(|value| value.origin) {
            Some(Origin::Given(span)) => span,
            _ => self.span,
        }
    }
}

/// An item of the language as the table knows it.
pub struct Schema<T: ?Sized + 'static> {
    /// Its name.
    pub name: &'static str,
    /// What it is called elsewhere.
    pub synonyms: &'static [&'static str],
    /// Its documentation: the first line stands alone.
    pub docs: &'static str,
    /// Its parameters in positional order.
    pub params: &'static [Param],
    /// Makes the item from arguments that have been matched to the parameters.
    pub make: fn(&mut Arguments) -> Option<Box<T>>,
}

/// The arguments of one call, matched to the parameters of its item.
pub struct Arguments<'a> {
    item: &'static str,
    kind: &'static str,
    params: &'static [Param],
    slots: Vec<Option<Given>>,
    next: usize,
    span: Span,
    values: Vec<Resolved>,
    /// Parameters that a misspelt name probably meant; that they are missing goes without saying.
    misspelt: Vec<&'static str>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

/// What other programs call parameters, and what they are called here.
const SYNONYMS: [(&str, &str); 16] = [
    ("learning_rate", "lr"),
    ("out_features", "units"),
    ("out_channels", "filters"),
    ("out", "units"),
    ("out", "filters"),
    ("kernel_size", "kernel"),
    ("pool_size", "size"),
    ("p", "rate"),
    ("probability", "rate"),
    ("use_bias", "bias"),
    ("batch_size", "batch"),
    ("n_epochs", "epochs"),
    ("num_epochs", "epochs"),
    ("random_state", "seed"),
    ("step_size", "every"),
    ("l2", "weight_decay"),
];

/// Sizes of inputs as other programs want them.
const INFERRED: [&str; 8] =
    ["in", "in_features", "in_channels", "input_shape", "input_dim", "input_size", "num_features", "normalized_shape"];

const UNKNOWN_ARGUMENT: Code = Code("E0203");
const DUPLICATE_ARGUMENT: Code = Code("E0204");
const TOO_MANY_ARGUMENTS: Code = Code("E0205");
const MISSING_ARGUMENT: Code = Code("E0206");
const WRONG_ARGUMENT: Code = Code("E0207");

impl<T: ?Sized + 'static> Schema<T> {
    /// Makes the item from a call; every mistake is reported, and any mistake gives `None`.
    ///
    /// `kind` is what parameters are called in messages: "argument" of a call, "setting" of a section.
    pub fn make(&self, call: &GivenCall, kind: &'static str, diagnostics: &mut Vec<Diagnostic>) -> Option<Made<T>> {
        let before = diagnostics.len();
        let mut arguments = Arguments {
            item: self.name,
            kind,
            params: self.params,
            slots: vec![None; self.params.len()],
            next: 0,
            span: call.name.span,
            values: Vec::new(),
            misspelt: Vec::new(),
            diagnostics,
        };
        arguments.match_all(call);
        let item = (self.make)(&mut arguments);
        let values = std::mem::take(&mut arguments.values);
        if diagnostics.len() > before {
            return None;
        }
        Some(Made { name: self.name, item: item?, span: call.span, values })
    }
}

impl Arguments<'_> {
    fn match_all(&mut self, call: &GivenCall) {
        let mut position = 0;
        let mut spans: Vec<Option<Span>> = vec![None; self.params.len()];
        for (name, given) in &call.args {
            let slot = match name {
                Some(name) => match self.params.iter().position(|param| param.name == name.text) {
                    Some(slot) => slot,
                    None => {
                        self.report_unknown(name);
                        continue;
                    }
                },
                None if position < self.params.len() => {
                    position += 1;
                    position - 1
                }
                None => {
                    let takes = match self.params.len() {
                        0 => "no arguments".to_owned(),
                        1 => "one argument".to_owned(),
                        n => format!("at most {n} arguments"),
                    };
                    let message = format!("`{}` takes {takes}", self.item);
                    let diagnostic = Diagnostic::error(TOO_MANY_ARGUMENTS, given.span, message).label("one too many");
                    self.diagnostics.push(diagnostic);
                    continue;
                }
            };
            if let Some(first) = spans[slot] {
                let message = format!("`{}` of `{}` is given twice", self.params[slot].name, self.item);
                let span = name.as_ref().map_or(given.span, |name| name.span);
                let diagnostic = Diagnostic::error(DUPLICATE_ARGUMENT, span, message)
                    .label("given again here")
                    .also(first, "first given here")
                    .help("keep one of the two");
                self.diagnostics.push(diagnostic);
                continue;
            }
            spans[slot] = Some(given.span);
            self.slots[slot] = Some(given.clone());
        }
    }

    fn report_unknown(&mut self, name: &Name) {
        let names: Vec<&'static str> = self.params.iter().map(|param| param.name).collect();
        let message = format!("`{}` has no {} `{}`", self.item, self.kind, name.text);
        let mut diagnostic = Diagnostic::error(UNKNOWN_ARGUMENT, name.span, message).label("not known here");
        let synonym = SYNONYMS.iter().find(|(other, own)| *other == name.text && names.contains(own));
        if INFERRED.contains(&name.text.as_str()) {
            diagnostic = diagnostic.help("sizes of inputs are inferred: leave it out");
        } else if let Some(close) =
            synonym.map(|(_, own)| *own).or_else(|| did_you_mean(&name.text, names.iter().copied()))
        {
            self.misspelt.push(close);
            let help = match synonym {
                Some(_) => format!("here it is called `{close}`"),
                None => format!("a similar {} is `{close}`", self.kind),
            };
            diagnostic =
                diagnostic.help(help).fix(Applicability::Suggested, format!("write `{close}`"), name.span, close);
        } else if names.is_empty() {
            diagnostic = diagnostic.help(format!("`{}` takes no {}s", self.item, self.kind));
        } else {
            diagnostic = diagnostic.help(format!("it has `{}`", names.join("`, `")));
        }
        self.diagnostics.push(diagnostic);
    }

    /// Reads the next parameter, in the order of declaration. Called by the code that `item!` writes.
    pub fn take<T: FromArg>(&mut self, default: Option<T>) -> Option<T> {
        let index = self.next;
        self.next += 1;
        let param = &self.params[index];
        let Some(given) = self.slots[index].take() else {
            let Some(value) = default else {
                if self.misspelt.contains(&param.name) {
                    return None;
                }
                let message = format!("`{}` needs its {} `{}`", self.item, self.kind, param.name);
                let diagnostic = Diagnostic::error(MISSING_ARGUMENT, self.span, message)
                    .label(format!("`{}` is missing", param.name))
                    .help(format!("`{}` is {}", param.name, T::expected()));
                self.diagnostics.push(diagnostic);
                return None;
            };
            self.values.push(Resolved { name: param.name, value: value.show(), origin: Origin::Default });
            return Some(value);
        };
        if matches!(given.kind, GivenKind::Unknown) {
            return None;
        }
        match T::from_arg(&given) {
            Ok(value) => {
                self.values.push(Resolved { name: param.name, value: value.show(), origin: Origin::Given(given.span) });
                Some(value)
            }
            Err(Mismatch::Inside(diagnostics)) => {
                self.diagnostics.extend(diagnostics);
                None
            }
            Err(Mismatch::Unfit { help, replacement }) => {
                let message =
                    format!("`{}` of `{}` is {}, found `{}`", param.name, self.item, T::expected(), given.show());
                let mut diagnostic = Diagnostic::error(WRONG_ARGUMENT, given.span, message);
                let close = match &given.kind {
                    GivenKind::Word(word) => did_you_mean(word, T::words()).map(str::to_owned),
                    _ => None,
                };
                if let Some(text) = replacement.or(close) {
                    diagnostic = diagnostic.help(format!("write `{text}`")).fix(
                        Applicability::Suggested,
                        format!("write `{text}`"),
                        given.span,
                        text,
                    );
                }
                if let Some(help) = help {
                    diagnostic = diagnostic.help(help);
                }
                self.diagnostics.push(diagnostic.label(format!("not {}", T::expected())));
                None
            }
        }
    }
}

/// A value that is an item made by a call: `patience(3 epochs)` for a parameter of an item kind.
///
/// # Errors
/// An unknown name or wrong arguments, as diagnostics.
pub fn make_nested<T: ?Sized>(given: &Given, kind: &str, table: &[&'static Schema<T>]) -> Result<Made<T>, Mismatch> {
    let Some(call) = given.as_call() else { return Err(Mismatch::unfit()) };
    let mut diagnostics = Vec::new();
    let made = make_from_table(&call, kind, table, &mut diagnostics);
    made.ok_or(Mismatch::Inside(diagnostics))
}

const UNKNOWN_ITEM: Code = Code("E0202");

/// Makes the item of a table that a call names.
pub fn make_from_table<T: ?Sized>(
    call: &GivenCall,
    kind: &str,
    table: &[&'static Schema<T>],
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Made<T>> {
    match table.iter().find(|schema| schema.name == call.name.text) {
        Some(schema) => schema.make(call, "argument", diagnostics),
        None => {
            diagnostics.push(unknown_item(&call.name, kind, table, &[]));
            None
        }
    }
}

/// The diagnostic for a name that a table does not have.
/// An unknown name; `others` are known beside the table's.
pub fn unknown_item<T: ?Sized>(name: &Name, kind: &str, table: &[&'static Schema<T>], others: &[&str]) -> Diagnostic {
    let article = article(kind);
    let message = format!("`{}` is not {article} {kind}", name.text);
    let diagnostic = Diagnostic::error(UNKNOWN_ITEM, name.span, message).label(format!("unknown {kind}"));
    let names = table.iter().map(|schema| schema.name).chain(others.iter().copied());
    // `Conv2D`, `conv_2d` and `conv2d` are one name to those who write them.
    let plain = |name: &str| name.replace('_', "").to_lowercase();
    let means = |schema: &&&Schema<T>| {
        plain(schema.name) == plain(&name.text) || schema.synonyms.iter().any(|other| plain(other) == plain(&name.text))
    };
    let synonym = table.iter().find(means).map(|schema| schema.name);
    match synonym.or_else(|| did_you_mean(&name.text, names.clone())) {
        Some(close) => diagnostic
            .help(match synonym {
                Some(_) => format!("here it is called `{close}`"),
                None => format!("{article} {kind} with a similar name is `{close}`"),
            })
            .fix(Applicability::Suggested, format!("write `{close}`"), name.span, close),
        None => {
            let all: Vec<String> = names.map(|name| format!("`{name}`")).collect();
            diagnostic.help(format!("known are {}", all.join(", ")))
        }
    }
}

/// `a` or `an`
pub fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// Declares an item: its documented struct and, as `SCHEMA`, its entry for the table.
///
/// ```text
/// item! {
///     /// Multiplies the last axis by a learned matrix.
///     "linear" => pub struct Linear: Layer {
///         /// Number of output features.
///         units: Count,
///         /// Whether to add a learned offset.
///         bias: bool = true,
///     }
/// }
/// ```
///
/// `"linear" aka "dense"` also gives names that other programs have for it, for those who come from there.
#[macro_export]
macro_rules! item {
    (
        $(#[doc = $docs:literal])+
        $name:literal $(aka $($synonym:literal),+)? => pub struct $type:ident: $trait:path {
            $( $(#[doc = $field_docs:literal])+ $field:ident: $field_type:ty $(= $default:expr)? ),* $(,)?
        }
    ) => {
        $(#[doc = $docs])+
        #[derive(Clone, Debug)]
        pub struct $type {
            $( $(#[doc = $field_docs])+ pub $field: $field_type, )*
        }

        impl $type {
            /// The entry for the table.
            pub const SCHEMA: $crate::schema::Schema<dyn $trait> = $crate::schema::Schema {
                name: $name,
                synonyms: &[$($($synonym),+)?],
                docs: concat!($($docs, "\n"),+),
                params: &[
                    $( $crate::schema::Param {
                        name: stringify!($field),
                        docs: concat!($($field_docs, "\n"),+),
                        expected: <$field_type as $crate::schema::FromArg>::expected,
                        words: <$field_type as $crate::schema::FromArg>::words,
                        default: $crate::item!(@default $field_type $(, $default)?),
                    }, )*
                ],
                make: |_arguments| {
                    $( let $field = _arguments.take::<$field_type>($crate::item!(@value $($default)?)); )*
                    Some(Box::new($type { $( $field: $field?, )* }))
                },
            };
        }
    };
    (@default $type:ty) => { None };
    (@default $type:ty, $default:expr) => {
        Some(|| { let value: $type = $default; $crate::schema::FromArg::show(&value) })
    };
    (@value) => { None };
    (@value $default:expr) => { Some($default) };
}
