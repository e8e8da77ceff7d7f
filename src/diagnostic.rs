//! What the compiler says about source text: the one type that every rendering is made from.

use crate::source::Span;

/// How much a diagnostic matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing runs until it is mended.
    Error,
    /// The pipeline runs; it is probably not what was meant.
    Warning,
    /// The pipeline does what was meant; something in it could be better. Fails no check.
    Advice,
}

/// A stable number, such as `E0301`; `nnoptc explain` has a page for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub &'static str);

/// A place in the source and what is to be said there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What; lower case, no full stop.
    pub text: String,
}

/// Whether a fix may be applied without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applicability {
    /// Keeps what was meant; `check --fix` applies it.
    Safe,
    /// Probably what was meant; offered, not applied.
    Suggested,
}

/// An edit that would mend the mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What it does: "write `dropout`".
    pub title: String,
    /// Whether it may be applied without asking.
    pub applicability: Applicability,
    /// Replacements, not overlapping.
    pub edits: Vec<(Span, String)>,
}

/// One thing said about the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its stable code.
    pub code: Code,
    /// How much it matters.
    pub severity: Severity,
    /// What was found and what was expected; lower case, names in backticks, no full stop.
    pub message: String,
    /// The first label is the primary one, on the thing to change; others point at causes.
    pub labels: Vec<Label>,
    /// Facts that explain, one line each.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Option<String>,
    /// Edits that would mend it.
    pub fixes: Vec<Fix>,
}

impl Diagnostic {
    /// An error with its primary label still without text.
    pub fn error(code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            severity: Severity::Error,
            message: message.into(),
            labels: vec![Label { span, text: String::new() }],
            notes: Vec::new(),
            help: None,
            fixes: Vec::new(),
        }
    }

    /// A warning with its primary label still without text.
    pub fn warning(code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, span, message) }
    }

    /// Advice with its primary label still without text.
    pub fn advice(code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Advice, ..Diagnostic::error(code, span, message) }
    }

    /// Sets the text of the primary label.
    pub fn label(mut self, text: impl Into<String>) -> Diagnostic {
        self.labels[0].text = text.into();
        self
    }

    /// Adds a second place: the cause.
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// Adds a fact.
    pub fn note(mut self, text: impl Into<String>) -> Diagnostic {
        self.notes.push(text.into());
        self
    }

    /// Says what to do.
    pub fn help(mut self, text: impl Into<String>) -> Diagnostic {
        self.help = Some(text.into());
        self
    }

    /// Adds a fix that replaces one span.
    pub fn fix(
        self,
        applicability: Applicability,
        title: impl Into<String>,
        span: Span,
        replacement: impl Into<String>,
    ) -> Diagnostic {
        self.fix_all(applicability, title, vec![(span, replacement.into())])
    }

    /// Adds a fix that replaces several spans, which must not overlap.
    pub fn fix_all(
        mut self,
        applicability: Applicability,
        title: impl Into<String>,
        edits: Vec<(Span, String)>,
    ) -> Diagnostic {
        self.fixes.push(Fix { title: title.into(), applicability, edits });
        self
    }

    /// The primary place.
    pub fn span(&self) -> Span {
        self.labels[0].span
    }
}

/// Whether any of these stops the pipeline from running.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}

fn same_letters(a: &str, b: &str) -> bool {
    let sorted = |text: &str| {
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters
    };
    sorted(a) == sorted(b)
}

/// The candidate closest to a misspelt name, if one is close enough to be meant.
///
/// Closeness is Jaro–Winkler similarity of at least 0.8, or an edit distance of one.
pub fn did_you_mean<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| {
            let close = strsim::jaro_winkler(found, candidate);
            // Of two short names, one letter instead of another makes another name: `mae` is not `mse`.
            let is_long = found.len() > 3 || found.len() != candidate.len() || same_letters(found, candidate);
            let one_edit = strsim::damerau_levenshtein(found, candidate) <= 1 && found.len() > 1 && is_long;
            (if one_edit { close.max(0.9) } else { close }, candidate)
        })
        .filter(|(close, _)| *close >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
