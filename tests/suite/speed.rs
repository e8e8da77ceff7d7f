//! How long checking and starting take, as the program itself says with `-v`.
//!
//! The aims are 30 ms for a check, 50 ms from text to plan and 300 ms to the first step, of an optimized build on an idle
//! machine. Tests run unoptimized and beside each other, so
//! the bounds here are wide: they notice work that grew by a factor, not by a share.

use std::path::Path;
use std::process::Command;

/// The middle of five figures that follow a text on stderr.
fn median(arguments: &[&str], before: &str) -> f64 {
    let mut figures: Vec<f64> = (0..5)
        .map(|_| {
            let folder = tempfile::tempdir().unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_nnoptc"));
            let output = command.current_dir(folder.path()).args(arguments).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{said}");
            let (_, after) = said.split_once(before).unwrap_or_else(|| panic!("`{before}` is not in {said}"));
            after.split_whitespace().next().unwrap().parse().unwrap_or_else(|_| panic!("{said}"))
        })
        .collect();
    figures.sort_by(f64::total_cmp);
    figures[2]
}

#[test]
fn a_file_of_300_lines_is_checked_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.nnopt");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/digits.csv");
    let layers = "    linear(64) -> relu   # one of many\n".repeat(286);
    let text = format!(
        "nnopt 1\n\ndata {{\n    train = csv({data:?}, target = label)\n}}\nmodel {{\n{layers}    linear(classes)\n}}\n\
         loss = cross_entropy\noptimizer = adam\ntrain {{\n    epochs = 1\n}}\n"
    );
    assert!(text.lines().count() >= 299);
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    let took = median(&["-v", "check", path], &format!("checked `{path}` in "));
    println!("checked 300 lines in {took} ms");
    assert!(took < 300.0, "{took} ms");
}

#[test]
fn a_training_starts_at_once() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits.nnopt");
    let arguments = ["-v", "run", example.to_str().unwrap(), "--device", "cpu", "--set", "train.epochs=1"];
    let took = median(&arguments, "the first step begins ");
    println!("the first step begins after {took} s");
    assert!(took < 5.0, "{took} s");
}

/// ResNet-20 of K. He et al., Deep Residual Learning for Image Recognition, 2015, on the digits.
fn resnet_20() -> String {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/digits.csv");
    let unit = |channels: usize, stride: usize, shortcut: &str| {
        let convolution = format!("conv2d({channels}, 3, padding = 1, bias = false");
        format!(
            "residual {{\n{convolution}, stride = {stride}) -> batch_norm -> relu\n{convolution}) -> batch_norm\n}}\
             {shortcut} -> relu\n"
        )
    };
    let stage = |channels: usize| {
        let shortcut = format!(" shortcut {{ conv2d({channels}, 1, stride = 2, bias = false) -> batch_norm }}");
        unit(channels, 2, &shortcut) + &unit(channels, 1, "").repeat(2)
    };
    let layers = unit(16, 1, "").repeat(3) + &stage(32) + &stage(64);
    format!(
        "nnopt 1\ndata {{\ntrain = csv({data:?}, target = label, shape = [1, 8, 8])\n}}\nmodel {{\n\
         conv2d(16, 3, padding = 1, bias = false) -> batch_norm -> relu\n{layers}\
         global_avg_pool -> linear(classes)\n}}\nloss = cross_entropy\noptimizer = sgd(lr = 0.1, momentum = 0.9)\n\
         train {{ epochs = 1; batch = 512 }}\n"
    )
}

#[test]
fn a_network_of_20_layers_is_planned_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resnet.nnopt");
    std::fs::write(&path, resnet_20()).unwrap();
    let arguments = ["-v", "run", path.to_str().unwrap(), "--device", "cpu"];
    let took = median(&arguments, "planned in ");
    println!("planned ResNet-20 in {took} ms");
    assert!(took < 1000.0, "{took} ms");
}
