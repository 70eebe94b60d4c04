//! Generates a systemd unit that runs the service with as few privileges as possible.
//!
//! The configuration is read from an environment file. Secrets are systemd credentials, files that only the service can
//! read. Each secret flag of `serve` has commented-out lines in the unit.

use clap::{Args, Command};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct SystemdArgs {
    /// Run the program at this path
    #[arg(
        long, env = "TRANSCRIBE_HOOK_PROGRAM", value_name = "FILE", default_value = "/usr/local/bin/transcribe-hook",
        value_parser = absolute,
    )]
    program: PathBuf,
}

/// Parses a plain absolute path: systemd accepts no other, and would require quotes around special characters.
fn absolute(text: &str) -> Result<PathBuf, String> {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
    if text.starts_with('/') && plain { Ok(text.into()) } else { Err("must be a plain absolute path".to_owned()) }
}

pub(super) fn unit(args: &SystemdArgs, command: Command) -> String {
    let unit = UNIT.replace("@PROGRAM@", &args.program.display().to_string());
    unit.replace("@SECRETS@", secrets(command).trim_end())
}

/// Returns the two lines that pass each secret of `serve`, commented out.
fn secrets(mut command: Command) -> String {
    command.build();
    let serve = command.find_subcommand("serve").expect("there is a command serve");
    let names = serve.get_arguments().filter_map(|flag| flag.get_long()?.strip_suffix("-file"));
    let lines = names.map(|name| {
        let variable = name.to_uppercase().replace('-', "_");
        format!(
            "#LoadCredential={name}:/etc/transcribe-hook/{name}\n\
             #Environment=TRANSCRIBE_HOOK_{variable}_FILE=%d/{name}\n"
        )
    });
    lines.collect()
}

const UNIT: &str = "\
# transcribe-hook as a systemd service (systemd 250 or later).
#   transcribe-hook generate systemd > /etc/systemd/system/transcribe-hook.service
#   systemctl daemon-reload && systemctl enable --now transcribe-hook
[Unit]
Description=transcribe-hook, stores transcripts of voice-agent calls
Wants=network-online.target
After=network-online.target
# Restart without a limit: turns that are sent while the service is down are lost.
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=@PROGRAM@ serve
# The database, and every other relative path, is in /var/lib/transcribe-hook.
StateDirectory=transcribe-hook
StateDirectoryMode=0750
WorkingDirectory=%S/transcribe-hook
ConfigurationDirectory=transcribe-hook
# One variable per line, named after its flag: TRANSCRIBE_HOOK_LISTEN=127.0.0.1:8080
EnvironmentFile=-/etc/transcribe-hook/environment
# Secrets: write each to its file, readable by root only, and remove the two #.
@SECRETS@
Restart=always
RestartSec=1
# A restart does not fix wrong usage.
RestartPreventExitStatus=2
# The first start of a new version may take long, because it migrates the database.
TimeoutStartSec=infinity
TimeoutStopSec=30
WatchdogSec=60
LimitNOFILE=65536

# Sandbox: the service may use the network and write to its own folder.
DynamicUser=yes
UMask=0077
CapabilityBoundingSet=
# For a port below 1024 remove the line above and PrivateUsers, and uncomment:
#AmbientCapabilities=CAP_NET_BIND_SERVICE
#CapabilityBoundingSet=CAP_NET_BIND_SERVICE
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
PrivateUsers=yes
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target";
