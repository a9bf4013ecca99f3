//! Debian packages without touching the system: an apt of our own, with the machine's own mirrors.
//!
//! Called by `provision`. The lists and archives live in the cache, so it works for any user. The mirror is the one that
//! apt's configuration names (`sources.list` and the deb822 `*.sources`); `STANDSTILL_MIRROR` overrides it.

use crate::run;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The release whose source of the emulator is built.
const EMULATOR_SUITE: &str = "trixie";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One repository of binary packages, as apt's configuration describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Base address.
    pub(crate) uri: String,
    /// Release or pocket of it.
    pub(crate) suite: String,
    /// `main` and so on.
    pub(crate) components: String,
    /// Keyring file; empty if apt's default keys apply.
    pub(crate) signed_by: String,
}

impl Source {
    fn line(&self, kind: &str) -> String {
        let Self {
            uri,
            suite,
            components,
            signed_by,
        } = self;
        let options = if signed_by.is_empty() {
            String::new()
        } else {
            format!("[signed-by={signed_by}] ")
        };
        format!("{kind} {options}{uri} {suite} {components}\n")
    }
}

/// Reads one-line style text (`sources.list`).
#[must_use]
pub(crate) fn parse_one_line(text: &str) -> Vec<Source> {
    text.lines()
        .filter_map(|line| {
            let rest = line.split('#').next()?.trim().strip_prefix("deb ")?.trim();
            let (options, rest) = match rest.strip_prefix('[') {
                Some(inner) => inner.split_once(']')?,
                None => ("", rest),
            };
            let mut words = rest.split_whitespace();
            Some(Source {
                uri: words.next()?.to_owned(),
                suite: words.next()?.to_owned(),
                components: words.collect::<Vec<_>>().join(" "),
                signed_by: options
                    .split_whitespace()
                    .find_map(|option| option.strip_prefix("signed-by="))
                    .unwrap_or_default()
                    .to_owned(),
            })
        })
        .collect()
}

/// Reads deb822 style text (`*.sources`).
#[must_use]
pub(crate) fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for stanza in text.split("\n\n") {
        let field = |name: &str| {
            let mut lines = stanza.lines().filter(|line| !line.starts_with('#'));
            let first = lines.find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.trim().eq_ignore_ascii_case(name).then_some(value)
            })?;
            let more = lines.take_while(|line| line.starts_with([' ', '\t']));
            let words: Vec<&str> = std::iter::once(first)
                .chain(more)
                .flat_map(str::split_whitespace)
                .collect();
            Some(words)
        };
        let list = |name: &str| field(name).unwrap_or_default();
        let off = list("Enabled").first().is_some_and(|word| *word == "no");
        if off || !list("Types").contains(&"deb") {
            continue;
        }
        // A key written out in the file itself has no file name to pass on; apt's default keys serve then.
        let signed_by = match list("Signed-By")[..] {
            [file] if file.starts_with('/') => file.to_owned(),
            _ => String::new(),
        };
        for uri in list("URIs") {
            for suite in list("Suites") {
                sources.push(Source {
                    uri: uri.to_owned(),
                    suite: suite.to_owned(),
                    components: list("Components").join(" "),
                    signed_by: signed_by.clone(),
                });
            }
        }
    }
    sources
}

/// The system's own repositories among `all`: those whose suite belongs to release `codename`, main pocket first.
#[must_use]
pub(crate) fn of_release(all: &[Source], codename: &str) -> Vec<Source> {
    let belongs = |source: &&Source| {
        let name = source.suite.trim_end_matches('/');
        let pocket = name
            .strip_prefix(codename)
            .or_else(|| name.strip_prefix("stable"));
        pocket.is_some_and(|rest| matches!(rest, "" | "-updates" | "-security"))
            && source.components.split(' ').any(|part| part == "main")
    };
    let mut own: Vec<Source> = all.iter().filter(belongs).cloned().collect();
    own.sort_by_key(|source| source.suite.contains('-'));
    own
}

/// The `sources.list` of our own apt: the system's repositories and the emulator's source.
#[must_use]
pub(crate) fn our_list(own: &[Source]) -> Option<String> {
    let main = own.iter().find(|source| !source.suite.contains('-'))?;
    let mut list: String = own.iter().map(|source| source.line("deb")).collect();
    let emulator = Source {
        suite: EMULATOR_SUITE.to_owned(),
        components: "main".to_owned(),
        ..main.clone()
    };
    list.push_str(&emulator.line("deb-src"));
    Some(list)
}

fn configured() -> Result<Vec<Source>> {
    let release = fs::read_to_string("/etc/os-release").context("reading /etc/os-release")?;
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map_or("stable", |name| name.trim_matches('"'));
    if let Ok(uri) = std::env::var("STANDSTILL_MIRROR") {
        return Ok(vec![Source {
            uri,
            suite: codename.to_owned(),
            components: "main".to_owned(),
            signed_by: KEYRING.to_owned(),
        }]);
    }
    let mut all = parse_one_line(&fs::read_to_string("/etc/apt/sources.list").unwrap_or_default());
    let mut files: Vec<PathBuf> = fs::read_dir("/etc/apt/sources.list.d")
        .map(|dir| dir.flatten().map(|file| file.path()).collect())
        .unwrap_or_default();
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        match file.extension().and_then(|name| name.to_str()) {
            Some("list") => all.extend(parse_one_line(&text)),
            Some("sources") => all.extend(parse_deb822(&text)),
            _ => {}
        }
    }
    Ok(of_release(&all, codename))
}

/// An apt with lists of its own.
#[derive(Debug)]
pub(crate) struct Apt {
    root: PathBuf,
}

impl Apt {
    /// Fetches the indices into `root`.
    ///
    /// # Errors
    /// When the machine names no Debian mirror or it can't be reached.
    pub(crate) fn update(root: &Path) -> Result<Self> {
        if !run::has_program("apt-get") {
            bail!(
                "the lab takes its kernel and emulator from Debian packages, and apt-get is not installed"
            );
        }
        let list = our_list(&configured()?).context(
            "apt's configuration names no Debian mirror for this release; \
             set STANDSTILL_MIRROR to the address of one",
        )?;
        fs::create_dir_all(root.join("lists/partial"))?;
        fs::create_dir_all(root.join("cache/archives/partial"))?;
        fs::write(root.join("sources.list"), list)?;
        let apt = Self {
            root: root.to_owned(),
        };
        run::output(apt.command("apt-get").args(["--error-on=any", "update"]))?;
        Ok(apt)
    }

    /// The `sources.list` of a machine of this one's release.
    ///
    /// # Errors
    /// When apt's configuration cannot be read.
    pub(crate) fn release() -> Result<String> {
        Ok(configured()?.iter().map(|own| own.line("deb")).collect())
    }

    /// The main repository of this machine's own release.
    ///
    /// # Errors
    /// When apt's configuration names none.
    pub(crate) fn mirror() -> Result<Source> {
        let own = configured()?.into_iter();
        let mut main = own.filter(|source| !source.suite.contains('-'));
        main.next()
            .context("apt's configuration names no Debian mirror for this release")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let at = |name: &str| self.root.join(name).display().to_string();
        for option in [
            format!("Dir::Etc::SourceList={}", at("sources.list")),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            format!("Dir::State::Lists={}", at("lists")),
            format!("Dir::Cache={}", at("cache")),
            "Debug::NoLocking=1".to_owned(),
            // The cache belongs to the calling user; apt's own download user may be unable to enter it.
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// The names of the packages that today's version of `package` depends on.
    ///
    /// # Errors
    /// When the mirror has no such package.
    pub(crate) fn depends(&self, package: &str) -> Result<Vec<String>> {
        let shown =
            run::output(
                self.command("apt-cache")
                    .args(["show", "--no-all-versions", package]),
            )
            .with_context(|| format!("the mirror has no package {package}"))?;
        Ok(depends_field(&shown))
    }

    /// Downloads `packages` themselves and unpacks them into `into`.
    ///
    /// # Errors
    /// When one of them can't be had; the message names the command that would install it.
    pub(crate) fn unpack(&self, packages: &[&str], into: &Path) -> Result<()> {
        let dir = tempfile::tempdir_in(&self.root)?;
        let mut get = self.command("apt-get");
        get.current_dir(dir.path()).arg("download").args(packages);
        run::output(&mut get).with_context(|| format!("cannot download {}", packages.join(" ")))?;
        unpack_all(dir.path(), into)
    }

    /// Downloads `packages` with whatever libraries this system lacks for them, and unpacks all into `into`.
    ///
    /// # Errors
    /// As for [`Apt::unpack`].
    pub(crate) fn unpack_with_libraries(&self, packages: &[&str], into: &Path) -> Result<()> {
        let dir = tempfile::tempdir_in(&self.root)?;
        fs::create_dir(dir.path().join("partial"))?;
        let mut get = self.command("apt-get");
        get.arg("-o")
            .arg(format!("Dir::Cache::Archives={}", dir.path().display()))
            .args(["install", "--yes", "--download-only", "--reinstall"])
            .arg("--no-install-recommends")
            .args(packages);
        run::output(&mut get).with_context(|| {
            let list = packages.join(" ");
            format!("cannot download {list}; `apt-get install {list}` as root may tell why")
        })?;
        unpack_all(dir.path(), into)
    }

    /// Downloads the upstream tarball of source package `name` into `into` and checks it against the signed index.
    ///
    /// # Errors
    /// When it can't be had or its sum differs.
    pub(crate) fn upstream_tarball(&self, name: &str, into: &Path) -> Result<PathBuf> {
        let shown =
            run::output(
                self.command("apt-cache")
                    .args(["showsrc", "--only-source", name]),
            )?;
        let (sum, file) = tarball_field(&shown)
            .with_context(|| format!("the mirror has no source package {name}"))?;
        // Mirrors have been seen without the .dsc. Then apt fails, but only after the tarballs arrived.
        let fetched = run::output(self.command("apt-get").current_dir(into).args([
            "--download-only",
            "source",
            name,
        ]));
        let tarball = into.join(file);
        if !tarball.exists() {
            fetched?;
            bail!("apt-get source {name} brought no {}", tarball.display());
        }
        crate::cache::verify_sha256(&tarball, &sum)?;
        Ok(tarball)
    }
}

fn unpack_all(debs: &Path, into: &Path) -> Result<()> {
    for file in fs::read_dir(debs)? {
        let deb = file?.path();
        if deb.extension().is_some_and(|name| name == "deb") {
            run::output(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(into))?;
        }
    }
    Ok(())
}

fn depends_field(shown: &str) -> Vec<String> {
    let field = shown.lines().find_map(|line| line.strip_prefix("Depends:"));
    field
        .unwrap_or_default()
        .split(',')
        .filter_map(|item| item.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// The sum and name of the upstream tarball in a source index entry.
fn tarball_field(shown: &str) -> Option<(String, String)> {
    let sums = shown.split("Checksums-Sha256:").nth(1)?;
    sums.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace();
        let (sum, _size, file) = (words.next()?, words.next()?, words.next()?);
        let upstream = file.contains(".orig.tar.") && !file.ends_with(".asc");
        upstream.then(|| (sum.to_owned(), file.to_owned()))
    })
}

#[cfg(test)]
#[path = "apt_tests.rs"]
mod tests;
