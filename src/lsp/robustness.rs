//! Tests that no text and no place in it makes a request panic.

use gen_lsp_types as lsp;

use super::document::{Document, Encoding};
use super::{completion, folding, hover, inlay, names, signature, symbols, tokens};
use crate::syntax::robustness::mutants;

fn ask_everything(text: &str, encoding: Encoding, stride: usize) {
    let document = Document::new(lsp::Uri("file:///a.nnopt".to_owned()), 1, text, encoding);
    symbols::symbols(&document);
    folding::ranges(&document);
    tokens::tokens(&document);
    inlay::hints(&document, lsp::Range::default());
    for offset in text.char_indices().map(|(offset, _)| offset).step_by(stride).chain([text.len()]) {
        let position = document.lines.position(offset);
        assert!(document.offset(position) <= offset);
        hover::hover(&document, offset);
        completion::complete(&document, offset, true);
        signature::help(&document, offset);
        let names = names::Names::around(&document, std::iter::empty());
        names::definition(&names, offset);
        let _ = names::rename(&names, offset, "other");
    }
}

#[test]
fn no_mutant_makes_a_request_panic() {
    for (number, text) in mutants().enumerate().step_by(41) {
        let encoding = if number % 2 == 0 { Encoding::Utf8 } else { Encoding::Utf16 };
        ask_everything(&text, encoding, 97);
    }
}

#[test]
fn odd_texts_make_no_request_panic() {
    for text in
        ["", "\u{feff}", "😀", "a", "(", "model {", "block (", "let", "data { train = csv(\"", "x = [,", "}\r\n}", "\0"]
    {
        ask_everything(text, Encoding::Utf16, 1);
    }
}

#[test]
fn every_place_of_the_sample_can_be_asked_about() {
    ask_everything(crate::syntax::tests::SAMPLE, Encoding::Utf16, 1);
}
