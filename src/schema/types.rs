//! The types that parameters have: each reads, checks and shows its own values.

use super::{FromArg, Given, GivenKind, Mismatch};
use crate::syntax::ast::{ExprKind, Unit};
use crate::syntax::parse_expression;

/// Text in quotes, as the language reads it back.
pub fn quote(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            // Rust writes this one as `\0`, which is no escape here.
            '\0' => quoted.push_str("\\u{0}"),
            '\'' => quoted.push(c),
            _ => quoted.extend(c.escape_debug()),
        }
    }
    quoted.push('"');
    quoted
}

fn plain_number(given: &Given) -> Option<f64> {
    match given.kind {
        GivenKind::Number { value, unit: None, .. } => Some(value),
        _ => None,
    }
}

fn ranged(given: &Given, fits: impl Fn(f64) -> bool) -> Result<f64, Mismatch> {
    match plain_number(given) {
        Some(value) if value.is_finite() && fits(value) => Ok(value),
        _ => Err(Mismatch::unfit()),
    }
}

/// How a number reads in source text.
pub(super) fn show_number(value: f64) -> String {
    let magnitude = value.abs();
    if value != 0.0 && !(1e-3..1e7).contains(&magnitude) { format!("{value:e}") } else { format!("{value}") }
}

macro_rules! number_type {
    ($(#[$docs:meta])+ $name:ident, $expected:literal, $fits:expr) => {
        $(#[$docs])+
        #[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
        pub struct $name(pub f64);

        impl FromArg for $name {
            fn expected() -> String {
                $expected.to_owned()
            }

            fn from_arg(given: &Given) -> Result<Self, Mismatch> {
                ranged(given, $fits).map($name)
            }

            fn show(&self) -> String {
                show_number(self.0)
            }
        }
    };
}

number_type!(
    /// Any number.
    Real, "a number", |_| true
);
number_type!(
    /// A number above 0.
    Positive, "a number above 0", |value| value > 0.0
);
number_type!(
    /// A number not below 0.
    NonNegative, "a number not below 0", |value| value >= 0.0
);
number_type!(
    /// A number not below 1.
    AtLeastOne, "a number not below 1", |value| value >= 1.0
);

fn share(given: &Given) -> Option<f64> {
    match given.kind {
        GivenKind::Number { value, unit: Some(Unit::Percent), .. } => Some(value / 100.0),
        _ => plain_number(given),
    }
}

/// A probability in `[0, 1)`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Probability(pub f64);

impl FromArg for Probability {
    fn expected() -> String {
        "a probability from 0 to below 1, such as `0.5` or `10%`".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        match share(given) {
            Some(value) if (0.0..1.0).contains(&value) => Ok(Probability(value)),
            Some(value) if (1.0..100.0).contains(&value) => {
                let text = format!("{value}%");
                Err(Mismatch::Unfit { help: None, replacement: (value > 1.0).then_some(text) })
            }
            _ => Err(Mismatch::unfit()),
        }
    }

    fn show(&self) -> String {
        show_number(self.0)
    }
}

/// A share in `[0, 1]`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(pub f64);

impl FromArg for Share {
    fn expected() -> String {
        "a share from 0 to 1, such as `0.5` or `10%`".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        match share(given) {
            Some(value) if (0.0..=1.0).contains(&value) => Ok(Share(value)),
            Some(value) if value > 1.0 && value <= 100.0 => {
                Err(Mismatch::Unfit { help: None, replacement: Some(format!("{value}%")) })
            }
            _ => Err(Mismatch::unfit()),
        }
    }

    fn show(&self) -> String {
        show_number(self.0)
    }
}

fn whole(given: &Given) -> Option<u64> {
    match given.kind {
        GivenKind::Number { value, integer: true, unit: None } if (0.0..9e15).contains(&value) => Some(value as u64),
        _ => None,
    }
}

/// A whole number of at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub usize);

impl FromArg for Count {
    fn expected() -> String {
        "a count".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        match whole(given) {
            Some(value) if (1..=u64::from(u32::MAX)).contains(&value) => Ok(Count(value as usize)),
            Some(value) if value > 0 => Err(Mismatch::with_help(format!("counts go up to {}", u32::MAX))),
            _ => Err(match given.kind {
                GivenKind::Number { value, integer: false, unit: None }
                    if value.fract() == 0.0 && (1.0..=f64::from(u32::MAX)).contains(&value) =>
                {
                    Mismatch::Unfit {
                        help: Some("whole numbers are written without a point and an exponent".to_owned()),
                        replacement: Some(value.to_string()),
                    }
                }
                _ => Mismatch::unfit(),
            }),
        }
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

impl FromArg for u64 {
    fn expected() -> String {
        "a whole number not below 0".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        whole(given).ok_or_else(Mismatch::unfit)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl FromArg for bool {
    fn expected() -> String {
        "`true` or `false`".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        let GivenKind::Word(word) = &given.kind else { return Err(Mismatch::unfit()) };
        match word.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            "yes" | "on" | "True" => Err(Mismatch::Unfit { help: None, replacement: Some("true".to_owned()) }),
            "no" | "off" | "False" => Err(Mismatch::Unfit { help: None, replacement: Some("false".to_owned()) }),
            _ => Err(Mismatch::unfit()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn words() -> Vec<&'static str> {
        vec!["true", "false"]
    }
}

impl FromArg for String {
    fn expected() -> String {
        "text in quotes".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        match &given.kind {
            GivenKind::Text(text) => Ok(text.clone()),
            GivenKind::Word(word) => Err(Mismatch::Unfit { help: None, replacement: Some(quote(word)) }),
            _ => Err(Mismatch::unfit()),
        }
    }

    fn show(&self) -> String {
        quote(self)
    }
}

/// A bare word, such as the name of a column or `val.accuracy`; text in quotes for names with blanks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word(pub String);

impl FromArg for Word {
    fn expected() -> String {
        "a name".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        match &given.kind {
            GivenKind::Word(word) => Ok(Word(word.clone())),
            GivenKind::Text(text) => Ok(Word(text.clone())),
            _ => Err(Mismatch::unfit()),
        }
    }

    fn show(&self) -> String {
        let (read, mistakes) = parse_expression(0, &self.0);
        // These two stand for something else where a name is expected.
        let is_taken = matches!(&*self.0, "classes" | "none");
        let is_plain = mistakes.is_empty() && matches!(read.kind, ExprKind::Word(word) if word == self.0);
        if is_plain && !is_taken { self.0.clone() } else { quote(&self.0) }
    }
}

impl<T: FromArg> FromArg for Option<T> {
    fn expected() -> String {
        format!("{} or `none`", T::expected())
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        match &given.kind {
            GivenKind::Word(word) if word == "none" => Ok(None),
            _ => T::from_arg(given).map(Some),
        }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), T::show)
    }

    fn words() -> Vec<&'static str> {
        let mut words = T::words();
        words.push("none");
        words
    }
}

/// A value, or `auto`: found out by the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auto<T> {
    /// To be found out.
    Auto,
    /// Given.
    Given(T),
}

impl<T: Copy> Auto<T> {
    /// The value, unless it is to be found out.
    pub fn given(&self) -> Option<T> {
        match self {
            Auto::Auto => None,
            Auto::Given(value) => Some(*value),
        }
    }
}

impl<T: FromArg> FromArg for Auto<T> {
    fn expected() -> String {
        format!("{} or `auto`", T::expected())
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        match &given.kind {
            GivenKind::Word(word) if word == "auto" => Ok(Auto::Auto),
            _ => T::from_arg(given).map(Auto::Given),
        }
    }

    fn show(&self) -> String {
        match self {
            Auto::Auto => "auto".to_owned(),
            Auto::Given(value) => value.show(),
        }
    }

    fn words() -> Vec<&'static str> {
        let mut words = T::words();
        words.push("auto");
        words
    }
}

impl<T: FromArg> FromArg for Vec<T> {
    fn expected() -> String {
        let one = T::expected();
        let bare = one.strip_prefix("a ").or(one.strip_prefix("an ")).unwrap_or(&one);
        format!("a list of which each is a {bare}")
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        match &given.kind {
            GivenKind::List(items) => items.iter().map(T::from_arg).collect(),
            _ => Err(Mismatch::unfit()),
        }
    }

    fn show(&self) -> String {
        format!("[{}]", self.iter().map(T::show).collect::<Vec<_>>().join(", "))
    }
}

/// A height and a width: one number for both, or `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair(pub [usize; 2]);

impl FromArg for Pair {
    fn expected() -> String {
        "a count, or a pair of counts such as `[3, 5]`".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        match &given.kind {
            GivenKind::List(items) if items.len() == 2 => {
                Ok(Pair([Count::from_arg(&items[0])?.0, Count::from_arg(&items[1])?.0]))
            }
            _ => Count::from_arg(given).map(|count| Pair([count.0; 2])),
        }
    }

    fn show(&self) -> String {
        let [height, width] = self.0;
        if height == width { height.to_string() } else { format!("[{height}, {width}]") }
    }
}

/// The border around an image: a number for all sides, `[height, width]`, or `same`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// As much as keeps the size at stride 1.
    Same,
    /// So many rows above and below, so many columns left and right.
    Each([usize; 2]),
}

impl FromArg for Padding {
    fn expected() -> String {
        "a whole number, a pair such as `[1, 2]`, or `same`".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        let one = |given: &Given| match whole(given) {
            Some(value) if value <= u64::from(u16::MAX) => Ok(value as usize),
            _ => Err(Mismatch::unfit()),
        };
        match &given.kind {
            GivenKind::Word(word) if word == "same" => Ok(Padding::Same),
            GivenKind::Word(word) if word == "valid" => {
                Err(Mismatch::Unfit { help: None, replacement: Some("0".to_owned()) })
            }
            GivenKind::List(items) if items.len() == 2 => Ok(Padding::Each([one(&items[0])?, one(&items[1])?])),
            _ => one(given).map(|value| Padding::Each([value; 2])),
        }
    }

    fn show(&self) -> String {
        match self {
            Padding::Same => "same".to_owned(),
            Padding::Each([height, width]) if height == width => height.to_string(),
            Padding::Each([height, width]) => format!("[{height}, {width}]"),
        }
    }

    fn words() -> Vec<&'static str> {
        vec!["same"]
    }
}

/// How far a window moves: a count, a pair, or `kernel` for windows that lie side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stride {
    /// By the window's own size.
    Kernel,
    /// By so many rows and columns.
    Each([usize; 2]),
}

impl FromArg for Stride {
    fn expected() -> String {
        "a count, a pair such as `[1, 2]`, or `kernel`".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        match &given.kind {
            GivenKind::Word(word) if word == "kernel" => Ok(Stride::Kernel),
            _ => Pair::from_arg(given).map(|pair| Stride::Each(pair.0)),
        }
    }

    fn show(&self) -> String {
        match self {
            Stride::Kernel => "kernel".to_owned(),
            Stride::Each(each) => Pair(*each).show(),
        }
    }

    fn words() -> Vec<&'static str> {
        vec!["kernel"]
    }
}

/// The border around an image: a number for all sides, or `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Border(pub [usize; 2]);

impl FromArg for Border {
    fn expected() -> String {
        "a whole number, or a pair such as `[1, 2]`".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        match Padding::from_arg(given)? {
            Padding::Each(each) => Ok(Border(each)),
            Padding::Same => Err(Mismatch::unfit()),
        }
    }

    fn show(&self) -> String {
        Padding::Each(self.0).show()
    }
}

/// A span of training: `5 epochs` or `200 steps`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Duration {
    /// Passes over the training data; may be a fraction.
    Epochs(f64),
    /// Updates of the weights.
    Steps(u64),
}

impl Duration {
    /// The duration in steps.
    pub fn steps(self, steps_per_epoch: u64) -> u64 {
        match self {
            Duration::Epochs(epochs) => (epochs * steps_per_epoch as f64).round() as u64,
            Duration::Steps(steps) => steps,
        }
    }
}

impl FromArg for Duration {
    fn expected() -> String {
        "a duration such as `5 epochs` or `200 steps`".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        match given.kind {
            GivenKind::Number { value, unit: Some(Unit::Epochs), .. } if (0.0..1e9).contains(&value) => {
                Ok(Duration::Epochs(value))
            }
            GivenKind::Number { value, integer: true, unit: Some(Unit::Steps) } if value < 1e15 => {
                Ok(Duration::Steps(value as u64))
            }
            GivenKind::Number { value, unit: None, .. } => Err(Mismatch::Unfit {
                help: Some("a duration has a unit: `epochs` or `steps`".to_owned()),
                replacement: Some(format!("{value} epochs")),
            }),
            _ => Err(Mismatch::unfit()),
        }
    }

    fn show(&self) -> String {
        match self {
            Duration::Epochs(epochs) => super::plural(*epochs, "epoch"),
            Duration::Steps(steps) => super::plural(*steps as f64, "step"),
        }
    }
}

/// A duration that is not 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Period(pub Duration);

impl Period {
    /// The duration in steps, at least 1.
    pub fn steps(self, steps_per_epoch: u64) -> u64 {
        self.0.steps(steps_per_epoch).max(1)
    }
}

impl FromArg for Period {
    fn expected() -> String {
        "a duration above 0 such as `5 epochs` or `200 steps`".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        match Duration::from_arg(given)? {
            Duration::Steps(0) => Err(Mismatch::unfit()),
            Duration::Epochs(epochs) if epochs <= 0.0 => Err(Mismatch::unfit()),
            duration => Ok(Period(duration)),
        }
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

/// From the least to the most: `0.9..1.1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread(pub f64, pub f64);

impl FromArg for Spread {
    fn expected() -> String {
        "a range such as `0.9..1.1`".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        match given.kind {
            GivenKind::Range(low, high) if low <= high && low.is_finite() && high.is_finite() => Ok(Spread(low, high)),
            GivenKind::Range(low, high) => {
                Err(Mismatch::Unfit { help: None, replacement: Some(format!("{high}..{low}")) })
            }
            _ => Err(Mismatch::unfit()),
        }
    }

    fn show(&self) -> String {
        format!("{}..{}", show_number(self.0), show_number(self.1))
    }
}

/// A range around 0, as a number (`15` is `-15..15`) or as a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SymmetricSpread(pub f64, pub f64);

impl FromArg for SymmetricSpread {
    fn expected() -> String {
        "a number not below 0, or a range such as `-10..20`".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        match given.kind {
            GivenKind::Range(..) => Spread::from_arg(given).map(|spread| SymmetricSpread(spread.0, spread.1)),
            _ => ranged(given, |value| value >= 0.0).map(|value| SymmetricSpread(-value, value)),
        }
    }

    fn show(&self) -> String {
        if self.0 == -self.1 { show_number(self.1) } else { Spread(self.0, self.1).show() }
    }
}

/// A pair of shares such as `[0.1, 0.2]`, or one share for both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares(pub [f64; 2]);

impl FromArg for Shares {
    fn expected() -> String {
        "a share from 0 to 1, or a pair such as `[0.1, 0.2]`".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        match &given.kind {
            GivenKind::List(items) if items.len() == 2 => {
                Ok(Shares([Share::from_arg(&items[0])?.0, Share::from_arg(&items[1])?.0]))
            }
            _ => Share::from_arg(given).map(|share| Shares([share.0; 2])),
        }
    }

    fn show(&self) -> String {
        let [first, second] = self.0;
        if first == second { show_number(first) } else { format!("[{}, {}]", show_number(first), show_number(second)) }
    }
}

/// The decay of an optimizer's first and second moment: `[0.9, 0.999]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Betas(pub f64, pub f64);

impl FromArg for Betas {
    fn expected() -> String {
        "a pair of numbers from 0 to below 1, such as `[0.9, 0.999]`".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        match &given.kind {
            GivenKind::List(items) if items.len() == 2 => {
                Ok(Betas(Probability::from_arg(&items[0])?.0, Probability::from_arg(&items[1])?.0))
            }
            _ => Err(Mismatch::unfit()),
        }
    }

    fn show(&self) -> String {
        format!("[{}, {}]", show_number(self.0), show_number(self.1))
    }
}

/// Declares an enum of bare words that a parameter can be.
#[macro_export]
macro_rules! words {
    ($(#[doc = $docs:literal])+ pub enum $name:ident { $( $(#[doc = $variant_docs:literal])+ $variant:ident = $word:literal ),* $(,)? }) => {
        $(#[doc = $docs])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $( $(#[doc = $variant_docs])+ $variant, )*
        }

        impl $crate::schema::FromArg for $name {
            fn expected() -> String {
                let words = [$( concat!("`", $word, "`") ),*];
                format!("one of {}", words.join(", "))
            }

            fn from_arg(given: &$crate::schema::Given) -> Result<Self, $crate::schema::Mismatch> {
                match &given.kind {
                    $( $crate::schema::GivenKind::Word(word) if word == $word => Ok($name::$variant), )*
                    _ => Err($crate::schema::Mismatch::unfit()),
                }
            }

            fn show(&self) -> String {
                match self {
                    $( $name::$variant => $word.to_owned(), )*
                }
            }

            fn words() -> Vec<&'static str> {
                vec![$( $word ),*]
            }
        }
    };
}
