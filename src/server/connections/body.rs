//! Request and response bodies that update the phase of their connection's [`ConnectionState`].

use super::table::{BoxedBody, ConnectionState, Phase};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The body of a request. Its unread rest stays with the connection.
pub(super) struct RequestBody {
    inner: BoxedBody,
    is_read: bool,
    state: Arc<ConnectionState>,
}

impl RequestBody {
    pub(super) fn new(inner: BoxedBody, state: Arc<ConnectionState>) -> Self {
        Self { inner, is_read: false, state }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.is_read {
            self.state.leave_unread(std::mem::take(&mut self.inner));
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.state.receive(frame.data_ref().map_or(0, Bytes::len));
        }
        if !self.is_read && (frame.is_none() || self.inner.is_end_stream()) {
            self.is_read = true;
            self.state.transition(Phase::Work);
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
pub(super) struct ResponseBody {
    inner: BoxedBody,
    state: Arc<ConnectionState>,
}

impl ResponseBody {
    pub(super) fn new(inner: BoxedBody, state: Arc<ConnectionState>) -> Self {
        Self { inner, state }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.state.transition(Phase::Idle);
    }
}

impl Body for ResponseBody {
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
