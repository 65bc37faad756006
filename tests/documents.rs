//! The documents name what exists: settings, files, tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Every file below a directory with this extension, except what Git ignores and what tools bring along.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let (directories, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let is_ours = |directory: &&PathBuf| {
        let name = directory.file_name().unwrap().to_str().unwrap();
        !name.starts_with('.') && !["target", "node_modules"].contains(&name)
    };
    let files = files.into_iter().filter(|path| path.extension().is_some_and(|found| found == extension));
    files.chain(directories.iter().filter(is_ours).flat_map(|directory| self::files(directory, extension))).collect()
}

fn settings() -> BTreeSet<String> {
    let names: BTreeSet<String> = trellis::config::variables().into_iter().collect();
    assert!(names.len() > 15 && names.contains("DATABASE_URL"), "saw the settings {names:?}");
    names
}

/// The part of a document below a heading, up to the next heading of the same rank.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let (_, below) = document.split_once(&format!("\n## {heading}\n")).unwrap();
    below.split("\n## ").next().unwrap()
}

#[test]
fn env_example_names_exactly_the_settings() {
    let mut named = Vec::new();
    for line in read(".env.example").lines() {
        let Some((name, _)) = line.trim_start_matches('#').split_once('=') else { continue };
        if name.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
            named.push(name.to_owned());
        }
    }
    assert_eq!(named.len(), settings().len(), "a setting is missing, unknown or there twice: {named:?}");
    assert_eq!(named.into_iter().collect::<BTreeSet<_>>(), settings());
}

#[test]
fn the_table_of_the_readme_names_exactly_the_settings() {
    let readme = read("README.md");
    let rows = section(&readme, "Settings").lines().filter_map(|line| line.strip_prefix("| `"));
    let named: Vec<String> = rows.map(|row| row.split('`').next().unwrap().to_owned()).collect();
    assert_eq!(named.len(), settings().len(), "a setting is missing, unknown or there twice: {named:?}");
    assert_eq!(named.into_iter().collect::<BTreeSet<_>>(), settings());
}

#[test]
fn relative_links_lead_to_files() {
    let documents = files(root(), "md");
    assert!(documents.len() >= 3, "saw {documents:?}");
    let (mut links, mut broken) = (0, Vec::new());
    for document in documents {
        for rest in fs::read_to_string(&document).unwrap().split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap();
            // What is left are addresses elsewhere, and headings of the same document.
            if target.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            if !document.parent().unwrap().join(target).exists() {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(links > 15, "saw {links} links");
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn every_invariant_names_tests_that_exist() {
    let mut tests = BTreeSet::new();
    for file in files(&root().join("tests"), "rs") {
        let text = fs::read_to_string(&file).unwrap();
        // A test is what stands right below its attribute; the helpers beside it keep nothing.
        let attributes = text.lines().zip(text.lines().skip(1));
        for (_, signature) in
            attributes.filter(|(line, _)| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
        {
            let name = signature.trim_start_matches("async ").trim_start_matches("fn ").split('(').next().unwrap();
            tests.insert(name.to_owned());
        }
    }
    assert!(tests.len() > 30, "saw {} tests", tests.len());

    let architecture = read("ARCHITECTURE.md");
    let invariants: Vec<&str> = section(&architecture, "Invariants").split("\n- ").skip(1).collect();
    let (mut named, mut wrong) = (0, Vec::new());
    for invariant in &invariants {
        let keepers = invariant.split_once("Kept by ").map(|(_, names)| names).unwrap_or_default();
        let of_this: Vec<&str> = keepers.split('`').skip(1).step_by(2).collect();
        if of_this.is_empty() {
            wrong.push(format!("no test is named: {invariant}"));
        }
        named += of_this.len();
        let missing = of_this.into_iter().filter(|name| !tests.contains(*name));
        wrong.extend(missing.map(|name| format!("no such test: {name}")));
    }
    assert!(invariants.len() > 8 && named > invariants.len(), "saw {} invariants, {named} names", invariants.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}
