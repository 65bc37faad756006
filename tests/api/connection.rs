//! Clients that do not keep to the rules of HTTP, on sockets of their own: what they get, and that it costs little.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use uuid::Uuid;

use crate::harness::{Answer, World, eventually};
use crate::metrics::scrape;

/// How many bytes a body may have by default.
const MAX_BYTES: usize = 4 * 32_768;

/// The head of a POST with these lines besides.
fn head(lines: &[&str]) -> String {
    format!("POST /graphql HTTP/1.1\r\nHost: test\r\n{}\r\n\r\n", lines.join("\r\n"))
}

async fn connect(world: &World) -> TcpStream {
    TcpStream::connect(world.address).await.unwrap()
}

/// Reads an answer that has a length: its head, and its body as JSON.
async fn answer(socket: &mut TcpStream) -> (String, Value) {
    let mut bytes = Vec::new();
    let end_of_head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        let read = in_time(socket.read_buf(&mut bytes)).await.unwrap();
        assert_ne!(read, 0, "it ended early: {}", String::from_utf8_lossy(&bytes));
    };
    let head = String::from_utf8(bytes.drain(..end_of_head).collect()).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.unwrap_or_else(|| panic!("a length: {head}")).parse().unwrap();
    while bytes.len() < length {
        assert_ne!(socket.read_buf(&mut bytes).await.unwrap(), 0, "it ended early");
    }
    (head, serde_json::from_slice(&bytes).unwrap())
}

/// Ends a test whose server waits for ever.
async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("the server ends it")
}

/// What comes until the server closes.
async fn rest(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    in_time(socket.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

fn code(body: &Value) -> &str {
    assert!(body.get("data").is_none(), "{body}");
    body["errors"][0]["extensions"]["code"].as_str().unwrap()
}

/// The process lives, and answers.
async fn assert_alive(world: &World) {
    assert_eq!(world.ask_anonymously("{ __typename }").await.data()["__typename"], "Query");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_will_be_refused_is_not_waited_for() {
    let world = World::new().await;
    let too_large = format!("Content-Length: {}", MAX_BYTES + 1);
    let json = "Content-Type: application/json";
    for (lines, status, expected) in [
        (["Content-Type: text/plain", "Content-Length: 100"], "415", "BAD_USER_INPUT"),
        (["Content-Type: multipart/form-data; boundary=b", "Transfer-Encoding: chunked"], "415", "BAD_USER_INPUT"),
        (["Content-Type: application/x-www-form-urlencoded", "Content-Length: 99999999999"], "415", "BAD_USER_INPUT"),
        ([json, "Content-Type: text/plain\r\nContent-Length: 100"], "415", "BAD_USER_INPUT"),
        ([json, "Content-Encoding: br\r\nContent-Length: 100"], "415", "BAD_USER_INPUT"),
        ([json, "Accept: text/html\r\nContent-Length: 100"], "406", "BAD_USER_INPUT"),
        ([json, "Authorization: Bearer no\r\nContent-Length: 100"], "401", "UNAUTHENTICATED"),
        ([json, &too_large], "413", "LIMIT_EXCEEDED"),
        ([json, "Content-Length: 9999999999999999999"], "413", "LIMIT_EXCEEDED"),
    ] {
        for expect in [&[][..], &["Expect: 100-continue"]] {
            let mut socket = connect(&world).await;
            socket.write_all(head(&[&lines[..], expect].concat()).as_bytes()).await.unwrap();
            let (head, body) = answer(&mut socket).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{lines:?}: {head}");
            assert_eq!(code(&body), expected, "{lines:?}");
            // A client that is not told sends its next request after the body, and gets no answer.
            assert!(head.contains("\r\nconnection: close\r\n"), "{lines:?}: {head}");
        }
    }
    // One that has been read leaves the connection as it was.
    let mut socket = connect(&world).await;
    for _ in 0..2 {
        socket.write_all(format!("{}{{}}", head(&[json, "Content-Length: 2"])).as_bytes()).await.unwrap();
        let (head, body) = answer(&mut socket).await;
        assert!(head.starts_with("HTTP/1.1 400 ") && !head.contains("\r\nconnection:"), "{head}");
        assert_eq!(code(&body), "BAD_USER_INPUT");
    }
    assert_alive(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_a_length_is_read_up_to_the_limit() {
    let world = World::new().await;
    let head = head(&["Content-Type: application/json", "Transfer-Encoding: chunked"]);
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let padded = |bytes: usize| {
        let body = json!({ "query": "{ __typename }", "extensions": { "padding": "" } }).to_string();
        body.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - body.len())))
    };
    let mut socket = connect(&world).await;
    let body = padded(MAX_BYTES);
    let (first, second) = body.split_at(70_000);
    let sent = format!("{head}{}{}0\r\n\r\n", chunk(first), chunk(second));
    socket.write_all(sent.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut socket).await.1, json!({ "data": { "__typename": "Query" } }));

    // One byte more, with no end of the body in sight.
    let mut socket = connect(&world).await;
    socket.write_all(format!("{head}{}", chunk(&padded(MAX_BYTES + 1))).as_bytes()).await.unwrap();
    let (head_of_answer, body) = answer(&mut socket).await;
    assert!(head_of_answer.starts_with("HTTP/1.1 413 "), "{head_of_answer}");
    assert_eq!(code(&body), "LIMIT_EXCEEDED");

    // Chunks that are none.
    let mut socket = connect(&world).await;
    socket.write_all(format!("{head}nonsense\r\n").as_bytes()).await.unwrap();
    let (head_of_answer, body) = answer(&mut socket).await;
    assert!(head_of_answer.starts_with("HTTP/1.1 400 "), "{head_of_answer}");
    assert_eq!(code(&body), "BAD_USER_INPUT");
    assert_alive(&world).await;
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packed_body_is_unpacked_up_to_the_limit() {
    let world = World::new().await;
    let send = async |codings: &[&str], body: Vec<u8>| {
        let request = world.http().post(world.url("/graphql")).header("content-type", "application/json");
        let request = codings.iter().fold(request, |request, coding| request.header("content-encoding", *coding));
        Answer::of(request.body(body).send().await.unwrap()).await
    };
    let body = json!({ "query": "{ __typename }" }).to_string().into_bytes();
    for (codings, body) in [(&["gzip"][..], packed(&body)), (&["GZIP"], packed(&body)), (&["identity"], body.clone())] {
        assert_eq!(send(codings, body).await.data()["__typename"], "Query", "{codings:?}");
    }
    let two_parts = [packed(&body[..10]), packed(&body[10..])].concat();
    assert_eq!(send(&["gzip"], two_parts).await.data()["__typename"], "Query");

    // 100 kB that become 100 MB, and as many as fit that become nothing.
    let bomb = packed(&vec![b' '; 100 << 20]);
    assert!(bomb.len() < MAX_BYTES, "{} bytes", bomb.len());
    let answer = send(&["gzip"], bomb).await;
    assert_eq!((answer.status, answer.codes()), (StatusCode::PAYLOAD_TOO_LARGE, vec!["LIMIT_EXCEEDED"]));
    let empty = packed(b"");
    let empties = empty.repeat(MAX_BYTES / empty.len());
    assert_eq!(send(&["gzip"], empties).await.status, StatusCode::BAD_REQUEST);
    let answer = send(&["gzip"], empty.repeat(MAX_BYTES / empty.len() + 1)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);

    let good = packed(&body);
    let damaged = [body.clone(), Vec::new(), good[..good.len() - 1].to_vec(), [&good[..], b"x"].concat()];
    for body in damaged {
        let answer = send(&["gzip"], body).await;
        assert_eq!((answer.status, answer.codes()), (StatusCode::BAD_REQUEST, vec!["BAD_USER_INPUT"]));
    }
    let others: [&[&str]; 7] =
        [&["br"], &["deflate"], &["zstd"], &["gzip, gzip"], &["gzip", "gzip"], &["gzip", "br"], &[""]];
    for codings in others {
        let answer = send(codings, good.clone()).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{codings:?}");
        assert_eq!(answer.codes(), ["BAD_USER_INPUT"], "{codings:?}");
        assert_eq!(answer.headers["accept-encoding"], "gzip", "{codings:?}");
    }
    assert_alive(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_comes_too_slowly_is_cut_off() {
    let world = World::with(&["--body-timeout-ms", "60"]).await;
    let lines = ["Content-Type: application/json", "Content-Length: 1000"];
    for drips in [false, true] {
        let mut socket = connect(&world).await;
        socket.write_all(head(&lines).as_bytes()).await.unwrap();
        let (mut reading, mut writing) = socket.split();
        let drip = async {
            // Some of it comes all the time, and never all of it.
            let mut often = tokio::time::interval(Duration::from_millis(5));
            while drips && writing.write_all(b" ").await.is_ok() {
                often.tick().await;
            }
            std::future::pending::<()>().await;
        };
        let mut text = String::new();
        tokio::select! {
            () = drip => {}
            read = in_time(reading.read_to_string(&mut text)) => { read.unwrap(); }
        }
        assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
        assert!(text.contains("\r\nconnection: close\r\n"), "{text}");
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(code(&serde_json::from_str(body).unwrap()), "TIMEOUT");
    }
    assert_alive(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_on_which_no_request_comes_is_closed() {
    let world = World::with(&["--idle-timeout-ms", "500"]).await;
    for sent in ["", "POST /graphql HTTP/1.1\r\nHost: te", "GET / HTTP/1.1\r\nHost: test\r\nX-A: a\r\n"] {
        let mut socket = connect(&world).await;
        socket.write_all(sent.as_bytes()).await.unwrap();
        assert_eq!(rest(&mut socket).await, "", "{sent}");
    }
    // And one that has been of use.
    let mut socket = connect(&world).await;
    socket.write_all(b"GET /graphql HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let (head, _) = answer(&mut socket).await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    assert_eq!(rest(&mut socket).await, "");
}

const LARGE: &str = "query($id: ID!) { project(id: $id) { tasks(first: 100) { nodes { description } } } }";

/// A connection on which 10 MB have been asked for, into hardly any room. As many bytes fit into nothing on the way.
async fn asked_for_much(world: &World, user: Uuid, project: Uuid) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut socket = socket.connect(world.address).await.unwrap();
    let body = json!({ "query": LARGE, "variables": { "id": project } }).to_string();
    let authorization = format!("Authorization: Bearer {}", world.token(user));
    let length = format!("Content-Length: {}", body.len());
    let head = head(&["Content-Type: application/json", &authorization, &length]);
    socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    assert_eq!(socket.read(&mut [0]).await.unwrap(), 1, "an answer begins");
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_take_its_answer_is_cut_off_and_its_place_given_back() {
    let world = World::with(&["--send-timeout-ms", "1000"]).await;
    let ada = world.user("ada").await;
    let project = world.project(world.workspace("home", ada).await, "Atlas").await;
    let tasks = "INSERT INTO tasks (id, project_id, title, description, status, priority) \
        SELECT gen_random_uuid(), '@', 'Draw', repeat('x', 100000), 'todo', 'low' FROM generate_series(1, 100)";
    world.execute(&tasks.replace('@', &project.to_string())).await;
    for drips in [false, true] {
        let mut socket = asked_for_much(&world, ada, project).await;
        let mut taken = 0;
        if drips {
            // Something is taken all the time, and too little.
            let mut often = tokio::time::interval(Duration::from_millis(100));
            let ended = in_time(async {
                loop {
                    often.tick().await;
                    match socket.read(&mut [0; 300]).await {
                        Ok(1..) => {}
                        ended => break ended,
                    }
                }
            });
            assert!(matches!(ended.await, Ok(0) | Err(_)));
        } else {
            eventually("the one connection is that which asks for it", || async {
                let open = scrape(&world).await["trellis_http_connections"];
                if open < 1.5 { Ok(()) } else { Err(open) }
            })
            .await;
            while let Ok(bytes @ 1..) = in_time(socket.read(&mut [0; 16_384])).await {
                taken += bytes;
            }
            assert!(taken < 10_000_000, "all of it: {taken} bytes");
        }
    }
    // Who takes it gets all of it.
    let answer = world.ask(ada, LARGE, json!({ "id": project })).await;
    assert_eq!(answer.data()["project"]["tasks"]["nodes"].as_array().unwrap().len(), 100);
    assert!(answer.text.len() > 10_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_too_large_or_none_is_refused() {
    let world = World::new().await;
    for (sent, status) in [
        (format!("GET / HTTP/1.1\r\nHost: test\r\nX-A: {}\r\n\r\n", "a".repeat(200_000)), "431"),
        (format!("GET / HTTP/1.1\r\nHost: test\r\n{}\r\n", "X-A: a\r\n".repeat(200)), "431"),
        (format!("GET /graphql?query={} HTTP/1.1\r\nHost: test\r\n\r\n", "a".repeat(70_000)), "414"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
        (head(&["Content-Length: 1", "Content-Length: 2"]), "400"),
        (head(&["Content-Length: -1"]), "400"),
        (head(&["A b: c"]), "400"),
    ] {
        let mut socket = connect(&world).await;
        // It may close before it has read everything.
        let _ = socket.write_all(sent.as_bytes()).await;
        let mut start = [0; 12];
        socket.read_exact(&mut start).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&start), format!("HTTP/1.1 {status}"), "{}", &sent[..sent.len().min(60)]);
    }
    assert_alive(&world).await;
}
