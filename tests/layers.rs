//! The architecture as tests: imports point one way, and a noun has one name in every layer.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// Layers from the first that a request meets to the last. A layer may use those in later groups, never one in its own
/// group or before.
const GROUPS: [&[&str]; 7] = [
    &["registry"],
    &["http"],
    &["schema"],
    &["loaders", "commands", "reports"],
    &["batch"],
    &["database"],
    &["entities", "guard"],
];

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let (directories, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let files = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files.chain(directories.iter().flat_map(|directory| self::files(directory))).collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The layer of a file: the name of its folder, or of itself at the top.
fn layer_of(file: &Path) -> String {
    let path = file.strip_prefix(source()).unwrap();
    let first = path.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn imports_point_from_the_first_layer_to_the_last() {
    let group_of = |layer: &str| GROUPS.iter().position(|group| group.contains(&layer));
    let (mut looked_at, mut imports, mut wrong) = (0, 0, Vec::new());
    for file in files(&source()) {
        let layer = layer_of(&file);
        let Some(from) = group_of(&layer) else { continue };
        looked_at += 1;
        for line in fs::read_to_string(&file).unwrap().lines() {
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let Some(to) = group_of(&used) else { continue };
                imports += 1;
                if used != layer && to <= from {
                    wrong.push(format!("{}: {}", file.display(), line.trim()));
                }
            }
        }
    }
    assert!(looked_at > 40 && imports > 60, "saw {looked_at} files and {imports} imports");
    assert!(wrong.is_empty(), "imports against the arrows:\n{}", wrong.join("\n"));
}

#[test]
fn resolvers_hold_no_sql_and_no_transaction() {
    let (mut looked_at, mut wrong) = (0, Vec::new());
    for file in files(&source()) {
        if !["schema", "http"].contains(&layer_of(&file).as_str()) {
            continue;
        }
        looked_at += 1;
        let text = fs::read_to_string(&file).unwrap();
        for needle in ["NamedStatement", "SELECT ", "INSERT ", "UPDATE ", ".begin(", "EntityTrait"] {
            if text.contains(needle) {
                wrong.push(format!("{}: {needle}", file.display()));
            }
        }
    }
    assert!(looked_at > 12, "saw {looked_at} files");
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn every_entity_has_the_same_name_in_every_layer() {
    let entities: Vec<String> = files(&source().join("entities"))
        .iter()
        .map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(entities.len(), 6, "{entities:?}");
    for entity in &entities {
        for layer in ["schema", "loaders"] {
            assert!(source().join(layer).join(format!("{entity}.rs")).exists(), "{layer}/{entity}.rs is missing");
        }
    }
}

#[test]
fn every_source_file_begins_with_what_it_is_for() {
    let files = files(&source());
    assert!(files.len() > 60, "saw {} files", files.len());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{} does not begin with `//! `", file.display());
        assert!(text.lines().count() <= 450, "{} has more than 450 lines: two ideas?", file.display());
    }
}
