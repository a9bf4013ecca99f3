//! Builds one external kernel module.
//!
//! Called by `driver` and `image`. The source tree is never written to. A built module is an entry of the cache, named by
//! its inputs: nothing is built twice, and several working trees can share the cache.

use crate::cache::{self, Cache};
use crate::run;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One module for one kernel.
#[derive(Debug)]
pub(crate) struct Module<'a> {
    /// Name of the module, without `.ko`.
    pub(crate) name: &'a str,
    /// Source files and the `Kbuild` file.
    pub(crate) files: Vec<PathBuf>,
    /// An object compiled elsewhere, linked in as this name without `.o`.
    pub(crate) object: Option<(&'a str, &'a [u8])>,
    /// The kernel's header directory.
    pub(crate) headers: &'a Path,
    /// Search path for the libraries of the kernel's build tools; empty for none.
    pub(crate) library_path: &'a str,
}

/// Builds `module` unless the cache holds it; returns the path of the `.ko`.
///
/// # Errors
/// With the end of the build's output.
pub(crate) fn build(module: &Module<'_>, cache: &Cache) -> Result<PathBuf> {
    let symbols = module.headers.join("Module.symvers");
    if !symbols.exists() {
        bail!(
            "{} holds no kernel headers; install the linux-headers package of that kernel",
            module.headers.display()
        );
    }
    let headers = module.headers.canonicalize()?;
    let mut files = module.files.clone();
    files.extend(
        [symbols, headers.join(".config")]
            .into_iter()
            .filter(|file| file.exists()),
    );
    let object_sum = match module.object {
        Some((_, bytes)) => cache::fingerprint_bytes(bytes),
        None => String::new(),
    };
    let settings = [&headers.display().to_string(), module.name, &object_sum];
    let name = format!(
        "modules/{}-{}",
        module.name,
        cache::fingerprint(&files, &settings)?
    );
    let file = format!("{}.ko", module.name);
    let place = cache.entry(&name, |half| {
        cache::forget_old(&cache.path("modules"), "");
        for file in &module.files {
            let name = file.file_name().context("a source file has a name")?;
            fs::copy(file, half.join(name))?;
        }
        if let Some((name, bytes)) = module.object {
            fs::write(half.join(format!("{name}.o_shipped")), bytes)?;
            // The last step of the build opens this file for every object, and writes none for a ready-made one.
            let command = format!("cmd_{}/{name}.o := true\n", half.display());
            fs::write(half.join(format!(".{name}.o.cmd")), command)?;
        }
        make(module, &headers, half)?;
        run::output(
            Command::new("objcopy")
                .arg("--strip-debug")
                .arg(half.join(&file)),
        )?;
        Ok(())
    })?;
    Ok(place.join(file))
}

fn make(module: &Module<'_>, headers: &Path, dir: &Path) -> Result<()> {
    let mut make = Command::new("make");
    make.arg("-s").arg("-C").arg(headers);
    make.arg(format!("M={}", dir.display())).arg("modules");
    // Debian's headers ask for the very compiler version the kernel was built with; any recent one will do.
    let named = fs::read_to_string(headers.join(".kernelvariables")).unwrap_or_default();
    if let Some(compiler) = compiler_name(&named).filter(|name| !run::has_program(name)) {
        let found = compiler.split('-').next().unwrap_or("gcc");
        make.arg(format!("CC={found}"));
    }
    if !module.library_path.is_empty() {
        make.env("LD_LIBRARY_PATH", module.library_path);
    }
    make.env_remove("MAKEFLAGS");
    run::output(&mut make).with_context(|| format!("building {}.ko", module.name))?;
    Ok(())
}

/// The compiler that Debian's `.kernelvariables` names.
fn compiler_name(variables: &str) -> Option<&str> {
    variables
        .lines()
        .find(|line| line.starts_with("CC ") || line.starts_with("CC="))?
        .rsplit([' ', ')', '='])
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiler_is_read_from_debians_variables() {
        let text = "CCACHE = ccache\nCC = $(if $(X),$(CCACHE)) $(CROSS_COMPILE)gcc-12\n";
        assert_eq!(compiler_name(text), Some("gcc-12"));
        assert_eq!(compiler_name("CC = gcc-14\n"), Some("gcc-14"));
        assert_eq!(compiler_name("X = 1\n"), None);
    }

    #[test]
    fn directory_without_headers_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let module = Module {
            name: "m",
            files: vec![],
            object: None,
            headers: dir.path(),
            library_path: "",
        };
        let cache = Cache::at(dir.path().to_owned());
        let told = build(&module, &cache).unwrap_err().to_string();
        assert!(told.contains("linux-headers"), "{told}");
    }
}
