//! The `healthcheck` command: checks that a running service is ready, for supervisors and load balancers.

use super::args::service_url::ServiceUrlArgs;
use super::output::print_line;
use crate::domain::{is_loopback_url, shown_url};
use anyhow::{Result, bail};
use clap::Args;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct HealthcheckArgs {
    #[command(flatten)]
    service: ServiceUrlArgs,
    /// Fail if the response takes longer than this
    #[arg(
        long, env = "TRANSCRIBE_HOOK_TIMEOUT", value_name = "DURATION", default_value = "5s",
        value_parser = humantime::parse_duration,
    )]
    timeout: Duration,
    /// Accept any certificate of --url, as for localhost
    ///
    /// Without --url, the service on this machine is checked by its address, which no certificate names.
    #[arg(long, env = "TRANSCRIBE_HOOK_INSECURE")]
    insecure: bool,
}

pub(super) fn run(args: &HealthcheckArgs) -> Result<()> {
    let (url, any_certificate) = match args.service.own_url()? {
        Some(own) => (own, true),
        None => (args.service.url()?, args.insecure),
    };
    let tls = ureq::tls::TlsConfig::builder().disable_verification(any_certificate).build();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        // A proxy would answer for a service that does not.
        .proxy(if is_loopback_url(&url) { None } else { ureq::Proxy::try_from_env() })
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(args.timeout))
        .tls_config(tls)
        .build()
        .into();
    let shown = format!("{}/readyz", shown_url(&url));
    let mut answer = agent.get(format!("{}/readyz", url.trim_end_matches('/'))).call().map_err(|error| {
        let what = if error.to_string().contains("invalid peer certificate") {
            "has a certificate that is not trusted, or of another name; --insecure accepts any"
        } else {
            "does not answer"
        };
        anyhow::Error::from(error).context(format!("{shown} {what}"))
    })?;
    let status = answer.status();
    if status != 200 {
        let text = answer.body_mut().with_config().limit(64 << 10).read_to_string().unwrap_or_default();
        let body: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        bail!("{shown} answers {status}: {}", body["message"].as_str().unwrap_or("(unknown response)"));
    }
    print_line(format_args!("ready"))?;
    Ok(())
}
