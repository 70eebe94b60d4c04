//! Installing, upgrading and restoring, as the README says it: root runs the commands, another user runs the service,
//! in the folders of the unit.

use crate::support::database::{of_schema, whole};
use crate::support::process::said;
use crate::support::service::{Service, binary};
use crate::support::turns::turn;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A machine's folders as the unit makes them: `/var/lib/transcribe-hook` belongs to the service's user alone.
struct Machine {
    folder: TempDir,
    user: u32,
}

impl Machine {
    fn new(user: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let machine = Self { folder, user };
        fs::create_dir_all(machine.at("var/lib/transcribe-hook")).unwrap();
        fs::create_dir_all(machine.at("usr/local/bin")).unwrap();
        fs::create_dir_all(machine.at("root")).unwrap();
        fs::set_permissions(machine.at("root"), fs::Permissions::from_mode(0o700)).unwrap();
        machine.root("chown", &[&format!("{user}:{user}"), machine.text("var/lib/transcribe-hook").as_str()]);
        machine.root("chmod", &["750", machine.text("var/lib/transcribe-hook").as_str()]);
        machine
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn text(&self, path: &str) -> String {
        self.at(path).to_str().unwrap().to_owned()
    }

    fn database(&self) -> PathBuf {
        self.at("var/lib/transcribe-hook/transcribe-hook.db")
    }

    /// Runs a program as root.
    fn root(&self, program: &str, args: &[&str]) -> String {
        let out = as_root(program).args(args).current_dir(self.folder.path()).output().unwrap();
        assert!(out.status.success(), "{program} {args:?}: {}", said(&out));
        said(&out)
    }

    /// Runs the installed program as root, over the database.
    fn command(&self, args: &[&str]) -> String {
        let database = self.database();
        let args = [args, &["--database", database.to_str().unwrap()]].concat();
        self.root(&self.text("usr/local/bin/transcribe-hook"), &args)
    }

    /// Copies the program to where the unit expects it.
    fn install(&self) {
        self.root("install", &[env!("CARGO_BIN_EXE_transcribe-hook"), self.text("usr/local/bin").as_str()]);
    }

    /// Starts the service as its user, in its folder.
    fn start(&self) -> Service {
        let user = self.user.to_string();
        let mut command = as_root("setpriv");
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
        command.arg(self.at("usr/local/bin/transcribe-hook"));
        Service::start_command(command, &self.database(), &[])
    }

    /// Asserts that every file of the service belongs to its user.
    fn assert_owned(&self) {
        let list = self.root(
            "find",
            &[self.text("var").as_str(), "-path", "*/lib/transcribe-hook/*", "!", "-user", &self.user.to_string()],
        );
        assert_eq!(list, "", "files of another user");
    }
}

/// A command as root, without the caller's configuration. A test that could not become root fails.
fn as_root(program: &str) -> Command {
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["--non-interactive", program]);
    command
}

#[test]
fn an_installed_service_is_backed_up_and_restored_by_root_and_runs_on_as_its_user() {
    let machine = Machine::new(64_001);
    machine.install();
    let service = machine.start();
    for n in 0..10 {
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    // Beside the running service.
    let backup = machine.text("root/backup.db");
    machine.command(&["backup", &backup]);
    machine.assert_owned();
    service.deliver(&turn("conv_a", 10)).expect(201);
    service.stop();
    let told = machine.command(&["restore", &backup, "--yes"]);
    let database = machine.database();
    assert!(told.contains(&format!("backfill --database {} --since 20", database.display())), "{told}");
    machine.assert_owned();
    assert_eq!(database.metadata().unwrap().mode() & 0o777, 0o600);
    let service = machine.start();
    assert_eq!(service.deliver(&turn("conv_a", 10)).expect(201).json()["sequence_number"], 11);
    service.stop();
    // The database is lost, with all its folder.
    machine.root("sh", &["-c", "rm -r var/lib/transcribe-hook/*"]);
    machine.command(&["restore", &backup]);
    machine.assert_owned();
    let service = machine.start();
    assert_eq!(service.deliver(&turn("conv_a", 10)).expect(201).json()["sequence_number"], 11);
}

#[test]
fn a_backup_that_root_copied_into_place_is_named_with_its_owner() {
    let machine = Machine::new(64_002);
    machine.install();
    machine.command(&["migrate", "--create"]);
    let backup = machine.text("root/backup.db");
    machine.command(&["backup", &backup]);
    machine.root("rm", &[machine.database().to_str().unwrap()]);
    machine.root("cp", &[&backup, machine.database().to_str().unwrap()]);
    let user = machine.user.to_string();
    let mut command = as_root("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
    command.arg(machine.at("usr/local/bin/transcribe-hook")).args(["serve", "--listen", "127.0.0.1:0", "--database"]);
    let out = command.arg(machine.database()).output().unwrap();
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(said(&out).contains("transcribe-hook.db"), "{}", said(&out));
    assert!(said(&out).contains("64002"), "{}", said(&out));
    machine.root("chown", &[&user, machine.database().to_str().unwrap()]);
    machine.start().stop();
}

#[test]
fn an_upgrade_migrates_the_database_at_the_start_and_the_backup_before_it_is_the_way_back() {
    let machine = Machine::new(64_003);
    // As an older version left it.
    let old = machine.at("old.db");
    drop(of_schema(9, machine.folder.path(), &old));
    machine
        .root("install", &["-m600", "-o64003", "-g64003", old.to_str().unwrap(), machine.database().to_str().unwrap()]);
    machine.install();
    let schema = |database: &Path| -> u32 {
        let connection = rusqlite::Connection::open(database).unwrap();
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    };
    // The new program makes the backup too, and leaves its schema as it is.
    let backup = machine.text("before-upgrade.db");
    machine.command(&["backup", &backup]);
    machine.root("chmod", &["644", &backup]);
    assert_eq!(schema(Path::new(&backup)), 9);
    let service = machine.start();
    service.deliver(&turn("conv_a", 1)).expect(201);
    let newest = schema(&machine.database());
    assert!(newest > 9, "{newest}");
    service.stop();
    machine.assert_owned();
    // An older program refuses the migrated file, but not the backup.
    machine.command(&["restore", &backup, "--yes"]);
    assert_eq!(schema(&machine.database()), 9);
    machine.assert_owned();
    machine.start().stop();
    assert_eq!(whole(&machine.database()), 0);
    assert!(binary().args(["check", "--database"]).arg(machine.database()).status().unwrap().success());
}
