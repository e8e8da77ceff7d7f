//! `precision = f16_storage`: trainings to their threshold, checkpoints, memory, and what cannot be stored.

use nnoptc::backend::gpu;
use nnoptc::check::program::Precision;
use nnoptc::check::{Request, compile};
use nnoptc::data::load::load;
use nnoptc::formats::Disk;
use nnoptc::formats::files::Memory;
use nnoptc::formats::safetensors::{Element, Tensors};
use nnoptc::plan::prepare::prepare_in;

use crate::cli::{nnoptc, text};
use crate::harness::adapters;
use crate::training::{accuracy, has_mnist, program, repository, train};

#[test]
fn digits_are_learnt_on_every_device() {
    let mut devices = vec!["cpu".to_owned()];
    devices.extend(adapters().iter().map(|adapter| adapter.index.to_string()));
    for device in devices {
        let sets = [&format!("train.devices={device}"), "train.precision=f16_storage"];
        let summary = train(&program("examples/digits.nnopt", &sets), None);
        let figure = summary.test.iter().find(|(name, _)| name == "accuracy").unwrap().1;
        assert!(figure >= 0.95, "{figure} on {device}");
    }
}

#[test]
fn mnist_is_learnt_as_well_as_in_single_precision() {
    if has_mnist() {
        let figure =
            accuracy("examples/mnist_mlp.nnopt", &["train.devices=cpu", "train.seed=1", "train.precision=f16_storage"]);
        assert!(figure >= 0.973 - 0.003, "{figure}");
    }
}

#[test]
fn a_checkpoint_holds_16_bits_and_is_measured_as_the_training_was() {
    let mut devices = vec!["cpu".to_owned()];
    devices.extend(adapters().iter().map(|adapter| adapter.index.to_string()));
    let pipeline = repository("examples/digits_cnn.nnopt");
    for device in devices {
        let folder = tempfile::tempdir().unwrap();
        let sets = ["--set", "train.precision=f16_storage", "--set", "train.epochs=1", "--device", &device];
        let output =
            nnoptc(folder.path(), &[&["run", pipeline.to_str().unwrap(), "--out", "a", "-q"], &sets[..]].concat());
        assert!(output.status.success(), "{device}: {}", text(&output.stderr));
        let figures = text(&output.stdout).to_owned();
        assert!(figures.contains("test.accuracy"), "{figures}");

        let tensors = Tensors::read(&Disk, &folder.path().join("a/checkpoints/last.safetensors")).unwrap();
        let dtype = |name: &str| tensors.get(name).unwrap_or_else(|| panic!("`{name}` is kept")).dtype;
        assert_eq!(dtype("model.0.weight"), Element::F16);
        let others: Vec<&str> = tensors.names().filter(|name| dtype(name) == Element::F32).collect();
        assert!(
            others.iter().any(|name| name.starts_with("optimizer.")) && others.contains(&"data.mean"),
            "{others:?}"
        );
        assert!(others.iter().all(|name| !name.ends_with(".weight") || name.starts_with("optimizer.")), "{others:?}");

        let output = nnoptc(folder.path(), &["eval", "a"]);
        assert_eq!((text(&output.stdout), output.status.code()), (&*figures, Some(0)), "{}", text(&output.stderr));
        // A model of 32 bits is another model.
        let weights = "a/checkpoints/last.safetensors";
        let output =
            nnoptc(folder.path(), &["eval", pipeline.to_str().unwrap(), "--weights", weights, "--device", &device]);
        assert!(
            text(&output.stderr).contains("`model.0.weight` has the type F16, not F32"),
            "{}",
            text(&output.stderr)
        );
    }
}

#[test]
fn weights_and_samples_take_half_the_memory_on_a_gpu() {
    let program = program("examples/iris.nnopt", &[]);
    let memory = |precision| prepare_in(&program, precision, gpu::FUSION).memory();
    let (single, halves) = (memory(Precision::F32), memory(Precision::F16Storage));
    // Labels are words.
    let rows = program.data.sources[0].header.rows as u64;
    let width = program.data.sample_shape[0] as u64;
    assert_eq!(single.data - halves.data, rows * width * 2);
    let weights = prepare_in(&program, Precision::F32, gpu::FUSION).parameters() as u64;
    assert_eq!(single.weights - halves.weights, weights * 2);
    assert_eq!(single.optimizer, halves.optimizer);
    // The CPU executor rounds, and keeps 32 bits.
    let memory = |precision| prepare_in(&program, precision, nnoptc::backend::cpu::FUSION).memory();
    let (single, halves) = (memory(Precision::F32), memory(Precision::F16Storage));
    assert_eq!((single.data, single.weights), (halves.data, halves.weights));
}

#[test]
fn samples_that_16_bits_do_not_hold_are_named() {
    let pipeline = "nnopt 1\ndata { train = csv(\"data.csv\", target = class) }\nmodel { linear(classes) }\n\
                    loss = cross_entropy\noptimizer = sgd\ntrain { batch = 2; precision = f16_storage }\n";
    let outcome = |number: &str| {
        let table = format!("a,b,class\n1,2,0\n3,{number},1\n5,6,0\n7,8,1\n");
        let files = Memory::new().with("p.nnopt", pipeline).with("data.csv", table.as_str());
        let compilation = compile(&Request { path: "p.nnopt".into(), ..Request::default() }, &files).unwrap();
        load(&compilation.program.unwrap(), &files).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(outcome("65504"), Ok(()));
    let error = outcome("-65520").unwrap_err();
    assert!(
        error
            .starts_with("row 2 of `data.csv` has the number -65520, the largest of 16 bits is 65,504; scale the data"),
        "{error}"
    );
}

#[test]
fn a_plan_shows_the_memory_of_each_precision_and_how_16_bits_are_stored() {
    let example = repository("examples/digits_cnn.nnopt");
    let example = example.to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let plan = |device: &str| {
        text(&nnoptc(folder.path(), &["plan", example, "--set", &format!("train.devices={device}")]).stdout).to_owned()
    };
    let cpu = plan("cpu");
    assert!(
        cpu.contains("\nthe CPU rounds numbers of 16 bits and keeps them in 32: the same results, no memory saved\n"),
        "{cpu}"
    );
    let heading = cpu.lines().position(|line| line.starts_with("memory on a GPU")).expect("there is the table");
    let rows: Vec<&str> = cpu.lines().skip(heading).take(10).collect();
    assert_eq!(rows[0].split_whitespace().rev().take(3).collect::<Vec<_>>(), ["f16_storage", "mixed", "f32"]);
    let program = program("examples/digits_cnn.nnopt", &[]);
    let wanted = [Precision::F32, Precision::Mixed, Precision::F16Storage]
        .map(|precision| nnoptc::train::memory::memory_on_gpu(&program, precision));
    let row = |name: &str| rows.iter().find(|row| row.starts_with(name)).unwrap_or_else(|| panic!("{name}: {cpu}"));
    let shown = nnoptc::report::table::bytes;
    for (name, of) in [
        ("weights and statistics", wanted.map(|memory| memory.weights)),
        ("optimizer and metrics", wanted.map(|memory| memory.optimizer)),
        ("activations, gradients, temporaries", wanted.map(|memory| memory.arena)),
        ("data", wanted.map(|memory| memory.data)),
        ("total", wanted.map(|memory| memory.total())),
    ] {
        let cells = of.map(shown);
        let found = row(name).trim_end();
        assert!(
            found.ends_with(&cells[2]) && found.contains(&cells[0]) && found.contains(&cells[1]),
            "{found}: {cells:?}"
        );
    }
    assert!(wanted[2].weights < wanted[0].weights && wanted[1].arena < wanted[0].arena);

    for adapter in adapters() {
        let listing = plan(&adapter.index.to_string());
        let native = gpu::has_native_halves(adapter).unwrap();
        let line = if native {
            format!("`{}` stores numbers of 16 bits by itself (`f16` of WGSL)", adapter.name)
        } else {
            format!("`{}` stores numbers of 16 bits as halves of words: its driver has no `f16`", adapter.name)
        };
        assert!(listing.contains(&line), "{line}: {listing}");
        assert_eq!(native, !adapter.name.contains("SwiftShader"), "{}", adapter.name);
        for precision in ["mixed", "f16_storage"] {
            let (precision, device) =
                (format!("train.precision={precision}"), format!("train.devices={}", adapter.index));
            let sets = ["--set", &precision, "--set", &device];
            let output = nnoptc(folder.path(), &[&["emit", example, "--stage", "wgsl"], &sets[..]].concat());
            let wgsl = text(&output.stdout);
            assert_eq!(wgsl.contains("enable f16;"), native, "{}", adapter.name);
            assert_eq!(wgsl.contains("_halves: array<atomic<u32>>"), !native, "{}", adapter.name);
        }
    }
}
