//! The keys that check tokens, from a secret or from a file that may change while the server runs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::de::DeserializeOwned;

/// Seconds by which the clocks of two machines may differ.
const LEEWAY_S: u64 = 30;

/// How often a key file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What a token must say, where the settings say so.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
}

impl Expected {
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        let mut required = vec!["exp", "sub"];
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if let Some(audience) = &self.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.validate_aud = self.audience.is_some();
        validation.set_required_spec_claims(&required);
        validation
    }
}

/// Keys, each with the one algorithm that it checks.
#[derive(Clone)]
pub(super) struct Keys(Vec<Key>);

#[derive(Clone)]
struct Key {
    /// The name by which a token may say which key made it.
    name: Option<String>,
    decoding: DecodingKey,
    validation: Validation,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} keys", self.0.len())
    }
}

impl Keys {
    pub(super) fn of_secret(secret: &str, expected: &Expected) -> Self {
        let decoding = DecodingKey::from_secret(secret.as_bytes());
        Self(vec![Key { name: None, decoding, validation: expected.validation(Algorithm::HS256) }])
    }

    /// Reads a JWKS document, or a public key in PEM.
    fn read(text: &str, expected: &Expected) -> anyhow::Result<Self> {
        let keys = if text.trim_start().starts_with('{') {
            let set: JwkSet = serde_json::from_str(text).context("it is not a JWKS document")?;
            set.keys.iter().filter_map(|jwk| of_jwk(jwk, expected)).collect()
        } else {
            vec![of_pem(text.as_bytes(), expected).context("it is no public key in PEM: RSA, P-256 or Ed25519")?]
        };
        anyhow::ensure!(!keys.is_empty(), "it holds no key for RS256, ES256 or EdDSA");
        Ok(Self(keys))
    }

    /// The claims of a token that one of the keys made, and that is good now.
    pub(super) fn check<C: DeserializeOwned>(&self, token: &str) -> Option<C> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        let may_be = |key: &&Key| {
            key.validation.algorithms.contains(&header.alg)
                && (header.kid.is_none() || key.name.is_none() || header.kid == key.name)
        };
        let mut checked =
            self.0.iter().filter(may_be).map(|key| jsonwebtoken::decode(token, &key.decoding, &key.validation));
        Some(checked.find_map(Result::ok)?.claims)
    }
}

fn of_pem(pem: &[u8], expected: &Expected) -> Option<Key> {
    let rsa = DecodingKey::from_rsa_pem(pem).map(|key| (key, Algorithm::RS256));
    let any = rsa
        .or_else(|_| DecodingKey::from_ec_pem(pem).map(|key| (key, Algorithm::ES256)))
        .or_else(|_| DecodingKey::from_ed_pem(pem).map(|key| (key, Algorithm::EdDSA)));
    let (decoding, algorithm) = any.ok()?;
    Some(Key { name: None, decoding, validation: expected.validation(algorithm) })
}

/// A key of a set, where its kind is known. Secrets do not belong into a set of public keys, and are passed over.
fn of_jwk(jwk: &Jwk, expected: &Expected) -> Option<Key> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    let decoding = DecodingKey::from_jwk(jwk).ok()?;
    Some(Key { name: jwk.common.key_id.clone(), decoding, validation: expected.validation(algorithm) })
}

/// A file of keys, read again when it changes. A change that cannot be read leaves the keys as they are.
#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
    expected: Expected,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    keys: Arc<Keys>,
    changed: Option<SystemTime>,
    looked: Instant,
}

impl KeyFile {
    pub(super) fn open(path: PathBuf, expected: Expected) -> anyhow::Result<Self> {
        let (changed, looked) = (changed(&path), Instant::now());
        let text = std::fs::read_to_string(&path);
        let keys = text.map_err(anyhow::Error::from).and_then(|text| Keys::read(&text, &expected));
        let keys = keys.with_context(|| format!("the key file {} cannot be used", path.display()))?;
        let state = Mutex::new(State { keys: Arc::new(keys), changed, looked });
        Ok(Self { path, expected, state })
    }

    /// The keys as the file has them, give or take a second.
    pub(super) fn keys(&self) -> Arc<Keys> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK_INTERVAL {
            state.looked = Instant::now();
            let changed = changed(&self.path);
            if changed != state.changed {
                state.changed = changed;
                self.read_again(&mut state);
            }
        }
        Arc::clone(&state.keys)
    }

    fn read_again(&self, state: &mut State) {
        let text = std::fs::read_to_string(&self.path).map_err(anyhow::Error::from);
        match text.and_then(|text| Keys::read(&text, &self.expected)) {
            Ok(keys) => {
                tracing::info!(file = %self.path.display(), ?keys, "the key file has changed and was read again");
                state.keys = Arc::new(keys);
            }
            Err(error) => {
                tracing::warn!(file = %self.path.display(), %error, "the key file has changed and cannot be used");
            }
        }
    }
}

/// When the file was last changed.
fn changed(path: &std::path::Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}
