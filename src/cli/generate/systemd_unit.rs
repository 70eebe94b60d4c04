//! The unit by which systemd runs the service, as locked up as it can be and still do its work.
//!
//! It takes configuration from one file of variables, and secrets as credentials, which systemd hands over in files that
//! only the service can read. Each secret that `serve` knows stands there, to be uncommented.

use clap::{Args, Command};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct SystemdArgs {
    /// Where the program is installed
    #[arg(
        long, env = "TRANSCRIBE_HOOK_PROGRAM", value_name = "FILE", default_value = "/usr/local/bin/transcribe-hook",
        value_parser = absolute,
    )]
    program: PathBuf,
}

/// systemd takes nothing else, and a path with white space or signs of its own would have to be quoted.
fn absolute(text: &str) -> Result<PathBuf, String> {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
    if text.starts_with('/') && plain { Ok(text.into()) } else { Err("must be a plain absolute path".to_owned()) }
}

pub(super) fn unit(args: &SystemdArgs, command: Command) -> String {
    let unit = UNIT.replace("@PROGRAM@", &args.program.display().to_string());
    unit.replace("@SECRETS@", secrets(command).trim_end())
}

/// For each secret of `serve` the two lines that hand it over, commented out.
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
Description=Keeps the transcripts of voice-agent calls (transcribe-hook)
Wants=network-online.target
After=network-online.target
# However often it fails, it is started again: what is not received is lost.
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=@PROGRAM@ serve
# The database, and whatever else is given without a folder, is in /var/lib/transcribe-hook.
StateDirectory=transcribe-hook
StateDirectoryMode=0750
WorkingDirectory=%S/transcribe-hook
ConfigurationDirectory=transcribe-hook
# One flag a line, by its variable: TRANSCRIBE_HOOK_LISTEN=127.0.0.1:8080
EnvironmentFile=-/etc/transcribe-hook/environment
# Secrets: put each into its file, for root only, and take the two # away.
@SECRETS@
Restart=always
RestartSec=1
# Wrong usage gets no better by repeating it.
RestartPreventExitStatus=2
# A first start with a new version may take as long as it takes to bring a large database up to date.
TimeoutStartSec=infinity
TimeoutStopSec=30
WatchdogSec=60
LimitNOFILE=65536

# What it may do: talk to the network and write to its own folder.
DynamicUser=yes
UMask=0077
CapabilityBoundingSet=
# For a port below 1024 take away the line before and PrivateUsers, and instead:
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
