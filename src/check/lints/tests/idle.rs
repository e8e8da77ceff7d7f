//! Lints of what has no effect, and of `allow`.

use super::*;

#[test]
fn unused_let() {
    let text = |text: &str, model: &str| with(TABLE, &[("model { linear(8)", &format!("{text}\nmodel {{ {model}"))]);
    check_lint(
        "W0501",
        &text("let width = 8", "linear(9)"),
        &["2:5..10 W0501 nothing uses `width`", "  2:5..10: never read", "  fix: remove `width`"],
        &[
            text("let width = 8", "linear(width)"),
            text("let half = 4; let width = 2 * half", "linear(width)"),
            text("let width = 8\nprofile small { width = 4 }", "linear(width)"),
            text("let width = 8\nprofile small { width = 4 }", "linear(9)"),
            text("include \"lib.nnopt\"", "linear(9)"),
        ],
    );
    check_lint(
        "W0501",
        &text("let schedule = cosine", "linear(9)"),
        &[
            "2:5..13 W0501 nothing uses `schedule`",
            "  2:5..13: never read",
            "  help: `schedule = …` without `let` is the setting",
            "  fix: remove `schedule`",
        ],
        &[],
    );
}

#[test]
fn unused_block() {
    let text = |text: &str, model: &str| with(TABLE, &[("model { linear(8)", &format!("{text}\nmodel {{ {model}"))]);
    check_lint(
        "W0502",
        &text("block wide(n) { linear(n) }", "linear(9)"),
        &["2:7..11 W0502 no model uses the block `wide`", "  2:7..11: never built", "  fix: remove `wide`"],
        &[
            text("block wide(n) { linear(n) }", "wide(9)"),
            text("block a() { linear(8) }; block b() { a }", "repeat 2 { residual { b } shortcut { linear(8) } }"),
        ],
    );
    // A block that only an unused block calls is unused too.
    let both = said(&text("block a() { linear(8) }\nblock b() { a }", "linear(9)"));
    assert_eq!(both.iter().filter(|line| line.contains("W0502")).count(), 2);
}

#[test]
fn no_effect() {
    let chain = |text: &str| with(IMAGES, &[("-> flatten", text)]);
    check_lint(
        "W0503",
        &chain("-> dropout(0) -> flatten"),
        &["2:42..52 W0503 `dropout(0)` changes nothing", "  2:42..52: has no effect", "  fix: remove it"],
        &[chain("-> dropout(0.1) -> flatten")],
    );
    check_lint(
        "W0503",
        &chain("-> flatten -> flatten"),
        &[
            "2:53..60 W0503 `flatten` changes nothing",
            "  2:53..60: has no effect",
            "  note: what comes in is [batch, 64] already",
            "  fix: remove it",
        ],
        &[],
    );
    check_lint(
        "W0503",
        &chain("-> max_pool(1) -> flatten"),
        &["2:42..53 W0503 `max_pool(1)` changes nothing", "  2:42..53: has no effect", "  fix: remove it"],
        &[chain("-> max_pool(1, stride = 2) -> flatten"), chain("-> max_pool(3, stride = 1, padding = 1) -> flatten")],
    );
    check_lint(
        "W0503",
        &chain("-> relu -> flatten"),
        &[
            "2:42..46 W0503 `relu` changes nothing",
            "  2:42..46: has no effect",
            "  2:34..38: has done the same",
            "  fix: remove it",
        ],
        &[chain("-> max_pool(2) -> flatten -> linear(4) -> relu"), chain("-> tanh -> tanh -> flatten")],
    );
    let augment = |text: &str| with(IMAGES, &[("\nmodel", &format!("\naugment {{ {text} }}\nmodel"))]);
    check_lint(
        "W0503",
        &augment("random_crop(6)"),
        &["2:11..25 W0503 `random_crop(6)` changes nothing", "  2:11..25: has no effect", "  fix: remove it"],
        &[augment("random_crop(5)"), augment("random_crop(6, padding = 1)")],
    );
    assert_eq!(said(&augment("random_affine(0, scale = 0.9..1)")), [""; 0]);
    for idle in ["horizontal_flip(0)", "random_rotation(0..0)", "random_affine(0)"] {
        let lines = said(&augment(idle));
        assert_eq!(lines[0], format!("2:11..{} W0503 `{idle}` changes nothing", 11 + idle.len()));
    }
    check_lint(
        "W0503",
        &with(TABLE, &[("optimizer", "regularization = l2(0)\noptimizer")]),
        &["4:18..23 W0503 `l2(0)` changes nothing", "  4:18..23: has no effect", "  fix: remove `regularization`"],
        &[],
    );
    // In a block it is reported only where it changes nothing each time.
    let block = with(
        TABLE,
        &[(
            "model { linear(8) -> relu",
            "block head(rate) { linear(8) -> relu -> dropout(rate) }\nmodel { head(0) -> head(0.5)",
        )],
    );
    assert_eq!(said(&block), [""; 0]);
}

#[test]
fn unused_allow() {
    let allow = |text: &str| with(IMAGES, &[("3) -> relu", "3) -> batch_norm -> relu"), ("model { ", text)]);
    check_lint(
        "W0504",
        &allow("model { allow(no_warmup)\n"),
        &[
            "2:15..24 W0504 `allow(no_warmup)` silences nothing",
            "  2:15..24: has nothing to say here",
            "  fix: remove this `allow`",
            "3:1..22 W0201 the bias of `conv2d` has no effect before `batch_norm`",
            "  3:1..22: learns an offset for each channel",
            "  3:26..36: subtracts the mean of each channel, and with it the offset",
            "  fix: write `bias = false`",
        ],
        &[
            allow("model { allow(bias_before_norm)\n"),
            allow("allow(bias_before_norm)\nmodel { "),
            allow("allow(unused_allow, bias_before_norm, no_warmup)\nmodel { "),
        ],
    );
    check_lint(
        "W0504",
        &allow("allow(bias_before_norm, no_warmup)\nmodel { "),
        &[
            "2:25..34 W0504 `allow(no_warmup)` silences nothing",
            "  2:25..34: has nothing to say here",
            "  fix: remove `no_warmup`",
        ],
        &[],
    );
    check_lint(
        "W0504",
        &allow("allow(no_warmup, bias_before_norm)\nmodel { "),
        &[
            "2:7..16 W0504 `allow(no_warmup)` silences nothing",
            "  2:7..16: has nothing to say here",
            "  fix: remove `no_warmup`",
        ],
        &[],
    );
    // It holds for one statement, not for those after it.
    let second = allow("model { allow(bias_before_norm)\n conv2d(4, kernel = 1) -> batch_norm\n");
    assert_eq!(said(&second).iter().filter(|line| line.contains("W0201")).count(), 1);
}

#[test]
fn unknown_lints() {
    for (text, expected) in [
        ("allow(no_normalisation)\n", "1:7..23 E0220 there is no lint `no_normalisation`"),
        ("allow(W0101)\n", "1:7..12 E0220 there is no lint `W0101`"),
    ] {
        let lines = said(&format!("{text}{IMAGES}"));
        assert_eq!(lines[0], expected);
        assert_eq!(lines[2..], ["  help: a similar lint is `no_normalization`", "  fix: write `no_normalization`"]);
    }
    let lines = said(&format!("allow(everything)\n{IMAGES}"));
    assert_eq!(lines[2], "  help: `nnoptc explain` lists the lints with their codes");
}
