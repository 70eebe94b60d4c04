//! HTTPS, by real clients and a real authority: curl, OpenSSL, and Let's Encrypt's own test server, Pebble.

use crate::support::service::{Service, TURNS, binary, run, wait_for};
use crate::support::tls::{Pair, Process, free_port};
use crate::support::turns::turn;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const NAME: &str = "calls.example.com";

/// Returns curl's output, trusting only this certificate; `None` if curl fails.
fn curl(trusted: &Path, args: &[&str]) -> Option<String> {
    let out = Command::new("curl").args(["-sS", "-i", "--max-time", "20", "--cacert"]).arg(trusted).args(args).output();
    let out = out.expect("curl runs");
    out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
}

#[test]
fn turns_are_taken_and_calls_are_read_by_https() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::make(folder.path(), "one");
    let token = ["--api-token", "api_0123456789abcdef"];
    let service = Service::start_with(&[&pair.flags()[..], &token].concat());
    let url = format!("https://{}", service.address());
    assert!(service.log().join("\n").contains(&url), "{:?}", service.log());
    let get = |args: &[&str]| curl(&pair.certificate, args).expect("curl trusts it");
    let body = turn("conv_tls", 1).to_string();
    let answer = get(&["-H", "Content-Type: application/json", "-d", &body, &format!("{url}{TURNS}")]);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let calls = format!("{url}/api/v1/calls");
    assert!(get(&[&calls]).starts_with("HTTP/1.1 401"));
    let signed_in = get(&["-d", "token=api_0123456789abcdef", &format!("{url}/session")]);
    assert!(signed_in.starts_with("HTTP/1.1 200") && signed_in.contains("; Secure"), "{signed_in}");
    assert!(signed_in.contains("set-cookie: __Host-transcribe_hook_session="), "{signed_in}");
    assert!(signed_in.contains("strict-transport-security: max-age=31536000\r\n"), "{signed_in}");
    let read = get(&["-H", "Authorization: Bearer api_0123456789abcdef", &calls]);
    assert!(read.starts_with("HTTP/1.1 200") && read.contains("conv_tls"), "{read}");
    for version in ["--tlsv1.2", "--tlsv1.3"] {
        assert!(get(&[version, &format!("{url}/healthz")]).starts_with("HTTP/1.1 200"), "{version}");
    }
    let other = Pair::make(folder.path(), "other");
    assert_eq!(curl(&other.certificate, &[&format!("{url}/healthz")]), None, "it is that certificate");
    // Whoever speaks plainly is not answered, and hurts nobody.
    let mut stream = TcpStream::connect(service.address()).unwrap();
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert!(get(&[&format!("{url}/healthz")]).starts_with("HTTP/1.1 200"));
    service.stop();
}

#[test]
fn healthcheck_asks_by_https_and_takes_a_certificate_of_ones_own_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::make(folder.path(), "one");
    let service = Service::start_with(&pair.flags());
    let healthcheck = |url: &str, more: &[&str]| {
        let out = run(&[&["healthcheck", "--url", url], more].concat());
        (out.status.code(), format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
    };
    let url = format!("https://{}", service.address());
    let (code, said) = healthcheck(&url, &["--timeout", "1m"]);
    assert_eq!(code, Some(1), "nobody vouches for it: {said}");
    assert!(said.contains("--insecure"), "{said}");
    let (code, said) = healthcheck(&url, &["--insecure", "--timeout", "1m"]);
    assert_eq!((code, &*said), (Some(0), "ready\n"));
    // Without a URL it asks the service on this machine, by the flags of `serve`, whatever name its certificate has.
    let certificate = pair.certificate.to_str().unwrap();
    let own = ["healthcheck", "--listen", &service.address().to_string(), "--tls-cert", certificate, "--timeout", "1m"];
    let out = run(&own);
    assert!(out.status.success(), "{out:?}");
    // It takes any certificate, and not any answer.
    let plain = Service::start();
    let (code, said) = healthcheck(&format!("https://{}", plain.address()), &["--insecure", "--timeout", "1m"]);
    assert_eq!(code, Some(1), "{said}");
}

#[test]
fn a_handshake_that_is_not_gone_on_with_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::make(folder.path(), "one");
    let service = Service::start_with(&[&pair.flags()[..], &["--header-timeout", "300ms"]].concat());
    let mut stream = TcpStream::connect(service.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0);
}

#[test]
fn a_changed_certificate_is_taken_over_and_one_that_is_none_is_not() {
    const NO_KEY: &str = "no key";
    let folder = tempfile::tempdir().unwrap();
    let (pair, newer, newest) =
        (Pair::make(folder.path(), "one"), Pair::make(folder.path(), "two"), Pair::make(folder.path(), "three"));
    let first = folder.path().join("first.pem");
    std::fs::copy(&pair.certificate, &first).unwrap();
    let service = Service::start_with(&pair.flags());
    let url = format!("https://{}/healthz", service.address());
    assert!(curl(&first, &[&url]).is_some());
    newer.replace(&pair);
    wait_for("the new certificate", || curl(&newer.certificate, &[&url]));
    assert_eq!(curl(&first, &[&url]), None);
    std::fs::write(&pair.key, NO_KEY).unwrap();
    service.wait_logged("error", "pem_files");
    assert!(curl(&newer.certificate, &[&url]).is_some(), "the one before it stays");
    // One of another pair.
    std::fs::copy(&newest.key, &pair.key).unwrap();
    wait_for("the second error", || (service.logged("error", "pem_files").len() == 2).then_some(()));
    assert!(curl(&newer.certificate, &[&url]).is_some());
    newest.replace(&pair);
    wait_for("the newest certificate", || curl(&newest.certificate, &[&url]));
    let log = service.log().join("\n");
    assert!(!log.contains("PRIVATE KEY") && !log.contains(NO_KEY), "{log}");
}

/// Returns the error of a `serve` that ends with these flags.
fn why(flags: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let out =
        binary().args(["serve", "--listen", "127.0.0.1:0", "--database"]).arg(&database).args(flags).output().unwrap();
    assert!(!out.status.success() && !database.exists(), "{out:?}");
    String::from_utf8(out.stderr).unwrap()
}

#[test]
fn a_certificate_that_cannot_be_used_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (pair, other) = (Pair::make(folder.path(), "one"), Pair::make(folder.path(), "two"));
    let (certificate, key) = (pair.certificate.to_str().unwrap(), other.key.to_str().unwrap());
    for (flags, parts) in [
        (["--tls-cert", certificate, "--tls-key", key], [certificate, key]),
        (["--tls-cert", key, "--tls-key", key], [key, "certificate"]),
        (["--tls-cert", certificate, "--tls-key", certificate], [certificate, "key"]),
        (["--tls-cert", "/nowhere/cert.pem", "--tls-key", key], ["/nowhere/cert.pem", "No such file"]),
    ] {
        let said = why(&flags);
        assert!(parts.iter().all(|part| said.contains(part)), "{flags:?}: {said}");
    }
    for flags in [
        &["serve", "--tls-cert", certificate][..],
        &["serve", "--tls-key", key],
        &["serve", "--tls-cert", certificate, "--tls-key", key, "--acme-domain", NAME],
        &["serve", "--acme-domain", "*.example.com"],
    ] {
        assert_eq!(run(flags).status.code(), Some(2), "{flags:?}");
    }
}

/// Let's Encrypt's test server, with a DNS server that resolves every name to this machine.
struct Authority {
    folder: TempDir,
    directory: String,
    management: String,
    /// The certificate of the authority's own server.
    own: PathBuf,
    processes: Vec<Process>,
}

impl Authority {
    /// One that looks for domains at this port, and whose certificates are good for so many seconds.
    fn start(port: u16, validity: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = Pair::make(folder.path(), "authority");
        let [listen, management, dns] = [free_port(), free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        let configuration = json!({"pebble": {
            "listenAddress": listen, "managementListenAddress": management, "certificate": own.certificate,
            "privateKey": own.key, "httpPort": 1, "tlsPort": port, "ocspResponderURL": "",
            "certificateValidityPeriod": validity,
        }});
        let file = folder.path().join("pebble.json");
        std::fs::write(&file, configuration.to_string()).unwrap();
        let names = Process::start(
            Command::new("pebble-challtestsrv")
                .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", &dns, "-http01", "", "-https01", ""])
                .args(["-tlsalpn01", "", "-management", &format!("127.0.0.1:{}", free_port())]),
        );
        let authority = Process::start(
            Command::new("pebble")
                .args(["-dnsserver", &dns, "-config"])
                .arg(&file)
                // It would wait up to fifteen seconds before it looks.
                .env("PEBBLE_VA_NOSLEEP", "1")
                // It would refuse some good nonces, too often in a row once in a while.
                .env("PEBBLE_WFE_NONCEREJECT", "0"),
        );
        let directory = format!("https://{listen}/dir");
        wait_for("the authority to answer", || curl(&own.certificate, &[&directory]));
        Self { folder, directory, management, own: own.certificate, processes: vec![names, authority] }
    }

    /// The certificate that those of this authority are checked by.
    fn root(&self) -> PathBuf {
        let root = self.folder.path().join("root.pem");
        let out = Command::new("curl")
            .args(["-sSk", "-o"])
            .arg(&root)
            .arg(format!("https://{}/roots/0", self.management))
            .output();
        assert!(out.unwrap().status.success());
        root
    }
}

#[test]
fn a_certificate_is_obtained_from_an_authority_kept_and_renewed() {
    let port = free_port();
    let mut authority = Authority::start(port, 12);
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("acme");
    let (listen, own) = (format!("127.0.0.1:{port}"), authority.own.to_str().unwrap().to_owned());
    let flags = [
        "--listen",
        &listen,
        "--acme-domain",
        NAME,
        "--acme-domain",
        "calls.example.org",
        "--acme-cache",
        cache.to_str().unwrap(),
        "--acme-directory",
        &authority.directory,
        "--acme-ca",
        &own,
        "--acme-contact",
        "operator@example.com",
    ];
    let database = folder.path().join("calls.db");
    let root = authority.root();
    let service = Service::start_on(&database, &flags);
    let obtained = service.wait_logged("info", "acme");
    assert!(obtained["domains"].as_str().unwrap().contains(NAME), "{obtained}");
    let ask = |name: &str| {
        curl(&root, &["--resolve", &format!("{name}:{port}:127.0.0.1"), &format!("https://{name}:{port}/healthz")])
    };
    for name in [NAME, "calls.example.org"] {
        // One that is good for seconds may have ended when a busy machine comes to it.
        let answer = wait_for("curl to trust it", || ask(name));
        assert!(answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
    }
    for file in ["certificate.json", "account.json"] {
        let mode = std::fs::metadata(cache.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file} is its owner's");
    }
    let kept = || std::fs::read_to_string(cache.join("certificate.json")).unwrap();
    let (first, account) = (kept(), std::fs::read_to_string(cache.join("account.json")).unwrap());
    wait_for("the certificate to be renewed", || (kept() != first).then_some(()));
    wait_for("the renewed certificate to be served", || ask(NAME));
    assert_eq!(std::fs::read_to_string(cache.join("account.json")).unwrap(), account, "by the same account");
    // Without the authority, a restart goes on with what is kept.
    authority.processes.clear();
    service.stop();
    let service = Service::start_on(&database, &flags);
    let url = format!("https://127.0.0.1:{}/healthz", service.address().port());
    assert!(curl(&root, &["-k", &url]).is_some(), "it has a certificate, if not a good one any more");
}

#[test]
fn while_the_authority_cannot_be_reached_the_service_runs_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("acme");
    let nowhere = format!("http://127.0.0.1:{}/dir", free_port());
    let service = Service::start_with(&[
        "--acme-domain",
        NAME,
        "--acme-cache",
        cache.to_str().unwrap(),
        "--acme-directory",
        &nowhere,
    ]);
    let refused = service.wait_logged("error", "acme");
    assert!(refused["error"].is_string() && refused["retry_in"].is_string(), "{refused}");
    service.stop();
    std::fs::write(cache.join("certificate.json"), "{").unwrap();
    let service = Service::start_with(&[
        "--acme-domain",
        NAME,
        "--acme-cache",
        cache.to_str().unwrap(),
        "--acme-directory",
        &nowhere,
    ]);
    let unusable = service.wait_logged("error", "acme");
    assert!(unusable["error"].is_string() && unusable["retry_in"].is_null(), "{unusable}");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(why(&["--acme-domain", NAME, "--acme-cache", file.to_str().unwrap()]).contains("file"));
}
