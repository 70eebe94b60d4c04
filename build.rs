//! Compresses the Swagger UI page of the framework at build time, to a quarter of its size.
//!
//! The page loads the OpenAPI document from the service, so it never changes at run time.

use flate2::Compression;
use flate2::write::GzEncoder;
use poem_openapi::OpenApiService;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let nothing = OpenApiService::new((), "", "");
    let mut page = nothing.swagger_ui_html();
    let spec = format!("let spec = {};", nothing.spec());
    for (found, wanted) in [
        ("\n<html charset=\"UTF-8\">", "<!doctype html>\n<html lang=\"en\">"),
        // Without a viewport, a phone shows a shrunken desktop page. Without an icon, a browser requests one.
        (
            "<title>Swagger UI</title>",
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n    \
             <link rel=\"icon\" href=\"data:,\">\n    <title>transcribe-hook API</title>",
        ),
        (&spec, ""),
        ("spec: spec,", "url: \"openapi.json\","),
    ] {
        assert_eq!(page.matches(found).count(), 1, "the framework's page has {found}");
        page = page.replacen(found, wanted, 1);
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it")).join("swagger-ui.html.gz");
    let mut packer = GzEncoder::new(File::create(out)?, Compression::best());
    packer.write_all(page.as_bytes())?;
    packer.finish()?;
    Ok(())
}
