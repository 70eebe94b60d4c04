//! Files of the page, compressed, and their names.

use super::agent_setup;
use crate::sys::gzip::{CompressionLevel, compress};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::sync::LazyLock;

/// A file, ready to be sent.
pub(super) struct Asset {
    name: &'static str,
    pub(super) content_type: &'static str,
    plain: AssetBody,
    packed: AssetBody,
}

/// The content of a file in one encoding.
pub(super) struct AssetBody {
    pub(super) bytes: Bytes,
    /// Value of the `ETag` header.
    pub(super) tag: String,
}

/// The encoding of a file in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
}

impl Asset {
    fn new(name: &'static str, plain: Bytes) -> Self {
        let content_type = match name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => SCRIPT,
            Some("svg") => "image/svg+xml",
            _ => "application/json",
        };
        let digest = digest([&*plain]);
        let packed = compress(&plain, CompressionLevel::Best).into();
        Self {
            name,
            content_type,
            plain: AssetBody { bytes: plain, tag: format!("\"{digest}\"") },
            packed: AssetBody { bytes: packed, tag: format!("\"{digest}-gz\"") },
        }
    }

    pub(super) fn body(&self, encoding: Encoding) -> &AssetBody {
        match encoding {
            Encoding::Identity => &self.plain,
            Encoding::Gzip => &self.packed,
        }
    }
}

/// All files of the page.
pub(super) struct AssetBundle {
    pub(super) shell: Asset,
    version: String,
    files: Vec<Asset>,
}

impl AssetBundle {
    /// Returns the page. Its files are compressed on first use.
    pub(super) fn get() -> &'static Self {
        static PAGE: LazyLock<AssetBundle> = LazyLock::new(AssetBundle::new);
        &PAGE
    }

    fn new() -> Self {
        let mut files: Vec<_> =
            FILES.iter().map(|(name, text)| Asset::new(name, Bytes::from_static(text.as_bytes()))).collect();
        files.push(Asset::new("setup.json", agent_setup::document().into()));
        // One digest for all files, because modules import one another by relative path, within a folder that has the
        // digest.
        let version = digest(files.iter().flat_map(|file| [file.name.as_bytes(), &file.plain.bytes]));
        // Modules are preloaded at once, instead of each when another one imports it.
        let modules = files.iter().filter(|file| file.content_type == SCRIPT && !UNLOADED.contains(&file.name));
        let preload = modules.fold(String::new(), |mut links, file| {
            let _ = writeln!(links, "<link rel=\"modulepreload\" href=\"assets/{version}/{}\">", file.name);
            links
        });
        let shell = SHELL.replace("<!-- modules -->\n", &preload).replace("{version}", &version);
        Self { shell: Asset::new("index.html", shell.into()), version, files }
    }

    /// Returns a file of this version of the page.
    pub(super) fn file(&self, version: &str, name: &str) -> Option<&Asset> {
        self.files.iter().find(|file| version == self.version && file.name == name)
    }
}

/// Returns a short digest of some texts.
fn digest<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text);
        hash.update([0]);
    }
    let mut digits = format!("{:x}", hash.finalize());
    digits.truncate(16);
    digits
}

/// Scripts that are no modules, and modules of pages that few readers visit, which load them then.
const UNLOADED: [&str; 4] = ["accesses.js", "setup.js", "theme.js", "url_token.js"];

const SCRIPT: &str = "text/javascript; charset=utf-8";

const SHELL: &str = include_str!("assets/index.html");

/// Lists files of `assets/` with their contents.
macro_rules! files {
    ($($name:literal),+ $(,)?) => { [$(($name, include_str!(concat!("assets/", $name)))),+] };
}

const FILES: [(&str, &str); 40] = files![
    "accesses.js",
    "alerts.js",
    "api.js",
    "base.css",
    "call.css",
    "call.js",
    "call_details.js",
    "chart.js",
    "combo.js",
    "dom.js",
    "drivers.js",
    "end_call.js",
    "filters.js",
    "help.js",
    "icon.svg",
    "labels.js",
    "list.css",
    "list.js",
    "live.js",
    "main.js",
    "more_filters.js",
    "pages.css",
    "player.js",
    "print.css",
    "rights.js",
    "route.js",
    "search_results.js",
    "service_address.js",
    "setup.js",
    "share.js",
    "signin.js",
    "snippet.js",
    "states.js",
    "stats.js",
    "theme.js",
    "time.js",
    "tools.js",
    "turns.js",
    "url_token.js",
    "welcome.js",
];
