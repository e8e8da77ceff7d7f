//! What editors know of the language by themselves, held to the grammar and the tables.
//!
//! `NNOPTC_BLESS=1 cargo test --test suite editors` writes anew what is generated.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nnoptc::check::{JOINS, SETTING_SECTIONS, SPLITS, STAGE_SECTIONS, TOP_SETTINGS};
use nnoptc::library::reference::{self, Entry};
use nnoptc::syntax::{KEYWORDS, unit_names};
use serde_json::{Value, json};

fn editors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("editors")
}

fn entries() -> Vec<Entry> {
    reference::entries().into_iter().chain(nnoptc::check::entries()).collect()
}

/// The names of items, without the sections that are described as such.
fn items() -> BTreeSet<&'static str> {
    entries().iter().filter(|entry| entry.kind != "section").map(|entry| entry.name).collect()
}

/// The words that values can be and that are no items.
fn words() -> BTreeSet<&'static str> {
    let items = items();
    let of_params = entries().into_iter().flat_map(|entry| entry.params).flat_map(|param| (param.words)());
    of_params.chain(["auto", "none", "classes"]).filter(|word| !items.contains(word)).collect()
}

fn sections() -> BTreeSet<&'static str> {
    SETTING_SECTIONS.into_iter().chain(STAGE_SECTIONS).collect()
}

/// One of these words, longer ones first.
fn any_of(words: impl IntoIterator<Item = &'static str>) -> String {
    let mut words: Vec<&str> = words.into_iter().collect();
    words.sort_by_key(|word| (std::cmp::Reverse(word.len()), *word));
    format!("(?:{})", words.join("|"))
}

fn textmate() -> Value {
    // Names have letters of any script, so that the border of an ASCII word is not enough.
    let whole = |words: String| format!("(?<![\\p{{L}}\\p{{N}}_.]){words}(?![\\p{{L}}\\p{{N}}_])");
    let name = r"[\p{L}_][\p{L}\p{N}_]*";
    let path = format!("{name}(?:\\.{name})*");
    let units = any_of(unit_names().filter(|unit| *unit != "%"));
    json!({
        "$schema": "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
        "name": "nnopt",
        "scopeName": "source.nnopt",
        "fileTypes": ["nnopt"],
        "patterns": [{ "include": "#all" }],
        "repository": {
            "all": { "patterns": [
                { "name": "comment.line.number-sign.nnopt", "match": "#.*$" },
                { "include": "#string" },
                {
                    "name": "constant.numeric.nnopt",
                    "match": format!(
                        "(?<![\\p{{L}}\\p{{N}}_])(?:\\d[\\d_]*(?:\\.(?![.\\p{{L}}])\\d*)?|\\.\\d+)(?:[eE][+-]?\\d+)?(?:[ \\t]*(%|{units}(?![\\p{{L}}\\p{{N}}_])))?"
                    ),
                    "captures": { "1": { "name": "keyword.other.unit.nnopt" } }
                },
                {
                    "match": format!("{}(?=[ \\t]*\\{{)", whole(any_of(sections()))),
                    "name": "storage.type.section.nnopt"
                },
                {
                    "match": format!("{}[ \\t]+({name})", whole("(let|block|profile)".to_owned())),
                    "captures": {
                        "1": { "name": "keyword.other.nnopt" },
                        "2": { "name": "entity.name.nnopt" }
                    }
                },
                {
                    "match": format!("({path})[ \\t]*(=)(?![=>])"),
                    "captures": {
                        "1": { "name": "variable.other.property.nnopt" },
                        "2": { "name": "keyword.operator.assignment.nnopt" }
                    }
                },
                { "name": "keyword.control.nnopt", "match": whole(any_of(KEYWORDS)) },
                { "name": "keyword.control.join.nnopt", "match": format!("{}(?=[ \\t]*(?:\\(|$|[#;}}]))", whole(any_of(JOINS))) },
                { "name": "support.function.nnopt", "match": whole(any_of(items())) },
                { "name": "constant.language.nnopt", "match": whole(any_of(words())) },
                { "name": "entity.name.function.nnopt", "match": format!("{path}(?=[ \\t]*\\()") },
                { "name": "variable.other.nnopt", "match": path },
                { "name": "keyword.operator.arrow.nnopt", "match": "->" },
                { "name": "keyword.operator.nnopt", "match": "\\.\\.|[-+*/=]" },
                { "name": "punctuation.nnopt", "match": "[{}()\\[\\],;]" }
            ]},
            "string": {
                "name": "string.quoted.double.nnopt",
                "begin": "\"",
                "end": "\"|$",
                "patterns": [
                    { "name": "constant.character.escape.nnopt", "match": "\\\\(?:[\\\\\"ntr]|u\\{[0-9A-Fa-f]{1,6}\\})" },
                    { "name": "invalid.illegal.escape.nnopt", "match": "\\\\." }
                ]
            }
        }
    })
}

fn highlights() -> String {
    let list = |words: Vec<&str>| {
        let mut lines = vec![String::from(" ")];
        for word in words {
            let line = lines.last_mut().unwrap_or_else(|| unreachable!("there is one"));
            if line.len() + word.len() > 110 {
                lines.push(format!("  \"{word}\""));
            } else {
                *line += &format!(" \"{word}\"");
            }
        }
        lines.join("\n").trim_end().to_owned()
    };
    let items = list(items().into_iter().collect());
    let words = list(words().into_iter().collect());
    let keywords = list(KEYWORDS.to_vec());
    let sections = list(sections().into_iter().collect());
    format!(
        "\
; Colours of `.nnopt` files; written from the tables of the language, see tests/suite/editors.rs.

(identifier) @variable

(name (identifier) @constant.builtin
 (#any-of? @constant.builtin
{words}))

(layer name: (identifier) @function)
(call name: (identifier) @function)
((identifier) @function.builtin
 (#any-of? @function.builtin
{items}))

(setting name: (identifier) @property)
(argument name: (identifier) @variable.parameter)
(parameter name: (identifier) @variable.parameter)
(let name: (identifier) @constant)
(label name: (identifier) @label)
(block name: (identifier) @function)
(profile name: (identifier) @type)
(branch join: (identifier) @keyword)

[
{keywords}
] @keyword

[
{sections}
] @type

(comment) @comment
(string) @string
(number) @number

[ \"->\" \"=\" \"..\" \"+\" \"-\" \"*\" \"/\" ] @operator
[ \"{{\" \"}}\" \"(\" \")\" \"[\" \"]\" ] @punctuation.bracket
[ \",\" \";\" ] @punctuation.delimiter
"
    )
}

#[track_caller]
fn check_current(path: &str, generated: &str) {
    let path = editors().join(path);
    if std::env::var_os("NNOPTC_BLESS").is_some() {
        std::fs::write(&path, generated).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == generated, "{} is not current: `NNOPTC_BLESS=1 cargo test editors`", path.display());
}

#[test]
fn the_textmate_grammar_is_current() {
    let text = serde_json::to_string_pretty(&textmate()).unwrap();
    check_current("vscode/syntaxes/nnopt.tmLanguage.json", &format!("{text}\n"));
}

#[test]
fn the_tree_sitter_colours_are_current() {
    check_current("tree-sitter-nnopt/queries/highlights.scm", &highlights());
}

/// What stands between these quotes and has letters only, in lines of rules.
fn quoted(text: &str, quote: char) -> BTreeSet<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//") && !line.contains("name: '"));
    let mut found = BTreeSet::new();
    for line in code {
        let parts: Vec<&str> = line.split(quote).collect();
        let inside = parts.iter().skip(1).step_by(2).take(parts.len() / 2);
        found.extend(
            inside
                .filter(|word| word.chars().all(char::is_alphabetic) && !word.is_empty())
                .map(|&word| word.to_owned()),
        );
    }
    found
}

/// One grammar is the truth; the others and the reference say the same words.
#[test]
fn grammars_and_tables_know_the_same_words() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = |words: BTreeSet<&'static str>| -> BTreeSet<String> { words.into_iter().map(str::to_owned).collect() };

    let pest = std::fs::read_to_string(root.join("grammar/nnopt.pest")).unwrap();
    let rules = |prefix: &'static str| pest.lines().filter(move |line| line.starts_with(prefix));
    let keywords: BTreeSet<String> = rules("kw_").flat_map(|line| quoted(line, '"')).collect();
    assert_eq!(keywords, own(KEYWORDS.into_iter().collect()));
    let named: BTreeSet<String> = rules("stages_name ")
        .chain(rules("settings_name"))
        .flat_map(|line| quoted(line, '"'))
        .filter(|word| word != "ident")
        .collect();
    assert_eq!(named, own(sections()));

    let tree_sitter = std::fs::read_to_string(editors().join("tree-sitter-nnopt/grammar.js")).unwrap();
    let units = unit_names().filter(|unit| *unit != "%");
    assert_eq!(quoted(&tree_sitter, '\''), own(KEYWORDS.into_iter().chain(sections()).chain(units).collect()));

    // What TextMate is told in lists of words, and all that it should know.
    let textmate = std::fs::read_to_string(editors().join("vscode/syntaxes/nnopt.tmLanguage.json")).unwrap();
    let lists = textmate.split("(?:").skip(1).filter_map(|rest| rest.split(')').next());
    let is_list = |list: &&str| list.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '|'));
    let told: BTreeSet<String> = lists.filter(is_list).flat_map(|list| list.split('|')).map(str::to_owned).collect();
    let units = unit_names().filter(|unit| *unit != "%");
    let of_language = KEYWORDS.into_iter().chain(sections()).chain(units).chain(items()).chain(words());
    let all: BTreeSet<String> = of_language.map(str::to_owned).collect();
    assert_eq!(all.difference(&told).collect::<Vec<_>>(), Vec::<&String>::new(), "TextMate does not know these");
    let settings = TOP_SETTINGS.into_iter().chain(SPLITS).chain(JOINS);
    let known: BTreeSet<String> = all.iter().cloned().chain(settings.map(str::to_owned)).collect();
    assert_eq!(told.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "only TextMate knows these");

    // No name has two meanings that a colour would have to choose between.
    let items = items();
    for word in KEYWORDS.into_iter().chain(sections()).chain(TOP_SETTINGS).chain(SPLITS) {
        assert!(!items.contains(word), "`{word}` is an item and a word of the language");
    }
}
