//! Swagger UI as a reader uses it, in a real browser: it asks nobody but the service, and its Authorize opens what a
//! token opens.

use crate::support::browser::Page;
use crate::support::service::Service;
use crate::support::turns::turn;
use poem_openapi::OpenApiService;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use transcribe_hook::sys::gzip::{CompressionLevel, compress};

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

/// Colours of the page where the system is dark, which the framework lacks.
const STYLE: &str = "<style>
      :root { color-scheme: light dark; }
      .back { display: inline-block; margin: 10px 20px; padding: 4px 0; font: 500 14px/1.5 system-ui, sans-serif; \
      color: #1f4f8f; }
      @media (prefers-color-scheme: dark) {
        html { background: #121316; }
        .back { color: #93bdf3; }
        #ui { filter: invert(0.92) hue-rotate(180deg); }
        #ui .microlight, #ui .highlight-code { filter: invert(1) hue-rotate(180deg); }
      }
    </style>";

#[test]
fn the_docs_are_dark_where_the_system_is_and_lead_back_to_the_calls() {
    let service = Service::start();
    service.deliver(&turn("conv_docs", 1)).expect(201);
    let page = Page::open(&service.url("/docs"), json!({"dark": true}));
    page.step("darkDocs", json!({}));
    let light = Page::open(&service.url("/docs"), json!({}));
    light.step("backToCalls", json!({}));
}

#[test]
fn the_page_is_that_of_the_framework_in_use() {
    let framework = OpenApiService::new((), "", "");
    let spec = format!("let spec = {};", framework.spec());
    let mut page = framework.swagger_ui_html();
    for (found, wanted) in [
        ("\n<html charset=\"UTF-8\">", "<!doctype html>\n<html lang=\"en\">"),
        // Without a viewport, a phone shows a shrunken desktop page. Without an icon, a browser requests one.
        (
            "<title>Swagger UI</title>",
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n    \
             <link rel=\"icon\" href=\"data:,\">\n    <title>transcribe-hook API</title>\n    {STYLE}",
        ),
        ("<div id=\"ui\"></div>", "<a class=\"back\" href=\"./\">‹ Calls</a>\n<div id=\"ui\"></div>"),
        // The service's document is loaded when the page is opened, so the page is the same for every version of it.
        (&spec, ""),
        ("spec: spec,", "url: \"openapi.json\","),
    ] {
        assert_eq!(page.matches(found).count(), 1, "the framework's page has {found}");
        page = page.replacen(found, &wanted.replace("{STYLE}", STYLE), 1);
    }
    let served = Service::start().get("/docs").expect(200);
    if served.text != page {
        let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("swagger-ui.html.gz");
        fs::write(&new, compress(page.as_bytes(), CompressionLevel::Best)).unwrap();
        panic!("the page is outdated: cp {} src/server/swagger-ui.html.gz", new.display());
    }
}
