//! Commands and a proxy that the environment names.

use crate::support::service::{Service, binary};
use std::io::Read as _;
use std::net::TcpListener;

#[test]
fn a_service_on_this_machine_is_asked_without_the_proxy_which_would_see_the_token() {
    let service = Service::start_guarded(&[]);
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let proxy_url = format!("http://{}", proxy.local_addr().unwrap());
    let database = service.database().to_str().unwrap();
    for command in [&["healthcheck"][..], &["webhook", "list", "--database", database]] {
        let mut run = binary();
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
            run.env(name, &proxy_url);
        }
        let out = run.args(command).args(["--url", &service.url("")]).output().unwrap();
        assert!(out.status.success(), "{command:?}: {out:?}");
        let asked = proxy.accept().map(|(mut stream, _)| {
            let mut request = [0; 200];
            let length = stream.read(&mut request).unwrap_or(0);
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        assert!(asked.is_err(), "{command:?}: {asked:?}");
    }
}
