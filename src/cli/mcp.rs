//! The `mcp` command: serves a database to a program that speaks the Model Context Protocol, over standard input and
//! output.

use super::args::database::DatabaseArgs;
use crate::api;
use crate::api::mcp::{MAX_MESSAGE_BYTES, McpServer, Reply};
use crate::api::reader::Reader;
use crate::store::sqlite::ReadOnlyFile;
use anyhow::{Context as _, Result};
use clap::Args;
use std::io::{self, BufRead, Read as _, Write as _};
use std::sync::Arc;
use tokio::runtime::Runtime;

#[derive(Debug, Args)]
pub(super) struct McpArgs {
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Maximum number of concurrent deep reads. Messages are executed one after the other.
const DEEP_READS: usize = 1;

pub(super) fn run(args: &McpArgs) -> Result<()> {
    let database = &args.database.database;
    let file = ReadOnlyFile::open(database).with_context(|| format!("cannot read {}", database.display()))?;
    let server = McpServer::of_file(&Reader::new(Arc::new(file), DEEP_READS), &api::openapi_document());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.context("cannot start the runtime")?;
    match answer_all(&server, &runtime, io::stdin().lock()) {
        // The client closed the pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.context("cannot exchange messages"),
    }
}

/// Answers messages, one on each line, until the input ends.
fn answer_all(server: &McpServer, runtime: &Runtime, mut input: impl BufRead) -> io::Result<()> {
    let mut line = Vec::new();
    let bound = MAX_MESSAGE_BYTES as u64 + 1;
    loop {
        line.clear();
        if input.by_ref().take(bound).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let is_whole = line.ends_with(b"\n") || (line.len() as u64) < bound;
        let reply = if !is_whole {
            input.skip_until(b'\n')?;
            Some(McpServer::refuse_long_message())
        } else if line.trim_ascii().is_empty() {
            None
        } else {
            runtime.block_on(server.handle(&line))
        };
        if let Some(Reply { mut body, .. }) = reply {
            body.push(b'\n');
            let mut out = io::stdout().lock();
            out.write_all(&body)?;
            out.flush()?;
        }
    }
}
