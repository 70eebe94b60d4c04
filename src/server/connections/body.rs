//! Request and response bodies that update the phase of their connection's [`Watch`].

use super::table::{Inner, Phase, Watch};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The body of a request. Its unread rest stays with the connection.
pub(super) struct Arriving {
    inner: Inner,
    is_read: bool,
    watch: Arc<Watch>,
}

impl Arriving {
    pub(super) fn new(inner: Inner, watch: Arc<Watch>) -> Self {
        Self { inner, is_read: false, watch }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if !self.is_read {
            self.watch.leave_unread(std::mem::take(&mut self.inner));
        }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.watch.receive(frame.data_ref().map_or(0, Bytes::len));
        }
        if !self.is_read && (frame.is_none() || self.inner.is_end_stream()) {
            self.is_read = true;
            self.watch.enter(Phase::Work);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of a response. Its drop, sent or not, means that the next request may arrive.
pub(super) struct Leaving {
    inner: Inner,
    watch: Arc<Watch>,
}

impl Leaving {
    pub(super) fn new(inner: Inner, watch: Arc<Watch>) -> Self {
        Self { inner, watch }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.watch.enter(Phase::Idle);
    }
}

impl Body for Leaving {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
