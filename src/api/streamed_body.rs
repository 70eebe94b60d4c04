//! Response bodies of any length. A separate thread writes them, and the client reads them at its own pace.
//!
//! Only a few chunks wait in memory. A client that reads nothing for a minute is disconnected. A response that fails is
//! cut off, which tells the client that it is incomplete.

use bytes::Bytes;
use futures_util::stream::poll_fn;
use poem::Body;
use std::io::{self, Write};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Maximum size of a chunk, in bytes.
const MAX_CHUNK_BYTES: usize = 64 * 1024;

/// Maximum number of chunks that wait in memory.
const MAX_QUEUED_CHUNKS: usize = 2;

/// Time after which a client that reads nothing is disconnected.
const STALL_TIMEOUT: Duration = Duration::from_mins(1);

/// Writer of a response body. Writing fails once the client is gone.
pub(super) struct BodyWriter {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
    gathered: Vec<u8>,
}

/// Returns a body that `make` writes, on a thread that holds `permit` until it ends.
///
/// # Errors
/// The thread could not be started.
pub(super) fn body(
    name: &str,
    permit: OwnedSemaphorePermit,
    make: impl FnOnce(&mut BodyWriter) -> io::Result<()> + Send + 'static,
) -> io::Result<Body> {
    let (pieces, mut arriving) = mpsc::channel(MAX_QUEUED_CHUNKS);
    let mut outlet = BodyWriter { pieces, runtime: Handle::current(), gathered: Vec::new() };
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _permit = permit;
        if let Err(error) = make(&mut outlet).and_then(|()| outlet.flush()) {
            if error.kind() != io::ErrorKind::BrokenPipe {
                tracing::warn!(%error, "response body failed and was cut off");
            }
            let _ = outlet.send(Err(io::ErrorKind::Other.into()));
        }
    })?;
    Ok(Body::from_bytes_stream(poll_fn(move |context| arriving.poll_recv(context))))
}

impl BodyWriter {
    fn send(&self, piece: io::Result<Bytes>) -> io::Result<()> {
        match self.runtime.block_on(async { tokio::time::timeout(STALL_TIMEOUT, self.pieces.send(piece)).await }) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Write for BodyWriter {
    /// Accepts at most one chunk at a time, even if a row is longer.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(MAX_CHUNK_BYTES - self.gathered.len());
        self.gathered.extend_from_slice(&bytes[..count]);
        if self.gathered.len() == MAX_CHUNK_BYTES {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.gathered);
        self.send(Ok(piece.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_row_of_any_length_leaves_in_pieces_of_bounded_length() {
        let (pieces, mut arriving) = mpsc::channel(MAX_QUEUED_CHUNKS);
        let mut outlet = BodyWriter { pieces, runtime: Handle::current(), gathered: Vec::new() };
        let writing = std::thread::spawn(move || {
            outlet.write_all(b"begun").unwrap();
            outlet.write_all(&vec![b'x'; 10 * MAX_CHUNK_BYTES]).unwrap();
            outlet.flush().unwrap();
        });
        let mut length = 0;
        while let Some(piece) = arriving.recv().await {
            let piece = piece.unwrap();
            assert!(piece.len() <= MAX_CHUNK_BYTES, "{} bytes", piece.len());
            length += piece.len();
        }
        writing.join().unwrap();
        assert_eq!(length, 5 + 10 * MAX_CHUNK_BYTES);
    }
}
