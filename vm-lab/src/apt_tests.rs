//! Tests of `apt` on texts as Debian ships them; nothing here uses the network.

use super::*;

fn source(uri: &str, suite: &str, signed_by: &str) -> Source {
    Source {
        uri: uri.into(),
        suite: suite.into(),
        components: "main".into(),
        signed_by: signed_by.into(),
    }
}

#[test]
fn one_line_style_is_read_with_and_without_options() {
    let text = "# deb http://no main\n\
                deb http://m.example/debian bookworm main # why\n\
                deb [arch=amd64 signed-by=/k.gpg] http://m.example/debian bookworm-updates main\n\
                deb-src http://m.example/debian bookworm main\n";
    assert_eq!(
        parse_one_line(text),
        [
            source("http://m.example/debian", "bookworm", ""),
            source("http://m.example/debian", "bookworm-updates", "/k.gpg"),
        ]
    );
}

#[test]
fn deb822_style_is_read_with_every_suite() {
    let text = "Types: deb\n# a comment\nURIs: http://m.example/debian\nSuites: bookworm\n bookworm-updates\n\
                Components: main\nSigned-By: /k.gpg\n\n\
                Types: deb-src\nURIs: http://m.example/s\nSuites: x\nComponents: main\n\n\
                Enabled: no\nTypes: deb\nURIs: http://m.example/off\nSuites: x\nComponents: main\n";
    assert_eq!(
        parse_deb822(text),
        [
            source("http://m.example/debian", "bookworm", "/k.gpg"),
            source("http://m.example/debian", "bookworm-updates", "/k.gpg"),
        ]
    );
}

#[test]
fn only_the_systems_release_is_used_and_its_main_pocket_comes_first() {
    let all = [
        source("http://s", "bookworm-security", ""),
        source("http://other", "nodistro", ""),
        source("http://m", "bookworm", ""),
        source("http://m", "bookworm-backports", ""),
    ];
    let own = of_release(&all, "bookworm");
    assert_eq!(own, [all[2].clone(), all[0].clone()]);
    let list = our_list(&own).unwrap();
    assert_eq!(
        list,
        "deb http://m bookworm main\ndeb http://s bookworm-security main\ndeb-src http://m trixie main\n"
    );
}

#[test]
fn no_debian_mirror_means_no_list() {
    assert_eq!(
        our_list(&of_release(&[source("http://o", "noble", "")], "noble2")),
        None
    );
}

#[test]
fn depends_field_gives_bare_names() {
    let shown = "Package: a\nDepends: b (= 1.2-3), c, d | e\nSize: 3\n";
    assert_eq!(depends_field(shown), ["b", "c", "d"]);
    assert!(depends_field("Package: a\n").is_empty());
}

#[test]
fn tarball_field_takes_the_upstream_one() {
    let shown = "Files:\n 00 12 b_3.orig.tar.xz\nChecksums-Sha256:\n aa 1 b_3-1.dsc\n bb 2 b_3.orig.tar.xz.asc\n \
                 cc 3 b_3.orig.tar.xz\nDirectory: pool\n";
    assert_eq!(
        tarball_field(shown),
        Some(("cc".into(), "b_3.orig.tar.xz".into()))
    );
    assert_eq!(tarball_field("Files:\n"), None);
}
