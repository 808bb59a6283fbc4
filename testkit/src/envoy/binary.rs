//! Where Envoy is.

use std::path::{Path, PathBuf};

/// The environment variable that names the binary.
const VARIABLE: &str = "ENVOY_BIN";

/// An Envoy binary.
#[derive(Clone, Debug)]
pub struct EnvoyBinary(PathBuf);

impl EnvoyBinary {
    /// `$ENVOY_BIN`, else `.venv/bin/envoy` of the repository, else `envoy` on the PATH.
    pub fn locate() -> Result<Self, String> {
        if let Some(named) = std::env::var_os(VARIABLE).map(PathBuf::from) {
            let missing = format!("{VARIABLE}={} is no file; run: make setup", named.display());
            return if named.is_file() { Ok(Self(named)) } else { Err(missing) };
        }
        let own = crate::repository_root().join(".venv/bin/envoy");
        let found = [own.clone()].into_iter().chain(on_path()).find(|path| path.is_file());
        found.map(Self).ok_or_else(|| format!("no Envoy at {} or on the PATH; run: make setup", own.display()))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

fn on_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join("envoy")).collect()
}
