//! The archive format of an initial ramdisk ("newc"), writing only.
//!
//! Called by `image`. Owner, time and inode number are fixed, so equal contents give equal bytes.

/// An archive being written.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    count: u32,
}

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;

impl Archive {
    /// Adds a directory.
    pub(crate) fn directory(&mut self, name: &str) {
        self.entry(name, DIRECTORY | 0o755, (0, 0), &[]);
    }

    /// Adds a file that everyone may execute.
    pub(crate) fn file(&mut self, name: &str, contents: &[u8]) {
        self.entry(name, FILE | 0o755, (0, 0), contents);
    }

    /// Adds a symbolic link to `target`.
    pub(crate) fn link(&mut self, name: &str, target: &str) {
        self.entry(name, LINK | 0o777, (0, 0), target.as_bytes());
    }

    /// Adds a character device.
    pub(crate) fn device(&mut self, name: &str, major: u32, minor: u32) {
        self.entry(name, CHARACTER | 0o600, (major, minor), &[]);
    }

    /// Ends the archive.
    #[must_use]
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, (major, minor): (u32, u32), contents: &[u8]) {
        self.count += 1;
        let size = u32::try_from(contents.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        // inode, mode, uid, gid, links, mtime, size, device, special device, name size, checksum
        let fields = [
            self.count, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08X}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(contents);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn entries_are_aligned_and_the_trailer_ends_it() {
        let mut archive = Archive::default();
        archive.directory("a");
        archive.file("a/b", b"12345");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[14..22], b"000041ED");
        assert!(bytes.windows(10).any(|part| part == b"TRAILER!!!"));
    }

    #[test]
    fn cpio_reads_it_back_if_there_is_one() {
        if !crate::run::has_program("cpio") {
            return;
        }
        let mut archive = Archive::default();
        archive.directory("bin");
        archive.link("bin/sh", "busybox");
        archive.file("init", b"#!/bin/sh\n");
        let mut child = Command::new("cpio")
            .arg("-it")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(&archive.finish())
            .unwrap();
        let listed = child.wait_with_output().unwrap();
        assert_eq!(listed.stdout, b"bin\nbin/sh\ninit\n");
    }
}
