//! Carries a recording from a connection, where its pieces arrive, to a thread of its own that decodes and writes it.
//!
//! The thread waits for whoever is slower, so no more than a few pieces are in memory. It gives the file its name only
//! after the sender said, by [`Intake::finish`], that the body was complete and is who it should be; when the intake is
//! dropped before that, by a connection that broke for example, nothing stays.

use super::audio_event::{self, AudioEvent, Unreadable};
use super::folder::Recordings;
use crate::sys::gzip::Coding;
use bytes::{Buf as _, Bytes};
use std::io::{self, BufWriter, Read};
use std::path::PathBuf;
use tokio::sync::{mpsc, oneshot};

/// How many pieces may wait for the thread.
const WAITING: usize = 4;

/// A recording that was taken in.
#[derive(Debug)]
pub struct Kept {
    /// What the event said.
    pub event: AudioEvent,
    /// Where it is, on disk; `None` when recordings are not kept.
    pub path: Option<PathBuf>,
}

/// A recording that is arriving.
pub struct Intake {
    pieces: mpsc::Sender<Piece>,
    result: oneshot::Receiver<Result<Kept, Unreadable>>,
}

enum Piece {
    Bytes(Bytes),
    End,
}

impl Intake {
    /// Starts to take a body of at most `limit` bytes; without a folder it is read and dropped. A packed one comes with its
    /// coding and its first bytes. The thread holds `permit` until its file is kept or removed.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start(
        recordings: Option<Recordings>,
        packed: Option<(Coding, Bytes)>,
        limit: u64,
        permit: impl Send + 'static,
    ) -> io::Result<Self> {
        let (pieces, arriving) = mpsc::channel(WAITING);
        let (answer, result) = oneshot::channel();
        std::thread::Builder::new().name("recording".to_owned()).spawn(move || {
            // Nobody is there to receive it when the intake was dropped, and then the file was too.
            let _ = answer.send(take(recordings.as_ref(), packed, arriving, limit));
            drop(permit);
        })?;
        Ok(Self { pieces, result })
    }

    /// Hands on the next piece of the body; waits while the disk is slower than the sender.
    pub async fn feed(&self, piece: Bytes) {
        // The thread is gone once the body turned out to be unreadable, which `finish` tells.
        let _ = self.pieces.send(Piece::Bytes(piece)).await;
    }

    /// The body was complete, and its sender is the platform: keeps the recording, which is on disk when this returns.
    ///
    /// # Errors
    /// See [`Unreadable`]; nothing is kept then.
    pub async fn finish(self) -> Result<Kept, Unreadable> {
        let _ = self.pieces.send(Piece::End).await;
        self.result.await.unwrap_or_else(|_| Err(Unreadable::Write(io::Error::other("the thread ended by a defect"))))
    }
}

fn take(
    recordings: Option<&Recordings>,
    packed: Option<(Coding, Bytes)>,
    arriving: mpsc::Receiver<Piece>,
    limit: u64,
) -> Result<Kept, Unreadable> {
    let arriving = Arriving { pieces: arriving, piece: Bytes::new(), ended: false };
    let arriving: Box<dyn Read> = match packed {
        None => Box::new(arriving),
        Some((coding, beginning)) => coding.reader(&beginning, arriving),
    };
    let Some(recordings) = recordings else {
        return Ok(Kept { event: audio_event::read(arriving, &mut io::sink(), limit)?, path: None });
    };
    let mut out = BufWriter::with_capacity(128 * 1024, recordings.aside().map_err(Unreadable::Write)?);
    let event = audio_event::read(arriving, &mut out, limit)?;
    let file = out.into_inner().map_err(|failed| Unreadable::Write(failed.into_error()))?;
    let path = recordings.keep(file, &event.conversation_id).map_err(Unreadable::Write)?;
    Ok(Kept { event, path: Some(path) })
}

/// The pieces as one stream of bytes, which ends only when its end was said.
struct Arriving {
    pieces: mpsc::Receiver<Piece>,
    piece: Bytes,
    ended: bool,
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(piece)) => self.piece = piece,
                Some(Piece::End) => self.ended = true,
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
