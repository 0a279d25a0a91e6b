//! Emptying a server's prefix cache, whichever way it has.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;

use sagellm_core::{Clock, Exit, UserError};
use sagellm_http::{Access, BlockingClient, Target, reset_cache};
use sagellm_server::{Script, Scripted};

fn server(script: &str) -> (Scripted, BlockingClient) {
    let script = Script::parse("test", script).unwrap();
    let server = Scripted::start(script, SocketAddr::from(([127, 0, 0, 1], 0)), Clock::start()).unwrap();
    let target = Target::parse(&format!("http://{}", server.address())).unwrap();
    let client = BlockingClient::new(Access::new(target)).unwrap();
    (server, client)
}

#[test]
fn the_way_that_the_server_has_is_taken() {
    let missing = "status 404\nbody length\nbytes 'Not Found'\n";
    let found = "body length\nbytes '{}'\n";
    let slots = r#"bytes '[{"id": 0}, {"id": 1}]'"#;
    for (script, way) in [
        (format!("{missing}answer /reset_prefix_cache\n{found}"), "POST /reset_prefix_cache"),
        (format!("{missing}answer /flush_cache\n{found}"), "POST /flush_cache"),
        (
            format!(
                "{missing}answer /slots\nbody length\n{slots}\nanswer /slots/0\n{found}answer \
                 /slots/1\n{found}"
            ),
            "POST /slots/ID?action=erase of 2 slots",
        ),
    ] {
        let (_server, client) = server(&script);
        assert_eq!(reset_cache(&client).unwrap(), way);
    }
}

#[test]
fn a_server_that_has_no_way_is_named() {
    let (_server, client) = server("status 404\nbody length\nbytes 'Not Found'\n");
    let error = reset_cache(&client).unwrap_err();
    let message = error.to_string();
    for words in [
        "the prefix cache of http://127.0.0.1:",
        "`/reset_prefix_cache`: status 404",
        "`/flush_cache`: status 404",
        "`/slots`: status 404",
    ] {
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(error.exit(), Exit::Backend);
    assert!(error.hint().unwrap().contains("--cache-bust"));
}
