//! Passes a received recording from its connection to a thread that decodes and writes it.
//!
//! The channel is bounded, so only a few pieces are in memory. The file gets its name only after
//! [`RecordingUpload::finish`] has confirmed that the body is complete and its sender is verified. Dropping the intake
//! before that, as for a broken connection, deletes everything.

use super::audio_event::{self, AudioEvent, RecordingError};
use super::folder::Recordings;
use crate::sys::gzip::Coding;
use bytes::{Buf as _, Bytes};
use std::io::{self, BufWriter, Read};
use std::path::PathBuf;
use tokio::sync::{mpsc, oneshot};

/// Maximum number of pieces that wait for the thread.
const MAX_WAITING_PIECES: usize = 4;

/// A received recording.
#[derive(Debug)]
pub struct StoredRecording {
    /// Content of the event.
    pub event: AudioEvent,
    /// Path of the stored file; `None` if recordings are not stored, or this one was dropped.
    pub path: Option<PathBuf>,
}

/// A recording that is being received.
pub struct RecordingUpload {
    pieces: mpsc::Sender<UploadMessage>,
    result: oneshot::Receiver<Result<StoredRecording, RecordingError>>,
}

enum UploadMessage {
    Bytes(Bytes),
    End,
}

impl RecordingUpload {
    /// Starts to receive a body of at most `limit` bytes. Without a folder the body is parsed and dropped.
    ///
    /// A compressed body is passed with its content encoding and its first bytes. The thread holds `permit` until its
    /// file is stored or deleted.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(
        recordings: Option<Recordings>,
        packed: Option<(Coding, Bytes)>,
        limit: u64,
        permit: impl Send + 'static,
    ) -> io::Result<Self> {
        let (pieces, arriving) = mpsc::channel(MAX_WAITING_PIECES);
        let (answer, result) = oneshot::channel();
        std::thread::Builder::new().name("recording".to_owned()).spawn(move || {
            // The receiver is gone if the intake was dropped, and the file was deleted then.
            let _ = answer.send(receive(recordings.as_ref(), packed, arriving, limit));
            drop(permit);
        })?;
        Ok(Self { pieces, result })
    }

    /// Passes the next piece of the body. Waits while the disk is slower than the sender.
    pub async fn push(&self, piece: Bytes) {
        // The thread has ended if the body is invalid; `finish` returns the error.
        let _ = self.pieces.send(UploadMessage::Bytes(piece)).await;
    }

    /// Stores the recording, because its body is complete and its sender is verified. It is on disk when this returns.
    ///
    /// # Errors
    /// See [`RecordingError`]. Nothing is stored then.
    pub async fn finish(self) -> Result<StoredRecording, RecordingError> {
        let _ = self.pieces.send(UploadMessage::End).await;
        self.result
            .await
            .unwrap_or_else(|_| Err(RecordingError::Write(io::Error::other("internal error: writer thread panicked"))))
    }
}

fn receive(
    recordings: Option<&Recordings>,
    packed: Option<(Coding, Bytes)>,
    arriving: mpsc::Receiver<UploadMessage>,
    limit: u64,
) -> Result<StoredRecording, RecordingError> {
    let arriving = ChannelReader { pieces: arriving, piece: Bytes::new(), ended: false };
    let arriving: Box<dyn Read> = match packed {
        None => Box::new(arriving),
        Some((coding, beginning)) => coding.reader(&beginning, arriving),
    };
    let Some(recordings) = recordings else {
        return Ok(StoredRecording { event: audio_event::read(arriving, &mut io::sink(), limit)?, path: None });
    };
    let mut out = BufWriter::with_capacity(128 * 1024, recordings.temporary_file().map_err(RecordingError::Write)?);
    let event = audio_event::read(arriving, &mut out, limit)?;
    let file = out.into_inner().map_err(|failed| RecordingError::Write(failed.into_error()))?;
    let path = recordings.persist(file, &event).map_err(RecordingError::Write)?;
    Ok(StoredRecording { event, path })
}

/// The pieces as one byte stream. It fails unless its end was confirmed.
struct ChannelReader {
    pieces: mpsc::Receiver<UploadMessage>,
    piece: Bytes,
    ended: bool,
}

impl Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(UploadMessage::Bytes(piece)) => self.piece = piece,
                Some(UploadMessage::End) => self.ended = true,
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
