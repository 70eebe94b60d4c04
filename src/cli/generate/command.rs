//! The `generate` command.

use super::{man_pages, systemd_unit};
use crate::api;
use crate::cli::args::values::ValueError;
use crate::cli::output::print_line;
use crate::cli::usage_error::usage;
use crate::elevenlabs::agent_tool::{self, ToolKind, ToolOptions};
use crate::elevenlabs::client::{PlainHttp, parse_base_url};
use anyhow::Result;
use clap::{Args, Command, Subcommand, ValueEnum};
use clap_complete::Shell;

/// A Grafana dashboard of the metrics, for Grafana's import.
///
/// Each row of graphs answers one question: traffic, latency, saturation, space, housekeeping. A variable selects the
/// instances. A test checks that every queried metric and every named flag exists.
const DASHBOARD: &str = include_str!("grafana-dashboard.json");

/// Alert rules of the metrics, for Prometheus. Tests check that every metric exists, and when each alert fires.
const ALERT_RULES: &str = include_str!("prometheus-rules.yml");

#[derive(Debug, Args)]
pub(in crate::cli) struct GenerateArgs {
    #[command(subcommand)]
    what: Artifact,
}

#[derive(Debug, Subcommand)]
enum Artifact {
    /// Print the OpenAPI document of the service
    Openapi,
    /// Print the tool configuration for an ElevenLabs agent
    ElevenlabsTool(ToolArgs),
    /// Print a systemd unit that runs the service
    Systemd(systemd_unit::SystemdArgs),
    /// Print a Grafana dashboard of the service's metrics
    GrafanaDashboard,
    /// Print alert rules for Prometheus
    PrometheusRules,
    /// Print shell completions
    Completions {
        /// Complete for this shell
        shell: Shell,
    },
    /// Print the manual page, or write all of them
    Man(man_pages::ManArgs),
}

#[derive(Debug, Args)]
struct ToolArgs {
    /// Set the public URL of the service, as `https://calls.example.com`
    #[arg(long, env = "TRANSCRIBE_HOOK_URL", value_name = "URL", value_parser = public_url)]
    url: String,
    /// Choose the tool, or the webhook that says who is calling
    #[arg(long, env = "TRANSCRIBE_HOOK_KIND", value_name = "KIND", default_value = "history")]
    kind: ToolKindArg,
    /// Send the ingest token in this ElevenLabs workspace secret
    ///
    /// Create it with the ingest token in ElevenLabs' agent settings, under workspace secrets, or by POST
    /// /v1/convai/secrets. Without the id of a secret the tool sends no token.
    #[arg(long, env = "TRANSCRIBE_HOOK_SECRET_ID", value_name = "ID")]
    secret_id: Option<String>,
    /// Send the driver's number from this dynamic variable
    ///
    /// Every call of the agent must then define the variable. Only histories carry it.
    #[arg(long, env = "TRANSCRIBE_HOOK_DRIVER_VARIABLE", value_name = "NAME")]
    driver_variable: Option<String>,
    /// Send the telephone provider's id of the call
    ///
    /// It links an inbound call with its driver before the record arrives. Only calls by telephone define it.
    #[arg(long, env = "TRANSCRIBE_HOOK_CALL_SID")]
    call_sid: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ToolKindArg {
    /// The conversation so far, as recorded by ElevenLabs
    History,
    /// One turn, in the words of the agent's language model
    Turn,
    /// Webhook that asks who is calling, as settings for `PATCH /v1/convai/settings`
    Initiation,
}

/// Parses a URL that ElevenLabs accepts: it must be https.
fn public_url(text: &str) -> Result<String, ValueError> {
    Ok(parse_base_url(text, PlainHttp::Never)?)
}

pub(in crate::cli) fn run(args: &GenerateArgs, command: Command) -> Result<()> {
    let text = match &args.what {
        Artifact::Openapi => api::openapi_document(),
        Artifact::ElevenlabsTool(args) => tool(args)?,
        Artifact::Systemd(args) => systemd_unit::unit(args, command),
        Artifact::GrafanaDashboard => DASHBOARD.trim_end().to_owned(),
        Artifact::PrometheusRules => ALERT_RULES.trim_end().to_owned(),
        Artifact::Completions { shell } => completions(*shell, command),
        Artifact::Man(args) => return man_pages::run(args, command),
    };
    print_line(text)
}

fn tool(args: &ToolArgs) -> Result<String> {
    if args.driver_variable.is_some() && !matches!(args.kind, ToolKindArg::History) {
        return Err(usage("--driver-variable requires --kind history, because only histories name a driver"));
    }
    let kind = match args.kind {
        ToolKindArg::History => ToolKind::History,
        ToolKindArg::Turn => ToolKind::Turn,
        ToolKindArg::Initiation if args.call_sid => {
            return Err(usage("--call-sid requires --kind history or turn, because ElevenLabs always sends it here"));
        }
        ToolKindArg::Initiation => {
            let settings = agent_tool::initiation_settings(&args.url, args.secret_id.as_deref());
            return Ok(serde_json::to_string_pretty(&settings)?);
        }
    };
    let settings = ToolOptions {
        base_url: &args.url,
        secret_id: args.secret_id.as_deref(),
        driver_variable: args.driver_variable.as_deref(),
        call_sid: args.call_sid,
    };
    Ok(serde_json::to_string_pretty(&agent_tool::configuration(kind, settings))?)
}

fn completions(shell: Shell, mut command: Command) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "transcribe-hook", &mut script);
    let script = String::from_utf8(script).expect("completions are UTF-8");
    // In bash's script the two spellings of the program's name differ, so no command's flags would be completed:
    // https://github.com/clap-rs/clap/issues/6421. Once that is fixed, the replacement finds nothing.
    script.replace("transcribe__subcmd__hook", "transcribe__hook").trim_end().to_owned()
}
