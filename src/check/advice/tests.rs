//! Each kind of advice: its words and place for figures that show it, its edit, and near misses.

use super::*;
use crate::check::{Request, compile};
use crate::formats::Memory;

const PIPELINE: &str = "nnopt 1
data {
    train = csv(\"x.csv\", target = y)
    val   = split(train, 20%)
    normalize = auto
}
model {
    linear(8) -> sigmoid
    linear(8) -> relu
    linear(classes)
}
loss      = cross_entropy
optimizer = sgd(lr = 0.5)
train {
    epochs = 30
    batch  = 8
}
";

/// A line of `metrics.jsonl`.
fn epoch(number: usize, figures: &str) -> String {
    format!("{{\"event\":\"epoch\",\"epoch\":{number},\"seconds\":{number},\"lr\":0.5,{figures}}}\n")
}

/// Epochs with these training and validation losses.
fn losses(losses: &[(f64, f64)]) -> String {
    let line = |(index, (train, val)): (usize, &(f64, f64))| {
        epoch(index + 1, &format!("\"train.loss\":{train},\"val.loss\":{val}"))
    };
    losses.iter().enumerate().map(line).collect()
}

/// What is said of a run of a pipeline: place, code and message, then the pipeline with the first fix applied.
fn said(pipeline: &str, metrics: &str, summary: Option<&str>) -> (Vec<String>, String) {
    let row = |row: usize| format!("{},{},{}\n", row % 5, row % 7, row % 2);
    let table = "a,b,y\n".to_owned() + &(0..40).map(row).collect::<String>();
    let files = Memory::new().with("x.csv", table).with("p.nnopt", pipeline);
    let request = Request { path: "p.nnopt".into(), ..Request::default() };
    let compilation = compile(&request, &files).unwrap();
    let program = compilation.program.unwrap_or_else(|| panic!("{:#?}", compilation.diagnostics));
    let record = Record::read(metrics, summary).unwrap();
    let all = advise(&program, &compilation.sources, &record);
    let mut mended = pipeline.to_owned();
    if let Some(fix) = all.iter().find_map(|diagnostic| diagnostic.fixes.first()) {
        for (span, text) in fix.edits.iter().rev() {
            mended.replace_range(span.range(), text);
        }
        let files = files.with("p.nnopt", mended.clone());
        assert!(compile(&request, &files).unwrap().program.is_some(), "{mended}");
    }
    let line = |diagnostic: &Diagnostic| {
        let text = compilation.sources.text(diagnostic.span());
        format!("{} `{text}`: {}", diagnostic.code.0, diagnostic.message)
    };
    (all.iter().map(line).collect(), mended)
}

#[track_caller]
fn check(metrics: &str, wanted: &str, edit: (&str, &str)) {
    let (found, mended) = said(PIPELINE, metrics, None);
    assert_eq!(found, [wanted]);
    assert_eq!(mended, PIPELINE.replacen(edit.0, edit.1, 1));
}

#[track_caller]
fn check_silent(metrics: &str) {
    assert_eq!(said(PIPELINE, metrics, None).0, [""; 0]);
}

#[test]
fn a_training_that_ended_with_an_overflow() {
    let summary = "{\"status\":\"diverged\",\"failure\":\"the loss was not finite at step 3: first a `exp`\"}";
    let (found, mended) = said(PIPELINE, "", Some(summary));
    assert_eq!(found, ["W0601 `0.5`: the training diverged: the loss was not finite"]);
    assert_eq!(mended, PIPELINE.replace("lr = 0.5", "lr = 0.05"));
    // A rate that is not written is written.
    for (call, mended_call) in [("sgd", "sgd(lr = 1e-4)"), ("sgd(momentum = 0.9)", "sgd(momentum = 0.9, lr = 1e-4)")] {
        let (_, mended) = said(&PIPELINE.replace("sgd(lr = 0.5)", call), "", Some(summary));
        assert!(mended.contains(&format!("optimizer = {mended_call}\n")), "{mended}");
    }
}

#[test]
fn a_loss_that_rises() {
    let risen = losses(&[(1.0, 1.0), (0.8, 0.9), (1.3, 1.4)]);
    check(&risen, "W0601 `0.5`: the training loss rose from 0.8 to 1.3", ("lr = 0.5", "lr = 0.05"));
    // A bump, and a loss that is lower than at the beginning.
    check_silent(&losses(&[(1.0, 1.0), (0.8, 0.9), (1.1, 1.0)]));
    check_silent(&losses(&[(3.0, 3.0), (0.8, 0.8), (1.3, 0.8)]));
}

#[test]
fn a_loss_that_stays() {
    let at = |epoch: i32| if epoch < 6 { 2.0 - 0.2 * f64::from(epoch) } else { 0.9 + 0.001 * f64::from(epoch % 3) };
    let flat: Vec<(f64, f64)> = (0..18).map(|epoch| (at(epoch), at(epoch))).collect();
    check(
        &losses(&flat),
        "W0602 `sgd(lr = 0.5)`: the training loss stayed at 0.902 for the last 6 epochs",
        ("sgd(lr = 0.5)", "sgd(lr = 0.5)\nschedule = cosine"),
    );
    // With a schedule, more epochs bring nothing.
    let scheduled = PIPELINE.replace("optimizer =", "schedule  = cosine\noptimizer =");
    let (found, mended) = said(&scheduled, &losses(&flat), None);
    assert_eq!(found, ["W0602 `30`: the training loss stayed at 0.902 for the last 6 epochs"]);
    assert_eq!(mended, scheduled.replace("epochs = 30", "epochs = 12"));
    // A loss that has not begun to fall needs no schedule, but longer steps; if those are long already, another look.
    let never: Vec<(f64, f64)> = (0..12).map(|epoch| (2.3 - 0.001 * f64::from(epoch), 2.3)).collect();
    let slow = PIPELINE.replace("lr = 0.5", "lr = 1e-3");
    let (found, mended) = said(&slow, &losses(&never).replace("\"lr\":0.5", "\"lr\":1e-3"), None);
    assert_eq!(found, ["W0602 `1e-3`: the training loss has not fallen in 12 epochs: from 2.3 to 2.29"]);
    assert_eq!(mended, slow.replace("1e-3", "0.01"));
    let (found, mended) = said(PIPELINE, &losses(&never), None);
    assert_eq!(found, ["W0602 `0.5`: the training loss has not fallen in 12 epochs: from 2.3 to 2.29"]);
    assert_eq!(mended, PIPELINE);
    // Too short to tell; still falling; low enough.
    check_silent(&losses(&flat[..8]));
    let falls: Vec<(f64, f64)> = (0..18).map(|epoch| (2.0 - 0.05 * f64::from(epoch), 2.0)).collect();
    check_silent(&losses(&falls));
    let low: Vec<(f64, f64)> = (0..18).map(|epoch| if epoch == 0 { (2.0, 2.0) } else { (0.01, 0.01) }).collect();
    check_silent(&losses(&low));
}

#[test]
fn a_model_that_overfits() {
    let gap = [(1.0, 1.1), (0.7, 0.9), (0.5, 0.8), (0.4, 0.85), (0.3, 0.9), (0.2, 1.0)];
    check(
        &losses(&gap),
        "W0603 `30`: the model overfits: `val.loss` rose from 0.8 to 1",
        ("batch  = 8", "batch  = 8\n    early_stop = patience(3 epochs, on = val.loss)"),
    );
    let stops = PIPELINE.replace("batch  = 8", "batch  = 8; early_stop = patience(5 epochs)");
    let (found, mended) = said(&stops, &losses(&gap), None);
    assert_eq!(found, ["W0603 `linear(8)`: the model overfits: `val.loss` rose from 0.8 to 1"]);
    assert_eq!(mended, stops.replace("sgd(lr = 0.5)", "sgd(lr = 0.5)\nregularization = l2(1e-3)"));
    let decays = stops.replace("lr = 0.5", "lr = 0.5, weight_decay = 1e-4");
    assert_eq!(said(&decays, &losses(&gap), None).1, decays);
    // A gap that does not widen, and both losses rising.
    check_silent(&losses(&[(1.0, 1.1), (0.5, 0.8), (0.3, 0.82), (0.2, 0.81), (0.2, 0.8), (0.2, 0.82)]));
    check_silent(&losses(&[(1.0, 1.1), (0.5, 0.8), (0.52, 0.9), (0.55, 0.9), (0.6, 0.9), (0.6, 0.95)]));
}

/// Gradients of the three layers, and the share of dead units of the relu.
fn health(number: usize, gradients: [f64; 3], dead: f64) -> String {
    let [a, b, c] = gradients;
    epoch(
        number,
        &format!(
            "\"gradients\":{{\"model.0.weight\":{a},\"model.0.bias\":1e-9,\"model.2.weight\":{b},\
             \"model.4.weight\":{c}}},\"dead\":{{\"model.1\":0,\"model.3\":{dead}}}"
        ),
    )
}

#[test]
fn units_that_are_dead() {
    let dead = health(1, [1.0; 3], 0.25) + &health(30, [1.0; 3], 0.625);
    check(&dead, "W0604 `relu`: 62.5% of the units of `relu` are dead", ("lr = 0.5", "lr = 0.15"));
    let most = health(1, [1.0; 3], 0.875) + &health(30, [1.0; 3], 0.875);
    check(&most, "W0604 `relu`: 87.5% of the units of `relu` are dead", ("lr = 0.5", "lr = 0.15"));
    // They come alive, or were few samples' from the beginning.
    check_silent(&(health(1, [1.0; 3], 0.6) + &health(30, [1.0; 3], 0.4)));
    check_silent(&(health(1, [1.0; 3], 0.5625) + &health(30, [1.0; 3], 0.625)));
}

#[test]
fn gradients_that_explode() {
    let grown = health(1, [1.0, 2.0, 1.0], 0.0) + &health(9, [10.0, 300.0, 1.0], 0.0);
    let clip = ("batch  = 8", "batch  = 8\n    clip_norm = 1");
    check(&grown, "W0605 `linear(8)`: the gradients grew from 2 to 300", clip);
    let overflow = grown.replace("300", "null");
    check(&overflow, "W0605 `linear(8)`: the gradients are not finite any more", clip);
    check_silent(&(health(1, [1.0; 3], 0.0) + &health(9, [99.0, 1.0, 1.0], 0.0)));
    let back = |number: usize, bias: [f64; 2]| {
        health(number, [1.0; 3], 0.0)
            .replace("\"model.0.bias\":1e-9", &format!("\"model.0.bias\":{},\"model.4.bias\":{}", bias[0], bias[1]))
    };
    let through = back(1, [3e5, 20.0]) + &back(9, [9e5, 30.0]);
    let (found, mended) = said(PIPELINE, &through, None);
    assert_eq!(found, ["W0605 `linear(8)`: the gradient explodes on its way back to `linear(8)`"]);
    assert_eq!(mended, PIPELINE);
    check_silent(&(back(1, [3e5, 20.0]) + &back(9, [9.0, 30.0])));
    let clipped = PIPELINE.replace("batch  = 8", "batch  = 8\n    clip_norm = 1");
    assert_eq!(said(&clipped, &grown, None).0, [""; 0]);
}

#[test]
fn gradients_that_vanish() {
    let gone = [1, 9].map(|number| health(number, [1e-6, 0.5, 1.0], 0.0)).concat();
    let (found, mended) = said(PIPELINE, &gone, None);
    assert_eq!(found, ["W0606 `linear(8)`: the gradient vanishes before it reaches `linear(8)`"]);
    assert_eq!(mended, PIPELINE.replace("sigmoid", "relu"));
    // A slow start, and a layer that is merely smaller.
    check_silent(&(health(1, [1e-6, 0.5, 1.0], 0.0) + &health(9, [0.1, 0.5, 1.0], 0.0)));
    check_silent(&[1, 9].map(|number| health(number, [1e-3, 0.5, 1.0], 0.0)).concat());
}

#[test]
fn a_device_that_waits() {
    let waits = epoch(20, "\"data_seconds\":8");
    let (found, mended) = said(PIPELINE, &waits, None);
    assert_eq!(mended, PIPELINE.replace("batch  = 8", "batch  = 32"));
    assert_eq!(found, ["W0607 `8`: the device waited for the host in 40% of the training"]);
    check_silent(&epoch(20, "\"data_seconds\":2"));
    check_silent(&epoch(5, "\"data_seconds\":4"));
    let (found, _) = said(PIPELINE, &epoch(20, "\"data_seconds\":0"), Some("{\"load_seconds\":30,\"seconds\":20}"));
    assert_eq!(found.len(), 1);
    assert!(found[0].ends_with("reading the data took 60% of the run"), "{found:?}");
}

#[test]
fn figures_are_read_up_to_a_line_that_is_being_written() {
    let text = losses(&[(1.0, 1.0)]) + "{\"event\":\"epoch\",\"ep";
    assert_eq!(Record::read(&text, None).unwrap().epochs.len(), 1);
    assert!(Record::read("nonsense\n", None).unwrap_err().starts_with("line 1: "));
    assert!(Record::read("", Some("nonsense")).is_err());
    assert_eq!(said(PIPELINE, "", None).0, [""; 0]);
}
