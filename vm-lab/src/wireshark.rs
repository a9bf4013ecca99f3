//! tshark, for the test of the dissector: Debian's, unpacked into the cache. It is 22 MB to fetch and 120 MB unpacked, and the
//! dissector rarely changes, so only `cargo lab soak dissector` brings it in.
//!
//! Called by `soak`.

use crate::apt::Apt;
use crate::cache::Cache;
use crate::progress::phase;
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The entry of the cache, and the program in it.
const ENTRY: &str = "tshark";

/// What starts it from where it was unpacked. It reads no script for root, and looks for no data elsewhere: as root it
/// becomes somebody else, who may read the same files.
fn launcher(tree: &Path) -> String {
    let tree = tree.display();
    format!(
        r#"#!/bin/sh
tree='{tree}'
export LD_LIBRARY_PATH="$tree/usr/lib/x86_64-linux-gnu:$tree/lib/x86_64-linux-gnu"
export WIRESHARK_DATA_DIR="$tree/usr/share/wireshark" HOME=/nonexistent
if [ "$(id -u)" = 0 ]; then
    set -- --reuid=65534 --regid=65534 --clear-groups --inh-caps=+dac_read_search \
        --ambient-caps=+dac_read_search -- "$tree/usr/bin/tshark" "$@"
    exec setpriv "$@"
fi
exec "$tree/usr/bin/tshark" "$@"
"#
    )
}

/// Fills `half`, which will be renamed to `place`.
fn fetch(apt: &Apt, half: &Path, place: &Path) -> Result<()> {
    apt.unpack_with_libraries(&["tshark"], half)?;
    // A link to where it would be if it were installed.
    let init = half.join("usr/share/wireshark/init.lua");
    fs::remove_file(&init).context("tshark has no init.lua")?;
    fs::copy(half.join("etc/wireshark/init.lua"), &init)?;
    let program = half.join("run");
    fs::write(&program, launcher(place))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// A program that runs tshark.
///
/// # Errors
/// When it can't be had.
pub(crate) fn tshark() -> Result<PathBuf> {
    let cache = Cache::open()?;
    let _lock = cache.lock("provision")?;
    let place = cache.path(ENTRY);
    if !place.exists() {
        phase("fetching tshark", |_| {
            let apt = Apt::update(&cache.path("apt"))?;
            cache.entry(ENTRY, |half| fetch(&apt, half, &place))
        })?;
    }
    Ok(place.join("run"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_launcher_names_the_unpacked_program() {
        let text = launcher(Path::new("/cache/tshark"));
        assert!(text.starts_with("#!/bin/sh\ntree='/cache/tshark'\n"));
        assert!(text.ends_with("exec \"$tree/usr/bin/tshark\" \"$@\"\n"));
    }
}
