//! What is known of a place in a text: the section, the item that a call makes, what a value is for.

use std::sync::OnceLock;

use rowan::{NodeOrToken, TextSize, TokenAtOffset};

use crate::check::{SETTING_SECTIONS, SPLITS, TOP_SETTINGS};
use crate::library::reference::{self, Entry};
use crate::schema::Param;
use crate::source::Span;
use crate::syntax::{SyntaxKind as K, SyntaxNode, SyntaxToken};

/// Words of the language that are no items, with what they do.
pub const WORDS: &[(&str, &str)] = &[
    ("nnopt", "The version of the language, on the first line: `nnopt 1`."),
    ("let", "Names a value: `let width = 64`. Values may be computed: `2 * width`."),
    (
        "block",
        "Defines stages that are used by name: `block head(units, rate = 0.5) { linear(units) -> dropout(rate) }`.",
    ),
    (
        "allow",
        "Silences lints: `allow(no_warmup)` for the whole pipeline, or inside braces for the statement after it.",
    ),
    ("include", "Reads another file's definitions: `include \"blocks.nnopt\"`. The path is relative to this file."),
    ("profile", "Settings that `--profile NAME` applies over the others: `profile quick { train.epochs = 1 }`."),
    (
        "repeat",
        "The stages inside, so many times, each time with weights of their own: `repeat 3 { linear(64) -> relu }`.",
    ),
    (
        "residual",
        "The sum of the stages inside and of its own input, or of the stages of its `shortcut { … }`. Both paths end in \
         one shape.",
    ),
    ("shortcut", "The second path of a `residual`, where the input itself does not have the right shape."),
    ("branch", "Several paths from one input: `branch { { … } { … } } join concat`."),
    ("join", "How the paths of a `branch` meet: `concat`, one after another along the channels, or `add`, their sum."),
    ("data", "Where samples and targets come from, how they are split, and how they are normalized."),
    ("augment", "Transforms of training images, in order. When measuring, nothing is random."),
    ("model", "The layers, in order. `->` and a new line mean the same. Sizes of inputs are inferred from the data."),
    ("train", "How the training runs."),
    ("use", "Goes on from a label: `use(a)`."),
    ("add", "Adds the values of labels to the current one: `add(a)`."),
    ("concat", "Puts the values of labels after the current one along the channels: `concat(a, b)`."),
    ("classes", "The number of classes that the data has."),
    ("auto", "Found out by the compiler."),
    ("none", "Not at all."),
    ("loss", "What the training makes small."),
    ("regularization", "A penalty on all weights, added to the loss."),
    ("optimizer", "The rule by which gradients change weights, with its learning rate."),
    ("schedule", "How the learning rate changes while training; `constant` if it is not given."),
    ("metrics", "What is measured beside the loss, such as `[accuracy, top_k(5)]`."),
    ("val", "The split that is measured after every epoch."),
    ("test", "The split that is measured once, at the end."),
    (
        "normalize",
        "How samples are normalized: `auto` (mean and deviation of the training split), `none`, or `given(…)`.",
    ),
];

/// What a word of the language does.
pub fn describe_word(word: &str) -> Option<&'static str> {
    WORDS.iter().find(|(known, _)| *known == word).map(|(_, text)| *text)
}

/// Every item there is.
pub fn catalog() -> &'static [Entry] {
    static CATALOG: OnceLock<Vec<Entry>> = OnceLock::new();
    CATALOG.get_or_init(|| reference::entries().into_iter().chain(crate::check::entries()).collect())
}

/// The item of this kind and name.
pub fn entry(kind: &str, name: &str) -> Option<&'static Entry> {
    catalog().iter().find(|entry| entry.kind == kind && entry.name == name)
}

/// All items of a kind.
pub fn of_kind(kind: &'static str) -> impl Iterator<Item = &'static Entry> {
    catalog().iter().filter(move |entry| entry.kind == kind)
}

/// What a value is for.
#[derive(Clone, Copy)]
pub enum Slot {
    /// A split of `data`.
    Split,
    /// `normalize` of `data`.
    Normalize,
    /// A setting at the top level, by the kind of its items.
    Top(&'static str),
    /// A parameter of an item or a setting of `train`.
    Param(&'static Entry, &'static Param),
}

impl Slot {
    /// The items that fit.
    pub fn entries(&self) -> Vec<&'static Entry> {
        match self {
            Slot::Split => of_kind("source").chain(of_kind("split")).collect(),
            Slot::Normalize => of_kind("normalization").collect(),
            Slot::Top(kind) => of_kind(kind).collect(),
            Slot::Param(_, param) => {
                let words = (param.words)();
                let nested = ["initializer", "regularizer", "stopping rule"].into_iter().flat_map(of_kind);
                nested.filter(|entry| words.contains(&entry.name)).collect()
            }
        }
    }

    /// The bare words that fit and are no items.
    pub fn words(&self) -> Vec<&'static str> {
        match self {
            Slot::Split => Vec::new(),
            Slot::Normalize => vec!["auto", "none"],
            Slot::Top("regularizer") => vec!["none"],
            Slot::Top(_) => Vec::new(),
            Slot::Param(_, param) => {
                let items = self.entries();
                (param.words)().into_iter().filter(|word| items.iter().all(|entry| entry.name != *word)).collect()
            }
        }
    }
}

/// The kind of the items that a setting at the top level takes.
pub fn kind_of_setting(name: &str) -> Option<&'static str> {
    let kind = match name {
        "loss" => "loss",
        "regularization" => "regularizer",
        "optimizer" => "optimizer",
        "schedule" => "schedule",
        "metrics" => "metric",
        _ => return None,
    };
    TOP_SETTINGS.contains(&name).then_some(kind)
}

/// The token at an offset; between two, the one that says more.
pub fn token_at(root: &SyntaxNode, offset: usize) -> Option<SyntaxToken> {
    match root.token_at_offset(TextSize::new(offset as u32)) {
        TokenAtOffset::None => None,
        TokenAtOffset::Single(token) => Some(token),
        TokenAtOffset::Between(left, right) => {
            let says = |token: &SyntaxToken| match token.kind() {
                K::Path | K::Keyword => 2,
                K::Number | K::String => 1,
                _ => 0,
            };
            Some(if says(&left) > says(&right) { left } else { right })
        }
    }
}

/// The first name directly in a node.
pub fn name_of(node: &SyntaxNode) -> Option<SyntaxToken> {
    node.children_with_tokens().filter_map(NodeOrToken::into_token).find(|token| token.kind() == K::Path)
}

/// The text of the first name directly in a node.
pub fn name_text(node: &SyntaxNode) -> String {
    name_of(node).map(|token| token.text().to_owned()).unwrap_or_default()
}

/// A child of this kind.
pub fn child(node: &SyntaxNode, kind: K) -> Option<SyntaxNode> {
    node.children().find(|child| child.kind() == kind)
}

/// The name of the section around a node; `block` and `profile` count as such, and the top level is empty.
pub fn section_of(node: &SyntaxNode) -> String {
    for ancestor in node.ancestors() {
        match ancestor.kind() {
            K::Section => return name_text(&ancestor),
            K::Block => return "block".to_owned(),
            K::Profile => return "profile".to_owned(),
            _ => {}
        }
    }
    String::new()
}

/// Whether a node is `{ … }`.
pub fn is_body(node: &SyntaxNode) -> bool {
    matches!(node.kind(), K::SettingBody | K::StageBody | K::BranchBody)
}

/// The span of a node.
pub fn span_of(node: &SyntaxNode) -> Span {
    let range = node.text_range();
    Span::new(0, range.start().into(), range.end().into())
}

/// Whether a call is a stage rather than a value.
pub fn is_stage(call: &SyntaxNode) -> bool {
    call.parent().is_some_and(|parent| parent.kind() != K::Expr)
}

/// The item that a call makes.
pub fn entry_of_call(call: &SyntaxNode) -> Option<&'static Entry> {
    let name = name_text(call);
    if is_stage(call) {
        let kind = if section_of(call) == "augment" { "augmentation" } else { "layer" };
        return entry(kind, &name);
    }
    slot_of_value(&call.parent()?)?.entries().into_iter().find(|entry| entry.name == name)
}

/// What the value of this expression is for.
pub fn slot_of_value(expr: &SyntaxNode) -> Option<Slot> {
    let holder = expr.parent()?;
    match holder.kind() {
        // The values of a list, and what is in parentheses, are for what the whole is for.
        K::List | K::Group => slot_of_value(&holder.parent()?),
        K::Arg if holder.parent()?.kind() == K::List => slot_of_value(&holder.parent()?.parent()?),
        _ => slot_of_holder(&holder),
    }
}

/// What the value of a setting or an argument is for.
pub fn slot_of_holder(holder: &SyntaxNode) -> Option<Slot> {
    match holder.kind() {
        K::Setting => slot_of_setting(&section_of(holder), &name_text(holder)),
        K::Arg => {
            let args = holder.parent()?;
            let call = args.parent().filter(|call| call.kind() == K::Call)?;
            let position =
                args.children().filter(|arg| arg.kind() == K::Arg && !is_named(arg)).position(|arg| arg == *holder);
            let name = is_named(holder).then(|| name_text(holder));
            slot_of_argument(&call, name.as_deref(), position)
        }
        _ => None,
    }
}

/// Whether an argument is `name = value`.
pub fn is_named(arg: &SyntaxNode) -> bool {
    arg.children_with_tokens().any(|child| child.kind() == K::Equals)
}

/// What an argument is for, by its name or its position among those without names.
pub fn slot_of_argument(call: &SyntaxNode, name: Option<&str>, position: Option<usize>) -> Option<Slot> {
    let entry = entry_of_call(call)?;
    let param = match name {
        Some(name) => entry.params.iter().find(|param| param.name == name),
        None => entry.params.get(position?),
    };
    param.map(|param| Slot::Param(entry, param))
}

/// What the value of a setting is for.
pub fn slot_of_setting(section: &str, name: &str) -> Option<Slot> {
    match (section, name) {
        ("data", "normalize") => Some(Slot::Normalize),
        ("data", name) if SPLITS.contains(&name) => Some(Slot::Split),
        ("train", name) => {
            let train = entry("section", "train")?;
            train.params.iter().find(|param| param.name == name).map(|param| Slot::Param(train, param))
        }
        ("profile", path) => match path.split_once('.') {
            Some((section, name)) if SETTING_SECTIONS.contains(&section) => slot_of_setting(section, name),
            Some(_) => None,
            None => slot_of_setting("", path),
        },
        ("", name) => kind_of_setting(name).map(Slot::Top),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::{KEYWORDS, parse};

    #[test]
    fn every_word_of_the_language_is_described() {
        let sections = SETTING_SECTIONS.into_iter().chain(crate::check::STAGE_SECTIONS);
        let words = KEYWORDS.into_iter().chain(sections).chain(TOP_SETTINGS).chain(SPLITS).chain(crate::check::JOINS);
        for word in words {
            assert!(describe_word(word).is_some(), "`{word}` is not described");
        }
    }

    #[track_caller]
    fn check_entry(text: &str, name: &str, kind: &str) {
        let offset = text.find(name).unwrap();
        let token = token_at(&parse(0, text).syntax(), offset).unwrap();
        let parent = token.parent().unwrap();
        let found = match parent.kind() {
            K::Call => entry_of_call(&parent),
            _ => slot_of_value(&parent).and_then(|slot| slot.entries().into_iter().find(|entry| entry.name == name)),
        };
        assert_eq!(found.map(|entry| (entry.kind, entry.name)), Some((kind, name)), "in {text}");
    }

    #[test]
    fn calls_are_items_by_their_place() {
        check_entry("model { linear(3) }", "linear", "layer");
        check_entry("augment { random_crop(3) }", "random_crop", "augmentation");
        check_entry("block a { x = relu }", "relu", "layer");
        check_entry("loss = mse", "mse", "loss");
        check_entry("metrics = [mse]", "mse", "metric");
        check_entry("model { linear(3, init = xavier_normal) }", "xavier_normal", "initializer");
        check_entry("model { linear(3, regularization = l2(1)) }", "l2", "regularizer");
        check_entry("data { val = split(train, 10%) }", "split", "split");
        check_entry("data { train = csv(\"a\") }", "csv", "source");
        check_entry("train { early_stop = patience(3 epochs) }", "patience", "stopping rule");
        check_entry("profile a { optimizer = adam }", "adam", "optimizer");
    }
}
