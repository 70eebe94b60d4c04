//! Tests that documents are true: the README, the API guide, the OpenAPI document.

mod dictionary;
mod guide;
mod guide_client;
mod openapi;
mod pictures;
mod readme;
