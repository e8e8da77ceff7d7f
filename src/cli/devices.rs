//! `nnoptc devices`: what can train here.

use serde_json::json;

use crate::backend::cpu;
use crate::backend::gpu::{self, Adapter, adapters, self_test};
use crate::backend::speed::{self, Speed};
use crate::report::table::{Align, Table, bytes};
use crate::train::memory::Limits;

use super::args::{Devices, MessageFormat};
use super::output::{Exit, Failure, Output};

/// Lists the CPU and all adapters; with `--check`, lets each compute.
pub fn execute(args: &Devices, output: &Output) -> Result<Exit, Failure> {
    let adapters = adapters();
    let checked: Vec<(Adapter, Option<Checked>)> = adapters
        .into_iter()
        .map(|adapter| {
            let result = args.check.then(|| check(&adapter));
            (adapter, result)
        })
        .collect();
    let native = args.check.then(|| speed::measure(&|setup| cpu::open(setup, None)));
    let native = native.transpose().map_err(|error| Failure::world(super::output::chain(&error)))?;
    if output.format == MessageFormat::Json {
        for (adapter, result) in &checked {
            output.json(&object(adapter, result.as_ref()))?;
        }
    } else {
        output.data(&list(native, &checked))?;
        if checked.is_empty() {
            output.say("no adapter was found: install the GPU's driver (Vulkan, Metal or Direct3D 12) to use one");
        }
    }
    let failed = checked.iter().any(|(_, result)| matches!(result, Some(Err(_))));
    Ok(if failed { Exit::World } else { Exit::Done })
}

/// The speed of an adapter, or what is wrong with it.
type Checked = Result<Speed, String>;

fn check(adapter: &Adapter) -> Checked {
    if let Some(shortcoming) = adapter.shortcoming() {
        return Err(shortcoming);
    }
    let checks = self_test(adapter).map_err(|error| super::output::chain(&error))?;
    let problems: Vec<String> = checks
        .iter()
        .filter_map(|check| check.problem.as_ref().map(|problem| format!("{}: {problem}", check.name)))
        .collect();
    if !problems.is_empty() {
        return Err(problems.join("; "));
    }
    speed::measure(&|setup| gpu::open(setup, adapter, gpu::Choice::Measured))
        .map_err(|error| super::output::chain(&error))
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn list(native: Option<Speed>, adapters: &[(Adapter, Option<Checked>)]) -> String {
    let mut table = Table::new([
        ("devices =", Align::Left),
        ("name", Align::Left),
        ("kind", Align::Left),
        ("driver", Align::Left),
        ("memory", Align::Right),
        ("buffer", Align::Right),
        ("16 bits", Align::Left),
        ("subgroup", Align::Right),
        ("matrices", Align::Left),
        ("bus", Align::Left),
        ("UUID", Align::Left),
        ("state", Align::Left),
    ]);
    let name = format!("native executor, {} threads", threads());
    let state = native.map_or("ready".to_owned(), show);
    let memory = Limits::of_cpu().total.map_or_else(String::new, bytes);
    table.row(["cpu", &name, "CPU", "", &memory, "", "rounded", "", "", "", "", &state]);
    for (adapter, result) in adapters {
        let state = match (adapter.shortcoming(), result) {
            (_, Some(Ok(speed))) => format!("computes correctly, {}", show(*speed)),
            (_, Some(Err(problem))) => format!("unusable: {problem}"),
            (Some(shortcoming), None) => format!("unusable: {shortcoming}"),
            // `auto` and `gpu` do not choose it.
            (None, None) if adapter.software => "only when named".to_owned(),
            (None, None) => "ready".to_owned(),
        };
        table.row([
            adapter.index.to_string(),
            adapter.name.clone(),
            adapter.kind.to_owned(),
            format!("{} {}", adapter.backend, adapter.driver).trim().to_owned(),
            adapter.memory_bytes.map_or_else(|| "unknown".to_owned(), bytes),
            bytes(adapter.max_binding_bytes.min(adapter.max_buffer_bytes)),
            // Where the driver cannot store them by itself, they are halves of words.
            if adapter.features.contains(&"shader-f16") { "stored" } else { "in words" }.to_owned(),
            match adapter.subgroups {
                Some([least, most]) if least == most => least.to_string(),
                Some([least, most]) => format!("{least}–{most}"),
                None => "none".to_owned(),
            },
            match &adapter.matrices[..] {
                [] => "none".to_owned(),
                all => all.join(", "),
            },
            adapter.bus.clone(),
            adapter.uuid.clone(),
            state,
        ]);
    }
    table.to_string()
}

/// Products and copies a second.
fn show(speed: Speed) -> String {
    let Speed { product, copy } = speed;
    format!("products {} GFLOP/s, copies {} GB/s", digits(product / 1e9), digits(copy / 1e9))
}

/// Two digits of a figure that differs from run to run.
fn digits(number: f64) -> String {
    if number >= 10.0 { format!("{number:.0}") } else { format!("{number:.1}") }
}

fn object(adapter: &Adapter, result: Option<&Checked>) -> serde_json::Value {
    json!({
        "event": "device",
        "index": adapter.index,
        "name": adapter.name,
        "kind": adapter.kind,
        "backend": adapter.backend,
        "driver": adapter.driver,
        "bus": if adapter.bus.is_empty() { None } else { Some(&adapter.bus) },
        "uuid": if adapter.uuid.is_empty() { None } else { Some(&adapter.uuid) },
        "memory_bytes": adapter.memory_bytes,
        "software": adapter.software,
        "max_buffer_bytes": adapter.max_buffer_bytes,
        "max_binding_bytes": adapter.max_binding_bytes,
        "max_workgroup_bytes": adapter.max_workgroup_bytes,
        "max_invocations": adapter.max_invocations,
        "features": adapter.features,
        "subgroup_sizes": adapter.subgroups,
        "cooperative_matrices": adapter.matrices,
        "shortcoming": adapter.shortcoming(),
        "check": result.map(|result| match result {
            Ok(_) => "ok".to_owned(),
            Err(problem) => problem.clone(),
        }),
        "products_per_second": result.and_then(|result| result.as_ref().ok()).map(|speed| speed.product),
        "copied_bytes_per_second": result.and_then(|result| result.as_ref().ok()).map(|speed| speed.copy),
    })
}
