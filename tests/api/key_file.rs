//! Tokens that are checked by public keys: the key fixes the algorithm, and a key file may change while the server runs.

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::StatusCode;
use serde_json::{Value, json};
use trellis::clock;
use uuid::Uuid;

use crate::harness::{Answer, TestFile, World, eventually};

const RSA: (&str, &str) = (include_str!("keys/rsa.pem"), include_str!("keys/rsa.pub.pem"));
const EC: (&str, &str) = (include_str!("keys/ec.pem"), include_str!("keys/ec.pub.pem"));
const ED: (&str, &str) = (include_str!("keys/ed.pem"), include_str!("keys/ed.pub.pem"));

fn signing_key(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::RS256 => EncodingKey::from_rsa_pem(RSA.0.as_bytes()).unwrap(),
        Algorithm::ES256 => EncodingKey::from_ec_pem(EC.0.as_bytes()).unwrap(),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(ED.0.as_bytes()).unwrap(),
        other => panic!("no key for {other:?}"),
    }
}

const PAIRS: [(Algorithm, &str); 3] = [(Algorithm::RS256, RSA.1), (Algorithm::ES256, EC.1), (Algorithm::EdDSA, ED.1)];

fn sign(algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, claims, &signing_key(algorithm)).unwrap()
}

fn claims(user: Uuid) -> Value {
    json!({ "sub": user, "exp": clock::now().timestamp() + 60 })
}

async fn viewer(world: &World, token: &str) -> Answer {
    let request = world.http().post(world.url("/graphql")).bearer_auth(token);
    Answer::of(request.json(&json!({ "query": "{ viewer { name } }" })).send().await.unwrap()).await
}

fn jwks(keys: &[(Algorithm, &str)]) -> String {
    let jwk = |(algorithm, kid): &(Algorithm, &str)| {
        let mut jwk = Jwk::from_encoding_key(&signing_key(*algorithm), *algorithm).unwrap();
        jwk.common.key_id = Some((*kid).to_owned());
        jwk
    };
    serde_json::to_string(&JwkSet { keys: keys.iter().map(jwk).collect() }).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_public_key_takes_tokens_of_its_own_algorithm_and_no_other() {
    let mut seen = 0;
    for (algorithm, public) in PAIRS {
        let file = TestFile::new("keys", public);
        let world = World::with(&["--jwt-key-file", file.path()]).await;
        let ada = world.user("ada").await;
        for (other, _) in PAIRS {
            let answer = viewer(&world, &sign(other, None, &claims(ada))).await;
            let expected = if other == algorithm { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            assert_eq!(answer.status, expected, "{other:?} for a key of {algorithm:?}");
            seen += 1;
        }
        // The public key is no secret: a token that was signed with it as one is a forgery.
        let forged = jsonwebtoken::encode(
            &Header::new(Algorithm::HS256),
            &claims(ada),
            &EncodingKey::from_secret(public.as_bytes()),
        );
        assert_eq!(viewer(&world, &forged.unwrap()).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(viewer(&world, &world.token(ada)).await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(seen, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_of_keys_finds_the_key_by_its_name() {
    let file = TestFile::new(
        "keys",
        &jwks(&[(Algorithm::RS256, "one"), (Algorithm::ES256, "two"), (Algorithm::EdDSA, "three")]),
    );
    let world = World::with(&["--jwt-key-file", file.path()]).await;
    let ada = world.user("ada").await;
    let cases = [
        (Algorithm::RS256, Some("one"), true),
        (Algorithm::ES256, Some("two"), true),
        (Algorithm::EdDSA, Some("three"), true),
        (Algorithm::EdDSA, None, true),
        (Algorithm::EdDSA, Some("one"), false),
        (Algorithm::EdDSA, Some("four"), false),
    ];
    for (algorithm, kid, is_good) in cases {
        let answer = viewer(&world, &sign(algorithm, kid, &claims(ada))).await;
        let expected = if is_good { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        assert_eq!(answer.status, expected, "{algorithm:?} named {kid:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_file_that_changes_is_read_again_and_one_that_breaks_is_not() {
    let file = TestFile::new("keys", &jwks(&[(Algorithm::ES256, "old")]));
    let world = World::with(&["--jwt-key-file", file.path()]).await;
    let ada = world.user("ada").await;
    let (old, new) =
        (sign(Algorithm::ES256, Some("old"), &claims(ada)), sign(Algorithm::EdDSA, Some("new"), &claims(ada)));
    assert_eq!(viewer(&world, &old).await.status, StatusCode::OK);
    assert_eq!(viewer(&world, &new).await.status, StatusCode::UNAUTHORIZED);
    std::fs::write(file.path(), jwks(&[(Algorithm::EdDSA, "new")])).unwrap();
    let is = |token: &str, status| {
        let (world, token) = (&world, token.to_owned());
        async move {
            let answer = viewer(world, &token).await;
            if answer.status == status { Ok(()) } else { Err(answer.status) }
        }
    };
    eventually("the new key is known", || is(&new, StatusCode::OK)).await;
    assert_eq!(viewer(&world, &old).await.status, StatusCode::UNAUTHORIZED);
    std::fs::write(file.path(), "half a file").unwrap();
    std::fs::write(file.path(), "no key at all").unwrap();
    for _ in 0..20 {
        assert_eq!(viewer(&world, &new).await.status, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issuer_and_audience_are_checked_where_they_are_configured() {
    let file = TestFile::new("keys", ED.1);
    let words = ["--jwt-key-file", file.path(), "--jwt-issuer", "https://id.example.com", "--jwt-audience", "trellis"];
    let world = World::with(&words).await;
    let ada = world.user("ada").await;
    let cases = [
        (json!({ "iss": "https://id.example.com", "aud": "trellis" }), true),
        (json!({ "iss": "https://id.example.com", "aud": ["other", "trellis"] }), true),
        (json!({ "iss": "https://id.example.com" }), false),
        (json!({ "aud": "trellis" }), false),
        (json!({ "iss": "https://evil.example.com", "aud": "trellis" }), false),
        (json!({ "iss": "https://id.example.com", "aud": "other" }), false),
        (json!({ "iss": "https://id.example.com", "aud": [] }), false),
    ];
    for (more, is_good) in cases {
        let mut claims = claims(ada);
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = viewer(&world, &sign(Algorithm::EdDSA, None, &claims)).await;
        let expected = if is_good { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        assert_eq!(answer.status, expected, "{more}");
    }
    // Where nothing is configured, a token may name any.
    let world = World::new().await;
    let grace = world.user("grace").await;
    let mut claims = claims(grace);
    claims["aud"] = json!("anybody");
    claims["iss"] = json!("anybody");
    let secret = EncodingKey::from_secret(crate::harness::SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &secret).unwrap();
    assert_eq!(viewer(&world, &token).await.status, StatusCode::OK);
}
