//! Swagger UI as a reader uses it, in a real browser: it asks nobody but the service, and its Authorize opens what a token
//! opens.

use crate::support::browser::Page;
use crate::support::service::Service;
use crate::support::turns::turn;
use serde_json::{Value, json};

#[test]
fn the_docs_try_operations_which_a_token_given_under_authorize_opens() {
    const API: &str = "api_0123456789abcdef0123456789abcdef";
    let service = Service::start_with(&["--api-token", API]);
    service.deliver(&turn("conv_docs", 1)).expect(201);
    let page = Page::open(&service.url("/docs"), json!({}));
    let list = |status: u16| -> Value {
        let text = page.step("tryOut", json!({"id": "list_calls", "status": status}));
        serde_json::from_str(text.as_str().unwrap()).unwrap()
    };
    assert_eq!(list(401)["status"], "error");
    page.step("authorize", json!({"scheme": "ApiToken", "token": API}));
    assert_eq!(list(200)["data"][0]["conversation_id"], "conv_docs");
    page.step("logOut", json!({"scheme": "ApiToken"}));
    assert_eq!(list(401)["status"], "error");
    page.step("authorize", json!({"scheme": "ApiToken", "token": "wrong_0123456789abcdef"}));
    assert_eq!(list(401)["status"], "error");
}
