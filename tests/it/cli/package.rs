//! The Debian package: what it contains, and that systemd, man and a shell take it.

use crate::support::documents::root;
use crate::support::process::said;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn ends_well(command: &mut Command) -> Output {
    let out = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs it"));
    assert!(out.status.success(), "{command:?}: {}", said(&out));
    out
}

#[test]
fn the_package_installs_the_program_its_unit_manual_completions_and_documents() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    // Without what only a debugger reads, it is packed in a tenth of the time.
    let program = at("transcribe-hook");
    ends_well(Command::new("strip").arg("-o").arg(&program).arg(env!("CARGO_BIN_EXE_transcribe-hook")));
    let tools = root().join("target/cargo-deb/bin");
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let mut build = Command::new(root().join(".ci/build-deb"));
    let out = ends_well(build.arg(&program).arg("--fast").env("PATH", path));
    let package = root().join(String::from_utf8(out.stdout).unwrap().trim());
    ends_well(Command::new("dpkg-deb").arg("--raw-extract").arg(&package).arg(at("unpacked")));
    let unpacked = at("unpacked");
    let file = |path: &str| fs::read_to_string(unpacked.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));

    let installed = unpacked.join("usr/bin/transcribe-hook");
    let version = ends_well(Command::new(&installed).arg("--version"));
    let control = file("DEBIAN/control");
    assert!(said(&version).contains(env!("CARGO_PKG_VERSION")), "{}", said(&version));
    assert!(control.contains(concat!("\nVersion: ", env!("CARGO_PKG_VERSION"))), "{control}");
    assert!(control.contains("\nDepends: libc6"), "{control}");

    // systemd takes the unit; its program is where the package puts it.
    let unit = file("usr/lib/systemd/system/transcribe-hook.service");
    assert!(unit.contains("\nExecStart=/usr/bin/transcribe-hook serve\n"), "{unit}");
    let here = at("transcribe-hook.service");
    fs::write(&here, unit.replace("/usr/bin/transcribe-hook", installed.to_str().unwrap())).unwrap();
    let verified = ends_well(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&here));
    assert_eq!(said(&verified), "");
    for script in ["DEBIAN/postinst", "DEBIAN/prerm", "DEBIAN/postrm"] {
        assert!(file(script).contains("transcribe-hook.service"), "{script}");
        ends_well(Command::new("sh").arg("-n").arg(unpacked.join(script)));
    }

    let manual = ends_well(Command::new("mandoc").arg(unpacked.join("usr/share/man/man1/transcribe-hook.1.gz")));
    assert!(said(&manual).contains("transcribe-hook"), "{}", said(&manual));
    let completions = unpacked.join("usr/share/bash-completion/completions/transcribe-hook");
    ends_well(Command::new("bash").arg("-n").arg(completions));
    for path in ["zsh/vendor-completions/_transcribe-hook", "fish/vendor_completions.d/transcribe-hook.fish"] {
        assert!(file(&format!("usr/share/{path}")).contains("metrics-listen"), "{path}");
    }
    for document in ["README.md", "openapi/configuration.md", "migrations/README.md", "copyright"] {
        assert!(!file(&format!("usr/share/doc/transcribe-hook/{document}")).is_empty(), "{document}");
    }
    assert!(!Path::new(&unpacked.join("etc")).exists(), "it overwrites no configuration");
}
