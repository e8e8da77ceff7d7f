//! The latest run of a pipeline, where editors look for advice.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use super::Record;
use crate::formats::run_folder::{COMMAND, METRICS, PIPELINE, SUMMARY};

/// The figures of the latest run in `runs` that was trained from this file with exactly this text, without overrides
/// but of the device, and its folder. Folders that cannot be read are no runs.
pub fn latest_run(runs: &Path, file: &Path, text: &str) -> Option<(PathBuf, Record)> {
    let stem = file.file_stem()?.to_str()?;
    let named = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        // `digits`, `digits-2`, `digits-3` …
        name.and_then(|name| name.strip_prefix(stem)).is_some_and(|rest| {
            rest.is_empty() || rest.strip_prefix('-').is_some_and(|number| number.parse::<u64>().is_ok())
        })
    };
    let entries = std::fs::read_dir(runs).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let mut found: Vec<(SystemTime, PathBuf)> = entries
        .filter(named)
        // The size is looked at first: it tells most other texts without reading them.
        .filter(|folder| size(&folder.join(PIPELINE)).is_ok_and(|size| size == text.len() as u64))
        .filter_map(|folder| Some((std::fs::metadata(folder.join(METRICS)).ok()?.modified().ok()?, folder)))
        .collect();
    found.sort();
    found.into_iter().rev().find_map(|(_, folder)| Some((folder.clone(), record_of(&folder, file, text)?)))
}

fn size(path: &Path) -> io::Result<u64> {
    Ok(std::fs::metadata(path)?.len())
}

fn record_of(folder: &Path, file: &Path, text: &str) -> Option<Record> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    if read(PIPELINE)? != text {
        return None;
    }
    let command: Value = serde_json::from_str(&read(COMMAND)?).ok()?;
    // Another device is no other pipeline.
    let is_device = |set: &Value| set.as_str().is_some_and(|set| set.starts_with("train.devices="));
    let is_plain =
        command["sets"].as_array().is_some_and(|sets| sets.iter().all(is_device)) && command["profile"].is_null();
    if !is_plain || command["file"].as_str().map(Path::new) != Some(file) {
        return None;
    }
    Record::read(&read(METRICS)?, read(SUMMARY).as_deref()).ok()
}
