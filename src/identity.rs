//! Who calls: mints and checks bearer tokens (JWT). It knows no user but the id in the token.

mod keys;

use std::path::PathBuf;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock;
use crate::error::Error;
use keys::{Expected, KeyFile, Keys};

/// What a token says that Trellis reads. Everything else in it is for others.
#[derive(Deserialize)]
struct Claims {
    sub: Uuid,
}

/// Makes tokens, with a secret (HS256).
#[derive(Clone)]
pub struct Signer(EncodingKey);

impl std::fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Signer")
    }
}

impl Signer {
    /// A signer with a secret of 32 bytes or more.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        Self(EncodingKey::from_secret(secret.as_bytes()))
    }

    /// A token for a user.
    ///
    /// # Errors
    /// The token could not be written; never with a secret of a legal length.
    pub fn mint(&self, user_id: Uuid, hours: u32) -> Result<String, jsonwebtoken::errors::Error> {
        #[derive(Serialize)]
        struct Minted {
            sub: Uuid,
            iat: i64,
            exp: i64,
        }
        let iat = clock::now().timestamp();
        let claims = Minted { sub: user_id, iat, exp: iat + i64::from(hours) * 3_600 };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.0)
    }
}

/// What checks tokens.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A secret of 32 bytes or more: HS256.
    Secret(String),
    /// A file with a public key (PEM) or a set of them (JWKS): RS256, ES256 and `EdDSA`, fixed by each key. It is read
    /// again when it changes.
    File(PathBuf),
}

/// Checks tokens. Which algorithm a token may use is fixed by the key, never by the token.
#[derive(Debug)]
pub struct Verifier(Source);

#[derive(Debug)]
enum Source {
    Fixed(Keys),
    File(KeyFile),
}

impl Verifier {
    /// A verifier that takes tokens with this issuer and this audience, where they are given.
    ///
    /// # Errors
    /// The key file cannot be read, or holds no key of a kind that is known.
    pub fn new(source: &KeySource, issuer: Option<String>, audience: Option<String>) -> anyhow::Result<Self> {
        let expected = Expected { issuer, audience };
        Ok(Self(match source {
            KeySource::Secret(secret) => Source::Fixed(Keys::of_secret(secret, &expected)),
            KeySource::File(path) => Source::File(KeyFile::open(path.clone(), expected)?),
        }))
    }

    /// The user whom a token speaks for.
    ///
    /// # Errors
    /// `Unauthenticated`, without a hint at what is wrong with the token.
    pub fn check(&self, token: &str) -> Result<Uuid, Error> {
        let claims = match &self.0 {
            Source::Fixed(keys) => keys.check::<Claims>(token),
            Source::File(file) => file.keys().check::<Claims>(token),
        };
        claims.map(|claims| claims.sub).ok_or(Error::Unauthenticated)
    }
}
