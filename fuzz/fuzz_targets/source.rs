//! Any text is checked without a panic, its tree is the text, and every span lies on the border of characters.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nnoptc::check::{Request, compile};
use nnoptc::formats::files::Memory;
use nnoptc::syntax::parse;

const TABLE: &str = "a,b,label\n1,2,x\n3,4,y\n5,6,x\n7,8,y\n9,1,x\n2,3,y\n";

fuzz_target!(|text: &str| {
    let parsed = parse(0, text);
    assert_eq!(parsed.syntax().text().to_string(), text);
    let files = Memory::new().with("a.nnopt", text).with("t.csv", TABLE);
    let request = Request { path: "a.nnopt".into(), ..Request::default() };
    let Ok(compilation) = compile(&request, &files) else { panic!("a text in memory can be read") };
    for diagnostic in &compilation.diagnostics {
        let spans = diagnostic.labels.iter().map(|label| label.span);
        let edits = diagnostic.fixes.iter().flat_map(|fix| &fix.edits).map(|(span, _)| *span);
        for span in spans.chain(edits) {
            let text = &compilation.sources.file(span.file).text;
            assert!(text.get(span.range()).is_some(), "{span:?} of {}", diagnostic.message);
        }
    }
});
