//! Masks what points to a person: e-mail addresses, public IP addresses, payment card numbers.
//!
//! Invariant: an address or number is masked only where it is one (it parses, its check digit is right); addresses that
//! name no person, such as `127.0.0.1`, stay.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use regex::{Captures, Regex};

struct Patterns {
    email: Regex,
    ipv4: Regex,
    ipv6: Regex,
    card: Regex,
}

static PATTERNS: LazyLock<Patterns> = LazyLock::new(compile);

#[expect(clippy::expect_used, reason = "constants; every test in this file compiles them")]
fn compile() -> Patterns {
    let pattern = |text| Regex::new(text).expect("pattern");
    Patterns {
        email: pattern(r"[\p{L}\p{N}._%+-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)+"),
        ipv4: pattern(r"(?:\b(?i:version)[=:/ ]{1,2})?\b[0-9]{1,3}(?:\.[0-9]{1,3}){3,}\b"),
        ipv6: pattern(r"[\w:.]*:[\w:.]*:[\w:.]*"),
        card: pattern(r"\b[0-9](?:[ -]?[0-9]){12,18}\b"),
    }
}

/// The text with `[email]`, `[ip]` and `[card]` in place of what they name.
pub(super) fn replace(text: &str) -> String {
    let patterns = &*PATTERNS;
    let text = patterns.email.replace_all(text, |found: &Captures<'_>| mask(found, "[email]", is_person));
    let text = patterns.ipv6.replace_all(&text, |found: &Captures<'_>| mask(found, "[ip]", is_public_ipv6));
    let text = patterns.ipv4.replace_all(&text, |found: &Captures<'_>| mask(found, "[ip]", is_public_ipv4));
    patterns.card.replace_all(&text, |found: &Captures<'_>| mask(found, "[card]", is_card)).into_owned()
}

fn mask(found: &Captures<'_>, with: &str, applies: fn(&str) -> bool) -> String {
    let text = found.get(0).map_or("", |whole| whole.as_str());
    if applies(text) { with.to_owned() } else { text.to_owned() }
}

/// Ends of file names that are no top-level domain, as in `icon@2x.png`.
const FILES: [&str; 17] = [
    "bmp", "cjs", "css", "gif", "html", "ico", "jpeg", "jpg", "js", "json", "jsx", "mjs", "png", "svg", "tsx", "webp",
    "xml",
];

/// `git@host` is how SSH addresses of repositories begin, and `shop@2.4.0` is how releases are named: no top-level domain
/// is a number.
fn is_person(email: &str) -> bool {
    let domain = email.rsplit('.').next().unwrap_or_default();
    !email.starts_with("git@")
        && domain.chars().count() > 1
        && domain.chars().all(char::is_alphabetic)
        && !FILES.contains(&domain.to_ascii_lowercase().as_str())
}

/// `Version=13.2.1.4` is none and does not parse as one, nor is `Chrome/142.0.0.0`: what ends in 0 names a network at most.
fn is_public_ipv4(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok_and(|ip| {
        !(ip.octets()[3] == 0
            || ip.is_loopback()
            || ip.is_private()
            || ip.is_unspecified()
            || ip.is_link_local()
            || ip.is_broadcast())
    })
}

/// Only global unicast (2000::/3), so that paths such as `a::b` in Rust, C++ and Ruby stay.
fn is_public_ipv6(text: &str) -> bool {
    text.trim_end_matches(['.', ':']).parse::<Ipv6Addr>().is_ok_and(|ip| ip.segments()[0] & 0xe000 == 0x2000)
}

/// A number of a card network's range whose Luhn check digit (ISO/IEC 7812-1) is right.
fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| if at % 2 == 0 { *digit } else { digit * 2 / 10 + digit * 2 % 10 })
        .sum();
    sum.is_multiple_of(10) && digits.first().is_some_and(|first| (2..=6).contains(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_card_numbers_are_masked() {
        for (dirty, clean) in [
            ("release shop@2.4.0 and web@1.0.0-rc.1", "release shop@2.4.0 and web@1.0.0-rc.1"),
            ("from <ada.l+x@mail.example.com>.", "from <[email]>."),
            ("ip:203.0.113.7, next", "ip:[ip], next"),
            ("peer [2001:db8::1]:443", "peer [[ip]]:443"),
            ("card 4111-1111-1111-1111 declined", "card [card] declined"),
        ] {
            assert_eq!(replace(dirty), clean);
            assert_eq!(replace(clean), clean);
        }
    }

    #[test]
    fn what_only_looks_like_it_stays() {
        let clean = "Version=13.0.0.0 Chrome/142.0.0.0 version: 4.2.1.3, icon@2x.png git@github.com:acme/web @decorator 127.0.0.1:8080 10.0.0.3 1.2.3.4.5 75.0.3770.100 a::b std::ffi 12:30:45 \
                     1732280932000 4111111111111112 user@localhost";
        assert_eq!(replace(clean), clean);
    }
}
