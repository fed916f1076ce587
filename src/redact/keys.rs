//! Tells by a name whether what goes by it is a secret.
//!
//! Invariant: whole words decide, so that `author` and `token_count` are not secrets and `authToken` is.

/// The kind in the marker for a value that was taken out because of its name.
pub(super) const KIND: &str = "key";

/// Words that make a name secret when it ends with them. Beside our own, those of Sentry's default data scrubber.
const SECRET: &[&str] = &[
    "accesskey",
    "accesstoken",
    "accountkey",
    "apikey",
    "apisecret",
    "apitoken",
    "auth",
    "authorization",
    "authtoken",
    "bearer",
    "clientsecret",
    "cookie",
    "cookies",
    "credential",
    "credentials",
    "csrf",
    "csrfmiddlewaretoken",
    "csrftoken",
    "dbpassword",
    "hmac",
    "jsessionid",
    "jwt",
    "otp",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "passwords",
    "phpsessid",
    "privatekey",
    "pswd",
    "pw",
    "pwd",
    "refreshtoken",
    "secret",
    "secretkey",
    "secrets",
    "sessid",
    "session",
    "sessionid",
    "sessionkey",
    "sessiontoken",
    "sig",
    "signature",
    "signingkey",
    "token",
    "totp",
    "userpassword",
    "xsrf",
    "xsrftoken",
];

/// Words that are a secret's whole name, and say something else at the end of a longer one: `max_tokens`, `render_pass`.
const WHOLE: [&str; 3] = ["pass", "pin", "tokens"];

/// Pairs of words that end a secret's name, where the last alone does not.
const SECRET_PAIRS: &[(&str, &str)] = &[
    ("access", "key"),
    ("account", "key"),
    ("api", "key"),
    ("encryption", "key"),
    ("master", "key"),
    ("private", "key"),
    ("shared", "key"),
    ("signing", "key"),
    ("ssh", "key"),
    ("access", "tokens"),
    ("api", "tokens"),
    ("auth", "tokens"),
    ("refresh", "tokens"),
    ("card", "pin"),
    ("user", "pin"),
    ("admin", "pass"),
    ("app", "pass"),
    ("auth", "pass"),
    ("database", "pass"),
    ("db", "pass"),
    ("email", "pass"),
    ("ftp", "pass"),
    ("ldap", "pass"),
    ("login", "pass"),
    ("mail", "pass"),
    ("mongo", "pass"),
    ("mysql", "pass"),
    ("pg", "pass"),
    ("postgres", "pass"),
    ("proxy", "pass"),
    ("redis", "pass"),
    ("root", "pass"),
    ("smtp", "pass"),
    ("ssh", "pass"),
    ("user", "pass"),
];

/// Words that may follow and change nothing: `session_id`, `password_hash`, `secret_key`, `token_value`.
const TRAILING: [&str; 9] = ["id", "hash", "key", "value", "header", "string", "base64", "hex", "old"];

/// Whether a value of this name is a secret.
pub(super) fn is_secret(name: &str) -> bool {
    // Longer names are data that ended up as a key; what they hold is still searched by value.
    if name.len() > 128 {
        return false;
    }
    let words = words(name);
    let mut words = words.as_slice();
    loop {
        match words {
            // Of a .NET assembly; it is made of its public key.
            [.., public, key, token] if [public, key, token] == ["public", "key", "token"] => return false,
            [whole] if WHOLE.contains(&whole.as_str()) => return true,
            [.., last] if SECRET.contains(&last.as_str()) => return true,
            [.., first, last] if SECRET_PAIRS.contains(&(first.as_str(), last.as_str())) => return true,
            [rest @ .., last] if TRAILING.contains(&last.as_str()) => words = rest,
            _ => return false,
        }
    }
}

/// Whether the name is that of an identifier, such as `id`, `issue_id` or `groupID`.
pub(super) fn is_id(name: &str) -> bool {
    words(name).last().is_some_and(|word| word == "id")
}

/// Whether the value of this name goes on to the end of its line, as header values with blanks in them do.
pub(super) fn is_header(name: &str) -> bool {
    words(name).last().is_some_and(|word| matches!(word.as_str(), "authorization" | "cookie"))
}

/// The words of `snake_case`, `kebab-case`, `dotted.names`, `camelCase` and `XMLHttpRequest`, in lower case. Digits end
/// a word and are left out, so that `password2` is one.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut chars = name.chars().peekable();
    let mut previous = ' ';
    while let Some(c) = chars.next() {
        let humps = c.is_uppercase()
            && (previous.is_lowercase() || (previous.is_uppercase() && chars.peek().is_some_and(|n| n.is_lowercase())));
        if humps || !c.is_alphabetic() {
            words.push(String::new());
        }
        if let (true, Some(word)) = (c.is_alphabetic(), words.last_mut()) {
            word.extend(c.to_lowercase());
        }
        previous = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_however_they_are_written() {
        for name in [
            "password",
            "DB_PASSWORD",
            "userPassword",
            "password2",
            "password_hash",
            "x-api-key",
            "apiKey",
            "APIKey",
            "api_key",
            "aws_secret_access_key",
            "client_secret",
            "SECRET_KEY",
            "privateKey",
            "Authorization",
            "HTTP_AUTHORIZATION",
            "auth",
            "access_token",
            "csrfmiddlewaretoken",
            "Set-Cookie",
            "cookies",
            "session",
            "sessionid",
            "session_id",
            "mysql_pwd",
            "DB_PASS",
            "pass",
            "pw",
            "pin",
            "otp",
            "tokens",
            "auth_tokens",
            "AccountKey",
            "X-Amz-Signature",
            "sig",
            "hmac",
        ] {
            assert!(is_secret(name), "{name}");
        }
    }

    #[test]
    fn names_that_only_contain_such_a_word_are_not() {
        for name in [
            "author",
            "authors",
            "token_count",
            "max_tokens",
            "tokenizer",
            "secretary",
            "session_duration",
            "key",
            "keyboard",
            "public_key",
            "authenticated_at",
            "id",
            "passport",
            "compass",
            "oauth_provider",
            "cookie_consent",
            "password_required",
            "PublicKeyToken",
            "total_tokens",
            "render_pass",
            "bypass",
            "spin",
            "design",
            "sign",
            "",
            "1",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
