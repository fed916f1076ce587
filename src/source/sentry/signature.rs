//! Checks that Sentry sent a delivery: HMAC-SHA256 of the raw body under the integration's client secret.
//!
//! Invariant: a [`Verified`] value is made only by [`verify`]; what is not one has not been looked into.
//!
//! The signature covers the body and nothing else: neither time, request id nor resource. It never expires, so it says
//! who wrote the bytes, not when; repeats are found by the store. And it does not say that the *event* is genuine,
//! since anyone who has a project's public DSN can make Sentry sign one.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use sha2::Sha256;

use crate::config::secret::{Secret, SecretRef};

/// Name of the header that carries the signature.
pub const HEADER: &str = "sentry-hook-signature";

/// Length of a signature: 32 bytes in hexadecimal.
const HEX_LENGTH: usize = 64;

/// A value whose signature was right, and the secret that made it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified<T> {
    value: T,
    by: SecretRef,
}

impl<T> Verified<T> {
    /// The value.
    pub const fn get(&self) -> &T {
        &self.value
    }

    /// The value itself.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Where the secret is that verified it, which tells an operator when an old one may go.
    pub const fn by(&self) -> &SecretRef {
        &self.by
    }
}

/// The body of a delivery, byte for byte. `Debug` shows its length only.
#[derive(Clone, PartialEq, Eq)]
pub struct RawDelivery(pub Vec<u8>);

impl fmt::Debug for RawDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawDelivery({} bytes)", self.0.len())
    }
}

/// Why a signature was refused. Callers answer all of these alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignatureError {
    /// There is none.
    #[error("the delivery has no {HEADER} header")]
    Missing,
    /// It is not 64 hexadecimal digits.
    #[error("the {HEADER} header is not 64 hexadecimal digits")]
    Malformed,
    /// None of the active secrets made it, or none is configured.
    #[error(
        "no active webhook secret made this signature; compare `webhook_secrets` with the integration's client secret"
    )]
    Wrong,
}

/// Checks the signature over the raw bytes with every active secret, and tells which one made it.
///
/// Each comparison takes constant time and all secrets are tried even after a match, so that the time of an answer tells
/// neither how much of a guess was right nor which secret is in use.
///
/// # Errors
/// See [`SignatureError`].
pub fn verify(
    secrets: &[Secret],
    signature: Option<&[u8]>,
    body: Vec<u8>,
) -> Result<Verified<RawDelivery>, SignatureError> {
    let signature = signature.ok_or(SignatureError::Missing)?;
    let mut tag = [0; HEX_LENGTH / 2];
    hex::decode_to_slice(signature, &mut tag).map_err(|_| SignatureError::Malformed)?;
    let matching = secrets.iter().fold(None, |matching, secret| {
        // An empty secret would let everyone in who knows that it is empty.
        let usable = !secret.value.expose_secret().is_empty();
        let right = mac(secret.value.expose_secret(), &body).is_some_and(|mac| mac.verify_slice(&tag).is_ok());
        matching.or((usable && right).then_some(secret))
    });
    let by = matching.ok_or(SignatureError::Wrong)?.from.clone();
    Ok(Verified { value: RawDelivery(body), by })
}

/// The signature that Sentry would send for these bytes. For the demo and for tests; verification never compares text.
#[must_use]
pub fn sign(secret: &str, body: &[u8]) -> String {
    mac(secret, body).map(|mac| hex::encode(mac.finalize().into_bytes())).unwrap_or_default()
}

/// The client secret is used as the text that Sentry displays. `None` never happens: HMAC takes keys of every length.
fn mac(secret: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
    Some(Hmac::new_from_slice(secret.as_bytes()).ok()?.chain_update(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str, value: &str) -> Secret {
        Secret { from: SecretRef::Env(name.to_owned()), value: value.into() }
    }

    /// Computed with Python: `hmac.new(secret, body, sha256).hexdigest()`.
    const VECTORS: [(&str, &[u8], &str); 4] = [
        ("patchwright-test-secret", b"", "9341bce878d923ed85780414c6f39b0578120db024d98af1fc99008cd7bd0e0d"),
        (
            "patchwright-test-secret",
            br#"{"action":"created"}"#,
            "9f5b09d06ad85fc03bf0587ee341abc74095da614ea8678011438b6da5df3d14",
        ),
        (
            "patchwright-test-secret",
            "{\"title\":\"caf\u{e9} \u{1f41b}\"}".as_bytes(),
            "0786e6ee5ca6e5b03df17c150e42dbaa58f3abf2a63f3504d970bd73d7e2d6d0",
        ),
        ("s\u{e9}cret", b"\xff\x00{", "f773be022b962f1f77937860c255e8d183b483e81a35f31b47c16290ce08b2f5"),
    ];

    #[test]
    fn signatures_are_those_that_another_implementation_makes() {
        for (key, body, signature) in VECTORS {
            assert_eq!(sign(key, body), signature);
            let verified = verify(&[secret("A", key)], Some(signature.as_bytes()), body.to_vec()).unwrap();
            assert_eq!(verified.into_inner().0, body);
        }
    }

    #[test]
    fn any_active_secret_verifies_and_is_named() {
        let secrets = [secret("OLD", "old-secret"), secret("NEW", "new-secret")];
        for (value, name) in [("old-secret", "OLD"), ("new-secret", "NEW")] {
            let verified = verify(&secrets, Some(sign(value, b"{}").as_bytes()), b"{}".to_vec()).unwrap();
            assert_eq!(*verified.by(), SecretRef::Env(name.to_owned()));
        }
    }

    #[test]
    fn one_changed_bit_of_body_or_signature_is_refused() {
        let secrets = [secret("A", "a-secret")];
        let signature = sign("a-secret", b"{}");
        assert_eq!(verify(&secrets, Some(signature.as_bytes()), b"{]".to_vec()), Err(SignatureError::Wrong));
        let flipped = if signature.starts_with('0') { "1" } else { "0" }.to_owned() + &signature[1..];
        assert_eq!(verify(&secrets, Some(flipped.as_bytes()), b"{}".to_vec()), Err(SignatureError::Wrong));
    }

    #[test]
    fn only_64_hexadecimal_digits_are_a_signature() {
        let secrets = [secret("A", "a-secret")];
        let good = sign("a-secret", b"{}");
        let cases = [
            String::new(),
            good[..62].to_owned(),
            good.clone() + "00",
            format!("sha256={good}"),
            "zz".repeat(32),
            " ".repeat(64),
        ];
        for bad in cases {
            assert_eq!(verify(&secrets, Some(bad.as_bytes()), b"{}".to_vec()), Err(SignatureError::Malformed), "{bad}");
        }
        assert_eq!(verify(&secrets, None, b"{}".to_vec()), Err(SignatureError::Missing));
    }

    #[test]
    fn without_a_secret_or_with_an_empty_one_nothing_is_verified() {
        let signature = sign("", b"{}");
        assert_eq!(verify(&[], Some(signature.as_bytes()), b"{}".to_vec()), Err(SignatureError::Wrong));
        assert_eq!(verify(&[secret("A", "")], Some(signature.as_bytes()), b"{}".to_vec()), Err(SignatureError::Wrong));
    }
}
