//! `generate`: what can be printed from the program itself, without a database.

mod flag_table;
mod man_pages;
mod systemd_unit;

use super::output::print_line;
use crate::api;
use crate::elevenlabs::{agent_tool, client};
use crate::telemetry::metrics::dashboard;
use anyhow::Result;
use clap::{Args, Command, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(super) use flag_table::configuration_table;

#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The OpenAPI document of the service
    Openapi,
    /// The tool by which an agent of ElevenLabs sends the turns of a call while it runs
    ElevenlabsTool(ToolArgs),
    /// The unit by which systemd runs the service
    Systemd(systemd_unit::SystemdArgs),
    /// A dashboard for Grafana over the service's metrics
    GrafanaDashboard,
    /// What lets a shell complete the program's commands and flags
    Completions {
        /// The shell
        shell: Shell,
    },
    /// The manual page, or all of them
    Man(man_pages::ManArgs),
}

#[derive(Debug, Args)]
struct ToolArgs {
    /// Where the platform reaches the service, such as `https://calls.example.com`
    #[arg(long, env = "TRANSCRIBE_HOOK_URL", value_name = "URL", value_parser = public_url)]
    url: String,
    /// Which tool: one that sends the conversation so far, or one that sends single turns
    #[arg(long, env = "TRANSCRIBE_HOOK_KIND", value_name = "KIND", default_value = "history")]
    kind: KindName,
    /// The platform's id of the workspace secret that holds the ingest token; without it no token is sent
    #[arg(long, env = "TRANSCRIBE_HOOK_SECRET_ID", value_name = "ID")]
    secret_id: Option<String>,
    /// The dynamic variable that holds the driver's number; every call of the agent must then have it
    #[arg(long, env = "TRANSCRIBE_HOOK_DRIVER_VARIABLE", value_name = "NAME")]
    driver_variable: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindName {
    /// The conversation so far, in the platform's own words
    History,
    /// One turn, in words that the agent's language model writes
    Turn,
}

/// The platform calls nothing else than https.
fn public_url(text: &str) -> Result<String, String> {
    client::check_base_url(text, false).map_err(|rule| rule.to_string())
}

pub(super) fn run(args: &GenerateArgs, command: Command) -> Result<()> {
    let text = match &args.what {
        What::Openapi => api::document(),
        What::ElevenlabsTool(args) => tool(args),
        What::Systemd(args) => systemd_unit::unit(args, command),
        What::GrafanaDashboard => dashboard::json(),
        What::Completions { shell } => completions(*shell, command),
        What::Man(args) => return man_pages::run(args, command),
    };
    print_line(text)
}

fn tool(args: &ToolArgs) -> String {
    let kind = match args.kind {
        KindName::History => agent_tool::Kind::History,
        KindName::Turn => agent_tool::Kind::Turn,
    };
    let settings = agent_tool::Settings {
        base_url: &args.url,
        secret_id: args.secret_id.as_deref(),
        driver_variable: args.driver_variable.as_deref(),
    };
    serde_json::to_string_pretty(&agent_tool::configuration(kind, settings)).expect("a value becomes text")
}

fn completions(shell: Shell, mut command: Command) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "transcribe-hook", &mut script);
    let script = String::from_utf8(script).expect("flags and their help are text");
    // In bash's script the two ways to write the program's name differ, so that no command's flags would be completed:
    // https://github.com/clap-rs/clap/issues/6421. Once that is mended, this finds nothing.
    script.replace("transcribe__subcmd__hook", "transcribe__hook").trim_end().to_owned()
}
