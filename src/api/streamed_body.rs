//! Answers of any length: made by a thread of their own, and taken by the client at its own pace.
//!
//! Some pieces wait in memory at most. Who takes nothing for a minute is let go. An answer that cannot be made to its end is
//! cut off, so that the client sees that it is not whole.

use bytes::Bytes;
use futures_util::stream::poll_fn;
use poem::Body;
use std::io::{self, Write};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Size of what is sent at once, in bytes.
const PIECE: usize = 64 * 1024;

/// How many pieces may wait.
const WAITING: usize = 2;

/// How long a client may take nothing.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where the thread writes the answer to. The writing ends with an error when nobody wants the answer any more.
pub(super) struct Outlet {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
    gathered: Vec<u8>,
}

/// An answer whose bytes `make` writes, in a thread that holds `place` until it ends.
///
/// # Errors
/// The system gave no thread.
pub(super) fn body(
    name: &str,
    place: OwnedSemaphorePermit,
    make: impl FnOnce(&mut Outlet) -> io::Result<()> + Send + 'static,
) -> io::Result<Body> {
    let (pieces, mut arriving) = mpsc::channel(WAITING);
    let mut outlet = Outlet { pieces, runtime: Handle::current(), gathered: Vec::new() };
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _place = place;
        if let Err(error) = make(&mut outlet).and_then(|()| outlet.flush()) {
            if error.kind() != io::ErrorKind::BrokenPipe {
                tracing::warn!(%error, "an answer could not be made to its end and was cut off");
            }
            let _ = outlet.send(Err(io::ErrorKind::Other.into()));
        }
    })?;
    Ok(Body::from_bytes_stream(poll_fn(move |context| arriving.poll_recv(context))))
}

impl Outlet {
    fn send(&self, piece: io::Result<Bytes>) -> io::Result<()> {
        match self.runtime.block_on(async { tokio::time::timeout(PATIENCE, self.pieces.send(piece)).await }) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Write for Outlet {
    /// Takes no more than a piece at once, however long a row is.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE - self.gathered.len());
        self.gathered.extend_from_slice(&bytes[..count]);
        if self.gathered.len() == PIECE {
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
        let (pieces, mut arriving) = mpsc::channel(WAITING);
        let mut outlet = Outlet { pieces, runtime: Handle::current(), gathered: Vec::new() };
        let writing = std::thread::spawn(move || {
            outlet.write_all(b"begun").unwrap();
            outlet.write_all(&vec![b'x'; 10 * PIECE]).unwrap();
            outlet.flush().unwrap();
        });
        let mut length = 0;
        while let Some(piece) = arriving.recv().await {
            let piece = piece.unwrap();
            assert!(piece.len() <= PIECE, "{} bytes", piece.len());
            length += piece.len();
        }
        writing.join().unwrap();
        assert_eq!(length, 5 + 10 * PIECE);
    }
}
