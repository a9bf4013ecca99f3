//! `standstill papers`: pages of the manual and completions for shells, made of what `clap` knows. For packages.

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;
use std::path::Path;

/// Shells that packages of Linux have a place for.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// Writes them into a folder that is there.
pub(super) fn write(mut program: Command, folder: &Path) -> anyhow::Result<()> {
    let name = program.get_name().to_owned();
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut program, &name, folder)
            .with_context(|| folder.display().to_string())?;
    }
    clap_mangen::generate_to(program, folder).with_context(|| folder.display().to_string())?;
    // `help` is no command that anybody looks up.
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.contains("-help") {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}
