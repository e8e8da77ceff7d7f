//! A formatted text stays as it is; that it says the same, the formatter checks itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nnoptc::syntax::format::format;

fuzz_target!(|text: &str| {
    if let Ok(formatted) = format(0, text) {
        assert_eq!(format(0, &formatted).as_deref(), Ok(formatted.as_str()));
    }
});
