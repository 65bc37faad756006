//! Who calls: mints and checks bearer tokens (JWT, HS256). It knows no user but the id in the token.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock;
use crate::error::Error;

/// Seconds by which the clocks of two machines may differ.
const LEEWAY_S: u64 = 30;

/// The secret that signs and checks tokens.
#[derive(Clone)]
pub struct Signer {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Signer")
    }
}

#[derive(Deserialize, Serialize)]
struct Claims {
    sub: Uuid,
    iat: i64,
    exp: i64,
}

impl Signer {
    /// A signer with a secret of 32 bytes or more.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "sub"]);
        Self {
            encoding: EncodingKey::from_secret(secret.as_bytes()),
            decoding: DecodingKey::from_secret(secret.as_bytes()),
            validation,
        }
    }

    /// A token for a user.
    ///
    /// # Errors
    /// The token could not be written; never with a secret of a legal length.
    pub fn mint(&self, user_id: Uuid, hours: u32) -> Result<String, jsonwebtoken::errors::Error> {
        let now = clock::now().timestamp();
        let claims = Claims { sub: user_id, iat: now, exp: now + i64::from(hours) * 3_600 };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
    }

    /// The user whom a token speaks for.
    ///
    /// # Errors
    /// `Unauthenticated`, without a hint at what is wrong with the token.
    pub fn check(&self, token: &str) -> Result<Uuid, Error> {
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation);
        decoded.map(|token| token.claims.sub).map_err(|_| Error::Unauthenticated)
    }
}
