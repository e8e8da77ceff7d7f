//! Mirrored digits and letters, which are others or none.

use super::edit::remove_stage;
use super::{Code, Context, Diagnostic, Lint};
use crate::diagnostic::Applicability;
use crate::source::Span;

const CODE: Code = Code("W0104");

/// Words of paths that tell of data with writing in it; not parts of words, since `pathmnist` shows tissue and
/// `fashion-mnist` clothes.
const WRITING: [&str; 14] = [
    "mnist",
    "emnist",
    "kmnist",
    "qmnist",
    "digit",
    "digits",
    "svhn",
    "letter",
    "letters",
    "usps",
    "ocr",
    "glyphs",
    "handwriting",
    "captchas",
];

/// Words beside which those mean something else.
const OTHER: [&str; 1] = ["fashion"];

pub(super) const LINT: Lint = Lint { code: CODE, name: "mirrored_text", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let data = &context.program.data;
    let Some(flip) = context.program.augment.iter().find(|transform| transform.item.mirrors()) else {
        return Vec::new();
    };
    let is_letter = |name: &String| name.chars().count() == 1 && name.chars().all(char::is_alphabetic);
    let letters = data.class_names.len() > 2 && data.class_names.iter().all(is_letter);
    let source = context.sources.text(context.train().span).to_lowercase();
    let has = |words: &[&str]| source.split(|c: char| !c.is_alphanumeric()).any(|word| words.contains(&word));
    let why = if letters {
        "the classes are letters"
    } else if has(&WRITING) && !has(&OTHER) {
        "the images show writing"
    } else {
        return Vec::new();
    };
    let (span, edit) = remove_stage(context.sources, flip.span);
    let title = format!("remove `{}`", flip.name);
    vec![report(flip.span, flip.name, context.train().span, why).fix(Applicability::Suggested, title, span, edit)]
}

fn report(place: Span, name: &str, source: Span, why: &str) -> Diagnostic {
    Diagnostic::warning(CODE, place, format!("`{name}` mirrors digits or letters"))
        .label("a mirrored 2 is no 2")
        .also(source, why)
        .help(format!("remove `{name}`; turns and moves of a few degrees and pixels keep the class"))
}
