//! Tests of the transport: connections, HTTPS, systemd, shutdown, Swagger UI.

mod keep_alive;
mod limits;
mod shutdown;
mod swagger_ui;
mod systemd;
mod tls;
