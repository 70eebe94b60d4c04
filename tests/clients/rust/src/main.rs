//! Does real work with the client that progenitor makes of the document, and prints what came of it.

#![allow(clippy::all, clippy::pedantic, reason = "most of it is generated")]

progenitor::generate_api!(spec = "../../../openapi/transcribe-hook.json", interface = Builder);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args().skip(1);
    let (url, token) = (args.next().expect("an address"), args.next().expect("a token"));
    let mut headers = reqwest::header::HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse().expect("a header"));
    let http = reqwest::Client::builder().default_headers(headers).build().expect("a client");
    let client = Client::new_with_client(&url, http);

    let mut stored = Vec::new();
    for n in 0..6 {
        let turn = types::TurnDelivery::builder()
            .conversation_id(format!("conv_rust_{}", n % 3))
            .speaker(types::DeliveredSpeaker::User)
            .message(format!("The reefer reads {n} degrees."))
            .timestamp(format!("2026-09-28T12:00:0{n}Z").parse::<chrono::DateTime<chrono::Utc>>().expect("a time"));
        stored.push(client.store_turn().body(turn).send().await.expect("a turn").sequence_number);
    }
    let (mut names, mut cursor) = (Vec::new(), None);
    loop {
        let mut list = client.list_calls().limit(2);
        if let Some(cursor) = &cursor {
            list = list.cursor(cursor);
        }
        let page = list.send().await.expect("a page").into_inner();
        names.extend(page.data.into_iter().map(|call| call.conversation_id.to_string()));
        cursor = page.next_cursor;
        if !page.has_more {
            break;
        }
    }
    names.retain(|name| name.starts_with("conv_rust_"));
    names.sort();
    let call = client.get_call().conversation_id("conv_rust_0").send().await.expect("a call").into_inner();
    let turns = client.list_transcriptions().conversation_id("conv_rust_0").send().await.expect("turns").into_inner();
    let hits = client.search_transcriptions().q("reefer").conversation_id("conv_rust_0").send().await;
    let missing = client.get_call().conversation_id("no_such_call").send().await.expect_err("no call");
    let error = match missing {
        Error::ErrorResponse(answer) => answer.into_inner().status.to_string(),
        other => panic!("{other}"),
    };
    let said: Vec<_> = turns.data.into_iter().map(|turn| turn.message_text).collect();
    println!(
        "{}",
        serde_json::json!({
            "sequence_numbers": stored, "calls": names, "status": call.status.to_string(), "driver_id": call.driver_id,
            "turns": said, "hits": hits.expect("hits").data.len(), "error": error,
        })
    );
}
