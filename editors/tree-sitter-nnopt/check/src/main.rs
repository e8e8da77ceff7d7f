//! Generates the parser from `grammar.js`, compares it with the one that is kept, compiles it, and reads files with it.
//!
//!     check-tree-sitter-nnopt FOLDER/OF/grammar.js FILE…
//!
//! With `NNOPTC_BLESS=1` the generated files are written anew. Needs `node` and a C compiler.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use libloading::{Library, Symbol};
use tree_sitter::{Language, Parser, Query, QueryCursor, StreamingIterator};
use tree_sitter_generate::{ABI_VERSION_MAX, OptLevel, generate_parser_in_directory};
use tree_sitter_language::LanguageFn;

/// What is generated and kept, below the grammar's folder.
const KEPT: [&str; 5] = [
    "grammar.json",
    "node-types.json",
    "parser.c",
    "tree_sitter/parser.h",
    "tree_sitter/array.h",
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let folder = arguments.next().ok_or("expected the folder of grammar.js")?;
    let folder = fs::canonicalize(folder)?;
    let files: Vec<String> = arguments.collect();

    let made = env::temp_dir().join(format!("tree-sitter-nnopt-{}", std::process::id()));
    fs::create_dir_all(&made)?;
    let result = check(&folder, &made, &files);
    fs::remove_dir_all(&made)?;
    result
}

fn check(folder: &Path, made: &Path, files: &[String]) -> Result<(), Box<dyn Error>> {
    generate_parser_in_directory(
        folder,
        Some(made),
        Some(folder.join("grammar.js")),
        ABI_VERSION_MAX,
        None,
        None,
        true,
        OptLevel::default(),
    )?;
    for name in KEPT.iter().filter(|name| made.join(name).exists()) {
        let (kept, new) = (folder.join("src").join(name), fs::read(made.join(name))?);
        if env::var_os("NNOPTC_BLESS").is_some() {
            fs::create_dir_all(kept.parent().ok_or("a file is in a folder")?)?;
            fs::write(&kept, &new)?;
        }
        if fs::read(&kept).unwrap_or_default() != new {
            return Err(format!("{} is not current: NNOPTC_BLESS=1 scripts/test-editors", kept.display()).into());
        }
    }

    let library = made.join("nnopt.so");
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let status = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O1", "-std=c11", "-Wall", "-Werror=implicit-function-declaration", "-I"])
        .arg(made)
        .arg(made.join("parser.c"))
        .arg("-o")
        .arg(&library)
        .status()?;
    if !status.success() {
        return Err("the parser does not compile".into());
    }
    // SAFETY: the library was made above from the generated parser, whose one symbol has this type.
    let library = unsafe { Library::new(&library)? };
    let symbol: Symbol<unsafe extern "C" fn() -> *const ()> = unsafe { library.get(b"tree_sitter_nnopt")? };
    let language = Language::new(unsafe { LanguageFn::from_raw(*symbol) });
    let query = Query::new(&language, &fs::read_to_string(folder.join("queries/highlights.scm"))?)?;
    let mut parser = Parser::new();
    parser.set_language(&language)?;

    let mut captures = 0;
    for file in files {
        let text = fs::read_to_string(file)?;
        let tree = parser.parse(&text, None).ok_or("a parser without a limit ends")?;
        if tree.root_node().has_error() {
            return Err(format!("{file}: {}", tree.root_node().to_sexp()).into());
        }
        captures += colours(&query, &tree, &text).len();
    }
    check_colours(&mut parser, &query)?;
    println!("tree-sitter: {} files without an error, {captures} colours", files.len());
    Ok(())
}

/// Every coloured text with its colour; of several colours the last, as editors do it.
fn colours(query: &Query, tree: &tree_sitter::Tree, text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(std::ops::Range<usize>, String)> = Vec::new();
    let mut cursor = QueryCursor::new();
    let mut captures = cursor.captures(query, tree.root_node(), text.as_bytes());
    while let Some((matched, index)) = captures.next() {
        let capture = matched.captures[*index];
        let name = query.capture_names()[capture.index as usize].to_owned();
        match found.iter_mut().find(|(range, _)| *range == capture.node.byte_range()) {
            Some(known) => known.1 = name,
            None => found.push((capture.node.byte_range(), name)),
        }
    }
    found.into_iter().map(|(range, name)| (text[range].to_owned(), name)).collect()
}

fn check_colours(parser: &mut Parser, query: &Query) -> Result<(), Box<dyn Error>> {
    let text = "model { x = conv2d(8, kernel = 3) -> relu -> own }\nloss = mse\nlet a = auto\n";
    let tree = parser.parse(text, None).ok_or("a parser without a limit ends")?;
    let found = colours(query, &tree, text);
    for (word, colour) in [
        ("model", "type"),
        ("x", "label"),
        ("conv2d", "function.builtin"),
        ("kernel", "variable.parameter"),
        ("relu", "function.builtin"),
        ("own", "function"),
        ("loss", "property"),
        ("mse", "function.builtin"),
        ("let", "keyword"),
        ("auto", "constant.builtin"),
        ("8", "number"),
    ] {
        if !found.contains(&(word.to_owned(), colour.to_owned())) {
            return Err(format!("`{word}` is not `{colour}`: {found:?}").into());
        }
    }
    for broken in ["model { a -> }", "loss = ", "data {", "train { epochs 3 }"] {
        let tree = parser.parse(broken, None).ok_or("a parser without a limit ends")?;
        if !tree.root_node().has_error() {
            return Err(format!("`{broken}` is read without an error").into());
        }
    }
    Ok(())
}
