//! The running service: its settings, its routes, its layers, and its shutdown.

pub mod connections;
pub mod cors;
mod malloc_trim;
mod metrics_endpoint;
mod request_layer;
mod routes;
mod serve;
mod settings;
mod swagger_ui;
mod systemd;
pub mod tls;

pub use request_layer::RequestLayer;
pub use serve::{ServeError, serve};
pub use settings::Settings;
