//! The choice of a device: each way to name one, what `devices` says of them, and words for one that is not there or is
//! too small.

use std::path::Path;

use nnoptc::train::memory::Limits;

use crate::cli::{nnoptc, text};
use crate::harness::adapters;
use crate::training::repository;

/// One epoch of iris on a device; the device's name from the summary, or the message.
fn device(folder: &Path, given: &[&str]) -> Result<String, String> {
    let iris = repository("examples/iris.nnopt");
    let out = folder.join("run");
    std::fs::remove_dir_all(&out).unwrap_or_default();
    let base = ["run", iris.to_str().unwrap(), "--out", out.to_str().unwrap(), "-q", "--set", "train.epochs=1"];
    let output = nnoptc(folder, &[&base[..], given].concat());
    if output.status.success() {
        let summary: serde_json::Value =
            serde_json::from_slice(&std::fs::read(out.join("summary.json")).unwrap()).unwrap();
        return Ok(summary["device"].as_str().unwrap().to_owned());
    }
    assert_eq!(output.status.code(), Some(3));
    Err(text(&output.stderr).to_owned())
}

#[test]
fn each_way_to_name_a_device_chooses_it() {
    let folder = tempfile::tempdir().unwrap();
    for adapter in adapters() {
        assert!(!adapter.uuid.is_empty() && adapter.memory_bytes.is_some(), "{adapter:?}");
        let others = adapters().iter().filter(|other| other.index != adapter.index);
        assert!(others.into_iter().all(|other| other.uuid != adapter.uuid), "{adapter:?}");
        let begin = adapter.uuid[..18].to_uppercase();
        let index = adapter.index.to_string();
        for name in [&index, &adapter.uuid, &begin, &adapter.bus, &adapter.name] {
            // Not every adapter is on a bus.
            if !name.is_empty() {
                assert_eq!(device(folder.path(), &["--device", name]).as_ref(), Ok(&adapter.name), "{name}");
            }
        }
        for list in [format!("[\"{}\"]", adapter.uuid), format!("[{index}]")] {
            let given = ["--set", &format!("train.devices={list}")];
            assert_eq!(device(folder.path(), &given).as_ref(), Ok(&adapter.name), "{list}");
        }
        let together = format!("train.devices=[\"{}\", cpu]", adapter.uuid);
        let name = device(folder.path(), &["--set", &together, "--set", "train.batch=16"]).unwrap();
        assert!(name.contains(&adapter.name), "{name}");
        let name = device(folder.path(), &["--device", &adapter.backend]).unwrap();
        let all = nnoptc::backend::gpu::adapters();
        let same: Vec<_> = all.iter().filter(|other| other.backend == adapter.backend).collect();
        assert!(same.iter().any(|other| other.name == name), "{name}");
    }
}

#[test]
fn a_device_that_is_not_there_is_said_with_those_that_are() {
    let folder = tempfile::tempdir().unwrap();
    for wanted in ["H9000", "0000:ff:1f.7", "ffffffff-ffff-ffff-ffff-ffffffffffff", "77", "[\"H9000\", cpu]"] {
        let said = device(folder.path(), &["--device", wanted]).unwrap_err();
        let name = wanted.trim_start_matches("[\"").split('"').next().unwrap();
        assert!(said.starts_with(&format!("error: no adapter for `devices = {name}`: ")), "{said}");
        if let Some(adapter) = adapters().first() {
            let own = format!("{} `{}` ({}, {}", adapter.index, adapter.name, adapter.kind, adapter.backend);
            assert!(said.contains(&own) && said.contains(&format!("UUID {})", adapter.uuid)), "{said}");
            assert!(said.contains("; expected the number of one of them, a part of its name, its UUID, "), "{said}");
        }
    }
}

#[test]
fn the_list_tells_adapters_apart() {
    let folder = tempfile::tempdir().unwrap();
    let table = nnoptc(folder.path(), &["devices"]);
    let table = text(&table.stdout);
    let head = table.lines().next().unwrap();
    assert!(head.contains(" memory ") && head.contains(" bus ") && head.contains(" UUID "), "{table}");
    let output = nnoptc(folder.path(), &["--message-format", "json", "devices"]);
    let objects: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for adapter in adapters() {
        let object = objects.iter().find(|object| object["index"] == adapter.index).unwrap();
        assert_eq!(object["uuid"], *adapter.uuid);
        assert_eq!(object["memory_bytes"].as_u64(), adapter.memory_bytes);
        assert_eq!(object["bus"].as_str().unwrap_or(""), adapter.bus);
        assert!(table.lines().any(|line| line.contains(&adapter.uuid)), "{table}");
    }
}

#[test]
fn what_an_adapter_cannot_hold_is_refused_by_the_plan_with_what_would_fit() {
    let folder = tempfile::tempdir().unwrap();
    let data = repository("examples/data/digits.csv");
    let plan = |units: usize, devices: &str| {
        let text = format!(
            "nnopt 1\ndata {{ train = csv(\"{}\", target = label) }}\nmodel {{ linear({units}) -> relu -> \
             linear(classes) }}\nloss = cross_entropy\noptimizer = sgd(lr = 0.1)\ntrain {{ epochs = 1; batch = 1024; \
             devices = {devices} }}\n",
            data.display()
        );
        std::fs::write(folder.path().join("a.nnopt"), text).unwrap();
        let output = nnoptc(folder.path(), &["plan", "a.nnopt"]);
        assert!(text_of(&output.stdout).contains("activations, gradients, temporaries"), "the plan is shown");
        (output.status.code(), text_of(&output.stderr))
    };
    for adapter in adapters() {
        let index = adapter.index.to_string();
        let (code, said) = plan(64, &index);
        assert_eq!(code, Some(0), "{said}");
        // Activations of 0.8 GiB, of which the step needs several.
        let (code, said) = plan(200_000, &index);
        let is_small = adapter.memory_bytes.unwrap() < 3 << 30 || adapter.max_binding_bytes < 1 << 30;
        if is_small {
            assert_eq!(code, Some(3), "{said}");
            let begin = "error: the training needs ";
            assert!(said.contains(begin) && said.contains(&format!(" on `{}`, which has ", adapter.name)), "{said}");
            assert!(said.contains("the largest tensors are ") && said.contains("; a batch of "), "{said}");
        }
    }
}

fn text_of(bytes: &[u8]) -> String {
    text(bytes).to_owned()
}

#[test]
fn replicas_share_the_memory_of_their_adapter() {
    for adapter in adapters() {
        let alone = Limits::of_adapter(adapter, 1);
        // Main memory, of which the system may have less, and a little more or less a moment later.
        let (one, four) = (alone.total.unwrap(), Limits::of_adapter(adapter, 4).total.unwrap());
        assert!(one <= adapter.memory_bytes.unwrap(), "{alone:?}");
        assert!(four < one / 3 && four > one / 6, "{one} and {four}");
    }
}
