//! Embeds the playground where it has been built: `playground/dist`, as `npm run build` leaves it there. It is never
//! built from here: a build of the server needs neither Node.js nor a network.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let playground = env::current_dir()?.join("playground");
    let dist = playground.join("dist");
    let page = dist.join("index.html");
    let is_built = page.is_file();
    // A path that does not exist would count as changed in every build.
    let watched = if is_built { &dist } else { &playground };
    println!("cargo::rerun-if-changed={}", watched.display());

    let mut source = String::new();
    let page = if is_built { format!("Some(include_str!({}))", literal(&page)) } else { "None".to_owned() };
    let _ = writeln!(source, "const BUILT: Option<&str> = {page};");
    let _ = writeln!(source, "const ASSETS: &[(&str, &[u8])] = &[");
    for asset in if is_built { assets(&dist.join("assets"))? } else { Vec::new() } {
        let name = asset.file_stem().unwrap_or_default().to_string_lossy();
        let _ = writeln!(source, "    ({name:?}, include_bytes!({})),", literal(&asset));
    }
    let _ = writeln!(source, "];");
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    fs::write(Path::new(&out).join("playground.rs"), source)
}

/// The gzipped files of a directory, in the same order in every build.
fn assets(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<_> = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "gz"));
    files.sort();
    Ok(files)
}

/// A path as Rust writes a string.
fn literal(path: &Path) -> String {
    format!("{:?}", path.to_string_lossy())
}
