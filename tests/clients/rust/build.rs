//! Compiles the client again when the document has changed.

fn main() {
    println!("cargo::rerun-if-changed=../../../openapi/transcribe-hook.json");
}
